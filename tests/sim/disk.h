/* tests/sim/disk.h - a model of the log-writer and its disk: written versus synced.
 *
 * Persists queue in order. A batch of them is written and synced together; what is not yet synced
 * may be lost in a crash, or kept up to any point, also in the middle of a persist: hard state
 * without the entries, or some entries of it. Nobody outside this file knows how it is stored. One
 * thread. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "base/prng.h"
#include "raft/raft.h"

struct disk;

/* A disk as a new node has it: the hard state {1, 0} and the configuration as entry 1:1. Takes a
 * reference of its own on the payload. */
struct disk *disk_create(struct buf *configuration);
void disk_destroy(struct disk *disk);

/* Queues a persist; takes it over and leaves *persist empty. */
void disk_submit(struct disk *disk, struct raft_persist *persist);

/* Begins to write up to `max` of what is queued as one batch; returns how many persists that is.
 * 0: nothing is queued. No batch may be under way. */
uint32_t disk_begin(struct disk *disk, uint32_t max);

/* The batch under way is durable. Calls `durable` for each of its persists in order, at the moment
 * when the disk holds exactly what it held after that persist; `durable` may take the messages of
 * persist->send_after. */
void disk_complete(struct disk *disk, void (*durable)(void *arg, struct raft_persist *persist),
                   void *arg);

/* What a crash did. */
struct disk_crash {
    uint32_t lost_count;    /* persists of which nothing is left */
    uint32_t kept_count;    /* unsynced persists that survived whole */
    uint32_t partial_count; /* entries kept of the one that was cut in the middle */
    bool partial;           /* one was cut in the middle */
    bool hard_state_ahead;  /* a hard state survived that came after entries that did not */
};

/* The node dies: everything queued is kept up to a drawn point, the rest is lost. */
struct disk_crash disk_crash(struct disk *disk, struct prng *prng);

/* What a start finds: the hard state, and all entries as new runs (no origins), owned by the
 * caller. Nothing may be queued. */
void disk_recover(const struct disk *disk, struct raft_hard_state *ret_hard_state,
                  struct raft_runs *ret_entries);

#endif
