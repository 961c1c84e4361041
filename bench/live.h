/* bench/live.h - the line that shows, each second, how the load goes. Main thread. */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include "bench/measure.h"

struct live {
    bool on, terminal;
    char title[96];
    size_t shown; /* seconds */
};

/* On a terminal, and elsewhere if `wanted`. */
void live_init(struct live *live, bool wanted);

/* A new load begins. */
__attribute__((format(printf, 2, 3))) void live_title(struct live *live, const char *format, ...);

/* Shows the last whole second, once. */
void live_tick(struct live *live, struct measure *measure, uint64_t elapsed_ns);

/* The line goes away. */
void live_clear(struct live *live);

#endif
