#include "transport/endpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { PORT_MAX = 65535, CLIENT_PORT_OFFSET = 100 };

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The port of tcp://HOST:PORT, or 0; *ret_colon is the colon before it. */
static unsigned long tcp_port(const char *endpoint, const char **ret_colon)
{
    const char *host = endpoint + strlen("tcp://");
    const char *colon = strrchr(host, ':');
    if (!colon || colon == host || colon[1] < '0' || colon[1] > '9')
        return 0;
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (errno || *end || port > PORT_MAX)
        return 0;
    *ret_colon = colon;
    return port;
}

int endpoint_check(const char *endpoint, struct conclave_error *error)
{
    if (strlen(endpoint) > CONCLAVE_ENDPOINT_BYTES_MAX)
        return error_set(error, CONCLAVE_INVALID, "endpoint is longer than %d bytes: %.40s...",
                         CONCLAVE_ENDPOINT_BYTES_MAX, endpoint);
    const char *colon;
    if (has_prefix(endpoint, "tcp://")) {
        if (tcp_port(endpoint, &colon))
            return CONCLAVE_OK;
    } else if ((has_prefix(endpoint, "ipc://") && endpoint[6]) ||
               (has_prefix(endpoint, "inproc://") && endpoint[9])) {
        return CONCLAVE_OK;
    }
    return error_set(error, CONCLAVE_INVALID,
                     "not an endpoint: \"%s\" (write tcp://HOST:PORT, ipc://PATH or inproc://NAME)",
                     endpoint);
}

bool endpoint_is_local(const char *endpoint)
{
    if (!has_prefix(endpoint, "tcp://"))
        return true;
    const char *host = endpoint + strlen("tcp://");
    return has_prefix(host, "127.") || has_prefix(host, "localhost:") ||
           has_prefix(host, "[::1]:") || has_prefix(host, "lo:");
}

void endpoint_client_default(const char *peer, char *text, size_t size)
{
    text[0] = 0;
    const char *colon;
    unsigned long port = has_prefix(peer, "tcp://") ? tcp_port(peer, &colon) : 0;
    if (!port || port + CLIENT_PORT_OFFSET > PORT_MAX)
        return;
    int n = snprintf(text, size, "%.*s:%lu", (int)(colon - peer), peer, port + CLIENT_PORT_OFFSET);
    if (n < 0 || (size_t)n >= size)
        text[0] = 0;
}

int endpoint_bind(void *socket, const char *endpoint, const char *purpose,
                  struct conclave_error *error)
{
    if (zmq_bind(socket, endpoint) == 0)
        return CONCLAVE_OK;
    switch (errno) {
    case EADDRINUSE:
        return error_set(error, CONCLAVE_IN_USE,
                         "%s is already in use: another process listens there; stop it or choose "
                         "another address for %s",
                         endpoint, purpose);
    case EADDRNOTAVAIL:
    case ENODEV:
        return error_set(error, CONCLAVE_INVALID,
                         "%s is not an address of this machine: choose another for %s", endpoint,
                         purpose);
    case EACCES:
        return error_set(error, CONCLAVE_DENIED,
                         "no permission to listen on %s for %s: choose a port above 1023", endpoint,
                         purpose);
    default:
        return error_set(error, CONCLAVE_INVALID, "cannot listen on %s for %s: %s", endpoint,
                         purpose, zmq_strerror(errno));
    }
}
