/* client/request.h - what the functions that speak to the built-in machine share: packing into a
 * caller's buffer, asking and waiting, asking and going on. The client's thread, or any for
 * packing. */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "base/pack.h"
#include "conclave_kv.h"

/* Bytes as a caller hands them in; NULL: none. */
static inline struct slice request_slice(const void *data, size_t bytes)
{
    return (struct slice){data, data ? bytes : 0};
}

/* A pack over the caller's buffer, which `buf` stands for. It must not have to grow: `content` is
 * the bytes of everything of variable size that will be packed, and CONCLAVE_KV_OVERHEAD covers
 * the rest (the longest is a range: 1 for the array, 1 for the opcode, two headers of at most 5,
 * two numbers of 9, 1: 31). TOO_LARGE: the buffer is smaller than both. */
CONCLAVE_MUST_USE int request_begin_fixed(struct pack *pack, struct buf *buf, void *buffer,
                                          size_t capacity, size_t content);

/* Sends what is packed as the operation `wanted`, frees it, and waits for the answer, which is in
 * *op, also why there is none: the caller releases it. */
void request_call(struct conclave_client *client, struct conclave_op wanted, struct pack *pack,
                  struct conclave_op *op);

/* --- Asking and going on ----------------------------------------------------------------------
 */

/* One operation under way beside others; all zeros: none. */
struct request {
    struct conclave_op op;
    struct buf *body;
    bool started;
};

/* Sends what is packed, which it takes. What cannot be sent has ended with its code at once. */
void request_start(struct conclave_client *client, struct request *request,
                   enum conclave_op_kind kind, struct pack *pack, uint32_t timeout_ms);

/* True if it was started and has ended: op.code, op.reply. request_clear makes it ready again. */
bool request_has_ended(const struct request *request);

/* Forgets it, also while it is under way. */
void request_clear(struct conclave_client *client, struct request *request);

#endif
