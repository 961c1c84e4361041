#include "machine/tables_trickle.h"

#include "base/clock.h"
#include "machine/tables_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* In calls so short that other threads get the processor between them: not every kernel takes it
 * from one that fills pages, and none before the next tick if who was woken is not due by a hair.
 */
enum { AHEAD_BYTES = 4 << 20, AHEAD_CALL_BYTES = 64 << 10 };

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

/* The next free block of memory as large as a huge page has been touched behind this. The host of a
 * virtual machine takes back what lies free and gives it again when it is touched, page by page, in
 * 5 ms a block. The kernel, which fills the page of a file with zeros in one go, would give the
 * processor to nobody meanwhile; a huge page of nobody's it fills bit by bit. Where the memory is
 * there already it costs as much as to fill it: a tenth of a millisecond. */
static void touch_free_block(void)
{
#ifdef MADV_POPULATE_WRITE /* Linux 5.14 */
    char *map = mmap(NULL, 2L * TABLES_HUGE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return;
    size_t skip = TABLES_HUGE_BYTES - (uintptr_t)map % TABLES_HUGE_BYTES;
    if (!madvise(map + skip, TABLES_HUGE_BYTES, MADV_HUGEPAGE))
        (void)madvise(map + skip, TABLES_HUGE_BYTES, MADV_POPULATE_WRITE);
    (void)munmap(map, 2L * TABLES_HUGE_BYTES);
#endif
}

/* Has the kernel make a huge page there, which it does for who maps the file and asks for it.
 * False: it does not know how to. */
static bool make_huge(int fd, uint64_t at)
{
    bool made = false;
#ifdef MADV_POPULATE_READ /* Linux 5.14 */
    void *map = mmap(NULL, TABLES_HUGE_BYTES, PROT_READ, MAP_SHARED, fd, (off_t)at);
    if (map == MAP_FAILED)
        return false;
    touch_free_block();
    made = !madvise(map, TABLES_HUGE_BYTES, MADV_RANDOM) &&
           !madvise(map, TABLES_HUGE_BYTES, MADV_HUGEPAGE) &&
           !madvise(map, TABLES_HUGE_BYTES, MADV_POPULATE_READ);
    (void)munmap(map, TABLES_HUGE_BYTES);
#else
    (void)fd;
    (void)at;
#endif
    return made;
}

static void make_small(int fd, uint64_t at, uint64_t end)
{
    for (; at < end; at += AHEAD_CALL_BYTES) {
        uint64_t bytes = end - at < AHEAD_CALL_BYTES ? end - at : AHEAD_CALL_BYTES;
        (void)posix_fadvise(fd, (off_t)at, (off_t)bytes, POSIX_FADV_WILLNEED);
        (void)sched_yield();
    }
}

/* The block there, and what lies before it in small pages. */
static void make_block(struct tables_trickle *trickle, uint64_t from, uint64_t block)
{
    uint64_t began_us = clock_thread_cpu_us();
    bool made = make_huge(trickle->fd, block);
    trickle->small = clock_thread_cpu_us() - began_us > trickle->huge_us_max;
    make_small(trickle->fd, from, made ? block : block + TABLES_HUGE_BYTES);
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
    } else {
        make_small(trickle->fd, from, to);
    }
    trickle->ahead = to;
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
