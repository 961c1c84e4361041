/* storage/wal_prove.h - the very bytes of a hole that held several records, found by the checksum
 * that they end with. Pure; any thread. */
#ifndef STORAGE_WAL_PROVE_H
#define STORAGE_WAL_PROVE_H

#include "storage/wal_survey.h"

/* True if it can be tried: entries stood there, up to hole->behind. */
bool wal_prove_fits(const struct wal_hole *hole);

/* The index behind which entries are asked for. `farther`: also those that may have come in the
 * place of entries before the hole; else as few as can have stood there. */
uint64_t wal_prove_from(const struct wal_hole *hole, bool farther);

/* The bytes of the hole if it held the last ones of these entries, which go up to
 * hole->behind.index, to be freed; *ret_first is the index of the first of them. NULL: it did not,
 * or it would take too long to find out in which batches. */
uint8_t *wal_prove(const struct wal_hole *hole, const struct raft_runs *entries,
                   uint64_t *ret_first);

#endif
