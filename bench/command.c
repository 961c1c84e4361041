#include "bench/bench.h"

#include "bench/model_command.h"
#include "bench/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_NEGATIVE = 1 };

static volatile sig_atomic_t stop;

static void on_interrupt(int signal)
{
    (void)signal;
    stop = 1;
}

/* To standard error, in the program's form. Returns the exit code. */
static int complain(bool json, int code, const char *message)
{
    if (json) {
        json_t *root = json_pack("{s:{s:s, s:s, s:n, s:n}}", "error", "code",
                                 conclave_code_name(code), "message", message, "hint", "leader");
        json_dumpf(root, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        json_decref(root);
    } else {
        fprintf(stderr, "conclave bench: %s\n", message);
    }
    return conclave_code_exit(code);
}

/* --- Reports -------------------------------------------------------------------------------------
 */

/* Writes one of the files; "-" is standard output. Returns an exit code. */
static int write_file(const struct bench_options *options, const char *path, const json_t *report,
                      bool (*write)(const json_t *, FILE *))
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdout : fopen(path, "we");
    bool good = file && write(report, file);
    int reason = errno;
    if (file && !standard && fclose(file) != 0)
        good = false;
    if (good)
        return EXIT_SUCCESS;
    char message[512];
    snprintf(message, sizeof message, "%.300s: %s", path, strerrordesc_np(reason));
    return complain(options->json, CONCLAVE_IO, message);
}

static int write_reports(const struct session *session, const json_t *report)
{
    const struct bench_options *options = session->options;
    int exit_code = EXIT_SUCCESS;
    bool csv_here = options->csv && strcmp(options->csv, "-") == 0;
    bool html_here = options->html && strcmp(options->html, "-") == 0;
    if (options->json) {
        json_dumpf(report, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
        putchar('\n');
    } else if (options->short_form) {
        report_short(session, stdout);
    } else if (!csv_here && !html_here) {
        report_text(session, stdout);
    }
    if (options->csv)
        exit_code = write_file(options, options->csv, report, report_csv);
    if (options->html && exit_code == EXIT_SUCCESS)
        exit_code = write_file(options, options->html, report, report_html);
    fflush(stdout);
    return exit_code;
}

/* What came of it all, as an exit code: the first failure counts. */
static int judge(const struct session *session, const json_t *report, const json_t *baseline)
{
    const struct bench_options *options = session->options;
    size_t mismatches = 0;
    for (size_t i = 0; i < session->result_count; i++)
        mismatches += session->results[i].mismatches > 0;
    if (mismatches > 0)
        return EXIT_NEGATIVE;
    for (size_t i = 0; i < session->result_count; i++)
        if (session->results[i].code != CONCLAVE_OK)
            return complain(options->json, session->results[i].code, session->results[i].message);
    if (baseline_check(report, baseline, options->rules, options->rule_count, stderr) > 0)
        return EXIT_NEGATIVE;
    return EXIT_SUCCESS;
}

static int measure_and_report(struct session *session, const json_t *baseline)
{
    struct conclave_error error = {0};
    int code = session_run(session, &error);
    if (code != CONCLAVE_OK)
        return complain(session->options->json, code, error.message);
    json_t *report = report_json(session);
    if (!report)
        return complain(session->options->json, CONCLAVE_NO_MEMORY, "out of memory");
    int exit_code = write_reports(session, report);
    int verdict = judge(session, report, baseline);
    json_decref(report);
    return exit_code != EXIT_SUCCESS ? exit_code : verdict;
}

/* --- The command ---------------------------------------------------------------------------------
 */

static int run(const struct bench_options *options, int argc, char **argv)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}, before;
    struct session *session = calloc(1, sizeof *session);
    json_t *baseline = NULL;
    char message[512];
    if (!session)
        return complain(options->json, CONCLAVE_NO_MEMORY, "out of memory");
    *session = (struct session){.options = options, .stop = &stop, .argc = argc, .argv = argv};
    if (options->baseline) {
        baseline = baseline_load(options->baseline, message, sizeof message);
        if (!baseline) {
            free(session);
            return complain(options->json, CONCLAVE_INVALID, message);
        }
    }
    sigemptyset(&interrupt.sa_mask);
    stop = 0;
    sigaction(SIGINT, &interrupt, &before);
    int exit_code = measure_and_report(session, baseline);
    sigaction(SIGINT, &before, NULL);
    session_deinit(session);
    json_decref(baseline);
    free(session);
    return exit_code;
}

static int run_model(int argc, char **argv, bool json)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}, before;
    sigemptyset(&interrupt.sa_mask);
    stop = 0;
    sigaction(SIGINT, &interrupt, &before);
    int exit_code = model_command(argc, argv, json, &stop);
    sigaction(SIGINT, &before, NULL);
    return exit_code;
}

int bench_command(int argc, char **argv, const char *endpoints, bool endpoints_given, bool json)
{
    if (argc > 1 && strcmp(argv[1], "model") == 0)
        return run_model(argc - 1, argv + 1, json);
    struct bench_options options = {
        .endpoints = endpoints, .endpoints_given = endpoints_given, .json = json};
    char message[512];
    /* Parsing changes the order of argv; the report has the words as they were typed. */
    char **typed = calloc((size_t)argc + 1, sizeof *typed);
    if (!typed)
        return complain(json, CONCLAVE_NO_MEMORY, "out of memory");
    memcpy((void *)typed, (void *)argv, (size_t)argc * sizeof *typed);
    int exit_code = EXIT_SUCCESS;
    switch (bench_options_parse(&options, argc, argv, message, sizeof message)) {
    case BENCH_HELP:
        fputs(bench_options_help, stdout);
        fputs(bench_options_help_report, stdout);
        break;
    case BENCH_USAGE:
        exit_code = complain(options.json, CONCLAVE_INVALID, message);
        break;
    case BENCH_RUN:
        exit_code = run(&options, argc, typed);
        break;
    }
    free((void *)typed);
    return exit_code;
}
