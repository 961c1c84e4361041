#include "bench/options.h"

#include "conclave.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPS_DEFAULT = 100000,
    CLIENTS_DEFAULT = 256,
    VALUE_BYTES_DEFAULT = 128,
    TIMEOUT_DEFAULT_MS = 30000,
    /* A key is the prefix and a number of up to 20 digits. */
    PREFIX_BYTES_MAX = CONCLAVE_KEY_BYTES_MAX - 20
};

#define SECONDS_MAX UINT64_C(86400)
#define COUNT_MAX UINT64_C(1000000000000)

const char bench_options_help[] =
    "Usage: conclave bench put [FLAG...]\n"
    "\n"
    "Writes keys to a running cluster as fast as it takes them, and prints operations per\n"
    "second and latencies. Each of the clients has one operation outstanding and sends the\n"
    "next when it is done; all of them are carried by one connection to the leader.\n"
    "\n"
    "An operation that ends without a known outcome, or surely not applied, is repeated: it\n"
    "writes the same value to the same key. Its latency runs from its first attempt.\n"
    "\n"
    "  --clients N      operations outstanding at a time (256)\n"
    "  --ops N          operations in all (100000; with --duration: no limit)\n"
    "  --duration T     start no operation after T (10s, 2m)\n"
    "  --value-size B   bytes of each value: the key and a colon, repeated (128)\n"
    "  --keys N         write N keys over and over (a key of its own for each operation)\n"
    "  --prefix TEXT    of the keys; a number of eight digits follows (bench/)\n"
    "  --timeout T      give up on an operation after T (30s)\n"
    "  --no-sessions    send commands outside of a session\n"
    "  --validate       read every acknowledged key back and compare\n"
    "  --json           print one JSON object\n"
    "  --endpoints LIST client endpoints of the cluster, separated by commas\n"
    "\n"
    "Exit code: 0 done, 1 --validate found a mismatch, 2 wrong usage, 3 nobody reachable,\n"
    "4 surely not applied, 5 outcome unknown when an operation was given up.\n";

/* A whole number of at least `min` and at most `max`, with K, M, KiB, MiB behind it as it may be.
 */
struct unit {
    const char *text;
    uint64_t factor;
};

static const struct unit count_units[] = {{"", 1},        {"k", 1000},      {"K", 1000},
                                          {"M", 1000000}, {"KiB", 1 << 10}, {"MiB", 1 << 20},
                                          {NULL, 0}};
static const struct unit second_units[] = {{"", 1}, {"s", 1}, {"m", 60}, {NULL, 0}};

static bool parse_number(const char *text, const struct unit *units, uint64_t min, uint64_t max,
                         uint64_t *ret)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    for (; units->text; units++) {
        if (strcmp(end, units->text) != 0)
            continue;
        if (errno || number > max / units->factor || number * units->factor < min)
            return false;
        *ret = number * units->factor;
        return true;
    }
    return false;
}

enum flag {
    FLAG_CLIENTS = 256,
    FLAG_OPS,
    FLAG_SECONDS,
    FLAG_VALUE_SIZE,
    FLAG_KEYS,
    FLAG_PREFIX,
    FLAG_TIMEOUT,
    FLAG_VALIDATE,
    FLAG_NO_SESSIONS,
    FLAG_JSON,
    FLAG_ENDPOINTS,
    FLAG_HELP
};

static const struct option flags[] = {{"clients", required_argument, NULL, FLAG_CLIENTS},
                                      {"ops", required_argument, NULL, FLAG_OPS},
                                      {"duration", required_argument, NULL, FLAG_SECONDS},
                                      {"value-size", required_argument, NULL, FLAG_VALUE_SIZE},
                                      {"keys", required_argument, NULL, FLAG_KEYS},
                                      {"prefix", required_argument, NULL, FLAG_PREFIX},
                                      {"timeout", required_argument, NULL, FLAG_TIMEOUT},
                                      {"validate", no_argument, NULL, FLAG_VALIDATE},
                                      {"no-sessions", no_argument, NULL, FLAG_NO_SESSIONS},
                                      {"json", no_argument, NULL, FLAG_JSON},
                                      {"endpoints", required_argument, NULL, FLAG_ENDPOINTS},
                                      {"help", no_argument, NULL, FLAG_HELP},
                                      {NULL, 0, NULL, 0}};

/* Sets a numeric option. False: `value` is out of its range [*ret_min, *ret_max]. */
static bool set_number(struct bench_options *options, int flag, const char *value,
                       uint64_t *ret_min, uint64_t *ret_max)
{
    uint64_t number = 0;
    *ret_min = flag == FLAG_VALUE_SIZE ? 0 : 1;
    *ret_max = flag == FLAG_CLIENTS                    ? CONCLAVE_CLIENT_OPS_MAX
               : flag == FLAG_VALUE_SIZE               ? CONCLAVE_VALUE_BYTES_MAX
               : flag == FLAG_OPS || flag == FLAG_KEYS ? COUNT_MAX
                                                       : SECONDS_MAX;
    const struct unit *units =
        flag == FLAG_SECONDS || flag == FLAG_TIMEOUT ? second_units : count_units;
    if (!parse_number(value, units, *ret_min, *ret_max, &number))
        return false;
    switch (flag) {
    case FLAG_CLIENTS:
        options->clients = (uint32_t)number;
        break;
    case FLAG_OPS:
        options->ops = number;
        break;
    case FLAG_SECONDS:
        options->seconds = number;
        break;
    case FLAG_VALUE_SIZE:
        options->value_bytes = (size_t)number;
        break;
    case FLAG_KEYS:
        options->keys = number;
        break;
    default:
        options->timeout_ms = (uint32_t)(number * 1000);
        break;
    }
    return true;
}

static void set_defaults(struct bench_options *options)
{
    options->prefix = "bench/";
    options->clients = CLIENTS_DEFAULT;
    options->ops = 0;
    options->keys = UINT64_MAX;
    options->value_bytes = VALUE_BYTES_DEFAULT;
    options->seconds = 0;
    options->timeout_ms = TIMEOUT_DEFAULT_MS;
    options->validate = false;
    options->sessions = true;
}

/* The name of the flag that getopt_long returned. */
static const char *flag_name(int flag)
{
    return flags[flag - FLAG_CLIENTS].name;
}

enum bench_parsed bench_options_parse(struct bench_options *options, int argc, char **argv,
                                      char *message, size_t message_size)
{
    set_defaults(options);
    optind = 0; /* starts anew: the program has parsed its own flags before */
    int flag;
    /* Called from the program's only thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((flag = getopt_long(argc, argv, ":", flags, NULL)) != -1) {
        uint64_t min, max;
        if (flag == FLAG_HELP)
            return BENCH_HELP;
        if (flag == FLAG_VALIDATE) {
            options->validate = true;
        } else if (flag == FLAG_NO_SESSIONS) {
            options->sessions = false;
        } else if (flag == FLAG_JSON) {
            options->json = true;
        } else if (flag == FLAG_ENDPOINTS) {
            options->endpoints = optarg;
        } else if (flag == FLAG_PREFIX) {
            options->prefix = optarg;
        } else if (flag == ':') {
            snprintf(message, message_size, "flag '%s' needs a value", argv[optind - 1]);
            return BENCH_USAGE;
        } else if (flag == '?') {
            snprintf(message, message_size, "unknown flag '%s'; see 'conclave bench --help'",
                     argv[optind - 1]);
            return BENCH_USAGE;
        } else if (!set_number(options, flag, optarg, &min, &max)) {
            snprintf(message, message_size, "--%s '%s': not a number from %llu to %llu",
                     flag_name(flag), optarg, (unsigned long long)min, (unsigned long long)max);
            return BENCH_USAGE;
        }
    }
    if (optind < argc) {
        snprintf(message, message_size, "unexpected argument '%s'", argv[optind]);
        return BENCH_USAGE;
    }
    if (strlen(options->prefix) > PREFIX_BYTES_MAX) {
        snprintf(message, message_size, "--prefix longer than %d bytes", PREFIX_BYTES_MAX);
        return BENCH_USAGE;
    }
    if (options->ops == 0)
        options->ops = options->seconds ? UINT64_MAX : OPS_DEFAULT;
    return BENCH_RUN;
}
