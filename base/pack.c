#include "base/pack.h"

#include "base/fatal.h"

#include <string.h>

static void pack_grow(struct pack *pack, size_t more)
{
    struct buf *old = pack->buf;
    ASSERT(more <= SIZE_MAX / 2 - old->bytes);
    size_t capacity = old->bytes * 2;
    if (capacity < pack->bytes + more)
        capacity = pack->bytes + more;
    struct buf *grown = buf_create(capacity);
    memcpy(grown->data, old->data, pack->bytes);
    buf_unref(old);
    pack->buf = grown;
}

static inline int pack_append(struct pack *pack, const void *data, size_t bytes)
{
    if (__builtin_expect(bytes > pack->buf->bytes - pack->bytes, 0))
        pack_grow(pack, bytes);
    if (bytes)
        memcpy(pack->buf->data + pack->bytes, data, bytes);
    pack->bytes += bytes;
    return 0;
}

/* msgpack-c's packer functions, made for a struct pack: its template takes the writer as a macro,
 * so that a constant-sized write is one compare and one store instead of a call through a pointer
 * (measured on 64 entries of 128 bytes: 0.8 us; 2.1 us by a msgpack_packer with a callback). They
 * cannot fail here, because pack_append cannot. */
#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>
#define msgpack_pack_inline_func(name) static inline int template##name
#define msgpack_pack_inline_func_cint(name) static inline int template##name
#define msgpack_pack_user struct pack *
#define msgpack_pack_append_buffer(user, data, bytes) return pack_append(user, data, bytes)
#include <msgpack/pack_template.h>

enum { PACK_CAPACITY_MIN = 64 };

void pack_init(struct pack *pack, size_t capacity)
{
    pack->buf = buf_create(capacity < PACK_CAPACITY_MIN ? PACK_CAPACITY_MIN : capacity);
    pack->bytes = 0;
}

void pack_reserve(struct pack *pack, size_t bytes)
{
    if (bytes > pack->buf->bytes - pack->bytes)
        pack_grow(pack, bytes);
}

void pack_deinit(struct pack *pack)
{
    buf_unref(pack->buf);
    pack->buf = NULL;
    pack->bytes = 0;
}

struct buf *pack_take(struct pack *pack)
{
    struct buf *buf = pack->buf;
    ASSERT(buf && pack->bytes <= buf->bytes);
    buf->bytes = pack->bytes;
    pack->buf = NULL;
    pack->bytes = 0;
    return buf;
}

void pack_uint_any(struct pack *pack, uint64_t value)
{
    template_uint64(pack, value);
}

void pack_int(struct pack *pack, int64_t value)
{
    template_int64(pack, value);
}

void pack_bool(struct pack *pack, bool value)
{
    if (value)
        template_true(pack);
    else
        template_false(pack);
}

void pack_nil(struct pack *pack)
{
    template_nil(pack);
}

void pack_array_any(struct pack *pack, uint32_t count)
{
    template_array(pack, count);
}

void pack_map(struct pack *pack, uint32_t count)
{
    template_map(pack, count);
}

void pack_bin(struct pack *pack, const void *data, size_t bytes)
{
    ASSERT(bytes <= UINT32_MAX);
    template_bin(pack, bytes);
    template_bin_body(pack, data, bytes);
}

void pack_bin_header(struct pack *pack, size_t bytes)
{
    ASSERT(bytes <= UINT32_MAX);
    template_bin(pack, bytes);
}

void pack_str(struct pack *pack, const char *text)
{
    size_t bytes = strlen(text);
    ASSERT(bytes <= UINT32_MAX);
    template_str(pack, bytes);
    template_str_body(pack, text, bytes);
}

void pack_raw(struct pack *pack, const void *data, size_t bytes)
{
    pack_append(pack, data, bytes);
}
