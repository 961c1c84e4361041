/* client/request.h - what the functions that speak to the built-in machine share: packing into a
 * caller's buffer, and asking and waiting. The client's thread, or any for packing. */
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

#endif
