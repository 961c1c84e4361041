/* A subscription to a topic against a node that says what the test tells it to. */
#include "codec/client.h"
#include "codec/stream.h"
#include "conclave_topic.h"

#include <criterion/criterion.h>
#include <zmq.h>

static void *context, *router;
static struct conclave_subscription *subscription;
static uint8_t client[256];
static size_t client_bytes;

static void setup(void)
{
    struct conclave_subscription_options options;
    struct conclave_error error;
    context = zmq_ctx_new();
    router = zmq_socket(context, ZMQ_ROUTER);
    cr_assert_eq(zmq_bind(router, "inproc://node"), 0);
    conclave_subscription_options_init(&options);
    options.endpoints = "inproc://node";
    options.zmq_context = context;
    options.topic = "t";
    options.topic_bytes = 1;
    options.sequence = 5;
    cr_assert_eq(conclave_subscription_create(&options, &subscription, &error), CONCLAVE_OK);
}

static void teardown(void)
{
    conclave_subscription_destroy(subscription);
    zmq_close(router);
    zmq_ctx_term(context);
}

TestSuite(subscription, .init = setup, .fini = teardown);

static int silence(uint32_t timeout_ms)
{
    struct conclave_subscription_event event;
    int code = conclave_subscription_next(subscription, timeout_ms, &event);
    cr_assert_neq(code, CONCLAVE_OK);
    return code;
}

/* The id of the next SUBSCRIBE, which is for the message of that sequence. */
static uint64_t hear_subscribe(uint64_t sequence)
{
    uint8_t frame[4096];
    struct client_reader reader;
    struct client_op op;
    struct stream_subscribe subscribe;
    do {
        int got;
        do {
            cr_assert_eq(silence(1), CONCLAVE_TIMEOUT);
            got = zmq_recv(router, client, sizeof client, ZMQ_DONTWAIT);
        } while (got < 0);
        client_bytes = (size_t)got;
        got = zmq_recv(router, frame, sizeof frame, 0);
        cr_assert_eq(client_request_begin(&reader, frame, (size_t)got), CONCLAVE_OK);
        cr_assert_eq(client_request_next(&reader, &op), 1);
    } while (op.type != CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stream_subscribe_decode(op.body, &subscribe), CONCLAVE_OK);
    cr_assert_eq(subscribe.position, sequence);
    return op.id;
}

static void reply(uint64_t id, int code, const void *body, size_t bytes)
{
    struct pack pack;
    pack_init(&pack, 0);
    client_reply_pack_begin(&pack, 1);
    client_reply_pack_bin(&pack, id, code, body, bytes);
    zmq_send(router, client, client_bytes, ZMQ_SNDMORE);
    zmq_send(router, pack.buf->data, pack.bytes, 0);
    pack_deinit(&pack);
}

static void say_begun(uint64_t id)
{
    struct pack pack;
    pack_init(&pack, 0);
    stream_frame_pack(&pack, &(struct stream_frame){.number = 1,
                                                    .type = STREAM_BEGUN,
                                                    .position = 5,
                                                    .lifetime_ms = STREAM_LIFETIME_MS});
    reply(id, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
}

Test(subscription, ends_where_its_topic_is_not_there)
{
    reply(hear_subscribe(5), CONCLAVE_NOT_FOUND, "", 0);
    cr_assert_eq(silence(10000), CONCLAVE_NOT_FOUND);
    cr_assert_eq(silence(0), CONCLAVE_NOT_FOUND, "for good");
}

/* A node that was restarted, or that ended it because nothing was heard for long, says so when it
 * is granted credit: that is no word about the topic. */
Test(subscription, of_which_a_node_knows_no_more_begins_again)
{
    uint64_t id = hear_subscribe(5);
    say_begun(id);
    reply(id, CONCLAVE_NOT_FOUND, "", 0);
    uint64_t again = hear_subscribe(5);
    cr_assert_neq(again, id);
    reply(again, CONCLAVE_NOT_FOUND, "", 0);
    cr_assert_eq(silence(10000), CONCLAVE_NOT_FOUND, "and then the topic is gone");
}
