/* bench/usage.h - what nodes that were started here, and the generator, cost while a load runs:
 * from /proc. Main thread. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include "bench/measure.h"

#include <sys/types.h>

/* Between two looks. */
struct usage_sample {
    uint64_t at_ns, cpu_ns;
};

struct usage {
    uint64_t looked_ns; /* 0: not yet */
    pid_t pids[MEASURE_NODES_MAX];
    struct usage_sample first[MEASURE_NODES_MAX], last[MEASURE_NODES_MAX];
    struct usage_sample own_first, own_last;
};

/* Looks, if it is time to; what was seen since the first look is in measure->nodes. A node whose
 * process has changed is counted from there on. `elapsed_ns` since the measurement began. */
void usage_tick(struct usage *usage, const pid_t *pids, unsigned count, struct measure *measure,
                uint64_t elapsed_ns);

/* The processor time that a process has used, and its memory; false: it is not there. */
bool usage_read(pid_t pid, uint64_t *ret_cpu_ns, uint64_t *ret_resident_bytes);

#endif
