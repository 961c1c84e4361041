/* Whose asks of nodes in repair wait. */
#include "actors/repair_asks.h"

#include <criterion/criterion.h>

static struct repair_asks asks;

static void ask(uint64_t from, uint64_t mark)
{
    struct envelope *envelope = envelope_create(ENVELOPE_REPAIR_ASK);
    envelope->repair.from = from;
    envelope->repair.frame.number = mark;
    repair_asks_add(&asks, envelope);
}

/* 0: none is left. */
static uint64_t take(uint64_t *ret_mark)
{
    struct envelope *envelope = repair_asks_take(&asks);
    uint64_t from = envelope ? envelope->repair.from : 0;
    *ret_mark = envelope ? envelope->repair.frame.number : 0;
    envelope_destroy(envelope);
    return from;
}

Test(repair_asks, the_newest_of_each_node_is_kept)
{
    uint64_t mark;
    ask(7, 1);
    ask(8, 2);
    ask(7, 3);
    cr_assert(take(&mark) == 7 && mark == 3);
    ask(8, 4); /* there is a free place in front of its older one */
    cr_assert(take(&mark) == 8 && mark == 4);
    cr_assert_eq(take(&mark), 0);
}

Test(repair_asks, who_finds_no_place_is_dropped)
{
    uint64_t mark;
    for (uint64_t from = 1; from <= REPAIR_ASKS_MAX + 1; from++)
        ask(from, from);
    for (uint64_t from = 1; from <= REPAIR_ASKS_MAX; from++)
        cr_assert_eq(take(&mark), from);
    cr_assert_eq(take(&mark), 0);
    ask(9, 1);
    repair_asks_clear(&asks);
    cr_assert_eq(take(&mark), 0);
}
