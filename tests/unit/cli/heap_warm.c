#include "cli/heap_warm.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

/* The thread that makes them runs when it may: a machine that is busy lets it wait. */
enum { DEADLINE_S = 300, TAKEN = 40 };

static atomic_int told;

static void count(void)
{
    atomic_fetch_add(&told, 1);
}

static char *take(void)
{
    uint64_t end_us = clock_now_us() + (uint64_t)DEADLINE_S * 1000000;
    char *taken;
    while (!(taken = heap_warm_take()) && clock_now_us() < end_us)
        (void)sched_yield();
    return taken;
}

Test(heap_warm, nothing_is_ready_before_it_is_started)
{
    cr_expect_null(heap_warm_take());
}

Test(heap_warm, nothing_is_made_before_some_are_wanted, .timeout = DEADLINE_S)
{
    enum { LOOKS = 3 }; /* behind the second one it would have been made */
    heap_warm_start(count);
    while (atomic_load(&told) < LOOKS)
        (void)sched_yield();
    cr_expect_null(heap_warm_take(), "a node at rest has it for nothing");
    cr_expect_not_null(take());
}

/* More than are ready at a time, and than one region holds with the next. */
Test(heap_warm, blocks_are_aligned_zero_and_the_callers_alone, .timeout = 2 * DEADLINE_S)
{
    char *taken[TAKEN];
    heap_warm_start(count);
    for (int i = 0; i < TAKEN; i++) {
        taken[i] = take();
        cr_assert_not_null(taken[i]);
        cr_expect_eq((uintptr_t)taken[i] % HEAP_WARM_BYTES, 0);
        for (size_t at = 0; at < HEAP_WARM_BYTES; at += 512)
            cr_assert_eq(taken[i][at], 0);
        cr_expect_eq(taken[i][HEAP_WARM_BYTES - 1], 0);
        for (size_t at = 0; at < HEAP_WARM_BYTES; at += 512)
            taken[i][at] = (char)(i + 1);
    }
    for (int i = 0; i < TAKEN; i++)
        for (size_t at = 0; at < HEAP_WARM_BYTES; at += 512)
            cr_assert_eq(taken[i][at], i + 1);
    cr_expect_gt(atomic_load(&told), 0, "nobody heard that some were taken");
}
