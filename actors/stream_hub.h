/* actors/stream_hub.h - the subscriptions of a node's clients: who is to be told what, and when.
 *
 *     SUBSCRIBE ──> asked ──confirmed──┬─────────────> live ──events, progress──> ...
 *                                      └─> state ──────┘ └──not kept any more──> state
 *
 * A subscription begins when the node is known to hold everything that was committed when it was
 * asked for (as a linearizable read does), so that it can be resumed at any node. From then on the
 * hub learns after each apply which names changed (machine/feed.h), finds whom that concerns
 * (actors/stream_index.h), and reads the events for them from the machine's tables, from where each
 * of them is. Nothing is queued: a subscription is a position and up to STREAM_HITS_MAX stretches
 * of positions in which something may be for it.
 *
 * A frame is made when the client has granted credit and there is room for it
 * (actors/reply_room.h), in the turn of the client; a turn is bounded, so nobody's wait for what
 * others leave unread.
 *
 * Time is told by the caller, frames are handed back as a list: the hub has no thread, clock or
 * socket, and the simulator runs the same code. Memory: about 350 bytes and the spec each. Owned by
 * the thread of the state machine. */
#ifndef ACTORS_STREAM_HUB_H
#define ACTORS_STREAM_HUB_H

#include "base/meter.h"
#include "codec/stream.h"
#include "machine/feed.h"

enum {
    STREAMS_MAX = 32768, /* of a node: 12 MiB, 80 MiB with the largest specs */
    STREAMS_OF_CLIENT_MAX = STREAM_CONNECTION_MAX,

    STREAM_CONFIRM_US_MAX = 5000000, /* not confirmed for so long: ended, NO_LEADER */
    STREAM_CONFIRM_RETRY_US = 200000,
    STREAM_FRESH_US = 2000000, /* what a progress mark knows is made newer when it is so old */
    STREAM_TICK_US = 1000000,  /* progress and the lifetime of clients are looked at so often */
    STREAM_BLOCKED_US = 10000, /* clients without room are tried again after that */

    /* One turn: 5 ms at most beside the applying of commands. */
    STREAM_TURN_BYTES = 1 << 20,
    STREAM_TURN_FRAMES = 1024,
    STREAM_TURN_LOOKS = 16384,
    STREAM_SERVE_FRAMES = 32 /* of one client before it is the next one's turn */
};

/* One reply to a client. */
struct stream_output {
    uint64_t client, id;
    int code;
    struct buf *body; /* one reference, or NULL */
    const char *text; /* static; why it ended */
};

struct stream_outputs {
    struct stream_output *items;
    uint32_t count, capacity;
};

struct stream_hub;

/* By enum stream_kind. */
struct stream_hub *stream_hub_create(const struct feed feeds[STREAM_KINDS]);
void stream_hub_destroy(struct stream_hub *hub);

/* --- What clients say; each is heard by it -----------------------------------------------------
 */

/* Refusals are outputs: INVALID (kind, spec, id in use), MALFORMED, TOO_LARGE, BUSY (limits). The
 * meter counts what is held for this client; the hub takes a reference. */
void stream_hub_subscribe(struct stream_hub *hub, uint64_t client, uint64_t id, struct meter *meter,
                          struct slice body, uint64_t now_us);
void stream_hub_credit(struct stream_hub *hub, uint64_t client, uint64_t id, struct slice body,
                       uint64_t now_us);
void stream_hub_unsubscribe(struct stream_hub *hub, uint64_t client, uint64_t id);

/* It is not there any more: its subscriptions are dropped without a word. */
void stream_hub_client_gone(struct stream_hub *hub, uint64_t client);

/* --- What the node does ------------------------------------------------------------------------
 */

/* Everything that was committed at that time has been applied. */
void stream_hub_fresh(struct stream_hub *hub, uint64_t since_us);

/* True, once, if the node should begin a linearizable read now, and tell of it by
 * stream_hub_fresh. */
bool stream_hub_wants_read(struct stream_hub *hub, uint64_t now_us);

/* After each apply and each installed snapshot. */
void stream_hub_applied(struct stream_hub *hub);

/* Somebody beside the subscriptions is told what changed, by each stream_hub_applied, one kind
 * each; NULL: nobody. More changes at once than the machine names are told to nobody. */
void stream_hub_listen(struct stream_hub *hub, enum stream_kind kind, feed_touch told, void *arg);

/* Makes frames, up to the bounds of a turn. */
void stream_hub_turn(struct stream_hub *hub, uint64_t now_us);

/* When there will be something to do without an event from outside: 0: now, UINT64_MAX: never. */
uint64_t stream_hub_due_us(const struct stream_hub *hub);

/* Ends all of them with this code. */
void stream_hub_end_all(struct stream_hub *hub, int code);

/* What is to be sent; the caller takes the bodies and sets the count to 0. */
struct stream_outputs *stream_hub_outputs(struct stream_hub *hub);

uint32_t stream_hub_count(const struct stream_hub *hub);

#endif
