#include "bench/series.h"

#include <criterion/criterion.h>

static struct series *series;
static struct histogram *one;

static void begin(void)
{
    series = series_create(1000);
    one = histogram_create();
}

static void end(void)
{
    series_destroy(series);
    histogram_destroy(one);
}

TestSuite(series, .init = begin, .fini = end);

static void add(size_t second, uint64_t latency, uint64_t count)
{
    histogram_reset(one);
    for (uint64_t i = 0; i < count; i++)
        histogram_record(one, latency);
    cr_assert(series_add(series, second, one, count, 1));
}

Test(series, merges_what_generators_hand_in_for_a_second)
{
    struct second second;
    add(0, 100, 10);
    add(0, 900, 10);
    cr_assert(series_second(series, 0, &second));
    cr_assert_eq(second.done, 20);
    cr_assert_eq(second.errors, 2);
    cr_assert_eq(second.p50_ns, 100);
    cr_assert_eq(second.p99_ns, 900);
    cr_assert_not(series_second(series, 1, &second));
}

Test(series, keeps_each_second_apart_and_the_total_whole)
{
    for (size_t i = 0; i < 20; i++)
        add(i, 100 * (i + 1), 5);
    series_finish(series);
    cr_assert_eq(series->count, 20);
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(series->seconds[i].p50_ns, 100 * (i + 1), "second %zu", i);
        cr_assert_eq(series->seconds[i].max_ns, 100 * (i + 1));
        cr_assert_eq(series->seconds[i].done, 5);
    }
    cr_assert_eq(series->total->count, 100);
    cr_assert_eq(series->total->max, 2000);
}

Test(series, a_second_without_operations_is_zero)
{
    add(0, 100, 1);
    add(9, 300, 1);
    series_finish(series);
    for (size_t i = 1; i < 9; i++) {
        cr_assert_eq(series->seconds[i].done, 0);
        cr_assert_eq(series->seconds[i].p50_ns, 0);
    }
    cr_assert_eq(series->seconds[9].p50_ns, 300);
}

Test(series, what_comes_late_is_counted_and_in_the_total)
{
    add(10, 100, 1);
    add(1, 500, 2);
    series_finish(series);
    cr_assert_eq(series->seconds[1].done, 2);
    cr_assert_eq(series->total->count, 3);
    cr_assert_eq(series->seconds[10].max_ns, 100, "it is in no other second");
}

Test(series, finds_the_longest_time_without_progress)
{
    series_progress(series, 1500);
    series_progress(series, 4500);
    series_progress(series, 4600);
    cr_assert_eq(atomic_load(&series->gap_ns), 3000);
}

Test(series, keeps_the_slowest_client_of_a_second)
{
    struct second second;
    add(1, 100, 5);
    series_slowest(series, 1, 700);
    series_slowest(series, 1, 300);
    series_slowest(series, 2, 0);
    cr_assert(series_second(series, 1, &second));
    cr_assert_eq(second.slowest_ns, 700);
    cr_assert_not(series_second(series, 2, &second), "where nothing was, there is no second");
}
