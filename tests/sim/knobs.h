/* tests/sim/knobs.h - what a seed draws: cluster, timing, limits, load and which faults are on.
 *
 * Swarm testing: every run has another mix. A run in which every fault is on all the time explores
 * less than many runs with a few each, because faults hide one another. Times in virtual
 * microseconds, chances in thousandths. */
#ifndef TESTS_SIM_KNOBS_H
#define TESTS_SIM_KNOBS_H

#include "actors/snapshot_flow.h"
#include "base/prng.h"
#include "codec/topic.h"
#include "machine/session_table.h"
#include "raft/raft.h"

struct storage_knobs {
    uint64_t segment_bytes;
    uint32_t spares_max;     /* segments that are used again */
    uint64_t attest_chance;  /* the log was idle before a batch */
    uint64_t prepare_chance; /* the segment helper has been at work before a batch */
    uint64_t kill_chance;    /* a crash is that of the process: the page cache survives */
};

enum {
    SIM_VOTERS_MAX = 7,
    SIM_NODES_MAX = 16, /* over a run: members from the start, those that join, blank disks */
    SIM_CLIENTS_MAX = 8,
    SIM_KEYS = 4,      /* few: what clients do meets */
    SIM_PAD_MAX = 300, /* bytes added to a value */
    SIM_VALUE_BYTES_MAX = 8 + SIM_PAD_MAX,
    SIM_TOPICS = 2,
    SIM_BATCH_MAX = 4, /* messages that are published together */
    SIM_QUEUES = 3,
    SIM_LOCKERS_MAX = 5,
    SIM_GROUPS = 2,
    SIM_WORKERS_MAX = 4,
    SIM_CHUNK_BYTES_MAX = 4096 /* of a snapshot on its way */
};

/* A work group, as all its members make it. */
struct group_knobs {
    uint32_t topic, dead; /* dead SIM_TOPICS: none */
    uint64_t ack_ms, deliveries_max, held_max, pending_max;
    enum conclave_from start;
    uint64_t position;
};

enum { SIM_CHANGE_KINDS = 5 }; /* add, promote, remove, replace, nonsense */

/* The operator who changes the members. */
struct change_knobs {
    bool on;
    uint64_t gap_us_max; /* between two requests */
    uint32_t weights[SIM_CHANGE_KINDS];
    uint32_t voters_min, voters_max; /* what it keeps between, as far as it sees */
    uint64_t stray_chance;           /* it asks any node, not the leader */
    uint64_t pair_chance;            /* two requests at once */
    uint64_t leader_chance;          /* who goes is the leader */
    uint64_t promote_chance;         /* who comes is to become a voter by itself */
    uint64_t late_chance;            /* who comes is added first and joins later */
    uint64_t lost_chance;            /* of an answer */
};

/* X(NAME, text): the faults, counted as they are injected. */
#define SIM_FAULTS(X)                                                       \
    X(DAMAGED_VOTE, "slots of a vote damaged")                              \
    X(CUT_FRAME, "frames cut short")                                        \
    X(BAD_SYNC, "disk operations failed")                                   \
    X(DISK_FULL, "disks nearly full")                                       \
    X(FULL_STORE, "tables without room")                                    \
    X(BAD_START, "starts cut short")                                        \
    X(DAMAGE, "logs damaged")                                               \
    X(ROT, "last batches rotten")                                           \
    X(PEER_DOWN, "connections told to be lost")                             \
    X(LOSS, "messages lost")                                                \
    X(DUPLICATE, "messages duplicated")                                     \
    X(DELAY, "messages delayed past others")                                \
    X(PARTITION, "partitions")                                              \
    X(ONE_WAY, "one-way partitions")                                        \
    X(STALE_QUEUE, "messages kept over a partition")                        \
    X(HOLD, "links that deliver late, all at once")                         \
    X(ROT_SNAPSHOT, "snapshots damaged")                                    \
    X(CRASH, "crashes")                                                     \
    X(CRASH_ALL, "crashes of all nodes at once")                            \
    X(PAUSE, "pauses")                                                      \
    X(CLOCK, "clocks off")                                                  \
    X(SLOW_DISK, "slow disk batches")                                       \
    X(SLOW_MACHINE, "slow apply batches")                                   \
    X(EARLY_TIMER, "early timeouts")                                        \
    X(WIPE, "disks wiped")                                                  \
    X(TRANSFER, "transfers of leadership asked for")                        \
    X(ALTER, "stored values altered")                                       \
    X(SCATTER, "entries rotten on several nodes at once, each good on one") \
    X(UNREAD, "entries that could not be read back from the log")

enum sim_fault {
#define SIM_FAULT_ENUM(name, text) SIM_FAULT_##name,
    SIM_FAULTS(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
        SIM_FAULT_COUNT
};

/* How clocks that are off are spread: a lease is most in danger where the leader's is the slowest.
 */
enum sim_clocks { SIM_CLOCKS_ANY, SIM_CLOCKS_EXTREME, SIM_CLOCKS_ONE_SLOW, SIM_CLOCKS_COUNT };

struct knobs {
    uint32_t voter_count, learner_count;
    struct raft_options raft; /* id and seed are set per node */
    bool on[SIM_FAULT_COUNT];
    uint64_t chance[SIM_FAULT_COUNT]; /* of those that happen to a message or a batch */

    uint64_t network_us_min, network_us_max;
    uint64_t disk_us_min, disk_us_max;
    uint64_t machine_us_min, machine_us_max;
    uint64_t wake_us_max;     /* from the first event in an inbox to the step: batching */
    uint32_t wake_events_max; /* events given to one step */
    uint64_t spike_us_max;    /* of a delayed message, a slow batch */
    uint64_t fault_us_max;    /* between two faults */
    uint64_t fault_length_us_max;
    enum sim_clocks clocks;
    bool lazy_disk;          /* a persist that nobody waits for is told with the next event only */
    uint64_t ahead_chance;   /* of a read: it is executed before it is confirmed */
    uint64_t watched_chance; /* a node's state machine is watched while it runs */
    bool priorities;         /* nodes differ in who should lead */
    uint64_t leader_chance;  /* a fault that hits a node is aimed at a leader */
    uint64_t reset_chance;   /* a crash loses the state machine's data too */

    bool real_wire;       /* messages are encoded, and decoded where they arrive */
    bool real_disk;       /* vote file and log are the real ones */
    bool real_machine;    /* keys, values and sessions in LMDB: slow; else in memory */
    uint64_t sync_chance; /* a state machine is synced after a batch */
    bool twin_machine;    /* both, side by side */
    struct storage_knobs storage;
    struct change_knobs changes;

    uint64_t snapshot_entries; /* applied between two snapshots; 0: none is taken */
    uint64_t snapshot_us_max;  /* to write one */
    struct flow_limits flow;
    uint64_t last_piece_chance; /* it is late: holds_last_piece */

    uint32_t client_count;
    uint32_t burst_max; /* commands proposed together */
    uint32_t pad_max;   /* bytes added to a command */
    uint64_t think_us_max;
    uint64_t read_chance;
    uint64_t lease_chance;   /* of a read: a lease is good enough */
    bool leases_mixed;       /* not all nodes have the option */
    bool lease_edge;         /* nothing happens but what leases are most in danger of */
    uint64_t stale_chance;   /* a read may be old by a bound */
    uint64_t session_chance; /* a client writes in a session */
    uint64_t retry_chance;   /* it sends again what was not answered; else gives up */
    uint64_t idle_chance;    /* it does nothing for long */
    uint64_t clock_step_us;  /* leaders write cluster time at most so often */
    struct session_limits sessions;
    uint64_t ttl_chance; /* a command is about a lease, or a key that ends; 0: none is, ever */
    uint64_t ttl_ms_max;
    uint64_t topic_chance; /* a command is about a topic */
    bool rich;             /* there are commands that no history is searched with */
    bool topics_rich;      /* batches, retention, topics that go; see draw_rich */
    struct topic_settings topics[SIM_TOPICS];
    uint64_t txn_chance; /* a command is a transaction of several keys */
    uint32_t
        history_changes; /* what the history keeps, once somebody has said so; 0: nobody does */
    uint64_t history_bytes, history_age_ms; /* likewise */
    uint64_t quota_chance;                  /* a command sets the quota; 0: none does, ever */
    uint64_t past_chance;  /* a read is of a part of the keys, or of an earlier revision */
    uint32_t locker_count; /* clients that queue for locks; 0: none */
    uint64_t lock_ttl_ms_max, lock_slots;
    uint32_t worker_count; /* members of work groups; 0: there are none, and no groups */
    uint64_t worker_ttl_ms_max;
    struct group_knobs groups[SIM_GROUPS];
    bool homeless;          /* where the first one's dead letters go is deleted again and again */
    uint64_t forget_chance; /* who leaves so knows nothing any more */
    uint64_t leave_chance;  /* of a step of a watcher: it goes on elsewhere */
    uint32_t feed_looks;    /* what a hub is told at a time: events, bytes */
    size_t feed_bytes;
    uint64_t hub_us_max;          /* between two turns of one that has more to tell */
    uint32_t part_pad_max;        /* bytes added to a part of a command */
    uint64_t leader_guess_chance; /* a client asks the node that it takes for the leader */
};

/* Draws all of it. */
void knobs_draw(struct knobs *knobs, struct prng *prng);

/* True with `chance` in a thousand. */
bool knobs_chance(struct prng *prng, uint64_t chance);

/* Bytes of a command, and of the clock before it, at most. */
uint64_t knobs_command_bytes(const struct knobs *knobs);

/* "messages lost" and so on. */
const char *knobs_fault_text(enum sim_fault fault);

#endif
