#include "mapped.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdint.h>
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
