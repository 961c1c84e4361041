/* client/queue.h - what locks, observers and groups share: asking a queue (codec/coord.h) and
 * watching it. The client's thread. */
#ifndef CLIENT_QUEUE_H
#define CLIENT_QUEUE_H

#include "client/request.h"
#include "client/stream.h"
#include "codec/coord.h"
#include "codec/watch.h"

/* INVALID: empty, or with a zero byte; TOO_LARGE. */
MUST_USE int queue_name_check(struct slice name);

/* A code that may be another one with the next try. */
bool queue_code_passes(int code);

void queue_start(struct conclave_client *client, struct request *request,
                 const struct coord_request *wanted, uint32_t timeout_ms);

/* The caller releases op, whose code this returns. */
MUST_USE int queue_call(struct conclave_client *client, const struct coord_request *wanted,
                        uint32_t timeout_ms, struct conclave_op *op);

/* Watches one entry, or with token 0 all of the queue, from that revision on; `what` is of enum
 * watch_what, and WATCH_INITIAL among it asks for the state first. BUSY, as client_stream_create.
 */
MUST_USE int queue_watch(struct conclave_client *client, struct slice name, uint64_t token,
                         unsigned what, uint64_t revision, struct client_stream **ret_stream);

#endif
