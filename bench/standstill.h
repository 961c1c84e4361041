/* bench/standstill.h - how long the whole machine stood still while a load ran.
 *
 * A host that gives a virtual machine its share of processor time in slices stops it for some
 * milliseconds when a slice is used up, as often as ten times a second, and what is measured then
 * is the host: no percentile beyond the 90th is shorter than that, whatever runs in the machine.
 * Not every host says so (/proc/stat, "steal"). So a thread sleeps for 2 ms at a time: what it
 * comes late beyond what it waited for a processor, the machine was not there. */
#ifndef BENCH_STANDSTILL_H
#define BENCH_STANDSTILL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing was watched. At least that; stops that begin while the thread waits for a
 * processor are not seen. */
struct standstill_seen {
    uint64_t watched_ns, stood_ns, longest_ns, times;
};

struct standstill {
    pthread_t thread;
    bool runs;
    atomic_bool end;
    struct standstill_seen seen;
};

/* Begins to watch. Without a thread nothing is seen. */
void standstill_begin(struct standstill *standstill);

/* Ends, and returns what was seen. */
struct standstill_seen standstill_end(struct standstill *standstill);

/* A sleep ended so late, and so much of that was a wait for a processor. */
void standstill_note(struct standstill_seen *seen, uint64_t late_ns, uint64_t waited_ns);

/* The share of the time, 0 to 1. */
double standstill_share(const struct standstill_seen *seen);

/* So much that whoever reads the latencies should know. */
bool standstill_matters(const struct standstill_seen *seen);

#endif
