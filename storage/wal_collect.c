#include "storage/wal_collect.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

enum {
    GROUP_ENTRIES_MAX = 1024,
    GROUP_BYTES_MAX = 256 << 10 /* one entry kept alive keeps at most about this much */
};

void wal_collect_begin(struct wal_collect *collect, struct raft_id base)
{
    collect->base = base;
    collect->base_replaced = false;
    collect->last = base;
}

static uint64_t run_first_index(const struct raft_run *run)
{
    return run->batch->entries[run->first].id.index;
}

struct raft_id wal_collect_below(const struct wal_collect *collect, uint64_t index)
{
    if (collect->pending_count > 0) {
        uint64_t first = collect->pending[0].id.index;
        if (index > first)
            return collect->pending[index - 1 - first].id;
    }
    for (size_t i = collect->group_count; i > 0; i--) {
        const struct raft_run *run = &collect->groups[i - 1];
        uint64_t first = run_first_index(run);
        if (index > first)
            return run->batch->entries[run->first + (uint32_t)(index - 1 - first)].id;
    }
    /* A log whose first segments were compacted may be replaced from below its first entry on. */
    if (index <= collect->base.index)
        return (struct raft_id){.term = 0, .index = index - 1};
    return collect->base;
}

bool wal_collect_lacks(const struct wal_collect *collect, uint64_t index)
{
    if (collect->pending_count > 0 && index >= collect->pending[0].id.index)
        return index <= collect->last.index &&
               collect->pending[index - collect->pending[0].id.index].entry_kind == WAL_ABSENT;
    for (size_t i = collect->group_count; i > 0; i--) {
        const struct raft_run *run = &collect->groups[i - 1];
        uint64_t first = run_first_index(run);
        if (index >= first)
            return index - first < run->count &&
                   (int)run->batch->entries[run->first + (uint32_t)(index - first)].kind ==
                       WAL_ABSENT;
    }
    return false;
}

bool wal_collect_fits(const struct wal_collect *collect, struct raft_id id)
{
    if (id.index == 0 || id.term == 0 || id.index > collect->last.index + 1)
        return false;
    if (id.index == collect->last.index + 1)
        return id.term >= collect->last.term;
    return id.term >= wal_collect_below(collect, id.index).term;
}

/* Drops every entry from `index` on. */
static void cut(struct wal_collect *collect, uint64_t index)
{
    struct raft_id last = wal_collect_below(collect, index);
    while (collect->pending_count > 0 &&
           collect->pending[collect->pending_count - 1].id.index >= index) {
        collect->pending_count--;
        collect->pending_bytes -= collect->pending[collect->pending_count].payload.bytes;
    }
    while (collect->group_count > 0) {
        struct raft_run *run = &collect->groups[collect->group_count - 1];
        uint64_t first = run_first_index(run);
        if (first < index) {
            if (first + run->count > index)
                run->count = (uint32_t)(index - first);
            break;
        }
        raft_batch_unref(run->batch);
        collect->group_count--;
    }
    if (index <= collect->base.index) {
        collect->base = last;
        collect->base_replaced = last.index > 0;
    }
    collect->last = last;
}

void wal_collect_add(struct wal_collect *collect, const struct wal_record *record)
{
    ASSERT(record->id.index <= collect->last.index + 1);
    if (record->id.index <= collect->last.index)
        cut(collect, record->id.index);
    if (collect->pending_count == collect->pending_capacity) {
        collect->pending_capacity =
            collect->pending_capacity == 0 ? 64 : 2 * collect->pending_capacity;
        collect->pending =
            mem_realloc(collect->pending, collect->pending_capacity * sizeof(collect->pending[0]));
    }
    collect->pending[collect->pending_count++] = *record;
    collect->pending_bytes += record->payload.bytes;
    collect->last = record->id;
    if (collect->pending_count >= GROUP_ENTRIES_MAX || collect->pending_bytes >= GROUP_BYTES_MAX)
        wal_collect_flush(collect);
}

uint64_t wal_collect_absent(struct wal_collect *collect, struct raft_id last)
{
    struct wal_record record = {.kind = WAL_ENTRY, .entry_kind = WAL_ABSENT};
    if (last.index == 0)
        return UINT64_MAX;
    if (last.index <= collect->last.index)
        cut(collect, last.index);
    while (last.term != WAL_TERM_UNKNOWN && collect->last.term > last.term &&
           collect->last.index > collect->base.index) /* terms never go back */
        cut(collect, collect->last.index);
    /* Between two of the same term there is no other. */
    uint64_t between = collect->last.term == last.term ? last.term : WAL_TERM_UNKNOWN;
    const uint64_t first = collect->last.index + 1;
    while (collect->last.index < last.index) {
        record.id.index = collect->last.index + 1;
        record.id.term = record.id.index == last.index ? last.term : between;
        wal_collect_add(collect, &record);
    }
    return first;
}

/* The first entry becomes the base: the term of the one before it is not known, and a log has to
 * begin behind a known entry. It is in a snapshot: either the one before was replaced in a segment
 * that is gone, and segments are removed up to where a snapshot reaches, and this was not the last
 * that was to go; or it was damaged, and repair asked for a snapshot that reaches so far. */
static void settle_unknown_base(struct wal_collect *collect)
{
    struct raft_run *run = &collect->groups[0];
    collect->base = run->batch->entries[run->first].id;
    run->first++;
    if (--run->count > 0)
        return;
    raft_batch_unref(run->batch);
    collect->group_count--;
    memmove(collect->groups, collect->groups + 1,
            collect->group_count * sizeof(collect->groups[0]));
}

void wal_collect_settle(struct wal_collect *collect)
{
    ASSERT(collect->pending_count == 0);
    struct raft_id absent = {0};
    size_t kept = 0;
    for (size_t i = collect->group_count; i > 0 && absent.index == 0; i--) {
        struct raft_run *run = &collect->groups[i - 1];
        for (uint32_t at = run->count; at > 0 && absent.index == 0; at--) {
            const struct raft_entry *entry = &run->batch->entries[run->first + at - 1];
            if ((int)entry->kind != WAL_ABSENT)
                continue;
            absent = entry->id;
            run->first += at;
            run->count -= at;
            kept = run->count > 0 ? i - 1 : i;
        }
    }
    if (absent.index == 0) {
        if (collect->base_replaced)
            settle_unknown_base(collect);
        return;
    }
    for (size_t i = 0; i < kept; i++)
        raft_batch_unref(collect->groups[i].batch);
    collect->group_count -= kept;
    memmove(collect->groups, collect->groups + kept,
            collect->group_count * sizeof(collect->groups[0]));
    collect->base = absent;
    if (absent.term == WAL_TERM_UNKNOWN && collect->group_count > 0)
        settle_unknown_base(collect);
}

void wal_collect_restart(struct wal_collect *collect, struct raft_id base)
{
    for (size_t i = 0; i < collect->group_count; i++)
        raft_batch_unref(collect->groups[i].batch);
    collect->group_count = 0;
    collect->pending_count = 0;
    collect->pending_bytes = 0;
    wal_collect_begin(collect, base);
}

void wal_collect_forget(struct wal_collect *collect, size_t kept)
{
    size_t gone = collect->group_count, left = collect->pending_count;
    while (gone > 0 && left < kept)
        left += collect->groups[--gone].count;
    if (gone == 0)
        return;
    const struct raft_run *newest = &collect->groups[gone - 1];
    collect->base = newest->batch->entries[newest->first + newest->count - 1].id;
    collect->base_replaced = false;
    for (size_t i = 0; i < gone; i++)
        raft_batch_unref(collect->groups[i].batch);
    collect->group_count -= gone;
    memmove(collect->groups, collect->groups + gone,
            collect->group_count * sizeof(collect->groups[0]));
}

void wal_collect_flush(struct wal_collect *collect)
{
    if (collect->pending_count == 0)
        return;
    struct raft_batch *batch = raft_batch_create((uint32_t)collect->pending_count);
    struct buf *buf = buf_create(collect->pending_bytes);
    size_t used = 0;
    for (size_t i = 0; i < collect->pending_count; i++) {
        const struct wal_record *record = &collect->pending[i];
        struct raft_entry entry = {.id = record->id,
                                   .kind = (enum raft_entry_kind)record->entry_kind};
        if (record->payload.bytes > 0) {
            memcpy(buf->data + used, record->payload.data, record->payload.bytes);
            entry.buf = buf_ref(buf);
            entry.payload =
                (struct slice){.data = buf->data + used, .bytes = record->payload.bytes};
            used += record->payload.bytes;
        }
        raft_batch_add(batch, entry);
    }
    ASSERT(used == collect->pending_bytes);
    buf_unref(buf);
    if (collect->group_count == collect->group_capacity) {
        collect->group_capacity = collect->group_capacity == 0 ? 64 : 2 * collect->group_capacity;
        collect->groups =
            mem_realloc(collect->groups, collect->group_capacity * sizeof(collect->groups[0]));
    }
    collect->groups[collect->group_count++] =
        (struct raft_run){.batch = batch, .first = 0, .count = (uint32_t)collect->pending_count};
    collect->pending_count = 0;
    collect->pending_bytes = 0;
}

void wal_collect_finish(struct wal_collect *collect, struct raft_runs *ret)
{
    ASSERT(collect->pending_count == 0);
    for (size_t i = 0; i < collect->group_count; i++) {
        const struct raft_run *run = &collect->groups[i];
        raft_runs_append(ret, run->batch, run->first, run->count);
        raft_batch_unref(run->batch);
    }
    collect->group_count = 0;
}

void wal_collect_deinit(struct wal_collect *collect)
{
    for (size_t i = 0; i < collect->group_count; i++)
        raft_batch_unref(collect->groups[i].batch);
    free(collect->groups);
    free(collect->pending);
    *collect = (struct wal_collect){0};
}
