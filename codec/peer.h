/* codec/peer.h - the wire form of what nodes say to each other: one MessagePack array a frame.
 *
 *     [version, group, cluster, from, to, incarnation, type, ...fields of the type]
 *
 * Positional, version first, fields only ever appended: a reader takes the fields it knows and
 * skips what follows. docs/protocol.md is the full description. Decoding is bounded: nothing is
 * allocated from a claimed count, and bytes that do not fit the schema are refused as a whole. Any
 * thread; pure functions. */
#ifndef CODEC_PEER_H
#define CODEC_PEER_H

#include "base/audit_mark.h"
#include "base/error.h"
#include "raft/configuration.h"
#include "raft/message.h"

enum {
    PEER_PROTOCOL_VERSION = 1,
    PEER_FRAME_BYTES_MAX = 2 << 20, /* a command of 1 MiB plus everything around it, twice over */
    PEER_ENTRIES_MAX = 16384        /* entries in one frame */
};

/* Who speaks. */
struct peer_identity {
    uint64_t cluster_id;
    raft_node_id node_id;
    uint64_t incarnation; /* drawn when the data directory was made */
};

enum peer_frame_type {
    PEER_FRAME_RAFT = 1,    /* a struct raft_message */
    PEER_FRAME_HELLO = 2,   /* sent when a link comes up and every few seconds: keeps the link known
                              alive in both directions and tells the endpoints */
    PEER_FRAME_REFUSED = 3, /* why the sender does not listen to the receiver */
    PEER_FRAME_SNAPSHOT = 4,     /* a piece of a snapshot file */
    PEER_FRAME_SNAPSHOT_ACK = 5, /* how far the receiver has it */
    PEER_FRAME_AUDIT = 6,        /* what the sender applied up to some indexes, as hashes */
    PEER_FRAME_REPAIR_ASK = 7,   /* a node lost entries of its log to damage */
    PEER_FRAME_REPAIR_ANSWER = 8 /* what the sender has of them */
};

enum peer_refusal {
    PEER_REFUSAL_INCARNATION = 1, /* the member has another data directory */
    PEER_REFUSAL_REMOVED = 2      /* is no member any more */
};

struct peer_hello {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* where the sender serves clients; "": nowhere */
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];   /* where it is reached by nodes; "": not told */
};

struct peer_snapshot {
    uint64_t name;     /* of the file: its header's checksum */
    struct raft_id id; /* the last entry in it */
    uint64_t bytes;    /* of the whole file; above 0 */
    uint64_t offset;   /* SNAPSHOT: of `data`; ACK: what is there ends here */
    bool done;         /* ACK: the receiver has it whole, or what is newer */
    bool bad;          /* ACK: it had it whole, and it was not valid */
    struct slice data; /* SNAPSHOT: points into the frame */
};

struct peer_audit {
    uint32_t count; /* above 0 */
    struct audit_mark marks[AUDIT_MARKS_MAX];
};

/* As enum wal_supply in storage/wal_repair.h. */
enum peer_repair_result {
    PEER_REPAIR_HERE = 1,
    PEER_REPAIR_ABSENT = 2,    /* the log does not hold the anchor */
    PEER_REPAIR_COMPACTED = 3, /* it begins behind what is wanted; a snapshot holds that */
    PEER_REPAIR_LATER = 4      /* it is damaged there itself */
};

struct peer_repair {
    uint64_t number; /* of the ask; the answer repeats it */

    /* ASK: entries behind prev.index (the term is not sent) up to `last`, of a log that holds the
     * anchor. prev.index <= last <= anchor.index; anchor {0, 0}: of any log. */
    uint64_t last;
    struct raft_id anchor;
    bool snapshot; /* the newest snapshot is wanted as well */

    enum peer_repair_result result; /* ANSWER */
    struct raft_id prev;            /* ANSWER, HERE: what the sender has at that index; term 0 with
                                     * an index: it does not know */
    struct raft_runs entries;       /* ANSWER, HERE: behind prev; owned by whoever decoded */
};

struct peer_frame {
    enum peer_frame_type type;
    uint32_t version, group;
    struct peer_identity from;
    raft_node_id to;
    struct raft_message *raft; /* RAFT: owned by whoever decoded */
    union {
        struct peer_hello hello; /* HELLO */
        struct peer_audit audit; /* AUDIT */
    };
    enum peer_refusal refusal;     /* REFUSED */
    struct peer_snapshot snapshot; /* SNAPSHOT, SNAPSHOT_ACK */
    struct peer_repair repair;     /* REPAIR_ASK, REPAIR_ANSWER */
};

/* What was encoded last, borrowed: as long as it is passed on, message and frame must stay. All
 * zero: nothing. */
struct peer_encoded {
    const struct raft_message *message;
    const struct buf *frame;
    size_t entries_at; /* of an append: where in the frame they begin */
};

/* One frame, one reference. A raft message must have from == identity->node_id. */
struct buf *peer_encode_raft(const struct peer_identity *identity,
                             const struct raft_message *message);

/* The same frame; entries that it has in common with the one before it are copied from there. *last
 * is this one afterwards. */
struct buf *peer_encode_raft_after(const struct peer_identity *identity,
                                   const struct raft_message *message, struct peer_encoded *last);
struct buf *peer_encode_hello(const struct peer_identity *identity, raft_node_id to,
                              const struct peer_hello *hello);
struct buf *peer_encode_refused(const struct peer_identity *identity, raft_node_id to,
                                enum peer_refusal refusal);

struct buf *peer_encode_snapshot(const struct peer_identity *identity, raft_node_id to,
                                 const struct peer_snapshot *piece);
struct buf *peer_encode_snapshot_ack(const struct peer_identity *identity, raft_node_id to,
                                     const struct peer_snapshot *ack);

struct buf *peer_encode_audit(const struct peer_identity *identity, raft_node_id to,
                              const struct audit_mark *marks, uint32_t count);

struct buf *peer_encode_repair_ask(const struct peer_identity *identity, raft_node_id to,
                                   const struct peer_repair *ask);
struct buf *peer_encode_repair_answer(const struct peer_identity *identity, raft_node_id to,
                                      const struct peer_repair *answer);

/* Decodes a whole frame. The entries of an append point into `frame` and hold references on it
 * (one reference a batch entry at most; none for empty payloads).
 * Errors: MALFORMED, VERSION, TOO_LARGE; *ret is then untouched and nothing is held. Whether the
 * cluster and node are the right ones is the caller's business. */
MUST_USE int peer_decode(struct buf *frame, struct peer_frame *ret);

#endif
