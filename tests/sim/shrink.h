/* tests/sim/shrink.h - makes a failing run short: fewer faults and requests, fewer steps, the same
 * violation. One thread, and one child process for each run that is tried, because a core may
 * abort.
 *
 * Delta debugging over the decisions that the run granted (decisions.h), and over the length of its
 * part with faults. The search is bounded by simulated events, not by time: one seed is shrunk to
 * the same run every time. */
#ifndef TESTS_SIM_SHRINK_H
#define TESTS_SIM_SHRINK_H

#include "tests/sim/decisions.h"

struct world;

struct shrink_options {
    uint64_t seed, steps;
    const struct decision_list *only;   /* to begin with; NULL: all. Sorted */
    uint64_t events_max;                /* of all runs together; 0: a default */
    void (*watch)(struct world *world); /* of each world, as in world.h; may be NULL */
};

enum { SHRINK_WHAT_BYTES = 256, SHRINK_TEXT_BYTES = 1024 };

struct shrink_result {
    char what[SHRINK_WHAT_BYTES]; /* the rule that is broken, or how the process ends */
    char text[SHRINK_TEXT_BYTES]; /* what broke it, in the short run */
    uint64_t steps;               /* of the short run */
    struct decision_list granted; /* of the short run, in the order in which they come */
    uint32_t granted_before;      /* decisions of the run as it was */
    uint64_t runs, events;        /* that it took */
    bool done;                    /* false: the bound ended the search */
};

/* False: the seed passes, and *ret is empty. Otherwise the caller frees it. */
bool shrink_run(const struct shrink_options *options, struct shrink_result *ret);
void shrink_deinit(struct shrink_result *result);

/* What remained, what happens in the short run, and the command that repeats it. */
void shrink_print(const struct shrink_options *options, const struct shrink_result *result,
                  FILE *out);

/* The command alone, without an end of line. */
void shrink_print_replay(const struct shrink_options *options, const struct shrink_result *result,
                         FILE *out);

#endif
