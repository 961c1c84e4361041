/* tests/unit/actors/stream_room.h - a key-value machine on tables in memory, a hub that serves its
 * subscriptions, and what is published to its topics. */
#ifndef TESTS_UNIT_ACTORS_STREAM_ROOM_H
#define TESTS_UNIT_ACTORS_STREAM_ROOM_H

#include "actors/stream_hub.h"
#include "machine/kv.h"
#include "machine/reply.h"

struct stream_room {
    struct tables *tables;
    struct kv *kv;
    const struct conclave_machine_ops *ops;
    struct stream_hub *hub;
    struct meter *all, *meter; /* of the node, of every client */
    uint64_t index, now_us;
    struct conclave_reply_sink sink; /* the answer to the last command */
};

void stream_room_init(struct stream_room *room);

/* Everything that was made for clients has been given back. */
void stream_room_deinit(struct stream_room *room);

static inline struct slice slice_of(const char *name)
{
    return (struct slice){(const uint8_t *)name, __builtin_strlen(name)};
}

/* Applies the packed command, frees it, and tells the hub. The answer's code. */
int stream_room_apply(struct stream_room *room, struct pack *command);

/* A topic that keeps so many messages (0: all); its id. */
uint64_t stream_room_create(struct stream_room *room, const char *name, uint64_t count_max);
void stream_room_drop(struct stream_room *room, const char *name);

/* So many messages, of so many bytes each. */
void stream_room_publish(struct stream_room *room, const char *name, uint32_t count, size_t bytes);

#endif
