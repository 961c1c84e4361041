#include "actors/stream_internal.h"

#include "actors/reply_room.h"
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

static void link_insert(struct stream_hub *hub, struct stream_link *link)
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

static struct stream_client *client_find(const struct stream_hub *hub, uint64_t client)
{
    return (struct stream_client *)*link_place(hub, client, 0);
}

static struct stream *stream_find(const struct stream_hub *hub, uint64_t client, uint64_t id)
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

static void queue_push(struct stream_queue *queue, struct stream_client *client)
{
    client->queue_next = NULL;
    *queue->tail = client;
    queue->tail = &client->queue_next;
}

static void queue_remove(struct stream_queue *queue, const struct stream_client *client)
{
    struct stream_client **at = &queue->first;
    while (*at != client)
        at = &(*at)->queue_next;
    *at = client->queue_next;
    if (!*at)
        queue->tail = at;
}

static struct stream_client *client_obtain(struct stream_hub *hub, uint64_t handle,
                                           struct meter *meter, uint64_t now_us)
{
    struct stream_client *client = client_find(hub, handle);
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
    link_insert(hub, &client->link);
    return client;
}

static void client_free(struct stream_hub *hub, struct stream_client *client)
{
    if (client->queued != STREAM_IDLE)
        queue_remove(client->queued == STREAM_READY ? &hub->ready : &hub->blocked, client);
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

/* Those without a subscription are forgotten when nothing uses them any more. */
static void client_end_if_empty(struct stream_hub *hub, struct stream_client *client)
{
    if (client->count == 0)
        client_free(hub, client);
}

void stream_hub_client_gone(struct stream_hub *hub, uint64_t handle)
{
    struct stream_client *client = client_find(hub, handle);
    if (!client)
        return;
    for (struct stream *stream = client->streams, *next; stream; stream = next) {
        next = stream->next;
        stream_drop(hub, stream);
    }
    client_free(hub, client);
}

void stream_hub_end_all(struct stream_hub *hub, int code)
{
    for (struct stream_client *client = hub->clients, *next; client; client = next) {
        next = client->next;
        for (struct stream *stream = client->streams, *after; stream; stream = after) {
            after = stream->next;
            stream_end(hub, stream, code, NULL);
        }
        client_free(hub, client);
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

/* --- What clients say ------------------------------------------------------------------------- */

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
        queue_push(&hub->ready, client);
    }
}

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
    struct stream_client *client = client_find(hub, handle);
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
    client = client_obtain(hub, handle, meter, now_us);
    stream->client = client;
    stream->asked_us = stream->told_us = now_us;
    stream->next = client->streams;
    if (stream->next)
        stream->next->previous = stream;
    client->streams = stream;
    client->count++;
    link_insert(hub, &stream->link);
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
        client_end_if_empty(hub, client);
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
    client_end_if_empty(hub, client);
}

/* --- What the node does ----------------------------------------------------------------------- */

/* Those that wait for it are looked at in the next turn. */
static void wake_confirmed(struct stream_hub *hub)
{
    for (struct stream_client *client = hub->clients; client; client = client->next)
        for (struct stream *stream = client->streams; stream; stream = stream->next)
            if (stream->phase == STREAM_ASKED || stream->ask)
                stream_wake(hub, stream);
}

void stream_hub_fresh(struct stream_hub *hub, uint64_t since_us)
{
    if (since_us <= hub->fresh_us)
        return;
    bool waited_for = hub->need_us > hub->fresh_us;
    hub->fresh_us = since_us;
    if (waited_for)
        wake_confirmed(hub);
}

bool stream_hub_wants_read(struct stream_hub *hub, uint64_t now_us)
{
    if (hub->count == 0)
        return false;
    bool wanted = hub->need_us > hub->fresh_us || now_us >= hub->fresh_us + STREAM_FRESH_US;
    bool under_way = hub->requested_us > hub->fresh_us;
    if (!wanted || (under_way && now_us < hub->requested_us + STREAM_CONFIRM_RETRY_US))
        return false;
    hub->requested_us = now_us;
    return true;
}

/* Of one kind. */
struct touching {
    struct stream_hub *hub;
    unsigned kind;
    uint64_t from, end;
};

static void touch_stream(void *arg, struct stream_index_entry *entry)
{
    const struct touching *touching = arg;
    struct stream *stream =
        (struct stream *)(void *)((char *)entry - offsetof(struct stream, entry));
    stream_hit(stream, touching->from, touching->end);
    if (stream->hit_count)
        stream_wake(touching->hub, stream);
}

static void touch(void *arg, uint8_t space, struct slice name, uint64_t from, uint64_t end)
{
    struct touching *touching = arg;
    struct stream_hub *hub = touching->hub;
    unsigned kind = touching->kind;
    touching->from = from;
    touching->end = end;
    if (hub->listeners[kind].touch)
        hub->listeners[kind].touch(hub->listeners[kind].arg, space, name, from, end);
    if (hub->live[kind] == 0)
        return;
    stream_index_find(hub->index, kind, space, name, touch_stream, touching);
}

/* What changed is not known: everything has to be looked at. */
static void touch_all(struct stream_hub *hub, unsigned kind)
{
    for (struct stream_client *client = hub->clients; client; client = client->next)
        for (struct stream *stream = client->streams; stream; stream = stream->next)
            if (stream->kind == kind && stream->phase == STREAM_LIVE) {
                stream_hit(stream, stream->position, UINT64_MAX);
                stream_wake(hub, stream);
            }
}

void stream_hub_applied(struct stream_hub *hub)
{
    for (unsigned kind = 0; kind < STREAM_KINDS; kind++) {
        const struct feed *feed = &hub->feeds[kind];
        if (!feed->ops)
            continue;
        if (!stream_is_wanted(hub, kind)) {
            feed->ops->skip(feed->arg);
            continue;
        }
        struct touching touching = {.hub = hub, .kind = kind};
        /* Of an error it is told who reads. */
        if (feed->ops->changes(feed->arg, touch, &touching))
            touch_all(hub, kind);
    }
}

void stream_hub_listen(struct stream_hub *hub, enum stream_kind kind, feed_touch told, void *arg)
{
    const struct feed *feed = &hub->feeds[kind];
    /* What was changed before is not for who comes now. */
    if (feed->ops && !stream_is_wanted(hub, kind))
        feed->ops->skip(feed->arg);
    hub->listeners[kind].touch = told;
    hub->listeners[kind].arg = arg;
}

/* Progress where nothing was told for a while; ends what is over. */
static void tick_client(struct stream_hub *hub, struct stream_client *client, uint64_t now_us)
{
    bool silent = now_us >= client->heard_us + (uint64_t)STREAM_LIFETIME_MS * 1000;
    for (struct stream *stream = client->streams, *next; stream; stream = next) {
        next = stream->next;
        if (silent) {
            stream_end(hub, stream, CONCLAVE_TIMEOUT,
                       "nothing was heard of this client for 30 seconds");
        } else if (stream->phase == STREAM_ASKED &&
                   now_us >= stream->asked_us + STREAM_CONFIRM_US_MAX) {
            stream_end(hub, stream, CONCLAVE_NO_LEADER,
                       "no leader could be reached from this node");
        } else if (stream->phase == STREAM_LIVE &&
                   now_us >= stream->told_us + (uint64_t)STREAM_PROGRESS_MS * 1000) {
            stream->progress_due = true;
            stream_wake(hub, stream);
        }
    }
    client_end_if_empty(hub, client);
}

static void tick(struct stream_hub *hub, uint64_t now_us)
{
    if (hub->count == 0 || now_us < hub->tick_us)
        return;
    hub->tick_us = now_us + STREAM_TICK_US;
    for (struct stream_client *client = hub->clients, *next; client; client = next) {
        next = client->next;
        tick_client(hub, client, now_us);
    }
}

/* Lets one client have its turn. */
static void serve_client(struct stream_hub *hub, struct stream_client *client,
                         struct stream_budget *budget)
{
    uint32_t frames = budget->frames;
    while (client->ready && budget->frames && budget->bytes && budget->looks &&
           frames - budget->frames < STREAM_SERVE_FRAMES && reply_room_for_query(client->meter)) {
        struct stream *stream = client->ready;
        client->ready = stream->ready_next;
        if (!client->ready)
            client->ready_tail = &client->ready;
        stream->ready = false;
        budget->frames--; /* also if there was nothing to be told: it was looked at */
        if (stream_serve(hub, stream, budget))
            stream_wake(hub, stream);
    }
}

void stream_hub_turn(struct stream_hub *hub, uint64_t now_us)
{
    struct stream_budget budget = {STREAM_TURN_BYTES, STREAM_TURN_FRAMES, STREAM_TURN_LOOKS};
    hub->now_us = now_us;
    tick(hub, now_us);
    if (now_us >= hub->blocked_us) {
        hub->blocked_us = now_us + STREAM_BLOCKED_US;
        for (struct stream_client *client; (client = hub->blocked.first);) {
            queue_remove(&hub->blocked, client);
            client->queued = STREAM_READY;
            queue_push(&hub->ready, client);
        }
    }
    while (hub->ready.first && budget.frames && budget.bytes && budget.looks) {
        struct stream_client *client = hub->ready.first;
        queue_remove(&hub->ready, client);
        client->queued = STREAM_BLOCKED; /* in no queue: nothing puts it into one meanwhile */
        serve_client(hub, client, &budget);
        client->queued = STREAM_IDLE;
        if (client->count == 0) {
            client_free(hub, client);
        } else if (client->ready) {
            bool room = reply_room_for_query(client->meter);
            client->queued = room ? STREAM_READY : STREAM_BLOCKED;
            queue_push(room ? &hub->ready : &hub->blocked, client);
        }
    }
}

uint64_t stream_hub_due_us(const struct stream_hub *hub)
{
    if (hub->count == 0)
        return UINT64_MAX;
    if (hub->ready.first)
        return 0;
    uint64_t due_us = hub->tick_us;
    if (hub->blocked.first && hub->blocked_us < due_us)
        due_us = hub->blocked_us;
    if (hub->need_us > hub->fresh_us && hub->requested_us + STREAM_CONFIRM_RETRY_US < due_us)
        due_us = hub->requested_us + STREAM_CONFIRM_RETRY_US;
    return due_us;
}
