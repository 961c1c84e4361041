#include "actors/trace.h"

#include "base/clock.h"

enum {
    EVERY_NS = 5000000,     /* between two that are followed: hundreds a second tell enough */
    GIVE_UP_NS = 1000000000 /* leadership was lost, or the batch refused */
};

void trace_drop(struct trace *trace)
{
    atomic_store(&trace->batch, NULL);
    raft_batch_unref(trace->held);
    trace->held = NULL;
}

void trace_begin(struct trace *trace, struct raft_batch *batch)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t before_ns = atomic_load(&trace->at_ns[TRACE_RECEIVED]);
    if (now_ns - before_ns < (trace->held ? GIVE_UP_NS : EVERY_NS))
        return;
    trace_drop(trace);
    trace->held = raft_batch_ref(batch);
    atomic_store(&trace->index, 0);
    for (int i = 0; i < TRACE_STAMPS; i++)
        atomic_store(&trace->at_ns[i], 0);
    atomic_store(&trace->at_ns[TRACE_RECEIVED], now_ns);
    atomic_store(&trace->batch, batch);
}

static void stamp_now(struct trace *trace, enum trace_stamp stamp)
{
    if (atomic_load(&trace->at_ns[stamp]) == 0)
        atomic_store(&trace->at_ns[stamp], clock_now_ns());
}

void trace_runs(struct trace *trace, const struct raft_runs *runs, enum trace_stamp stamp)
{
    const struct raft_batch *batch = atomic_load_explicit(&trace->batch, memory_order_relaxed);
    if (!batch)
        return;
    for (uint32_t i = 0; i < runs->count; i++) {
        const struct raft_run *run = &runs->items[i];
        if (run->batch != batch)
            continue;
        if (stamp == TRACE_QUEUED)
            atomic_store(&trace->index, batch->entries[run->first + run->count - 1].id.index);
        stamp_now(trace, stamp);
    }
}

void trace_reached(struct trace *trace, uint64_t index, enum trace_stamp stamp)
{
    if (!atomic_load_explicit(&trace->batch, memory_order_relaxed))
        return;
    uint64_t last = atomic_load(&trace->index);
    if (last > 0 && last <= index)
        stamp_now(trace, stamp);
}

bool trace_is_applied(const struct trace *trace)
{
    return atomic_load_explicit(&trace->batch, memory_order_relaxed) &&
           atomic_load(&trace->at_ns[TRACE_APPLIED]) > 0;
}

bool trace_end(struct trace *trace, struct conclave_trace *ret)
{
    uint64_t at[TRACE_STAMPS], now_ns = clock_now_ns();
    for (int i = 0; i < TRACE_STAMPS; i++)
        at[i] = atomic_load(&trace->at_ns[i]);
    bool whole = trace->held && at[TRACE_QUEUED] >= at[TRACE_RECEIVED] &&
                 at[TRACE_COMMITTED] >= at[TRACE_QUEUED] &&
                 at[TRACE_APPLIED] >= at[TRACE_COMMITTED] && now_ns >= at[TRACE_APPLIED];
    trace_drop(trace);
    if (!whole)
        return false;
    *ret = (struct conclave_trace){
        .at_ns = at[TRACE_RECEIVED],
        .queue_ns = at[TRACE_QUEUED] - at[TRACE_RECEIVED],
        .wal_ns = at[TRACE_DURABLE] >= at[TRACE_QUEUED] ? at[TRACE_DURABLE] - at[TRACE_QUEUED] : 0,
        .replicate_ns = at[TRACE_COMMITTED] - at[TRACE_QUEUED],
        .apply_ns = at[TRACE_APPLIED] - at[TRACE_COMMITTED],
        .reply_ns = now_ns - at[TRACE_APPLIED],
    };
    return true;
}
