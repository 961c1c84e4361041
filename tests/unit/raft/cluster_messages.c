/* What tests send and propose. */
#include "cluster.h"

#include "base/fatal.h"

#include <string.h>

struct raft_id id_of(uint64_t term, uint64_t index)
{
    return (struct raft_id){.term = term, .index = index};
}

struct raft_batch *command_batch(uint32_t count, size_t bytes)
{
    static uint64_t request;
    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++) {
        struct buf *buf = bytes > 0 ? buf_create(bytes) : NULL;
        if (buf)
            memset(buf->data, 'x', bytes);
        struct raft_entry entry = {.kind = RAFT_ENTRY_COMMAND, .buf = buf};
        entry.origin = (struct raft_origin){.client = 7, .request = ++request};
        entry.payload = (struct slice){.data = buf ? buf->data : NULL, .bytes = bytes};
        raft_batch_add(batch, entry);
    }
    return batch;
}

struct raft_message *vote_request(enum raft_message_type type, raft_node_id from, raft_node_id to,
                                  uint64_t term, struct raft_id last)
{
    struct raft_message *message = raft_message_create(type, from, to, term);
    message->vote_request.last = last;
    return message;
}

struct raft_message *vote_response(enum raft_message_type type, raft_node_id from, raft_node_id to,
                                   uint64_t term, uint64_t campaign_term, bool granted)
{
    struct raft_message *message = raft_message_create(type, from, to, term);
    message->vote_response =
        (struct raft_vote_response){.granted = granted, .campaign_term = campaign_term};
    return message;
}

struct raft_message *append_request(raft_node_id from, raft_node_id to, uint64_t term,
                                    struct raft_id prev, uint64_t commit, const uint64_t *terms,
                                    size_t count)
{
    struct raft_message *message = raft_message_create(RAFT_APPEND_REQUEST, from, to, term);
    message->append_request.prev = prev;
    message->append_request.commit = commit;
    for (size_t i = 0; i < count; i++)
        cluster_disk_append(&message->append_request.entries, id_of(terms[i], prev.index + 1 + i),
                            RAFT_ENTRY_COMMAND, NULL);
    return message;
}

struct raft_message *append_accepted(raft_node_id from, raft_node_id to, uint64_t term,
                                     uint64_t match, uint64_t round)
{
    struct raft_message *message = raft_message_create(RAFT_APPEND_RESPONSE, from, to, term);
    message->append_response = (struct raft_append_response){
        .result = RAFT_APPEND_ACCEPTED, .match = match, .last_index = match, .round = round};
    return message;
}

struct raft_message *append_rejected(raft_node_id from, raft_node_id to, uint64_t term,
                                     uint64_t rejected, struct raft_id conflict)
{
    struct raft_message *message = raft_message_create(RAFT_APPEND_RESPONSE, from, to, term);
    message->append_response = (struct raft_append_response){
        .result = RAFT_APPEND_REJECTED, .rejected = rejected, .conflict = conflict};
    return message;
}
