/* actors/snapshot_actor.h - the snapshot helper's own state, shared by its files:
 * snapshot_actor.c (the loop, taking snapshots of this node), snapshot_streams.c (snapshots on
 * their way between nodes) and snapshot_gifts.c (for nodes in repair). The helper's thread only.
 *
 * The helper does what is slow and may fail without harm: a snapshot that cannot be written or sent
 * is tried again later, so nothing here ends the node. */
#ifndef ACTORS_SNAPSHOT_ACTOR_H
#define ACTORS_SNAPSHOT_ACTOR_H

#include "actors/node.h"
#include "actors/snapshot_flow.h"

enum { SNAPSHOT_GIFTS_MAX = 8 };

/* A node in repair that asked for a snapshot. */
struct snapshot_gift {
    raft_node_id peer; /* 0: none */
    uint64_t until_us; /* if it does not ask again */
    bool raft;         /* raft wants it to have one as well */
};

struct snapshot_helper {
    struct raft_id newest; /* durable here; index 0: none */
    struct raft_id
        damaged;       /* the newest, if it could not be read: none is sent; index 0: it could */
    uint64_t asked_us; /* when the state machine was asked for another */
    bool taking;       /* one is being written */
    bool repairing;    /* there is no raft: what is received is the log-writer's */
    bool quit;         /* a thread of the node died: nothing is begun any more */
    bool stop;

    struct flow_sender sender;
    struct snapshot_source sources[FLOW_STREAMS_MAX]; /* by the sender's slots */
    uint8_t *piece;                                   /* scratch */

    struct snapshot_gift gifts[SNAPSHOT_GIFTS_MAX];
    uint64_t gift_wanted_us; /* when the state machine was last asked for a newer one */

    struct flow_part receiving;
    struct snapshot_part *part; /* its file; NULL: none is open */
    bool installing;            /* the last one went to raft, and it has not settled yet */
};

/* Raft wants the peer to have a snapshot, or no more. */
void streams_want(struct snapshot_helper *helper, raft_node_id peer, bool wanted, uint64_t now_us);

/* The same, where a node in repair may want it too. */
void gifts_stream(struct snapshot_helper *helper, raft_node_id peer, bool wanted, uint64_t now_us);

/* A node in repair wants to have one. */
void gifts_take(struct actor *actor, raft_node_id from, const struct peer_repair *ask,
                uint64_t now_us);

/* Ends what is over. Returns when to call again at the latest; UINT64_MAX: never. */
uint64_t gifts_tend(struct snapshot_helper *helper, uint64_t now_us);

/* A frame from a peer. */
void streams_take(struct actor *actor, const struct peer_frame *frame, uint64_t now_us);

/* Sends what window and rate allow. Returns when to call again at the latest; UINT64_MAX: never. */
uint64_t streams_send(struct actor *actor, uint64_t now_us);

void streams_close(struct snapshot_helper *helper);

/* A snapshot became durable: removes those that are not kept, and tells the log-writer how far the
 * log on disk may be cut. */
void snapshot_became_durable(struct actor *actor, struct raft_id id);

#endif
