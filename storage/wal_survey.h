/* storage/wal_survey.h - reading on behind damage: where the holes are, what stood in them.
 *
 * Changes nothing. Owned by one thread. */
#ifndef STORAGE_WAL_SURVEY_H
#define STORAGE_WAL_SURVEY_H

#include "storage/wal_scanner.h"

enum { WAL_HOLE_RECENT = 16 };

/* Bytes [offset, end) of a segment. */
struct wal_hole {
    size_t number; /* of the segment in the scan */
    uint64_t sequence, key;
    uint64_t offset, end;

    uint8_t *bytes; /* what stood there, if that is known; else NULL */
    bool done;      /* what stood there is known by now, and is proved */

    uint64_t link;                    /* of `before`; WAL_LINK_UNKNOWN */
    uint64_t recent[WAL_HOLE_RECENT]; /* and of those before it, backwards */
    struct raft_id before;            /* the last entry as of its beginning */
    uint64_t stands_for;              /* the link of the entry at behind.index, as of its end */
    uint64_t batch_before;            /* the batch that it begins in */
    uint32_t batch_behind;            /* the batch that it ends in */
    bool named;                       /* what stands behind names the last entry as of its end: */
    struct raft_id behind; /* that; else an entry with the index behind.index + 1 stands there */
    uint64_t next_term;    /* then: of that entry; else 0 */
    uint64_t lost;    /* entries from here up to behind.index were replaced in it, or came in it */
    bool unchanged;   /* by its link the log was the same there before the hole */
    bool sure_before; /* `before` is no guess of a mend's */
    bool sure_behind; /* `behind` is what a batch record or a header of the log says */

    /* Of the entries that the log consists of in the end: those before it end with prev, those in
     * it are up to `last`. Not certain: some before it may have been replaced in it. */
    struct raft_id prev;
    uint64_t last;
    uint64_t term_max; /* of what followed them: an entry of a later term came in a later hole */
    bool certain;
    bool doubtful; /* as it was found, and until its bytes are proved: for those who ask this log */
    bool level; /* all in it was of the term of `before`: one leader's, and nothing was replaced */
};

/* Behind so many holes an entry shows which link the log had before it, and not by what it was. */
struct wal_witness {
    size_t holes;
    uint64_t index, link;
};

/* A block that the disk failed to read: it was judged as zeros. */
struct wal_unread {
    size_t number; /* of the segment in the scan */
    uint64_t offset;
};

struct wal_survey {
    struct wal_scan scan; /* its links are those of the log in the end, as far as they are known */
    struct wal_links found; /* and these of what is shown at an index: it may have been replaced */
    struct wal_links sure;  /* of the log in the end, without those that may have been replaced */
    struct {
        struct wal_hole *items;
        size_t count, capacity;
    } holes;
    struct {
        struct wal_witness *items;
        size_t count, capacity;
    } witnesses;
    struct {
        struct wal_unread *items;
        size_t count, capacity;
    } unread;
};

/* Fills *ret, to be deinitialised even after a failure. CORRUPT: damaged beyond repair. */
MUST_USE int wal_survey_run(const struct io *io, const char *wal_dir,
                            const struct storage_identity *identity, size_t holes_max,
                            struct wal_survey *ret, struct conclave_error *error);

/* So many entries can have stood in these bytes, in records or in a mend. */
uint64_t wal_survey_most(uint64_t bytes);

/* XXH3-64 of a segment's bytes up to `end`, outside of the holes. As they were read up to the end
 * of the file, or of the log, it is in the scan's segments. */
uint64_t wal_survey_sum(const struct wal_survey *survey, size_t number, const uint8_t *data,
                        uint64_t end);

void wal_survey_deinit(struct wal_survey *survey);

#endif
