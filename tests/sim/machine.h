/* tests/sim/machine.h - the state machine: a hash over everything applied and the last write of
 * every register. Batches are applied whole, in order, some time after they were handed over. A
 * crash keeps what was applied, or empties it.
 *
 * It is a model by itself, and quick. On top of a struct store it says what that has to hold, and
 * reads are answered by the store. One thread. */
#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include "base/error.h"
#include "raft/raft.h"
#include "tests/sim/knobs.h"

struct machine;
struct store;

/* `store`: taken over; NULL: the model alone. */
struct machine *machine_create(struct store *store);
void machine_destroy(struct machine *machine);

/* Queues committed entries; takes them over and leaves *entries empty. */
void machine_submit(struct machine *machine, struct raft_runs *entries);

/* Begins to apply up to `max` of the queued units as one batch; returns how many. 0: nothing is
 * queued. No batch may be under way. */
uint32_t machine_begin(struct machine *machine, uint32_t max);

/* The batch under way is applied. Calls `applied` for each entry, after it, with the state's
 * hash. */
void machine_complete(struct machine *machine,
                      void (*applied)(void *arg, const struct raft_entry *entry,
                                      uint64_t state_hash),
                      void *arg);

/* The node dies: what is queued is gone; what was applied stays, or (`reset`) is gone too. */
void machine_crash(struct machine *machine, bool reset);

/* A start. False: what the store holds is not what was applied, or after a reset not nothing. */
MUST_USE bool machine_start(struct machine *machine, struct conclave_error *error);

/* The real store under it; NULL: a model. */
struct store *machine_store(const struct machine *machine);

/* True if the store's registers are the model's. */
bool machine_agrees(const struct machine *machine);

uint64_t machine_applied(const struct machine *machine); /* index */
uint64_t machine_hash(const struct machine *machine);

/* The number of the last write to the register; 0: none. */
uint64_t machine_register(const struct machine *machine, uint32_t cell);

#endif
