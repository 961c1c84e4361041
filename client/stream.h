/* client/stream.h - one subscription (codec/stream.h) of any kind, at whichever node serves it.
 *
 * What comes is checked for its numbers, held back until a position is whole, and handed out one
 * value at a time; credit is granted as it is. On another node it goes on behind the last whole
 * position. What the values are is known to the caller alone. The connection, which many may share,
 * is client/stream_link.h. One thread at a time. */
#ifndef CLIENT_STREAM_H
#define CLIENT_STREAM_H

#include "client/stream_link.h"

enum {
    STREAM_WINDOW_BYTES_DEFAULT = 1 << 20,
    STREAM_WINDOW_BYTES_SHARED = 64 << 10 /* where thousands share a connection */
};

struct client_stream_options {
    struct conclave_client *client; /* its connection for streams is shared; NULL: an own one, to */
    const char *endpoints;
    void *context; /* NULL: own */
    void *user;    /* of the caller; not touched */
    bool quiet;    /* not among those that stream_link_ready tells */
    uint64_t kind, position;
    struct slice spec;       /* copied, as the next one */
    struct slice state_spec; /* asks for the state first; empty: there is no such thing */
    bool state_first;
    uint32_t window_bytes; /* 0: the default */
};

enum client_stream_what {
    CLIENT_STREAM_EVENT,    /* `value`; `last` of its position's in this frame */
    CLIENT_STREAM_STATE,    /* `value` */
    CLIENT_STREAM_SYNCED,   /* the state is whole, before `frame.position` */
    CLIENT_STREAM_RESYNC,   /* or the state begins anew */
    CLIENT_STREAM_PROGRESS, /* `asked`: it answers the last client_stream_ask */
};

struct client_stream_piece {
    enum client_stream_what what;
    struct slice value; /* one MessagePack value, not checked; valid until the next call */
    struct stream_frame frame;
    bool asked;
    bool last; /* nothing else of this frame comes, and the next one does not go on with it */
};

struct client_stream;

/* Errors: INVALID, NO_MEMORY, BUSY (the client has STREAM_CONNECTION_MAX). */
MUST_USE int client_stream_create(const struct client_stream_options *options,
                                  struct client_stream **ret_stream, struct conclave_error *error);
void client_stream_destroy(struct client_stream *stream);

/* As conclave_watch_next. */
MUST_USE int client_stream_next(struct client_stream *stream, uint32_t timeout_ms,
                                struct client_stream_piece *ret);

/* The same of what has come already: nothing is sent or received. */
MUST_USE int client_stream_take(struct client_stream *stream, struct client_stream_piece *ret);

/* The next event of the frame at hand, without taking it; false: there is none. */
bool client_stream_peek(const struct client_stream *stream, struct slice *ret_value);

/* client_stream_take has something to say. */
bool client_stream_is_ready(const struct client_stream *stream);

void client_stream_ask(struct client_stream *stream);
uint64_t client_stream_position(const struct client_stream *stream);
int client_stream_fd(const struct client_stream *stream);
void *client_stream_user(const struct client_stream *stream);
const char *client_stream_describe(struct client_stream *stream);

/* --- The inside --------------------------------------------------------------------------------
 */

/* A frame that was taken, and not handed out to its end. */
struct stream_held {
    struct stream_held *next;
    struct buf *owner; /* one reference: what the items are in */
    struct stream_frame frame;
    size_t bytes; /* of the body: what it costs */
};

enum client_stream_phase {
    STREAM_WAITS,  /* to say SUBSCRIBE */
    STREAM_ASKED,  /* said */
    STREAM_BEGAN,  /* BEGUN came */
    STREAM_RESTING /* refused; until the next look */
};

struct client_stream {
    struct stream_link *link; /* NULL: it is gone */
    struct conclave_client *client;
    bool owns_link, quiet;
    void *user;
    struct {
        struct client_stream *next, **at; /* at NULL: not in the queue */
    } places[STREAM_QUEUES];

    /* At the node. */
    enum client_stream_phase phase;
    uint32_t slot;
    uint64_t id; /* 0: never subscribed */
    uint64_t number;
    uint64_t asked_ns, heard_ns;

    /* The subscription. */
    uint64_t kind;
    uint64_t position;  /* where to begin again: all before it has been taken */
    uint64_t delivered; /* all before it has been handed out */
    struct buf *spec, *state_spec;
    bool state_wanted;    /* next time it begins with the state */
    bool state_under_way; /* some of it was taken */
    uint64_t window_bytes;
    uint64_t granted_base; /* what was taken in whole frames and handed out, here */
    uint64_t granted_told;
    uint64_t ask, asked_told, asked_answered; /* ask != answered: a mark is wanted */

    /* What was taken; those behind `whole` wait for the end of their position. */
    struct stream_held *first, **tail, **whole;
    bool open; /* the front is being handed out */
    struct cursor values;
    uint32_t values_left;
    struct stream_held *finished; /* handed out; its bytes are still in use */
    int failed;                   /* for good */
};

/* A frame for it, which is in these bytes. */
void stream_take_frame(struct client_stream *stream, struct slice body, struct buf *owner,
                       uint64_t now_ns);

/* Of what was taken and is not handed out. */
size_t stream_held_bytes(const struct client_stream *stream);

/* Its node is left, or it begins again there: what was not whole is dropped, and it says SUBSCRIBE
 * when it can. */
void stream_restart(struct client_stream *stream);

/* It ends for good with this code, behind what is whole. */
void stream_fail(struct client_stream *stream, int code);

#endif
