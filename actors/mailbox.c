#include "actors/mailbox.h"

#include "base/fatal.h"
#include "base/tsan.h"
#include "transport/context.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

void inbox_open(struct inbox *inbox, void *context, const char *address)
{
    inbox->source = (struct source){.socket = zmq_socket(context, ZMQ_PULL)};
    ASSERT(inbox->source.socket);
    socket_set_int(inbox->source.socket, ZMQ_RCVHWM, 0);
    int failed = zmq_bind(inbox->source.socket, address);
    ASSERT(!failed);
}

void inbox_close(struct inbox *inbox)
{
    if (!inbox->source.socket)
        return;
    for (struct envelope *envelope; (envelope = inbox_receive(inbox));)
        envelope_destroy(envelope);
    zmq_close(inbox->source.socket);
    inbox->source.socket = NULL;
}

struct envelope *inbox_receive(struct inbox *inbox)
{
    struct envelope *envelope;
    int bytes;
    do {
        bytes = zmq_recv(inbox->source.socket, &envelope, sizeof(struct envelope *), ZMQ_DONTWAIT);
    } while (bytes < 0 && errno == EINTR);
    if (bytes < 0) {
        source_found_nothing(&inbox->source);
        return NULL;
    }
    ASSERT((size_t)bytes == sizeof(struct envelope *));
    TSAN_ACQUIRE(envelope);
    return envelope;
}

void inbox_wait(struct inbox *inbox, long timeout_ms)
{
    struct source *source = &inbox->source;
    sources_wait(&source, 1, timeout_ms);
}

void outbox_open(struct outbox *outbox, void *context, const char *address)
{
    outbox->socket = zmq_socket(context, ZMQ_PUSH);
    ASSERT(outbox->socket);
    socket_set_int(outbox->socket, ZMQ_SNDHWM, 0);
    socket_set_int(outbox->socket, ZMQ_LINGER, 0);
    int failed = zmq_connect(outbox->socket, address);
    ASSERT(!failed);
}

void outbox_close(struct outbox *outbox)
{
    if (outbox->socket)
        zmq_close(outbox->socket);
    outbox->socket = NULL;
}

void mailbox_send(struct outbox *outbox, struct envelope **envelope)
{
    TSAN_RELEASE(*envelope);
    int bytes;
    do {
        bytes = zmq_send(outbox->socket, envelope, sizeof(struct envelope *), ZMQ_DONTWAIT);
    } while (bytes < 0 && errno == EINTR);
    ASSERT(bytes == (int)sizeof(struct envelope *)); /* no high-water mark: cannot be full */
    *envelope = NULL;
}
