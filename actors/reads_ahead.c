#include "actors/reads_ahead.h"

#include "base/fatal.h"
#include "base/list.h"

static struct read_ahead *get(struct reads_ahead *reads, uint64_t number)
{
    struct read_ahead *read = numbered_find(&reads->reads, number);
    return read ? read : numbered_add(&reads->reads, sizeof *read, number);
}

static void drop(struct reads_ahead *reads, struct read_ahead *read)
{
    reply_list_clear(&read->held);
    numbered_remove(&reads->reads, read);
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
    return numbered_count(&reads->reads);
}

void reads_ahead_deinit(struct reads_ahead *reads)
{
    for (uint32_t i = 0; i < numbered_count(&reads->reads); i++) {
        struct read_ahead *read = numbered_at(&reads->reads, i);
        reply_list_clear(&read->held);
    }
    numbered_deinit(&reads->reads);
}
