/* tests/sim/watches.h - clients that watch keys and queues, subscribe to topics or wait for work
 * groups, in a simulated cluster: what of them a world has.
 *
 * Every node has the real hub (actors/stream_hub.h) over its real state machine. Watchers subscribe
 * at any node, go on at another one now and then, lose frames, and grant credit in drops; each
 * frame is checked against all that the reference did (tests/sim/watcher.h, subscriber.h,
 * waiter.h). In the calm phase each has to be told everything. One thread. */
#ifndef TESTS_SIM_WATCHES_H
#define TESTS_SIM_WATCHES_H

#include "actors/stream_hub.h"
#include "codec/stream.h"
#include "tests/sim/reference.h"
#include "tests/sim/subscriber.h"
#include "tests/sim/waiter.h"
#include "tests/sim/watcher.h"

/* Behind those who watch come those who subscribe to topics, then those who wait for groups. */
enum {
    SIM_WATCHERS = 4,
    SIM_SUBSCRIBERS = 2,
    SIM_WAITERS = SIM_GROUPS,
    SIM_STREAMS = SIM_WATCHERS + SIM_SUBSCRIBERS + SIM_WAITERS
};

struct sim_watcher {
    enum stream_kind kind;
    bool idle; /* the run has nothing for it */
    union {
        struct watcher watcher;       /* WATCH */
        struct subscriber subscriber; /* TOPIC */
        struct waiter waiter;         /* GROUP */
    };
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
