#include "conclave.h"

#include <criterion/criterion.h>
#include <string.h>

Test(options, are_set_by_name)
{
    struct conclave_options options;
    struct conclave_error error;
    conclave_options_init(&options);
    cr_assert_eq(conclave_options_set(&options, "election-timeout", "2s", &error), 0);
    cr_assert_eq(options.election_timeout_ms, 2000);
    cr_assert_eq(conclave_options_set(&options, "heartbeat", "150ms", &error), 0);
    cr_assert_eq(options.heartbeat_ms, 150);
    cr_assert_eq(conclave_options_set(&options, "segment-size", "1MiB", &error), 0);
    cr_assert_eq(options.segment_bytes, 1 << 20);
    cr_assert_eq(conclave_options_set(&options, "inflight-max", "12345678", &error), 0);
    cr_assert_eq(options.inflight_bytes_max, 12345678);
    cr_assert_eq(conclave_options_set(&options, "log-level", "warn", &error), 0);
    cr_assert_eq(options.log_level, CONCLAVE_LOG_WARN);
    cr_assert_eq(conclave_options_set(&options, "expose-plaintext", "true", &error), 0);
    cr_assert(options.expose_plaintext);
    cr_assert_not(options.leases, "they are an option");
    cr_assert_eq(conclave_options_set(&options, "leases", "true", &error), 0);
    cr_assert(options.leases);
    cr_assert_not(options.keep_awake,
                  "all of the machine is asked for something: no library's to say");
    cr_assert_eq(conclave_options_set(&options, "keep-awake", "true", &error), 0);
    cr_assert(options.keep_awake);
    cr_assert_eq(conclave_options_set(&options, "seed", "18446744073709551615", &error), 0);
    cr_assert_eq(options.seed, UINT64_MAX);
}

Test(options, bad_values_change_nothing_and_say_what_is_wanted)
{
    static const char *const bad[][2] = {{"election-timeout", "500"},
                                         {"election-timeout", ""},
                                         {"election-timeout", "ms"},
                                         {"heartbeat", "-1ms"},
                                         {"heartbeat", "99999999999999m"},
                                         {"segment-size", "16MB"},
                                         {"segment-size", "99999999999GiB"},
                                         {"inflight-max", "x"},
                                         {"log-level", "loud"},
                                         {"expose-plaintext", "yes"},
                                         {"leases", "1"},
                                         {"keep-awake", "yes"},
                                         {"seed", "0x7"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct conclave_options options, before;
        struct conclave_error error = {0};
        conclave_options_init(&options);
        before = options;
        cr_assert_eq(conclave_options_set(&options, bad[i][0], bad[i][1], &error), CONCLAVE_INVALID,
                     "%s=%s", bad[i][0], bad[i][1]);
        cr_assert_eq(memcmp(&options, &before, sizeof options), 0);
        cr_assert(strstr(error.message, bad[i][0]), "%s", error.message);
    }
}

Test(options, unknown_name_is_named)
{
    struct conclave_options options;
    struct conclave_error error = {0};
    conclave_options_init(&options);
    cr_assert_eq(conclave_options_set(&options, "elektion", "1s", &error), CONCLAVE_INVALID);
    cr_assert(strstr(error.message, "elektion"));
}
