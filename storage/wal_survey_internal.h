/* storage/wal_survey_internal.h - a survey at work, shared by wal_survey.c (the walk over the log,
 * and where it has to pass over damage) and wal_survey_holes.c (what is noted of a hole). Owned by
 * one thread. */
#ifndef STORAGE_WAL_SURVEY_INTERNAL_H
#define STORAGE_WAL_SURVEY_INTERNAL_H

#include "storage/wal_survey.h"

/* What stands behind a segment. */
struct wal_ahead {
    bool whole;           /* the next header is */
    bool header_attested; /* it had been durable, so all of this segment had */
    bool attested;        /* all of this segment had been durable */
    struct wal_header header;
    bool begun;              /* the header is not whole, and the batch record behind it is */
    struct wal_record first; /* that */
};

struct wal_surveyor {
    struct wal_scanner scanner;
    struct wal_survey *survey;
    size_t holes_max;
    size_t evident;         /* the last segment in which anything is whole; 0: none or the first */
    struct wal_ahead ahead; /* of the segment being walked */
    bool ended;             /* the log ends in it */
    bool guessed;           /* the last entry's id is a mend's, which may not have known it */
};

/* CORRUPT, with a sentence about what is there. */
int wal_survey_beyond(const struct wal_surveyor *surveyor, uint64_t sequence, uint64_t offset,
                      const char *what);

/* Takes a valid record, and notes what it replaces. */
void wal_survey_take(struct wal_surveyor *surveyor, const struct wal_record *record);

/* Another hole, in the segment scan.segments[number]; NULL: there are too many. */
struct wal_hole *wal_survey_add_hole(struct wal_surveyor *surveyor, size_t number, uint64_t offset,
                                     uint64_t end);

/* Behind the hole the log ended with `behind`, by what a batch record or a header says. */
void wal_survey_pass_named(struct wal_surveyor *surveyor, struct wal_hole *hole,
                           struct raft_id behind);

/* Right behind the hole stands this entry of the same batch. */
void wal_survey_pass_to_entry(struct wal_surveyor *surveyor, struct wal_hole *hole,
                              const struct wal_record *next);

/* --- wal_survey_unread.c ---------------------------------------------------------------------- */

/* The segment in scanner.here was walked to its end; `ends`: the log ends in it. Its blocks that
 * cannot be read and are in no hole held nothing of the log: they become holes of known bytes.
 * CORRUPT: the log may go on in them. */
int wal_survey_take_unread(struct wal_surveyor *surveyor, bool ends);

/* The same for the segments behind the one in which the log ends. */
int wal_survey_take_unread_behind(struct wal_surveyor *surveyor);

#endif
