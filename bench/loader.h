/* bench/loader.h - programs in Go that load peers with the peers' own client libraries.
 *
 * Their sources (bench/peers/) are carried by this program and built where they are needed; they
 * make the load of bench/generator.c and print what came of it (docs/benchmark.md, "Loaders"). Main
 * thread. */
#ifndef BENCH_LOADER_H
#define BENCH_LOADER_H

#include "bench/target.h"

/* Builds the loader from its source into target->dir and sets target->loader. Errors: IO, with what
 * the compiler said. */
int loader_build(struct target *target, const char *name, const char *source,
                 struct conclave_error *error);

/* Asks the loader one thing ("ready", "leader"). True if it answered; its line is in answer[]. */
bool loader_ask(struct target *target, const char *task, char *answer, size_t size);

/* The target's functions `fill` and `run`. */
void loader_fill(struct target *target, const struct load *load, const struct measure_watch *watch,
                 struct measure *measure);
void loader_run(struct target *target, const struct load *load, const struct measure_watch *watch,
                struct measure *measure);

/* Takes in one line that a loader printed; *ended is set by the last one of a run. False: no line
 * of the form. */
bool loader_line(struct measure *measure, char *line, bool *ended);

#endif
