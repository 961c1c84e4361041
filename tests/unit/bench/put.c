#include "bench/put.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct bench_options options = {
    .prefix = "bench/", .keys = UINT64_MAX, .value_bytes = 32};

Test(put, key_is_the_prefix_and_eight_digits)
{
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    cr_assert_eq(put_key(&options, 42, key, sizeof key), 14);
    cr_assert_str_eq(key, "bench/00000042");
    cr_assert_eq(put_key(&options, 1234567890, key, sizeof key), 16);
    cr_assert_str_eq(key, "bench/1234567890");
}

Test(put, keys_repeat_when_their_number_is_given)
{
    struct bench_options few = options;
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    few.keys = 10;
    put_key(&few, 42, key, sizeof key);
    cr_assert_str_eq(key, "bench/00000002");
}

Test(put, value_is_the_key_repeated_and_cut)
{
    uint8_t value[33];
    for (size_t bytes = 0; bytes <= 32; bytes++) {
        struct bench_options cut = options;
        cut.value_bytes = bytes;
        memset(value, '#', sizeof value);
        put_value(&cut, "bench/00000042", 14, value);
        cr_assert_arr_eq(value, "bench/00000042:bench/00000042:be", bytes);
        cr_assert_eq(value[bytes], '#', "not a byte more");
    }
}

/* Nobody listens there. */
Test(put, without_a_cluster_is_unreachable)
{
    static volatile sig_atomic_t stop;
    struct bench_options none = options;
    none.endpoints = "tcp://127.0.0.1:1";
    none.clients = 3;
    none.ops = 100;
    none.timeout_ms = 50;
    none.validate = true;
    struct put_result result;
    put_run(&none, &stop, &result);
    cr_assert_eq(result.code, CONCLAVE_UNREACHABLE);
    cr_assert_not_null(strstr(result.message, "tcp://127.0.0.1:1 (no answer)"));
    cr_assert_eq(result.load.begun, 3, "it does not go on after a failure");
    cr_assert_eq(result.load.done, 0);
    cr_assert_eq(result.load.errors, 3);
    cr_assert_eq(result.mismatches, 0);
    histogram_destroy(result.load.latencies);
}

Test(put, that_is_told_to_stop_ends_at_once)
{
    static volatile sig_atomic_t stop = 1;
    struct bench_options none = options;
    none.endpoints = "tcp://127.0.0.1:1";
    none.clients = 3;
    none.ops = 100;
    none.timeout_ms = 60000;
    struct put_result result;
    put_run(&none, &stop, &result);
    cr_assert_eq(result.code, CONCLAVE_OK);
    cr_assert(result.load.stopped);
    histogram_destroy(result.load.latencies);
}

Test(put, with_a_wrong_endpoint_says_which)
{
    static volatile sig_atomic_t stop;
    struct bench_options wrong = options;
    wrong.endpoints = "udp://x";
    struct put_result result;
    put_run(&wrong, &stop, &result);
    cr_assert_eq(result.code, CONCLAVE_INVALID);
    cr_assert_not_null(strstr(result.message, "udp://x"));
    cr_assert_null(result.load.latencies);
}
