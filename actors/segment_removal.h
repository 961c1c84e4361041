/* actors/segment_removal.h - which segments of the log that a snapshot made superfluous are removed
 * when. They go one by one: each takes a sync of the directory, and the syncs of the log should not
 * have to queue behind those of all of them. What is returned is the caller's to remove and is not
 * remembered here any more. The segment helper's thread. */
#ifndef ACTORS_SEGMENT_REMOVAL_H
#define ACTORS_SEGMENT_REMOVAL_H

#include "storage/wal.h"

#include <stdbool.h>

enum { SEGMENT_REMOVAL_MS = 50 }; /* from one to the next */

/* All zero: nothing is to be removed. */
struct segment_removal {
    struct wal_range superfluous;
    uint64_t removed_us; /* when the last one was, CLOCK_MONOTONIC */
};

static inline bool segment_removal_waits(const struct segment_removal *removal)
{
    return removal->superfluous.first < removal->superfluous.end;
}

/* More are superfluous, newer ones. Returns what has to go at once to remember them: what does not
 * lie next to them; an empty range: nothing. */
struct wal_range segment_removal_add(struct segment_removal *removal, struct wal_range range);

/* The oldest one, if it is time; an empty range otherwise. */
struct wal_range segment_removal_next(struct segment_removal *removal, uint64_t now_us);

/* All of them. */
struct wal_range segment_removal_all(struct segment_removal *removal);

#endif
