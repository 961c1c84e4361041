/* Messages are buffers that one thread allocates and another one frees, and entries stay in memory
 * until a snapshot has them: a node under load needs tens of megabytes more each second, and gives
 * them back some seconds later. What costs then is the page that is touched first, from 0.2 us to
 * 14 us, the latter in a virtual machine whose host keeps the page tables. So memory that was freed
 * is kept for some time, and a heap that grows gets huge pages: 2 MiB for the price of a few small
 * ones.
 *
 * With jemalloc, if the program is built with it; else the C library's allocator, with more
 * patience. */
#include "cli/heap.h"
#include "cli/heap_warm.h"

#ifdef HAVE_JEMALLOC

#include <jemalloc/jemalloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

/* As many arenas as keep a node's busy threads apart. Memory that was freed goes back to the system
 * within half a minute (sooner: limit_free()). The environment's MALLOC_CONF has the last word. */
extern const char *malloc_conf;
__attribute__((visibility("default"))) const char *malloc_conf =
    "narenas:4,dirty_decay_ms:30000,dss:disabled";

/* A node at rest needs 5 MB; with huge pages from the beginning it would be 30. */
enum { SMALL_BYTES = 24 << 20, HUGE_BYTES = HEAP_WARM_BYTES };

static extent_alloc_t *grow;
static extent_hooks_t hooks;
static atomic_size_t grown_bytes;
static size_t held;

static void *grow_huge(extent_hooks_t *own, void *place, size_t bytes, size_t alignment, bool *zero,
                       bool *commit, unsigned arena)
{
    size_t before = atomic_fetch_add_explicit(&grown_bytes, bytes, memory_order_relaxed);
    bool huge = before + bytes > SMALL_BYTES && bytes >= HUGE_BYTES;
    char *warm = NULL;
    if (huge && !place && bytes == HEAP_WARM_BYTES && alignment <= HEAP_WARM_BYTES)
        warm = heap_warm_take();
    if (warm) {
        *zero = *commit = true;
        return warm;
    }
    char *at = grow(own, place, bytes, alignment, zero, commit, arena);
    if (at && huge)
        (void)madvise(at, bytes, MADV_HUGEPAGE); /* refused: small ones */
    return at;
}

/* Neighbours can always be one: all of it is mapped, and where that must not be there is a fence
 * (heap_warm.c). jemalloc's own hook says the same, but asks first which thread this is: to a
 * thread that has freed before it ever allocated, as one that only writes what others say, it then
 * gives what a thread needs, and waits for ever for the lock that it holds for what is freed. */
static bool merge(extent_hooks_t *own, void *left, size_t left_bytes, void *right,
                  size_t right_bytes, bool committed, unsigned arena)
{
    (void)own;
    (void)left;
    (void)left_bytes;
    (void)right;
    (void)right_bytes;
    (void)committed;
    (void)arena;
    return false; /* done */
}

/* Failures leave jemalloc's own way: small pages. */
void heap_init(void)
{
    extent_hooks_t *theirs = NULL, *ours = &hooks;
    unsigned arenas = 0;
    size_t bytes = sizeof theirs, count = sizeof arenas, step = HUGE_BYTES;
    if (mallctl("arena.0.extent_hooks", &theirs, &bytes, NULL, 0) ||
        mallctl("opt.narenas", &arenas, &count, NULL, 0))
        return;
    hooks = *theirs;
    grow = hooks.alloc;
    hooks.alloc = grow_huge;
    hooks.merge = merge;
    for (unsigned i = 0; i < arenas; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "arena.%u.extent_hooks", i);
        (void)mallctl(name, NULL, NULL, &ours, sizeof ours);
        /* One at a time, as they are made ready. */
        (void)snprintf(name, sizeof name, "arena.%u.retain_grow_limit", i);
        (void)mallctl(name, NULL, NULL, &step, sizeof step);
    }
}

/* While no more than `held` is held, what is free is kept for those who take it again
 * soon; of a larger heap what is free goes back, so that a node's limits (ARCHITECTURE.md) hold for
 * what the system sees too. A little is left: to give it back is not for nothing either. */
static void limit_free(void)
{
    enum { FREE_BYTES = 16 << 20 };
    uint64_t epoch = 1;
    size_t resident_bytes = 0, pages = 0, page_bytes = 0, bytes = sizeof pages;
    char name[64];
    if (held == SIZE_MAX)
        return;
    if (mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) ||
        mallctl("stats.resident", &resident_bytes, &bytes, NULL, 0) ||
        mallctl("arenas.page", &page_bytes, &bytes, NULL, 0) || resident_bytes <= held)
        return;
    (void)snprintf(name, sizeof name, "stats.arenas.%u.pdirty", MALLCTL_ARENAS_ALL);
    if (mallctl(name, &pages, &bytes, NULL, 0) || pages * page_bytes <= FREE_BYTES)
        return;
    (void)snprintf(name, sizeof name, "arena.%u.purge", MALLCTL_ARENAS_ALL);
    (void)mallctl(name, NULL, NULL, NULL, 0);
}

void heap_serves(size_t held_bytes)
{
    held = held_bytes;
    heap_warm_start(limit_free);
}

#else

#include <malloc.h>

void heap_init(void)
{
    enum { KEPT_BYTES = 8 << 20 };
    /* NOLINTBEGIN(concurrency-mt-unsafe): there is no other thread yet */
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES); /* refused: as it was before */
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

void heap_serves(size_t held_bytes)
{
    (void)held_bytes;
}

#endif
