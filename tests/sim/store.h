/* tests/sim/store.h - the real state machine of one simulated node: client sessions in front of the
 * key-value machine (machine/session_layer.h, machine/kv.h), on tables in memory or on LMDB.
 *
 * LMDB's files live in a temporary directory in the real system's memory (/dev/shm if it is there),
 * so a killed node finds them as they were; a loss of power is another boot id and garbage in the
 * middle of the data. Tables in memory do the same without files, and much faster. One thread. */
#ifndef TESTS_SIM_STORE_H
#define TESTS_SIM_STORE_H

#include "base/buf.h"
#include "base/error.h"
#include "machine/feed.h"
#include "machine/session_layer.h"
#include "raft/raft.h"

struct store;

enum store_kind { STORE_MEMORY, STORE_LMDB };

/* A store of no entries, not open. Dies if there is no directory to be made. */
struct store *store_create(enum store_kind kind, const struct session_limits *limits,
                           uint64_t cluster_id, raft_node_id node_id);

/* Closes it and removes its files. NULL is allowed. */
void store_destroy(struct store *store);

/* For signal handlers: removes the files and nothing else. */
void store_remove(struct store *store);

/* Opens it; *ret_applied: what it holds already. */
MUST_USE int store_open(struct store *store, uint64_t *ret_applied, struct conclave_error *error);

/* The node is dead; `power`: and nothing may be believed that is not `synced`. */
void store_crash(struct store *store, bool power, bool synced);

/* The next change finds no room, once; LMDB's tables grow by themselves. Open. */
void store_fill(struct store *store);

/* The next restore finds none at all, once. False: LMDB's always do. Open. */
bool store_refuse(struct store *store);

/* Puts everything on the disk. Open. */
MUST_USE int store_sync(struct store *store);

/* As session_layer_apply. Open. */
MUST_USE int store_apply(struct store *store, const struct session_input *inputs, size_t count,
                         uint64_t last_index, struct conclave_reply_sink *const *replies);

/* The changes of keys, of topics, of groups. Open, until it is closed. */
struct feed store_feed(struct store *store);
struct feed store_topic_feed(struct store *store);
struct feed store_group_feed(struct store *store);

/* Asks a query; the answer is valid until the next one. */
const struct conclave_reply_sink *store_query(struct store *store, struct slice query);

/* Cluster time until something ends; UINT64_MAX: nothing does. Open. */
uint64_t store_due_ms(const struct store *store);

/* All keys, leases and the revision, as queries tell them; all sessions and the clock; as
 * tests/sim/reference.h folds them. */
uint64_t store_keys_hash(struct store *store);
uint64_t store_sessions_hash(struct store *store);

/* Whether the alarm of the quota is on. Open. */
bool store_alarm(const struct store *store);

/* The audit's hash of all that was applied; 0: it is not known. */
uint64_t store_audit(const struct store *store);

/* The marks that the last apply passed, at most `limit`, and the one of where it stands; the count.
 */
uint32_t store_marks(struct store *store, struct audit_mark *ret, uint32_t limit);

/* Changes one bit of a stored record, the (number mod count)th, behind the machine's back. False:
 * there is none. Of tables in memory; open. */
bool store_alter(struct store *store, uint64_t number);

/* Begins anew with nothing, as after its directory was removed. Of tables in memory; not open. */
void store_wipe(struct store *store);

/* True if the sessions take no more than their limits allow. */
bool store_within_limits(const struct store *store);

/* The whole state as a snapshot; one reference. Open. */
struct buf *store_snapshot(struct store *store);

/* Becomes that snapshot, as of `index`. Open. */
MUST_USE int store_restore(struct store *store, uint64_t index, struct slice snapshot);

#endif
