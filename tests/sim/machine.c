#include "tests/sim/machine.h"

#include "base/fatal.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"
#include "tests/sim/store.h"

#include <inttypes.h>
#include <stdlib.h>

struct machine {
    uint64_t applied;
    uint64_t hash;
    uint64_t registers[SIM_REGISTERS];
    struct raft_runs *queue; /* oldest first */
    uint32_t queued, capacity;
    uint32_t working; /* of the queue's front: in the batch under way */
    struct store *store;
};

static void machine_clear(struct machine *machine, bool reset)
{
    for (uint32_t i = 0; i < machine->queued; i++)
        raft_runs_clear(&machine->queue[i]);
    machine->queued = 0;
    machine->working = 0;
    if (reset) {
        machine->applied = 0;
        machine->hash = 1;
        for (int i = 0; i < SIM_REGISTERS; i++)
            machine->registers[i] = 0;
    }
}

struct machine *machine_create(struct store *store)
{
    struct machine *machine = mem_zalloc(sizeof *machine);
    machine->store = store;
    machine_clear(machine, true);
    return machine;
}

void machine_destroy(struct machine *machine)
{
    machine_clear(machine, true);
    store_destroy(machine->store);
    free(machine->queue);
    free(machine);
}

void machine_submit(struct machine *machine, struct raft_runs *entries)
{
    if (machine->queued == machine->capacity) {
        machine->capacity = machine->capacity ? machine->capacity * 2 : 8;
        machine->queue = mem_realloc(machine->queue, machine->capacity * sizeof *machine->queue);
    }
    machine->queue[machine->queued++] = *entries;
    *entries = (struct raft_runs){0};
}

uint32_t machine_begin(struct machine *machine, uint32_t max)
{
    ASSERT(machine->working == 0);
    machine->working = machine->queued < max ? machine->queued : max;
    return machine->working;
}

static void machine_apply(struct machine *machine, const struct raft_entry *entry)
{
    uint64_t hash = hash_mix(machine->hash, entry->id.index);
    uint64_t number;
    uint32_t cell;
    if (entry->kind == RAFT_ENTRY_COMMAND && command_decode(entry->payload, &number, &cell)) {
        machine->registers[cell % SIM_REGISTERS] = number;
        hash = hash_mix(hash, number);
    }
    machine->hash = hash;
    machine->applied = entry->id.index;
}

void machine_complete(struct machine *machine,
                      void (*applied)(void *arg, const struct raft_entry *entry,
                                      uint64_t state_hash),
                      void *arg)
{
    ASSERT(machine->working > 0);
    for (uint32_t i = 0; i < machine->working; i++) {
        if (machine->store)
            ASSERT(store_apply(machine->store, &machine->queue[i]) == CONCLAVE_OK);
        struct raft_runs_iter it = {0};
        for (const struct raft_entry *e; (e = raft_runs_next(&machine->queue[i], &it));) {
            machine_apply(machine, e);
            applied(arg, e, machine->hash);
        }
        raft_runs_clear(&machine->queue[i]);
    }
    machine->queued -= machine->working;
    for (uint32_t i = 0; i < machine->queued; i++)
        machine->queue[i] = machine->queue[i + machine->working];
    machine->working = 0;
}

void machine_crash(struct machine *machine, bool reset)
{
    machine_clear(machine, reset);
    if (machine->store)
        store_crash(machine->store, reset);
}

bool machine_start(struct machine *machine, struct conclave_error *error)
{
    uint64_t applied;
    if (!machine->store)
        return true;
    if (store_open(machine->store, &applied, error) != CONCLAVE_OK)
        return false;
    if (applied == machine->applied)
        return true;
    error_set(error, CONCLAVE_CORRUPT,
              "the store holds %" PRIu64 " entries, %" PRIu64 " were applied to it", applied,
              machine->applied);
    return false;
}

struct store *machine_store(const struct machine *machine)
{
    return machine->store;
}

bool machine_agrees(const struct machine *machine)
{
    for (uint32_t i = 0; i < SIM_REGISTERS; i++) {
        if (store_register(machine->store, i) != machine->registers[i])
            return false;
    }
    return true;
}

uint64_t machine_applied(const struct machine *machine)
{
    return machine->applied;
}

uint64_t machine_hash(const struct machine *machine)
{
    return machine->hash;
}

uint64_t machine_register(const struct machine *machine, uint32_t cell)
{
    return machine->store ? store_register(machine->store, cell)
                          : machine->registers[cell % SIM_REGISTERS];
}
