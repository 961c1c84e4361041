/* bench/options_parse.h - the inside of bench_options_parse: its two files share it. */
#ifndef BENCH_OPTIONS_PARSE_H
#define BENCH_OPTIONS_PARSE_H

#include "bench/options.h"

enum { OPTIONS_CLIENTS_DEFAULT = 256 };

/* Parsing in progress. */
struct parse {
    struct bench_options *options;
    char *message;
    size_t message_size;
    bool closed, warmup_given, distribution_given, sweep_given;
};

/* Says what is wrong. Returns BENCH_USAGE. */
__attribute__((format(printf, 2, 3))) enum bench_parsed options_usage(struct parse *parse,
                                                                      const char *format, ...);

/* Sets what was not given from what was, when all flags are read. */
enum bench_parsed options_complete(struct parse *parse);

#endif
