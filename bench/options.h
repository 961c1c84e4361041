/* bench/options.h - the flags of `conclave bench`. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "bench/baseline.h"
#include "bench/faults.h"
#include "bench/keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_TARGETS_MAX = 8, BENCH_SWEEP_MAX = 16, BENCH_NODES_MAX = 9 };
enum { BENCH_LISTENERS_MAX = 1024, BENCH_BACKLOG_MAX = 1000000 };

/* The workloads, each a bit of options.workloads. */
enum bench_workload {
    BENCH_PUT,
    BENCH_GET,
    BENCH_MIXED,
    BENCH_TXN,
    BENCH_WATCH,
    BENCH_LOCK,       /* each client a lock of its own */
    BENCH_LOCK_QUEUE, /* all of them the same one */
    BENCH_PUB,
    BENCH_SUB,
    BENCH_PROPOSE,
    BENCH_FAILOVER,
    BENCH_RECOVER,
    BENCH_WORKLOADS /* how many there are */
};

enum bench_read_level { BENCH_READ_LINEAR, BENCH_READ_LEASE, BENCH_READ_STALE };

struct bench_options {
    const char *endpoints; /* of the target `tcp://...` when none is named */
    bool endpoints_given;
    unsigned workloads;
    bool short_form; /* no arguments at all: two numbers */

    const char *targets[BENCH_TARGETS_MAX]; /* self, etcd, nats, or endpoints with tcp:// */
    size_t target_count;
    unsigned nodes;  /* of each cluster that is started */
    const char *dir; /* where their data goes; NULL: /var/tmp */

    const char *prefix; /* of the keys */
    uint32_t clients;
    bool clients_given;
    uint32_t inflight;             /* operations that each client has outstanding */
    uint32_t threads;              /* generators */
    double rate;                   /* operations a second that are due, open loop; 0: closed loop */
    double sweep[BENCH_SWEEP_MAX]; /* clients, or shares of `rate`; in turn */
    size_t sweep_count;
    uint64_t ops;  /* UINT64_MAX: as many as the duration allows */
    uint64_t keys; /* UINT64_MAX: each operation its own */
    enum keys_distribution distribution;
    size_t value_bytes;
    double read_ratio; /* of `mixed` */
    enum bench_read_level read_level;
    uint32_t max_age_ms; /* of stale reads */
    uint32_t listeners;  /* watchers of `watch`, subscribers of `sub` */
    uint64_t backlog;    /* messages that the subscribers of `sub` read first */

    uint64_t duration_ms; /* no new operation after these; 0: no limit */
    uint64_t warmup_ms;   /* not counted */
    uint32_t runs;
    uint32_t timeout_ms; /* of one operation, repetitions included */
    uint64_t seed;
    struct faults faults;
    bool validate;
    bool sessions;   /* operations are repeated by the client, in its session */
    bool keep_awake; /* as the nodes of self have it */

    bool json;
    bool progress;          /* the live line also where standard error is no terminal */
    const char *csv, *html; /* files; "-": standard output; NULL: none */
    const char *baseline;
    struct baseline_rule rules[BASELINE_RULES_MAX];
    size_t rule_count;
};

enum bench_parsed { BENCH_RUN, BENCH_HELP, BENCH_USAGE };

/* Reads argv[1..]: workloads and flags; *options holds the defaults that the caller knows
 * (endpoints, json), the others are set here. BENCH_USAGE: message[] says what is wrong. Strings
 * are borrowed from argv. */
enum bench_parsed bench_options_parse(struct bench_options *options, int argc, char **argv,
                                      char *message, size_t message_size);

/* "put" and so on. */
const char *bench_workload_name(enum bench_workload workload);

/* What --help prints, one after the other. */
extern const char bench_options_help[], bench_options_help_report[];

#endif
