/* base/fatal.h - assertions, always on.
 *
 * An assertion states what the program itself must guarantee; bytes from a peer, a disk or a client
 * never reach one. A failed assertion ends the process with abort(): a node whose memory breaks its
 * own rules must not acknowledge anything more. Any thread. */
#ifndef BASE_FATAL_H
#define BASE_FATAL_H

_Noreturn void fatal_assert(const char *condition, const char *file, int line);

#define ASSERT(condition)                                 \
    do {                                                  \
        if (__builtin_expect(!(condition), 0))            \
            fatal_assert(#condition, __FILE__, __LINE__); \
    } while (0)

/* Allocation that cannot fail for the caller: a node out of memory stops (ASSERT). For small and
 * bounded sizes; what a client sizes is checked against a limit first. */
void *mem_alloc(unsigned long bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(unsigned long bytes) __attribute__((malloc, returns_nonnull));
/* `alignment`: a power of two that divides `bytes`. Freed by free(). */
void *mem_alloc_aligned(unsigned long alignment, unsigned long bytes)
    __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *old, unsigned long bytes) __attribute__((returns_nonnull));

#endif
