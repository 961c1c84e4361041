/* conclave_machine.h - replicated state machines of one's own.
 *
 * What a program embeds to have its own replicated state. All calls but snapshot_write come from
 * the node's state-machine thread, one at a time. Applying must be deterministic: no clock, no
 * randomness, nothing outside the machine and the commands. All nodes of a cluster have the same
 * machine.
 */
#ifndef CONCLAVE_MACHINE_H
#define CONCLAVE_MACHINE_H

#include "conclave_base.h"

#ifdef __cplusplus
extern "C" {
#endif

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
 * (but for NO_SPACE of open, apply and restore).
 *
 * A machine that can take snapshots has all four functions for them; one that cannot has none of
 * the four, and the node keeps its whole log. Client sessions travel in the snapshots of every
 * machine: it need not know of them. */
struct conclave_machine_ops {
    size_t size; /* sizeof(struct conclave_machine_ops) */

    /* Opens the state and says up to which log index it already holds every command (0: nothing).
     * A machine that is not synced at every apply must answer 0 after a crash of the operating
     * system (another boot id) unless it can tell that its state is whole; the log is replayed.
     * On failure describes it in *error. NO_SPACE: nothing was opened, and it is called again, once
     * in a while, until there is room, and nothing else meanwhile; the node runs, takes no commands
     * as a leader and answers no queries. */
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
     * linearizability asks for has been applied; a leader perhaps before it knows that it still
     * leads, and the answer is thrown away if it does not. Never fails as a whole: the answer has a
     * code. */
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
     * NO_SPACE, INTERNAL and others later. But for CORRUPT of the machine's own: what it holds is
     * not what was applied, and the node stops, loudly, before that gets to others. */
    int (*snapshot_write)(void *machine, void *snapshot, struct conclave_snapshot_sink *sink);

    /* Lets go of what was fixed, when nobody writes it any more; after every begin that answered
     * OK, whatever the write did, and before close. */
    void (*snapshot_end)(void *machine, void *snapshot);

    /* Replaces the whole state by the one that the source delivers, of this or another node, and
     * records `index` as applied. Either all of it: a later open must find the new state with
     * `index`, or the old one with its index, or nothing with 0, even after a kill; so it makes the
     * new state the valid one only when the source has ended. After a code the state
     * is not used again in this process, and the node stops; the next start opens it and restores
     * again. But for NO_SPACE while the node runs: then restore is called again, once in a while
     * and from the beginning, until there is room, and nothing else but close meanwhile. Typical
     * codes: those of the source; CORRUPT: not a state of this machine; NO_SPACE. */
    int (*restore)(void *machine, uint64_t index, struct conclave_snapshot_source *source);

    /* Whether a command gives space back (a delete), and is to be taken even while the disk is
     * nearly full. It looks at the command alone: any thread calls it. NULL: none does. */
    bool (*frees)(const void *data, size_t bytes);
};

#ifdef __cplusplus
}
#endif
#endif
