#include "../../fuzz/samples.h"

#include <criterion/criterion.h>
#include <string.h>

/* Values around every width of an integer on the wire. */
static const uint64_t extremes[] = {
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xffff,
    0x10000,
    UINT32_MAX,
    (uint64_t)UINT32_MAX + 1,
    (UINT64_C(1) << 53) - 1,
    INT64_MAX,
    UINT64_MAX,
};
enum { EXTREMES = sizeof extremes / sizeof extremes[0] };

/* Encodes and destroys a message, decodes it, checks what every message has, and hands it over. */
static struct raft_message *round_trip(struct raft_message *message)
{
    enum raft_message_type type = message->type;
    uint64_t term = message->term;
    struct buf *frame = sample_encode(message);
    struct peer_frame decoded;
    cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_OK);
    buf_unref(frame);
    cr_assert_eq(decoded.type, PEER_FRAME_RAFT);
    cr_assert_eq(decoded.version, PEER_PROTOCOL_VERSION);
    cr_assert_eq(decoded.group, 0);
    cr_assert_eq(decoded.from.cluster_id, sample_identity.cluster_id);
    cr_assert_eq(decoded.from.node_id, sample_identity.node_id);
    cr_assert_eq(decoded.from.incarnation, sample_identity.incarnation);
    cr_assert_eq(decoded.to, SAMPLE_TO);
    cr_assert_eq(decoded.raft->type, type);
    cr_assert_eq(decoded.raft->term, term);
    cr_assert_eq(decoded.raft->from, sample_identity.node_id);
    cr_assert_eq(decoded.raft->to, SAMPLE_TO);
    return decoded.raft;
}

/* --- Every message, every field ----------------------------------------------------------------
 */

Test(peer, carries_vote_requests)
{
    static const enum raft_message_type types[] = {RAFT_PREVOTE_REQUEST, RAFT_VOTE_REQUEST};
    for (int i = 0; i < 2 * EXTREMES; i++) {
        uint64_t value = extremes[i / 2];
        struct raft_message *message = sample_message(types[i % 2], value);
        message->vote_request.last = (struct raft_id){value, value};
        message->vote_request.transfer = i % 2;
        struct raft_message *got = round_trip(message);
        cr_assert_eq(got->vote_request.last.term, value);
        cr_assert_eq(got->vote_request.last.index, value);
        cr_assert_eq(got->vote_request.transfer, i % 2);
        raft_message_destroy(got);
    }
}

Test(peer, carries_the_call_to_campaign)
{
    for (int i = 0; i < EXTREMES; i++) {
        struct raft_message *message = sample_message(RAFT_TIMEOUT_NOW, 7);
        message->timeout_now.incarnation = extremes[i];
        struct raft_message *got = round_trip(message);
        cr_assert_eq(got->term, 7);
        cr_assert_eq(got->timeout_now.incarnation, extremes[i]);
        raft_message_destroy(got);
    }
}

Test(peer, carries_read_indexes)
{
    for (int i = 0; i < EXTREMES; i++) {
        struct raft_message *message = sample_message(RAFT_READ_REQUEST, 7);
        message->read_index.number = extremes[i];
        struct raft_message *got = round_trip(message);
        cr_assert_eq(got->read_index.number, extremes[i]);
        raft_message_destroy(got);
        message = sample_message(RAFT_READ_RESPONSE, 7);
        message->read_index.number = 5;
        message->read_index.index = extremes[i];
        got = round_trip(message);
        cr_assert_eq(got->read_index.number, 5);
        cr_assert_eq(got->read_index.index, extremes[i]);
        raft_message_destroy(got);
    }
}

Test(peer, carries_vote_responses)
{
    static const enum raft_message_type types[] = {RAFT_PREVOTE_RESPONSE, RAFT_VOTE_RESPONSE};
    for (int i = 0; i < 4 * EXTREMES; i++) {
        uint64_t value = extremes[i / 4];
        bool granted = i & 2;
        struct raft_message *message = sample_message(types[i % 2], 5);
        message->vote_response.granted = granted;
        message->vote_response.campaign_term = value;
        message->vote_response.incarnation = ~value;
        struct raft_message *got = round_trip(message);
        cr_assert_eq(got->vote_response.granted, granted);
        cr_assert_eq(got->vote_response.campaign_term, value);
        cr_assert_eq(got->vote_response.incarnation, ~value);
        raft_message_destroy(got);
    }
}

/* One field of a response at a time, so that two that were exchanged are seen. */
Test(peer, carries_every_field_of_append_responses)
{
    enum { FIELDS = 8 };
    for (int i = 0; i < FIELDS * EXTREMES; i++) {
        uint64_t values[FIELDS] = {11, 12, 13, 14, 15, 16, 17, 18};
        values[i % FIELDS] = extremes[i / FIELDS];
        struct raft_message *message = sample_message(RAFT_APPEND_RESPONSE, 5);
        message->append_response = (struct raft_append_response){
            .result = (enum raft_append_result)(1 + i % 3),
            .match = values[0],
            .rejected = values[1],
            .conflict = {values[2], values[3]},
            .last_index = values[4],
            .round = values[5],
            .life = values[6],
            .promise_us = values[7],
        };
        struct raft_message *got = round_trip(message);
        const struct raft_append_response *response = &got->append_response;
        cr_assert_eq((int)response->result, 1 + i % 3);
        cr_assert_eq(response->match, values[0]);
        cr_assert_eq(response->rejected, values[1]);
        cr_assert_eq(response->conflict.term, values[2]);
        cr_assert_eq(response->conflict.index, values[3]);
        cr_assert_eq(response->last_index, values[4]);
        cr_assert_eq(response->round, values[5]);
        cr_assert_eq(response->life, values[6]);
        cr_assert_eq(response->promise_us, values[7]);
        raft_message_destroy(got);
    }
}

Test(peer, carries_every_field_of_heartbeats)
{
    for (int i = 0; i < EXTREMES; i++) {
        uint64_t value = extremes[i];
        struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, UINT64_MAX);
        message->append_request.prev = (struct raft_id){value, value ? UINT64_MAX - value + 1 : 0};
        message->append_request.commit = value;
        message->append_request.round = UINT64_MAX - value;
        struct raft_message *got = round_trip(message);
        const struct raft_append_request *request = &got->append_request;
        cr_assert_eq(request->prev.term, value);
        cr_assert_eq(request->prev.index, value ? UINT64_MAX - value + 1 : 0);
        cr_assert_eq(request->commit, value);
        cr_assert_eq(request->round, UINT64_MAX - value);
        cr_assert_eq(request->entries.entry_count, 0);
        raft_message_destroy(got);
    }
}

Test(peer, carries_ids_and_incarnations_at_their_ends)
{
    const struct peer_identity ends[] = {
        {0, 1, 0},
        {UINT64_MAX, (UINT64_C(1) << 53) - 1, UINT64_MAX},
    };
    for (int i = 0; i < 2; i++) {
        struct raft_message *message =
            raft_message_create(RAFT_VOTE_REQUEST, ends[i].node_id, ends[1 - i].node_id, 1);
        struct buf *frame = peer_encode_raft(&ends[i], message);
        struct peer_frame decoded;
        cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_OK);
        cr_assert_eq(decoded.from.cluster_id, ends[i].cluster_id);
        cr_assert_eq(decoded.from.node_id, ends[i].node_id);
        cr_assert_eq(decoded.from.incarnation, ends[i].incarnation);
        cr_assert_eq(decoded.to, ends[1 - i].node_id);
        raft_message_destroy(decoded.raft);
        raft_message_destroy(message);
        buf_unref(frame);
    }
}

Test(peer, carries_hello)
{
    struct peer_hello hello = {0};
    memset(hello.name, 'n', sizeof hello.name - 1);
    memset(hello.client, 'e', sizeof hello.client - 1);
    memset(hello.peer, 'p', sizeof hello.peer - 1);
    struct buf *frame = peer_encode_hello(&sample_identity, SAMPLE_TO, &hello);
    struct peer_frame decoded;
    cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_OK);
    cr_assert_eq(decoded.type, PEER_FRAME_HELLO);
    cr_assert_null(decoded.raft);
    cr_assert_eq(decoded.to, SAMPLE_TO);
    cr_assert_str_eq(decoded.hello.name, hello.name);
    cr_assert_str_eq(decoded.hello.client, hello.client);
    cr_assert_str_eq(decoded.hello.peer, hello.peer);
    buf_unref(frame);
}

/* --- Entries ---------------------------------------------------------------------------------- */

Test(peer, numbers_entries_from_prev_plus_one)
{
    struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, 9);
    message->append_request.prev = (struct raft_id){3, 100};
    sample_add_entry(message, 3, RAFT_ENTRY_COMMAND, "a", 1);
    sample_add_entry(message, 7, RAFT_ENTRY_NOOP, NULL, 0);
    sample_add_entry(message, 7, RAFT_ENTRY_CONFIG, "cc", 2);
    sample_add_commands(message, 2, 3);
    struct raft_message *got = round_trip(message);
    static const struct {
        uint64_t term;
        enum raft_entry_kind kind;
        const char *payload;
    } expected[] = {{3, RAFT_ENTRY_COMMAND, "a"},
                    {7, RAFT_ENTRY_NOOP, ""},
                    {7, RAFT_ENTRY_CONFIG, "cc"},
                    {9, RAFT_ENTRY_COMMAND, "ccc"},
                    {9, RAFT_ENTRY_COMMAND, "ccc"}};
    const struct raft_runs *entries = &got->append_request.entries;
    cr_assert_eq(entries->entry_count, 5);
    cr_assert_eq(entries->payload_bytes, 9);
    struct raft_runs_iter iter = {0};
    for (uint64_t i = 0; i < 5; i++) {
        const struct raft_entry *entry = raft_runs_next(entries, &iter);
        cr_assert_eq(entry->id.index, 101 + i);
        cr_assert_eq(entry->id.term, expected[i].term);
        cr_assert_eq(entry->kind, expected[i].kind);
        cr_assert_eq(entry->origin.client, 0);
        cr_assert_eq(entry->origin.request, 0);
        cr_assert_eq(entry->payload.bytes, strlen(expected[i].payload));
        cr_assert_eq(memcmp(entry->payload.data, expected[i].payload, entry->payload.bytes), 0);
    }
    raft_message_destroy(got);
}

Test(peer, carries_payloads_of_every_size)
{
    static const size_t sizes[] = {0,   1,     31,    32,    255,
                                   256, 65535, 65536, 65537, CONCLAVE_COMMAND_BYTES_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, 1);
        sample_add_commands(message, 1, sizes[i]);
        struct raft_message *got = round_trip(message);
        struct raft_runs_iter iter = {0};
        const struct raft_entry *entry = raft_runs_next(&got->append_request.entries, &iter);
        cr_assert_eq(entry->payload.bytes, sizes[i]);
        if (sizes[i] > 0)
            cr_assert_eq(entry->payload.data[sizes[i] - 1], 'c');
        raft_message_destroy(got);
    }
}

Test(peer, payloads_point_into_the_frame_and_keep_it)
{
    struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, 2);
    sample_add_entry(message, 2, RAFT_ENTRY_NOOP, NULL, 0);
    sample_add_commands(message, 2, 10);
    struct buf *frame = sample_encode(message);
    struct peer_frame decoded;
    cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_OK);
    struct raft_runs_iter iter = {0};
    const struct raft_runs *entries = &decoded.raft->append_request.entries;
    cr_assert_null(raft_runs_next(entries, &iter)->buf);
    for (int i = 0; i < 2; i++) {
        const struct raft_entry *entry = raft_runs_next(entries, &iter);
        cr_assert_eq(entry->buf, i == 0 ? frame : NULL); /* one holds it for all */
        cr_assert(entry->payload.data > frame->data);
        cr_assert_leq(entry->payload.data + entry->payload.bytes, frame->data + frame->bytes);
    }
    cr_assert_gt(atomic_load(&frame->refs), 1);
    raft_message_destroy(decoded.raft);
    cr_assert_eq(atomic_load(&frame->refs), 1);
    buf_unref(frame);
}

Test(peer, entries_whose_headers_are_alike_are_read_as_others)
{
    /* Same headers in a row, and a change of each field of one between them. */
    static const struct {
        uint64_t term;
        enum raft_entry_kind kind;
        size_t bytes;
    } expected[] = {{1, RAFT_ENTRY_COMMAND, 40},    {1, RAFT_ENTRY_COMMAND, 40},
                    {1, RAFT_ENTRY_COMMAND, 41},    {1, RAFT_ENTRY_COMMAND, 40},
                    {200, RAFT_ENTRY_COMMAND, 40},  {200, RAFT_ENTRY_COMMAND, 40},
                    {200, RAFT_ENTRY_SESSION, 40},  {200, RAFT_ENTRY_SESSION, 40},
                    {200, RAFT_ENTRY_NOOP, 0},      {200, RAFT_ENTRY_NOOP, 0},
                    {200, RAFT_ENTRY_SESSION, 300}, {200, RAFT_ENTRY_SESSION, 300}};
    enum { COUNT = sizeof expected / sizeof *expected };
    struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, 200);
    uint8_t payload[300];
    for (size_t i = 0; i < COUNT; i++) {
        memset(payload, (int)('a' + i), sizeof payload);
        sample_add_entry(message, expected[i].term, expected[i].kind, payload, expected[i].bytes);
    }
    struct raft_message *got = round_trip(message);
    struct raft_runs_iter iter = {0};
    for (size_t i = 0; i < COUNT; i++) {
        const struct raft_entry *entry = raft_runs_next(&got->append_request.entries, &iter);
        memset(payload, (int)('a' + i), sizeof payload);
        cr_assert_eq(entry->id.term, expected[i].term);
        cr_assert_eq(entry->kind, expected[i].kind);
        cr_assert_eq(entry->payload.bytes, expected[i].bytes);
        cr_assert_eq(memcmp(entry->payload.data, payload, expected[i].bytes), 0);
    }
    raft_message_destroy(got);
}

Test(peer, frames_after_each_other_are_those_of_messages_alone)
{
    struct raft_message *messages[5] = {
        sample_message(RAFT_APPEND_REQUEST, 9), sample_message(RAFT_APPEND_REQUEST, 9),
        sample_message(RAFT_APPEND_RESPONSE, 9), sample_message(RAFT_APPEND_REQUEST, 9),
        sample_message(RAFT_APPEND_REQUEST, 9)};
    const struct raft_runs *entries = &messages[0]->append_request.entries;
    messages[2]->append_response.result = RAFT_APPEND_ACCEPTED;
    sample_add_commands(messages[0], 3, 20);
    for (int i = 1; i < 5; i++) {
        messages[i]->to = SAMPLE_TO + (raft_node_id)i;
        if (i == 2)
            continue;
        messages[i]->append_request.prev = messages[0]->append_request.prev;
        messages[i]->append_request.commit = (uint64_t)i << 20; /* of another length */
        if (i < 4)
            raft_runs_append_all(&messages[i]->append_request.entries, entries);
        else
            raft_runs_append(&messages[i]->append_request.entries, entries->items[0].batch, 0, 2);
    }
    struct peer_encoded last = {0};
    struct buf *frames[5];
    for (int i = 0; i < 5; i++) {
        frames[i] = peer_encode_raft_after(&sample_identity, messages[i], &last);
        struct buf *alone = peer_encode_raft(&sample_identity, messages[i]);
        cr_assert_eq(frames[i]->bytes, alone->bytes, "message %d", i);
        cr_assert_eq(memcmp(frames[i]->data, alone->data, alone->bytes), 0, "message %d", i);
        buf_unref(alone);
    }
    for (int i = 0; i < 5; i++) {
        buf_unref(frames[i]);
        raft_message_destroy(messages[i]);
    }
}

Test(peer, carries_as_many_entries_as_the_limit_and_refuses_more)
{
    struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, 1);
    sample_add_commands(message, PEER_ENTRIES_MAX, 1);
    struct buf *frame = sample_encode(message);
    struct peer_frame decoded;
    cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_OK);
    cr_assert_eq(decoded.raft->append_request.entries.entry_count, PEER_ENTRIES_MAX);
    raft_message_destroy(decoded.raft);

    /* One more: the entries' header is followed by entries of six bytes each. */
    size_t entries = (size_t)PEER_ENTRIES_MAX * 6;
    uint8_t *header = frame->data + frame->bytes - entries - 3;
    cr_assert_eq(header[0], 0xdc);
    struct buf *more = buf_create(frame->bytes + 6);
    memcpy(more->data, frame->data, frame->bytes);
    memcpy(more->data + frame->bytes, frame->data + frame->bytes - 6, 6);
    more->data[(size_t)(header - frame->data) + 2]++;
    cr_assert_eq(peer_decode(more, &decoded), CONCLAVE_TOO_LARGE);
    buf_unref(more);
    buf_unref(frame);
}

Test(peer, sizes_an_append_request_so_that_nothing_grows)
{
    static const size_t sizes[] = {0, 1, 128, 70000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, UINT64_MAX);
        message->append_request.prev = (struct raft_id){UINT64_MAX, UINT64_MAX - 64};
        message->append_request.commit = UINT64_MAX;
        message->append_request.round = UINT64_MAX;
        sample_add_commands(message, 64, sizes[i]);
        struct buf *frame = sample_encode(message);
        /* What is written never exceeds what is reserved: 167 bytes, 16 and the payload an entry.
         */
        cr_assert_leq(frame->bytes, 167 + 64 * (16 + sizes[i]));
        buf_unref(frame);
    }
}

Test(peer, carries_as_many_marks_of_the_audit_as_fit_and_no_more)
{
    struct audit_mark marks[AUDIT_MARKS_MAX];
    for (uint32_t i = 0; i < AUDIT_MARKS_MAX; i++)
        marks[i] = (struct audit_mark){extremes[1 + i % (EXTREMES - 1)], extremes[i % EXTREMES]};
    static const uint32_t counts[] = {1, 2, 7, AUDIT_MARKS_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct buf *frame = peer_encode_audit(&sample_identity, SAMPLE_TO, marks, counts[i]);
        struct peer_frame decoded;
        cr_assert_eq(peer_decode(frame, &decoded), CONCLAVE_OK);
        cr_assert_eq(decoded.type, PEER_FRAME_AUDIT);
        cr_assert_eq(decoded.audit.count, counts[i]);
        for (uint32_t k = 0; k < counts[i]; k++) {
            cr_assert_eq(decoded.audit.marks[k].index, marks[k].index);
            cr_assert_eq(decoded.audit.marks[k].hash, marks[k].hash);
        }
        buf_unref(frame);
    }
}

/* The header of an audit frame and a list of this many ones behind it. */
static int decode_ones(uint32_t count)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_array(&pack, 8);
    const uint64_t header[] = {PEER_PROTOCOL_VERSION, 0, 5, 1, 2, 3, PEER_FRAME_AUDIT};
    for (size_t i = 0; i < sizeof header / sizeof header[0]; i++)
        pack_uint(&pack, header[i]);
    pack_array(&pack, count);
    for (uint32_t i = 0; i < count; i++)
        pack_uint(&pack, 1);
    struct buf *frame = pack_take(&pack);
    struct peer_frame decoded;
    int code = peer_decode(frame, &decoded);
    buf_unref(frame);
    return code;
}

Test(peer, refuses_marks_of_the_audit_that_are_none_half_or_too_many)
{
    cr_assert_eq(decode_ones(2), CONCLAVE_OK);
    cr_assert_eq(decode_ones(2 * AUDIT_MARKS_MAX), CONCLAVE_OK);
    cr_assert_eq(decode_ones(0), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_ones(1), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_ones(3), CONCLAVE_MALFORMED);
    cr_assert_eq(decode_ones(2 * AUDIT_MARKS_MAX + 2), CONCLAVE_MALFORMED);
}

/* --- Repair ----------------------------------------------------------------------------------- */

Test(peer, carries_what_a_damaged_log_asks_for)
{
    const struct peer_repair ask = {.number = UINT64_MAX,
                                    .prev = {.index = 7},
                                    .last = 9,
                                    .anchor = {.term = 3, .index = 9},
                                    .snapshot = true};
    struct buf *frame = peer_encode_repair_ask(&sample_identity, SAMPLE_TO, &ask);
    struct peer_frame got;
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_OK);
    cr_assert_eq(got.type, PEER_FRAME_REPAIR_ASK);
    cr_assert_eq(got.repair.number, UINT64_MAX);
    cr_assert_eq(got.repair.prev.index, 7);
    cr_assert_eq(got.repair.last, 9);
    cr_assert(raft_id_equal(got.repair.anchor, ask.anchor));
    cr_assert(got.repair.snapshot);
    buf_unref(frame);
}

static struct peer_snapshot sample_ack(void)
{
    return (struct peer_snapshot){
        .name = UINT64_MAX, .id = {.term = 3, .index = 40}, .bytes = 1050, .offset = 1000};
}

Test(peer, carries_a_piece_of_a_snapshot)
{
    struct peer_snapshot piece = sample_ack();
    piece.data = (struct slice){(const uint8_t *)"fifty bytes", 11};
    struct buf *frame = peer_encode_snapshot(&sample_identity, SAMPLE_TO, &piece);
    struct peer_frame got;
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_OK);
    cr_assert_eq(got.type, PEER_FRAME_SNAPSHOT);
    cr_assert_eq(got.snapshot.name, piece.name);
    cr_assert(raft_id_equal(got.snapshot.id, piece.id));
    cr_assert_eq(got.snapshot.bytes, piece.bytes);
    cr_assert_eq(got.snapshot.offset, piece.offset);
    cr_assert_eq(got.snapshot.data.bytes, 11);
    cr_assert_arr_eq(got.snapshot.data.data, "fifty bytes", 11);
    cr_assert_not(got.snapshot.done || got.snapshot.bad);
    buf_unref(frame);
}

Test(peer, carries_what_became_of_a_snapshot)
{
    for (int i = 0; i < 4; i++) {
        struct peer_snapshot ack = sample_ack();
        ack.done = (i & 1) != 0;
        ack.bad = (i & 2) != 0;
        struct buf *frame = peer_encode_snapshot_ack(&sample_identity, SAMPLE_TO, &ack);
        struct peer_frame got;
        cr_assert_eq(peer_decode(frame, &got), CONCLAVE_OK);
        cr_assert_eq(got.type, PEER_FRAME_SNAPSHOT_ACK);
        cr_assert_eq(got.snapshot.offset, ack.offset);
        cr_assert_eq(got.snapshot.done, ack.done);
        cr_assert_eq(got.snapshot.bad, ack.bad);
        cr_assert_eq(got.snapshot.data.bytes, 0);
        buf_unref(frame);
    }
}

Test(peer, refuses_pieces_beyond_the_file)
{
    struct peer_snapshot piece = sample_ack();
    static const uint8_t data[51];
    piece.data = (struct slice){data, sizeof data};
    struct buf *frame = peer_encode_snapshot(&sample_identity, SAMPLE_TO, &piece);
    struct peer_frame got;
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_MALFORMED);
    buf_unref(frame);
    struct peer_snapshot ack = sample_ack();
    ack.offset = ack.bytes + 1;
    frame = peer_encode_snapshot_ack(&sample_identity, SAMPLE_TO, &ack);
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_MALFORMED);
    buf_unref(frame);
}

Test(peer, refuses_an_ask_beyond_its_anchor)
{
    const struct peer_repair asks[] = {
        {.prev = {.index = 7}, .last = 10, .anchor = {.term = 3, .index = 9}},
        {.prev = {.index = 7}, .last = 6, .anchor = {.term = 3, .index = 9}},
    };
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        struct buf *frame = peer_encode_repair_ask(&sample_identity, SAMPLE_TO, &asks[i]);
        struct peer_frame got;
        cr_assert_eq(peer_decode(frame, &got), CONCLAVE_MALFORMED, "%zu", i);
        buf_unref(frame);
    }
}

Test(peer, carries_entries_for_a_damaged_log)
{
    struct peer_repair answer = {
        .number = 4, .result = PEER_REPAIR_HERE, .prev = {.term = 2, .index = 300}};
    struct raft_batch *batch = raft_batch_create(2);
    struct buf *payload = buf_copy("abc", 3);
    raft_batch_add(batch, (struct raft_entry){.id = {.term = 2, .index = 301},
                                              .kind = RAFT_ENTRY_SESSION,
                                              .buf = payload,
                                              .payload = {payload->data, payload->bytes}});
    raft_batch_add(batch, (struct raft_entry){.id = {.term = 5, .index = 302}});
    raft_runs_append(&answer.entries, batch, 0, 2);
    raft_batch_unref(batch);
    struct buf *frame = peer_encode_repair_answer(&sample_identity, SAMPLE_TO, &answer);
    raft_runs_clear(&answer.entries);
    struct peer_frame got;
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_OK);
    buf_unref(frame); /* the entries hold it */
    cr_assert_eq(got.type, PEER_FRAME_REPAIR_ANSWER);
    cr_assert_eq(got.repair.result, PEER_REPAIR_HERE);
    cr_assert_eq(got.repair.prev.index, 300);
    cr_assert_eq(got.repair.entries.entry_count, 2);
    const struct raft_entry *entry = raft_runs_find(&got.repair.entries, 301);
    cr_assert_eq(entry->id.term, 2);
    cr_assert_eq(entry->kind, RAFT_ENTRY_SESSION);
    cr_assert_eq(entry->payload.bytes, 3);
    cr_assert_eq(memcmp(entry->payload.data, "abc", 3), 0);
    cr_assert_eq(raft_runs_last(&got.repair.entries).term, 5);
    raft_runs_clear(&got.repair.entries);
}

Test(peer, refuses_an_unknown_result_of_repair)
{
    for (int result = 0; result <= PEER_REPAIR_LATER + 1; result += PEER_REPAIR_LATER + 1) {
        const struct peer_repair answer = {.result = (enum peer_repair_result)result};
        struct buf *frame = peer_encode_repair_answer(&sample_identity, SAMPLE_TO, &answer);
        struct peer_frame got;
        cr_assert_eq(peer_decode(frame, &got), CONCLAVE_MALFORMED, "%d", result);
        buf_unref(frame);
    }
}

Test(peer, repair_can_be_asked_of_any_log_and_answered_without_knowing_what_is_before)
{
    struct peer_frame got = {0};
    const struct peer_repair ask = {.number = 1, .prev = {.index = 7}, .last = 9};
    struct buf *frame = peer_encode_repair_ask(&sample_identity, SAMPLE_TO, &ask);
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_OK);
    cr_assert_eq(got.repair.anchor.index, 0);
    cr_assert_eq(got.repair.last, 9);
    buf_unref(frame);

    struct peer_repair answer = {.result = PEER_REPAIR_HERE, .prev = {.term = 0, .index = 300}};
    frame = peer_encode_repair_answer(&sample_identity, SAMPLE_TO, &answer);
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_OK);
    cr_assert_eq(got.repair.prev.index, 300);
    cr_assert_eq(got.repair.prev.term, 0);
    buf_unref(frame);

    answer.prev = (struct raft_id){.term = 3, .index = 0};
    frame = peer_encode_repair_answer(&sample_identity, SAMPLE_TO, &answer);
    cr_assert_eq(peer_decode(frame, &got), CONCLAVE_MALFORMED);
    buf_unref(frame);
}
