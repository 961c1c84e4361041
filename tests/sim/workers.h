/* tests/sim/workers.h - clients that are members of work groups (conclave_group.h).
 *
 * Each is granted a lease, makes its group and the topics that it needs, fetches (or publishes, if
 * there is nothing), and says of what
 * it has in hand that it is done, not done, or in progress, some of it too late or of what it does
 * not have; renews in time, or not. Some do all of it in sessions and send again what was not
 * answered; some die and forget everything. A few fetch what is done when it is handed out, and now
 * and then somebody deletes the group. What they are told is looked at in hands.h, and with the
 * rules at the index where it was applied, as everything. One thread. */
#ifndef TESTS_SIM_WORKERS_H
#define TESTS_SIM_WORKERS_H

#include "tests/sim/asker.h"
#include "tests/sim/hands.h"

struct worker {
    struct asker asker;
    uint32_t group;  /* a number of knobs.groups */
    uint32_t member; /* of hands: its lease; UINT32_MAX: it has none */
    uint32_t lacks;  /* the topic that is to be there for the group; SIM_TOPICS: none */
    bool joined;     /* its group is there, as far as it knows */
    bool found_nothing;
};

struct sim_event;

void workers_start(struct world *world);
void workers_event(struct world *world, const struct sim_event *event); /* SIM_WORKER */

/* An operation of one of them has ended. */
void workers_answered(struct world *world, const struct op *op);

/* Of all groups, since they began. */
uint64_t workers_messages(const struct world *world);

/* In the calm phase: every message of every group is done, and everybody has gone. */
bool workers_rest(const struct world *world);

#endif
