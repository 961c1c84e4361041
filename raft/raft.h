/* raft/raft.h - the pure core of Raft: a deterministic state machine in one function.
 *
 * No threads, clock, sockets, files, logging or outside randomness: every event carries `now_us`,
 * the generator is seeded through the options, and the same options and steps give the same
 * outputs, byte for byte. One thread owns a struct raft.
 *
 * The host (actors/raft_actor.c, or the simulator) gives events and carries outputs out:
 *
 *     events ──> raft_step ──> send_now   at once, to the network
 *                              persist    to the log-writer, in order of `seq`; when durable it
 *                                         releases persist.send_after and comes back as PERSISTED
 *                              apply      to the state machine, in order; comes back as APPLIED
 *                              reads_begun  reads that may be executed once `index` is applied
 *                              reads      reads that may be answered then
 *                              fetches    entries to be read from the log on disk; FETCHED
 *                              refused    waiting clients whose entry will not be answered by apply
 *                              transfers  what came of handing leadership over
 *                              deadline   when to come with TIMEOUT at the latest
 *
 * Messages may be lost, repeated and reordered by the host at will; persist and apply may not.
 *
 * What is named `Rule N` in the sources is a rule of Raft that implementations are known to get
 * wrong; tests/unit/ has a test for each, and docs/testing.md the table.
 *
 * Paper: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", extended
 * version, 2014. Dissertation: Ongaro, "Consensus: Bridging Theory and Practice", 2014. */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "raft/configuration.h"
#include "raft/message.h"

enum raft_role {
    RAFT_FOLLOWER = 0,
    RAFT_PRECANDIDATE = 1, /* asks whether it could win; has changed nothing (Rule 19) */
    RAFT_CANDIDATE = 2,
    RAFT_LEADER = 3
};

struct raft_options {
    raft_node_id id;
    uint64_t incarnation; /* of this node's data directory; 0: not told */
    uint64_t seed;
    uint64_t election_timeout_us; /* T: elections start after a random time in [T, 2T] (Rule 27) */
    uint64_t heartbeat_us;
    uint32_t append_entries_max;    /* entries in one AppendEntries */
    uint64_t append_bytes_max;      /* payload bytes in one; a larger single entry goes alone */
    uint32_t inflight_messages_max; /* AppendEntries with entries on the way to one peer */
    uint64_t inflight_bytes_max;    /* payload bytes on the way to one peer */
    uint64_t uncommitted_bytes_max; /* of the leader's own proposals; over it they get BUSY */
    uint64_t apply_bytes_max;       /* payload bytes handed to the state machine, not yet APPLIED */
    uint64_t apply_delay_us;        /* a follower may hand on what is committed so late, for larger
                                       parts are cheaper; 0: at once. Not while it is watched */
    uint64_t append_delay_us;       /* entries may go so late to peers whom no majority needs, with
                                       what comes meanwhile; 0: to all at once */
    uint32_t reads_max;             /* reads waiting for their confirmation; over it BUSY */
    uint32_t priority; /* 0 to RAFT_PRIORITY_MAX: lower waits up to another T before it campaigns,
                          and hands the lead to a voter that has more */
    uint64_t disk_stall_us; /* a persist that is out for longer: a leader gives leadership up and
                               nobody campaigns; 0: two election timeouts */
    bool leases; /* Rule 41: promises leaders to hold to them, and leading, serves reads on the
                    promises of others. Only nodes with it count for a lease */
    uint32_t clock_drift_percent; /* by how much any node's clock may be fast or slow; below 100 */
    uint64_t trailing_entries; /* kept behind a snapshot, for followers a little behind (Rule 39) */
    uint64_t trailing_bytes;   /* at most so much of them */
    uint64_t pinned_bytes_max; /* payload in the log up to which a peer's snapshot pins it */
    uint64_t memory_bytes; /* of what is applied and durable so much of the log stays in memory, and
                              four times as much for peers that are about to need it; the rest is
                              read back (`fetches`). UINT64_MAX: all of it stays */
};

/* A snapshot as the core sees it. */
struct raft_snapshot {
    struct raft_id last;          /* the last entry in it; index 0: there is none */
    uint64_t configuration_index; /* of the configuration in effect there */
    struct buf *configuration;    /* encoded; one reference, owned by whoever has the struct */
};

/* What storage recovered. */
struct raft_start {
    struct raft_hard_state hard_state;
    struct raft_id base;           /* the entry before the first one; {0, 0}: there was none */
    struct raft_runs entries;      /* taken over */
    struct raft_snapshot snapshot; /* the newest; taken over */
    uint64_t applied_index;        /* what the state machine holds */
    uint64_t life; /* the number of this start, above that of every one before: Rule 15 */
    /* A node that has just joined has neither log nor snapshot: who will send them; the host's.
     * Looked at in that case only. NULL: none. */
    const struct raft_configuration *members;
};

/* The defaults: T 500 ms, heartbeat 100 ms, limits as named constants in raft/options.c. */
void raft_options_init(struct raft_options *options);

/* --- Events ----------------------------------------------------------------------------------- */

enum raft_event_type {
    RAFT_EVENT_START = 1,
    RAFT_EVENT_RECEIVE,
    RAFT_EVENT_PROPOSE,
    RAFT_EVENT_READ,
    RAFT_EVENT_READ_LEASE,
    RAFT_EVENT_PERSISTED,
    RAFT_EVENT_APPLIED,
    RAFT_EVENT_TIMEOUT,
    RAFT_EVENT_PEER_DOWN,
    RAFT_EVENT_TRANSFER,
    RAFT_EVENT_SNAPSHOT_TAKEN,
    RAFT_EVENT_SNAPSHOT_RECEIVED,
    RAFT_EVENT_PEER_SEEN,
    RAFT_EVENT_CHANGE,
    RAFT_EVENT_WATCHED,
    RAFT_EVENT_DISK_FULL,
    RAFT_EVENT_FETCHED
};

enum raft_change_type {
    RAFT_CHANGE_ADD = 1, /* a learner; with RAFT_MEMBER_PROMOTE it becomes a voter by itself; for an
                            id that is a learner without incarnation: tells its incarnation */
    RAFT_CHANGE_PROMOTE, /* a learner that has caught up becomes a voter */
    RAFT_CHANGE_REMOVE,
    RAFT_CHANGE_REPLACE /* a learner that has caught up becomes a voter and a member goes, at once
                         */
};

/* A change of the members. Voters change by joint consensus (paper, section 6): first an entry in
 * which both sets count, and when that is committed the entry with the new set alone, appended by
 * whoever leads then. */
struct raft_change {
    enum raft_change_type type;
    struct raft_origin origin; /* answered when the last entry is applied, or in `refused` */
    struct raft_member member; /* ADD: all but VOTER flags; else only the name is looked at */
    char replacement[CONCLAVE_NAME_BYTES_MAX + 1]; /* REPLACE: the learner's name */
};

struct raft_event {
    enum raft_event_type type;
    union {
        /* First event, exactly once. A log that begins at index 1 begins with a CONFIG; one that
         * begins later needs a snapshot that reaches it. If the log ends before the snapshot or
         * disagrees with it, it begins anew behind it; the state machine must then hold the
         * snapshot. It must hold what is before the log in any case. */
        struct raft_start start;

        struct raft_message *receive; /* taken over. Its sender was authenticated by the host */

        /* Entries without ids, of kind COMMAND or SESSION; taken over. On a leader they get ids and
         * go into the log; otherwise each comes back in `refused`. */
        struct raft_batch *propose;

        /* A (batched) linearizable read, named by the host. Comes back in `reads`. Any node takes
         * it that knows a leader. READ_LEASE: answered at once by a leader that has a lease, and
         * else as READ. */
        uint64_t read;

        /* The persist of this seq, and so every one before it, is durable; `last` is its `last`. */
        struct {
            uint64_t seq;
            struct raft_id last;
        } persisted;

        bool watched; /* somebody waits for what is applied here, leader or not (false at first) */

        bool disk_full; /* nearly: the node's priority is 0 until it has room again, and a leader
                           hands over at once if a voter has a higher one */

        uint64_t applied; /* the state machine holds everything up to this index */

        /* The connection to this peer broke, or its process was seen to end. A hint: it may be
         * wrong, late or missing; a follower of that peer looks for a new leader at once instead of
         * after its timeout. */
        raft_node_id peer_down;

        /* Give leadership to this voter, or (0) to the one that is best prepared. Comes back in
         * `transfers`; until then proposals are refused with HANDOVER. */
        struct {
            struct raft_origin origin;
            raft_node_id target;
        } transfer;
        /* A snapshot of this node's state machine up to this entry is durable, with its name in its
         * directory (Rule 35): the log may be cut. */
        struct raft_id snapshot_taken;

        /* A snapshot of another node is durable here, whole and verified. Taken over. If it is
         * ahead of this node, the log begins anew behind it and `install` tells the state machine;
         * until its APPLIED comes nothing is applied (Rule 36). */
        struct raft_snapshot snapshot_received;

        /* The incarnation with which a member was first heard; the leader has it remembered in the
         * configuration, so that no other directory is ever taken for this member's. */
        struct {
            raft_node_id peer;
            uint64_t incarnation;
        } peer_seen;

        struct raft_change *change; /* heap, taken over */

        /* What a fetch asked for: entries from its first one on, taken over. Empty: not even that
         * one could be read. Comes once for each, however late: a peer waits for it. */
        struct {
            uint64_t fetch; /* its number */
            struct raft_runs entries;
        } fetched;
    };
};

/* --- Outputs ---------------------------------------------------------------------------------- */

/* One unit for the log-writer, made durable as a whole and in this order: first the hard state,
 * then the entries (Rule 2). Entries whose first index is at or below the log's last one replace
 * everything from there on. */
struct raft_persist {
    uint64_t seq; /* 0: nothing to persist; else 1, 2, 3 ... */
    bool hard_state_changed;
    struct raft_hard_state hard_state;
    struct raft_id anew; /* index > 0: before the entries, the log begins anew behind this one */
    struct raft_runs entries;
    struct raft_id last;             /* the log's last id once this is durable */
    struct raft_messages send_after; /* released when durable: Rules 1, 3, 4 */
};

/* A read whose round has begun. It may be executed already, once everything up to `index` is
 * applied, but what comes of it is nobody's to see before the read is in `reads`, and thrown away
 * if that says anything but OK. May come in the same step as its result. */
struct raft_read_begun {
    uint64_t read;
    uint64_t index;
};

struct raft_read_result {
    uint64_t read;
    int code;                /* CONCLAVE_OK, NOT_LEADER, NO_LEADER, BUSY */
    uint64_t index;          /* OK: answer when everything up to here is applied */
    uint64_t valid_until_us; /* READ_LEASE: and before this time by the clock of raft_step, looked
                                at after it was executed; else READ it again. 0: any time */
};

struct raft_refusal {
    struct raft_origin origin;
    int code; /* NOT_LEADER, NO_LEADER, BUSY, HANDOVER: surely not in the log. UNKNOWN: it was in
                 this log and was replaced; some other node may still have it. A change also:
                 INVALID, EXISTS, NOT_FOUND; OK: everything is as it asks for already */
    const char *why; /* static sentence, or NULL */
};

struct raft_transfer_result {
    struct raft_origin origin;
    int code; /* OK: the target leads (any other node, if none was named). NOT_LEADER, NO_LEADER,
                 BUSY (one is under way). INVALID: no such voter, or no other voter. UNREACHABLE:
                 the target, or every voter, has been silent. TIMEOUT: it did not come about */
};

/* For the host's log and the simulator's coverage marks; the core does not depend on it. */
enum raft_trace_type {
    RAFT_TRACE_ROLE = 1,       /* a: new role, b: term */
    RAFT_TRACE_LEADER,         /* a: leader's id or 0, b: term */
    RAFT_TRACE_CONFIG,         /* a: index of the configuration now in effect */
    RAFT_TRACE_TRUNCATE,       /* a: first index removed, b: last index removed */
    RAFT_TRACE_REJECTED,       /* a: peer, b: rejected index: a follower's log differs */
    RAFT_TRACE_RESTARTED,      /* a: peer, b: its life: what was known of it counts no more */
    RAFT_TRACE_QUORUM_LOST,    /* a: term: the leader stepped down for want of a quorum */
    RAFT_TRACE_TRANSFER,       /* a: target: a transfer begins; b: why, enum raft_transfer_reason */
    RAFT_TRACE_TRANSFER_SENT,  /* a: target: it was told to campaign */
    RAFT_TRACE_TRANSFER_ENDED, /* a: target: it did not come about, and this node leads on */
    RAFT_TRACE_DISK_STALLED,   /* a: term: the leader stepped down because its disk hangs */
    RAFT_TRACE_INSTALL,    /* a: last index of a snapshot that replaces log and state, b: term */
    RAFT_TRACE_PROMOTE,    /* a: learner that has caught up and is made a voter */
    RAFT_TRACE_REMOVED,    /* a: index of the committed configuration without this node */
    RAFT_TRACE_UNREADABLE, /* a: index of an entry on disk alone that cannot be read, b: its term */
    RAFT_TRACE_RETIRED     /* a: term: the leader stepped down because it was removed */
};

struct raft_trace {
    enum raft_trace_type type;
    uint64_t a, b;
};

enum raft_transfer_reason {
    RAFT_TRANSFER_ASKED = 1,    /* by a TRANSFER event */
    RAFT_TRANSFER_DISK = 2,     /* this node's disk hangs */
    RAFT_TRANSFER_PRIORITY = 3, /* the target has a higher priority */
    RAFT_TRANSFER_FULL = 4      /* this node's disk is nearly full, and the target's is not */
};

#define RAFT_LIST(type, name)     \
    struct {                      \
        type *items;              \
        uint32_t count, capacity; \
    } name

/* All zero is empty. Outputs add up over steps until raft_output_clear; the host moves out what it
 * hands to other threads. */
struct raft_output {
    struct raft_messages send_now;
    struct raft_persist persist;
    struct raft_id install; /* index > 0: before `apply`, the state machine becomes the snapshot
                               with this last entry; comes back as APPLIED */
    struct raft_runs apply;
    RAFT_LIST(struct raft_read_begun, reads_begun);
    RAFT_LIST(struct raft_read_result, reads);
    RAFT_LIST(struct raft_fetch, fetches);
    bool snapshot_wanted; /* a part of the log that a peer needs cannot be read: the state machine
                             is to be asked for a snapshot, which takes its place */
    RAFT_LIST(struct raft_refusal, refused);
    RAFT_LIST(struct raft_transfer_result, transfers);
    RAFT_LIST(struct raft_trace, trace);
    uint64_t deadline_us;        /* UINT64_MAX: none */
    struct conclave_error error; /* set when raft_step fails */
};

/* Destroys what is still in it and makes it empty; keeps the lists' memory. */
void raft_output_clear(struct raft_output *output);
void raft_output_deinit(struct raft_output *output);

/* --- The core --------------------------------------------------------------------------------- */

struct raft;

struct raft *raft_create(const struct raft_options *options);
void raft_destroy(struct raft *raft);

/* Takes all `events`, in order, as happening at now_us, then decides once what to send, persist and
 * apply: a host that drains its queue before it calls gets group commit and full messages for free.
 * now_us never goes back. The output must have been cleared.
 *
 * Returns CONCLAVE_OK, or a code with output->error: the node must stop at once and carry out
 * nothing of the output. CORRUPT: what storage recovered is no valid log. INTERNAL: safety is
 * broken (two leaders in one term, Rule 26; a committed entry would be replaced, Rule 9). */
MUST_USE int raft_step(struct raft *raft, uint64_t now_us, struct raft_event *events, size_t count,
                       struct raft_output *output);

/* --- Looking at it; between steps, by the owning thread ----------------------------------------
 */

enum raft_role raft_role(const struct raft *raft);
raft_node_id raft_leader(const struct raft *raft); /* 0: not known */
uint64_t raft_commit(const struct raft *raft);
uint64_t raft_applied(const struct raft *raft); /* reported by APPLIED */
struct raft_hard_state raft_hard_state(const struct raft *raft);
struct raft_id raft_last(const struct raft *raft);    /* last entry in memory */
struct raft_id raft_durable(const struct raft *raft); /* last entry known to be on disk here */

/* True if this node goes on once its disk has written what it was given, whatever else happens. If
 * not, PERSISTED may come as late as with the next other event. */
bool raft_awaits_disk(const struct raft *raft);

/* True on a leader that has committed an entry of its own term and may serve. */
bool raft_is_serving(const struct raft *raft);

/* Until when nobody else can lead, by the clock of the last step (Rule 41). 0: this node has no
 * lease. */
uint64_t raft_lease_until(const struct raft *raft);

/* A leader that hands over: the target, else 0. */
raft_node_id raft_transfer_target(const struct raft *raft);

/* The configuration in effect (the newest in the log, Rule 29) and its index, which may be asked
 * for with NULL. Not before START. */
const struct raft_configuration *raft_configuration(const struct raft *raft, uint64_t *ret_index);

/* The entry before the first one that the log holds. */
struct raft_id raft_base(const struct raft *raft);

/* True from the step that puts out `install` until the state machine's APPLIED of it (Rule 36). */
bool raft_is_installing(const struct raft *raft);

/* The entries in memory: those behind raft_memory_base(). Until the next step. */
const struct raft_runs *raft_entries(const struct raft *raft);

/* The entry before the first one in memory: the log's base, or behind it. */
struct raft_id raft_memory_base(const struct raft *raft);

/* The term of the entry at this index: 0 if the log does not hold it. */
uint64_t raft_term_at(const struct raft *raft, uint64_t index);

/* How a leader sees a peer; false if not leader or no such peer. */
struct raft_peer_view {
    uint64_t match, next;
    uint64_t contact_us; /* when it was last heard of */
    bool replicating;    /* false: probing, or being given a snapshot */
    bool needs_snapshot; /* the host is to send it the newest snapshot, until this is false */
    bool fetching;       /* entries are being read back for it */
    uint64_t life;       /* the start of the peer that match is of; 0: not heard yet */
};
bool raft_peer_view(const struct raft *raft, raft_node_id peer, struct raft_peer_view *ret);

#endif
