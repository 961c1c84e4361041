/* actors/reply_room.h - how much of replies a node holds for clients that do not read them.
 *
 * Held is what is made and not yet with the operating system (or, inside the process, the client):
 * answers on their way from the state machine, frames that wait, frames that ZeroMQ has. A client's
 * meter (base/meter.h) counts its own, the one above it everybody's. Answers to queries, which can
 * be large and need not be made at once, wait for room; all others are made as commands are applied
 * and are small, so they have room of their own. Any thread; pure functions. */
#ifndef ACTORS_REPLY_ROOM_H
#define ACTORS_REPLY_ROOM_H

#include "base/meter.h"

#include <stdbool.h>

enum {
    /* A query is answered while less than this is held for its client and for all. With the one
     * answer that goes over it: 9 MiB, 65 MiB. */
    REPLY_CLIENT_QUERY_BYTES = 8 << 20,
    REPLY_QUERY_BYTES = 64 << 20,
    /* The upper half of that is for clients that have next to nothing unread: with large answers 4
     * that do not read fill the lower half, and 30 more of them the upper one. */
    REPLY_SHARED_BYTES = 32 << 20,
    REPLY_CLIENT_LITTLE_BYTES = 256 << 10,

    /* Frames over it are dropped, whatever is in them. */
    REPLY_CLIENT_BYTES_MAX = 16 << 20,
    REPLY_BYTES_MAX = 96 << 20
};

/* True if another query of this client may be answered. */
bool reply_room_for_query(const struct meter *client);

/* True if a frame of this size may be sent to it, or kept for it. */
bool reply_room_for_frame(const struct meter *client, size_t bytes);

#endif
