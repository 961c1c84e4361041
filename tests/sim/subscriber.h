/* tests/sim/subscriber.h - a client that subscribes to a topic, and what it may be told.
 *
 * It goes by the id of a topic: one of its name that is made anew is another. Messages have to come
 * one by one, each once, as they were published, whatever node tells them and however often it goes
 * on elsewhere; what is left out has to be said, and nobody may keep it any more. The reference
 * knows all messages that there ever were. Pure; one thread. */
#ifndef TESTS_SIM_SUBSCRIBER_H
#define TESTS_SIM_SUBSCRIBER_H

#include "tests/sim/reference.h"

struct subscriber {
    const struct reference *reference;
    uint32_t name;
    uint64_t topic;     /* its id; 0: none is chosen */
    uint64_t position;  /* the sequence that comes next; 0: not known, from now on */
    uint64_t asked_end; /* of the topic, when it subscribed last */

    uint64_t number; /* of the last frame; 0: none came */
    uint64_t granted;
    uint64_t ask, answered, ask_end; /* a mark that was asked for; it is at or behind this end */
    uint64_t age_ms;                 /* of the last mark: what the node knows of the others */
    bool begun;

    uint64_t begins, messages, gaps, deletions;
    const char *wrong; /* the first thing that is */
    uint64_t wrong_at; /* sequence */
};

void subscriber_init(struct subscriber *subscriber, const struct reference *reference,
                     uint32_t name);

/* The topic that has its name now, to begin at this sequence (0: with what comes; behind the end:
 * at it), unless it has one. False: there is none. */
bool subscriber_choose(struct subscriber *subscriber, uint64_t position);

/* What to subscribe with, now or again; one reference. */
struct buf *subscriber_subscribe(struct subscriber *subscriber);

/* What was open is lost: it begins again where it is. */
void subscriber_lost(struct subscriber *subscriber);

/* It asks for a mark. */
void subscriber_ask(struct subscriber *subscriber);

/* Takes a frame. False: one before it was lost, and this one is worth nothing. */
bool subscriber_take(struct subscriber *subscriber, struct slice body);

/* The subscription was ended with this code. Before it began NOT_FOUND says that the topic is gone.
 */
void subscriber_ended(struct subscriber *subscriber, int code);

/* Whether it was told all that there is; or there is nothing to be told. */
bool subscriber_rests(const struct subscriber *subscriber);

#endif
