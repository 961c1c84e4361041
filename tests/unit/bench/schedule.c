#include "bench/schedule.h"

#include <criterion/criterion.h>

Test(schedule, generators_take_turns)
{
    struct schedule second = {.first = 1, .step = 3, .limit = 8};
    cr_assert_eq(schedule_number(&second), 1);
    second.taken = 2;
    cr_assert_eq(schedule_number(&second), 7);
    second.taken = 3;
    cr_assert_eq(schedule_number(&second), UINT64_MAX, "10 is beyond the limit");
}

Test(schedule, of_a_closed_loop_is_due_at_once)
{
    struct schedule closed = {.start_ns = 77, .step = 1, .limit = UINT64_MAX, .taken = 1000};
    cr_assert_eq(schedule_due_ns(&closed), 77);
    cr_assert_eq(schedule_left(&closed, 1000000), 0);
}

/* Whatever became of those before. */
Test(schedule, of_an_open_loop_is_due_at_its_time)
{
    struct schedule open = {.rate = 1000, .start_ns = 500, .first = 1, .step = 2, .limit = 100};
    cr_assert_eq(schedule_due_ns(&open), 500 + 1000000);
    open.taken = 10;
    cr_assert_eq(schedule_due_ns(&open), 500 + 21 * 1000000);
}

Test(schedule, counts_what_is_due_and_was_not_begun)
{
    struct schedule open = {.rate = 1000, .start_ns = 500, .step = 1, .limit = UINT64_MAX};
    uint64_t end_ns = 500 + UINT64_C(2000000000);
    cr_assert_eq(schedule_left(&open, end_ns), 2000);
    open.taken = 1999;
    cr_assert_eq(schedule_left(&open, end_ns), 1);
    open.taken = 2000;
    cr_assert_eq(schedule_left(&open, end_ns), 0);
    open.taken = 3000;
    cr_assert_eq(schedule_left(&open, end_ns), 0);
    open.taken = 0;
    open.limit = 30;
    cr_assert_eq(schedule_left(&open, end_ns), 30);
    cr_assert_eq(schedule_left(&open, 500), 0);
}

/* Together they have every operation, each once. */
Test(schedule, left_adds_up_over_the_generators)
{
    uint64_t left = 0;
    for (uint64_t i = 0; i < 7; i++) {
        struct schedule open = {
            .rate = 333, .start_ns = 9, .first = i, .step = 7, .limit = UINT64_MAX};
        left += schedule_left(&open, 9 + UINT64_C(3000000000));
    }
    cr_assert_eq(left, 999);
}

Test(schedule, rests_for_a_part_of_the_latency)
{
    struct pace pace = {0};
    pace_begun(&pace, 1000);
    cr_assert_eq(pace.next_ns, 1000, "nothing is known yet");
    pace_latency(&pace, 2000000);
    pace_begun(&pace, 1000);
    cr_assert_eq(pace.next_ns, 101000);
    for (int i = 0; i < 1000; i++)
        pace_latency(&pace, 1000000);
    pace_begun(&pace, 0);
    cr_assert(pace.next_ns >= 49000 && pace.next_ns <= 51000, "%lu", pace.next_ns);
    for (int i = 0; i < 1000; i++)
        pace_latency(&pace, UINT64_C(1000000000));
    pace_begun(&pace, 0);
    cr_assert_eq(pace.next_ns, 250000, "no longer than that");
}
