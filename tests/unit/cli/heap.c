/* What the program's allocator is told, in a program of its own: it is set up before all else. */
#include "cli/heap.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { BLOCKS = 256, BLOCK_BYTES = 40 << 10, STUCK_S = 60 };

static void *blocks[BLOCKS];

/* Each lies between two that are free already. */
static void *free_odd(void *unused)
{
    (void)unused;
    for (int i = 1; i < BLOCKS; i += 2)
        free(blocks[i]);
    return NULL;
}

/* A thread that writes what others say frees and never allocates. */
Test(heap, thread_may_free_before_it_allocates)
{
    pthread_t thread;
    heap_init();
    alarm(STUCK_S); /* it would wait for itself for ever */
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        cr_assert_not_null(blocks[i]);
    }
    for (int i = 0; i < BLOCKS; i += 2)
        free(blocks[i]);
    cr_assert_eq(pthread_create(&thread, NULL, free_odd, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    void *all = malloc((size_t)BLOCKS * BLOCK_BYTES);
    cr_assert_not_null(all);
    free(all);
    alarm(0);
}
