/* The file of the tables in LMDB in huge pages, where that pays.
 *
 * A page that is touched first costs from 0.2 us to 14 us, the latter in a virtual machine whose
 * host keeps the page tables, and each new key needs its share of some. A file system that keeps a
 * file in large folios (ext4 since Linux 6.16, xfs since 5.18) can have a block of 2 MiB mapped at
 * once: 0.05 us for each of its pages.
 *
 * But who changes one byte of a huge page has 2 MiB written to disk. So what is used next is made
 * huge only while the store grows so fast that all of a block has changed when it is written
 * (tables_trickle.c makes them, or smaller ones of 64 KiB, for which the same holds); and once few
 * pages of the store change, its blocks are made small again, bit by bit: who calls one page of a
 * larger one cold gets it split.
 *
 * All this is only a hint: where the kernel does not take it the pages are as they always are. */
#include "base/fatal.h"
#include "machine/tables_lmdb_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Steps from one look at the load to the next. */
enum { LOOK_STEPS = 25 };

/* Five blocks a round: none is written much more often than it would be otherwise. */
enum { GROWS_BYTES = 1 << 20 };

/* With fewer changes than a quarter of the pages in a round what is written would be several times
 * what has changed. */
enum { DENSE_PART = 4 };

/* A block that was changed and is not written yet cannot be split: the next round tries again. */
enum { SPLIT_TRIES = 16 };

/* Of the pages that are not huge ones and larger than small ones (tables_pages.c) those of this
 * size are split. A quarter of them is smaller, and stays: at most eight times as much is written.
 */
enum { PIECE_BYTES = 64 << 10 };

/* Blocks in one step, which take a tenth of a millisecond or two; the others have their turn in the
 * next rounds. */
enum { SPLIT_BLOCKS_MAX = 4 };

/* So far the helper goes ahead, in whole blocks (tables_trickle.c). */
enum { MARK_BYTES = TABLES_AHEAD_HUGE_BYTES + TABLES_HUGE_BYTES };

static void mark(struct lmdb *lmdb, size_t used)
{
    struct lmdb_huge *huge = &lmdb->huge;
    size_t blocks = lmdb->map_bytes / TABLES_HUGE_BYTES;
    if (blocks > huge->blocks) {
        huge->tries = mem_realloc(huge->tries, blocks);
        memset(huge->tries + huge->blocks, 0, blocks - huge->blocks);
        huge->blocks = blocks;
    }
    size_t end = (used + MARK_BYTES) / TABLES_HUGE_BYTES;
    for (size_t block = used / TABLES_HUGE_BYTES; block < end && block < huge->blocks; block++)
        huge->tries[block] = SPLIT_TRIES;
}

void lmdb_huge_step(struct lmdb *lmdb, size_t used)
{
    struct lmdb_huge *huge = &lmdb->huge;
    uint64_t applied = lmdb->tables.state.applied_index;
    if (huge->steps++ % LOOK_STEPS == 0) {
        uint64_t changes = (applied - huge->index) * (LMDB_ROUND_PARTS / LOOK_STEPS);
        size_t pages = used / lmdb_page_bytes();
        huge->grows = huge->steps > 1 && used >= huge->used + GROWS_BYTES;
        huge->sparse = changes < pages / DENSE_PART;
        huge->used = used;
        huge->index = applied;
    }
    if (huge->grows)
        mark(lmdb, used);
}

size_t lmdb_huge_floor(const struct lmdb *lmdb, size_t at)
{
    const struct lmdb_huge *huge = &lmdb->huge;
    size_t block = at / TABLES_HUGE_BYTES;
    return block < huge->blocks && huge->tries[block] > 0 ? block * TABLES_HUGE_BYTES : at;
}

/* One that is not in memory is not huge any more when it comes back. */
static bool split(char *block)
{
    const size_t page_bytes = lmdb_page_bytes();
    unsigned char resident = 0;
    if (mincore(block, page_bytes, &resident) || !(resident & 1))
        return true;
    (void)*(volatile char *)block; /* only what is mapped is split */
#ifdef MADV_COLD                   /* Linux 5.4 */
    return madvise(block, page_bytes, MADV_COLD) != 0;
#else
    return true;
#endif
}

/* A block, whether it is one huge page or some of PIECE_BYTES. */
static bool split_block(char *block)
{
    bool gone = true;
    for (size_t at = 0; at < TABLES_HUGE_BYTES; at += PIECE_BYTES)
        gone = split(block + at) && gone;
    return gone;
}

void lmdb_huge_split(struct lmdb *lmdb, const struct tables_part *part)
{
    struct lmdb_huge *huge = &lmdb->huge;
    size_t block = (part->at + TABLES_HUGE_BYTES - 1) / TABLES_HUGE_BYTES;
    size_t end = (part->at + part->bytes) / TABLES_HUGE_BYTES;
    if (!lmdb->round.map || !huge->sparse)
        return;
    int left = SPLIT_BLOCKS_MAX;
    for (; block < end && block < huge->blocks && left > 0; block++) {
        if (huge->tries[block] == 0)
            continue;
        left--;
        bool gone = split_block(lmdb->round.map + block * TABLES_HUGE_BYTES);
        huge->tries[block] = gone ? 0 : (uint8_t)(huge->tries[block] - 1);
    }
}

void lmdb_huge_close(struct lmdb *lmdb)
{
    free(lmdb->huge.tries);
    lmdb->huge = (struct lmdb_huge){0};
}
