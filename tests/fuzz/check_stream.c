/* Subscriptions: what clients say of them, and what they are told. */
#include "check.h"

#include "base/fatal.h"
#include "codec/stream.h"
#include "codec/topic.h"
#include "codec/watch.h"

#include <string.h>

static bool same(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

static struct slice packed(const struct pack *pack)
{
    return (struct slice){pack->buf->data, pack->bytes};
}

/* The spec of either kind. */
static bool check_specs(struct slice spec)
{
    struct watch_spec watch, watch_again;
    struct topic_spec topic, topic_again;
    struct pack pack;
    int not_watch = watch_spec_decode(spec, &watch);
    int not_topic = topic_spec_decode(spec, &topic);
    pack_init(&pack, 0);
    if (!not_watch) {
        ASSERT(check_within(watch.bounds.from, spec.data, spec.bytes));
        ASSERT(check_within(watch.bounds.to, spec.data, spec.bytes));
        watch_spec_pack(&pack, &watch);
        int code = watch_spec_decode(packed(&pack), &watch_again);
        ASSERT(code == CONCLAVE_OK && watch_again.what == watch.what);
        ASSERT(same(watch.bounds.from, watch_again.bounds.from));
    }
    pack.bytes = 0;
    if (!not_topic) {
        ASSERT(check_within(topic.name, spec.data, spec.bytes));
        topic_spec_pack(&pack, &topic);
        int code = topic_spec_decode(packed(&pack), &topic_again);
        ASSERT(code == CONCLAVE_OK && topic_again.id == topic.id);
        ASSERT(same(topic.name, topic_again.name));
    }
    pack_deinit(&pack);
    return !not_watch || !not_topic;
}

bool check_subscribe(const uint8_t *data, size_t bytes)
{
    struct stream_subscribe subscribe = {.position = 77}, again;
    int code = stream_subscribe_decode((struct slice){data, bytes}, &subscribe);
    if (code) {
        ASSERT(code == CONCLAVE_MALFORMED || code == CONCLAVE_TOO_LARGE);
        ASSERT(subscribe.position == 77);
        return false;
    }
    ASSERT(check_within(subscribe.spec, data, bytes));
    struct pack pack;
    pack_init(&pack, 0);
    stream_subscribe_pack(&pack, &subscribe);
    code = stream_subscribe_decode(packed(&pack), &again);
    ASSERT(code == CONCLAVE_OK);
    ASSERT(again.kind == subscribe.kind && again.position == subscribe.position &&
           again.granted == subscribe.granted && same(again.spec, subscribe.spec));
    pack_deinit(&pack);
    return check_specs(subscribe.spec);
}

bool check_credit(const uint8_t *data, size_t bytes)
{
    struct stream_credit credit = {.granted = 77}, again;
    if (stream_credit_decode((struct slice){data, bytes}, &credit)) {
        ASSERT(credit.granted == 77);
        return false;
    }
    struct pack pack;
    pack_init(&pack, 0);
    stream_credit_pack(&pack, &credit);
    int code = stream_credit_decode(packed(&pack), &again);
    ASSERT(code == CONCLAVE_OK);
    ASSERT(again.granted == credit.granted && again.ask == credit.ask);
    pack_deinit(&pack);
    return true;
}

/* As events of keys, items of a state, and messages: whatever they are. */
static void check_items(const struct stream_frame *frame)
{
    const uint8_t *data = frame->items.data;
    size_t bytes = frame->items.bytes;
    struct watch_event event;
    struct kv_item kept;
    struct topic_item item;
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    for (uint32_t i = 0; i < frame->count && !watch_event_read(&cursor, &event); i++)
        ASSERT(check_within(event.key, data, bytes) && check_within(event.value, data, bytes) &&
               (!event.has_previous || check_within(event.previous.value, data, bytes)));
    cursor_init(&cursor, data, bytes);
    for (uint32_t i = 0; i < frame->count && !watch_item_read(&cursor, &kept); i++)
        ASSERT(check_within(kept.key, data, bytes) && check_within(kept.value, data, bytes));
    cursor_init(&cursor, data, bytes);
    for (uint32_t i = 0; i < frame->count && !topic_item_read(&cursor, &item); i++)
        ASSERT(check_within(item.message.data, data, bytes) &&
               check_within(item.message.id, data, bytes));
}

bool check_frame(const uint8_t *data, size_t bytes)
{
    struct stream_frame frame = {.number = 77}, again;
    if (stream_frame_decode((struct slice){data, bytes}, &frame)) {
        ASSERT(frame.number == 77);
        return false;
    }
    ASSERT(check_within(frame.items, data, bytes));
    ASSERT(frame.count <= frame.items.bytes);
    check_items(&frame);
    if (frame.type < STREAM_BEGUN || frame.type > STREAM_RESYNC)
        return true; /* one of a later version is read, never written */
    struct pack pack;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &frame);
    int code = stream_frame_decode(packed(&pack), &again);
    ASSERT(code == CONCLAVE_OK);
    ASSERT(again.number == frame.number && again.type == frame.type &&
           again.position == frame.position && again.more == frame.more &&
           again.count == frame.count && again.ask == frame.ask && again.oldest == frame.oldest);
    ASSERT(same(again.items, frame.items));
    pack_deinit(&pack);
    return true;
}
