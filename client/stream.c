#include "client/stream.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS_NS UINT64_C(1000000)

/* --- Life ------------------------------------------------------------------------------------- */

int client_stream_create(const struct client_stream_options *options,
                         struct client_stream **ret_stream, struct conclave_error *error)
{
    struct client_stream *stream = mem_zalloc(sizeof *stream);
    stream->kind = options->kind;
    stream->position = options->position;
    stream->spec = buf_copy(options->spec.data, options->spec.bytes);
    if (options->state_spec.bytes)
        stream->state_spec = buf_copy(options->state_spec.data, options->state_spec.bytes);
    stream->state_wanted = options->state_first;
    stream->window_bytes =
        options->window_bytes ? options->window_bytes : STREAM_WINDOW_BYTES_DEFAULT;
    stream->tail = stream->whole = &stream->first;
    int code = stream_link_init(stream, options->endpoints, options->context, error);
    if (code) {
        client_stream_destroy(stream);
        return code;
    }
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
    stream_link_deinit(stream);
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

static struct stream_held *hold(struct client_stream *stream, const struct stream_frame *frame,
                                size_t bytes, struct buf *owner)
{
    struct stream_held *held = mem_zalloc(sizeof *held);
    held->frame = *frame;
    held->bytes = bytes;
    held->owner = owner ? buf_ref(owner) : NULL;
    *stream->tail = held;
    stream->tail = &held->next;
    return held;
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

static void take_frame(struct client_stream *stream, const struct stream_frame *frame, size_t bytes,
                       struct buf *owner)
{
    switch (frame->type) {
    case STREAM_BEGUN:
        if (!stream->state_wanted)
            stream->position = frame->position;
        if (!stream->delivered && !stream->first && !stream->state_wanted)
            stream->delivered = frame->position;
        if (stream->state_under_way) { /* elsewhere: from the beginning */
            hold(stream, &(struct stream_frame){.type = STREAM_RESYNC}, 0, NULL)->resync = true;
            make_whole(stream);
            stream->state_under_way = false;
        }
        return;
    case STREAM_EVENTS:
        hold(stream, frame, bytes, owner);
        if (frame->more) {
            stream->granted_base += bytes; /* it cannot be handed out before the rest comes */
            return;
        }
        stream->position = frame->position;
        break;
    case STREAM_STATE:
        hold(stream, frame, bytes, owner);
        stream->state_under_way = frame->more;
        if (!frame->more) {
            stream->position = frame->position;
            stream->state_wanted = false;
        }
        break;
    case STREAM_PROGRESS:
        if (*stream->whole)
            return; /* in the middle of a position */
        hold(stream, frame, 0, owner);
        if (!stream->state_wanted)
            stream->position = frame->position;
        break;
    case STREAM_RESYNC:
        drop_parts(stream);
        hold(stream, frame, 0, owner);
        stream->state_wanted = stream->state_spec != NULL;
        stream->state_under_way = false;
        break;
    default:
        return; /* of a later revision */
    }
    make_whole(stream);
}

/* A code that another node would answer too. */
static bool is_final(int code)
{
    return code == CONCLAVE_INVALID || code == CONCLAVE_MALFORMED || code == CONCLAVE_TOO_LARGE ||
           code == CONCLAVE_DENIED || code == CONCLAVE_VERSION;
}

static void end(struct client_stream *stream, int code, uint64_t now_ns)
{
    if (is_final(code))
        stream->failed = code;
    drop_parts(stream);
    stream_link_leave(stream, code ? code : CONCLAVE_NOT_FOUND, now_ns);
}

void stream_take_reply(struct client_stream *stream, const struct client_reply *reply,
                       struct buf *owner, uint64_t now_ns)
{
    struct stream_frame frame;
    if (stream->phase != LINK_ASKED && stream->phase != LINK_BEGUN)
        return; /* the rest of a frame in which it was left */
    if (reply->id != stream->id) {
        if (reply->id == 0) /* a frame of ours could not be read */
            end(stream, reply->code, now_ns);
        else if (reply->code == CONCLAVE_OK && reply->body.bytes)
            stream_link_say(stream, CLIENT_OP_UNSUBSCRIBE, reply->id, NULL, now_ns);
        return;
    }
    if (reply->code != CONCLAVE_OK || !reply->body_is_bin || reply->body.bytes == 0) {
        /* As the answer to a SUBSCRIBE it is said by a node that knew all that was committed. Later
         * it may be the subscription that the node knows no more: then it is asked for again. */
        if (reply->code == CONCLAVE_NOT_FOUND && stream->kind == STREAM_TOPIC &&
            stream->phase == LINK_ASKED)
            stream->failed = reply->code;
        end(stream, reply->code, now_ns);
        return;
    }
    int code = stream_frame_decode(reply->body, &frame);
    if (code) {
        end(stream, code, now_ns);
        return;
    }
    if (frame.number != stream->number + 1) { /* one was lost: begin again behind what came */
        end(stream, CONCLAVE_NOT_FOUND, now_ns);
        return;
    }
    stream->number = frame.number;
    if (frame.type == STREAM_BEGUN) {
        stream->phase = LINK_BEGUN;
        stream->since_ns = now_ns;
        stream->pause_ms = 0;
        stream->reason = CONCLAVE_OK;
    }
    take_frame(stream, &frame, reply->body.bytes, owner);
    if (frame.type == STREAM_PROGRESS && frame.age_ms > STREAM_AGE_MS_MAX &&
        stream->endpoint_count > 1)
        stream_link_leave(stream, CONCLAVE_STALE, now_ns);
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

int client_stream_next(struct client_stream *stream, uint32_t timeout_ms,
                       struct client_stream_piece *ret)
{
    uint64_t now_ns = clock_now_ns(), deadline_ns = now_ns + timeout_ms * MS_NS;
    for (;;) {
        if (hand_out(stream, ret))
            return CONCLAVE_OK;
        if (stream->failed)
            return stream->failed;
        bool came = stream_link_step(stream, now_ns);
        if (came && hand_out(stream, ret))
            return CONCLAVE_OK;
        if (stream->failed)
            return stream->failed;
        if (now_ns >= deadline_ns)
            return CONCLAVE_TIMEOUT;
        if (!came)
            stream_link_wait(stream, deadline_ns, now_ns);
        now_ns = clock_now_ns();
    }
}

void client_stream_ask(struct client_stream *stream)
{
    stream->ask++;
}

uint64_t client_stream_position(const struct client_stream *stream)
{
    return stream->delivered;
}

int client_stream_fd(const struct client_stream *stream)
{
    return stream->epoll;
}

const char *client_stream_describe(struct client_stream *stream)
{
    static const char *const phases[] = {"no connection", "connecting", "asked", "subscribed"};
    bool left = stream->reason && stream->phase != LINK_BEGUN;
    snprintf(stream->text, sizeof stream->text, "%s (%s%s%s)", stream->endpoints[stream->at],
             phases[stream->phase], left ? "; the last node: " : "",
             left ? conclave_code_text(stream->reason) : "");
    return stream->text;
}
