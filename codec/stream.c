#include "codec/stream.h"

#include "base/fatal.h"
#include "codec/fields.h"

/* --- What clients say ------------------------------------------------------------------------- */

int stream_subscribe_decode(struct slice body, struct stream_subscribe *ret)
{
    struct fields fields;
    fields_begin(&fields, body.data, body.bytes);
    struct stream_subscribe subscribe = {0};
    subscribe.kind = cursor_uint(fields_next(&fields));
    subscribe.position = cursor_uint(fields_next(&fields));
    subscribe.granted = cursor_uint(fields_next(&fields));
    subscribe.spec = cursor_raw(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    if (subscribe.spec.bytes > STREAM_SPEC_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    *ret = subscribe;
    return CONCLAVE_OK;
}

void stream_subscribe_pack(struct pack *pack, const struct stream_subscribe *subscribe)
{
    pack_array(pack, 4);
    pack_uint(pack, subscribe->kind);
    pack_uint(pack, subscribe->position);
    pack_uint(pack, subscribe->granted);
    pack_raw(pack, subscribe->spec.data, subscribe->spec.bytes);
}

int stream_credit_decode(struct slice body, struct stream_credit *ret)
{
    struct fields fields;
    fields_begin(&fields, body.data, body.bytes);
    struct stream_credit credit = {0};
    credit.granted = cursor_uint(fields_next(&fields));
    credit.ask = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = credit;
    return CONCLAVE_OK;
}

void stream_credit_pack(struct pack *pack, const struct stream_credit *credit)
{
    pack_array(pack, credit->ask ? 2 : 1);
    pack_uint(pack, credit->granted);
    if (credit->ask)
        pack_uint(pack, credit->ask);
}

/* --- What nodes say --------------------------------------------------------------------------- */

/* The elements of the array that comes next, skipped as a whole. */
static void read_items(struct fields *fields, struct stream_frame *frame)
{
    struct cursor *cursor = fields_next(fields);
    struct slice array = cursor_raw(cursor);
    struct cursor inside;
    cursor_init(&inside, array.data, array.bytes);
    frame->count = cursor_array(&inside);
    if (!cursor_ok(&inside)) {
        cursor_fail(cursor);
        return;
    }
    frame->items = (struct slice){inside.at, (size_t)(inside.end - inside.at)};
}

int stream_frame_decode(struct slice body, struct stream_frame *ret)
{
    struct fields fields;
    fields_begin(&fields, body.data, body.bytes);
    struct stream_frame frame = {0};
    frame.number = cursor_uint(fields_next(&fields));
    frame.type = cursor_uint(fields_next(&fields));
    frame.position = cursor_uint(fields_next(&fields));
    switch (frame.type) {
    case STREAM_BEGUN:
        frame.lifetime_ms = cursor_uint(fields_next(&fields));
        break;
    case STREAM_EVENTS:
    case STREAM_STATE:
        frame.more = cursor_bool(fields_next(&fields));
        read_items(&fields, &frame);
        break;
    case STREAM_PROGRESS:
        frame.age_ms = cursor_uint(fields_next(&fields));
        frame.ask = cursor_uint(fields_next(&fields));
        break;
    case STREAM_RESYNC:
        frame.oldest = cursor_uint(fields_next(&fields));
        break;
    default:
        break;
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = frame;
    return CONCLAVE_OK;
}

void stream_frame_pack(struct pack *pack, const struct stream_frame *frame)
{
    bool items = frame->type == STREAM_EVENTS || frame->type == STREAM_STATE;
    pack_array(pack, items || frame->type == STREAM_PROGRESS ? 5 : 4);
    pack_uint(pack, frame->number);
    pack_uint(pack, frame->type);
    pack_uint(pack, frame->position);
    if (items) {
        pack_bool(pack, frame->more);
        pack_array(pack, frame->count);
        pack_raw(pack, frame->items.data, frame->items.bytes);
        return;
    }
    switch (frame->type) {
    case STREAM_BEGUN:
        pack_uint(pack, frame->lifetime_ms);
        return;
    case STREAM_PROGRESS:
        pack_uint(pack, frame->age_ms);
        pack_uint(pack, frame->ask);
        return;
    case STREAM_RESYNC:
        pack_uint(pack, frame->oldest);
        return;
    default:
        ASSERT(!"a frame of a type that is written");
    }
}
