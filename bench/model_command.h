/* bench/model_command.h - `conclave bench model`. Main thread. */
#ifndef BENCH_MODEL_COMMAND_H
#define BENCH_MODEL_COMMAND_H

#include "bench/model.h"

#include <signal.h>
#include <stdbool.h>

/* argv[0] is "model". Returns the exit code of the program. */
int model_command(int argc, char **argv, bool json, const volatile sig_atomic_t *stop);

/* Reads "clients=64,rtt=1ms,fsync=2ms,size=1KiB,nodes=5,cores=4,rate=1000,client-rtt=1ms"; what is
 * not named stays. Times without a unit are microseconds; who names a distance has each node on a
 * machine of its own. False: why[] says what is wrong. */
bool model_case_parse(struct model_case *where, const char *text, char *why, size_t size);

extern const char model_help[];

#endif
