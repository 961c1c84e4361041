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

/* For a socket that is bound and receives: TCP finds out who is gone without a word, in some 20 s.
 * ZMTP heartbeats of this side must not: where as many frames wait as RCVHWM lets, libzmq 4.3.4
 * stops to read the connection, and if it breaks then, the next heartbeat, or the next PING among
 * what was read, ends the process (`Assertion failed: !_io_error`). */
void socket_set_receiving(void *socket);

#endif
