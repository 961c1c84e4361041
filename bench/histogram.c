#include "bench/histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HALF = 1 << HISTOGRAM_HALF_BITS };

struct histogram *histogram_create(void)
{
    struct histogram *histogram = calloc(1, sizeof *histogram);
    if (histogram)
        histogram->min = UINT64_MAX;
    return histogram;
}

void histogram_destroy(struct histogram *histogram)
{
    free(histogram);
}

/* How many low bits of the value its bucket does not tell apart. */
static unsigned bucket_shift(uint64_t value)
{
    if (value < UINT64_C(2) * HALF)
        return 0;
    return 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_HALF_BITS;
}

/* value >> shift lies in [HALF, 2 * HALF) for every shift above 0, so each shift adds HALF buckets.
 */
static uint32_t bucket_of(uint64_t value)
{
    unsigned shift = bucket_shift(value);
    return shift * HALF + (uint32_t)(value >> shift);
}

static uint64_t bucket_last(uint32_t bucket)
{
    if (bucket < 2 * HALF)
        return bucket;
    unsigned shift = bucket / HALF - 1;
    uint64_t first = (uint64_t)(bucket % HALF + HALF) << shift;
    return first + ((UINT64_C(1) << shift) - 1);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    histogram->sum += (double)value;
    if (value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
}

bool histogram_record_bucket(struct histogram *histogram, uint32_t bucket, uint64_t count)
{
    if (bucket >= HISTOGRAM_BUCKETS)
        return false;
    uint64_t value = bucket_last(bucket);
    if (count == 0)
        return true;
    histogram->buckets[bucket] += count;
    histogram->count += count;
    histogram->sum += (double)value * (double)count;
    if (value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
    return true;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0)
        return;
    for (uint32_t i = bucket_of(from->min); i <= bucket_of(from->max); i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
}

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->min = UINT64_MAX;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    double exact = ceil(share * (double)histogram->count);
    uint64_t rank = exact < 1 ? 1 : (uint64_t)exact;
    if (rank > histogram->count)
        rank = histogram->count;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            uint64_t last = bucket_last(i);
            return last < histogram->max ? last : histogram->max;
        }
    }
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count ? histogram->sum / (double)histogram->count : 0;
}
