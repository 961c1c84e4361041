/* storage/wal_collect.h - the entries of a log as a scan meets them, with replacement from an index
 * on. Payloads are copied in groups, so that a log of many small entries costs few allocations.
 * Owned by one thread. */
#ifndef STORAGE_WAL_COLLECT_H
#define STORAGE_WAL_COLLECT_H

#include "storage/wal_format.h"

struct wal_collect {
    struct raft_id base; /* what is before the first entry */
    bool base_replaced;  /* by a segment that is gone: its term is not known */
    struct raft_id last;
    struct raft_run *groups; /* done; each owns a reference */
    size_t group_count, group_capacity;
    struct wal_record *pending; /* payloads point into the segment being read */
    size_t pending_count, pending_capacity, pending_bytes;
};

/* Starts an all-zero collection behind `base`. */
void wal_collect_begin(struct wal_collect *collect, struct raft_id base);

/* True if the entry at this index is absent. */
bool wal_collect_lacks(const struct wal_collect *collect, uint64_t index);

/* True if an entry with this id may come next: no gap, and terms that never go back. */
bool wal_collect_fits(const struct wal_collect *collect, struct raft_id id);

/* Adds an entry that fits, in the place of all from its index on. */
void wal_collect_add(struct wal_collect *collect, const struct wal_record *record);

/* Adds entries up to `last` of which only that they are there is known; those before `last` get its
 * term if the entry before them has it, else WAL_TERM_UNKNOWN. If `last` is at or below the last
 * index, it replaces what is there; so does an entry before it what is there of a later term.
 * Returns the index of the first that it added or replaced. */
uint64_t wal_collect_absent(struct wal_collect *collect, struct raft_id last);

/* The log begins behind the last absent entry, and in any case behind one whose term is known. */
void wal_collect_settle(struct wal_collect *collect);

/* The last entry below `index`. */
struct raft_id wal_collect_below(const struct wal_collect *collect, uint64_t index);

/* The log begins anew behind `base`: drops everything. */
void wal_collect_restart(struct wal_collect *collect, struct raft_id base);

/* The log is looked at, not to be kept: forgets the oldest entries but for some, as if they had
 * been compacted. Of those that are kept this many are at least there. */
void wal_collect_forget(struct wal_collect *collect, size_t kept);

/* Copies what is pending: the segment's bytes may then go. */
void wal_collect_flush(struct wal_collect *collect);

/* Moves all entries, flushed, to *ret, which is empty. */
void wal_collect_finish(struct wal_collect *collect, struct raft_runs *ret);

void wal_collect_deinit(struct wal_collect *collect);

#endif
