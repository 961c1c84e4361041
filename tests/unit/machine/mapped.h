/* Which pages of this process are mapped. */
#ifndef TESTS_UNIT_MACHINE_MAPPED_H
#define TESTS_UNIT_MACHINE_MAPPED_H

#include <stddef.h>

/* How many of the pages there are in the page tables, to be read at least. */
size_t mapped_pages(const void *at, size_t bytes);

/* Skips the test where the kernel maps nothing for who asks, or says nothing of what is mapped, and
 * where pages are of another size than 4 KiB. */
void mapped_or_skip(void);

#endif
