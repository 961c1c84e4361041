/* tests/sim/storage_internal.h - what the files of tests/sim/storage.h share: storage.c writes,
 * reads and dies, storage_damage.c damages and repairs, storage_tails.c looks at what stands behind
 * the log. One thread. */
#ifndef TESTS_SIM_STORAGE_INTERNAL_H
#define TESTS_SIM_STORAGE_INTERNAL_H

#include "storage/vote.h"
#include "storage/wal.h"
#include "storage/wal_reader.h"
#include "tests/disk/memory_io.h"
#include "tests/sim/storage.h"

#define STORAGE_DIR "node"

enum { STORAGE_PATH_BYTES = 64, STORAGE_ROTTEN_MAX = 512 };

struct storage {
    struct memory_disk *disk;
    const struct io *io;
    struct storage_identity identity;
    struct storage_knobs knobs;
    struct prng prng; /* its own: what the files look like moves no other draw */
    struct vote_file *vote;
    struct wal *wal;
    struct wal_reader *reader; /* of this life; NULL: nothing was read back yet */
    uint64_t cut_index;        /* entries up to here need not be on disk */
    bool cut_due;
    bool doomed;                 /* the power goes soon, or is gone */
    bool helper_failed;          /* while a batch was written */
    bool blocked;                /* the batch under way is staged, and waits for room */
    struct wal_range removing;   /* let go of, and not removed yet */
    bool vote_damaged;           /* in one slot */
    struct memory_disk *damaged; /* as it was when it was damaged; NULL: it is not */
    char rotten[STORAGE_PATH_BYTES];
    bool unreadable; /* in a block, which is as it was */
    bool left;       /* and is still there behind a repair, for a start to let go of */
    size_t rotten_at;
    uint8_t rotten_bytes[STORAGE_ROTTEN_MAX]; /* what was there */
    size_t rotten_count;
    bool anew; /* the last repair wrote the log as a whole */
    struct wal_repair *repair;
};

static inline uint64_t storage_draw(struct storage *storage, uint64_t low, uint64_t high)
{
    return prng_between(&storage->prng, low, high);
}

#endif
