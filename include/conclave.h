/* conclave.h - the public interface of libconclave: a Raft node, its state machine, its client.
 *
 * Conventions that hold for every function unless its comment says otherwise:
 *   - Functions that can fail return CONCLAVE_OK (0) or a positive `enum conclave_code`; on failure
 *     outputs are untouched. conclave_code_text() gives the sentence for a code.
 *   - Handles are opaque. What a `_create` made, the matching `_destroy` frees; destroying NULL is
 *     allowed. Strings passed in are copied; strings handed out belong to the handle or callback.
 *   - The library never touches signals, standard streams, the process's exit or global state, and
 *     never terminates a ZeroMQ context that it was given.
 *   - Times are in milliseconds where a name ends in `_ms`; sizes are in bytes.
 */
#ifndef CONCLAVE_H
#define CONCLAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CONCLAVE_API __attribute__((visibility("default")))
#define CONCLAVE_MUST_USE __attribute__((warn_unused_result))
#else
#define CONCLAVE_API
#define CONCLAVE_MUST_USE
#endif

/* --- Codes -----------------------------------------------------------------------------------
 *
 * X(NAME, number, exit code of the program, text). The numbers are part of the client protocol
 * (docs/protocol.md) and never change. For a command, "surely not applied" (exit 4) and "outcome
 * unknown" (exit 5) are different codes: only the first may be retried blindly. */
#define CONCLAVE_CODES(X)                                                              \
    X(OK, 0, 0, "ok")                                                                  \
    X(NOT_FOUND, 1, 1, "no such key")                                                  \
    X(COMPARE_FAILED, 2, 1, "the condition did not hold")                              \
    X(INVALID, 3, 2, "invalid argument")                                               \
    X(UNREACHABLE, 4, 3, "no node could be reached")                                   \
    X(NOT_LEADER, 5, 4, "this node is not the leader; not applied")                    \
    X(NO_LEADER, 6, 4, "the cluster has no leader now; not applied")                   \
    X(BUSY, 7, 4, "the node is overloaded; not applied")                               \
    X(STOPPING, 8, 4, "the node is stopping; not applied")                             \
    X(TIMEOUT, 9, 4, "no answer in time; not applied")                                 \
    X(UNKNOWN, 10, 5, "outcome unknown: the command may or may not have been applied") \
    X(DENIED, 11, 6, "permission denied")                                              \
    X(TOO_LARGE, 12, 7, "larger than the limit")                                       \
    X(VERSION, 13, 7, "unsupported protocol or format version")                        \
    X(NO_SPACE, 14, 7, "no space left")                                                \
    X(CORRUPT, 15, 8, "stored data is damaged")                                        \
    X(IO, 16, 8, "an input/output operation failed")                                   \
    X(EXISTS, 17, 2, "already exists")                                                 \
    X(IN_USE, 18, 2, "already in use by another process")                              \
    X(IDENTITY, 19, 2, "belongs to another cluster or node")                           \
    X(MALFORMED, 20, 2, "malformed message")                                           \
    X(NO_MEMORY, 21, 2, "out of memory")                                               \
    X(INTERNAL, 22, 8, "a rule of the program itself was broken")                      \
    X(SESSION_EXPIRED, 23, 5, "the session expired; not applied now, perhaps before")  \
    X(FORGOTTEN, 24, 5, "the answer is not kept any more; not applied again")          \
    X(HANDOVER, 25, 4, "the lead is being handed over; not applied")                   \
    X(STALE, 26, 4, "what this node holds may be older than was asked for")            \
    X(COMPACTED, 27, 7, "that revision is not kept any more")                          \
    X(QUOTA, 28, 7, "the store's quota is used up; not applied")                       \
    X(LEASE_EXPIRED, 29, 1, "no such lease: it expired or was revoked")

enum conclave_code {
#define CONCLAVE_CODE_ENUM(name, number, exit_code, text) CONCLAVE_##name = (number),
    CONCLAVE_CODES(CONCLAVE_CODE_ENUM)
#undef CONCLAVE_CODE_ENUM
};

/* The English sentence for a code; never NULL. Any thread. */
CONCLAVE_API const char *conclave_code_text(int code);

/* The stable upper-case name of a code ("NOT_FOUND"); never NULL. Any thread. */
CONCLAVE_API const char *conclave_code_name(int code);

/* The exit code that the program `conclave` ends with for this code. Any thread. */
CONCLAVE_API int conclave_code_exit(int code);

/* "0.1.0". Any thread. */
CONCLAVE_API const char *conclave_version(void);

/* --- Limits ----------------------------------------------------------------------------------- */

enum {
    CONCLAVE_KEY_BYTES_MAX = 480,         /* LMDB's key limit is 511; the rest is reserved */
    CONCLAVE_COMMAND_BYTES_MAX = 1 << 20, /* one command, encoded; fits a 2 MiB peer message */
    CONCLAVE_VALUE_BYTES_MAX = CONCLAVE_COMMAND_BYTES_MAX - 2048, /* leaves room for the key */
    CONCLAVE_NAME_BYTES_MAX = 32,                                 /* a node's name */
    CONCLAVE_ENDPOINT_BYTES_MAX = 255,                            /* one endpoint */
    CONCLAVE_VOTERS_MAX = 9,
    CONCLAVE_MEMBERS_MAX = CONCLAVE_VOTERS_MAX + 32 /* voters and learners */
};

/* A failure with its sentence: what went wrong and what to do about it. */
struct conclave_error {
    int code;
    char message[512];
};

/* --- State machine ----------------------------------------------------------------------------
 *
 * What a program embeds to have its own replicated state. All calls but snapshot_write come from
 * the node's state-machine thread, one at a time. Applying must be deterministic: no clock, no
 * randomness, nothing outside the machine and the commands. All nodes of a cluster have the same
 * machine. */

/* One committed command. `data` is valid during the call only. */
struct conclave_command {
    uint64_t index; /* its place in the log; rises by at least one from command to command */
    uint64_t term;
    const void *data;
    size_t bytes;
};

/* Where a machine puts its answer to one command or query. */
struct conclave_reply_sink;

/* Sets the answer (a code and up to CONCLAVE_COMMAND_BYTES_MAX bytes, copied). Unset answers are
 * CONCLAVE_OK and empty; the last call wins. From apply and query only. */
CONCLAVE_API void conclave_reply_set(struct conclave_reply_sink *sink, int code, const void *data,
                                     size_t bytes);

/* Where the bytes of a machine's snapshot go, and where they come from. */
struct conclave_snapshot_sink;
struct conclave_snapshot_source;

/* Adds bytes to the snapshot (copied; pieces of some 100 KiB are best). From snapshot_write only,
 * on its thread. After a failure the snapshot is lost and the machine returns that code at once.
 * Errors: IO, NO_SPACE; STOPPING: the node ends. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_snapshot_add(struct conclave_snapshot_sink *sink,
                                                         const void *data, size_t bytes);

/* Reads the next `bytes` of the snapshot; fewer only where it ends, and only the call that answers
 * fewer has found all of it whole. From restore only. Errors: CORRUPT, IO; the machine returns that
 * code at once. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_snapshot_read(struct conclave_snapshot_source *source,
                                                          void *data, size_t bytes,
                                                          size_t *ret_bytes);

/* What a node tells its machine when it opens it. */
struct conclave_machine_env {
    const char *dir;     /* the machine's own directory inside the data directory; exists */
    uint8_t boot_id[16]; /* of this boot of the operating system: what an earlier boot left
                            unsynced in page cache may be lost, see `open` */
    uint64_t cluster_id;
    uint64_t node_id;
};

/* The state machine's functions. `machine` is conclave_options.machine_arg. Functions return
 * CONCLAVE_OK or a code; any code from `open`, `apply`, `sync` or `restore` stops the node, loudly
 * (but for apply's NO_SPACE).
 *
 * A machine that can take snapshots has all four functions for them; one that cannot has none of
 * the four, and the node keeps its whole log. Client sessions travel in the snapshots of every
 * machine: it need not know of them. */
struct conclave_machine_ops {
    size_t size; /* sizeof(struct conclave_machine_ops) */

    /* Opens the state and says up to which log index it already holds every command (0: nothing).
     * A machine that is not synced at every apply must answer 0 after a crash of the operating
     * system (another boot id) unless it can tell that its state is whole; the log is replayed.
     * On failure describes it in *error. */
    int (*open)(void *machine, const struct conclave_machine_env *env, uint64_t *ret_applied_index,
                struct conclave_error *error);

    /* Applies `count` commands in order and records `last_index` (at least the last command's
     * index) as applied, both atomically: after a killed process `open` finds all or nothing of the
     * call. count may be 0. replies[i] takes the answer of commands[i]. NO_SPACE does not stop the
     * node: nothing of the call was applied, and it is made again as it is, once in a while, until
     * there is room; meanwhile the node takes no commands as a leader. */
    int (*apply)(void *machine, const struct conclave_command *commands, size_t count,
                 uint64_t last_index, struct conclave_reply_sink *const *replies);

    /* Answers one query without changing anything. The node calls it only when everything that
     * linearizability asks for has been applied. Never fails as a whole: the answer has a code. */
    void (*query)(void *machine, const void *data, size_t bytes, struct conclave_reply_sink *reply);

    /* Makes everything applied so far durable. Called at a clean stop. NULL: nothing to do. */
    int (*sync)(void *machine);

    /* Closes what open opened; no snapshot is open. NULL: nothing to do. */
    void (*close)(void *machine);

    /* A number that `conclave status` shows for the machine. NULL: the applied index. */
    uint64_t (*revision)(void *machine);

    /* Fixes the state as it is now, as of the last apply, for snapshot_write: quickly, since
     * nothing is applied meanwhile. *ret_snapshot is the machine's own, NULL too. One at a time.
     * Any code: none was begun, and the machine stays as it is; the node tries again after more
     * commands (BUSY: very soon). */
    int (*snapshot_begin)(void *machine, void **ret_snapshot);

    /* Hands the fixed state to the sink, while the state-machine thread goes on applying: a thread
     * of its own calls it, which must touch nothing but what is fixed. Any code: the snapshot is
     * lost, and tried again after more commands: BUSY (it could not be kept any longer) very soon,
     * NO_SPACE, INTERNAL and others later. */
    int (*snapshot_write)(void *machine, void *snapshot, struct conclave_snapshot_sink *sink);

    /* Lets go of what was fixed, when nobody writes it any more; after every begin that answered
     * OK, whatever the write did, and before close. */
    void (*snapshot_end)(void *machine, void *snapshot);

    /* Replaces the whole state by the one that the source delivers, of this or another node, and
     * records `index` as applied. Either all of it: a later open must find the new state with
     * `index`, or the old one with its index, or nothing with 0, even after a kill; so it makes the
     * new state the valid one only when the source has ended. After a code the node stops and the
     * state is not used again in this process; the next start opens it and restores again.
     * Typical codes: those of the source; CORRUPT: not a state of this machine; NO_SPACE. */
    int (*restore)(void *machine, uint64_t index, struct conclave_snapshot_source *source);

    /* Whether a command gives space back (a delete), and is to be taken even while the disk is
     * nearly full. It looks at the command alone: any thread calls it. NULL: none does. */
    bool (*frees)(const void *data, size_t bytes);
};

/* --- A node -----------------------------------------------------------------------------------
 *
 * Life: conclave_bootstrap() once per data directory -> create -> start -> [wait_ready] -> stop ->
 * destroy. A node is five threads; its functions may be called from any one thread at a time. */

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
    bool expose_plaintext;     /* allow listening beyond loopback without encryption */

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
     * entries were applied. The bytes grow with the state, to at most eight times as many. The log
     * of a machine without snapshots is kept whole. */
    uint64_t snapshot_bytes;   /* 64 MiB */
    uint64_t snapshot_entries; /* 4,000,000 */

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
};

/* Sets every field to its default. Any thread. */
CONCLAVE_API void conclave_options_init(struct conclave_options *options);

/* Sets one option by the name that the command line uses without its dashes: "election-timeout"
 * "500ms", "heartbeat" "100ms", "segment-size" "16MiB", "inflight-max" "64MiB",
 * "snapshot-bytes" "64MiB", "snapshot-entries" "4000000", "disk-reserve" "64MiB", "log-level"
 * "warn", "seed" "7", "priority" "50", "expose-plaintext" "true". Paths and endpoints are fields
 * only, since the struct borrows strings. Errors: INVALID (unknown name, bad value), with the
 * sentence in *error. */
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

/* --- A client ---------------------------------------------------------------------------------
 *
 * Finds the leader, follows it, retries what surely was not applied until the deadline. One client
 * is used by one thread at a time; it has no thread of its own and works only inside its calls. */

struct conclave_client_options {
    size_t size;
    const char *endpoints; /* comma-separated client endpoints, at least one node of the cluster */
    void *zmq_context;     /* NULL: own; needed for inproc:// endpoints */
    uint32_t timeout_ms;   /* 5000; default deadline of an operation */
    bool sessions;         /* true; see conclave_client_submit */
};

CONCLAVE_API void conclave_client_options_init(struct conclave_client_options *options);

struct conclave_client;

/* Errors: INVALID (bad endpoint), NO_MEMORY. Connects in the background. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_client_create(const struct conclave_client_options *options,
                       struct conclave_client **ret_client, struct conclave_error *error);

/* Ends at once: outstanding operations go back to the caller as they are, with the code UNKNOWN
 * (proposals that were sent) or STOPPING. Replies that operations hold stay valid. */
CONCLAVE_API void conclave_client_destroy(struct conclave_client *client);

enum conclave_op_kind {
    CONCLAVE_OP_PROPOSE = 1,  /* a command for the state machine */
    CONCLAVE_OP_READ = 2,     /* a linearizable query of the state machine */
    CONCLAVE_OP_TRANSFER = 3, /* give the lead to the voter of this name; empty: to any other */
    CONCLAVE_OP_READ_STALE =
        4,                     /* a query answered by any node that was up to date max_age_ms ago */
    CONCLAVE_OP_MEMBER = 5,    /* a change of the members: conclave_client_change_member */
    CONCLAVE_OP_READ_LEASE = 6 /* a linearizable query, which a leader with a lease answers without
                                  asking the others; without one as READ */
};

/* One operation. The caller's, who sets it to zeros before its first use; between submit and its
 * return from poll it must not be touched. The last three groups need no resetting for another use.
 */
struct conclave_op {
    /* set by the caller before submit */
    enum conclave_op_kind kind;
    const void *data; /* must stay valid and unchanged until the op is done */
    size_t bytes;
    uint32_t timeout_ms; /* 0: the client's default */
    uint32_t max_age_ms; /* READ_STALE */
    void *user;          /* not touched */

    /* set when done */
    int code;          /* from the client, the node or the machine; 0: ok */
    const void *reply; /* the machine's answer, or a node's sentence on why it refused; valid
                          until the op is submitted again or released */
    size_t reply_bytes;
    uint64_t latency_ns; /* from submit to done */
    uint64_t age_ms;     /* READ_STALE: the answer shows all that was committed so long ago */

    /* the client's own */
    struct conclave_op *next; /* in the list that poll hands out */
    uint64_t submitted_ns;
    void *reply_owner;
    uint32_t state;
};

/* Hands an operation over. It is sent, together with what else was submitted, by the next poll.
 * Never blocks. Errors: INVALID (kind, data; already submitted), TOO_LARGE, BUSY
 * (CONCLAVE_CLIENT_OPS_MAX outstanding).
 *
 * The op ends with the machine's code, or with INVALID or TOO_LARGE from a node, or, surely not
 * applied, at its deadline with
 *   UNREACHABLE  no node gave any sign of life
 *   NO_LEADER    nodes answered and none of them led
 *   BUSY, STOPPING, HANDOVER, STALE, NO_SPACE  the last node that was asked refused it, every time
 *   TIMEOUT      the leader was known and could not be sent to; a read: no answer came
 * or, for proposals and transfers alone, with UNKNOWN: it was sent to a node that may have taken
 * it, and its deadline passed, or before that the node lost leadership or its connection was given
 * up.
 *
 * With `sessions` the client numbers its proposals in a session that it opens with the first one,
 * and a proposal whose outcome is not known is sent again under its number until its deadline: it
 * is applied once, however often it comes. UNKNOWN is then left for deadlines, and for proposals
 * under way when the session ended, which is after a minute in which the client was not polled or
 * could reach no leader. FORGOTTEN: it was applied, and the answer, of more than 64 KiB, is lost.
 * Without sessions a proposal that may have been taken is never sent again by the client itself.
 *
 * A transfer is done (CONCLAVE_OK) when another node leads, the reply is its name. INVALID: no
 * voter has the name; TIMEOUT with a reply, a sentence: the node did not take the lead. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_submit(struct conclave_client *client,
                                                          struct conclave_op *op);

enum { CONCLAVE_CLIENT_OPS_MAX = 65536 }; /* outstanding operations of one client */

/* Sends, receives, retries; waits up to timeout_ms until an operation is done. Returns the number
 * of operations done, linked through `next` from *ret_done (NULL if none). */
CONCLAVE_API size_t conclave_client_poll(struct conclave_client *client, uint32_t timeout_ms,
                                         struct conclave_op **ret_done);

/* Frees the reply that a done operation holds. Harmless if there is none, and after the client was
 * destroyed. The client's thread. */
CONCLAVE_API void conclave_op_release(struct conclave_op *op);

/* Becomes readable when conclave_client_poll may have something to do (edge-triggered, as ZMQ_FD:
 * call poll with timeout 0 until it returns 0 after each event and at least every 100 ms). */
CONCLAVE_API int conclave_client_fd(const struct conclave_client *client);

/* Submits one operation and waits until it is done; the same fields, the same results. The caller
 * releases the reply. Returns op->code. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_call(struct conclave_client *client,
                                                        struct conclave_op *op);

/* The endpoints that the client knows, each with what came of it, for a diagnostic:
 * "tcp://127.0.0.1:7501 (no answer), tcp://127.0.0.1:7502 (leader)". Valid until the next call with
 * this client. */
CONCLAVE_API const char *conclave_client_describe(struct conclave_client *client);

/* One node as `conclave status` shows it. What is not known is 0 or "". */
struct conclave_node_status {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    uint64_t id;
    char role[16]; /* leader, follower, precandidate, candidate, learner, removed, repair (its log
                      was damaged; it takes no part until it is whole), unknown */
    char repair[256]; /* of the role repair: what is missing, and who was asked */
    uint64_t term, commit, applied, last_index, revision;
    uint64_t audited; /* up to here it and a majority are known to have applied the same */
    char deviating[CONCLAVE_NAME_BYTES_MAX + 1]; /* the member that it found to have applied
                                                    something else; "": none */
    int64_t pid;
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    bool voter;           /* false: a learner */
    uint64_t incarnation; /* of its data directory; 0: the cluster does not know it yet */
    bool answered;        /* it answered this request */
    bool healthy;         /* it answered, and knows a leader */
};

struct conclave_status {
    char cluster[17];                         /* cluster id, 16 hexadecimal digits */
    char leader[CONCLAVE_NAME_BYTES_MAX + 1]; /* "" if nobody knows one */
    uint64_t revision;                        /* the highest that a node reported */
    size_t node_count;
    struct conclave_node_status nodes[CONCLAVE_MEMBERS_MAX];
};

/* Asks every endpoint and every member it hears of; nodes that do not answer within timeout_ms are
 * listed as not healthy. Errors: UNREACHABLE if none answered. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_status(struct conclave_client *client,
                                                          uint32_t timeout_ms,
                                                          struct conclave_status *ret_status);

/* --- Members -----------------------------------------------------------------------------------
 *
 * The leader changes the members by joint consensus, one change at a time, while the cluster
 * serves. A new member is a learner first: it receives the log and counts nowhere. */

enum conclave_member_change_kind {
    CONCLAVE_MEMBER_ADD = 1,     /* a learner; without `learner` it votes once it has caught up */
    CONCLAVE_MEMBER_PROMOTE = 2, /* a learner that has caught up votes from now on */
    CONCLAVE_MEMBER_REMOVE = 3,  /* for good: its id is never used again */
    CONCLAVE_MEMBER_REPLACE = 4 /* the learner `replacement` votes and `name` is removed, at once */
};

struct conclave_member_change {
    enum conclave_member_change_kind kind;
    const char *name;
    const char *peer;        /* ADD */
    const char *client;      /* ADD; NULL or "": a tcp peer's port plus 100, else none */
    uint64_t id;             /* ADD: below 2^53; 0: the node that is asked draws one */
    uint64_t incarnation;    /* ADD: 0: the directory is made later, by conclave_join */
    bool learner;            /* ADD */
    const char *replacement; /* REPLACE */
};

/* Asks the leader for a change and waits until it is committed. It is tried again until timeout_ms
 * (0: the client's default) while another change is under way or the learner is behind.
 * Errors: as of a proposal (conclave_client_submit); BUSY: not now; NOT_FOUND: no such member;
 * EXISTS: the name, id or address is in use; INVALID: against a limit, or the last voter. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_client_change_member(struct conclave_client *client,
                              const struct conclave_member_change *change, uint32_t timeout_ms,
                              struct conclave_error *error);

#ifdef __cplusplus
}
#endif
#endif
