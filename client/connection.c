#include "client/client.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/tsan.h"
#include "transport/endpoint.h"
#include "transport/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

enum {
    /* Frames waiting in one socket: at CLIENT_SEND_BYTES_MAX each, 64 MiB at most. */
    SEND_FRAMES_MAX = 256,
    RECEIVE_FRAMES_MAX = 4096,
    /* Answers may be packed more generously than requests; beyond this it is no answer. */
    RECEIVE_BYTES_MAX = 2 * CLIENT_FRAME_BYTES_MAX,
    HEARTBEAT_INTERVAL_MS = 1000,
    HEARTBEAT_TIMEOUT_MS = 3000,
    CONNECT_TIMEOUT_MS = 500,
    HANDSHAKE_TIMEOUT_MS = 1000,
    RECONNECT_MIN_MS = 50,
    RECONNECT_MAX_MS = 500
};

static bool socket_configure(void *socket)
{
    static const struct {
        int name;
        int value;
    } options[] = {
        {ZMQ_LINGER, 0},
        /* Nothing is queued for a node that is not there: then it is known to be unsent. */
        {ZMQ_IMMEDIATE, 1},
        {ZMQ_SNDHWM, SEND_FRAMES_MAX},
        {ZMQ_RCVHWM, RECEIVE_FRAMES_MAX},
        {ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS},
        {ZMQ_RECONNECT_IVL, RECONNECT_MIN_MS},
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS},
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof options[i].value))
            return false;
    }
    int64_t bytes_max = RECEIVE_BYTES_MAX;
    return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) == 0;
}

static int socket_open(struct conclave_client *client, struct client_connection *connection,
                       struct conclave_error *error)
{
    void *socket = zmq_socket(client->context, ZMQ_DEALER);
    if (!socket)
        return error_set(error, CONCLAVE_NO_MEMORY, "cannot make a socket: %s",
                         zmq_strerror(zmq_errno()));
    int fd = -1;
    size_t fd_bytes = sizeof fd;
    int code = CONCLAVE_OK;
    if (!socket_configure(socket) || zmq_getsockopt(socket, ZMQ_FD, &fd, &fd_bytes))
        code = error_set(error, CONCLAVE_INTERNAL, "cannot set up a socket: %s",
                         zmq_strerror(zmq_errno()));
    else if (zmq_connect(socket, connection->endpoint))
        code = error_set(error, CONCLAVE_INVALID, "cannot connect to '%s': %s",
                         connection->endpoint, zmq_strerror(zmq_errno()));
    else if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN}))
        code = error_set_errno(error, CONCLAVE_NO_MEMORY, errno, "cannot watch a socket");
    if (code != CONCLAVE_OK) {
        zmq_close(socket);
        return code;
    }
    connection->socket = socket;
    connection->fd = fd;
    connection->asked = false;
    connection->recreate_after_ns =
        CLIENT_MS_NS * (CLIENT_RECREATE_MS + prng_below(&client->prng, CLIENT_RECREATE_JITTER_MS));
    return CONCLAVE_OK;
}

static void socket_close(struct conclave_client *client, struct client_connection *connection)
{
    if (!connection->socket)
        return;
    epoll_ctl(client->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
    zmq_close(connection->socket);
    connection->socket = NULL;
}

static int check_endpoint(const char *endpoint, bool own_context, struct conclave_error *error)
{
    int code = endpoint_check(endpoint, error);
    if (!code && own_context && strncmp(endpoint, "inproc://", strlen("inproc://")) == 0)
        code = error_set(error, CONCLAVE_INVALID,
                         "endpoint '%s' needs the ZeroMQ context of the node that serves it",
                         endpoint);
    return code;
}

int connection_obtain(struct conclave_client *client, const char *endpoint,
                      uint32_t *ret_connection, struct conclave_error *error)
{
    for (uint32_t i = 0; i < client->connection_count; i++) {
        if (strcmp(client->connections[i].endpoint, endpoint) == 0) {
            *ret_connection = i;
            return CONCLAVE_OK;
        }
    }
    int code = check_endpoint(endpoint, client->owns_context, error);
    if (code != CONCLAVE_OK)
        return code;
    if (client->connection_count == CLIENT_CONNECTIONS_MAX)
        return error_set(error, CONCLAVE_NO_MEMORY, "more than %d endpoints",
                         CLIENT_CONNECTIONS_MAX);
    struct client_connection *connection = &client->connections[client->connection_count];
    memset(connection, 0, sizeof *connection);
    memcpy(connection->endpoint, endpoint, strlen(endpoint) + 1);
    code = socket_open(client, connection, error);
    if (code != CONCLAVE_OK)
        return code;
    *ret_connection = client->connection_count++;
    return CONCLAVE_OK;
}

void connections_close(struct conclave_client *client)
{
    for (uint32_t i = 0; i < client->connection_count; i++)
        socket_close(client, &client->connections[i]);
    client->connection_count = 0;
}

void connection_recreate(struct conclave_client *client, uint32_t index)
{
    struct client_connection *connection = &client->connections[index];
    ASSERT(connection->outstanding == 0);
    socket_close(client, connection);
    connection->silent_since_ns = 0;
    connection->deposed_ns = 0;
    connection->term = 0;
    /* Out of sockets: stays closed, and silent, until the next attempt. */
    if (socket_open(client, connection, NULL) != CONCLAVE_OK)
        connection->silent_since_ns = clock_now_ns();
}

bool connection_writable(const struct client_connection *connection)
{
    int events = 0;
    size_t bytes = sizeof events;
    return connection->socket &&
           zmq_getsockopt(connection->socket, ZMQ_EVENTS, &events, &bytes) == 0 &&
           (events & ZMQ_POLLOUT);
}

bool connection_send(struct client_connection *connection, struct buf *frame, uint64_t now_ns)
{
    if (connection->silent_since_ns == 0)
        connection->silent_since_ns = now_ns;
    if (!connection->socket) {
        buf_unref(frame);
        return false;
    }
    return frame_send(connection->socket, frame, false);
}

struct reply_frame *connection_receive(struct conclave_client *client, uint32_t index)
{
    struct client_connection *connection = &client->connections[index];
    if (!connection->socket)
        return NULL;
    struct reply_frame *frame = reply_frame_take(client->replies);
    int received;
    do {
        received = zmq_msg_recv(&frame->msg, connection->socket, ZMQ_DONTWAIT);
    } while (received < 0 && zmq_errno() == EINTR);
    if (received >= 0) {
        TSAN_ACQUIRE(zmq_msg_data(&frame->msg));
        return frame;
    }
    reply_frame_unref(frame);
    return NULL;
}

void connection_heard(struct conclave_client *client, uint32_t index, uint64_t now_ns)
{
    struct client_connection *connection = &client->connections[index];
    connection->heard_ns = now_ns;
    connection->silent_since_ns = now_ns;
    client->heard_ns = now_ns;
}
