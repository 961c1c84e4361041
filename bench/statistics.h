/* bench/statistics.h - medians of repeated runs, and how far they can be trusted. Pure. */
#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

#include <stddef.h>

/* The median of runs and an interval for it. */
struct statistic {
    double median;
    double low, high;
    double confidence; /* that the interval holds the true median, 0 to 1; one run: 0 */
};

/* Of `count` values, which are put in order; count 0 is all zeros.
 *
 * The interval is that of order statistics (Conover, Practical Nonparametric Statistics, 3.2): it
 * assumes nothing about the distribution. It is the narrowest one that is right at least 95 times
 * in 100, which takes six runs; with fewer it reaches from the lowest to the highest value and
 * `confidence` says what that is worth. */
struct statistic statistic_of(double *values, size_t count);

/* The median of the values, which are put in order; 0 without any. */
double statistic_median(double *values, size_t count);

#endif
