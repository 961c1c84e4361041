#include "machine/reply.h"

#include "base/fatal.h"

void reply_sink_clear(struct conclave_reply_sink *sink)
{
    buf_unref(sink->body);
    sink->body = NULL;
    sink->code = CONCLAVE_OK;
    sink->refused = false;
    sink->effect = 0;
}

void reply_sink_refuse(struct conclave_reply_sink *sink, int code)
{
    reply_sink_take(sink, code, NULL);
    sink->refused = true;
}

void reply_sink_take(struct conclave_reply_sink *sink, int code, struct buf *body)
{
    ASSERT(!body || body->bytes <= CONCLAVE_COMMAND_BYTES_MAX);
    buf_unref(sink->body);
    sink->code = code;
    sink->body = body;
}

void conclave_reply_set(struct conclave_reply_sink *sink, int code, const void *data, size_t bytes)
{
    if (bytes > CONCLAVE_COMMAND_BYTES_MAX)
        reply_sink_take(sink, CONCLAVE_TOO_LARGE, NULL);
    else
        reply_sink_take(sink, code, bytes ? buf_copy(data, bytes) : NULL);
}
