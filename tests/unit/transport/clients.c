#include "transport/clients.h"

#include "transport/context.h"
#include "transport/frame.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <zmq.h>

static void *context;
static struct clients *clients;
static struct meter *meter;

static void setup(void)
{
    context = context_create();
    meter = meter_create(NULL);
    cr_assert_eq(clients_create(context, "inproc://port", 3, meter, &clients, NULL), CONCLAVE_OK);
}

static void teardown(void)
{
    clients_destroy(clients);
    context_destroy(context);
    cr_expect_eq(meter_held(meter), 0, "%zu bytes are lost", meter_held(meter));
    meter_unref(meter);
}

static void *dial(int type)
{
    void *socket;
    while (!(socket = zmq_socket(context, type))) { /* closed ones are reaped by another thread */
        cr_assert_eq(zmq_errno(), EMFILE);
        sched_yield();
    }
    socket_set_int(socket, ZMQ_LINGER, 0);
    socket_set_int(socket, ZMQ_RCVTIMEO, 5000);
    cr_assert_eq(zmq_connect(socket, "inproc://port"), 0);
    return socket;
}

static struct buf *receive(client_handle *ret)
{
    struct source *source = clients_source(clients);
    sources_wait(&source, 1, 5000);
    cr_assert_not(source->quiet);
    return clients_receive(clients, ret);
}

static enum clients_outcome answer(client_handle client, const char *text)
{
    struct buf *frame = buf_copy(text, strlen(text));
    enum clients_outcome outcome = clients_send(clients, client, &frame);
    cr_assert_eq(frame == NULL, outcome != CLIENTS_FULL);
    buf_unref(frame);
    return outcome;
}

static void assert_text(const struct buf *frame, const char *text)
{
    cr_assert(frame);
    cr_assert_eq(frame->bytes, strlen(text));
    cr_assert_eq(memcmp(frame->data, text, frame->bytes), 0);
}

TestSuite(clients, .init = setup, .fini = teardown, .timeout = 600);

Test(clients, answer_goes_to_who_asked)
{
    void *a = dial(ZMQ_DEALER), *b = dial(ZMQ_DEALER);
    client_handle from_a, from_b;
    char text[8];
    zmq_send(a, "from a", 6, 0);
    struct buf *frame = receive(&from_a);
    assert_text(frame, "from a");
    buf_unref(frame);
    zmq_send(b, "from b", 6, 0);
    frame = receive(&from_b);
    assert_text(frame, "from b");
    buf_unref(frame);
    cr_assert_neq(from_a, from_b);
    cr_assert_eq(client_handle_tag(from_a), 3);

    cr_assert_eq(answer(from_b, "to b"), CLIENTS_SENT);
    cr_assert_eq(answer(from_a, "to a"), CLIENTS_SENT);
    cr_assert_eq(zmq_recv(a, text, sizeof text, 0), 4);
    cr_assert_eq(memcmp(text, "to a", 4), 0);
    cr_assert_eq(zmq_recv(b, text, sizeof text, 0), 4);
    cr_assert_eq(memcmp(text, "to b", 4), 0);
    zmq_close(a);
    zmq_close(b);
}

Test(clients, same_client_keeps_its_handle)
{
    void *a = dial(ZMQ_DEALER);
    client_handle first, second;
    zmq_send(a, "1", 1, 0);
    buf_unref(receive(&first));
    zmq_send(a, "2", 1, 0);
    buf_unref(receive(&second));
    cr_assert_eq(first, second);
    zmq_close(a);
}

Test(clients, req_socket_is_answered_in_kind)
{
    void *req = dial(ZMQ_REQ);
    client_handle from;
    char text[8];
    zmq_send(req, "ask", 3, 0);
    struct buf *frame = receive(&from);
    assert_text(frame, "ask");
    buf_unref(frame);
    cr_assert_eq(answer(from, "yes"), CLIENTS_SENT);
    cr_assert_eq(zmq_recv(req, text, sizeof text, 0), 3);
    cr_assert_eq(memcmp(text, "yes", 3), 0);
    zmq_close(req);
}

Test(clients, messages_of_another_shape_are_dropped)
{
    void *a = dial(ZMQ_DEALER);
    client_handle from;
    zmq_send(a, "one", 3, ZMQ_SNDMORE);
    zmq_send(a, "two", 3, 0);
    zmq_send(a, "", 0, ZMQ_SNDMORE);
    zmq_send(a, "two", 3, ZMQ_SNDMORE);
    zmq_send(a, "three", 5, 0);
    zmq_send(a, "good", 4, 0);
    struct buf *frame = receive(&from);
    assert_text(frame, "good");
    buf_unref(frame);
    cr_assert_null(clients_receive(clients, &from));
    zmq_close(a);
}

Test(clients, answer_to_nobody_is_dropped)
{
    cr_assert_eq(answer(0, "x"), CLIENTS_GONE);
    cr_assert_eq(answer(1, "x"), CLIENTS_GONE);
    cr_assert_eq(answer(UINT64_MAX, "x"), CLIENTS_GONE);
}

Test(clients, long_silent_client_is_forgotten_and_its_handle_dies)
{
    void *first = dial(ZMQ_DEALER);
    client_handle from_first, other;
    zmq_send(first, "x", 1, 0);
    buf_unref(receive(&from_first));
    for (int i = 0; i < CLIENTS_KNOWN_MAX; i++) {
        void *socket = dial(ZMQ_DEALER);
        zmq_send(socket, "y", 1, 0);
        buf_unref(receive(&other));
        zmq_close(socket);
    }
    cr_assert_eq(answer(from_first, "x"), CLIENTS_GONE);
    zmq_close(first);
}

Test(clients, client_that_does_not_read_is_full_and_no_frame_is_lost)
{
    void *slow = dial(ZMQ_DEALER);
    client_handle from;
    char text[8];
    zmq_send(slow, "x", 1, 0);
    buf_unref(receive(&from));
    int sent = 0;
    while (answer(from, "y") == CLIENTS_SENT)
        sent++;
    cr_assert_eq(answer(from, "y"), CLIENTS_FULL);
    for (int i = 0; i < sent; i++)
        cr_assert_eq(zmq_recv(slow, text, sizeof text, 0), 1);
    while (answer(from, "z") == CLIENTS_FULL)
        sched_yield();
    cr_assert_eq(zmq_recv(slow, text, sizeof text, 0), 1);
    cr_assert_eq(text[0], 'z');
    zmq_close(slow);
}

Test(clients, frame_is_counted_until_it_was_taken)
{
    enum { BYTES = FRAME_COPY_BYTES_MAX + 1 };
    void *slow = dial(ZMQ_DEALER);
    client_handle from;
    char text[BYTES];
    zmq_send(slow, "x", 1, 0);
    buf_unref(receive(&from));
    for (size_t i = 1; i <= 3; i++) {
        struct buf *frame = buf_create(BYTES);
        memset(frame->data, 'y', BYTES);
        cr_assert_eq(clients_send(clients, from, &frame), CLIENTS_SENT);
        cr_assert_eq(meter_held(meter), i * BYTES);
        cr_assert_eq(meter_held(clients_meter(clients, from)), i * BYTES);
    }
    for (size_t i = 3; i-- > 0;) {
        cr_assert_eq(zmq_recv(slow, text, BYTES, 0), BYTES);
        cr_assert_eq(meter_held(meter), i * BYTES);
    }
    zmq_close(slow);
}

Test(clients, frame_that_is_full_is_counted_once_whatever_its_size)
{
    void *slow = dial(ZMQ_DEALER);
    client_handle from;
    zmq_send(slow, "x", 1, 0);
    buf_unref(receive(&from));
    while (answer(from, "y") == CLIENTS_SENT)
        ;
    cr_assert_eq(meter_held(meter), 0); /* the one that was full is gone, the others are copies */
    struct buf *kept = buf_copy("kept", 4);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(clients_send(clients, from, &kept), CLIENTS_FULL);
        cr_assert_eq(meter_held(clients_meter(clients, from)), 4);
    }
    buf_unref(kept);
    cr_assert_eq(meter_held(meter), 0);
    zmq_close(slow);
}

/* A send may take in what has come, of which the file descriptor says nothing any more. */
Test(clients, are_asked_again_after_a_reply_was_sent)
{
    void *client = dial(ZMQ_DEALER);
    client_handle from, none;
    zmq_send(client, "x", 1, 0);
    buf_unref(receive(&from));
    cr_assert_null(clients_receive(clients, &none));
    cr_assert(clients_source(clients)->quiet);
    zmq_send(client, "y", 1, 0);
    struct buf *frame = buf_copy("z", 1);
    cr_assert_eq(clients_send(clients, from, &frame), CLIENTS_SENT);
    cr_assert_not(clients_source(clients)->quiet);
    buf_unref(receive(&from));
    zmq_close(client);
}

Test(clients, what_a_client_leaves_unread_is_given_back_when_it_goes)
{
    void *slow = dial(ZMQ_DEALER);
    client_handle from;
    zmq_send(slow, "x", 1, 0);
    buf_unref(receive(&from));
    struct buf *frame = buf_create(1 << 20);
    cr_assert_eq(clients_send(clients, from, &frame), CLIENTS_SENT);
    cr_assert_eq(meter_held(meter), 1 << 20);
    zmq_close(slow);
    client_handle none;
    struct source *source = clients_source(clients);
    while (meter_held(meter) > 0) { /* by ZeroMQ, when this side has seen it too */
        sources_wait(&source, 1, 0);
        cr_assert_null(clients_receive(clients, &none));
    }
}
