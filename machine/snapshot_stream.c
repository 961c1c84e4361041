#include "machine/snapshot_stream.h"

#include "base/fatal.h"

int conclave_snapshot_add(struct conclave_snapshot_sink *sink, const void *data, size_t bytes)
{
    if (!sink->failed && bytes > 0)
        sink->failed = sink->add(sink->arg, data, bytes);
    return sink->failed;
}

int conclave_snapshot_read(struct conclave_snapshot_source *source, void *data, size_t bytes,
                           size_t *ret_bytes)
{
    size_t got = 0;
    if (!source->failed && !source->ended && bytes > 0) {
        source->failed = source->read(source->arg, data, bytes, &got);
        source->ended = !source->failed && got < bytes;
    }
    if (!source->failed)
        *ret_bytes = got;
    return source->failed;
}

int snapshot_source_end(struct conclave_snapshot_source *source)
{
    uint8_t more;
    size_t got = 0;
    int code = conclave_snapshot_read(source, &more, 1, &got);
    return code ? code : got > 0 ? CONCLAVE_CORRUPT : CONCLAVE_OK;
}
