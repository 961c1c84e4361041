/* machine/kv_store.h - the key-value machine's LMDB environment: its files, transactions, growth.
 *
 * One write transaction per apply holds the changed keys and the state record (applied index,
 * revision), so that both are found or neither (rule 7). Functions that say "rc" return 0, an LMDB
 * code or an errno; kv_store_code() makes a public code of it. Such a failure is this node's own
 * and never an answer to a command: the node stops. One thread: the state-machine actor's. */
#ifndef MACHINE_KV_STORE_H
#define MACHINE_KV_STORE_H

#include "base/error.h"

#include <lmdb.h>
#include <pthread.h>

/* What is committed together with the keys. */
struct kv_state {
    uint64_t applied_index;
    uint64_t revision;
};

struct kv_snapshot;

struct kv_store {
    int dir_fd;
    char *dir;
    uint64_t cluster_id, node_id;
    uint8_t boot_id[16];
    MDB_env *env;
    MDB_dbi meta, keys, sessions;
    size_t map_bytes; /* of the file, all of it allocated, and of the map */
    MDB_txn *read;    /* one read transaction, kept for all queries */
    bool reading;     /* whether it holds a snapshot now */
    bool clean;       /* the owner file says that everything is on the disk */
    struct kv_state state;
    size_t slack_bytes; /* unused room that the map has when a snapshot begins */

    /* The snapshot being read by the helper thread. Whoever uses or ends its transaction holds the
     * mutex; the helper never for longer than it takes to copy a piece. */
    pthread_mutex_t snapshot_mutex;
    MDB_txn **snapshot_txn; /* NULL: none; set to NULL in the snapshot when it is ended */
};

/* Opens the store in env->dir, or an empty one in its place if what is there cannot be trusted (see
 * kv_store.c). *store need not be initialised. Errors: IO, NO_SPACE, NO_MEMORY. */
MUST_USE int kv_store_open(struct kv_store *store, const struct conclave_machine_env *env,
                           struct conclave_error *error);

/* Syncs nothing. */
void kv_store_close(struct kv_store *store);

/* Puts everything committed on the disk and marks the store as whole there. */
MUST_USE int kv_store_sync(struct kv_store *store);

/* One write transaction. */
struct kv_batch {
    MDB_txn *txn;
    MDB_cursor *keys;
    MDB_dbi sessions;
    struct kv_state state; /* of the store after it; the caller advances it */
};

/* rc. Ends the snapshot of the queries. */
MUST_USE int kv_batch_begin(struct kv_store *store, struct kv_batch *ret);

/* rc. Writes batch->state and commits; the batch is over either way. */
MUST_USE int kv_batch_commit(struct kv_store *store, struct kv_batch *batch);
void kv_batch_abort(struct kv_batch *batch);

/* rc. Stores or removes the record of a client session; `batch` is the struct kv_batch. */
int kv_batch_put_session(void *batch, uint64_t id, const void *data, size_t bytes);
int kv_batch_remove_session(void *batch, uint64_t id);

/* Hands out the stored records of sessions, ids rising. A code of the store's or of `load`. */
MUST_USE int kv_store_sessions(struct kv_store *store,
                               int (*load)(void *arg, uint64_t id, const void *data, size_t bytes),
                               void *arg);

/* Makes the file and the map larger after MDB_MAP_FULL. Errors: NO_SPACE, IO, NO_MEMORY. */
MUST_USE int kv_store_grow(struct kv_store *store);

/* Grows the map ahead of a snapshot. Code. */
MUST_USE int kv_store_make_room(struct kv_store *store);

/* Ends the snapshot's transaction; snapshot_mutex is held. */
void kv_store_drop_snapshot(struct kv_store *store);

/* Throws everything away and begins an empty store that no start trusts, until kv_store_trust. A
 * snapshot being read ends. Codes. */
MUST_USE int kv_store_begin_anew(struct kv_store *store);
MUST_USE int kv_store_trust(struct kv_store *store);

/* rc. The transaction of the queries, with everything committed; valid until the next batch. */
MUST_USE int kv_store_read(struct kv_store *store, MDB_txn **ret_txn);

/* The public code for an rc. */
int kv_store_code(int rc);

#endif
