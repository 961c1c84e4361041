/* base/prefetch.h - memory that is about to be used, fetched while something else is done.
 *
 * Only hints: addresses need not be mapped, and nothing changes but when things happen. What is
 * written a little at a time, one place behind another, waits for each place, since few writes may
 * be outstanding, while any number may be fetched. Any thread. */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { PREFETCH_LINE_BYTES = 64 };

/* Fetches the cache lines of `bytes` at `at`, to be written: this processor's alone. What another
 * one, or a device, has read since is else fetched twice. */
static inline void prefetch_for_write(const void *at, size_t bytes)
{
    const char *line = (const char *)at - (uintptr_t)at % PREFETCH_LINE_BYTES;
    const char *end = (const char *)at + bytes;
    for (; line < end; line += PREFETCH_LINE_BYTES) {
        /* Compilers have the builtin do so only for processors that are named to them. To the
         * oldest ones it is nothing. */
#ifdef __x86_64__
        __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
        __builtin_prefetch(line, 1);
#endif
    }
}

#endif
