/* tests/sim/batch.h - many seeds: in several processes, with sums and the first failures. */
#ifndef TESTS_SIM_BATCH_H
#define TESTS_SIM_BATCH_H

#include "tests/sim/report.h"

struct batch_options {
    uint64_t first, seeds, steps;
    uint32_t jobs;
    bool json, keep_going, check_replay;
};

/* Runs one seed in this process. Prints the outcome; with `trace` every event. Exit code. */
int batch_run_one(uint64_t seed, uint64_t steps, bool trace, bool check_replay);

/* Runs options->seeds seeds from options->first on and prints the summary. Exit code: 0, or 1 if
 * a seed failed. Stops at the first failure unless keep_going. */
int batch_run_many(const struct batch_options *options);

#endif
