/* actors/envelope.h - what actors say to each other: one owned envelope a message.
 *
 * An envelope has one owner at a time. What it points to is handed over with it, or is immutable
 * and reference-counted. The table of who sends what to whom stands in ARCHITECTURE.md. */
#ifndef ACTORS_ENVELOPE_H
#define ACTORS_ENVELOPE_H

#include "actors/stream_hub.h"
#include "codec/client.h"
#include "codec/peer.h"
#include "machine/tables_part.h"
#include "raft/raft.h"
#include "storage/snapshot.h"
#include "storage/wal.h"

enum envelope_type {
    /* to every actor */
    ENVELOPE_STOP = 1, /* finish what came before, then end */
    ENVELOPE_QUIT,     /* a thread died: end at once, acknowledge nothing more */

    /* raft -> timer -> raft */
    ENVELOPE_ARM,
    ENVELOPE_FIRED,

    /* node -> raft, network -> raft */
    ENVELOPE_START,
    ENVELOPE_PROPOSED,
    ENVELOPE_READ,
    ENVELOPE_TRANSFER,
    ENVELOPE_HANDOVER,
    ENVELOPE_CHANGE,

    /* state machine -> raft */
    ENVELOPE_WATCHED, /* somebody waits for what is applied here, or nobody any more */

    /* node -> network */
    ENVELOPE_PROPOSER, /* the host made one: actors/proposer.h */

    /* raft -> log-writer -> raft; log-writer -> segment helper */
    ENVELOPE_PERSIST,
    ENVELOPE_PERSISTED, /* look at node->durable */
    ENVELOPE_PREPARE_SEGMENT,
    ENVELOPE_REMOVE_SEGMENTS,

    /* state machine -> store writer */
    ENVELOPE_TRICKLE,

    /* raft -> log reader -> raft */
    ENVELOPE_FETCH,
    ENVELOPE_FETCHED,

    /* A damaged log: node -> log-writer; raft -> log-writer, or, of what another node asks,
     * segment helper; log-writer -> network; log-writer -> snapshot helper, state machine */
    ENVELOPE_REPAIR,        /* every thread has started: begin */
    ENVELOPE_REPAIR_ASK,    /* what another node lacks */
    ENVELOPE_REPAIR_ANSWER, /* what another node has */
    ENVELOPE_REPAIR_STATE,  /* for those who ask for the status */
    ENVELOPE_REPAIRED,      /* the log is whole: begin */

    /* state machine -> snapshot helper -> state machine, raft; by raft to the log-writer */
    ENVELOPE_SNAPSHOT_BEGUN,
    ENVELOPE_SNAPSHOT_CANCEL, /* the node ends: the answer may be that there is none */
    ENVELOPE_SNAPSHOT_DONE,   /* to the state machine: it is read no more, written or not */
    ENVELOPE_SNAPSHOT_TAKEN,  /* to raft */
    ENVELOPE_CUT, /* what the log on disk need not hold any more: by raft, which may need
                     more of it, to the log-writer */

    /* raft -> snapshot helper -> raft -> state machine */
    ENVELOPE_STREAM,
    ENVELOPE_BULK,
    ENVELOPE_SEND_BULK,
    ENVELOPE_SNAPSHOT_RECEIVED,
    ENVELOPE_SNAPSHOT_WANTED,  /* to the state machine: the newest is damaged, or, from raft, a part
                                  of the log: a new one is needed */
    ENVELOPE_SNAPSHOT_SETTLED, /* to the helper: raft and the state machine are done with it */
    ENVELOPE_INSTALL,

    /* raft -> state machine -> raft */
    ENVELOPE_APPLY,
    ENVELOPE_APPLIED, /* look at node->progress */
    ENVELOPE_QUERY,

    /* state machine -> raft, and as a question the other way */
    ENVELOPE_AUDIT,

    /* state machine -> network */
    ENVELOPE_DUE,

    /* segment helper, state machine -> raft, network */
    ENVELOPE_SPACE,

    /* network -> raft -> network */
    ENVELOPE_STATUS,

    /* network -> state machine -> network */
    ENVELOPE_SUBSCRIPTIONS, /* what clients say of theirs */
    ENVELOPE_STREAMS,       /* what they are told */

    /* feed -> state machine -> feed */
    ENVELOPE_INTERESTS, /* which topics subscribers of the feed want */
    ENVELOPE_BROADCAST, /* their messages */

    /* log-writer, segment helper -> raft: frames for peers */
    ENVELOPE_SEND,

    /* raft, state machine -> network */
    ENVELOPE_REPLY,
    ENVELOPE_READS_DECIDED, /* from raft, what became of reads that were executed ahead */
    ENVELOPE_LEADERSHIP,
    ENVELOPE_MEMBERS,

    /* A clean stop: node -HANDOVER-> raft, which gives leadership away -DRAIN-> network, which
     * refuses new work from now on -STOP-> raft -STOP-> timer, log-writer, state machine; when they
     * have ended: node -STOP-> network. */
    ENVELOPE_DRAIN,

    /* any -> node */
    ENVELOPE_READY,  /* a thread has started, or could not */
    ENVELOPE_SERVING /* the first time that a leader is known and all committed is applied */
};

/* A frame for a peer. */
struct outgoing {
    raft_node_id to;
    struct buf *frame;
};

struct outgoing_list {
    struct outgoing *items;
    uint32_t count, capacity;
};

/* An answer to a client of this node. */
struct reply {
    struct raft_origin origin;
    int code;
    struct buf *body; /* NULL: empty */
    bool aged;        /* of a stale read: the answer says its age */
    uint64_t age_ms;
    const char *text; /* static sentence instead of a body, or NULL */
    bool answer;      /* the state machine said so, whatever the code; else the node refuses */
    uint64_t read;    /* executed ahead: not to be seen before that is decided; 0: not so */
};

struct reply_list {
    struct reply *items;
    uint32_t count, capacity;
    bool traced; /* those of the write that is followed are in it, or were before */
};

/* What became of a read of which so many queries are executed ahead. */
struct read_decision {
    uint64_t read;
    uint32_t count;
    int code; /* OK: the answers may go out; else raft has told the clients so, and they are void */
};

struct read_decisions {
    struct read_decision *items;
    uint32_t count, capacity;
};

/* Queries that arrived together; the bodies point into their frames. */
struct query {
    struct raft_origin origin;
    struct buf *buf; /* one reference */
    struct slice body;
    struct meter *meter; /* one reference: of the client, for the answer */
    bool lease;          /* the leader's lease is good enough */
    bool stale;          /* need not show more than what was committed max_age_ms ago */
    uint32_t max_age_ms;
    bool probe; /* asks nothing: it is to be known that what is committed now has been applied */
};

struct query_list {
    struct query *items;
    uint32_t count, capacity;
};

/* What a client says of a subscription; the body points into its frame. */
struct stream_request {
    uint64_t client; /* its handle */
    uint64_t id;
    uint32_t type;   /* of enum client_op_type; 0: the client is gone */
    struct buf *buf; /* one reference, or NULL */
    struct slice body;
    struct meter *meter; /* one reference, or NULL */
};

struct stream_requests {
    struct stream_request *items;
    uint32_t count, capacity;
};

/* What subscribers of the feed said, as transport/publisher.h hands it out. */
struct heard_list {
    struct buf **items;
    uint32_t count, capacity;
};

/* Messages of one topic that follow each other, for the feed. */
struct broadcast_piece {
    struct buf *topic; /* one reference: the name and its terminator */
    struct buf *items; /* one reference: as topic_item_pack writes them */
    uint32_t count;
};

struct broadcast_list {
    struct broadcast_piece *items;
    uint32_t count, capacity;
};

struct proposer_link;
struct session_snapshot;

enum space_of {
    SPACE_LOG,     /* the log's disk nears its end */
    SPACE_STORE,   /* what the state machine keeps does: what is left is for deletes */
    SPACE_MACHINE, /* it cannot go on */
    SPACES
};

struct envelope {
    enum envelope_type type;
    union {
        struct {
            uint64_t deadline_us;
            uint64_t epoch;
        } arm;
        struct {
            uint64_t epoch;
        } fired;
        struct raft_start start;
        struct {
            bool full; /* or has room again */
            enum space_of of;
        } space;
        bool watched;
        struct raft_change *change; /* heap */
        struct raft_batch *proposed;
        struct proposer_link *proposer; /* the node's side of it */
        struct query_list read;
        struct {
            uint64_t seq;
            bool hard_state_changed;
            struct raft_hard_state hard_state;
            struct raft_id anew; /* index 0: no */
            struct raft_runs entries;
            struct raft_id last;
            struct outgoing_list send_after;
        } persist;
        struct {
            struct raft_runs entries;
        } apply;
        struct raft_fetch fetch;
        struct {
            uint64_t number;
            struct raft_runs entries; /* empty: they could not be read */
        } fetched;
        struct {
            struct session_snapshot *snapshot; /* the state machine's, until SNAPSHOT_DONE */
            struct snapshot_meta meta;
        } snapshot_begun;
        struct {
            int code;
            uint64_t state_bytes; /* of the whole state; if it was written */
        } snapshot_done;
        struct raft_id snapshot_id; /* SNAPSHOT_TAKEN, INSTALL */
        struct {
            raft_node_id from;
            struct peer_repair frame;
            struct raft_id known; /* to the segment helper: memory begins behind it */
        } repair;
        char repair_state[CLIENT_REPAIR_BYTES_MAX + 1];
        uint64_t cut_index;
        struct tables_part part; /* TRICKLE: of the store's file */
        struct wal_range segments;
        struct {
            raft_node_id peer;
            bool wanted;
        } stream;
        struct {
            struct buf *buf; /* one reference: what the frame points into */
            struct peer_frame frame;
        } bulk;
        struct raft_snapshot snapshot;
        struct {
            uint64_t index;          /* answer when this is applied */
            uint64_t valid_until_us; /* of a lease; looked at after the query; 0: none */
            uint64_t fresh_us;       /* since when it is: all that was committed then is in it */
            uint64_t ahead;          /* the read that is not confirmed yet; 0: it is */
            struct query_list queries;
        } query;
        struct {
            struct raft_origin origin;
            struct client_status *status; /* heap; filled on its way round */
        } status;
        struct {
            struct raft_origin origin;
            char name[CONCLAVE_NAME_BYTES_MAX + 1]; /* "": whoever is best prepared */
        } transfer;
        struct {
            struct audit_mark *marks; /* heap; NULL: a question */
            uint32_t count;
        } audit;
        uint64_t due_ms; /* of cluster time, until something ends; UINT64_MAX: nothing does */
        struct outgoing_list send;
        struct reply_list reply;
        struct read_decisions reads_decided;
        struct stream_requests subscriptions;
        struct {
            struct stream_outputs outputs;
            uint32_t taken; /* so many of the requests were heard */
        } streams;
        struct heard_list interests;
        struct broadcast_list broadcast;
        struct {
            raft_node_id leader; /* 0: not known */
            uint64_t term;
            bool self; /* this node leads */
        } leadership;
        struct raft_configuration *members; /* heap */
        struct {
            const char *actor;            /* static */
            struct conclave_error *error; /* heap; NULL: ready */
        } ready;
    };
};

/* A zeroed envelope on the heap. */
struct envelope *envelope_create(enum envelope_type type);

/* Frees it and all that it owns. NULL is allowed. */
void envelope_destroy(struct envelope *envelope);

/* Lists take over the references in the items. Moving leaves the source empty. */
void outgoing_add(struct outgoing_list *list, raft_node_id to, struct buf *frame);
void outgoing_clear(struct outgoing_list *list);
void reply_add(struct reply_list *list, struct raft_origin origin, int code, struct buf *body);
void reply_add_answer(struct reply_list *list, struct raft_origin origin, int code,
                      struct buf *body);
void reply_list_clear(struct reply_list *list);
void query_add(struct query_list *list, struct query query);
void query_clear(struct query *query);
void query_list_clear(struct query_list *list);
void stream_requests_clear(struct stream_requests *requests);
void stream_outputs_clear(struct stream_outputs *outputs);
void heard_list_clear(struct heard_list *list);
void broadcast_list_clear(struct broadcast_list *list);

#endif
