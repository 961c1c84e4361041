/* cli/hold.h - waiting for a lock, and holding it while a program runs or until a signal: what
 * `lock`, `elect` and `presence join` have in common. Main thread. */
#ifndef CLI_HOLD_H
#define CLI_HOLD_H

#include "cli/args.h"
#include "conclave_lock.h"

/* What it is about. */
struct hold {
    const struct args *args;
    struct conclave_client *client;
    const char *what, *name; /* "lock", its name */
    int signals;             /* of signals_open(true) */
    char **command;          /* ends with NULL; NULL: none, until a signal */
    bool kill;               /* the program is killed when the lock is lost, not only told to end */
    uint32_t grace_ms;       /* between both; so long before the lease's end the lock is given up */
};

/* The rows of a command that holds: --ttl, --on-lost, --grace. */
#define HOLD_FLAGS                                                                             \
    {"ttl", 0, "DURATION", "10s", false, "not heard of for so long, it is lost"},              \
        {"on-lost",                                                                            \
         0,                                                                                    \
         "term|kill",                                                                          \
         "term",                                                                               \
         false,                                                                                \
         "what happens to CMD when it is lost: told to end, then killed; or killed at once"},  \
    {                                                                                          \
        "grace", 0, "DURATION", NULL, false,                                                   \
            "how long before the end of --ttl CMD is told to end, and then killed (a quarter)" \
    }

/* Reads them. On failure prints the error and returns its exit code, else 0. */
int hold_options(struct hold *hold, uint32_t *ret_ttl_ms);

/* Opens the client and the signals, and takes the operands from this one on as the command. The
 * same; hold_close in both cases. */
int hold_open(struct hold *hold, size_t first);
void hold_close(struct hold *hold);

/* Waits until the lock holds, in the queue up to wait_ms. On failure, or when a signal came, prints
 * why, releases it and returns the exit code, else 0. */
int hold_wait(struct hold *hold, struct conclave_lock *lock, uint32_t wait_ms);

/* Runs the program with CONCLAVE_LOCK_TOKEN in its environment, renews the lock, and releases it in
 * the end. Returns the program's exit code; 125 if the lock was lost, which it says. */
int hold_run(struct hold *hold, struct conclave_lock *lock);

#endif
