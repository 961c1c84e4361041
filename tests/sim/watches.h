/* tests/sim/watches.h - clients that watch keys and queues or subscribe to topics, in a simulated
 * cluster: what of them a world has.
 *
 * Every node has the real hub (actors/stream_hub.h) over its real state machine. Watchers subscribe
 * at any node, go on at another one now and then, lose frames, and grant credit in drops; each
 * frame is checked against all that the reference did (tests/sim/watcher.h, subscriber.h). In the
 * calm phase each has to be told everything. One thread. */
#ifndef TESTS_SIM_WATCHES_H
#define TESTS_SIM_WATCHES_H

#include "actors/stream_hub.h"
#include "tests/sim/reference.h"
#include "tests/sim/subscriber.h"
#include "tests/sim/watcher.h"

/* Those who subscribe to topics come behind. */
enum { SIM_WATCHERS = 4, SIM_SUBSCRIBERS = 2, SIM_STREAMS = SIM_WATCHERS + SIM_SUBSCRIBERS };

struct sim_watcher {
    bool subscribes; /* to a topic; else it watches keys */
    struct watcher watcher;
    struct subscriber subscriber;
    bool subscribed;     /* or it asked to be */
    uint32_t node;       /* where */
    uint64_t id;         /* of the subscription */
    uint64_t heard_us;   /* since when it is silent */
    uint64_t deliver_us; /* of the last frame on its way */
};

struct watches {
    struct oracle oracle, places; /* of keys, of queues */
    uint32_t changes;             /* of the reference, that they know */
    uint64_t revision;
    struct sim_watcher all[SIM_STREAMS];
    uint64_t ids, frames;
    struct meter *meter; /* of what is on its way */
};

#endif
