/* client/stream.h - one subscription (codec/stream.h) of any kind, at whichever node serves it.
 *
 *     connecting ──SUBSCRIBE──> asked ──BEGUN──> begun ──> ...
 *         ^                       │                │  lost, silent, cut off, refused
 *         └──── next endpoint ────┴────────────────┘
 *
 * What comes is checked for its numbers, held back until a position is whole, and handed out one
 * value at a time; credit is granted as it is. On another node it goes on behind the last whole
 * position. What the values are is known to the caller alone. Files: stream.c (what is taken and
 * handed out), stream_link.c (the connection). One thread at a time. */
#ifndef CLIENT_STREAM_H
#define CLIENT_STREAM_H

#include "base/buf.h"
#include "base/error.h"
#include "base/prng.h"
#include "codec/client.h"
#include "codec/stream.h"

enum {
    STREAM_ENDPOINTS_MAX = 64,
    STREAM_WINDOW_BYTES_DEFAULT = 1 << 20,
    STREAM_KEEP_ALIVE_MS = STREAM_LIFETIME_MS / 3,
    STREAM_BEGIN_MS = 3000, /* no BEGUN: another node is asked */
    STREAM_SILENCE_MS = 3 * STREAM_PROGRESS_MS,
    STREAM_AGE_MS_MAX = 8000, /* what a node knows is older: it is cut off */
    STREAM_PAUSE_MIN_MS = 20, /* before the next node, after one that failed */
    STREAM_PAUSE_MAX_MS = 500
};

struct client_stream_options {
    const char *endpoints;
    void *context; /* NULL: own */
    uint64_t kind, position;
    struct slice spec;       /* copied, as the next one */
    struct slice state_spec; /* asks for the state first; empty: there is no such thing */
    bool state_first;
    uint32_t window_bytes;
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

/* Errors: INVALID, NO_MEMORY. */
MUST_USE int client_stream_create(const struct client_stream_options *options,
                                  struct client_stream **ret_stream, struct conclave_error *error);
void client_stream_destroy(struct client_stream *stream);

/* As conclave_watch_next. */
MUST_USE int client_stream_next(struct client_stream *stream, uint32_t timeout_ms,
                                struct client_stream_piece *ret);

/* The next event of the frame at hand, without taking it; false: there is none. */
bool client_stream_peek(const struct client_stream *stream, struct slice *ret_value);

void client_stream_ask(struct client_stream *stream);
uint64_t client_stream_position(const struct client_stream *stream);
int client_stream_fd(const struct client_stream *stream);
const char *client_stream_describe(struct client_stream *stream);

/* --- The inside --------------------------------------------------------------------------------
 */

enum stream_link_phase { LINK_PAUSED, LINK_CONNECTING, LINK_ASKED, LINK_BEGUN };

/* A frame that was taken, and not handed out to its end. */
struct stream_held {
    struct stream_held *next;
    struct buf *owner; /* one reference: the ZeroMQ message that it is in */
    struct stream_frame frame;
    size_t bytes; /* of the body: what it costs */
    bool resync;  /* made here: the state begins anew */
};

struct client_stream {
    void *context;
    bool owns_context;
    int epoll;
    struct prng prng;
    char endpoints[STREAM_ENDPOINTS_MAX][CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    uint32_t endpoint_count, at;

    /* The connection. */
    void *socket, *monitor; /* NULL: none now */
    enum stream_link_phase phase;
    uint64_t since_ns, heard_ns, spoken_ns; /* since when in the phase */
    uint64_t pause_ms;
    uint64_t id; /* of the subscription at hand */
    uint64_t number;
    uint32_t monitors;
    int reason; /* why the last node was left; 0: not */
    char text[1024];

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

/* stream.c */
void stream_take_reply(struct client_stream *stream, const struct client_reply *reply,
                       struct buf *owner, uint64_t now_ns);

/* stream_link.c */
MUST_USE int stream_link_init(struct client_stream *stream, const char *endpoints, void *context,
                              struct conclave_error *error);
void stream_link_deinit(struct client_stream *stream);

/* Leaves the node, for this reason; the next one is tried after a pause, or at once. */
void stream_link_leave(struct client_stream *stream, int reason, uint64_t now_ns);

/* Connects, subscribes, grants, receives, looks at the time; does not wait. True: something came.
 */
bool stream_link_step(struct client_stream *stream, uint64_t now_ns);

/* Waits until there may be something, at most until then. */
void stream_link_wait(struct client_stream *stream, uint64_t until_ns, uint64_t now_ns);

/* An operation of the subscription at hand; dropped if there is no connection. */
void stream_link_say(struct client_stream *stream, uint32_t type, uint64_t id, struct pack *body,
                     uint64_t now_ns);

#endif
