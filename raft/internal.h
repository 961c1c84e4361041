/* raft/internal.h - struct raft, and what the files of the core call in each other.
 *
 * One file a subject:
 *     step.c         events in, outputs out: the order in which everything happens
 *     start.c        what storage recovered
 *     election.c     roles, votes, timers
 *     append.c       the follower's side of replication
 *     replication.c  the leader's side
 *     read.c         linearizable reads
 *     round.c        whom a leader asks whether it still leads
 *     lease.c        the leader's lease, for reads without a round
 *     transfer.c     handing leadership over: asked for, or because the disk hangs
 *     durable.c      what waits for the disk: persists and the answers that ride with them
 *     snapshot.c     the front of the log goes, or all of it, when a snapshot holds it
 *     membership.c   the configuration in effect
 *     change.c       the leader's side of changing it
 *     view.c         looking at it from outside
 * Owned by one thread, like all of the core. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "base/list.h"
#include "base/prng.h"
#include "raft/log.h"
#include "raft/progress.h"
#include "raft/raft.h"

/* Terms and indexes in messages above this are refused: the sums made with them cannot overflow,
 * and every language can hold them (as node ids). */
#define RAFT_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/* A configuration in the log. */
struct raft_membership {
    uint64_t index;
    struct raft_configuration *configuration;
};

/* A read that waits: for its round, or (round 0) for the round to be started. */
struct raft_pending_read {
    uint64_t read; /* or the number of a follower's request */
    uint64_t index;
    uint64_t round;
    uint64_t begun_us; /* when that began */
    raft_node_id from; /* the follower that asks; 0: this node's own read */
};

/* A follower's read, for which the leader is asked. */
struct raft_follower_read {
    uint64_t read;
    uint64_t number; /* of the first request that was sent after it came; 0: not yet */
    uint64_t index;
    uint64_t until_us; /* then it is refused */
};

/* A leader that hands over (Rule 25). target 0: it does not. */
struct raft_transfer {
    raft_node_id target;
    uint64_t deadline_us;
    uint64_t sent_us; /* when the target was last told to campaign; 0: not yet */
};

/* Who asked for a transfer and waits for what comes of it: longer than the transfer itself, which
 * ends when this node leads no more. */
struct raft_transfer_request {
    bool waiting;
    struct raft_origin origin;
    raft_node_id target; /* 0: any */
    uint64_t deadline_us;
};

/* When rounds of appends were begun, so that answers to them tell since when. */
enum { RAFT_LEASE_ROUNDS = 16 };

struct raft_lease_round {
    uint64_t round, begun_us;
};

struct raft_lease {
    bool given_up;     /* somebody was told to campaign: void for the rest of the term */
    uint64_t begun_us; /* when the last round was */
    uint64_t count;    /* rounds begun; the last ones are kept, in a ring */
    struct raft_lease_round rounds[RAFT_LEASE_ROUNDS];
};

struct raft {
    struct raft_options options;
    struct prng prng;
    uint64_t now_us;
    struct raft_output *output; /* of the step that runs */
    bool started;
    uint64_t life; /* the number of this start */
    int failed;    /* the code with which a step failed */

    /* {term, vote} and how far it is on disk. */
    struct raft_hard_state hard;
    bool hard_dirty;        /* changed in this step */
    uint64_t hard_seq;      /* the persist that holds it */
    uint64_t persist_seq;   /* the last persist handed over */
    uint64_t persisted_seq; /* the last one confirmed */

    struct raft_log log;
    uint64_t commit;
    uint64_t applying; /* handed to the state machine up to here */
    uint64_t applied;  /* confirmed by it up to here */
    struct raft_ledger apply_inflight;
    uint64_t apply_due_us; /* when the next part is handed over at the latest; 0: there is none */
    uint64_t read_index;   /* the newest that a read waits for here, or has waited for */
    bool watched;          /* somebody waits for what is applied here */

    uint64_t snapshot_index;   /* of the newest snapshot that is durable here; 0: none */
    uint64_t installing_index; /* of the one that the state machine is to take over; 0: none */
    bool anew_pending;         /* the log was begun anew in this step */
    uint64_t unreadable;       /* the last entry that could not be fetched; 0: each could */
    uint64_t fetch_number;     /* of the last fetch */

    /* Configurations, oldest first: the newest committed one and every one after it. */
    struct raft_membership *memberships;
    uint32_t membership_count, membership_capacity;
    struct raft_progress *peers; /* every member but this node, in the configuration's order */
    uint32_t peer_count;

    enum raft_role role;
    raft_node_id leader;
    uint64_t election_timeout_us;  /* drawn in [T, 2T]: Rule 27 */
    uint64_t election_deadline_us; /* when to campaign */
    uint64_t yields_until_us;   /* it helped another to be elected, or led: no haste until then */
    uint64_t sticky_until_us;   /* a leader was heard of: no votes for others until then */
    uint64_t promised_until_us; /* the same, and nothing shortens it: Rules 41 and 42 */

    /* Follower: answers to the leader of this term. */
    uint64_t verified;       /* the log equals the leader's up to here */
    bool ack_pending;        /* an append was accepted in this step */
    uint64_t ack_round;      /* the highest round seen of this leader */
    uint64_t ack_round_sent; /* the highest one answered without waiting for the disk */

    struct raft_transfer_request transfer_request;

    /* Follower: the leader of this term wants it to campaign, until then. */
    uint64_t called_term, called_until_us;

    /* Follower: reads. Oldest first; `confirmed` of them have their index. */
    RAFT_LIST(struct raft_follower_read, follower_reads);
    uint32_t follower_reads_confirmed;
    uint64_t read_number;  /* of the last request */
    uint64_t read_sent_us; /* when it was last sent ... */
    raft_node_id read_sent_to;

    /* Leader. */
    struct raft_transfer transfer; /* all zero in every other role: Rule 25 */
    bool disk_full;                /* the host says so */
    bool disk_transfer_tried;      /* since this node's disk hangs */
    uint64_t leader_since_us;
    uint64_t term_start; /* index of this term's no-op */
    uint64_t round;      /* the last confirmation round; never starts again from 0 */
    struct raft_lease lease;
    struct raft_ledger uncommitted;
    struct raft_origin change_origin; /* waits for the end of the joint phase; {0, 0}: nobody */
    struct raft_pending_read *reads;  /* oldest first */
    uint32_t read_head, read_count, read_capacity;
};

/* Adds an element to a RAFT_LIST. */
#define RAFT_LIST_ADD(list, ...)                        \
    do {                                                \
        LIST_RESERVE(list);                             \
        (list)->items[(list)->count++] = (__VA_ARGS__); \
    } while (0)

static inline uint64_t raft_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t raft_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void raft_trace(struct raft *raft, enum raft_trace_type type, uint64_t a, uint64_t b);

/* Why this node does not serve a client: NOT_LEADER if it knows who does, else NO_LEADER. */
int raft_refusal_code(const struct raft *raft);

/* --- start.c ---------------------------------------------------------------------------------- */

/* Takes over the entries. Errors: CORRUPT. */
MUST_USE int raft_start(struct raft *raft, struct raft_start *start);

/* --- membership.c ----------------------------------------------------------------------------- */

/* The configuration in effect: the newest in the log (Rule 29). */
const struct raft_configuration *raft_members(const struct raft *raft);

/* Puts a configuration from the log into effect; takes it over. */
void raft_membership_push(struct raft *raft, uint64_t index,
                          struct raft_configuration *configuration);

/* Entries from index on are gone: rolls back to the configuration before them (Rule 29). */
void raft_membership_truncate(struct raft *raft, uint64_t index);

/* Forgets all configurations and puts this one into effect; takes it over. */
void raft_membership_restart(struct raft *raft, uint64_t index,
                             struct raft_configuration *configuration);

/* The newest configuration in the log and its index. */
const struct raft_membership *raft_membership_newest(const struct raft *raft);

/* True if this node votes in a configuration that may be in force: the newest, or one before it
 * that may come back. */
bool raft_membership_may_lead(const struct raft *raft);

/* Leader: forgets removed peers that have had time to hear of it. */
void raft_membership_tend(struct raft *raft);

/* Everything up to index is committed: forgets configurations that can no longer come back. */
void raft_membership_commit(struct raft *raft, uint64_t index);

void raft_membership_deinit(struct raft *raft);

/* NULL if the id is no other member. */
struct raft_progress *raft_peer(const struct raft *raft, raft_node_id id);

/* --- snapshot.c ------------------------------------------------------------------------------- */

/* Checks what a host says of a snapshot and decodes its configuration (heap). MALFORMED. */
MUST_USE int raft_snapshot_read(const struct raft_snapshot *snapshot,
                                struct raft_configuration **ret_configuration);

/* The log becomes what is behind the snapshot; takes over the configuration. */
void raft_begin_anew(struct raft *raft, const struct raft_snapshot *snapshot,
                     struct raft_configuration *configuration);

/* Lets the front of the log go as far as the newest snapshot allows. */
void raft_snapshot_cut(struct raft *raft);

void raft_on_snapshot_taken(struct raft *raft, struct raft_id last);
void raft_on_snapshot_received(struct raft *raft, const struct raft_snapshot *snapshot);

/* --- change.c --------------------------------------------------------------------------------- */

/* Takes over the change. */
void raft_on_change(struct raft *raft, struct raft_change *change);

void raft_on_peer_seen(struct raft *raft, raft_node_id peer, uint64_t incarnation);

/* Leader: what follows from the configuration in effect: the end of a joint phase, a promotion, an
 * incarnation to be remembered. */
void raft_change_advance(struct raft *raft);

/* Leader: a new round of catching up begins for a peer, if the last one is complete. */
void raft_change_round(struct raft *raft, struct raft_progress *peer);

/* Leader: steps down if it is no member any more. After the appends of the step. */
void raft_change_retire(struct raft *raft);

/* The node leads no more: whoever waits for a joint phase will not hear of its end. */
void raft_change_fail(struct raft *raft);

/* --- durable.c -------------------------------------------------------------------------------- */

/* True if {term, vote} as it stands is on disk. */
bool raft_hard_is_durable(const struct raft *raft);

/* Sends at once if {term, vote} is durable, else when it is (Rules 1 and 3). */
void raft_reply(struct raft *raft, struct raft_message *message);

/* Follower: answers the leader's appends of this step, and promises nothing that is not on disk
 * when the answer leaves (Rule 4). */
void raft_acknowledge(struct raft *raft);

/* Hands everything new to the log-writer as one persist. */
void raft_persist_new(struct raft *raft);

void raft_on_persisted(struct raft *raft, uint64_t seq, struct raft_id last);

/* --- election.c ------------------------------------------------------------------------------- */

/* Follows `leader` (0: not known) in `term`, which is not below the own one. */
void raft_become_follower(struct raft *raft, uint64_t term, raft_node_id leader);

/* A leader of this term was heard of. */
void raft_heard_leader(struct raft *raft);

/* Becomes leader if a candidate has its majority. */
void raft_count_votes(struct raft *raft);

/* Draws a new election timeout and counts it from now. */
void raft_draw_timeout(struct raft *raft);

/* Campaigns, or steps down for want of a quorum, if it is time to. */
void raft_tick(struct raft *raft);

/* The host lost its connection to a peer. */
void raft_on_peer_down(struct raft *raft, raft_node_id peer);

/* When raft_tick or a heartbeat is due next. */
uint64_t raft_deadline(const struct raft *raft);

void raft_on_vote_request(struct raft *raft, const struct raft_message *message);
void raft_on_vote_response(struct raft *raft, const struct raft_message *message);

/* Campaigns at once and without a pre-vote, because the leader asked for it. */
void raft_campaign_now(struct raft *raft);

/* True if the state machine has yet to apply the newest committed configuration (Rule 24). */
bool raft_configuration_unapplied(const struct raft *raft);

/* --- transfer.c ------------------------------------------------------------------------------- */

void raft_on_transfer(struct raft *raft, struct raft_origin origin, raft_node_id target);
/* Tells a peer that holds the whole log to campaign. */
void raft_call(struct raft *raft, const struct raft_progress *peer);
void raft_on_timeout_now(struct raft *raft, const struct raft_message *message);

/* Campaigns if the leader has asked for it and nothing holds it back any more. */
void raft_follow_call(struct raft *raft);

/* Leader: the voter that needs the least to be the next one; NULL if nobody can be. */
struct raft_progress *raft_best_peer(const struct raft *raft);

/* Leader: begins, carries on and gives up transfers. After the clock was looked at. */
void raft_transfer_step(struct raft *raft);

/* Answers who asked for a transfer, if it has ended. */
void raft_transfer_answer(struct raft *raft);

/* What the others are told: a node that can take no more had better not lead. */
uint32_t raft_own_priority(const struct raft *raft);

/* True if a persist has been out for longer than a disk may take. */
bool raft_disk_stalled(const struct raft *raft);

/* When raft_transfer_step or raft_transfer_answer is due next. */
uint64_t raft_transfer_deadline(const struct raft *raft);

/* --- append.c --------------------------------------------------------------------------------- */

/* Errors: INTERNAL (Rules 9 and 26). */
MUST_USE int raft_on_append_request(struct raft *raft, const struct raft_message *message);

/* --- fetch.c ----------------------------------------------------------------------------------
 */

/* Lets go of what need not be in memory. At the end of a step. */
void raft_shed(struct raft *raft);

/* Leader: true if what comes next for the peer, which the log holds, is in memory. */
bool raft_fetch_has(const struct raft *raft, struct raft_progress *peer);

/* Leader: has it read, if it is not being read, or asks for what takes its place. */
void raft_fetch_begin(struct raft *raft, struct raft_progress *peer);

/* Leader: what comes next for the peer, one append's worth; it is in memory. */
void raft_fetch_take(const struct raft *raft, struct raft_progress *peer, struct raft_runs *to);

/* Takes over the entries. */
void raft_on_fetched(struct raft *raft, uint64_t fetch, struct raft_runs *entries);

/* The node leads no more. */
void raft_fetch_forget(struct raft *raft);

/* --- replication.c ---------------------------------------------------------------------------- */

/* Appends the no-op of a new term and starts probing every peer. */
void raft_lead(struct raft *raft);

/* Takes over the batch. */
void raft_on_propose(struct raft *raft, struct raft_batch *batch);

void raft_on_append_response(struct raft *raft, const struct raft_message *message);

/* Leader: the index up to which a majority holds the log if this node itself holds it up to `own`.
 */
uint64_t raft_majority_holds(const struct raft *raft, uint64_t own);

/* Leader: commits what a majority holds. */
void raft_advance_commit(struct raft *raft);

/* Any role: everything up to index is committed. */
void raft_commit_to(struct raft *raft, uint64_t index);

/* Leader: true if the peer holds what is committed and was not told yet that it is. */
bool raft_commit_is_news(const struct raft *raft, const struct raft_progress *peer);

/* Leader: when the next append goes to the peer, if nothing else makes one. */
uint64_t raft_append_due_us(const struct raft *raft, const struct raft_progress *peer);

/* Leader: true if an append goes to the peer now whatever there is for it: it is time, or a round
 * asks. */
bool raft_append_is_due(const struct raft *raft, const struct raft_progress *peer);

/* Leader: sends each peer what it lacks, and heartbeats that are due. */
void raft_send_appends(struct raft *raft);

/* Leader: since when a majority, this node included, has been heard of. */
uint64_t raft_quorum_contact(const struct raft *raft);

/* --- read.c ----------------------------------------------------------------------------------- */

/* `lease`: a lease is good enough. */
void raft_on_read(struct raft *raft, uint64_t read, bool lease);

/* Leader: gives the new reads their index and one round. Before the appends of the step. Follower:
 * asks the leader. */
void raft_reads_start(struct raft *raft);

/* Releases the reads whose round a majority has confirmed; a follower's when it knows to be
 * committed what the leader said. */
void raft_reads_confirm(struct raft *raft);

/* Answers every waiting read with a code: the node leads, or follows, no longer. */
void raft_reads_fail(struct raft *raft, int code);

void raft_on_read_request(struct raft *raft, const struct raft_message *message);
void raft_on_read_response(struct raft *raft, const struct raft_message *message);

/* Follower: when raft_reads_start or raft_reads_confirm is due next. */
uint64_t raft_reads_deadline(const struct raft *raft);

/* --- round.c ---------------------------------------------------------------------------------- */

/* Leader: a new round, for reads. Before the appends of the step. */
void raft_round_begin(struct raft *raft);

/* Leader: true if the peer is to get an append for the newest round now, though there is nothing
 * else for it. */
bool raft_round_asks(const struct raft *raft, const struct raft_progress *peer);

/* Leader: when raft_round_asks is true of more peers; UINT64_MAX: not by itself. */
uint64_t raft_round_deadline(const struct raft *raft);

/* --- prompt.c --------------------------------------------------------------------------------- */

/* Leader: chooses who gets entries at once. Before the appends of the step. */
void raft_prompt_choose(struct raft *raft);

/* Leader: true if what the peer is to get next waits, until `held_until_us`. */
bool raft_append_waits(struct raft *raft, struct raft_progress *peer);

/* Leader: true if the peer has not got all up to `last` because it was to wait: that stays in the
 * log. It is no more than may wait. */
bool raft_prompt_owes(const struct raft_progress *peer, uint64_t last);

/* Leader: when what waits goes out, or a prompt peer is late; UINT64_MAX: nothing waits. */
uint64_t raft_prompt_deadline(const struct raft *raft);

/* Leader: somebody waits for what the peer (NULL: none) is to get: it waits no more. */
void raft_prompt_wanted(const struct raft *raft, struct raft_progress *peer);

/* Leader: entries up to `last` went out to the peer; the peer has acknowledged up to its match. */
void raft_prompt_sent(const struct raft *raft, struct raft_progress *peer, uint64_t last);
void raft_prompt_answered(const struct raft *raft, struct raft_progress *peer);

/* --- lease.c ----------------------------------------------------------------------------------
 */

/* Follower: what it promises with each answer to an append, in microseconds; 0: nothing. */
uint64_t raft_promise(const struct raft *raft);

/* A new leader has no lease, and rounds that were answered in an earlier term are none of it. */
void raft_lease_reset(struct raft *raft);

/* Leader: begins a round for the lease, if it is time to. Before the appends of the step. */
void raft_lease_round(struct raft *raft);

/* Leader: the newest round that it has begun for the lease; 0: none. */
uint64_t raft_lease_newest_round(const struct raft *raft);

/* Leader: when raft_lease_round is due next; UINT64_MAX: never. */
uint64_t raft_lease_deadline(const struct raft *raft);

/* Leader: a peer has answered an append of this round, and promises. */
void raft_lease_promised(struct raft *raft, struct raft_progress *peer, uint64_t round,
                         uint64_t promise_us);

#endif
