#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double CONFIDENCE_WANTED = 0.95;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(const double *sorted, size_t count)
{
    if (count == 0)
        return 0;
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

double statistic_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return middle(values, count);
}

/* The chance that at most `most` of `count` tosses of a coin are heads. */
static double binomial_tail(size_t count, size_t most)
{
    double sum = 0, log_ways = 0; /* of i heads, the logarithm: large counts overflow */
    for (size_t i = 0; i <= most; i++) {
        sum += exp(log_ways - (double)count * log(2));
        log_ways += log((double)(count - i)) - log((double)(i + 1));
    }
    return sum;
}

/* The interval from the value of rank `cut` to that of rank count - 1 - cut (from 0) misses the
 * median when `cut` or fewer values lie on one side of it. */
static double confidence_of(size_t count, size_t cut)
{
    double confidence = 1 - 2 * binomial_tail(count, cut);
    return confidence > 0 ? confidence : 0;
}

struct statistic statistic_of(double *values, size_t count)
{
    struct statistic statistic = {0};
    if (count == 0)
        return statistic;
    statistic.median = statistic_median(values, count);
    size_t cut = 0;
    while (cut + 1 < count / 2 && confidence_of(count, cut + 1) >= CONFIDENCE_WANTED)
        cut++;
    statistic.low = values[cut];
    statistic.high = values[count - 1 - cut];
    statistic.confidence = confidence_of(count, cut);
    return statistic;
}
