/* storage/wal_reader.h - entries of a log that is being written, read back by their ids.
 *
 * For entries that are committed, durable, and behind the log's beginning: whatever whole record
 * stands on the disk with such an id is the entry (log matching; paper, 5.3), so that it does not
 * matter what the log-writer appends meanwhile, nor what was replaced before. Segments may be
 * removed meanwhile, or used again: nothing in them is whole under a wrong name then, and what was
 * wanted is not found. Remembers where it ended, for those who read on. Owned by one thread, which
 * is not the log-writer's. */
#ifndef STORAGE_WAL_READER_H
#define STORAGE_WAL_READER_H

#include "raft/entries.h"
#include "storage/identity.h"

struct wal_reader;

/* `io`, `dir` (the node's) and `identity` must outlive it. */
struct wal_reader *wal_reader_create(const struct io *io, const char *dir,
                                     const struct storage_identity *identity);
void wal_reader_destroy(struct wal_reader *reader);

/* Appends to *ret the entries that are asked for, from the first one on and that one at least;
 * fewer than asked for if they end, or what follows cannot be read. CORRUPT: the first one is not
 * there, or not whole; IO, and what else reading may answer. */
MUST_USE int wal_reader_read(struct wal_reader *reader, const struct raft_fetch *fetch,
                             struct raft_runs *ret, struct conclave_error *error);

#endif
