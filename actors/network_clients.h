/* actors/network_clients.h - the clients' side of the network actor, shared by network_clients.c
 * (requests are read and handed on), network_take.c (commands and queries are taken in),
 * network_clock.c (cluster time), network_admin.c (what is asked about the node itself) and
 * network_replies.c (answers). What the other files call is in network.h.
 * Network's thread only. */
#ifndef ACTORS_NETWORK_CLIENTS_H
#define ACTORS_NETWORK_CLIENTS_H

#include "actors/node.h"
#include "actors/pending.h"
#include "codec/client.h"
#include "transport/clients.h"

struct network;

enum { CLIENT_PORTS = 2 }; /* tag 0: threads of the host (inproc); tag 1: everybody (tcp, ipc) */

/* Replies to one client that go out as one frame. */
struct open_frame {
    client_handle client;
    uint32_t first, last; /* indexes into replies.items, linked through `next` */
    uint32_t reply_count;
    bool streams; /* the client has subscriptions, or had some a moment ago */
    size_t bytes;
};

/* A reply that waits for the end of the wake-up. */
struct staged_reply {
    uint64_t request;
    int code;
    struct buf *body; /* NULL: empty, or what `code` needs is filled in when packing */
    const char *text; /* static explanation instead of a body, or NULL */
    uint32_t next;    /* index + 1 of the next one of the same frame; 0: last */
    bool redirect;    /* body: who leads */
    bool stream;      /* of a subscription */
    bool aged;        /* of a stale read */
    uint64_t age_ms;
};

/* A frame whose client does not read fast enough. */
struct kept_frame {
    client_handle client;
    struct buf *frame;
    uint64_t since_us;
};

struct client_side {
    struct clients *ports[CLIENT_PORTS]; /* NULL: not listening there */
    struct pending *pending;
    bool draining; /* new work is refused: the node is stopping */
    /* A leader refuses commands, but for those that give space back; where the state machine
     * cannot go on all of them: they would wait behind what has no room. */
    bool full[SPACES];
    bool leads;
    const struct conclave_machine_ops *machine;

    struct {
        struct staged_reply *items;
        uint32_t count, capacity;
    } replies;
    struct {
        struct open_frame *items;
        uint32_t count, capacity;
    } frames;
    struct { /* by client slot: index + 1 into frames of the frame still open for it */
        uint32_t *items;
        uint32_t capacity;
    } frame_of[CLIENT_PORTS];

    struct {
        struct kept_frame *items;
        uint32_t count, capacity;
    } kept;
    struct meter *meter;   /* of the replies that the node holds; those of the clients below it */
    uint32_t status_count; /* STATUS requests that are on their way round */

    /* What one wake-up took in. */
    struct {
        struct raft_entry *items;
        uint32_t count, capacity;
    } proposals;
    uint32_t frame_first; /* where those of the frame at hand begin: that one holds it for all */
    struct query_list queries;
    struct stream_requests stream_requests;
    uint32_t stream_requests_on_the_way; /* to the state machine, and those above */
    bool timed;                          /* one of the proposals has to do with cluster time */

    uint64_t clock_us; /* leader: up to when cluster time is in the log (SESSION_CLOCK) */
    uint64_t due_ms; /* of cluster time, until something ends in the machine; UINT64_MAX: nothing */
    bool overdue;    /* more of it is due than could end: as soon as time passes again */
};

/* Stages a reply for the end of the wake-up. Takes over the body. */
void network_stage_reply(struct client_side *side, client_handle client, struct staged_reply reply);

/* An answer of the node itself; `text` is static. */
void network_answer(struct client_side *side, client_handle client, uint64_t request, int code,
                    const char *text);

/* Takes one operation of a request in; its body points into the frame. */
void network_take_op(struct actor *actor, client_handle client, const struct client_op *op,
                     struct buf *frame);

/* The leader: cluster time, if what was taken in needs it and it is due. */
void network_add_clock(const struct network *network, struct client_side *side,
                       struct raft_batch *batch);

/* Raft and then the state machine fill the status in; it comes back as network_take_status. */
void network_ask_status(struct actor *actor, client_handle client, uint64_t request);

/* Raft answers when there is another leader, or when there will be none. */
void network_ask_transfer(struct actor *actor, client_handle client, const struct client_op *op);

void network_ask_change(struct actor *actor, client_handle client, const struct client_op *op);

/* SUBSCRIBE, CREDIT and UNSUBSCRIBE (network_streams.c). */
void network_ask_stream(struct client_side *side, client_handle client, const struct client_op *op,
                        struct buf *frame);

/* A frame of a subscription could not be sent to this client: it is not there any more. */
void network_stream_gone(struct client_side *side, client_handle client);

void network_hand_streams_on(struct actor *actor);

/* Any operation, at a node without a core. */
void network_ask_in_repair(struct actor *actor, client_handle client, const struct client_op *op);

#endif
