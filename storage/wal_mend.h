/* storage/wal_mend.h - writing what a repair has found out, and before that the rehearsal: the very
 * scan that a start runs judges the log as it would be, in memory.
 *
 * Owned by one thread, with the log closed. */
#ifndef STORAGE_WAL_MEND_H
#define STORAGE_WAL_MEND_H

#include "storage/wal_survey.h"

/* Where the writing goes. */
struct wal_mending {
    const struct io *io;
    const char *dir; /* DIR/wal */
    const struct storage_identity *identity;
    const struct wal_survey *survey;
    const struct wal_patch *patches; /* what goes into each hole of the survey */
    struct raft_id covered;          /* a snapshot here has all up to this entry */
};

/* OK: a start would open the log with the patches in it, up to where the survey saw its end, and
 * without a gap that no snapshot covers. CORRUPT: it would not, and why. Nothing is written. */
MUST_USE int wal_mend_rehearse(const struct wal_mending *mending, struct conclave_error *error);

/* Writes the patches, syncs, and reads back. After a failure the log is damaged as before in the
 * holes that are left. */
MUST_USE int wal_mend_write(const struct wal_mending *mending, struct conclave_error *error);

/* *ret: that was begun, and no start has followed: what it wrote is read as whole, and may stand in
 * memory alone, as behind a sync that failed. Codes: those of the disk. */
MUST_USE int wal_mend_begun(const struct io *io, const char *wal_dir, bool *ret,
                            struct conclave_error *error);

#endif
