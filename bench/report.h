/* bench/report.h - what was measured, for people and for programs.
 *
 * The JSON object is the report; the CSV file and the page are made from it alone. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/session.h"

#include <jansson.h>
#include <stdio.h>

/* The whole report; NULL: out of memory. docs/benchmark.md lists its fields. */
json_t *report_json(const struct session *session);

/* A table of all results, and what is to be said about them. */
void report_text(const struct session *session, FILE *out);

/* Two numbers, of the short form. */
void report_short(const struct session *session, FILE *out);

/* A line for each result. False: could not be written. */
bool report_csv(const json_t *report, FILE *out);

/* One page that needs nothing else. False: could not be written. */
bool report_html(const json_t *report, FILE *out);

#endif
