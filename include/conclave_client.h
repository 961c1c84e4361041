/* conclave_client.h - a client of a cluster, its status and its members.
 *
 * Finds the leader, follows it, retries what surely was not applied until the deadline. One client
 * is used by one thread at a time; it has no thread of its own and works only inside its calls. Its
 * operations go to the leader; its watches and subscriptions, of which it may have thousands, share
 * one more connection, to any node (conclave_watch.h, conclave_topic.h).
 */
#ifndef CONCLAVE_CLIENT_H
#define CONCLAVE_CLIENT_H

#include "conclave_base.h"

#ifdef __cplusplus
extern "C" {
#endif

struct conclave_client_options {
    size_t size;
    const char *endpoints; /* comma-separated client endpoints, at least one node of the cluster */
    void *zmq_context;     /* NULL: own; needed for inproc:// endpoints */
    uint32_t timeout_ms;   /* 5000; default deadline of an operation */
    bool sessions;         /* true; see conclave_client_submit */
};

CONCLAVE_API void conclave_client_options_init(struct conclave_client_options *options);

struct conclave_client;

/* Errors: INVALID (bad endpoint), NO_MEMORY. Connects in the background. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_client_create(const struct conclave_client_options *options,
                       struct conclave_client **ret_client, struct conclave_error *error);

/* Ends at once, after the locks, observers and groups that use it. Watches and subscriptions that
 * are left say STOPPING from now on. Outstanding operations go back to the caller as they are, with
 * the code UNKNOWN (proposals that were sent) or STOPPING. Replies that operations hold stay valid.
 */
CONCLAVE_API void conclave_client_destroy(struct conclave_client *client);

enum conclave_op_kind {
    CONCLAVE_OP_PROPOSE = 1,  /* a command for the state machine */
    CONCLAVE_OP_READ = 2,     /* a linearizable query of the state machine */
    CONCLAVE_OP_TRANSFER = 3, /* give the lead to the voter of this name; empty: to any other */
    CONCLAVE_OP_READ_STALE =
        4,                     /* a query answered by any node that was up to date max_age_ms ago */
    CONCLAVE_OP_MEMBER = 5,    /* a change of the members: conclave_client_change_member */
    CONCLAVE_OP_READ_LEASE = 6 /* a linearizable query, which a leader with a lease answers without
                                  asking the others; without one as READ */
};

/* One operation. The caller's, who sets it to zeros before its first use; between submit and its
 * return from poll it must not be touched. The last three groups need no resetting for another use.
 */
struct conclave_op {
    /* set by the caller before submit */
    enum conclave_op_kind kind;
    const void *data; /* must stay valid and unchanged until the op is done */
    size_t bytes;
    uint32_t timeout_ms; /* 0: the client's default */
    uint32_t max_age_ms; /* READ_STALE */
    void *user;          /* not touched */

    /* set when done */
    int code;          /* from the client, the node or the machine; 0: ok */
    const void *reply; /* the machine's answer, or a node's sentence on why it refused; valid
                          until the op is submitted again or released */
    size_t reply_bytes;
    uint64_t latency_ns; /* from submit to done */
    uint64_t age_ms;     /* READ_STALE: the answer shows all that was committed so long ago */

    /* the client's own */
    struct conclave_op *next; /* in the list that poll hands out */
    uint64_t submitted_ns;
    void *reply_owner;
    uint32_t state;
};

/* Hands an operation over. It is sent, together with what else was submitted, by the next poll.
 * Never blocks. Errors: INVALID (kind, data; already submitted), TOO_LARGE, BUSY
 * (CONCLAVE_CLIENT_OPS_MAX outstanding).
 *
 * The op ends with the machine's code, or with INVALID or TOO_LARGE from a node, or, surely not
 * applied, at its deadline with
 *   UNREACHABLE  no node gave any sign of life
 *   NO_LEADER    nodes answered and none of them led
 *   BUSY, STOPPING, HANDOVER, STALE, NO_SPACE  the last node that was asked refused it, every time
 *   TIMEOUT      the leader was known and could not be sent to; a read: no answer came
 * or, except for reads, with UNKNOWN: it was sent to a node that may have taken
 * it, and its deadline passed, or before that the node lost leadership or its connection was given
 * up.
 *
 * With `sessions` the client numbers its proposals in a session that it opens with the first one,
 * and a proposal whose outcome is not known is sent again under its number until its deadline: it
 * is applied once, however often it comes. UNKNOWN is then left for deadlines, and for proposals
 * under way when the session ended, which is after a minute in which the client was not polled or
 * could reach no leader. FORGOTTEN: it was applied, and the answer, of more than 64 KiB, is lost.
 * Without sessions a proposal that may have been taken is never sent again by the client itself.
 *
 * A transfer is done (CONCLAVE_OK) when another node leads, the reply is its name. INVALID: no
 * voter has the name; TIMEOUT with a reply, a sentence: the node did not take the lead. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_submit(struct conclave_client *client,
                                                          struct conclave_op *op);

enum { CONCLAVE_CLIENT_OPS_MAX = 65536 }; /* outstanding operations of one client */

/* Sends, receives, retries; waits up to timeout_ms until an operation is done. Returns the number
 * of operations done, linked through `next` from *ret_done (NULL if none). */
CONCLAVE_API size_t conclave_client_poll(struct conclave_client *client, uint32_t timeout_ms,
                                         struct conclave_op **ret_done);

/* Frees the reply that a done operation holds. Harmless if there is none, and after the client was
 * destroyed. The client's thread. */
CONCLAVE_API void conclave_op_release(struct conclave_op *op);

/* Waits up to timeout_ms until one of the client's watches or subscriptions has something to hand
 * out, or has ended for good, and says which: *ret_user is what its options had as `user`. It is to
 * be asked, with timeout 0, until it says TIMEOUT, or destroyed; several have turns. TIMEOUT: none.
 * The operations of the client go on meanwhile; those that are done are for conclave_client_poll.
 */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_ready(struct conclave_client *client,
                                                         uint32_t timeout_ms, void **ret_user);

/* Becomes readable when conclave_client_poll or one of the client's watches, subscriptions, locks
 * may have something to do (edge-triggered, as ZMQ_FD: call them with timeout 0 until they say that
 * there is nothing after each event and at least every 100 ms). */
CONCLAVE_API int conclave_client_fd(const struct conclave_client *client);

/* Submits one operation and waits until it is done; the same fields, the same results. The caller
 * releases the reply. Returns op->code. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_call(struct conclave_client *client,
                                                        struct conclave_op *op);

/* The endpoints that the client knows, each with what came of it, for a diagnostic:
 * "tcp://127.0.0.1:7501 (no answer), tcp://127.0.0.1:7502 (leader)". Valid until the next call with
 * this client. */
CONCLAVE_API const char *conclave_client_describe(struct conclave_client *client);

/* One node as `conclave status` shows it. What is not known is 0 or "". */
struct conclave_node_status {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    uint64_t id;
    char role[16];    /* leader, follower, precandidate, candidate, learner, removed, refused (the
                         others know it by another data directory), repair (its log was damaged; it
                         takes no part until it is whole), unknown */
    char repair[256]; /* of the role repair: what is missing, and who was asked */
    uint64_t term, commit, applied, last_index, revision;
    uint64_t audited; /* up to here it and a majority are known to have applied the same */
    char deviating[CONCLAVE_NAME_BYTES_MAX + 1]; /* the member that it found to have applied
                                                    something else; "": none */
    int64_t pid;
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char feed[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* where plain SUB sockets connect; "": nowhere */
    bool voter;                                 /* false: a learner */
    uint64_t incarnation; /* of its data directory; 0: the cluster does not know it yet */
    bool answered;        /* it answered this request */
    bool healthy;         /* it answered, knows a leader, and the others listen to it */
    bool quota_full; /* by what it applied: something was refused for the quota, and would be now */
    bool disk_full;  /* of its log or its state machine: as the leader it takes reads and deletes */
};

struct conclave_status {
    char cluster[17];                         /* cluster id, 16 hexadecimal digits */
    char leader[CONCLAVE_NAME_BYTES_MAX + 1]; /* "" if nobody knows one */
    uint64_t revision;                        /* the highest that a node reported */
    bool quota_full;                          /* by the node that has applied most */
    size_t node_count;
    struct conclave_node_status nodes[CONCLAVE_MEMBERS_MAX];
};

/* Asks every endpoint and every member it hears of; nodes that do not answer within timeout_ms are
 * listed as not healthy. Errors: UNREACHABLE if none answered. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_client_status(struct conclave_client *client,
                                                          uint32_t timeout_ms,
                                                          struct conclave_status *ret_status);

/* --- Members -----------------------------------------------------------------------------------
 *
 * The leader changes the members by joint consensus, one change at a time, while the cluster
 * serves. A new member is a learner first: it receives the log and counts nowhere. */

enum conclave_member_change_kind {
    CONCLAVE_MEMBER_ADD = 1,     /* a learner; without `learner` it votes once it has caught up */
    CONCLAVE_MEMBER_PROMOTE = 2, /* a learner that has caught up votes from now on */
    CONCLAVE_MEMBER_REMOVE = 3,  /* for good: its id is never used again */
    CONCLAVE_MEMBER_REPLACE = 4 /* the learner `replacement` votes and `name` is removed, at once */
};

struct conclave_member_change {
    enum conclave_member_change_kind kind;
    const char *name;
    const char *peer;        /* ADD */
    const char *client;      /* ADD; NULL or "": a tcp peer's port plus 100, else none */
    uint64_t id;             /* ADD: below 2^53; 0: the node that is asked draws one */
    uint64_t incarnation;    /* ADD: 0: the directory is made later, by conclave_join */
    bool learner;            /* ADD */
    const char *replacement; /* REPLACE */
};

/* Asks the leader for a change and waits until it is committed. It is tried again until timeout_ms
 * (0: the client's default) while another change is under way or the learner is behind.
 * Errors: as of a proposal (conclave_client_submit); BUSY: not now; NOT_FOUND: no such member;
 * EXISTS: the name, id or address is in use; INVALID: against a limit, or the last voter. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_client_change_member(struct conclave_client *client,
                              const struct conclave_member_change *change, uint32_t timeout_ms,
                              struct conclave_error *error);

#ifdef __cplusplus
}
#endif
#endif
