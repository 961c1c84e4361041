#include "actors/machine_broadcast.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "codec/stream.h"

#include <stdlib.h>
#include <string.h>

enum { COMPLAIN_US = 10000000 };

void machine_broadcast_init(struct machine_broadcast *broadcast, struct stream_hub *hub,
                            struct feed topics)
{
    broadcast->hub = hub;
    broadcast->topics = topics;
    broadcast->wanted = prefix_set_create();
    broadcast->meter = meter_create(NULL);
}

void machine_broadcast_deinit(struct machine_broadcast *broadcast)
{
    prefix_set_destroy(broadcast->wanted);
    meter_unref(broadcast->meter);
    free(broadcast->noted.items);
    *broadcast = (struct machine_broadcast){0};
}

/* --- What is wanted --------------------------------------------------------------------------- */

static void note(void *arg, uint8_t space, struct slice name, uint64_t from, uint64_t end)
{
    struct machine_broadcast *broadcast = arg;
    (void)space;
    ASSERT(name.bytes <= CONCLAVE_TOPIC_BYTES_MAX);
    LIST_RESERVE(&broadcast->noted);
    struct broadcast_note *noted = &broadcast->noted.items[broadcast->noted.count];
    *noted = (struct broadcast_note){.from = from, .end = end, .name_bytes = name.bytes};
    memcpy(noted->name, name.data, name.bytes);
    /* The array is filled up with zeros: the first one of them is the terminator. */
    if (prefix_set_covers(broadcast->wanted, (struct slice){noted->name, name.bytes + 1}))
        broadcast->noted.count++;
}

bool machine_broadcast_is_wanted(const struct machine_broadcast *broadcast)
{
    return broadcast->wanted && !prefix_set_is_empty(broadcast->wanted);
}

void machine_broadcast_hear(struct machine_broadcast *broadcast, const struct heard_list *heard)
{
    ASSERT(broadcast->wanted);
    for (uint32_t i = 0; i < heard->count; i++) {
        const struct buf *buf = heard->items[i];
        struct slice prefix = {buf->data + 1, buf->bytes - 1};
        if (buf->data[0])
            prefix_set_add(broadcast->wanted, prefix);
        else
            prefix_set_remove(broadcast->wanted, prefix);
    }
    bool none = prefix_set_is_empty(broadcast->wanted);
    stream_hub_listen(broadcast->hub, STREAM_TOPIC, none ? NULL : note, broadcast);
}

/* --- What is sent ----------------------------------------------------------------------------- */

static void complain(struct actor *actor, struct machine_broadcast *broadcast, uint64_t left_out)
{
    uint64_t now_us = clock_now_us();
    broadcast->left_out += left_out;
    if (!left_out || (broadcast->told_us && now_us < broadcast->told_us + COMPLAIN_US))
        return;
    broadcast->told_us = now_us;
    log_event(&actor->node->logger, CONCLAVE_LOG_WARN, "feed", "left_out",
              "messages=%llu reason=\"subscribers read more slowly than is published: 64 MiB wait "
              "for them; they see gaps in the sequences\"",
              (unsigned long long)broadcast->left_out);
}

/* A piece of what was noted; moves noted->from behind it. A code, or FEED_LOST. */
static int read_piece(struct machine_broadcast *broadcast, struct broadcast_note *noted,
                      struct broadcast_piece *ret)
{
    const struct feed_ops *ops = broadcast->topics.ops;
    struct feed_interest interest = {.single = true, .from = {noted->name, noted->name_bytes}};
    struct pack items;
    pack_init(&items, 1024);
    struct feed_read read = {.interest = &interest,
                             .position = noted->from,
                             .end = noted->end,
                             .bytes = STREAM_FRAME_BYTES,
                             .looks = UINT32_MAX,
                             .items = &items};
    int code = ops->read(broadcast->topics.arg, &read);
    if (code == FEED_LOST) { /* the oldest are gone already */
        uint64_t oldest = 0, next = 0;
        code = ops->bounds(broadcast->topics.arg, &interest, &oldest, &next);
        read.position = oldest > noted->from ? oldest : noted->end;
    }
    if (code) {
        pack_deinit(&items);
        return code;
    }
    noted->from = read.position;
    *ret = (struct broadcast_piece){.items = pack_take(&items), .count = read.count};
    return CONCLAVE_OK;
}

/* Returns how many messages had no room. Of a topic that was deleted again, or that this node
 * cannot read, nothing is told: who asks for its messages hears why. */
static uint64_t read_all(struct machine_broadcast *broadcast, struct broadcast_note *noted,
                         struct broadcast_list *list)
{
    struct buf *topic = buf_copy(noted->name, noted->name_bytes + 1);
    uint64_t left_out = 0;
    while (noted->from < noted->end) {
        struct broadcast_piece piece;
        if (meter_held(broadcast->meter) >= BROADCAST_HELD_BYTES_MAX) {
            left_out = noted->end - noted->from;
            break;
        }
        if (read_piece(broadcast, noted, &piece))
            break;
        if (piece.count == 0) {
            buf_unref(piece.items);
            continue;
        }
        buf_charge(piece.items, broadcast->meter);
        piece.topic = buf_ref(topic);
        LIST_RESERVE(list);
        list->items[list->count++] = piece;
    }
    buf_unref(topic);
    return left_out;
}

uint64_t machine_broadcast_read(struct machine_broadcast *broadcast, struct broadcast_list *list)
{
    uint64_t left_out = 0;
    for (uint32_t i = 0; i < broadcast->noted.count; i++)
        left_out += read_all(broadcast, &broadcast->noted.items[i], list);
    broadcast->noted.count = 0;
    return left_out;
}

void machine_broadcast_step(struct actor *actor, struct machine_broadcast *broadcast)
{
    struct broadcast_list list = {0};
    complain(actor, broadcast, machine_broadcast_read(broadcast, &list));
    if (list.count == 0)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_BROADCAST);
    envelope->broadcast = list;
    actor_send(actor, ACTOR_FEED, &envelope);
}
