/* bench/lockers.h - the workloads lock and lock-queue: clients that take locks and give them back.
 *
 * The library's locks wait inside its calls, so each client is a thread with a connection of its
 * own. `lock`: each has a lock of its own, and the latency is that of taking it and giving it back.
 * `lock-queue`: all want the same one, and the latency is that of the hand-over, from when its
 * holder began to give it back until the next one knew that it holds. */
#ifndef BENCH_LOCKERS_H
#define BENCH_LOCKERS_H

#include "bench/load.h"

enum { LOCKERS_MAX = 128, LOCKERS_DEFAULT = 16 };

/* Why such a load cannot be made of locks; NULL: it can, or has none. */
const char *lockers_refuse(const struct load *load);

/* Errors are in *measure. Main thread. */
void lockers_run(const struct load *load, const char *endpoints, const struct measure_watch *watch,
                 struct measure *measure);

#endif
