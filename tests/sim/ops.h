/* tests/sim/ops.h - the operations of the simulated clients and what became of them: the record
 * from which the promises to clients are checked.
 *
 * One `struct op` is one attempt: something that was sent to a node once. A command of a session
 * may be sent again under its number, to the same node or another, answered or not; each time is
 * an operation of its own, and `first` names the one that all of them repeat.
 *
 * Every request carries its operation's number behind the last field of the wire form, where
 * decoders skip what a later version may append: so the checks tell attempts apart in the log.
 *
 * Times here are ticks: a count of the scheduler's steps, so that no two events share one. An
 * operation counts as finished when a node answers it: nothing can take effect after that. */
#ifndef TESTS_SIM_OPS_H
#define TESTS_SIM_OPS_H

#include "base/error.h"
#include "codec/group.h"
#include "codec/kv_txn.h"
#include "raft/entries.h"
#include "tests/sim/knobs.h"

enum op_kind {
    OP_PUT = 1,
    OP_DELETE,
    OP_DELETE_RANGE,
    OP_GET,
    OP_RANGE, /* of all keys, or of some */
    OP_OPEN,  /* of sessions, as the next two */
    OP_KEEP_ALIVE,
    OP_CLOSE,
    OP_GRANT, /* of leases, as the next two */
    OP_RENEW,
    OP_REVOKE,
    OP_CREATE, /* of a topic, as the next ones */
    OP_PUBLISH,
    OP_TRIM,
    OP_TOPIC_DELETE,
    OP_TOPIC_READ,
    OP_TXN,      /* of several compares and steps */
    OP_SETTINGS, /* what the history keeps */
    OP_ADVANCE,  /* leaves out revisions */
    OP_ASK,      /* one of the questions below */
    OP_ENQUEUE,  /* of queues, as the next ones */
    OP_LEAVE,
    OP_PROCLAIM,
    OP_PLACE,
    OP_QUEUE,
    OP_GROUP_CREATE, /* of work groups, as the next ones */
    OP_GROUP_DELETE,
    OP_FETCH,
    OP_ACK,
    OP_NACK,
    OP_EXTEND
};

/* Queries about what there is. */
enum op_question {
    ASK_RANGE, /* some keys, with values or without, or their number; a page of them */
    ASK_GET,   /* one of either space */
    ASK_USAGE,
    ASK_LEASES,     /* behind one, a page of them */
    ASK_LEASE_KEYS, /* from a key on, a page of them */
    ASK_TOPICS,     /* from a name on */
    ASK_TOPIC,
    ASK_MESSAGES, /* of some ranges; the next ones are of groups */
    ASK_GROUPS,   /* from a name on */
    ASK_GROUP,
    ASK_PENDING, /* from a member and message on */
    ASK_COUNT
};

enum op_state {
    OP_SENT = 1,    /* on its way to a node */
    OP_TAKEN,       /* given to a node's core, not answered */
    OP_OK,          /* answered by the state machine: applied, or read */
    OP_REFUSED,     /* surely not applied, and not in the log */
    OP_UNKNOWN,     /* the node said so: replaced in its log, may be elsewhere */
    OP_LOST,        /* the node crashed before it answered */
    OP_UNDELIVERED, /* never reached a node */
    OP_DENIED       /* in the log, and not applied this time: `code` says why */
};

/* A key as a read saw it. */
struct op_item {
    uint64_t value; /* the put that wrote it (its `first`); 0: there was no such key */
    uint64_t create_revision, mod_revision, version;
    uint64_t lease; /* that it ends with; 0: none */
    uint64_t bytes; /* of the value */
};

/* A step of a transaction, given by what it is by itself. */
struct op_step {
    enum op_kind kind; /* PUT, DELETE, DELETE_RANGE, GET, RANGE, PUBLISH */
    uint32_t cell, cell_end, pad;
    uint32_t limit;          /* RANGE; 0: all */
    enum kv_range_what what; /* RANGE */
    bool no_end;             /* RANGE, DELETE_RANGE */
    uint64_t lease, ttl_ms;
    bool previous; /* PUT, DELETE: the answer tells what was there */
};

struct op_compare {
    enum kv_compare_what what;
    enum kv_compare_how how;
    uint32_t cell, pad;
    uint64_t number; /* VALUE: which put wrote it, with `pad` bytes behind */
};

/* A message that was handed out; of an ack, nack or extend: one that was not in hand. */
struct op_handed {
    uint64_t sequence, deliveries;
};

enum { SIM_RANGES_MAX = 4, SIM_HANDED_MAX = 12 };
#define SIM_QUOTA_NONE UINT64_MAX

enum { SIM_COMPARES_MAX = 3, SIM_STEPS_MAX = 4 };

struct op_txn {
    uint32_t compare_count, then_count, otherwise_count;
    struct op_compare compares[SIM_COMPARES_MAX];
    struct op_step then[SIM_STEPS_MAX], otherwise[SIM_STEPS_MAX];
};

struct op {
    enum op_kind kind;
    enum op_question question; /* ASK */
    enum op_state state;
    uint32_t client, node, incarnation;
    uint32_t cell, cell_end; /* the key; of a DELETE_RANGE the first one and the one behind; of a
                                RANGE too, unless the end is 0: all. The topic, the queue; of a
                                group the topic and the name */
    uint32_t pad;            /* PUT, PUBLISH: bytes added to the value. ASK: of a page, 0: many */
    uint32_t limit;          /* RANGE, TOPIC_READ: items at most; 0: all. PUBLISH, FETCH: messages.
                                SETTINGS: changes. ADVANCE: revisions. ASK: a page */
    uint64_t epoch;          /* which request of its client it belongs to */
    uint64_t first;          /* the attempt that it repeats; its own number if it is the first */
    bool conditional;
    uint64_t condition; /* PUT, DELETE: the key's modify revision has to be this; 0: no such key.
                           PUBLISH: the sequence of the last message */
    uint64_t session, sequence, acknowledged; /* session 0: a plain command */
    uint64_t lease;       /* PUT: that the key ends with, 0: none; RENEW, REVOKE; the member */
    uint64_t ttl_ms;      /* GRANT; PUT: the key has a lease of its own; 0: not. NACK: the delay.
                             SETTINGS: the age; 0: as it is, as all of them */
    uint64_t message_id;  /* PUBLISH: duplicates are known by it; 0: none */
    uint64_t token;       /* LEAVE, PROCLAIM, PLACE: an entry of the queue; QUEUE: those behind
                             it; ASK: where it begins, or which one */
    uint64_t slots;       /* ENQUEUE */
    uint64_t quota;       /* SETTINGS: 0: as it is; SIM_QUOTA_NONE: there is none */
    uint64_t revision_at; /* GET, RANGE: as of then; 0: now */
    uint64_t space;       /* ASK: RANGE, GET: 1: places in queues */
    bool no_end;          /* ASK: RANGE; DELETE_RANGE: up to the last key */
    uint64_t position;    /* TOPIC_READ, GROUP_CREATE: by what `start` says. TRIM: the first
                             message that is kept. ASK: where it begins. SETTINGS: bytes */
    enum conclave_from start;
    const struct op_txn *txn;       /* TXN; of the operations */
    struct topic_settings settings; /* CREATE */
    struct group_knobs group;       /* GROUP_CREATE */
    bool once;                      /* FETCH: done when handed out */
    bool previous;                  /* PUT, DELETE: the answer tells what was there */
    uint32_t range_count;           /* ACK, NACK, EXTEND; MESSAGES */
    struct conclave_group_range ranges[SIM_RANGES_MAX];
    uint64_t max_age_us; /* reads: need not show more than what was committed so long ago */

    /* What became of it: everything from here on. */
    uint64_t taken_us; /* reads: by the node, on its clock */

    uint64_t invoked, finished;       /* ticks; finished 0: not answered */
    uint64_t invoked_us, finished_us; /* the same moments, by the true time */
    uint64_t proposed_us;             /* commands: to the node's core */
    uint64_t round; /* reads: the last round of the node, as leader of round_term, when it came */
    uint64_t round_term;
    uint64_t asked; /* reads: the highest number of the node's requests for an index, likewise */
    uint64_t floor; /* reads: the entries that it has to show, known to be committed anywhere */
    uint64_t since; /* stale reads: the tick at which they were; else `invoked` */

    int code;          /* OK, DENIED: the answer's */
    uint64_t index;    /* OK: where the command stands; how much of the log the read saw */
    uint64_t revision; /* OK: of the store, after the command or as read */
    uint64_t value; /* OK: the outcome's number; OPEN: the session; GRANT, RENEW: the lease; CREATE:
                      the topic's id; PUBLISH: the message's sequence, 0: there was one of its id;
                      ENQUEUE, PROCLAIM, PLACE: the token; TXN: whether its compares held; FETCH:
                      how many were lost; ACK, NACK, EXTEND: how many were in hand */
    uint64_t awaited;    /* OK: ENQUEUE, PLACE: the entry that has to go first; 0: it holds */
    uint64_t content;    /* OK: QUEUE, TOPIC_READ, ASK: a hash of all bytes; RANGE: the keys
                            covered */
    uint64_t from, end;  /* OK: TOPIC_READ: the first message read, the one behind the last */
    uint64_t granted_ms; /* OK: GRANT, RENEW: its time */
    uint64_t reply;      /* OK: a hash over code and body; of the first attempt: of any answer */
    uint64_t committed;  /* index at which it was committed; 0: not known to be */
    bool logged;         /* it was in the log of a node */
    uint32_t handed_count;
    union {
        struct op_item items[SIM_KEYS];          /* OK: GET: items[0]; RANGE: all */
        struct op_handed handed[SIM_HANDED_MAX]; /* OK: FETCH, ACK, NACK, EXTEND */
    };
};

/* Operations are numbered from 1; number 0 is "no operation". */
struct ops {
    struct op *items; /* items[number] */
    uint64_t count, capacity;
    struct { /* of transactions; each by itself: operations point to them */
        struct op_txn **items;
        uint32_t count, capacity;
    } txns;
};

/* `first` is set to the new number if it is 0. */
uint64_t ops_add(struct ops *ops, struct op op);
void ops_deinit(struct ops *ops);

/* A transaction that operations may point to, all zero. */
struct op_txn *ops_txn(struct ops *ops);

/* The same once more: nothing has become of it. */
struct op op_again(const struct op *op);

static inline bool op_is_read(const struct op *op)
{
    return op->kind == OP_GET || op->kind == OP_RANGE || op->kind == OP_PLACE ||
           op->kind == OP_QUEUE || op->kind == OP_TOPIC_READ || op->kind == OP_ASK;
}

/* True for what may change a key, or the topic. Histories are searched without the others. */
static inline bool op_is_write(const struct op *op)
{
    return op->kind == OP_PUT || op->kind == OP_DELETE || op->kind == OP_DELETE_RANGE ||
           op->kind == OP_REVOKE || op->kind == OP_CREATE || op->kind == OP_PUBLISH;
}

/* True for what the quota may refuse. */
static inline bool op_grows(const struct op *op)
{
    return op->kind == OP_PUT || op->kind == OP_GRANT || op->kind == OP_CREATE ||
           op->kind == OP_PUBLISH || op->kind == OP_TXN || op->kind == OP_ENQUEUE ||
           op->kind == OP_PROCLAIM || op->kind == OP_GROUP_CREATE;
}

/* True for what begins the time of a lease. */
static inline bool op_begins_lease(const struct op *op)
{
    return op->kind == OP_GRANT || op->kind == OP_RENEW || (op->kind == OP_PUT && op->ttl_ms);
}

/* True for a conditional put that is sent as a transaction: if the key is at that revision, put.
 * What it is at if not, the answer does not say. */
static inline bool op_is_transaction(const struct op *op)
{
    return op->kind == OP_PUT && op->conditional && op->condition % 2 == 1 && !op->lease &&
           !op->ttl_ms;
}

static inline bool op_in_session(const struct op *op)
{
    return op->session || op->kind == OP_OPEN;
}

/* True if cluster time has to be in the log before it. */
static inline bool op_is_timed(const struct op *op)
{
    return op_in_session(op) || op->lease || op->ttl_ms || op->kind >= OP_GRANT;
}

enum {
    COMMAND_BYTES = 28,      /* of a put of the first key, outside of sessions, nothing else */
    COMMAND_BYTES_MAX = 130, /* of a command without pad, and of the clock before it */
    /* Of a batch of messages, of a transaction: what each part has beside its pad. */
    COMMAND_PART_BYTES = 50,
    COMMAND_PARTS_MAX = SIM_COMPARES_MAX + 2 * SIM_STEPS_MAX
};

/* How many messages back duplicates of the plain topic are known; how many of each are compared. */
enum { SIM_TOPIC_WINDOW = 5, SIM_TOPIC_TAIL = 16 };

/* Names of topics; SIM_TOPICS if it is none of theirs. Of queues, of groups. */
struct slice topic_encode(uint32_t topic);
uint32_t topic_decode(struct slice name);
struct slice queue_encode(uint32_t queue);
uint32_t queue_decode(struct slice name);
struct slice group_encode(uint32_t group);
uint32_t group_decode(struct slice name);

/* The payload of an operation that goes into the log. One reference. */
struct buf *command_encode(const struct op *op, uint64_t number);

/* False if the bytes do not end with an operation's number. */
bool command_decode(struct slice payload, uint64_t *ret_number);

/* The query of a read. One reference. */
struct buf *query_encode(const struct op *op);

/* Takes an answer of the state machine apart. False: it is none to such an operation. */
bool answer_decode(struct op *op, int code, struct slice body);

/* questions.c: the query of an OP_ASK; its answer, as answer_decode. */
void question_pack(struct pack *pack, const struct op *op);
bool question_decode(struct op *op, int code, struct slice body);

/* The query of one about keys, with room for what it names. */
struct question_room {
    uint8_t from[16], to[16];
};
struct kv_query question_query(const struct op *op, struct question_room *room);

/* A key, in a room of two bytes; its number, SIM_KEYS if it is none of theirs (or their end). */
struct slice key_encode(uint32_t cell, uint8_t key[2]);
uint32_t key_decode(struct slice key);

/* The value that a put wrote, so many bytes, in a room of SIM_VALUE_BYTES_MAX; the put that wrote a
 * value, 0: none. A part of a command writes its own: part_number. */
struct slice value_encode(uint64_t number, uint64_t bytes, uint8_t *room);
uint64_t value_decode(struct slice value);

static inline uint64_t part_number(uint64_t first, uint32_t part)
{
    return first | (uint64_t)part << 48;
}

#endif
