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
 * page_cache_ra_order): a window of 4 small pages, then one of 8 or 16 in pieces of 4, one of 16 to
 * 64 in pieces of 16, each when the first of the window before is read; how fast they grow depends
 * on how far the disk is read ahead at all (read_ahead_kb). The next one might be a megabyte, so
 * there the reader begins anew, from the page before. */
enum { WINDOWS_PAGES = 4 + 16 + 64, WINDOW_LAST = 16 /* behind which there is one more */ };

/* These pages of the file and the one before, to see which are in memory. */
struct sight {
    char *map;
    size_t page_bytes;
};

/* Whether that one is. */
static bool is_before_made(const struct sight *sight)
{
    unsigned char resident = 0;
    return !mincore(sight->map, sight->page_bytes, &resident) && resident & 1;
}

/* How many are there from the first one on, of which so many are known to be: a few are looked at
 * at a time, since it costs a look at each. */
static size_t count_made(const struct sight *sight, size_t made)
{
    enum { LOOK_PAGES = 16 };
    unsigned char resident[LOOK_PAGES];
    while (made < WINDOWS_PAGES) {
        size_t pages = WINDOWS_PAGES - made < LOOK_PAGES ? WINDOWS_PAGES - made : LOOK_PAGES;
        const size_t bytes = pages * sight->page_bytes;
        if (mincore(sight->map + (1 + made) * sight->page_bytes, bytes, resident))
            return made;
        for (size_t i = 0; i < pages; i++, made++)
            if (!(resident[i] & 1))
                return made;
    }
    return made;
}

static void look(int fd, uint64_t at)
{
    char byte;
    ssize_t looked = pread(fd, &byte, 1, (off_t)at);
    (void)looked;
    (void)sched_yield();
}

/* Only the first page is missing when it is read. Who read one that is missing behind many that are
 * there, and not from page to page, would get a window of all that the disk is read ahead by. How
 * many it made. */
static size_t make_windows(int fd, uint64_t at, const struct sight *sight)
{
    const uint64_t page = sight->page_bytes;
    size_t next = 1, made = count_made(sight, 0), before = 0; /* the last window's marked page */
    if (made > 0 || !is_before_made(sight))
        return 0;
    look(fd, at - page);
    look(fd, at);
    made = count_made(sight, 0);
    while (made > next && made < WINDOWS_PAGES && made - before <= WINDOW_LAST) {
        look(fd, at + next * page);
        before = next = made;
        made = count_made(sight, made);
    }
    return made;
}

void tables_pages_medium(int fd, uint64_t at, uint64_t end)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t windows = WINDOWS_PAGES * page;
    for (; at + windows <= end; at += windows) {
        struct sight sight = {.page_bytes = page};
        const size_t bytes = (1 + WINDOWS_PAGES) * page;
        uint64_t made = 0;
        sight.map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)(at - page));
        if (sight.map != MAP_FAILED) {
            made = make_windows(fd, at, &sight) * page;
            (void)munmap(sight.map, bytes);
        }
        tables_pages_small(fd, at + made, at + windows); /* what the kernel did not get round to */
    }
    tables_pages_small(fd, at, end);
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

/* --- Mapped ----------------------------------------------------------------------------------- */

/* A call holds off who changes this process's maps, and so whoever waits behind him. */
enum { MAP_CALL_BYTES = 16 << 10 };

void tables_pages_map(char *at, uint64_t bytes)
{
#ifdef MADV_POPULATE_WRITE /* Linux 5.14 */
    int failed = 0;
    for (uint64_t from = 0; from < bytes && !failed; from += MAP_CALL_BYTES) {
        size_t call = bytes - from < MAP_CALL_BYTES ? (size_t)(bytes - from) : MAP_CALL_BYTES;
        failed = madvise(at + from, call, MADV_POPULATE_WRITE);
    }
#else
    (void)at;
    (void)bytes;
#endif
}
