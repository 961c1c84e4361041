#include "client/socket.h"

#include "codec/client.h"
#include "transport/endpoint.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

/* libzmq's ZMQ_ZERO_COPY_RECV, which its stable header does not name. Off, a kept reply of a few
 * bytes does not pin the whole buffer that it was received in. */
#define CONTEXT_ZERO_COPY_RECV 10

enum {
    /* Answers may be packed more generously than requests; beyond this it is no answer. */
    RECEIVE_BYTES_MAX = 2 * CLIENT_FRAME_BYTES_MAX,
    HEARTBEAT_INTERVAL_MS = 1000,
    HEARTBEAT_TIMEOUT_MS = 3000
};

const struct client_socket_options client_socket_operations = {
    .connect_ms = 500,
    .handshake_ms = 1000,
    .reconnect_ms = 50,
    .reconnect_max_ms = 500,
    /* At CLIENT_SEND_BYTES_MAX each, 64 MiB at most. */
    .send_frames = 256,
};

/* Before it reconnects by itself the socket is closed: another node is tried. */
const struct client_socket_options client_socket_stream = {
    .connect_ms = 1000,
    .handshake_ms = 1000,
    .reconnect_ms = 100,
    .send_frames = 1000,
};

bool client_socket_configure(void *socket, const struct client_socket_options *options)
{
    const struct {
        int name;
        int value;
    } values[] = {
        {ZMQ_LINGER, 0},
        /* Nothing is queued for a node that is not there: then it is known to be unsent. */
        {ZMQ_IMMEDIATE, 1},
        {ZMQ_SNDHWM, options->send_frames},
        /* No bound: no more comes than was asked for, or granted. With one libzmq 4.3.4 ends the
         * process when a connection breaks while that many wait and a heartbeat is due. */
        {ZMQ_RCVHWM, 0},
        {ZMQ_CONNECT_TIMEOUT, options->connect_ms},
        {ZMQ_HANDSHAKE_IVL, options->handshake_ms},
        {ZMQ_RECONNECT_IVL, options->reconnect_ms},
        {ZMQ_RECONNECT_IVL_MAX, options->reconnect_max_ms},
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (zmq_setsockopt(socket, values[i].name, &values[i].value, sizeof values[i].value))
            return false;
    int64_t bytes_max = RECEIVE_BYTES_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0;
}

bool client_socket_writable(void *socket)
{
    int events = 0;
    size_t bytes = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &bytes) == 0 && (events & ZMQ_POLLOUT);
}

bool client_socket_watch(void *socket, int epoll, int operation)
{
    int fd = -1;
    size_t bytes = sizeof fd;
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &bytes) == 0 &&
           epoll_ctl(epoll, operation, fd, &(struct epoll_event){.events = EPOLLIN}) == 0;
}

void *client_context_open(void)
{
    void *context = zmq_ctx_new();
    if (!context)
        return NULL;
    zmq_ctx_set(context, ZMQ_BLOCKY, 0);
    zmq_ctx_set(context, CONTEXT_ZERO_COPY_RECV, 0);
    return context;
}

void client_context_close(void *context)
{
    while (context && zmq_ctx_term(context) && zmq_errno() == EINTR)
        continue;
}

int client_endpoint_check(const char *endpoint, bool own_context, struct conclave_error *error)
{
    int code = endpoint_check(endpoint, error);
    if (!code && own_context && strncmp(endpoint, "inproc://", strlen("inproc://")) == 0)
        code = error_set(error, CONCLAVE_INVALID,
                         "endpoint '%s' needs the ZeroMQ context of the node that serves it",
                         endpoint);
    return code;
}

int client_endpoints_each(const char *endpoints, int (*each)(void *arg, const char *endpoint),
                          void *arg, struct conclave_error *error)
{
    bool any = false;
    for (const char *at = endpoints; *at;) {
        char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 2]; /* one too long is seen as too long */
        size_t bytes = strcspn(at, ","),
               kept = bytes < sizeof endpoint ? bytes : sizeof endpoint - 1;
        memcpy(endpoint, at, kept);
        endpoint[kept] = '\0';
        int code = bytes ? each(arg, endpoint) : CONCLAVE_OK;
        if (code)
            return code;
        any = any || bytes;
        at += bytes;
        at += *at == ',';
    }
    if (!any)
        return error_set(error, CONCLAVE_INVALID, "no endpoint given: name at least one node");
    return CONCLAVE_OK;
}
