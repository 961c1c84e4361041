/* base/prefetch.h - memory that is about to be used, fetched while something else is done.
 *
 * Only hints: addresses need not be mapped, and nothing changes but when things happen. What is
 * written a little at a time, one place behind another, waits for each place, since few writes may
 * be outstanding, while any number may be fetched. Any thread. */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>

enum { PREFETCH_LINE_BYTES = 64 };

/* Fetches the cache lines of `bytes` at `at`, to be written: this processor's alone. What another
 * one, or a device, has read since is else fetched twice. */
static inline void prefetch_for_write(const void *at, size_t bytes)
{
    const char *line = at;
    for (size_t i = 0; i < bytes; i += PREFETCH_LINE_BYTES) {
#ifdef __x86_64__ /* compilers ask whether the oldest processors have it; to those it is nothing \
                   */
        __asm__ volatile("prefetchw %0" : : "m"(line[i]));
#else
        __builtin_prefetch(line + i, 1);
#endif
    }
}

#endif
