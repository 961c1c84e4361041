/* Which pages of this process are mapped. */
#ifndef TESTS_UNIT_MACHINE_MAPPED_H
#define TESTS_UNIT_MACHINE_MAPPED_H

#include <stddef.h>

/* How many of the pages there can be used without a page fault. */
size_t mapped_pages(const void *at, size_t bytes);

#endif
