#include "raft/log.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

/* An entry in memory costs about this much besides its payload. */
enum { ENTRY_BYTES = 96 };

/* Of the entries on disk alone about so many stretches are told apart for each time that they
 * became e times as many. */
enum { MARKS = 256 };

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void raft_log_deinit(struct raft_log *log)
{
    raft_runs_clear(&log->runs);
    raft_dropped_free(&log->dropped, UINT64_MAX);
    free(log->spans);
    free(log->marks.items);
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
    ASSERT(index > log->shed && index <= log->last.index);
    raft_runs_truncate(&log->runs, index);
    log->last = raft_log_id_at(log, index - 1);
    while (log->span_count > 0 && log->spans[log->span_count - 1].first >= index)
        log->span_count--;
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

/* Of a mark that is not wholly behind `index` nothing is counted any more. */
static void marks_drop(struct raft_log *log, uint64_t index)
{
    uint32_t gone = 0;
    while (gone < log->marks.count && log->marks.items[gone].last <= index)
        log->shed_bytes -= log->marks.items[gone++].bytes;
    log->marks.count -= gone;
    for (uint32_t i = 0; gone > 0 && i < log->marks.count; i++)
        log->marks.items[i] = log->marks.items[i + gone];
    if (log->marks.count == 0)
        return;
    log->shed_bytes -= log->marks.items[0].bytes;
    log->marks.items[0].bytes = 0;
}

void raft_log_compact(struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->base.index && index <= log->durable);
    log->base = raft_log_id_at(log, index);
    marks_drop(log, index);
    if (index > log->shed) {
        raft_runs_set_aside(&log->runs, index, &log->dropped);
        log->shed = index;
    }
    uint32_t gone = 0; /* the span of the base itself stays: questions about it are asked */
    while (gone + 1 < log->span_count && log->spans[gone + 1].first <= index)
        gone++;
    log->span_count -= gone;
    for (uint32_t i = 0; gone > 0 && i < log->span_count; i++)
        log->spans[i] = log->spans[i + gone];
}

uint64_t raft_log_memory(const struct raft_log *log)
{
    return log->runs.payload_bytes + log->runs.entry_count * ENTRY_BYTES;
}

uint64_t raft_log_payload(const struct raft_log *log)
{
    return log->runs.payload_bytes + log->shed_bytes;
}

/* Two neighbours become one where both are small beside all that there is. */
static void marks_add(struct raft_log *log, struct raft_log_mark mark)
{
    log->shed_bytes += mark.bytes;
    if (log->marks.count > 0) {
        struct raft_log_mark *last = &log->marks.items[log->marks.count - 1];
        if (last->bytes + mark.bytes < log->shed_bytes / MARKS) {
            last->last = mark.last;
            last->bytes += mark.bytes;
            return;
        }
    }
    LIST_RESERVE(&log->marks);
    log->marks.items[log->marks.count++] = mark;
}

void raft_log_shed(struct raft_log *log, uint64_t index, uint64_t bytes)
{
    uint64_t memory = raft_log_memory(log), to = log->shed;
    for (uint32_t i = 0; i < log->runs.count && memory > bytes; i++) {
        const struct raft_run *run = &log->runs.items[i];
        uint64_t payload = raft_run_payload(run);
        uint64_t last = run->batch->entries[run->first].id.index + run->count - 1;
        if (last > index)
            break;
        memory -= payload + (uint64_t)run->count * ENTRY_BYTES;
        marks_add(log, (struct raft_log_mark){.last = last, .bytes = payload});
        to = last;
    }
    if (to == log->shed)
        return;
    ASSERT(to <= log->durable);
    raft_runs_set_aside(&log->runs, to, &log->dropped);
    log->shed = to;
}

/* The same as far as it is on disk alone: whole stretches. */
static uint64_t reach_shed(const struct raft_log *log, uint64_t index, uint64_t least,
                           uint64_t bytes)
{
    for (uint32_t i = log->marks.count; i > 0 && index > least; i--) {
        const struct raft_log_mark *mark = &log->marks.items[i - 1];
        uint64_t before = i > 1 ? log->marks.items[i - 2].last : log->base.index;
        if (before >= index)
            continue;
        uint64_t size = mark->bytes + (index - before) * ENTRY_BYTES;
        if (size > bytes)
            break;
        bytes -= size;
        index = before;
    }
    return index > least ? index : least;
}

uint64_t raft_log_reach(const struct raft_log *log, uint64_t index, uint64_t least, uint64_t bytes)
{
    while (index > least && index > log->shed) {
        uint64_t size = raft_runs_find(&log->runs, index)->payload.bytes + ENTRY_BYTES;
        if (size > bytes)
            return index;
        bytes -= size;
        index--;
    }
    return reach_shed(log, index, least, bytes);
}

void raft_log_restart(struct raft_log *log, struct raft_id base)
{
    raft_runs_clear(&log->runs);
    log->marks.count = 0;
    log->shed_bytes = 0;
    log->shed = base.index;
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
