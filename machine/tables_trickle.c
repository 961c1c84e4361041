#include "machine/tables_trickle.h"

#include "base/clock.h"
#include "machine/tables_lmdb.h"
#include "machine/tables_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { AHEAD_BYTES = 4 << 20 };

/* So much of that is mapped for who uses it. */
enum { MAPPED_BYTES = 2 << 20 };

#define YOUNG_NS UINT64_C(10000000000)

static int open_file(struct tables_trickle *trickle, const char *dir)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", dir, TABLES_LMDB_FILE);
    if (length < 0 || (size_t)length >= sizeof path)
        return ENAMETOOLONG;
    trickle->ahead = 0;
    trickle->fd = open(path, O_RDWR | O_CLOEXEC);
    return trickle->fd < 0 ? errno : 0;
}

/* The block there, and what lies before it in small pages. */
static void make_block(struct tables_trickle *trickle, uint64_t from, uint64_t block)
{
    uint64_t began_us = clock_thread_cpu_us();
    bool made = tables_pages_huge(trickle->fd, block);
    trickle->small = clock_thread_cpu_us() - began_us > trickle->huge_us_max;
    tables_pages_small(trickle->fd, from, made ? block : block + TABLES_HUGE_BYTES);
}

/* Only a hint: that there is no page yet is no failure. */
static void go_ahead(struct tables_trickle *trickle, const struct tables_part *part, uint64_t size)
{
    uint64_t used = part->used, from = trickle->ahead > used ? trickle->ahead : used;
    uint64_t to = used + (part->huge ? TABLES_AHEAD_HUGE_BYTES : AHEAD_BYTES);
    if (to > size)
        to = size;
    if (used == 0 || from + AHEAD_BYTES / 4 > to)
        return;
    uint64_t block = (from + TABLES_HUGE_BYTES - 1) / TABLES_HUGE_BYTES * TABLES_HUGE_BYTES;
    if (part->huge && !trickle->small && block + TABLES_HUGE_BYTES <= size) { /* one a step */
        to = block + TABLES_HUGE_BYTES;
        make_block(trickle, from, block);
    } else if (part->huge) {
        tables_pages_medium(trickle->fd, from, to);
    } else {
        tables_pages_small(trickle->fd, from, to);
    }
    trickle->ahead = to;
}

/* What is to be used next is mapped before, so that the state machine writes to it without a page
 * fault; of what there are pages for, and once: who maps a page to write makes it one that is to be
 * written to disk. */
static void map_ahead(struct tables_trickle *trickle, const struct tables_part *part)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t used = part->used / page * page, to = used + MAPPED_BYTES;
    bool anew = part->map != trickle->map || part->map_bytes != trickle->map_bytes;
    if (anew || trickle->mapped > to) /* or in the same place, with less in it */
        trickle->mapped = 0;
    trickle->map = part->map;
    trickle->map_bytes = part->map_bytes;
    uint64_t from = trickle->mapped > used ? trickle->mapped : used;
    if (to > trickle->ahead)
        to = trickle->ahead;
    if (to > part->map_bytes)
        to = part->map_bytes;
    if (!part->map || from + MAPPED_BYTES / 4 > to)
        return;
    tables_pages_map(part->map + from, to - from);
    trickle->mapped = to;
}

/* A write that is to be on disk, with what says how to find it, before it returns (O_SYNC) has the
 * kernel write the inode, too, and behind that an inode that is still dirty counts as dirty from
 * now on, if any other became dirty after it (Linux, fs/fs-writeback.c, writeback_single_inode).
 * What is written is what stands there already and never changes: the number of the first page.
 * Only a hint, too. */
static void stay_young(struct tables_trickle *trickle)
{
    uint64_t now_ns = clock_now_ns(), number;
    bool due = trickle->young_ns > 0 && now_ns - trickle->young_ns >= YOUNG_NS;
    if (trickle->young_ns == 0 || due)
        trickle->young_ns = now_ns;
    if (!due)
        return;
    if (pread(trickle->fd, &number, sizeof number, 0) != (ssize_t)sizeof number)
        return;
    struct iovec same = {&number, sizeof number};
    ssize_t written = pwritev2(trickle->fd, &same, 1, 0, RWF_SYNC);
    (void)written;
}

static int write_part(struct tables_trickle *trickle, const struct tables_part *part)
{
    struct stat file;
    if (fstat(trickle->fd, &file))
        return errno;
    go_ahead(trickle, part, (uint64_t)file.st_size);
    map_ahead(trickle, part);
    if (part->bytes == 0)
        return 0; /* sync_file_range would write all of the file */
    stay_young(trickle);
    bool failed =
        sync_file_range(trickle->fd, (off_t)part->at, (off_t)part->bytes, SYNC_FILE_RANGE_WRITE);
    return failed ? errno : 0;
}

int tables_trickle_step(struct tables_trickle *trickle, const char *dir,
                        const struct tables_part *part)
{
    if (trickle->failed)
        return CONCLAVE_OK;
    if (part->at == 0 && part->bytes > 0)
        tables_trickle_close(trickle);
    int failed = trickle->fd < 0 ? open_file(trickle, dir) : 0;
    if (failed == ENOENT)
        return CONCLAVE_OK;
    if (!failed)
        failed = write_part(trickle, part);
    if (!failed)
        return CONCLAVE_OK;
    tables_trickle_close(trickle);
    trickle->failed = true;
    errno = failed;
    return CONCLAVE_IO;
}

void tables_trickle_close(struct tables_trickle *trickle)
{
    if (trickle->fd >= 0)
        close(trickle->fd);
    trickle->fd = -1;
}
