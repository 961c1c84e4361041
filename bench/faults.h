/* bench/faults.h - what is to happen to the nodes while they are measured. Pure. */
#ifndef BENCH_FAULTS_H
#define BENCH_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAULTS_MAX = 16 };

enum fault_kind {
    FAULT_KILL_LEADER,   /* SIGKILL */
    FAULT_KILL_FOLLOWER, /* SIGKILL, one that does not lead */
    FAULT_RESTART        /* start every node again that was killed */
};

struct fault {
    enum fault_kind kind;
    uint64_t at_ms; /* after the measurement began */
};

/* In the order of time. */
struct faults {
    struct fault list[FAULTS_MAX];
    size_t count;
};

/* Adds "kill-leader@10s" and the like. False: not such a thing, or too many. */
bool faults_add(struct faults *faults, const char *text);

const char *fault_name(enum fault_kind kind);

#endif
