/* What the streams of a link say to its node, and to whom what came from there belongs. */
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "client/socket.h"
#include "client/stream.h"
#include "transport/frame.h"

#include <string.h>

enum {
    FRAME_BYTES_MAX = 64 << 10,
    /* Beside a spec, at most: array 1, id 9, type 1, bin 5, array 1, three numbers of 9. */
    TALK_BYTES = 44,
    FRAME_HEADER_BYTES = 8
};

/* --- Saying ----------------------------------------------------------------------------------- */

void stream_talk_leave(struct stream_link *link, uint64_t id)
{
    if (link->phase != LINK_UP)
        return; /* its end is that of the connection */
    LIST_RESERVE(&link->leaving);
    link->leaving.items[link->leaving.count++] = id;
}

static void op_pack(struct pack *pack, uint32_t type, uint64_t id, const struct pack *body)
{
    struct client_op op = {.id = id, .type = type};
    if (body)
        op.body = (struct slice){body->buf->data, body->bytes};
    client_op_pack(pack, &op);
}

static const struct buf *spec_of(const struct client_stream *stream)
{
    return stream->state_wanted && stream->state_spec ? stream->state_spec : stream->spec;
}

static void subscribe_pack(struct pack *pack, struct client_stream *stream, uint64_t now_ns)
{
    struct stream_link *link = stream->link;
    const struct buf *spec = spec_of(stream);
    struct pack body;
    pack_init(&body, TALK_BYTES + spec->bytes);
    stream->id = ++link->attempts << STREAM_SLOT_BITS | stream->slot;
    stream->number = 0;
    stream->asked_told = stream->asked_answered; /* what was not answered is asked again */
    /* What is still to be handed out counts; it is granted again when it is. Below zero at first.
     */
    size_t held = stream_held_bytes(stream);
    stream->granted_told = held < stream->window_bytes ? stream->window_bytes - held : 0;
    stream->granted_base = stream->granted_told - stream->window_bytes;
    stream->phase = STREAM_ASKED;
    stream->asked_ns = now_ns;
    stream_subscribe_pack(&body, &(struct stream_subscribe){.kind = stream->kind,
                                                            .position = stream->position,
                                                            .granted = stream->granted_told,
                                                            .spec = {spec->data, spec->bytes}});
    op_pack(pack, CLIENT_OP_SUBSCRIBE, stream->id, &body);
    pack_deinit(&body);
}

/* Grants what was handed out, asks what is to be asked, and says that the client is there. */
static void credit_pack(struct pack *pack, struct client_stream *stream)
{
    bool asks = stream->ask != stream->asked_told;
    struct pack body;
    pack_init(&body, TALK_BYTES);
    stream->granted_told = stream->granted_base + stream->window_bytes;
    stream->asked_told = stream->ask;
    stream_credit_pack(&body,
                       &(struct stream_credit){stream->granted_told, asks ? stream->ask : 0});
    op_pack(pack, CLIENT_OP_CREDIT, stream->id, &body);
    pack_deinit(&body);
}

/* How much of what waits goes into one frame. */
struct measure {
    uint32_t leaving, talking;
    size_t bytes;
};

static struct measure measure(const struct stream_link *link)
{
    struct measure measure = {.bytes = FRAME_HEADER_BYTES};
    while (measure.leaving < link->leaving.count && measure.leaving < CLIENT_OPS_PER_FRAME_MAX &&
           measure.bytes < FRAME_BYTES_MAX) {
        measure.leaving++;
        measure.bytes += TALK_BYTES;
    }
    for (const struct client_stream *stream = link->queues[STREAM_TALKS].first;
         stream && measure.leaving + measure.talking < CLIENT_OPS_PER_FRAME_MAX &&
         measure.bytes < FRAME_BYTES_MAX;
         stream = stream->places[STREAM_TALKS].next) {
        measure.talking++;
        measure.bytes += TALK_BYTES + spec_of(stream)->bytes;
    }
    return measure;
}

/* What goes first frees places at the node. */
static struct buf *frame_pack(struct stream_link *link, const struct measure *measure,
                              uint64_t now_ns)
{
    struct pack pack;
    pack_init(&pack, measure->bytes);
    client_request_pack(&pack, measure->leaving + measure->talking);
    for (uint32_t i = 0; i < measure->leaving; i++)
        op_pack(&pack, CLIENT_OP_UNSUBSCRIBE, link->leaving.items[i], NULL);
    link->leaving.count -= measure->leaving;
    if (link->leaving.count > 0)
        memmove(link->leaving.items, link->leaving.items + measure->leaving,
                link->leaving.count * sizeof link->leaving.items[0]);
    for (uint32_t i = 0; i < measure->talking; i++) {
        struct client_stream *stream = link->queues[STREAM_TALKS].first;
        stream_dequeue(stream, STREAM_TALKS);
        if (stream->phase == STREAM_BEGAN)
            credit_pack(&pack, stream);
        else
            subscribe_pack(&pack, stream, now_ns);
    }
    return pack_take(&pack);
}

void stream_talk(struct stream_link *link, uint64_t now_ns)
{
    while (link->leaving.count > 0 || link->queues[STREAM_TALKS].first) {
        if (!client_socket_writable(link->socket))
            return;
        struct measure next = measure(link);
        if (!frame_send(link->socket, frame_pack(link, &next, now_ns), false)) {
            stream_link_leave(link, CONCLAVE_UNREACHABLE, now_ns);
            return;
        }
        link->spoken_ns = now_ns;
    }
}

/* --- Hearing ---------------------------------------------------------------------------------- */

/* A code that another node would answer too. */
static bool is_final(int code)
{
    return code == CONCLAVE_INVALID || code == CONCLAVE_MALFORMED || code == CONCLAVE_TOO_LARGE ||
           code == CONCLAVE_DENIED || code == CONCLAVE_VERSION;
}

/* A frame of ours could not be read: nobody knows which. */
static void frame_refused(struct stream_link *link, int code, uint64_t now_ns)
{
    bool final = is_final(code) && link->begun_count == 0;
    for (uint32_t slot = 0; final && slot < link->slot_count; slot++)
        if (link->slots[slot] && link->slots[slot]->phase == STREAM_ASKED)
            stream_fail(link->slots[slot], code);
    stream_link_leave(link, code ? code : CONCLAVE_MALFORMED, now_ns);
}

/* The node ends the subscription. What says something of the node itself concerns all of them. */
static void node_ended(struct client_stream *stream, int code, uint64_t now_ns)
{
    struct stream_link *link = stream->link;
    bool began = stream->phase == STREAM_BEGAN;
    /* As the answer to a SUBSCRIBE it is said by a node that knew all that was committed. Later it
     * may be the subscription that the node knows no more: then it is asked for again. */
    bool absent = code == CONCLAVE_NOT_FOUND && stream->kind != STREAM_WATCH && !began;
    if (is_final(code) || absent) {
        stream_fail(stream, code);
        return;
    }
    switch (code) {
    case CONCLAVE_OK:
    case CONCLAVE_NOT_FOUND:
    case CONCLAVE_TIMEOUT:
        stream_restart(stream);
        if (began)
            return;
        break;
    case CONCLAVE_BUSY: /* it has no place for one more; those that it has may stay */
        stream_restart(stream);
        break;
    default:
        stream_link_leave(link, code, now_ns);
        return;
    }
    if (link->begun_count == 0) {
        stream_link_leave(link, code ? code : CONCLAVE_NOT_FOUND, now_ns);
        return;
    }
    stream->phase = STREAM_RESTING;
    stream_dequeue(stream, STREAM_TALKS);
}

static void reply_received(struct stream_link *link, const struct client_reply *reply,
                           struct buf *owner, uint64_t now_ns)
{
    uint32_t slot = (uint32_t)(reply->id & ((1u << STREAM_SLOT_BITS) - 1));
    struct client_stream *stream = slot < link->slot_count ? link->slots[slot] : NULL;
    bool is_frame = reply->code == CONCLAVE_OK && reply->body.bytes > 0;
    if (reply->id == 0) {
        frame_refused(link, reply->code, now_ns);
        return;
    }
    bool subscribed = stream && (stream->phase == STREAM_ASKED || stream->phase == STREAM_BEGAN);
    if (!subscribed || stream->id != reply->id) {
        if (is_frame) /* what it is about is given up here */
            stream_talk_leave(link, reply->id);
        return;
    }
    stream->heard_ns = now_ns;
    if (is_frame && reply->body_is_bin)
        stream_take_frame(stream, reply->body, owner, now_ns);
    else
        node_ended(stream, reply->code, now_ns);
}

void stream_talk_receive(struct stream_link *link, struct buf *frame, uint64_t now_ns)
{
    struct client_reader reader;
    struct client_reply reply;
    int got = client_reply_begin(&reader, frame->data, frame->bytes) ? -1 : 1;
    /* When the node is left, the rest of what it said belongs to nobody any more. */
    while (got == 1 && link->phase == LINK_UP && (got = client_reply_next(&reader, &reply)) == 1)
        reply_received(link, &reply, frame, now_ns);
    if (got < 0 && link->phase == LINK_UP)
        stream_link_leave(link, CONCLAVE_MALFORMED, now_ns);
}
