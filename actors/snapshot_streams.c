/* Snapshots on their way between nodes, piece by piece over the bulk link (Rule 38).
 *
 * The sender keeps a window of pieces on the way and a rate; the receiver answers each with how far
 * it has the file, and appends only what follows directly. Whatever is lost, or whoever restarts,
 * the next answer says where to go on. Memory is bounded by the window, not by the snapshot. */
#include "actors/snapshot_actor.h"

#include "base/clock.h"
#include "base/fatal.h"

#include <string.h>

enum {
    WINDOW_BYTES = 8 * SNAPSHOT_CHUNK_BYTES,
    RATE_BYTES_PER_MS = 64 << 10, /* 64 MB/s: half of a gigabit link */
    RATE_SLACK_US = 5000,         /* a helper that sleeps for a millisecond still keeps the rate */
    FIRST_RETRY_US = 200000,      /* until the peer has answered once */
    RETRY_US = 1000000,           /* Rule 37: a stream that does not go on is lost */
    AGAIN_US = 5000000,           /* the peer has the file, and raft still wants it to have one */
    IDLE_PART_US = 3000000        /* after this another snapshot may take the place of a part */
};

/* --- Sending ---------------------------------------------------------------------------------- */

static struct stream *find_stream(struct snapshot_helper *helper, raft_node_id peer)
{
    for (uint32_t i = 0; i < helper->stream_count; i++)
        if (helper->streams[i].peer == peer)
            return &helper->streams[i];
    return NULL;
}

void streams_want(struct snapshot_helper *helper, raft_node_id peer, bool wanted, uint64_t now_us)
{
    struct stream *stream = find_stream(helper, peer);
    if (wanted && !stream) {
        ASSERT(helper->stream_count < CONCLAVE_MEMBERS_MAX);
        helper->streams[helper->stream_count++] =
            (struct stream){.peer = peer, .progress_us = now_us};
    } else if (!wanted && stream) {
        snapshot_source_close(&stream->source);
        *stream = helper->streams[--helper->stream_count];
    }
}

/* Begins with the newest snapshot. */
static bool stream_open(struct actor *actor, struct stream *stream, uint64_t now_us)
{
    const struct snapshot_helper *helper = actor->state;
    const struct node *node = actor->node;
    if (helper->newest.index == 0)
        return false;
    struct conclave_error error = {0};
    if (snapshot_source_open(io_posix(), node->options.data_dir, helper->newest, &stream->source,
                             &error)) {
        log_event(&node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_sent", "reason=\"%s\"",
                  error.message);
        return false;
    }
    stream->open = true;
    stream->id = helper->newest;
    stream->sent = stream->acked = 0;
    stream->answered = false;
    stream->progress_us = now_us;
    log_event(&node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "sending",
              "index=%llu bytes=%llu to=%llu", (unsigned long long)stream->id.index,
              (unsigned long long)stream->source.bytes, (unsigned long long)stream->peer);
    return true;
}

static bool send_piece(struct actor *actor, struct stream *stream)
{
    struct snapshot_helper *helper = actor->state;
    size_t got = 0;
    struct conclave_error error = {0};
    const struct io *io = stream->source.io;
    int code = io->read(io->ctx, stream->source.file, stream->sent, helper->piece,
                        SNAPSHOT_CHUNK_BYTES, &got, &error);
    if (code || got == 0) {
        log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_sent",
                  "reason=\"%s\"", code ? error.message : "the file became shorter");
        return false;
    }
    const struct peer_snapshot piece = {.name = stream->source.name,
                                        .id = stream->id,
                                        .bytes = stream->source.bytes,
                                        .offset = stream->sent,
                                        .data = {.data = helper->piece, .bytes = got}};
    struct envelope *send = envelope_create(ENVELOPE_SEND_BULK);
    outgoing_add(&send->send, stream->peer,
                 peer_encode_snapshot(&actor->node->peer_identity, stream->peer, &piece));
    actor_send(actor, ACTOR_NETWORK, &send);
    stream->sent += got;
    return true;
}

/* Returns when the stream wants to be looked at again. */
static uint64_t stream_send(struct actor *actor, struct stream *stream, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    if (!stream->open && !stream_open(actor, stream, now_us))
        return now_us + RETRY_US;
    uint64_t retry_us = stream->answered ? RETRY_US : FIRST_RETRY_US;
    if (stream->acked == stream->source.bytes)
        retry_us = AGAIN_US;
    if (now_us - stream->progress_us >= retry_us) {
        if (stream->acked == stream->source.bytes) {
            snapshot_source_close(&stream->source);
            stream->open = false;
            return now_us;
        }
        stream->sent = stream->acked; /* what was on its way is lost */
        stream->progress_us = now_us;
    }
    /* One piece alone until the peer has said how much of the file it has already. */
    uint64_t window = stream->answered ? WINDOW_BYTES : SNAPSHOT_CHUNK_BYTES;
    while (stream->sent < stream->source.bytes && stream->sent - stream->acked < window) {
        if (helper->free_us > now_us + RATE_SLACK_US)
            return helper->free_us - RATE_SLACK_US;
        uint64_t before = stream->sent;
        if (!send_piece(actor, stream)) {
            snapshot_source_close(&stream->source);
            stream->open = false;
            return now_us + RETRY_US;
        }
        if (helper->free_us < now_us)
            helper->free_us = now_us;
        helper->free_us += (stream->sent - before) * 1000 / RATE_BYTES_PER_MS;
    }
    return stream->progress_us + retry_us;
}

uint64_t streams_send(struct actor *actor, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    uint64_t due_us = UINT64_MAX;
    for (uint32_t i = 0; i < helper->stream_count; i++) {
        uint64_t stream_due_us = stream_send(actor, &helper->streams[i], now_us);
        if (stream_due_us < due_us)
            due_us = stream_due_us;
    }
    return due_us;
}

static void take_ack(struct snapshot_helper *helper, const struct peer_frame *frame,
                     uint64_t now_us)
{
    struct stream *stream = find_stream(helper, frame->from.node_id);
    const struct peer_snapshot *ack = &frame->snapshot;
    if (!stream || !stream->open || stream->source.name != ack->name)
        return;
    uint64_t offset = ack->done ? stream->source.bytes : ack->offset;
    if (offset > stream->source.bytes)
        return;
    if (!stream->answered || offset < stream->acked) /* it has another part of it than thought */
        stream->sent = offset;
    else if (offset == stream->acked)
        return; /* nothing new: if a piece was lost, the time for it runs */
    stream->answered = true;
    stream->acked = offset;
    if (stream->sent < offset)
        stream->sent = offset;
    stream->progress_us = now_us;
}

/* --- Receiving -------------------------------------------------------------------------------- */

static void answer(struct actor *actor, const struct peer_frame *frame, uint64_t offset, bool done)
{
    struct peer_snapshot ack = frame->snapshot;
    ack.offset = offset;
    ack.done = done;
    ack.data = (struct slice){0};
    struct envelope *send = envelope_create(ENVELOPE_SEND_BULK);
    outgoing_add(&send->send, frame->from.node_id,
                 peer_encode_snapshot_ack(&actor->node->peer_identity, frame->from.node_id, &ack));
    actor_send(actor, ACTOR_NETWORK, &send);
}

static void not_received(struct actor *actor, const struct conclave_error *error)
{
    log_event(&actor->node->logger, CONCLAVE_LOG_WARN, actor->ops->name, "not_received",
              "reason=\"%s\"", error->message);
}

/* The file is whole: verified and durable, it goes to raft. */
static void finish_part(struct actor *actor)
{
    struct snapshot_helper *helper = actor->state;
    struct conclave_error error = {0};
    struct snapshot_meta meta = {0};
    int code = snapshot_part_finish(helper->part, &actor->node->identity, &meta, &error);
    helper->part = NULL;
    if (code) {
        not_received(actor, &error);
        return;
    }
    log_event(&actor->node->logger, CONCLAVE_LOG_INFO, actor->ops->name, "received", "index=%llu",
              (unsigned long long)meta.last.index);
    struct envelope *received = envelope_create(ENVELOPE_SNAPSHOT_RECEIVED);
    received->snapshot = (struct raft_snapshot){.last = meta.last,
                                                .configuration_index = meta.configuration_index,
                                                .configuration = meta.configuration};
    actor_send(actor, ACTOR_RAFT, &received);
    snapshot_became_durable(actor, meta.last);
}

/* True if helper->part is the file that the piece belongs to. */
static bool choose_part(struct actor *actor, const struct peer_snapshot *piece, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    if (helper->part && helper->part_name == piece->name)
        return true;
    if (helper->part && now_us - helper->part_us < IDLE_PART_US)
        return false; /* one at a time */
    snapshot_part_close(helper->part);
    helper->part = NULL;
    struct conclave_error error = {0};
    if (snapshot_part_open(io_posix(), actor->node->options.data_dir, piece->name, piece->bytes,
                           &helper->part, &error)) {
        not_received(actor, &error);
        return false;
    }
    helper->part_name = piece->name;
    helper->part_id = piece->id;
    helper->part_us = now_us;
    return true;
}

static void take_piece(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    struct snapshot_helper *helper = actor->state;
    const struct peer_snapshot *piece = &frame->snapshot;
    if (piece->id.index <= helper->newest.index) {
        answer(actor, frame, piece->bytes, true);
        return;
    }
    if (!choose_part(actor, piece, now_us))
        return;
    helper->part_us = now_us;
    struct conclave_error error = {0};
    if (piece->offset == snapshot_part_offset(helper->part) && piece->data.bytes > 0 &&
        snapshot_part_add(helper->part, piece->data.data, piece->data.bytes, &error)) {
        not_received(actor, &error);
        snapshot_part_close(helper->part);
        helper->part = NULL;
        return;
    }
    uint64_t offset = snapshot_part_offset(helper->part);
    if (offset == piece->bytes)
        finish_part(actor);
    bool done = piece->id.index <= helper->newest.index;
    answer(actor, frame, offset < piece->bytes || done ? offset : 0, done);
}

void streams_take(struct actor *actor, const struct peer_frame *frame, uint64_t now_us)
{
    if (frame->type == PEER_FRAME_SNAPSHOT)
        take_piece(actor, frame, now_us);
    else
        take_ack(actor->state, frame, now_us);
}

void streams_close(struct snapshot_helper *helper)
{
    for (uint32_t i = 0; i < helper->stream_count; i++)
        snapshot_source_close(&helper->streams[i].source);
    helper->stream_count = 0;
    snapshot_part_close(helper->part);
    helper->part = NULL;
}
