/* Pages in memory for a part of a file that is yet to be used. */
#include "machine/tables_pages.h"

#include "base/prng.h"
#include "mapped.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PAGE = 4096, FILE_PAGES = 8192, FILE_BYTES = FILE_PAGES * PAGE };

static int fd;
static unsigned char resident[FILE_PAGES];
static uint64_t marked;

static void look_at_memory(void)
{
    void *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert(map != MAP_FAILED && mincore(map, FILE_BYTES, resident) == 0);
    munmap(map, FILE_BYTES);
}

static unsigned count_resident(uint64_t from, uint64_t to)
{
    unsigned count = 0;
    look_at_memory();
    for (uint64_t i = from / PAGE; i < to / PAGE; i++)
        count += resident[i] & 1;
    return count;
}

/* What is used of the file, and a mark behind it that must still be there at the end. */
static void setup(void)
{
    char path[] = "/var/tmp/conclave-pages-XXXXXX", page[PAGE];
    fd = mkstemp(path);
    cr_assert(fd >= 0 && unlink(path) == 0 && ftruncate(fd, FILE_BYTES) == 0);
    memset(page, 7, sizeof page);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(pwrite(fd, page, sizeof page, (off_t)i * PAGE), (ssize_t)sizeof page);
    marked = FILE_BYTES - PAGE;
    tables_pages_small(fd, marked, FILE_BYTES);
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("pages are of another size here");
    if (count_resident(marked, FILE_BYTES) == 0)
        cr_skip_test("this file system makes no pages of what was never written");
}

static void teardown(void)
{
    close(fd);
}

TestSuite(pages, .init = setup, .fini = teardown);

static void touch(uint64_t at, char value)
{
    cr_assert_eq(pwrite(fd, &value, 1, (off_t)at), 1);
}

/* All of them are there, and hardly more. */
static void assert_made(uint64_t at, uint64_t end)
{
    enum { MORE = 84 };
    uint64_t limit = end + 64 * MORE * PAGE < FILE_BYTES ? end + 64 * MORE * PAGE : FILE_BYTES;
    unsigned made = count_resident(at, end), more = count_resident(end, limit);
    cr_assert_eq(made, (end - at) / PAGE, "%u of %lu", made, (end - at) / PAGE);
    cr_assert_leq(more, MORE, "%u pages more", more);
}

Test(pages, medium_ones_are_made_of_all_that_is_asked_for_and_of_little_more)
{
    enum { AT = 100 * PAGE, END = AT + (4 << 20) };
    tables_pages_medium(fd, AT, END);
    assert_made(AT, END);
}

/* How many of these pages are parts of larger ones (Documentation/admin-guide/mm/pagemap.rst).
 * False: nobody may know. */
static bool count_larger(uint64_t from, uint64_t to, unsigned *ret)
{
    enum { COMPOUND_HEAD = 15, COMPOUND_TAIL = 16 };
    int maps = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
    const volatile char *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    bool known = maps >= 0 && flags >= 0 && map != MAP_FAILED;
    *ret = 0;
    for (uint64_t at = from; known && at < to; at += PAGE) {
        uint64_t entry = 0, flag = 0;
        (void)map[at];
        off_t place = (off_t)((uintptr_t)(map + at) / PAGE * sizeof entry);
        known = pread(maps, &entry, sizeof entry, place) == sizeof entry;
        uint64_t frame = entry & ((UINT64_C(1) << 55) - 1);
        known = known && frame > 0 &&
                pread(flags, &flag, sizeof flag, (off_t)(frame * sizeof flag)) == sizeof flag;
        *ret += (flag >> COMPOUND_HEAD & 1) | (flag >> COMPOUND_TAIL & 1);
    }
    close(maps);
    close(flags);
    munmap((void *)(uintptr_t)map, FILE_BYTES);
    return known;
}

/* Where the kernel makes larger ones for who reads it all. */
Test(pages, medium_ones_are_larger_than_small_ones)
{
    enum { AT = 100 * PAGE, END = AT + (2 << 20) };
    static char bytes[64 << 10];
    unsigned read_whole = 0, medium = 0, small = 0;
    for (size_t at = FILE_BYTES / 2; at < FILE_BYTES / 2 + (4 << 20); at += sizeof bytes)
        cr_assert_eq(pread(fd, bytes, sizeof bytes, (off_t)at), (ssize_t)sizeof bytes);
    if (!count_larger(FILE_BYTES / 2 + (2 << 20), FILE_BYTES / 2 + (4 << 20), &read_whole) ||
        read_whole < 256)
        cr_skip_test("this kernel has none for this file system, or does not tell");
    tables_pages_medium(fd, AT, END);
    tables_pages_small(fd, END + (2 << 20), END + (4 << 20));
    cr_assert(count_larger(AT, END, &medium));
    cr_assert(count_larger(END + (2 << 20), END + (4 << 20), &small));
    cr_assert_geq(medium, 256, "%u of 512", medium);
    cr_assert_eq(small, 0, "%u of 512", small);
}

Test(pages, medium_ones_go_on_where_they_ended)
{
    uint64_t at = 100 * PAGE;
    for (int i = 0; i < 5; i++, at += 1 << 20)
        tables_pages_medium(fd, at, at + (1 << 20));
    assert_made(100 * PAGE, at);
}

/* The store has gone on meanwhile: who reads behind much that is there, and not from page to page,
 * is read ahead for as far as that. */
Test(pages, medium_ones_behind_much_that_is_there_are_no_more_than_asked_for)
{
    enum { USED = 3000, WINDOWS = 84 };
    for (int i = 100; i < USED; i++)
        touch((uint64_t)i * PAGE, 7);
    for (unsigned there = 0; there < 24; there++) {
        uint64_t at = USED * PAGE + (uint64_t)there * 2 * WINDOWS * PAGE;
        tables_pages_small(fd, USED * PAGE, at + there * PAGE);
        tables_pages_medium(fd, at, at + WINDOWS * PAGE);
        assert_made(at, at + WINDOWS * PAGE);
    }
}

/* Or what was made before has left memory. */
Test(pages, medium_ones_come_between_what_is_there_already)
{
    struct prng prng;
    prng_init(&prng, 7);
    uint64_t at = 100 * PAGE, end = at + (8 << 20);
    for (int i = 0; i < 60; i++)
        touch(at + prng_below(&prng, (end - at) / PAGE) * PAGE, 7);
    for (uint64_t part = at; part < end; part += 1 << 20)
        tables_pages_medium(fd, part, part + (1 << 20));
    assert_made(at, end);
}

Test(pages, medium_ones_where_nothing_lies_before)
{
    uint64_t at = FILE_BYTES / 2, end = at + (1 << 20);
    tables_pages_medium(fd, at, end);
    assert_made(at, end);
}

Test(pages, the_end_of_the_file_is_no_trouble)
{
    tables_pages_medium(fd, FILE_BYTES - 90 * PAGE, FILE_BYTES);
    tables_pages_small(fd, FILE_BYTES - 200 * PAGE, FILE_BYTES);
    cr_assert_eq(count_resident(FILE_BYTES - 200 * PAGE, FILE_BYTES), 200);
}

Test(pages, what_the_file_holds_stays)
{
    char value = 0;
    touch(marked, 9);
    tables_pages_medium(fd, 50 * PAGE, FILE_BYTES);
    tables_pages_small(fd, 50 * PAGE, FILE_BYTES);
    (void)tables_pages_huge(fd, 8 << 20);
    (void)tables_pages_huge(fd, 0);
    cr_assert(pread(fd, &value, 1, (off_t)marked) == 1 && value == 9);
    for (int i = 0; i < 100; i++)
        cr_assert(pread(fd, &value, 1, (off_t)i * PAGE + 5) == 1 && value == 7);
    cr_assert(pread(fd, &value, 1, 200 * PAGE) == 1 && value == 0);
}

/* --- Mapped ----------------------------------------------------------------------------------- */

static long faults(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_minflt + usage.ru_majflt;
}

Test(pages, that_are_mapped_are_written_without_a_page_fault)
{
    enum { FROM = 200, PAGES = 300, FEW = 8 };
    mapped_or_skip();
    char *map = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert(map != MAP_FAILED && madvise(map, FILE_BYTES, MADV_RANDOM) == 0);
    char *first = map + (size_t)FROM * PAGE;
    tables_pages_map(first, (size_t)PAGES * PAGE);
    cr_assert_eq(mapped_pages(map, FILE_BYTES), PAGES, "and nothing else is");
    for (int i = 0; i < PAGES; i++) /* whoever watches over memory has pages of his own for each */
        (void)*(volatile char *)(first + (size_t)i * PAGE);
    long before = faults();
    for (int i = 0; i < PAGES; i++)
        *(volatile char *)(first + (size_t)i * PAGE) = 1;
    cr_assert_lt(faults(), before + FEW, "%ld", faults() - before);
    munmap(map, FILE_BYTES);
}
