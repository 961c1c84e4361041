#include "actors/envelope.h"

#include "actors/proposer.h"
#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

struct envelope *envelope_create(enum envelope_type type)
{
    struct envelope *envelope = mem_zalloc(sizeof *envelope);
    envelope->type = type;
    return envelope;
}

/* What is named neither here nor below has been forgotten. */
static bool owns_nothing(enum envelope_type type)
{
    switch (type) {
    case ENVELOPE_STOP:
    case ENVELOPE_QUIT:
    case ENVELOPE_ARM:
    case ENVELOPE_FIRED:
    case ENVELOPE_TRANSFER:
    case ENVELOPE_HANDOVER:
    case ENVELOPE_PREPARE_SEGMENT:
    case ENVELOPE_TRICKLE:
    case ENVELOPE_REMOVE_SEGMENTS:
    case ENVELOPE_FETCH:
    case ENVELOPE_SNAPSHOT_WANTED:
    case ENVELOPE_SNAPSHOT_SETTLED:
    case ENVELOPE_SNAPSHOT_CANCEL:
    case ENVELOPE_SNAPSHOT_DONE:
    case ENVELOPE_SNAPSHOT_TAKEN:
    case ENVELOPE_CUT:
    case ENVELOPE_STREAM:
    case ENVELOPE_INSTALL:
    case ENVELOPE_APPLIED:
    case ENVELOPE_WATCHED:
    case ENVELOPE_PERSISTED:
    case ENVELOPE_DUE:
    case ENVELOPE_SPACE:
    case ENVELOPE_LEADERSHIP:
    case ENVELOPE_DRAIN:
    case ENVELOPE_SERVING:
    case ENVELOPE_REPAIR:
    case ENVELOPE_REPAIR_STATE:
    case ENVELOPE_REPAIRED:
        return true;
    default:
        return false;
    }
}

/* What goes between the machine, the network and the feed for those who watch. False: it is none of
 * these. */
static bool clear_of_streams(struct envelope *envelope)
{
    switch (envelope->type) {
    case ENVELOPE_SUBSCRIPTIONS:
        stream_requests_clear(&envelope->subscriptions);
        return true;
    case ENVELOPE_STREAMS:
        stream_outputs_clear(&envelope->streams.outputs);
        return true;
    case ENVELOPE_INTERESTS:
        heard_list_clear(&envelope->interests);
        return true;
    case ENVELOPE_BROADCAST:
        broadcast_list_clear(&envelope->broadcast);
        return true;
    default:
        return false;
    }
}

void envelope_destroy(struct envelope *envelope)
{
    if (!envelope)
        return;
    switch (envelope->type) {
    case ENVELOPE_START:
        raft_runs_clear(&envelope->start.entries);
        buf_unref(envelope->start.snapshot.configuration);
        break;
    case ENVELOPE_PROPOSED:
        raft_batch_unref(envelope->proposed);
        break;
    case ENVELOPE_PROPOSER:
        if (envelope->proposer)
            proposer_link_end(envelope->proposer);
        break;
    case ENVELOPE_READ:
        query_list_clear(&envelope->read);
        break;
    case ENVELOPE_PERSIST:
        raft_runs_clear(&envelope->persist.entries);
        outgoing_clear(&envelope->persist.send_after);
        break;
    case ENVELOPE_APPLY:
        raft_runs_clear(&envelope->apply.entries);
        break;
    case ENVELOPE_FETCHED:
        raft_runs_clear(&envelope->fetched.entries);
        break;
    case ENVELOPE_QUERY:
        query_list_clear(&envelope->query.queries);
        break;
    case ENVELOPE_STATUS:
        free(envelope->status.status);
        break;
    case ENVELOPE_SEND:
    case ENVELOPE_SEND_BULK:
        outgoing_clear(&envelope->send);
        break;
    case ENVELOPE_REPLY:
        reply_list_clear(&envelope->reply);
        break;
    case ENVELOPE_READS_DECIDED:
        free(envelope->reads_decided.items);
        break;
    case ENVELOPE_CHANGE:
        free(envelope->change);
        break;
    case ENVELOPE_MEMBERS:
        free(envelope->members);
        break;
    case ENVELOPE_SNAPSHOT_BEGUN:
        snapshot_meta_clear(&envelope->snapshot_begun.meta);
        break;
    case ENVELOPE_SNAPSHOT_RECEIVED:
        buf_unref(envelope->snapshot.configuration);
        break;
    case ENVELOPE_BULK:
        buf_unref(envelope->bulk.buf);
        break;
    case ENVELOPE_AUDIT:
        free(envelope->audit.marks);
        break;
    case ENVELOPE_REPAIR_ASK:
    case ENVELOPE_REPAIR_ANSWER:
        raft_runs_clear(&envelope->repair.frame.entries);
        break;
    case ENVELOPE_READY:
        free(envelope->ready.error);
        break;
    default: {
        bool known = clear_of_streams(envelope) || owns_nothing(envelope->type);
        ASSERT(known);
    }
    }
    free(envelope);
}

void outgoing_add(struct outgoing_list *list, raft_node_id to, struct buf *frame)
{
    LIST_RESERVE(list);
    list->items[list->count++] = (struct outgoing){.to = to, .frame = frame};
}

void outgoing_clear(struct outgoing_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        buf_unref(list->items[i].frame);
    free(list->items);
    *list = (struct outgoing_list){0};
}

void query_add(struct query_list *list, struct query query)
{
    LIST_RESERVE(list);
    list->items[list->count++] = query;
}

void query_clear(struct query *query)
{
    buf_unref(query->buf);
    meter_unref(query->meter);
    *query = (struct query){0};
}

void query_list_clear(struct query_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        query_clear(&list->items[i]);
    free(list->items);
    *list = (struct query_list){0};
}

void stream_requests_clear(struct stream_requests *requests)
{
    for (uint32_t i = 0; i < requests->count; i++) {
        buf_unref(requests->items[i].buf);
        meter_unref(requests->items[i].meter);
    }
    free(requests->items);
    *requests = (struct stream_requests){0};
}

void stream_outputs_clear(struct stream_outputs *outputs)
{
    for (uint32_t i = 0; i < outputs->count; i++)
        buf_unref(outputs->items[i].body);
    free(outputs->items);
    *outputs = (struct stream_outputs){0};
}

void heard_list_clear(struct heard_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        buf_unref(list->items[i]);
    free(list->items);
    *list = (struct heard_list){0};
}

void broadcast_list_clear(struct broadcast_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        buf_unref(list->items[i].topic);
        buf_unref(list->items[i].items);
    }
    free(list->items);
    *list = (struct broadcast_list){0};
}
