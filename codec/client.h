/* codec/client.h - the wire form of what clients and nodes say to each other.
 *
 *     request  [version, [id, type, body], [id, type, body], ...]
 *     reply    [version, [id, code, body], [id, code, body], ...]
 *
 * (READ_STALE and its answer have a fourth field: how old the answer may be, how old it is.)
 *
 * Many operations fit in a frame, they stay separate commands with separate replies, and replies
 * may come in another order and in other frames. `id` is the client's own, below 2^53, echoed.
 * `code` is an enum conclave_code. docs/protocol.md is the full description. Reading goes operation
 * by operation without allocation. Any thread; pure functions. */
#ifndef CODEC_CLIENT_H
#define CODEC_CLIENT_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"
#include "raft/configuration.h"

enum {
    CLIENT_PROTOCOL_VERSION = 1,
    CLIENT_FRAME_BYTES_MAX = 2 << 20,
    CLIENT_OPS_PER_FRAME_MAX = 4096,
    CLIENT_REPLY_TEXT_BYTES_MAX = 255, /* a longer explanation is cut */
    CLIENT_OP_OVERHEAD_BYTES = 24      /* of an operation or a bin reply, at most: for pack_init */
};

enum client_op_type {
    CLIENT_OP_PROPOSE = 1,     /* body: bin, a command for the state machine */
    CLIENT_OP_READ = 2,        /* body: bin, a query; linearizable */
    CLIENT_OP_STATUS = 3,      /* body: nil; answered by the node itself, at once */
    CLIENT_OP_LEADER = 4,      /* body: nil; who leads: answered at once, cheaper than STATUS */
    CLIENT_OP_SESSION = 5,     /* body: bin, codec/session.h: a command in a session, and what keeps
                                  the session */
    CLIENT_OP_MEMBER = 8,      /* body: bin, codec/member.h; answered when it is committed */
    CLIENT_OP_TRANSFER = 11,   /* body: bin, the name of the voter that is to lead; empty: any */
    CLIENT_OP_READ_STALE = 12, /* as READ, and how old the answer may be */
    CLIENT_OP_READ_LEASE = 13, /* as READ; the leader's lease is good enough */
    CLIENT_OP_SUBSCRIBE = 14,  /* body: bin, codec/stream.h: answered by a stream of replies */
    CLIENT_OP_CREDIT = 15,     /* body: bin; of the subscription that has the same id */
    CLIENT_OP_UNSUBSCRIBE = 16 /* body: nil */
};

/* --- Requests --------------------------------------------------------------------------------- */

struct client_op {
    uint64_t id;
    uint32_t type;       /* enum client_op_type; unknown ones are handed out for an INVALID reply,
                            with an empty body whatever it was; above UINT32_MAX as UINT32_MAX */
    struct slice body;   /* empty for nil; points into the frame */
    uint32_t max_age_ms; /* READ_STALE */
};

struct client_reader {
    struct cursor cursor;
    uint32_t left;
};

/* Begins to read a request. Errors: MALFORMED, VERSION, TOO_LARGE (too many operations). */
MUST_USE int client_request_begin(struct client_reader *reader, const void *data, size_t bytes);

/* The next operation: 1 and *ret, 0 at the end, -1 if the rest of the frame is malformed (what was
 * handed out before stands). */
MUST_USE int client_request_next(struct client_reader *reader, struct client_op *ret);

/* Begins a request of `count` operations in a pack that the caller has initialised, then
 * client_op_pack count times, then pack_take. STATUS, LEADER and UNSUBSCRIBE get nil for a body,
 * others bin. */
void client_request_pack(struct pack *pack, uint32_t count);
void client_op_pack(struct pack *pack, const struct client_op *op);

/* --- Replies ---------------------------------------------------------------------------------- */

struct client_reply {
    uint64_t id;
    int code;
    struct slice body; /* OK, and codes that come from the machine: its answer, bin. Else a raw
                          MessagePack value: see client_redirect, or a str that explains */
    bool body_is_bin;
    bool aged;       /* the answer to READ_STALE: */
    uint64_t age_ms; /* it shows all that was committed so long ago */
};

/* Body of NOT_LEADER, NO_LEADER, and of the answer to LEADER: {"leader": name, "endpoint": client
 * endpoint, "term": term}; a name of "" means not known. */
struct client_redirect {
    char leader[CONCLAVE_NAME_BYTES_MAX + 1];
    char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    uint64_t term;
};

/* As client_request_begin and client_request_next, with the same errors and results. */
MUST_USE int client_reply_begin(struct client_reader *reader, const void *data, size_t bytes);
MUST_USE int client_reply_next(struct client_reader *reader, struct client_reply *ret);

/* Errors: MALFORMED; *ret is then untouched. Keys that are not there are "" and 0. */
MUST_USE int client_redirect_decode(struct slice body, struct client_redirect *ret);

/* Begins a frame of `count` replies in a pack that the caller has initialised; the functions below
 * add one reply each. */
void client_reply_pack_begin(struct pack *pack, uint32_t count);
void client_reply_pack_bin(struct pack *pack, uint64_t id, int code, const void *body,
                           size_t bytes);
void client_reply_pack_aged(struct pack *pack, uint64_t id, int code, const void *body,
                            size_t bytes, uint64_t age_ms);
void client_reply_pack_text(struct pack *pack, uint64_t id, int code, const char *text);
void client_reply_pack_redirect(struct pack *pack, uint64_t id, int code,
                                const struct client_redirect *redirect);

/* --- Status ----------------------------------------------------------------------------------- */

enum { CLIENT_REPAIR_BYTES_MAX = 255 };

struct client_status_member {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    uint64_t id;
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    bool voter;
    uint64_t incarnation; /* of its data directory; 0: not known to the cluster yet */
};

/* What one node says of itself: the body of the answer to STATUS, a bin that holds a map with these
 * names as keys ("cluster", "name", "id", "role", "term", "leader", "commit", "applied",
 * "last_index", "durable_index", "revision", "pid", "version", "repair", "serving", "uptime_ms",
 * "audited", "deviating", "feed", "quota_full", "disk_full", "members").
 * Unknown keys are skipped when reading. */
struct client_status {
    uint64_t cluster_id;
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    uint64_t id;
    char role[16];
    uint64_t term;
    char leader[CONCLAVE_NAME_BYTES_MAX + 1]; /* "": not known */
    uint64_t commit, applied, last_index, durable_index, revision;
    uint64_t pid, uptime_ms;
    char version[16];
    uint64_t audited; /* up to here a majority, and this node, are known to have applied the same */
    char deviating[CONCLAVE_NAME_BYTES_MAX + 1]; /* a member that did not; "": none is known */
    char feed[CONCLAVE_ENDPOINT_BYTES_MAX + 1];  /* "": none */
    bool quota_full; /* something was refused for the quota, and still would be */
    bool disk_full;  /* as the leader it takes nothing but reads and deletes */
    char repair[CLIENT_REPAIR_BYTES_MAX + 1]; /* role "repair": what is missing; else "" */
    bool serving; /* leader known, what was committed when it learned so is applied, not refused */
    uint32_t member_count;
    struct client_status_member members[CONCLAVE_MEMBERS_MAX];
};

/* Fills in the members. */
void client_status_members(struct client_status *status,
                           const struct raft_configuration *configuration);

/* One reference; the bytes are the map, to be sent by client_reply_pack_bin. */
struct buf *client_status_encode(const struct client_status *status);

/* Errors: MALFORMED; *ret is then untouched. Keys that are not there are "", 0 and false. */
MUST_USE int client_status_decode(struct slice body, struct client_status *ret);

#endif
