#include "samples.h"

#include "base/fatal.h"
#include "codec/stream.h"
#include "codec/topic.h"
#include "codec/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct peer_identity sample_identity = {
    .cluster_id = UINT64_C(0xfedcba9876543210),
    .node_id = UINT64_C(0x1f00000000000f),
    .incarnation = UINT64_C(0x8000000000000001),
};

struct raft_message *sample_message(enum raft_message_type type, uint64_t term)
{
    return raft_message_create(type, sample_identity.node_id, SAMPLE_TO, term);
}

static void add_entry(struct raft_batch *batch, struct raft_id id, enum raft_entry_kind kind,
                      const void *payload, size_t bytes)
{
    struct buf *buf = bytes ? buf_copy(payload, bytes) : NULL;
    raft_batch_add(batch, (struct raft_entry){
                              .id = id,
                              .buf = buf,
                              .payload = {buf ? buf->data : NULL, bytes},
                              .kind = kind,
                          });
}

static uint64_t next_index(const struct raft_append_request *request)
{
    return request->prev.index + request->entries.entry_count + 1;
}

static void add_batch(struct raft_append_request *request, struct raft_batch *batch)
{
    raft_runs_append(&request->entries, batch, 0, batch->count);
    raft_batch_unref(batch);
}

void sample_add_entry(struct raft_message *message, uint64_t term, enum raft_entry_kind kind,
                      const void *payload, size_t bytes)
{
    struct raft_append_request *request = &message->append_request;
    struct raft_batch *batch = raft_batch_create(1);
    add_entry(batch, (struct raft_id){term, next_index(request)}, kind, payload, bytes);
    add_batch(request, batch);
}

void sample_add_commands(struct raft_message *message, uint32_t count, size_t bytes)
{
    struct raft_append_request *request = &message->append_request;
    struct raft_batch *batch = raft_batch_create(count);
    uint8_t *payload = mem_zalloc(bytes);
    memset(payload, 'c', bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct raft_id id = {message->term, next_index(request) + i};
        add_entry(batch, id, RAFT_ENTRY_COMMAND, payload, bytes);
    }
    free(payload);
    add_batch(request, batch);
}

struct buf *sample_encode(struct raft_message *message)
{
    struct buf *frame = peer_encode_raft(&sample_identity, message);
    raft_message_destroy(message);
    return frame;
}

/* --- Frames between nodes --------------------------------------------------------------------- */

static struct buf *vote_request(enum raft_message_type type)
{
    struct raft_message *message = sample_message(type, 300);
    message->vote_request.last = (struct raft_id){299, 70000};
    return sample_encode(message);
}

static struct buf *vote_response(enum raft_message_type type, bool granted)
{
    struct raft_message *message = sample_message(type, 300);
    message->vote_response.granted = granted;
    message->vote_response.campaign_term = 301;
    return sample_encode(message);
}

static struct buf *append_request(bool with_entries)
{
    struct raft_message *message = sample_message(RAFT_APPEND_REQUEST, 300);
    struct raft_append_request *request = &message->append_request;
    request->prev = (struct raft_id){128, 65535};
    request->commit = 65536;
    request->round = 9;
    if (with_entries) {
        sample_add_entry(message, 128, RAFT_ENTRY_COMMAND, "old", 3);
        sample_add_entry(message, 299, RAFT_ENTRY_NOOP, NULL, 0);
        sample_add_entry(message, 299, RAFT_ENTRY_CONFIG, "configuration", 13);
        sample_add_commands(message, 3, 40);
    }
    return sample_encode(message);
}

static struct buf *append_response(enum raft_append_result result)
{
    struct raft_message *message = sample_message(RAFT_APPEND_RESPONSE, 300);
    message->append_response = (struct raft_append_response){
        .result = result,
        .match = 65538,
        .rejected = 70000,
        .conflict = {17, 4096},
        .last_index = 65540,
        .round = 9,
        .life = 70001,
        .promise_us = 500000,
    };
    return sample_encode(message);
}

static struct buf *hello(const char *client)
{
    struct peer_hello greeting = {.name = "n1"};
    snprintf(greeting.client, sizeof greeting.client, "%s", client);
    snprintf(greeting.peer, sizeof greeting.peer, "%s", "tcp://127.0.0.1:7401");
    return peer_encode_hello(&sample_identity, SAMPLE_TO, &greeting);
}

/* --- Frames of clients ------------------------------------------------------------------------ */

static struct buf *request(void)
{
    static const struct client_op ops[] = {
        {1, CLIENT_OP_PROPOSE, {(const uint8_t *)"command", 7}, 0},
        {2, CLIENT_OP_READ, {(const uint8_t *)"query", 5}, 0},
        {UINT64_C(0x1fffffffffffff), CLIENT_OP_STATUS, {NULL, 0}, 0},
        {70000, CLIENT_OP_LEADER, {NULL, 0}, 0},
        {200, 99, {NULL, 0}, 0},
    };
    enum { COUNT = sizeof ops / sizeof ops[0] };
    struct pack pack;
    pack_init(&pack, 0);
    client_request_pack(&pack, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        client_op_pack(&pack, &ops[i]);
    return pack_take(&pack);
}

static const struct client_redirect redirect = {
    .leader = "n2", .endpoint = "tcp://127.0.0.1:7502", .term = 300};

static struct buf *reply(void)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 4);
    client_reply_pack_bin(&pack, 1, CONCLAVE_OK, "answer", 6);
    client_reply_pack_bin(&pack, 2, CONCLAVE_COMPARE_FAILED, NULL, 0);
    client_reply_pack_text(&pack, 3, CONCLAVE_BUSY, "64 MiB are on their way; try again later");
    client_reply_pack_redirect(&pack, 4, CONCLAVE_NOT_LEADER, &redirect);
    return pack_take(&pack);
}

static struct buf *redirect_body(void)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_redirect(&pack, 1, CONCLAVE_OK, &redirect);
    struct buf *frame = pack_take(&pack);
    struct client_reader reader;
    struct client_reply only;
    int code = client_reply_begin(&reader, frame->data, frame->bytes);
    ASSERT(code == CONCLAVE_OK);
    int got = client_reply_next(&reader, &only);
    ASSERT(got == 1);
    struct buf *body = buf_copy(only.body.data, only.body.bytes);
    buf_unref(frame);
    return body;
}

void sample_status(struct client_status *status)
{
    *status = (struct client_status){
        .cluster_id = sample_identity.cluster_id,
        .name = "n1",
        .id = sample_identity.node_id,
        .role = "follower",
        .term = 300,
        .leader = "n2",
        .commit = 65538,
        .applied = 65537,
        .last_index = 65540,
        .durable_index = 65539,
        .revision = 60000,
        .pid = 4194304,
        .uptime_ms = 86400000,
        .audited = 65536,
        .deviating = "n3",
        .feed = "tcp://127.0.0.1:7601",
        .version = "0.1.0",
        .serving = true,
        .member_count = 2,
        .members = {{.name = "n1",
                     .id = sample_identity.node_id,
                     .peer = "tcp://127.0.0.1:7401",
                     .client = "tcp://127.0.0.1:7501",
                     .voter = true},
                    {.name = "n2", .id = SAMPLE_TO, .peer = "tcp://127.0.0.1:7402"}},
    };
}

static struct buf *status_body(void)
{
    struct client_status status;
    sample_status(&status);
    return client_status_encode(&status);
}

/* --- Repair ----------------------------------------------------------------------------------- */

static struct buf *repair_ask(void)
{
    const struct peer_repair ask = {.number = 7,
                                    .prev = {.index = 300},
                                    .last = 302,
                                    .anchor = {.term = 3, .index = 305},
                                    .snapshot = true};
    return peer_encode_repair_ask(&sample_identity, SAMPLE_TO, &ask);
}

static struct buf *repair_answer(enum peer_repair_result result)
{
    struct peer_repair answer = {.number = 7, .result = result};
    if (result == PEER_REPAIR_HERE) {
        answer.prev = (struct raft_id){.term = 2, .index = 300};
        struct raft_batch *batch = raft_batch_create(2);
        struct buf *payload = buf_copy("hi", 2);
        raft_batch_add(batch, (struct raft_entry){.id = {.term = 2, .index = 301},
                                                  .kind = RAFT_ENTRY_COMMAND,
                                                  .buf = payload,
                                                  .payload = {payload->data, payload->bytes}});
        raft_batch_add(batch, (struct raft_entry){.id = {.term = 3, .index = 302}});
        raft_runs_append(&answer.entries, batch, 0, 2);
        raft_batch_unref(batch);
    }
    struct buf *frame = peer_encode_repair_answer(&sample_identity, SAMPLE_TO, &answer);
    raft_runs_clear(&answer.entries);
    return frame;
}

/* --- Subscriptions ---------------------------------------------------------------------------- */

static struct slice slice_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static struct buf *subscribe(enum stream_kind kind)
{
    struct pack spec, pack;
    pack_init(&spec, 0);
    pack_init(&pack, 0);
    if (kind == STREAM_WATCH)
        watch_spec_pack(&spec, &(struct watch_spec){.bounds = {slice_of("k"), slice_of("l"), false},
                                                    .what = WATCH_INITIAL | WATCH_PREVIOUS,
                                                    .space = 1});
    else
        topic_spec_pack(&spec, &(struct topic_spec){slice_of("jobs"), 7});
    stream_subscribe_pack(
        &pack, &(struct stream_subscribe){kind, 301, 65536, {spec.buf->data, spec.bytes}});
    pack_deinit(&spec);
    return pack_take(&pack);
}

static struct buf *credit(uint64_t ask)
{
    struct pack pack;
    pack_init(&pack, 0);
    stream_credit_pack(&pack, &(struct stream_credit){131072, ask});
    return pack_take(&pack);
}

static struct buf *stream_frame(enum stream_frame_type type)
{
    struct pack pack;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &(struct stream_frame){.number = 4,
                                                    .type = type,
                                                    .position = 310,
                                                    .lifetime_ms = 30000,
                                                    .age_ms = 4,
                                                    .ask = 5,
                                                    .oldest = 400});
    return pack_take(&pack);
}

static struct buf *frame_of_events(void)
{
    struct pack items, pack;
    const struct kv_item previous = {.value = slice_of("old"), .mod_revision = 8, .version = 2};
    pack_init(&items, 0);
    pack_init(&pack, 0);
    watch_event_pack(&items, &(struct watch_event){.kind = WATCH_PUT,
                                                   .key = slice_of("k1"),
                                                   .value = slice_of("hi"),
                                                   .revision = 300,
                                                   .version = 1});
    watch_event_pack(&items, &(struct watch_event){.kind = WATCH_DELETE,
                                                   .key = slice_of("k2"),
                                                   .revision = 301,
                                                   .has_previous = true,
                                                   .previous = previous});
    stream_frame_pack(&pack, &(struct stream_frame){.number = 2,
                                                    .type = STREAM_EVENTS,
                                                    .position = 302,
                                                    .count = 2,
                                                    .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
    return pack_take(&pack);
}

static struct buf *frame_of_messages(void)
{
    struct pack items, pack;
    pack_init(&items, 0);
    pack_init(&pack, 0);
    for (uint64_t i = 0; i < 3; i++)
        topic_item_pack(&items, &(struct topic_item){.sequence = 7 + i,
                                                     .revision = 300,
                                                     .time_ms = 5000,
                                                     .message = {.data = slice_of("hi"),
                                                                 .id = slice_of(i ? "m1" : "")}});
    stream_frame_pack(&pack, &(struct stream_frame){.number = 2,
                                                    .type = STREAM_EVENTS,
                                                    .position = 10,
                                                    .more = true,
                                                    .count = 3,
                                                    .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
    return pack_take(&pack);
}

/* --- All of them ------------------------------------------------------------------------------ */

size_t samples_make(struct sample samples[SAMPLES_MAX])
{
    const struct sample all[] = {
        {"prevote request", SAMPLE_PEER, vote_request(RAFT_PREVOTE_REQUEST)},
        {"prevote response", SAMPLE_PEER, vote_response(RAFT_PREVOTE_RESPONSE, false)},
        {"vote request", SAMPLE_PEER, vote_request(RAFT_VOTE_REQUEST)},
        {"vote response", SAMPLE_PEER, vote_response(RAFT_VOTE_RESPONSE, true)},
        {"heartbeat", SAMPLE_PEER, append_request(false)},
        {"append request", SAMPLE_PEER, append_request(true)},
        {"append accepted", SAMPLE_PEER, append_response(RAFT_APPEND_ACCEPTED)},
        {"append rejected", SAMPLE_PEER, append_response(RAFT_APPEND_REJECTED)},
        {"append stale", SAMPLE_PEER, append_response(RAFT_APPEND_STALE)},
        {"read request", SAMPLE_PEER, sample_encode(sample_message(RAFT_READ_REQUEST, 300))},
        {"read response", SAMPLE_PEER, sample_encode(sample_message(RAFT_READ_RESPONSE, 300))},
        {"timeout now", SAMPLE_PEER, sample_encode(sample_message(RAFT_TIMEOUT_NOW, 300))},
        {"hello", SAMPLE_PEER, hello("tcp://127.0.0.1:7501")},
        {"refused", SAMPLE_PEER,
         peer_encode_refused(&sample_identity, SAMPLE_TO, PEER_REFUSAL_REMOVED)},
        {"audit", SAMPLE_PEER,
         peer_encode_audit(&sample_identity, SAMPLE_TO,
                           (const struct audit_mark[]){{1024, UINT64_MAX}, {2048, 7}}, 2)},
        {"hello without clients", SAMPLE_PEER, hello("")},
        {"repair ask", SAMPLE_PEER, repair_ask()},
        {"repair answer", SAMPLE_PEER, repair_answer(PEER_REPAIR_HERE)},
        {"repair answer without entries", SAMPLE_PEER, repair_answer(PEER_REPAIR_COMPACTED)},
        {"request", SAMPLE_REQUEST, request()},
        {"reply", SAMPLE_REPLY, reply()},
        {"redirect", SAMPLE_REDIRECT, redirect_body()},
        {"status", SAMPLE_STATUS, status_body()},
        {"subscription to keys", SAMPLE_SUBSCRIBE, subscribe(STREAM_WATCH)},
        {"subscription to a topic", SAMPLE_SUBSCRIBE, subscribe(STREAM_TOPIC)},
        {"credit", SAMPLE_CREDIT, credit(0)},
        {"credit that asks", SAMPLE_CREDIT, credit(5)},
        {"begun", SAMPLE_FRAME, stream_frame(STREAM_BEGUN)},
        {"progress", SAMPLE_FRAME, stream_frame(STREAM_PROGRESS)},
        {"resync", SAMPLE_FRAME, stream_frame(STREAM_RESYNC)},
        {"events of keys", SAMPLE_FRAME, frame_of_events()},
        {"events of a topic", SAMPLE_FRAME, frame_of_messages()},
    };
    _Static_assert(sizeof all <= SAMPLES_MAX * sizeof all[0], "room for all samples");
    memcpy(samples, all, sizeof all);
    return sizeof all / sizeof all[0];
}

void samples_free(struct sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_unref(samples[i].bytes);
}
