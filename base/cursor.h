/* base/cursor.h - reading MessagePack from bytes that nobody vouches for.
 *
 * A cursor checks the remaining bytes before every read, allocates nothing, recurses nowhere, and
 * has a sticky error: after the first bad read every later one answers 0 or empty, so that a
 * decoder reads all its fields and then asks cursor_ok() once. A claimed count never sizes
 * anything: arrays are bounded by the remaining bytes (an element takes at least one).
 *
 * Liberal where clients of other languages are (str = bin, non-negative signed integers, whole
 * float64 up to 2^53, non-minimal headers), strict in everything else. Owned by one thread. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/buf.h"

#include <stdbool.h>

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

void cursor_init(struct cursor *cursor, const void *data, size_t bytes);

/* True as long as every read so far was good. */
bool cursor_ok(const struct cursor *cursor);

/* True if every read was good and nothing is left: what a framed decoder must end with. */
bool cursor_done(const struct cursor *cursor);

/* Marks the cursor bad: for values that are well formed and out of the schema. */
void cursor_fail(struct cursor *cursor);

uint64_t cursor_uint(struct cursor *cursor);
int64_t cursor_int(struct cursor *cursor);
bool cursor_bool(struct cursor *cursor);
struct slice cursor_bin(struct cursor *cursor); /* bin or str; points into the bytes read */
uint32_t cursor_array(struct cursor *cursor);   /* element count, at most the remaining bytes */
uint32_t cursor_map(struct cursor *cursor);     /* pair count, at most half the remaining bytes */

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
