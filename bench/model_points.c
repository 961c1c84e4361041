#include "bench/model_points.h"

#include "bench/report.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 16 };

void model_points_deinit(struct model_points *points)
{
    free(points->of);
    *points = (struct model_points){0};
}

/* --- Reports -------------------------------------------------------------------------------------
 */

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static bool is_text(const json_t *object, const char *name, const char *text)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value && strcmp(value, text) == 0;
}

/* How many nodes the target had that the program started; 0: it did not. */
static double nodes_of(const json_t *report)
{
    const json_t *targets = json_object_get(report, "targets");
    for (size_t i = 0; i < json_array_size(targets); i++)
        if (is_text(json_array_get(targets, i), "name", "self"))
            return number_of(json_array_get(targets, i), "nodes");
    return 0;
}

static bool add(struct model_points *points, const struct model_point *point)
{
    if (points->count == points->capacity) {
        size_t capacity = points->capacity ? 2 * points->capacity : 32;
        struct model_point *of = realloc(points->of, capacity * sizeof *of);
        if (!of)
            return false;
        points->of = of;
        points->capacity = capacity;
    }
    points->of[points->count++] = *point;
    return true;
}

static bool take_result(struct model_points *points, const json_t *report, const json_t *result)
{
    const json_t *environment = json_object_get(report, "environment");
    struct model_point point = {
        .where = {.clients = number_of(result, "clients") * number_of(result, "inflight"),
                  .rate = number_of(result, "rate"),
                  .sync_us = number_of(environment, "fdatasync_p50_us"),
                  .size = number_of(result, "value_size"),
                  .nodes = nodes_of(report),
                  .cores = number_of(environment, "cores")},
        .ops_per_s = number_of(result, "ops_per_s"),
        .p50_us = number_of(result, "p50_us"),
        .p99_us = number_of(result, "p99_us")};
    bool put = is_text(result, "workload", "put") && is_text(result, "target", "self");
    bool whole = point.ops_per_s > 0 && point.p50_us > 0 && number_of(result, "missed") == 0 &&
                 number_of(result, "errors") == 0 && point.where.clients >= 1 &&
                 point.where.sync_us > 0 && point.where.nodes >= 1 && point.where.cores >= 1;
    if (put && whole)
        return add(points, &point);
    points->left_out++;
    return true;
}

bool model_points_take(struct model_points *points, const json_t *report, char *why, size_t size)
{
    const json_t *reports = json_object_get(report, "reports");
    const json_t *results = json_object_get(report, "results");
    bool good = true;
    if (!json_is_array(reports) && !json_is_array(results)) {
        snprintf(why, size, "no report of bench --json");
        return false;
    }
    for (size_t i = 0; good && i < json_array_size(reports); i++)
        good = model_points_take(points, json_array_get(reports, i), why, size);
    for (size_t i = 0; good && i < json_array_size(results); i++) {
        good = take_result(points, report, json_array_get(results, i));
        if (!good)
            snprintf(why, size, "out of memory");
    }
    return good;
}

/* --- Measuring -----------------------------------------------------------------------------------
 */

/* Clients, sizes and numbers of nodes that tell the parameters apart. */
static const char *const plan[][WORDS_MAX] = {
    {"put", "--sweep=1,4,16,64,256,1000", NULL},
    {"put", "--clients=64", "--value-size=16", NULL},
    {"put", "--clients=64", "--value-size=4KiB", NULL},
    {"put", "--clients=16", "--value-size=64KiB", NULL},
    {"put", "--nodes=1", "--sweep=1,64", NULL},
    {"put", "--nodes=5", "--sweep=1,64", NULL},
};

static json_t *measure_one(char **words, int count, const volatile sig_atomic_t *stop, char *why,
                           size_t size)
{
    struct bench_options options = {.endpoints = ""};
    struct conclave_error error = {0};
    json_t *report = NULL;
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        snprintf(why, size, "out of memory");
        return NULL;
    }
    if (bench_options_parse(&options, count, words, why, size) == BENCH_RUN) {
        *session =
            (struct session){.options = &options, .stop = stop, .argc = count, .argv = words};
        if (session_run(session, &error) != CONCLAVE_OK)
            snprintf(why, size, "%s", error.message);
        else if (*stop)
            snprintf(why, size, "interrupted");
        else if (!(report = report_json(session)))
            snprintf(why, size, "out of memory");
        session_deinit(session);
    }
    free(session);
    return report;
}

json_t *model_points_measure(const char *dir, const char *duration,
                             const volatile sig_atomic_t *stop, char *why, size_t size)
{
    json_t *root = json_object(), *reports = json_array();
    char lasts[64], where[512], name[] = "bench", warmup[] = "--warmup=500ms";
    snprintf(lasts, sizeof lasts, "--duration=%s", duration);
    snprintf(where, sizeof where, "--dir=%s", dir ? dir : "/var/tmp");
    for (size_t i = 0; i < sizeof plan / sizeof plan[0]; i++) {
        char *words[WORDS_MAX + 6] = {name, lasts, where, warmup}, copies[WORDS_MAX][64];
        int count = 4;
        for (size_t w = 0; plan[i][w]; w++) {
            snprintf(copies[w], sizeof copies[w], "%s", plan[i][w]);
            words[count++] = copies[w];
        }
        json_t *report = measure_one(words, count, stop, why, size);
        if (!report) {
            json_decref(reports);
            json_decref(root);
            return NULL;
        }
        json_array_append_new(reports, report);
    }
    json_object_set_new(root, "reports", reports);
    return root;
}
