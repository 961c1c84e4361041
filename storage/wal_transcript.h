/* storage/wal_transcript.h - where what is missing cannot stand where it stood: all of the log, as
 * it is in the end, in one new segment behind those there are.
 *
 * Owned by one thread, with the log closed. */
#ifndef STORAGE_WAL_TRANSCRIPT_H
#define STORAGE_WAL_TRANSCRIPT_H

#include "storage/wal_scan.h"

struct wal_transcript {
    const struct io *io;
    const char *dir; /* DIR/wal */
    const struct storage_identity *identity;
    const struct wal_scan *seen; /* the log up to its end */
    struct raft_id base;         /* the log begins anew behind this; {0, 0}: with its first entry */
    const struct raft_runs *entries;
};

/* Makes that segment, durable under its name when it is whole: a start then begins with it, and
 * removes those before. Before it has its name the scan of a start has read it back. A crash, or a
 * failure, leaves the log as it was. NO_SPACE: it may be tried again. CORRUPT: the log is larger
 * than a segment can be, or would not open. */
MUST_USE int wal_transcript_write(const struct wal_transcript *transcript,
                                  struct conclave_error *error);

#endif
