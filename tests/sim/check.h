/* tests/sim/check.h - the safety of Raft as executable statements over everything that happens.
 *
 * A struct check is told what a node put out, what became durable, what was sent, applied and
 * answered, and keeps its own account of it: for every node the log in memory and the log on disk
 * (every position with a hash over the whole log up to it), and one oracle: the committed log. It
 * never looks into the core, so each statement is tested by feeding it a bad history.
 *
 * The first violation is kept; from then on nothing counts and the run ends. One thread. */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include "raft/raft.h"
#include "tests/sim/changes.h"
#include "tests/sim/knobs.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"

/* One position of a log. */
struct check_entry {
    uint64_t term;
    uint64_t chain; /* hash of this entry and all before it: equal chain, equal log up to here */
    uint64_t op;    /* COMMAND: the operation's number; else 0 */
    uint64_t bytes_through;    /* of payload, in this entry and all before it */
    uint64_t proposed_through; /* of those, the bytes that clients have proposed */
    uint64_t config_at;        /* index of the newest configuration up to here; 0: there is none */
    uint32_t config;           /* its number */
};

/* A configuration, members by their nodes' numbers: bit i is node i. */
struct check_config {
    bool joint;
    uint32_t voters, outgoing; /* outgoing: of a joint one */
    uint32_t learners, removed;
    uint32_t promote; /* learners that are to become voters by themselves */
    uint32_t known;   /* members whose data directory is written down */
    uint32_t members; /* voters, outgoing and learners */
};

/* entries[i] is index i + 1. What a log holds only in a snapshot is kept too: it is what was
 * committed there. */
struct check_log {
    struct check_entry *entries;
    uint64_t count, capacity;
};

struct check_append {
    uint64_t last; /* index */
    uint64_t bytes;
};

/* Appends with entries that a leader has on their way to one peer, oldest first. */
struct check_flow {
    RAFT_LIST(struct check_append, appends);
    uint64_t bytes;
    uint64_t kept_until_us; /* what there is room for may be kept until then; 0: there is none */
    bool pipelining; /* else the leader looks for the place where the logs part: one at a time */
};

/* How long a leader's log was at some times, to see how far behind a learner is. */
enum { CHECK_SAMPLES = 64, CHECK_ROUNDS = 64, CHECK_WRITES = 64 };

struct check_samples {
    uint64_t now_us[CHECK_SAMPLES], last[CHECK_SAMPLES];
    uint64_t count; /* taken so far; the newest CHECK_SAMPLES are kept */
};

/* What the core says of itself after a step. */
struct check_view {
    enum raft_role role;
    struct raft_hard_state hard_state;
    uint64_t commit, applied;
    struct raft_id last, durable;
    uint64_t config_index; /* of the configuration in effect */
    uint64_t now_us;       /* the node's own clock */
    bool retired;          /* it said that it steps down because it was removed */
    uint64_t world_us;     /* the world\'s time */
    uint64_t lease_us;     /* until then, in the world\'s time, it serves reads by itself; 0: not */
    uint64_t lease_own_us; /* the same by its own clock */
    struct raft_id base;   /* the entry before the first one */
    uint64_t memory_base;  /* the same of those in memory: the rest is on disk alone */
};

/* A message that reached a node in a step: what it is answered with has to be about it. */
struct check_heard {
    enum raft_message_type type;
    raft_node_id from;
    uint64_t term;
    struct raft_id prev;  /* APPEND_REQUEST */
    uint64_t end, commit; /* APPEND_REQUEST: its last entry's index, or that of prev */
    uint64_t round;       /* of an append or the answer to one */
    struct raft_append_response answer; /* APPEND_RESPONSE */
    struct raft_id last;                /* of a request for a vote or a pre-vote */
    uint64_t incarnation;               /* likewise; TIMEOUT_NOW: for whom it is meant */
    bool transfer;                      /* of a request for a vote */
    bool granted;                       /* of an answer to one, or to one for a pre-vote */
};

/* What a node knows of its leader, and a leader of its peers, and since when. By the node's own
 * clock, in microseconds. */
struct check_contact {
    uint32_t events;     /* what came in the step under way: a bit for each type */
    raft_node_id leader; /* whom it followed before it */
    uint64_t asked_us;   /* when it was to be woken, before it */
    bool lost_leader;    /* it was told in it, or may have been, that its leader is gone */
    uint64_t holds_until_us, promised_until_us; /* it holds to a leader until then; nothing ends
                                                 * what it promised */
    uint64_t may_hold_until_us;                 /* it may do so until then, as far as is known */
    uint64_t leads_since_us;
    uint64_t answered_us[SIM_NODES_MAX]; /* when a peer last answered an append; 0: it never did */
    uint64_t told_seq;                   /* of the last persist that it heard to be done */
    uint64_t called_term, called_until_us; /* its leader called it to campaign */
    uint64_t waits_term, waits_until_us;   /* it is to do so when it has applied the members */
    bool hands_over;
    uint64_t drawn_us[2]; /* its last election timeouts, the newest first */
};

/* What a leader has sent and been answered in its term. By its own clock, in microseconds. */
struct check_office {
    uint64_t term;            /* 0: it does not lead */
    bool handed_over;         /* it has tried to in this term, and has no lease any more */
    uint64_t config_index;    /* the newest configuration, */
    uint64_t settled_us;      /* and since when it is known to be committed; 0: it is not */
    uint64_t round, round_us; /* the newest that it has sent, and since when */
    struct check_begun {
        uint64_t round, us;
    } begun[CHECK_ROUNDS]; /* since when it has sent each of the newest; by their count */
    uint64_t begun_count;
    struct check_sent {
        uint64_t append_us;       /* the last append; 0: none */
        uint64_t commit;          /* what that told */
        uint64_t answer_us;       /* when the peer last answered, in its newest life */
        uint64_t promise_us;      /* when it last answered with a promise */
        uint64_t surely_until_us; /* so long at least that promise is good for a lease */
        uint64_t may_until_us;    /* and so long at most */
    } peers[SIM_NODES_MAX];
};

/* What a node does to be elected, and what keeps it from that. By its own clock, in microseconds.
 */
struct check_stand {
    uint32_t granted;        /* mask: who gave it a pre-vote since it last asked for them */
    uint32_t gone;           /* mask: whom it was told in the step under way to be gone */
    uint32_t hands_to;       /* 1 + the node that it hands over to; 0: none */
    uint64_t rests_until_us; /* it led, or stood back for another, and waits that long */
    struct check_write {
        uint64_t seq, since_us;
    } writes[CHECK_WRITES]; /* the newest persists and when they were handed over, by their numbers
                             */
};

/* What a node is told at its start, and says with every answer. */
struct check_own {
    uint64_t incarnation, life;
    uint64_t promise_us;
    uint32_t priority;
    raft_node_id leader; /* whom it follows after the step; 0: nobody */
};

/* The newest campaign in which a node was asked for its vote by another, and with what log. */
struct check_asked {
    uint64_t term;
    struct raft_id last;
    bool fits; /* it was not behind */
    bool open; /* the step that answers is to come */
};

struct check_node {
    raft_node_id id;
    uint32_t incarnation;
    struct check_log memory, disk;
    struct raft_hard_state handed; /* last given to the log-writer */
    struct raft_hard_state durable;
    struct check_view view;               /* after the last step; zero after a start */
    struct check_view old;                /* after the step before that */
    bool same_log;                        /* the last step left the log as it was */
    RAFT_LIST(struct check_heard, heard); /* in the step under way */
    struct check_contact contact;
    struct check_office office;
    struct check_stand stand;
    uint64_t stepped_last;  /* the last index in memory then */
    uint64_t seq;           /* of the last persist */
    uint64_t apply_handed;  /* last index given to the state machine */
    uint64_t machine_index; /* the state machine holds */
    uint64_t led_term;      /* the last term it led */
    uint64_t campaign_term; /* the last term in which it was a candidate and a voter by its log */
    uint64_t rotten_life;   /* the life after which the last batch was lost; 0: none */
    uint64_t led_from;      /* the last index of older terms in its log when it began to lead */
    struct check_flow flows[SIM_NODES_MAX];     /* to each peer, in led_term */
    struct raft_peer_view peers[SIM_NODES_MAX]; /* as it last saw them, in led_term */
    struct check_samples samples;               /* in led_term */
    uint64_t round_sent;                        /* the highest in its appends of led_term */
    uint64_t round_answered[SIM_NODES_MAX];     /* 1 + the highest in a peer's answers to them */
    uint64_t read_asked, read_answered; /* the highest number of its requests, and of answers */
    uint64_t read_before;               /* the highest number of its requests in lives before */

    struct raft_id snapshot;  /* the newest that is durable here; index 0: none */
    struct raft_id rotten;    /* this one rotted, and may still be taken for the newest ... */
    struct raft_id before;    /* ... instead of this one */
    uint64_t snapshot_told;   /* index of the newest that the core knows of */
    uint64_t snapshot_known;  /* the same, after the step before */
    uint64_t snapshot_before; /* the same, before the last step */
    uint64_t unreadable;      /* the last entry that it could not read back; of this life */
    uint64_t unreadable_cut;  /* the last of those that a snapshot held by then: the log may begin
                                 behind it */
    uint64_t base_before;     /* index of the base before this step */
    bool anew;                /* the log began anew in this step */
    bool cut;                 /* it lost entries in it */
    struct check_asked votes[SIM_NODES_MAX], prevotes[SIM_NODES_MAX]; /* by whom it was asked */
    uint64_t installing;          /* the state machine is to become the snapshot that ends here */
    uint64_t pins[SIM_NODES_MAX]; /* leader: what the peer needs begins behind: the newest when it
                                   * began to need one; then what it has; 0: it needs none */
};

struct check {
    bool failed;
    char invariant[64];
    char text[640];
    struct raft_options options; /* the limits */
    uint64_t proposal_bytes_max; /* the largest proposal: it passes alone whatever the limits */
    uint32_t node_count;
    struct check_node nodes[SIM_NODES_MAX];
    RAFT_LIST(struct check_config, configs); /* by number; 0: none */
    struct map config_numbers;               /* {hash of the payload, 0} -> number */

    struct check_log oracle; /* what is committed */
    uint64_t *committed_in;  /* per oracle entry: term of the node that knew it first */
    uint64_t committed_in_capacity;
    uint64_t *answers; /* per index: hash of the answer, and 1 more; 0: not seen */
    uint64_t answers_capacity;
    struct map chains;  /* {index, term} -> chain */
    struct map stores;  /* {index, 0} -> hash of the state after it */
    struct map leaders; /* {term, 0} -> node << 32 | incarnation */
    struct map votes;   /* {node, term} -> candidate */
    struct map asked;   /* {node << 32 | from, number} -> term << 40 | round: as by op.round */
    struct ops *ops;

    uint64_t moment_us, moment_events; /* what happened last, and how much in that moment */

    uint64_t oracle_old_terms; /* committed entries older than the term that committed them */
};

void check_init(struct check *check, const struct raft_options *options, const raft_node_id *ids,
                uint32_t node_count, struct ops *ops);
void check_deinit(struct check *check);

/* One node more: it may be named as a member from now on. An id may come twice: what is said of its
 * member is said of the first node. */
void check_add_node(struct check *check, raft_node_id id);

/* Keeps the first violation: a short name and the account of it. */
void check_fail(struct check *check, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- check.c: logs, leaders, commitment --------------------------------------------------------
 */

/* The entry that every initial node holds: committed before anything happens. */
void check_bootstrap(struct check *check, const struct raft_entry *entry);

/* A node starts with what its disk holds, behind `base`. After check_start_snapshot, and
 * check_restored if the state machine became a snapshot. */
void check_start(struct check *check, uint32_t node, uint32_t incarnation,
                 struct raft_hard_state hard_state, struct raft_id base,
                 const struct raft_runs *entries, uint64_t applied);

/* A life of a node begins on the directory of the one before: their numbers. */
void check_life(struct check *check, uint32_t node, uint64_t before, uint64_t life);

/* After the end of this life of a node everything on its disk behind `count` entries was lost. */
void check_rot(struct check *check, uint32_t node, uint64_t count, uint64_t life);

/* The core hands out a persist. `truncations`: how many times it said that it cut its log in this
 * step; `leading` that it led this term before and after the step. */
void check_persist(struct check *check, uint32_t node, const struct raft_persist *persist,
                   uint32_t truncations, bool leading);

/* After a step, after check_persist and before its messages go out. */
void check_step(struct check *check, uint32_t node, const struct check_view *view);

/* --- check_votes.c: whom votes go to -----------------------------------------------------------
 */

/* A request for a vote or a pre-vote reaches a node. */
void check_vote_request(struct check *check, uint32_t node, const struct raft_message *message);

/* Part of check_step: what the node was asked before it is answered now. */
void check_votes_step(struct check *check, uint32_t node, const struct check_view *before);

/* A granted vote or pre-vote leaves a node (part of check_send). */
void check_granted(struct check *check, uint32_t node, const struct raft_message *message);

/* --- check_members.c: who counts ----------------------------------------------------------------
 */

/* The number of the configuration that a payload holds; equal payloads, equal numbers. 0 after a
 * violation: it can not be read, or names a node that nobody asked to be a member. */
uint32_t check_config_number(struct check *check, struct slice payload);

/* The newest configuration of a log up to an index. All zero if there is none. */
const struct check_config *check_config_at(const struct check *check, const struct check_log *log,
                                           uint64_t index);

/* How many nodes are in a set. */
uint32_t check_count(uint32_t nodes);

/* True if these nodes are a majority of the voters; of both sets in the joint phase (Rule 30). */
bool check_majority(const struct check_config *config, uint32_t nodes);

/* True if the peer votes, or goes on voting, by the newest configuration in the node's log. */
bool check_is_voter(const struct check *check, uint32_t node, uint32_t peer);

/* True if the node votes in a configuration that may be in force by its own log: the newest
 * committed one that it knows, or one after it (dissertation, 4.2.2). */
bool check_may_lead(const struct check *check, uint32_t node);

/* A node begins to lead: by the votes of a majority of the configuration in its log. */
void check_elected(struct check *check, uint32_t node);

/* The node has just begun to campaign, or to ask whether it could win. */
void check_campaign(struct check *check, uint32_t node);

/* True if the nodes are a majority for what a leader commits in a step: by the configuration in its
 * log. One that it has appended in this very step may have come before or after it committed. */
bool check_commit_majority(const struct check *check, uint32_t node, uint32_t nodes);

/* True if a majority of the others, by every log there is, holds what this node's disk holds: then
 * nothing is lost with any of it, neither what is committed nor what it has acknowledged. */
bool check_may_lose(const struct check *check, uint32_t node);

/* The configuration that a core says is in effect, after check_step. */
void check_configuration(struct check *check, uint32_t node,
                         const struct raft_configuration *configuration);

/* Whom a core says that it follows (0: nobody), after check_step. */
void check_followed(struct check *check, uint32_t node, raft_node_id leader);

/* A core says, after check_step, that a configuration that it has committed is without it. */
void check_removed(struct check *check, uint32_t node, uint64_t index);

/* Part of check_step: the newest configuration in the log is in effect (Rule 29). */
void check_config_index(struct check *check, uint32_t node);

/* --- check_changes.c: changes of the members ---------------------------------------------------
 */

/* Part of check_step: what a node that leads or led has appended since `last`, and whether it may
 * lead on. */
void check_leader_changes(struct check *check, uint32_t node, const struct check_view *before,
                          uint64_t last);

/* A request of the operator is answered (NULL: of nobody); index 0: not by an entry. */
void check_change(struct check *check, const struct change *change, uint32_t node, uint32_t life,
                  int code, uint64_t index);

/* The entries that a core has in memory, by its own account, after check_step. */
void check_entries(struct check *check, uint32_t node, const struct raft_runs *entries);

/* --- check_flow.c: what a leader believes of its peers and sends to them -----------------------
 */

/* How a leader sees a peer, after check_step. `rejected`: it said in this step that the peer's log
 * differs, and goes back. */
void check_peer_view(struct check *check, uint32_t node, uint32_t peer,
                     const struct raft_peer_view *view, bool rejected, uint64_t now_us);

/* An append leaves a node (part of check_send). */
void check_append_request(struct check *check, uint32_t node, const struct raft_message *message);

/* A leader's own proposals that are not committed, after check_step. */
void check_uncommitted(struct check *check, uint32_t node);

/* After a leader's messages went out: nothing that a peer's window has room for stays behind. */
void check_sent(struct check *check, uint32_t node);

/* --- check_says.c: what messages say of who sends them -----------------------------------------
 */

/* A request reaches a node, before the step that takes it. */
void check_heard(struct check *check, uint32_t node, const struct raft_message *message);

/* The messages that a step puts out, now or for when the disk is done; after check_step and what
 * it is told of the peers. */
void check_says(struct check *check, uint32_t node, const struct check_own *own,
                const struct raft_messages *messages);

/* --- check_lead.c: who holds to a leader, and who leads on --------------------------------------
 */

/* What is about to be given to a core, which follows `leader` (0: nobody) and asked to be woken at
 * `asked_us` of its clock; before the step. Calls check_heard. */
void check_events(struct check *check, uint32_t node, raft_node_id leader, uint64_t asked_us,
                  const struct raft_event *events, uint32_t count);

/* What came of it; after check_says. */
void check_lead(struct check *check, uint32_t node, const struct check_own *own,
                const struct raft_output *output);

/* Who stands for election, and for whom it stands back; after check_lead. */
void check_stand(struct check *check, uint32_t node, const struct raft_output *output);

/* The step is over: what was heard in it is answered, or never will be. */
void check_said(struct check *check, uint32_t node);

/* --- check_heed.c: what comes of what is heard --------------------------------------------------
 */

/* How a leader sees a peer, after check_step and before check_peer_view: it follows from what the
 * peer has answered. */
void check_belief(struct check *check, uint32_t node, uint32_t peer,
                  const struct raft_peer_view *view);

/* What a node makes of what it was told; after check_says and before check_lead. */
void check_heed(struct check *check, uint32_t node, const struct check_own *own,
                const struct raft_output *output);

/* --- check_leisure.c: what may wait ------------------------------------------------------------
 */

enum { SIM_MOMENT_EVENTS_MAX = 20000 };

/* Something happens: not without end in one and the same moment, as when somebody asks to be woken
 * at once again and again. */
void check_moment(struct check *check, uint64_t now_us);

/* When a core asks to be woken, after check_step, by its own clock. */
void check_deadline(struct check *check, uint32_t node, uint64_t deadline_us);

/* A core has just told the index of a read that somebody waits for; after check_apply. */
void check_read_awaited(struct check *check, uint32_t node, uint64_t index);

/* A step in which a core heard of nothing but what its disk had done while it did not wait for it,
 * after check_step. */
void check_told_late(struct check *check, uint32_t node, const struct check_view *before,
                     uint64_t handed_before);

/* --- check_io.c: disk, network, state machine, clients ------------------------------------------
 */

/* The disk has made a persist durable; before its messages are released. */
void check_durable(struct check *check, uint32_t node, const struct raft_persist *persist);

/* A message leaves a node. */
void check_send(struct check *check, uint32_t node, const struct raft_message *message);

/* The core hands entries to the state machine. */
void check_apply(struct check *check, uint32_t node, const struct raft_runs *apply);

/* A state machine has applied one entry, and answers with this hash (0: none). */
void check_applied(struct check *check, uint32_t node, uint64_t index, uint64_t answer_hash);

/* What a state machine holds after `index`, as a hash. */
void check_store(struct check *check, uint32_t node, uint64_t index, uint64_t hash);

/* An operation is answered (state: OK, DENIED, REFUSED, UNKNOWN) by a node. */
void check_answer(struct check *check, uint64_t op, uint32_t node, uint32_t incarnation,
                  enum op_state state);

/* A read comes to a node. */
void check_read_arrives(struct check *check, uint64_t op, uint32_t node);

/* A follower's request for an index reaches a node. */
void check_read_request(struct check *check, uint32_t node, const struct raft_message *message);

/* A leader has confirmed that it still led after the read came (Rules 30 and 40). */
void check_read_confirmed(struct check *check, uint64_t op, uint32_t node);

/* A follower has, by its leader's word. */
void check_read_followed(struct check *check, uint64_t op, uint32_t node);

/* An operation's answer was put into ops: another attempt's, if there was one, is the same. */
void check_repeat(struct check *check, uint64_t op);

/* A read is answered after the state machine has applied `index`. */
void check_read(struct check *check, uint64_t op, uint64_t index);

/* --- check_snapshot.c: snapshots, and logs that begin behind one --------------------------------
 */

/* What counts as durable is on the node's disk. */
void check_snapshot_synced(struct check *check, uint32_t node, struct raft_id id, bool synced);

/* Those that were too many were removed. The newest two are `before` and `after` that; index 0:
 * there is none. The log goes no further than up to `oldest`. The state machine is yet to become
 * the one at `needed`; 0: none. */
void check_snapshots_pruned(struct check *check, uint32_t node, const struct raft_id before[2],
                            const struct raft_id after[2], uint64_t oldest, uint64_t needed);

/* What has come whole counts: it can be read to its end. */
void check_snapshot_whole(struct check *check, uint32_t node, struct raft_id id, bool whole);

/* A snapshot is durable at a node, its own (`taken`) or another's. */
void check_snapshot_durable(struct check *check, uint32_t node,
                            const struct raft_snapshot *snapshot, bool taken);

/* The newest one rots, the node being down: when that is seen, the one before it is the newest. */
void check_snapshot_rotten(struct check *check, uint32_t node, struct raft_id before);

/* The newest one that a start finds. */
void check_start_snapshot(struct check *check, uint32_t node, const struct raft_snapshot *snapshot);

/* The node could not read this entry of its log back: nothing up to it need be kept. */
void check_unreadable(struct check *check, uint32_t node, uint64_t index);

/* The log begins where it does because what is before that could not be read back. */
bool check_begins_unreadable(const struct check_node *at);

/* The core is told of a snapshot of its own in the step to come. */
void check_snapshot_told(struct check *check, uint32_t node, uint64_t index);

/* The core hands a snapshot to the state machine, before check_apply. */
void check_install(struct check *check, uint32_t node, struct raft_id id);

/* The state machine, which held everything up to `from`, has become a snapshot. */
void check_restored(struct check *check, uint32_t node, uint64_t from, uint64_t index);

/* Part of check_persist: the log begins anew. */
void check_anew(struct check *check, uint32_t node, struct raft_id base);

/* Part of check_step: what the log lets go of. */
void check_base(struct check *check, uint32_t node, const struct check_view *before);

/* Payload in a node's memory from the entry behind `base` on. */
uint64_t check_bytes_behind(const struct check_node *at, uint64_t base);

/* Part of check_peer_view, before the view of the peer is replaced: who needs a snapshot, and what
 * stays for whom. now_us: the node's. */
void check_peer_snapshot(struct check *check, uint32_t node, uint32_t peer,
                         const struct raft_peer_view *view, uint64_t now_us);

/* True if the node holds this entry, and all before it, durably: in its log or in a snapshot. */
bool check_holds(const struct check *check, uint32_t node, uint64_t index,
                 const struct check_entry *entry);

/* The last index that it holds so. */
uint64_t check_stored_last(const struct check *check, uint32_t node);

/* The log becomes what was committed up to an index. */
void check_log_anew(struct check *check, struct check_log *log, uint64_t index);

/* --- shared -------------------------------------------------------------------------------------
 */

/* Position `index` of a log or NULL. */
static inline const struct check_entry *check_log_at(const struct check_log *log, uint64_t index)
{
    return index >= 1 && index <= log->count ? &log->entries[index - 1] : NULL;
}

/* Replaces everything from entry->id.index on by the entry; its index must be at most count + 1. */
void check_log_put(struct check *check, struct check_log *log, const struct raft_entry *entry);

/* Bytes of payload up to and including `index`, which is at most the log's last. */
static inline uint64_t check_log_bytes(const struct check_log *log, uint64_t index)
{
    return index > 0 ? log->entries[index - 1].bytes_through : 0;
}

/* The node with this id; node_count if none. */
uint32_t check_find(const struct check *check, raft_node_id id);

const char *check_name(const struct check *check, raft_node_id id, char name[8]);

#endif
