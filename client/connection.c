#include "client/client.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/tsan.h"
#include "client/socket.h"
#include "client/stream_link.h"
#include "transport/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

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
    if (!client_socket_configure(socket, &client_socket_operations) ||
        zmq_getsockopt(socket, ZMQ_FD, &fd, &fd_bytes))
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
    connection->source = (struct source){.socket = socket, .asked = true, .fd = fd};
    connection->asked = false;
    connection->recreate_after_ns =
        CLIENT_MS_NS * (CLIENT_RECREATE_MS + prng_below(&client->prng, CLIENT_RECREATE_JITTER_MS));
    return CONCLAVE_OK;
}

static void socket_close(struct conclave_client *client, struct client_connection *connection)
{
    if (!connection->source.socket)
        return;
    epoll_ctl(client->epoll, EPOLL_CTL_DEL, connection->source.fd, NULL);
    zmq_close(connection->source.socket);
    connection->source.socket = NULL;
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
    int code = client_endpoint_check(endpoint, client->owns_context, error);
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
    if (client->streams)
        stream_link_learn(client->streams, endpoint);
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

bool connection_writable(struct client_connection *connection)
{
    source_touch(&connection->source);
    return connection->source.socket && client_socket_writable(connection->source.socket);
}

bool connection_send(struct client_connection *connection, struct buf *frame, uint64_t now_ns)
{
    if (connection->silent_since_ns == 0)
        connection->silent_since_ns = now_ns;
    if (!connection->source.socket) {
        buf_unref(frame);
        return false;
    }
    source_touch(&connection->source);
    return frame_send(connection->source.socket, frame, false);
}

struct reply_frame *connection_receive(struct conclave_client *client, uint32_t index)
{
    struct client_connection *connection = &client->connections[index];
    if (!connection->source.socket || connection->source.quiet)
        return NULL;
    struct reply_frame *frame = reply_frame_take(client->replies);
    int received;
    do {
        received = zmq_msg_recv(&frame->msg, connection->source.socket, ZMQ_DONTWAIT);
    } while (received < 0 && zmq_errno() == EINTR);
    if (received >= 0) {
        TSAN_ACQUIRE(zmq_msg_data(&frame->msg));
        return frame;
    }
    source_found_nothing(&connection->source);
    reply_frame_unref(frame);
    return NULL;
}

size_t connections_sources(struct conclave_client *client,
                           struct source *ret_sources[CLIENT_CONNECTIONS_MAX])
{
    size_t count = 0;
    for (uint32_t i = 0; i < client->connection_count; i++)
        if (client->connections[i].source.socket)
            ret_sources[count++] = &client->connections[i].source;
    return count;
}

void connections_look(struct conclave_client *client)
{
    _Static_assert((int)CLIENT_CONNECTIONS_MAX <= (int)SOURCES_MAX, "all are looked at together");
    struct source *sources[CLIENT_CONNECTIONS_MAX];
    sources_look(sources, connections_sources(client, sources));
}

void connection_heard(struct conclave_client *client, uint32_t index, uint64_t now_ns)
{
    struct client_connection *connection = &client->connections[index];
    connection->heard_ns = now_ns;
    connection->silent_since_ns = now_ns;
    client->heard_ns = now_ns;
}
