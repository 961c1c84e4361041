/* bench/disturb.h - carries faults out while a load runs, and sees when a node is back. Main
 * thread: nodes die with the thread that started them. */
#ifndef BENCH_DISTURB_H
#define BENCH_DISTURB_H

#include "bench/live.h"
#include "bench/target.h"
#include "bench/usage.h"

struct disturb {
    struct target *target;
    struct live *live;
    struct faults faults;
    size_t next;
    unsigned awaited;      /* the node that is to catch up; TARGET_NODE_NONE: none */
    uint64_t restarted_ns; /* after the measurement began */
    uint64_t committed;    /* when it was started */
    struct usage usage;
    const volatile sig_atomic_t *stop;
};

/* What the options and the workload want to happen. */
void disturb_init(struct disturb *disturb, struct target *target, const struct load *load,
                  struct live *live, const volatile sig_atomic_t *stop);

/* For struct measure_watch; `arg` is a struct disturb. */
void disturb_tick(void *arg, struct measure *measure, uint64_t elapsed_ns);

/* After the load: waits for the node that is to catch up. */
void disturb_finish(struct disturb *disturb, struct measure *measure);

#endif
