/* transport/peers.h - the links to the other nodes: one ROUTER that receives from all of them, one
 * DEALER to each that only sends. Frames are opaque here.
 *
 * Sending never waits and never queues without bound: a frame to a peer that is not connected, or
 * whose pipe is full, is dropped, and Raft repairs it. A supervisor replaces sockets to a peer from
 * which nothing was heard for a while, because a ZeroMQ connection can die for good: after a
 * protocol error (a foreign service on the port) libzmq never tries again.
 *
 * Owned by raft's thread. Sending, and nothing else, is allowed to any thread: the links' sockets
 * are used under a lock, which is as ZeroMQ wants it, and held for one frame. */
#ifndef TRANSPORT_PEERS_H
#define TRANSPORT_PEERS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/prng.h"
#include "transport/source.h"

enum {
    PEERS_FRAME_BYTES_MAX =
        2 << 20,                /* larger frames are refused by libzmq, which closes the link */
    PEERS_SILENCE_US = 3000000, /* after this long without a sign a link is made anew */
    PEERS_SEND_HWM = 256,       /* frames queued to one peer */
    PEERS_BULK_HWM = 8,         /* likewise of bulk data */
    PEERS_LINKS_MAX = CONCLAVE_MEMBERS_MAX + 8, /* and nodes that are no members now */
    PEERS_SOURCES_MAX = 1 + PEERS_LINKS_MAX
};

struct peers;

/* Binds the receiving socket. Errors as endpoint_bind. */
MUST_USE int peers_create(void *context, const char *listen, uint64_t seed,
                          struct peers **ret_peers, struct conclave_error *error);

/* Closes all sockets, at which the others see that this node is gone. Nothing may be called then
 * but peers_send and peers_send_bulk, by threads that end later: what they send is dropped. */
void peers_close(struct peers *peers);

/* No thread uses it any more. NULL is allowed. */
void peers_destroy(struct peers *peers);

/* Makes the links exactly those of the `count` given peers; existing ones to an unchanged endpoint
 * stay as they are. */
struct peer_address {
    uint64_t id;
    const char *endpoint;
};
void peers_set(struct peers *peers, const struct peer_address *addresses, size_t count,
               uint64_t now_us);

/* Takes over one reference. True if handed to ZeroMQ, which still promises nothing. */
bool peers_send(struct peers *peers, uint64_t id, struct buf *frame);

/* As peers_send, over a second connection to that peer: what is large and may take its time, behind
 * which nothing else must wait. It is made with the first such frame, which is then dropped. */
bool peers_send_bulk(struct peers *peers, uint64_t id, struct buf *frame);

/* What to wait for, at most PEERS_SOURCES_MAX: frames come on the first, news of lost links on the
 * others. peers_receive and peers_lost have something only from one that is not quiet. Returns how
 * many; they change with peers_set and peers_supervise. */
size_t peers_sources(struct peers *peers, struct source *ret_sources[]);

/* The next frame without waiting, one reference; NULL: none. Its sender is what its content proves,
 * never the routing id. Messages of more than one part are dropped. */
struct buf *peers_receive(struct peers *peers);

/* The next peer whose connection has broken since the last call, without waiting; false: none. Its
 * process may have died, or only the connection; libzmq connects again by itself. */
bool peers_lost(struct peers *peers, uint64_t *ret_id);

/* A frame of this peer was authentic. */
void peers_heard(struct peers *peers, uint64_t id, uint64_t now_us);

/* Replaces links that have been silent for too long; calls again no later than the returned time.
 * *ret_replaced counts the links made anew by this call. */
uint64_t peers_supervise(struct peers *peers, uint64_t now_us, unsigned *ret_replaced);

#endif
