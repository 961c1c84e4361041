#include "codec/peer.h"

#include "base/cursor.h"
#include "base/fatal.h"
#include "base/pack.h"

#include <string.h>

enum {
    HEADER_FIELDS = 7, /* version .. type */
    RAFT_FIELDS = 2,   /* message type, term */
    HELLO_FIELDS = 3,
    SNAPSHOT_FIELDS = 6,           /* of both kinds */
    FIELDS_BYTES_MAX = 5 + 19 * 9, /* an array header and the fields of the longest message */
    HELLO_BYTES_MAX = FIELDS_BYTES_MAX + CONCLAVE_NAME_BYTES_MAX + 2 * CONCLAVE_ENDPOINT_BYTES_MAX,
    ENTRY_BYTES_MIN = 4,          /* array header, term, kind, empty bin */
    ENTRY_OVERHEAD_BYTES_MAX = 16 /* array header 1, term 9, kind 1, bin header 5 */
};

#define RAFT_FIELDS_UNKNOWN UINT32_MAX /* no message has this type */

#define NODE_ID_LIMIT (UINT64_C(1) << 53)

/* --- Encoding --------------------------------------------------------------------------------- */

static void pack_header(struct pack *pack, uint32_t fields, const struct peer_identity *identity,
                        raft_node_id to, enum peer_frame_type type)
{
    pack_array(pack, HEADER_FIELDS + fields);
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

/* An entry's index is not written: it is prev.index + 1 and so on, so that a message whose entries
 * are not contiguous cannot be expressed (Rule 16). */
static void pack_entries(struct pack *pack, struct raft_id prev, const struct raft_runs *runs)
{
    ASSERT(runs->entry_count <= PEER_ENTRIES_MAX);
    pack_array(pack, (uint32_t)runs->entry_count);
    uint64_t index = prev.index;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(runs, &iter));) {
        index++;
        ASSERT(entry->id.index == index);
        pack_array(pack, 3);
        pack_uint(pack, entry->id.term);
        pack_uint(pack, entry->kind);
        pack_bin(pack, entry->payload.data, entry->payload.bytes);
    }
    ASSERT(index == prev.index + runs->entry_count);
}

static uint32_t raft_fields(enum raft_message_type type)
{
    switch (type) {
    case RAFT_TIMEOUT_NOW:
        return 0;
    case RAFT_READ_REQUEST:
        return 1;
    case RAFT_READ_RESPONSE:
        return 2;
    case RAFT_PREVOTE_REQUEST:
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        return 2;
    case RAFT_VOTE_REQUEST:
        return 3;
    case RAFT_APPEND_REQUEST:
        return 5;
    case RAFT_APPEND_RESPONSE:
        return 10;
    }
    return RAFT_FIELDS_UNKNOWN;
}

static void pack_raft(struct pack *pack, const struct raft_message *message)
{
    const struct raft_append_request *request = &message->append_request;
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
        break;
    case RAFT_APPEND_REQUEST:
        pack_id(pack, request->prev);
        pack_uint(pack, request->commit);
        pack_uint(pack, request->round);
        pack_entries(pack, request->prev, &request->entries);
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
        break;
    }
}

struct buf *peer_encode_raft(const struct peer_identity *identity,
                             const struct raft_message *message)
{
    ASSERT(message->from == identity->node_id);
    uint32_t fields = raft_fields(message->type);
    ASSERT(fields != RAFT_FIELDS_UNKNOWN);
    size_t capacity = FIELDS_BYTES_MAX;
    if (message->type == RAFT_APPEND_REQUEST) {
        const struct raft_runs *entries = &message->append_request.entries;
        capacity += entries->entry_count * ENTRY_OVERHEAD_BYTES_MAX + entries->payload_bytes;
    }
    struct pack pack;
    pack_init(&pack, capacity);
    pack_header(&pack, RAFT_FIELDS + fields, identity, message->to, PEER_FRAME_RAFT);
    pack_raft(&pack, message);
    return pack_take(&pack);
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
    pack_header(&pack, HELLO_FIELDS, identity, to, PEER_FRAME_HELLO);
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
    pack_header(&pack, SNAPSHOT_FIELDS, identity, to, PEER_FRAME_SNAPSHOT);
    pack_snapshot(&pack, piece);
    pack_bin(&pack, piece->data.data, piece->data.bytes);
    return pack_take(&pack);
}

struct buf *peer_encode_snapshot_ack(const struct peer_identity *identity, raft_node_id to,
                                     const struct peer_snapshot *ack)
{
    struct pack pack;
    pack_init(&pack, FIELDS_BYTES_MAX);
    pack_header(&pack, SNAPSHOT_FIELDS, identity, to, PEER_FRAME_SNAPSHOT_ACK);
    pack_snapshot(&pack, ack);
    pack_bool(&pack, ack->done);
    return pack_take(&pack);
}

/* --- Decoding --------------------------------------------------------------------------------- */

/* The frame's array: what is left of its bytes and of its fields. */
struct frame_reader {
    struct cursor cursor;
    uint32_t fields;
};

/* Makes sure that the frame has `count` more fields, and counts them as read. */
static void frame_expect(struct frame_reader *reader, uint32_t count)
{
    if (reader->fields < count) {
        cursor_fail(&reader->cursor);
        reader->fields = 0;
        return;
    }
    reader->fields -= count;
}

static raft_node_id read_node_id(struct cursor *cursor)
{
    uint64_t id = cursor_uint(cursor);
    if (id == 0 || id >= NODE_ID_LIMIT)
        cursor_fail(cursor);
    return id;
}

/* An entry's id or {0, 0}: nothing lies between them. */
static struct raft_id read_id(struct cursor *cursor)
{
    struct raft_id id;
    id.term = cursor_uint(cursor);
    id.index = cursor_uint(cursor);
    if ((id.term == 0) != (id.index == 0))
        cursor_fail(cursor);
    return id;
}

/* Printable ASCII without spaces: names and endpoints end up in logs and in answers to clients. */
static void read_text(struct cursor *cursor, char *text, size_t size)
{
    cursor_text(cursor, text, size);
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c > '~')
            cursor_fail(cursor);
    }
}

static struct raft_entry read_entry(struct cursor *cursor)
{
    struct raft_entry entry = {0};
    uint32_t fields = cursor_array(cursor);
    if (fields < 3)
        cursor_fail(cursor);
    entry.id.term = cursor_uint(cursor);
    uint64_t kind = cursor_uint(cursor);
    entry.payload = cursor_bin(cursor);
    for (; fields > 3 && cursor_ok(cursor); fields--)
        cursor_skip(cursor);
    if (kind > RAFT_ENTRY_SESSION || (kind == RAFT_ENTRY_NOOP && entry.payload.bytes > 0))
        cursor_fail(cursor);
    entry.kind = (enum raft_entry_kind)kind;
    return entry;
}

/* Reads the entries that follow `prev` into one batch. The terms of a log never decrease, and none
 * is above the term of the leader that sends them. */
static int read_entries(struct cursor *cursor, struct buf *frame, struct raft_message *message)
{
    struct raft_id last = message->append_request.prev;
    uint32_t count = cursor_array(cursor);
    if (count > PEER_ENTRIES_MAX)
        return CONCLAVE_TOO_LARGE;
    if (count > (size_t)(cursor->end - cursor->at) / ENTRY_BYTES_MIN ||
        last.index > UINT64_MAX - count)
        cursor_fail(cursor);
    if (!cursor_ok(cursor))
        return CONCLAVE_MALFORMED;
    if (count == 0)
        return CONCLAVE_OK;

    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry entry = read_entry(cursor);
        if (entry.id.term == 0 || entry.id.term < last.term || entry.id.term > message->term)
            cursor_fail(cursor);
        if (!cursor_ok(cursor)) {
            raft_batch_unref(batch);
            return CONCLAVE_MALFORMED;
        }
        entry.id.index = last.index + 1; /* Rule 16: contiguous from prev + 1, whatever was sent */
        entry.buf = entry.payload.bytes ? buf_ref(frame) : NULL;
        raft_batch_add(batch, entry);
        last = entry.id;
    }
    raft_runs_append(&message->append_request.entries, batch, 0, count);
    raft_batch_unref(batch);
    return CONCLAVE_OK;
}

static int read_append_request(struct cursor *cursor, struct buf *frame,
                               struct raft_message *message)
{
    struct raft_append_request *request = &message->append_request;
    request->prev = read_id(cursor);
    if (request->prev.term > message->term)
        cursor_fail(cursor);
    request->commit = cursor_uint(cursor);
    request->round = cursor_uint(cursor);
    return read_entries(cursor, frame, message);
}

static void read_append_response(struct cursor *cursor, struct raft_append_response *response)
{
    uint64_t result = cursor_uint(cursor);
    if (result < RAFT_APPEND_ACCEPTED || result > RAFT_APPEND_STALE)
        cursor_fail(cursor);
    response->result = (enum raft_append_result)result;
    response->match = cursor_uint(cursor);
    response->rejected = cursor_uint(cursor);
    response->conflict.term = cursor_uint(cursor);
    response->conflict.index = cursor_uint(cursor);
    response->last_index = cursor_uint(cursor);
    response->round = cursor_uint(cursor);
    uint64_t priority = cursor_uint(cursor);
    if (priority > RAFT_PRIORITY_MAX)
        cursor_fail(cursor);
    response->priority = (uint32_t)priority;
    response->life = cursor_uint(cursor);
    response->promise_us = cursor_uint(cursor);
}

/* Reads the fields of a message whose type and term are known. */
static int read_message(struct cursor *cursor, struct buf *frame, struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PREVOTE_REQUEST:
    case RAFT_VOTE_REQUEST:
        message->vote_request.last = read_id(cursor);
        if (message->type == RAFT_VOTE_REQUEST)
            message->vote_request.transfer = cursor_bool(cursor);
        break;
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        message->vote_response.granted = cursor_bool(cursor);
        message->vote_response.campaign_term = cursor_uint(cursor);
        break;
    case RAFT_APPEND_REQUEST:
        return read_append_request(cursor, frame, message);
    case RAFT_APPEND_RESPONSE:
        read_append_response(cursor, &message->append_response);
        break;
    case RAFT_READ_REQUEST:
    case RAFT_READ_RESPONSE:
        message->read_index.number = cursor_uint(cursor);
        if (message->type == RAFT_READ_RESPONSE)
            message->read_index.index = cursor_uint(cursor);
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_raft(struct frame_reader *reader, struct buf *frame, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    frame_expect(reader, RAFT_FIELDS);
    uint64_t type = cursor_uint(cursor);
    uint64_t term = cursor_uint(cursor);
    if (!cursor_ok(cursor) || type > UINT8_MAX)
        return CONCLAVE_MALFORMED;
    uint32_t fields = raft_fields((enum raft_message_type)type);
    if (fields == RAFT_FIELDS_UNKNOWN)
        return CONCLAVE_MALFORMED;
    frame_expect(reader, fields);
    if (!cursor_ok(cursor))
        return CONCLAVE_MALFORMED;

    struct raft_message *message =
        raft_message_create((enum raft_message_type)type, decoded->from.node_id, decoded->to, term);
    int code = read_message(cursor, frame, message);
    if (code) {
        raft_message_destroy(message);
        return code;
    }
    decoded->raft = message;
    return CONCLAVE_OK;
}

static int read_hello(struct frame_reader *reader, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    frame_expect(reader, HELLO_FIELDS);
    read_text(cursor, decoded->hello.name, sizeof decoded->hello.name);
    read_text(cursor, decoded->hello.client, sizeof decoded->hello.client);
    read_text(cursor, decoded->hello.peer, sizeof decoded->hello.peer);
    if (decoded->hello.name[0] == '\0')
        cursor_fail(cursor);
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_refused(struct frame_reader *reader, struct peer_frame *decoded)
{
    frame_expect(reader, 1);
    uint64_t refusal = cursor_uint(&reader->cursor);
    if (refusal < PEER_REFUSAL_INCARNATION || refusal > PEER_REFUSAL_REMOVED)
        cursor_fail(&reader->cursor);
    decoded->refusal = (enum peer_refusal)refusal;
    return cursor_ok(&reader->cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_audit(struct frame_reader *reader, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    frame_expect(reader, 1);
    uint32_t numbers = cursor_array(cursor);
    if (numbers == 0 || numbers % 2 != 0 || numbers > 2 * AUDIT_MARKS_MAX)
        cursor_fail(cursor);
    for (uint32_t i = 0; i < numbers / 2 && cursor_ok(cursor); i++) {
        struct audit_mark *mark = &decoded->audit.marks[decoded->audit.count++];
        mark->index = cursor_uint(cursor);
        mark->hash = cursor_uint(cursor);
        if (mark->index == 0)
            cursor_fail(cursor);
    }
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_snapshot(struct frame_reader *reader, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    struct peer_snapshot *snapshot = &decoded->snapshot;
    frame_expect(reader, SNAPSHOT_FIELDS);
    snapshot->name = cursor_uint(cursor);
    snapshot->id = read_id(cursor);
    snapshot->bytes = cursor_uint(cursor);
    snapshot->offset = cursor_uint(cursor);
    if (decoded->type == PEER_FRAME_SNAPSHOT)
        snapshot->data = cursor_bin(cursor);
    else
        snapshot->done = cursor_bool(cursor);
    if (snapshot->id.index == 0 || snapshot->bytes == 0 || snapshot->bytes > INT64_MAX ||
        snapshot->offset > snapshot->bytes ||
        snapshot->data.bytes > snapshot->bytes - snapshot->offset)
        cursor_fail(cursor);
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

/* Reads version to type. The version is looked at before anything else: what follows it may mean
 * something else in another version. */
static int read_header(struct frame_reader *reader, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    reader->fields = cursor_array(cursor);
    frame_expect(reader, 1);
    uint64_t version = cursor_uint(cursor);
    if (!cursor_ok(cursor))
        return CONCLAVE_MALFORMED;
    if (version != PEER_PROTOCOL_VERSION)
        return CONCLAVE_VERSION;
    decoded->version = PEER_PROTOCOL_VERSION;

    frame_expect(reader, HEADER_FIELDS - 1);
    uint64_t group = cursor_uint(cursor);
    decoded->group = (uint32_t)group;
    decoded->from.cluster_id = cursor_uint(cursor);
    decoded->from.node_id = read_node_id(cursor);
    decoded->to = read_node_id(cursor);
    decoded->from.incarnation = cursor_uint(cursor);
    uint64_t type = cursor_uint(cursor);
    if (group > UINT32_MAX || type < PEER_FRAME_RAFT || type > PEER_FRAME_AUDIT)
        cursor_fail(cursor);
    decoded->type = (enum peer_frame_type)type;
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

int peer_decode(struct buf *frame, struct peer_frame *ret)
{
    if (frame->bytes > PEER_FRAME_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    struct frame_reader reader = {0};
    struct peer_frame decoded = {0};
    cursor_init(&reader.cursor, frame->data, frame->bytes);
    int code = read_header(&reader, &decoded);
    if (code)
        return code;
    if (decoded.type == PEER_FRAME_RAFT)
        code = read_raft(&reader, frame, &decoded);
    else if (decoded.type == PEER_FRAME_HELLO)
        code = read_hello(&reader, &decoded);
    else if (decoded.type == PEER_FRAME_REFUSED)
        code = read_refused(&reader, &decoded);
    else if (decoded.type == PEER_FRAME_AUDIT)
        code = read_audit(&reader, &decoded);
    else
        code = read_snapshot(&reader, &decoded);
    if (code)
        return code;

    /* Fields of a later revision; each skip reads at least one byte or ends the loop. */
    for (; reader.fields > 0 && cursor_ok(&reader.cursor); reader.fields--)
        cursor_skip(&reader.cursor);
    if (!cursor_done(&reader.cursor)) {
        raft_message_destroy(decoded.raft);
        return CONCLAVE_MALFORMED;
    }
    *ret = decoded;
    return CONCLAVE_OK;
}
