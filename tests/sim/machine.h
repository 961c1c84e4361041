/* tests/sim/machine.h - the state machine of a node at work: the real one (tests/sim/store.h)
 * behind a queue. Batches are applied whole, in order, some time after they were handed over. A
 * crash keeps what was applied, or empties it.
 *
 * There may be a second store that does the same on other tables: its answers, its state and its
 * snapshots have to be those of the first. One thread. */
#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include "tests/sim/store.h"

struct machine;

/* The stores are taken over; `twin` NULL: none. */
struct machine *machine_create(struct store *store, struct store *twin);
void machine_destroy(struct machine *machine);

/* For signal handlers. */
void machine_remove_files(const struct machine *machine);

/* Queues committed entries; takes them over and leaves *entries empty. */
void machine_submit(struct machine *machine, struct raft_runs *entries);

/* Queues becoming the snapshot that ends with this entry, behind what was queued before. */
void machine_submit_install(struct machine *machine, struct raft_id id);

/* The install that comes next, or is under way; index 0: something else does, or nothing. */
struct raft_id machine_next_install(const struct machine *machine);

/* The first that is in the queue, whatever is before it. index 0: none is. */
struct raft_id machine_awaited_install(const struct machine *machine);

/* Begins to apply up to `max` of the queued units as one batch, or one install alone; returns how
 * many. 0: nothing is queued. No batch may be under way. */
uint32_t machine_begin(struct machine *machine, uint32_t max);

/* The batch under way, which is no install, is applied, as one. Calls `applied` for each entry,
 * after it; reply: NULL if it was no command. */
void machine_complete(struct machine *machine,
                      void (*applied)(void *arg, const struct raft_entry *entry,
                                      const struct conclave_reply_sink *reply),
                      void *arg);

/* The next change finds no room in the tables, once. Open. */
void machine_fill(struct machine *machine);

/* The next restore finds no room. False: there is always some. Open. */
bool machine_refuse(struct machine *machine);

/* Of an install under way that found no room: a later one that is queued takes its place, and what
 * was to be applied in between is dropped, each entry with a word to `dropped` (Rule 44: whoever
 * waits for it hears that what became of it is not known). False: there is none. */
bool machine_overtake(struct machine *machine,
                      void (*dropped)(void *arg, const struct raft_entry *entry), void *arg);

/* Puts what was applied on the disk. Open. */
void machine_sync(struct machine *machine);

/* True if a loss of power would take nothing away. */
bool machine_synced(const struct machine *machine);

/* The node dies: what is queued is gone; what was applied stays, or is gone too if the power was
 * lost before it was synced. True: it is gone. */
bool machine_crash(struct machine *machine, bool power);

/* One bit of what it holds changes; false: it holds nothing. Open, with one store, in memory. */
bool machine_alter(struct machine *machine, uint64_t number);

/* The node is dead, and all that it held is removed. As machine_alter. */
void machine_wipe(struct machine *machine);

/* A start. False: what the store holds is not what was applied, or after a reset not nothing. */
MUST_USE bool machine_start(struct machine *machine, struct conclave_error *error);

/* Open between a start and a crash. */
struct store *machine_store(const struct machine *machine);

/* NULL, or in what the second store differs from the first. Open. */
const char *machine_difference(const struct machine *machine);

/* The state as a snapshot as of the last apply; one reference. NULL: it holds what was altered.
 * Open. */
struct buf *machine_snapshot(struct machine *machine);

/* Becomes a snapshot of `index`; an install under way is done with that, but for NO_SPACE: then it
 * holds nothing. Open, and no batch under way. */
MUST_USE int machine_restore(struct machine *machine, uint64_t index, struct slice snapshot);

uint64_t machine_applied(const struct machine *machine); /* index */

/* Of all keys and sessions, after the last batch or start. */
uint64_t machine_hash(const struct machine *machine);

#endif
