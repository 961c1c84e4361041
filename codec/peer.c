#include "codec/peer_internal.h"

#include "base/cursor.h"
#include "base/fatal.h"

#include <string.h>

enum { ENTRY_BYTES_MIN = 4 /* array header, term, kind, empty bin */ };

#define NODE_ID_LIMIT (UINT64_C(1) << 53)

uint32_t peer_raft_fields(enum raft_message_type type)
{
    switch (type) {
    case RAFT_TIMEOUT_NOW:
    case RAFT_READ_REQUEST:
        return 1;
    case RAFT_READ_RESPONSE:
        return 2;
    case RAFT_PREVOTE_REQUEST:
        return 2;
    case RAFT_VOTE_REQUEST:
    case RAFT_PREVOTE_RESPONSE:
    case RAFT_VOTE_RESPONSE:
        return 3;
    case RAFT_APPEND_REQUEST:
        return 5;
    case RAFT_APPEND_RESPONSE:
        return 10;
    }
    return PEER_RAFT_FIELDS_UNKNOWN;
}

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

static void read_entry(struct cursor *cursor, struct raft_entry *ret)
{
    *ret = (struct raft_entry){0};
    uint32_t fields = cursor_array(cursor);
    if (fields < 3)
        cursor_fail(cursor);
    ret->id.term = cursor_uint(cursor);
    uint64_t kind = cursor_uint(cursor);
    ret->payload = cursor_bin(cursor);
    for (; fields > 3 && cursor_ok(cursor); fields--)
        cursor_skip(cursor);
    if (kind > RAFT_ENTRY_SESSION || (kind == RAFT_ENTRY_NOOP && ret->payload.bytes > 0))
        cursor_fail(cursor);
    ret->kind = (enum raft_entry_kind)kind;
}

/* As read_entry where the next one begins with the very bytes that stood before the payload of the
 * one before it, `before`, which had nothing behind it: most often all entries of a message do. */
static bool read_alike(struct cursor *cursor, const uint8_t *before_at,
                       const struct raft_entry *before, struct raft_entry *ret)
{
    size_t header = (size_t)(before->payload.data - before_at);
    size_t left = (size_t)(cursor->end - cursor->at);
    if (left < header || left - header < before->payload.bytes ||
        memcmp(cursor->at, before_at, header) != 0)
        return false;
    *ret = (struct raft_entry){
        .id.term = before->id.term,
        .payload = {.data = cursor->at + header, .bytes = before->payload.bytes},
        .kind = before->kind};
    cursor->at += header + before->payload.bytes;
    return true;
}

/* Reads the entries that follow `last` into one batch. The terms of a log never decrease, and none
 * is above the term of the leader that sends them. */
static int read_entries(struct cursor *cursor, struct buf *frame, struct raft_id last,
                        uint64_t term_max, struct raft_runs *ret)
{
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
    const struct raft_entry *before = NULL;
    const uint8_t *before_at = NULL;
    bool held = false; /* the frame, by one of the entries: they all point into it */
    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry *entry = raft_batch_place_entry(batch);
        const uint8_t *at = cursor->at;
        if (!before || !read_alike(cursor, before_at, before, entry))
            read_entry(cursor, entry);
        if (entry->id.term == 0 || entry->id.term < last.term || entry->id.term > term_max)
            cursor_fail(cursor);
        if (!cursor_ok(cursor)) {
            raft_batch_unref(batch);
            return CONCLAVE_MALFORMED;
        }
        entry->id.index = last.index + 1; /* Rule 16: contiguous from prev + 1, whatever was sent */
        if (entry->payload.bytes && !held)
            entry->buf = buf_ref(frame);
        held = held || entry->payload.bytes;
        raft_batch_count_entry(batch);
        bool last_field = entry->payload.data + entry->payload.bytes == cursor->at;
        before = entry->payload.bytes && last_field ? entry : NULL;
        before_at = at;
        last = entry->id;
    }
    raft_runs_append(ret, batch, 0, count);
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
    return read_entries(cursor, frame, request->prev, message->term, &request->entries);
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
        message->vote_response.incarnation = cursor_uint(cursor);
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
        message->timeout_now.incarnation = cursor_uint(cursor);
        break;
    }
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_raft(struct frame_reader *reader, struct buf *frame, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    frame_expect(reader, PEER_RAFT_FIELDS);
    uint64_t type = cursor_uint(cursor);
    uint64_t term = cursor_uint(cursor);
    if (!cursor_ok(cursor) || type > UINT8_MAX)
        return CONCLAVE_MALFORMED;
    uint32_t fields = peer_raft_fields((enum raft_message_type)type);
    if (fields == PEER_RAFT_FIELDS_UNKNOWN)
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
    if (type == RAFT_PREVOTE_REQUEST || type == RAFT_VOTE_REQUEST)
        message->vote_request.incarnation = decoded->from.incarnation;
    decoded->raft = message;
    return CONCLAVE_OK;
}

static int read_hello(struct frame_reader *reader, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    frame_expect(reader, PEER_HELLO_FIELDS);
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
    bool answers = decoded->type == PEER_FRAME_SNAPSHOT_ACK;
    frame_expect(reader, answers ? PEER_SNAPSHOT_ACK_FIELDS : PEER_SNAPSHOT_FIELDS);
    snapshot->name = cursor_uint(cursor);
    snapshot->id = read_id(cursor);
    snapshot->bytes = cursor_uint(cursor);
    snapshot->offset = cursor_uint(cursor);
    if (answers) {
        snapshot->done = cursor_bool(cursor);
        snapshot->bad = cursor_bool(cursor);
    } else {
        snapshot->data = cursor_bin(cursor);
    }
    if (snapshot->id.index == 0 || snapshot->bytes == 0 || snapshot->bytes > INT64_MAX ||
        snapshot->offset > snapshot->bytes ||
        snapshot->data.bytes > snapshot->bytes - snapshot->offset)
        cursor_fail(cursor);
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_repair(struct frame_reader *reader, struct buf *frame, struct peer_frame *decoded)
{
    struct cursor *cursor = &reader->cursor;
    struct peer_repair *repair = &decoded->repair;
    bool asks = decoded->type == PEER_FRAME_REPAIR_ASK;
    frame_expect(reader, asks ? PEER_REPAIR_ASK_FIELDS : PEER_REPAIR_ANSWER_FIELDS);
    repair->number = cursor_uint(cursor);
    if (asks) {
        repair->prev.index = cursor_uint(cursor);
        repair->last = cursor_uint(cursor);
        repair->anchor = read_id(cursor);
        repair->snapshot = cursor_bool(cursor);
        if (repair->last < repair->prev.index ||
            (repair->anchor.index > 0 && repair->last > repair->anchor.index))
            cursor_fail(cursor);
        return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
    }
    uint64_t result = cursor_uint(cursor);
    if (result < PEER_REPAIR_HERE || result > PEER_REPAIR_LATER)
        cursor_fail(cursor);
    repair->result = (enum peer_repair_result)result;
    repair->prev.term = cursor_uint(cursor); /* 0: not known */
    repair->prev.index = cursor_uint(cursor);
    if (repair->prev.index == 0 && repair->prev.term > 0)
        cursor_fail(cursor);
    return read_entries(cursor, frame, repair->prev, UINT64_MAX, &repair->entries);
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

    frame_expect(reader, PEER_HEADER_FIELDS - 1);
    uint64_t group = cursor_uint(cursor);
    decoded->group = (uint32_t)group;
    decoded->from.cluster_id = cursor_uint(cursor);
    decoded->from.node_id = read_node_id(cursor);
    decoded->to = read_node_id(cursor);
    decoded->from.incarnation = cursor_uint(cursor);
    uint64_t type = cursor_uint(cursor);
    if (group > UINT32_MAX || type < PEER_FRAME_RAFT || type > PEER_FRAME_REPAIR_ANSWER)
        cursor_fail(cursor);
    decoded->type = (enum peer_frame_type)type;
    return cursor_ok(cursor) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

static int read_fields(struct frame_reader *reader, struct buf *frame, struct peer_frame *decoded)
{
    switch (decoded->type) {
    case PEER_FRAME_RAFT:
        return read_raft(reader, frame, decoded);
    case PEER_FRAME_HELLO:
        return read_hello(reader, decoded);
    case PEER_FRAME_REFUSED:
        return read_refused(reader, decoded);
    case PEER_FRAME_SNAPSHOT:
    case PEER_FRAME_SNAPSHOT_ACK:
        return read_snapshot(reader, decoded);
    case PEER_FRAME_AUDIT:
        return read_audit(reader, decoded);
    case PEER_FRAME_REPAIR_ASK:
    case PEER_FRAME_REPAIR_ANSWER:
        return read_repair(reader, frame, decoded);
    }
    return CONCLAVE_MALFORMED;
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
    code = read_fields(&reader, frame, &decoded);
    if (code)
        return code;

    /* Fields of a later revision; each skip reads at least one byte or ends the loop. */
    for (; reader.fields > 0 && cursor_ok(&reader.cursor); reader.fields--)
        cursor_skip(&reader.cursor);
    if (!cursor_done(&reader.cursor)) {
        raft_message_destroy(decoded.raft);
        raft_runs_clear(&decoded.repair.entries);
        return CONCLAVE_MALFORMED;
    }
    *ret = decoded;
    return CONCLAVE_OK;
}
