/* conclave_node.h - a node: making its directory, running it, recovering it.
 *
 * Life: conclave_bootstrap() once per data directory -> create -> start -> [wait_ready] -> stop ->
 * destroy. A node is five threads; its functions may be called from any one thread at a time.
 */
#ifndef CONCLAVE_NODE_H
#define CONCLAVE_NODE_H

#include "conclave_machine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum conclave_log_level {
    CONCLAVE_LOG_DEBUG,
    CONCLAVE_LOG_INFO,
    CONCLAVE_LOG_WARN,
    CONCLAVE_LOG_ERROR
};

/* One member of a cluster as named to conclave_bootstrap(). */
struct conclave_member {
    const char *name; /* [A-Za-z0-9._-], at most CONCLAVE_NAME_BYTES_MAX */
    const char *peer; /* ZeroMQ endpoint for the other nodes: tcp://HOST:PORT, ipc://, inproc:// */
    const char *client; /* for clients; NULL: a tcp peer's port plus 100, else no client socket */
};

/* Makes the data directory of one node of a new cluster: its identity and a log whose first entry
 * is the configuration. Run it once on every node with the same members and token: ids are derived
 * from them, so the nodes agree without talking. The directory must not exist or be empty.
 *   data_dir    made with its parents' permission bits 0700
 *   name        which of the members this directory is for
 *   token       tells clusters with equal members apart; NULL: "conclave"
 * Errors: INVALID, EXISTS (holds a node already), IO. Nothing half-made is left in use. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_bootstrap(const char *data_dir, const char *name,
                                                      const char *token,
                                                      const struct conclave_member *members,
                                                      size_t member_count,
                                                      struct conclave_error *error);

/* How a node joins a cluster that runs. */
struct conclave_join_options {
    size_t size;       /* sizeof(struct conclave_join_options) */
    const char *seeds; /* client endpoints of running nodes, with commas between them */
    bool learner;      /* never votes unless it is promoted by hand */
    uint32_t timeout_ms;
};

/* Adds `self` to the running cluster behind the seeds and makes its data directory, which must not
 * exist or be empty. A learner of this name that was added without a directory (its incarnation is
 * 0) is taken over, with the endpoints that it was added with. The node begins with an empty log
 * and gets everything from the leader. Errors: INVALID, EXISTS (directory, name or address in use),
 * IO, UNREACHABLE, NO_LEADER, BUSY, TIMEOUT; UNKNOWN: the member may have been added;
 * `conclave_client_status` tells, and it must be removed before another try. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_join(const char *data_dir,
                                                 const struct conclave_member *self,
                                                 const struct conclave_join_options *options,
                                                 struct conclave_error *error);

/* What a data directory is. Reads its identity only; works while a node runs on it.
 * Errors: NOT_FOUND (not a node's directory), CORRUPT, VERSION, IO. */
struct conclave_directory {
    char cluster[17]; /* cluster id, 16 hexadecimal digits */
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    uint64_t id;
};
CONCLAVE_API CONCLAVE_MUST_USE int conclave_directory_info(const char *data_dir,
                                                           struct conclave_directory *ret_directory,
                                                           struct conclave_error *error);

/* One who was a member and is to be one no more. */
struct conclave_recovery_member {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    uint64_t id;
    bool voter;
};

/* What conclave_recover is about to do, or did. */
struct conclave_recovery {
    char cluster[17];
    char name[CONCLAVE_NAME_BYTES_MAX + 1]; /* of the node that goes on alone */
    uint64_t id;
    bool was_learner;
    uint64_t last_index, last_term; /* where the history that is kept ends: all of its log */
    uint64_t snapshot_index;        /* the newest snapshot in it; 0: none */
    uint64_t term;                  /* the history goes on in this one, at last_index + 1 */
    size_t removed_count;
    struct conclave_recovery_member removed[CONCLAVE_MEMBERS_MAX];
};

/* The most that `revisions` can be. */
#define CONCLAVE_RECOVER_REVISIONS_MAX (UINT64_C(1) << 40)

struct conclave_recover_options {
    size_t size; /* sizeof(struct conclave_recover_options) */

    /* Asked before anything is changed; NULL: go on. */
    bool (*confirm)(void *arg, const struct conclave_recovery *plan);
    void *confirm_arg;

    /* Of the built-in key-value machine alone: so many revisions are left out, so that none is
     * given twice, even if members that are lost had given out some that this node never heard of.
     * 0: with a machine of one's own. */
    uint64_t revisions;
};

/* After a majority of the voters was lost for good: makes the node of this directory the only voter
 * of its cluster. Everything in its log is kept, whether it was committed or not; what only others
 * held is lost. All other members are removed and must never run again: they are not listened to.
 * The node must not run. Afterwards it is started as before, and others join it anew. A crash
 * meanwhile leaves the directory as it was, or recovered. Errors: IN_USE (the node runs), INVALID
 * (not confirmed; nothing to go on with, or no member any more), NOT_FOUND, CORRUPT, IO, NO_SPACE.
 */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_recover(const char *data_dir,
                                                    const struct conclave_recover_options *options,
                                                    struct conclave_recovery *ret_recovery,
                                                    struct conclave_error *error);

/* The way of one batch of writes through the node that leads. The time from its arrival to its
 * answer is queue + replicate + apply + reply; the node's own disk works beside replication. */
struct conclave_trace {
    uint64_t at_ns;        /* when it arrived, on CLOCK_BOOTTIME */
    uint64_t queue_ns;     /* until raft handed it to the log-writer and to the other nodes */
    uint64_t wal_ns;       /* from then until it was on this node's disk; 0: it was not yet, when it
                              was answered: a majority of others had it */
    uint64_t replicate_ns; /* from then until it was committed: on the disks of a majority */
    uint64_t apply_ns;     /* from then until the state machine had applied it */
    uint64_t reply_ns;     /* from then until the answers were given to the sockets */
};

/* How a node runs. Fill with conclave_options_init(), then change what you need. */
struct conclave_options {
    size_t size; /* sizeof(struct conclave_options), set by conclave_options_init */
    const char *data_dir;
    const char *listen;        /* where to bind for peers; NULL: own member's `peer` */
    const char *listen_client; /* where to bind for clients; NULL: own member's `client` */
    const char *feed; /* where to bind a socket to which plain ZeroMQ SUB sockets connect, for the
                         messages of topics (docs/protocol.md, The feed); NULL: none. Of the
                         built-in machine alone */
    bool expose_plaintext; /* allow listening beyond loopback without encryption */

    uint32_t election_timeout_ms; /* 500; elections start after one to two of these of silence */
    uint32_t heartbeat_ms;        /* 100; at most a third of the election timeout */
    uint64_t seed;                /* of election timeouts; 0: from the operating system */
    bool leases; /* false; this node promises its leader to hold to it for an election timeout at a
                    time, and leading, answers READ_LEASE on such promises. Only nodes with it
                    count, so it is of use where most of the voters have it */
    uint32_t priority; /* 100; 0 to 100: a node of lower priority leads while none of higher can */

    uint64_t
        inflight_bytes_max; /* 64 MiB; commands and queries taken and not answered; over: BUSY */
    uint64_t segment_bytes; /* 16 MiB; size of a log segment */

    /* A snapshot is taken, and the log cut, when since the last one so many bytes or so many
     * entries were applied. The bytes grow with the state, to about four times as many. The log
     * of a machine without snapshots is kept whole. */
    uint64_t snapshot_bytes;   /* 256 MiB */
    uint64_t snapshot_entries; /* 4,000,000 */

    /* How much of the log stays in memory when it is applied, and on disk: a peer that is farther
     * behind gets it from there. Up to four times as much while peers that keep up need it. */
    uint64_t log_memory_bytes; /* 16 MiB */

    /* Less free space than this in the data directory's file system: commands are refused with
     * NO_SPACE, but for those that give space back, and the lead is handed over. 0: not looked at.
     */
    uint64_t disk_reserve_bytes; /* 64 MiB */

    void *zmq_context; /* the caller's ZeroMQ context, used and never terminated; NULL: own */

    const struct conclave_machine_ops *machine; /* NULL: the built-in key-value machine */
    void *machine_arg;

    /* Called from the node's threads, possibly at the same time; must be quick and must not call
     * the library. `fields` is logfmt: key=value pairs. NULL: no log. */
    void (*log)(void *arg, enum conclave_log_level level, const char *actor, const char *event,
                const char *fields);
    void *log_arg;
    enum conclave_log_level log_level; /* INFO */

    /* Called once, from the thread that died, when the node stops by itself (failed fsync, damaged
     * log, broken rule). The node has stopped acknowledging; the host must still call stop, from
     * another thread than this callback's. */
    void (*on_fatal)(void *arg, int code, const char *message);
    void *on_fatal_arg;

    /* Called some hundred times a second at most, from a thread of the node, with where the time of
     * a write went that this node took in and, leading, answered. Quick, and must not call the
     * library. NULL: nothing is stamped. */
    void (*trace)(void *arg, const struct conclave_trace *trace);
    void *trace_arg;

    /* false; while there is load the system is asked to have idle processors at hand at once, all
     * of them (/dev/cpu_dma_latency): some halt no more, which answers sooner and takes power. What
     * may not be written or is not there is told to the log and done without. */
    bool keep_awake;
};

/* Sets every field to its default. Any thread. */
CONCLAVE_API void conclave_options_init(struct conclave_options *options);

/* Sets one option by the name that the command line uses without its dashes: "election-timeout"
 * "500ms", "heartbeat" "100ms", "segment-size" "16MiB", "inflight-max" "64MiB",
 * "snapshot-bytes" "64MiB", "snapshot-entries" "4000000", "log-memory" "16MiB", "disk-reserve"
 * "64MiB", "log-level" "warn", "seed" "7", "priority" "50", "leases" "true", "keep-awake" "true",
 * "expose-plaintext" "true". Paths and endpoints are fields only, since the struct borrows strings.
 * Errors: INVALID (unknown name, bad value), with the sentence in *error. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_options_set(struct conclave_options *options,
                                                        const char *name, const char *value,
                                                        struct conclave_error *error);

struct conclave_node;

/* Makes a node from its options; touches nothing yet. Errors: INVALID, NO_MEMORY. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_node_create(const struct conclave_options *options,
                                                        struct conclave_node **ret_node,
                                                        struct conclave_error *error);

/* Locks the data directory, recovers the log, opens the machine, binds the sockets, starts the
 * threads; returns when every thread reported ready or with the first error (then nothing runs and
 * the node can only be destroyed). Errors: IN_USE (directory locked or port taken), IDENTITY,
 * CORRUPT, IO, NO_SPACE, INVALID. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_node_start(struct conclave_node *node,
                                                       struct conclave_error *error);

/* Waits until the node knows a leader and has applied what was committed when it learned so.
 * Errors: TIMEOUT, STOPPING (it died or was stopped). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_node_wait_ready(struct conclave_node *node,
                                                            uint32_t timeout_ms);

/* Stops the node: a leader first hands the lead over, if another voter can take it, for which it
 * waits an election timeout at most; takes no new work, finishes what is on its way to the disk,
 * joins every thread, closes the files. Nothing acknowledged is lost. Idempotent. Returns
 * CONCLAVE_OK, or the code with which the node had died before. */
CONCLAVE_API int conclave_node_stop(struct conclave_node *node, struct conclave_error *error);

/* Stops if needed and frees. Clients that use the node's own context are destroyed before. */
CONCLAVE_API void conclave_node_destroy(struct conclave_node *node);

/* An inproc:// endpoint that clients in this process can use together with the node's context
 * (conclave_node_context). A new one with each start; it belongs to the node. */
CONCLAVE_API const char *conclave_node_endpoint(const struct conclave_node *node);

/* The ZeroMQ context that the node uses: the caller's own, or the node's. */
CONCLAVE_API void *conclave_node_context(const struct conclave_node *node);

#ifdef __cplusplus
}
#endif
#endif
