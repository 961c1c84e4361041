#include "client/request.h"

static void release_nothing(struct buf *buf)
{
    (void)buf;
}

int request_begin_fixed(struct pack *pack, struct buf *buf, void *buffer, size_t capacity,
                        size_t content)
{
    if (capacity < CONCLAVE_KV_OVERHEAD || capacity - CONCLAVE_KV_OVERHEAD < content)
        return CONCLAVE_TOO_LARGE;
    atomic_init(&buf->refs, 1);
    buf->bytes = capacity;
    buf->data = buffer;
    buf->release = release_nothing;
    buf->meter = NULL;
    *pack = (struct pack){.buf = buf};
    return CONCLAVE_OK;
}

void request_call(struct conclave_client *client, struct conclave_op wanted, struct pack *pack,
                  struct conclave_op *op)
{
    *op = wanted;
    op->data = pack->buf->data;
    op->bytes = pack->bytes;
    int code = conclave_client_call(client, op);
    op->code = code;
    op->data = NULL;
    op->bytes = 0;
    pack_deinit(pack);
}
