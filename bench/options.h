/* bench/options.h - the flags of `conclave bench`. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_options {
    const char *endpoints;
    const char *prefix; /* of the keys */
    uint32_t clients;   /* operations outstanding, each one's next after its last */
    uint64_t ops;       /* UINT64_MAX: as many as `seconds` allow */
    uint64_t keys;      /* operation i writes key i modulo this; UINT64_MAX: each its own */
    size_t value_bytes;
    uint64_t seconds;    /* no new operation after these; 0: no limit */
    uint32_t timeout_ms; /* of one operation, repetitions included */
    bool validate;
    bool sessions; /* operations are repeated by the client, in its session */
    bool json;
};

enum bench_parsed { BENCH_RUN, BENCH_HELP, BENCH_USAGE };

/* Reads the flags after the workload; *options holds the defaults that the caller knows (endpoints,
 * json), the others are set here. BENCH_USAGE: message[] says what is wrong. Strings are borrowed
 * from argv. */
enum bench_parsed bench_options_parse(struct bench_options *options, int argc, char **argv,
                                      char *message, size_t message_size);

/* What --help prints. */
extern const char bench_options_help[];

#endif
