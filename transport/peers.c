#include "transport/peers.h"

#include "base/fatal.h"
#include "transport/context.h"
#include "transport/endpoint.h"
#include "transport/frame.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct link {
    uint64_t id;
    char endpoint[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    void *dealer;
    void *bulk;            /* made when it is first needed; NULL: not yet */
    struct source monitor; /* of the dealer: says when its connection breaks; NULL with it */
    uint64_t heard_us;     /* last authentic frame, or when the link was made */
    uint64_t patience_us;  /* silence allowed, with jitter so that two nodes do not keep step */
};

struct peers {
    void *context;
    struct source router;
    struct prng prng;
    pthread_mutex_t lock; /* of the links' sockets: whoever holds it may use them */
    struct link links[PEERS_LINKS_MAX];
    size_t link_count;
    uint64_t monitors_made; /* their addresses are never used twice */
};

/* What both directions share: a dead peer is noticed in about a second, by the heartbeats of the
 * side that connected and the TTL that they carry; and nothing is waited for at close. */
static void set_liveness(void *socket)
{
    socket_set_int(socket, ZMQ_LINGER, 0);
    socket_set_int(socket, ZMQ_HANDSHAKE_IVL, 1000);
    socket_set_int64(socket, ZMQ_MAXMSGSIZE, PEERS_FRAME_BYTES_MAX);
}

int peers_create(void *context, const char *listen, uint64_t seed, struct peers **ret_peers,
                 struct conclave_error *error)
{
    struct peers *peers = mem_zalloc(sizeof *peers);
    peers->context = context;
    prng_init(&peers->prng, seed);
    int failed = pthread_mutex_init(&peers->lock, NULL);
    ASSERT(!failed);
    peers->router.socket = zmq_socket(context, ZMQ_ROUTER);
    if (!peers->router.socket) {
        pthread_mutex_destroy(&peers->lock);
        free(peers);
        return error_set(error, CONCLAVE_INTERNAL, "cannot make a socket: %s",
                         zmq_strerror(zmq_errno()));
    }
    set_liveness(peers->router.socket);
    socket_set_receiving(peers->router.socket);
    /* No bound on the frames that wait: see socket_set_receiving. Members send no more than their
     * own bounds let them, and frames of others are dropped as fast as they come. */
    socket_set_int(peers->router.socket, ZMQ_RCVHWM, 0);
    int code = endpoint_bind(peers->router.socket, listen, "peers (--listen)", error);
    if (code) {
        peers_destroy(peers);
        return code;
    }
    *ret_peers = peers;
    return CONCLAVE_OK;
}

/* A closed socket lives on in libzmq's own threads for a while and may still have an event to tell:
 * with its reader gone, telling would block the I/O thread, and with it the node, for ever. So the
 * watching ends first. */
static void link_close(struct link *link)
{
    if (link->monitor.socket)
        (void)zmq_socket_monitor(link->dealer, NULL, 0);
    if (link->dealer)
        zmq_close(link->dealer);
    if (link->bulk)
        zmq_close(link->bulk);
    if (link->monitor.socket)
        zmq_close(link->monitor.socket);
    link->dealer = NULL;
    link->bulk = NULL;
    link->monitor.socket = NULL;
}

/* A node that is killed closes its connections: its peers need not wait for a timeout to notice.
 * Only this one event is asked for, and it is always read: a monitor that nobody reads blocks its
 * socket. Without one (out of sockets) the timeout does it. */
static void link_watch(struct peers *peers, struct link *link)
{
    char address[96];
    snprintf(address, sizeof address, "inproc://conclave-monitor-%p-%llu", (void *)peers,
             (unsigned long long)peers->monitors_made++);
    if (zmq_socket_monitor(link->dealer, address, ZMQ_EVENT_DISCONNECTED) != 0)
        return;
    link->monitor = (struct source){.socket = zmq_socket(peers->context, ZMQ_PAIR)};
    if (!link->monitor.socket) {
        (void)zmq_socket_monitor(link->dealer, NULL, 0);
        return;
    }
    socket_set_int(link->monitor.socket, ZMQ_LINGER, 0);
    if (zmq_connect(link->monitor.socket, address) != 0) {
        (void)zmq_socket_monitor(link->dealer, NULL, 0);
        zmq_close(link->monitor.socket);
        link->monitor.socket = NULL;
    }
}

/* IMMEDIATE keeps frames from queueing for a peer that is not there: after a partition the first
 * frame through is a new one. MAXRT and the heartbeat's TTL drop a half-dead connection early. */
static void set_sending(void *dealer, int high_water_mark)
{
    set_liveness(dealer);
    socket_set_int(dealer, ZMQ_HEARTBEAT_IVL, 300);
    socket_set_int(dealer, ZMQ_HEARTBEAT_TIMEOUT, 1000);
    socket_set_int(dealer, ZMQ_IMMEDIATE, 1);
    socket_set_int(dealer, ZMQ_SNDHWM, high_water_mark);
    socket_set_int(dealer, ZMQ_RECONNECT_IVL, 50);
    socket_set_int(dealer, ZMQ_RECONNECT_IVL_MAX, 500);
    socket_set_int(dealer, ZMQ_CONNECT_TIMEOUT, 500);
    socket_set_int(dealer, ZMQ_HEARTBEAT_TTL, 1000);
    socket_set_int(dealer, ZMQ_TCP_MAXRT, 2000);
    socket_set_int(dealer, ZMQ_SNDBUF, 512 * 1024);
}

static void link_open(struct peers *peers, struct link *link, uint64_t now_us)
{
    link->heard_us = now_us;
    link->patience_us = PEERS_SILENCE_US + prng_below(&peers->prng, PEERS_SILENCE_US / 3);
    link->dealer = zmq_socket(peers->context, ZMQ_DEALER);
    if (!link->dealer)
        return; /* out of sockets; the supervisor tries again */
    set_sending(link->dealer, PEERS_SEND_HWM);
    link_watch(peers, link);
    if (zmq_connect(link->dealer, link->endpoint) != 0)
        link_close(link); /* a name that does not resolve now; the supervisor tries again */
}

void peers_close(struct peers *peers)
{
    pthread_mutex_lock(&peers->lock);
    for (size_t i = 0; i < peers->link_count; i++)
        link_close(&peers->links[i]);
    peers->link_count = 0;
    if (peers->router.socket)
        zmq_close(peers->router.socket);
    peers->router.socket = NULL;
    pthread_mutex_unlock(&peers->lock);
}

void peers_destroy(struct peers *peers)
{
    if (!peers)
        return;
    peers_close(peers);
    pthread_mutex_destroy(&peers->lock);
    free(peers);
}

static struct link *find_link(struct peers *peers, uint64_t id)
{
    for (size_t i = 0; i < peers->link_count; i++)
        if (peers->links[i].id == id)
            return &peers->links[i];
    return NULL;
}

void peers_set(struct peers *peers, const struct peer_address *addresses, size_t count,
               uint64_t now_us)
{
    ASSERT(count <= PEERS_LINKS_MAX);
    pthread_mutex_lock(&peers->lock);
    struct link next[PEERS_LINKS_MAX];
    memset(next, 0, sizeof next);
    for (size_t i = 0; i < count; i++) {
        struct link *old = find_link(peers, addresses[i].id);
        if (old && strcmp(old->endpoint, addresses[i].endpoint) == 0) {
            next[i] = *old;
            old->dealer = NULL; /* moved */
            old->bulk = NULL;
            old->monitor = (struct source){0};
            continue;
        }
        next[i].id = addresses[i].id;
        size_t bytes = strlen(addresses[i].endpoint);
        ASSERT(bytes <= CONCLAVE_ENDPOINT_BYTES_MAX);
        memcpy(next[i].endpoint, addresses[i].endpoint, bytes + 1);
        link_open(peers, &next[i], now_us);
    }
    for (size_t i = 0; i < peers->link_count; i++)
        link_close(&peers->links[i]);
    memcpy(peers->links, next, sizeof next);
    peers->link_count = count;
    pthread_mutex_unlock(&peers->lock);
}

static void bulk_open(struct peers *peers, struct link *link)
{
    link->bulk = zmq_socket(peers->context, ZMQ_DEALER);
    if (!link->bulk)
        return; /* out of sockets; the next frame tries again */
    set_sending(link->bulk, PEERS_BULK_HWM);
    if (zmq_connect(link->bulk, link->endpoint) == 0)
        return;
    zmq_close(link->bulk);
    link->bulk = NULL;
}

static bool send_on(struct peers *peers, uint64_t id, struct buf *frame, bool bulk)
{
    pthread_mutex_lock(&peers->lock);
    struct link *link = find_link(peers, id);
    if (link && bulk && !link->bulk)
        bulk_open(peers, link);
    void *socket = !link ? NULL : bulk ? link->bulk : link->dealer;
    bool sent = socket && frame_send(socket, frame, false);
    pthread_mutex_unlock(&peers->lock);
    if (!socket)
        buf_unref(frame);
    return sent;
}

bool peers_send(struct peers *peers, uint64_t id, struct buf *frame)
{
    return send_on(peers, id, frame, false);
}

bool peers_send_bulk(struct peers *peers, uint64_t id, struct buf *frame)
{
    return send_on(peers, id, frame, true);
}

size_t peers_sources(struct peers *peers, struct source *ret_sources[])
{
    size_t count = 0;
    ret_sources[count++] = &peers->router;
    for (size_t i = 0; i < peers->link_count; i++)
        if (peers->links[i].monitor.socket)
            ret_sources[count++] = &peers->links[i].monitor;
    return count;
}

/* Reads one event, which is a message of two parts; what it says is known, since only one kind was
 * asked for (and MONITOR_STOPPED comes when nobody looks any more). */
static bool take_event(struct source *monitor)
{
    bool more;
    if (!monitor->socket || monitor->quiet)
        return false;
    struct buf *part = frame_receive_from(monitor, &more);
    if (!part)
        return false;
    buf_unref(part);
    while (more && (part = frame_receive_from(monitor, &more)))
        buf_unref(part);
    return true;
}

bool peers_lost(struct peers *peers, uint64_t *ret_id)
{
    for (size_t i = 0; i < peers->link_count; i++) {
        struct link *link = &peers->links[i];
        bool lost = false;
        while (take_event(&link->monitor))
            lost = true;
        if (lost) {
            *ret_id = link->id;
            return true;
        }
    }
    return false;
}

struct buf *peers_receive(struct peers *peers)
{
    while (!peers->router.quiet) {
        bool more;
        struct buf *routing_id = frame_receive_from(&peers->router, &more);
        if (!routing_id)
            return NULL;
        buf_unref(routing_id);
        struct buf *frame = NULL;
        unsigned parts = 0;
        while (more) {
            buf_unref(frame);
            frame = frame_receive_from(&peers->router, &more);
            if (!frame)
                return NULL; /* libzmq delivers whole messages: cannot happen while it runs */
            parts++;
        }
        if (parts == 1)
            return frame;
        buf_unref(frame);
    }
    return NULL;
}

void peers_heard(struct peers *peers, uint64_t id, uint64_t now_us)
{
    struct link *link = find_link(peers, id);
    if (link)
        link->heard_us = now_us;
}

uint64_t peers_supervise(struct peers *peers, uint64_t now_us, unsigned *ret_replaced)
{
    uint64_t next_us = UINT64_MAX;
    *ret_replaced = 0;
    for (size_t i = 0; i < peers->link_count; i++) {
        struct link *link = &peers->links[i];
        if (now_us - link->heard_us >= link->patience_us) {
            pthread_mutex_lock(&peers->lock);
            link_close(link);
            link_open(peers, link, now_us);
            pthread_mutex_unlock(&peers->lock);
            ++*ret_replaced;
        }
        uint64_t due_us = link->heard_us + link->patience_us;
        if (due_us < next_us)
            next_us = due_us;
    }
    return next_us;
}
