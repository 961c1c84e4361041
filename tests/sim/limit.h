/* tests/sim/limit.h - an end for runs that have none. What counts is the processor time that the
 * process takes: a machine that is busy, or stops it for a while, fails nobody. One that sleeps
 * takes none, so there is a generous limit of true time as well. One thread. */
#ifndef TESTS_SIM_LIMIT_H
#define TESTS_SIM_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct limit {
    uint64_t busy_us, true_us;
};

/* Of one seed. A few hundredths of a second are usual, ten times as much on LMDB; sanitizers and
 * valgrind take ten and fifty times that. */
#define LIMIT_OF_A_SEED ((struct limit){.busy_us = 120000000, .true_us = UINT64_C(3600000000)})

/* The process gets SIGPROF or SIGALRM when it is over; not inherited by children. */
void limit_begin(struct limit limit);
void limit_end(void);

/* True if a signal says that a limit is over. */
bool limit_signals(int number);

#endif
