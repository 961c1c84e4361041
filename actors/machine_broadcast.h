/* actors/machine_broadcast.h - the feed in the state-machine actor: messages of topics that plain
 * SUB sockets want, from what was just applied to the actor that sends them.
 *
 *     feed ──INTERESTS──> wanted ─┐
 *     apply ──touched──> noted ───┴──read from the tables──BROADCAST──> feed
 *
 * Nothing is read of topics that nobody wants, and nothing is noted while nobody wants any. What is
 * on its way to subscribers is counted until ZeroMQ has sent it; over the bound messages are left
 * out, which those who wait for them see by the sequence of the next one. The state machine's
 * thread. */
#ifndef ACTORS_MACHINE_BROADCAST_H
#define ACTORS_MACHINE_BROADCAST_H

#include "actors/node.h"
#include "actors/prefix_set.h"
#include "conclave_topic.h"
#include "machine/feed.h"

enum {
    /* Messages that were read and not sent. Those up to 1 KiB are copied into ZeroMQ and not
     * counted there: 32,768 of a subscriber at most. */
    BROADCAST_HELD_BYTES_MAX = 64 << 20
};

/* A topic that got messages. */
struct broadcast_note {
    uint64_t from, end;
    size_t name_bytes;
    uint8_t name[CONCLAVE_TOPIC_BYTES_MAX + 1]; /* with its terminator */
};

/* Zeroed at first, and for good at a node without a feed. */
struct machine_broadcast {
    struct stream_hub *hub;
    struct feed topics;
    struct prefix_set *wanted;
    struct meter *meter;
    struct {
        struct broadcast_note *items;
        uint32_t count, capacity;
    } noted;
    uint64_t left_out, told_us; /* messages that had no room; when that was logged last */
};

/* The hub, which says what is applied, and the topics outlive this. */
void machine_broadcast_init(struct machine_broadcast *broadcast, struct stream_hub *hub,
                            struct feed topics);
void machine_broadcast_deinit(struct machine_broadcast *broadcast);

/* True while anybody wants any topic. */
bool machine_broadcast_is_wanted(const struct machine_broadcast *broadcast);

/* What subscribers say (INTERESTS). */
void machine_broadcast_hear(struct machine_broadcast *broadcast, const struct heard_list *heard);

/* After the hub was told of an apply: adds what of it is wanted, as far as there is room. Returns
 * how many messages had none. */
uint64_t machine_broadcast_read(struct machine_broadcast *broadcast, struct broadcast_list *list);

/* The same, and sends it on. */
void machine_broadcast_step(struct actor *actor, struct machine_broadcast *broadcast);

#endif
