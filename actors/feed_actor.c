/* The feed's actor: owns the socket that plain SUB sockets connect to. It tells the state machine
 * which topics somebody wants, and sends the messages of theirs that come back. Its thread runs at
 * nodes with a feed alone, so that however many subscribers there are, what is sent to them costs
 * no other thread anything. */
#include "actors/node.h"

#include "base/fatal.h"
#include "base/list.h"
#include "codec/topic.h"
#include "transport/publisher.h"

#include <stdlib.h>

enum {
    /* What one wake-up takes before the other side gets its turn. */
    ENVELOPES_MAX = 64,
    HEARD_MAX = 1024,

    /* A sequence, a revision, a time and an id. */
    HEADER_BYTES = 1 + 3 * 9 + 2 + CONCLAVE_MESSAGE_ID_BYTES_MAX
};

struct feed_side {
    struct publisher *publisher;
    struct pack header; /* used again for each message */
};

static int feed_start(struct actor *actor, struct conclave_error *error)
{
    struct publisher *publisher;
    int code = publisher_create(actor->node->context, actor->node->feed, &publisher, error);
    if (code)
        return code;
    struct feed_side *state = mem_zalloc(sizeof *state);
    state->publisher = publisher;
    pack_init(&state->header, HEADER_BYTES);
    actor->state = state;
    return CONCLAVE_OK;
}

static void feed_stop(struct actor *actor)
{
    struct feed_side *state = actor->state;
    publisher_destroy(state->publisher);
    pack_deinit(&state->header);
    free(state);
    actor->state = NULL;
}

static struct slice header_pack(struct pack *pack, const struct topic_item *item)
{
    struct slice id = item->message.id;
    pack->bytes = 0;
    pack_array(pack, id.bytes ? 4 : 3);
    pack_uint(pack, item->sequence);
    pack_uint(pack, item->revision);
    pack_uint(pack, item->time_ms);
    if (id.bytes)
        pack_bin(pack, id.data, id.bytes);
    return (struct slice){pack->buf->data, pack->bytes};
}

static void send_piece(struct feed_side *state, const struct broadcast_piece *piece)
{
    struct slice topic = {piece->topic->data, piece->topic->bytes};
    struct cursor cursor;
    cursor_init(&cursor, piece->items->data, piece->items->bytes);
    for (uint32_t i = 0; i < piece->count; i++) {
        struct topic_item item;
        int code = topic_item_read(&cursor, &item);
        ASSERT(!code); /* this node's state machine has just written it */
        publisher_send(state->publisher, topic, header_pack(&state->header, &item), piece->items,
                       item.message.data);
    }
}

/* Returns STOP or QUIT if one of them came, else 0. */
static int drain(struct actor *actor)
{
    struct feed_side *state = actor->state;
    for (int i = 0; i < ENVELOPES_MAX; i++) {
        struct envelope *envelope = inbox_receive(&actor->inbox);
        if (!envelope)
            return 0;
        enum envelope_type type = envelope->type;
        ASSERT(type == ENVELOPE_BROADCAST || type == ENVELOPE_STOP || type == ENVELOPE_QUIT);
        if (type == ENVELOPE_BROADCAST)
            for (uint32_t k = 0; k < envelope->broadcast.count; k++)
                send_piece(state, &envelope->broadcast.items[k]);
        envelope_destroy(envelope);
        if (type != ENVELOPE_BROADCAST)
            return (int)type;
    }
    return 0;
}

static void hear(struct actor *actor)
{
    struct feed_side *state = actor->state;
    struct heard_list list = {0};
    struct buf *heard;
    while (list.count < HEARD_MAX && (heard = publisher_hear(state->publisher))) {
        LIST_RESERVE(&list);
        list.items[list.count++] = heard;
    }
    if (list.count == 0)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_INTERESTS);
    envelope->interests = list;
    actor_send(actor, ACTOR_MACHINE, &envelope);
}

static int feed_run(struct actor *actor, struct conclave_error *error)
{
    struct feed_side *state = actor->state;
    struct source *sources[] = {&actor->inbox.source, publisher_source(state->publisher)};
    (void)error;
    for (;;) {
        sources_wait(sources, 2, -1);
        if (drain(actor))
            return CONCLAVE_OK;
        hear(actor);
    }
}

const struct actor_ops feed_actor_ops = {
    .name = "feed", .start = feed_start, .run = feed_run, .stop = feed_stop};
