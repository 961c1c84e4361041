#include "raft/entries.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

bool raft_entry_equal(const struct raft_entry *a, const struct raft_entry *b)
{
    return raft_id_equal(a->id, b->id) && a->kind == b->kind &&
           a->payload.bytes == b->payload.bytes &&
           (a->payload.bytes == 0 ||
            memcmp(a->payload.data, b->payload.data, a->payload.bytes) == 0);
}

struct raft_batch *raft_batch_create(uint32_t capacity)
{
    struct raft_batch *batch =
        mem_alloc(sizeof *batch + (size_t)capacity * sizeof(struct raft_entry));
    atomic_init(&batch->refs, 1);
    batch->count = 0;
    batch->capacity = capacity;
    batch->owners = 0;
    batch->payload_bytes = 0;
    return batch;
}

struct raft_batch *raft_batch_ref(struct raft_batch *batch)
{
    /* Relaxed is enough to add one: whoever adds holds a reference already. */
    unsigned before = atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return batch;
}

void raft_batch_unref(struct raft_batch *batch)
{
    if (!batch)
        return;
    /* Release what this thread read before the count falls; acquire it all before freeing. */
    unsigned before = atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    for (uint32_t i = 0; i < batch->owners; i++)
        buf_unref(batch->entries[i].buf);
    free(batch);
}

static uint64_t run_first_index(const struct raft_run *run)
{
    return run->batch->entries[run->first].id.index;
}

static uint64_t entries_bytes(const struct raft_batch *batch, uint32_t first, uint32_t count)
{
    uint64_t bytes = 0;
    if (first == 0 && count == batch->count)
        return batch->payload_bytes; /* nearly always */
    for (uint32_t i = first; i < first + count; i++)
        bytes += batch->entries[i].payload.bytes;
    return bytes;
}

uint64_t raft_run_payload(const struct raft_run *run)
{
    return entries_bytes(run->batch, run->first, run->count);
}

/* Appends entries whose payload bytes the caller has counted. */
static void runs_push(struct raft_runs *runs, struct raft_batch *batch, uint32_t first,
                      uint32_t count, uint64_t bytes)
{
    struct raft_run *last = runs->count > 0 ? &runs->items[runs->count - 1] : NULL;
    ASSERT(!last ||
           batch->entries[first].id.index == run_first_index(last) + (uint64_t)last->count);
    runs->entry_count += count;
    runs->payload_bytes += bytes;
    if (last && last->batch == batch && last->first + last->count == first) {
        last->count += count;
        return;
    }
    if (runs->count == runs->capacity) {
        runs->capacity = runs->capacity > 0 ? runs->capacity * 2 : 2;
        runs->items = mem_realloc(runs->items, (size_t)runs->capacity * sizeof *runs->items);
    }
    runs->items[runs->count++] =
        (struct raft_run){.batch = raft_batch_ref(batch), .first = first, .count = count};
}

void raft_runs_append(struct raft_runs *runs, struct raft_batch *batch, uint32_t first,
                      uint32_t count)
{
    ASSERT(first <= batch->count && count <= batch->count - first);
    if (count > 0)
        runs_push(runs, batch, first, count, entries_bytes(batch, first, count));
}

void raft_runs_append_all(struct raft_runs *runs, const struct raft_runs *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        raft_runs_append(runs, from->items[i].batch, from->items[i].first, from->items[i].count);
}

/* The position of the run that holds `index`, which the runs must hold. What is looked up is
 * nearly always near the end, so the search doubles its steps from there before it bisects. */
static uint32_t runs_position(const struct raft_runs *runs, uint64_t index)
{
    uint32_t high = runs->count; /* run `high` begins after index, or is the end */
    uint32_t step = 1;
    uint32_t low = high - 1;
    while (run_first_index(&runs->items[low]) > index) {
        high = low;
        step *= 2;
        low = low > step ? low - step : 0;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (run_first_index(&runs->items[middle]) > index)
            high = middle;
        else
            low = middle;
    }
    return low;
}

static bool runs_hold(const struct raft_runs *runs, uint64_t index)
{
    if (runs->count == 0)
        return false;
    uint64_t first = run_first_index(&runs->items[0]);
    return index >= first && index - first < runs->entry_count;
}

const struct raft_entry *raft_runs_find(const struct raft_runs *runs, uint64_t index)
{
    if (!runs_hold(runs, index))
        return NULL;
    const struct raft_run *run = &runs->items[runs_position(runs, index)];
    return &run->batch->entries[run->first + (uint32_t)(index - run_first_index(run))];
}

/* How much of a run, behind its first `skip` entries, goes into what is left of a slice: one entry
 * at least if there is none in it yet. Returns where it ends. */
static uint32_t run_take(const struct raft_run *run, uint32_t skip, bool first,
                         uint64_t entries_max, uint64_t bytes_max, uint64_t *ret_bytes)
{
    uint64_t bytes = 0;
    uint32_t end = skip;
    bool whole = skip == 0 && run->count == run->batch->count;
    if (whole && run->count <= entries_max && run->batch->payload_bytes <= bytes_max) {
        *ret_bytes = run->batch->payload_bytes;
        return run->count;
    }
    while (end < run->count) {
        uint64_t size = run->batch->entries[run->first + end].payload.bytes;
        bool more = end > skip || !first;
        if (more && (end - skip >= entries_max || size > bytes_max || bytes > bytes_max - size))
            break;
        bytes += size;
        end++;
    }
    *ret_bytes = bytes;
    return end;
}

void raft_runs_slice(const struct raft_runs *runs, uint64_t index, uint64_t entries_max,
                     uint64_t bytes_max, struct raft_runs *to)
{
    ASSERT(runs_hold(runs, index));
    uint32_t position = runs_position(runs, index);
    uint32_t skip = (uint32_t)(index - run_first_index(&runs->items[position]));
    bool first = true;
    for (; position < runs->count; position++, skip = 0) {
        const struct raft_run *run = &runs->items[position];
        uint64_t bytes;
        uint32_t end = run_take(run, skip, first, entries_max, bytes_max, &bytes);
        if (end > skip)
            runs_push(to, run->batch, run->first + skip, end - skip, bytes);
        if (end < run->count || end - skip >= entries_max || bytes > bytes_max)
            return;
        first = false;
        entries_max -= end - skip;
        bytes_max -= bytes;
    }
}

void raft_runs_truncate(struct raft_runs *runs, uint64_t index)
{
    while (runs->count > 0) {
        struct raft_run *run = &runs->items[runs->count - 1];
        uint64_t first = run_first_index(run);
        if (first + run->count <= index)
            return;
        uint32_t keep = first < index ? (uint32_t)(index - first) : 0;
        runs->entry_count -= run->count - keep;
        runs->payload_bytes -= entries_bytes(run->batch, run->first + keep, run->count - keep);
        run->count = keep;
        if (keep > 0)
            return;
        raft_batch_unref(run->batch);
        runs->count--;
    }
}

void raft_runs_set_aside(struct raft_runs *runs, uint64_t index, struct raft_dropped *dropped)
{
    uint32_t gone = 0;
    for (; gone < runs->count; gone++) {
        struct raft_run *run = &runs->items[gone];
        uint64_t first = run_first_index(run);
        if (first > index)
            break;
        uint32_t count = index - first < run->count ? (uint32_t)(index - first) + 1 : run->count;
        runs->entry_count -= count;
        runs->payload_bytes -= entries_bytes(run->batch, run->first, count);
        if (count < run->count) {
            run->first += count;
            run->count -= count;
            break;
        }
        LIST_RESERVE(dropped);
        dropped->items[dropped->count++] = run->batch; /* the reference moves */
        dropped->entries += run->batch->count;
    }
    runs->count -= gone;
    for (uint32_t i = 0; gone > 0 && i < runs->count; i++)
        runs->items[i] = runs->items[i + gone];
}

void raft_dropped_free(struct raft_dropped *dropped, uint64_t entries)
{
    while (dropped->count > 0 && entries > 0) {
        struct raft_batch *batch = dropped->items[--dropped->count];
        entries -= batch->count < entries ? batch->count : entries;
        dropped->entries -= batch->count;
        raft_batch_unref(batch);
    }
    if (dropped->count > 0)
        return;
    free(dropped->items);
    *dropped = (struct raft_dropped){0};
}

void raft_runs_drop_front(struct raft_runs *runs, uint64_t index)
{
    struct raft_dropped dropped = {0};
    raft_runs_set_aside(runs, index, &dropped);
    raft_dropped_free(&dropped, UINT64_MAX);
}

void raft_runs_clear(struct raft_runs *runs)
{
    for (uint32_t i = 0; i < runs->count; i++)
        raft_batch_unref(runs->items[i].batch);
    free(runs->items);
    *runs = (struct raft_runs){0};
}

void raft_runs_move(struct raft_runs *to, struct raft_runs *from)
{
    ASSERT(to->count == 0);
    free(to->items);
    *to = *from;
    *from = (struct raft_runs){0};
}

struct raft_id raft_runs_first(const struct raft_runs *runs)
{
    if (runs->count == 0)
        return (struct raft_id){0};
    return runs->items[0].batch->entries[runs->items[0].first].id;
}

struct raft_id raft_runs_last(const struct raft_runs *runs)
{
    if (runs->count == 0)
        return (struct raft_id){0};
    const struct raft_run *run = &runs->items[runs->count - 1];
    return run->batch->entries[run->first + run->count - 1].id;
}

const struct raft_entry *raft_runs_next(const struct raft_runs *runs, struct raft_runs_iter *iter)
{
    if (iter->run == runs->count)
        return NULL;
    const struct raft_run *run = &runs->items[iter->run];
    const struct raft_entry *entry = &run->batch->entries[run->first + iter->offset];
    if (++iter->offset == run->count) {
        iter->run++;
        iter->offset = 0;
    }
    return entry;
}
