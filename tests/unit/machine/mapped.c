#include "mapped.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

size_t mapped_pages(const void *at, size_t bytes)
{
    /* proc(5): a word for each page, with the highest bit set if it is there. */
    const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)at / page_bytes, end = ((uintptr_t)at + bytes) / page_bytes;
    size_t count = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    for (uintptr_t page = first; page < end; page++) {
        uint64_t word;
        cr_assert_eq(pread(fd, &word, sizeof word, (off_t)(page * sizeof word)),
                     (ssize_t)sizeof word);
        count += word >> 63;
    }
    close(fd);
    return count;
}

void mapped_or_skip(void)
{
#ifdef MADV_POPULATE_WRITE
    enum { PAGE = 4096 };
    if (sysconf(_SC_PAGESIZE) != PAGE)
        cr_skip_test("pages are of another size here");
    if (access("/proc/self/pagemap", R_OK))
        cr_skip_test("this system does not say what is mapped");
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(page != MAP_FAILED);
    int failed = madvise(page, PAGE, MADV_POPULATE_WRITE);
    munmap(page, PAGE);
    if (!failed)
        return;
#endif
    cr_skip_test("this kernel maps nothing ahead");
}
