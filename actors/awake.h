/* actors/awake.h - idle processors stay awake while a node has much to do.
 *
 * A write goes through a dozen threads, one after the other, and most of them are woken on a
 * processor that has become idle meanwhile: to have it back from a halt takes longer than what the
 * thread does (base/cpu_latency.h). So while raft's thread is woken AWAKE_RATE times a second
 * or more the system is asked not to halt them, for which they take power; the processor
 * time of nobody is used for it. At rest nothing is asked for.
 *
 * Raft's thread only. */
#ifndef ACTORS_AWAKE_H
#define ACTORS_AWAKE_H

#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    AWAKE_RATE = 1000,       /* turns of raft's thread a second: some 250 writes where it leads */
    AWAKE_LOOK_US = 100000,  /* so long it is counted */
    AWAKE_REST_US = 1000000, /* so long there is less before they may halt again */
};

struct awake {
    const char *device;         /* NULL: nothing is asked for; borrowed */
    int32_t latency_us;         /* that is asked for */
    int fd;                     /* that keeps them awake; -1: they may halt */
    unsigned turns;             /* since since_us */
    uint64_t since_us, busy_us; /* when it was counted last, and found to be much */
};

/* `device` as CPU_LATENCY_DEVICE, or NULL. */
void awake_init(struct awake *awake, const char *device, int32_t latency_us);

/* With each turn of raft's thread. A device that cannot be had is told to the log and not tried
 * again. */
void awake_turn(struct awake *awake, const struct logger *logger, uint64_t now_us);

/* When there is to be a turn at the latest, so that they may halt again; UINT64_MAX: never. */
uint64_t awake_due_us(const struct awake *awake);

void awake_deinit(struct awake *awake);

#endif
