/* storage/wal_evidence.h - what shows that a hole of a log is damage, and no torn batch.
 *
 * It may have been read from memory alone: of a killed process, or behind a failed sync. If it were
 * lost before the hole is filled, a start would cut off there what had been durable. Owned by one
 * thread, with the log closed. */
#ifndef STORAGE_WAL_EVIDENCE_H
#define STORAGE_WAL_EVIDENCE_H

#include "storage/wal_survey.h"

/* Makes durable what can be read around and behind the holes of the survey, by writing it once
 * more; of all of the log if a repair was begun before and no start has followed. The holes stay as
 * they are. Codes: those of the disk; IO too if it brings other bytes than the survey read. */
MUST_USE int wal_evidence_keep(const struct io *io, const char *wal_dir,
                               const struct storage_identity *identity,
                               const struct wal_survey *survey, struct conclave_error *error);

#endif
