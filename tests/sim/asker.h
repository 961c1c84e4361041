/* tests/sim/asker.h - a client that has one request under way: whom it asks, what it sends again
 * when no answer came, in a session under the same number, and what it learns of leaders. One
 * thread. */
#ifndef TESTS_SIM_ASKER_H
#define TESTS_SIM_ASKER_H

#include "tests/sim/ops.h"

struct world;

/* How operations name them, behind ordinary clients. */
enum { LOCKER_FIRST = SIM_CLIENTS_MAX + 1, WORKER_FIRST = LOCKER_FIRST + SIM_LOCKERS_MAX };

struct asker {
    uint32_t client;          /* as operations name it */
    uint32_t node;            /* that it asks */
    uint64_t first, asked_us; /* the command or read under way: its first attempt; 0: none */
    bool again;               /* it is known to need another attempt */
    bool in_session;
    uint64_t session, next; /* session 0: none is open */
};

/* It waits for nothing. */
void asker_forget(struct asker *asker);

void asker_send(struct world *world, struct asker *asker, struct op op);

/* True if it may ask for something else now. Else it waits for an answer, or has sent again what
 * was under way. */
bool asker_is_free(struct world *world, struct asker *asker);

/* An operation of this client has ended. True: it was under way, *ret is the answer, and nothing is
 * any more. */
bool asker_answered(struct world *world, struct asker *asker, const struct op *op, struct op *ret);

/* The index at which the command was applied: an answer that comes again is that of the first time.
 */
uint64_t asker_applied(const struct world *world, const struct op *answer);

#endif
