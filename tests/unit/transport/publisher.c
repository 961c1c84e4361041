/* The socket of the feed: hears what plain subscribers want, and never waits for them. */
#include "transport/publisher.h"

#include "transport/context.h"

#include <criterion/criterion.h>
#include <string.h>
#include <zmq.h>

static const char endpoint[] = "inproc://feed";
static void *context;
static struct publisher *publisher;

static void setup(void)
{
    context = context_create();
    cr_assert_eq(publisher_create(context, endpoint, &publisher, NULL), CONCLAVE_OK);
}

static void teardown(void)
{
    publisher_destroy(publisher);
    context_destroy(context);
}

TestSuite(publisher, .init = setup, .fini = teardown, .timeout = 600);

static void *connect_to_it(int type)
{
    void *socket = zmq_socket(context, type);
    socket_set_int(socket, ZMQ_LINGER, 0);
    cr_assert_eq(zmq_connect(socket, endpoint), 0);
    return socket;
}

static void *subscriber(const char *topic, size_t bytes)
{
    void *socket = connect_to_it(ZMQ_SUB);
    cr_assert_eq(zmq_setsockopt(socket, ZMQ_SUBSCRIBE, topic, bytes), 0);
    return socket;
}

/* Waits for the next thing that is said. */
static void expect_heard(const char *bytes, size_t count)
{
    struct source *source = publisher_source(publisher);
    struct buf *heard = NULL;
    while (!(heard = publisher_hear(publisher)))
        sources_wait(&source, 1, -1);
    cr_assert_eq(heard->bytes, count);
    cr_assert_eq(memcmp(heard->data, bytes, count), 0);
    buf_unref(heard);
}

static void send_text(const char *topic, const char *header, const char *text)
{
    struct buf *owner = buf_copy(text, strlen(text));
    publisher_send(publisher, (struct slice){(const uint8_t *)topic, strlen(topic) + 1},
                   (struct slice){(const uint8_t *)header, strlen(header)}, owner,
                   (struct slice){owner->data, owner->bytes});
    buf_unref(owner);
}

static void expect_part(void *socket, const char *bytes, size_t count)
{
    char part[64];
    cr_assert_eq(zmq_recv(socket, part, sizeof part, 0), (int)count);
    cr_assert_eq(memcmp(part, bytes, count), 0);
}

Test(publisher, sends_three_parts_to_those_who_want_the_topic)
{
    void *one = subscriber("t\0", 2), *two = subscriber("t\0", 2);
    expect_heard("\1t\0", 3);
    send_text("t2", "1", "not wanted");
    send_text("t", "2", "data");
    expect_part(one, "t\0", 2);
    expect_part(one, "2", 1);
    expect_part(one, "data", 4);
    zmq_close(one);
    zmq_close(two);
    expect_heard("\0t\0", 3); /* once, when the last one is gone */
}

Test(publisher, does_not_hear_what_is_no_subscription)
{
    void *other = connect_to_it(ZMQ_XSUB);
    cr_assert_eq(zmq_send(other, "hello", 5, 0), 5);
    cr_assert_eq(zmq_send(other, "", 0, 0), 0);
    cr_assert_eq(zmq_send(other, "\2x", 2, 0), 2);
    cr_assert_eq(zmq_send(other, "\1x", 2, 0), 2);
    expect_heard("\1x", 2);
    zmq_close(other);
}

Test(publisher, keeps_large_data_until_it_was_read_and_no_longer)
{
    void *socket = subscriber("", 0);
    static uint8_t bytes[5000];
    struct meter *meter = meter_create(NULL);
    struct buf *owner = buf_copy(bytes, sizeof bytes);
    zmq_msg_t part;
    expect_heard("\1", 1);
    buf_charge(owner, meter);
    publisher_send(publisher, (struct slice){bytes, 1}, (struct slice){bytes, 1}, owner,
                   (struct slice){owner->data + 1, owner->bytes - 1});
    buf_unref(owner);
    cr_assert_eq(meter_held(meter), sizeof bytes);
    for (int i = 0; i < 3; i++) {
        zmq_msg_init(&part);
        cr_assert_geq(zmq_msg_recv(&part, socket, 0), 0);
        if (i < 2)
            zmq_msg_close(&part);
    }
    cr_assert_eq(zmq_msg_size(&part), sizeof bytes - 1);
    zmq_msg_close(&part);
    cr_assert_eq(meter_held(meter), 0);
    meter_unref(meter);
    zmq_close(socket);
}

/* One that reads gets everything; the other one, beside it, a beginning. */
Test(publisher, drops_for_a_slow_subscriber_alone)
{
    void *slow = subscriber("t\0", 2);
    expect_heard("\1t\0", 3);
    void *fast = subscriber("t", 1);
    expect_heard("\1t", 2);
    for (int i = 0; i < PUBLISHER_SEND_HWM + 5000; i++) {
        send_text("t", "h", "data");
        expect_part(fast, "t\0", 2);
        expect_part(fast, "h", 1);
        expect_part(fast, "data", 4);
    }
    int count = 0;
    char part[8];
    while (zmq_recv(slow, part, sizeof part, ZMQ_DONTWAIT) >= 0)
        count++;
    cr_assert_gt(count, 0);
    cr_assert_leq(count, 3 * (PUBLISHER_SEND_HWM + 1000), "and what the receiver itself may hold");
    zmq_close(slow);
    zmq_close(fast);
}
