#include "transport/source.h"

#include "base/fatal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <zmq.h>

void source_found_nothing(struct source *source)
{
    /* Any other failure shows in the next wait. */
    source->quiet = zmq_errno() == EAGAIN;
}

/* Asks the socket itself. What it takes in while it answers counts for the answer; what comes later
 * makes its file descriptor readable. */
static void look(struct source *source)
{
    int events = 0;
    size_t bytes = sizeof events;
    int failed;
    do {
        failed = zmq_getsockopt(source->socket, ZMQ_EVENTS, &events, &bytes);
    } while (failed && zmq_errno() == EINTR);
    ASSERT(!failed);
    source->quiet = !(events & ZMQ_POLLIN);
}

static int descriptor(struct source *source)
{
    size_t bytes = sizeof source->fd;
    if (!source->asked) {
        int failed = zmq_getsockopt(source->socket, ZMQ_FD, &source->fd, &bytes);
        ASSERT(!failed);
        source->asked = true;
    }
    return source->fd;
}

void sources_look(struct source *const sources[], size_t count)
{
    struct pollfd fds[SOURCES_MAX];
    struct source *quiet[SOURCES_MAX];
    nfds_t asked = 0;
    ASSERT(count <= SOURCES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!sources[i]->quiet)
            continue;
        fds[asked] = (struct pollfd){.fd = descriptor(sources[i]), .events = POLLIN};
        quiet[asked++] = sources[i];
    }
    int ready = asked > 0 ? poll(fds, asked, 0) : 0;
    ASSERT(ready >= 0 || errno == EINTR);
    for (nfds_t i = 0; ready > 0 && i < asked; i++)
        if (fds[i].revents)
            quiet[i]->quiet = false;
}

void sources_wait(struct source *const sources[], size_t count, long timeout_ms)
{
    struct pollfd fds[SOURCES_MAX];
    ASSERT(count <= SOURCES_MAX);
    int timeout = timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    for (size_t i = 0; i < count; i++) {
        if (!sources[i]->quiet)
            look(sources[i]);
        if (!sources[i]->quiet)
            timeout = 0;
        fds[i] = (struct pollfd){.fd = descriptor(sources[i]), .events = POLLIN};
    }
    int ready = poll(fds, count, timeout);
    ASSERT(ready >= 0 || errno == EINTR);
    for (size_t i = 0; ready > 0 && i < count; i++)
        if (fds[i].revents)
            sources[i]->quiet = false;
}
