#include "bench/series.h"

#include <stdlib.h>
#include <string.h>

struct series *series_create(uint64_t start_ns)
{
    struct series *series = calloc(1, sizeof *series);
    if (!series)
        return NULL;
    bool ok = pthread_mutex_init(&series->lock, NULL) == 0;
    series->total = histogram_create();
    for (size_t i = 0; i < SERIES_OPEN; i++)
        series->open[i] = histogram_create();
    for (size_t i = 0; i < SERIES_OPEN; i++)
        ok = ok && series->open[i];
    atomic_init(&series->last_ns, start_ns);
    atomic_init(&series->gap_ns, 0);
    if (ok && series->total)
        return series;
    series_destroy(series);
    return NULL;
}

void series_destroy(struct series *series)
{
    if (!series)
        return;
    histogram_destroy(series->total);
    for (size_t i = 0; i < SERIES_OPEN; i++)
        histogram_destroy(series->open[i]);
    free(series->seconds);
    pthread_mutex_destroy(&series->lock);
    free(series);
}

static void fill(struct second *second, const struct histogram *histogram)
{
    second->p50_ns = histogram_quantile(histogram, 0.5);
    second->p99_ns = histogram_quantile(histogram, 0.99);
    second->max_ns = histogram->count ? histogram->max : 0;
}

static void close_before(struct series *series, size_t second)
{
    for (; series->closed < second; series->closed++) {
        struct histogram *histogram = series->open[series->closed % SERIES_OPEN];
        if (series->closed < series->count)
            fill(&series->seconds[series->closed], histogram);
        histogram_reset(histogram);
    }
}

static bool grow(struct series *series, size_t count)
{
    if (count > SERIES_SECONDS_MAX)
        return false;
    if (count > series->capacity) {
        size_t capacity = series->capacity ? series->capacity : 64;
        while (capacity < count)
            capacity *= 2;
        struct second *seconds = realloc(series->seconds, capacity * sizeof *seconds);
        if (!seconds)
            return false;
        series->seconds = seconds;
        series->capacity = capacity;
    }
    if (count > series->count) {
        memset(series->seconds + series->count, 0,
               (count - series->count) * sizeof *series->seconds);
        series->count = count;
    }
    return true;
}

bool series_add(struct series *series, size_t second, const struct histogram *latencies,
                uint64_t done, uint64_t errors)
{
    pthread_mutex_lock(&series->lock);
    bool ok = grow(series, second + 1);
    if (ok) {
        if (second >= SERIES_OPEN)
            close_before(series, second + 1 - SERIES_OPEN);
        series->seconds[second].done += done;
        series->seconds[second].errors += errors;
        histogram_merge(series->total, latencies);
        /* What comes later than that is in the total and not in its second's quantiles. */
        if (second >= series->closed)
            histogram_merge(series->open[second % SERIES_OPEN], latencies);
    }
    pthread_mutex_unlock(&series->lock);
    return ok;
}

void series_slowest(struct series *series, size_t second, uint64_t p99_ns)
{
    pthread_mutex_lock(&series->lock);
    if (p99_ns > 0 && grow(series, second + 1) && p99_ns > series->seconds[second].slowest_ns)
        series->seconds[second].slowest_ns = p99_ns;
    pthread_mutex_unlock(&series->lock);
}

void series_progress(struct series *series, uint64_t now_ns)
{
    uint64_t last_ns = atomic_exchange(&series->last_ns, now_ns);
    if (now_ns <= last_ns) /* two threads in the wrong order: the later one saw the gap */
        return;
    uint64_t gap_ns = atomic_load(&series->gap_ns);
    while (now_ns - last_ns > gap_ns &&
           !atomic_compare_exchange_weak(&series->gap_ns, &gap_ns, now_ns - last_ns))
        ;
}

bool series_second(struct series *series, size_t second, struct second *ret)
{
    pthread_mutex_lock(&series->lock);
    bool known = second < series->count;
    if (known) {
        *ret = series->seconds[second];
        if (second >= series->closed)
            fill(ret, series->open[second % SERIES_OPEN]);
    }
    pthread_mutex_unlock(&series->lock);
    return known;
}

void series_finish(struct series *series)
{
    pthread_mutex_lock(&series->lock);
    close_before(series, series->count);
    pthread_mutex_unlock(&series->lock);
}
