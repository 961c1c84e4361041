/* bench/histogram.h - counts of values by magnitude, precise to 0.1 % of the value.
 *
 * Log-linear, after Gil Tene's HdrHistogram: values below 2048 have a bucket each, and every power
 * of two above is cut into 1024 equal buckets, so a quantile is at most 1/1024 above the true value
 * whatever its size. Any uint64_t fits. Owned by one thread. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HISTOGRAM_HALF_BITS = 10, /* 1024 buckets a power of two */
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_HALF_BITS + 1) << HISTOGRAM_HALF_BITS
};

struct histogram {
    uint64_t count, min, max;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS]; /* 440 KiB: on the heap */
};

/* NULL: out of memory. */
struct histogram *histogram_create(void);
void histogram_destroy(struct histogram *histogram);

void histogram_record(struct histogram *histogram, uint64_t value);

/* `count` values of one bucket, as other programs hand them out: buckets are numbered as here, and
 * each value counts as the largest of its bucket. False: there is no such bucket. */
bool histogram_record_bucket(struct histogram *histogram, uint32_t bucket, uint64_t count);

/* Adds all that `from` recorded. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* As just created. */
void histogram_reset(struct histogram *histogram);

/* The smallest value that at least this share (0 to 1) of the recorded values does not exceed,
 * rounded up to the end of its bucket but never beyond the maximum. 0 if nothing was recorded. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

double histogram_mean(const struct histogram *histogram);

#endif
