#include "bench/result.h"

#include "bench/lockers.h"
#include "bench/proposers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DISTURBED_DURATION_MS = 10000 };

static const char *const names[FIGURE_COUNT] = {"ops_per_s",
                                                "mean_us",
                                                "p50_us",
                                                "p90_us",
                                                "p99_us",
                                                "p999_us",
                                                "p9999_us",
                                                "max_us",
                                                "max_gap_ms",
                                                "failover_ms",
                                                "recover_ms",
                                                "client_p99_worst_us",
                                                "client_p99_median_us",
                                                "fairness",
                                                "source_per_s",
                                                "source_p50_us",
                                                "source_p99_us",
                                                "replay_per_s"};

const char *figure_name(enum figure figure)
{
    return names[figure];
}

bool result_has(const struct result *result, enum figure figure)
{
    switch (figure) {
    case FIGURE_FAILOVER_MS:
        return result->workload == BENCH_FAILOVER;
    case FIGURE_RECOVER_MS:
        return result->workload == BENCH_RECOVER;
    case FIGURE_SOURCE_PER_S:
    case FIGURE_SOURCE_P50_US:
    case FIGURE_SOURCE_P99_US:
        return result->workload == BENCH_WATCH || result->workload == BENCH_SUB;
    case FIGURE_REPLAY_PER_S:
        return result->workload == BENCH_SUB;
    case FIGURE_CLIENT_P99_WORST_US:
    case FIGURE_CLIENT_P99_MEDIAN_US:
    case FIGURE_FAIRNESS:
        return result->workload != BENCH_PROPOSE; /* they have one proposer */
    default:
        return true;
    }
}

/* --- The plan -----------------------------------------------------------------------------------
 */

/* The number of loads that a workload is measured under: those about faults have one. */
static size_t points(const struct bench_options *options, unsigned workload)
{
    bool one = workload == BENCH_FAILOVER || workload == BENCH_RECOVER || options->sweep_count == 0;
    return one ? 1 : options->sweep_count;
}

static void fill_point(struct result *result, const struct bench_options *options, size_t target,
                       unsigned workload, size_t point)
{
    *result = (struct result){.target = target,
                              .workload = (enum bench_workload)workload,
                              .clients = options->clients,
                              .rate = options->rate,
                              .duration_ms = options->duration_ms,
                              .warmup_ms = options->warmup_ms};
    bool locks = workload == BENCH_LOCK || workload == BENCH_LOCK_QUEUE;
    if (locks && !options->clients_given)
        result->clients = LOCKERS_DEFAULT;
    if (workload == BENCH_PROPOSE && !options->clients_given)
        result->clients = PROPOSERS_CLIENTS_DEFAULT;
    if (workload == BENCH_FAILOVER || workload == BENCH_RECOVER) {
        if (result->duration_ms == 0)
            result->duration_ms = DISTURBED_DURATION_MS;
    } else if (options->sweep_count > 0 && options->rate > 0) {
        result->rate = options->rate * options->sweep[point];
    } else if (options->sweep_count > 0) {
        result->clients = (uint32_t)options->sweep[point];
    }
}

size_t plan_make(const struct bench_options *options, struct result **ret)
{
    size_t count = 0, at = 0;
    for (unsigned w = 0; w < BENCH_WORKLOADS; w++)
        if (options->workloads >> w & 1)
            count += points(options, w) * options->target_count;
    struct result *results = calloc(count, sizeof *results);
    bool good = results;
    for (unsigned w = 0; good && w < BENCH_WORKLOADS; w++) {
        if (!(options->workloads >> w & 1))
            continue;
        for (size_t p = 0; p < points(options, w); p++) {
            for (size_t t = 0; t < options->target_count; t++, at++) {
                fill_point(&results[at], options, t, w, p);
                results[at].latencies = histogram_create();
                good = good && results[at].latencies;
            }
        }
    }
    if (!good) {
        plan_free(results, count);
        return 0;
    }
    *ret = results;
    return count;
}

void plan_free(struct result *results, size_t count)
{
    for (size_t i = 0; results && i < count; i++) {
        for (size_t r = 0; r < results[i].run_count; r++)
            free(results[i].runs[r].seconds);
        free(results[i].runs);
        histogram_destroy(results[i].latencies);
        stages_deinit(&results[i].stages);
    }
    free(results);
}

struct load result_load(const struct result *result, const struct bench_options *options)
{
    return (struct load){.options = options,
                         .workload = result->workload,
                         .clients = result->clients,
                         .rate = result->rate,
                         .duration_ms = result->duration_ms,
                         .warmup_ms = result->warmup_ms};
}

/* --- Runs ---------------------------------------------------------------------------------------
 */

static void fill_figures(double *figures, const struct measure *measure)
{
    static const struct {
        enum figure figure;
        double share;
    } quantiles[] = {{FIGURE_P50_US, 0.5},    {FIGURE_P90_US, 0.9},      {FIGURE_P99_US, 0.99},
                     {FIGURE_P999_US, 0.999}, {FIGURE_P9999_US, 0.9999}, {FIGURE_MAX_US, 1}};
    const struct histogram *total = measure->series->total;
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        figures[quantiles[i].figure] = (double)histogram_quantile(total, quantiles[i].share) / 1e3;
    figures[FIGURE_OPS_PER_S] = measure_rate(measure);
    figures[FIGURE_MEAN_US] = histogram_mean(total) / 1e3;
    figures[FIGURE_MAX_GAP_MS] = (double)atomic_load(&measure->series->gap_ns) / 1e6;
    figures[FIGURE_FAILOVER_MS] = figures[FIGURE_MAX_GAP_MS];
    figures[FIGURE_RECOVER_MS] = (double)measure->recover_ns / 1e6;
    double seconds = (double)measure->elapsed_ns / 1e9;
    figures[FIGURE_CLIENT_P99_WORST_US] = (double)measure->served.p99_worst_ns / 1e3;
    figures[FIGURE_CLIENT_P99_MEDIAN_US] = (double)measure->served.p99_median_ns / 1e3;
    figures[FIGURE_FAIRNESS] = measure->served.fairness;
    figures[FIGURE_SOURCE_PER_S] = seconds > 0 ? (double)measure->source_done / seconds : 0;
    figures[FIGURE_SOURCE_P50_US] = (double)measure->source_p50_ns / 1e3;
    figures[FIGURE_SOURCE_P99_US] = (double)measure->source_p99_ns / 1e3;
    figures[FIGURE_REPLAY_PER_S] = measure->replay_per_s;
}

static void add_up(struct result *result, const struct measure *measure)
{
    struct generator_health *health = &result->health;
    result->begun += measure->begun;
    result->done += measure->done;
    result->retried += measure->retried;
    result->errors += measure->errors;
    result->missed += measure->missed;
    result->seconds += (double)measure->elapsed_ns / 1e9;
    result->validated |= measure->validated;
    result->stopped |= measure->stopped;
    result->read += measure->read;
    result->mismatches += measure->mismatches;
    if (result->run_count == 1 || measure->health.cpu_share + measure->health.wait_share >
                                      health->cpu_share + health->wait_share)
        *health = measure->health;
    if (standstill_share(&measure->stood) >= standstill_share(&result->stood))
        result->stood = measure->stood;
    if (result->run_count == 1 || measure->served.least < result->served.least)
        result->served.least = measure->served.least;
    if (measure->served.most > result->served.most)
        result->served.most = measure->served.most;
    memcpy(result->nodes, measure->nodes, sizeof result->nodes);
    result->node_count = measure->node_count;
    result->usage_rate = measure_rate(measure);
    if (result->code == 0 && measure->code != 0) {
        result->code = measure->code;
        memcpy(result->message, measure->message, sizeof result->message);
    }
    if (!*result->overloaded)
        measure_overloaded(measure, result->rate > 0, result->overloaded,
                           sizeof result->overloaded);
}

bool result_add(struct result *result, struct measure *measure)
{
    struct result_run *runs = realloc(result->runs, (result->run_count + 1) * sizeof *result->runs);
    if (!runs)
        return false;
    result->runs = runs;
    struct result_run *run = &runs[result->run_count++];
    memset(run, 0, sizeof *run);
    series_finish(measure->series);
    fill_figures(run->figures, measure);
    run->seconds = measure->series->seconds;
    run->second_count = measure->series->count;
    measure->series->seconds = NULL;
    measure->series->count = measure->series->capacity = 0;
    memcpy(run->marks, measure->marks, sizeof run->marks);
    run->mark_count = measure->mark_count;
    histogram_merge(result->latencies, measure->series->total);
    add_up(result, measure);
    return stages_merge(&result->stages, &measure->stages);
}

struct statistic result_statistic(const struct result *result, enum figure figure)
{
    double *values = calloc(result->run_count + 1, sizeof *values);
    if (!values)
        return (struct statistic){0};
    for (size_t i = 0; i < result->run_count; i++)
        values[i] = result->runs[i].figures[figure];
    struct statistic statistic = statistic_of(values, result->run_count);
    free(values);
    return statistic;
}

const struct result_run *result_typical(const struct result *result)
{
    double median = result_statistic(result, FIGURE_OPS_PER_S).median;
    const struct result_run *best = NULL;
    double nearest = 0;
    for (size_t i = 0; i < result->run_count; i++) {
        double distance = result->runs[i].figures[FIGURE_OPS_PER_S] - median;
        distance = distance < 0 ? -distance : distance;
        if (!best || distance < nearest) {
            best = &result->runs[i];
            nearest = distance;
        }
    }
    return best;
}
