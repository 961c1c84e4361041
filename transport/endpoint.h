/* transport/endpoint.h - ZeroMQ endpoints as text: checks before libzmq sees them, so that a typing
 * error gets a sentence. Pure functions, any thread. */
#ifndef TRANSPORT_ENDPOINT_H
#define TRANSPORT_ENDPOINT_H

#include "base/error.h"

/* Accepts tcp://HOST:PORT (port 1-65535), ipc://PATH and inproc://NAME. INVALID otherwise. */
MUST_USE int endpoint_check(const char *endpoint, struct conclave_error *error);

/* True if only this machine can reach a socket bound there: ipc, inproc, 127.0.0.0/8, ::1,
 * localhost. */
bool endpoint_is_local(const char *endpoint);

/* Where clients reach a node that was named with its peer endpoint alone: the same host, the port
 * plus 100. For a tcp endpoint only; else, or if the port would be too high, text[0] = 0. */
void endpoint_client_default(const char *peer, char *text, size_t size);

/* Binds the socket; IN_USE, DENIED, INVALID with a sentence that names what to do. */
MUST_USE int endpoint_bind(void *socket, const char *endpoint, const char *purpose,
                           struct conclave_error *error);

#endif
