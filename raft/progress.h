/* raft/progress.h - what a leader knows of one peer, and how fast it may send.
 *
 *                     raft_progress_accept
 *              +--------------------------------> REPLICATE   sends on without waiting, as far as
 *            PROBE                                    |       the window of appends allows
 *   one append|<--------------------------------------+
 *   at a time      raft_progress_reject, raft_progress_reset (new leader)
 *
 * From either, SNAPSHOT when the log no longer holds what the peer needs (raft_progress_snapshot);
 * back to REPLICATE by an ack that reaches the log (raft_progress_accept): Rule 37.
 *
 * Always: match < next (Rule 14). Owned by the core's thread. */
#ifndef RAFT_PROGRESS_H
#define RAFT_PROGRESS_H

#include "raft/ledger.h"
#include "raft/message.h"

enum raft_progress_state {
    RAFT_PROBE = 0, /* looks for the place where the logs part */
    RAFT_REPLICATE, /* next is optimistic: it runs ahead of what was acknowledged */
    RAFT_SNAPSHOT   /* gets a snapshot, and empty appends until it has it */
};

struct raft_progress {
    raft_node_id id;
    enum raft_progress_state state;
    bool probe_sent;             /* PROBE: waits for an answer, or for the next heartbeat */
    bool granted;                /* our (pre)candidacy has this peer's vote */
    uint64_t match;              /* durable there and equal to ours; only grows within a term */
    uint64_t next;               /* the next index to send */
    uint64_t snapshot_index;     /* SNAPSHOT, and behind one until it has caught up with the newest:
                                  * of the one that was the newest when it began; else 0 */
    struct raft_ledger inflight; /* REPLICATE: appends with entries, by their last index */
    uint64_t fetch;              /* the number of what is being read for it; 0: nothing is */
    uint64_t wanted_us;          /* when a snapshot was wanted last in place of what it needs */
    struct raft_id fetch_first;  /* the first of those entries */
    struct raft_runs fetched;    /* what was read for it: sent if it begins at `next` */
    uint32_t priority;           /* as it last said itself */
    uint64_t better_since_us;    /* it could lead, and has a higher priority; 0: not now */
    uint64_t life;               /* the number of its start: what is known of it is of that life */
    uint64_t contact_us;         /* when it last answered in our term */
    uint64_t sent_us;            /* when an append last went out to it */
    uint64_t commit_told;        /* the commit index in that append */
    uint64_t round_sent, round_acked; /* confirmation rounds: Rule 40 */
    bool round_first;                 /* the newest one asks it at once */
    bool prompt, chosen;              /* it gets entries at once; while that is decided */
    uint64_t held_until_us;           /* what it is to get waits until then; 0: nothing waits */
    uint64_t timed_index, timed_us;   /* the answer to this entry is awaited since; 0: to none */
    uint64_t answer_us;               /* so long it takes to answer entries; 0: not known yet */
    uint64_t lease_until_us;          /* it surely votes for nobody else until then: Rule 41 */

    uint64_t incarnation; /* as heard by the host; 0: not yet */
    bool leaving;         /* no member of the newest configuration; still told of its removal */
    uint64_t leave_us;    /* leaving: forgotten from then on; 0: the removal is not committed */

    /* Catching up (dissertation, 4.2.1): a round replicates what the log held when it began. */
    uint64_t catch_up_index; /* the round ends when match reaches this */
    uint64_t catch_up_us;    /* when it began */
    bool catch_up_fast;      /* the round before it took less than an election timeout */
};

/* A new leader knows nothing yet and hopes that the logs are equal up to next - 1. */
void raft_progress_reset(struct raft_progress *progress, uint64_t next);

/* Nothing is read for it any more. */
void raft_progress_forget(struct raft_progress *progress);

void raft_progress_deinit(struct raft_progress *progress);

/* Moves it; what it owns goes with it. */
void raft_progress_move(struct raft_progress *to, struct raft_progress *from);

/* The log begins behind what the peer needs next. */
void raft_progress_snapshot(struct raft_progress *progress, uint64_t snapshot_index);

/* The peer holds, durably, everything up to match. True if that was news. */
bool raft_progress_accept(struct raft_progress *progress, uint64_t match);

/* The peer did not hold the entry at `rejected`; the logs may agree up to `hint`. False if the
 * answer is out of date (Rule 14). */
bool raft_progress_reject(struct raft_progress *progress, uint64_t rejected, uint64_t hint);

/* An append with entries up to `last` went out. */
void raft_progress_sent(struct raft_progress *progress, uint64_t last, uint64_t bytes);

#endif
