/* bench/proposers.h - the workload propose: proposals from within the program that runs the nodes.
 *
 * The nodes, with a state machine that counts, are started in this program (bench/embedded.h), and
 * a thread of it proposes to the one that leads. Afterwards every node must have counted each
 * acknowledged proposal once. */
#ifndef BENCH_PROPOSERS_H
#define BENCH_PROPOSERS_H

#include "bench/load.h"

enum { PROPOSERS_CLIENTS_DEFAULT = 4000 };

/* Why such a load cannot be made of proposals; NULL: it can, or has none. `inside`: the nodes may
 * run in this program. */
const char *proposers_refuse(const struct load *load, bool inside);

/* Errors are in *measure. Main thread. */
void proposers_run(const struct load *load, const struct measure_watch *watch,
                   struct measure *measure);

#endif
