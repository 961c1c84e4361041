/* storage/wal_fill.h - what is written over a hole: the very bytes that stood there, or a mend with
 * the entries that do not stand elsewhere (storage/wal_format.h, Repair). Pure; any thread. */
#ifndef STORAGE_WAL_FILL_H
#define STORAGE_WAL_FILL_H

#include "storage/wal_survey.h"

/* The bytes of the survey's hole with these entries in it, to be freed. `told`: an entry that the
 * log has in the end, by the word of others; of index 0: there is none. NULL, with a sentence: they
 * do not fit there. */
uint8_t *wal_fill_make(const struct wal_hole *hole, const struct wal_survey *survey,
                       const struct raft_runs *entries, struct raft_id told,
                       struct conclave_error *error);

/* True if what the hole held was large enough for these entries. */
bool wal_fill_has_room(const struct wal_hole *hole, const struct raft_runs *entries);

#endif
