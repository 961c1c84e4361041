/* tests/sim/waiter.h - a client that waits for something to fetch from a work group, and what it
 * may be told.
 *
 * It goes by the id of a group: one of its name that is made anew is another. What it is told are
 * positions, of which the newest says all; each is one that the group has reached, and higher than
 * the one before; a mark says nothing that was not told. Whoever waits is told when there may be
 * something, whatever node it asks. The reference knows how far the group is. Pure; one thread. */
#ifndef TESTS_SIM_WAITER_H
#define TESTS_SIM_WAITER_H

#include "tests/sim/reference.h"

struct waiter {
    const struct reference *reference;
    uint32_t topic, name;
    uint64_t group;      /* its id; 0: none is chosen */
    uint64_t position;   /* told up to there; 0: not known, from now on */
    uint64_t asked_wake; /* of the group, when it subscribed last */

    uint64_t number; /* of the last frame; 0: none came */
    uint64_t granted;
    uint64_t ask, answered, ask_wake; /* a mark that was asked for; it is at or behind this */
    uint64_t age_ms;                  /* of the last mark: what the node knows of the others */
    bool begun;

    uint64_t begins, wakes, deletions;
    const char *wrong; /* the first thing that is */
    uint64_t wrong_at; /* position */
};

void waiter_init(struct waiter *waiter, const struct reference *reference, uint32_t topic,
                 uint32_t name);

/* The group that has its name now, from where it is now, or (`now` false) from where it began,
 * unless it has one. False: there is none. */
bool waiter_choose(struct waiter *waiter, bool now);

/* What to subscribe with, now or again; one reference. */
struct buf *waiter_subscribe(struct waiter *waiter);

/* What was open is lost: it begins again where it is. */
void waiter_lost(struct waiter *waiter);

/* It asks for a mark. */
void waiter_ask(struct waiter *waiter);

/* Takes a frame. False: one before it was lost, and this one is worth nothing. */
bool waiter_take(struct waiter *waiter, struct slice body);

/* The subscription was ended with this code. Before it began NOT_FOUND says that the group is gone.
 */
void waiter_ended(struct waiter *waiter, int code);

/* Whether it was told of the newest; or there is nothing to wait for. */
bool waiter_rests(const struct waiter *waiter);

#endif
