#include "client/stream.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "transport/endpoint.h"
#include "transport/frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#define MS_NS UINT64_C(1000000)

enum {
    RECEIVE_FRAMES_MAX = 64, /* of one step */
    HEARTBEAT_INTERVAL_MS = 1000,
    HEARTBEAT_TIMEOUT_MS = 3000,
    CONNECT_TIMEOUT_MS = 1000,
    RECONNECT_MS = 100, /* before that the socket is closed: another node is tried */
    WAIT_MAX_MS = 1000
};

/* What says that the node cannot be reached. */
enum { LOST_EVENTS = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED };

static int add_endpoint(struct client_stream *stream, const char *text, size_t bytes,
                        struct conclave_error *error)
{
    char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 2]; /* one too long is seen as too long */
    size_t kept = bytes < sizeof endpoint ? bytes : sizeof endpoint - 1;
    memcpy(endpoint, text, kept);
    endpoint[kept] = '\0';
    int code = endpoint_check(endpoint, error);
    if (!code && stream->owns_context && strncmp(endpoint, "inproc://", strlen("inproc://")) == 0)
        code = error_set(error, CONCLAVE_INVALID,
                         "endpoint '%s' needs the ZeroMQ context of the node that serves it",
                         endpoint);
    if (!code && stream->endpoint_count == STREAM_ENDPOINTS_MAX)
        code = error_set(error, CONCLAVE_INVALID, "more than %d endpoints", STREAM_ENDPOINTS_MAX);
    if (code)
        return code;
    memcpy(stream->endpoints[stream->endpoint_count++], endpoint, kept + 1);
    return CONCLAVE_OK;
}

int stream_link_init(struct client_stream *stream, const char *endpoints, void *context,
                     struct conclave_error *error)
{
    stream->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (stream->epoll < 0)
        return error_set_errno(error, CONCLAVE_NO_MEMORY, errno, "cannot wait for sockets");
    stream->context = context;
    if (!context) {
        stream->context = zmq_ctx_new();
        if (!stream->context)
            return error_set(error, CONCLAVE_NO_MEMORY, "cannot make a ZeroMQ context");
        stream->owns_context = true;
        zmq_ctx_set(stream->context, ZMQ_BLOCKY, 0);
    }
    for (const char *at = endpoints; *at;) {
        size_t bytes = strcspn(at, ",");
        int code = bytes ? add_endpoint(stream, at, bytes, error) : CONCLAVE_OK;
        if (code)
            return code;
        at += bytes;
        at += *at == ',';
    }
    if (stream->endpoint_count == 0)
        return error_set(error, CONCLAVE_INVALID, "no endpoint given: name at least one node");
    prng_init(&stream->prng, prng_entropy());
    /* Any of them, so that those who watch are spread over the nodes. */
    stream->at = (uint32_t)prng_below(&stream->prng, stream->endpoint_count);
    stream->id = prng_below(&stream->prng, UINT64_C(1) << 40);
    stream->phase = LINK_PAUSED;
    return CONCLAVE_OK;
}

static void watch_fd(const struct client_stream *stream, void *socket, int operation)
{
    int fd = -1;
    size_t bytes = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &bytes) == 0)
        epoll_ctl(stream->epoll, operation, fd, &(struct epoll_event){.events = EPOLLIN});
}

static void disconnect(struct client_stream *stream)
{
    void *sockets[] = {stream->monitor, stream->socket};
    if (stream->socket)
        zmq_socket_monitor(stream->socket, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        if (!sockets[i])
            continue;
        watch_fd(stream, sockets[i], EPOLL_CTL_DEL);
        zmq_close(sockets[i]);
    }
    stream->socket = stream->monitor = NULL;
}

void stream_link_deinit(struct client_stream *stream)
{
    disconnect(stream);
    if (stream->owns_context && stream->context)
        zmq_ctx_term(stream->context);
    if (stream->epoll >= 0)
        close(stream->epoll);
}

static bool socket_configure(void *socket)
{
    static const struct {
        int name;
        int value;
    } options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_IMMEDIATE, 1},
        {ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS},
        {ZMQ_HANDSHAKE_IVL, CONNECT_TIMEOUT_MS},
        {ZMQ_RECONNECT_IVL, RECONNECT_MS},
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof options[i].value))
            return false;
    int64_t bytes_max = 2 * (int64_t)CLIENT_FRAME_BYTES_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0;
}

/* Tells when the connection breaks: without it a node that was killed would be silent only. */
static void *monitor_open(struct client_stream *stream)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://conclave-stream-%p-%u", (void *)stream,
             stream->monitors++);
    if (zmq_socket_monitor(stream->socket, address, LOST_EVENTS))
        return NULL;
    void *monitor = zmq_socket(stream->context, ZMQ_PAIR);
    if (monitor && zmq_connect(monitor, address)) {
        zmq_close(monitor);
        return NULL;
    }
    return monitor;
}

static void link_connect(struct client_stream *stream, uint64_t now_ns)
{
    stream->phase = LINK_CONNECTING;
    stream->since_ns = stream->heard_ns = now_ns;
    stream->socket = zmq_socket(stream->context, ZMQ_DEALER);
    if (!stream->socket || !socket_configure(stream->socket)) {
        stream_link_leave(stream, CONCLAVE_NO_MEMORY, now_ns);
        return;
    }
    stream->monitor = monitor_open(stream);
    if (zmq_connect(stream->socket, stream->endpoints[stream->at])) {
        stream_link_leave(stream, CONCLAVE_UNREACHABLE, now_ns);
        return;
    }
    watch_fd(stream, stream->socket, EPOLL_CTL_ADD);
    if (stream->monitor)
        watch_fd(stream, stream->monitor, EPOLL_CTL_ADD);
}

void stream_link_leave(struct client_stream *stream, int reason, uint64_t now_ns)
{
    disconnect(stream); /* which the node sees with the next frame that it sends */
    stream->at = (stream->at + 1) % stream->endpoint_count;
    stream->reason = reason;
    /* From a node that has served there is no waiting; over those that refuse it grows. */
    bool served = stream->phase == LINK_BEGUN;
    if (!served)
        stream->pause_ms = stream->pause_ms ? stream->pause_ms * 2 : STREAM_PAUSE_MIN_MS;
    if (stream->pause_ms > STREAM_PAUSE_MAX_MS)
        stream->pause_ms = STREAM_PAUSE_MAX_MS;
    stream->phase = LINK_PAUSED;
    stream->since_ns = now_ns;
}

void stream_link_say(struct client_stream *stream, uint32_t type, uint64_t id, struct pack *body,
                     uint64_t now_ns)
{
    struct pack pack;
    if (!stream->socket)
        return;
    pack_init(&pack, 64 + (body ? body->bytes : 0));
    client_request_pack(&pack, 1);
    struct client_op op = {.id = id, .type = type};
    if (body)
        op.body = (struct slice){body->buf->data, body->bytes};
    client_op_pack(&pack, &op);
    if (frame_send(stream->socket, pack_take(&pack), false))
        stream->spoken_ns = now_ns;
}

static void say_subscribe(struct client_stream *stream, uint64_t now_ns)
{
    bool state = stream->state_wanted && stream->state_spec;
    const struct buf *spec = state ? stream->state_spec : stream->spec;
    struct pack body;
    pack_init(&body, 64 + spec->bytes);
    stream->id++;
    stream->number = 0;
    stream->asked_told = stream->asked_answered; /* what was not answered is asked again */
    stream->granted_base = 0;
    stream->granted_told = stream->window_bytes;
    stream_subscribe_pack(&body, &(struct stream_subscribe){.kind = stream->kind,
                                                            .position = stream->position,
                                                            .granted = stream->granted_told,
                                                            .spec = {spec->data, spec->bytes}});
    stream_link_say(stream, CLIENT_OP_SUBSCRIBE, stream->id, &body, now_ns);
    pack_deinit(&body);
    stream->phase = LINK_ASKED;
    stream->since_ns = now_ns;
}

/* Grants what was handed out, asks what is to be asked, and says that it is there. */
static void say_credit(struct client_stream *stream, uint64_t now_ns)
{
    uint64_t granted = stream->granted_base + stream->window_bytes;
    bool asks = stream->ask != stream->asked_told;
    if (granted - stream->granted_told < stream->window_bytes / 2 && !asks &&
        now_ns - stream->spoken_ns < STREAM_KEEP_ALIVE_MS * MS_NS)
        return;
    struct pack body;
    pack_init(&body, 32);
    stream_credit_pack(&body, &(struct stream_credit){granted, asks ? stream->ask : 0});
    stream_link_say(stream, CLIENT_OP_CREDIT, stream->id, &body, now_ns);
    pack_deinit(&body);
    stream->granted_told = granted;
    stream->asked_told = stream->ask;
}

/* True if the connection is reported as broken. */
static bool link_broken(const struct client_stream *stream)
{
    bool broken = false, more = false;
    struct buf *part;
    while (stream->monitor && (part = frame_receive(stream->monitor, &more))) {
        uint16_t event;
        if (more && part->bytes >= sizeof event) {
            memcpy(&event, part->data, sizeof event);
            broken = broken || (event & LOST_EVENTS);
        }
        buf_unref(part);
    }
    return broken;
}

static bool receive(struct client_stream *stream, uint64_t now_ns)
{
    bool came = false, more;
    struct buf *frame;
    for (int i = 0;
         i < RECEIVE_FRAMES_MAX && stream->socket && (frame = frame_receive(stream->socket, &more));
         i++) {
        struct client_reader reader;
        struct client_reply reply;
        came = true;
        stream->heard_ns = now_ns;
        int got = client_reply_begin(&reader, frame->data, frame->bytes) ? -1 : 1;
        while (got == 1 && (got = client_reply_next(&reader, &reply)) == 1)
            stream_take_reply(stream, &reply, frame, now_ns);
        if (got < 0)
            stream_link_leave(stream, CONCLAVE_MALFORMED, now_ns);
        buf_unref(frame);
    }
    return came;
}

static bool writable(const struct client_stream *stream)
{
    int events = 0;
    size_t bytes = sizeof events;
    return zmq_getsockopt(stream->socket, ZMQ_EVENTS, &events, &bytes) == 0 &&
           (events & ZMQ_POLLOUT);
}

/* When the phase has lasted too long. */
static uint64_t phase_due_ns(const struct client_stream *stream)
{
    switch (stream->phase) {
    case LINK_PAUSED:
        return stream->since_ns + stream->pause_ms * MS_NS;
    case LINK_BEGUN:
        return stream->heard_ns + STREAM_SILENCE_MS * MS_NS;
    default:
        return stream->since_ns + STREAM_BEGIN_MS * MS_NS;
    }
}

bool stream_link_step(struct client_stream *stream, uint64_t now_ns)
{
    bool came = false;
    if (stream->phase == LINK_PAUSED && now_ns >= phase_due_ns(stream))
        link_connect(stream, now_ns);
    if (stream->phase == LINK_CONNECTING && writable(stream))
        say_subscribe(stream, now_ns);
    if (stream->socket)
        came = receive(stream, now_ns);
    if (stream->phase == LINK_BEGUN)
        say_credit(stream, now_ns);
    if (stream->phase != LINK_PAUSED && link_broken(stream))
        stream_link_leave(stream, CONCLAVE_UNREACHABLE, now_ns);
    else if (stream->phase != LINK_PAUSED && now_ns >= phase_due_ns(stream))
        stream_link_leave(stream, CONCLAVE_TIMEOUT, now_ns);
    return came;
}

void stream_link_wait(struct client_stream *stream, uint64_t until_ns, uint64_t now_ns)
{
    uint64_t due_ns = phase_due_ns(stream);
    if (stream->phase == LINK_BEGUN && stream->spoken_ns + STREAM_KEEP_ALIVE_MS * MS_NS < due_ns)
        due_ns = stream->spoken_ns + STREAM_KEEP_ALIVE_MS * MS_NS;
    if (until_ns < due_ns)
        due_ns = until_ns;
    uint64_t wait_ms = due_ns <= now_ns ? 0 : (due_ns - now_ns + MS_NS - 1) / MS_NS;
    if (wait_ms > WAIT_MAX_MS)
        wait_ms = WAIT_MAX_MS;
    short wanted = stream->phase == LINK_CONNECTING ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN;
    zmq_pollitem_t items[2] = {{.socket = stream->socket, .events = wanted},
                               {.socket = stream->monitor, .events = ZMQ_POLLIN}};
    int count = !stream->socket ? 0 : stream->monitor ? 2 : 1;
    (void)zmq_poll(items, count, (long)wait_ms); /* a signal may end it: the caller looks again */
}
