/* A scripted life of a node's directory on a disk in memory, and what must be true after it.
 *
 * Entries are known by their id alone: payload_of(id) gives the only right bytes, so that a wrong
 * entry can never pass. The story remembers every entry in the order in which it was staged and how
 * many of them a sync has acknowledged; a recovered log must be the log after some number of them.
 */
#ifndef TESTS_STORAGE_FIXTURE_H
#define TESTS_STORAGE_FIXTURE_H

#include "tests/disk/memory_io.h"

#include "storage/vote.h"
#include "storage/wal.h"
#include "storage/wal_format.h"

enum {
    STORY_ENTRIES_MAX = 512,
    STORY_SEGMENT_BYTES = 1024,
    STORY_LARGE_INDEX = 37, /* its payload is larger than a segment */
    STORY_LARGE_BYTES = 2500
};

#define STORY_DIR "node"

/* Sanitizers make everything ten times slower: there only every n-th of what the plain build tries.
 * An odd n, so that all fields of records and all bits of bytes come by. */
#ifdef __SANITIZE_ADDRESS__
#define SPARSELY(n) (n)
#else
#define SPARSELY(n) 1
#endif

extern const struct storage_identity story_identity;
extern const struct wal_options story_options;

enum step_kind {
    STEP_APPEND, /* count entries of this term from this index on */
    STEP_SYNC,
    STEP_ATTEST,
    STEP_PREPARE,
    STEP_VOTE, /* this term; index: for whom */
    STEP_REOPEN,
    STEP_END
};

struct step {
    enum step_kind kind;
    uint64_t term, index, count;
};

/* Several batches and segments, replacements within and across segments, one entry larger than a
 * segment; ends with an attestation. */
extern const struct step story_long[];

/* Three segments and no attestation at the end. */
extern const struct step story_short[];

struct story {
    struct raft_id staged[STORY_ENTRIES_MAX];
    size_t staged_count;
    size_t acked; /* of them, durable by a sync that returned */
    struct raft_hard_state vote_staged, vote_acked;
    bool created; /* the identity was acknowledged */
    struct conclave_error error;
};

/* The payload of an entry; the slice points into a static buffer until the next call. */
struct slice payload_of(struct raft_id id);

/* Appends `count` entries from `index` on to empty runs. */
void runs_fill(struct raft_runs *runs, uint64_t term, uint64_t index, uint64_t count);

/* Makes the directory and plays the steps until one fails. Returns its code. */
int story_play(struct story *story, const struct io *io, const struct step *steps);

/* True if the runs are the log after staged[0 .. count), with the right payloads. */
bool story_matches(const struct story *story, size_t count, const struct raft_runs *runs);

/* The largest count in [from, staged_count] for which the runs match; SIZE_MAX: none. */
size_t story_find(const struct story *story, size_t from, const struct raft_runs *runs);

/* Opens the log, takes its entries and closes it. On success *ret must be cleared. */
int log_read(const struct io *io, struct wal_recovery *ret, struct conclave_error *error);

/* One record of an intact image. */
struct placed {
    char path[64]; /* of the segment */
    size_t offset, bytes;
    bool is_batch;
    size_t batch;          /* number of its batch, from 0 */
    size_t entries_before; /* entry records before its batch */
};

/* All records of the image in order; returns how many. */
size_t image_layout(const struct memory_disk *disk, struct placed *ret, size_t max);

/* A log of entries 1 to `count` of term 1 in a new directory of the disk, open. */
struct wal *log_begin(struct memory_disk *disk, const struct wal_options *options, uint64_t count);

/* Opens the story's log, which has to be whole. *ret_last: the index of its last entry. */
struct wal *story_log_open(struct memory_disk *disk, uint64_t *ret_last);

#endif
