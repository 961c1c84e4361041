/* What of the applied messages goes to the feed: what somebody wants, in order, each once, and no
 * more than there is room for. */
#include "actors/machine_broadcast.h"

#include "codec/topic.h"
#include "stream_room.h"

#include <criterion/criterion.h>
#include <string.h>

static struct stream_room room;
static struct machine_broadcast broadcast;
static struct broadcast_list list;

static void setup(void)
{
    stream_room_init(&room);
    machine_broadcast_init(&broadcast, room.hub, kv_topic_feed(room.kv));
}

static void teardown(void)
{
    broadcast_list_clear(&list);
    machine_broadcast_deinit(&broadcast);
    stream_room_deinit(&room);
}

TestSuite(machine_broadcast, .init = setup, .fini = teardown);

/* A subscription, as the socket hands it out. */
static void hear(uint8_t begins, const char *prefix, size_t bytes)
{
    struct buf *heard = buf_create(1 + bytes), *items[] = {heard};
    heard->data[0] = begins;
    memcpy(heard->data + 1, prefix, bytes);
    machine_broadcast_hear(&broadcast, &(struct heard_list){items, 1, 1});
    buf_unref(heard);
}
#define HEAR(begins, prefix) hear(begins, prefix, sizeof(prefix) - 1)

/* How many messages of the topic are in the list, which have to follow one another from there. */
static uint64_t told(const char *name, uint64_t from)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        const struct broadcast_piece *piece = &list.items[i];
        if (piece->topic->bytes != strlen(name) + 1 || strcmp((char *)piece->topic->data, name))
            continue;
        struct cursor cursor;
        cursor_init(&cursor, piece->items->data, piece->items->bytes);
        for (uint32_t k = 0; k < piece->count; k++) {
            struct topic_item item;
            cr_assert_eq(topic_item_read(&cursor, &item), CONCLAVE_OK);
            cr_assert_eq(item.sequence, from + count++);
        }
        cr_assert(cursor_done(&cursor));
    }
    return count;
}

static uint64_t read(void)
{
    broadcast_list_clear(&list);
    return machine_broadcast_read(&broadcast, &list);
}

Test(machine_broadcast, reads_nothing_that_nobody_wants)
{
    stream_room_create(&room, "t", 0);
    stream_room_publish(&room, "t", 3, 10);
    cr_assert_eq(broadcast.noted.count, 0);
    cr_assert_eq(read(), 0);
    cr_assert_eq(list.count, 0);
    HEAR(1, "other\0");
    stream_room_publish(&room, "t", 3, 10);
    cr_assert_eq(read(), 0);
    cr_assert_eq(list.count, 0);
}

Test(machine_broadcast, tells_what_is_published_from_then_on_in_order_and_once)
{
    stream_room_create(&room, "t", 0);
    stream_room_create(&room, "t2", 0);
    stream_room_publish(&room, "t", 3, 10);
    HEAR(1, "t\0");
    stream_room_publish(&room, "t", 2, 10);
    stream_room_publish(&room, "t2", 2, 10);
    stream_room_publish(&room, "t", 1, 10);
    cr_assert_eq(read(), 0);
    cr_assert_eq(told("t", 4), 3);
    cr_assert_eq(told("t2", 1), 0, "the name is another one");
    cr_assert_eq(read(), 0);
    cr_assert_eq(list.count, 0);
    HEAR(0, "t\0");
    stream_room_publish(&room, "t", 1, 10);
    read();
    cr_assert_eq(list.count, 0);
}

Test(machine_broadcast, tells_topics_by_the_beginning_of_their_names)
{
    HEAR(1, "a/");
    stream_room_create(&room, "a/1", 0);
    stream_room_create(&room, "a/2", 0);
    stream_room_create(&room, "b", 0);
    stream_room_publish(&room, "a/2", 1, 10);
    stream_room_publish(&room, "b", 1, 10);
    stream_room_publish(&room, "a/1", 2, 10);
    read();
    cr_assert_eq(told("a/1", 1), 2);
    cr_assert_eq(told("a/2", 1), 1);
    cr_assert_eq(list.count, 2);
}

Test(machine_broadcast, splits_what_is_much_and_stays_beside_subscriptions)
{
    HEAR(1, "t\0");
    stream_room_create(&room, "t", 0);
    for (int i = 0; i < 20; i++)
        stream_room_publish(&room, "t", 5, 100000);
    cr_assert_eq(read(), 0);
    cr_assert_eq(told("t", 1), 100);
    cr_assert_gt(list.count, 50);
    for (uint32_t i = 0; i < list.count; i++)
        cr_assert_leq(list.items[i].items->bytes, STREAM_FRAME_BYTES + 200000);
}

Test(machine_broadcast, leaves_out_what_has_no_room_and_goes_on_behind_it)
{
    HEAR(1, "t\0");
    stream_room_create(&room, "t", 0);
    meter_take(broadcast.meter, BROADCAST_HELD_BYTES_MAX);
    stream_room_publish(&room, "t", 7, 10);
    cr_assert_eq(read(), 7, "so many had no room");
    cr_assert_eq(list.count, 0);
    meter_give_back(broadcast.meter, BROADCAST_HELD_BYTES_MAX);
    stream_room_publish(&room, "t", 1, 10);
    cr_assert_eq(read(), 0);
    cr_assert_eq(told("t", 8), 1);
    cr_assert_gt(meter_held(broadcast.meter), 0);
    broadcast_list_clear(&list);
    cr_assert_eq(meter_held(broadcast.meter), 0);
}

Test(machine_broadcast, tells_what_a_short_topic_still_has)
{
    HEAR(1, "t\0");
    stream_room_create(&room, "t", 3);
    stream_room_publish(&room, "t", 5, 10);
    stream_room_publish(&room, "t", 5, 10);
    cr_assert_eq(read(), 0);
    cr_assert_eq(told("t", 8), 3);
}

Test(machine_broadcast, says_nothing_of_a_topic_that_is_gone_and_follows_a_new_one)
{
    HEAR(1, "t\0");
    stream_room_create(&room, "t", 0);
    stream_room_publish(&room, "t", 5, 10);
    stream_room_drop(&room, "t");
    cr_assert_eq(read(), 0);
    cr_assert_eq(list.count, 0);
    stream_room_create(&room, "t", 0);
    stream_room_publish(&room, "t", 2, 10);
    read();
    cr_assert_eq(told("t", 1), 2);
}
