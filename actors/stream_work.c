/* What the node has its subscriptions do: those that an apply concerns are looked at, those with
 * nothing to tell say so, and clients have their turns. */
#include "actors/stream_internal.h"

#include "actors/reply_room.h"

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
    stream_client_end_if_empty(hub, client);
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
            stream_queue_remove(&hub->blocked, client);
            client->queued = STREAM_READY;
            stream_queue_push(&hub->ready, client);
        }
    }
    while (hub->ready.first && budget.frames && budget.bytes && budget.looks) {
        struct stream_client *client = hub->ready.first;
        stream_queue_remove(&hub->ready, client);
        client->queued = STREAM_BLOCKED; /* in no queue: nothing puts it into one meanwhile */
        serve_client(hub, client, &budget);
        client->queued = STREAM_IDLE;
        if (client->count == 0) {
            stream_client_free(hub, client);
        } else if (client->ready) {
            bool room = reply_room_for_query(client->meter);
            client->queued = room ? STREAM_READY : STREAM_BLOCKED;
            stream_queue_push(room ? &hub->ready : &hub->blocked, client);
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
