#include "bench/load.h"

#include "conclave.h"

#include <criterion/criterion.h>
#include <string.h>

static volatile sig_atomic_t stop;
static struct bench_options options;
static struct measure measure;

static void begin(void)
{
    options = (struct bench_options){.prefix = "bench/",
                                     .clients = 3,
                                     .inflight = 1,
                                     .threads = 1,
                                     .ops = 100,
                                     .keys = UINT64_MAX,
                                     .value_bytes = 32,
                                     .timeout_ms = 50,
                                     .sessions = true};
    stop = 0;
    cr_assert(measure_init(&measure));
}

static void end(void)
{
    measure_deinit(&measure);
}

TestSuite(load, .init = begin, .fini = end);

/* Nobody listens there. */
static void run(const char *endpoints)
{
    struct load load = {.options = &options, .workload = BENCH_PUT, .clients = options.clients};
    struct measure_watch watch = {.stop = &stop};
    load_run(&load, endpoints, &watch, &measure);
}

Test(load, without_a_cluster_is_unreachable)
{
    options.validate = true;
    run("tcp://127.0.0.1:1");
    cr_assert_eq(measure.code, CONCLAVE_UNREACHABLE);
    cr_assert_not_null(strstr(measure.message, "tcp://127.0.0.1:1 (no answer)"));
    cr_assert_eq(measure.begun, 3, "it does not go on after a failure");
    cr_assert_eq(measure.done, 0);
    cr_assert_eq(measure.errors, 3);
    cr_assert_eq(measure.mismatches, 0);
}

Test(load, of_several_generators_ends_when_one_fails)
{
    options.threads = 3;
    options.clients = 7;
    run("tcp://127.0.0.1:1");
    cr_assert_eq(measure.code, CONCLAVE_UNREACHABLE);
    cr_assert_leq(measure.begun, 7);
    cr_assert_eq(measure.errors, measure.begun);
}

Test(load, that_is_told_to_stop_ends_at_once)
{
    stop = 1;
    options.timeout_ms = 60000;
    run("tcp://127.0.0.1:1");
    cr_assert_eq(measure.code, CONCLAVE_OK);
    cr_assert(measure.stopped);
}

Test(load, with_a_wrong_endpoint_says_which)
{
    run("udp://x");
    cr_assert_eq(measure.code, CONCLAVE_INVALID);
    cr_assert_not_null(strstr(measure.message, "udp://x"));
}
