/* bench/listeners.h - those who watch keys or subscribe to the topic while a load runs.
 *
 * They belong to one generator and work in its thread, each over a connection of its own. What they
 * are told carries a stamp (bench/stamp.h), so that its way can be timed. */
#ifndef BENCH_LISTENERS_H
#define BENCH_LISTENERS_H

#include "bench/stamp.h"
#include "conclave.h"

#include <signal.h>

struct listeners;

struct listeners_plan {
    const char *endpoints;
    uint32_t count;
    const char *prefix; /* of the keys that are watched; NULL: the topic */
    uint64_t sequence;  /* of the first message that is wanted */
    uint32_t timeout_ms;

    /* One that `listener` had not been told before. */
    void (*heard)(void *arg, uint32_t listener, const struct stamp *stamp);
    void *arg;
};

/* Returns when all of them are being told: what is committed from now on they hear of. Errors:
 * those of a watch or subscription, with a sentence. */
int listeners_create(const struct listeners_plan *plan, struct listeners **ret,
                     struct conclave_error *error);
void listeners_destroy(struct listeners *listeners);

/* Takes in what came, without waiting. `all`: also of those that nothing is known to have come for.
 * Errors: the first one that cannot go on, with a sentence. */
int listeners_drain(struct listeners *listeners, bool all, struct conclave_error *error);

/* There is more to drain already. */
bool listeners_more(const struct listeners *listeners);

/* Readable when there may be something to drain. */
int listeners_fd(const struct listeners *listeners);

/* How often something was told out of order, or, if it was surely written once, a second time. */
uint64_t listeners_wrong(const struct listeners *listeners, bool written_once);

/* `count` subscribers read the topic from `first` until each has all messages before `end`. Returns
 * how long it took; 0: *stop ended it. Errors: as above, and TIMEOUT. */
int listeners_replay(const char *endpoints, uint32_t count, uint64_t first, uint64_t end,
                     uint32_t timeout_ms, const volatile sig_atomic_t *stop, uint64_t *ret_ns,
                     struct conclave_error *error);

#endif
