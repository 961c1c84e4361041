/* bench/baseline.h - this report against an earlier one. */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { BASELINE_RULES_MAX = 16, BASELINE_METRIC_BYTES = 32 };

/* "ops_per_s<-10%": fails when the figure is more than 10 % below the baseline's. "p99_us>4000":
 * fails when it is above 4000, whatever the baseline says. */
struct baseline_rule {
    char metric[BASELINE_METRIC_BYTES]; /* a number of each result in the JSON report */
    bool above;                         /* fails above the limit, else below */
    bool relative;                      /* the limit is a change in % against the baseline */
    double limit;
};

/* Reads one rule. False: not of the form. */
bool baseline_rule_parse(struct baseline_rule *rule, const char *text);

/* Reads an earlier report. NULL with the reason in message[]. */
json_t *baseline_load(const char *path, char *message, size_t message_size);

/* Holds each result of `report` against that of the same workload, target, load and size in
 * `baseline` (NULL: none) and against the rules; what was compared goes to `out` (NULL: nowhere).
 * Returns how many rules failed, a rule that could not be checked among them. */
size_t baseline_check(const json_t *report, const json_t *baseline,
                      const struct baseline_rule *rules, size_t rule_count, FILE *out);

#endif
