/* tests/sim/check_pieces.h - snapshots on their way between nodes: what is sent, taken and answered
 * is what the rules say (36 to 38), which are written down once more for that.
 *
 * Much of this only makes a transfer slower when it is wrong, or wrong only where a peer is: no
 * other check would see it. One thread. */
#ifndef TESTS_SIM_CHECK_PIECES_H
#define TESTS_SIM_CHECK_PIECES_H

#include "actors/snapshot_flow.h"
#include "tests/sim/check.h"

/* Of one life of a node. */
struct check_pieces {
    uint64_t free_us; /* what was sent so far was paid for by then */
    uint64_t
        refused; /* the file whose bytes were whole and not valid, until it begins anew; 0: none */
};

/* A piece is about to be sent. */
void check_piece_sent(struct check *check, uint32_t node, struct check_pieces *pieces,
                      const struct flow_limits *limits, const struct flow_stream *stream,
                      uint64_t bytes, uint64_t now_us);

/* An answer was heard; the stream to who gave it, before and after. `after` is NULL: there is none.
 */
void check_piece_acked(struct check *check, uint32_t node, const struct flow_stream *before,
                       const struct flow_stream *after, const struct peer_snapshot *ack);

/* What is to be done with a piece that came. part, newest and installing: as it came. */
void check_piece_judged(struct check *check, uint32_t node, const struct flow_limits *limits,
                        const struct flow_part *part, uint64_t newest, bool installing,
                        const struct peer_snapshot *piece, uint64_t now_us,
                        enum flow_verdict verdict);

/* A part was opened; so many bytes of it were here. */
void check_part_opened(struct check *check, uint32_t node, struct check_pieces *pieces,
                       uint64_t name, uint64_t offset);

/* A part was whole. */
void check_part_ended(struct check_pieces *pieces, uint64_t name, bool bad);

/* What is answered. part and newest: as they are by now. */
void check_piece_answered(struct check *check, uint32_t node, const struct flow_part *part,
                          uint64_t newest, bool bad, const struct peer_snapshot *piece,
                          const struct peer_snapshot *ack);

#endif
