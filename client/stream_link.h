/* client/stream_link.h - the connection that streams (client/stream.h) share: one node at a time.
 *
 *     paused ──> connecting ──writable──> up: all say SUBSCRIBE ──> ...
 *       ^             │                    │  lost, silent, cut off, refused
 *       └─── next endpoint, all begin again where they are ───┘
 *
 * Each stream has its own id, numbers and credit; the connection has the keep-alive, the silence
 * and the choice of the node. What is to be said waits in one queue and leaves in frames of many
 * operations. A stream is found by its id without a search: the low bits are its slot. A link is
 * the client's (client.h), with the client's descriptor and one thread, or of a single stream that
 * was made without a client. Files: stream_link.c (the connection), stream_talk.c (what is said,
 * and to whom what came belongs). */
#ifndef CLIENT_STREAM_LINK_H
#define CLIENT_STREAM_LINK_H

#include "base/buf.h"
#include "base/error.h"
#include "base/prng.h"
#include "codec/client.h"
#include "codec/stream.h"

#include <zmq.h>

enum {
    STREAM_ENDPOINTS_MAX = 64,
    STREAM_SLOT_BITS = 14,
    STREAM_KEEP_ALIVE_MS = STREAM_LIFETIME_MS / 3,
    STREAM_BEGIN_MS = 3000, /* no BEGUN: another node is asked */
    STREAM_SILENCE_MS = 3 * STREAM_PROGRESS_MS,
    STREAM_AGE_MS_MAX = 8000, /* what a node knows is older: it is cut off */
    STREAM_PAUSE_MIN_MS = 20, /* before the next node, after one that failed */
    STREAM_PAUSE_MAX_MS = 500,
    STREAM_LOOK_MS = 250, /* between two looks at the time of every stream */
    STREAM_LINK_ITEMS = 2 /* sockets to wait for */
};
_Static_assert(STREAM_CONNECTION_MAX <= 1 << STREAM_SLOT_BITS, "every stream has a slot");

enum stream_link_phase { LINK_PAUSED, LINK_CONNECTING, LINK_UP };

struct client_stream;

/* What streams wait in; each is in a queue once at most. */
enum stream_queue_kind {
    STREAM_TALKS, /* has something to say to the node */
    STREAM_READY, /* has something to hand out */
    STREAM_QUEUES
};

struct stream_queue {
    struct client_stream *first, **tail;
};

struct stream_link {
    void *context;
    bool owns_context;
    int epoll;
    bool owns_epoll;
    struct prng prng;
    char endpoints[STREAM_ENDPOINTS_MAX][CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    uint32_t endpoint_count, at;

    void *socket, *monitor; /* NULL: none now */
    enum stream_link_phase phase;
    uint64_t since_ns; /* in this phase */
    uint64_t heard_ns, spoken_ns;
    uint64_t begun_ns; /* the last BEGUN that came; 0: none since it connected */
    uint64_t look_ns;  /* the next look at all of them */
    uint64_t pause_ms;
    uint32_t monitors;
    int reason; /* why the last node was left; 0: not */
    char text[1024];

    struct client_stream **slots;
    uint32_t slot_count, stream_count, begun_count;
    struct {
        uint32_t *items;
        uint32_t count, capacity;
    } free_slots;
    uint64_t attempts; /* the high bits of ids */
    struct stream_queue queues[STREAM_QUEUES];
    struct {
        uint64_t *items;
        uint32_t count, capacity;
    } leaving; /* ids that are to be unsubscribed */
};

/* A link that connects when there is a stream. Endpoints are added before the first step. */
struct stream_link *stream_link_create(void *context, int epoll);

/* Makes what is not given (context NULL, epoll below 0). Errors: INVALID, NO_MEMORY. */
MUST_USE int stream_link_open(const char *endpoints, void *context, struct stream_link **ret_link,
                              struct conclave_error *error);

/* Streams that are left are failed, STOPPING, and have no link any more. NULL is allowed. */
void stream_link_destroy(struct stream_link *link);

/* One more node to connect to; one that is known, or one too many, is left out. */
void stream_link_learn(struct stream_link *link, const char *endpoint);

/* BUSY: STREAM_CONNECTION_MAX are there. */
MUST_USE int stream_link_add(struct stream_link *link, struct client_stream *stream);
void stream_link_remove(struct stream_link *link, struct client_stream *stream);

/* Leaves the node, for this reason; the next one is tried after a pause, or at once if this one has
 * served. */
void stream_link_leave(struct stream_link *link, int reason, uint64_t now_ns);

/* Connects, subscribes, grants, receives, looks at the time; does not wait. True: something came.
 */
bool stream_link_step(struct stream_link *link, uint64_t now_ns);

/* When a step is worth making though nothing came; UINT64_MAX: never. */
uint64_t stream_link_due_ns(const struct stream_link *link);

/* What to wait for meanwhile; the number of items. */
int stream_link_items(const struct stream_link *link, zmq_pollitem_t items[STREAM_LINK_ITEMS]);

/* A stream that has something to hand out, those that were asked for longest ago first; NULL. */
struct client_stream *stream_link_ready(struct stream_link *link);

const char *stream_link_describe(struct stream_link *link, const char *state);

/* --- stream_talk.c ---------------------------------------------------------------------------- */

/* The subscription that it had at this node is to end there. */
void stream_talk_leave(struct stream_link *link, uint64_t id);

/* Says what waits, as far as the socket takes it. */
void stream_talk(struct stream_link *link, uint64_t now_ns);

/* Hands a frame's replies to their streams. */
void stream_talk_receive(struct stream_link *link, struct buf *frame, uint64_t now_ns);

/* --- Queues ----------------------------------------------------------------------------------- */

/* Appends it, unless it is there. */
void stream_enqueue(struct client_stream *stream, enum stream_queue_kind kind);
void stream_dequeue(struct client_stream *stream, enum stream_queue_kind kind);

#endif
