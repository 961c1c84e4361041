#include "transport/frame.h"

#include "base/fatal.h"
#include "base/tsan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct message_buf {
    struct buf buf;
    zmq_msg_t message;
};

static void message_buf_release(struct buf *buf)
{
    struct message_buf *owner = (struct message_buf *)buf;
    zmq_msg_close(&owner->message);
    free(owner);
}

/* Retries what a signal interrupted: the host's signal handlers may lack SA_RESTART. */
static int receive_part(zmq_msg_t *message, void *socket)
{
    int result;
    do {
        result = zmq_msg_recv(message, socket, ZMQ_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    return result;
}

static int send_part(zmq_msg_t *message, void *socket, int flags)
{
    int result;
    do {
        result = zmq_msg_send(message, socket, flags);
    } while (result < 0 && errno == EINTR);
    return result;
}

struct buf *frame_receive(void *socket, bool *ret_more)
{
    struct message_buf *owner = mem_alloc(sizeof *owner);
    zmq_msg_init(&owner->message);
    if (receive_part(&owner->message, socket) < 0) {
        int error = zmq_errno();
        zmq_msg_close(&owner->message);
        free(owner);
        errno = error;
        return NULL;
    }
    atomic_init(&owner->buf.refs, 1);
    owner->buf.bytes = zmq_msg_size(&owner->message);
    owner->buf.data = zmq_msg_data(&owner->message);
    owner->buf.release = message_buf_release;
    owner->buf.meter = NULL;
    TSAN_ACQUIRE(owner->buf.data);
    *ret_more = zmq_msg_more(&owner->message) != 0;
    return &owner->buf;
}

struct buf *frame_receive_from(struct source *source, bool *ret_more)
{
    struct buf *frame = frame_receive(source->socket, ret_more);
    if (!frame)
        source_found_nothing(source);
    return frame;
}

static void unref_from_zmq(void *data, void *hint)
{
    (void)data;
    TSAN_ACQUIRE(hint);
    buf_unref(hint);
}

bool frame_send(void *socket, struct buf *frame, bool more)
{
    return frame_send_slice(socket, frame, (struct slice){frame->data, frame->bytes}, more);
}

bool frame_send_slice(void *socket, struct buf *frame, struct slice part, bool more)
{
    if (part.bytes <= FRAME_COPY_BYTES_MAX) {
        bool sent = frame_send_bytes(socket, part.data, part.bytes, more);
        buf_unref(frame);
        return sent;
    }
    zmq_msg_t message;
    void *data = frame->data + (part.data - frame->data);
    int failed = zmq_msg_init_data(&message, data, part.bytes, unref_from_zmq, frame);
    ASSERT(!failed);    /* only ENOMEM */
    TSAN_RELEASE(data); /* inproc: the receiver reads these very bytes */
    TSAN_RELEASE(frame);
    if (send_part(&message, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0) {
        zmq_msg_close(&message); /* calls unref_from_zmq */
        return false;
    }
    return true;
}

bool frame_send_bytes(void *socket, const void *data, size_t bytes, bool more)
{
    zmq_msg_t message;
    int failed = zmq_msg_init_size(&message, bytes);
    ASSERT(!failed);
    if (bytes)
        memcpy(zmq_msg_data(&message), data, bytes);
    TSAN_RELEASE(zmq_msg_data(&message));
    if (send_part(&message, socket, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0) {
        zmq_msg_close(&message);
        return false;
    }
    return true;
}
