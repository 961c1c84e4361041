#include "actors/reads_ahead.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

/* Reads are numbered in order and few are under way: the place is near the end. */
static uint32_t place_of(const struct reads_ahead *reads, uint64_t read)
{
    uint32_t at = reads->count;
    while (at > 0 && reads->items[at - 1].decision.read >= read)
        at--;
    return at;
}

static struct read_ahead *get(struct reads_ahead *reads, uint64_t read)
{
    uint32_t at = place_of(reads, read);
    if (at < reads->count && reads->items[at].decision.read == read)
        return &reads->items[at];
    LIST_RESERVE(reads);
    struct read_ahead *items = reads->items;
    memmove(items + at + 1, items + at, (reads->count - at) * sizeof *items);
    reads->count++;
    items[at] = (struct read_ahead){.decision.read = read};
    return &items[at];
}

static void drop(struct reads_ahead *reads, struct read_ahead *read)
{
    uint32_t at = (uint32_t)(read - reads->items);
    reply_list_clear(&read->held);
    reads->count--;
    memmove(read, read + 1, (reads->count - at) * sizeof *read);
}

/* What goes out instead, if the read was not confirmed. */
static void apply_decision(const struct read_decision *decision, struct reply *reply)
{
    reply->read = 0;
    if (decision->code == CONCLAVE_OK)
        return;
    buf_unref(reply->body);
    *reply = (struct reply){.origin = reply->origin, .code = decision->code};
}

bool reads_ahead_keep(struct reads_ahead *reads, struct reply *reply)
{
    if (reply->read == 0)
        return false;
    struct read_ahead *read = get(reads, reply->read);
    if (read->decision.count == 0) {
        LIST_RESERVE(&read->held);
        read->held.items[read->held.count++] = *reply;
        return true;
    }
    apply_decision(&read->decision, reply);
    if (--read->decision.count == 0)
        drop(reads, read);
    return false;
}

void reads_ahead_decide(struct reads_ahead *reads, const struct read_decision *decision,
                        struct reply_list *list)
{
    struct read_ahead *read = get(reads, decision->read);
    ASSERT(read->decision.count == 0 && decision->count >= read->held.count);
    for (uint32_t i = 0; i < read->held.count; i++) {
        apply_decision(decision, &read->held.items[i]);
        LIST_RESERVE(list);
        list->items[list->count++] = read->held.items[i];
    }
    read->decision = *decision;
    read->decision.count -= read->held.count;
    read->held.count = 0; /* the references moved */
    if (read->decision.count == 0)
        drop(reads, read);
}

void reads_ahead_deinit(struct reads_ahead *reads)
{
    for (uint32_t i = 0; i < reads->count; i++)
        reply_list_clear(&reads->items[i].held);
    free(reads->items);
    *reads = (struct reads_ahead){0};
}
