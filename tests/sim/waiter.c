#include "tests/sim/waiter.h"

#include "codec/stream.h"
#include "tests/sim/ops.h"

void waiter_init(struct waiter *waiter, const struct reference *reference, uint32_t topic,
                 uint32_t name)
{
    *waiter = (struct waiter){.reference = reference, .topic = topic, .name = name};
}

static const struct reference_group *group_of(const struct waiter *waiter)
{
    return reference_group_of(waiter->reference, waiter->group);
}

static uint64_t wake_of(const struct waiter *waiter)
{
    return reference_group_wake(waiter->reference, group_of(waiter));
}

bool waiter_choose(struct waiter *waiter, bool now)
{
    if (waiter->group)
        return true;
    const struct reference_group *group =
        reference_group_at(waiter->reference, waiter->topic, waiter->name, UINT64_MAX);
    if (!group)
        return false;
    waiter->group = group->id;
    waiter->position = now ? 0 : 1;
    return true;
}

void waiter_lost(struct waiter *waiter)
{
    waiter->number = waiter->ask = waiter->answered = waiter->age_ms = 0;
    waiter->begun = false;
}

struct buf *waiter_subscribe(struct waiter *waiter)
{
    struct pack spec, pack;
    waiter_lost(waiter);
    waiter->asked_wake = wake_of(waiter);
    pack_init(&spec, 0);
    group_spec_pack(
        &spec, &(struct group_spec){.topic = topic_encode(waiter->topic), .id = waiter->group});
    pack_init(&pack, 0);
    stream_subscribe_pack(
        &pack, &(struct stream_subscribe){
                   STREAM_GROUP, waiter->position, waiter->granted, {spec.buf->data, spec.bytes}});
    pack_deinit(&spec);
    return pack_take(&pack);
}

void waiter_ask(struct waiter *waiter)
{
    if (waiter->ask != waiter->answered)
        return;
    waiter->ask++;
    waiter->ask_wake = wake_of(waiter);
}

/* --- What is wrong ---------------------------------------------------------------------------- */

static void fail(struct waiter *waiter, const char *wrong, uint64_t at)
{
    if (waiter->wrong)
        return;
    waiter->wrong = wrong;
    waiter->wrong_at = at;
}

static void begin(struct waiter *waiter, const struct stream_frame *frame)
{
    if (waiter->position && frame->position != waiter->position)
        fail(waiter, "it begins elsewhere", frame->position);
    if (!waiter->position &&
        (frame->position < waiter->asked_wake || frame->position > wake_of(waiter)))
        fail(waiter, "what comes begins elsewhere", frame->position);
    waiter->position = frame->position;
    waiter->begun = true;
    waiter->begins++;
}

static void take_wakes(struct waiter *waiter, const struct stream_frame *frame)
{
    struct cursor cursor;
    cursor_init(&cursor, frame->items.data, frame->items.bytes);
    for (uint32_t i = 0; i < frame->count; i++) {
        uint64_t wake = cursor_uint(&cursor);
        if (!cursor_ok(&cursor))
            fail(waiter, "an event cannot be read", waiter->position);
        else if (wake <= waiter->position)
            fail(waiter, "it is woken by nothing new", wake);
        else if (wake > wake_of(waiter))
            fail(waiter, "the group has not come so far", wake);
        waiter->position = wake;
        waiter->wakes++;
    }
    if (frame->more || frame->position != waiter->position)
        fail(waiter, "a frame ends elsewhere than its events", frame->position);
}

static void take_mark(struct waiter *waiter, const struct stream_frame *frame)
{
    waiter->age_ms = frame->age_ms;
    if (frame->position != waiter->position)
        fail(waiter, "there was something, and it was not woken", frame->position);
    if (frame->ask && frame->ask == waiter->ask && frame->position < waiter->ask_wake)
        fail(waiter, "a mark is older than what it was asked for", frame->position);
    if (frame->ask)
        waiter->answered = frame->ask;
}

bool waiter_take(struct waiter *waiter, struct slice body)
{
    struct stream_frame frame;
    if (stream_frame_decode(body, &frame)) {
        fail(waiter, "a frame cannot be read", 0);
        return true;
    }
    if (frame.number != waiter->number + 1)
        return false;
    waiter->number = frame.number;
    if ((frame.type == STREAM_BEGUN) != (frame.number == 1))
        fail(waiter, "the first frame says that it began, and no other", frame.position);
    switch (frame.type) {
    case STREAM_BEGUN:
        begin(waiter, &frame);
        break;
    case STREAM_EVENTS:
        take_wakes(waiter, &frame);
        break;
    case STREAM_PROGRESS:
        take_mark(waiter, &frame);
        break;
    default:
        fail(waiter, "a frame is of no type that there is", frame.position);
    }
    return true;
}

void waiter_ended(struct waiter *waiter, int code)
{
    bool begun = waiter->begun;
    waiter_lost(waiter);
    /* Behind the beginning it may be the subscription that the node does not know any more. */
    if (code != CONCLAVE_NOT_FOUND || begun)
        return;
    if (group_of(waiter)->deleted == 0)
        fail(waiter, "a group that is there was not found", waiter->group);
    waiter->group = waiter->position = 0;
    waiter->deletions++;
}

bool waiter_rests(const struct waiter *waiter)
{
    const struct reference_group *group =
        reference_group_at(waiter->reference, waiter->topic, waiter->name, UINT64_MAX);
    if (!group || !waiter->group)
        return !group && !waiter->group;
    return waiter->group == group->id && waiter->position == wake_of(waiter);
}
