/* actors/pending.h - client operations that were taken and are not yet answered.
 *
 * This is the bound of a node's memory against its clients: what is in here, in operations and in
 * bytes, is all that clients can have inside the node; over it they get BUSY. Every operation that
 * enters is answered and leaves exactly once; a second answer finds a newer generation and is
 * dropped. Owned by the network thread. */
#ifndef ACTORS_PENDING_H
#define ACTORS_PENDING_H

#include "raft/entries.h"
#include "transport/clients.h"

enum {
    PENDING_OPS_MAX = 262144,    /* 40 bytes each: 10 MiB */
    PENDING_OVERHEAD_BYTES = 256 /* charged for every operation beside its body */
};

struct pending;

struct pending *pending_create(uint64_t bytes_max);
void pending_destroy(struct pending *pending);

/* Takes an operation in: the origin under which the node works on it. False: over a bound. */
bool pending_enter(struct pending *pending, client_handle client, uint64_t request, size_t bytes,
                   struct raft_origin *ret_origin);

/* As pending_enter for a question about the node itself: charged nothing, so that an overloaded
 * node can still be asked how it is. The caller bounds how many there are. */
bool pending_enter_free(struct pending *pending, client_handle client, uint64_t request,
                        struct raft_origin *ret_origin);

/* Takes it out again: who asked and under which id. False: not (or no longer) there. */
bool pending_leave(struct pending *pending, struct raft_origin origin, client_handle *ret_client,
                   uint64_t *ret_request);

uint32_t pending_count(const struct pending *pending);

/* Walks what is in, for answering all of it at the end: *cursor begins at 0. False: no more. */
bool pending_next(const struct pending *pending, uint32_t *cursor, struct raft_origin *ret_origin);

#endif
