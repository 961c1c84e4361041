/* Bytes that nobody vouches for. The sanitizers say whether a read was out of bounds; the tests,
 * that what is accepted keeps to the limits and that nothing cut short is accepted. */
#include "check.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { SAMPLES = 7 };

static struct buf *sample(size_t which)
{
    struct pack pack;
    pack_init(&pack, 0);
    const struct kv_item item = {text("key"), text("value"), false, 1, 300, 70000, 0};
    struct pack items;
    switch (which) {
    case 0:
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_PUT,
                                                    .key = text("key"),
                                                    .value = text("value"),
                                                    .condition = {true, 1000}});
        break;
    case 1:
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_DELETE, .key = text("key")});
        break;
    case 2:
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                                    .bounds = {text("a"), text("b"), false}});
        break;
    case 3:
        kv_query_pack(&pack, &(struct kv_query){.opcode = KV_RANGE,
                                                .bounds = {text("a"), text("b"), false},
                                                .limit = 300,
                                                .bytes = 70000});
        break;
    case 4:
        kv_outcome_pack(&pack, &(struct kv_outcome){.revision = 300, .value = 70000});
        break;
    case 5:
        kv_get_answer_pack(&pack, 5, &item);
        break;
    default:
        pack_init(&items, 0);
        kv_item_pack(&items, &item);
        kv_item_pack(&items, &item);
        kv_range_answer_pack(&pack,
                             &(struct kv_range_answer){
                                 .revision = 5, .count = 2, .item_count = 2, .next = text("k")},
                             (struct slice){items.buf->data, items.bytes});
        pack_deinit(&items);
    }
    return pack_take(&pack);
}

static uint64_t touched; /* so that no read is optimised away */

static void touch(struct slice slice)
{
    for (size_t i = 0; i < slice.bytes; i++)
        touched += slice.data[i];
}

/* Gives the bytes to the decoder of the sample, in a block of exactly their size; whether it took
 * them as a whole. */
static bool accepted(size_t which, const uint8_t *data, size_t bytes)
{
    uint8_t *block = malloc(bytes ? bytes : 1);
    if (bytes)
        memcpy(block, data, bytes);
    struct kv_command command;
    struct kv_query query;
    struct kv_outcome outcome;
    struct kv_range_answer answer;
    struct kv_item item;
    uint64_t revision;
    bool taken;
    if (which <= 2) {
        taken = kv_command_decode(block, bytes, &command) == CONCLAVE_OK;
        if (taken) {
            cr_assert_leq(command.key.bytes, (size_t)CONCLAVE_KEY_BYTES_MAX);
            touch(command.key);
            touch(command.value);
            if (command.opcode == KV_DELETE_RANGE) {
                touch(command.bounds.from);
                touch(command.bounds.to);
            }
        }
    } else if (which == 3) {
        taken = kv_query_decode(block, bytes, &query) == CONCLAVE_OK;
        cr_assert(!taken || (query.bytes > 0 && query.bytes <= KV_RANGE_BYTES_MAX));
    } else if (which == 4) {
        taken = kv_outcome_decode(block, bytes, &outcome) == CONCLAVE_OK;
    } else if (which == 5) {
        taken = kv_get_answer_decode(block, bytes, &revision, &item) == CONCLAVE_OK;
        if (taken)
            touch(item.value);
    } else {
        taken = kv_range_answer_begin(block, bytes, &answer) == CONCLAVE_OK;
        int got = 0;
        while (taken && (got = kv_range_answer_next(&answer, &item)) == 1)
            touch(item.key);
        taken = taken && got == 0;
    }
    free(block);
    return taken;
}

Test(hostile, samples_are_valid)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct buf *buf = sample(i);
        cr_assert(accepted(i, buf->data, buf->bytes), "sample %zu", i);
        buf_unref(buf);
    }
}

Test(hostile, every_prefix_is_refused)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        struct buf *buf = sample(i);
        for (size_t bytes = 0; bytes < buf->bytes; bytes++)
            cr_assert_not(accepted(i, buf->data, bytes), "sample %zu cut to %zu", i, bytes);
        buf_unref(buf);
    }
}

Test(hostile, every_byte_may_become_any_other)
{
    size_t taken = 0, tried = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        struct buf *buf = sample(i);
        for (size_t at = 0; at < buf->bytes; at++) {
            uint8_t right = buf->data[at];
            for (unsigned change = 1; change < 256; change++, tried++) {
                buf->data[at] = (uint8_t)(right ^ change);
                taken += accepted(i, buf->data, buf->bytes);
            }
            buf->data[at] = right;
        }
        buf_unref(buf);
    }
    cr_assert_gt(taken, 0, "other keys, values and numbers are as good");
    cr_assert_lt(taken, tried);
}

Test(hostile, random_bytes_do_no_harm)
{
    struct prng prng;
    prng_init(&prng, 20);
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[40];
        size_t count = prng_below(&prng, sizeof bytes + 1);
        for (size_t j = 0; j < count; j++)
            bytes[j] = (uint8_t)prng_next(&prng);
        if (count > 1 && prng_below(&prng, 2)) { /* so that some get past the header */
            bytes[0] = (uint8_t)(0x91 + prng_below(&prng, 6));
            bytes[1] = (uint8_t)prng_below(&prng, 4);
        }
        size_t which = prng_below(&prng, SAMPLES);
        bool taken = accepted(which, bytes, count);
        cr_assert(!taken || count > 0);
    }
}
