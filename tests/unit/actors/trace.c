#include "actors/trace.h"

#include <criterion/criterion.h>

static struct trace trace;
static struct raft_batch *batch;
static struct raft_runs runs;
static struct conclave_trace times;

/* A batch of two entries, 7 and 8. */
static void begin(void)
{
    trace = (struct trace){0};
    batch = raft_batch_create(2);
    raft_batch_add(batch, (struct raft_entry){.id = {.index = 7, .term = 1}});
    raft_batch_add(batch, (struct raft_entry){.id = {.index = 8, .term = 1}});
    raft_runs_append(&runs, batch, 0, 2);
}

static void end(void)
{
    trace_drop(&trace);
    raft_runs_clear(&runs);
    raft_batch_unref(batch);
}

TestSuite(trace, .init = begin, .fini = end);

Test(trace, follows_a_batch_through_all_stages)
{
    trace_begin(&trace, batch);
    trace_runs(&trace, &runs, TRACE_QUEUED);
    trace_reached(&trace, 8, TRACE_DURABLE);
    trace_runs(&trace, &runs, TRACE_COMMITTED);
    cr_assert_not(trace_is_applied(&trace));
    trace_reached(&trace, 8, TRACE_APPLIED);
    cr_assert(trace_is_applied(&trace));
    cr_assert(trace_end(&trace, &times));
    cr_assert_gt(times.at_ns, 0);
    cr_assert_not(trace_end(&trace, &times), "it ends once");
    cr_assert_not(trace_is_applied(&trace));
}

Test(trace, a_stage_is_reached_by_the_last_entry_alone)
{
    trace_begin(&trace, batch);
    trace_reached(&trace, 100, TRACE_DURABLE);
    cr_assert_eq(atomic_load(&trace.at_ns[TRACE_DURABLE]), 0, "raft has not seen it");
    trace_runs(&trace, &runs, TRACE_QUEUED);
    trace_reached(&trace, 7, TRACE_DURABLE);
    cr_assert_eq(atomic_load(&trace.at_ns[TRACE_DURABLE]), 0);
    trace_reached(&trace, 9, TRACE_DURABLE);
    cr_assert_neq(atomic_load(&trace.at_ns[TRACE_DURABLE]), 0);
}

Test(trace, other_batches_leave_no_stamp)
{
    struct raft_batch *other = raft_batch_create(1);
    raft_batch_add(other, (struct raft_entry){.id = {.index = 9, .term = 1}});
    trace_begin(&trace, other);
    trace_runs(&trace, &runs, TRACE_QUEUED);
    cr_assert_eq(atomic_load(&trace.at_ns[TRACE_QUEUED]), 0);
    raft_batch_unref(other);
}

Test(trace, what_missed_a_stage_is_dropped)
{
    trace_begin(&trace, batch);
    trace_runs(&trace, &runs, TRACE_QUEUED);
    trace_reached(&trace, 8, TRACE_APPLIED);
    cr_assert_not(trace_end(&trace, &times), "never committed, as far as is known");
    cr_assert_null(trace.held);
}

Test(trace, own_disk_may_be_the_last)
{
    trace_begin(&trace, batch);
    trace_runs(&trace, &runs, TRACE_QUEUED);
    trace_runs(&trace, &runs, TRACE_COMMITTED);
    trace_reached(&trace, 8, TRACE_APPLIED);
    cr_assert(trace_end(&trace, &times));
    cr_assert_eq(times.wal_ns, 0);
}
