/* bench/load.h - one load on one conclave cluster: as many generators as the options want, each a
 * thread, and their figures together. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/measure.h"
#include "bench/options.h"

/* One point of the plan. */
struct load {
    const struct bench_options *options;
    enum bench_workload workload;
    uint32_t clients;
    double rate; /* of operations that are due; 0: closed loop */
    uint64_t duration_ms, warmup_ms;
};

/* Writes the keys that are read later, outside of any measurement. Errors are in *measure. */
void load_fill(const struct load *load, const char *endpoints, const struct measure_watch *watch,
               struct measure *measure);

/* Runs the load; with options->validate reads back what was acknowledged. */
void load_run(const struct load *load, const char *endpoints, const struct measure_watch *watch,
              struct measure *measure);

/* True if the workload reads keys that must be there before. */
bool load_reads(const struct load *load);

#endif
