#include "actors/machine_streams.h"

#include "actors/stream_hub.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "machine/kv.h"

void machine_streams_start(const struct node *node, struct machine_streams *streams)
{
    struct feed feeds[STREAM_KINDS] = {0};
    if (node->kv) {
        feeds[STREAM_WATCH] = kv_watch_feed(node->kv);
        feeds[STREAM_TOPIC] = kv_topic_feed(node->kv);
        feeds[STREAM_GROUP] = kv_group_feed(node->kv);
    }
    streams->hub = stream_hub_create(feeds);
}

void machine_streams_deinit(struct machine_streams *streams)
{
    stream_hub_destroy(streams->hub);
    *streams = (struct machine_streams){0};
}

void machine_streams_take(struct machine_streams *streams, const struct envelope *envelope)
{
    uint64_t now_us = clock_now_us();
    const struct stream_requests *requests = &envelope->subscriptions;
    for (uint32_t i = 0; i < requests->count; i++) {
        const struct stream_request *request = &requests->items[i];
        switch (request->type) {
        case CLIENT_OP_SUBSCRIBE:
            stream_hub_subscribe(streams->hub, request->client, request->id, request->meter,
                                 request->body, now_us);
            break;
        case CLIENT_OP_CREDIT:
            stream_hub_credit(streams->hub, request->client, request->id, request->body, now_us);
            break;
        case CLIENT_OP_UNSUBSCRIBE:
            stream_hub_unsubscribe(streams->hub, request->client, request->id);
            break;
        default:
            stream_hub_client_gone(streams->hub, request->client);
            break;
        }
    }
    streams->taken += requests->count;
}

void machine_streams_applied(struct machine_streams *streams)
{
    stream_hub_applied(streams->hub);
}

static void flush(struct actor *actor, struct machine_streams *streams)
{
    struct stream_outputs *outputs = stream_hub_outputs(streams->hub);
    if (!outputs->count && !streams->taken)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_STREAMS);
    envelope->streams.outputs = *outputs;
    envelope->streams.taken = streams->taken;
    *outputs = (struct stream_outputs){0};
    streams->taken = 0;
    actor_send(actor, ACTOR_NETWORK, &envelope);
}

/* A linearizable read of nothing, for all subscriptions together. A refusal is nobody's. */
static void begin_read(struct actor *actor)
{
    struct envelope *read = envelope_create(ENVELOPE_READ);
    query_add(&read->read, (struct query){.probe = true});
    actor_send(actor, ACTOR_RAFT, &read);
}

void machine_streams_step(struct actor *actor, struct machine_streams *streams, uint64_t fresh_us)
{
    uint64_t now_us = clock_now_us();
    stream_hub_fresh(streams->hub, fresh_us);
    stream_hub_turn(streams->hub, now_us);
    if (stream_hub_wants_read(streams->hub, now_us))
        begin_read(actor);
    flush(actor, streams);
}

void machine_streams_tell(struct actor *actor, struct machine_streams *streams, bool feed)
{
    bool watched = feed || stream_hub_count(streams->hub) > 0;
    if (watched == streams->watched)
        return;
    streams->watched = watched;
    struct envelope *envelope = envelope_create(ENVELOPE_WATCHED);
    envelope->watched = watched;
    actor_send(actor, ACTOR_RAFT, &envelope);
}

void machine_streams_end(struct actor *actor, struct machine_streams *streams)
{
    stream_hub_end_all(streams->hub, CONCLAVE_STOPPING);
    flush(actor, streams);
}

long machine_streams_wait_ms(const struct machine_streams *streams)
{
    uint64_t due_us = stream_hub_due_us(streams->hub);
    if (due_us == UINT64_MAX)
        return -1;
    uint64_t now_us = clock_now_us();
    return due_us <= now_us ? 0 : (long)((due_us - now_us + 999) / 1000);
}
