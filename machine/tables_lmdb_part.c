/* The file of the tables in LMDB, part by part, for who writes it to disk (tables_trickle.h), and
 * what of it is to be used next.
 *
 * Before the kernel writes a page of a map it makes it read-only, so that it sees when the page
 * changes again, and has all processors that may know of it forget it: an interrupt on the other
 * ones for each page. So the pages of a part that is likely full of changes are unmapped here
 * first, all at once: with a shared map MADV_DONTNEED takes nothing away, the pages stay in the
 * page cache as they are. Who touches one next finds it there, with its neighbours if it only
 * reads.
 *
 * All this is only a hint: where the kernel does not take it nothing is lost but time. */
#include "machine/tables_lmdb_internal.h"

#include <sys/mman.h>

/* The kernel writes all that is dirty of a file in which something has been for 30 s, so what a
 * round has not come to yet is what it writes at once. */
enum { PART_BYTES_MIN = 16 << 10 };

/* So many pages come back with one that is only read (fault_around_bytes): with fewer changes than
 * that in the pages of a part it costs more to have them back than to write them as they are. */
enum { PAGES_AROUND = 16 };

/* Only what is used: behind it nothing has changed, and what is to be used next stays mapped. */
static void unmap_if_dense(const struct lmdb *lmdb, const struct tables_part *part)
{
    const struct lmdb_round *round = &lmdb->round;
    uint64_t changes = (lmdb->tables.state.applied_index - round->index) * LMDB_ROUND_PARTS;
    size_t to = part->at + part->bytes < part->used ? part->at + part->bytes : part->used;
    if (!round->map || part->at >= to ||
        changes < lmdb->map_bytes / lmdb_page_bytes() / PAGES_AROUND)
        return;
    (void)madvise(round->map + part->at, to - part->at, MADV_DONTNEED);
}

/* Of a huge block nothing until there is all of it: whoever writes a bit of it writes the whole. */
static void take_part(struct lmdb *lmdb, struct tables_part *ret)
{
    struct lmdb_round *round = &lmdb->round;
    size_t page = lmdb_page_bytes(), bytes = lmdb->map_bytes / LMDB_ROUND_PARTS / page * page;
    if (bytes < PART_BYTES_MIN)
        bytes = PART_BYTES_MIN;
    if (round->at >= lmdb->map_bytes)
        round->at = 0;
    if (bytes > lmdb->map_bytes - round->at)
        bytes = lmdb->map_bytes - round->at;
    size_t to = lmdb_huge_floor(lmdb, round->at + bytes);
    size_t from = round->at > 0 ? round->last.at + round->last.bytes : 0;
    if (from > to)
        from = to; /* the block has become a huge one */
    *ret = (struct tables_part){.at = from, .bytes = to - from};
    round->at += bytes;
}

void lmdb_next_part(struct tables *tables, struct tables_part *ret)
{
    struct lmdb *lmdb = lmdb_of(tables);
    const struct tables_part last = lmdb->round.last;
    size_t tail = 0;
    take_part(lmdb, ret);
    if (!lmdb_tail_bytes(lmdb, &tail)) {
        ret->used = lmdb->map_bytes - tail;
        lmdb_huge_split(lmdb, &last);
        lmdb_huge_step(lmdb, ret->used);
        ret->huge = lmdb->huge.grows;
        unmap_if_dense(lmdb, ret);
        ret->map = lmdb->round.map;
        ret->map_bytes = lmdb->map_bytes;
    }
    lmdb->round.index = tables->state.applied_index;
    lmdb->round.last = *ret;
}
