#include "tests/sim/queue.h"

#include "base/fatal.h"

#include <stdlib.h>

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void queue_push(struct queue *queue, struct sim_event event)
{
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity ? queue->capacity * 2 : 64;
        queue->heap = mem_realloc(queue->heap, queue->capacity * sizeof *queue->heap);
    }
    event.order = queue->pushed++;
    uint64_t at = queue->count++;
    while (at > 0 && event_before(&event, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = event;
}

bool queue_pop(struct queue *queue, struct sim_event *ret_event)
{
    if (queue->count == 0)
        return false;
    *ret_event = queue->heap[0];
    struct sim_event last = queue->heap[--queue->count];
    uint64_t at = 0;
    for (;;) {
        uint64_t child = at * 2 + 1;
        if (child >= queue->count)
            break;
        if (child + 1 < queue->count && event_before(&queue->heap[child + 1], &queue->heap[child]))
            child++;
        if (!event_before(&queue->heap[child], &last))
            break;
        queue->heap[at] = queue->heap[child];
        at = child;
    }
    queue->heap[at] = last;
    return true;
}

void queue_deinit(struct queue *queue)
{
    free(queue->heap);
    *queue = (struct queue){0};
}
