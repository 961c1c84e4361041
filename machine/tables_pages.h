/* machine/tables_pages.h - has the kernel make pages in memory for a part of a file that is yet to
 * be used, from page to page, before whoever uses it has to wait for them.
 *
 * All of it is a hint: that there is no page, or one of another size, is no failure, and what the
 * file holds stays as it is. Any thread. */
#ifndef MACHINE_TABLES_PAGES_H
#define MACHINE_TABLES_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* One of TABLES_HUGE_BYTES there, in one go. False: the kernel does not know how to. */
bool tables_pages_huge(int fd, uint64_t at);

/* Most of them of up to 64 KiB, where the kernel has such pages for a file (Linux 6.16 for ext4)
 * and reads the disk ahead by a megabyte and more, else fewer; up to 256 KiB in one go, and others
 * may have the processor behind each. A small page's part of one costs half of it, made or mapped
 * and written. Who changes a bit of one has all of it written to disk. `at` above 0. */
void tables_pages_medium(int fd, uint64_t at, uint64_t end);

/* As small as there are, in pieces likewise. */
void tables_pages_small(int fd, uint64_t at, uint64_t end);

/* Has pages mapped for who writes to them, so that he does without a page fault until they are
 * written to disk; makes those that are not there. `at`: the beginning of a page in the map of the
 * file, which may have gone meanwhile, and something else of this process be there instead: that
 * keeps what it holds, too, and at worst takes memory that it did not need yet. */
void tables_pages_map(char *at, uint64_t bytes);

#endif
