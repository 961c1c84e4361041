#include "base/clock.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long suspended_s; /* for which the machine was, of all the clocks' time */

/* In the place of the C library's: only this clock has counted the time of a suspended machine. */
int clock_gettime(clockid_t id, struct timespec *now)
{
    long code = syscall(SYS_clock_gettime, id, now);
    if (code == 0 && id == CLOCK_BOOTTIME)
        now->tv_sec += suspended_s;
    return (int)code;
}

Test(clock, rule_41_goes_on_while_the_machine_is_suspended)
{
    uint64_t before = clock_now_us();
    suspended_s = 3600;
    cr_assert_geq(clock_now_us() - before, UINT64_C(3600) * 1000 * 1000);
}

Test(clock, never_goes_back)
{
    uint64_t before = clock_now_ns();
    cr_assert_gt(before, 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_now_ns();
        cr_assert_geq(now, before);
        before = now;
    }
}

Test(clock, counts_microseconds_of_the_same_clock)
{
    uint64_t low = clock_now_ns() / 1000;
    uint64_t middle = clock_now_us();
    uint64_t high = clock_now_ns() / 1000;
    cr_assert_leq(low, middle);
    cr_assert_leq(middle, high);
}

Test(clock, boot_id_is_the_same_all_the_time)
{
    uint8_t first[16], second[16];
    memset(first, 0xff, sizeof first);
    clock_boot_id(first);
    clock_boot_id(second);
    cr_assert_arr_eq(first, second, sizeof first);
}
