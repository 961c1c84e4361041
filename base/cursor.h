/* base/cursor.h - reading MessagePack from bytes that nobody vouches for.
 *
 * A cursor checks the remaining bytes before every read, allocates nothing, recurses nowhere, and
 * has a sticky error: after the first bad read every later one answers 0 or empty, so that a
 * decoder reads all its fields and then asks cursor_ok() once. A claimed count never sizes
 * anything: arrays are bounded by the remaining bytes (an element takes at least one).
 *
 * Liberal where clients of other languages are (str = bin, non-negative signed integers, whole
 * float64 up to 2^53, non-minimal headers), strict in everything else. Owned by one thread.
 *
 * What nearly every field is (small numbers, short bins and arrays) is read here, inline, all else
 * by a call: commands are decoded on every node that applies them. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/buf.h"

#include <stdbool.h>

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

/* What the first byte of a value says (msgpack specification, "Formats"). */
enum {
    CURSOR_FIXINT_LAST = 0x7f,
    CURSOR_FIXARRAY = 0x90,
    CURSOR_BIN8 = 0xc4,
};

static inline void cursor_init(struct cursor *cursor, const void *data, size_t bytes)
{
    static const uint8_t nothing[1]; /* so that data may be NULL when there are no bytes */
    cursor->at = bytes ? (const uint8_t *)data : nothing;
    cursor->end = cursor->at + bytes;
    cursor->bad = false;
}

/* True as long as every read so far was good. */
static inline bool cursor_ok(const struct cursor *cursor)
{
    return !cursor->bad;
}

/* True if every read was good and nothing is left: what a framed decoder must end with. */
static inline bool cursor_done(const struct cursor *cursor)
{
    return !cursor->bad && cursor->at == cursor->end;
}

/* Marks the cursor bad: for values that are well formed and out of the schema. */
void cursor_fail(struct cursor *cursor);

/* Of any form. */
uint64_t cursor_uint_any(struct cursor *cursor);
struct slice cursor_bin_any(struct cursor *cursor);
uint32_t cursor_array_any(struct cursor *cursor);

static inline uint64_t cursor_uint(struct cursor *cursor)
{
    if (cursor->at != cursor->end && *cursor->at <= CURSOR_FIXINT_LAST)
        return *cursor->at++;
    return cursor_uint_any(cursor);
}

/* A bin or str; points into the bytes read. */
static inline struct slice cursor_bin(struct cursor *cursor)
{
    size_t left = (size_t)(cursor->end - cursor->at);
    if (left < 2 || cursor->at[0] != CURSOR_BIN8 || cursor->at[1] > left - 2)
        return cursor_bin_any(cursor);
    struct slice bin = {cursor->at + 2, cursor->at[1]};
    cursor->at += 2 + bin.bytes;
    return bin;
}

/* How many elements, at most the remaining bytes. */
static inline uint32_t cursor_array(struct cursor *cursor)
{
    size_t left = (size_t)(cursor->end - cursor->at);
    if (left == 0 || (*cursor->at & 0xf0) != CURSOR_FIXARRAY || (*cursor->at & 0x0fu) >= left)
        return cursor_array_any(cursor);
    return *cursor->at++ & 0x0f;
}

int64_t cursor_int(struct cursor *cursor);
bool cursor_bool(struct cursor *cursor);
uint32_t cursor_map(struct cursor *cursor); /* pair count, at most half the remaining bytes */

/* If the next value is nil, reads it and answers true; else reads nothing and answers false. */
bool cursor_nil(struct cursor *cursor);

/* True if the next value is a bin (not a str); reads nothing. */
bool cursor_is_bin(const struct cursor *cursor);

/* Skips one whole value of any type, nested ones included, without recursion. */
void cursor_skip(struct cursor *cursor);

/* The bytes of the next value, header included, skipping it. */
struct slice cursor_raw(struct cursor *cursor);

/* Copies a bin or str as a C string into text[size]; bad if it does not fit or holds a NUL. */
void cursor_text(struct cursor *cursor, char *text, size_t size);

#endif
