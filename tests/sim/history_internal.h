/* tests/sim/history_internal.h - the search of tests/sim/history.h, in three rooms: what the
 * clients saw and what answers say of revisions (history_known.c), one event in an order
 * (history_order.c), the search for the order (history.c). One thread. */
#ifndef TESTS_SIM_HISTORY_INTERNAL_H
#define TESTS_SIM_HISTORY_INTERNAL_H

#include "tests/sim/history.h"
#include "tests/sim/history_leases.h"
#include "tests/sim/map.h"

/* An operation that was answered, at its revision; or one that may have been applied. */
struct history_event {
    const struct op *op; /* with the answer, if there is one */
    uint64_t number;     /* of its first attempt */
    uint64_t invoked, finished;
    uint64_t invoked_us, finished_us;
    bool change; /* it raised the revision to op->revision */

    /* Without an answer. Those of one class that nobody saw are taken in the order of their
     * invocation: the earliest fits wherever a later one does. */
    uint64_t seen_at; /* the revision at which reads saw it; 0: never */
    uint64_t class;   /* hash of what it asks for; or its number, if it was seen */
    uint32_t before;  /* the event of its class before it; UINT32_MAX: none */
    uint32_t class_number;
};

/* What answers say of a revision, whoever wrote it. */
struct history_known {
    int32_t quiet[SIM_KEYS];                  /* more than 0: the key did not change */
    int32_t kept[SIM_KEYS];                   /* more than 0: the key was not deleted */
    uint32_t put;                             /* the key that was put, and 1 more; 0: not known */
    struct op_item written;                   /* what was put; version 0: not known */
    uint64_t least[SIM_KEYS], most[SIM_KEYS]; /* of the key's version; most 0: not known */
};

struct history_state {
    struct op_item keys[SIM_KEYS]; /* version 0: there is no such key */
    uint64_t from_us[SIM_KEYS];    /* HISTORY_OWN_LEASE: its time began then */
    uint64_t ttl_ms[SIM_KEYS];
    uint64_t topic, messages; /* the revision that created it, 0: none did; how many it holds */
    uint64_t least_us;        /* something has ended that cannot have been over sooner */
    uint64_t revision;
    uint64_t latest; /* invocation of whatever is in the order so far */
    uint64_t used;   /* hash over the events without an answer that are in the order */
    uint32_t next;   /* answered event */
    uint64_t last;   /* number of the write before */
};

/* A revision that nobody was answered with, and which of the unanswered events is tried there:
 * those that were invoked after the write before come first, as that is how logs are written. */
struct history_choice {
    struct history_state before;
    uint32_t from, looked; /* in `unanswered`; how many from there on, around its end */
    uint32_t placed;       /* UINT32_MAX: none */
    uint64_t classes;      /* that were tried, of the first 64 */
};

struct history_search {
    RAFT_LIST(struct history_event, answered);   /* by revision, the change first */
    RAFT_LIST(struct history_event, unanswered); /* writes, by number */
    bool *used; /* of unanswered, and of keys that go by themselves */
    struct history_leases leases;
    uint64_t last_revision;
    struct history_known *known;
    struct map seen;   /* {revision, 0} -> the write that a read saw to be of that revision */
    struct map placed; /* {write, 0} -> that revision */
    struct map dead;   /* {state hash, 0}: no order goes on from there */
    RAFT_LIST(struct history_choice, choices);
    uint64_t steps;
    uint64_t deepest; /* revision; the reason below is from there */
    char *text;
    size_t size;
};

/* --- history_known.c ---------------------------------------------------------------------------
 */

/* Sorts what was answered and what was not. */
void history_gather(struct history_search *search, const struct ops *ops);

/* False: reads contradict one another. */
bool history_gather_known(struct history_search *search);

/* Before the search, behind gather_known. */
void history_gather_classes(struct history_search *search);

/* --- history_order.c ---------------------------------------------------------------------------
 */

bool history_item_equal(const struct op_item *a, const struct op_item *b);

/* How many keys go with the lease. */
uint64_t history_lease_erase(struct history_state *state, uint64_t lease);

/* Applies a write as the revision after the state's. False: it would change nothing there. */
bool history_write_apply(struct history_state *state, const struct history_event *event,
                         uint64_t value);

/* The answered change of the next revision; in time. */
bool history_change(struct history_search *search, struct history_state *state,
                    const struct history_event *event);

/* Something that began then is in the order. */
void history_take_time(struct history_state *state, uint64_t invoked);

/* Everything answered at the state's revision that changed nothing. */
bool history_observe_all(struct history_search *search, struct history_state *state);

#endif
