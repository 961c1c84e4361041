#include "bench/options.h"

#include "conclave.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <string.h>

static struct bench_options options;
static char message[512];

/* Parses "put" and the flags, which end with NULL. */
static enum bench_parsed parse(const char *first, ...)
{
    static char words[16][600];
    char *argv[17] = {strcpy(words[0], "put")};
    int argc = 1;
    va_list rest;
    va_start(rest, first);
    for (const char *flag = first; flag; flag = va_arg(rest, const char *), argc++)
        argv[argc] = strcpy(words[argc], flag);
    va_end(rest);
    options = (struct bench_options){.endpoints = "tcp://127.0.0.1:1"};
    message[0] = '\0';
    return bench_options_parse(&options, argc, argv, message, sizeof message);
}

Test(options, have_defaults)
{
    cr_assert_eq(parse(NULL), BENCH_RUN);
    cr_assert_eq(options.clients, 256);
    cr_assert_eq(options.ops, 100000);
    cr_assert_eq(options.value_bytes, 128);
    cr_assert_eq(options.keys, UINT64_MAX);
    cr_assert_eq(options.timeout_ms, 30000);
    cr_assert_str_eq(options.prefix, "bench/");
    cr_assert_str_eq(options.endpoints, "tcp://127.0.0.1:1");
    cr_assert_not(options.validate);
    cr_assert_not(options.json);
}

Test(options, are_all_read)
{
    cr_assert_eq(parse("--clients", "64", "--ops=2M", "--value-size", "1KiB", "--keys", "10k",
                       "--prefix", "p/", "--timeout", "5s", "--validate", "--json", NULL),
                 BENCH_RUN);
    cr_assert_eq(options.clients, 64);
    cr_assert_eq(options.ops, 2000000);
    cr_assert_eq(options.value_bytes, 1024);
    cr_assert_eq(options.keys, 10000);
    cr_assert_eq(options.timeout_ms, 5000);
    cr_assert_str_eq(options.prefix, "p/");
    cr_assert(options.validate && options.json);
}

Test(options, seconds_lift_the_limit_of_operations_unless_it_is_given)
{
    cr_assert_eq(parse("--duration", "3", NULL), BENCH_RUN);
    cr_assert_eq(options.ops, UINT64_MAX);
    cr_assert_eq(parse("--duration", "3", "--ops", "7", NULL), BENCH_RUN);
    cr_assert_eq(options.ops, 7);
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
        {"--clients", " 5"},      {"--value-size", "1 KiB"},
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
