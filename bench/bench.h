/* bench/bench.h - `conclave bench`: measures clusters, its own and others'.
 *
 * Uses the public interface alone (conclave.h, conclave_kv.h): what it measures, a program that
 * embeds the library gets. One call runs at a time, from the program's main thread: it installs a
 * handler for SIGINT while it runs and prints to the standard streams. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>

/* Runs `bench [WORKLOAD...] [flags]`: parses its own flags (--help prints them), measures, prints
 * the report to stdout and diagnostics to stderr. argv             argv[0] is "bench" endpoints
 * default of --endpoints: comma-separated client endpoints; not NULL endpoints_given  the user
 * chose them: they are measured unless --target says otherwise json             true: as if --json
 * was given Returns the exit code of the program: 0 all operations done, 1 --validate found a
 * mismatch or a
 * --fail-if rule failed, 2 wrong usage, else conclave_code_exit() of what stopped operations for
 * good. */
int bench_command(int argc, char **argv, const char *endpoints, bool endpoints_given, bool json);

#endif
