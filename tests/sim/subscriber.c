#include "tests/sim/subscriber.h"

#include "codec/stream.h"
#include "codec/topic.h"
#include "tests/sim/ops.h"

void subscriber_init(struct subscriber *subscriber, const struct reference *reference,
                     uint32_t name)
{
    *subscriber = (struct subscriber){.reference = reference, .name = name};
}

static const struct reference_topic *topic_of(const struct subscriber *subscriber)
{
    return reference_topic_of(subscriber->reference, subscriber->topic);
}

bool subscriber_choose(struct subscriber *subscriber, uint64_t position)
{
    if (subscriber->topic)
        return true;
    const struct reference_topic *topic =
        reference_topic_at(subscriber->reference, subscriber->name, UINT64_MAX);
    if (!topic)
        return false;
    subscriber->topic = topic->id;
    subscriber->position = position < topic->end ? position : topic->end;
    return true;
}

void subscriber_lost(struct subscriber *subscriber)
{
    subscriber->number = subscriber->ask = subscriber->answered = subscriber->age_ms = 0;
    subscriber->begun = false;
}

struct buf *subscriber_subscribe(struct subscriber *subscriber)
{
    struct pack spec, pack;
    subscriber_lost(subscriber);
    subscriber->asked_end = topic_of(subscriber)->end;
    pack_init(&spec, 0);
    topic_spec_pack(&spec, &(struct topic_spec){.name = topic_encode(subscriber->name),
                                                .id = subscriber->topic});
    pack_init(&pack, 0);
    stream_subscribe_pack(&pack, &(struct stream_subscribe){STREAM_TOPIC,
                                                            subscriber->position,
                                                            subscriber->granted,
                                                            {spec.buf->data, spec.bytes}});
    pack_deinit(&spec);
    return pack_take(&pack);
}

void subscriber_ask(struct subscriber *subscriber)
{
    if (subscriber->ask != subscriber->answered)
        return;
    subscriber->ask++;
    subscriber->ask_end = topic_of(subscriber)->end;
}

/* --- What is wrong ---------------------------------------------------------------------------- */

static void fail(struct subscriber *subscriber, const char *wrong, uint64_t at)
{
    if (subscriber->wrong)
        return;
    subscriber->wrong = wrong;
    subscriber->wrong_at = at;
}

static void begin(struct subscriber *subscriber, const struct stream_frame *frame)
{
    uint64_t end = topic_of(subscriber)->end;
    if (subscriber->position && frame->position != subscriber->position)
        fail(subscriber, "it begins elsewhere", frame->position);
    if (!subscriber->position && (frame->position < subscriber->asked_end || frame->position > end))
        fail(subscriber, "what comes begins elsewhere", frame->position);
    subscriber->position = frame->position;
    subscriber->begun = true;
    subscriber->begins++;
}

static void take_message(struct subscriber *subscriber, const struct topic_item *item)
{
    const struct reference_topic *topic = topic_of(subscriber);
    uint64_t sequence = item->sequence;
    if (sequence < subscriber->position)
        fail(subscriber, "a message comes again", sequence);
    else if (sequence > subscriber->position)
        fail(subscriber, "a message was left out", sequence);
    else if (sequence >= topic->end)
        fail(subscriber, "a message was never published", sequence);
    if (subscriber->wrong)
        return;
    const struct reference_message *message = &topic->messages.items[sequence - 1];
    uint64_t id = item->message.id.bytes ? item->message.id.data[0] : 0;
    if (message->value != reference_value_hash(item->message.data) || message->id != id ||
        message->origin != reference_origin_hash(item->message.origin) ||
        message->time_ms != item->time_ms)
        fail(subscriber, "a message was another one", sequence);
    if (message->revision != item->revision)
        fail(subscriber, "a message is of another revision", sequence);
    subscriber->position = sequence + 1;
    subscriber->messages++;
}

static void take_messages(struct subscriber *subscriber, const struct stream_frame *frame)
{
    struct cursor cursor;
    cursor_init(&cursor, frame->items.data, frame->items.bytes);
    for (uint32_t i = 0; i < frame->count && !subscriber->wrong; i++) {
        struct topic_item item;
        if (topic_item_read(&cursor, &item))
            fail(subscriber, "a message cannot be read", subscriber->position);
        else
            take_message(subscriber, &item);
    }
    if (frame->more || frame->position != subscriber->position)
        fail(subscriber, "a frame ends elsewhere than its messages", frame->position);
}

static void take_mark(struct subscriber *subscriber, const struct stream_frame *frame)
{
    subscriber->age_ms = frame->age_ms;
    if (frame->position != subscriber->position)
        fail(subscriber, "a mark says that something was told that was not", frame->position);
    if (frame->ask && frame->ask == subscriber->ask && frame->position < subscriber->ask_end)
        fail(subscriber, "a mark is older than what it was asked for", frame->position);
    if (frame->ask)
        subscriber->answered = frame->ask;
}

/* What lies between is not kept by anybody who has applied as much as the reference. */
static void take_gap(struct subscriber *subscriber, const struct stream_frame *frame)
{
    if (frame->position != subscriber->position || frame->oldest <= frame->position)
        fail(subscriber, "a gap is told where there is none", frame->position);
    if (frame->oldest > reference_topic_first(subscriber->reference, topic_of(subscriber)))
        fail(subscriber, "a gap is told, and its messages are kept", frame->oldest);
    subscriber->position = frame->oldest;
    subscriber->gaps++;
}

bool subscriber_take(struct subscriber *subscriber, struct slice body)
{
    struct stream_frame frame;
    if (stream_frame_decode(body, &frame)) {
        fail(subscriber, "a frame cannot be read", 0);
        return true;
    }
    if (frame.number != subscriber->number + 1)
        return false;
    subscriber->number = frame.number;
    if ((frame.type == STREAM_BEGUN) != (frame.number == 1))
        fail(subscriber, "the first frame says that it began, and no other", frame.position);
    switch (frame.type) {
    case STREAM_BEGUN:
        begin(subscriber, &frame);
        break;
    case STREAM_EVENTS:
        take_messages(subscriber, &frame);
        break;
    case STREAM_PROGRESS:
        take_mark(subscriber, &frame);
        break;
    case STREAM_RESYNC:
        take_gap(subscriber, &frame);
        break;
    default:
        fail(subscriber, "a frame has an unknown type", frame.position);
    }
    return true;
}

void subscriber_ended(struct subscriber *subscriber, int code)
{
    bool begun = subscriber->begun;
    subscriber_lost(subscriber);
    /* Behind the beginning it may be the subscription that the node does not know any more. */
    if (code != CONCLAVE_NOT_FOUND || begun)
        return;
    if (topic_of(subscriber)->deleted == 0)
        fail(subscriber, "a topic that is there was not found", subscriber->topic);
    subscriber->topic = subscriber->position = 0;
    subscriber->deletions++;
}

bool subscriber_rests(const struct subscriber *subscriber)
{
    const struct reference_topic *topic =
        reference_topic_at(subscriber->reference, subscriber->name, UINT64_MAX);
    if (!topic || !subscriber->topic)
        return !topic && !subscriber->topic;
    return subscriber->topic == topic->id && subscriber->position == topic->end;
}
