/* Cluster time, which the leader measures and writes into the log: in front of the commands that
 * depend on it, and when something ends by it. */
#include "actors/network.h"

#include "base/clock.h"
#include "codec/session_clock.h"
#include "machine/session_table.h"

enum {
    CLOCK_STEP_US =
        SESSION_CLOCK_LAG_MS * 1000, /* cluster time goes into the log at most so often */
    CLOCK_OVERDUE_US = 1000, /* or so often, while more is due than could end: the entry says
                                whole milliseconds */
    CLOCK_WAIT_US = SESSION_CLOCK_STEP_MAX_MS / 2 * 1000 /* and at least, while something waits for
                                                            it: more at once is not believed */
};

/* The time goes before the commands that it is measured for. */
void network_add_clock(const struct network *network, struct client_side *side,
                       struct raft_batch *batch)
{
    struct raft_entry entry;
    if (side->timed && network->leads &&
        session_clock_entry(&side->clock_us, clock_now_us(), CLOCK_STEP_US, &entry))
        raft_batch_add(batch, entry);
}

uint64_t network_tick_us(const struct network *network)
{
    const struct client_side *side = &network->clients;
    if (!network->leads || side->draining || side->due_ms == UINT64_MAX)
        return UINT64_MAX;
    if (side->overdue)
        return side->clock_us + CLOCK_OVERDUE_US;
    uint64_t wait_us = CLOCK_WAIT_US;
    if (side->due_ms < CLOCK_WAIT_US / 1000)
        wait_us = side->due_ms * 1000;
    return side->clock_us + (wait_us > CLOCK_STEP_US ? wait_us : CLOCK_STEP_US);
}

void network_tick(struct actor *actor, uint64_t now_us)
{
    struct network *network = actor->state;
    struct client_side *side = &network->clients;
    uint64_t step_us = side->overdue ? CLOCK_OVERDUE_US : CLOCK_STEP_US;
    struct raft_entry entry;
    if (now_us < network_tick_us(network) ||
        !session_clock_entry(&side->clock_us, now_us, step_us, &entry))
        return;
    side->overdue = false; /* the state machine says so again, if it is */
    struct envelope *proposed = envelope_create(ENVELOPE_PROPOSED);
    proposed->proposed = raft_batch_create(1);
    raft_batch_add(proposed->proposed, entry);
    actor_send(actor, ACTOR_RAFT, &proposed);
}
