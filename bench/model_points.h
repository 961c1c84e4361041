/* bench/model_points.h - what a model is fitted to: points of reports, or measured for it. */
#ifndef BENCH_MODEL_POINTS_H
#define BENCH_MODEL_POINTS_H

#include "bench/model.h"
#include "conclave.h"

#include <jansson.h>
#include <signal.h>

struct model_points {
    struct model_point *of;
    size_t count, capacity;
    size_t left_out; /* results of reports that say nothing about puts on nodes of this program */
};

void model_points_deinit(struct model_points *points);

/* Takes the points of a report of `bench --json`, or of {"reports": [...]}. False: it is none, or
 * out of memory; the reason is in why[]. */
bool model_points_take(struct model_points *points, const json_t *report, char *why, size_t size);

/* Measures a handful of points on this machine and returns {"reports": [...]}; NULL: why[] says why
 * not. */
json_t *model_points_measure(const char *dir, const char *duration,
                             const volatile sig_atomic_t *stop, char *why, size_t size);

#endif
