#include "bench/workload.h"

#include "bench/topic.h"
#include "conclave_kv.h"
#include "conclave_topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MISMATCHES_SHOWN = 10, KEY_DIGITS = 20 };

/* --- Acknowledged keys -------------------------------------------------------------------------
 */

static bool acked_grow(struct acked *acked, size_t wanted)
{
    if (wanted <= acked->bytes)
        return true;
    size_t bytes = acked->bytes ? acked->bytes : 4096;
    while (bytes < wanted)
        bytes *= 2;
    uint8_t *bits = realloc(acked->bits, bytes);
    if (!bits)
        return false;
    memset(bits + acked->bytes, 0, bytes - acked->bytes);
    acked->bits = bits;
    acked->bytes = bytes;
    return true;
}

bool acked_set(struct acked *acked, uint64_t key)
{
    if (!acked_grow(acked, key / 8 + 1))
        return false;
    acked->bits[key / 8] |= (uint8_t)(1u << key % 8);
    return true;
}

bool acked_get(const struct acked *acked, uint64_t key)
{
    return key / 8 < acked->bytes && (acked->bits[key / 8] >> key % 8 & 1);
}

bool acked_merge(struct acked *into, const struct acked *from)
{
    if (!acked_grow(into, from->bytes))
        return false;
    for (size_t i = 0; i < from->bytes; i++)
        into->bits[i] |= from->bits[i];
    return true;
}

/* --- Life ---------------------------------------------------------------------------------------
 */

bool workload_init(struct workload *workload, enum workload_task task, enum bench_workload kind,
                   const struct bench_options *options, const struct keys *model)
{
    *workload = (struct workload){.task = task, .kind = kind, .options = options, .keys = *model};
    workload->value = malloc(options->value_bytes + 1);
    return workload->value;
}

void workload_deinit(struct workload *workload)
{
    free(workload->value);
    free(workload->acked.bits);
    workload->value = NULL;
    workload->acked = (struct acked){0};
}

size_t workload_buffer_bytes(const struct bench_options *options)
{
    return strlen(options->prefix) + KEY_DIGITS + options->value_bytes + CONCLAVE_KV_OVERHEAD;
}

/* --- Operations ---------------------------------------------------------------------------------
 */

static bool is_read(const struct workload *workload, uint64_t number)
{
    if (workload->task != WORKLOAD_RUN)
        return workload->task == WORKLOAD_CHECK;
    if (workload->kind == BENCH_MIXED)
        return keys_chance(&workload->keys, number) < workload->options->read_ratio;
    return workload->kind == BENCH_GET;
}

static enum conclave_op_kind read_kind(const struct workload *workload)
{
    static const enum conclave_op_kind kinds[] = {CONCLAVE_OP_READ, CONCLAVE_OP_READ_LEASE,
                                                  CONCLAVE_OP_READ_STALE};
    return workload->task == WORKLOAD_CHECK ? CONCLAVE_OP_READ
                                            : kinds[workload->options->read_level];
}

int workload_next(struct workload *workload, uint64_t number, struct workload_op *op)
{
    const struct bench_options *options = workload->options;
    op->key = workload->task == WORKLOAD_RUN ? keys_pick(&workload->keys, number) : number;
    if (workload->task == WORKLOAD_CHECK && !acked_get(workload->wanted, op->key))
        return CONCLAVE_NOT_FOUND;
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    size_t key_bytes = keys_format(options->prefix, op->key, key, sizeof key);
    size_t capacity = workload_buffer_bytes(options);
    op->op.data = op->buffer;
    if (workload->kind == BENCH_PUB && workload->task == WORKLOAD_RUN) {
        keys_value(key, key_bytes, workload->value, options->value_bytes);
        const struct conclave_message message = {.data = workload->value,
                                                 .bytes = options->value_bytes};
        op->op.kind = CONCLAVE_OP_PROPOSE;
        return conclave_topic_encode_publish(op->buffer, capacity, TOPIC_NAME, TOPIC_NAME_BYTES,
                                             &message, 1, CONCLAVE_EXPECT_ANY, &op->op.bytes);
    }
    if (is_read(workload, number)) {
        op->op.kind = read_kind(workload);
        op->op.max_age_ms = options->max_age_ms;
        return conclave_kv_encode_get(op->buffer, capacity, key, key_bytes, &op->op.bytes);
    }
    op->op.kind = CONCLAVE_OP_PROPOSE;
    keys_value(key, key_bytes, workload->value, options->value_bytes);
    return conclave_kv_encode_put(op->buffer, capacity, key, key_bytes, workload->value,
                                  options->value_bytes, CONCLAVE_KV_ANY, &op->op.bytes);
}

/* Compares what was read with what was written. */
static int read_done(struct workload *workload, const struct workload_op *op)
{
    struct conclave_kv_item item;
    int code = conclave_kv_decode_get(&op->op, &item, NULL);
    if (code != CONCLAVE_OK && code != CONCLAVE_NOT_FOUND)
        return code;
    workload->read++;
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    size_t key_bytes = keys_format(workload->options->prefix, op->key, key, sizeof key);
    size_t value_bytes = workload->options->value_bytes;
    keys_value(key, key_bytes, workload->value, value_bytes);
    if (code == CONCLAVE_NOT_FOUND || item.value_bytes != value_bytes ||
        (value_bytes > 0 && memcmp(item.value, workload->value, value_bytes) != 0)) {
        if (workload->mismatches++ < MISMATCHES_SHOWN)
            fprintf(stderr, "conclave bench: key '%s' was acknowledged and %s\n", key,
                    code == CONCLAVE_NOT_FOUND ? "is missing" : "has another value");
    }
    return CONCLAVE_OK;
}

int workload_done(struct workload *workload, const struct workload_op *op)
{
    if (op->op.kind != CONCLAVE_OP_PROPOSE)
        return read_done(workload, op);
    if (workload->kind == BENCH_PUB && workload->task == WORKLOAD_RUN) {
        struct conclave_published published;
        return conclave_topic_decode_publish(&op->op, 1, &published, NULL);
    }
    struct conclave_kv_result result;
    int code = conclave_kv_decode_put(&op->op, &result);
    if (code == CONCLAVE_OK && !acked_set(&workload->acked, op->key))
        return CONCLAVE_NO_MEMORY;
    return code;
}
