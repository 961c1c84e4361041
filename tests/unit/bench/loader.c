#include "bench/loader.h"

#include <criterion/criterion.h>
#include <string.h>

static struct measure measure;
static bool ended;

static void begin(void)
{
    ended = false;
    cr_assert(measure_init(&measure));
}

static void end(void)
{
    measure_deinit(&measure);
}

TestSuite(loader, .init = begin, .fini = end);

static bool line(const char *text)
{
    char copy[512];
    return loader_line(&measure, strcpy(copy, text), &ended);
}

Test(loader, seconds_come_with_their_histogram)
{
    cr_assert(line("start"));
    cr_assert_gt(measure.start_ns, 0);
    cr_assert(line("second 0 3 1 100:2 2048:1"));
    cr_assert(line("second 1 0 0"));
    cr_assert_not(ended);
    series_finish(measure.series);
    cr_assert_eq(measure.series->count, 2);
    cr_assert_eq(measure.series->seconds[0].done, 3);
    cr_assert_eq(measure.series->seconds[0].errors, 1);
    cr_assert_eq(measure.series->seconds[0].p50_ns, 100);
    cr_assert_eq(measure.series->total->count, 3);
    cr_assert_eq(measure.series->total->max, 2049);
}

Test(loader, its_last_line_has_the_rest)
{
    cr_assert(line("end begun=9 done=8 retried=7 errors=1 missed=2 elapsed_ns=3000 gap_ns=44 "
                   "lag_p99_ns=5 cpu_ppm=250000 least=1 most=3 read=8 mismatches=6"));
    cr_assert_eq(measure.served.least, 1);
    cr_assert_eq(measure.served.most, 3);
    cr_assert(ended);
    cr_assert_eq(measure.begun, 9);
    cr_assert_eq(measure.done, 8);
    cr_assert_eq(measure.retried, 7);
    cr_assert_eq(measure.errors, 1);
    cr_assert_eq(measure.missed, 2);
    cr_assert_eq(measure.elapsed_ns, 3000);
    cr_assert_eq(atomic_load(&measure.series->gap_ns), 44);
    cr_assert_eq(measure.health.lag_p99_ns, 5);
    cr_assert(measure.health.cpu_share > 0.249 && measure.health.cpu_share < 0.251);
    cr_assert_eq(measure.mismatches, 6);
}

Test(loader, tells_of_clients_and_of_what_listeners_were_told)
{
    cr_assert(line("end p99_worst_ns=900 p99_median_ns=300 fairness_ppm=990000 source_done=50 "
                   "source_p50_ns=4 source_p99_ns=5 replayed=3000 replay_ns=1500000000"));
    cr_assert_eq(measure.served.p99_worst_ns, 900);
    cr_assert_eq(measure.served.p99_median_ns, 300);
    cr_assert(measure.served.fairness > 0.989 && measure.served.fairness < 0.991);
    cr_assert_eq(measure.source_done, 50);
    cr_assert_eq(measure.source_p50_ns, 4);
    cr_assert_eq(measure.source_p99_ns, 5);
    cr_assert_eq((int)measure.replay_per_s, 2000);
}

Test(loader, failures_are_kept_with_their_reason)
{
    cr_assert(line("failed context deadline exceeded"));
    cr_assert_eq(measure.code, CONCLAVE_UNKNOWN);
    cr_assert_str_eq(measure.message, "context deadline exceeded");
}

Test(loader, lines_of_no_form_are_refused)
{
    static const char *const wrong[] = {"",
                                        "second",
                                        "second 0",
                                        "second 0 1 0 7",
                                        "second 0 1 0 7:",
                                        "hello",
                                        "second x 1 0",
                                        "end done",
                                        "end done=",
                                        "end done=x",
                                        "end new=1",
                                        "second 0 1 0 x",
                                        "end done=1x",
                                        "second 0 1 0 1:1 ",
                                        "second 0 1 0 99999999:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_not(line(wrong[i]), "'%s'", wrong[i]);
    cr_assert_eq(measure.series->total->count, 0);
}
