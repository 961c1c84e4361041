#include "client/stream_link.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "client/socket.h"
#include "client/stream.h"
#include "transport/frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)

enum { RECEIVE_FRAMES_MAX = 64 }; /* of one step */

/* What says that the node cannot be reached. */
enum { LOST_EVENTS = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED };

/* --- Life ------------------------------------------------------------------------------------- */

struct stream_link *stream_link_create(void *context, int epoll)
{
    struct stream_link *link = mem_zalloc(sizeof *link);
    link->context = context;
    link->epoll = epoll;
    prng_init(&link->prng, prng_entropy());
    /* Of an earlier connection nothing is taken for an answer in a later one. */
    link->attempts = prng_below(&link->prng, UINT64_C(1) << 36);
    for (int kind = 0; kind < STREAM_QUEUES; kind++)
        link->queues[kind].tail = &link->queues[kind].first;
    return link;
}

void stream_link_learn(struct stream_link *link, const char *endpoint)
{
    for (uint32_t i = 0; i < link->endpoint_count; i++)
        if (strcmp(link->endpoints[i], endpoint) == 0)
            return;
    if (link->endpoint_count < STREAM_ENDPOINTS_MAX)
        memcpy(link->endpoints[link->endpoint_count++], endpoint, strlen(endpoint) + 1);
}

static int open_own(struct stream_link *link, struct conclave_error *error)
{
    if (link->epoll < 0) {
        link->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (link->epoll < 0)
            return error_set_errno(error, CONCLAVE_NO_MEMORY, errno, "cannot wait for sockets");
        link->owns_epoll = true;
    }
    if (!link->context) {
        link->context = client_context_open();
        if (!link->context)
            return error_set(error, CONCLAVE_NO_MEMORY, "cannot make a ZeroMQ context");
        link->owns_context = true;
    }
    return CONCLAVE_OK;
}

struct learning {
    struct stream_link *link;
    struct conclave_error *error;
};

static int learn_one(void *arg, const char *endpoint)
{
    struct learning *learning = arg;
    int code = client_endpoint_check(endpoint, learning->link->owns_context, learning->error);
    if (!code)
        stream_link_learn(learning->link, endpoint);
    return code;
}

int stream_link_open(const char *endpoints, void *context, struct stream_link **ret_link,
                     struct conclave_error *error)
{
    struct stream_link *link = stream_link_create(context, -1);
    struct learning learning = {link, error};
    int code = open_own(link, error);
    if (!code)
        code = client_endpoints_each(endpoints, learn_one, &learning, error);
    if (code) {
        stream_link_destroy(link);
        return code;
    }
    *ret_link = link;
    return CONCLAVE_OK;
}

static void disconnect(struct stream_link *link)
{
    void *sockets[] = {link->monitor, link->socket};
    if (link->socket)
        zmq_socket_monitor(link->socket, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        if (!sockets[i])
            continue;
        client_socket_watch(sockets[i], link->epoll, EPOLL_CTL_DEL);
        zmq_close(sockets[i]);
    }
    link->socket = link->monitor = NULL;
}

void stream_link_destroy(struct stream_link *link)
{
    if (!link)
        return;
    disconnect(link);
    for (uint32_t slot = 0; slot < link->slot_count; slot++) {
        struct client_stream *stream = link->slots[slot];
        if (!stream)
            continue;
        stream_fail(stream, CONCLAVE_STOPPING);
        stream_link_remove(link, stream);
    }
    if (link->owns_context)
        client_context_close(link->context);
    if (link->owns_epoll)
        close(link->epoll);
    free(link->slots);
    free(link->free_slots.items);
    free(link->leaving.items);
    free(link);
}

/* --- Streams ---------------------------------------------------------------------------------- */

void stream_enqueue(struct client_stream *stream, enum stream_queue_kind kind)
{
    struct stream_queue *queue = &stream->link->queues[kind];
    if (stream->places[kind].at)
        return;
    stream->places[kind].next = NULL;
    stream->places[kind].at = queue->tail;
    *queue->tail = stream;
    queue->tail = &stream->places[kind].next;
}

void stream_dequeue(struct client_stream *stream, enum stream_queue_kind kind)
{
    struct client_stream *next = stream->places[kind].next, **at = stream->places[kind].at;
    if (!at)
        return;
    *at = next;
    if (next)
        next->places[kind].at = at;
    else
        stream->link->queues[kind].tail = at;
    stream->places[kind].at = NULL;
}

static void slots_grow(struct stream_link *link)
{
    uint32_t count = link->slot_count ? link->slot_count * 2 : 8;
    link->slots = mem_realloc(link->slots, count * sizeof(struct client_stream *));
    for (uint32_t slot = count; slot-- > link->slot_count;) { /* the lowest is taken first */
        link->slots[slot] = NULL;
        LIST_RESERVE(&link->free_slots);
        link->free_slots.items[link->free_slots.count++] = slot;
    }
    link->slot_count = count;
}

int stream_link_add(struct stream_link *link, struct client_stream *stream)
{
    if (link->stream_count == STREAM_CONNECTION_MAX)
        return CONCLAVE_BUSY;
    if (link->free_slots.count == 0)
        slots_grow(link);
    stream->slot = link->free_slots.items[--link->free_slots.count];
    link->slots[stream->slot] = stream;
    link->stream_count++;
    stream->link = link;
    stream_enqueue(stream, STREAM_TALKS);
    return CONCLAVE_OK;
}

void stream_link_remove(struct stream_link *link, struct client_stream *stream)
{
    if (stream->phase == STREAM_BEGAN)
        link->begun_count--;
    if (stream->phase == STREAM_BEGAN || stream->phase == STREAM_ASKED)
        stream_talk_leave(link, stream->id);
    for (int kind = 0; kind < STREAM_QUEUES; kind++)
        stream_dequeue(stream, (enum stream_queue_kind)kind);
    link->slots[stream->slot] = NULL;
    LIST_RESERVE(&link->free_slots);
    link->free_slots.items[link->free_slots.count++] = stream->slot;
    link->stream_count--;
    stream->phase = STREAM_WAITS;
    stream->link = NULL;
    stream->client = NULL;
}

struct client_stream *stream_link_ready(struct stream_link *link)
{
    struct client_stream *stream;
    while ((stream = link->queues[STREAM_READY].first)) {
        stream_dequeue(stream, STREAM_READY);
        if (!client_stream_is_ready(stream))
            continue;
        stream_enqueue(stream, STREAM_READY); /* until there is nothing left, in turn with others */
        return stream;
    }
    return NULL;
}

/* --- The connection --------------------------------------------------------------------------- */

/* Tells when the connection breaks: without it a node that was killed would be silent only. */
static void *monitor_open(struct stream_link *link)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://conclave-stream-%p-%u", (void *)link,
             link->monitors++);
    if (zmq_socket_monitor(link->socket, address, LOST_EVENTS))
        return NULL;
    void *monitor = zmq_socket(link->context, ZMQ_PAIR);
    if (monitor && zmq_connect(monitor, address)) {
        zmq_close(monitor);
        return NULL;
    }
    return monitor;
}

static void connect_next(struct stream_link *link, uint64_t now_ns)
{
    /* Any of them at first, so that those who watch are spread over the nodes. */
    if (link->monitors == 0)
        link->at = (uint32_t)prng_below(&link->prng, link->endpoint_count);
    link->phase = LINK_CONNECTING;
    link->since_ns = link->heard_ns = link->spoken_ns = now_ns;
    link->begun_ns = 0;
    link->socket = zmq_socket(link->context, ZMQ_DEALER);
    if (!link->socket || !client_socket_configure(link->socket, &client_socket_stream)) {
        stream_link_leave(link, CONCLAVE_NO_MEMORY, now_ns);
        return;
    }
    link->monitor = monitor_open(link);
    if (zmq_connect(link->socket, link->endpoints[link->at])) {
        stream_link_leave(link, CONCLAVE_UNREACHABLE, now_ns);
        return;
    }
    client_socket_watch(link->socket, link->epoll, EPOLL_CTL_ADD);
    if (link->monitor)
        client_socket_watch(link->monitor, link->epoll, EPOLL_CTL_ADD);
}

void stream_link_leave(struct stream_link *link, int reason, uint64_t now_ns)
{
    bool served = link->begun_ns > 0;
    disconnect(link); /* which the node sees with the next frame that it sends */
    link->at = (link->at + 1) % link->endpoint_count;
    link->reason = reason;
    /* From a node that has served there is no waiting; over those that refuse it grows. */
    if (!served)
        link->pause_ms = link->pause_ms ? link->pause_ms * 2 : STREAM_PAUSE_MIN_MS;
    if (link->pause_ms > STREAM_PAUSE_MAX_MS)
        link->pause_ms = STREAM_PAUSE_MAX_MS;
    link->phase = LINK_PAUSED;
    link->since_ns = now_ns;
    link->leaving.count = 0;
    for (uint32_t slot = 0; slot < link->slot_count; slot++)
        if (link->slots[slot] && !link->slots[slot]->failed)
            stream_restart(link->slots[slot]);
}

/* True if the connection is reported as broken. */
static bool is_broken(const struct stream_link *link)
{
    bool broken = false, more = false;
    struct buf *part;
    while (link->monitor && (part = frame_receive(link->monitor, &more))) {
        uint16_t event;
        if (more && part->bytes >= sizeof event) {
            memcpy(&event, part->data, sizeof event);
            broken = broken || (event & LOST_EVENTS);
        }
        buf_unref(part);
    }
    return broken;
}

static bool receive(struct stream_link *link, uint64_t now_ns)
{
    bool came = false, more;
    struct buf *frame;
    for (int i = 0;
         i < RECEIVE_FRAMES_MAX && link->socket && (frame = frame_receive(link->socket, &more));
         i++) {
        came = true;
        link->heard_ns = now_ns;
        stream_talk_receive(link, frame, now_ns);
        buf_unref(frame);
    }
    return came;
}

/* --- Time ------------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > b_ns ? a_ns : b_ns;
}

/* Looks at the time of each stream. Nothing that came waits to be read: what is silent is silent.
 */
static void look(struct stream_link *link, uint64_t now_ns)
{
    link->look_ns = now_ns + STREAM_LOOK_MS * MS_NS;
    for (uint32_t slot = 0; slot < link->slot_count && link->phase == LINK_UP; slot++) {
        struct client_stream *stream = link->slots[slot];
        if (!stream || stream->failed)
            continue;
        if (stream->phase == STREAM_RESTING) {
            stream_restart(stream);
        } else if (stream->phase == STREAM_ASKED) {
            /* While others begin, a node that has many is not given up. */
            if (now_ns >= later(stream->asked_ns, link->begun_ns) + STREAM_BEGIN_MS * MS_NS)
                stream_link_leave(link, CONCLAVE_TIMEOUT, now_ns);
        } else if (stream->phase == STREAM_BEGAN &&
                   now_ns >= stream->heard_ns + STREAM_SILENCE_MS * MS_NS) {
            /* Others are heard: the node has this one no more. */
            stream_talk_leave(link, stream->id);
            stream_restart(stream);
        }
    }
}

/* Any subscription's word keeps all of them. */
static void keep_alive(struct stream_link *link, uint64_t now_ns)
{
    if (link->begun_count == 0 || now_ns < link->spoken_ns + STREAM_KEEP_ALIVE_MS * MS_NS)
        return;
    for (uint32_t slot = 0; slot < link->slot_count; slot++) {
        struct client_stream *stream = link->slots[slot];
        if (stream && stream->phase == STREAM_BEGAN) {
            stream_enqueue(stream, STREAM_TALKS);
            return;
        }
    }
}

/* When the phase has lasted too long. */
static uint64_t phase_due_ns(const struct stream_link *link)
{
    if (link->stream_count == 0)
        return UINT64_MAX;
    if (link->phase == LINK_PAUSED)
        return link->since_ns + link->pause_ms * MS_NS;
    if (link->phase == LINK_CONNECTING)
        return link->since_ns + STREAM_BEGIN_MS * MS_NS;
    return link->begun_count ? link->heard_ns + STREAM_SILENCE_MS * MS_NS : UINT64_MAX;
}

uint64_t stream_link_due_ns(const struct stream_link *link)
{
    uint64_t due_ns = phase_due_ns(link);
    if (link->phase != LINK_UP || link->stream_count == 0)
        return due_ns;
    uint64_t spoken_ns = link->spoken_ns + STREAM_KEEP_ALIVE_MS * MS_NS;
    if (link->look_ns < due_ns)
        due_ns = link->look_ns;
    return link->begun_count && spoken_ns < due_ns ? spoken_ns : due_ns;
}

bool stream_link_step(struct stream_link *link, uint64_t now_ns)
{
    bool came = false;
    if (link->phase == LINK_PAUSED && now_ns >= phase_due_ns(link))
        connect_next(link, now_ns);
    /* Before anything is read: what a socket receives that connected anew by itself is of another
     * connection, which has none of the subscriptions. */
    if (link->phase != LINK_PAUSED && is_broken(link))
        stream_link_leave(link, CONCLAVE_UNREACHABLE, now_ns);
    if (link->phase == LINK_CONNECTING && client_socket_writable(link->socket)) {
        link->phase = LINK_UP;
        link->since_ns = link->heard_ns = now_ns;
        link->look_ns = now_ns + STREAM_LOOK_MS * MS_NS;
    }
    if (link->phase == LINK_UP) {
        stream_talk(link, now_ns);
        came = receive(link, now_ns);
    }
    if (link->phase == LINK_UP && !came && now_ns >= link->look_ns)
        look(link, now_ns);
    if (link->phase != LINK_PAUSED && !came && now_ns >= phase_due_ns(link))
        stream_link_leave(link, CONCLAVE_TIMEOUT, now_ns);
    if (link->phase == LINK_UP) {
        keep_alive(link, now_ns);
        stream_talk(link, now_ns);
    }
    return came;
}

int stream_link_items(const struct stream_link *link, zmq_pollitem_t items[STREAM_LINK_ITEMS])
{
    int count = 0;
    bool sends = link->phase == LINK_CONNECTING || link->leaving.count > 0 ||
                 link->queues[STREAM_TALKS].first;
    if (link->socket)
        items[count++] = (zmq_pollitem_t){
            .socket = link->socket, .events = (short)(ZMQ_POLLIN | (sends ? ZMQ_POLLOUT : 0))};
    if (link->monitor)
        items[count++] = (zmq_pollitem_t){.socket = link->monitor, .events = ZMQ_POLLIN};
    return count;
}

const char *stream_link_describe(struct stream_link *link, const char *state)
{
    static const char *const phases[] = {"no connection", "connecting", NULL};
    const char *phase = phases[link->phase] ? phases[link->phase] : state;
    bool left = link->reason && link->begun_ns == 0;
    snprintf(link->text, sizeof link->text, "%s (%s%s%s)", link->endpoints[link->at], phase,
             left ? "; the last node: " : "", left ? conclave_code_text(link->reason) : "");
    return link->text;
}
