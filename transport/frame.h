/* transport/frame.h - between ZeroMQ messages and reference-counted bytes, without copying what is
 * large. Bytes that ZeroMQ sends are released on its own threads: a buf's count is atomic. */
#ifndef TRANSPORT_FRAME_H
#define TRANSPORT_FRAME_H

#include "base/buf.h"
#include "transport/source.h"

#include <stdbool.h>

/* Up to here a copy is cheaper than ZeroMQ's bookkeeping for foreign memory. */
enum { FRAME_COPY_BYTES_MAX = 1024 };

/* Receives one message part without waiting: a buf that owns it (one reference), *ret_more tells
 * whether another part of the same message follows. NULL: nothing there (EAGAIN). */
struct buf *frame_receive(void *socket, bool *ret_more);

/* The same from a source, which is quiet when there is nothing. */
struct buf *frame_receive_from(struct source *source, bool *ret_more);

/* Sends the bytes as one part without waiting and drops the caller's reference in every case.
 * False: not sent, the pipe is full or there is nobody (ROUTER: unknown routing id). */
bool frame_send(void *socket, struct buf *frame, bool more);

/* As frame_send with a part of the bytes of the frame. */
bool frame_send_slice(void *socket, struct buf *frame, struct slice part, bool more);

/* As frame_send with copied bytes: for routing ids. */
bool frame_send_bytes(void *socket, const void *data, size_t bytes, bool more);

#endif
