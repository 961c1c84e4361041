/* client/client.h - the inside of struct conclave_client, shared by the files of client/.
 *
 *     submit -> send queue -> frame to the target -> answer -> done list -> poll
 *                  ^                |  refused: surely not applied
 *                  +--- back-off ---+
 *
 * The target is the connection that proposals and reads go to: the leader as far as known (its
 * `term` is that in which it was named), or a guess (term 0) that will redirect. Files:
 *
 *     client.c      public functions, the loop of one poll
 *     operation.c   life of an operation: send, answer, refusal, deadline
 *     session.c     numbers proposals, so that they may be repeated
 *     leader.c      who leads: redirects, probes of silent nodes, what a change of leader means
 *     connection.c  one DEALER socket per endpoint
 *     socket.c      what all sockets have in common
 *     stream*.c     watches and subscriptions: one more connection, for all of them
 *     status.c      conclave_client_status
 *     table.c, reply.c  storage of operations and replies
 *
 * What always holds:
 *   - a proposal is sent a second time only after a node said that the first was not applied, or
 *     under the same number of the same session;
 *   - every submitted operation is in exactly one of: the queue, held, sent, waiting, the done
 * list;
 *   - connection.outstanding counts the table's entries in state TABLE_SENT on that connection.
 * One thread at a time uses a client; it works inside calls only. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/error.h"
#include "base/prng.h"
#include "client/reply.h"
#include "client/table.h"
#include "codec/client.h"
#include "codec/session.h"
#include "transport/source.h"

#define CLIENT_MS_NS UINT64_C(1000000)

enum {
    CLIENT_CONNECTIONS_MAX =
        64, /* endpoints named by the user and learnt: 41 members and aliases */
    CLIENT_CONNECTION_NONE = UINT8_MAX,
    CLIENT_SESSION_WINDOW = 4096,
    CLIENT_SEND_BYTES_MAX = 256 << 10, /* of one frame, unless a single operation is larger */

    CLIENT_SILENCE_MS = 150,   /* outstanding operations and no sign of life: ask who leads */
    CLIENT_PROBE_MS = 50,      /* between two rounds of asking */
    CLIENT_RECREATE_MS = 3000, /* no sign of life: the socket may be dead for good */
    CLIENT_RECREATE_JITTER_MS = 500,
    CLIENT_BACKOFF_MIN_MS = 10,
    CLIENT_BACKOFF_MAX_MS = 100,
    CLIENT_HANDOVER_MS = 20,
    CLIENT_REDIRECTS_MAX = 8 /* times an operation is sent again without its back-off */
};

/* enum conclave_op.state: what the client knows of an operation that its caller owns or lent. */
enum client_op_state {
    CLIENT_OP_IDLE,
    CLIENT_OP_SUBMITTED, /* by conclave_client_submit */
    CLIENT_OP_CALLED, /* by conclave_client_call, client_start: does not appear in the done list */
    CLIENT_OP_DONE,   /* in the done list */
    CLIENT_OP_OWN     /* the client's own, of its session */
};

/* Questions of the client itself; their ids have the index TABLE_CONTROL_FIRST + 2 * connection +
 * one of these. */
enum client_control { CLIENT_CONTROL_LEADER = 0, CLIENT_CONTROL_STATUS = 1 };

struct client_connection {
    char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    struct source source; /* its socket */
    uint32_t outstanding; /* operations sent and not answered */
    uint64_t term;        /* in which it was named leader; 0: not known to lead */
    uint64_t heard_ns;    /* last well-formed frame; 0: never */
    uint64_t
        silent_since_ns; /* something is wanted from it and it has said nothing since; 0: not */
    uint64_t
        deposed_ns; /* when it turned out to lead no more with operations outstanding; 0: not */
    uint64_t recreate_after_ns; /* of silence; jittered */
    bool asked;                 /* who leads, since the socket was made */
};

/* The session that proposals are numbered in (session.c). */
struct client_session {
    bool enabled;
    uint64_t id;                               /* 0: none */
    uint64_t next;                             /* number of the next proposal */
    uint64_t acknowledged;                     /* all numbers up to here are done */
    uint64_t window;                           /* numbers beyond `acknowledged` that may be used */
    uint64_t done[CLIENT_SESSION_WINDOW / 64]; /* a bit per number beyond it that is done */
    uint64_t keep_alive_ns, keep_alive_at_ns;
    uint64_t open_after_ns; /* opening failed: not again before */
    int refusal;            /* why it could not be opened, last */

    struct conclave_op op; /* opens or keeps alive; state IDLE: not under way */
    enum session_opcode opcode;
    uint8_t body[32];
};

struct status_collector;
struct stream_link;

struct conclave_client {
    void *context;
    bool owns_context;
    int epoll; /* holds every socket's descriptor: the one that conclave_client_fd shows */
    uint32_t timeout_ms;
    struct prng prng;
    struct table table;
    struct reply_pool *replies;

    struct client_connection connections[CLIENT_CONNECTIONS_MAX];
    uint32_t connection_count;
    uint32_t target; /* CLIENT_CONNECTION_NONE: take the next one that can be sent to */
    uint32_t next_guess;
    bool leader_none;  /* the last node that spoke of leaders named none */
    uint64_t heard_ns; /* by any connection */
    uint64_t next_probe_ns;
    bool leader_new; /* a leader became known: back-offs that wait for one end with this step */

    uint32_t queue_head, queue_tail; /* entries in state TABLE_QUEUED, through queue_next */
    uint32_t held_head, held_tail;   /* in state TABLE_HELD: proposals that wait for a number */
    struct client_session session;
    struct conclave_op *done_head, **done_tail;
    size_t done_count;

    struct stream_link *streams; /* shared by watches and subscriptions; NULL: there was none yet */

    struct status_collector *collector; /* while conclave_client_status runs */
    char text[4096];                    /* of conclave_client_describe */
};

/* --- connection.c ---------------------------------------------------------------------------- */

/* The connection to an endpoint, made if there is none. Errors: INVALID, NO_MEMORY (no socket, or
 * CLIENT_CONNECTIONS_MAX reached). */
MUST_USE int connection_obtain(struct conclave_client *client, const char *endpoint,
                               uint32_t *ret_connection, struct conclave_error *error);
void connections_close(struct conclave_client *client);

/* True if the socket would take a frame now. */
bool connection_writable(struct client_connection *connection);

/* Sends a frame; takes the buf in any case. False: not taken by the socket. Notes that an answer is
 * wanted from now on, also when it could not be sent. */
bool connection_send(struct client_connection *connection, struct buf *frame, uint64_t now_ns);

/* The next frame, or NULL: also while nothing can have come. The caller holds one reference. */
struct reply_frame *connection_receive(struct conclave_client *client, uint32_t connection);

/* Looks which connections something may have come over. */
void connections_look(struct conclave_client *client);

/* The sockets that there are. Returns their number. */
size_t connections_sources(struct conclave_client *client,
                           struct source *ret_sources[CLIENT_CONNECTIONS_MAX]);

/* Notes a sign of life: silence counts from now. */
void connection_heard(struct conclave_client *client, uint32_t connection, uint64_t now_ns);

/* Closes the socket and connects anew. What was outstanding must have been given up before. */
void connection_recreate(struct conclave_client *client, uint32_t connection);

/* --- operation.c ----------------------------------------------------------------------------- */

/* Sends as much of the queue as the target takes. */
void operations_send(struct conclave_client *client, uint64_t now_ns);

/* Appends the entry to the send queue; or holds it, if it is a proposal that can have no number
 * now. One that may have been taken in a session that expired is done, UNKNOWN. */
void operation_queue(struct conclave_client *client, uint32_t index);

/* Queues what is held, as far as there are numbers. */
void operations_unhold(struct conclave_client *client);

/* The answer to an operation that was sent on this connection; strays are ignored. */
void operation_answered(struct conclave_client *client, uint32_t connection,
                        const struct client_reply *reply, struct reply_frame *frame,
                        uint64_t now_ns);

/* Gives up on what was sent there before the given time and is outstanding: proposals are done,
 * UNKNOWN; reads are queued again. */
void operations_abandon(struct conclave_client *client, uint32_t connection,
                        uint64_t sent_before_ns, uint64_t now_ns);

/* Ends every back-off that waits for a leader. Not from inside the handling of one operation. */
void operations_wake(struct conclave_client *client);

/* Ends what has reached its deadline and queues what has waited long enough. */
void operations_expire(struct conclave_client *client, uint64_t now_ns);

/* Takes back an operation that is under way, if it is: nothing more is done to it. */
void operation_cancel(struct conclave_client *client, struct conclave_op *op);

/* Ends every operation without putting it in the done list. */
void operations_drop(struct conclave_client *client);

/* --- session.c ------------------------------------------------------------------------------- */

/* Gives a proposal its number, unless it has one of the present session. False: there is none for
 * it now. */
bool session_number(struct conclave_client *client, struct table_entry *entry);

/* The entry ends: its number is acknowledged with the next command. */
void session_finish(struct conclave_client *client, const struct table_entry *entry);

/* Its number is of a session that has expired. */
bool session_stale(const struct conclave_client *client, const struct table_entry *entry);

/* A node said so of this session. */
void session_expired(struct conclave_client *client, uint64_t id);

/* A command of the session was answered. */
void session_used(struct conclave_client *client, uint64_t now_ns);

struct session_request session_command(const struct conclave_client *client,
                                       const struct table_entry *entry);

/* The client's own operation is done. */
void session_answered(struct conclave_client *client, uint64_t now_ns);

/* Opens and keeps alive where there is reason to, and queues what is held. */
void session_tend(struct conclave_client *client, uint64_t now_ns);

/* Tells the leader that the session ends, if that takes no waiting. */
void session_close(struct conclave_client *client);

/* --- leader.c -------------------------------------------------------------------------------- */

/* Where to send: the target, or a guess that becomes the target; CLIENT_CONNECTION_NONE if nothing
 * can be sent to now. */
uint32_t leader_target(struct conclave_client *client);

/* True if leader_target may answer this connection once it can be sent to. */
bool leader_may_be_target(const struct conclave_client *client, uint32_t connection);

/* What a node said about who leads. */
void leader_learn(struct conclave_client *client, uint32_t from,
                  const struct client_redirect *redirect, uint64_t now_ns);

/* The connection is no leader, whatever was known. */
void leader_lost(struct conclave_client *client, uint32_t connection);

/* Asks a connection who leads. */
void leader_ask(struct conclave_client *client, uint32_t connection, uint64_t now_ns);

/* Probes if there is reason to and makes silent sockets anew. */
void leader_watch(struct conclave_client *client, uint64_t now_ns);

/* When leader_watch is worth calling again; UINT64_MAX: after something happened. */
uint64_t leader_next_ns(const struct conclave_client *client);

/* --- client.c, status.c ---------------------------------------------------------------------- */

/* Sends, receives, and looks at the timers, once. Returns true if a frame came in. */
bool client_step(struct conclave_client *client);

/* Waits for a socket, at most until the given time or the next timer. */
void client_wait(struct conclave_client *client, uint64_t until_ns);

/* When client_step is worth making though nothing came; UINT64_MAX: never. */
uint64_t client_due_ns(const struct conclave_client *client);

/* As conclave_client_submit, but that the operation does not appear in the done list: it has ended
 * when it is not under way any more. */
MUST_USE int client_start(struct conclave_client *client, struct conclave_op *op);
bool client_is_under_way(const struct conclave_op *op);

/* The connection for streams, made with the first call. */
struct stream_link *client_streams(struct conclave_client *client);

/* The answer of a node to STATUS; ignored unless conclave_client_status runs. */
void status_answered(struct conclave_client *client, uint32_t connection,
                     const struct client_reply *reply);

/* True if the running conclave_client_status has yet to send to this connection. */
bool status_wants_to_send(const struct conclave_client *client, uint32_t connection);

#endif
