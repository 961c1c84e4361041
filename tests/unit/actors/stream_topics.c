/* Subscriptions to topics: from history into what comes, each message once and none left out; what
 * was dropped is said; a topic that is gone ends them. */
#include "stream_room.h"

#include "base/prng.h"
#include "codec/topic.h"
#include "machine/topic.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { READERS_MAX = 16 };

/* What one subscription was told. */
struct reader {
    uint64_t number, next; /* the last frame; the message that has to come */
    uint64_t granted, spent, resyncs;
    int ended; /* the code; 0: it was not */
};

struct room {
    struct stream_room of;
    struct reader readers[READERS_MAX];
};

static struct room *room_create(void)
{
    struct room *room = calloc(1, sizeof *room);
    stream_room_init(&room->of);
    return room;
}

static void room_destroy(struct room *room)
{
    stream_room_deinit(&room->of);
    free(room);
}

static void subscribe(struct room *room, uint32_t i, const char *name, uint64_t id,
                      uint64_t position, uint64_t granted)
{
    struct pack spec, body;
    room->readers[i] = (struct reader){.next = position, .granted = granted};
    pack_init(&spec, 0);
    topic_spec_pack(&spec, &(struct topic_spec){slice_of(name), id});
    pack_init(&body, 0);
    stream_subscribe_pack(&body, &(struct stream_subscribe){.kind = STREAM_TOPIC,
                                                            .position = position,
                                                            .granted = granted,
                                                            .spec = {spec.buf->data, spec.bytes}});
    stream_hub_subscribe(room->of.hub, i + 1, 1, room->of.meter,
                         (struct slice){body.buf->data, body.bytes}, room->of.now_us);
    pack_deinit(&spec);
    pack_deinit(&body);
}

static void grant(struct room *room, uint32_t i, uint64_t bytes)
{
    struct pack pack;
    room->readers[i].granted += bytes;
    pack_init(&pack, 0);
    stream_credit_pack(&pack, &(struct stream_credit){room->readers[i].granted, 0});
    stream_hub_credit(room->of.hub, i + 1, 1, (struct slice){pack.buf->data, pack.bytes},
                      room->of.now_us);
    pack_deinit(&pack);
}

static void take_events(struct reader *reader, const struct stream_frame *frame)
{
    struct pack pack;
    struct topic_read_answer answer = {.count = frame->count};
    struct topic_item item;
    pack_init(&pack, frame->items.bytes + 16);
    topic_read_answer_pack(&pack, &answer, frame->items); /* in the form that is read */
    cr_assert_eq(topic_read_answer_begin(pack.buf->data, pack.bytes, &answer), CONCLAVE_OK);
    while (topic_read_answer_next(&answer, &item) == 1) {
        cr_assert_eq(item.sequence, reader->next, "%lu, not %lu", (unsigned long)item.sequence,
                     (unsigned long)reader->next);
        reader->next++;
    }
    cr_assert_leq(reader->next, frame->position);
    pack_deinit(&pack);
}

static void take(struct reader *reader, struct slice body)
{
    struct stream_frame frame;
    cr_assert_eq(stream_frame_decode(body, &frame), CONCLAVE_OK);
    cr_assert_eq(frame.number, ++reader->number);
    if (frame.type == STREAM_BEGUN && reader->next == 0)
        reader->next = frame.position;
    if (frame.type == STREAM_EVENTS) {
        cr_assert_lt(reader->spent, reader->granted, "it was paid for");
        reader->spent += body.bytes;
        take_events(reader, &frame);
    }
    if (frame.type == STREAM_RESYNC) {
        cr_assert_gt(frame.oldest, reader->next);
        reader->next = frame.oldest;
        reader->resyncs++;
    }
    cr_assert_neq(frame.type, STREAM_STATE);
}

static uint32_t deliver(struct room *room)
{
    struct stream_outputs *outputs = stream_hub_outputs(room->of.hub);
    uint32_t count = outputs->count;
    for (uint32_t i = 0; i < outputs->count; i++) {
        const struct stream_output *output = &outputs->items[i];
        struct reader *reader = &room->readers[output->client - 1];
        if (output->code)
            reader->ended = output->code;
        else if (output->body)
            take(reader, (struct slice){output->body->data, output->body->bytes});
        buf_unref(output->body);
    }
    outputs->count = 0;
    return count;
}

static void run(struct room *room)
{
    stream_hub_fresh(room->of.hub, room->of.now_us);
    do {
        stream_hub_turn(room->of.hub, room->of.now_us);
    } while (deliver(room) > 0 || stream_hub_due_us(room->of.hub) == 0);
}

Test(stream_topics, run_from_history_into_what_comes_without_a_seam)
{
    struct room *room = room_create();
    stream_room_create(&room->of, "t", 0);
    stream_room_create(&room->of, "other", 0);
    stream_room_publish(&room->of, "t", 3, 10);
    subscribe(room, 0, "t", 0, 1, 1 << 20);
    subscribe(room, 1, "t", 0, 0, 1 << 20);
    subscribe(room, 2, "t", 0, 6, 1 << 20);
    stream_room_publish(&room->of, "t", 1, 10);
    run(room);
    cr_assert_eq(room->readers[0].next, 5);
    cr_assert_eq(room->readers[1].next, 5, "from now on");
    cr_assert_eq(room->readers[2].next, 6, "it waits for the sixth");
    stream_room_publish(&room->of, "other", 5, 10);
    stream_room_publish(&room->of, "t", 4, 10);
    stream_room_publish(&room->of, "t", 1, 10);
    run(room);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(room->readers[i].next, 10);
    room_destroy(room);
}

Test(stream_topics, send_no_more_than_was_granted_and_large_messages_alone)
{
    struct room *room = room_create();
    stream_room_create(&room->of, "t", 0);
    for (int i = 0; i < 10; i++)
        stream_room_publish(&room->of, "t", i % 2 ? 1 : 5, i % 2 ? 200000 : 50000);
    subscribe(room, 0, "t", 0, 1, 1);
    for (unsigned grants = 0; room->readers[0].next < 31; grants++) {
        struct reader *reader = &room->readers[0];
        run(room);
        cr_assert_lt(grants, 31);
        cr_assert_geq(reader->spent, reader->granted, "all of it is used");
        grant(room, 0, reader->spent - reader->granted + 1);
    }
    room_destroy(room);
}

Test(stream_topics, say_what_was_dropped_before_it_was_told)
{
    struct room *room = room_create();
    stream_room_create(&room->of, "t", 3);
    subscribe(room, 0, "t", 0, 1, 0);
    run(room);
    stream_room_publish(&room->of, "t", 10, 10);
    run(room);
    cr_assert_eq(room->readers[0].next, 1);
    grant(room, 0, 1 << 20);
    run(room);
    cr_assert_eq(room->readers[0].resyncs, 1);
    cr_assert_eq(room->readers[0].next, 11);
    stream_room_publish(&room->of, "t", 1, 10);
    run(room);
    cr_assert_eq(room->readers[0].next, 12);
    room_destroy(room);
}

Test(stream_topics, end_with_their_topic)
{
    struct room *room = room_create();
    uint64_t id = stream_room_create(&room->of, "t", 0);
    subscribe(room, 0, "none", 0, 1, 1 << 20);
    subscribe(room, 1, "t", id, 1, 1 << 20);
    subscribe(room, 2, "t", id + 1, 1, 1 << 20);
    subscribe(room, 3, "", 0, 1, 1 << 20);
    stream_room_publish(&room->of, "t", 5, 10);
    run(room);
    cr_assert_eq(room->readers[0].ended, CONCLAVE_NOT_FOUND);
    cr_assert_eq(room->readers[2].ended, CONCLAVE_NOT_FOUND, "another one of that name");
    cr_assert_eq(room->readers[3].ended, CONCLAVE_INVALID);
    cr_assert_eq(room->readers[1].next, 6);
    stream_room_drop(&room->of, "t");
    stream_room_create(&room->of, "t", 0);
    stream_room_publish(&room->of, "t", 2, 10);
    for (int i = 0; i < 5 && !room->readers[1].ended; i++) {
        room->of.now_us += 1000000; /* when it would be told of its progress, at the latest */
        run(room);
    }
    cr_assert_eq(room->readers[1].ended, CONCLAVE_NOT_FOUND);
    room_destroy(room);
}

/* More topics than are noted by name in one apply, and readers of all of them. */
Test(stream_topics, hear_of_many_topics_at_once)
{
    struct room *room = room_create();
    enum { TOPICS = TOPIC_TOUCHED_MAX + 10 };
    char names[TOPICS][8];
    struct pack packs[TOPICS];
    struct conclave_command commands[TOPICS];
    for (int i = 0; i < TOPICS; i++) {
        names[i][0] = 't';
        names[i][1] = (char)('0' + i / 10);
        names[i][2] = (char)('0' + i % 10);
        names[i][3] = 0;
        stream_room_create(&room->of, names[i], 0);
    }
    for (uint32_t i = 0; i < READERS_MAX; i++)
        subscribe(room, i, names[TOPICS - 1 - i], 0, 1, 1 << 20);
    run(room);
    for (int i = 0; i < TOPICS; i++) {
        struct topic_publish wanted = {.name = slice_of(names[i]), .count = 1};
        pack_init(&packs[i], 0);
        topic_publish_begin(&packs[i], &wanted);
        topic_publish_data(&packs[i], slice_of("m"));
        topic_publish_ids(&packs[i], &wanted);
        commands[i] =
            (struct conclave_command){++room->of.index, 1, packs[i].buf->data, packs[i].bytes};
    }
    cr_assert_eq(room->of.ops->apply(room->of.kv, commands, TOPICS, room->of.index, NULL),
                 CONCLAVE_OK);
    stream_hub_applied(room->of.hub);
    run(room);
    for (uint32_t i = 0; i < READERS_MAX; i++)
        cr_assert_eq(room->readers[i].next, 2);
    for (int i = 0; i < TOPICS; i++)
        pack_deinit(&packs[i]);
    room_destroy(room);
}

/* Whatever is published, granted and dropped: no gap but those that are said, nothing twice. */
Test(stream_topics, keep_their_promises_at_random)
{
    static const char *const names[] = {"a", "b", "c"};
    struct room *room = room_create();
    struct prng prng;
    prng_init(&prng, 5);
    for (int i = 0; i < 3; i++)
        stream_room_create(&room->of, names[i], i == 2 ? 20 : 0);
    for (int step = 0; step < 5000; step++) {
        uint32_t i = (uint32_t)prng_below(&prng, READERS_MAX);
        const char *name = names[i % 3];
        switch (prng_below(&prng, 8)) {
        case 0:
            if (room->readers[i].number == 0)
                subscribe(room, i, name, 0, prng_below(&prng, 30), prng_below(&prng, 1000));
            break;
        case 1:
        case 2:
            if (room->readers[i].number > 0)
                grant(room, i, prng_below(&prng, 2000));
            break;
        case 3:
            run(room);
            break;
        default:
            stream_room_publish(&room->of, names[prng_below(&prng, 3)],
                                1 + (uint32_t)prng_below(&prng, 4), prng_below(&prng, 200));
        }
    }
    for (uint32_t i = 0; i < READERS_MAX; i++)
        if (room->readers[i].number > 0)
            grant(room, i, UINT64_C(1) << 32);
    run(room);
    for (uint32_t i = 0; i < READERS_MAX; i++) {
        cr_assert_gt(room->readers[i].number, 0);
        cr_assert_eq(room->readers[i].ended, 0);
        cr_assert_eq(room->readers[i].next, room->readers[i % 3].next, "reader %u", i);
    }
    cr_assert_gt(room->readers[2].resyncs, 0);
    cr_assert_eq(room->readers[0].resyncs, 0);
    room_destroy(room);
}
