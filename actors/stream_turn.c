/* What a subscription is told when it is its turn. */
#include "actors/stream_internal.h"

#include <stdlib.h>
#include <string.h>

void stream_hit(struct stream *stream, uint64_t from, uint64_t end)
{
    if (from < stream->position)
        from = stream->position; /* told, or before what was asked for */
    if (from >= end)
        return;
    uint32_t last = stream->hit_count - 1;
    if (stream->hit_count && from <= stream->hits[last].end) {
        if (end > stream->hits[last].end)
            stream->hits[last].end = end;
        return;
    }
    if (stream->hit_count == STREAM_HITS_MAX) {
        stream->hits[last].end = end; /* with what lies between: reading passes it over */
        return;
    }
    stream->hits[stream->hit_count].from = from;
    stream->hits[stream->hit_count++].end = end;
}

void stream_enter_index(struct stream_hub *hub, struct stream *stream)
{
    stream->phase = STREAM_LIVE;
    stream_index_add(hub->index, stream->kind, &stream->interest, &stream->entry);
    hub->live[stream->kind]++;
}

void stream_leave_index(struct stream_hub *hub, struct stream *stream)
{
    if (!stream->entry.node)
        return;
    stream_index_remove(hub->index, &stream->entry);
    hub->live[stream->kind]--;
}

static const struct feed *feed_of(const struct stream_hub *hub, const struct stream *stream)
{
    return &hub->feeds[stream->kind];
}

/* Numbers the frame and hands it out, counted for its client from now on. */
static void tell(struct stream_hub *hub, struct stream *stream, struct stream_frame *frame)
{
    struct pack pack;
    frame->number = ++stream->number;
    pack_init(&pack, STREAM_FRAME_OVERHEAD_BYTES + frame->items.bytes);
    stream_frame_pack(&pack, frame);
    struct buf *body = pack_take(&pack);
    if (frame->type == STREAM_EVENTS || frame->type == STREAM_STATE)
        stream->spent += body->bytes;
    buf_charge(body, stream->client->meter);
    stream->told_us = hub->now_us;
    stream->progress_due = false;
    stream_output(hub, stream->link.client, stream->link.id, CONCLAVE_OK, body, NULL);
}

/* It goes on where everything before `position` is told. An end for those who cannot. */
static bool go_live(struct stream_hub *hub, struct stream *stream, uint64_t position)
{
    const struct feed *feed = feed_of(hub, stream);
    uint64_t oldest, next;
    int code = feed->ops->bounds(feed->arg, &stream->interest, &oldest, &next);
    if (code) {
        stream_end(hub, stream, code, NULL);
        return false;
    }
    free(stream->state);
    stream->state = NULL;
    stream->position = position;
    stream->part = 0;
    stream->open = false;
    stream->hit_count = 0;
    /* What was changed before is not named again by the feed, for the first one. */
    if (!stream_is_wanted(hub, stream->kind))
        feed->ops->skip(feed->arg);
    stream_enter_index(hub, stream);
    if (position < next)
        stream_hit(stream, position, next);
    return true;
}

static void begin_state(struct stream_hub *hub, struct stream *stream)
{
    stream_leave_index(hub, stream);
    free(stream->state);
    stream->state = mem_zalloc(sizeof *stream->state);
    stream->phase = STREAM_STATING;
    stream->hit_count = 0;
    stream->part = 0;
}

/* What is kept of what it wants. False: there is no such thing any more, and it has ended. */
static bool find_bounds(struct stream_hub *hub, struct stream *stream, uint64_t *ret_oldest,
                        uint64_t *ret_next)
{
    const struct feed *feed = feed_of(hub, stream);
    *ret_oldest = *ret_next = 0;
    int code = feed->ops->bounds(feed->arg, &stream->interest, ret_oldest, ret_next);
    if (code)
        stream_end(hub, stream, code, NULL);
    return code == CONCLAVE_OK;
}

/* What it wants is not kept any more: it is told so, and then what there is. */
static bool resync(struct stream_hub *hub, struct stream *stream)
{
    const struct feed *feed = feed_of(hub, stream);
    uint64_t oldest, next;
    if (!find_bounds(hub, stream, &oldest, &next))
        return false;
    tell(hub, stream,
         &(struct stream_frame){
             .type = STREAM_RESYNC, .position = stream->position, .oldest = oldest});
    stream_leave_index(hub, stream);
    if (!feed->ops->state)
        return go_live(hub, stream, oldest);
    begin_state(hub, stream);
    return true;
}

/* It is known by now that this node has applied everything that the client can have seen. */
static bool begin(struct stream_hub *hub, struct stream *stream)
{
    const struct feed *feed = feed_of(hub, stream);
    uint64_t oldest, next;
    if (!find_bounds(hub, stream, &oldest, &next))
        return false;
    if (stream->from_now)
        stream->position = next;
    tell(hub, stream,
         &(struct stream_frame){.type = STREAM_BEGUN,
                                .position = stream->position,
                                .lifetime_ms = STREAM_LIFETIME_MS});
    if (stream->state_first && feed->ops->state)
        begin_state(hub, stream);
    else if (stream->position < oldest)
        return resync(hub, stream);
    else
        return go_live(hub, stream, stream->position);
    return true;
}

/* A piece of what there is. */
static bool tell_state(struct stream_hub *hub, struct stream *stream, struct stream_budget *budget)
{
    const struct feed *feed = feed_of(hub, stream);
    struct feed_state *state = stream->state;
    struct pack items;
    pack_init(&items, 1024);
    state->spec = stream->spec;
    state->interest = &stream->interest;
    state->bytes = STREAM_FRAME_BYTES;
    state->looks = budget->looks;
    state->items = &items;
    state->count = 0;
    int code = feed->ops->state(feed->arg, state);
    budget->looks = code ? 0 : state->looks;
    bool lives = true;
    if (code == FEED_LOST) {
        lives = resync(hub, stream);
    } else if (code) {
        stream_end(hub, stream, code, NULL);
        lives = false;
    } else if (state->count || state->done) {
        tell(hub, stream,
             &(struct stream_frame){.type = STREAM_STATE,
                                    .position = state->position,
                                    .more = !state->done,
                                    .count = state->count,
                                    .items = {items.buf->data, items.bytes}});
        budget->bytes -= items.bytes < budget->bytes ? items.bytes : budget->bytes;
    }
    pack_deinit(&items);
    if (lives && !code && state->done)
        lives = go_live(hub, stream, state->position);
    return lives;
}

/* The first stretch was read up to there. */
static void advance(struct stream *stream, const struct feed_read *read, uint64_t next)
{
    stream->position = read->position;
    stream->part = read->part;
    stream->hits[0].from = read->position;
    if (read->part || read->position < read->end)
        return;
    stream->hit_count--;
    memmove(stream->hits, stream->hits + 1, stream->hit_count * sizeof stream->hits[0]);
    /* Between two stretches there is nothing for it, and behind the last one neither. */
    uint64_t known = stream->hit_count ? stream->hits[0].from : next;
    if (known > stream->position)
        stream->position = known;
}

static bool tell_events(struct stream_hub *hub, struct stream *stream, struct stream_budget *budget)
{
    const struct feed *feed = feed_of(hub, stream);
    struct pack items;
    uint64_t oldest, next;
    if (!find_bounds(hub, stream, &oldest, &next))
        return false;
    pack_init(&items, 1024);
    struct feed_read read = {.spec = stream->spec,
                             .interest = &stream->interest,
                             .position = stream->hits[0].from,
                             .part = stream->part,
                             .end = stream->hits[0].end < next ? stream->hits[0].end : next,
                             .bytes = STREAM_FRAME_BYTES,
                             .looks = budget->looks,
                             .items = &items};
    int code = feed->ops->read(feed->arg, &read);
    budget->looks = code ? 0 : read.looks;
    bool lives = true;
    if (code == FEED_LOST) {
        lives = resync(hub, stream);
    } else if (code) {
        stream_end(hub, stream, code, NULL);
        lives = false;
    } else {
        advance(stream, &read, next);
        /* What was told in part is ended, also if nothing more of it is for this one. */
        bool more = stream->part > 0;
        if (read.count || (stream->open && !more)) {
            stream->open = more;
            tell(hub, stream,
                 &(struct stream_frame){.type = STREAM_EVENTS,
                                        .position = stream->position,
                                        .more = more,
                                        .count = read.count,
                                        .items = {items.buf->data, items.bytes}});
        }
        budget->bytes -= items.bytes < budget->bytes ? items.bytes : budget->bytes;
    }
    pack_deinit(&items);
    return lives;
}

static bool tell_progress(struct stream_hub *hub, struct stream *stream, bool answers)
{
    uint64_t oldest, next;
    if (!find_bounds(hub, stream, &oldest, &next))
        return false;
    if (!stream->hit_count && next > stream->position)
        stream->position = next;
    uint64_t age_us = hub->now_us > hub->fresh_us ? hub->now_us - hub->fresh_us : 0;
    tell(hub, stream,
         &(struct stream_frame){.type = STREAM_PROGRESS,
                                .position = stream->position,
                                .age_ms = (age_us + 999) / 1000,
                                .ask = answers ? stream->ask : 0});
    if (answers)
        stream->ask = 0;
    return true;
}

bool stream_serve(struct stream_hub *hub, struct stream *stream, struct stream_budget *budget)
{
    bool credit = stream->spent < stream->granted;
    switch (stream->phase) {
    case STREAM_ASKED:
        return hub->fresh_us >= stream->asked_us && begin(hub, stream);
    case STREAM_STATING:
        return credit && tell_state(hub, stream, budget);
    case STREAM_LIVE:
        if (stream->hit_count && credit)
            return tell_events(hub, stream, budget);
        if (stream->ask && !stream->hit_count && hub->fresh_us >= stream->ask_us)
            return tell_progress(hub, stream, true);
        if (stream->progress_due)
            return tell_progress(hub, stream, false);
        return false;
    }
    return false;
}
