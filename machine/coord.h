/* machine/coord.h - queues: what locks, elections and presence are made of.
 *
 * Who enqueues under a name gets an entry behind all others, attached to a lease: a key `name 00
 * revision` (8 bytes, big-endian) of space 1, whose value is the number of slots (2, big-endian)
 * and the caller's own. The revision that created an entry is its token: it rises with every entry,
 * of any queue, also after all of them were gone, so whoever is served by tokens can tell an old
 * holder from a newer one. The first `slots` entries hold (0: all of them): who holds goes on
 * holding, whatever comes behind, until his entry goes, with the lease or by a leave.
 *
 * A lease has one entry in a queue: enqueueing again answers the same one. The number of slots is
 * that of those who are there; another one is refused until the queue is empty.
 *
 * State-machine thread. */
#ifndef MACHINE_COORD_H
#define MACHINE_COORD_H

#include "machine/kv_change.h"

/* Applies a command whose opcode coord_is_command knows, and answers batch->reply. Returns what
 * functions of machine/kv_change.h do. */
MUST_USE int coord_command_apply(struct kv_batch *batch, const void *data, size_t bytes);

/* Sets the answer to a query whose opcode coord_is_query knows, whatever happens. */
void coord_query_answer(struct tables *tables, uint64_t revision, const void *data, size_t bytes,
                        struct conclave_reply_sink *reply);

#endif
