#include "machine/tables_pages.h"

#include "machine/tables_part.h"

#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* In calls so short that other threads get the processor between them: not every kernel takes it
 * from one that fills pages, and none before the next tick if who was woken is not due by a hair.
 */
enum { CALL_BYTES = 64 << 10 };

/* --- Huge ------------------------------------------------------------------------------------- */

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

/* The kernel makes one for who maps the file and asks for it. */
bool tables_pages_huge(int fd, uint64_t at)
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

/* --- Medium ----------------------------------------------------------------------------------- */

/* What the kernel reads ahead for who reads one page behind another (Linux, mm/readahead.c,
 * page_cache_ra_order): a window of 4 small pages, one of 16 in pieces of 4, one of 64 in pieces of
 * 16, each when the first of the window before is read. The next one would be a megabyte, so there
 * the reader begins anew, from the page before. */
enum { WINDOW_FIRST = 4, WINDOW_SECOND = 16, WINDOW_THIRD = 64, WINDOW_NEW = 4 + 16 };

/* The page before is in memory and those of the first two windows are not. Who read one that is
 * missing elsewhere, with many before it that are there, would get a window of all that the disk is
 * read ahead by, 8 MiB. */
static bool begins_windows(int fd, uint64_t at, uint64_t page)
{
    unsigned char resident[1 + WINDOW_NEW] = {0};
    void *map = mmap(NULL, sizeof resident * page, PROT_READ, MAP_SHARED, fd, (off_t)(at - page));
    if (map == MAP_FAILED)
        return false;
    bool begins = !mincore(map, sizeof resident * page, resident) && resident[0] & 1;
    for (int i = 1; i <= WINDOW_NEW; i++)
        begins = begins && !(resident[i] & 1);
    (void)munmap(map, sizeof resident * page);
    return begins;
}

static void look(int fd, uint64_t at)
{
    char byte;
    ssize_t looked = pread(fd, &byte, 1, (off_t)at);
    (void)looked;
}

void tables_pages_medium(int fd, uint64_t at, uint64_t end)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t windows = (WINDOW_FIRST + WINDOW_SECOND + WINDOW_THIRD) * page;
    while (at < end) {
        uint64_t bytes = windows < end - at ? windows : end - at;
        if (bytes == windows && begins_windows(fd, at, page)) {
            look(fd, at - page);
            look(fd, at);
            look(fd, at + page);
            look(fd, at + WINDOW_FIRST * page);
        }
        /* Where the kernel did otherwise, or did not get round to all of them, and for others to
         * have their turn. */
        tables_pages_small(fd, at, at + bytes);
        at += bytes;
    }
}

/* --- Small ------------------------------------------------------------------------------------ */

void tables_pages_small(int fd, uint64_t at, uint64_t end)
{
    for (; at < end; at += CALL_BYTES) {
        uint64_t bytes = end - at < CALL_BYTES ? end - at : CALL_BYTES;
        (void)posix_fadvise(fd, (off_t)at, (off_t)bytes, POSIX_FADV_WILLNEED);
        (void)sched_yield();
    }
}
