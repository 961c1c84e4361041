/* Waiting for sockets without asking each of them: nothing that has come may be slept over. */
#include "transport/source.h"

#include "transport/context.h"
#include "transport/frame.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <zmq.h>

enum { FOREVER = -1 }; /* the suite's time limit ends what would never end */

static void *context, *sender;
static struct source receiver;

static void open_pair(int sending, int receiving)
{
    context = context_create();
    receiver = (struct source){.socket = zmq_socket(context, receiving)};
    sender = zmq_socket(context, sending);
    cr_assert_eq(zmq_bind(receiver.socket, "inproc://source"), 0);
    cr_assert_eq(zmq_connect(sender, "inproc://source"), 0);
}

static void close_pair(void)
{
    zmq_close(sender);
    zmq_close(receiver.socket);
    context_destroy(context);
}

TestSuite(source, .timeout = 600, .fini = close_pair);

static void wait_for(struct source *source, long timeout_ms)
{
    sources_wait(&source, 1, timeout_ms);
}

static bool receive(void)
{
    bool more;
    struct buf *frame = frame_receive_from(&receiver, &more);
    buf_unref(frame);
    return frame != NULL;
}

Test(source, is_quiet_when_a_receive_found_nothing_until_something_comes)
{
    open_pair(ZMQ_PUSH, ZMQ_PULL);
    cr_assert_not(receive());
    cr_assert(receiver.quiet);
    wait_for(&receiver, 0);
    cr_assert(receiver.quiet);
    cr_assert(frame_send_bytes(sender, "x", 1, false));
    wait_for(&receiver, FOREVER);
    cr_assert_not(receiver.quiet);
    cr_assert(receive());
    cr_assert_not(receive());
    cr_assert(receiver.quiet);
}

Test(source, with_something_left_is_not_slept_over)
{
    open_pair(ZMQ_PUSH, ZMQ_PULL);
    for (int i = 0; i < 3; i++)
        cr_assert(frame_send_bytes(sender, "x", 1, false));
    for (int i = 0; i < 3; i++) { /* one a wait, as when a limit ends the receiving */
        wait_for(&receiver, FOREVER);
        cr_assert(receive());
    }
    wait_for(&receiver, 0);
    cr_assert(receiver.quiet, "asked, it has no more");
}

/* A send takes in what has come and leaves nothing for the file descriptor to say. */
Test(source, touched_by_a_send_is_asked_before_the_sleep)
{
    open_pair(ZMQ_PAIR, ZMQ_PAIR);
    cr_assert_not(receive());
    cr_assert(frame_send_bytes(sender, "x", 1, false));
    int events;
    size_t bytes = sizeof events; /* what a send may do on its way */
    cr_assert_eq(zmq_getsockopt(receiver.socket, ZMQ_EVENTS, &events, &bytes), 0);
    source_touch(&receiver);
    wait_for(&receiver, FOREVER);
    cr_assert_not(receiver.quiet);
    cr_assert(receive());
}

Test(source, that_is_not_quiet_keeps_the_others_from_waiting)
{
    open_pair(ZMQ_PUSH, ZMQ_PULL);
    struct source other = {.socket = zmq_socket(context, ZMQ_PULL)};
    struct source *const both[] = {&other, &receiver};
    cr_assert_eq(zmq_bind(other.socket, "inproc://other"), 0);
    cr_assert(frame_send_bytes(sender, "x", 1, false));
    sources_wait(both, 2, FOREVER);
    cr_assert_not(receiver.quiet);
    cr_assert(other.quiet);
    zmq_close(other.socket);
}

Test(source, that_is_quiet_is_found_by_a_look_when_something_came)
{
    open_pair(ZMQ_PUSH, ZMQ_PULL);
    struct source other = {.socket = zmq_socket(context, ZMQ_PULL)};
    struct source *const both[] = {&other, &receiver};
    cr_assert_eq(zmq_bind(other.socket, "inproc://other"), 0);
    sources_look(both, 2);
    cr_assert_not(other.quiet || receiver.quiet, "nobody is asked who is not quiet");
    sources_wait(both, 2, 0);
    cr_assert(other.quiet && receiver.quiet);
    sources_look(both, 2);
    cr_assert(other.quiet && receiver.quiet);
    cr_assert(frame_send_bytes(sender, "x", 1, false));
    sources_look(both, 2);
    cr_assert(other.quiet);
    cr_assert_not(receiver.quiet);
    cr_assert(receive());
    zmq_close(other.socket);
}
