#include "bench/options.h"

#include "conclave.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <string.h>

static struct bench_options options;
static char message[512];

/* Parses the words, which end with NULL. */
static enum bench_parsed parse(const char *first, ...)
{
    static char words[32][600];
    static char *argv[33];
    argv[0] = strcpy(words[0], "bench");
    int argc = 1;
    va_list rest;
    va_start(rest, first);
    for (const char *flag = first; flag; flag = va_arg(rest, const char *), argc++)
        argv[argc] = strcpy(words[argc], flag);
    va_end(rest);
    argv[argc] = NULL;
    options = (struct bench_options){.endpoints = "tcp://127.0.0.1:1"};
    message[0] = '\0';
    return bench_options_parse(&options, argc, argv, message, sizeof message);
}

Test(options, have_defaults)
{
    cr_assert_eq(parse("put", NULL), BENCH_RUN);
    cr_assert_eq(options.clients, 256);
    cr_assert_eq(options.ops, UINT64_MAX);
    cr_assert_eq(options.duration_ms, 10000);
    cr_assert_eq(options.warmup_ms, 2000);
    cr_assert_eq(options.value_bytes, 128);
    cr_assert_eq(options.keys, UINT64_MAX);
    cr_assert_eq(options.timeout_ms, 30000);
    cr_assert_eq(options.runs, 1);
    cr_assert_str_eq(options.prefix, "bench/");
    cr_assert_eq(options.listeners, 16);
    cr_assert_eq(options.backlog, 100000);
    cr_assert_eq(options.target_count, 1);
    cr_assert_str_eq(options.targets[0], "self");
    cr_assert(options.sessions);
    cr_assert(options.keep_awake);
    cr_assert_not(options.validate);
    cr_assert_not(options.json);
    cr_assert_not(options.short_form);
}

Test(options, without_any_are_the_short_form)
{
    cr_assert_eq(parse(NULL), BENCH_RUN);
    cr_assert(options.short_form);
    cr_assert_eq(options.workloads, 1u << BENCH_PUT);
    cr_assert_eq(options.sweep_count, 2);
}

Test(options, are_all_read)
{
    cr_assert_eq(parse("--clients", "64", "--ops=2M", "--value-size", "1KiB", "--keys", "10k",
                       "--prefix", "p/", "--timeout", "5s", "--validate", "--json", "--runs", "7",
                       "--read-ratio", "0.25", "--dist", "zipf", "--read-level", "stale",
                       "--no-sessions", "--no-keep-awake", NULL),
                 BENCH_RUN);
    cr_assert_eq(options.clients, 64);
    cr_assert_eq(options.ops, 2000000);
    cr_assert_eq(options.value_bytes, 1024);
    cr_assert_eq(options.keys, 10000);
    cr_assert_eq(options.timeout_ms, 5000);
    cr_assert_eq(options.runs, 7);
    cr_assert_str_eq(options.prefix, "p/");
    cr_assert_eq(options.distribution, KEYS_ZIPF);
    cr_assert_eq(options.read_level, BENCH_READ_STALE);
    cr_assert(options.read_ratio > 0.24 && options.read_ratio < 0.26);
    cr_assert(options.validate && options.json);
    cr_assert_not(options.sessions);
    cr_assert_not(options.keep_awake);
}

Test(options, operations_lift_the_limit_of_time_unless_it_is_given)
{
    cr_assert_eq(parse("--ops", "7", NULL), BENCH_RUN);
    cr_assert_eq(options.duration_ms, 0);
    cr_assert_eq(options.warmup_ms, 0);
    cr_assert_eq(parse("--duration", "3", "--ops", "7", NULL), BENCH_RUN);
    cr_assert_eq(options.ops, 7);
    cr_assert_eq(options.duration_ms, 3000);
}

Test(options, workloads_are_added_up)
{
    cr_assert_eq(parse("put", "mixed", NULL), BENCH_RUN);
    cr_assert_eq(options.workloads, 1u << BENCH_PUT | 1u << BENCH_MIXED);
    cr_assert_eq(options.keys, 10000, "what is read must be there");
    cr_assert_eq(parse("lock", "txn", NULL), BENCH_RUN);
    cr_assert_eq(options.workloads, 1u << BENCH_LOCK | 1u << BENCH_LOCK_QUEUE | 1u << BENCH_TXN,
                 "a lock is measured with nobody who wants it and with many");
    cr_assert_eq(parse("lock-queue", NULL), BENCH_RUN);
    cr_assert_eq(options.workloads, 1u << BENCH_LOCK_QUEUE);
    cr_assert_eq(parse("all", NULL), BENCH_RUN);
    cr_assert_eq(options.workloads, (1u << BENCH_WORKLOADS) - 1);
}

Test(options, endpoints_are_a_target_of_their_own)
{
    cr_assert_eq(parse("--endpoints", "tcp://127.0.0.1:5", NULL), BENCH_RUN);
    cr_assert_str_eq(options.targets[0], "tcp://127.0.0.1:5");
    cr_assert_eq(parse("--target", "etcd", "--target", "self", NULL), BENCH_RUN);
    cr_assert_eq(options.target_count, 2);
    cr_assert_str_eq(options.targets[1], "self");
}

Test(options, sweep_has_clients_or_shares_of_the_rate)
{
    cr_assert_eq(parse("--sweep", NULL), BENCH_RUN);
    cr_assert_eq(options.sweep_count, 6);
    cr_assert_eq((int)options.sweep[5], 1024);
    cr_assert_eq(parse("--sweep=2,8", NULL), BENCH_RUN);
    cr_assert_eq(options.sweep_count, 2);
    cr_assert_eq((int)options.sweep[1], 8);
    cr_assert_eq(parse("--sweep", "--rate", "5000", NULL), BENCH_RUN);
    cr_assert_eq(options.sweep_count, 10);
    cr_assert_eq((int)options.sweep[9], 1);
}

Test(options, faults_are_kept_in_the_order_of_time)
{
    cr_assert_eq(parse("--fault", "restart@9s", "--fault", "kill-leader@2500ms", NULL), BENCH_RUN);
    cr_assert_eq(options.faults.count, 2);
    cr_assert_eq(options.faults.list[0].kind, FAULT_KILL_LEADER);
    cr_assert_eq(options.faults.list[0].at_ms, 2500);
    cr_assert_eq(options.faults.list[1].kind, FAULT_RESTART);
}

Test(options, that_do_not_fit_together_are_refused)
{
    static const char *const wrong[][4] = {
        {"--closed", "--rate", "5", NULL},
        {"--fail-if", "ops_per_s<-10%", NULL},
        {"--json", "--csv", "-", NULL},
        {"failover", "--endpoints", "tcp://127.0.0.1:5", NULL},
        {"--sweep=2", "--rate", "5", NULL},
        {"--sweep=0.5", NULL},
        {"--clients=60000", "--inflight=2", NULL},
        {"watch", "--value-size=23", NULL},
        {"sub", "--value-size=0", NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_eq(parse(wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3], NULL), BENCH_USAGE,
                     "%s", wrong[i][0]);
}

Test(options, help_is_asked_for)
{
    cr_assert_eq(parse("--help", NULL), BENCH_HELP);
}

Test(options, wrong_ones_are_named)
{
    cr_assert_eq(parse("--clientz", "1", NULL), BENCH_USAGE);
    cr_assert_not_null(strstr(message, "--clientz"));
    cr_assert_eq(parse("--clients", NULL), BENCH_USAGE);
    cr_assert_not_null(strstr(message, "--clients"));
    cr_assert_eq(parse("surplus", NULL), BENCH_USAGE);
    cr_assert_not_null(strstr(message, "surplus"));
}

Test(options, numbers_out_of_range_are_refused)
{
    static const char *const wrong[][2] = {
        {"--clients", "0"},       {"--clients", "65537"},    {"--clients", "-1"},
        {"--clients", "x"},       {"--clients", ""},         {"--ops", "1.5"},
        {"--ops", "0"},           {"--value-size", "2MiB"},  {"--ops", "99999999999999999999"},
        {"--ops", "9999999999M"}, {"--duration", "100000"},  {"--timeout", "0"},
        {"--clients", " 5"},      {"--value-size", "1 KiB"}, {"--target", "redis"},
        {"--dist", "normal"},     {"--read-ratio", "1.1"},   {"--read-level", "dirty"},
        {"--rate", "fast"},       {"--fault", "kill@5s"},    {"--fault", "kill-leader"},
        {"--fail-if", "p99_us"},  {"--nodes", "10"},         {"--warmup", "-1s"},
        {"--listeners", "0"},     {"--listeners", "1025"},   {"--backlog", "1000001"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(parse(wrong[i][0], wrong[i][1], NULL), BENCH_USAGE, "%s '%s'", wrong[i][0],
                     wrong[i][1]);
        cr_assert_not_null(strstr(message, wrong[i][0]));
    }
}

Test(options, prefix_leaves_room_for_the_number)
{
    char prefix[CONCLAVE_KEY_BYTES_MAX];
    memset(prefix, 'p', sizeof prefix);
    prefix[CONCLAVE_KEY_BYTES_MAX - 19] = '\0';
    cr_assert_eq(parse("--prefix", prefix, NULL), BENCH_USAGE);
    prefix[CONCLAVE_KEY_BYTES_MAX - 20] = '\0';
    cr_assert_eq(parse("--prefix", prefix, NULL), BENCH_RUN);
}
