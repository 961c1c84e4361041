/* actors/snapshot_flow.h - what goes next when snapshots are on their way between nodes (Rule 38).
 *
 * Decisions alone: no clock, files, sockets or memory of its own. The snapshot helper
 * (actors/snapshot_streams.c) and the simulator drive the same code.
 *
 * The sender keeps a window of pieces on the way to each peer and one rate for all; the receiver
 * answers each piece with how far it has the file, and appends only what follows directly. When
 * nothing goes on for a while, because something was lost or somebody was started again, one piece
 * is sent alone, and its answer says where to go on, be it farther back. Memory is bounded by the
 * window, not by the snapshot. Owned by one thread. */
#ifndef ACTORS_SNAPSHOT_FLOW_H
#define ACTORS_SNAPSHOT_FLOW_H

#include "codec/peer.h"

struct flow_limits {
    uint64_t chunk_bytes;       /* in one piece */
    uint64_t window_bytes;      /* sent to one peer and not answered */
    uint64_t rate_bytes_per_ms; /* of all streams together */
    uint64_t rate_slack_us;     /* whoever sleeps for a while still keeps the rate */
    uint64_t first_retry_us;    /* until the peer has answered once */
    uint64_t retry_us;          /* Rule 37: a stream that does not go on is lost */
    uint64_t again_us;          /* the peer has the file, and raft still wants it to have one */
    uint64_t idle_part_us;      /* after this another snapshot may take the place of a part */
};

/* For production: half of a gigabit link. chunk_bytes: of storage. */
void flow_limits_init(struct flow_limits *limits, uint64_t chunk_bytes);

/* --- Sending ---------------------------------------------------------------------------------- */

/* One for each member, and some more for those who are none any more and do not know it yet. */
enum { FLOW_STREAMS_MAX = CONCLAVE_MEMBERS_MAX + 8 };

/* A snapshot on its way to a peer. */
struct flow_stream {
    raft_node_id peer; /* 0: the slot is free */
    bool open;
    uint64_t name;        /* of the file */
    struct raft_id id;    /* the last entry in it */
    uint64_t bytes;       /* of the file; above 0 */
    uint64_t sent;        /* up to here in the file */
    uint64_t acked;       /* up to here it is there */
    uint64_t acked_us;    /* since when */
    bool answered;        /* the peer has said how far it is, since what was sent was lost */
    bool refused;         /* it had all of it, and that was not valid */
    uint64_t progress_us; /* when it last went on, or was begun */
    uint64_t wait_us;     /* not open: nothing is tried before */
};

struct flow_sender {
    struct flow_limits limits;
    struct flow_stream streams[FLOW_STREAMS_MAX]; /* the host has a file for each slot */
    uint64_t free_us;                             /* when the rate allows the next piece */
    uint32_t turn;                                /* the slot that comes first the next time */
};

enum flow_action {
    FLOW_WAIT, /* nothing until due_us, a new answer, or another wish of raft's */
    FLOW_OPEN, /* open the newest snapshot for the slot, if it is valid: flow_opened, flow_failed */
    FLOW_SEND, /* send `bytes` of the slot's file, from its `sent` on: flow_sent or flow_failed */
    FLOW_CLOSE /* close the slot's file: flow_closed */
};

struct flow_step {
    enum flow_action action;
    uint32_t slot;
    uint64_t bytes;
    uint64_t due_us; /* WAIT; UINT64_MAX: never */
};

/* Raft wants the peer to have a snapshot. */
void flow_want(struct flow_sender *sender, raft_node_id peer, uint64_t now_us);

/* No more. *ret_slot: its slot, which is free then; the host closes the file if one was open.
 * False: there was none. */
bool flow_unwant(struct flow_sender *sender, raft_node_id peer, uint32_t *ret_slot);

/* The stream to a peer; NULL: there is none. */
const struct flow_stream *flow_stream_of(const struct flow_sender *sender, raft_node_id peer);

/* What to do next. `have`: there is a snapshot to send. To be asked again until it says WAIT. */
struct flow_step flow_next(struct flow_sender *sender, bool have, uint64_t now_us);

void flow_opened(struct flow_sender *sender, uint32_t slot, uint64_t name, struct raft_id id,
                 uint64_t bytes, uint64_t now_us);
void flow_sent(struct flow_sender *sender, uint32_t slot, uint64_t bytes, uint64_t now_us);
void flow_closed(struct flow_sender *sender, uint32_t slot, uint64_t now_us);

/* Opening or reading went wrong: the file, if any, is closed, and all is tried again later. */
void flow_failed(struct flow_sender *sender, uint32_t slot, uint64_t now_us);

/* An answer of a peer; checked. */
void flow_take_ack(struct flow_sender *sender, raft_node_id from, const struct peer_snapshot *ack,
                   uint64_t now_us);

/* --- Receiving -------------------------------------------------------------------------------- */

/* The file being received, of whoever sends it: one at a time. */
struct flow_part {
    bool open;
    uint64_t name, bytes;
    struct raft_id id;
    uint64_t offset;  /* up to here it is here */
    uint64_t seen_us; /* when a piece of it last came */
};

enum flow_verdict {
    FLOW_HAVE,   /* it is here, or what is newer: answer so */
    FLOW_BUSY,   /* another one is coming in, or being installed: no answer */
    FLOW_BEGIN,  /* close the part that is open, if one is; open this one: flow_part_opened */
    FLOW_GOES_ON /* it belongs to the part that is open */
};

/* newest: of the last entry in the newest snapshot that is durable here. installing: the last one
 * received has not been taken over by raft and the state machine yet. Until it is, no other is
 * taken: two newer ones, of which both are kept, would take its file away. */
enum flow_verdict flow_judge(const struct flow_part *part, const struct flow_limits *limits,
                             uint64_t newest, bool installing, const struct peer_snapshot *piece,
                             uint64_t now_us);

/* `offset` bytes of it are here already. */
void flow_part_opened(struct flow_part *part, const struct peer_snapshot *piece, uint64_t offset);

/* The part that is open is the piece's. True: its bytes follow directly and are to be written. */
bool flow_part_follows(struct flow_part *part, const struct peer_snapshot *piece, uint64_t now_us);

static inline bool flow_part_whole(const struct flow_part *part)
{
    return part->open && part->offset == part->bytes;
}

/* The answer to a piece: from `offset` on it is to go on; done: the peer needs nothing more. bad:
 * with the piece the file was whole, and not valid: the sender should look at its own. */
struct peer_snapshot flow_answer(const struct flow_part *part, uint64_t newest, bool bad,
                                 const struct peer_snapshot *piece);

#endif
