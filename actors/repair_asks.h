/* actors/repair_asks.h - what nodes in repair have asked for and was not answered yet: of each node
 * the newest. The segment helper's thread. */
#ifndef ACTORS_REPAIR_ASKS_H
#define ACTORS_REPAIR_ASKS_H

#include "actors/envelope.h"

/* How many nodes can be waiting. */
enum { REPAIR_ASKS_MAX = 4 };

/* All zero: none. */
struct repair_asks {
    struct envelope *items[REPAIR_ASKS_MAX];
};

/* Takes the ask over, in the place of an older one of the same node. Where there is no place it is
 * dropped: who finds none asks again. */
void repair_asks_add(struct repair_asks *asks, struct envelope *ask);

/* One of them, the caller's then; NULL: none is left. */
struct envelope *repair_asks_take(struct repair_asks *asks);

void repair_asks_clear(struct repair_asks *asks);

#endif
