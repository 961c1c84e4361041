#include "bench/model_command.h"

#include "bench/model_points.h"
#include "bench/number.h"
#include "bench/statistics.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 32, CASES_MAX = 32 };

const char model_help[] =
    "Usage: conclave bench model [FLAG...]\n"
    "\n"
    "Fits a model of the write path to what was measured, and says what it would be elsewhere:\n"
    "with other disks, distances, clients, values or nodes. Without --fit it measures a handful\n"
    "of points on this machine itself, which takes less than a minute.\n"
    "\n"
    "  --fit FILE       a report of 'bench put --json', or what --save wrote; repeatable\n"
    "  --save FILE      what was measured, for --fit\n"
    "  --predict LIST   clients=N, rate=N (open loop), fsync=T, rtt=T (between machines, each\n"
    "                   node on one of its own), client-rtt=T (as rtt), size=B, nodes=N,\n"
    "                   cores=N; what is left out is as on this machine; repeatable\n"
    "  --check          leave out each point in turn, fit to the others, and compare\n"
    "  --duration T     of each point that is measured (2s)\n"
    "  --dir DIR        where the nodes' data goes (/var/tmp)\n"
    "  --json           one object on standard output\n"
    "\n"
    "Examples:\n"
    "  conclave bench model --check --save points.json\n"
    "  conclave bench model --fit points.json --predict fsync=2ms,clients=256\n"
    "  conclave bench model --fit points.json --predict rtt=30ms,nodes=5,cores=8\n"
    "\n"
    "Exit code: 0 done, 2 wrong usage or a file that is no report, 3 the nodes did not serve.\n";

/* --- Words ---------------------------------------------------------------------------------------
 */

/* Microseconds; without a unit too. */
static bool parse_us(const char *text, double *ret)
{
    static const struct {
        const char *unit;
        double us;
    } units[] = {{"", 1}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}};
    char *end;
    double number = strtod(text, &end);
    if (end == text || !isfinite(number) || number < 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0)
            continue;
        *ret = number * units[i].us;
        return true;
    }
    return false;
}

static bool parse_count(const char *text, double min, double max, double *ret)
{
    uint64_t number;
    if (!number_count(text, (uint64_t)min, (uint64_t)max, &number))
        return false;
    *ret = (double)number;
    return true;
}

static bool parse_one(struct model_case *where, const char *name, const char *value)
{
    if (strcmp(name, "clients") == 0)
        return parse_count(value, 1, 1e6, &where->clients);
    if (strcmp(name, "rate") == 0)
        return parse_count(value, 1, 1e9, &where->rate);
    if (strcmp(name, "size") == 0)
        return parse_count(value, 0, CONCLAVE_VALUE_BYTES_MAX, &where->size);
    if (strcmp(name, "nodes") == 0)
        return parse_count(value, 1, 9, &where->nodes);
    if (strcmp(name, "cores") == 0)
        return parse_count(value, 1, 1024, &where->cores);
    if (strcmp(name, "fsync") == 0)
        return parse_us(value, &where->sync_us);
    if (strcmp(name, "client-rtt") == 0)
        return parse_us(value, &where->client_rtt_us);
    return strcmp(name, "rtt") == 0 && parse_us(value, &where->rtt_us);
}

bool model_case_parse(struct model_case *where, const char *text, char *why, size_t size)
{
    char copy[256], *state = NULL;
    bool rtt = false, client_rtt = false;
    if (strlen(text) >= sizeof copy) {
        snprintf(why, size, "--predict: too long");
        return false;
    }
    memcpy(copy, text, strlen(text) + 1);
    for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state)) {
        char *equals = strchr(word, '=');
        if (equals)
            *equals = '\0';
        if (!equals || !parse_one(where, word, equals + 1)) {
            snprintf(why, size,
                     "--predict: '%s%s%s' is none of clients=N, rate=N, fsync=T, rtt=T, "
                     "client-rtt=T, size=B, nodes=N, cores=N",
                     word, equals ? "=" : "", equals ? equals + 1 : "");
            return false;
        }
        rtt = rtt || strcmp(word, "rtt") == 0;
        client_rtt = client_rtt || strcmp(word, "client-rtt") == 0;
    }
    where->apart = where->apart || rtt;
    if (rtt && !client_rtt)
        where->client_rtt_us = where->rtt_us;
    return true;
}

/* --- What comes of it ----------------------------------------------------------------------------
 */

struct task {
    const char *files[FILES_MAX], *cases[CASES_MAX], *save, *dir, *duration;
    size_t file_count, case_count;
    bool check, json;
    struct model_points points;
    struct model model;
    struct model_answer *fitted, *left_out; /* of each point */
};

/* Of the relative errors of one figure over all points. */
struct errors {
    double median, worst;
};

static double figure_of(const struct model_answer *answer, int figure)
{
    return figure == 0 ? answer->ops_per_s : figure == 1 ? answer->p50_us : answer->p99_us;
}

static double measured_of(const struct model_point *point, int figure)
{
    return figure == 0 ? point->ops_per_s : figure == 1 ? point->p50_us : point->p99_us;
}

static struct errors errors_of(const struct task *task, const struct model_answer *answers,
                               int figure)
{
    struct errors errors = {0};
    double *all = calloc(task->points.count + 1, sizeof *all);
    for (size_t i = 0; all && i < task->points.count; i++) {
        all[i] =
            fabs(figure_of(&answers[i], figure) / measured_of(&task->points.of[i], figure) - 1);
        errors.worst = fmax(errors.worst, all[i]);
    }
    if (all)
        errors.median = statistic_median(all, task->points.count);
    free(all);
    return errors;
}

static const char *const figures[] = {"ops_per_s", "p50_us", "p99_us"};

static void say_errors(const struct task *task, const char *what,
                       const struct model_answer *answers)
{
    printf("%s", what);
    for (int f = 0; f < 3; f++) {
        struct errors errors = errors_of(task, answers, f);
        printf("%s %s %.0f %% (worst %.0f %%)", f ? "," : "", figures[f], errors.median * 100,
               errors.worst * 100);
    }
    putchar('\n');
}

static void say_case(const struct model_case *where, char *text, size_t size)
{
    char load[48];
    if (where->rate > 0)
        snprintf(load, sizeof load, "%.0f/s", where->rate);
    else
        snprintf(load, sizeof load, "%.0f clients", where->clients);
    snprintf(text, size, "%s, %.0f B, %.0f nodes, fsync %.0f us, rtt %.0f us", load, where->size,
             where->nodes, where->sync_us, where->rtt_us);
}

static void say_prediction(const struct model_case *where, const struct model_answer *answer)
{
    char text[160];
    say_case(where, text, sizeof text);
    if (answer->carried)
        printf("%s: %.0f ops/s, p50 %.0f us, p99 %.0f us; batches of %.1f, limited by %s\n", text,
               answer->ops_per_s, answer->p50_us, answer->p99_us, answer->batch,
               answer->bottleneck);
    else
        printf("%s: more than it carries, which is %.0f ops/s\n", text, answer->ops_per_s);
}

static void say_table(const struct task *task, const struct model_answer *answers)
{
    printf("%-54s %9s %9s %6s %8s %8s %6s %8s %8s %6s\n", "left out", "ops/s", "model", "", "p50",
           "model", "", "p99", "model", "");
    for (size_t i = 0; i < task->points.count; i++) {
        const struct model_point *point = &task->points.of[i];
        char text[160];
        say_case(&point->where, text, sizeof text);
        printf("%-54s", text);
        for (int f = 0; f < 3; f++) {
            double measured = measured_of(point, f), said = figure_of(&answers[i], f);
            printf(" %*.0f %*.0f %+5.0f%%", f ? 8 : 9, measured, f ? 8 : 9, said,
                   (said / measured - 1) * 100);
        }
        putchar('\n');
    }
}

static json_t *answer_json(const struct model_case *where, const struct model_answer *answer)
{
    json_t *object = json_pack(
        "{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:b,s:b,s:f}", "clients", where->clients, "rate",
        where->rate, "fsync_us", where->sync_us, "rtt_us", where->rtt_us, "client_rtt_us",
        where->client_rtt_us, "size", where->size, "nodes", where->nodes, "cores", where->cores,
        "apart", where->apart, "carried", answer->carried, "ops_per_s", answer->ops_per_s);
    json_object_set_new(object, "bottleneck", json_string(answer->bottleneck));
    if (!answer->carried)
        return object;
    json_object_set_new(object, "p50_us", json_real(answer->p50_us));
    json_object_set_new(object, "p99_us", json_real(answer->p99_us));
    json_object_set_new(object, "batch", json_real(answer->batch));
    json_object_set_new(object, "cycle_us", json_real(answer->cycle_us));
    json_object_set_new(object, "disk_us", json_real(answer->disk_us));
    json_object_set_new(object, "processor_us", json_real(answer->processor_us));
    json_object_set_new(object, "fixed_us", json_real(answer->fixed_us));
    return object;
}

static json_t *errors_json(const struct task *task, const struct model_answer *answers)
{
    json_t *object = json_object();
    for (int f = 0; f < 3; f++) {
        struct errors errors = errors_of(task, answers, f);
        json_object_set_new(object, figures[f],
                            json_pack("{s:f,s:f}", "median", errors.median, "worst", errors.worst));
    }
    return object;
}

static json_t *points_json(const struct task *task)
{
    json_t *list = json_array();
    for (size_t i = 0; i < task->points.count; i++) {
        const struct model_point *point = &task->points.of[i];
        const struct model_answer *answer = task->check ? &task->left_out[i] : &task->fitted[i];
        json_t *object = answer_json(&point->where, answer);
        json_object_set_new(object, "measured",
                            json_pack("{s:f,s:f,s:f}", "ops_per_s", point->ops_per_s, "p50_us",
                                      point->p50_us, "p99_us", point->p99_us));
        json_array_append_new(list, object);
    }
    return list;
}

static void report(const struct task *task, const struct model_case *cases)
{
    json_t *parameters = json_object(), *predictions = json_array(), *root = json_object();
    for (int i = 0; i < MODEL_PARAMETERS; i++)
        json_object_set_new(parameters, model_parameter_name((enum model_parameter)i),
                            json_real(task->model.of[i]));
    json_object_set_new(parameters, "tail_share", json_real(task->model.tail_share));
    json_object_set_new(parameters, "tail_cycles", json_real(task->model.tail_cycle));
    for (size_t i = 0; i < task->case_count; i++) {
        struct model_answer answer = model_predict(&task->model, &cases[i]);
        json_array_append_new(predictions, answer_json(&cases[i], &answer));
    }
    json_object_set_new(root, "parameters", parameters);
    json_object_set_new(root, "fit_errors", errors_json(task, task->fitted));
    if (task->check)
        json_object_set_new(root, "check_errors", errors_json(task, task->left_out));
    json_object_set_new(root, "points", points_json(task));
    json_object_set_new(root, "predictions", predictions);
    json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
    putchar('\n');
    json_decref(root);
}

static void print(const struct task *task, const struct model_case *cases)
{
    printf("fitted to %zu points\n", task->points.count);
    for (int i = 0; i < MODEL_PARAMETERS; i++)
        printf("%s%s %.3g", i ? ", " : "", model_parameter_name((enum model_parameter)i),
               task->model.of[i]);
    printf(", tail_share %.2g, tail_cycles %.2g\n", task->model.tail_share, task->model.tail_cycle);
    say_errors(task, "off in the median:", task->fitted);
    if (task->check) {
        say_table(task, task->left_out);
        say_errors(task, "off where it was left out:", task->left_out);
    }
    for (size_t i = 0; i < task->case_count; i++) {
        struct model_answer answer = model_predict(&task->model, &cases[i]);
        say_prediction(&cases[i], &answer);
    }
}

/* --- Carrying it out -----------------------------------------------------------------------------
 */

static int complain(const struct task *task, int code, const char *message)
{
    if (task->json) {
        json_t *root = json_pack("{s:{s:s, s:s, s:n, s:n}}", "error", "code",
                                 conclave_code_name(code), "message", message, "hint", "leader");
        json_dumpf(root, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        json_decref(root);
    } else {
        fprintf(stderr, "conclave bench model: %s\n", message);
    }
    return conclave_code_exit(code);
}

static int take_files(struct task *task)
{
    char why[256], message[600];
    for (size_t i = 0; i < task->file_count; i++) {
        json_error_t error;
        json_t *report = json_load_file(task->files[i], 0, &error);
        bool good = report && model_points_take(&task->points, report, why, sizeof why);
        json_decref(report);
        if (good)
            continue;
        snprintf(message, sizeof message, "%.300s: %s", task->files[i], report ? why : error.text);
        return complain(task, CONCLAVE_INVALID, message);
    }
    return EXIT_SUCCESS;
}

static int measure(struct task *task, const volatile sig_atomic_t *stop)
{
    char why[1024] = "";
    json_t *reports = model_points_measure(task->dir, task->duration, stop, why, sizeof why);
    if (!reports)
        return complain(task, CONCLAVE_UNREACHABLE, why);
    bool good = model_points_take(&task->points, reports, why, sizeof why);
    if (good && task->save && json_dump_file(reports, task->save, JSON_COMPACT)) {
        good = false;
        snprintf(why, sizeof why, "%.300s: %s", task->save, strerrordesc_np(errno));
    }
    json_decref(reports);
    return good ? EXIT_SUCCESS : complain(task, CONCLAVE_IO, why);
}

static int carry_out(struct task *task)
{
    struct model_case cases[CASES_MAX];
    char why[512];
    if (task->points.count < 2)
        return complain(task, CONCLAVE_INVALID,
                        "fewer than two results of put on nodes of its own to fit to");
    for (size_t i = 0; i < task->case_count; i++) {
        cases[i] = task->points.of[0].where;
        cases[i].clients = 256;
        cases[i].rate = 0;
        if (!model_case_parse(&cases[i], task->cases[i], why, sizeof why))
            return complain(task, CONCLAVE_INVALID, why);
    }
    task->fitted = calloc(task->points.count, sizeof *task->fitted);
    task->left_out = calloc(task->points.count, sizeof *task->left_out);
    if (!task->fitted || !task->left_out ||
        !model_fit(task->points.of, task->points.count, &task->model) ||
        (task->check && !model_leave_out(task->points.of, task->points.count, task->left_out)))
        return complain(task, CONCLAVE_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < task->points.count; i++)
        task->fitted[i] = model_predict(&task->model, &task->points.of[i].where);
    if (task->json)
        report(task, cases);
    else
        print(task, cases);
    return EXIT_SUCCESS;
}

/* 0: go on; else done, with *ret_code. */
static bool parse(struct task *task, int argc, char **argv, int *ret_code)
{
    enum { FIT = 1, PREDICT, CHECK, SAVE, DURATION, DIR, JSON, HELP };
    static const struct option flags[] = {{"fit", required_argument, NULL, FIT},
                                          {"predict", required_argument, NULL, PREDICT},
                                          {"check", no_argument, NULL, CHECK},
                                          {"save", required_argument, NULL, SAVE},
                                          {"duration", required_argument, NULL, DURATION},
                                          {"dir", required_argument, NULL, DIR},
                                          {"json", no_argument, NULL, JSON},
                                          {"help", no_argument, NULL, HELP},
                                          {NULL, 0, NULL, 0}};
    int flag;
    optind = 0;
    opterr = 0;
    /* Called from the program's only thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
        if (flag == FIT && task->file_count < FILES_MAX)
            task->files[task->file_count++] = optarg;
        else if (flag == PREDICT && task->case_count < CASES_MAX)
            task->cases[task->case_count++] = optarg;
        else if (flag == CHECK)
            task->check = true;
        else if (flag == SAVE)
            task->save = optarg;
        else if (flag == DURATION)
            task->duration = optarg;
        else if (flag == DIR)
            task->dir = optarg;
        else if (flag == JSON)
            task->json = true;
        else {
            if (flag == HELP)
                fputs(model_help, stdout);
            *ret_code = flag == HELP ? EXIT_SUCCESS
                                     : complain(task, CONCLAVE_INVALID,
                                                "wrong usage; see 'conclave bench model --help'");
            return false;
        }
    }
    if (optind == argc && !(task->save && task->file_count > 0))
        return true;
    *ret_code = complain(task, CONCLAVE_INVALID, "wrong usage; see 'conclave bench model --help'");
    return false;
}

int model_command(int argc, char **argv, bool json, const volatile sig_atomic_t *stop)
{
    struct task task = {.json = json, .duration = "2s"};
    int code = EXIT_SUCCESS;
    if (!parse(&task, argc, argv, &code))
        return code;
    code = task.file_count > 0 ? take_files(&task) : measure(&task, stop);
    if (code == EXIT_SUCCESS)
        code = carry_out(&task);
    model_points_deinit(&task.points);
    free(task.fitted);
    free(task.left_out);
    return code;
}
