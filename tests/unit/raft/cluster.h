/* tests/unit/raft/cluster.h - cores in memory, with the network and the disks in the test's hands.
 *
 * Every output of a step is kept: messages lie on the wire until the test delivers, takes or drops
 * them; persists lie in their queue until the test completes them. A node that is not alive (NULL
 * raft) is played by the test itself. Nodes have the ids 1, 2, 3 ... and time moves only when told.
 */
#ifndef TESTS_UNIT_RAFT_CLUSTER_H
#define TESTS_UNIT_RAFT_CLUSTER_H

#include "raft/raft.h"

enum { CLUSTER_NODES_MAX = 9 };

#define T_US UINT64_C(500000)
#define HEARTBEAT_US UINT64_C(100000)

struct test_node {
    struct raft_options options;
    struct raft *raft;
    int code; /* of the last step */
    struct conclave_error error;
    uint64_t deadline_us;

    RAFT_LIST(struct raft_fetch, fetches); /* asked for and not read yet; oldest first */
    uint32_t snapshots_wanted;             /* so often, instead */

    struct raft_persist *persists; /* handed over, not durable; oldest first */
    size_t persist_count;
    struct raft_hard_state disk_hard; /* what a crash leaves */
    struct raft_runs disk_log;
    struct raft_id disk_base;
    struct raft_snapshot disk_snapshot;
    struct raft_id install; /* what the state machine was last told to become */

    struct raft_runs applied; /* everything handed to the state machine since the start */
    uint64_t applied_index;
    uint64_t life;      /* starts so far */
    bool joined;        /* was no member from the start */
    bool hold_applied;  /* do not report APPLIED */
    bool hold_fetches;  /* cluster_settle does not read for it */
    bool hold_persists; /* cluster_settle does not complete them: the disk hangs */
    bool clock_stands;  /* since stood_us; then it goes on as if nothing had been */
    uint64_t stood_us, behind_us;
    RAFT_LIST(struct raft_read_begun, reads_begun);
    RAFT_LIST(struct raft_read_result, reads);
    RAFT_LIST(struct raft_refusal, refused);
    RAFT_LIST(struct raft_transfer_result, transfers);
    RAFT_LIST(struct raft_trace, trace);
};

struct cluster {
    uint64_t now_us;
    uint32_t voters;
    struct raft_configuration configuration;       /* the first entry */
    struct test_node nodes[CLUSTER_NODES_MAX + 1]; /* by id; 0 unused */
    struct raft_messages wire;
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1]; /* from, to: dropped when delivered */
    bool appends_lost[CLUSTER_NODES_MAX + 1];               /* from: these, and nothing else */
};

/* `voters` nodes of one new cluster; the first `alive` of them are started. Change
 * cluster->nodes[i].options between cluster_init and cluster_start. */
void cluster_init(struct cluster *cluster, uint32_t voters);
void cluster_start(struct cluster *cluster, uint32_t alive);
void cluster_setup(struct cluster *cluster, uint32_t voters, uint32_t alive); /* both */
void cluster_deinit(struct cluster *cluster);

/* Makes room for node `id`, which was no member from the start and has an empty disk. */
void cluster_add_node(struct cluster *cluster, raft_node_id id);

/* Asks node `id` for a change; origin {7, 77}. ADD: `name` is "n4" for node 4, and it has the
 * address of `replacement`, if that is not empty. */
void cluster_change(struct cluster *cluster, raft_node_id id, enum raft_change_type type,
                    const char *name, const char *replacement);

/* Starts node `id` from its disk; `crash` first forgets what was not durable. */
void cluster_start_node(struct cluster *cluster, raft_node_id id);
void cluster_crash(struct cluster *cluster, raft_node_id id);

/* Appends to a log on a disk, or to what is to become one. */
void cluster_disk_append(struct raft_runs *log, struct raft_id id, enum raft_entry_kind kind,
                         struct buf *buf);

/* A node that is not alive becomes the only voter, behind all that its disk holds, as by
 * actors/recover.c. */
void cluster_recover(struct cluster *cluster, raft_node_id id);

/* Replaces the disk of a node that is not alive: terms[i] is the term of entry i + 2 (entry 1 is
 * the configuration, of term 1). */
void cluster_set_disk(struct cluster *cluster, raft_node_id id, struct raft_hard_state hard,
                      const uint64_t *terms, size_t count);

/* One step with these events. */
void cluster_step(struct cluster *cluster, raft_node_id id, struct raft_event *events,
                  size_t count);
void cluster_propose(struct cluster *cluster, raft_node_id id, uint32_t count, size_t bytes);
void cluster_read(struct cluster *cluster, raft_node_id id, uint64_t read);
void cluster_timeout(struct cluster *cluster, raft_node_id id);
void cluster_receive(struct cluster *cluster, struct raft_message *message);

/* Completes the oldest persist of a node: what may go out after it goes on the wire. */
void cluster_persist(struct cluster *cluster, raft_node_id id);
void cluster_persist_all(struct cluster *cluster, raft_node_id id);

/* Reads what a node has asked for longest, from its disk, or fails to. */
void cluster_fetch(struct cluster *cluster, raft_node_id id, bool fails);

/* A snapshot of the node up to an index that it has applied becomes durable, and its log on disk
 * loses everything up to `cut`. */
void cluster_snapshot(struct cluster *cluster, raft_node_id id, uint64_t index, uint64_t cut);

/* The newest snapshot of one node has arrived at another, durable; APPLIED follows at once unless
 * hold_applied. */
void cluster_transfer(struct cluster *cluster, raft_node_id from, raft_node_id to);

/* Cuts the links from one set of nodes (bit i: node i) to another. */
void cluster_cut(struct cluster *cluster, uint32_t from, uint32_t to);

/* The clock of one node stands still, or goes on from there. */
void cluster_clock(struct cluster *cluster, raft_node_id id, bool stands);

/* Moves the clock; nobody is told. */
void cluster_advance(struct cluster *cluster, uint64_t us);

/* Delivers and persists until nothing is left to do for the nodes that are alive. */
void cluster_settle(struct cluster *cluster);

/* Gives every node alive its TIMEOUT when due, for `us`, settling after each. */
void cluster_run(struct cluster *cluster, uint64_t us);

/* Lets time pass in which only `id` is heard, until it leads. */
void cluster_elect(struct cluster *cluster, raft_node_id id);

/* With only node 1 alive: makes it leader of a new term by the votes of the others, with its no-op
 * durable here but not acknowledged; returns the term. The wire is then empty. */
uint64_t cluster_lead_alone(struct cluster *cluster);

/* Takes the first message to `to` of this type off the wire; NULL if there is none. */
struct raft_message *cluster_take(struct cluster *cluster, raft_node_id to,
                                  enum raft_message_type type);
size_t cluster_count(const struct cluster *cluster, raft_node_id to, enum raft_message_type type);
void cluster_drop_all(struct cluster *cluster);

/* Messages from nodes that the test plays. */
struct raft_message *vote_request(enum raft_message_type type, raft_node_id from, raft_node_id to,
                                  uint64_t term, struct raft_id last);
struct raft_message *vote_response(enum raft_message_type type, raft_node_id from, raft_node_id to,
                                   uint64_t term, uint64_t campaign_term, bool granted);
/* Commands of `count` terms after prev; none if count is 0. */
struct raft_message *append_request(raft_node_id from, raft_node_id to, uint64_t term,
                                    struct raft_id prev, uint64_t commit, const uint64_t *terms,
                                    size_t count);
struct raft_message *append_accepted(raft_node_id from, raft_node_id to, uint64_t term,
                                     uint64_t match, uint64_t round);
struct raft_message *append_rejected(raft_node_id from, raft_node_id to, uint64_t term,
                                     uint64_t rejected, struct raft_id conflict);

struct raft_id id_of(uint64_t term, uint64_t index);

/* A batch of `count` commands without ids, with `bytes` of payload each; origins {7, 1}, {7, 2} ...
 */
struct raft_batch *command_batch(uint32_t count, size_t bytes);

#endif
