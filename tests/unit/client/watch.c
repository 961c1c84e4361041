/* A watch against a node that says what the test tells it to. */
#include "conclave_watch.h"

#include "codec/client.h"
#include "codec/stream.h"
#include "codec/watch.h"

#include <criterion/criterion.h>
#include <string.h>
#include <zmq.h>

struct stage {
    void *context, *router;
    struct conclave_watch *watch;
    uint8_t client[256];
    size_t client_bytes;
    struct client_op op; /* the last that came; the body points into the next one */
    uint8_t frame[4096];
    struct stream_subscribe subscribe;
    struct stream_credit credit;
    uint64_t id;     /* of the last SUBSCRIBE */
    uint64_t number; /* of the last frame that was sent to it */
};

static struct slice text(const char *name)
{
    return (struct slice){(const uint8_t *)name, strlen(name)};
}

static void stage_open(struct stage *stage, bool initial)
{
    struct conclave_watch_options options;
    struct conclave_error error;
    *stage = (struct stage){.context = zmq_ctx_new()};
    stage->router = zmq_socket(stage->context, ZMQ_ROUTER);
    cr_assert_eq(zmq_bind(stage->router, "inproc://node"), 0);
    conclave_watch_options_init(&options);
    options.endpoints = "inproc://node";
    options.zmq_context = stage->context;
    options.key = "k";
    options.key_bytes = 1;
    options.prefix = true;
    options.revision = 5;
    options.initial = initial;
    cr_assert_eq(conclave_watch_create(&options, &stage->watch, &error), CONCLAVE_OK, "%s",
                 error.message);
}

static void stage_close(struct stage *stage)
{
    conclave_watch_destroy(stage->watch);
    zmq_close(stage->router);
    zmq_ctx_term(stage->context);
}

/* Nothing is handed out now; *ret_code is what is said instead. */
static int silence(struct stage *stage, uint32_t timeout_ms)
{
    struct conclave_watch_event event;
    int code = conclave_watch_next(stage->watch, timeout_ms, &event);
    cr_assert_neq(code, CONCLAVE_OK, "an event of kind %d", event.kind);
    return code;
}

/* The next operation of the watch, which is asked for nothing meanwhile. */
static void hear(struct stage *stage, uint32_t type)
{
    int got = -1;
    do {
        silence(stage, 1);
        got = zmq_recv(stage->router, stage->client, sizeof stage->client, ZMQ_DONTWAIT);
    } while (got < 0);
    stage->client_bytes = (size_t)got;
    got = zmq_recv(stage->router, stage->frame, sizeof stage->frame, 0);
    struct client_reader reader;
    cr_assert_eq(client_request_begin(&reader, stage->frame, (size_t)got), CONCLAVE_OK);
    do { /* what was left is said goodbye to in front */
        cr_assert_eq(client_request_next(&reader, &stage->op), 1);
    } while (stage->op.type == CLIENT_OP_UNSUBSCRIBE);
    cr_assert_eq(stage->op.type, type);
    if (type == CLIENT_OP_CREDIT)
        cr_assert_eq(stream_credit_decode(stage->op.body, &stage->credit), CONCLAVE_OK);
    if (type != CLIENT_OP_SUBSCRIBE)
        return;
    cr_assert_eq(stream_subscribe_decode(stage->op.body, &stage->subscribe), CONCLAVE_OK);
    stage->id = stage->op.id;
    stage->number = 0;
}

static void reply(struct stage *stage, uint64_t id, int code, const void *body, size_t bytes)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_bin(&pack, id, code, body, bytes);
    zmq_send(stage->router, stage->client, stage->client_bytes, ZMQ_SNDMORE);
    zmq_send(stage->router, pack.buf->data, pack.bytes, 0);
    pack_deinit(&pack);
}

static void say(struct stage *stage, struct stream_frame frame)
{
    struct pack pack;
    frame.number = ++stage->number;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &frame);
    reply(stage, stage->id, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
}

static void say_begun(struct stage *stage)
{
    say(stage, (struct stream_frame){.type = STREAM_BEGUN,
                                     .position = stage->subscribe.position,
                                     .lifetime_ms = STREAM_LIFETIME_MS});
}

static void say_put(struct stage *stage, const char *key, uint64_t revision, uint64_t position,
                    bool more)
{
    struct pack items;
    pack_init(&items, 0);
    watch_event_pack(&items, &(struct watch_event){.kind = WATCH_PUT,
                                                   .key = text(key),
                                                   .value = text("v"),
                                                   .revision = revision,
                                                   .create_revision = revision,
                                                   .version = 1});
    say(stage, (struct stream_frame){.type = STREAM_EVENTS,
                                     .position = position,
                                     .more = more,
                                     .count = 1,
                                     .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static void say_item(struct stage *stage, const char *key, uint64_t position, bool more)
{
    struct pack items;
    pack_init(&items, 0);
    kv_item_pack(&items, &(struct kv_item){.key = text(key),
                                           .value = text("v"),
                                           .create_revision = 1,
                                           .mod_revision = 1,
                                           .version = 1});
    say(stage, (struct stream_frame){.type = STREAM_STATE,
                                     .position = position,
                                     .more = more,
                                     .count = 1,
                                     .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

static struct conclave_watch_event expect(struct stage *stage, enum conclave_watch_kind kind,
                                          const char *key, uint64_t revision)
{
    struct conclave_watch_event event;
    cr_assert_eq(conclave_watch_next(stage->watch, 10000, &event), CONCLAVE_OK);
    cr_assert_eq(event.kind, kind, "%d, not %d", event.kind, kind);
    cr_assert_eq(event.revision, revision, "revision %llu", (unsigned long long)event.revision);
    if (key)
        cr_assert(event.key_bytes == strlen(key) && memcmp(event.key, key, event.key_bytes) == 0);
    return event;
}

Test(watch, hands_out_what_comes_and_knows_where_it_is)
{
    struct stage stage;
    stage_open(&stage, false);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage.subscribe.kind, STREAM_WATCH);
    cr_assert_eq(stage.subscribe.position, 5);
    say_begun(&stage);
    say_put(&stage, "k1", 7, 8, false);
    cr_assert(expect(&stage, CONCLAVE_WATCH_PUT, "k1", 7).last);
    cr_assert_eq(conclave_watch_position(stage.watch), 8);
    say(&stage, (struct stream_frame){.type = STREAM_PROGRESS, .position = 11, .age_ms = 3});
    cr_assert_not(expect(&stage, CONCLAVE_WATCH_PROGRESS, NULL, 10).asked);
    cr_assert_eq(conclave_watch_position(stage.watch), 11);
    stage_close(&stage);
}

Test(watch, begins_again_behind_what_came_when_a_frame_is_missing)
{
    struct stage stage;
    stage_open(&stage, false);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    say_begun(&stage);
    say_put(&stage, "k1", 7, 8, false);
    stage.number++; /* lost */
    say_put(&stage, "k3", 9, 10, false);
    say_put(&stage, "k4", 10, 11, false);
    expect(&stage, CONCLAVE_WATCH_PUT, "k1", 7);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage.subscribe.position, 8);
    say_begun(&stage);
    say_put(&stage, "k2", 8, 9, false);
    expect(&stage, CONCLAVE_WATCH_PUT, "k2", 8);
    stage_close(&stage);
}

Test(watch, a_revision_is_handed_out_when_it_is_whole)
{
    struct stage stage;
    stage_open(&stage, false);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    say_begun(&stage);
    say_put(&stage, "k1", 7, 7, true);
    cr_assert_eq(silence(&stage, 20), CONCLAVE_TIMEOUT);
    reply(&stage, stage.id, CONCLAVE_STOPPING, "", 0);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage.subscribe.position, 5, "what was not whole is wanted again");
    say_begun(&stage);
    say_put(&stage, "k1", 7, 7, true);
    say_put(&stage, "k2", 7, 8, false);
    expect(&stage, CONCLAVE_WATCH_PUT, "k1", 7);
    cr_assert_eq(conclave_watch_position(stage.watch), 5, "in the middle of it");
    cr_assert(expect(&stage, CONCLAVE_WATCH_PUT, "k2", 7).last);
    cr_assert_eq(conclave_watch_position(stage.watch), 8);
    stage_close(&stage);
}

Test(watch, a_state_that_breaks_off_begins_anew_and_says_so)
{
    struct stage stage;
    stage_open(&stage, true);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    say_begun(&stage);
    say_item(&stage, "k1", 20, true);
    expect(&stage, CONCLAVE_WATCH_STATE, "k1", 1);
    reply(&stage, stage.id, CONCLAVE_STOPPING, "", 0);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    say_begun(&stage);
    expect(&stage, CONCLAVE_WATCH_RESYNC, NULL, 0);
    say_item(&stage, "k1", 30, true);
    say_item(&stage, "k2", 31, false);
    expect(&stage, CONCLAVE_WATCH_STATE, "k1", 1);
    cr_assert_eq(conclave_watch_position(stage.watch), 0);
    expect(&stage, CONCLAVE_WATCH_STATE, "k2", 1);
    expect(&stage, CONCLAVE_WATCH_SYNCED, NULL, 30);
    cr_assert_eq(conclave_watch_position(stage.watch), 31);
    reply(&stage, stage.id, CONCLAVE_STOPPING, "", 0);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage.subscribe.position, 31, "it has the state");
    struct watch_spec spec;
    cr_assert_eq(watch_spec_decode(stage.subscribe.spec, &spec), CONCLAVE_OK);
    cr_assert_eq(spec.what & WATCH_INITIAL, 0);
    stage_close(&stage);
}

Test(watch, one_that_is_too_late_gets_the_state_at_another_node_too)
{
    struct stage stage;
    stage_open(&stage, false);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    say_begun(&stage);
    say(&stage, (struct stream_frame){.type = STREAM_RESYNC, .position = 5, .oldest = 90});
    cr_assert_eq(expect(&stage, CONCLAVE_WATCH_RESYNC, NULL, 5).oldest, 90);
    reply(&stage, stage.id, CONCLAVE_STOPPING, "", 0);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    struct watch_spec spec;
    cr_assert_eq(watch_spec_decode(stage.subscribe.spec, &spec), CONCLAVE_OK);
    cr_assert_eq(spec.what & WATCH_INITIAL, WATCH_INITIAL);
    stage_close(&stage);
}

Test(watch, asks_and_grants)
{
    struct stage stage;
    char value[200000];
    struct pack items;
    stage_open(&stage, false);
    conclave_watch_ask(stage.watch);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    uint64_t granted = stage.subscribe.granted, revision = 5;
    say_begun(&stage);
    hear(&stage, CLIENT_OP_CREDIT);
    uint64_t ask = stage.credit.ask;
    cr_assert_neq(ask, 0);
    say(&stage, (struct stream_frame){.type = STREAM_PROGRESS, .position = revision, .ask = ask});
    cr_assert(expect(&stage, CONCLAVE_WATCH_PROGRESS, NULL, revision - 1).asked);
    memset(value, 'v', sizeof value);
    for (; revision < 8; revision++) {
        pack_init(&items, 0);
        watch_event_pack(&items, &(struct watch_event){.kind = WATCH_PUT,
                                                       .key = text("k"),
                                                       .value = {(uint8_t *)value, sizeof value},
                                                       .revision = revision});
        say(&stage, (struct stream_frame){.type = STREAM_EVENTS,
                                          .position = revision + 1,
                                          .count = 1,
                                          .items = {items.buf->data, items.bytes}});
        pack_deinit(&items);
        expect(&stage, CONCLAVE_WATCH_PUT, "k", revision);
    }
    hear(&stage, CLIENT_OP_CREDIT);
    cr_assert_gt(stage.credit.granted, granted + 2 * sizeof value);
    stage_close(&stage);
}

Test(watch, ends_where_no_node_would_answer_otherwise)
{
    struct stage stage;
    stage_open(&stage, false);
    hear(&stage, CLIENT_OP_SUBSCRIBE);
    reply(&stage, stage.id, CONCLAVE_INVALID, "", 0);
    cr_assert_eq(silence(&stage, 10000), CONCLAVE_INVALID);
    cr_assert_eq(silence(&stage, 0), CONCLAVE_INVALID, "for good");
    stage_close(&stage);
}

Test(watch, checks_its_options)
{
    struct conclave_watch_options options;
    struct conclave_watch *watch = NULL;
    conclave_watch_options_init(&options);
    cr_assert_eq(conclave_watch_create(&options, &watch, NULL), CONCLAVE_INVALID, "no endpoint");
    options.endpoints = "tcp://127.0.0.1:1";
    cr_assert_eq(conclave_watch_create(&options, &watch, NULL), CONCLAVE_INVALID, "no key");
    options.prefix = true;
    options.endpoints = "nonsense";
    cr_assert_eq(conclave_watch_create(&options, &watch, NULL), CONCLAVE_INVALID);
    options.endpoints = "inproc://node";
    cr_assert_eq(conclave_watch_create(&options, &watch, NULL), CONCLAVE_INVALID, "whose context?");
    options.endpoints = "tcp://127.0.0.1:1";
    cr_assert_eq(conclave_watch_create(&options, &watch, NULL), CONCLAVE_OK);
    cr_assert_geq(conclave_watch_fd(watch), 0);
    conclave_watch_destroy(watch);
    conclave_watch_destroy(NULL);
}
