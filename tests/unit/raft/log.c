#include "raft/log.h"

#include "cluster.h"
#include "raft/ledger.h"

#include <criterion/criterion.h>

static void append(struct raft_log *log, const uint64_t *terms, uint32_t count)
{
    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++)
        raft_batch_add(batch, (struct raft_entry){.id = id_of(terms[i], log->last.index + 1 + i)});
    raft_log_append(log, batch, 0, count);
    raft_batch_unref(batch);
}

#define APPEND(log, ...)                         \
    append(log, (const uint64_t[]){__VA_ARGS__}, \
           (uint32_t)(sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)))

/* Hands over everything new as persist `seq`. */
static void persist(struct raft_log *log, uint64_t seq)
{
    struct raft_runs staged = {0};
    raft_log_stage(log, &staged);
    raft_log_persist_add(log, seq, 0);
    raft_runs_clear(&staged);
}

Test(log, knows_the_term_of_every_entry)
{
    struct raft_log log = {0};
    cr_assert_eq(raft_log_term_at(&log, 0), 0);
    cr_assert_eq(raft_log_term_at(&log, 1), 0);
    APPEND(&log, 1, 1, 2);
    APPEND(&log, 2, 5, 5, 9);
    const uint64_t terms[] = {0, 1, 1, 2, 2, 5, 5, 9, 0};
    for (uint64_t i = 0; i < 9; i++)
        cr_assert_eq(raft_log_term_at(&log, i), terms[i], "index %lu", (unsigned long)i);
    raft_log_truncate(&log, 4);
    cr_assert_eq(raft_log_term_at(&log, 3), 2);
    cr_assert_eq(raft_log_term_at(&log, 4), 0);
    APPEND(&log, 3);
    cr_assert_eq(raft_log_term_at(&log, 4), 3);
    raft_log_deinit(&log);
}

Test(log, finds_the_largest_id_at_or_below_a_limit)
{
    struct raft_log log = {0};
    APPEND(&log, 1, 1, 4, 4, 4, 6);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(4, 5)), 5);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(4, 9)), 5);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(5, 4)), 4);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(3, 5)), 2);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(9, 99)), 6);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(0, 5)), 0);
    cr_assert_eq(raft_log_find_at_most(&log, id_of(4, 0)), 0);
    raft_log_deinit(&log);
}

/* A message is made of parts of the leader's batches: some are here, one in part, the rest is not.
 */
Test(log, takes_only_what_it_lacks_of_a_message_of_many_batches)
{
    struct raft_log leader = {0}, log = {0};
    APPEND(&leader, 1, 1);
    APPEND(&leader, 1, 2);
    APPEND(&leader, 2, 2);
    APPEND(&leader, 3);
    APPEND(&log, 1, 1, 1, 2, 2);
    raft_log_append_runs(&log, &leader.runs, 5);
    cr_assert_eq(log.last.index, 7);
    cr_assert_eq(log.runs.entry_count, 7);
    for (uint64_t i = 1; i <= 7; i++)
        cr_assert_eq(raft_log_term_at(&log, i), raft_log_term_at(&leader, i));
    raft_log_append_runs(&log, &leader.runs, 7);
    cr_assert_eq(log.last.index, 7, "nothing is left of it");
    raft_log_deinit(&log);
    raft_log_deinit(&leader);
}

Test(log, entries_are_staged_once)
{
    struct raft_log log = {0};
    struct raft_runs staged = {0};
    APPEND(&log, 1, 1);
    raft_log_stage(&log, &staged);
    cr_assert_eq(staged.entry_count, 2);
    raft_runs_clear(&staged);
    raft_log_stage(&log, &staged);
    cr_assert_eq(staged.entry_count, 0);
    APPEND(&log, 1);
    raft_log_stage(&log, &staged);
    cr_assert_eq(raft_runs_first(&staged).index, 3);
    raft_runs_clear(&staged);
    raft_log_deinit(&log);
}

Test(log, rule_5_a_completion_for_replaced_entries_counts_for_nothing)
{
    struct raft_log log = {0};
    APPEND(&log, 1, 1, 1);
    persist(&log, 1);
    raft_log_truncate(&log, 2);
    APPEND(&log, 2, 2);
    persist(&log, 2);
    raft_log_persisted(&log, 1, id_of(1, 3));
    cr_assert_eq(log.durable, 1, "entry 1 survived, 2 and 3 are other entries now");
    raft_log_persisted(&log, 2, id_of(2, 3));
    cr_assert_eq(log.durable, 3, "and the next persist attests the tail again");
    raft_log_deinit(&log);
}

Test(log, rule_5_not_even_if_the_same_entries_have_come_back)
{
    struct raft_log log = {0};
    APPEND(&log, 1, 1, 1);
    persist(&log, 1);
    raft_log_truncate(&log, 2);
    APPEND(&log, 2);
    persist(&log, 2); /* will cut entries 2 and 3 of term 1 off the disk */
    raft_log_truncate(&log, 2);
    APPEND(&log, 1, 1, 3);
    persist(&log, 3);
    raft_log_persisted(&log, 1, id_of(1, 3));
    cr_assert_eq(log.durable, 1);
    raft_log_persisted(&log, 3, id_of(3, 4));
    cr_assert_eq(log.durable, 4, "persist 3 stands for 2 as well");
    raft_log_deinit(&log);
}

Test(log, durable_entries_that_are_cut_are_durable_no_more)
{
    struct raft_log log = {0};
    APPEND(&log, 1, 1, 1);
    persist(&log, 1);
    raft_log_persisted(&log, 1, id_of(1, 3));
    cr_assert_eq(log.durable, 3);
    raft_log_truncate(&log, 3);
    APPEND(&log, 2, 2);
    cr_assert_eq(log.durable, 2);
    raft_log_deinit(&log);
}

Test(log, many_outstanding_persists_complete_in_order)
{
    struct raft_log log = {0};
    uint64_t done = 0;
    for (uint64_t seq = 1; seq <= 1000; seq++) {
        APPEND(&log, 1);
        persist(&log, seq);
        if (seq % 3 == 0) {
            done += 2;
            raft_log_persisted(&log, done, id_of(1, done));
            cr_assert_eq(log.durable, done);
        }
    }
    raft_log_persisted(&log, 1000, id_of(1, 1000));
    cr_assert_eq(log.durable, 1000);
    raft_log_deinit(&log);
}

Test(ledger, sums_what_is_not_settled)
{
    struct raft_ledger ledger = {0};
    uint64_t settled = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        raft_ledger_add(&ledger, i, 10);
        if (i % 2 == 0)
            raft_ledger_settle(&ledger, ++settled);
        cr_assert_eq(ledger.bytes, (i - settled) * 10);
        cr_assert_eq(ledger.count, i - settled);
    }
    raft_ledger_settle(&ledger, 1000);
    cr_assert_eq(ledger.bytes, 0);
    raft_ledger_add(&ledger, 5, 1);
    raft_ledger_clear(&ledger);
    cr_assert_eq(ledger.count, 0);
    raft_ledger_deinit(&ledger);
}

/* Batches of one entry with so many bytes of payload. */
static void append_sized(struct raft_log *log, uint32_t count, size_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        struct raft_batch *batch = raft_batch_create(1);
        struct buf *buf = buf_create(bytes);
        raft_batch_add(batch, (struct raft_entry){.id = id_of(1, log->last.index + 1),
                                                  .buf = buf,
                                                  .payload = {buf->data, bytes}});
        raft_log_append(log, batch, 0, 1);
        raft_batch_unref(batch);
    }
}

static void make_durable(struct raft_log *log)
{
    persist(log, 1);
    raft_log_persisted(log, 1, log->last);
}

Test(log, whole_batches_leave_memory_and_stay_in_the_log)
{
    struct raft_log log = {0};
    APPEND(&log, 1, 1, 1);
    APPEND(&log, 2, 2);
    APPEND(&log, 2);
    make_durable(&log);
    raft_log_shed(&log, 4, 0);
    cr_assert_eq(log.shed, 3, "the second batch has one that must stay");
    cr_assert_eq(raft_runs_first(&log.runs).index, 4);
    cr_assert_eq(raft_log_term_at(&log, 2), 1);
    cr_assert_eq(log.base.index, 0);
    raft_log_shed(&log, 6, UINT64_C(2) * 96);
    cr_assert_eq(log.shed, 5, "no more than has to");
    raft_log_shed(&log, 6, 0);
    cr_assert_eq(log.shed, 6);
    cr_assert_eq(log.runs.entry_count, 0);
    APPEND(&log, 3, 3);
    raft_log_truncate(&log, 7);
    cr_assert(raft_id_equal(log.last, id_of(2, 6)), "what is before it is on disk alone");
    APPEND(&log, 4);
    cr_assert_eq(raft_log_term_at(&log, 7), 4);
    raft_log_deinit(&log);
}

Test(log, what_is_on_disk_alone_counts_for_its_size)
{
    struct raft_log log = {0};
    append_sized(&log, 10, 1000);
    make_durable(&log);
    cr_assert_eq(raft_log_memory(&log), UINT64_C(10) * 1096);
    raft_log_shed(&log, 7, 0);
    cr_assert_eq(raft_log_memory(&log), UINT64_C(3) * 1096);
    cr_assert_eq(raft_log_payload(&log), 10000);
    cr_assert_eq(raft_log_reach(&log, 10, 0, UINT64_C(2) * 1096), 8, "in memory");
    cr_assert_eq(raft_log_reach(&log, 10, 0, UINT64_C(5) * 1096), 5, "and further back");
    cr_assert_eq(raft_log_reach(&log, 10, 0, UINT64_C(5) * 1096 - 1), 6);
    cr_assert_eq(raft_log_reach(&log, 10, 6, UINT64_MAX), 6);
    cr_assert_eq(raft_log_reach(&log, 5, 0, UINT64_C(2) * 1096), 3);
    cr_assert_eq(raft_log_reach(&log, 10, 0, UINT64_MAX), 0);
    raft_log_compact(&log, 4);
    cr_assert_eq(log.shed, 7);
    cr_assert_eq(raft_log_payload(&log), 6000 - 1000, "what begins is not counted");
    cr_assert_eq(raft_log_reach(&log, 10, 4, UINT64_MAX), 4);
    raft_log_compact(&log, 8);
    cr_assert_eq(log.shed, 8);
    cr_assert_eq(raft_log_payload(&log), 2000);
    cr_assert_eq(raft_runs_first(&log.runs).index, 9);
    raft_log_restart(&log, id_of(5, 20));
    cr_assert_eq(log.shed, 20);
    cr_assert_eq(raft_log_payload(&log), 0);
    raft_log_deinit(&log);
}

Test(log, what_was_on_disk_alone_counts_for_nothing_when_the_log_begins_anew)
{
    struct raft_log log = {0};
    append_sized(&log, 10, 1000);
    make_durable(&log);
    raft_log_shed(&log, 7, 0);
    raft_log_restart(&log, id_of(5, 20));
    cr_assert_eq(log.shed, 20);
    cr_assert_eq(raft_log_payload(&log), 0);
    cr_assert_eq(raft_log_reach(&log, 20, 0, UINT64_MAX), 20);
    raft_log_deinit(&log);
}

/* The stretch in which the log begins is not counted: what follows it is none of it. */
Test(log, what_follows_where_the_log_begins_is_counted)
{
    struct raft_log log = {0};
    append_sized(&log, 300, 1000);
    append_sized(&log, 1, 1);
    make_durable(&log);
    raft_log_shed(&log, 300, 0);
    raft_log_compact(&log, log.marks.items[log.marks.count - 1].last - 1);
    cr_assert_eq(raft_log_payload(&log), 1, "but for that in memory");
    raft_log_shed(&log, 301, 0);
    cr_assert_eq(raft_log_payload(&log), 1);
    raft_log_compact(&log, log.shed - 1);
    cr_assert_eq(raft_log_payload(&log), 0);
    raft_log_deinit(&log);
}

Test(log, sizes_of_a_long_log_take_little_memory)
{
    struct raft_log log = {0};
    append_sized(&log, 20000, 100);
    make_durable(&log);
    raft_log_shed(&log, 20000, 0);
    cr_assert_leq(log.marks.count, 8 * 256);
    cr_assert_eq(raft_log_payload(&log), 2000000);
    const uint64_t reached = raft_log_reach(&log, 20000, 0, UINT64_C(196) * 10000);
    cr_assert(reached >= 10000 && reached < 10200, "%lu", (unsigned long)reached);
    raft_log_compact(&log, 15000);
    const uint64_t left = raft_log_payload(&log);
    cr_assert(left <= 500000 && left > 480000, "%lu", (unsigned long)left);
    raft_log_deinit(&log);
}
