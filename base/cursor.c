#include "base/cursor.h"

#include <endian.h>
#include <string.h>

/* The format's first bytes (msgpack specification, "Formats"). */
enum {
    TAG_FIXINT_LAST = CURSOR_FIXINT_LAST,
    TAG_FIXMAP = 0x80,
    TAG_FIXARRAY = CURSOR_FIXARRAY,
    TAG_FIXSTR = 0xa0,
    TAG_NIL = 0xc0,
    TAG_NEVER_USED = 0xc1,
    TAG_FALSE = 0xc2,
    TAG_TRUE = 0xc3,
    TAG_BIN8 = CURSOR_BIN8,
    TAG_BIN16 = 0xc5,
    TAG_BIN32 = 0xc6,
    TAG_EXT8 = 0xc7,
    TAG_EXT16 = 0xc8,
    TAG_EXT32 = 0xc9,
    TAG_FLOAT32 = 0xca,
    TAG_FLOAT64 = 0xcb,
    TAG_UINT8 = 0xcc,
    TAG_UINT16 = 0xcd,
    TAG_UINT32 = 0xce,
    TAG_UINT64 = 0xcf,
    TAG_INT8 = 0xd0,
    TAG_INT16 = 0xd1,
    TAG_INT32 = 0xd2,
    TAG_INT64 = 0xd3,
    TAG_FIXEXT1 = 0xd4,
    TAG_FIXEXT2 = 0xd5,
    TAG_FIXEXT4 = 0xd6,
    TAG_FIXEXT8 = 0xd7,
    TAG_FIXEXT16 = 0xd8,
    TAG_STR8 = 0xd9,
    TAG_STR16 = 0xda,
    TAG_STR32 = 0xdb,
    TAG_ARRAY16 = 0xdc,
    TAG_ARRAY32 = 0xdd,
    TAG_MAP16 = 0xde,
    TAG_MAP32 = 0xdf,
    TAG_NEGATIVE_FIXINT = 0xe0
};

/* Above it a float64 no longer holds every integer, so a whole one may stand for another. */
#define FLOAT_WHOLE_MAX 9007199254740992.0

/* A bad cursor stands at its end: that alone makes every later read fail, so that no read needs to
 * ask for `bad`. */
void cursor_fail(struct cursor *cursor)
{
    cursor->bad = true;
    cursor->at = cursor->end;
}

static size_t cursor_left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

/* The next `bytes` bytes, or NULL (and bad) if they are not there. */
static inline const uint8_t *cursor_take(struct cursor *cursor, size_t bytes)
{
    if (cursor_left(cursor) < bytes) {
        cursor_fail(cursor);
        return NULL;
    }
    const uint8_t *at = cursor->at;
    cursor->at += bytes;
    return at;
}

/* A big-endian number of 1, 2, 4 or 8 bytes; 0 if bad. */
static inline uint64_t cursor_number(struct cursor *cursor, size_t bytes)
{
    const uint8_t *at = cursor_take(cursor, bytes);
    uint64_t value = 0;
    if (!at)
        return 0;
    memcpy((uint8_t *)&value + sizeof value - bytes, at, bytes);
    return be64toh(value);
}

/* The first byte of the next value; the one that the format never uses (and no read accepts) if
 * there is none. */
static uint8_t cursor_tag(struct cursor *cursor)
{
    const uint8_t *at = cursor_take(cursor, 1);
    return at ? *at : TAG_NEVER_USED;
}

/* An integer of any width and sign. `negative`: the value is the two's complement of an int64. */
struct integer {
    uint64_t value;
    bool negative;
};

static struct integer integer_signed(int64_t value)
{
    return (struct integer){(uint64_t)value, value < 0};
}

static struct integer cursor_float(struct cursor *cursor)
{
    uint64_t bits = cursor_number(cursor, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    bool in_range = value >= -FLOAT_WHOLE_MAX && value <= FLOAT_WHOLE_MAX; /* a NaN is not */
    if (!in_range || value != (double)(int64_t)value) {
        cursor_fail(cursor);
        return (struct integer){0};
    }
    return integer_signed((int64_t)value);
}

static struct integer cursor_integer(struct cursor *cursor)
{
    uint8_t tag = cursor_tag(cursor);
    if (tag <= TAG_FIXINT_LAST)
        return (struct integer){tag, false};
    if (tag >= TAG_NEGATIVE_FIXINT)
        return integer_signed((int8_t)tag);
    switch (tag) {
    case TAG_UINT8:
        return (struct integer){cursor_number(cursor, 1), false};
    case TAG_UINT16:
        return (struct integer){cursor_number(cursor, 2), false};
    case TAG_UINT32:
        return (struct integer){cursor_number(cursor, 4), false};
    case TAG_UINT64:
        return (struct integer){cursor_number(cursor, 8), false};
    case TAG_INT8:
        return integer_signed((int8_t)cursor_number(cursor, 1));
    case TAG_INT16:
        return integer_signed((int16_t)cursor_number(cursor, 2));
    case TAG_INT32:
        return integer_signed((int32_t)cursor_number(cursor, 4));
    case TAG_INT64:
        return integer_signed((int64_t)cursor_number(cursor, 8));
    case TAG_FLOAT64:
        return cursor_float(cursor);
    default:
        cursor_fail(cursor);
        return (struct integer){0};
    }
}

uint64_t cursor_uint_any(struct cursor *cursor)
{
    struct integer integer = cursor_integer(cursor);
    if (integer.negative) {
        cursor_fail(cursor);
        return 0;
    }
    return integer.value;
}

int64_t cursor_int(struct cursor *cursor)
{
    struct integer integer = cursor_integer(cursor);
    if (!integer.negative && integer.value > INT64_MAX) {
        cursor_fail(cursor);
        return 0;
    }
    return (int64_t)integer.value;
}

bool cursor_bool(struct cursor *cursor)
{
    uint8_t tag = cursor_tag(cursor);
    if (tag != TAG_TRUE && tag != TAG_FALSE)
        cursor_fail(cursor);
    return tag == TAG_TRUE;
}

/* The length that the header of a bin or str with this tag claims. */
static size_t cursor_bin_bytes(struct cursor *cursor, uint8_t tag)
{
    if ((tag & 0xe0) == TAG_FIXSTR)
        return tag & 0x1f;
    switch (tag) {
    case TAG_BIN8:
    case TAG_STR8:
        return cursor_number(cursor, 1);
    case TAG_BIN16:
    case TAG_STR16:
        return cursor_number(cursor, 2);
    case TAG_BIN32:
    case TAG_STR32:
        return cursor_number(cursor, 4);
    default:
        cursor_fail(cursor);
        return 0;
    }
}

struct slice cursor_bin_any(struct cursor *cursor)
{
    size_t bytes = cursor_bin_bytes(cursor, cursor_tag(cursor));
    const uint8_t *data = cursor_take(cursor, bytes);
    if (cursor->bad)
        return (struct slice){0};
    return (struct slice){data, bytes};
}

uint32_t cursor_array_any(struct cursor *cursor)
{
    uint8_t tag = cursor_tag(cursor);
    uint32_t count = 0;
    if ((tag & 0xf0) == TAG_FIXARRAY)
        count = tag & 0x0f;
    else if (tag == TAG_ARRAY16)
        count = (uint32_t)cursor_number(cursor, 2);
    else if (tag == TAG_ARRAY32)
        count = (uint32_t)cursor_number(cursor, 4);
    else
        cursor_fail(cursor);
    if (count > cursor_left(cursor)) {
        cursor_fail(cursor);
        return 0;
    }
    return count;
}

uint32_t cursor_map(struct cursor *cursor)
{
    uint8_t tag = cursor_tag(cursor);
    uint32_t count = 0;
    if ((tag & 0xf0) == TAG_FIXMAP)
        count = tag & 0x0f;
    else if (tag == TAG_MAP16)
        count = (uint32_t)cursor_number(cursor, 2);
    else if (tag == TAG_MAP32)
        count = (uint32_t)cursor_number(cursor, 4);
    else
        cursor_fail(cursor);
    if (count > cursor_left(cursor) / 2) {
        cursor_fail(cursor);
        return 0;
    }
    return count;
}

bool cursor_nil(struct cursor *cursor)
{
    if (cursor->at == cursor->end || *cursor->at != TAG_NIL)
        return false;
    cursor->at++;
    return true;
}

bool cursor_is_bin(const struct cursor *cursor)
{
    return cursor->at != cursor->end && *cursor->at >= TAG_BIN8 && *cursor->at <= TAG_BIN32;
}

/* Skips what follows the tag of a value that holds no others; bad for tags that have no meaning. */
static void cursor_skip_scalar(struct cursor *cursor, uint8_t tag)
{
    switch (tag) {
    case TAG_NIL:
    case TAG_FALSE:
    case TAG_TRUE:
        return;
    case TAG_UINT8:
    case TAG_INT8:
        cursor_take(cursor, 1);
        return;
    case TAG_UINT16:
    case TAG_INT16:
        cursor_take(cursor, 2);
        return;
    case TAG_UINT32:
    case TAG_INT32:
    case TAG_FLOAT32:
        cursor_take(cursor, 4);
        return;
    case TAG_UINT64:
    case TAG_INT64:
    case TAG_FLOAT64:
        cursor_take(cursor, 8);
        return;
    case TAG_EXT8:
        cursor_take(cursor, cursor_number(cursor, 1) + 1); /* one byte more: the ext's type */
        return;
    case TAG_EXT16:
        cursor_take(cursor, cursor_number(cursor, 2) + 1);
        return;
    case TAG_EXT32:
        cursor_take(cursor, cursor_number(cursor, 4) + 1);
        return;
    default:
        if (tag >= TAG_FIXEXT1 && tag <= TAG_FIXEXT16)
            cursor_take(cursor, ((size_t)1 << (tag - TAG_FIXEXT1)) + 1);
        else if (tag > TAG_FIXINT_LAST && tag < TAG_NEGATIVE_FIXINT)
            cursor_take(cursor, cursor_bin_bytes(cursor, tag));
    }
}

void cursor_skip(struct cursor *cursor)
{
    /* Values still to be skipped. Each takes at least one byte, so the number is kept at or below
     * the bytes that are left: it cannot overflow, and every turn of the loop reads a byte. */
    uint64_t values = 1;
    while (values > 0 && !cursor->bad) {
        uint8_t tag = cursor_tag(cursor);
        values--;
        if ((tag & 0xf0) == TAG_FIXARRAY)
            values += tag & 0x0f;
        else if ((tag & 0xf0) == TAG_FIXMAP)
            values += (uint64_t)(tag & 0x0f) * 2;
        else if (tag == TAG_ARRAY16)
            values += cursor_number(cursor, 2);
        else if (tag == TAG_ARRAY32)
            values += cursor_number(cursor, 4);
        else if (tag == TAG_MAP16)
            values += cursor_number(cursor, 2) * 2;
        else if (tag == TAG_MAP32)
            values += cursor_number(cursor, 4) * 2;
        else
            cursor_skip_scalar(cursor, tag);
        if (values > cursor_left(cursor))
            cursor_fail(cursor);
    }
}

struct slice cursor_raw(struct cursor *cursor)
{
    const uint8_t *start = cursor->at;
    cursor_skip(cursor);
    if (cursor->bad)
        return (struct slice){0};
    return (struct slice){start, (size_t)(cursor->at - start)};
}

void cursor_text(struct cursor *cursor, char *text, size_t size)
{
    struct slice bytes = cursor_bin(cursor);
    if (bytes.bytes >= size || (bytes.bytes && memchr(bytes.data, 0, bytes.bytes))) {
        cursor_fail(cursor);
        bytes.bytes = 0;
    }
    if (bytes.bytes)
        memcpy(text, bytes.data, bytes.bytes);
    if (size)
        text[bytes.bytes] = '\0';
}
