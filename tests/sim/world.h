/* tests/sim/world.h - one simulated cluster: everything that a seed decides, in one thread and one
 * virtual time.
 *
 *     world.c        the loop: takes the next event and hands it to its module
 *     calm.c         the end: everything is healed, and has to come to rest
 *     node.c         the host of one core: clock, inbox, step; node_life.c: starts and crashes
 *     node_output.c  what a step puts out, checked and carried out
 *     node_io.c      its disk and its state machine at work
 *     network.c      messages: lost, repeated, late, cut off
 *     clients.c      operations: invoked, answered, resolved
 *     lockers.c      clients that queue; workers.c: members of work groups
 *     watches.c      those that watch, subscribe and wait; hubs.c: the nodes' side of it
 *     faults.c       crashes, restarts, pauses, partitions
 *     holds.c        links that deliver late
 *
 * A run has two phases. In the first, faults happen and clients work for `steps` events; in the
 * second (`calm`) everything is healed and restarted, and the cluster has to come to rest: a
 * leader, every operation resolved, equal states. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "actors/alarm.h"
#include "actors/reads_ahead.h"
#include "codec/peer.h"
#include "raft/audit.h"
#include "tests/sim/changes.h"
#include "tests/sim/check.h"
#include "tests/sim/decisions.h"
#include "tests/sim/disk.h"
#include "tests/sim/knobs.h"
#include "tests/sim/lockers.h"
#include "tests/sim/machine.h"
#include "tests/sim/narrow.h"
#include "tests/sim/ops.h"
#include "tests/sim/queue.h"
#include "tests/sim/reference.h"
#include "tests/sim/report.h"
#include "tests/sim/snapshots.h"
#include "tests/sim/storage.h"
#include "tests/sim/store.h"
#include "tests/sim/watches.h"
#include "tests/sim/workers.h"

/* A read that the core has confirmed and the state machine has not reached yet. */
struct node_read {
    uint64_t op;
    uint64_t index;
    uint64_t valid_until_us; /* by a lease; 0: by a round */
    uint64_t fresh_us;       /* what was committed then, on the node's clock, is in it */
};

/* A read that began, see ahead.c. */
struct node_ahead {
    uint64_t op;
    uint64_t index;
    bool executed;
    bool altered;     /* executed by a machine that holds something else than was applied */
    uint64_t applied; /* what the machine had applied when it executed it */
};

/* The timer actor of a node. */
struct sim_timer {
    uint64_t deadline_us; /* by the node's clock; UINT64_MAX: none */
    uint64_t epoch;
    uint64_t fired;   /* epoch of the word that is on its way; 0: none */
    uint64_t look_us; /* earliest SIM_TIMER queued, by the world's clock; UINT64_MAX: none */
};

/* What a node's network knows of another one's data directory; of members, and for a while of nodes
 * that are none by its log (guests). */
struct acquaintance {
    bool member, met;
    bool told; /* the core was, or need not be */
    uint64_t incarnation;
    uint64_t expire_us; /* of a guest */
};

struct node {
    raft_node_id id;
    bool up;
    uint32_t incarnation; /* 1, 2, 3 ... : lives */
    uint64_t life;        /* the number of its last start, as its disk counts them */
    struct raft *raft;
    struct raft_options options;
    struct raft_output output;

    int64_t clock_offset_us;
    uint64_t clock_rate; /* virtual microseconds of this node in a million of the world */
    uint64_t now_us;     /* its own clock at its last step */
    struct alarm alarm;
    struct sim_timer timer;
    uint64_t asked_us; /* when it asked to be woken last, by its own clock */
    bool timer_due;
    uint32_t overdue; /* steps in a row after which the deadline was past */
    uint64_t paused_until_us;

    RAFT_LIST(struct raft_event, inbox);
    bool wake_queued;

    struct disk *disk;
    struct storage_identity identity;
    bool damaged;          /* its log is: it must not start before it is repaired */
    bool scattered;        /* all of that is good on others that may be damaged too */
    bool half_mended;      /* it was being repaired when the power went: it may be whole */
    bool repairing;        /* it asks the others */
    bool refused;          /* it did not start, and never will */
    struct wal_want wants; /* of a damaged one; anchor.index 0: nothing */
    bool exists;           /* it has a directory */
    bool gone;             /* no more: it was wiped */
    bool stopped;          /* switched off after it was removed */
    bool blank;            /* another directory under an id that was wiped */
    uint32_t heir;         /* the node that runs at its address now: itself, or a blank one */
    bool asked, promote;   /* it was asked in; as a voter */
    struct raft_configuration *joined; /* who was there when it joined; NULL: it did not */
    struct acquaintance known[SIM_NODES_MAX];
    bool disk_busy, disk_waits;  /* a batch is under way; it waits for room */
    uint64_t persisted_at_us;    /* of the last completion on its way to the core */
    uint64_t persisted_seq;      /* told to the core, or held */
    struct raft_event persisted; /* held for the next event to come; type 0: none */
    struct machine *machine;
    bool machine_busy;
    bool install_waits, install_waited; /* it found no room; or in the life before this one */
    uint64_t applied_at_us;
    uint64_t applied_index;                /* told to the core */
    RAFT_LIST(struct raft_fetch, fetches); /* under way */
    RAFT_LIST(struct node_read, reads);
    RAFT_LIST(struct node_ahead, ahead);
    struct reads_ahead reads_ahead; /* their answers */
    uint64_t reads_in_core;
    uint64_t fresh_us, fresh_index; /* of the newest confirmed read; 0: none */
    uint64_t session_clock_us;      /* leader: up to when cluster time is in the log */
    uint64_t clock_at_us;           /* of its next SIM_CLOCK; UINT64_MAX: none. Others are void */
    uint64_t due_ms;                /* cluster time until something ends; UINT64_MAX: nothing */
    uint64_t start_applied;         /* index: the state machine had it when this life began */
    struct snapshots snapshots;
    struct audit *audit;    /* NULL: nobody compares; of this life */
    bool altered;           /* what its machine holds is not what was applied */
    bool was_altered;       /* in this life: what it said then may still be judged */
    struct stream_hub *hub; /* while it is up */
    struct narrow_feed feeds[STREAM_KINDS]; /* of it */
    uint64_t hub_at_us; /* of its next SIM_HUB; UINT64_MAX: none. Others are void */
};

struct client {
    uint32_t outstanding;
    uint32_t leader;                /* node that it takes for the leader */
    uint64_t epoch;                 /* of its last operations: a timeout of older ones is void */
    bool in_session;                /* numbers its commands */
    uint64_t session, next;         /* 0: none is open; the number of its next command */
    RAFT_LIST(uint64_t, commands);  /* of the session, first attempts, not answered */
    uint64_t done;                  /* one that was: its first attempt; 0: none */
    uint64_t seen[SIM_KEYS];        /* modify revisions */
    uint64_t lease;                 /* granted last; 0: none */
    uint64_t last[SIM_TOPICS];      /* sequence of the last message that it knows of */
    struct op_item items[SIM_KEYS]; /* as it read them last */
    uint64_t revision;              /* the highest that it was told */
};

/* So many entries were known to be committed from then on. */
struct commit {
    uint64_t at_us, tick, count;
};

/* Enough for every kind of event, and for nodes and clients. */
enum { SIM_STREAM_KINDS = 64, SIM_STREAM_NODES = 64 };

/* What would arrive meanwhile arrives at its end. */
struct hold {
    uint64_t from_us, until_us;
};

struct world {
    struct prng prng; /* of the event under way: see world_reseed */
    uint64_t drawn[SIM_STREAM_KINDS][SIM_STREAM_NODES]; /* generators that were begun */
    struct decisions decisions;
    struct knobs knobs;
    struct queue queue;
    struct report report;
    struct check check;
    struct reference reference;
    RAFT_LIST(struct commit, commits);
    struct ops ops;
    uint64_t now_us, tick;
    uint32_t node_count;
    uint64_t cluster_id;
    raft_node_id ids[SIM_NODES_MAX];
    struct node nodes[SIM_NODES_MAX];
    struct client clients[SIM_CLIENTS_MAX];
    struct watches watches;
    struct lockers lockers;
    struct worker workers[SIM_WORKERS_MAX];
    struct hands hands;                /* what they were told */
    RAFT_LIST(struct change, changes); /* number - 1 */
    struct raft_configuration *configuration;
    struct buf *configuration_payload;
    uint64_t cut[SIM_NODES_MAX][SIM_NODES_MAX]; /* number of the partition that cuts from -> to */
    uint32_t away; /* mask: those without whom the others get on, in the calm phase */
    uint64_t cuts;
    struct hold held[SIM_NODES_MAX][SIM_NODES_MAX]; /* from -> to */
    uint64_t quiet_until_us; /* clients only read, members stay, no faults but those of messages */
    uint64_t transfers_asked;
    uint64_t bytes_received; /* of snapshots */
    bool crash_armed;        /* a node crashes at its next write to disk */
    bool scatter_armed;      /* the next fault may be that entries rot on several nodes */
    bool altered;            /* some node's machine was, some day */
    uint64_t altered_told;   /* up to here one of those has told of what it applied */
    uint64_t seed;
    void (*watch)(struct world *world); /* called after every event; NULL: nobody */
    bool calm;
    uint64_t events, steps; /* scheduler events; steps of cores */
};

/* What came out of a seed. */
struct world_result {
    bool ok;
    uint64_t hash; /* over everything that happened */
    uint64_t events, steps;
};

/* --- world.c -----------------------------------------------------------------------------------
 */

/* Makes the world of a seed. */
struct world *world_create(uint64_t seed, bool trace);

/* The same, with the decisions of `only` granted and no others (NULL: all); sorted, borrowed. */
struct world *world_create_granting(uint64_t seed, bool trace, const struct decision_list *only);
void world_destroy(struct world *world);

/* For signal handlers: removes what the world has outside of this process. */
void world_remove_files(const struct world *world);

/* Runs it: `steps` events with faults, then the calm phase. */
struct world_result world_run(struct world *world, uint64_t steps);

/* Writes the knobs; after a violation also what was violated and the last events. */
void world_print_knobs(const struct world *world, FILE *out);
void world_print_failure(const struct world *world, FILE *out);

/* The next event; false when the run is over: a violation, or nothing left to happen. */
bool world_next(struct world *world);

/* calm.c: ends the faults, and runs until the cluster is at rest. */
void world_calm(struct world *world);

/* Queues an event `delay_us` from now. */
void world_push(struct world *world, uint64_t delay_us, struct sim_event event);

/* A number in [low, high] from the world's generator. */
uint64_t world_draw(struct world *world, uint64_t low, uint64_t high);

/* A fault or an action has been drawn and could happen now: true if it shall. Numbers it, counts it
 * and tells it. Every fault and whatever a client or an operator does of its own will asks here
 * just before it is done: that is what makes a run shrink. */
bool world_grant(struct world *world, uint32_t kind);

/* True with the fault's chance, while faults are on, and if it is granted. */
bool world_fault(struct world *world, enum sim_fault fault);

/* The rate of the fastest clock, in millionths of the true time. */
uint64_t world_fastest(const struct world *world);

/* A node that leads; a drawn one if several do, and any drawn one if none does. */
uint32_t world_leader(struct world *world);

static inline uint32_t world_index(const struct world *world, const struct node *node)
{
    return (uint32_t)(node - world->nodes);
}

/* --- timer.c -----------------------------------------------------------------------------------
 */

/* A life begins. */
void timer_begin(struct node *node);

/* After each step: when the core wants to be woken, by the node's own clock; UINT64_MAX: never. */
void timer_set(struct world *world, struct node *node, uint64_t deadline_us);

/* SIM_TIMER and SIM_FIRED. */
void timer_look(struct world *world, struct node *node);
void timer_fired(struct world *world, struct node *node, uint64_t epoch);

/* --- node.c ------------------------------------------------------------------------------------
 */

void node_start(struct world *world, struct node *node);
void node_crash(struct world *world, struct node *node);

/* The node's own clock; and the world's time at which it has surely reached `local`. */
uint64_t node_clock(const struct world *world, const struct node *node);
uint64_t node_world_time(const struct node *node, uint64_t local);

/* A time of the world at which the node's clock has surely not reached `local`, and soon will. */
uint64_t node_world_before(const struct node *node, uint64_t local);

/* The core is stepped a little later. */
void node_wake(struct world *world, struct node *node, uint64_t delay_us);

/* Puts an event into the inbox; taken over. Only while up. */
void node_give(struct world *world, struct node *node, struct raft_event event);

/* One of SIM_WAKE .. SIM_STREAM. */
void node_event(struct world *world, struct node *node, const struct sim_event *event);

/* Frees everything. */
void node_deinit(struct node *node);

/* --- node_output.c -----------------------------------------------------------------------------
 */

/* Checks what a step over so many events put out, and carries it out. */
void node_carry_out(struct world *world, struct node *node, uint32_t event_count);

/* --- clock.c -----------------------------------------------------------------------------------
 */

/* The node begins to lead, or its machine has applied something. */
void clock_update(struct world *world, struct node *node);

void clock_event(struct world *world, const struct sim_event *event);

/* Puts the time before commands that are measured by it. */
void clock_add(struct world *world, struct node *node, struct raft_batch *batch);

/* --- node_io.c ---------------------------------------------------------------------------------
 */

/* Begins the next batch of the disk, of the state machine, if it is idle. */
void node_disk_begin(struct world *world, struct node *node);
void node_machine_begin(struct world *world, struct node *node);

/* SIM_SYNCED, SIM_MACHINE: a batch is done. */
void node_synced(struct world *world, struct node *node);
void node_applied(struct world *world, struct node *node);

/* A read that waits until the state machine has reached its index. */
void node_add_read(struct node *node, struct node_read read);

/* Answers the confirmed reads that the state machine has reached. */
void node_answer_reads(struct world *world, struct node *node);

/* --- ahead.c -----------------------------------------------------------------------------------
 */

/* After a step: some of the reads that began are executed before they are confirmed. */
void ahead_begun(struct world *world, struct node *node);

/* Executes those whose index is applied, and answers what is confirmed of them. */
void ahead_run(struct world *world, struct node *node);

/* False: it is none of these. */
bool ahead_decided(struct world *world, struct node *node, const struct raft_read_result *result);

/* The node is down. */
void ahead_forget(struct node *node);

/* --- holds.c -----------------------------------------------------------------------------------
 */

/* Begins to hold messages back; what comes of it later: a SIM_FAULT that holds_rival takes. */
void holds_begin(struct world *world);

/* A frame of the bulk network, which ends a snapshot, has come. True: it comes once more, later. */
bool holds_last_piece(struct world *world, struct sim_event event);
void holds_rival(struct world *world, const struct sim_event *event);

/* --- network.c ---------------------------------------------------------------------------------
 */

/* A node sends a message; taken over. */
void network_send(struct world *world, struct node *node, struct raft_message *message);

/* SIM_DELIVER. */
void network_deliver(struct world *world, const struct sim_event *event);

/* Frees what such an event carries. */
void network_forget(const struct sim_event *event);

/* --- clients.c ---------------------------------------------------------------------------------
 */

void clients_event(struct world *world,
                   const struct sim_event *event); /* SIM_REQUEST .. SIM_STRAY */

/* The state machine answers: a command in the log at `index`, or a read of so much of it. */
void clients_answer(struct world *world, struct node *node, uint64_t op, uint64_t index,
                    const struct conclave_reply_sink *reply);

/* The node answers by itself: surely not applied, or (UNKNOWN) replaced in its log. */
void clients_refuse(struct world *world, struct node *node, uint64_t op, int code);

/* Records a new operation for the node, given by what it asks for; returns its number. */
uint64_t request_add(struct world *world, struct op op, uint32_t client, uint32_t node);

/* Sends the operations first .. first + count - 1 as one request: reads only, or none. */
void request_send(struct world *world, uint32_t node, uint64_t first, uint64_t count);

/* What the node had taken and not answered is lost with it. */
void clients_node_crashed(struct world *world, const struct node *node);

/* Operations that a live node has taken and not answered, or that are on their way. A node that was
 * removed may never hear what became of what it took. */
uint64_t clients_pending(const struct world *world);

/* --- workload.c --------------------------------------------------------------------------------
 */

void clients_start(struct world *world);

/* A node leads while another, which it has replaced, does not know it yet: the next moments are the
 * ones for reads and writes that go to the old one. */
void clients_tempt(struct world *world, uint32_t old_leader);

/* The calm phase asks one node: one write, one read. */
void clients_probe(struct world *world, uint32_t node, uint64_t *ret_write, uint64_t *ret_read);

/* SIM_CLIENT: the client's next request. SIM_STRAY: one operation that nobody waits for. */
void workload_next(struct world *world, uint32_t client);
void workload_stray(struct world *world, uint32_t node);

/* An operation of the client has ended. */
void workload_answered(struct world *world, struct client *client, const struct op *op);

/* workload_rich.c: puts another command, another read, in the place of one, by chance. */
void workload_rich(struct world *world, const struct client *client, struct op *op);
void workload_rich_read(struct world *world, const struct client *client, struct op *op);
void workload_rich_answered(struct world *world, struct client *client, const struct op *op);

/* How long a client waits before its next request. */
uint64_t workload_pause(struct world *world);

/* check_answers.c: what a read told is what there was. */
void check_read_content(struct world *world, uint64_t number);

/* --- check_machine.c: what state machines answer and hold --------------------------------------
 */

/* A node's state machine has applied an entry and answers it (NULL: it is no command). */
void check_machine_entry(struct world *world, struct node *node, const struct raft_entry *entry,
                         const struct conclave_reply_sink *reply);

/* What it holds after its last batch, or at a start. */
void check_machine_state(struct world *world, struct node *node);

/* A new store that gets its snapshot holds the same. */
void check_machine_snapshot(struct world *world, struct node *node);

/* --- watches.c ---------------------------------------------------------------------------------
 */

void watches_start(struct world *world);
void watches_deinit(struct world *world);

void watches_event(struct world *world, const struct sim_event *event); /* SIM_WATCHER, TOLD */

/* The reference has applied another entry. */
void watches_note(struct world *world);

/* A watcher that heard nothing begins again in half of it, by the true time. */
enum { WATCH_PATIENCE_US = 8000000 };

/* All of them were told everything. */
bool watches_rest(const struct world *world);

/* A node has become a snapshot. */
void watches_installed(struct world *world, const struct node *node);

/* --- hubs.c ------------------------------------------------------------------------------------
 */

void hubs_event(struct world *world, const struct sim_event *event); /* SIM_HUB, ASKED */

/* A node starts, and dies. */
void hubs_node_started(struct world *world, struct node *node);
void hubs_node_forgotten(struct node *node);

/* It has applied something, or become a snapshot. */
void hubs_node_applied(struct world *world, struct node *node);

/* Reads of the hubs have numbers of their own. True if this one is. */
bool hubs_read(uint64_t number);

/* One was confirmed, and everything up to its index is applied. */
void hubs_confirmed(struct world *world, struct node *node, uint64_t number);

/* --- members.c ---------------------------------------------------------------------------------
 */

/* Makes the nodes that are there from the start. */
void members_start(struct world *world);

/* A node that may be asked in: it has an id and a name, and no directory. */
uint32_t members_add(struct world *world);

/* The node as ADD describes it, without flags. */
void members_describe(const struct node *node, struct raft_member *ret);

/* The node is a member, as `by` has answered: it gets its directory and starts some time later. */
void members_told(struct world *world, struct node *node, const struct node *by);

/* SIM_JOIN, SIM_STOP. */
void members_event(struct world *world, const struct sim_event *event);

/* The newest committed configuration. */
const struct check_config *members_committed(const struct world *world);

/* Members whose disks are lost for good. */
uint32_t members_lost(const struct world *world);

/* True if every configuration that may be in force, and every one that is asked for, keeps a
 * majority without these nodes. */
bool members_survive(const struct world *world, uint32_t lost);

/* The same, without this node's disk and those that are lost. */
bool members_may_lose(const struct world *world, uint32_t node);

/* True if a member may lose its disk: nothing is lost with it, and a blank disk in its place can be
 * told from it by everybody. */
bool members_may_wipe(const struct world *world, uint32_t node);

/* A node that is down has lost its disk. Where it can be, a blank one starts in its place later. */
void members_wipe(struct world *world, struct node *node);

/* Members, by the newest committed configuration, that can run. */
uint32_t members_living(const struct world *world);

/* --- operator.c --------------------------------------------------------------------------------
 */

void operator_start(struct world *world);
void operator_event(struct world *world, const struct sim_event *event); /* SIM_OPERATOR, CHANGE */

/* True if a change with this origin is the operator's. */
bool operator_origin(struct raft_origin origin);

/* A change ends; index 0: not by an entry. */
void operator_answer(struct world *world, struct node *node, uint64_t number, int code,
                     uint64_t index);

void operator_node_crashed(struct world *world, const struct node *node);

/* A removal is on its way to a node, or under way there. */
bool operator_removes(const struct world *world);

/* As clients_pending. */
uint64_t operator_pending(const struct world *world);

/* --- links.c -----------------------------------------------------------------------------------
 */

/* The node's core has another configuration in effect. */
void links_update(struct world *world, struct node *node);

/* True if the node believes what this one sends. */
bool links_listen(struct world *world, struct node *node, uint32_t from);

/* --- faults.c ----------------------------------------------------------------------------------
 */

void faults_start(struct world *world);
void faults_event(struct world *world, const struct sim_event *event); /* SIM_FAULT .. SIM_HEAL */

/* A batch of the node's disk is under way for delay_us: a crash may wait for just that. */
void faults_disk_begun(struct world *world, struct node *node, uint64_t delay_us);

/* The node dies, and will be started again. */
void faults_crash(struct world *world, struct node *node);

/* The node was stopped by its disk, or did not get through its start: it will be started again. */
void faults_restart(struct world *world, const struct node *node);
void faults_restart_in(struct world *world, const struct node *node, uint64_t delay_us);

/* The node that a fault hits: a leader by choice, or any. */
struct node *faults_target(struct world *world);

/* A node, if it is up, is told that it has lost its connection to another. */
void faults_tell_down(struct world *world, struct node *node, raft_node_id peer);

/* Asks a leader, or whoever it may be, to hand over. The target: 0, or a node's index and 1; it may
 * be down, a learner or the leader itself. */
void faults_transfer(struct world *world, struct node *node, uint64_t target);

/* --- fetches.c -------------------------------------------------------------------------------
 */

/* Has read what the step asked for. */
void fetches_begin(struct world *world, struct node *node);

void fetches_event(struct world *world, struct node *node, uint64_t number); /* SIM_FETCHED */

/* --- audit.c ---------------------------------------------------------------------------------
 */

/* A node runs; its machine has applied a batch. */
void audit_start(struct world *world, struct node *node);
void audit_applied(struct world *world, struct node *node);

/* It could not take a snapshot, since its machine holds what was altered: it stops. */
void audit_refused(struct world *world, struct node *node);

void audit_event(struct world *world, const struct sim_event *event); /* SIM_AUDIT, MARKS */

/* The fault, and whom it meets: as often as not one that joined. */
struct node *audit_target(struct world *world);
void audit_alter(struct world *world, struct node *node);

/* Everything is healed: where nobody can know who is right, somebody has decided it. */
void audit_calm(struct world *world);

/* True if a machine is altered. */
bool audit_altered(const struct world *world);

/* True if one is that has to be found yet, or was mended and is still said to differ. */
bool audit_pending(const struct world *world);

/* --- repair.c --- */

/* The log is damaged: the node asks the others from now on, or never starts again. */
void repair_begin(struct world *world, struct node *node);

void repair_event(struct world *world, const struct sim_event *event);

/* What the node wants will be given to it, also if it is one of a majority that is damaged. */
bool repair_survives(const struct world *world, const struct node *node);

/* --- scatter.c --- */

/* The fault. */
void scatter_damage(struct world *world);

/* True if all that was damaged so is whole again. */
bool scatter_rest(const struct world *world);

/* Ends every fault and starts every node that may; but for these nodes (mask), which stay down, go
 * down, or run and are heard by none of the others. */
void faults_end(struct world *world, uint32_t away);

#endif
