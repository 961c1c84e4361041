/* storage/wal_scanner.h - what the two readers of a log share: wal_scan.c, which judges it, and
 * wal_survey.c, which looks behind damage. wal_scanner.c says which record is valid at a place and
 * what taking it changes; wal_load.c reads the files. Neither changes any. Owned by one thread. */
#ifndef STORAGE_WAL_SCANNER_H
#define STORAGE_WAL_SCANNER_H

#include "storage/wal_collect.h"
#include "storage/wal_scan.h"

/* One segment file in memory. */
struct wal_loaded {
    uint8_t *data;
    size_t bytes, capacity;
    uint64_t sequence, key;
    struct {             /* patient: blocks that cannot be read, which are zero here */
        uint64_t *items; /* where they begin, rising */
        size_t count, capacity;
    } unread;
};

struct wal_scanner {
    const struct io *io;
    const char *dir;
    const struct storage_identity *identity;
    struct wal_scan *scan;
    struct wal_collect collect;
    struct wal_loaded here, next;    /* the segment being walked and the one behind it */
    bool patient;                    /* what cannot be read is damaged, not an error */
    const struct wal_patch *patches; /* rehearsal: what is read is as if they were written */
    size_t patch_count;
    bool sums; /* segments get the sums of what was read */
    struct conclave_error *error;
};

enum { WAL_SCANNER_BLOCK_BYTES = 4096 }; /* what a disk fails to read as a whole */

/* Finds the segments; CORRUPT if one between them is missing. */
MUST_USE int wal_scanner_find(struct wal_scanner *scanner);

/* Leaves out the segments before the last in which the log begins anew: they are no part of it, and
 * may be damaged. */
MUST_USE int wal_scanner_skip(struct wal_scanner *scanner);

/* Reads a segment. */
MUST_USE int wal_scanner_load(struct wal_scanner *scanner, size_t number, struct wal_loaded *to);

/* OK, or CORRUPT (quietly: no whole header here), or an error with its sentence. */
MUST_USE int wal_scanner_header(const struct wal_scanner *scanner, const struct wal_loaded *segment,
                                struct wal_header *ret);

/* Takes a segment as the active one. */
void wal_scanner_take_header(struct wal_scanner *scanner, size_t number,
                             const struct wal_header *header);

/* The link of the last entry; WAL_LINK_UNKNOWN. */
uint64_t wal_scanner_link(const struct wal_scanner *scanner);

/* The log before the header ended as the one that was walked, or that is not known. */
bool wal_scanner_continues(const struct wal_scanner *scanner, const struct wal_header *header);

/* (2) of the validity rule, for a record that is whole. */
bool wal_scanner_chained(const struct wal_scanner *scanner, const struct wal_record *record);

/* (3) of the validity rule, for a record that is whole and chained. */
bool wal_scanner_possible(const struct wal_scanner *scanner, const struct wal_record *record);

/* A whole record of a segment behind the active one: the log before that segment did not end as
 * here. Its first batch record names the entry with which it ended, or what the log was to begin
 * behind in it. */
bool wal_scanner_misses(const struct wal_scanner *scanner, const struct wal_record *record);

/* Takes entries up to `last` of which only that they are there is known, and the last one's link.
 * Returns the index of the first that it added or replaced. */
uint64_t wal_scanner_take_absent(struct wal_scanner *scanner, struct raft_id last, uint64_t link);

/* This entry, with the link `previous` before it, shows that what stands before it here was
 * replaced: that is absent then. */
bool wal_scanner_unseats(const struct wal_scanner *scanner, struct raft_id id, uint64_t previous);

/* Takes a valid record. */
void wal_scanner_take(struct wal_scanner *scanner, const struct wal_record *record);

/* Makes the segment in `here` the one that was read into `next`. */
void wal_scanner_advance(struct wal_scanner *scanner);

/* Notes what is not zero from `from` on. */
void wal_scanner_note_dirty(struct wal_scan_segment *segment, const struct wal_loaded *loaded,
                            uint64_t from);

void wal_scanner_deinit(struct wal_scanner *scanner);

#endif
