/* tests/sim/disk.h - the log-writer and its disk: written versus synced.
 *
 * Persists queue in order. A batch of them is written and synced together; what is not yet synced
 * may be lost in a crash, or kept up to any point, also in the middle of a persist: hard state
 * without the entries, or some entries of it.
 *
 * It is a model by itself, and quick. On top of a struct storage it is the account of what that has
 * to hold: what was synced, and after a crash any beginning of what was being written, and a start
 * compares. Nobody outside this file knows which it is. One thread. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "base/prng.h"
#include "raft/raft.h"

struct disk;
struct storage;

/* A disk as a new node has it: the hard state {1, 0} and the configuration as entry 1:1, of which
 * it takes a reference of its own; NULL: no entry, as for a node that joins. `storage`: taken over;
 * NULL: the model. */
struct disk *disk_create(struct buf *configuration, struct storage *storage);
void disk_destroy(struct disk *disk);

/* Queues a persist; takes it over and leaves *persist empty. */
void disk_submit(struct disk *disk, struct raft_persist *persist);

/* Begins to write up to `max` of what is queued as one batch; returns how many persists that is.
 * 0: nothing is queued. No batch may be under way. */
uint32_t disk_begin(struct disk *disk, uint32_t max);

/* The batch under way is durable. Calls `durable` for each of its persists in order, at the moment
 * when the disk holds exactly what it held after that persist; `durable` may take the messages of
 * persist->send_after.
 *
 * A real disk may also fail, and does if `fails` says so: then `durable` is never called, the batch
 * stays under way, and the node has to stop; or, with NO_SPACE, to call this again (storage_waits).
 */
MUST_USE int disk_complete(struct disk *disk, bool fails,
                           void (*durable)(void *arg, struct raft_persist *persist), void *arg,
                           struct conclave_error *error);

/* A snapshot is durable: entries up to `index` need not be kept. A real disk lets go of segments,
 * now or later; a failure is final, as that of a write. */
MUST_USE int disk_cut(struct disk *disk, uint64_t index, struct conclave_error *error);

/* What a core asks to be read back; the caller's. NOT_FOUND, CORRUPT: it is not there. */
MUST_USE int disk_fetch(struct disk *disk, const struct raft_fetch *fetch, struct raft_runs *ret,
                        struct conclave_error *error);

/* The same for a node that is down and repairs its log: a start need not find what was damaged. */
void disk_cover(struct disk *disk, uint64_t index);

/* The node is down: true if a start surely finds everything behind `from` up to `to`. */
bool disk_reaches(const struct disk *disk, struct raft_id from, struct raft_id to);

/* The node dies: everything queued is kept up to a drawn point, the rest is lost. Returns true if
 * the power was lost; the model knows nothing else. */
bool disk_crash(struct disk *disk, struct prng *prng);

/* The node is down, and the last batch on the disk of a model rots: it was not attested, and so
 * looks like a torn write and is cut. Returns how many entries are left; 0: that is not so here. */
uint64_t disk_rot(struct disk *disk);

/* True if this entry was synced here. */
bool disk_holds(const struct disk *disk, struct raft_id id);

/* The real disk under it; NULL: a model. */
struct storage *disk_storage(struct disk *disk);

/* What the crash before this start did. */
struct disk_crash {
    uint32_t lost_count;    /* persists of which nothing is left */
    uint32_t kept_count;    /* unsynced persists that survived whole */
    uint32_t partial_count; /* entries kept of the one that was cut in the middle */
    bool partial;           /* one was cut in the middle */
    bool hard_state_ahead;  /* a hard state survived that came after entries that did not */
};

struct disk_found {
    struct raft_hard_state hard_state;
    struct raft_id base;      /* the entry before the first one */
    struct raft_runs entries; /* new runs without origins; the caller's */
    struct disk_crash crash;
    uint64_t cut_bytes;
    uint64_t life; /* the number of the start */
};

enum disk_start {
    DISK_STARTED,
    DISK_FAILED,  /* by an interruption: try again */
    DISK_REFUSED, /* CORRUPT, and it says so */
    DISK_WRONG    /* what it found is not what it may find */
};

/* What a start finds. No batch may be under way. `interrupted`: a real disk fails or loses its
 * power in the middle of it. Except after DISK_STARTED *ret is untouched and *error says why. */
enum disk_start disk_recover(struct disk *disk, bool interrupted, struct disk_found *ret,
                             struct conclave_error *error);

#endif
