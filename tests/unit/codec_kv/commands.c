#include "check.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct kv_command decoded(const struct kv_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    struct buf *buf = pack_take(&pack);
    struct kv_command ret;
    int code = kv_command_decode(buf->data, buf->bytes, &ret);
    cr_assert_eq(code, CONCLAVE_OK, "code %d", code);
    /* The slices point into the bytes: compare before they are freed. */
    cr_assert_eq(ret.opcode, command->opcode);
    cr_assert(same(ret.key, command->key));
    cr_assert(same(ret.value, command->value));
    if (ret.opcode == KV_DELETE_RANGE) {
        cr_assert(same(ret.bounds.from, command->bounds.from));
        cr_assert_eq(ret.bounds.no_end, command->bounds.no_end);
        if (!ret.bounds.no_end)
            cr_assert(same(ret.bounds.to, command->bounds.to));
    }
    cr_assert_eq(ret.condition.given, command->condition.given);
    cr_assert_eq(ret.condition.revision, command->condition.revision);
    buf_unref(buf);
    return ret;
}

Test(commands, survive_the_wire)
{
    struct slice zeros = {(const uint8_t *)"\0\0", 2};
    decoded(&(struct kv_command){.opcode = KV_PUT, .key = text("a"), .value = text("1")});
    decoded(&(struct kv_command){.opcode = KV_PUT, .key = zeros, .value = {NULL, 0}});
    decoded(&(struct kv_command){
        .opcode = KV_PUT, .key = text("a"), .value = zeros, .condition = {true, 0}});
    decoded(&(struct kv_command){
        .opcode = KV_PUT, .key = text("a"), .value = text("b"), .condition = {true, UINT64_MAX}});
    decoded(&(struct kv_command){.opcode = KV_DELETE, .key = text("a")});
    decoded(
        &(struct kv_command){.opcode = KV_DELETE, .key = text("a"), .condition = {true, 1 << 20}});
    decoded(&(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = {text("a"), text("b"), 0}});
    decoded(&(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = {.no_end = true}});
    decoded(&(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = {.no_end = false}});
}

static int decode(const void *data, size_t bytes, struct kv_command *ret)
{
    return kv_command_decode(data, bytes, ret);
}

Test(commands, take_the_forms_that_other_languages_write)
{
    struct kv_command command;
    cr_assert_eq(decode(BYTES("\x93\x01\xc4\x01k\xc4\x01v"), &command), CONCLAVE_OK);
    cr_assert(same(command.key, text("k")) && same(command.value, text("v")));
    cr_assert_not(command.condition.given);
    /* str for bin, nil for "no condition" */
    cr_assert_eq(decode(BYTES("\x94\x01\xa1k\xa1v\xc0"), &command), CONCLAVE_OK);
    cr_assert(same(command.key, text("k")) && same(command.value, text("v")));
    cr_assert_not(command.condition.given);
    /* a whole float64, an opcode in two bytes, an array in three */
    cr_assert_eq(decode(BYTES("\xdc\0\x03\xcc\x02\xa1k\xcb\x40\x1c\0\0\0\0\0\0"), &command),
                 CONCLAVE_OK);
    cr_assert_eq(command.opcode, KV_DELETE);
    cr_assert(command.condition.given);
    cr_assert_eq(command.condition.revision, 7);
    /* nil as the lower bound: from the first key */
    cr_assert_eq(decode(BYTES("\x93\x03\xc0\xa1z"), &command), CONCLAVE_OK);
    cr_assert_eq(command.bounds.from.bytes, 0);
    cr_assert_not(command.bounds.no_end);
}

Test(commands, skip_fields_of_later_versions)
{
    struct kv_command command;
    cr_assert_eq(decode(BYTES("\x99\x01\xa1k\xa1v\x05\xc0\xc0\xc0\x81\xa1x\x90\xc3"), &command),
                 CONCLAVE_OK);
    cr_assert_eq(command.condition.revision, 5);
    cr_assert_eq(decode(BYTES("\x94\x03\xa1k\xc0\x01"), &command), CONCLAVE_OK);
    cr_assert(command.bounds.no_end);
}

Test(commands, of_another_form_are_malformed)
{
    struct kv_command command = {.opcode = KV_DELETE};
    cr_assert_eq(decode(NULL, 0, &command), CONCLAVE_MALFORMED);
    cr_assert_eq(decode(BYTES("\x90"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(decode(BYTES("\x80"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(decode(BYTES("\x92\0\xa1k"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(decode(BYTES("\x92\x04\xa1k"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(decode(BYTES("\x92\x01\xa1k"), &command), CONCLAVE_MALFORMED, "no value");
    cr_assert_eq(decode(BYTES("\x93\x01\xa1k\xc0"), &command), CONCLAVE_MALFORMED, "nil value");
    cr_assert_eq(decode(BYTES("\x94\x01\xa1k\xa1v\xff"), &command), CONCLAVE_MALFORMED, "-1");
    cr_assert_eq(decode(BYTES("\x92\x03\xa1k"), &command), CONCLAVE_MALFORMED, "no end given");
    cr_assert_eq(decode(BYTES("\x91\x03"), &command), CONCLAVE_MALFORMED, "no bounds given");
    cr_assert_eq(decode(BYTES("\x93\x01\xa1k\xa1v\0"), &command), CONCLAVE_MALFORMED, "tail");
    cr_assert_eq(decode(BYTES("\xdd\xff\xff\xff\xff"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(command.opcode, KV_DELETE, "the output is untouched");
}

Test(commands, that_are_queries_are_malformed)
{
    struct kv_command command;
    struct kv_query query;
    cr_assert_eq(decode(BYTES("\x92\x40\xa1k"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(decode(BYTES("\x93\x41\xa1k\xc0"), &command), CONCLAVE_MALFORMED);
    cr_assert_eq(kv_query_decode(BYTES("\x92\x02\xa1k"), &query), CONCLAVE_MALFORMED);
}

static int decode_sizes(size_t key_bytes, size_t value_bytes)
{
    uint8_t *zeros = calloc(1, CONCLAVE_COMMAND_BYTES_MAX);
    struct kv_command command = {
        .opcode = KV_PUT, .key = {zeros, key_bytes}, .value = {zeros, value_bytes}};
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &command);
    int code = kv_command_decode(pack.buf->data, pack.bytes, &command);
    pack_deinit(&pack);
    free(zeros);
    return code;
}

Test(commands, keep_to_the_limits)
{
    cr_assert_eq(decode_sizes(1, 0), CONCLAVE_OK);
    cr_assert_eq(decode_sizes(0, 1), CONCLAVE_INVALID);
    cr_assert_eq(decode_sizes(CONCLAVE_KEY_BYTES_MAX, CONCLAVE_VALUE_BYTES_MAX), CONCLAVE_OK);
    cr_assert_eq(decode_sizes(CONCLAVE_KEY_BYTES_MAX + 1, 1), CONCLAVE_TOO_LARGE);
    cr_assert_eq(decode_sizes(1, CONCLAVE_VALUE_BYTES_MAX + 1), CONCLAVE_TOO_LARGE);
}

Test(commands, largest_fits_a_command)
{
    static uint8_t zeros[CONCLAVE_VALUE_BYTES_MAX];
    struct kv_command command = {.opcode = KV_PUT,
                                 .key = {zeros, CONCLAVE_KEY_BYTES_MAX},
                                 .value = {zeros, CONCLAVE_VALUE_BYTES_MAX},
                                 .condition = {true, UINT64_MAX - 1}};
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &command);
    cr_assert_leq(pack.bytes, (size_t)CONCLAVE_COMMAND_BYTES_MAX);
    pack_deinit(&pack);
}

Test(commands, bounds_may_be_one_byte_longer_than_keys)
{
    static uint8_t zeros[KV_BOUND_BYTES_MAX + 1];
    for (size_t over = 0; over < 2; over++) {
        struct kv_command command = {.opcode = KV_DELETE_RANGE,
                                     .bounds.from = {zeros, KV_BOUND_BYTES_MAX + over},
                                     .bounds.no_end = true};
        struct pack pack;
        pack_init(&pack, 0);
        kv_command_pack(&pack, &command);
        int code = kv_command_decode(pack.buf->data, pack.bytes, &command);
        cr_assert_eq(code, over ? CONCLAVE_TOO_LARGE : CONCLAVE_OK);
        pack_deinit(&pack);
    }
}

Test(commands, leave_revisions_out_within_a_limit)
{
    struct kv_command command = {.opcode = KV_DELETE};
    for (uint64_t revisions = 0; revisions <= 2; revisions++) {
        struct pack pack;
        pack_init(&pack, 0);
        uint64_t value = revisions < 2 ? revisions : CONCLAVE_RECOVER_REVISIONS_MAX;
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_ADVANCE, .revisions = value});
        cr_assert_eq(kv_command_decode(pack.buf->data, pack.bytes, &command), CONCLAVE_OK);
        cr_assert_eq(command.opcode, KV_ADVANCE);
        cr_assert_eq(command.revisions, value);
        pack_deinit(&pack);
    }
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_ADVANCE,
                                                .revisions = CONCLAVE_RECOVER_REVISIONS_MAX + 1});
    cr_assert_eq(kv_command_decode(pack.buf->data, pack.bytes, &command), CONCLAVE_TOO_LARGE);
    pack_deinit(&pack);
    cr_assert_eq(kv_command_decode("\x91\x04", 2, &command), CONCLAVE_MALFORMED);
}
