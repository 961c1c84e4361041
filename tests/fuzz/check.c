#include "check.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

bool check_within(struct slice slice, const void *data, size_t bytes)
{
    const uint8_t *start = data;
    return slice.bytes == 0 || (slice.data >= start && slice.bytes <= bytes &&
                                (size_t)(slice.data - start) <= bytes - slice.bytes);
}

/* For structs whose padding counts too: nothing of them may have been written. */
static bool same_memory(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

static bool same_bytes(const struct buf *a, const struct buf *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* --- Frames between nodes --------------------------------------------------------------------- */

static void check_entries(const struct raft_message *message, const struct buf *frame)
{
    const struct raft_append_request *request = &message->append_request;
    ASSERT(request->entries.entry_count <= PEER_ENTRIES_MAX);
    ASSERT(request->entries.entry_count <= frame->bytes / 4);
    struct raft_id last = request->prev;
    bool held = false;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&request->entries, &iter));) {
        ASSERT(entry->id.index == last.index + 1);
        ASSERT(entry->id.term >= last.term && entry->id.term <= message->term);
        ASSERT(entry->kind <= RAFT_ENTRY_SESSION);
        ASSERT(entry->origin.client == 0 && entry->origin.request == 0);
        ASSERT(check_within(entry->payload, frame->data, frame->bytes));
        bool holds = entry->payload.bytes && !held; /* the frame, for all that follow */
        ASSERT(entry->buf == (holds ? frame : NULL));
        held = held || holds;
        last = entry->id;
    }
}

static struct buf *encode_again(const struct peer_frame *decoded)
{
    if (decoded->type == PEER_FRAME_RAFT)
        return peer_encode_raft(&decoded->from, decoded->raft);
    if (decoded->type == PEER_FRAME_REFUSED)
        return peer_encode_refused(&decoded->from, decoded->to, decoded->refusal);
    if (decoded->type == PEER_FRAME_AUDIT)
        return peer_encode_audit(&decoded->from, decoded->to, decoded->audit.marks,
                                 decoded->audit.count);
    if (decoded->type == PEER_FRAME_REPAIR_ASK)
        return peer_encode_repair_ask(&decoded->from, decoded->to, &decoded->repair);
    if (decoded->type == PEER_FRAME_REPAIR_ANSWER)
        return peer_encode_repair_answer(&decoded->from, decoded->to, &decoded->repair);
    if (decoded->type == PEER_FRAME_SNAPSHOT)
        return peer_encode_snapshot(&decoded->from, decoded->to, &decoded->snapshot);
    if (decoded->type == PEER_FRAME_SNAPSHOT_ACK)
        return peer_encode_snapshot_ack(&decoded->from, decoded->to, &decoded->snapshot);
    return peer_encode_hello(&decoded->from, decoded->to, &decoded->hello);
}

static void check_peer_accepted(const struct peer_frame *decoded, const struct buf *frame)
{
    ASSERT((decoded->raft != NULL) == (decoded->type == PEER_FRAME_RAFT));
    if (decoded->raft && decoded->raft->type == RAFT_APPEND_REQUEST)
        check_entries(decoded->raft, frame);
    struct buf *again = encode_again(decoded);
    if (again->bytes <= PEER_FRAME_BYTES_MAX) { /* str becomes bin: it may be a little longer */
        struct peer_frame second;
        int code = peer_decode(again, &second);
        ASSERT(code == CONCLAVE_OK);
        struct buf *third = encode_again(&second);
        ASSERT(same_bytes(again, third));
        buf_unref(third);
        raft_message_destroy(second.raft);
        raft_runs_clear(&second.repair.entries);
        ASSERT(atomic_load(&again->refs) == 1);
    }
    buf_unref(again);
}

static bool check_peer(const uint8_t *data, size_t bytes)
{
    struct buf *frame = buf_copy(data, bytes);
    struct peer_frame decoded, untouched;
    memset(&decoded, 0xa5, sizeof decoded);
    memset(&untouched, 0xa5, sizeof untouched);
    int code = peer_decode(frame, &decoded);
    if (code) {
        ASSERT(code == CONCLAVE_MALFORMED || code == CONCLAVE_VERSION ||
               code == CONCLAVE_TOO_LARGE);
        ASSERT(same_memory(&decoded, &untouched, sizeof decoded));
    } else {
        check_peer_accepted(&decoded, frame);
        raft_message_destroy(decoded.raft);
        raft_runs_clear(&decoded.repair.entries);
    }
    ASSERT(atomic_load(&frame->refs) == 1);
    buf_unref(frame);
    return code == CONCLAVE_OK;
}

/* --- Frames of clients ------------------------------------------------------------------------ */

/* Packs one operation alone and reads it again. */
static void check_op(const struct client_op *op)
{
    struct pack pack;
    pack_init(&pack, op->body.bytes + CLIENT_OP_OVERHEAD_BYTES);
    client_request_pack(&pack, 1);
    client_op_pack(&pack, op);
    struct buf *frame = pack_take(&pack);
    struct client_reader reader;
    struct client_op again;
    if (client_request_begin(&reader, frame->data, frame->bytes) == CONCLAVE_OK) {
        int got = client_request_next(&reader, &again);
        ASSERT(got == 1);
        ASSERT(again.id == op->id && again.type == op->type);
        if (op->type == CLIENT_OP_PROPOSE || op->type == CLIENT_OP_READ)
            ASSERT(again.body.bytes == op->body.bytes);
        got = client_request_next(&reader, &again);
        ASSERT(got == 0);
    } else {
        ASSERT(frame->bytes > CLIENT_FRAME_BYTES_MAX);
    }
    buf_unref(frame);
}

static bool check_request(const uint8_t *data, size_t bytes)
{
    struct client_reader reader;
    struct client_op op;
    if (client_request_begin(&reader, data, bytes))
        return false;
    size_t count = 0;
    int got;
    while ((got = client_request_next(&reader, &op)) == 1) {
        ASSERT(++count <= CLIENT_OPS_PER_FRAME_MAX);
        ASSERT(op.id < UINT64_C(1) << 53);
        ASSERT(check_within(op.body, data, bytes));
        check_op(&op);
    }
    int after = client_request_next(&reader, &op);
    ASSERT(after == got);
    return got == 0;
}

static bool check_reply(const uint8_t *data, size_t bytes)
{
    struct client_reader reader;
    struct client_reply reply;
    if (client_reply_begin(&reader, data, bytes))
        return false;
    int got;
    while ((got = client_reply_next(&reader, &reply)) == 1) {
        ASSERT(reply.id < UINT64_C(1) << 53);
        ASSERT(reply.code >= 0);
        ASSERT(check_within(reply.body, data, bytes));
        if (!reply.body_is_bin) {
            struct cursor cursor;
            cursor_init(&cursor, reply.body.data, reply.body.bytes);
            cursor_skip(&cursor);
            ASSERT(cursor_done(&cursor));
            check_bytes(SAMPLE_REDIRECT, reply.body.data, reply.body.bytes);
        }
    }
    int after = client_reply_next(&reader, &reply);
    ASSERT(after == got);
    return got == 0;
}

static bool check_redirect(const uint8_t *data, size_t bytes)
{
    struct client_redirect redirect = {.term = 77}, again;
    if (client_redirect_decode((struct slice){data, bytes}, &redirect)) {
        ASSERT(redirect.term == 77);
        return false;
    }
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_redirect(&pack, 0, CONCLAVE_NO_LEADER, &redirect);
    struct buf *frame = pack_take(&pack);
    struct client_reader reader;
    struct client_reply reply;
    int code = client_reply_begin(&reader, frame->data, frame->bytes);
    ASSERT(code == CONCLAVE_OK);
    int got = client_reply_next(&reader, &reply);
    ASSERT(got == 1);
    code = client_redirect_decode(reply.body, &again);
    ASSERT(code == CONCLAVE_OK);
    ASSERT(strcmp(redirect.leader, again.leader) == 0);
    ASSERT(strcmp(redirect.endpoint, again.endpoint) == 0);
    ASSERT(redirect.term == again.term);
    buf_unref(frame);
    return true;
}

static bool check_status(const uint8_t *data, size_t bytes)
{
    struct client_status *status = mem_zalloc(sizeof *status);
    status->member_count = 77;
    int code = client_status_decode((struct slice){data, bytes}, status);
    if (code) {
        ASSERT(code == CONCLAVE_MALFORMED && status->member_count == 77);
    } else {
        ASSERT(status->member_count <= CONCLAVE_MEMBERS_MAX);
        struct buf *again = client_status_encode(status);
        code = client_status_decode((struct slice){again->data, again->bytes}, status);
        ASSERT(code == CONCLAVE_OK);
        struct buf *third = client_status_encode(status);
        ASSERT(same_bytes(again, third));
        buf_unref(third);
        buf_unref(again);
    }
    free(status);
    return code == CONCLAVE_OK;
}

bool check_bytes(enum sample_kind kind, const uint8_t *data, size_t bytes)
{
    if (kind == SAMPLE_PEER)
        return check_peer(data, bytes);
    uint8_t *copy = mem_alloc(bytes);
    if (bytes)
        memcpy(copy, data, bytes);
    static bool (*const checks[SAMPLE_KINDS])(const uint8_t *, size_t) = {
        [SAMPLE_REQUEST] = check_request,     [SAMPLE_REPLY] = check_reply,
        [SAMPLE_REDIRECT] = check_redirect,   [SAMPLE_STATUS] = check_status,
        [SAMPLE_SUBSCRIBE] = check_subscribe, [SAMPLE_CREDIT] = check_credit,
        [SAMPLE_FRAME] = check_frame};
    bool accepted = checks[kind](copy, bytes);
    free(copy);
    return accepted;
}
