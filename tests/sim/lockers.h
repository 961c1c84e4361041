/* tests/sim/lockers.h - clients that queue for locks, campaign and show that they are there, and
 * what they may be told.
 *
 * Each does what client/lock.c does, step by step: it is granted a lease, enqueues, asks whether it
 * holds by now, linearizably, renews in time by its own clock, which may be off, and lets go or
 * loses it. Some do all of it in sessions and send again what was not answered; some die and forget
 * everything. What is checked is their side alone: nobody is let in while so many are ahead of him
 * whose leases last, by the true time and the fastest clock; tokens rise; whoever queues gets in
 * once everything is healed. While one believes that it holds it uses what the lock protects, which
 * takes no token older than one that it has seen; at times it stands still meanwhile. One thread.
 */
#ifndef TESTS_SIM_LOCKERS_H
#define TESTS_SIM_LOCKERS_H

#include "tests/sim/asker.h"

enum locker_state {
    LOCKER_IDLE,
    LOCKER_OPENING, /* asks for a session, as the next ones ask for what they say */
    LOCKER_GRANTING,
    LOCKER_ENQUEUEING,
    LOCKER_WAITING, /* for its turn: asks again and again */
    LOCKER_HOLDING,
    LOCKER_RELEASING
};

/* A place in a queue, as the client knows it. */
struct locker_claim {
    uint32_t queue;
    uint64_t slots, lease, token; /* token 0: none that it knows of */
    uint64_t ttl_ms;
    uint64_t sent_us; /* the last command that began the lease's time, and was answered */
    bool let_go;      /* it has asked for its end */
};

struct locker {
    enum locker_state state;
    struct asker asker;
    uint64_t clock_rate;
    struct locker_claim claim;
    struct locker_claim ghost; /* of the client that died: nobody ends it but its time */
    uint64_t floor;            /* the highest token that anybody knew when it enqueued */
    uint64_t hold_until_us;
    bool stalls; /* it stands still, while it holds */
    bool held;   /* this claim */
    bool served; /* in the calm phase: it held, and let go */
};

/* Who held, and as of which index that is known. */
struct locker_grant {
    uint32_t queue;
    uint64_t slots, token, index;
};

struct lockers {
    struct locker all[SIM_LOCKERS_MAX];
    uint64_t highest;          /* token that anybody was told */
    uint64_t used[SIM_QUEUES]; /* the highest token that what is protected has seen */
    RAFT_LIST(struct locker_grant, grants);
};

struct world;
struct sim_event;

void lockers_start(struct world *world);
void lockers_deinit(struct world *world);
void lockers_event(struct world *world, const struct sim_event *event); /* SIM_LOCKER */

/* An operation of one of them has ended. */
void lockers_answered(struct world *world, const struct op *op);

/* In the calm phase: each has held since, and let go. */
bool lockers_rest(const struct world *world);

/* --- For tests ---------------------------------------------------------------------------------
 */

/* It is told that it holds, as of an index. */
void lockers_granted(struct world *world, struct locker *locker, uint64_t index);

#endif
