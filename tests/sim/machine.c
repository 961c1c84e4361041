#include "tests/sim/machine.h"

#include "base/fatal.h"
#include "base/list.h"
#include "machine/reply.h"
#include "tests/sim/map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The answers to one batch, by the place of the command in it. */
struct answers {
    struct conclave_reply_sink *sinks;
    struct conclave_reply_sink **pointers;
};

/* Entries, or (index > 0) the snapshot that the machine is to become. */
struct machine_unit {
    struct raft_runs entries;
    struct raft_id install;
};

struct machine {
    struct store *store, *twin;
    const char *difference; /* of an answer of the twin */
    uint64_t applied;
    bool synced; /* nothing was changed since: a loss of power takes nothing away */
    uint64_t hash;
    RAFT_LIST(struct machine_unit, queue); /* oldest first */
    uint32_t working;                      /* of the queue's front: in the batch under way */
    struct session_input *inputs;
    struct answers answers, twin_answers;
};

struct machine *machine_create(struct store *store, struct store *twin)
{
    struct machine *machine = mem_zalloc(sizeof *machine);
    machine->store = store;
    machine->twin = twin;
    return machine;
}

static void machine_clear(struct machine *machine)
{
    for (uint32_t i = 0; i < machine->queue.count; i++)
        raft_runs_clear(&machine->queue.items[i].entries);
    machine->queue.count = 0;
    machine->working = 0;
}

void machine_destroy(struct machine *machine)
{
    machine_clear(machine);
    store_destroy(machine->store);
    store_destroy(machine->twin);
    free(machine->queue.items);
    free(machine);
}

void machine_remove_files(const struct machine *machine)
{
    store_remove(machine->store);
    if (machine->twin)
        store_remove(machine->twin);
}

static void machine_queue(struct machine *machine, struct machine_unit unit)
{
    LIST_RESERVE(&machine->queue);
    machine->queue.items[machine->queue.count++] = unit;
}

void machine_submit(struct machine *machine, struct raft_runs *entries)
{
    machine_queue(machine, (struct machine_unit){.entries = *entries});
    *entries = (struct raft_runs){0};
}

void machine_submit_install(struct machine *machine, struct raft_id id)
{
    machine_queue(machine, (struct machine_unit){.install = id});
}

struct raft_id machine_next_install(const struct machine *machine)
{
    return machine->queue.count > 0 ? machine->queue.items[0].install : (struct raft_id){0};
}

struct raft_id machine_awaited_install(const struct machine *machine)
{
    for (uint32_t i = 0; i < machine->queue.count; i++)
        if (machine->queue.items[i].install.index > 0)
            return machine->queue.items[i].install;
    return (struct raft_id){0};
}

uint32_t machine_begin(struct machine *machine, uint32_t max)
{
    ASSERT(machine->working == 0);
    if (machine_next_install(machine).index > 0)
        max = 1;
    while (machine->working < machine->queue.count && machine->working < max &&
           (machine->working == 0 || machine->queue.items[machine->working].install.index == 0))
        machine->working++;
    return machine->working;
}

static void machine_done(struct machine *machine)
{
    if (machine->working == 0)
        return;
    machine->queue.count -= machine->working;
    memmove(machine->queue.items, machine->queue.items + machine->working,
            machine->queue.count * sizeof *machine->queue.items);
    machine->working = 0;
}

/* --- A batch ---------------------------------------------------------------------------------- */

static void answers_create(struct answers *answers, size_t count)
{
    answers->sinks = mem_zalloc((count + 1) * sizeof *answers->sinks);
    answers->pointers = mem_alloc((count + 1) * sizeof(struct conclave_reply_sink *));
    for (size_t i = 0; i < count; i++)
        answers->pointers[i] = &answers->sinks[i];
}

static void answers_destroy(struct answers *answers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        reply_sink_clear(&answers->sinks[i]);
    free(answers->sinks);
    free(answers->pointers);
}

static bool is_command(const struct raft_entry *entry)
{
    return entry->kind == RAFT_ENTRY_COMMAND || entry->kind == RAFT_ENTRY_SESSION;
}

/* As the state-machine actor gathers them. Returns how many. */
static size_t gather(struct machine *machine, uint64_t *ret_last)
{
    size_t count = 0, room = 1;
    for (uint32_t i = 0; i < machine->working; i++)
        room += machine->queue.items[i].entries.entry_count;
    machine->inputs = mem_alloc(room * sizeof *machine->inputs);
    for (uint32_t i = 0; i < machine->working; i++) {
        struct raft_runs_iter it = {0};
        for (const struct raft_entry *e;
             (e = raft_runs_next(&machine->queue.items[i].entries, &it));) {
            *ret_last = e->id.index;
            machine->inputs[count++] =
                (struct session_input){.command = {.index = e->id.index,
                                                   .term = e->id.term,
                                                   .data = e->payload.data,
                                                   .bytes = e->payload.bytes},
                                       .in_session = e->kind == RAFT_ENTRY_SESSION,
                                       .audit_only = !is_command(e)};
        }
    }
    return count;
}

static bool answer_equal(const struct conclave_reply_sink *a, const struct conclave_reply_sink *b)
{
    size_t bytes = a->body ? a->body->bytes : 0;
    return a->code == b->code && a->refused == b->refused &&
           bytes == (b->body ? b->body->bytes : 0) &&
           (bytes == 0 || memcmp(a->body->data, b->body->data, bytes) == 0);
}

/* As one, or as many as it takes. */
static void apply(struct store *store, const struct machine *machine, size_t count, uint64_t last,
                  const struct answers *answers)
{
    size_t at = 0;
    for (; count - at > SESSION_INPUTS_MAX; at += SESSION_INPUTS_MAX)
        ASSERT(store_apply(store, machine->inputs + at, SESSION_INPUTS_MAX,
                           machine->inputs[at + SESSION_INPUTS_MAX - 1].command.index,
                           answers->pointers + at) == CONCLAVE_OK);
    ASSERT(store_apply(store, machine->inputs + at, count - at, last, answers->pointers + at) ==
           CONCLAVE_OK);
}

static void twin_apply(struct machine *machine, size_t count, uint64_t last)
{
    answers_create(&machine->twin_answers, count);
    apply(machine->twin, machine, count, last, &machine->twin_answers);
    for (size_t i = 0; i < count; i++) {
        if (!answer_equal(&machine->answers.sinks[i], &machine->twin_answers.sinks[i]))
            machine->difference = "answers";
    }
    answers_destroy(&machine->twin_answers, count);
}

static void hash_take(struct machine *machine)
{
    machine->hash = hash_mix(store_keys_hash(machine->store), store_sessions_hash(machine->store));
    machine->hash = hash_mix(machine->hash, store_audit(machine->store));
}

void machine_complete(struct machine *machine,
                      void (*applied)(void *arg, const struct raft_entry *entry,
                                      const struct conclave_reply_sink *reply),
                      void *arg)
{
    ASSERT(machine->working > 0);
    uint64_t last = 0;
    size_t count = gather(machine, &last);
    answers_create(&machine->answers, count);
    apply(machine->store, machine, count, last, &machine->answers);
    if (machine->twin)
        twin_apply(machine, count, last);
    machine->applied = last;
    machine->synced = false;
    hash_take(machine);
    size_t at = 0;
    for (uint32_t i = 0; i < machine->working; i++) {
        struct raft_runs_iter it = {0};
        for (const struct raft_entry *e;
             (e = raft_runs_next(&machine->queue.items[i].entries, &it)); at++)
            applied(arg, e, is_command(e) ? &machine->answers.sinks[at] : NULL);
        raft_runs_clear(&machine->queue.items[i].entries);
    }
    answers_destroy(&machine->answers, count);
    free(machine->inputs);
    machine_done(machine);
}

/* --- Life ------------------------------------------------------------------------------------- */

void machine_fill(struct machine *machine)
{
    store_fill(machine->store);
    if (machine->twin)
        store_fill(machine->twin);
}

bool machine_refuse(struct machine *machine)
{
    return !machine->twin && store_refuse(machine->store); /* a twin in files would find room */
}

static void drop_batch(struct raft_runs *batch,
                       void (*dropped)(void *arg, const struct raft_entry *entry), void *arg)
{
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(batch, &it));)
        dropped(arg, entry);
    raft_runs_clear(batch);
}

bool machine_overtake(struct machine *machine,
                      void (*dropped)(void *arg, const struct raft_entry *entry), void *arg)
{
    uint32_t later = machine->queue.count;
    ASSERT(machine->working == 1 && machine_next_install(machine).index > 0);
    while (--later > 0 && machine->queue.items[later].install.index == 0)
        continue;
    if (later == 0)
        return false;
    for (uint32_t i = 0; i < later; i++)
        drop_batch(&machine->queue.items[i].entries, dropped, arg);
    machine->queue.count -= later;
    memmove(machine->queue.items, machine->queue.items + later,
            machine->queue.count * sizeof *machine->queue.items);
    return true;
}

void machine_sync(struct machine *machine)
{
    ASSERT(store_sync(machine->store) == CONCLAVE_OK);
    if (machine->twin)
        ASSERT(store_sync(machine->twin) == CONCLAVE_OK);
    machine->synced = true;
}

bool machine_synced(const struct machine *machine)
{
    return machine->synced;
}

bool machine_crash(struct machine *machine, bool power)
{
    machine_clear(machine);
    store_crash(machine->store, power, machine->synced);
    if (machine->twin)
        store_crash(machine->twin, power, machine->synced);
    bool reset = power && !machine->synced;
    if (reset)
        machine->applied = 0;
    return reset;
}

bool machine_alter(struct machine *machine, uint64_t number)
{
    bool altered = store_alter(machine->store, number);
    machine->synced = false; /* something was committed */
    return altered;
}

void machine_wipe(struct machine *machine)
{
    store_wipe(machine->store);
    machine->applied = 0;
    machine->synced = false;
}

static bool open_one(struct store *store, uint64_t applied, struct conclave_error *error)
{
    uint64_t found;
    if (store_open(store, &found, error) != CONCLAVE_OK)
        return false;
    if (found == applied)
        return true;
    error_set(error, CONCLAVE_CORRUPT,
              "the store holds %" PRIu64 " entries, %" PRIu64 " were applied to it", found,
              applied);
    return false;
}

bool machine_start(struct machine *machine, struct conclave_error *error)
{
    if (!open_one(machine->store, machine->applied, error) ||
        (machine->twin && !open_one(machine->twin, machine->applied, error)))
        return false;
    machine->synced = false; /* a store that is open is not believed after a loss of power */
    hash_take(machine);
    return true;
}

struct buf *machine_snapshot(struct machine *machine)
{
    return store_snapshot(machine->store);
}

int machine_restore(struct machine *machine, uint64_t index, struct slice snapshot)
{
    ASSERT(machine->working == 0 || machine_next_install(machine).index > 0);
    int code = store_restore(machine->store, index, snapshot);
    machine->synced = false;
    if (code == CONCLAVE_NO_SPACE) {
        machine->applied = 0;
        return code;
    }
    machine_done(machine);
    if (!code && machine->twin)
        code = store_restore(machine->twin, index, snapshot);
    if (!code) {
        machine->applied = index;
        hash_take(machine);
    }
    return code;
}

/* --- What it holds ---------------------------------------------------------------------------- */

struct store *machine_store(const struct machine *machine)
{
    return machine->store;
}

const char *machine_difference(const struct machine *machine)
{
    if (machine->difference || !machine->twin)
        return machine->difference;
    if (store_keys_hash(machine->store) != store_keys_hash(machine->twin))
        return "keys";
    if (store_sessions_hash(machine->store) != store_sessions_hash(machine->twin))
        return "sessions";
    if (store_audit(machine->store) != store_audit(machine->twin))
        return "audit";
    struct buf *one = store_snapshot(machine->store);
    struct buf *two = store_snapshot(machine->twin);
    bool equal = one->bytes == two->bytes && memcmp(one->data, two->data, one->bytes) == 0;
    buf_unref(one);
    buf_unref(two);
    return equal ? NULL : "snapshots";
}

uint64_t machine_applied(const struct machine *machine)
{
    return machine->applied;
}

uint64_t machine_hash(const struct machine *machine)
{
    return machine->hash;
}
