#include "client/stream.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#define MS_NS UINT64_C(1000000)

enum {
    KEEP_PART = 4, /* less than one in so many of a frame is copied */
    WAIT_MS_MAX = 1000
};

/* --- Life ------------------------------------------------------------------------------------- */

/* The link of the client, which may have none yet, or an own one. */
static int link_obtain(const struct client_stream_options *options, struct client_stream *stream,
                       struct stream_link **ret_link, struct conclave_error *error)
{
    if (options->client) {
        stream->client = options->client;
        *ret_link = client_streams(options->client);
        return CONCLAVE_OK;
    }
    stream->owns_link = true;
    return stream_link_open(options->endpoints, options->context, ret_link, error);
}

int client_stream_create(const struct client_stream_options *options,
                         struct client_stream **ret_stream, struct conclave_error *error)
{
    struct client_stream *stream = mem_zalloc(sizeof *stream);
    struct stream_link *link = NULL;
    stream->kind = options->kind;
    stream->position = options->position;
    stream->user = options->user;
    stream->quiet = options->quiet;
    stream->state_wanted = options->state_first;
    stream->tail = stream->whole = &stream->first;
    stream->window_bytes = options->window_bytes ? options->window_bytes
                           : options->client     ? STREAM_WINDOW_BYTES_SHARED
                                                 : STREAM_WINDOW_BYTES_DEFAULT;
    int code = link_obtain(options, stream, &link, error);
    if (!code && stream_link_add(link, stream))
        code = error_set(error, CONCLAVE_BUSY, "this client has %d watches and subscriptions",
                         STREAM_CONNECTION_MAX);
    if (code) {
        client_stream_destroy(stream);
        return code;
    }
    stream->spec = buf_copy(options->spec.data, options->spec.bytes);
    if (options->state_spec.bytes)
        stream->state_spec = buf_copy(options->state_spec.data, options->state_spec.bytes);
    *ret_stream = stream;
    return CONCLAVE_OK;
}

static void held_free(struct stream_held *held)
{
    if (!held)
        return;
    buf_unref(held->owner);
    free(held);
}

void client_stream_destroy(struct client_stream *stream)
{
    if (!stream)
        return;
    struct stream_link *link = stream->link;
    if (link)
        stream_link_remove(link, stream);
    if (stream->owns_link)
        stream_link_destroy(link);
    for (struct stream_held *held = stream->first, *next; held; held = next) {
        next = held->next;
        held_free(held);
    }
    held_free(stream->finished);
    buf_unref(stream->spec);
    buf_unref(stream->state_spec);
    free(stream);
}

/* --- Taking frames ---------------------------------------------------------------------------- */

/* The last one that was taken, of at least one: `next` is its first member. */
static struct stream_held *newest(const struct client_stream *stream)
{
    return (struct stream_held *)(void *)stream->tail;
}

/* Of a large frame for many a small part is copied: what one leaves unread does not keep it all. */
static void hold_items(struct stream_held *held, size_t bytes, struct buf *owner)
{
    if (bytes >= owner->bytes / KEEP_PART) {
        held->owner = buf_ref(owner);
        return;
    }
    held->owner = buf_copy(held->frame.items.data, held->frame.items.bytes);
    held->frame.items.data = held->owner->data;
}

/* `owner` NULL: it has no items. */
static void hold(struct client_stream *stream, const struct stream_frame *frame, size_t bytes,
                 struct buf *owner)
{
    struct stream_held *held = mem_zalloc(sizeof *held);
    held->frame = *frame;
    held->bytes = bytes;
    if (owner)
        hold_items(held, bytes, owner);
    else
        held->frame.items = (struct slice){0};
    *stream->tail = held;
    stream->tail = &held->next;
}

/* Of marks that nobody takes the last one is enough. */
static void hold_progress(struct client_stream *stream, const struct stream_frame *frame)
{
    if (!stream->first || newest(stream)->frame.type != STREAM_PROGRESS) {
        hold(stream, frame, 0, NULL);
        return;
    }
    struct stream_held *last = newest(stream);
    uint64_t ask = frame->ask ? frame->ask : last->frame.ask;
    last->frame = *frame;
    last->frame.ask = ask;
    last->frame.items = (struct slice){0};
}

/* Everything that was taken may be handed out. */
static void make_whole(struct client_stream *stream)
{
    stream->whole = stream->tail;
}

/* What waits for the end of its position will never be whole. */
static void drop_parts(struct client_stream *stream)
{
    struct stream_held *parts = *stream->whole;
    *stream->whole = NULL;
    stream->tail = stream->whole;
    for (struct stream_held *next; parts; parts = next) {
        next = parts->next;
        held_free(parts);
    }
}

size_t stream_held_bytes(const struct client_stream *stream)
{
    size_t bytes = 0;
    for (const struct stream_held *held = stream->first; held; held = held->next)
        bytes += held->bytes;
    return bytes;
}

void stream_restart(struct client_stream *stream)
{
    if (stream->phase == STREAM_BEGAN)
        stream->link->begun_count--;
    stream->phase = STREAM_WAITS;
    drop_parts(stream);
    stream_enqueue(stream, STREAM_TALKS);
}

void stream_fail(struct client_stream *stream, int code)
{
    if (stream->phase == STREAM_BEGAN)
        stream->link->begun_count--;
    stream->phase = STREAM_WAITS;
    drop_parts(stream);
    stream_dequeue(stream, STREAM_TALKS);
    if (!stream->failed)
        stream->failed = code;
    if (!stream->quiet)
        stream_enqueue(stream, STREAM_READY);
}

static void take_begun(struct client_stream *stream, const struct stream_frame *frame,
                       uint64_t now_ns)
{
    struct stream_link *link = stream->link;
    if (stream->phase != STREAM_BEGAN)
        link->begun_count++;
    stream->phase = STREAM_BEGAN;
    link->begun_ns = now_ns;
    link->pause_ms = 0;
    link->reason = CONCLAVE_OK;
    if (!stream->state_wanted)
        stream->position = frame->position;
    if (!stream->delivered && !stream->first && !stream->state_wanted)
        stream->delivered = frame->position;
    if (stream->state_under_way) { /* elsewhere: from the beginning */
        hold(stream, &(struct stream_frame){.type = STREAM_RESYNC}, 0, NULL);
        stream->state_under_way = false;
    }
    if (stream->ask != stream->asked_told)
        stream_enqueue(stream, STREAM_TALKS);
}

/* False: it is a part of a position that goes on, or nothing. */
static bool take(struct client_stream *stream, const struct stream_frame *frame, size_t bytes,
                 struct buf *owner, uint64_t now_ns)
{
    switch (frame->type) {
    case STREAM_BEGUN:
        take_begun(stream, frame, now_ns);
        return true;
    case STREAM_EVENTS:
        hold(stream, frame, bytes, owner);
        if (frame->more) {
            stream->granted_base += bytes; /* it cannot be handed out before the rest comes */
            return false;
        }
        stream->position = frame->position;
        return true;
    case STREAM_STATE:
        hold(stream, frame, bytes, owner);
        stream->state_under_way = frame->more;
        if (!frame->more) {
            stream->position = frame->position;
            stream->state_wanted = false;
        }
        return true;
    case STREAM_PROGRESS:
        if (*stream->whole)
            return false; /* in the middle of a position */
        hold_progress(stream, frame);
        if (!stream->state_wanted)
            stream->position = frame->position;
        return true;
    case STREAM_RESYNC:
        drop_parts(stream);
        hold(stream, frame, 0, NULL);
        stream->state_wanted = stream->state_spec != NULL;
        stream->state_under_way = false;
        return true;
    default:
        return false; /* of a later revision */
    }
}

/* Says how much more may come, once it is worth it. */
static void grant(struct client_stream *stream)
{
    if (stream->phase == STREAM_BEGAN &&
        stream->granted_base + stream->window_bytes - stream->granted_told >=
            stream->window_bytes / 2)
        stream_enqueue(stream, STREAM_TALKS);
}

void stream_take_frame(struct client_stream *stream, struct slice body, struct buf *owner,
                       uint64_t now_ns)
{
    struct stream_frame frame;
    if (stream_frame_decode(body, &frame)) {
        stream_talk_leave(stream->link, stream->id);
        stream_fail(stream, CONCLAVE_MALFORMED);
        return;
    }
    if (frame.number != stream->number + 1) { /* one was lost: begin again behind what came */
        stream_talk_leave(stream->link, stream->id);
        stream_restart(stream);
        return;
    }
    stream->number = frame.number;
    if (take(stream, &frame, body.bytes, owner, now_ns))
        make_whole(stream);
    else
        grant(stream);
    if (client_stream_is_ready(stream) && !stream->quiet)
        stream_enqueue(stream, STREAM_READY);
    if (frame.type == STREAM_PROGRESS && frame.age_ms > STREAM_AGE_MS_MAX &&
        stream->link->endpoint_count > 1)
        stream_link_leave(stream->link, CONCLAVE_STALE, now_ns);
}

/* --- Handing out ------------------------------------------------------------------------------ */

/* The front is handed out. Its bytes stay until the next call. */
static void finish_front(struct client_stream *stream)
{
    struct stream_held *held = stream->first;
    bool part = held->frame.type == STREAM_EVENTS && held->frame.more;
    stream->first = held->next;
    if (!stream->first)
        stream->tail = &stream->first;
    if (stream->whole == &held->next)
        stream->whole = &stream->first;
    if (!part)
        stream->granted_base += held->bytes; /* a part's were granted when it came */
    if (held->frame.type == STREAM_RESYNC || (held->frame.type == STREAM_STATE && held->frame.more))
        stream->delivered = 0;
    else if (!part && !(held->frame.type == STREAM_PROGRESS && stream->delivered == 0))
        stream->delivered = held->frame.position;
    stream->open = false;
    held_free(stream->finished);
    stream->finished = held;
    grant(stream);
}

bool client_stream_is_ready(const struct client_stream *stream)
{
    return stream->whole != &stream->first || stream->failed;
}

/* Takes the next thing out of what is whole. False: there is nothing. */
static bool hand_out(struct client_stream *stream, struct client_stream_piece *ret)
{
    while (stream->whole != &stream->first) {
        struct stream_held *held = stream->first;
        bool events = held->frame.type == STREAM_EVENTS, state = held->frame.type == STREAM_STATE;
        if (!stream->open) {
            cursor_init(&stream->values, held->frame.items.data, held->frame.items.bytes);
            stream->values_left = events || state ? held->frame.count : 0;
            stream->open = true;
        }
        *ret = (struct client_stream_piece){.frame = held->frame};
        if (stream->values_left > 0) {
            stream->values_left--;
            ret->what = events ? CLIENT_STREAM_EVENT : CLIENT_STREAM_STATE;
            ret->value = cursor_raw(&stream->values);
            ret->last = stream->values_left == 0 && !held->frame.more;
            if (stream->values_left == 0 && !(state && !held->frame.more))
                finish_front(stream);
            return true;
        }
        finish_front(stream);
        if (state && !held->frame.more)
            ret->what = CLIENT_STREAM_SYNCED;
        else if (held->frame.type == STREAM_RESYNC)
            ret->what = CLIENT_STREAM_RESYNC;
        else if (held->frame.type == STREAM_PROGRESS)
            ret->what = CLIENT_STREAM_PROGRESS;
        else
            continue; /* it had nothing in it */
        ret->asked = held->frame.ask != 0 && held->frame.ask == stream->ask;
        if (ret->asked)
            stream->asked_answered = stream->ask;
        return true;
    }
    return false;
}

bool client_stream_peek(const struct client_stream *stream, struct slice *ret_value)
{
    if (!stream->open || stream->values_left == 0)
        return false;
    struct cursor next = stream->values;
    *ret_value = cursor_raw(&next);
    return true;
}

int client_stream_take(struct client_stream *stream, struct client_stream_piece *ret)
{
    if (hand_out(stream, ret))
        return CONCLAVE_OK;
    return stream->failed ? stream->failed : CONCLAVE_TIMEOUT;
}

static bool step(struct client_stream *stream, uint64_t now_ns)
{
    return stream->client ? client_step(stream->client) : stream_link_step(stream->link, now_ns);
}

static void wait_for_more(struct client_stream *stream, uint64_t until_ns, uint64_t now_ns)
{
    if (stream->client) {
        client_wait(stream->client, until_ns);
        return;
    }
    zmq_pollitem_t items[STREAM_LINK_ITEMS];
    int count = stream_link_items(stream->link, items);
    uint64_t due_ns = stream_link_due_ns(stream->link);
    if (until_ns < due_ns)
        due_ns = until_ns;
    uint64_t wait_ms = due_ns <= now_ns ? 0 : (due_ns - now_ns + MS_NS - 1) / MS_NS;
    if (wait_ms > WAIT_MS_MAX)
        wait_ms = WAIT_MS_MAX;
    (void)zmq_poll(items, count, (long)wait_ms); /* a signal may end it: the caller looks again */
}

int client_stream_next(struct client_stream *stream, uint32_t timeout_ms,
                       struct client_stream_piece *ret)
{
    uint64_t now_ns = clock_now_ns(), deadline_ns = now_ns + timeout_ms * MS_NS;
    for (;;) {
        int code = client_stream_take(stream, ret);
        if (code != CONCLAVE_TIMEOUT)
            return code;
        bool came = step(stream, now_ns);
        code = client_stream_take(stream, ret);
        if (code != CONCLAVE_TIMEOUT || now_ns >= deadline_ns)
            return code;
        if (!came)
            wait_for_more(stream, deadline_ns, now_ns);
        now_ns = clock_now_ns();
    }
}

void client_stream_ask(struct client_stream *stream)
{
    stream->ask++;
    if (stream->phase == STREAM_BEGAN)
        stream_enqueue(stream, STREAM_TALKS);
}

uint64_t client_stream_position(const struct client_stream *stream)
{
    return stream->delivered;
}

int client_stream_fd(const struct client_stream *stream)
{
    return stream->link ? stream->link->epoll : -1;
}

void *client_stream_user(const struct client_stream *stream)
{
    return stream->user;
}

const char *client_stream_describe(struct client_stream *stream)
{
    static const char *const phases[] = {"not asked yet", "asked", "subscribed", "refused for now"};
    return stream->link ? stream_link_describe(stream->link, phases[stream->phase])
                        : "its client is gone";
}
