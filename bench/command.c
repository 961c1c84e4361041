#include "bench/bench.h"

#include "bench/put.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_MISMATCH = 1 };

static volatile sig_atomic_t stop;

static void on_interrupt(int signal)
{
    (void)signal;
    stop = 1;
}

/* --- Figures --------------------------------------------------------------------------------- */

static double rate(const struct load *load)
{
    return load->elapsed_ns ? (double)load->done * 1e9 / (double)load->elapsed_ns : 0;
}

static double quantile_us(const struct load *load, double share)
{
    return (double)histogram_quantile(load->latencies, share) / 1e3;
}

static void print_text(const struct bench_options *options, const struct put_result *result)
{
    const struct load *load = &result->load;
    printf("put          %u clients, values of %zu bytes%s\n", options->clients,
           options->value_bytes, load->stopped ? ", interrupted" : "");
    printf("operations   %llu acknowledged in %.3f s, %llu repeated, %llu failed\n",
           (unsigned long long)load->done, (double)load->elapsed_ns / 1e9,
           (unsigned long long)load->retried, (unsigned long long)load->errors);
    printf("throughput   %.0f ops/s\n", rate(load));
    printf("latency      p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n",
           quantile_us(load, 0.5), quantile_us(load, 0.99), quantile_us(load, 0.999),
           quantile_us(load, 1));
    printf("longest gap  %.1f ms without a completed operation\n", (double)load->gap_max_ns / 1e6);
    if (result->validated)
        printf("validation   %llu keys read back, %llu mismatches\n",
               (unsigned long long)result->read, (unsigned long long)result->mismatches);
}

/* Microseconds and milliseconds to the precision that was measured. */
static json_t *rounded(double value)
{
    return json_real((double)(long long)(value * 10 + 0.5) / 10);
}

static void print_json(const struct bench_options *options, const struct put_result *result)
{
    const struct load *load = &result->load;
    json_t *root = json_object();
    json_object_set_new(root, "workload", json_string("put"));
    json_object_set_new(root, "clients", json_integer(options->clients));
    json_object_set_new(root, "value_size", json_integer((json_int_t)options->value_bytes));
    json_object_set_new(root, "ops", json_integer((json_int_t)load->begun));
    json_object_set_new(root, "acked", json_integer((json_int_t)load->done));
    json_object_set_new(root, "retried", json_integer((json_int_t)load->retried));
    json_object_set_new(root, "errors", json_integer((json_int_t)load->errors));
    json_object_set_new(root, "seconds", json_real((double)load->elapsed_ns / 1e9));
    json_object_set_new(root, "ops_per_s", rounded(rate(load)));
    json_object_set_new(root, "mean_us", rounded(histogram_mean(load->latencies) / 1e3));
    json_object_set_new(root, "p50_us", rounded(quantile_us(load, 0.5)));
    json_object_set_new(root, "p99_us", rounded(quantile_us(load, 0.99)));
    json_object_set_new(root, "p999_us", rounded(quantile_us(load, 0.999)));
    json_object_set_new(root, "max_us", rounded(quantile_us(load, 1)));
    json_object_set_new(root, "max_gap_ms", rounded((double)load->gap_max_ns / 1e6));
    json_object_set_new(root, "interrupted", json_boolean(load->stopped));
    if (result->validated) {
        json_object_set_new(root, "validated", json_integer((json_int_t)result->read));
        json_object_set_new(root, "mismatches", json_integer((json_int_t)result->mismatches));
    }
    json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
    putchar('\n');
    json_decref(root);
}

/* --- The command ----------------------------------------------------------------------------- */

/* To standard error, in the program's form. Returns the exit code. */
static int report(bool json, int code, const char *message)
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

static int run_put(const struct bench_options *options)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}, before;
    sigemptyset(&interrupt.sa_mask);
    stop = 0;
    sigaction(SIGINT, &interrupt, &before);
    struct put_result result;
    put_run(options, &stop, &result);
    sigaction(SIGINT, &before, NULL);

    int exit_code = EXIT_SUCCESS;
    if (result.load.latencies && options->json)
        print_json(options, &result);
    else if (result.load.done > 0 || result.code == CONCLAVE_OK)
        print_text(options, &result);
    fflush(stdout);
    if (result.code != CONCLAVE_OK)
        exit_code = report(options->json, result.code, result.message);
    if (result.mismatches > 0)
        exit_code = EXIT_MISMATCH;
    histogram_destroy(result.load.latencies);
    return exit_code;
}

int bench_command(int argc, char **argv, const char *endpoints, bool json)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(bench_options_help, stdout);
        return EXIT_SUCCESS;
    }
    if (argc < 2)
        return report(json, CONCLAVE_INVALID, "name a workload: put; see 'conclave bench --help'");
    if (strcmp(argv[1], "put") != 0) {
        char message[256];
        snprintf(message, sizeof message, "unknown workload '%s'; there is: put", argv[1]);
        return report(json, CONCLAVE_INVALID, message);
    }
    struct bench_options options = {.endpoints = endpoints, .json = json};
    char message[512];
    switch (bench_options_parse(&options, argc - 1, argv + 1, message, sizeof message)) {
    case BENCH_HELP:
        fputs(bench_options_help, stdout);
        return EXIT_SUCCESS;
    case BENCH_USAGE:
        return report(options.json, CONCLAVE_INVALID, message);
    case BENCH_RUN:
        break;
    }
    return run_put(&options);
}
