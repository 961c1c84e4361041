/* actors/machine_streams.h - the subscriptions in the state-machine actor: hands what clients say
 * to the hub (actors/stream_hub.h), tells it what was applied, and what it makes to network.
 *
 * The hub works in this thread, not in one of its own with a view of the tables: after an apply it
 * reads what was just written, which is in the cache, and needs no agreement with anybody about
 * when. Its turns are bounded, so commands wait for one of them at most. The state machine's
 * thread. */
#ifndef ACTORS_MACHINE_STREAMS_H
#define ACTORS_MACHINE_STREAMS_H

#include "actors/node.h"

/* Zeroed at first. */
struct machine_streams {
    struct stream_hub *hub;
    uint32_t taken; /* requests that network is to be told of */
    bool watched;   /* as raft was told */
};

void machine_streams_start(const struct node *node, struct machine_streams *streams);
void machine_streams_deinit(struct machine_streams *streams);

/* A SUBSCRIPTIONS. */
void machine_streams_take(struct machine_streams *streams, const struct envelope *envelope);

/* After each apply and installed snapshot. */
void machine_streams_applied(struct machine_streams *streams);

/* A turn of the hub. Everything that was committed at `fresh_us` has been applied. */
void machine_streams_step(struct actor *actor, struct machine_streams *streams, uint64_t fresh_us);

/* Tells raft when the first subscriber comes, of the feed too, and when the last has gone: a
 * follower applies at its leisure while nobody looks. */
void machine_streams_tell(struct actor *actor, struct machine_streams *streams, bool feed);

/* The node ends: so do they. */
void machine_streams_end(struct actor *actor, struct machine_streams *streams);

/* How long to wait for the inbox at most; -1: for ever. */
long machine_streams_wait_ms(const struct machine_streams *streams);

#endif
