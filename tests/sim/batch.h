/* tests/sim/batch.h - many seeds: in several processes, with sums and the first failures. */
#ifndef TESTS_SIM_BATCH_H
#define TESTS_SIM_BATCH_H

#include "tests/sim/report.h"

struct batch_options {
    uint64_t first, seeds, steps;
    uint32_t jobs;
    const struct decision_list *only; /* of one seed: grants these decisions alone; NULL: all */
    bool trace, brief;                /* of one seed: prints every event, those that tell */
    bool json, keep_going, check_replay, no_shrink;
    bool require_marks; /* a fault, an action or a situation that no seed had is a failure */
};

/* Runs one seed in this process. Prints the outcome. Exit code. */
int batch_run_one(const struct batch_options *options, uint64_t seed);

/* Makes a failing seed short (shrink.h) and prints what is left. Exit code: 1 if it fails. */
int batch_shrink(const struct batch_options *options, uint64_t seed);

/* Runs options->seeds seeds from options->first on and prints the summary; the first failure is
 * made short. Exit code: 0, or 1 if a seed failed or require_marks found a blind spot. Stops at the
 * first failure unless keep_going. */
int batch_run_many(const struct batch_options *options);

#endif
