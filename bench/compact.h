/* bench/compact.h - a histogram small enough that each of many clients can have one.
 *
 * Log-linear as bench/histogram.h, with 32 buckets to a power of two: a quantile is at most 1/32
 * above the true value. The buckets of a power of two are there once it was met, so a client whose
 * latencies lie within a factor of 30 takes a kilobyte. Owned by one thread. */
#ifndef BENCH_COMPACT_H
#define BENCH_COMPACT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    COMPACT_HALF_BITS = 5,
    COMPACT_PAGE = 1 << COMPACT_HALF_BITS,
    COMPACT_PAGES = 64 - COMPACT_HALF_BITS + 1
};

struct compact {
    uint64_t count;
    uint8_t place[COMPACT_PAGES]; /* of the page in counts[], from 1; 0: not there */
    uint8_t pages;
    uint32_t (*counts)[COMPACT_PAGE];
};

/* All zeros is an empty one. */
void compact_deinit(struct compact *compact);

/* False: out of memory; it is not counted. */
bool compact_record(struct compact *compact, uint64_t value);

/* Adds all that `from` recorded. False: out of memory. */
bool compact_merge(struct compact *into, const struct compact *from);

/* Nothing is recorded any more; the memory is kept. */
void compact_reset(struct compact *compact);

/* As histogram_quantile, to the precision above. */
uint64_t compact_quantile(const struct compact *compact, double share);

#endif
