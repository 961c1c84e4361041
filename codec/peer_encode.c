#include "codec/peer_internal.h"

#include "base/fatal.h"
#include "base/pack.h"

#include <string.h>

enum {
    FIELDS_BYTES_MAX = 5 + 19 * 9, /* an array header and the fields of the longest message */
    HELLO_BYTES_MAX = FIELDS_BYTES_MAX + CONCLAVE_NAME_BYTES_MAX + 2 * CONCLAVE_ENDPOINT_BYTES_MAX,
    ENTRY_OVERHEAD_BYTES_MAX = 16 /* array header 1, term 9, kind 1, bin header 5 */
};

static void pack_header(struct pack *pack, uint32_t fields, const struct peer_identity *identity,
                        raft_node_id to, enum peer_frame_type type)
{
    pack_array(pack, PEER_HEADER_FIELDS + fields);
    pack_uint(pack, PEER_PROTOCOL_VERSION);
    pack_uint(pack, 0); /* group */
    pack_uint(pack, identity->cluster_id);
    pack_uint(pack, identity->node_id);
    pack_uint(pack, to);
    pack_uint(pack, identity->incarnation);
    pack_uint(pack, type);
}

static void pack_id(struct pack *pack, struct raft_id id)
{
    pack_uint(pack, id.term);
    pack_uint(pack, id.index);
}

/* True if the bytes before the payloads of both are the same. */
static bool alike(const struct raft_entry *before, const struct raft_entry *entry)
{
    return before && before->id.term == entry->id.term && before->kind == entry->kind &&
           before->payload.bytes == entry->payload.bytes;
}

/* An entry's index is not written: it is prev.index + 1 and so on, so that a message whose entries
 * are not contiguous cannot be expressed (Rule 16). */
static void pack_entries(struct pack *pack, struct raft_id prev, const struct raft_runs *runs)
{
    ASSERT(runs->entry_count <= PEER_ENTRIES_MAX);
    pack_array(pack, (uint32_t)runs->entry_count);
    uint64_t index = prev.index;
    const struct raft_entry *before = NULL;
    uint8_t header[ENTRY_OVERHEAD_BYTES_MAX]; /* what stands before the payload of `before` */
    size_t header_bytes = 0;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(runs, &iter));) {
        index++;
        ASSERT(entry->id.index == index);
        if (!alike(before, entry)) {
            size_t at = pack->bytes;
            pack_array(pack, 3);
            pack_uint(pack, entry->id.term);
            pack_uint(pack, entry->kind);
            pack_bin_header(pack, entry->payload.bytes);
            header_bytes = pack->bytes - at;
            ASSERT(header_bytes <= sizeof header);
            memcpy(header, pack->buf->data + at, header_bytes);
        } else {
            pack_raw(pack, header, header_bytes);
        }
        pack_raw(pack, entry->payload.data, entry->payload.bytes);
        before = entry;
    }
    ASSERT(index == prev.index + runs->entry_count);
}

/* True if both are appends of the very same entries, as a leader sends them to several peers. */
static bool same_entries(const struct raft_message *first, const struct raft_message *second)
{
    if (!first || first->type != RAFT_APPEND_REQUEST)
        return false;
    const struct raft_append_request *a = &first->append_request, *b = &second->append_request;
    if (!raft_id_equal(a->prev, b->prev) || a->entries.count != b->entries.count)
        return false;
    for (uint32_t i = 0; i < a->entries.count; i++) {
        const struct raft_run *x = &a->entries.items[i], *y = &b->entries.items[i];
        if (x->batch != y->batch || x->first != y->first || x->count != y->count)
            return false;
    }
    return true;
}

/* The entries are the end of the frame, and encoded once for all peers that get the same. */
static void pack_append_request(struct pack *pack, const struct raft_message *message,
                                struct peer_encoded *last)
{
    const struct raft_append_request *request = &message->append_request;
    pack_id(pack, request->prev);
    pack_uint(pack, request->commit);
    pack_uint(pack, request->round);
    size_t at = pack->bytes;
    if (same_entries(last->message, message))
        pack_raw(pack, last->frame->data + last->entries_at, last->frame->bytes - last->entries_at);
    else
        pack_entries(pack, request->prev, &request->entries);
    last->entries_at = at;
}

static void pack_raft(struct pack *pack, const struct raft_message *message,
                      struct peer_encoded *last)
{
    const struct raft_append_response *response = &message->append_response;
    pack_uint(pack, message->type);
    pack_uint(pack, message->term);
    switch (message->type) {
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
        pack_id(pack, message->vote_request.last);
        if (message->type == RAFT_VOTE_REQUEST)
            pack_bool(pack, message->vote_request.transfer);
        break;
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        pack_bool(pack, message->vote_response.granted);
        pack_uint(pack, message->vote_response.campaign_term);
        pack_uint(pack, message->vote_response.incarnation);
        break;
    case RAFT_APPEND_REQUEST:
        pack_append_request(pack, message, last);
        break;
    case RAFT_APPEND_RESPONSE:
        pack_uint(pack, response->result);
        pack_uint(pack, response->match);
        pack_uint(pack, response->rejected);
        pack_id(pack, response->conflict);
        pack_uint(pack, response->last_index);
        pack_uint(pack, response->round);
        pack_uint(pack, response->priority);
        pack_uint(pack, response->life);
        pack_uint(pack, response->promise_us);
        break;
    case RAFT_READ_REQUEST:
    case RAFT_READ_RESPONSE:
        pack_uint(pack, message->read_index.number);
        if (message->type == RAFT_READ_RESPONSE)
            pack_uint(pack, message->read_index.index);
        break;
    case RAFT_TIMEOUT_NOW:
        pack_uint(pack, message->timeout_now.incarnation);
        break;
    }
}

struct buf *peer_encode_raft(const struct peer_identity *identity,
                             const struct raft_message *message)
{
    struct peer_encoded nothing = {0};
    return peer_encode_raft_after(identity, message, &nothing);
}

struct buf *peer_encode_raft_after(const struct peer_identity *identity,
                                   const struct raft_message *message, struct peer_encoded *last)
{
    ASSERT(message->from == identity->node_id);
    uint32_t fields = peer_raft_fields(message->type);
    ASSERT(fields != PEER_RAFT_FIELDS_UNKNOWN);
    size_t capacity = FIELDS_BYTES_MAX;
    if (message->type == RAFT_APPEND_REQUEST) {
        const struct raft_runs *entries = &message->append_request.entries;
        capacity += entries->entry_count * ENTRY_OVERHEAD_BYTES_MAX + entries->payload_bytes;
    }
    struct pack pack;
    pack_init(&pack, capacity);
    pack_header(&pack, PEER_RAFT_FIELDS + fields, identity, message->to, PEER_FRAME_RAFT);
    pack_raft(&pack, message, last);
    struct buf *frame = pack_take(&pack);
    last->message = message;
    last->frame = frame;
    return frame;
}

struct buf *peer_encode_audit(const struct peer_identity *identity, raft_node_id to,
                              const struct audit_mark *marks, uint32_t count)
{
    ASSERT(count > 0 && count <= AUDIT_MARKS_MAX);
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX + (size_t)count * 18);
    pack_header(&pack, 1, identity, to, PEER_FRAME_AUDIT);
    pack_array(&pack, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        pack_uint(&pack, marks[i].index);
        pack_uint(&pack, marks[i].hash);
    }
    return pack_take(&pack);
}

struct buf *peer_encode_hello(const struct peer_identity *identity, raft_node_id to,
                              const struct peer_hello *hello)
{
    struct pack pack;
    pack_init(&pack, HELLO_BYTES_MAX);
    pack_header(&pack, PEER_HELLO_FIELDS, identity, to, PEER_FRAME_HELLO);
    pack_str(&pack, hello->name);
    pack_str(&pack, hello->client);
    pack_str(&pack, hello->peer);
    return pack_take(&pack);
}

struct buf *peer_encode_refused(const struct peer_identity *identity, raft_node_id to,
                                enum peer_refusal refusal)
{
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX);
    pack_header(&pack, 1, identity, to, PEER_FRAME_REFUSED);
    pack_uint(&pack, refusal);
    return pack_take(&pack);
}

static void pack_snapshot(struct pack *pack, const struct peer_snapshot *snapshot)
{
    pack_uint(pack, snapshot->name);
    pack_id(pack, snapshot->id);
    pack_uint(pack, snapshot->bytes);
    pack_uint(pack, snapshot->offset);
}

struct buf *peer_encode_snapshot(const struct peer_identity *identity, raft_node_id to,
                                 const struct peer_snapshot *piece)
{
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX + piece->data.bytes);
    pack_header(&pack, PEER_SNAPSHOT_FIELDS, identity, to, PEER_FRAME_SNAPSHOT);
    pack_snapshot(&pack, piece);
    pack_bin(&pack, piece->data.data, piece->data.bytes);
    return pack_take(&pack);
}

struct buf *peer_encode_snapshot_ack(const struct peer_identity *identity, raft_node_id to,
                                     const struct peer_snapshot *ack)
{
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX);
    pack_header(&pack, PEER_SNAPSHOT_ACK_FIELDS, identity, to, PEER_FRAME_SNAPSHOT_ACK);
    pack_snapshot(&pack, ack);
    pack_bool(&pack, ack->done);
    pack_bool(&pack, ack->bad);
    return pack_take(&pack);
}

struct buf *peer_encode_repair_ask(const struct peer_identity *identity, raft_node_id to,
                                   const struct peer_repair *ask)
{
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX);
    pack_header(&pack, PEER_REPAIR_ASK_FIELDS, identity, to, PEER_FRAME_REPAIR_ASK);
    pack_uint(&pack, ask->number);
    pack_uint(&pack, ask->prev.index);
    pack_uint(&pack, ask->last);
    pack_id(&pack, ask->anchor);
    pack_bool(&pack, ask->snapshot);
    return pack_take(&pack);
}

struct buf *peer_encode_repair_answer(const struct peer_identity *identity, raft_node_id to,
                                      const struct peer_repair *answer)
{
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX + answer->entries.payload_bytes +
                         answer->entries.entry_count * ENTRY_OVERHEAD_BYTES_MAX);
    pack_header(&pack, PEER_REPAIR_ANSWER_FIELDS, identity, to, PEER_FRAME_REPAIR_ANSWER);
    pack_uint(&pack, answer->number);
    pack_uint(&pack, answer->result);
    pack_id(&pack, answer->prev);
    pack_entries(&pack, answer->prev, &answer->entries);
    return pack_take(&pack);
}
