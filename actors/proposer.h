/* actors/proposer.h - what a proposer (conclave_propose.h) and the network of its node share: a
 * queue for each direction.
 *
 *     host's thread                                       network
 *     proposer ── PROPOSED, STOP: it is destroyed ──────> to_node
 *     to_host <─────────────── REPLY, STOP: the node ends ──
 *
 * Both ends of both queues belong to the link, which belongs to both sides: each lets go of it
 * once, in any order, and the last one closes the sockets and destroys what is left in them. So
 * neither side waits for the other, whichever ends first. A side that has read STOP is the only one
 * that uses the link, and may look into the queue that the other one read. */
#ifndef ACTORS_PROPOSER_H
#define ACTORS_PROPOSER_H

#include "actors/mailbox.h"

#include <stdatomic.h>

/* The lower half of raft_origin.client for every proposal of a proposer; no slot of
 * actors/pending.h has that number. The upper half is the proposer's number. */
#define PROPOSER_ORIGIN UINT32_C(0x80000000)

struct proposer_link {
    atomic_uint refs;
    atomic_uint *live; /* the node counts its links */
    uint32_t number;
    struct {
        struct outbox out; /* the sender's */
        struct inbox in;   /* the receiver's */
    } to_node, to_host;
};

/* Drops a side's reference. */
void proposer_link_unref(struct proposer_link *link);

/* The node's side ends: says STOP and lets go. */
void proposer_link_end(struct proposer_link *link);

#endif
