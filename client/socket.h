/* client/socket.h - what the client's connections have in common: options of a DEALER socket that
 * finds out soon that a node is gone, endpoints as a user writes them, the ZeroMQ context. The
 * client's thread. */
#ifndef CLIENT_SOCKET_H
#define CLIENT_SOCKET_H

#include "base/error.h"

/* What differs. */
struct client_socket_options {
    int connect_ms, handshake_ms;       /* given up after so long */
    int reconnect_ms, reconnect_max_ms; /* max 0: always the same pause */
    int send_frames;                    /* high-water mark */
};

extern const struct client_socket_options client_socket_operations; /* of commands and queries */
extern const struct client_socket_options client_socket_stream;

/* False: ZeroMQ's errno. */
bool client_socket_configure(void *socket, const struct client_socket_options *options);

/* True if the socket would take a frame now. */
bool client_socket_writable(void *socket);

/* Adds the socket's descriptor to an epoll descriptor, or takes it out (EPOLL_CTL_ADD, _DEL). */
bool client_socket_watch(void *socket, int epoll, int operation);

/* A context for own sockets, or NULL; destroyed without waiting for what was not sent. */
void *client_context_open(void);
void client_context_close(void *context);

/* INVALID: not an endpoint, or one of another context's sockets. */
MUST_USE int client_endpoint_check(const char *endpoint, bool own_context,
                                   struct conclave_error *error);

/* Hands out the endpoints of a list with commas between them, until one is answered with a code.
 * INVALID: there is none. */
MUST_USE int client_endpoints_each(const char *endpoints,
                                   int (*each)(void *arg, const char *endpoint), void *arg,
                                   struct conclave_error *error);

#endif
