/* tests/sim/node_internal.h - shared by node.c (clock, inbox, steps) and node_life.c (starts and
 * crashes). One thread. */
#ifndef TESTS_SIM_NODE_INTERNAL_H
#define TESTS_SIM_NODE_INTERNAL_H

#include "tests/sim/world.h"

/* The core takes these events, of which it keeps what they own, and what it puts out is done. */
void node_step(struct world *world, struct node *node, struct raft_event *events, uint32_t count);

/* Frees what an event owns that no core took. */
void node_drop_event(struct raft_event *event);

#endif
