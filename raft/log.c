#include "raft/log.h"

#include "base/fatal.h"

#include <stdlib.h>

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void raft_log_deinit(struct raft_log *log)
{
    raft_runs_clear(&log->runs);
    raft_dropped_free(&log->dropped, UINT64_MAX);
    free(log->spans);
    free(log->persists);
    *log = (struct raft_log){0};
}

static void span_add(struct raft_log *log, struct raft_id id)
{
    uint64_t newest = log->span_count > 0 ? log->spans[log->span_count - 1].term : 0;
    ASSERT(id.term >= newest);
    if (id.term == newest)
        return;
    if (log->span_count == log->span_capacity) {
        log->span_capacity = log->span_capacity > 0 ? log->span_capacity * 2 : 8;
        log->spans = mem_realloc(log->spans, (size_t)log->span_capacity * sizeof *log->spans);
    }
    log->spans[log->span_count++] = (struct raft_term_span){.term = id.term, .first = id.index};
}

void raft_log_append(struct raft_log *log, struct raft_batch *batch, uint32_t first, uint32_t count)
{
    if (count == 0)
        return;
    struct raft_id last = batch->entries[first + count - 1].id;
    ASSERT(batch->entries[first].id.index == log->last.index + 1);
    ASSERT(last.index == log->last.index + count);
    raft_runs_append(&log->runs, batch, first, count);
    /* Terms never fall, so if the last entry begins no new term, none of them does. */
    if (last.term != log->last.term) {
        for (uint32_t i = first; i < first + count; i++)
            span_add(log, batch->entries[i].id);
    }
    log->last = last;
}

void raft_log_append_runs(struct raft_log *log, const struct raft_runs *runs, uint64_t skip)
{
    for (uint32_t i = 0; i < runs->count; i++) {
        const struct raft_run *run = &runs->items[i];
        uint32_t skipped = (uint32_t)min_u64(skip, run->count);
        raft_log_append(log, run->batch, run->first + skipped, run->count - skipped);
        skip -= skipped;
    }
}

void raft_log_truncate(struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->base.index && index <= log->last.index);
    raft_runs_truncate(&log->runs, index);
    while (log->span_count > 0 && log->spans[log->span_count - 1].first >= index)
        log->span_count--;
    log->last = log->runs.count > 0 ? raft_runs_last(&log->runs) : log->base;
    log->staged = min_u64(log->staged, index - 1);
    log->durable = min_u64(log->durable, index - 1);
    /* A persist still on its way confirms nothing about what was just replaced. Even if the same
     * entries come back later they are then part of a later persist: comparing ids alone would
     * count them as durable while the one in between is about to cut them off the disk. */
    for (uint32_t i = 0; i < log->persist_count; i++) {
        struct raft_log_persist *persist = &log->persists[log->persist_head + i];
        persist->covers = min_u64(persist->covers, index - 1);
    }
    ASSERT(log->last.index == index - 1);
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->base.index && index <= log->durable);
    log->base = raft_log_id_at(log, index);
    raft_runs_set_aside(&log->runs, index, &log->dropped);
    uint32_t gone = 0; /* the span of the base itself stays: questions about it are asked */
    while (gone + 1 < log->span_count && log->spans[gone + 1].first <= index)
        gone++;
    log->span_count -= gone;
    for (uint32_t i = 0; gone > 0 && i < log->span_count; i++)
        log->spans[i] = log->spans[i + gone];
}

void raft_log_restart(struct raft_log *log, struct raft_id base)
{
    raft_runs_clear(&log->runs);
    log->span_count = 0;
    span_add(log, base);
    log->base = base;
    log->last = base;
    log->staged = base.index;
    log->durable = base.index;
    for (uint32_t i = 0; i < log->persist_count; i++)
        log->persists[log->persist_head + i].covers = 0;
}

uint64_t raft_log_term_at(const struct raft_log *log, uint64_t index)
{
    if (index == 0 || index < log->base.index || index > log->last.index)
        return 0;
    uint32_t low = 0;
    uint32_t high = log->span_count;
    if (log->spans[high - 1].first <= index)
        return log->spans[high - 1].term;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (log->spans[middle].first > index)
            high = middle;
        else
            low = middle;
    }
    return log->spans[low].term;
}

struct raft_id raft_log_id_at(const struct raft_log *log, uint64_t index)
{
    ASSERT(index <= log->last.index);
    return (struct raft_id){.term = raft_log_term_at(log, index), .index = index};
}

uint64_t raft_log_find_at_most(const struct raft_log *log, struct raft_id limit)
{
    uint64_t end = log->last.index; /* the last index of the span looked at */
    for (uint32_t i = log->span_count; i-- > 0;) {
        const struct raft_term_span *span = &log->spans[i];
        if (span->term <= limit.term && span->first <= limit.index)
            return min_u64(end, limit.index);
        end = span->first - 1;
    }
    return 0;
}

void raft_log_stage(struct raft_log *log, struct raft_runs *to)
{
    if (log->staged == log->last.index)
        return;
    raft_runs_slice(&log->runs, log->staged + 1, UINT64_MAX, UINT64_MAX, to);
    log->staged = log->last.index;
}

void raft_log_persist_add(struct raft_log *log, uint64_t seq, uint64_t now_us)
{
    ASSERT(log->staged == log->last.index);
    if (log->persist_head + log->persist_count == log->persist_capacity) {
        /* Slide what is left to the front; grow only if that frees less than half. */
        uint32_t capacity = log->persist_count * 2 > log->persist_capacity
                                ? log->persist_capacity * 2
                                : log->persist_capacity;
        if (capacity == 0)
            capacity = 8;
        struct raft_log_persist *persists = mem_alloc((size_t)capacity * sizeof *persists);
        for (uint32_t i = 0; i < log->persist_count; i++)
            persists[i] = log->persists[log->persist_head + i];
        free(log->persists);
        log->persists = persists;
        log->persist_head = 0;
        log->persist_capacity = capacity;
    }
    log->persists[log->persist_head + log->persist_count++] = (struct raft_log_persist){
        .seq = seq, .last = log->last, .covers = log->last.index, .since_us = now_us};
}

uint64_t raft_log_persist_since(const struct raft_log *log)
{
    return log->persist_count > 0 ? log->persists[log->persist_head].since_us : UINT64_MAX;
}

void raft_log_persisted(struct raft_log *log, uint64_t seq, struct raft_id last)
{
    ASSERT(log->persist_count > 0 && log->persists[log->persist_head].seq <= seq);
    struct raft_log_persist done = {0};
    while (log->persist_count > 0 && log->persists[log->persist_head].seq <= seq) {
        done = log->persists[log->persist_head++];
        log->persist_count--;
    }
    if (log->persist_count == 0)
        log->persist_head = 0;
    ASSERT(done.seq == seq && raft_id_equal(done.last, last));
    /* Rule 5. A later truncation cut `covers`; a later persist attests the tail again. */
    if (done.covers > log->durable)
        log->durable = done.covers;
    ASSERT(log->durable <= log->last.index);
}
