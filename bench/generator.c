#include "bench/generator.h"

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
    uint64_t done;
};

static void failed(struct generator *generator, int code)
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

/* Codes after which the same command may be sent again by a caller to whom applying it twice is the
 * same as once. */
static bool may_be_repeated(int code)
{
    switch (code) {
    case CONCLAVE_UNREACHABLE:
    case CONCLAVE_NOT_LEADER:
    case CONCLAVE_NO_LEADER:
    case CONCLAVE_BUSY:
    case CONCLAVE_STOPPING:
    case CONCLAVE_TIMEOUT:
    case CONCLAVE_UNKNOWN:
    case CONCLAVE_HANDOVER:
    case CONCLAVE_STALE:
        return true;
    default:
        return false;
    }
}

/* --- Seconds ------------------------------------------------------------------------------------
 */

static void second_hand_in(struct generator *generator)
{
    if (generator->second->count > 0 || generator->second_errors > 0) {
        if (!series_add(generator->series, generator->second_number, generator->second,
                        generator->second_done, generator->second_errors))
            failed(generator, CONCLAVE_NO_MEMORY);
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
        failed(generator, code);
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
    if (due_ns >= generator->end_ns || now_ns >= generator->end_ns ||
        !take(generator, slot, &code)) {
        generator->exhausted = true;
        return false;
    }
    if (due_ns >= generator->measure_ns)
        generator->begun++;
    if (code != CONCLAVE_OK) {
        failed(generator, code);
        return false;
    }
    slot->due_ns = due_ns;
    if (open_loop && due_ns >= generator->measure_ns) {
        uint64_t could_ns = slot->free_ns > due_ns ? slot->free_ns : due_ns;
        histogram_record(generator->lag, now_ns > could_ns ? now_ns - could_ns : 0);
    }
    if (!attempt(generator, slot, now_ns))
        return false;
    generator->free_count--;
    return true;
}

/* Takes in an operation that poll returned. */
static void ended(struct generator *generator, struct slot *slot, uint64_t now_ns)
{
    uint64_t done_ns = slot->attempt_ns + slot->op.op.latency_ns;
    if (done_ns > now_ns)
        done_ns = now_ns;
    uint64_t latency_ns = done_ns > slot->due_ns ? done_ns - slot->due_ns : 0;
    if (may_be_repeated(slot->op.op.code) && !*generator->stop &&
        latency_ns / 1000000 < generator->options->timeout_ms) {
        generator->retried++;
        if (attempt(generator, slot, now_ns))
            return;
    } else {
        int code = workload_done(generator->workload, &slot->op);
        conclave_op_release(&slot->op.op);
        if (code != CONCLAVE_OK) {
            failed(generator, code);
        } else {
            generator->last_ns = done_ns;
            slot->done++;
            if (slot->due_ns >= generator->measure_ns) {
                generator->done++;
                generator->second_done++;
                histogram_record(generator->second, latency_ns);
            }
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
    if (!timed) {
        conclave_client_poll(generator->client, POLL_MS, &done);
        return done;
    }
    conclave_client_poll(generator->client, 0, &done);
    if (done)
        return done;
    uint64_t now_ns = measure_now_ns(), due_ns = schedule_due_ns(&generator->schedule);
    if (due_ns <= now_ns)
        return NULL;
    uint64_t wait_ns = due_ns - now_ns;
    if (wait_ns > POLL_NS)
        wait_ns = POLL_NS;
    struct pollfd fd = {.fd = conclave_client_fd(generator->client), .events = POLLIN};
    struct timespec timeout = {.tv_nsec = (long)wait_ns};
    if (ppoll(&fd, 1, &timeout, NULL) < 0 && errno != EINTR)
        failed(generator, CONCLAVE_IO);
    conclave_client_poll(generator->client, 0, &done);
    return done;
}

static void loop(struct generator *generator)
{
    for (;;) {
        uint64_t now_ns = measure_now_ns();
        second_turn(generator, now_ns);
        bool ending = generator->code != CONCLAVE_OK || atomic_load(generator->failed);
        while (!ending && !generator->exhausted && generator->free_count > 0 &&
               begin(generator, now_ns))
            now_ns = measure_now_ns();
        if (*generator->stop) {
            generator->stopped = true;
            return;
        }
        ending = generator->code != CONCLAVE_OK || atomic_load(generator->failed);
        if (generator->free_count == generator->slot_count && (ending || generator->exhausted))
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

/* --- Its own health ------------------------------------------------------------------------------
 */

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* How long this thread was ready to run and did not. 0: the kernel does not say. */
static uint64_t thread_wait_ns(void)
{
    char line[128], *end;
    FILE *file = fopen("/proc/thread-self/schedstat", "re");
    if (!file)
        return 0;
    bool read = fgets(line, sizeof line, file);
    fclose(file);
    if (!read)
        return 0;
    strtoull(line, &end, 10);
    return strtoull(end, NULL, 10);
}

static void look_at_clients(struct generator *generator)
{
    struct generator_health *health = &generator->health;
    health->client_least = UINT64_MAX;
    for (uint32_t i = 0; i < generator->slot_count; i += generator->slots_per_client) {
        uint64_t done = 0;
        for (uint32_t j = 0; j < generator->slots_per_client; j++)
            done += generator->slots[i + j].done;
        if (done < health->client_least)
            health->client_least = done;
        if (done > health->client_most)
            health->client_most = done;
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
        failed(generator, code);
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
    if (!generator->slots || !generator->free || !generator->buffers || !generator->second ||
        !generator->lag) {
        failed(generator, CONCLAVE_NO_MEMORY);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = &generator->slots[count - 1 - i];
        slot->op.buffer = generator->buffers + (size_t)i * buffer_bytes;
        slot->op.op.user = slot;
        generator->free[generator->free_count++] = slot;
    }
    return true;
}

static void clean_up(struct generator *generator)
{
    /* Stopped early, operations are still with the client: it lets go of them here. */
    conclave_client_destroy(generator->client);
    generator->client = NULL;
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
        uint64_t began_ns = measure_now_ns(), cpu_ns = thread_cpu_ns(), wait_ns = thread_wait_ns();
        loop(generator);
        second_hand_in(generator);
        uint64_t spent_ns = measure_now_ns() - began_ns + 1;
        generator->cpu_ns = thread_cpu_ns() - cpu_ns;
        generator->health.cpu_share = (double)generator->cpu_ns / (double)spent_ns;
        generator->health.wait_share = (double)(thread_wait_ns() - wait_ns) / (double)spent_ns;
        generator->health.lag_p99_ns = histogram_quantile(generator->lag, 0.99);
        look_at_clients(generator);
        if (!generator->stopped && generator->code == CONCLAVE_OK)
            generator->missed = schedule_left(&generator->schedule, generator->end_ns);
    }
    clean_up(generator);
}
