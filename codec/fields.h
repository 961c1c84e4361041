/* codec/fields.h - reading a positional array field by field, the form of every command, query and
 * answer; and what MessagePack's shortest forms take. Any thread; owned by the decoder. */
#ifndef CODEC_FIELDS_H
#define CODEC_FIELDS_H

#include "base/cursor.h"

/* Of the array whose elements are being read: how many are left. */
struct fields {
    struct cursor cursor;
    uint32_t left;
};

static inline void fields_begin(struct fields *fields, const void *data, size_t bytes)
{
    cursor_init(&fields->cursor, data, bytes);
    fields->left = cursor_array(&fields->cursor);
}

/* Whether an optional field is there and not nil; if it is nil it is read. */
static inline bool fields_given(struct fields *fields)
{
    if (fields->left == 0)
        return false;
    if (!cursor_nil(&fields->cursor))
        return true;
    fields->left--;
    return false;
}

/* The cursor for the next field, which must be there. */
static inline struct cursor *fields_next(struct fields *fields)
{
    if (fields->left == 0)
        cursor_fail(&fields->cursor);
    else
        fields->left--;
    return &fields->cursor;
}

/* Skips what a later version appended; true if everything was well formed to the last byte. */
static inline bool fields_end(struct fields *fields)
{
    while (fields->left > 0 && cursor_ok(&fields->cursor))
        cursor_skip(fields_next(fields));
    return cursor_done(&fields->cursor);
}

/* An array whose elements are read later: how many, and a cursor at the first one. */
static inline struct cursor fields_elements(struct fields *fields, uint32_t *ret_count)
{
    struct cursor inside;
    struct slice raw = cursor_raw(fields_next(fields));
    cursor_init(&inside, raw.data, raw.bytes);
    *ret_count = cursor_array(&inside);
    if (!cursor_ok(&inside))
        cursor_fail(&fields->cursor);
    return inside;
}

/* An array inside another, as fields; to be ended by fields_inner_end, which skips what is left of
 * it and moves the outer cursor behind it: a bad one makes that bad. */
static inline struct fields fields_inner(struct cursor *cursor)
{
    struct fields fields = {*cursor, 0};
    fields.left = cursor_array(&fields.cursor);
    return fields;
}
static inline void fields_inner_end(struct fields *fields, struct cursor *cursor)
{
    (void)fields_end(fields);
    *cursor = fields->cursor;
}

static inline uint64_t fields_uint_or(struct fields *fields, uint64_t absent)
{
    return fields_given(fields) ? cursor_uint(fields_next(fields)) : absent;
}

/* Of pack_bin's header and pack_uint: MessagePack's shortest forms. */
static inline size_t bin_header_bytes(size_t bytes)
{
    return bytes <= UINT8_MAX ? 2 : bytes <= UINT16_MAX ? 3 : 5;
}

static inline size_t uint_bytes(uint64_t value)
{
    if (value <= INT8_MAX)
        return 1;
    return value <= UINT8_MAX ? 2 : value <= UINT16_MAX ? 3 : value <= UINT32_MAX ? 5 : 9;
}

#endif
