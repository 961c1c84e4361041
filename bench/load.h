/* bench/load.h - a closed loop: each of N clients has one operation outstanding.
 *
 * All of them are carried by one struct conclave_client, one thread. What the operations are, the
 * workload says (struct load_ops); repeating, timing and counting is here. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/histogram.h"
#include "conclave.h"

#include <signal.h>

/* One client and its operation. */
struct load_slot {
    struct conclave_op op;
    uint64_t number;   /* of the operation, counted from 0; the workload's */
    uint64_t spent_ns; /* in earlier attempts */
    uint8_t *buffer;   /* for the encoded command: buffer_bytes of load_ops */
};

struct load_ops {
    size_t buffer_bytes;

    /* Makes the slot's next operation: number, and op's kind, data, bytes. Returns CONCLAVE_OK;
     * NOT_FOUND: there is none left; another code ends the load with it. */
    int (*next)(void *workload, struct load_slot *slot);

    /* Takes in an operation that ended for good. Returns CONCLAVE_OK if that counts as done, else
     * the code of the failure. */
    int (*done)(void *workload, const struct load_slot *slot);
};

struct load {
    /* set by the caller */
    struct conclave_client *client;
    const struct load_ops *ops;
    void *workload;
    uint32_t clients;
    uint32_t timeout_ms;               /* of one operation, all attempts together */
    uint64_t seconds;                  /* no new operation after these; 0: no limit */
    const volatile sig_atomic_t *stop; /* not 0: end at once */

    /* what came of it */
    struct histogram *latencies; /* ns; the caller's */
    uint64_t begun, done, retried, errors;
    int first_error;     /* the code; 0: none */
    uint64_t elapsed_ns; /* from the first operation to the last one done */
    uint64_t gap_max_ns; /* longest time in which no operation was done */
    int stopped;         /* ended by `stop` */
};

/* Runs until no operation is left, or one has failed, or told to stop. Returns CONCLAVE_OK or the
 * code of the first failure. */
int load_run(struct load *load);

/* Monotonic nanoseconds. */
uint64_t load_now_ns(void);

#endif
