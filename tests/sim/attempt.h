/* tests/sim/attempt.h - one run of a seed in a child process, because a core may abort or never
 * end: whether it fails, by what, and with which decisions. One thread. */
#ifndef TESTS_SIM_ATTEMPT_H
#define TESTS_SIM_ATTEMPT_H

#include "tests/sim/decisions.h"
#include "tests/sim/limit.h"

struct world;
struct attempt; /* owns what the child and this process share */

struct attempt_options {
    uint64_t seed, steps;
    const struct decision_list *only;   /* as in world_create_granting */
    void (*watch)(struct world *world); /* as in world.h */
    FILE *told;                         /* gets what happens, briefly; NULL: nothing. Flushed */
    struct limit limit;                 /* all zero: that of a seed */
};

enum { ATTEMPT_DECISIONS_MAX = 1 << 17 };

struct attempt_result {
    bool failed;
    bool endless;    /* it was given up */
    bool calm;       /* after everything was healed */
    uint64_t events; /* up to the end */
    char what[256];  /* the rule that is broken, the assertion, or how the process ended */
    char text[1024]; /* what broke the rule */
    uint32_t count;  /* decisions granted; no more than fit are kept */
    struct decision granted[ATTEMPT_DECISIONS_MAX];
};

struct attempt *attempt_create(void);
void attempt_destroy(struct attempt *attempt);

/* Runs; the result is valid up to the next call. */
const struct attempt_result *attempt_run(struct attempt *attempt,
                                         const struct attempt_options *options);

#endif
