#include "bench/loader.h"

#include "bench/process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TICK_MS = 10,
    LINE_BYTES = 1 << 20, /* a second with every bucket that is likely */
    CLIENTS_PER_CONNECTION = 16,
    CONNECTIONS_MAX = 16
};

/* bench/peers/measure.go and share.go, put into the program by the build. */
extern const char loader_measure_go[], loader_share_go[];

/* --- Building ------------------------------------------------------------------------------------
 */

int loader_build(struct target *target, const char *name, const char *source,
                 struct conclave_error *error)
{
    char output[4096], sourced[32];
    snprintf(sourced, sizeof sourced, "%s.go", name);
    struct words words = {.count = 0};
    int code = process_write(target->dir, "measure.go", loader_measure_go, error);
    if (code == CONCLAVE_OK)
        code = process_write(target->dir, "share.go", loader_share_go, error);
    if (code == CONCLAVE_OK)
        code = process_write(target->dir, sourced, source, error);
    if (code != CONCLAVE_OK)
        return code;
    /* Where Debian's packages have the libraries; nothing is fetched. */
    words_add(&words, "env");
    words_add(&words, "GO111MODULE=off");
    words_add(&words, "GOPATH=/usr/share/gocode");
    words_add(&words, "go");
    words_add(&words, "build");
    words_add(&words, "-o");
    words_add(&words, "loader");
    words_add(&words, "%s", sourced);
    words_add(&words, "measure.go");
    words_add(&words, "share.go");
    bool built = process_output(words.list, target->dir, output, sizeof output);
    words_free(&words);
    if (!built) {
        snprintf(error->message, sizeof error->message, "building the loader of %s failed: %.300s",
                 name, output);
        return error->code = CONCLAVE_IO;
    }
    int length = snprintf(target->loader, sizeof target->loader, "%s/loader", target->dir);
    if (length < 0 || (size_t)length >= sizeof target->loader) {
        snprintf(error->message, sizeof error->message, "--dir: too long");
        return error->code = CONCLAVE_INVALID;
    }
    return CONCLAVE_OK;
}

bool loader_ask(struct target *target, const char *task, char *answer, size_t size)
{
    struct words words = {.count = 0};
    words_add(&words, "%s", target->loader);
    words_add(&words, "-task=%s", task);
    words_add(&words, "-endpoints=%s", target->endpoints);
    words_add(&words, "-nodes=%u", target->count);
    bool good = process_output(words.list, target->dir, answer, size);
    words_free(&words);
    answer[strcspn(answer, "\n")] = '\0';
    return good;
}

/* --- What it prints ------------------------------------------------------------------------------
 */

/* second NUMBER DONE ERRORS BUCKET:COUNT... */
static bool second_line(struct measure *measure, char *text)
{
    char *at = text, *next;
    unsigned long long fields[3];
    struct histogram *histogram = histogram_create();
    bool good = histogram;
    for (int i = 0; i < 3 && good; i++) {
        fields[i] = strtoull(at, &next, 10);
        good = next != at;
        at = next;
    }
    while (good && *at == ' ') {
        unsigned long long bucket = strtoull(at, &next, 10), count = 0;
        good = next != at && *next == ':' && bucket < HISTOGRAM_BUCKETS;
        if (!good)
            break;
        at = next + 1;
        count = strtoull(at, &next, 10);
        good = next != at && histogram_record_bucket(histogram, (uint32_t)bucket, count);
        at = next;
    }
    good = good && *at == '\0' &&
           series_add(measure->series, (size_t)fields[0], histogram, fields[1], fields[2]);
    histogram_destroy(histogram);
    return good;
}

/* end NAME=NUMBER... */
static bool end_line(struct measure *measure, char *text)
{
    uint64_t gap_ns = 0, cpu_ppm = 0, fairness_ppm = 0, replay_ns = 0, replayed = 0;
    struct {
        const char *name;
        uint64_t *value;
    } fields[] = {{"begun", &measure->begun},
                  {"done", &measure->done},
                  {"retried", &measure->retried},
                  {"errors", &measure->errors},
                  {"missed", &measure->missed},
                  {"elapsed_ns", &measure->elapsed_ns},
                  {"gap_ns", &gap_ns},
                  {"lag_p99_ns", &measure->health.lag_p99_ns},
                  {"cpu_ppm", &cpu_ppm},
                  {"least", &measure->served.least},
                  {"most", &measure->served.most},
                  {"p99_worst_ns", &measure->served.p99_worst_ns},
                  {"p99_median_ns", &measure->served.p99_median_ns},
                  {"fairness_ppm", &fairness_ppm},
                  {"source_done", &measure->source_done},
                  {"source_p50_ns", &measure->source_p50_ns},
                  {"source_p99_ns", &measure->source_p99_ns},
                  {"replayed", &replayed},
                  {"replay_ns", &replay_ns},
                  {"read", &measure->read},
                  {"mismatches", &measure->mismatches}};
    char *state = NULL;
    for (char *word = strtok_r(text, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        char *equals = strchr(word, '='), *end;
        bool known = false;
        if (!equals)
            return false;
        *equals = '\0';
        uint64_t number = strtoull(equals + 1, &end, 10);
        if (end == equals + 1 || *end != '\0')
            return false;
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            if (strcmp(fields[i].name, word) != 0)
                continue;
            *fields[i].value = number;
            known = true;
        }
        if (!known)
            return false;
    }
    atomic_store(&measure->series->gap_ns, gap_ns);
    measure->health.cpu_share = (double)cpu_ppm / 1e6;
    measure->served.fairness = (double)fairness_ppm / 1e6;
    measure->replay_per_s = replay_ns ? (double)replayed * 1e9 / (double)replay_ns : 0;
    return true;
}

bool loader_line(struct measure *measure, char *line, bool *ended)
{
    if (strcmp(line, "start") == 0) {
        measure->start_ns = measure_now_ns();
        return true;
    }
    if (strcmp(line, "filled") == 0) {
        *ended = true;
        return true;
    }
    if (strncmp(line, "second ", 7) == 0)
        return second_line(measure, line + 7);
    if (strncmp(line, "failed ", 7) == 0) {
        measure_fail(measure, CONCLAVE_UNKNOWN, "%s", line + 7);
        return true;
    }
    if (strncmp(line, "end ", 4) != 0)
        return false;
    *ended = true;
    return end_line(measure, line + 4);
}

/* --- Running -------------------------------------------------------------------------------------
 */

static void command(const struct target *target, const struct load *load, const char *task,
                    struct words *words)
{
    static const char *const distributions[] = {"sequential", "uniform", "zipf"};
    const struct bench_options *options = load->options;
    uint32_t clients = load->clients * options->inflight;
    uint32_t connections = (clients + CLIENTS_PER_CONNECTION - 1) / CLIENTS_PER_CONNECTION;
    /* Faults are done to a load of puts. */
    bool puts = load->workload == BENCH_FAILOVER || load->workload == BENCH_RECOVER;
    words_add(words, "%s", target->loader);
    words_add(words, "-task=%s", task);
    words_add(words, "-endpoints=%s", target->endpoints);
    words_add(words, "-nodes=%u", target->count);
    words_add(words, "-workload=%s", bench_workload_name(puts ? BENCH_PUT : load->workload));
    words_add(words, "-listeners=%u", options->listeners);
    words_add(words, "-backlog=%llu", (unsigned long long)options->backlog);
    words_add(words, "-prefix=%s", options->prefix);
    words_add(words, "-dist=%s", distributions[options->distribution]);
    words_add(words, "-level=%s", options->read_level == BENCH_READ_STALE ? "stale" : "linear");
    words_add(words, "-clients=%u", clients);
    words_add(words, "-conns=%u", connections < CONNECTIONS_MAX ? connections : CONNECTIONS_MAX);
    words_add(words, "-value-size=%zu", options->value_bytes);
    words_add(words, "-rate=%.9g", load->rate);
    words_add(words, "-read-ratio=%.9g", options->read_ratio);
    words_add(words, "-ops=%llu", (unsigned long long)options->ops);
    words_add(words, "-keys=%llu", (unsigned long long)options->keys);
    words_add(words, "-seed=%llu", (unsigned long long)options->seed);
    words_add(words, "-duration=%llu", (unsigned long long)load->duration_ms);
    words_add(words, "-warmup=%llu", (unsigned long long)load->warmup_ms);
    words_add(words, "-timeout=%u", options->timeout_ms);
    if (options->validate)
        words_add(words, "-validate");
}

/* A loader that runs. */
struct running {
    pid_t pid;
    int output;
    char *line;
    size_t used;
    bool ended, broken;
};

static void read_some(struct running *running, struct measure *measure)
{
    ssize_t got =
        read(running->output, running->line + running->used, LINE_BYTES - 1 - running->used);
    if (got < 0 && errno == EINTR)
        return;
    if (got <= 0) {
        running->broken = !running->ended;
        running->ended = true;
        return;
    }
    running->used += (size_t)got;
    char *at = running->line, *end;
    while ((end = memchr(at, '\n', running->used - (size_t)(at - running->line)))) {
        *end = '\0';
        if (!loader_line(measure, at, &running->ended))
            measure_fail(measure, CONCLAVE_MALFORMED, "the loader printed '%.100s'", at);
        at = end + 1;
    }
    running->used -= (size_t)(at - running->line);
    memmove(running->line, at, running->used);
    if (running->used == LINE_BYTES - 1) {
        measure_fail(measure, CONCLAVE_MALFORMED, "the loader printed a line without end");
        running->ended = running->broken = true;
    }
}

static void follow(struct running *running, const struct measure_watch *watch,
                   struct measure *measure)
{
    measure->start_ns = 0;
    while (!running->ended) {
        struct pollfd fd = {.fd = running->output, .events = POLLIN};
        if (*watch->stop) {
            measure->stopped = true;
            return;
        }
        if (poll(&fd, 1, TICK_MS) > 0)
            read_some(running, measure);
        if (watch->tick && measure->start_ns > 0 && !running->ended)
            watch->tick(watch->arg, measure, measure_now_ns() - measure->start_ns);
    }
}

static void run_task(struct target *target, const struct load *load, const char *task,
                     const struct measure_watch *watch, struct measure *measure)
{
    struct words words = {.count = 0};
    struct conclave_error error;
    struct running running = {.line = malloc(LINE_BYTES)};
    char log[PATH_MAX];
    int length = snprintf(log, sizeof log, "%s.log", target->loader);
    if (!running.line || length < 0 || (size_t)length >= sizeof log) {
        free(running.line);
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
        return;
    }
    command(target, load, task, &words);
    int code = process_start(words.list, log, &running.pid, &running.output, &error);
    words_free(&words);
    if (code == CONCLAVE_OK) {
        follow(&running, watch, measure);
        if (running.broken) {
            char tail[300];
            process_tail(log, tail, sizeof tail);
            measure_fail(measure, CONCLAVE_UNKNOWN, "the loader ended early: %s", tail);
        }
        process_kill(&running.pid);
        close(running.output);
    } else {
        measure_fail(measure, code, "%s", error.message);
    }
    free(running.line);
}

void loader_fill(struct target *target, const struct load *load, const struct measure_watch *watch,
                 struct measure *measure)
{
    struct measure_watch quiet = {.stop = watch->stop};
    run_task(target, load, "fill", &quiet, measure);
}

void loader_run(struct target *target, const struct load *load, const struct measure_watch *watch,
                struct measure *measure)
{
    run_task(target, load, "run", watch, measure);
    measure->validated = load->options->validate;
}
