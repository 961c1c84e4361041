/* The feed of a node: plain SUB sockets get the messages of topics. */
#include "conclave.h"
#include "conclave_topic.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { READY_MS = 20000, POLL_MS = 20 };

static char dir[] = "/tmp/conclave-feed-XXXXXX";
static char data[64], peer[80], feed[80];
static struct conclave_node *node;
static struct conclave_client *client;

static void setup(void)
{
    cr_assert(mkdtemp(dir));
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(peer, sizeof peer, "ipc://%s/peer", dir);
    snprintf(feed, sizeof feed, "ipc://%s/feed", dir);
    const struct conclave_member self = {.name = "n1", .peer = peer};
    cr_assert_eq(conclave_bootstrap(data, "n1", NULL, &self, 1, NULL), 0);
}

static void teardown(void)
{
    char command[128];
    conclave_client_destroy(client);
    conclave_node_destroy(node);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(feed, .init = setup, .fini = teardown, .timeout = 1200);

static struct conclave_options options_for(const char *endpoint)
{
    struct conclave_options options;
    conclave_options_init(&options);
    options.data_dir = data;
    options.segment_bytes = UINT64_C(64) << 10;
    options.feed = endpoint;
    return options;
}

static void start(void)
{
    struct conclave_options options = options_for(feed);
    struct conclave_error error = {0};
    cr_assert_eq(conclave_node_create(&options, &node, &error), 0, "%s", error.message);
    cr_assert_eq(conclave_node_start(node, &error), 0, "%s", error.message);
    cr_assert_eq(conclave_node_wait_ready(node, READY_MS), 0);
    struct conclave_client_options wanted;
    conclave_client_options_init(&wanted);
    wanted.endpoints = conclave_node_endpoint(node);
    wanted.zmq_context = conclave_node_context(node);
    wanted.timeout_ms = READY_MS;
    cr_assert_eq(conclave_client_create(&wanted, &client, NULL), 0);
}

static void create(const char *topic)
{
    struct conclave_topic_settings settings = {0};
    cr_assert_eq(conclave_topic_create(client, topic, strlen(topic), &settings, 0, NULL), 0);
}

static uint64_t publish(const char *topic, const void *bytes, size_t count, const char *id)
{
    struct conclave_message message = {bytes, count, id, id ? strlen(id) : 0};
    struct conclave_published published;
    cr_assert_eq(conclave_topic_publish(client, topic, strlen(topic), &message, 1,
                                        CONCLAVE_EXPECT_ANY, 0, &published, NULL),
                 0);
    return published.first;
}

static void *subscriber(const char *prefix, size_t bytes)
{
    void *sub = zmq_socket(conclave_node_context(node), ZMQ_SUB);
    cr_assert_eq(zmq_setsockopt(sub, ZMQ_SUBSCRIBE, prefix, bytes), 0);
    cr_assert_eq(zmq_connect(sub, feed), 0);
    return sub;
}

struct message {
    char topic[64];
    uint8_t header[256], data[4096];
    int topic_bytes, header_bytes, data_bytes;
};

/* False: nothing came in that time. */
static bool receive(void *sub, long timeout_ms, struct message *ret)
{
    zmq_pollitem_t item = {.socket = sub, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, timeout_ms) <= 0)
        return false;
    int more;
    size_t size = sizeof more;
    ret->topic_bytes = zmq_recv(sub, ret->topic, sizeof ret->topic, 0);
    ret->header_bytes = zmq_recv(sub, ret->header, sizeof ret->header, 0);
    ret->data_bytes = zmq_recv(sub, ret->data, sizeof ret->data, 0);
    cr_assert_eq(zmq_getsockopt(sub, ZMQ_RCVMORE, &more, &size), 0);
    cr_assert_not(more, "three parts");
    return true;
}

/* Publishes until the subscription has arrived: the sequence of what came. Small numbers. */
static uint64_t meet(void *sub, const char *topic, struct message *ret)
{
    do {
        publish(topic, "meet", 4, NULL);
    } while (!receive(sub, POLL_MS, ret));
    return ret->header[1];
}

Test(feed, tells_plain_subscribers_of_a_topic_in_order)
{
    struct message message;
    start();
    create("t");
    create("t2");
    void *sub = subscriber("t\0", 2);
    uint64_t last = meet(sub, "t", &message), sent;
    cr_assert_eq(message.topic_bytes, 2);
    cr_assert_eq(memcmp(message.topic, "t\0", 2), 0);
    cr_assert_eq(message.header[0], 0x93, "sequence, revision, time");
    publish("t2", "not for it", 10, NULL);
    publish("t", "one", 3, NULL);
    uint8_t large[3000];
    memset(large, 7, sizeof large);
    sent = publish("t", large, sizeof large, "id");
    cr_assert_lt(sent, 128, "so that a number is a byte");
    do {
        cr_assert(receive(sub, READY_MS, &message));
        cr_assert_eq(message.header[1], ++last, "nothing is missing");
        cr_assert_eq(message.topic_bytes, 2);
    } while (last < sent);
    cr_assert_eq(message.data_bytes, 3000);
    cr_assert_eq(memcmp(message.data, large, 3000), 0);
    cr_assert_eq(message.header[0], 0x94);
    cr_assert_eq(memcmp(message.header + message.header_bytes - 4, "\xc4\x02id", 4), 0);
    zmq_close(sub);
}

Test(feed, tells_of_topics_that_are_made_later_and_hears_when_nobody_wants_them)
{
    struct message message;
    start();
    void *sub = subscriber("", 0);
    create("new");
    meet(sub, "new", &message);
    cr_assert_eq(memcmp(message.topic, "new", 4), 0);
    zmq_close(sub);
    publish("new", "x", 1, NULL);
    sub = subscriber("new\0", 4);
    meet(sub, "new", &message);
    zmq_close(sub);
}

Test(feed, goes_on_whatever_is_sent_to_it)
{
    struct message message;
    start();
    create("t");
    void *other = zmq_socket(conclave_node_context(node), ZMQ_XSUB);
    cr_assert_eq(zmq_connect(other, feed), 0);
    static const uint8_t large[2000];
    cr_assert_eq(zmq_send(other, "hello", 5, 0), 5);
    cr_assert_eq(zmq_send(other, "", 0, 0), 0);
    cr_assert_eq(zmq_send(other, "\2x", 2, ZMQ_SNDMORE), 2);
    cr_assert_eq(zmq_send(other, "\1x", 2, 0), 2);
    cr_assert_eq(zmq_send(other, "\0t\0", 3, 0), 3);
    cr_assert_eq(zmq_send(other, large, sizeof large, 0), (int)sizeof large);
    void *sub = subscriber("t\0", 2);
    meet(sub, "t", &message);
    zmq_close(sub);
    zmq_close(other);
}

Test(feed, is_shown_and_stays_on_this_machine)
{
    struct conclave_error error = {0};
    struct conclave_options options = options_for("tcp://0.0.0.0:7601");
    cr_assert_eq(conclave_node_create(&options, &node, &error), 0);
    cr_assert_eq(conclave_node_start(node, &error), CONCLAVE_INVALID);
    cr_assert(strstr(error.message, "--expose-plaintext"), "%s", error.message);
    conclave_node_destroy(node);
    options.feed = "7601";
    cr_assert_eq(conclave_node_create(&options, &node, &error), CONCLAVE_INVALID);
    node = NULL;
    start();
    struct conclave_status *status = calloc(1, sizeof *status);
    cr_assert_eq(conclave_client_status(client, READY_MS, status), 0);
    cr_assert_str_eq(status->nodes[0].feed, feed);
    free(status);
}
