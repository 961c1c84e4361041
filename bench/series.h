/* bench/series.h - what was done second by second, merged from all generators.
 *
 * Each generator keeps a histogram of its own, and one for each client (bench/clients.h), and hands
 * in once a second; nothing is shared between operations. Any thread. */
#ifndef BENCH_SERIES_H
#define BENCH_SERIES_H

#include "bench/histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { SERIES_OPEN = 4, SERIES_SECONDS_MAX = 1 << 20 };

struct second {
    uint64_t done, errors;
    uint64_t p50_ns, p99_ns, max_ns;
    uint64_t slowest_ns; /* the highest 99th percentile of a client; 0: not known */
};

struct series {
    pthread_mutex_t lock;
    struct histogram *total;
    struct second *seconds;
    size_t count, capacity;
    struct histogram *open[SERIES_OPEN]; /* of the newest seconds, by number modulo SERIES_OPEN */
    size_t closed;                       /* seconds before this one have their quantiles */
    _Atomic uint64_t last_ns;            /* when an operation was done last */
    _Atomic uint64_t gap_ns;             /* longest time without one */
};

/* NULL: out of memory. */
struct series *series_create(uint64_t start_ns);
void series_destroy(struct series *series);

/* Adds what was done in second `second` (from 0). False: out of memory; it is lost. */
bool series_add(struct series *series, size_t second, const struct histogram *latencies,
                uint64_t done, uint64_t errors);

/* Notes what a client's own 99th percentile was in a second; the highest one is kept. */
void series_slowest(struct series *series, size_t second, uint64_t p99_ns);

/* Notes that operations were done now. */
void series_progress(struct series *series, uint64_t now_ns);

/* Second `second` as far as known; false if nothing is. */
bool series_second(struct series *series, size_t second, struct second *ret);

/* Every second has its quantiles. Before `seconds` is read. */
void series_finish(struct series *series);

#endif
