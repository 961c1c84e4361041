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

/* Waits up to timeout_ms for news of those that are quiet, which are not quiet any more then. */
static void take_news(struct source *const sources[], size_t count, int timeout_ms)
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
    if (asked == 0 && timeout_ms == 0)
        return;
    int ready = poll(fds, asked, timeout_ms);
    ASSERT(ready >= 0 || errno == EINTR);
    for (nfds_t i = 0; ready > 0 && i < asked; i++)
        if (fds[i].revents)
            quiet[i]->quiet = false;
}

void sources_look(struct source *const sources[], size_t count)
{
    take_news(sources, count, 0);
}

void sources_wait(struct source *const sources[], size_t count, long timeout_ms)
{
    int timeout = timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    for (size_t i = 0; i < count; i++) {
        if (!sources[i]->quiet)
            look(sources[i]);
        if (!sources[i]->quiet)
            timeout = 0;
    }
    take_news(sources, count, timeout);
}
