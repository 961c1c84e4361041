#include "base/fatal.h"

#include <stdio.h>
#include <stdlib.h>

void fatal_assert(const char *condition, const char *file, int line)
{
    /* The one place that writes to stderr from the library: there is no host left to tell. */
    fprintf(stderr, "conclave: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}

void *mem_alloc(unsigned long bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    ASSERT(p);
    return p;
}

void *mem_zalloc(unsigned long bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    ASSERT(p);
    return p;
}

void *mem_alloc_aligned(unsigned long alignment, unsigned long bytes)
{
    void *p = aligned_alloc(alignment, bytes);
    ASSERT(p);
    return p;
}

void *mem_realloc(void *old, unsigned long bytes)
{
    void *p = realloc(old, bytes ? bytes : 1);
    ASSERT(p);
    return p;
}
