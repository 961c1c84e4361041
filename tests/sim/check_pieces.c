#include "tests/sim/check_pieces.h"

#include <inttypes.h>
#include <string.h>

/* --- Sending ---------------------------------------------------------------------------------- */

void check_piece_sent(struct check *check, uint32_t node, struct check_pieces *pieces,
                      const struct flow_limits *limits, const struct flow_stream *stream,
                      uint64_t bytes, uint64_t now_us)
{
    uint64_t window = stream->answered ? limits->window_bytes : limits->chunk_bytes;
    if (stream->sent - stream->acked >= window)
        check_fail(check, "pieces on their way are bounded",
                   "n%u has %" PRIu64 " bytes of a snapshot on their way to n%" PRIu64
                   ", which has %sanswered, and sends more",
                   node + 1, stream->sent - stream->acked, stream->peer,
                   stream->answered ? "" : "not ");
    if (pieces->free_us > now_us + limits->rate_slack_us)
        check_fail(check, "snapshots keep their rate",
                   "n%u sends %" PRIu64 " bytes %" PRIu64 " us too early", node + 1, bytes,
                   pieces->free_us - limits->rate_slack_us - now_us);
    if (pieces->free_us < now_us)
        pieces->free_us = now_us;
    pieces->free_us += bytes * 1000 / limits->rate_bytes_per_ms;
}

/* How far the peer is by its answer, if that says anything new; else as far as it was. */
static struct flow_stream heard(const struct flow_stream *stream, const struct peer_snapshot *ack)
{
    struct flow_stream then = *stream;
    bool of_it = stream->open && stream->name == ack->name;
    uint64_t has = ack->done ? stream->bytes : ack->offset;
    if (!of_it || has > stream->bytes)
        return then;
    if (ack->bad && !ack->done) {
        then.refused = true;
        return then;
    }
    if (stream->answered && has <= stream->acked)
        return then;
    bool behind = stream->sent < has;
    then.acked = has;
    then.sent = behind || !stream->answered ? has : stream->sent;
    then.answered = true;
    return then;
}

void check_piece_acked(struct check *check, uint32_t node, const struct flow_stream *before,
                       const struct flow_stream *after, const struct peer_snapshot *ack)
{
    if (!after)
        return;
    struct flow_stream then = heard(before, ack);
    if (then.acked != after->acked || then.sent != after->sent ||
        then.answered != after->answered || then.refused != after->refused)
        check_fail(check, "an answer about a snapshot is heeded",
                   "n%u is told of byte %" PRIu64 " of file %016" PRIx64
                   " and goes on from %" PRIu64 ", %" PRIu64 " being there; it had sent %" PRIu64
                   " of file %016" PRIx64 ", and %" PRIu64 " was there",
                   node + 1, ack->offset, ack->name, after->sent, after->acked, before->sent,
                   before->name, before->acked);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static const char *const verdicts[] = {
    [FLOW_HAVE] = "is here",
    [FLOW_BUSY] = "has to wait",
    [FLOW_BEGIN] = "begins",
    [FLOW_GOES_ON] = "goes on",
};

void check_piece_judged(struct check *check, uint32_t node, const struct flow_limits *limits,
                        const struct flow_part *part, uint64_t newest, bool installing,
                        const struct peer_snapshot *piece, uint64_t now_us,
                        enum flow_verdict verdict)
{
    bool same = part->open && part->name == piece->name && part->bytes == piece->bytes;
    bool idle = !part->open || now_us - part->seen_us >= limits->idle_part_us;
    enum flow_verdict right = newest >= piece->id.index ? FLOW_HAVE
                              : installing              ? FLOW_BUSY
                              : same                    ? FLOW_GOES_ON
                              : idle                    ? FLOW_BEGIN
                                                        : FLOW_BUSY;
    if (verdict != right)
        check_fail(check, "one snapshot comes in at a time, and none that is here",
                   "n%u gets a piece of a snapshot up to %" PRIu64
                   ", which %s, and not %s; its own "
                   "ends at %" PRIu64,
                   node + 1, piece->id.index, verdicts[right], verdicts[verdict], newest);
}

void check_part_opened(struct check *check, uint32_t node, struct check_pieces *pieces,
                       uint64_t name, uint64_t offset)
{
    if (name == pieces->refused && offset == 0)
        pieces->refused = 0; /* what comes from here on may be gone on with */
    if (name == pieces->refused && offset > 0)
        check_fail(check, "what was not valid begins anew",
                   "n%u goes on behind %" PRIu64 " bytes of file %016" PRIx64
                   ", which it had refused",
                   node + 1, offset, name);
}

void check_part_ended(struct check_pieces *pieces, uint64_t name, bool bad)
{
    pieces->refused = bad ? name : 0;
}

void check_piece_answered(struct check *check, uint32_t node, const struct flow_part *part,
                          uint64_t newest, bool bad, const struct peer_snapshot *piece,
                          const struct peer_snapshot *ack)
{
    bool here = newest >= piece->id.index;
    uint64_t offset = here ? piece->bytes : part->open ? part->offset : 0;
    if (ack->name != piece->name || ack->done != here || ack->bad != (bad && !here) ||
        ack->offset != offset)
        check_fail(check, "what is said of a snapshot is so",
                   "n%u says that it has %" PRIu64 " bytes of a snapshot up to %" PRIu64
                   "%s%s; it has %" PRIu64 " of %" PRIu64,
                   node + 1, ack->offset, piece->id.index, ack->done ? ", which is all" : "",
                   ack->bad ? ", which is bad" : "", offset, piece->bytes);
}
