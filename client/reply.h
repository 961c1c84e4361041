/* client/reply.h - the frames that replies came in, kept by reference count.
 *
 * One frame answers many operations; each operation that has bytes in it holds a reference, so that
 * no answer is copied and none is allocated for. Frames are pooled. The pool outlives its client
 * while operations still hold replies. One thread: the client's (counts are not atomic). */
#ifndef CLIENT_REPLY_H
#define CLIENT_REPLY_H

#include <stdint.h>
#include <zmq.h>

struct reply_frame {
    zmq_msg_t msg;
    uint32_t refs;
    struct reply_pool *pool;
    struct reply_frame *next;
};

struct reply_pool {
    struct reply_frame *free_head;
    uint32_t free_count;
    uint32_t live; /* frames referenced now */
    int closed;    /* the client is gone: the last frame frees the pool */
};

struct reply_pool *reply_pool_create(void);

/* Frees the pool now, or with the last frame still referenced. */
void reply_pool_close(struct reply_pool *pool);

/* A frame with an empty message and one reference. */
struct reply_frame *reply_frame_take(struct reply_pool *pool);

struct reply_frame *reply_frame_ref(struct reply_frame *frame);
void reply_frame_unref(struct reply_frame *frame);

#endif
