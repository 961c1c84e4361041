#include "bench/report.h"

#include <math.h>
#include <string.h>

enum { FORMAT = 1, TENTHS = 70 /* down to one in ten millions */ };

/* To the precision that was measured. */
static json_t *rounded(double value)
{
    return json_real(round(value * 10) / 10);
}

static json_t *exact(double value)
{
    return json_real(round(value * 1e6) / 1e6);
}

static json_t *count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* Text that came from outside; what is not UTF-8 is left out. */
static json_t *text(const char *value)
{
    json_t *string = json_string(value);
    return string ? string : json_string("");
}

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

/* --- Charts --------------------------------------------------------------------------------------
 */

/* Latency by percentile: [share, us], denser towards the end. */
static json_t *percentiles(const struct histogram *latencies)
{
    json_t *list = json_array();
    double last = -1;
    for (int tenth = 0; tenth < TENTHS; tenth++) {
        double beyond = pow(10, -tenth / 10.0), share = 1 - beyond;
        double us = (double)histogram_quantile(latencies, share) / 1e3;
        if ((double)latencies->count * beyond < 1 || us == last)
            continue;
        last = us;
        json_array_append_new(list, json_pack("[o,o]", exact(share), rounded(us)));
    }
    if (latencies->count > 0)
        json_array_append_new(
            list, json_pack("[o,o]", json_real(1), rounded((double)latencies->max / 1e3)));
    return list;
}

static json_t *series(const struct result_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->second_count; i++) {
        const struct second *second = &run->seconds[i];
        json_array_append_new(list,
                              json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "second", count(i), "ops",
                                        count(second->done), "errors", count(second->errors),
                                        "p50_us", rounded((double)second->p50_ns / 1e3), "p99_us",
                                        rounded((double)second->p99_ns / 1e3), "max_us",
                                        rounded((double)second->max_ns / 1e3), "slowest_client_us",
                                        rounded((double)second->slowest_ns / 1e3)));
    }
    return list;
}

static json_t *marks(const struct result_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->mark_count; i++)
        json_array_append_new(list, json_pack("{s:o,s:s}", "at_s",
                                              exact((double)run->marks[i].at_ns / 1e9), "what",
                                              run->marks[i].text));
    return list;
}

/* --- One result ----------------------------------------------------------------------------------
 */

static void set_load(json_t *object, const struct session *session, const struct result *result)
{
    static const char *const levels[] = {"linear", "lease", "stale"};
    const struct bench_options *options = session->options;
    set(object, "workload", json_string(bench_workload_name(result->workload)));
    set(object, "target", text(options->targets[result->target]));
    set(object, "mode", json_string(result->rate > 0 ? "open" : "closed"));
    set(object, "clients", count(result->clients));
    set(object, "inflight", count(options->inflight));
    set(object, "value_size", count(options->value_bytes));
    if (result->workload == BENCH_WATCH || result->workload == BENCH_SUB)
        set(object, "listeners", count(options->listeners));
    if (result->workload == BENCH_SUB)
        set(object, "backlog", count(options->backlog));
    if (result->rate > 0) {
        set(object, "rate", rounded(result->rate));
        set(object, "share_of_rate", exact(result->rate / options->rate));
    }
    if (result->workload == BENCH_GET || result->workload == BENCH_MIXED)
        set(object, "read_level", json_string(levels[options->read_level]));
    if (result->workload == BENCH_MIXED)
        set(object, "read_ratio", exact(options->read_ratio));
}

static json_t *figure_json(enum figure figure, double value)
{
    return figure == FIGURE_FAIRNESS ? exact(value) : rounded(value);
}

static void set_figures(json_t *object, const struct result *result)
{
    json_t *intervals = json_object(), *runs = json_array();
    double confidence = 0;
    for (unsigned f = 0; f < FIGURE_COUNT; f++) {
        const char *name = figure_name((enum figure)f);
        if (!result_has(result, (enum figure)f))
            continue;
        struct statistic statistic = result_statistic(result, (enum figure)f);
        confidence = statistic.confidence;
        set(object, name, figure_json((enum figure)f, statistic.median));
        set(intervals, name,
            json_pack("[o,o]", figure_json((enum figure)f, statistic.low),
                      figure_json((enum figure)f, statistic.high)));
    }
    for (size_t r = 0; r < result->run_count; r++) {
        json_t *run = json_object();
        for (unsigned f = 0; f < FIGURE_COUNT; f++)
            if (result_has(result, (enum figure)f))
                set(run, figure_name((enum figure)f),
                    figure_json((enum figure)f, result->runs[r].figures[f]));
        json_array_append_new(runs, run);
    }
    set(object, "intervals", intervals);
    set(object, "confidence", exact(confidence));
    set(object, "runs", runs);
}

static void set_generator(json_t *object, const struct result *result)
{
    const struct generator_health *health = &result->health;
    json_t *generator = json_pack("{s:o,s:o,s:o,s:b}", "cpu_share", exact(health->cpu_share),
                                  "wait_share", exact(health->wait_share), "lag_p99_us",
                                  rounded((double)health->lag_p99_ns / 1e3), "overloaded",
                                  *result->overloaded != '\0');
    if (health->process_share > 0 && result->usage_rate > 0)
        set(generator, "cpu_us_per_op", exact(health->process_share * 1e6 / result->usage_rate));
    if (*result->overloaded)
        set(generator, "why", json_string(result->overloaded));
    if (result->served.most > 0) {
        set(generator, "client_least_ops", count(result->served.least));
        set(generator, "client_most_ops", count(result->served.most));
    }
    set(object, "generator", generator);
}

static void set_standstill(json_t *object, const struct standstill_seen *stood)
{
    set(object, "standstill",
        json_pack("{s:o,s:b,s:o,s:o}", "share", exact(standstill_share(stood)), "matters",
                  standstill_matters(stood), "times", count(stood->times), "longest_ms",
                  rounded((double)stood->longest_ns / 1e6)));
}

/* What each node cost, and an operation on all of them. */
static void set_nodes(json_t *object, const struct result *result)
{
    json_t *list = json_array();
    double rate = result->usage_rate, sum = 0;
    for (unsigned i = 0; i < result->node_count; i++) {
        const struct node_usage *node = &result->nodes[i];
        sum += node->cpu_share;
        json_array_append_new(list, json_pack("{s:b,s:o,s:o,s:o}", "leads", node->leads,
                                              "cpu_share", exact(node->cpu_share), "cpu_us_per_op",
                                              exact(rate > 0 ? node->cpu_share * 1e6 / rate : 0),
                                              "resident_bytes", count(node->resident_bytes)));
    }
    set(object, "nodes", list);
    if (rate > 0 && sum > 0)
        set(object, "nodes_cpu_us_per_op", exact(sum * 1e6 / rate));
}

static json_t *stages_json(const struct stages *stages)
{
    json_t *object = json_pack("{s:o}", "samples", count(stages->of[STAGE_QUEUE]->count));
    for (unsigned i = 0; i < STAGE_COUNT; i++) {
        const struct histogram *of = stages->of[i];
        set(object, stage_name((enum stage)i),
            json_pack("{s:o,s:o,s:o}", "mean_us", rounded(histogram_mean(of) / 1e3), "p50_us",
                      rounded((double)histogram_quantile(of, 0.5) / 1e3), "p99_us",
                      rounded((double)histogram_quantile(of, 0.99) / 1e3)));
    }
    return object;
}

static json_t *result_json(const struct session *session, const struct result *result)
{
    json_t *object = json_object();
    set_load(object, session, result);
    if (*result->not_measured) {
        set(object, "not_measured", text(result->not_measured));
        return object;
    }
    set(object, "ops", count(result->begun));
    set(object, "acked", count(result->done));
    set(object, "retried", count(result->retried));
    set(object, "errors", count(result->errors));
    if (result->rate > 0)
        set(object, "missed", count(result->missed));
    set(object, "seconds", exact(result->seconds));
    set_figures(object, result);
    set(object, "interrupted", json_boolean(result->stopped));
    if (result->validated) {
        set(object, "validated", count(result->read));
        set(object, "mismatches", count(result->mismatches));
    }
    if (result->code != 0) {
        set(object, "failed", json_string(conclave_code_name(result->code)));
        set(object, "failed_why", text(result->message));
    }
    set_generator(object, result);
    set_standstill(object, &result->stood);
    if (result->node_count > 0)
        set_nodes(object, result);
    if (result->stages.of[0] && result->stages.of[0]->count > 0)
        set(object, "stages", stages_json(&result->stages));
    set(object, "percentiles", percentiles(result->latencies));
    const struct result_run *run = result_typical(result);
    if (run) {
        set(object, "series", series(run));
        set(object, "marks", marks(run));
    }
    return object;
}

/* --- The rest ------------------------------------------------------------------------------------
 */

static json_t *environment_json(const struct environment *environment)
{
    json_t *object =
        json_pack("{s:o,s:o,s:I,s:o,s:o,s:o,s:o,s:o}", "kernel", text(environment->kernel), "cpu",
                  text(environment->cpu), "cores", (json_int_t)environment->cores, "memory_bytes",
                  count(environment->memory_bytes), "load_average",
                  exact(environment->load_average), "dir", text(environment->dir), "file_system",
                  text(environment->file_system), "started", text(environment->started));
    if (environment->sync_known) {
        set(object, "fdatasync_p50_us", rounded((double)environment->sync_p50_ns / 1e3));
        set(object, "fdatasync_p99_us", rounded((double)environment->sync_p99_ns / 1e3));
    }
    return object;
}

static json_t *targets_json(const struct session *session)
{
    json_t *list = json_array();
    for (size_t i = 0; i < session->options->target_count; i++) {
        const struct target *target = &session->targets[i];
        json_t *object = json_object();
        set(object, "name", text(target->name));
        set(object, "version", text(target->version));
        set(object, "fsync", json_string(target->ops->fsync));
        set(object, "fsync_why", json_string(target->ops->fsync_why));
        set(object, "reads", json_string(target->ops->reads));
        if (target->ops->starts)
            set(object, "nodes", count(session->options->nodes));
        if (target->ops == &target_self)
            set(object, "keep_awake", json_boolean(session_keeps_awake(session)));
        json_array_append_new(list, object);
    }
    return list;
}

json_t *report_json(const struct session *session)
{
    json_t *root = json_object(), *results = json_array(), *words = json_array();
    if (!root || !results || !words)
        return NULL;
    for (int i = 0; i < session->argc; i++)
        json_array_append_new(words, text(session->argv[i]));
    set(root, "format", json_integer(FORMAT));
    set(root, "version", json_string(conclave_version()));
    set(root, "command", words);
    set(root, "seed", count(session->options->seed));
    set(root, "environment", environment_json(&session->environment));
    set(root, "targets", targets_json(session));
    for (size_t i = 0; i < session->result_count; i++)
        json_array_append_new(results, result_json(session, &session->results[i]));
    /* One result alone is at the top too: what a script asks for is then found without a search. */
    if (session->result_count == 1) {
        const char *name;
        json_t *value;
        json_object_foreach(json_array_get(results, 0), name, value)
        {
            if (!json_is_object(value) && !json_is_array(value))
                json_object_set(root, name, value);
        }
    }
    set(root, "results", results);
    return root;
}
