#include "bench/load.h"

#include "bench/generator.h"
#include "bench/lockers.h"
#include "bench/topic.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_NS = 10000000, CLIENTS_FILL = 256 };

#define MS_NS UINT64_C(1000000)

/* The generators of one load. */
struct crew {
    struct generator *generators;
    struct workload *workloads;
    uint32_t count;
    _Atomic bool failed;
    _Atomic uint32_t running;
};

struct job {
    struct crew *crew;
    struct generator *generator;
};

bool load_reads(const struct load *load)
{
    return load->workload == BENCH_GET || load->workload == BENCH_MIXED;
}

static void *thread_main(void *arg)
{
    struct job *job = arg;
    generator_run(job->generator);
    atomic_fetch_sub(&job->crew->running, 1);
    return NULL;
}

/* Until all have ended; the watcher sees how it goes. */
static void watch_over(struct crew *crew, const struct measure_watch *watch,
                       struct measure *measure, uint64_t measure_ns)
{
    while (atomic_load(&crew->running) > 0) {
        uint64_t now_ns = measure_now_ns();
        if (watch->tick && now_ns >= measure_ns)
            watch->tick(watch->arg, measure, now_ns - measure_ns);
        struct timespec pause = {.tv_nsec = TICK_NS};
        nanosleep(&pause, NULL);
    }
}

static void collect_one(struct measure *measure, const struct generator *generator)
{
    struct generator_health *health = &measure->health;
    measure->begun += generator->begun;
    measure->done += generator->done;
    measure->retried += generator->retried;
    measure->errors += generator->errors;
    measure->missed += generator->missed;
    measure->stopped |= generator->stopped;
    if (generator->code != CONCLAVE_OK)
        measure_fail(measure, generator->code, "%s", generator->message);
    if (generator->health.cpu_share + generator->health.wait_share >
        health->cpu_share + health->wait_share) {
        health->cpu_share = generator->health.cpu_share;
        health->wait_share = generator->health.wait_share;
    }
    if (generator->health.lag_p99_ns > health->lag_p99_ns)
        health->lag_p99_ns = generator->health.lag_p99_ns;
}

/* How evenly the clients of all generators were served. */
static void collect_clients(const struct crew *crew, struct measure *measure)
{
    const struct clients **lists = calloc(crew->count + 1, sizeof *lists);
    bool good = lists;
    for (uint32_t i = 0; good && i < crew->count; i++)
        lists[i] = &crew->generators[i].served;
    if (!good || !clients_summarize(lists, crew->count, &measure->served))
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
    free((void *)lists);
}

/* Of a load that somebody listens to, which has one generator. */
static void collect_source(const struct generator *generator, struct measure *measure)
{
    const struct histogram *source = generator->source;
    measure->mismatches += generator->wrong;
    if (!generator->listen || !source)
        return;
    measure->read += generator->done;
    measure->source_done = source->count;
    measure->source_p50_ns = histogram_quantile(source, 0.5);
    measure->source_p99_ns = histogram_quantile(source, 0.99);
}

static void collect(struct crew *crew, struct measure *measure, uint64_t measure_ns)
{
    uint64_t last_ns = 0;
    for (uint32_t i = 0; i < crew->count; i++) {
        collect_one(measure, &crew->generators[i]);
        if (crew->generators[i].last_ns > last_ns)
            last_ns = crew->generators[i].last_ns;
    }
    collect_clients(crew, measure);
    collect_source(&crew->generators[0], measure);
    measure->elapsed_ns = last_ns > measure_ns ? last_ns - measure_ns : 0;
}

static uint64_t process_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What the process computed beside the generators' own threads is the work of their connections: a
 * thread of ZeroMQ for each of them, which may be the busier one. */
static void add_connections(const struct crew *crew, struct generator_health *health,
                            uint64_t cpu_ns, uint64_t spent_ns)
{
    for (uint32_t i = 0; i < crew->count; i++)
        cpu_ns -= crew->generators[i].cpu_ns < cpu_ns ? crew->generators[i].cpu_ns : cpu_ns;
    double share = (double)cpu_ns / (double)spent_ns / crew->count;
    if (share > health->cpu_share)
        health->cpu_share = share;
}

static void run(struct crew *crew, const struct measure_watch *watch, struct measure *measure,
                uint64_t measure_ns)
{
    struct job *jobs = calloc(crew->count + 1, sizeof *jobs);
    uint32_t started = 0;
    uint64_t began_ns = measure_now_ns(), cpu_ns = process_cpu_ns();
    if (!jobs) {
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
        return;
    }
    for (; started < crew->count; started++) {
        jobs[started] = (struct job){crew, &crew->generators[started]};
        atomic_fetch_add(&crew->running, 1);
        if (pthread_create(&crew->generators[started].thread, NULL, thread_main, &jobs[started])) {
            atomic_fetch_sub(&crew->running, 1);
            atomic_store(&crew->failed, true);
            measure_fail(measure, CONCLAVE_NO_MEMORY, "cannot make a thread");
            break;
        }
    }
    watch_over(crew, watch, measure, measure_ns);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(crew->generators[i].thread, NULL);
    free(jobs);
    collect(crew, measure, measure_ns);
    add_connections(crew, &measure->health, process_cpu_ns() - cpu_ns,
                    measure_now_ns() - began_ns + 1);
}

static bool crew_make(struct crew *crew, uint32_t count)
{
    *crew = (struct crew){.count = count};
    crew->generators = calloc(count, sizeof *crew->generators);
    crew->workloads = calloc(count, sizeof *crew->workloads);
    return crew->generators && crew->workloads;
}

static void crew_free(struct crew *crew)
{
    for (uint32_t i = 0; crew->workloads && i < crew->count; i++)
        workload_deinit(&crew->workloads[i]);
    for (uint32_t i = 0; crew->generators && i < crew->count; i++)
        generator_deinit(&crew->generators[i]);
    free(crew->workloads);
    free(crew->generators);
}

/* What is the same for every generator of a load. */
struct order {
    const struct load *load;
    const char *endpoints;
    const struct measure_watch *watch;
    enum workload_task task;
    const struct keys *keys;
    const struct acked *wanted;
    uint64_t limit;
    const struct listeners_plan *listen; /* NULL: nobody */
};

static bool crew_brief(struct crew *crew, const struct order *order, struct measure *measure,
                       uint64_t *ret_measure_ns)
{
    const struct load *load = order->load;
    bool timed = order->task == WORKLOAD_RUN;
    uint64_t start_ns = measure_now_ns();
    uint64_t measure_ns = start_ns + (timed ? load->warmup_ms * MS_NS : 0);
    for (uint32_t i = 0; i < crew->count; i++) {
        struct generator *generator = &crew->generators[i];
        struct workload *workload = &crew->workloads[i];
        if (!workload_init(workload, order->task, load->workload, load->options, order->keys))
            return false;
        workload->wanted = order->wanted;
        *generator = (struct generator){
            .options = load->options,
            .endpoints = order->endpoints,
            .workload = workload,
            .schedule = {.rate = timed ? load->rate : 0,
                         .start_ns = start_ns,
                         .first = i,
                         .step = crew->count,
                         .limit = order->limit},
            .clients = load->clients / crew->count + (i < load->clients % crew->count),
            .slots_per_client = load->options->inflight,
            .measure_ns = measure_ns,
            .end_ns =
                timed && load->duration_ms ? measure_ns + load->duration_ms * MS_NS : UINT64_MAX,
            .series = measure->series,
            .stop = order->watch->stop,
            .failed = &crew->failed,
            .listen = order->listen,
        };
    }
    atomic_store(&measure->series->last_ns, measure_ns);
    measure->start_ns = measure_ns;
    *ret_measure_ns = measure_ns;
    return true;
}

/* Sums up what the workloads know. False: out of memory. */
static bool crew_report(struct crew *crew, struct measure *measure, struct acked *acked)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        measure->read += crew->workloads[i].read;
        measure->mismatches += crew->workloads[i].mismatches;
        if (acked && !acked_merge(acked, &crew->workloads[i].acked))
            return false;
    }
    return true;
}

static void carry_out(const struct order *order, struct measure *measure, struct acked *acked)
{
    struct crew crew;
    bool one = order->task != WORKLOAD_RUN || order->listen;
    uint32_t count = one ? 1 : order->load->options->threads;
    if (count > order->load->clients)
        count = order->load->clients;
    if (count == 0)
        count = 1;
    uint64_t measure_ns;
    if (crew_make(&crew, count) && crew_brief(&crew, order, measure, &measure_ns)) {
        run(&crew, order->watch, measure, measure_ns);
        if (!crew_report(&crew, measure, acked))
            measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
    } else {
        measure_fail(measure, CONCLAVE_NO_MEMORY, "out of memory");
    }
    crew_free(&crew);
}

/* A task beside the measurement: its failures count, its figures do not. */
static void aside(struct order order, struct measure *measure)
{
    struct load load = *order.load;
    struct bench_options options = *load.options;
    options.inflight = 1;
    load.options = &options;
    load.clients = load.clients < CLIENTS_FILL ? CLIENTS_FILL : load.clients;
    struct measure_watch quiet = {.stop = order.watch->stop};
    order.load = &load;
    order.watch = &quiet;
    struct measure own;
    if (measure_init(&own))
        carry_out(&order, &own, NULL);
    measure->stopped |= own.stopped;
    measure->read += own.read;
    measure->mismatches += own.mismatches;
    if (own.code != CONCLAVE_OK)
        measure_fail(measure, own.code, "%s: %s",
                     order.task == WORKLOAD_FILL ? "writing what is to be read failed"
                                                 : "reading back failed",
                     own.message);
    measure_deinit(&own);
}

void load_fill(const struct load *load, const char *endpoints, const struct measure_watch *watch,
               struct measure *measure)
{
    struct keys keys;
    keys_init(&keys, load->options->prefix, load->options->keys, KEYS_SEQUENTIAL,
              load->options->seed);
    aside((struct order){.load = load,
                         .endpoints = endpoints,
                         .watch = watch,
                         .task = WORKLOAD_FILL,
                         .keys = &keys,
                         .limit = load->options->keys},
          measure);
}

/* Watchers of all the keys that are put. */
static void run_watchers(struct order order, struct measure *measure)
{
    const struct bench_options *options = order.load->options;
    struct listeners_plan plan = {.endpoints = order.endpoints,
                                  .count = options->listeners,
                                  .prefix = options->prefix,
                                  .timeout_ms = options->timeout_ms};
    order.listen = &plan;
    carry_out(&order, measure, NULL);
    measure->validated = options->validate;
}

/* What subscribers find in the topic: they read it from there to its end, as fast as they can. */
static void replay(const struct order *order, uint64_t first, struct measure *measure)
{
    const struct bench_options *options = order->load->options;
    struct conclave_error error = {0};
    uint64_t end = first, took_ns = 0;
    struct order fill = *order;
    fill.task = WORKLOAD_FILL;
    fill.limit = options->backlog;
    aside(fill, measure);
    if (measure->code != CONCLAVE_OK || measure->stopped)
        return;
    int code = topic_prepare(order->endpoints, options->timeout_ms, &end, &error);
    if (code == CONCLAVE_OK)
        code = listeners_replay(order->endpoints, options->listeners, first, end,
                                options->timeout_ms, order->watch->stop, &took_ns, &error);
    if (code != CONCLAVE_OK)
        measure_fail(measure, code, "%s", error.message);
    double messages = (double)(end - first) * options->listeners;
    measure->replay_per_s = took_ns ? messages * 1e9 / (double)took_ns : 0;
    measure->stopped |= *order->watch->stop != 0;
}

/* Subscribers of the topic: first of what it has, then of what comes. */
static void run_subscribers(struct order order, struct measure *measure)
{
    const struct bench_options *options = order.load->options;
    struct conclave_error error = {0};
    struct listeners_plan plan = {.endpoints = order.endpoints,
                                  .count = options->listeners,
                                  .timeout_ms = options->timeout_ms};
    int code = topic_prepare(order.endpoints, options->timeout_ms, &plan.sequence, &error);
    if (code == CONCLAVE_OK)
        replay(&order, plan.sequence, measure);
    if (code == CONCLAVE_OK)
        code = topic_prepare(order.endpoints, options->timeout_ms, &plan.sequence, &error);
    order.listen = &plan;
    if (code == CONCLAVE_OK && measure->code == CONCLAVE_OK && !measure->stopped)
        carry_out(&order, measure, NULL);
    if (code != CONCLAVE_OK)
        measure_fail(measure, code, "%s", error.message);
    measure->validated = options->validate;
}

/* The topic must be there before, and have all messages afterwards that were acknowledged. */
static void run_publishers(const struct order *order, struct measure *measure)
{
    const struct bench_options *options = order->load->options;
    struct conclave_error error = {0};
    uint64_t before = 0, after = 0;
    int code = topic_prepare(order->endpoints, options->timeout_ms, &before, &error);
    if (code == CONCLAVE_OK)
        carry_out(order, measure, NULL);
    if (code == CONCLAVE_OK && options->validate && !measure->stopped) {
        code = topic_prepare(order->endpoints, options->timeout_ms, &after, &error);
        measure->read = after - before;
        if (code == CONCLAVE_OK && measure->read < measure->done)
            measure->mismatches = measure->done - measure->read;
    }
    if (code != CONCLAVE_OK)
        measure_fail(measure, code, "%s", error.message);
    measure->validated = options->validate;
}

void load_run(const struct load *load, const char *endpoints, const struct measure_watch *watch,
              struct measure *measure)
{
    const struct bench_options *options = load->options;
    struct keys keys;
    struct acked acked = {0};
    keys_init(&keys, options->prefix, options->keys, options->distribution, options->seed);
    struct order order = {.load = load,
                          .endpoints = endpoints,
                          .watch = watch,
                          .task = WORKLOAD_RUN,
                          .keys = &keys,
                          .limit = options->ops};
    switch (load->workload) {
    case BENCH_PUB:
        run_publishers(&order, measure);
        return;
    case BENCH_SUB:
        run_subscribers(order, measure);
        return;
    case BENCH_WATCH:
        run_watchers(order, measure);
        return;
    case BENCH_LOCK:
    case BENCH_LOCK_QUEUE:
        lockers_run(load, endpoints, watch, measure);
        return;
    default:
        break;
    }
    carry_out(&order, measure, options->validate ? &acked : NULL);
    if (options->validate && !measure->stopped && acked.bytes > 0) {
        order.task = WORKLOAD_CHECK;
        order.wanted = &acked;
        order.limit = (uint64_t)acked.bytes * 8;
        aside(order, measure);
    }
    measure->validated = options->validate;
    free(acked.bits);
}
