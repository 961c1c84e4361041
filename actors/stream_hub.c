#include "actors/stream_internal.h"

#include "base/list.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 256 };

/* --- The map ---------------------------------------------------------------------------------- */

static uint64_t link_hash(uint64_t client, uint64_t id)
{
    uint64_t hash = (client * UINT64_C(0x9e3779b97f4a7c15)) ^ (id * UINT64_C(0xc2b2ae3d27d4eb4f));
    return hash ^ hash >> 29;
}

static struct stream_link **link_place(const struct stream_hub *hub, uint64_t client, uint64_t id)
{
    struct stream_link **at = &hub->buckets[link_hash(client, id) & (hub->bucket_count - 1)];
    while (*at && ((*at)->client != client || (*at)->id != id))
        at = &(*at)->next;
    return at;
}

static void map_grow(struct stream_hub *hub)
{
    uint32_t count = hub->bucket_count * 2;
    struct stream_link **buckets = mem_zalloc(count * sizeof(struct stream_link *));
    for (uint32_t i = 0; i < hub->bucket_count; i++)
        for (struct stream_link *link = hub->buckets[i], *next; link; link = next) {
            struct stream_link **bucket = &buckets[link_hash(link->client, link->id) & (count - 1)];
            next = link->next;
            link->next = *bucket;
            *bucket = link;
        }
    free(hub->buckets);
    hub->buckets = buckets;
    hub->bucket_count = count;
}

void stream_link_insert(struct stream_hub *hub, struct stream_link *link)
{
    if (hub->count >= hub->bucket_count)
        map_grow(hub);
    struct stream_link **at = link_place(hub, link->client, link->id);
    ASSERT(!*at);
    *at = link;
}

static void link_remove(struct stream_hub *hub, const struct stream_link *link)
{
    struct stream_link **at = link_place(hub, link->client, link->id);
    ASSERT(*at == link);
    *at = link->next;
}

struct stream_client *stream_client_find(const struct stream_hub *hub, uint64_t client)
{
    return (struct stream_client *)*link_place(hub, client, 0);
}

struct stream *stream_find(const struct stream_hub *hub, uint64_t client, uint64_t id)
{
    return id ? (struct stream *)*link_place(hub, client, id) : NULL;
}

/* --- Life ------------------------------------------------------------------------------------- */

void stream_queue_init(struct stream_queue *queue)
{
    queue->first = NULL;
    queue->tail = &queue->first;
}

struct stream_hub *stream_hub_create(const struct feed feeds[STREAM_KINDS])
{
    struct stream_hub *hub = mem_zalloc(sizeof *hub);
    memcpy(hub->feeds, feeds, sizeof hub->feeds);
    hub->index = stream_index_create();
    hub->bucket_count = BUCKETS_MIN;
    hub->buckets = mem_zalloc(BUCKETS_MIN * sizeof(struct stream_link *));
    stream_queue_init(&hub->ready);
    stream_queue_init(&hub->blocked);
    return hub;
}

void stream_queue_push(struct stream_queue *queue, struct stream_client *client)
{
    client->queue_next = NULL;
    *queue->tail = client;
    queue->tail = &client->queue_next;
}

void stream_queue_remove(struct stream_queue *queue, const struct stream_client *client)
{
    struct stream_client **at = &queue->first;
    while (*at != client)
        at = &(*at)->queue_next;
    *at = client->queue_next;
    if (!*at)
        queue->tail = at;
}

struct stream_client *stream_client_obtain(struct stream_hub *hub, uint64_t handle,
                                           struct meter *meter, uint64_t now_us)
{
    struct stream_client *client = stream_client_find(hub, handle);
    if (client)
        return client;
    client = mem_zalloc(sizeof *client);
    client->link = (struct stream_link){.client = handle};
    client->meter = meter_ref(meter);
    client->heard_us = now_us;
    client->ready_tail = &client->ready;
    client->next = hub->clients;
    if (client->next)
        client->next->previous = client;
    hub->clients = client;
    stream_link_insert(hub, &client->link);
    return client;
}

void stream_client_free(struct stream_hub *hub, struct stream_client *client)
{
    if (client->queued != STREAM_IDLE)
        stream_queue_remove(client->queued == STREAM_READY ? &hub->ready : &hub->blocked, client);
    if (client->next)
        client->next->previous = client->previous;
    if (client->previous)
        client->previous->next = client->next;
    else
        hub->clients = client->next;
    link_remove(hub, &client->link);
    meter_unref(client->meter);
    free(client);
}

static void ready_remove(struct stream_client *client, const struct stream *stream)
{
    struct stream **at = &client->ready;
    while (*at != stream)
        at = &(*at)->ready_next;
    *at = stream->ready_next;
    if (!*at)
        client->ready_tail = at;
}

/* The client stays. */
static void stream_drop(struct stream_hub *hub, struct stream *stream)
{
    struct stream_client *client = stream->client;
    if (stream->ready)
        ready_remove(client, stream);
    stream_leave_index(hub, stream);
    if (stream->next)
        stream->next->previous = stream->previous;
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        client->streams = stream->next;
    client->count--;
    link_remove(hub, &stream->link);
    hub->count--;
    free(stream->state);
    free(stream);
}

void stream_end(struct stream_hub *hub, struct stream *stream, int code, const char *text)
{
    stream_output(hub, stream->link.client, stream->link.id, code, NULL,
                  text || code == CONCLAVE_OK ? text : conclave_code_text(code));
    stream_drop(hub, stream);
}

void stream_client_end_if_empty(struct stream_hub *hub, struct stream_client *client)
{
    if (client->count == 0)
        stream_client_free(hub, client);
}

void stream_hub_client_gone(struct stream_hub *hub, uint64_t handle)
{
    struct stream_client *client = stream_client_find(hub, handle);
    if (!client)
        return;
    for (struct stream *stream = client->streams, *next; stream; stream = next) {
        next = stream->next;
        stream_drop(hub, stream);
    }
    stream_client_free(hub, client);
}

void stream_hub_end_all(struct stream_hub *hub, int code)
{
    for (struct stream_client *client = hub->clients, *next; client; client = next) {
        next = client->next;
        for (struct stream *stream = client->streams, *after; stream; stream = after) {
            after = stream->next;
            stream_end(hub, stream, code, NULL);
        }
        stream_client_free(hub, client);
    }
}

void stream_hub_destroy(struct stream_hub *hub)
{
    if (!hub)
        return;
    for (struct stream_client *client = hub->clients, *next; client; client = next) {
        next = client->next;
        stream_hub_client_gone(hub, client->link.client);
    }
    for (uint32_t i = 0; i < hub->outputs.count; i++)
        buf_unref(hub->outputs.items[i].body);
    free(hub->outputs.items);
    free(hub->buckets);
    stream_index_destroy(hub->index);
    free(hub);
}

uint32_t stream_hub_count(const struct stream_hub *hub)
{
    return hub->count;
}

struct stream_outputs *stream_hub_outputs(struct stream_hub *hub)
{
    return &hub->outputs;
}

void stream_output(struct stream_hub *hub, uint64_t client, uint64_t id, int code, struct buf *body,
                   const char *text)
{
    LIST_RESERVE(&hub->outputs);
    hub->outputs.items[hub->outputs.count++] = (struct stream_output){client, id, code, body, text};
}

void stream_wake(struct stream_hub *hub, struct stream *stream)
{
    struct stream_client *client = stream->client;
    if (!stream->ready) {
        stream->ready = true;
        stream->ready_next = NULL;
        *client->ready_tail = stream;
        client->ready_tail = &stream->ready_next;
    }
    if (client->queued == STREAM_IDLE) {
        client->queued = STREAM_READY;
        stream_queue_push(&hub->ready, client);
    }
}
