/* tests/sim/store.h - the real key-value machine of one simulated node, in a temporary directory.
 *
 * A write of the simulated clients is a put of its register's key. LMDB's files live in the real
 * system's memory (/dev/shm if it is there), so a killed node finds them as they were; a loss of
 * power is another boot id and garbage in the middle of the data. One thread. */
#ifndef TESTS_SIM_STORE_H
#define TESTS_SIM_STORE_H

#include "base/error.h"
#include "raft/raft.h"

struct store;

/* A store of no entries, not open. Dies if there is no directory to be made. */
struct store *store_create(uint64_t cluster_id, raft_node_id node_id);

/* Closes it and removes its files. */
void store_destroy(struct store *store);

/* For signal handlers: removes the files and nothing else. */
void store_remove(struct store *store);

/* Opens it; *ret_applied: what it holds already. */
MUST_USE int store_open(struct store *store, uint64_t *ret_applied, struct conclave_error *error);

/* The node is dead; `power`: and nothing unsynced may be believed. */
void store_crash(struct store *store, bool power);

/* Applies the commands among some entries as one batch. Open. */
MUST_USE int store_apply(struct store *store, const struct raft_runs *entries);

/* The number of the last write to a register; 0: none. UINT64_MAX: an answer that is none. */
uint64_t store_register(struct store *store, uint32_t cell);

/* A hash over all keys with values and revisions, as a range query tells them. */
uint64_t store_hash(struct store *store);

#endif
