/* The linearizability check, fed histories of one register. Times are chosen by hand. */
#include "tests/sim/history.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ops ops;
static char text[256];

static void setup(void)
{
    memset(&ops, 0, sizeof ops);
}

static void teardown(void)
{
    ops_deinit(&ops);
}

TestSuite(history, .init = setup, .fini = teardown);

/* finished 0: never answered. */
static uint64_t write_op(uint64_t invoked, uint64_t finished)
{
    return ops_add(&ops, (struct op){.kind = OP_WRITE,
                                     .state = finished ? OP_OK : OP_LOST,
                                     .invoked = invoked,
                                     .finished = finished});
}

static void read_op(uint64_t invoked, uint64_t finished, uint64_t value)
{
    ops_add(&ops, (struct op){.kind = OP_READ,
                              .state = OP_OK,
                              .invoked = invoked,
                              .finished = finished,
                              .value = value});
}

static bool linearizable(void)
{
    return history_check(&ops, text, sizeof text);
}

Test(history, allows_reads_in_order)
{
    read_op(1, 2, 0);
    uint64_t a = write_op(3, 4);
    read_op(5, 6, a);
    uint64_t b = write_op(7, 8);
    read_op(9, 10, b);
    cr_assert(linearizable(), "%s", text);
}

Test(history, allows_either_value_while_a_write_runs)
{
    uint64_t a = write_op(1, 2);
    uint64_t b = write_op(3, 9);
    read_op(4, 5, a);
    read_op(6, 7, b);
    cr_assert(linearizable(), "%s", text);
}

Test(history, allows_an_unanswered_write_to_be_seen_late)
{
    uint64_t a = write_op(1, 0);
    read_op(2, 3, 0);
    read_op(8, 9, a);
    cr_assert(linearizable(), "%s", text);
}

Test(history, allows_an_unanswered_write_never_to_happen)
{
    write_op(1, 0);
    read_op(8, 9, 0);
    cr_assert(linearizable(), "%s", text);
}

Test(history, finds_a_stale_read)
{
    uint64_t a = write_op(1, 2);
    write_op(3, 4);
    read_op(5, 6, a);
    cr_assert_not(linearizable());
    cr_assert(strlen(text) > 0);
}

Test(history, finds_a_lost_write)
{
    write_op(1, 2);
    read_op(3, 4, 0);
    cr_assert_not(linearizable());
}

Test(history, finds_a_read_that_goes_back)
{
    uint64_t a = write_op(1, 2);
    uint64_t b = write_op(3, 20);
    read_op(4, 5, b);
    read_op(6, 7, a);
    cr_assert_not(linearizable());
}

Test(history, finds_values_that_alternate)
{
    uint64_t a = write_op(1, 20);
    uint64_t b = write_op(1, 20);
    read_op(2, 3, a);
    read_op(4, 5, b);
    read_op(6, 7, a);
    cr_assert_not(linearizable());
}

Test(history, finds_a_read_before_its_write)
{
    read_op(1, 2, 2);
    write_op(3, 4);
    cr_assert_not(linearizable());
}

Test(history, finds_a_value_that_nobody_wrote)
{
    read_op(1, 2, 9);
    cr_assert_not(linearizable());
}

Test(history, finds_a_value_of_another_register)
{
    uint64_t a = ops_add(
        &ops,
        (struct op){.kind = OP_WRITE, .state = OP_OK, .cell = 1, .invoked = 1, .finished = 2});
    read_op(3, 4, a);
    cr_assert_not(linearizable());
}

Test(history, finds_an_unanswered_write_seen_and_gone)
{
    uint64_t a = write_op(1, 2);
    uint64_t b = write_op(3, 0);
    read_op(4, 5, b);
    read_op(6, 7, a);
    cr_assert_not(linearizable());
}
