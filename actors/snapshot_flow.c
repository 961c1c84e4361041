#include "actors/snapshot_flow.h"

#include "base/fatal.h"

enum {
    WINDOW_CHUNKS = 8,
    RATE_BYTES_PER_MS = 64 << 10,
    RATE_SLACK_US = 5000,
    FIRST_RETRY_US = 200000,
    RETRY_US = 1000000,
    AGAIN_US = 5000000,
    IDLE_PART_US = 3000000
};

void flow_limits_init(struct flow_limits *limits, uint64_t chunk_bytes)
{
    *limits = (struct flow_limits){.chunk_bytes = chunk_bytes,
                                   .window_bytes = WINDOW_CHUNKS * chunk_bytes,
                                   .rate_bytes_per_ms = RATE_BYTES_PER_MS,
                                   .rate_slack_us = RATE_SLACK_US,
                                   .first_retry_us = FIRST_RETRY_US,
                                   .retry_us = RETRY_US,
                                   .again_us = AGAIN_US,
                                   .idle_part_us = IDLE_PART_US};
}

/* --- Sending ---------------------------------------------------------------------------------- */

static struct flow_stream *find_stream(struct flow_sender *sender, raft_node_id peer)
{
    for (uint32_t i = 0; i < FLOW_STREAMS_MAX; i++)
        if (sender->streams[i].peer == peer)
            return &sender->streams[i];
    return NULL;
}

void flow_want(struct flow_sender *sender, raft_node_id peer, uint64_t now_us)
{
    ASSERT(peer != 0);
    if (find_stream(sender, peer))
        return;
    struct flow_stream *stream = find_stream(sender, 0);
    ASSERT(stream); /* no more peers than members */
    *stream = (struct flow_stream){.peer = peer, .progress_us = now_us};
}

bool flow_unwant(struct flow_sender *sender, raft_node_id peer, uint32_t *ret_slot)
{
    struct flow_stream *stream = find_stream(sender, peer);
    if (peer == 0 || !stream)
        return false;
    *ret_slot = (uint32_t)(stream - sender->streams);
    *stream = (struct flow_stream){0};
    return true;
}

const struct flow_stream *flow_stream_of(const struct flow_sender *sender, raft_node_id peer)
{
    for (uint32_t i = 0; i < FLOW_STREAMS_MAX; i++)
        if (peer != 0 && sender->streams[i].peer == peer)
            return &sender->streams[i];
    return NULL;
}

static struct flow_step wait_until(uint64_t due_us)
{
    return (struct flow_step){.action = FLOW_WAIT, .due_us = due_us};
}

static struct flow_step stream_next(struct flow_sender *sender, struct flow_stream *stream,
                                    bool have, uint64_t now_us)
{
    const struct flow_limits *limits = &sender->limits;
    if (!stream->open && (!have || now_us < stream->wait_us))
        return wait_until(have ? stream->wait_us : now_us + limits->retry_us);
    if (!stream->open)
        return (struct flow_step){.action = FLOW_OPEN};
    /* Rotten since it was opened, perhaps: whoever opens it looks at it again. */
    if (stream->refused)
        return (struct flow_step){.action = FLOW_CLOSE};
    bool whole = stream->acked == stream->bytes;
    uint64_t retry_us = stream->answered ? limits->retry_us : limits->first_retry_us;
    if (whole)
        retry_us = limits->again_us;
    if (now_us - stream->progress_us >= retry_us) {
        if (whole)
            return (struct flow_step){.action = FLOW_CLOSE};
        stream->sent = stream->acked; /* what was on its way is lost, or the peer has less now */
        stream->answered = false;
        stream->progress_us = now_us;
    }
    /* One piece alone until the peer has said how much of the file it has already. */
    uint64_t window = stream->answered ? limits->window_bytes : limits->chunk_bytes;
    if (stream->sent == stream->bytes || stream->sent - stream->acked >= window)
        return wait_until(stream->progress_us + retry_us);
    if (sender->free_us > now_us + limits->rate_slack_us)
        return wait_until(sender->free_us - limits->rate_slack_us);
    uint64_t left = stream->bytes - stream->sent;
    return (struct flow_step){.action = FLOW_SEND,
                              .bytes = left < limits->chunk_bytes ? left : limits->chunk_bytes};
}

struct flow_step flow_next(struct flow_sender *sender, bool have, uint64_t now_us)
{
    uint64_t due_us = UINT64_MAX;
    for (uint32_t k = 0; k < FLOW_STREAMS_MAX; k++) {
        uint32_t i = (sender->turn + k) % FLOW_STREAMS_MAX;
        if (sender->streams[i].peer == 0)
            continue;
        struct flow_step step = stream_next(sender, &sender->streams[i], have, now_us);
        step.slot = i;
        if (step.action != FLOW_WAIT)
            return step;
        if (step.due_us < due_us)
            due_us = step.due_us;
    }
    return wait_until(due_us);
}

void flow_opened(struct flow_sender *sender, uint32_t slot, uint64_t name, struct raft_id id,
                 uint64_t bytes, uint64_t now_us)
{
    ASSERT(bytes > 0);
    struct flow_stream *stream = &sender->streams[slot];
    *stream = (struct flow_stream){.peer = stream->peer,
                                   .open = true,
                                   .name = name,
                                   .id = id,
                                   .bytes = bytes,
                                   .progress_us = now_us};
}

void flow_sent(struct flow_sender *sender, uint32_t slot, uint64_t bytes, uint64_t now_us)
{
    sender->streams[slot].sent += bytes;
    /* The next stream's turn: one whose peer never answers would take all of the rate, again and
     * again. */
    sender->turn = (slot + 1) % FLOW_STREAMS_MAX;
    if (sender->free_us < now_us)
        sender->free_us = now_us;
    sender->free_us += bytes * 1000 / sender->limits.rate_bytes_per_ms;
}

void flow_closed(struct flow_sender *sender, uint32_t slot, uint64_t now_us)
{
    struct flow_stream *stream = &sender->streams[slot];
    stream->open = false;
    /* A peer whose own disk is bad is not sent the same again without pause. */
    stream->wait_us = stream->refused ? now_us + sender->limits.retry_us : now_us;
}

void flow_failed(struct flow_sender *sender, uint32_t slot, uint64_t now_us)
{
    sender->streams[slot].open = false;
    sender->streams[slot].wait_us = now_us + sender->limits.retry_us;
}

void flow_take_ack(struct flow_sender *sender, raft_node_id from, const struct peer_snapshot *ack,
                   uint64_t now_us)
{
    struct flow_stream *stream = find_stream(sender, from);
    if (from == 0 || !stream || !stream->open || stream->name != ack->name)
        return;
    uint64_t offset = ack->done ? stream->bytes : ack->offset;
    if (offset > stream->bytes)
        return;
    if (ack->bad && !ack->done) {
        stream->refused = true;
        return;
    }
    /* Nothing new, or overtaken by a newer one: to go back to that would send a window of pieces
     * again for every such answer, each of which is answered in its turn. If a piece was lost, or
     * the peer has less of the file than it had, the time for it runs. */
    if (stream->answered && offset <= stream->acked)
        return;
    if (!stream->answered) /* it has another part of it than thought */
        stream->sent = offset;
    stream->answered = true;
    stream->acked = offset;
    stream->acked_us = now_us;
    if (stream->sent < offset)
        stream->sent = offset;
    stream->progress_us = now_us;
}

/* --- Receiving -------------------------------------------------------------------------------- */

enum flow_verdict flow_judge(const struct flow_part *part, const struct flow_limits *limits,
                             uint64_t newest, bool installing, const struct peer_snapshot *piece,
                             uint64_t now_us)
{
    if (piece->id.index <= newest)
        return FLOW_HAVE;
    if (installing)
        return FLOW_BUSY;
    /* Not the name alone: what a peer says of the size may be wrong. */
    if (part->open && part->name == piece->name && part->bytes == piece->bytes)
        return FLOW_GOES_ON;
    if (part->open && now_us - part->seen_us < limits->idle_part_us)
        return FLOW_BUSY;
    return FLOW_BEGIN;
}

void flow_part_opened(struct flow_part *part, const struct peer_snapshot *piece, uint64_t offset)
{
    *part = (struct flow_part){.open = true,
                               .name = piece->name,
                               .bytes = piece->bytes,
                               .id = piece->id,
                               .offset = offset};
}

bool flow_part_follows(struct flow_part *part, const struct peer_snapshot *piece, uint64_t now_us)
{
    ASSERT(part->open);
    part->seen_us = now_us;
    return piece->offset == part->offset && piece->data.bytes > 0;
}

struct peer_snapshot flow_answer(const struct flow_part *part, uint64_t newest, bool bad,
                                 const struct peer_snapshot *piece)
{
    struct peer_snapshot ack = *piece;
    ack.data = (struct slice){0};
    ack.done = piece->id.index <= newest;
    ack.bad = bad && !ack.done;
    ack.offset = ack.done ? piece->bytes : 0;
    if (!ack.done && part->open) /* else it was not what it says to be, and begins anew */
        ack.offset = part->offset;
    return ack;
}
