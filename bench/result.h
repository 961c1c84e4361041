/* bench/result.h - all runs of one load on one target, and the plan that they come from. */
#ifndef BENCH_RESULT_H
#define BENCH_RESULT_H

#include "bench/load.h"
#include "bench/statistics.h"

/* The figures that repeated runs are summed up by. */
enum figure {
    FIGURE_OPS_PER_S,
    FIGURE_MEAN_US,
    FIGURE_P50_US,
    FIGURE_P90_US,
    FIGURE_P99_US,
    FIGURE_P999_US,
    FIGURE_P9999_US,
    FIGURE_MAX_US,
    FIGURE_MAX_GAP_MS,
    FIGURE_FAILOVER_MS, /* of the workload failover: longest time without an acknowledgement */
    FIGURE_RECOVER_MS,  /* of the workload recover: from the start of the node until it is back */
    FIGURE_CLIENT_P99_WORST_US,  /* of the clients' own 99th percentiles: the highest, */
    FIGURE_CLIENT_P99_MEDIAN_US, /* and the median */
    FIGURE_FAIRNESS,             /* Jain's index over what each client got done */
    FIGURE_SOURCE_PER_S,         /* of watch and sub: what was written that they were told of, */
    FIGURE_SOURCE_P50_US,        /* and how long until it was acknowledged */
    FIGURE_SOURCE_P99_US,
    FIGURE_REPLAY_PER_S, /* of sub: messages that were handed out of what was there before */
    FIGURE_COUNT
};

/* Its name in reports. */
const char *figure_name(enum figure figure);

/* One run. */
struct result_run {
    double figures[FIGURE_COUNT];
    struct second *seconds; /* owned */
    size_t second_count;
    struct mark marks[MEASURE_MARKS_MAX];
    size_t mark_count;
};

struct result {
    /* the plan's */
    size_t target; /* its place in the options */
    enum bench_workload workload;
    uint32_t clients;
    double rate;          /* 0: closed loop */
    uint64_t duration_ms; /* 0: by --ops */
    uint64_t warmup_ms;

    char not_measured[1024]; /* why; "": it was */

    struct result_run *runs;
    size_t run_count;
    struct histogram *latencies; /* of all runs */
    struct stages stages;        /* likewise */
    uint64_t begun, done, retried, errors, missed;
    double seconds;
    struct generator_health health;             /* of the busiest run */
    struct clients_summary served;              /* least and most, of all runs */
    struct node_usage nodes[MEASURE_NODES_MAX]; /* of the last run */
    unsigned node_count;
    double usage_rate;            /* operations a second in that run */
    struct standstill_seen stood; /* of the run in which the machine stood still longest */
    char overloaded[200];         /* why; "": it was not */
    bool validated, stopped;
    uint64_t read, mismatches;
    int code;
    char message[1024];
};

/* The loads that the options ask for: every workload at every load on every target. Returns how
 * many there are in *ret, to be freed by plan_free; 0: out of memory. */
size_t plan_make(const struct bench_options *options, struct result **ret);
void plan_free(struct result *results, size_t count);

/* The load of a result's run. */
struct load result_load(const struct result *result, const struct bench_options *options);

/* Adds a run and takes over its series. False: out of memory. */
bool result_add(struct result *result, struct measure *measure);

/* Of a figure over the runs. */
struct statistic result_statistic(const struct result *result, enum figure figure);

/* The run whose throughput is the median; NULL: none. */
const struct result_run *result_typical(const struct result *result);

/* True if the figure belongs to the workload. */
bool result_has(const struct result *result, enum figure figure);

#endif
