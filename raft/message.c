#include "raft/message.h"

#include "base/fatal.h"

#include <stdlib.h>

struct raft_message *raft_message_create(enum raft_message_type type, raft_node_id from,
                                         raft_node_id to, uint64_t term)
{
    struct raft_message *message = mem_zalloc(sizeof *message);
    message->type = type;
    message->from = from;
    message->to = to;
    message->term = term;
    return message;
}

void raft_message_destroy(struct raft_message *message)
{
    if (!message)
        return;
    if (message->type == RAFT_APPEND_REQUEST)
        raft_runs_clear(&message->append_request.entries);
    free(message);
}

void raft_messages_add(struct raft_messages *messages, struct raft_message *message)
{
    if (messages->count == messages->capacity) {
        messages->capacity = messages->capacity > 0 ? messages->capacity * 2 : 4;
        messages->items =
            mem_realloc(messages->items, (size_t)messages->capacity * sizeof *messages->items);
    }
    messages->items[messages->count++] = message;
}

void raft_messages_clear(struct raft_messages *messages)
{
    for (uint32_t i = 0; i < messages->count; i++)
        raft_message_destroy(messages->items[i]);
    free(messages->items);
    *messages = (struct raft_messages){0};
}
