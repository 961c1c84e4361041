/* The table of operations and its timer wheel. */
#include "client/table.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)
#define START (UINT64_C(1000000) * MS)

static struct table table;

static void begin(void)
{
    table_init(&table, START);
}

static void end(void)
{
    table_deinit(&table);
}

TestSuite(table, .init = begin, .fini = end);

static uint32_t send(uint32_t index)
{
    struct table_entry *entry = table_at(&table, index);
    entry->id = table_new_id(&table, index);
    entry->state = TABLE_SENT;
    return index;
}

Test(table, finds_what_was_sent_by_its_id_alone)
{
    struct conclave_op op = {0};
    uint32_t a = send(table_add(&table, &op, START + MS));
    uint32_t b = send(table_add(&table, &op, START + MS));
    uint64_t id = table_at(&table, b)->id;
    cr_assert_lt(id, UINT64_C(1) << 53);
    cr_assert_eq(table_find_sent(&table, id), b);
    cr_assert_eq(table_find_sent(&table, table_at(&table, a)->id), a);
    table_at(&table, b)->state = TABLE_WAITING;
    cr_assert_eq(table_find_sent(&table, id), TABLE_NONE);
    send(b);
    cr_assert_eq(table_find_sent(&table, id), TABLE_NONE, "the id of an earlier attempt");
    table_remove(&table, b);
    cr_assert_eq(send(table_add(&table, &op, START + MS)), b);
    cr_assert_eq(table_find_sent(&table, id), TABLE_NONE, "the id of an earlier operation");
    cr_assert_eq(table_find_sent(&table, UINT64_MAX), TABLE_NONE);
    cr_assert_eq(table_find_sent(&table, 100000), TABLE_NONE);
}

Test(table, ids_stay_below_2_to_the_53rd_when_attempts_wrap)
{
    table.attempts = (UINT64_C(1) << TABLE_ATTEMPT_BITS) - 2;
    cr_assert_lt(table_new_id(&table, CONCLAVE_CLIENT_OPS_MAX), UINT64_C(1) << 53);
    uint64_t wrapped = table_new_id(&table, 7);
    cr_assert_lt(wrapped, UINT64_C(1) << 53);
    cr_assert_eq(table_id_index(wrapped), 7);
}

Test(table, timer_fires_when_due_and_never_early)
{
    /* In the first tick, the same tick, this round, the next round, four rounds on. */
    static const uint64_t waits[] = {0, 1 * MS, 6 * MS, 7 * MS, 1000 * MS, 5000 * MS, 20000 * MS};
    enum { COUNT = sizeof waits / sizeof waits[0] };
    struct conclave_op ops[COUNT] = {0};
    uint64_t fired[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++)
        table_add(&table, &ops[i], START + waits[i]);
    size_t left = COUNT;
    for (uint64_t now = START; left > 0 && now < START + 30000 * MS; now += MS) {
        uint32_t index;
        while ((index = table_take_due(&table, now)) != TABLE_NONE) {
            size_t i = (size_t)(table_at(&table, index)->op - ops);
            cr_assert_eq(fired[i], 0);
            fired[i] = now;
            left--;
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_geq(fired[i], START + waits[i]);
        cr_assert_leq(fired[i], START + waits[i] + TABLE_TICK_NS + MS);
    }
}

Test(table, next_due_is_never_later_than_the_next_timer)
{
    struct conclave_op op = {0};
    cr_assert_eq(table_next_due_ns(&table), UINT64_MAX);
    for (uint64_t wait = 0; wait < 4000 * MS; wait += 37 * MS) {
        uint32_t index = table_add(&table, &op, START + wait);
        uint64_t due = table_next_due_ns(&table);
        cr_assert_geq(due, START + wait);
        cr_assert_leq(due, START + wait + TABLE_TICK_NS);
        cr_assert_eq(table_take_due(&table, due - 1), TABLE_NONE);
        cr_assert_eq(table_take_due(&table, due), index);
        table_remove(&table, index);
        table_deinit(&table);
        table_init(&table, START);
    }
}

Test(table, timers_fire_after_a_long_stall)
{
    struct conclave_op ops[3] = {0};
    for (uint64_t i = 0; i < 3; i++)
        table_add(&table, &ops[i], START + (i + 1) * 3000 * MS);
    int fired = 0;
    while (table_take_due(&table, START + 3600 * 1000 * MS) != TABLE_NONE)
        fired++;
    cr_assert_eq(fired, 3);
    cr_assert_eq(table_next_due_ns(&table), UINT64_MAX);
}

Test(table, rearmed_timer_fires_once_at_its_new_time)
{
    struct conclave_op op = {0};
    uint32_t index = table_add(&table, &op, START + 5000 * MS);
    table_wake_at(&table, index, START + 10 * MS);
    cr_assert_eq(table_take_due(&table, START + 9 * MS), TABLE_NONE);
    cr_assert_eq(table_take_due(&table, START + 20 * MS), index);
    table_wake_at(&table, index, START); /* in the past: at the next turn */
    cr_assert_eq(table_take_due(&table, START + 30 * MS), index);
    cr_assert_eq(table_take_due(&table, START + 9000 * MS), TABLE_NONE);
}

Test(table, removed_entry_fires_no_timer)
{
    struct conclave_op ops[3] = {0};
    uint32_t entries[3];
    for (int i = 0; i < 3; i++)
        entries[i] = table_add(&table, &ops[i], START + 10 * MS);
    table_remove(&table, entries[1]);
    int fired = 0;
    uint32_t index;
    while ((index = table_take_due(&table, START + 20 * MS)) != TABLE_NONE) {
        cr_assert_neq(index, entries[1]);
        table_remove(&table, index); /* while others are due */
        fired++;
    }
    cr_assert_eq(fired, 2);
    cr_assert_eq(table.count, 0);
}

Test(table, holds_the_limit_and_no_more)
{
    static struct conclave_op op;
    for (int i = 0; i < TABLE_ENTRIES_MAX; i++)
        cr_assert_neq(table_add(&table, &op, START + MS), TABLE_NONE);
    cr_assert_eq(table_add(&table, &op, START + MS), TABLE_NONE);
    table_remove(&table, 4711);
    cr_assert_eq(table_add(&table, &op, START + MS), 4711);
}
