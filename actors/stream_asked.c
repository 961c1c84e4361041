/* What clients say of their subscriptions. */
#include "actors/stream_internal.h"

#include <stdlib.h>
#include <string.h>

static void need(struct stream_hub *hub, uint64_t since_us)
{
    if (since_us > hub->need_us)
        hub->need_us = since_us;
}

static void refuse(struct stream_hub *hub, uint64_t client, uint64_t id, int code, const char *text)
{
    stream_output(hub, client, id, code, NULL, text ? text : conclave_code_text(code));
}

/* The stream, in no list yet; NULL: refused. */
static struct stream *stream_create(struct stream_hub *hub, uint64_t client, uint64_t id,
                                    const struct stream_subscribe *subscribe)
{
    const struct feed *feed =
        subscribe->kind < STREAM_KINDS ? &hub->feeds[subscribe->kind] : &hub->feeds[0];
    if (!feed->ops) {
        refuse(hub, client, id, CONCLAVE_INVALID,
               "the state machine of this node has nothing of this kind to subscribe to");
        return NULL;
    }
    struct stream *stream = mem_zalloc(sizeof *stream + subscribe->spec.bytes);
    uint8_t *spec = (uint8_t *)(stream + 1);
    memcpy(spec, subscribe->spec.data, subscribe->spec.bytes);
    stream->spec = (struct slice){spec, subscribe->spec.bytes};
    int code = feed->ops->check(feed->arg, stream->spec, &stream->interest, &stream->state_first);
    if (code) {
        refuse(hub, client, id, code, NULL);
        free(stream);
        return NULL;
    }
    stream->link = (struct stream_link){.client = client, .id = id};
    stream->kind = (unsigned)subscribe->kind;
    stream->position = subscribe->position;
    stream->from_now = subscribe->position == 0;
    stream->granted = subscribe->granted;
    return stream;
}

void stream_hub_subscribe(struct stream_hub *hub, uint64_t handle, uint64_t id, struct meter *meter,
                          struct slice body, uint64_t now_us)
{
    struct stream_subscribe subscribe;
    struct stream_client *client = stream_client_find(hub, handle);
    if (client)
        client->heard_us = now_us;
    int code = stream_subscribe_decode(body, &subscribe);
    const char *text = NULL;
    if (!code && (id == 0 || stream_find(hub, handle, id))) {
        /* Frames of both would be mixed: the one that is there stays as it is, and is not answered
         * under its id. */
        code = CONCLAVE_INVALID;
        id = 0;
        text = "a subscription has this id";
    }
    if (!code &&
        (hub->count >= STREAMS_MAX || (client && client->count >= STREAMS_OF_CLIENT_MAX))) {
        code = CONCLAVE_BUSY;
        text = client && client->count >= STREAMS_OF_CLIENT_MAX
                   ? "this client has 16,384 subscriptions, the most there may be"
                   : "this node has 32,768 subscriptions, the most there may be: use another one";
    }
    if (code) {
        refuse(hub, handle, id, code, text);
        return;
    }
    struct stream *stream = stream_create(hub, handle, id, &subscribe);
    if (!stream)
        return;
    client = stream_client_obtain(hub, handle, meter, now_us);
    stream->client = client;
    stream->asked_us = stream->told_us = now_us;
    stream->next = client->streams;
    if (stream->next)
        stream->next->previous = stream;
    client->streams = stream;
    client->count++;
    stream_link_insert(hub, &stream->link);
    if (hub->count++ == 0)
        hub->tick_us = now_us + STREAM_TICK_US;
    need(hub, now_us);
    stream_wake(hub, stream);
}

void stream_hub_credit(struct stream_hub *hub, uint64_t handle, uint64_t id, struct slice body,
                       uint64_t now_us)
{
    struct stream_credit credit;
    struct stream *stream = stream_find(hub, handle, id);
    if (!stream) {
        refuse(hub, handle, id, CONCLAVE_NOT_FOUND,
               "this node has no subscription with this id of this connection");
        return;
    }
    stream->client->heard_us = now_us;
    if (stream_credit_decode(body, &credit)) {
        struct stream_client *client = stream->client;
        stream_end(hub, stream, CONCLAVE_MALFORMED, NULL);
        stream_client_end_if_empty(hub, client);
        return;
    }
    if (credit.granted > stream->granted)
        stream->granted = credit.granted;
    if (credit.ask) {
        stream->ask = credit.ask;
        stream->ask_us = now_us;
        need(hub, now_us);
    }
    stream_wake(hub, stream);
}

void stream_hub_unsubscribe(struct stream_hub *hub, uint64_t handle, uint64_t id)
{
    struct stream *stream = stream_find(hub, handle, id);
    if (!stream) {
        refuse(hub, handle, id, CONCLAVE_NOT_FOUND,
               "this node has no subscription with this id of this connection");
        return;
    }
    struct stream_client *client = stream->client;
    stream_end(hub, stream, CONCLAVE_OK, NULL);
    stream_client_end_if_empty(hub, client);
}
