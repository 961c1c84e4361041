/* bench/workload.h - what the operations of a load are: of one generator, used by its thread. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench/options.h"
#include "bench/stamp.h"
#include "conclave.h"

/* What a load does. */
enum workload_task {
    WORKLOAD_RUN,  /* as the options say */
    WORKLOAD_FILL, /* write key 0, 1, ... */
    WORKLOAD_CHECK /* read key 0, 1, ... as far as they were acknowledged, and compare */
};

/* A bit for each key that was acknowledged. */
struct acked {
    uint8_t *bits;
    size_t bytes;
};

struct workload {
    enum workload_task task;
    enum bench_workload kind;
    const struct bench_options *options;
    struct keys keys;
    uint8_t *value;             /* scratch */
    struct conclave_txn *form;  /* of transactions: what their answers are read by */
    struct acked acked;         /* by this generator */
    const struct acked *wanted; /* WORKLOAD_CHECK */
    uint64_t read, mismatches;
};

/* One operation with its place. */
struct workload_op {
    struct conclave_op op;
    struct stamp stamp; /* who does it, for what listeners are told of */
    uint64_t key;       /* its number */
    uint8_t *buffer;
};

/* `model` has the prepared keys of the load. False: out of memory. */
bool workload_init(struct workload *workload, enum workload_task task, enum bench_workload kind,
                   const struct bench_options *options, const struct keys *model);
void workload_deinit(struct workload *workload);

/* Of each workload_op's buffer. */
size_t workload_buffer_bytes(const struct bench_options *options);

/* Makes operation `number`. CONCLAVE_OK; NOT_FOUND: there is nothing to do under this number. */
int workload_next(struct workload *workload, uint64_t number, struct workload_op *op);

/* Takes in an operation that ended for good. Returns CONCLAVE_OK if that counts as done, else the
 * code of the failure. */
int workload_done(struct workload *workload, const struct workload_op *op);

/* Codes after which the same command may be sent again by a caller to whom applying it twice is the
 * same as once. */
bool workload_repeats(int code);

/* Marks a key; false: out of memory. */
bool acked_set(struct acked *acked, uint64_t key);
bool acked_get(const struct acked *acked, uint64_t key);
bool acked_merge(struct acked *into, const struct acked *from);

#endif
