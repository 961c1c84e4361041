#include "actors/query_queue.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

uint32_t query_queue_length(const struct query_queue *queue)
{
    return queue->count - queue->head;
}

void query_queue_add(struct query_queue *queue, const struct stalled_query *stalled)
{
    if (queue->count == queue->capacity && queue->head * 2 > queue->count) {
        queue->count -= queue->head;
        memmove(queue->items, queue->items + queue->head, queue->count * sizeof *queue->items);
        queue->head = 0;
    }
    LIST_RESERVE(queue);
    queue->items[queue->count++] = *stalled;
}

struct stalled_query *query_queue_first(struct query_queue *queue)
{
    return queue->head < queue->count ? &queue->items[queue->head] : NULL;
}

void query_queue_next(struct query_queue *queue)
{
    ASSERT(queue->head < queue->count);
    queue->head++;
}

void query_queue_clear(struct query_queue *queue)
{
    for (uint32_t i = queue->head; i < queue->count; i++)
        query_clear(&queue->items[i].query);
    free(queue->items);
    *queue = (struct query_queue){0};
}
