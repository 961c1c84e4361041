#include "transport/peers.h"

#include "transport/context.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

static void *context;
static struct peers *one, *two;

static void setup(void)
{
    context = context_create();
    cr_assert_eq(peers_create(context, "inproc://one", 1, &one, NULL), CONCLAVE_OK);
    cr_assert_eq(peers_create(context, "inproc://two", 2, &two, NULL), CONCLAVE_OK);
}

static void teardown(void)
{
    peers_destroy(one);
    peers_destroy(two);
    context_destroy(context);
}

TestSuite(peers, .init = setup, .fini = teardown, .timeout = 600);

static struct buf *receive(struct peers *peers)
{
    struct source *sources[PEERS_SOURCES_MAX];
    cr_assert_geq(peers_sources(peers, sources), 1);
    sources_wait(sources, 1, 5000);
    cr_assert_not(sources[0]->quiet);
    return peers_receive(peers);
}

static const struct peer_address to_two = {.id = 2, .endpoint = "inproc://two"};

Test(peers, frame_arrives)
{
    peers_set(one, &to_two, 1, 0);
    cr_assert(peers_send(one, 2, buf_copy("hello", 5)));
    struct buf *frame = receive(two);
    cr_assert_eq(frame->bytes, 5);
    cr_assert_eq(memcmp(frame->data, "hello", 5), 0);
    buf_unref(frame);
    cr_assert_null(peers_receive(two));
}

Test(peers, large_frame_arrives_whole_and_is_released)
{
    peers_set(one, &to_two, 1, 0);
    struct buf *large = buf_create(1 << 20);
    memset(large->data, 7, large->bytes);
    cr_assert(peers_send(one, 2, large));
    struct buf *frame = receive(two);
    cr_assert_eq(frame->bytes, 1 << 20);
    cr_assert_eq(frame->data[0], 7);
    cr_assert_eq(frame->data[frame->bytes - 1], 7);
    buf_unref(frame);
}

Test(peers, frame_to_a_stranger_is_dropped)
{
    cr_assert_not(peers_send(one, 9, buf_copy("x", 1)));
}

Test(peers, frame_after_the_close_is_dropped)
{
    peers_set(one, &to_two, 1, 0);
    peers_close(one);
    cr_assert_not(peers_send(one, 2, buf_copy("x", 1)));
    cr_assert_not(peers_send_bulk(one, 2, buf_copy("x", 1)));
}

Test(peers, frame_to_a_peer_that_is_not_there_is_dropped_not_queued)
{
    const struct peer_address nobody = {.id = 3, .endpoint = "tcp://127.0.0.1:1"};
    peers_set(one, &nobody, 1, 0);
    cr_assert_not(peers_send(one, 3, buf_copy("x", 1)));
}

Test(peers, message_of_several_parts_is_dropped)
{
    void *dealer = zmq_socket(context, ZMQ_DEALER);
    socket_set_int(dealer, ZMQ_LINGER, 0);
    cr_assert_eq(zmq_connect(dealer, "inproc://two"), 0);
    zmq_send(dealer, "a", 1, ZMQ_SNDMORE);
    zmq_send(dealer, "b", 1, 0);
    zmq_send(dealer, "good", 4, 0);
    struct buf *frame = receive(two);
    cr_assert_eq(frame->bytes, 4);
    buf_unref(frame);
    zmq_close(dealer);
}

Test(peers, silent_link_is_made_anew_and_works)
{
    unsigned replaced;
    peers_set(one, &to_two, 1, 1000);
    uint64_t due_us = peers_supervise(one, 1000, &replaced);
    cr_assert_eq(replaced, 0);
    cr_assert_geq(due_us, 1000 + PEERS_SILENCE_US);
    peers_heard(one, 2, 500000); /* a sign of life moves it */
    cr_assert_gt(peers_supervise(one, due_us, &replaced), due_us);
    cr_assert_eq(replaced, 0);
    peers_supervise(one, due_us + 2 * PEERS_SILENCE_US, &replaced);
    cr_assert_eq(replaced, 1);
    cr_assert(peers_send(one, 2, buf_copy("again", 5)));
    struct buf *frame = receive(two);
    cr_assert_eq(frame->bytes, 5);
    buf_unref(frame);
}

Test(peers, unchanged_links_survive_a_new_set)
{
    const struct peer_address both[] = {{.id = 3, .endpoint = "tcp://127.0.0.1:1"}, to_two};
    peers_set(one, &to_two, 1, 0);
    cr_assert(peers_send(one, 2, buf_copy("first", 5)));
    peers_set(one, both, 2, 0);
    cr_assert(peers_send(one, 2, buf_copy("second", 6)));
    struct buf *frame = receive(two);
    cr_assert_eq(frame->bytes, 5);
    buf_unref(frame);
    frame = receive(two);
    cr_assert_eq(frame->bytes, 6);
    buf_unref(frame);
    peers_set(one, both, 1, 0);
    cr_assert_not(peers_send(one, 2, buf_copy("gone", 4)));
}

Test(peers, broken_connection_is_noticed_once)
{
    struct peers *three;
    char path[64], endpoint[80];
    uint64_t id = 0;
    snprintf(path, sizeof path, "/tmp/conclave-peers-%d", (int)getpid());
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    cr_assert_eq(peers_create(context, endpoint, 3, &three, NULL), CONCLAVE_OK);
    const struct peer_address to_three = {.id = 3, .endpoint = endpoint};
    peers_set(one, &to_three, 1, 0);
    while (!peers_send(one, 3, buf_copy("x", 1))) /* until connected */
        sched_yield();
    buf_unref(receive(three));
    cr_assert_not(peers_lost(one, &id));
    peers_destroy(three);
    struct source *sources[PEERS_SOURCES_MAX];
    cr_assert_eq(peers_sources(one, sources), 2);
    sources_wait(sources + 1, 1, 5000);
    cr_assert_not(sources[1]->quiet);
    cr_assert(peers_lost(one, &id));
    cr_assert_eq(id, 3);
    cr_assert_not(peers_lost(one, &id));
    unlink(path);
}

static void take_bytes(int fd, size_t count)
{
    char bytes[256];
    cr_assert_leq(count, sizeof bytes);
    for (ssize_t got; count > 0; count -= (size_t)got) {
        got = read(fd, bytes, count);
        cr_assert_gt(got, 0);
    }
}

/* Connects, speaks ZMTP 3 as far as it must, and sends so many frames of one byte, and a PING. */
static int connect_and_send(const char *path, size_t count)
{
    static const char ready[] = "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06"
                                "DEALER";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char greeting[64] = "\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL";
    uint8_t header[2];
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(write(fd, greeting, sizeof greeting), (ssize_t)sizeof greeting);
    take_bytes(fd, sizeof greeting);
    cr_assert_eq(write(fd, ready, sizeof ready - 1), (ssize_t)sizeof ready - 1);
    cr_assert_eq(recv(fd, header, sizeof header, MSG_WAITALL), (ssize_t)sizeof header);
    take_bytes(fd, header[1]);
    static const char ping[] = "\x04\x07\x04PING\0\0";
    size_t bytes = count * 3 + sizeof ping - 1;
    char *frames = mem_zalloc(bytes);
    for (size_t i = 0; i < count; i++)
        frames[3 * i + 1] = 1;
    memcpy(frames + count * 3, ping, sizeof ping - 1);
    cr_assert_eq(write(fd, frames, bytes), (ssize_t)bytes);
    free(frames);
    return fd;
}

/* libzmq 4.3.4 ends the process when a connection broke while more had come over it than has room,
 * and a heartbeat is due on it, or a PING is among what was read. */
Test(peers, connection_that_breaks_while_much_of_it_waits_stops_nobody)
{
    struct peers *three;
    enum { FRAMES = 2000 };
    struct source *sources[PEERS_SOURCES_MAX];
    char path[64], endpoint[80];
    snprintf(path, sizeof path, "/tmp/conclave-peers-%d", (int)getpid());
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    cr_assert_eq(peers_create(context, endpoint, 3, &three, NULL), CONCLAVE_OK);
    int fd = connect_and_send(path, FRAMES);
    cr_assert_eq(peers_sources(three, sources), 1);
    sources_wait(sources, 1, 5000); /* the first ones are there, and with them all that have room */
    close(fd);
    poll(NULL, 0, 700); /* nothing tells that no heartbeat is due any more */
    for (uint32_t i = 0; i < FRAMES; i++)
        buf_unref(receive(three));
    peers_destroy(three);
    unlink(path);
}
