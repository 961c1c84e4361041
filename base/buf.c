#include "base/buf.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

static void buf_release_heap(struct buf *buf)
{
    free(buf);
}

struct buf *buf_create(size_t bytes)
{
    struct buf *buf = mem_alloc(sizeof *buf + bytes);
    atomic_init(&buf->refs, 1);
    buf->bytes = bytes;
    buf->data = (uint8_t *)(buf + 1);
    buf->release = buf_release_heap;
    buf->meter = NULL;
    return buf;
}

struct buf *buf_copy(const void *data, size_t bytes)
{
    struct buf *buf = buf_create(bytes);
    if (bytes)
        memcpy(buf->data, data, bytes);
    return buf;
}

void buf_charge(struct buf *buf, struct meter *meter)
{
    ASSERT(!buf->meter);
    buf->meter = meter_ref(meter);
    meter_take(meter, buf->bytes);
}

struct buf *buf_ref(struct buf *buf)
{
    unsigned before = atomic_fetch_add_explicit(&buf->refs, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return buf;
}

void buf_unref(struct buf *buf)
{
    if (!buf)
        return;
    unsigned before = atomic_fetch_sub_explicit(&buf->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    struct meter *meter = buf->meter;
    size_t bytes = buf->bytes;
    buf->release(buf);
    if (meter) {
        meter_give_back(meter, bytes);
        meter_unref(meter);
    }
}
