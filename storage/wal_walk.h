/* storage/wal_walk.h - going through a log record by record, past damage, without changing it.
 *
 * For looking at a log of any size: two segments are in memory and some of the newest ids, so what
 * replaces entries further back than those is judged as if they had been compacted. What is valid
 * and what is damage is as at a start (storage/wal_format.h). Behind a damaged place the walk goes
 * on with the next whole record, and takes it that the log was there as that record says.
 *
 * Files may be written and removed meanwhile. Owned by one thread. */
#ifndef STORAGE_WAL_WALK_H
#define STORAGE_WAL_WALK_H

#include "storage/wal_format.h"

enum wal_walk_what {
    WAL_WALK_END,     /* there is nothing more */
    WAL_WALK_SKIPPED, /* a segment before the one in which the log begins anew: none of it counts */
    WAL_WALK_SEGMENT, /* a segment begins */
    WAL_WALK_RECORD,  /* a batch record, or one with which the log begins anew */
    WAL_WALK_MEND,    /* what a repair put in the place of several records; its entries follow */
    WAL_WALK_ENTRY,   /* an entry */
    WAL_WALK_DAMAGE,  /* what had been durable is not valid */
    WAL_WALK_TORN,    /* of a batch that was being written: a start cuts it */
    WAL_WALK_PREPARED, /* a segment that holds nothing yet */
    WAL_WALK_GONE      /* a segment that was removed since the walk began */
};

struct wal_walk_step {
    enum wal_walk_what what;
    uint64_t sequence;    /* of the segment */
    uint64_t bytes;       /* of its file; DAMAGE: 0, the file is missing */
    uint64_t offset, end; /* the place in it */
    bool has_header;      /* SEGMENT: it is whole: */
    struct wal_header header;
    struct wal_record record; /* RECORD, MEND, ENTRY; the payload is there until the next step */
    bool mended;              /* ENTRY: it stands in a mend */
    uint64_t replaces;        /* entries from this index on go; 0: none */
    struct raft_id last;      /* the last entry before this place */
    const char *why;          /* DAMAGE: what is wrong; there until the next step */
};

struct wal_walk;

/* `live`: somebody may be writing; what looks damaged is read once more. Errors: CORRUPT (there are
 * no segments), and what listing the directory may answer. */
MUST_USE int wal_walk_open(const struct io *io, const char *wal_dir,
                           const struct storage_identity *identity, bool live,
                           struct wal_walk **ret, struct conclave_error *error);

/* The next step. */
void wal_walk_next(struct wal_walk *walk, struct wal_walk_step *ret);

void wal_walk_close(struct wal_walk *walk); /* NULL is allowed */

/* --- What is left of it in the end ------------------------------------------------------------ */

/* Where entries were replaced, so that a second walk can tell which ones are of the log. All zero:
 * nowhere. */
struct wal_cuts {
    struct wal_cut {
        uint64_t sequence, offset; /* of what replaces */
        uint64_t index;            /* from here on */
    } * items;
    size_t count, capacity;
    uint64_t last; /* index of the last entry so far */
    size_t at;     /* reading: the first that is not behind */
};

/* Notes what this step replaces; to be called with each step of the first walk. */
void wal_cuts_note(struct wal_cuts *cuts, const struct wal_walk_step *step);

/* Between the walks. */
void wal_cuts_settle(struct wal_cuts *cuts);

/* Of an entry of the second walk, which comes by in the same order: true if something behind it
 * replaced it. */
bool wal_cuts_replaced(struct wal_cuts *cuts, const struct wal_walk_step *step);

void wal_cuts_deinit(struct wal_cuts *cuts);

#endif
