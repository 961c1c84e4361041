/* cli/hold.h - holding a lock while a program runs, or until a signal. Main thread. */
#ifndef CLI_HOLD_H
#define CLI_HOLD_H

#include "cli/args.h"
#include "conclave_lock.h"

/* What it is about. */
struct hold {
    const struct args *args;
    struct conclave_client *client;
    const char *name;
    int signals;    /* of signals_open(true) */
    char **command; /* ends with NULL; NULL: none, until a signal */
    bool kill;      /* the program is killed when the lock is lost, not only told to end */
};

/* Runs the program with CONCLAVE_LOCK_TOKEN in its environment, renews the lock, and releases it in
 * the end. Returns the program's exit code; 125 if the lock was lost, which it says. */
int hold_run(const struct hold *hold, struct conclave_lock *lock);

/* A flag that is a duration of at least the shortest that a lock takes. On failure prints the error
 * and returns its exit code, else 0. */
int hold_ttl(const struct args *args, uint32_t *ret_ms);

/* Prints why there is no lock. Returns the exit code. */
int hold_failed(const struct hold *hold, int code);

/* The operands from this one on as a command line; NULL without memory. To be freed. */
char **hold_command(const struct args *args, size_t first);

#endif
