#include "bench/report.h"

#include <string.h>

static void us(double value, char *text, size_t size)
{
    if (value < 10000)
        snprintf(text, size, "%.0f us", value);
    else if (value < 10000000)
        snprintf(text, size, "%.1f ms", value / 1e3);
    else
        snprintf(text, size, "%.1f s", value / 1e6);
}

static void load_name(const struct result *result, const struct bench_options *options, char *text,
                      size_t size)
{
    if (result->rate > 0)
        snprintf(text, size, "%.0f/s", result->rate);
    else if (options->inflight > 1)
        snprintf(text, size, "%u x %u", result->clients, options->inflight);
    else
        snprintf(text, size, "%u", result->clients);
}

static void row(const struct session *session, const struct result *result, FILE *out)
{
    static const enum figure shown[] = {FIGURE_P50_US, FIGURE_P99_US, FIGURE_P999_US,
                                        FIGURE_MAX_US};
    char load[32];
    load_name(result, session->options, load, sizeof load);
    fprintf(out, "%-10.28s %-9s %8s", session->options->targets[result->target],
            bench_workload_name(result->workload), load);
    if (*result->not_measured) {
        fprintf(out, "  not measured: %s\n", result->not_measured);
        return;
    }
    fprintf(out, " %10.0f", result_statistic(result, FIGURE_OPS_PER_S).median);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        char text[24];
        us(result_statistic(result, shown[i]).median, text, sizeof text);
        fprintf(out, " %9s", text);
    }
    fprintf(out, " %7llu\n", (unsigned long long)result->errors);
}

static void stages(const char *name, const struct result *result, FILE *out)
{
    const struct histogram *const *of = (const struct histogram *const *)result->stages.of;
    if (!of[0] || of[0]->count == 0)
        return;
    fprintf(out, "%s, %u clients, inside the leader (p50 of %llu writes):", name, result->clients,
            (unsigned long long)of[0]->count);
    for (unsigned i = 0; i < STAGE_COUNT; i++)
        fprintf(out, "%s %s %.0f us", i ? "," : "", stage_name((enum stage)i),
                (double)histogram_quantile(of[i], 0.5) / 1e3);
    fputc('\n', out);
}

/* What a table does not show of a result. */
static void notes(const struct session *session, const struct result *result, FILE *out)
{
    char name[64];
    if (*result->not_measured)
        return;
    snprintf(name, sizeof name, "%.40s %s", session->options->targets[result->target],
             bench_workload_name(result->workload));
    if (result->run_count > 1) {
        struct statistic rate = result_statistic(result, FIGURE_OPS_PER_S);
        struct statistic p99 = result_statistic(result, FIGURE_P99_US);
        fprintf(out,
                "%s: medians of %zu runs; %.0f to %.0f ops/s, p99 %.0f to %.0f us (%.0f %% sure)\n",
                name, result->run_count, rate.low, rate.high, p99.low, p99.high,
                rate.confidence * 100);
    }
    if (result->workload == BENCH_FAILOVER)
        fprintf(out, "%s: nothing acknowledged for %.0f ms\n", name,
                result_statistic(result, FIGURE_FAILOVER_MS).median);
    if (result->workload == BENCH_RECOVER)
        fprintf(out, "%s: the node was back %.0f ms after its start\n", name,
                result_statistic(result, FIGURE_RECOVER_MS).median);
    if (result_has(result, FIGURE_SOURCE_PER_S))
        fprintf(out, "%s: %u listeners; %.0f a second were written, acknowledged after %.0f us\n",
                name, session->options->listeners,
                result_statistic(result, FIGURE_SOURCE_PER_S).median,
                result_statistic(result, FIGURE_SOURCE_P50_US).median);
    if (result->workload == BENCH_SUB)
        fprintf(out, "%s: %.0f messages a second to those who read the topic from its beginning\n",
                name, result_statistic(result, FIGURE_REPLAY_PER_S).median);
    if (result->workload == BENCH_LOCK_QUEUE)
        fprintf(out, "%s: latencies are those from one holder to the next\n", name);
    if (result->served.most > 0)
        fprintf(out,
                "%s: p99 of the slowest client %.0f us, of the median one %.0f us; fairness %.3f\n",
                name, result_statistic(result, FIGURE_CLIENT_P99_WORST_US).median,
                result_statistic(result, FIGURE_CLIENT_P99_MEDIAN_US).median,
                result_statistic(result, FIGURE_FAIRNESS).median);
    if (result->missed > 0)
        fprintf(out, "%s: %llu operations were due and never begun: more than it carries\n", name,
                (unsigned long long)result->missed);
    if (*result->overloaded)
        fprintf(out, "%s: take care, %s\n", name, result->overloaded);
    if (standstill_matters(&result->stood))
        fprintf(out,
                "%s: the whole machine stood still for %.1f %% of the time, %llu times, %.1f ms at "
                "most: its host stops it, and that is in the latencies\n",
                name, 100 * standstill_share(&result->stood),
                (unsigned long long)result->stood.times, (double)result->stood.longest_ns / 1e6);
    if (result->validated && result->workload == BENCH_PROPOSE)
        fprintf(out, "%s: %llu acknowledged, warm-up and all; nodes that count otherwise: %llu\n",
                name, (unsigned long long)result->read, (unsigned long long)result->mismatches);
    else if (result->validated)
        fprintf(out, "%s: %llu read back, %llu mismatches\n", name,
                (unsigned long long)result->read, (unsigned long long)result->mismatches);
    stages(name, result, out);
    if (result->stopped)
        fprintf(out, "%s: interrupted\n", name);
}

static void environment(const struct session *session, FILE *out)
{
    const struct environment *that = &session->environment;
    fprintf(out, "\n%ld x %s, %s, %s", that->cores, *that->cpu ? that->cpu : "processors",
            that->kernel, that->file_system);
    if (that->sync_known)
        fprintf(out, ", fdatasync p99 %.0f us", (double)that->sync_p99_ns / 1e3);
    fprintf(out, "\n");
    for (size_t i = 0; i < session->options->target_count; i++) {
        const struct target *target = &session->targets[i];
        if (*target->version)
            fprintf(out, "%s: %s; on disk before acknowledged: %s, %s\n", target->name,
                    target->version, target->ops->fsync, target->ops->fsync_why);
        if (target->ops == &target_self && session_keeps_awake(session))
            fprintf(out, "%s: asks for idle processors at hand under load (--no-keep-awake: not)\n",
                    target->name);
    }
    if (strcmp(that->file_system, "tmpfs") == 0 || strcmp(that->file_system, "ramfs") == 0)
        fprintf(out, "%s is in memory: nothing here says how fast a disk would be\n", that->dir);
}

void report_text(const struct session *session, FILE *out)
{
    fprintf(out, "%-10s %-9s %8s %10s %9s %9s %9s %9s %7s\n", "target", "workload",
            session->options->rate > 0 ? "rate" : "clients", "ops/s", "p50", "p99", "p99.9", "max",
            "errors");
    for (size_t i = 0; i < session->result_count; i++)
        row(session, &session->results[i], out);
    for (size_t i = 0; i < session->result_count; i++)
        notes(session, &session->results[i], out);
    environment(session, out);
}

void report_short(const struct session *session, FILE *out)
{
    const struct result *one = &session->results[0];
    const struct result *many = &session->results[session->result_count - 1];
    fprintf(out, "%.0f writes a second, %u clients\n",
            result_statistic(many, FIGURE_OPS_PER_S).median, many->clients);
    fprintf(out, "%.0f us a write, %u client\n", result_statistic(one, FIGURE_P50_US).median,
            one->clients);
}
