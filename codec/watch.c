#include "codec/watch.h"

#include "codec/fields.h"

/* Array 1, kind 1, key header 3, value header 5, four numbers; the same again for what was. */
enum { EVENT_FRAME_BYTES = 1 + 1 + 3 + 5 + 3 * 9, PREVIOUS_FRAME_BYTES = 1 + 5 + 3 * 9 };

int watch_spec_decode(struct slice spec, struct watch_spec *ret)
{
    struct fields fields;
    fields_begin(&fields, spec.data, spec.bytes);
    struct watch_spec watch = {0};
    if (fields.left < 2)
        cursor_fail(&fields.cursor);
    if (fields_given(&fields))
        watch.bounds.from = cursor_bin(fields_next(&fields));
    watch.bounds.no_end = !fields_given(&fields);
    if (!watch.bounds.no_end)
        watch.bounds.to = cursor_bin(fields_next(&fields));
    watch.what = fields_uint_or(&fields, 0);
    watch.space = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    if (watch.what > WATCH_WHAT_ALL || watch.space > UINT8_MAX)
        return CONCLAVE_INVALID;
    if (watch.bounds.from.bytes > KV_BOUND_BYTES_MAX || watch.bounds.to.bytes > KV_BOUND_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    *ret = watch;
    return CONCLAVE_OK;
}

void watch_spec_pack(struct pack *pack, const struct watch_spec *spec)
{
    pack_array(pack, spec->space ? 4 : 3);
    pack_bin(pack, spec->bounds.from.data, spec->bounds.from.bytes);
    if (spec->bounds.no_end)
        pack_nil(pack);
    else
        pack_bin(pack, spec->bounds.to.data, spec->bounds.to.bytes);
    pack_uint(pack, spec->what);
    if (spec->space)
        pack_uint(pack, spec->space);
}

size_t watch_event_bytes(const struct watch_event *event)
{
    size_t bytes = EVENT_FRAME_BYTES + event->key.bytes + event->value.bytes;
    return event->has_previous ? bytes + PREVIOUS_FRAME_BYTES + event->previous.value.bytes : bytes;
}

void watch_event_pack(struct pack *pack, const struct watch_event *event)
{
    pack_array(pack, event->has_previous ? 7 : 6);
    pack_uint(pack, event->kind);
    pack_bin(pack, event->key.data, event->key.bytes);
    if (event->kind == WATCH_PUT)
        pack_bin(pack, event->value.data, event->value.bytes);
    else
        pack_nil(pack);
    pack_uint(pack, event->revision);
    pack_uint(pack, event->create_revision);
    pack_uint(pack, event->version);
    if (!event->has_previous)
        return;
    pack_array(pack, 4);
    pack_bin(pack, event->previous.value.data, event->previous.value.bytes);
    pack_uint(pack, event->previous.create_revision);
    pack_uint(pack, event->previous.mod_revision);
    pack_uint(pack, event->previous.version);
}

static void read_previous(struct fields *fields, struct watch_event *event)
{
    event->has_previous = fields_given(fields);
    if (!event->has_previous)
        return;
    struct slice raw = cursor_raw(fields_next(fields));
    struct fields inside;
    fields_begin(&inside, raw.data, raw.bytes);
    event->previous.value = cursor_bin(fields_next(&inside));
    event->previous.create_revision = cursor_uint(fields_next(&inside));
    event->previous.mod_revision = cursor_uint(fields_next(&inside));
    event->previous.version = cursor_uint(fields_next(&inside));
    if (!fields_end(&inside))
        cursor_fail(&fields->cursor);
}

int watch_event_read(struct cursor *cursor, struct watch_event *ret)
{
    struct slice raw = cursor_raw(cursor);
    struct fields fields;
    struct watch_event event = {0};
    fields_begin(&fields, raw.data, raw.bytes);
    event.kind = cursor_uint(fields_next(&fields));
    event.key = cursor_bin(fields_next(&fields));
    if (fields_given(&fields))
        event.value = cursor_bin(fields_next(&fields));
    event.revision = cursor_uint(fields_next(&fields));
    event.create_revision = cursor_uint(fields_next(&fields));
    event.version = cursor_uint(fields_next(&fields));
    read_previous(&fields, &event);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = event;
    return CONCLAVE_OK;
}

int watch_item_read(struct cursor *cursor, struct kv_item *ret)
{
    struct kv_item item = kv_item_read(cursor);
    if (!cursor_ok(cursor))
        return CONCLAVE_MALFORMED;
    *ret = item;
    return CONCLAVE_OK;
}
