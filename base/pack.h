/* base/pack.h - writing MessagePack into a growing buffer, by msgpack-c's own packer functions.
 * Owned by one thread. Reading is base/cursor.h. */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include "base/buf.h"

#include <stdbool.h>

/* Grows by doubling; the bytes end up in a buf without a last copy. */
struct pack {
    struct buf *buf; /* capacity = buf->bytes while packing */
    size_t bytes;    /* written so far */
};

/* Starts empty with room for about `capacity` bytes. */
void pack_init(struct pack *pack, size_t capacity);

/* Makes room for `bytes` more at once, where it is known how much will come: growing step by step
 * copies what is there each time. */
void pack_reserve(struct pack *pack, size_t bytes);

/* Frees what was written, unless taken. */
void pack_deinit(struct pack *pack);

/* Hands the bytes over as a buf of one reference; the pack is then as after deinit. */
struct buf *pack_take(struct pack *pack);

/* One byte, if there is room for it. */
static inline bool pack_byte(struct pack *pack, uint8_t byte)
{
    if (pack->bytes == pack->buf->bytes)
        return false;
    pack->buf->data[pack->bytes++] = byte;
    return true;
}

/* What nearly every field is, a small number or a short array, is written inline. */
void pack_uint_any(struct pack *pack, uint64_t value);
void pack_array_any(struct pack *pack, uint32_t count);

static inline void pack_uint(struct pack *pack, uint64_t value)
{
    if (value > INT8_MAX || !pack_byte(pack, (uint8_t)value))
        pack_uint_any(pack, value);
}

static inline void pack_array(struct pack *pack, uint32_t count)
{
    enum { FIXARRAY = 0x90, FIXARRAY_MAX = 15 }; /* msgpack specification, "Formats" */
    if (count > FIXARRAY_MAX || !pack_byte(pack, (uint8_t)(FIXARRAY | count)))
        pack_array_any(pack, count);
}

void pack_int(struct pack *pack, int64_t value);
void pack_bool(struct pack *pack, bool value);
void pack_nil(struct pack *pack);
void pack_map(struct pack *pack, uint32_t count);
void pack_bin(struct pack *pack, const void *data, size_t bytes); /* bytes <= UINT32_MAX */
void pack_bin_header(struct pack *pack, size_t bytes);            /* the bytes follow as pack_raw */
void pack_str(struct pack *pack, const char *text);
void pack_raw(struct pack *pack, const void *data, size_t bytes); /* already packed */

#endif
