/* storage/wal.h - the write-ahead log: segments of checksummed, chained records.
 *
 * The format essay (what makes a record valid, what may be cut) stands at the head of
 * storage/wal_format.h and in docs/disk-format.md.
 *
 * Append-only: an entry whose index is at or below the last one replaces everything from there on,
 * on disk by standing later. Appending only stages bytes in memory; wal_sync writes them with one
 * pwritev and one fdatasync. Owned by one thread, the log-writer's. */
#ifndef STORAGE_WAL_H
#define STORAGE_WAL_H

#include "raft/entries.h"
#include "storage/identity.h"

struct wal_options {
    uint64_t
        segment_bytes;   /* 0: the default, 16 MiB; at least 64 KiB in production, less in tests */
    uint32_t spares_max; /* how many segments that were let go of are kept to be used again */
};

/* What a start found. */
struct wal_recovery {
    struct raft_runs entries; /* the valid log, from its first index on */
    struct raft_id base;      /* the entry before the first one; {0, 0}: there is none */
    uint64_t attested_index;  /* known to have been durable before the last stop */
    uint64_t cut_bytes;       /* bytes of an unattested torn tail that were cut; 0: none */
    uint64_t segment_count;
};

struct wal;

/* Makes DIR/wal with `entries` as its durable content. EXISTS if it is there. */
MUST_USE int wal_create(const struct io *io, const char *dir,
                        const struct storage_identity *identity, const struct wal_options *options,
                        const struct raft_runs *entries, struct conclave_error *error);

/* Opens and recovers. A torn tail that was never attested is cut; anything else that is not valid
 * is CORRUPT, with segment, offset and index in the sentence, and nothing on disk is changed.
 * IDENTITY: a segment of another node or cluster. */
MUST_USE int wal_open(const struct io *io, const char *dir, const struct storage_identity *identity,
                      const struct wal_options *options, struct wal **ret_wal,
                      struct wal_recovery *ret_recovery, struct conclave_error *error);

/* Stages entries for the next sync. Their first index is at most one above the last (asserted). */
void wal_append(struct wal *wal, const struct raft_runs *entries);

/* Stages that the log begins anew behind `base`, the last entry of a snapshot that is durable (Rule
 * 35): what was in it before is no part of it any more. */
void wal_begin_anew(struct wal *wal, struct raft_id base);

/* Makes everything staged durable. After a failure the WAL must not be used again: what is on disk
 * is not known (Rule 6); but for NO_SPACE, if there was no room for the next segment: what did not
 * fit stays staged, nothing of it was written, and it may be called again. Nothing staged: nothing
 * is done. */
MUST_USE int wal_sync(struct wal *wal, struct conclave_error *error);

/* When idle for a moment after a sync: appends and syncs the attestation of the last batch, if it
 * is not yet attested, so that a start can tell a torn tail from damage. */
MUST_USE int wal_attest(struct wal *wal, struct conclave_error *error);

/* True if wal_attest has something to do. */
bool wal_needs_attest(const struct wal *wal);

/* Prepares the next segment (allocated, zeroed or a spare, durable) if there is none: slow, so the
 * log-writer's helper thread calls it; it touches no other state of the WAL. Returns at once if it
 * is there. */
MUST_USE int wal_prepare_segment(struct wal *wal, struct conclave_error *error);

/* Whoever is making a segment does not pause any more while it does. Any thread. */
void wal_press(struct wal *wal);

/* True if a helper should call wal_prepare_segment now. Owner thread. */
bool wal_needs_segment(const struct wal *wal);

/* Segments by their sequences: [first, end). */
struct wal_range {
    uint64_t first, end;
};

/* Lets go of the segments at the front that hold nothing but entries at or below `index`, or that
 * the log has left behind by beginning anew. They are the caller's to remove, in any thread: after
 * a crash they are found again and let go of again. Nothing may be staged. Owner thread. */
struct wal_range wal_release(struct wal *wal, uint64_t index);

/* Removes segments that were let go of, the oldest first, or keeps their files as spares, which the
 * next segments are made of. Slow, so the segment helper calls it; it touches no other state of the
 * WAL. */
MUST_USE int wal_remove(struct wal *wal, struct wal_range range, struct conclave_error *error);

/* Removes the spares: the disk has too little room. Segment helper. */
MUST_USE int wal_drop_spares(struct wal *wal, struct conclave_error *error);

/* True after a NO_SPACE of wal_sync or wal_attest that may be tried again. */
bool wal_is_blocked(const struct wal *wal);

struct raft_id wal_last(const struct wal *wal); /* of what is staged or durable */

/* Closes without syncing what is only staged. */
void wal_close(struct wal *wal);

#endif
