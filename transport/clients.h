/* transport/clients.h - a ROUTER on which clients ask, and handles for those who did.
 *
 * A routing id is chosen by the other side and never trusted: it only tells where a reply goes. A
 * client is known by a handle of ours; when more clients have spoken than the table holds, the one
 * that was silent longest is forgotten, and replies to it are dropped. Both plain DEALER frames
 * ([payload]) and REQ frames ([empty][payload]) are understood, and answered in kind.
 * Owned by the network thread. */
#ifndef TRANSPORT_CLIENTS_H
#define TRANSPORT_CLIENTS_H

#include "base/buf.h"
#include "base/error.h"

enum {
    CLIENTS_FRAME_BYTES_MAX = 2 << 20,
    CLIENTS_KNOWN_MAX = 65536, /* about 400 bytes each: 25 MiB at most */
    CLIENTS_RECEIVE_HWM = 1000,
    CLIENTS_SEND_HWM = 16 /* frames of a client that ZeroMQ holds */
};

/* Names a client: slot, generation and which of the node's sockets. 0: nobody. */
typedef uint64_t client_handle;

struct clients;

/* Binds. `tag` (0-15) becomes part of the handles and tells several sockets apart. The meters of
 * the clients are below `meter`. */
MUST_USE int clients_create(void *context, const char *listen, unsigned tag, struct meter *meter,
                            struct clients **ret_clients, struct conclave_error *error);
void clients_destroy(struct clients *clients);

/* To wait for: clients_receive has something only when it is not quiet. */
struct source *clients_source(struct clients *clients);

/* Counts the replies that the node holds for this client: those on their way to it, charged by who
 * makes them, and frames that wait to be sent, charged by clients_send. Borrowed. NULL: the client
 * is forgotten. */
struct meter *clients_meter(const struct clients *clients, client_handle client);

/* The next request without waiting, one reference, and who sent it; NULL: none. Messages of another
 * shape are dropped. */
struct buf *clients_receive(struct clients *clients, client_handle *ret_client);

enum clients_outcome {
    CLIENTS_SENT,
    CLIENTS_GONE, /* the client is gone or forgotten: dropped */
    CLIENTS_FULL  /* it does not read fast enough: the frame stays the caller's, to try again */
};

/* Takes over *frame, and sets it to NULL, unless it answers FULL. The frame is charged to the
 * client until ZeroMQ has sent it; small ones (FRAME_COPY_BYTES_MAX) are only while they are FULL:
 * of those ZeroMQ gets copies, 16 KiB of a client at most. */
enum clients_outcome clients_send(struct clients *clients, client_handle client,
                                  struct buf **frame);

/* The tag that a handle was made with. */
unsigned client_handle_tag(client_handle client);

#endif
