/* A log that loses records of which a snapshot holds some, and a peer that has all of it. */
#ifndef TESTS_STORAGE_COVERING_H
#define TESTS_STORAGE_COVERING_H

#include "fixture.h"

#include "storage/wal_repair.h"

struct covering {
    struct memory_disk *disk; /* intact */
    struct wal_recovery log;
    size_t covered; /* so many repairs were judged */
};

void covering_begin(struct covering *covering, const struct step *steps);
void covering_end(struct covering *covering);

/* Of the entry at an index in the log, or of what is before its first. */
struct raft_id covering_id(const struct covering *covering, uint64_t index);

/* The number of the record with this entry. */
size_t covering_place(const struct covering *covering, uint64_t term, uint64_t index);

/* Damages the records with these numbers. */
void covering_lose(struct covering *covering, struct memory_disk *disk, size_t from, size_t to);

struct wal_repair *covering_repair(struct memory_disk *disk);

/* Asks a peer that has the whole log until nothing is wanted any more. */
void covering_ask(const struct covering *covering, struct wal_repair *repair);

/* What is found after the repair is part of what there was, without a gap, and no less than what
 * stands behind the snapshot. */
void covering_judge(struct covering *covering, const struct io *io, struct raft_id snapshot,
                    const char *what);

/* The disk is judged with a snapshot up to `index`, and goes. */
void covering_finish(struct covering *covering, struct memory_disk *disk, struct wal_repair *repair,
                     uint64_t index, const char *what);

#endif
