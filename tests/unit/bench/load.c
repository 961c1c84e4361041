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

static void run_workload(enum bench_workload workload, const char *endpoints)
{
    struct load load = {.options = &options, .workload = workload, .clients = options.clients};
    struct measure_watch watch = {.stop = &stop};
    options.workloads = 1u << workload;
    options.listeners = 2;
    options.backlog = 10;
    load_run(&load, endpoints, &watch, &measure);
}

/* Nobody listens there. */
static void run(const char *endpoints)
{
    run_workload(BENCH_PUT, endpoints);
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

/* Each has its own way to begin. */
Test(load, of_every_kind_fails_without_a_cluster)
{
    static const enum bench_workload kinds[] = {BENCH_TXN,        BENCH_WATCH, BENCH_LOCK,
                                                BENCH_LOCK_QUEUE, BENCH_PUB,   BENCH_SUB};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        run_workload(kinds[i], "tcp://127.0.0.1:1");
        cr_assert_neq(measure.code, CONCLAVE_OK, "%s", bench_workload_name(kinds[i]));
        cr_assert_not_null(strstr(measure.message, "127.0.0.1:1"), "%s", measure.message);
        cr_assert_eq(measure.done, 0);
        end();
        begin();
    }
}

Test(load, of_locks_that_is_told_to_stop_ends)
{
    stop = 1;
    run_workload(BENCH_LOCK, "tcp://127.0.0.1:1");
    cr_assert_eq(measure.code, CONCLAVE_OK);
    cr_assert(measure.stopped);
}
