#include "transport/publisher.h"

#include "base/fatal.h"
#include "transport/context.h"
#include "transport/endpoint.h"
#include "transport/frame.h"

#include <stdlib.h>
#include <zmq.h>

struct publisher {
    struct source source;
};

int publisher_create(void *context, const char *listen, struct publisher **ret_publisher,
                     struct conclave_error *error)
{
    void *socket = zmq_socket(context, ZMQ_XPUB);
    if (!socket)
        return error_set(error, CONCLAVE_INTERNAL, "cannot make a socket: %s",
                         zmq_strerror(zmq_errno()));
    socket_set_int(socket, ZMQ_SNDHWM, PUBLISHER_SEND_HWM);
    socket_set_int64(socket, ZMQ_MAXMSGSIZE, PUBLISHER_HEARD_BYTES_MAX);
    socket_set_receiving(socket); /* subscriptions */
    socket_set_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
    socket_set_int(socket, ZMQ_BACKLOG, 1024);
    socket_set_int(socket, ZMQ_LINGER, 500); /* what was applied last before a clean stop */
    int code = endpoint_bind(socket, listen, "the feed (--feed)", error);
    if (code) {
        zmq_close(socket);
        return code;
    }
    struct publisher *publisher = mem_zalloc(sizeof *publisher);
    publisher->source.socket = socket;
    *ret_publisher = publisher;
    return CONCLAVE_OK;
}

void publisher_destroy(struct publisher *publisher)
{
    if (!publisher)
        return;
    zmq_close(publisher->source.socket);
    free(publisher);
}

struct source *publisher_source(struct publisher *publisher)
{
    return &publisher->source;
}

/* XSUB sockets may send whatever they like: what is no subscription says nothing. */
static bool is_subscription(const struct buf *heard)
{
    return heard->bytes > 0 && heard->data[0] <= 1;
}

struct buf *publisher_hear(struct publisher *publisher)
{
    while (!publisher->source.quiet) {
        bool more;
        struct buf *heard = frame_receive_from(&publisher->source, &more);
        if (!heard)
            return NULL;
        bool good = is_subscription(heard) && !more;
        while (more) {
            struct buf *part = frame_receive_from(&publisher->source, &more);
            if (!part)
                break;
            buf_unref(part);
        }
        if (good)
            return heard;
        buf_unref(heard);
    }
    return NULL;
}

void publisher_send(struct publisher *publisher, struct slice topic, struct slice header,
                    struct buf *owner, struct slice data)
{
    void *socket = publisher->source.socket;
    source_touch(&publisher->source);
    /* An XPUB takes everything and drops what has no room: none of these fails alone. */
    if (frame_send_bytes(socket, topic.data, topic.bytes, true) &&
        frame_send_bytes(socket, header.data, header.bytes, true))
        (void)frame_send_slice(socket, buf_ref(owner), data, false);
}
