#include "bench/options_parse.h"

#include "bench/number.h"
#include "conclave.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUE_BYTES_DEFAULT = 128,
    TIMEOUT_DEFAULT_MS = 30000,
    MAX_AGE_DEFAULT_MS = 500,
    LISTENERS_DEFAULT = 16,
    BACKLOG_DEFAULT = 100000,
    THREADS_MAX = 64,
    RUNS_MAX = 1000
};

#define TIME_MAX_MS UINT64_C(86400000)
#define COUNT_MAX UINT64_C(1000000000000)
#define RATE_MAX 1e9

static const char *const workload_names[BENCH_WORKLOADS] = {
    "put",        "get", "mixed", "txn",     "watch",    "lock",
    "lock-queue", "pub", "sub",   "propose", "failover", "recover"};
enum flag {
    FLAG_CLIENTS = 256,
    FLAG_OPS,
    FLAG_DURATION,
    FLAG_WARMUP,
    FLAG_RUNS,
    FLAG_VALUE_SIZE,
    FLAG_KEYS,
    FLAG_INFLIGHT,
    FLAG_THREADS,
    FLAG_NODES,
    FLAG_TIMEOUT,
    FLAG_MAX_AGE,
    FLAG_LISTENERS,
    FLAG_BACKLOG,
    FLAG_SEED,
    /* up to here numbers, in the order of number_flags */
    FLAG_RATE,
    FLAG_CLOSED,
    FLAG_SWEEP,
    FLAG_DIST,
    FLAG_READ_RATIO,
    FLAG_READ_LEVEL,
    FLAG_PREFIX,
    FLAG_TARGET,
    FLAG_DIR,
    FLAG_FAULT,
    FLAG_VALIDATE,
    FLAG_NO_SESSIONS,
    FLAG_NO_KEEP_AWAKE,
    FLAG_JSON,
    FLAG_CSV,
    FLAG_HTML,
    FLAG_PROGRESS,
    FLAG_BASELINE,
    FLAG_FAIL_IF,
    FLAG_ENDPOINTS,
    FLAG_HELP
};

static const struct option flags[] = {{"clients", required_argument, NULL, FLAG_CLIENTS},
                                      {"ops", required_argument, NULL, FLAG_OPS},
                                      {"duration", required_argument, NULL, FLAG_DURATION},
                                      {"warmup", required_argument, NULL, FLAG_WARMUP},
                                      {"runs", required_argument, NULL, FLAG_RUNS},
                                      {"value-size", required_argument, NULL, FLAG_VALUE_SIZE},
                                      {"keys", required_argument, NULL, FLAG_KEYS},
                                      {"inflight", required_argument, NULL, FLAG_INFLIGHT},
                                      {"threads", required_argument, NULL, FLAG_THREADS},
                                      {"nodes", required_argument, NULL, FLAG_NODES},
                                      {"timeout", required_argument, NULL, FLAG_TIMEOUT},
                                      {"max-age", required_argument, NULL, FLAG_MAX_AGE},
                                      {"listeners", required_argument, NULL, FLAG_LISTENERS},
                                      {"backlog", required_argument, NULL, FLAG_BACKLOG},
                                      {"seed", required_argument, NULL, FLAG_SEED},
                                      {"rate", required_argument, NULL, FLAG_RATE},
                                      {"closed", no_argument, NULL, FLAG_CLOSED},
                                      {"sweep", optional_argument, NULL, FLAG_SWEEP},
                                      {"dist", required_argument, NULL, FLAG_DIST},
                                      {"read-ratio", required_argument, NULL, FLAG_READ_RATIO},
                                      {"read-level", required_argument, NULL, FLAG_READ_LEVEL},
                                      {"prefix", required_argument, NULL, FLAG_PREFIX},
                                      {"target", required_argument, NULL, FLAG_TARGET},
                                      {"dir", required_argument, NULL, FLAG_DIR},
                                      {"fault", required_argument, NULL, FLAG_FAULT},
                                      {"validate", no_argument, NULL, FLAG_VALIDATE},
                                      {"no-sessions", no_argument, NULL, FLAG_NO_SESSIONS},
                                      {"no-keep-awake", no_argument, NULL, FLAG_NO_KEEP_AWAKE},
                                      {"json", no_argument, NULL, FLAG_JSON},
                                      {"csv", required_argument, NULL, FLAG_CSV},
                                      {"html", required_argument, NULL, FLAG_HTML},
                                      {"progress", no_argument, NULL, FLAG_PROGRESS},
                                      {"baseline", required_argument, NULL, FLAG_BASELINE},
                                      {"fail-if", required_argument, NULL, FLAG_FAIL_IF},
                                      {"endpoints", required_argument, NULL, FLAG_ENDPOINTS},
                                      {"help", no_argument, NULL, FLAG_HELP},
                                      {NULL, 0, NULL, 0}};

const char *bench_workload_name(enum bench_workload workload)
{
    return workload_names[workload];
}

/* The name of the flag that getopt_long returned. */
static const char *flag_name(int flag)
{
    return flags[flag - FLAG_CLIENTS].name;
}

/* --- Numbers ---------------------------------------------------------------------------------- */

struct number_flag {
    bool time;
    uint64_t min, max;
};

static const struct number_flag number_flags[] = {
    [FLAG_CLIENTS - FLAG_CLIENTS] = {false, 1, CONCLAVE_CLIENT_OPS_MAX},
    [FLAG_OPS - FLAG_CLIENTS] = {false, 1, COUNT_MAX},
    [FLAG_DURATION - FLAG_CLIENTS] = {true, 1, TIME_MAX_MS},
    [FLAG_WARMUP - FLAG_CLIENTS] = {true, 0, TIME_MAX_MS},
    [FLAG_RUNS - FLAG_CLIENTS] = {false, 1, RUNS_MAX},
    [FLAG_VALUE_SIZE - FLAG_CLIENTS] = {false, 0, CONCLAVE_VALUE_BYTES_MAX},
    [FLAG_KEYS - FLAG_CLIENTS] = {false, 1, COUNT_MAX},
    [FLAG_INFLIGHT - FLAG_CLIENTS] = {false, 1, CONCLAVE_CLIENT_OPS_MAX},
    [FLAG_THREADS - FLAG_CLIENTS] = {false, 1, THREADS_MAX},
    [FLAG_NODES - FLAG_CLIENTS] = {false, 1, BENCH_NODES_MAX},
    [FLAG_TIMEOUT - FLAG_CLIENTS] = {true, 1, TIME_MAX_MS},
    [FLAG_MAX_AGE - FLAG_CLIENTS] = {true, 1, TIME_MAX_MS},
    [FLAG_LISTENERS - FLAG_CLIENTS] = {false, 1, BENCH_LISTENERS_MAX},
    [FLAG_BACKLOG - FLAG_CLIENTS] = {false, 1, BENCH_BACKLOG_MAX},
    [FLAG_SEED - FLAG_CLIENTS] = {false, 0, UINT64_MAX},
};

static void store_number(struct parse *parse, int flag, uint64_t number)
{
    struct bench_options *options = parse->options;
    switch (flag) {
    case FLAG_CLIENTS:
        options->clients = (uint32_t)number;
        options->clients_given = true;
        break;
    case FLAG_OPS:
        options->ops = number;
        break;
    case FLAG_DURATION:
        options->duration_ms = number;
        break;
    case FLAG_WARMUP:
        options->warmup_ms = number;
        parse->warmup_given = true;
        break;
    case FLAG_RUNS:
        options->runs = (uint32_t)number;
        break;
    case FLAG_VALUE_SIZE:
        options->value_bytes = (size_t)number;
        break;
    case FLAG_KEYS:
        options->keys = number;
        break;
    case FLAG_INFLIGHT:
        options->inflight = (uint32_t)number;
        break;
    case FLAG_THREADS:
        options->threads = (uint32_t)number;
        break;
    case FLAG_NODES:
        options->nodes = (unsigned)number;
        break;
    case FLAG_TIMEOUT:
        options->timeout_ms = (uint32_t)number;
        break;
    case FLAG_MAX_AGE:
        options->max_age_ms = (uint32_t)number;
        break;
    case FLAG_LISTENERS:
        options->listeners = (uint32_t)number;
        break;
    case FLAG_BACKLOG:
        options->backlog = number;
        break;
    default:
        options->seed = number;
        break;
    }
}

static enum bench_parsed take_number(struct parse *parse, int flag, const char *value)
{
    const struct number_flag *row = &number_flags[flag - FLAG_CLIENTS];
    uint64_t number;
    if (row->time ? number_ms(value, row->min, row->max, &number)
                  : number_count(value, row->min, row->max, &number)) {
        store_number(parse, flag, number);
        return BENCH_RUN;
    }
    snprintf(parse->message, parse->message_size, "--%s '%s': not a %s from %llu%s to %llu%s",
             flag_name(flag), value, row->time ? "time" : "number", (unsigned long long)row->min,
             row->time ? "ms" : "", (unsigned long long)row->max, row->time ? "ms" : "");
    return BENCH_USAGE;
}

/* --- Lists and names -------------------------------------------------------------------------- */

static enum bench_parsed take_sweep(struct parse *parse, const char *list)
{
    parse->sweep_given = true;
    while (list && *list) {
        char item[32];
        size_t bytes = strcspn(list, ",");
        struct bench_options *options = parse->options;
        if (bytes >= sizeof item || options->sweep_count == BENCH_SWEEP_MAX)
            return options_usage(parse, "--sweep '%s': too long", list);
        memcpy(item, list, bytes);
        item[bytes] = '\0';
        if (!number_real(item, 0.001, RATE_MAX, &options->sweep[options->sweep_count]))
            return options_usage(parse, "--sweep: '%s' is not a number above 0", item);
        options->sweep_count++;
        list += bytes + (list[bytes] == ',');
    }
    return BENCH_RUN;
}

/* The place of `value` in `names`, which ends with NULL; -1: not there. */
static int choice(const char *value, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(value, names[i]) == 0)
            return i;
    return -1;
}

static enum bench_parsed take_target(struct parse *parse, const char *value)
{
    static const char *const kinds[] = {"self", "etcd", "nats", NULL};
    struct bench_options *options = parse->options;
    if (choice(value, kinds) < 0 && !strstr(value, "://"))
        return options_usage(
            parse, "--target '%s': is self, etcd, nats, or endpoints (tcp://HOST:PORT,...)", value);
    if (options->target_count == BENCH_TARGETS_MAX)
        return options_usage(parse, "--target '%s': too many targets", value);
    options->targets[options->target_count++] = value;
    return BENCH_RUN;
}

static enum bench_parsed take_name(struct parse *parse, int flag, const char *value)
{
    static const char *const distributions[] = {"sequential", "uniform", "zipf", NULL};
    static const char *const levels[] = {"linear", "lease", "stale", NULL};
    struct bench_options *options = parse->options;
    int index;
    switch (flag) {
    case FLAG_DIST:
        index = choice(value, distributions);
        if (index < 0)
            return options_usage(parse, "--dist '%s': is sequential, uniform or zipf", value);
        options->distribution = (enum keys_distribution)index;
        parse->distribution_given = true;
        return BENCH_RUN;
    case FLAG_READ_LEVEL:
        index = choice(value, levels);
        if (index < 0)
            return options_usage(parse, "--read-level '%s': is linear, lease or stale", value);
        options->read_level = (enum bench_read_level)index;
        return BENCH_RUN;
    case FLAG_RATE:
        if (!number_real(value, 0.001, RATE_MAX, &options->rate))
            return options_usage(parse, "--rate '%s': not a number of operations a second", value);
        return BENCH_RUN;
    case FLAG_READ_RATIO:
        if (!number_real(value, 0, 1, &options->read_ratio))
            return options_usage(parse, "--read-ratio '%s': not a number from 0 to 1", value);
        return BENCH_RUN;
    case FLAG_FAULT:
        if (!faults_add(&options->faults, value))
            return options_usage(
                parse, "--fault '%s': is kill-leader@TIME, kill-follower@TIME or restart@TIME",
                value);
        return BENCH_RUN;
    case FLAG_FAIL_IF:
        if (options->rule_count == BASELINE_RULES_MAX ||
            !baseline_rule_parse(&options->rules[options->rule_count], value))
            return options_usage(
                parse, "--fail-if '%s': is FIGURE<NUMBER or FIGURE>NUMBER, with %% behind", value);
        options->rule_count++;
        return BENCH_RUN;
    default:
        return take_target(parse, value);
    }
}

static enum bench_parsed take(struct parse *parse, int flag, const char *value)
{
    struct bench_options *options = parse->options;
    if (flag <= FLAG_SEED)
        return take_number(parse, flag, value);
    switch (flag) {
    case FLAG_CLOSED:
        parse->closed = true;
        break;
    case FLAG_SWEEP:
        return take_sweep(parse, value);
    case FLAG_PREFIX:
        options->prefix = value;
        break;
    case FLAG_DIR:
        options->dir = value;
        break;
    case FLAG_VALIDATE:
        options->validate = true;
        break;
    case FLAG_NO_SESSIONS:
        options->sessions = false;
        break;
    case FLAG_NO_KEEP_AWAKE:
        options->keep_awake = false;
        break;
    case FLAG_JSON:
        options->json = true;
        break;
    case FLAG_CSV:
        options->csv = value;
        break;
    case FLAG_HTML:
        options->html = value;
        break;
    case FLAG_PROGRESS:
        options->progress = true;
        break;
    case FLAG_BASELINE:
        options->baseline = value;
        break;
    case FLAG_ENDPOINTS:
        options->endpoints = value;
        options->endpoints_given = true;
        break;
    default:
        return take_name(parse, flag, value);
    }
    return BENCH_RUN;
}

static enum bench_parsed take_workload(struct parse *parse, const char *name)
{
    if (strcmp(name, "all") == 0) {
        parse->options->workloads = (1u << BENCH_WORKLOADS) - 1;
        return BENCH_RUN;
    }
    /* Both sides of it: nobody else wants the lock, and everybody does. */
    if (strcmp(name, workload_names[BENCH_LOCK]) == 0) {
        parse->options->workloads |= 1u << BENCH_LOCK | 1u << BENCH_LOCK_QUEUE;
        return BENCH_RUN;
    }
    for (unsigned i = 0; i < BENCH_WORKLOADS; i++) {
        if (strcmp(name, workload_names[i]) == 0) {
            parse->options->workloads |= 1u << i;
            return BENCH_RUN;
        }
    }
    return options_usage(parse,
                         "unknown workload '%s'; there are: put, get, mixed, txn, watch, lock, "
                         "lock-queue, pub, sub, failover, recover, all",
                         name);
}

/* --- All of it -----------------------------------------------------------------------------------
 */

static void set_defaults(struct bench_options *options)
{
    options->prefix = "bench/";
    options->clients = OPTIONS_CLIENTS_DEFAULT;
    options->inflight = 1;
    options->threads = 1;
    options->nodes = 3;
    options->ops = 0;
    options->keys = 0;
    options->distribution = KEYS_SEQUENTIAL;
    options->value_bytes = VALUE_BYTES_DEFAULT;
    options->read_ratio = 0.5;
    options->max_age_ms = MAX_AGE_DEFAULT_MS;
    options->listeners = LISTENERS_DEFAULT;
    options->backlog = BACKLOG_DEFAULT;
    options->runs = 1;
    options->timeout_ms = TIMEOUT_DEFAULT_MS;
    options->seed = 1;
    options->sessions = true;
    options->keep_awake = true;
}

enum bench_parsed bench_options_parse(struct bench_options *options, int argc, char **argv,
                                      char *message, size_t message_size)
{
    struct parse parse = {.options = options, .message = message, .message_size = message_size};
    options->short_form = argc == 1 && !options->json;
    set_defaults(options);
    optind = 0; /* starts anew: the program has parsed its own flags before */
    int flag;
    /* Called from the program's only thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((flag = getopt_long(argc, argv, ":", flags, NULL)) != -1) {
        if (flag == FLAG_HELP)
            return BENCH_HELP;
        if (flag == ':')
            return options_usage(&parse, "flag '%s' needs a value", argv[optind - 1]);
        if (flag == '?')
            return options_usage(&parse, "unknown flag '%s'; see 'conclave bench --help'",
                                 argv[optind - 1]);
        if (take(&parse, flag, optarg) == BENCH_USAGE)
            return BENCH_USAGE;
    }
    for (; optind < argc; optind++)
        if (take_workload(&parse, argv[optind]) == BENCH_USAGE)
            return BENCH_USAGE;
    return options_complete(&parse);
}
