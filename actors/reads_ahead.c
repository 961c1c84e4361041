#include "actors/reads_ahead.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

/* The first one that is not before `read`: reads are numbered in order. */
static uint32_t place_of(const struct reads_ahead *reads, uint64_t read)
{
    uint32_t from = reads->head, to = reads->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (reads->items[middle].decision.read < read)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Room for one more, without moving what is there each time. */
static void make_room(struct reads_ahead *reads)
{
    if (reads->count == reads->capacity && reads->head * 2 > reads->count) {
        reads->count -= reads->head;
        memmove(reads->items, reads->items + reads->head, reads->count * sizeof *reads->items);
        reads->head = 0;
    }
    LIST_RESERVE(reads);
}

static struct read_ahead *get(struct reads_ahead *reads, uint64_t read)
{
    uint32_t at = place_of(reads, read);
    if (at < reads->count && reads->items[at].decision.read == read)
        return &reads->items[at];
    make_room(reads);
    at = place_of(reads, read);
    struct read_ahead *items = reads->items;
    memmove(items + at + 1, items + at, (reads->count - at) * sizeof *items);
    reads->count++;
    items[at] = (struct read_ahead){.decision.read = read};
    return &items[at];
}

/* Whichever side of it is shorter moves: most often it is the oldest, and nothing does. */
static void drop(struct reads_ahead *reads, struct read_ahead *read)
{
    struct read_ahead *first = reads->items + reads->head, *end = reads->items + reads->count;
    reply_list_clear(&read->held);
    if (read - first <= end - (read + 1)) {
        memmove(first + 1, first, (size_t)(read - first) * sizeof *read);
        reads->head++;
    } else {
        memmove(read, read + 1, (size_t)(end - (read + 1)) * sizeof *read);
        reads->count--;
    }
    if (reads->head == reads->count)
        reads->head = reads->count = 0;
}

enum reads_ahead_fate reads_ahead_take(struct reads_ahead *reads, struct reply *reply)
{
    if (reply->read == 0)
        return READS_AHEAD_OUT;
    struct read_ahead *read = get(reads, reply->read);
    if (read->decision.count == 0) {
        LIST_RESERVE(&read->held);
        read->held.items[read->held.count++] = *reply;
        return READS_AHEAD_KEPT;
    }
    bool refused = read->decision.code != CONCLAVE_OK;
    if (--read->decision.count == 0)
        drop(reads, read);
    if (!refused)
        return READS_AHEAD_OUT;
    buf_unref(reply->body);
    return READS_AHEAD_VOID;
}

void reads_ahead_decide(struct reads_ahead *reads, const struct read_decision *decision,
                        struct reply_list *list)
{
    struct read_ahead *read = get(reads, decision->read);
    ASSERT(read->decision.count == 0 && decision->count >= read->held.count);
    read->decision = *decision;
    read->decision.count -= read->held.count;
    if (decision->code == CONCLAVE_OK) {
        for (uint32_t i = 0; i < read->held.count; i++) {
            LIST_RESERVE(list);
            list->items[list->count] = read->held.items[i];
            list->items[list->count++].read = 0;
        }
        read->held.count = 0; /* the references moved */
    }
    reply_list_clear(&read->held);
    if (read->decision.count == 0)
        drop(reads, read);
}

uint32_t reads_ahead_count(const struct reads_ahead *reads)
{
    return reads->count - reads->head;
}

void reads_ahead_deinit(struct reads_ahead *reads)
{
    for (uint32_t i = reads->head; i < reads->count; i++)
        reply_list_clear(&reads->items[i].held);
    free(reads->items);
    *reads = (struct reads_ahead){0};
}
