/* What of a late awakening is the machine's, and what a wait for a processor. */
#include "bench/standstill.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)

Test(standstill, is_what_no_wait_for_a_processor_explains)
{
    struct standstill_seen seen = {.watched_ns = 1000 * MS};
    standstill_note(&seen, 1 * MS, 0);        /* a timer */
    standstill_note(&seen, 30 * MS, 29 * MS); /* a busy machine */
    standstill_note(&seen, 3 * MS, 5 * MS);   /* it waited before, too */
    cr_assert_eq(seen.times, 0);
    standstill_note(&seen, 12 * MS, 2 * MS);
    standstill_note(&seen, 40 * MS, 0);
    cr_assert_eq(seen.times, 2);
    cr_assert_eq(seen.stood_ns, 50 * MS);
    cr_assert_eq(seen.longest_ns, 40 * MS);
    cr_assert_float_eq(standstill_share(&seen), 0.05, 1e-9);
    cr_assert(standstill_matters(&seen));
    seen.watched_ns *= 11; /* then it is less than half a percent */
    cr_assert_not(standstill_matters(&seen));
}

Test(standstill, nothing_is_seen_without_a_watch)
{
    cr_assert_eq(standstill_share(&(struct standstill_seen){0}), 0);
}

Test(standstill, a_watch_ends_and_says_how_long_it_was)
{
    struct standstill standstill;
    standstill_begin(&standstill);
    struct standstill_seen seen = standstill_end(&standstill);
    cr_assert(standstill_share(&seen) <= 1, "%f", standstill_share(&seen));
    cr_assert(!standstill.runs);
}
