/* When raft is to be woken: what the timer is told, and what raft waits for itself. */
#include "actors/alarm.h"

#include <criterion/criterion.h>

enum { NOW_US = 1000000, FAR_US = NOW_US + 5 * ALARM_NEAR_US };

static struct alarm alarm_;

static void setup(void)
{
    alarm_init(&alarm_);
}

TestSuite(alarm, .init = setup);

Test(alarm, tells_the_timer_of_what_is_earlier_alone)
{
    cr_assert(alarm_set(&alarm_, FAR_US, NOW_US));
    cr_assert_not(alarm_set(&alarm_, FAR_US, NOW_US));
    cr_assert_not(alarm_set(&alarm_, FAR_US + 1, NOW_US), "it looks again when it goes off");
    cr_assert_not(alarm_set(&alarm_, UINT64_MAX, NOW_US));
    cr_assert(alarm_set(&alarm_, FAR_US - 1, NOW_US));
    cr_assert_eq(alarm_.armed_us, FAR_US - 1);
    cr_assert_eq(alarm_.epoch, 2);
}

Test(alarm, that_went_off_is_set_anew)
{
    cr_assert(alarm_set(&alarm_, FAR_US, NOW_US));
    alarm_fired(&alarm_, alarm_.epoch);
    cr_assert(alarm_set(&alarm_, FAR_US + 1, NOW_US));
}

Test(alarm, that_was_replaced_says_nothing_of_the_newer)
{
    cr_assert(alarm_set(&alarm_, FAR_US, NOW_US));
    uint64_t old = alarm_.epoch;
    cr_assert(alarm_set(&alarm_, FAR_US - 1, NOW_US));
    alarm_fired(&alarm_, old);
    cr_assert_not(alarm_set(&alarm_, FAR_US, NOW_US));
}

Test(alarm, waits_itself_for_what_is_near)
{
    cr_assert_not(alarm_set(&alarm_, NOW_US + ALARM_NEAR_US - 1, NOW_US));
    cr_assert_eq(alarm_.near_us, NOW_US + ALARM_NEAR_US - 1);
    cr_assert_not(alarm_is_due(&alarm_, NOW_US + ALARM_NEAR_US - 2));
    cr_assert(alarm_is_due(&alarm_, NOW_US + ALARM_NEAR_US - 1));
    cr_assert_not(alarm_is_due(&alarm_, NOW_US + ALARM_NEAR_US), "once");
    cr_assert(alarm_set(&alarm_, NOW_US + ALARM_NEAR_US, NOW_US), "and that is far");
    cr_assert_eq(alarm_.near_us, UINT64_MAX);
}
