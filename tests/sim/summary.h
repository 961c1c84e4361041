/* tests/sim/summary.h - what many seeds add up to, as text for people and as JSON for programs. */
#ifndef TESTS_SIM_SUMMARY_H
#define TESTS_SIM_SUMMARY_H

#include "tests/sim/report.h"

enum { SUMMARY_TEXT_BYTES = 32768, SUMMARY_FAILURES_MAX = 1024 };

struct summary_failure {
    uint64_t seed;
    char rule[64]; /* that was violated, or how the run ended */
};

struct summary {
    uint64_t passed, failed;
    uint64_t first_failed;   /* the seed; 0: none */
    uint32_t failures_named; /* in failures[], by seed: the first ones of those that failed */
    struct summary_failure failures[SUMMARY_FAILURES_MAX];
    uint64_t events, steps;
    uint64_t marks[SIM_MARK_COUNT];
    uint64_t decisions[SIM_DECISION_KINDS]; /* faults and actions */
    char text[SUMMARY_TEXT_BYTES];          /* of the first failure */
};

/* Counts a failure, of a higher seed than those before. True: it is the first one, and `text` is
 * the caller's to fill. Calls nothing that a signal handler may not. */
bool summary_fail(struct summary *summary, uint64_t seed, const char *rule);

/* Adds one run's counts, another summary. */
void summary_add_report(struct summary *summary, const struct report *report);
void summary_add(struct summary *total, const struct summary *summary);

/* Faults that were never injected, actions never taken and situations never reached. */
uint32_t summary_unreached(const struct summary *summary);

struct summary_times {
    double seconds;     /* by the wall */
    double cpu_seconds; /* of all processes */
};

/* counts: with how often each fault, action and situation was met. */
void summary_print(const struct summary *summary, struct summary_times times, bool counts,
                   FILE *out);

/* replay: the command that repeats the first failure; NULL: none. */
void summary_print_json(const struct summary *summary, struct summary_times times,
                        const char *replay, FILE *out);

#endif
