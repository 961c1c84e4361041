/* tests/sim/knobs_internal.h - drawing what a run is like, shared by knobs.c (nodes, network,
 * faults) and knobs_clients.c (clients, sessions, keys, topics, groups). One thread. */
#ifndef TESTS_SIM_KNOBS_INTERNAL_H
#define TESTS_SIM_KNOBS_INTERNAL_H

#include "tests/sim/knobs.h"

uint64_t knobs_pick(struct prng *prng, const uint64_t *values, uint64_t count);

#define PICK(prng, ...)                               \
    knobs_pick(prng, (const uint64_t[]){__VA_ARGS__}, \
               sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

void knobs_draw_sessions(struct knobs *knobs, struct prng *prng);

/* All else, each subject of a generator of its own. */
void knobs_draw_clients(struct knobs *knobs, const struct prng *prng);

#endif
