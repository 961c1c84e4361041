/* The cursor against msgpack-c: random values written by one, read by both. */
#include "base/cursor.h"
#include "base/prng.h"

#include <criterion/criterion.h>
#include <msgpack.h>
#include <string.h>

enum { DEPTH_MAX = 5, LENGTH_MAX = 300 };

/* An integer whose width is drawn first, so that small ones are as likely as large ones. */
static uint64_t random_integer(struct prng *prng)
{
    return prng_next(prng) >> prng_below(prng, 64);
}

static void write_integer(msgpack_packer *packer, struct prng *prng)
{
    uint64_t value = random_integer(prng);
    switch (prng_below(prng, 12)) {
    case 0:
        msgpack_pack_uint64(packer, value);
        break;
    case 1:
        msgpack_pack_int64(packer, (int64_t)value);
        break;
    case 2:
        msgpack_pack_int64(packer, (int64_t)(0 - value));
        break;
    case 3: /* the rest: headers wider than the value needs */
        msgpack_pack_fix_uint8(packer, (uint8_t)value);
        break;
    case 4:
        msgpack_pack_fix_uint16(packer, (uint16_t)value);
        break;
    case 5:
        msgpack_pack_fix_uint32(packer, (uint32_t)value);
        break;
    case 6:
        msgpack_pack_fix_uint64(packer, value);
        break;
    case 7:
        msgpack_pack_fix_int8(packer, (int8_t)value);
        break;
    case 8:
        msgpack_pack_fix_int16(packer, (int16_t)value);
        break;
    case 9:
        msgpack_pack_fix_int32(packer, (int32_t)value);
        break;
    case 10:
        msgpack_pack_fix_int64(packer, (int64_t)value);
        break;
    default:
        msgpack_pack_double(packer, (double)value / (double)(1 + prng_below(prng, 2)));
    }
}

static void write_bytes(msgpack_packer *packer, struct prng *prng)
{
    static const char bytes[LENGTH_MAX] = "bytes";
    size_t length = prng_below(prng, LENGTH_MAX);
    switch (prng_below(prng, 3)) {
    case 0:
        msgpack_pack_str_with_body(packer, bytes, length);
        break;
    case 1:
        msgpack_pack_bin_with_body(packer, bytes, length);
        break;
    default:
        msgpack_pack_ext_with_body(packer, bytes, length, (int8_t)prng_next(prng));
    }
}

static void write_value(msgpack_packer *packer, struct prng *prng, int depth)
{
    uint64_t kind = prng_below(prng, depth < DEPTH_MAX ? 8 : 5);
    size_t count = prng_below(prng, prng_below(prng, 8) == 0 ? 40 : 6);
    switch (kind) {
    case 0:
        msgpack_pack_nil(packer);
        break;
    case 1:
        if (prng_next(prng) & 1)
            msgpack_pack_true(packer);
        else
            msgpack_pack_false(packer);
        break;
    case 2:
        msgpack_pack_float(packer, (float)prng_next(prng));
        break;
    case 3:
        write_integer(packer, prng);
        break;
    case 4:
        write_bytes(packer, prng);
        break;
    case 5:
        msgpack_pack_map(packer, count);
        for (size_t i = 0; i < count; i++) {
            write_value(packer, prng, depth + 1);
            write_value(packer, prng, depth + 1);
        }
        break;
    default:
        msgpack_pack_array(packer, count);
        for (size_t i = 0; i < count; i++)
            write_value(packer, prng, depth + 1);
    }
}

static void compare_float(struct cursor *cursor, double value)
{
    struct cursor probe = *cursor;
    bool whole = value <= 9007199254740992.0 && value == (double)(uint64_t)value;
    uint64_t got = cursor_uint(&probe);
    cr_assert_eq(cursor_ok(&probe), whole);
    cr_assert_eq(got, whole ? (uint64_t)value : 0);
    cursor_skip(cursor);
}

static void compare_bytes(struct cursor *cursor, const void *data, size_t bytes)
{
    struct slice slice = cursor_bin(cursor);
    cr_assert(cursor_ok(cursor));
    cr_assert_eq(slice.bytes, bytes);
    cr_assert(bytes == 0 || memcmp(slice.data, data, bytes) == 0);
}

static void compare(struct cursor *cursor, const msgpack_object *object)
{
    struct cursor probe = *cursor;
    cr_assert_eq(cursor_is_bin(cursor), object->type == MSGPACK_OBJECT_BIN);
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        cr_assert(cursor_nil(cursor));
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        cr_assert_eq(cursor_bool(cursor), object->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        cr_assert_eq(cursor_uint(cursor), object->via.u64);
        cursor_int(&probe);
        cr_assert_eq(cursor_ok(&probe), object->via.u64 <= INT64_MAX);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        cr_assert_eq(cursor_int(cursor), object->via.i64);
        cursor_uint(&probe);
        cr_assert_not(cursor_ok(&probe));
        break;
    case MSGPACK_OBJECT_FLOAT64:
        compare_float(cursor, object->via.f64);
        break;
    case MSGPACK_OBJECT_STR:
        compare_bytes(cursor, object->via.str.ptr, object->via.str.size);
        break;
    case MSGPACK_OBJECT_BIN:
        compare_bytes(cursor, object->via.bin.ptr, object->via.bin.size);
        break;
    case MSGPACK_OBJECT_ARRAY:
        cr_assert_eq(cursor_array(cursor), object->via.array.size);
        for (uint32_t i = 0; i < object->via.array.size; i++)
            compare(cursor, &object->via.array.ptr[i]);
        break;
    case MSGPACK_OBJECT_MAP:
        cr_assert_eq(cursor_map(cursor), object->via.map.size);
        for (uint32_t i = 0; i < object->via.map.size; i++) {
            compare(cursor, &object->via.map.ptr[i].key);
            compare(cursor, &object->via.map.ptr[i].val);
        }
        break;
    default: /* float32, ext: only ever skipped */
        cursor_skip(cursor);
    }
    cr_assert(cursor_ok(cursor));
}

Test(cursor, agrees_with_msgpack_c_on_random_values)
{
    enum { VALUES = 2000 };
    struct prng prng;
    prng_init(&prng, 20260101);
    for (int i = 0; i < VALUES; i++) {
        msgpack_sbuffer written;
        msgpack_packer packer;
        msgpack_sbuffer_init(&written);
        msgpack_packer_init(&packer, &written, msgpack_sbuffer_write);
        write_value(&packer, &prng, 0);

        msgpack_unpacked unpacked;
        msgpack_unpacked_init(&unpacked);
        size_t offset = 0;
        cr_assert_eq(msgpack_unpack_next(&unpacked, written.data, written.size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
        struct cursor cursor;
        cursor_init(&cursor, written.data, written.size);
        compare(&cursor, &unpacked.data);
        cr_assert(cursor_done(&cursor), "value %d", i);

        cursor_init(&cursor, written.data, written.size);
        cr_assert_eq(cursor_raw(&cursor).bytes, offset);
        size_t cut = prng_below(&prng, written.size);
        cursor_init(&cursor, written.data, cut);
        cursor_skip(&cursor);
        cr_assert_not(cursor_ok(&cursor), "value %d cut to %zu bytes", i, cut);

        msgpack_unpacked_destroy(&unpacked);
        msgpack_sbuffer_destroy(&written);
    }
}
