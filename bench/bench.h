/* bench/bench.h - the load generator of `conclave bench`.
 *
 * Uses the public interface alone (conclave.h, conclave_kv.h): what it measures, a program that
 * embeds the library gets. One call runs at a time: it installs a handler for SIGINT while it runs
 * and prints to the standard streams. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>

/* Runs `bench WORKLOAD [flags]`: parses its own flags (--help prints them), runs the load, prints
 * the figures to stdout and diagnostics to stderr. argv       argv[0] is "bench", argv[1] the
 * workload ("put"), then flags endpoints  default of --endpoints: comma-separated client endpoints;
 * not NULL json       true: as if --json was given Returns the exit code of the program: 0 all
 * operations done, 1 --validate found a mismatch, 2 wrong usage, else conclave_code_exit() of what
 * stopped operations for good. */
int bench_command(int argc, char **argv, const char *endpoints, bool json);

#endif
