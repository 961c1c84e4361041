/* Transactions, leases and usage in bytes that nobody vouches for: whatever stands in them, they
 * are read to their end or refused, and nothing outside of them is looked at. */
#include "check.h"

#include "base/fatal.h"
#include "codec/kv_lease.h"
#include "codec/kv_txn.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { COMMAND, ANSWER, LEASES, KEYS, USAGE, SAMPLES };

static void command_sample(struct pack *pack)
{
    struct pack compares, steps;
    pack_init(&compares, 0);
    pack_init(&steps, 0);
    kv_compare_pack(&compares, &(struct kv_compare){.key = text("k"), .number = 300});
    kv_compare_pack(&compares, &(struct kv_compare){.what = KV_COMPARE_VALUE,
                                                    .how = KV_COMPARE_LESS,
                                                    .key = text("k"),
                                                    .value = text("v")});
    kv_command_pack(&steps, &(struct kv_command){.opcode = KV_PUT, .key = text("k")});
    kv_command_pack(&steps, &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                                 .bounds = {text("l"), text("m"), false}});
    kv_query_pack(&steps, &(struct kv_query){.opcode = KV_GET, .key = text("k")});
    const struct kv_command command = {
        .opcode = KV_TXN,
        .txn = {.compares = {2, {compares.buf->data, compares.bytes}},
                .then = {3, {steps.buf->data, steps.bytes}}}};
    kv_command_pack(pack, &command);
    pack_deinit(&compares);
    pack_deinit(&steps);
}

static struct buf *sample(int which)
{
    struct pack pack, items;
    pack_init(&pack, 0);
    pack_init(&items, 0);
    const struct kv_lease_info info = {300, 70000, 1, 2};
    if (which == COMMAND)
        command_sample(&pack);
    if (which == ANSWER) {
        kv_step_answer_pack(&items,
                            &(struct kv_step_answer){.body = {(const uint8_t *)"\x91\x05", 2}});
        kv_step_answer_pack(&items, &(struct kv_step_answer){.code = CONCLAVE_TOO_LARGE});
        kv_txn_answer_pack(&pack,
                           &(struct kv_txn_answer){.revision = 300, .held = true, .count = 2},
                           (struct slice){items.buf->data, items.bytes});
    }
    if (which == LEASES) {
        kv_lease_info_pack(&items, &info);
        kv_leases_answer_pack(&pack,
                              &(struct kv_leases_answer){.revision = 5, .next = 6, .count = 1},
                              (struct slice){items.buf->data, items.bytes});
    }
    if (which == KEYS) {
        kv_lease_key_pack(&items, 0, text("k"));
        kv_lease_keys_answer_pack(&pack,
                                  &(struct kv_lease_keys_answer){
                                      .revision = 5, .info = info, .next = text("p"), .count = 1},
                                  (struct slice){items.buf->data, items.bytes});
    }
    if (which == USAGE)
        kv_usage_pack(&pack, &(struct kv_usage){.revision = 300, .keys = 70000});
    pack_deinit(&items);
    return pack_take(&pack);
}

static uint64_t touched; /* so that no read is optimised away */

static void touch(struct slice slice)
{
    for (size_t i = 0; i < slice.bytes; i++)
        touched += slice.data[i];
}

static bool walk_command(const struct kv_command *command)
{
    struct kv_txn_reader reader;
    struct kv_compare compare;
    struct kv_step step;
    const struct kv_txn_list *const lists[] = {&command->txn.then, &command->txn.otherwise};
    int more;
    if (command->opcode != KV_TXN)
        return true; /* a flip made another command of it */
    kv_txn_begin(&reader, &command->txn.compares);
    while ((more = kv_txn_next_compare(&reader, &compare)) == 1)
        touch(compare.key);
    cr_assert_eq(more, 0, "what was decoded can be walked");
    for (int i = 0; i < 2; i++) {
        kv_txn_begin(&reader, lists[i]);
        while ((more = kv_txn_next_step(&reader, &step)) == 1)
            touch(step.reads ? step.query.key : step.command.key);
        cr_assert_eq(more, 0);
    }
    return true;
}

/* In a block of exactly their size; whether they were taken as a whole. */
static bool accepted(int which, const uint8_t *data, size_t bytes)
{
    uint8_t *block = malloc(bytes ? bytes : 1);
    memcpy(block, data, bytes);
    struct kv_command command;
    struct kv_txn_answer answer;
    struct kv_step_answer step;
    struct kv_leases_answer leases;
    struct kv_lease_info info;
    struct kv_lease_keys_answer keys;
    struct kv_usage usage;
    struct slice key;
    uint64_t space;
    int more = 0;
    bool taken = false;
    if (which == COMMAND)
        taken = kv_command_decode(block, bytes, &command) == CONCLAVE_OK && walk_command(&command);
    if (which == ANSWER) {
        taken = kv_txn_answer_begin(block, bytes, &answer) == CONCLAVE_OK;
        while (taken && (more = kv_txn_answer_next(&answer, &step)) == 1)
            touch(step.body);
    }
    if (which == LEASES) {
        taken = kv_leases_answer_begin(block, bytes, &leases) == CONCLAVE_OK;
        while (taken && (more = kv_leases_answer_next(&leases, &info)) == 1)
            touched += info.lease;
    }
    if (which == KEYS) {
        taken = kv_lease_keys_answer_begin(block, bytes, &keys) == CONCLAVE_OK;
        while (taken && (more = kv_lease_keys_answer_next(&keys, &space, &key)) == 1)
            touch(key);
    }
    if (which == USAGE)
        taken = kv_usage_decode(block, bytes, &usage) == CONCLAVE_OK;
    free(block);
    return taken && more == 0;
}

Test(hostile_txn, every_prefix_is_refused_and_every_byte_may_become_any_other)
{
    for (int i = 0; i < SAMPLES; i++) {
        struct buf *buf = sample(i);
        cr_assert(accepted(i, buf->data, buf->bytes), "sample %d", i);
        for (size_t bytes = 0; bytes < buf->bytes; bytes++)
            cr_assert_not(accepted(i, buf->data, bytes), "sample %d cut to %zu", i, bytes);
        size_t taken = 0;
        for (size_t at = 0; at < buf->bytes; at++) {
            uint8_t right = buf->data[at];
            for (unsigned change = 1; change < 256; change++) {
                buf->data[at] = (uint8_t)(right ^ change);
                taken += accepted(i, buf->data, buf->bytes);
            }
            buf->data[at] = right;
        }
        cr_assert_gt(taken, 0, "other numbers are as good");
        cr_assert_lt(taken, buf->bytes * 255);
        buf_unref(buf);
    }
}

/* Each transaction the only step of the one around it: nobody reads them one inside the other. */
Test(hostile_txn, of_a_transaction_in_a_transaction_costs_no_stack)
{
    enum { DEPTH = 100000, AROUND = 4 };
    static uint8_t bytes[DEPTH * AROUND + 2 * DEPTH];
    size_t used = 0;
    for (int i = 0; i < DEPTH; i++) {
        memcpy(bytes + used, "\x94\x05\x90\x91", AROUND);
        used += AROUND;
    }
    memset(bytes + used, 0x90, sizeof bytes - used);
    struct kv_command command;
    cr_assert_neq(kv_command_decode(bytes, used + DEPTH, &command), CONCLAVE_OK);
    cr_assert_neq(kv_command_decode(bytes, sizeof bytes, &command), CONCLAVE_OK);
}
