#include "stream_room.h"

#include "codec/topic.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>

void stream_room_init(struct stream_room *room)
{
    struct conclave_machine_env env = {.dir = "-", .cluster_id = 1, .node_id = 1};
    uint64_t applied;
    *room = (struct stream_room){.now_us = 1000000};
    room->tables = tables_memory_create();
    room->kv = kv_create_in(room->tables);
    room->ops = kv_machine_ops();
    cr_assert_eq(room->ops->open(room->kv, &env, &applied, NULL), CONCLAVE_OK);
    struct feed feeds[STREAM_KINDS] = {
        [STREAM_WATCH] = kv_watch_feed(room->kv), [STREAM_TOPIC] = kv_topic_feed(room->kv)};
    room->hub = stream_hub_create(feeds);
    room->all = meter_create(NULL);
    room->meter = meter_create(room->all);
}

void stream_room_deinit(struct stream_room *room)
{
    reply_sink_clear(&room->sink);
    stream_hub_destroy(room->hub);
    kv_destroy(room->kv);
    tables_destroy(room->tables);
    cr_assert_eq(meter_held(room->all), 0, "everything that was made is given back");
    meter_unref(room->meter);
    meter_unref(room->all);
}

int stream_room_apply(struct stream_room *room, struct pack *command)
{
    struct conclave_reply_sink *reply = &room->sink;
    struct conclave_command entry = {++room->index, 1, command->buf->data, command->bytes};
    reply_sink_clear(reply);
    cr_assert_eq(room->ops->apply(room->kv, &entry, 1, room->index, &reply), CONCLAVE_OK);
    stream_hub_applied(room->hub);
    pack_deinit(command);
    return reply->code;
}

uint64_t stream_room_create(struct stream_room *room, const char *name, uint64_t count_max)
{
    struct pack pack;
    struct topic_settings settings = {.count_max = count_max};
    pack_init(&pack, 0);
    topic_create_pack(&pack, slice_of(name), &settings);
    cr_assert_eq(stream_room_apply(room, &pack), CONCLAVE_OK);
    return kv_revision(room->kv);
}

void stream_room_drop(struct stream_room *room, const char *name)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_delete_pack(&pack, slice_of(name));
    cr_assert_eq(stream_room_apply(room, &pack), CONCLAVE_OK);
}

void stream_room_publish(struct stream_room *room, const char *name, uint32_t count, size_t bytes)
{
    static uint8_t data[200000];
    struct topic_publish wanted = {.name = slice_of(name), .count = count};
    struct pack pack;
    cr_assert_leq(bytes, sizeof data);
    pack_init(&pack, 0);
    topic_publish_begin(&pack, &wanted);
    for (uint32_t i = 0; i < count; i++)
        topic_publish_data(&pack, (struct slice){data, bytes});
    topic_publish_ids(&pack, &wanted);
    cr_assert_eq(stream_room_apply(room, &pack), CONCLAVE_OK);
}
