#include "bench/put.h"

#include "conclave_kv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct put {
    const struct bench_options *options;
    uint8_t *value; /* scratch: options->value_bytes */
    uint64_t next;  /* number of the next operation */
    uint8_t *acked; /* a bit per key number */
    size_t acked_bytes;
    uint64_t read, mismatches;
};

/* --- Keys and values ------------------------------------------------------------------------- */

size_t put_key(const struct bench_options *options, uint64_t number, char *key, size_t size)
{
    return (size_t)snprintf(key, size, "%s%08" PRIu64, options->prefix, number % options->keys);
}

void put_value(const struct bench_options *options, const char *key, size_t key_bytes,
               uint8_t *value)
{
    size_t period = key_bytes + 1;
    for (size_t at = 0; at < options->value_bytes; at += period) {
        size_t left = options->value_bytes - at;
        memcpy(value + at, key, left < key_bytes ? left : key_bytes);
        if (left > key_bytes)
            value[at + key_bytes] = ':';
    }
}

/* --- Writing --------------------------------------------------------------------------------- */

static bool acked_grow(struct put *put, uint64_t number)
{
    size_t bytes = put->acked_bytes ? put->acked_bytes : 4096;
    while (number / 8 >= bytes)
        bytes *= 2;
    uint8_t *acked = realloc(put->acked, bytes);
    if (!acked)
        return false;
    memset(acked + put->acked_bytes, 0, bytes - put->acked_bytes);
    put->acked = acked;
    put->acked_bytes = bytes;
    return true;
}

static int write_next(void *workload, struct load_slot *slot)
{
    struct put *put = workload;
    if (put->next == put->options->ops)
        return CONCLAVE_NOT_FOUND;
    slot->number = put->next++;
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    size_t key_bytes = put_key(put->options, slot->number, key, sizeof key);
    put_value(put->options, key, key_bytes, put->value);
    slot->op.kind = CONCLAVE_OP_PROPOSE;
    slot->op.data = slot->buffer;
    return conclave_kv_encode_put(
        slot->buffer, key_bytes + put->options->value_bytes + CONCLAVE_KV_OVERHEAD, key, key_bytes,
        put->value, put->options->value_bytes, CONCLAVE_KV_ANY, &slot->op.bytes);
}

static int write_done(void *workload, const struct load_slot *slot)
{
    struct put *put = workload;
    struct conclave_kv_result result;
    int code = conclave_kv_decode_put(&slot->op, &result);
    if (code != CONCLAVE_OK)
        return code;
    uint64_t number = slot->number % put->options->keys;
    if (number / 8 >= put->acked_bytes && !acked_grow(put, number))
        return CONCLAVE_NO_MEMORY;
    put->acked[number / 8] |= (uint8_t)(1u << number % 8);
    return CONCLAVE_OK;
}

/* --- Reading back ---------------------------------------------------------------------------- */

static int read_next(void *workload, struct load_slot *slot)
{
    struct put *put = workload;
    while (put->next / 8 < put->acked_bytes && !(put->acked[put->next / 8] >> put->next % 8 & 1))
        put->next++;
    if (put->next / 8 >= put->acked_bytes)
        return CONCLAVE_NOT_FOUND;
    slot->number = put->next++;
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    size_t key_bytes = put_key(put->options, slot->number, key, sizeof key);
    slot->op.kind = CONCLAVE_OP_READ;
    slot->op.data = slot->buffer;
    return conclave_kv_encode_get(slot->buffer, key_bytes + CONCLAVE_KV_OVERHEAD, key, key_bytes,
                                  &slot->op.bytes);
}

static int read_done(void *workload, const struct load_slot *slot)
{
    struct put *put = workload;
    struct conclave_kv_item item;
    int code = conclave_kv_decode_get(&slot->op, &item, NULL);
    if (code != CONCLAVE_OK && code != CONCLAVE_NOT_FOUND)
        return code;
    put->read++;
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    size_t key_bytes = put_key(put->options, slot->number, key, sizeof key);
    put_value(put->options, key, key_bytes, put->value);
    size_t value_bytes = put->options->value_bytes;
    if (code == CONCLAVE_NOT_FOUND || item.value_bytes != value_bytes ||
        (value_bytes > 0 && memcmp(item.value, put->value, value_bytes) != 0)) {
        if (put->mismatches++ < 10)
            fprintf(stderr, "conclave bench: key '%s' was acknowledged and %s\n", key,
                    code == CONCLAVE_NOT_FOUND ? "is missing" : "has another value");
    }
    return CONCLAVE_OK;
}

/* --- The run --------------------------------------------------------------------------------- */

static void fail(struct put_result *ret, struct conclave_client *client, int code, const char *what)
{
    ret->code = code;
    snprintf(ret->message, sizeof ret->message, "%s: %s; %s", what, conclave_code_text(code),
             client ? conclave_client_describe(client) : "");
}

/* Reads every acknowledged key back, on the same client. */
static void validate(struct put *put, struct put_result *ret)
{
    const struct load_ops ops = {
        .buffer_bytes = CONCLAVE_KEY_BYTES_MAX + CONCLAVE_KV_OVERHEAD,
        .next = read_next,
        .done = read_done,
    };
    struct load load = ret->load;
    load.ops = &ops;
    load.seconds = 0;
    load.first_error = CONCLAVE_OK;
    load.latencies = histogram_create();
    put->next = 0;
    int code = load.latencies ? load_run(&load) : CONCLAVE_NO_MEMORY;
    ret->load.client = load.client;
    histogram_destroy(load.latencies);
    ret->validated = true;
    ret->read = put->read;
    ret->mismatches = put->mismatches;
    if (code != CONCLAVE_OK && ret->code == CONCLAVE_OK)
        fail(ret, load.client, code, "reading back failed");
    ret->load.stopped |= load.stopped;
}

void put_run(const struct bench_options *options, const volatile sig_atomic_t *stop,
             struct put_result *ret)
{
    memset(ret, 0, sizeof *ret);
    struct conclave_client_options client_options;
    conclave_client_options_init(&client_options);
    client_options.endpoints = options->endpoints;
    client_options.sessions = options->sessions;
    struct conclave_client *client;
    struct conclave_error error;
    ret->code = conclave_client_create(&client_options, &client, &error);
    if (ret->code != CONCLAVE_OK) {
        snprintf(ret->message, sizeof ret->message, "%s", error.message);
        return;
    }
    struct put put = {.options = options, .value = malloc(options->value_bytes + 1)};
    const struct load_ops ops = {
        .buffer_bytes = strlen(options->prefix) + 20 + options->value_bytes + CONCLAVE_KV_OVERHEAD,
        .next = write_next,
        .done = write_done,
    };
    ret->load = (struct load){
        .client = client,
        .ops = &ops,
        .workload = &put,
        .clients = options->clients,
        .timeout_ms = options->timeout_ms,
        .seconds = options->seconds,
        .stop = stop,
        .latencies = histogram_create(),
    };
    int code = put.value && ret->load.latencies ? load_run(&ret->load) : CONCLAVE_NO_MEMORY;
    if (code != CONCLAVE_OK)
        fail(ret, ret->load.client, code, "gave up");
    if (options->validate && !ret->load.stopped && ret->load.latencies)
        validate(&put, ret);
    conclave_client_destroy(ret->load.client);
    ret->load.client = NULL;
    free(put.value);
    free(put.acked);
}
