#include "bench/workload.h"

#include "bench/topic.h"
#include "conclave_kv.h"
#include "conclave_topic.h"
#include "conclave_txn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MISMATCHES_SHOWN = 10, KEY_DIGITS = 20 };

/* No key has been put so often. */
#define TXN_NEVER UINT64_C(9007199254740991)

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

/* False: out of memory. */
static bool note_acked(struct workload *workload, uint64_t key)
{
    return !workload->options->validate || acked_set(&workload->acked, key);
}

/* --- Transactions --------------------------------------------------------------------------------
 */

/* Looks at a key, by a compare that always holds, and puts it and the one behind it as one
 * revision. The key's number is that of the pair: 2n and 2n + 1. */
static int txn_next(struct workload *workload, struct workload_op *op)
{
    const struct bench_options *options = workload->options;
    char keys[2][CONCLAVE_KEY_BYTES_MAX + 1];
    size_t bytes[2];
    struct conclave_txn *txn = conclave_txn_create();
    for (unsigned i = 0; i < 2; i++) {
        bytes[i] = keys_format(options->prefix, 2 * op->key + i, keys[i], sizeof keys[i]);
        if (i == 0)
            conclave_txn_compare(txn, CONCLAVE_TXN_VERSION, CONCLAVE_TXN_UNEQUAL, keys[i], bytes[i],
                                 TXN_NEVER);
        keys_value(keys[i], bytes[i], workload->value, options->value_bytes);
        conclave_txn_put(txn, CONCLAVE_TXN_THEN, keys[i], bytes[i], workload->value,
                         options->value_bytes, 0, 0);
    }
    op->op.kind = CONCLAVE_OP_PROPOSE;
    int code = conclave_txn_encode(txn, op->buffer, workload_buffer_bytes(options), &op->op.bytes);
    conclave_txn_destroy(txn);
    return code;
}

/* Of the same steps, which its answers are read by. */
static struct conclave_txn *txn_form(void)
{
    struct conclave_txn *form = conclave_txn_create();
    conclave_txn_put(form, CONCLAVE_TXN_THEN, "a", 1, NULL, 0, 0, 0);
    conclave_txn_put(form, CONCLAVE_TXN_THEN, "b", 1, NULL, 0, 0, 0);
    return form;
}

static int txn_done(struct workload *workload, const struct workload_op *op)
{
    struct conclave_txn_result result;
    int code = conclave_txn_decode(workload->form, &op->op, &result);
    if (code != CONCLAVE_OK)
        return code;
    bool whole = result.held && result.count == 2;
    conclave_txn_result_release(&result);
    if (!whole)
        return CONCLAVE_MALFORMED;
    if (!note_acked(workload, 2 * op->key) || !note_acked(workload, 2 * op->key + 1))
        return CONCLAVE_NO_MEMORY;
    return CONCLAVE_OK;
}

/* --- Life ---------------------------------------------------------------------------------------
 */

bool workload_init(struct workload *workload, enum workload_task task, enum bench_workload kind,
                   const struct bench_options *options, const struct keys *model)
{
    *workload = (struct workload){.task = task, .kind = kind, .options = options, .keys = *model};
    workload->value = malloc(options->value_bytes + 1);
    if (kind == BENCH_TXN)
        workload->form = txn_form();
    return workload->value;
}

void workload_deinit(struct workload *workload)
{
    free(workload->value);
    free(workload->acked.bits);
    conclave_txn_destroy(workload->form);
    workload->value = NULL;
    workload->form = NULL;
    workload->acked = (struct acked){0};
}

size_t workload_buffer_bytes(const struct bench_options *options)
{
    size_t put = strlen(options->prefix) + KEY_DIGITS + options->value_bytes;
    /* A transaction has a compare and two puts. */
    size_t count = options->workloads & 1u << BENCH_TXN ? 3 : 1;
    return count * (put + CONCLAVE_KV_OVERHEAD) + CONCLAVE_KV_OVERHEAD;
}

/* --- Operations ---------------------------------------------------------------------------------
 */

static bool publishes(const struct workload *workload)
{
    return workload->kind == BENCH_SUB ||
           (workload->kind == BENCH_PUB && workload->task == WORKLOAD_RUN);
}

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

bool workload_repeats(int code)
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
    if (workload->kind == BENCH_TXN && workload->task == WORKLOAD_RUN)
        return txn_next(workload, op);
    if (publishes(workload)) {
        keys_value(key, key_bytes, workload->value, options->value_bytes);
        if (workload->task == WORKLOAD_RUN && workload->kind == BENCH_SUB)
            stamp_write(op->stamp, workload->value);
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
    if (workload->kind == BENCH_WATCH && workload->task == WORKLOAD_RUN)
        stamp_write(op->stamp, workload->value);
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
    if (workload->kind == BENCH_TXN && workload->task == WORKLOAD_RUN)
        return txn_done(workload, op);
    if (publishes(workload)) {
        struct conclave_published published;
        return conclave_topic_decode_publish(&op->op, 1, &published, NULL);
    }
    if (!workload->options->validate)
        return op->op.code; /* nobody asks for the revision */
    struct conclave_kv_result result;
    int code = conclave_kv_decode_put(&op->op, &result);
    if (code == CONCLAVE_OK && !note_acked(workload, op->key))
        return CONCLAVE_NO_MEMORY;
    return code;
}
