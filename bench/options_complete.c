/* What follows from what among the flags, and what does not go together. */
#include "bench/options_parse.h"

#include "bench/stamp.h"

#include "conclave.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    DURATION_DEFAULT_MS = 10000,
    WARMUP_DEFAULT_MS = 2000,
    KEYS_DEFAULT = 10000, /* of workloads that read, and of distributions */
    SHARES = 10,          /* of --rate, in a sweep */
    /* A key is the prefix and a number of up to 20 digits. */
    PREFIX_BYTES_MAX = CONCLAVE_KEY_BYTES_MAX - 20
};

/* Without --sweep=LIST. */
static const double sweep_clients[] = {1, 4, 16, 64, 256, 1024};

enum bench_parsed options_usage(struct parse *parse, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(parse->message, parse->message_size, format, arguments);
    va_end(arguments);
    return BENCH_USAGE;
}

static enum bench_parsed complete_load(struct parse *parse)
{
    struct bench_options *options = parse->options;
    if (options->short_form) {
        options->sweep_count = 2;
        options->sweep[0] = 1;
        options->sweep[1] = OPTIONS_CLIENTS_DEFAULT;
    }
    if (options->ops == 0) {
        options->ops = UINT64_MAX;
        if (options->duration_ms == 0)
            options->duration_ms = DURATION_DEFAULT_MS;
        if (!parse->warmup_given)
            options->warmup_ms = WARMUP_DEFAULT_MS;
    }
    bool reads = options->workloads & (1u << BENCH_GET | 1u << BENCH_MIXED);
    if (!parse->distribution_given && reads)
        options->distribution = KEYS_UNIFORM;
    if (options->keys == 0)
        options->keys =
            reads || options->distribution != KEYS_SEQUENTIAL ? KEYS_DEFAULT : UINT64_MAX;
    if (parse->closed && options->rate > 0)
        return options_usage(parse, "--closed and --rate exclude each other");
    if (parse->sweep_given && options->sweep_count == 0) {
        size_t clients = sizeof sweep_clients / sizeof sweep_clients[0];
        options->sweep_count = options->rate > 0 ? SHARES : clients;
        for (size_t i = 0; i < options->sweep_count; i++)
            options->sweep[i] = options->rate > 0 ? (double)(i + 1) / SHARES : sweep_clients[i];
    }
    for (size_t i = 0; i < options->sweep_count; i++)
        if (options->rate > 0
                ? options->sweep[i] > 1
                : options->sweep[i] < 1 || options->sweep[i] > CONCLAVE_CLIENT_OPS_MAX)
            return options_usage(parse, "--sweep: %s",
                                 options->rate > 0
                                     ? "with --rate the list has shares of it, up to 1"
                                     : "the list has numbers of clients, from 1 to 65536");
    if ((uint64_t)options->clients * options->inflight > CONCLAVE_CLIENT_OPS_MAX)
        return options_usage(parse, "--clients times --inflight is more than %d",
                             CONCLAVE_CLIENT_OPS_MAX);
    if (options->threads > options->clients)
        options->threads = options->clients;
    return BENCH_RUN;
}

enum bench_parsed options_complete(struct parse *parse)
{
    struct bench_options *options = parse->options;
    if (options->workloads == 0)
        options->workloads = 1u << BENCH_PUT;
    if (options->target_count == 0)
        options->targets[options->target_count++] =
            options->endpoints_given ? options->endpoints : "self";
    if (strlen(options->prefix) > PREFIX_BYTES_MAX) {
        snprintf(parse->message, parse->message_size, "--prefix longer than %d bytes",
                 PREFIX_BYTES_MAX);
        return BENCH_USAGE;
    }
    if (options->workloads & (1u << BENCH_WATCH | 1u << BENCH_SUB) &&
        options->value_bytes < STAMP_BYTES)
        return options_usage(parse, "--value-size: watch and sub need %d bytes at least",
                             STAMP_BYTES);
    bool faults = options->faults.count > 0 ||
                  options->workloads & (1u << BENCH_FAILOVER | 1u << BENCH_RECOVER);
    for (size_t i = 0; i < options->target_count; i++)
        if (faults && strstr(options->targets[i], "://"))
            return options_usage(parse, "'%s' was not started here: its nodes cannot be killed",
                                 options->targets[i]);
    bool to_stdout = (options->csv && strcmp(options->csv, "-") == 0) +
                         (options->html && strcmp(options->html, "-") == 0) + options->json >
                     1;
    if (to_stdout)
        return options_usage(parse,
                             "only one of --json, --csv - and --html - can have standard output");
    for (size_t i = 0; i < options->rule_count; i++)
        if (options->rules[i].relative && !options->baseline)
            return options_usage(parse, "--fail-if with %% needs --baseline");
    return complete_load(parse);
}
