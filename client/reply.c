#include "client/reply.h"

#include "base/fatal.h"
#include "conclave.h"

#include <stdlib.h>

/* More idle frames than a burst of answers ever needs at once are given back to the allocator. */
enum { FREE_FRAMES_MAX = 1024 };

struct reply_pool *reply_pool_create(void)
{
    return mem_zalloc(sizeof(struct reply_pool));
}

void reply_pool_close(struct reply_pool *pool)
{
    if (!pool)
        return;
    while (pool->free_head) {
        struct reply_frame *frame = pool->free_head;
        pool->free_head = frame->next;
        free(frame);
    }
    pool->closed = 1;
    if (pool->live == 0)
        free(pool);
}

struct reply_frame *reply_frame_take(struct reply_pool *pool)
{
    ASSERT(!pool->closed);
    struct reply_frame *frame = pool->free_head;
    if (frame) {
        pool->free_head = frame->next;
        pool->free_count--;
    } else {
        frame = mem_alloc(sizeof *frame);
    }
    zmq_msg_init(&frame->msg);
    frame->refs = 1;
    frame->pool = pool;
    frame->next = NULL;
    pool->live++;
    return frame;
}

struct reply_frame *reply_frame_ref(struct reply_frame *frame)
{
    ASSERT(frame->refs > 0);
    frame->refs++;
    return frame;
}

void reply_frame_unref(struct reply_frame *frame)
{
    if (!frame)
        return;
    ASSERT(frame->refs > 0);
    if (--frame->refs > 0)
        return;
    struct reply_pool *pool = frame->pool;
    zmq_msg_close(&frame->msg);
    pool->live--;
    if (!pool->closed && pool->free_count < FREE_FRAMES_MAX) {
        frame->next = pool->free_head;
        pool->free_head = frame;
        pool->free_count++;
        return;
    }
    free(frame);
    if (pool->closed && pool->live == 0)
        free(pool);
}

void conclave_op_release(struct conclave_op *op)
{
    if (!op)
        return;
    reply_frame_unref(op->reply_owner);
    op->reply_owner = NULL;
    op->reply = NULL;
    op->reply_bytes = 0;
}
