#include "bench/load.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum {
    /* One attempt: long enough for any answer of a living leader, short enough that an operation
     * whose answer was lost is soon repeated. */
    ATTEMPT_MS = 2000,
    POLL_MS = 100
};

uint64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void failed(struct load *load, int code)
{
    load->errors++;
    if (load->first_error == CONCLAVE_OK)
        load->first_error = code;
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
        return true;
    default:
        return false;
    }
}

/* Submits an attempt. Returns false if it could not be. */
static bool attempt(struct load *load, struct load_slot *slot)
{
    uint64_t left_ms = load->timeout_ms - slot->spent_ns / 1000000;
    slot->op.timeout_ms = left_ms < ATTEMPT_MS ? (uint32_t)left_ms : ATTEMPT_MS;
    int code = conclave_client_submit(load->client, &slot->op);
    if (code != CONCLAVE_OK)
        failed(load, code);
    return code == CONCLAVE_OK;
}

/* Begins the slot's next operation. Returns false if there is none. */
static bool begin(struct load *load, struct load_slot *slot)
{
    int code = load->ops->next(load->workload, slot);
    if (code == CONCLAVE_NOT_FOUND)
        return false;
    load->begun++;
    slot->spent_ns = 0;
    if (code == CONCLAVE_OK)
        return attempt(load, slot);
    failed(load, code);
    return false;
}

/* Takes in an operation that poll returned. True: it goes on (another attempt is under way). */
static bool ended(struct load *load, struct load_slot *slot)
{
    slot->spent_ns += slot->op.latency_ns;
    if (may_be_repeated(slot->op.code) && slot->spent_ns / 1000000 < load->timeout_ms) {
        load->retried++;
        return attempt(load, slot);
    }
    int code = load->ops->done(load->workload, slot);
    conclave_op_release(&slot->op);
    if (code != CONCLAVE_OK) {
        failed(load, code);
        return false;
    }
    load->done++;
    histogram_record(load->latencies, slot->spent_ns);
    return false;
}

static void loop(struct load *load, struct load_slot *slots)
{
    uint64_t start_ns = load_now_ns(), last_ns = start_ns;
    uint64_t end_ns = load->seconds ? start_ns + load->seconds * 1000000000u : UINT64_MAX;
    uint32_t outstanding = 0;
    while (outstanding < load->clients && begin(load, &slots[outstanding]))
        outstanding++;
    while (outstanding > 0) {
        if (*load->stop) {
            load->stopped = 1;
            break;
        }
        struct conclave_op *op;
        uint64_t done_before = load->done;
        conclave_client_poll(load->client, POLL_MS, &op);
        if (!op)
            continue;
        uint64_t now_ns = load_now_ns();
        while (op) {
            struct conclave_op *next = op->next; /* submitting it again changes it */
            struct load_slot *slot = op->user;
            bool goes_on = ended(load, slot) || (load->first_error == CONCLAVE_OK &&
                                                 now_ns < end_ns && begin(load, slot));
            outstanding -= !goes_on;
            op = next;
        }
        if (load->done == done_before)
            continue;
        if (now_ns - last_ns > load->gap_max_ns)
            load->gap_max_ns = now_ns - last_ns;
        last_ns = now_ns;
    }
    load->elapsed_ns = last_ns - start_ns;
}

int load_run(struct load *load)
{
    struct load_slot *slots = calloc(load->clients, sizeof *slots);
    uint8_t *buffers = calloc(load->clients, load->ops->buffer_bytes);
    if (!slots || !buffers) {
        free(slots);
        free(buffers);
        load->first_error = CONCLAVE_NO_MEMORY;
        return CONCLAVE_NO_MEMORY;
    }
    for (uint32_t i = 0; i < load->clients; i++) {
        slots[i].buffer = buffers + (size_t)i * load->ops->buffer_bytes;
        slots[i].op.user = &slots[i];
    }
    loop(load, slots);
    /* Stopped early, operations are still with the client: it lets go of them here. */
    if (load->stopped) {
        conclave_client_destroy(load->client);
        load->client = NULL;
    }
    for (uint32_t i = 0; i < load->clients; i++)
        conclave_op_release(&slots[i].op);
    free(slots);
    free(buffers);
    return load->first_error;
}
