/* storage/wal_internal.h - the open log, shared by wal.c (appending), wal_segment.c (files) and
 * wal_open.c (starting).
 *
 * Two places are told apart: `at`, where the next staged byte will stand, and `file`, the segment
 * that the last sync wrote to. Between syncs they are the same segment.
 *
 * The owner's thread uses everything but `ahead`. `ahead` is shared with the helper that prepares
 * segments; whoever makes or takes the next segment holds its mutex, so an owner that needs it
 * while the helper is at it waits for the helper, who is doing just what is needed. */
#ifndef STORAGE_WAL_INTERNAL_H
#define STORAGE_WAL_INTERNAL_H

#include "storage/wal.h"
#include "storage/wal_format.h"
#include "storage/wal_links.h"

#include <pthread.h>

/* A place to write to. offset 0: the segment's header comes first. */
struct wal_position {
    uint64_t sequence;
    uint64_t offset;
    uint64_t capacity;
    uint64_t key;
};

/* A staged batch: one pwritev, one fdatasync. */
struct wal_part {
    uint64_t sequence;
    uint64_t offset;
    uint64_t capacity; /* of the segment, should it have to be made */
    size_t start;      /* of its first block, in staged[] */
    size_t bytes;      /* of records */
    bool attestation;  /* no entries */
};

enum { WAL_SPARES_MAX = 64 };

enum wal_ahead_state { WAL_AHEAD_NONE, WAL_AHEAD_MAKING, WAL_AHEAD_READY };

struct wal {
    const struct io *io;
    char *dir; /* DIR/wal */
    struct storage_identity identity;
    uint64_t segment_bytes;

    struct io_file *file; /* NULL: none yet, or lost to a failure */
    uint64_t file_sequence;
    uint64_t file_end, file_bytes; /* how far it is written or zero, and how long it is */
    bool file_recycled;            /* what is behind file_end is not zero */
    bool blocked;                  /* the next segment found no room; nothing of it was written */
    bool failed;                   /* a write or sync failed: never again (Rule 6) */
    bool attested;                 /* the last durable batch is */

    struct wal_position at;
    struct { /* from the first that is there to the one that is staged last */
        struct wal_segment *items;
        size_t count, capacity;
    } segments;
    struct wal_links links; /* from the last entry that was let go of to the last one staged */
    struct raft_id last;    /* last entry staged */

    /* What will be written: for each part the blocks that it touches, from the first one on. So it
     * begins with what stands before it in that block, and is filled up with zeros. Grown, never
     * shrunk: its size is that of the largest sync. */
    uint8_t *staged; /* at a multiple of IO_BLOCK_BYTES */
    size_t staged_bytes, staged_capacity;
    uint8_t tail[IO_BLOCK_BYTES]; /* of `file`: the block in which it ends, up to there */
    struct wal_part *parts;
    size_t part_count, part_capacity;

    struct {
        pthread_mutex_t mutex;
        atomic_int state;     /* enum wal_ahead_state; for looking without waiting */
        atomic_bool pressing; /* the log needs the next segment soon, or waits for it */
        uint64_t sequence;    /* of the next segment */
        struct io_file *file; /* READY: open, segment_bytes long, zero or recycled, durable */
        bool recycled;
        uint64_t spares[WAL_SPARES_MAX]; /* the sequences that the files had */
        size_t spare_count, spares_max;
    } ahead;
};

/* A wal without files; staging begins with a new segment of sequence `next_sequence`. */
struct wal *wal_new(const struct io *io, const char *wal_dir,
                    const struct storage_identity *identity, const struct wal_options *options,
                    uint64_t next_sequence);

/* Closes the current segment and makes `sequence`, at least `capacity` bytes long, the current one:
 * the prepared one if it fits, else one made now. */
MUST_USE int wal_segment_switch(struct wal *wal, uint64_t sequence, uint64_t capacity,
                                struct conclave_error *error);

/* Writes zeros. Not synced. */
MUST_USE int wal_write_zeros(const struct io *io, struct io_file *file, uint64_t from, uint64_t to,
                             struct conclave_error *error);

/* "DIR/wal/0123456789abcdef.wal", to be freed. */
char *wal_segment_path(const char *wal_dir, uint64_t sequence);

/* As wal_remove(); `keep`: what there may be spares of becomes some. */
MUST_USE int wal_remove_files(struct wal *wal, struct wal_range range, bool keep,
                              struct conclave_error *error);

/* Keeps the file of a segment that was let go of as a spare, if there may be one more: then it is
 * not the log's any more. Not durable. */
MUST_USE int wal_spare_keep(struct wal *wal, uint64_t sequence, bool *ret_kept,
                            struct conclave_error *error);

/* Counts a spare whose name is durable: it may be used. */
void wal_spare_add(struct wal *wal, uint64_t sequence);

/* Makes a segment of a spare, durable under its name. NOT_FOUND: there is none.
 * Under the mutex of `ahead`. */
MUST_USE int wal_spare_use(struct wal *wal, uint64_t sequence, struct io_file **ret_file,
                           struct conclave_error *error);

/* Removes all spares in DIR/wal: what an earlier life left. */
MUST_USE int wal_spares_sweep(const struct wal *wal, struct conclave_error *error);

#endif
