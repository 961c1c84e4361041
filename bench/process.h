/* bench/process.h - programs that the harness starts and ends, their ports and directories.
 *
 * Children die with the harness: from the main thread only. */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "conclave.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Starts argv[0] (searched for in PATH unless it has a slash). What it prints goes to `log`, or,
 * with ret_output, its standard output to a pipe whose end that is. Errors: IO, with a sentence. */
int process_start(char *const *argv, const char *log, pid_t *ret_pid, int *ret_output,
                  struct conclave_error *error);

/* SIGKILL, and waits until it is gone. */
void process_kill(pid_t *pid);

/* True if it has ended; *pid is then 0. */
bool process_ended(pid_t *pid, int *ret_status);

/* Runs a program to its end. True if it ended with 0; what it printed, cut, is in output[]. */
bool process_output(char *const *argv, const char *dir, char *output, size_t size);

/* True if PATH has it. */
bool process_exists(const char *program);

/* Ports of 127.0.0.1 that nobody listens on now, all different. False: none to be found. */
bool process_ports(unsigned *ports, size_t count);

/* Makes a directory of its own below `parent`. Errors: IO. */
int process_directory(const char *parent, char *dir, size_t size, struct conclave_error *error);

/* Removes it with everything in it. */
void process_remove(const char *dir);

/* Writes a small file. Errors: IO. */
int process_write(const char *dir, const char *name, const char *text,
                  struct conclave_error *error);

/* The last lines of a log, for a diagnostic. */
void process_tail(const char *log, char *text, size_t size);

#endif
