/* transport/context.h - the ZeroMQ context of a node, and socket options by name. Any thread. */
#ifndef TRANSPORT_CONTEXT_H
#define TRANSPORT_CONTEXT_H

#include <stdint.h>

/* A context with one I/O thread, made for many small messages: received messages get memory of
 * their own instead of pinning the receive buffer they came in (libzmq's zero-copy receive keeps
 * 15 KB alive for a 128-byte message), and termination does not wait for lost peers. */
void *context_create(void);

/* Terminates; waits until every socket of it is closed. */
void context_destroy(void *context);

/* Sets an int socket option; failing means a broken program (asserted). */
void socket_set_int(void *socket, int option, int value);
void socket_set_int64(void *socket, int option, int64_t value);

#endif
