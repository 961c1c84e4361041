/* bench/environment.h - the machine that figures were taken on. */
#ifndef BENCH_ENVIRONMENT_H
#define BENCH_ENVIRONMENT_H

#include "conclave.h"

#include <stdbool.h>
#include <stdint.h>

struct environment {
    char kernel[256], cpu[128], file_system[32], dir[256], started[32];
    long cores;
    uint64_t memory_bytes;
    double load_average;  /* of the minute before */
    bool keeps_awake;     /* nodes may ask for idle processors at hand */
    bool sync_known;      /* fdatasync could be measured */
    uint64_t sync_p50_ns; /* of 4 KiB written over and synced */
    uint64_t sync_p99_ns;
};

/* Looks at the machine and measures fdatasync in `dir`. What cannot be found out is empty or 0. */
void environment_look(struct environment *environment, const char *dir);

#endif
