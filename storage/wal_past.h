/* storage/wal_past.h - entries that memory has let go of behind a snapshot and that still stand in
 * a segment, for a node that repairs its log.
 *
 * Reads while the log-writer writes: only what had been durable, and no farther than it needs. For
 * the thread that removes segments (the segment helper), so that none goes away meanwhile. */
#ifndef STORAGE_WAL_PAST_H
#define STORAGE_WAL_PAST_H

#include "storage/identity.h"
#include "storage/wal_supply.h"

/* So much of the log is read, and held in memory, at most: who needs more gets a snapshot. */
enum { WAL_PAST_BYTES_MAX = 64 << 20 };

/* The log of a running node: on disk, and behind `known`, which it surely holds, in memory. */
struct wal_past {
    const struct io *io;
    const char *dir;
    const struct storage_identity *identity;
    struct raft_id known;
};

/* What a peer wants of what is only on disk, as wal_supply_from gives it. If the anchor lies behind
 * `known`, the caller has seen that the log holds it. NOT_FOUND: it is not there any more, or takes
 * too much reading. CORRUPT, IO, and what else reading may answer. */
MUST_USE int wal_past_supply(const struct wal_past *past, const struct wal_want *want,
                             uint64_t bytes_max, enum wal_supply *ret, struct raft_id *ret_prev,
                             struct raft_runs *ret_entries, struct conclave_error *error);

#endif
