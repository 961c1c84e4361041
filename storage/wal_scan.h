/* storage/wal_scan.h - reading a log and judging it, without changing anything.
 *
 * The rules are those of storage/wal_format.h. Owned by one thread. */
#ifndef STORAGE_WAL_SCAN_H
#define STORAGE_WAL_SCAN_H

#include "storage/wal_format.h"
#include "storage/wal_links.h"

struct wal_scan_segment {
    uint64_t sequence;
    uint64_t bytes;                  /* of the file */
    uint64_t dirty_start, dirty_end; /* what is not zero behind the log's end; equal: nothing */
    uint64_t torn_bytes; /* of a batch that was being written: what of dirty is no spare's rest */
    uint64_t read_sum;   /* XXH3-64 of what was read up to the file's end, or the log's in it; */
                         /* only where it is asked for */
    struct wal_segment known; /* of those up to the active one */
};

struct wal_scan {
    struct wal_scan_segment *segments; /* sequences rise by one */
    size_t segment_count, segment_capacity;
    uint64_t skipped; /* the segments from this one on before segments[0] are no part of the log */

    size_t active;      /* segments[active] holds the log's end; those behind it hold nothing */
    uint64_t end;       /* offset there */
    uint64_t batch;     /* offset there at which the last batch begins */
    uint64_t read_from; /* the last batch, or the block in which it ends, begins at this offset */
    uint64_t read_to;   /* there the log ends, or what stands behind it */
    uint64_t read_sum;  /* XXH3-64 of what was read between them: nothing else is written again */
    bool attested;      /* the last batch has no entries: nothing before `end` is in doubt */
    bool mended;        /* the last valid record is a mend */
    struct wal_links links;  /* of the log's entries */
    uint64_t links_unsure;   /* up to here they may be those of what was replaced, unseen */
    uint64_t absent_unsure;  /* so may the entries up to here, and the ids of absent ones */
    uint64_t doubted;        /* up to here by what the last valid record, a mend, lacks; else 0 */
    struct raft_id base;     /* what is before the first entry */
    struct raft_id last;     /* last entry, or what the first header says was before */
    uint64_t attested_index; /* entries up to here are in batches before the last one */
    struct raft_runs entries;
};

/* Fills *ret (to be deinitialised even after a failure); `sums`: all of the log is going to be
 * written again, so the segments get the sums of what was read. CORRUPT names segment, offset and
 * index; IDENTITY, VERSION, and what reading may answer. */
MUST_USE int wal_scan_run(const struct io *io, const char *wal_dir,
                          const struct storage_identity *identity, bool sums, struct wal_scan *ret,
                          struct conclave_error *error);

/* Bytes [offset, end) of a segment as they would be. */
struct wal_patch {
    uint64_t sequence;
    uint64_t offset, end;
    uint8_t *bytes;
};

/* As wal_scan_run, of the log as if these patches were written: how it would be judged. */
MUST_USE int wal_scan_rehearse(const struct io *io, const char *wal_dir,
                               const struct storage_identity *identity,
                               const struct wal_patch *patches, size_t patch_count,
                               struct wal_scan *ret, struct conclave_error *error);

/* As wal_scan_run, of a log that is this one segment: how a start would judge it. Its bytes are
 * read only, and not kept. */
MUST_USE int wal_scan_image(const char *wal_dir, const struct storage_identity *identity,
                            uint64_t sequence, uint8_t *segment, size_t bytes, struct wal_scan *ret,
                            struct conclave_error *error);

void wal_scan_deinit(struct wal_scan *scan);

#endif
