/* bench/schedule.h - when operations are due in an open loop, and how generators share them. Pure.
 *
 * Operation number i of the whole load is due i / rate seconds after the start, whatever became of
 * those before it; the generators take turns: generator g of n has the numbers g, g + n, ...
 * Latency counts from when an operation was due ("coordinated omission", Tene 2013, is what it is
 * called when it does not). */
#ifndef BENCH_SCHEDULE_H
#define BENCH_SCHEDULE_H

#include <stdint.h>

struct schedule {
    double rate; /* of all generators together; 0: closed loop, everything is due at once */
    uint64_t start_ns;
    uint64_t first, step; /* the generator's numbers */
    uint64_t limit;       /* numbers below this; UINT64_MAX: no end */
    uint64_t taken;
};

/* Open loop: how long a generator rests between two looks for what is due, so that it does not wake
 * up for each operation, 20 us after the one before, and takes the processors from what it is to
 * measure. A twentieth of the latency so far, 250 us at most; what waits meanwhile waits in its
 * latency. */
struct pace {
    uint64_t latency_ns; /* a moving average; 0: none yet */
    uint64_t next_ns;    /* nothing begins before */
};

/* An operation took so long. */
void pace_latency(struct pace *pace, uint64_t latency_ns);

/* Operations were begun now. */
void pace_begun(struct pace *pace, uint64_t now_ns);

/* The number of the generator's next operation; UINT64_MAX: none is left. */
uint64_t schedule_number(const struct schedule *schedule);

/* When it is due. Closed loop: start_ns. */
uint64_t schedule_due_ns(const struct schedule *schedule);

/* How many are due before `end_ns` and not taken. Closed loop: 0. */
uint64_t schedule_left(const struct schedule *schedule, uint64_t end_ns);

#endif
