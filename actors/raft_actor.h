/* actors/raft_actor.h - the raft actor's own state, shared by its files: raft_actor.c turns
 * envelopes into events, peer_side.c what the other nodes send, raft_reads.c queries,
 * raft_outputs.c carries the core's outputs out, raft_handover.c ends it. Raft's thread only. */
#ifndef ACTORS_RAFT_ACTOR_H
#define ACTORS_RAFT_ACTOR_H

#include "actors/alarm.h"
#include "actors/awake.h"
#include "actors/peer_side.h"
#include "base/numbered.h"

/* Queries that wait for their read to be confirmed. */
struct waiting_read {
    uint64_t read;     /* its number */
    uint64_t since_us; /* when it was begun */
    struct query_list queries;
    struct raft_origin *ahead; /* heap: of those that are at the state machine already */
    uint32_t ahead_count;
};

struct raft_actor {
    struct raft *raft;
    struct raft_output output;
    struct peer_side peers;
    struct outgoing_list sends; /* of one step; empty between */

    struct { /* of one drain */
        struct raft_event *items;
        uint32_t count, capacity;
    } events;

    struct numbered reads; /* of struct waiting_read */
    uint64_t last_read;

    /* The newest confirmed read: what was committed at fresh_us is applied with fresh_index. 0:
     * there has been none. */
    uint64_t fresh_us;
    uint64_t fresh_index;

    struct alarm alarm;
    struct awake awake;

    /* A clean stop: leadership goes to somebody else first, if anybody can take it, and what was
     * taken before is answered. */
    enum { HANDOVER_NONE, HANDOVER_WANTED, HANDOVER_RUNNING, HANDOVER_DONE } handover;
    uint64_t handover_deadline_us;
    uint64_t handover_last; /* last index while this node led */

    raft_node_id streams[CONCLAVE_MEMBERS_MAX]; /* peers that are being given a snapshot */
    uint32_t stream_count;
    uint64_t cut_wanted;    /* the log on disk need not begin before this for a snapshot's sake */
    uint64_t cut_told;      /* as the log-writer was told */
    bool snapshot_received; /* the helper waits to hear that it is settled */

    raft_node_id leader; /* as last told to the network */
    uint64_t leader_term;
    bool leads;
    bool serving_told;
    bool started;       /* START was taken: events may follow */
    bool stepped;       /* with it: the core has its log */
    bool watched;       /* as the state machine last said */
    bool full[SPACES];  /* as the segment helper and the state machine last said */
    uint64_t applied;   /* as the core was last told */
    uint64_t persisted; /* as last found on disk: the seq, and the last entry */
    struct raft_id durable;
};

static inline struct peer_side *peer_side_of(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    return &self->peers;
}

/* One more event for the next step, zeroed but for its type; valid until the next is added. */
struct raft_event *raft_actor_add(struct raft_actor *self, enum raft_event_type type);

/* Another node has lost what this log holds: a REPAIR_ASK. */
void raft_actor_give(struct actor *actor, const struct envelope *ask);

/* Begins or carries on what comes before STOP; looked at after each step while it hands over. */
void raft_actor_hand_over(struct actor *actor);
bool raft_actor_hands_over(const struct raft_actor *self);

/* Carries out everything in actor->output and clears it. */
void raft_outputs_carry(struct actor *actor);

/* --- raft_reads.c: queries, from network to the state machine ----------------------------------
 */

/* Queries that need not be newer than the last confirmed read are answered without asking anybody,
 * the others share a new read. When the last one gets old it is refreshed in the background, so
 * that there is one if the leader should be lost. Takes the queries over. */
void raft_actor_read(struct actor *actor, struct query_list *queries);

/* Nobody may have asked this node anything: if the leader should be lost it is known all the same
 * how old its state is at most. Before a step, while there is something to do. */
void raft_actor_keep_fresh(struct raft_actor *self, uint64_t now_us);

/* Reads that began in this step. Their queries are executed while the round is under way that
 * confirms them, and network keeps the answers until it is over. Not those that may be answered
 * with an older state, whose age must be true when the answer leaves, nor what asks for nothing but
 * the confirmation. */
void raft_actor_reads_begun(struct actor *actor);

/* The node ends: those that wait are answered by nobody here. */
void raft_actor_reads_clear(struct raft_actor *self);

/* Reads that were decided in this step; refusals go to *replies. */
void raft_actor_reads_done(struct actor *actor, struct reply_list *replies);

#endif
