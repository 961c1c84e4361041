#include "bench/generator_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    /* One attempt: long enough for any answer of a living leader, short enough that an operation
     * whose answer was lost is soon repeated. */
    ATTEMPT_MS = 2000,
    POLL_MS = 100
};

#define SECOND_NS UINT64_C(1000000000)
#define POLL_NS UINT64_C(100000000)

/* One operation of one client. */
struct slot {
    struct workload_op op;
    uint64_t due_ns;     /* latency counts from here */
    uint64_t attempt_ns; /* when it was sent last */
    uint64_t free_ns;    /* since when it had nothing to do */
    uint32_t client;
};

void generator_failed(struct generator *generator, int code)
{
    generator->errors++;
    generator->second_errors++;
    if (generator->code != CONCLAVE_OK)
        return;
    generator->code = code;
    snprintf(generator->message, sizeof generator->message, "gave up: %s; %s",
             conclave_code_text(code),
             generator->client ? conclave_client_describe(generator->client) : "");
    atomic_store(generator->failed, true);
}

/* --- Seconds ------------------------------------------------------------------------------------
 */

static void second_hand_in(struct generator *generator)
{
    uint64_t slowest_ns;
    if (!clients_turn(&generator->served, &slowest_ns))
        generator_failed(generator, CONCLAVE_NO_MEMORY);
    series_slowest(generator->series, generator->second_number, slowest_ns);
    if (generator->second->count > 0 || generator->second_errors > 0) {
        if (!series_add(generator->series, generator->second_number, generator->second,
                        generator->second_done, generator->second_errors))
            generator_failed(generator, CONCLAVE_NO_MEMORY);
        histogram_reset(generator->second);
    }
    generator->second_done = generator->second_errors = 0;
}

static void second_turn(struct generator *generator, uint64_t now_ns)
{
    if (now_ns < generator->measure_ns)
        return;
    uint64_t number = (now_ns - generator->measure_ns) / SECOND_NS;
    if (number == generator->second_number)
        return;
    second_hand_in(generator);
    generator->second_number = number;
    generator_look_for_untold(generator, now_ns);
}

/* One more is done, for this client or listener. */
void generator_count(struct generator *generator, uint32_t client, uint64_t latency_ns)
{
    generator->done++;
    generator->second_done++;
    histogram_record(generator->second, latency_ns);
    if (!clients_record(&generator->served, client, latency_ns))
        generator_failed(generator, CONCLAVE_NO_MEMORY);
}

/* --- Operations ---------------------------------------------------------------------------------
 */

/* Submits an attempt. Returns false if it could not be. */
static bool attempt(struct generator *generator, struct slot *slot, uint64_t now_ns)
{
    uint64_t first_ns = slot->due_ns < now_ns ? slot->due_ns : now_ns;
    uint64_t spent_ms = (now_ns - first_ns) / 1000000;
    uint64_t timeout_ms = generator->options->timeout_ms;
    uint64_t left_ms = spent_ms < timeout_ms ? timeout_ms - spent_ms : 1;
    slot->op.op.timeout_ms = left_ms < ATTEMPT_MS ? (uint32_t)left_ms : ATTEMPT_MS;
    slot->attempt_ns = now_ns;
    int code = conclave_client_submit(generator->client, &slot->op.op);
    if (code != CONCLAVE_OK)
        generator_failed(generator, code);
    return code == CONCLAVE_OK;
}

/* Takes the next number that stands for an operation and makes it in the slot; false: none is left.
 */
static bool take(struct generator *generator, struct slot *slot, int *ret_code)
{
    struct schedule *schedule = &generator->schedule;
    for (;;) {
        uint64_t number = schedule_number(schedule);
        if (number == UINT64_MAX)
            return false;
        schedule->taken++;
        if (generator->listen)
            slot->op.stamp = generator_set_out(generator, number, slot->due_ns);
        *ret_code = workload_next(generator->workload, number, &slot->op);
        if (*ret_code != CONCLAVE_NOT_FOUND)
            return true;
    }
}

/* Begins the next operation. False: none is left, or none is due yet, or it failed. */
static bool begin(struct generator *generator, uint64_t now_ns)
{
    struct slot *slot = generator->free[generator->free_count - 1];
    bool open_loop = generator->schedule.rate > 0;
    uint64_t due_ns = open_loop ? schedule_due_ns(&generator->schedule) : now_ns;
    int code;
    if (due_ns > now_ns && due_ns < generator->end_ns)
        return false;
    if (generator_too_far_ahead(generator) && now_ns < generator->end_ns)
        return false;
    slot->due_ns = due_ns;
    if (due_ns >= generator->end_ns || now_ns >= generator->end_ns ||
        !take(generator, slot, &code)) {
        generator->exhausted = true;
        return false;
    }
    if (due_ns >= generator->measure_ns)
        generator->begun += generator->listen ? generator->listen->count : 1;
    if (code != CONCLAVE_OK) {
        generator_failed(generator, code);
        return false;
    }
    if (open_loop && due_ns >= generator->measure_ns) {
        uint64_t could_ns = slot->free_ns > due_ns ? slot->free_ns : due_ns;
        histogram_record(generator->lag, now_ns > could_ns ? now_ns - could_ns : 0);
    }
    if (!attempt(generator, slot, now_ns))
        return false;
    generator->free_count--;
    return true;
}

/* An operation that is done, so far as its client knows. */
static void acknowledged(struct generator *generator, struct slot *slot, uint64_t latency_ns)
{
    bool counts = slot->due_ns >= generator->measure_ns;
    if (!generator->listen) {
        if (counts)
            generator_count(generator, slot->client, latency_ns);
        return;
    }
    if (counts)
        histogram_record(generator->source, latency_ns);
    generator_acked(generator, slot->op.stamp.place);
}

/* Takes in an operation that poll returned. */
static void ended(struct generator *generator, struct slot *slot, uint64_t now_ns)
{
    uint64_t done_ns = slot->attempt_ns + slot->op.op.latency_ns;
    if (done_ns > now_ns)
        done_ns = now_ns;
    uint64_t latency_ns = done_ns > slot->due_ns ? done_ns - slot->due_ns : 0;
    if (workload_repeats(slot->op.op.code) && !*generator->stop &&
        latency_ns / 1000000 < generator->options->timeout_ms) {
        generator->retried++;
        if (attempt(generator, slot, now_ns))
            return;
    } else {
        int code = workload_done(generator->workload, &slot->op);
        conclave_op_release(&slot->op.op);
        if (code != CONCLAVE_OK) {
            generator_failed(generator, code);
        } else {
            generator->last_ns = done_ns;
            if (generator->schedule.rate > 0)
                pace_latency(&generator->pace, latency_ns);
            acknowledged(generator, slot, latency_ns);
        }
    }
    slot->free_ns = now_ns;
    generator->free[generator->free_count++] = slot;
}

/* --- The loop -----------------------------------------------------------------------------------
 */

/* Waits until an operation is done or the next one is due. */
static struct conclave_op *wait_done(struct generator *generator)
{
    struct conclave_op *done;
    bool timed = generator->schedule.rate > 0 && !generator->exhausted && generator->free_count > 0;
    if (!timed && !generator->listeners) {
        conclave_client_poll(generator->client, POLL_MS, &done);
        return done;
    }
    conclave_client_poll(generator->client, 0, &done);
    if (done || generator_listen(generator))
        return done;
    uint64_t now_ns = measure_now_ns(), wait_ns = POLL_NS;
    if (timed) {
        uint64_t due_ns = schedule_due_ns(&generator->schedule);
        if (due_ns < generator->pace.next_ns)
            due_ns = generator->pace.next_ns;
        if (due_ns <= now_ns)
            return NULL;
        if (due_ns - now_ns < wait_ns)
            wait_ns = due_ns - now_ns;
    }
    struct pollfd fds[2] = {{.fd = conclave_client_fd(generator->client), .events = POLLIN}};
    if (generator->listeners) {
        fds[1] = (struct pollfd){.fd = listeners_fd(generator->listeners), .events = POLLIN};
        if (wait_ns > GENERATOR_LISTEN_NS)
            wait_ns = GENERATOR_LISTEN_NS;
    }
    struct timespec timeout = {.tv_nsec = (long)wait_ns};
    if (ppoll(fds, generator->listeners ? 2 : 1, &timeout, NULL) < 0 && errno != EINTR)
        generator_failed(generator, CONCLAVE_IO);
    conclave_client_poll(generator->client, 0, &done);
    return done;
}

/* Begins what is due, as far as there are clients who have nothing to do. */
static void begin_due(struct generator *generator, uint64_t now_ns)
{
    bool open_loop = generator->schedule.rate > 0, exact = open_loop || generator->listen;
    if (open_loop && now_ns < generator->pace.next_ns)
        return;
    /* In a closed loop the latency is the client's own, from submit on: begun now is exact enough
     * for the rest. */
    while (!generator->exhausted && generator->free_count > 0 && begin(generator, now_ns))
        if (exact)
            now_ns = measure_now_ns();
    if (open_loop)
        pace_begun(&generator->pace, now_ns);
}

static void loop(struct generator *generator)
{
    for (;;) {
        uint64_t now_ns = measure_now_ns();
        second_turn(generator, now_ns);
        bool ending = generator->code != CONCLAVE_OK || atomic_load(generator->failed);
        if (!ending)
            begin_due(generator, now_ns);
        if (*generator->stop) {
            generator->stopped = true;
            return;
        }
        ending = generator->code != CONCLAVE_OK || atomic_load(generator->failed);
        bool told = ending || generator->ways_busy == 0;
        if (generator->free_count == generator->slot_count && told &&
            (ending || generator->exhausted))
            return;
        uint64_t done_before = generator->done;
        struct conclave_op *op = wait_done(generator);
        now_ns = measure_now_ns();
        while (op) {
            struct conclave_op *next = op->next; /* submitting it again changes it */
            ended(generator, op->user, now_ns);
            op = next;
        }
        if (generator->done > done_before)
            series_progress(generator->series, now_ns);
    }
}

/* --- Life ---------------------------------------------------------------------------------------
 */

static bool prepare(struct generator *generator)
{
    struct conclave_client_options options;
    struct conclave_error error = {0};
    conclave_client_options_init(&options);
    options.endpoints = generator->endpoints;
    options.sessions = generator->options->sessions;
    int code = conclave_client_create(&options, &generator->client, &error);
    if (code != CONCLAVE_OK) {
        generator_failed(generator, code);
        snprintf(generator->message, sizeof generator->message, "%s", error.message);
        return false;
    }
    uint32_t count = generator->slot_count = generator->clients * generator->slots_per_client;
    size_t buffer_bytes = workload_buffer_bytes(generator->options);
    generator->slots = calloc(count, sizeof *generator->slots);
    generator->free = calloc(count, sizeof(struct slot *));
    generator->buffers = calloc(count, buffer_bytes);
    generator->second = histogram_create();
    generator->lag = histogram_create();
    generator->source = histogram_create();
    bool served = clients_init(&generator->served,
                               generator->listen ? generator->listen->count : generator->clients);
    if (!generator->slots || !generator->free || !generator->buffers || !generator->second ||
        !generator->lag || !generator->source || !served) {
        generator_failed(generator, CONCLAVE_NO_MEMORY);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = &generator->slots[count - 1 - i];
        slot->op.buffer = generator->buffers + (size_t)i * buffer_bytes;
        slot->op.op.user = slot;
        slot->client = (count - 1 - i) / generator->slots_per_client;
        generator->free[generator->free_count++] = slot;
    }
    return !generator->listen || generator_listen_begin(generator);
}

static void clean_up(struct generator *generator)
{
    /* Stopped early, operations are still with the client: it lets go of them here. */
    conclave_client_destroy(generator->client);
    generator->client = NULL;
    if (generator->listeners)
        generator->wrong = listeners_wrong(generator->listeners, generator->retried == 0);
    listeners_destroy(generator->listeners);
    generator->listeners = NULL;
    free(generator->ways);
    for (uint32_t i = 0; generator->slots && i < generator->slot_count; i++)
        conclave_op_release(&generator->slots[i].op.op);
    free(generator->slots);
    free((void *)generator->free);
    free(generator->buffers);
    histogram_destroy(generator->second);
    histogram_destroy(generator->lag);
}

void generator_run(struct generator *generator)
{
    if (prepare(generator)) {
        /* Of this thread alone: what is due is begun when it is due, not 50 us later. */
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
        uint64_t began_ns = measure_now_ns(), cpu_ns = measure_thread_cpu_ns(),
                 wait_ns = measure_thread_wait_ns();
        loop(generator);
        second_hand_in(generator);
        uint64_t spent_ns = measure_now_ns() - began_ns + 1;
        generator->cpu_ns = measure_thread_cpu_ns() - cpu_ns;
        generator->health.cpu_share = (double)generator->cpu_ns / (double)spent_ns;
        generator->health.wait_share =
            (double)(measure_thread_wait_ns() - wait_ns) / (double)spent_ns;
        generator->health.lag_p99_ns = histogram_quantile(generator->lag, 0.99);
        if (!generator->stopped && generator->code == CONCLAVE_OK)
            generator->missed = schedule_left(&generator->schedule, generator->end_ns);
    }
    clean_up(generator);
}

void generator_deinit(struct generator *generator)
{
    clients_deinit(&generator->served);
    histogram_destroy(generator->source);
    generator->source = NULL;
}
