/* tests/sim/watches.h - clients that watch, in a simulated cluster: what of them a world has.
 *
 * Every node has the real hub (actors/stream_hub.h) over its real state machine. Watchers subscribe
 * at any node, go on at another one now and then, lose frames, and grant credit in drops; each
 * frame is checked against all changes that the reference made (tests/sim/watcher.h). In the calm
 * phase each has to be told everything. One thread. */
#ifndef TESTS_SIM_WATCHES_H
#define TESTS_SIM_WATCHES_H

#include "actors/stream_hub.h"
#include "tests/sim/reference.h"
#include "tests/sim/watcher.h"

enum { SIM_WATCHERS = 3 };

struct sim_watcher {
    struct watcher watcher;
    bool subscribed;     /* or it asked to be */
    uint32_t node;       /* where */
    uint64_t id;         /* of the subscription */
    uint64_t heard_us;   /* since when it is silent */
    uint64_t deliver_us; /* of the last frame on its way */
};

struct watches {
    struct oracle oracle;
    struct reference_key keys[SIM_KEYS]; /* as the oracle knows them */
    uint64_t revision;
    struct sim_watcher all[SIM_WATCHERS];
    uint64_t ids, frames;
    struct meter *meter; /* of what is on its way */
};

#endif
