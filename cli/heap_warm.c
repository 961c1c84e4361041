#include "cli/heap_warm.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* So many are ready while the heap grows: what a node takes in a fifth of a second when it writes
 * much. What they are cut from is reserved in larger pieces; nothing else lies there, so nobody who
 * maps or unmaps memory waits for a thread that runs when it may. */
enum { READY = 6, REGION_BYTES = 64 << 20 };

/* Behind the threads that work. Not SCHED_IDLE: where others want all of the processors such a
 * thread does not even get to end, and until it has, a killed node's sockets stay open. */
enum { NICE = 10 };

static _Atomic(void *) ready[READY];
static atomic_bool started;
static sem_t wanted;
static void (*look_after)(void);

/* Of the current region, what is left. */
static char *region;
static size_t region_bytes;

static bool reserve(void)
{
    char *at =
        mmap(NULL, REGION_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return false;
    /* The page before the first one that is used stays without rights: a fence. So does the end. */
    uintptr_t first = ((uintptr_t)at / HEAP_WARM_BYTES + 1) * HEAP_WARM_BYTES;
    region = at + (first - (uintptr_t)at);
    region_bytes = REGION_BYTES - (first - (uintptr_t)at) - 1;
    return true;
}

static void *make(void)
{
    if (region_bytes < HEAP_WARM_BYTES && !reserve())
        return NULL;
    volatile char *at = region;
    if (mprotect(region, HEAP_WARM_BYTES, PROT_READ | PROT_WRITE))
        return NULL;
    (void)madvise(region, HEAP_WARM_BYTES, MADV_HUGEPAGE); /* refused: small ones */
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < HEAP_WARM_BYTES; i += page_bytes)
        at[i] = 0;
    void *made = region;
    region += HEAP_WARM_BYTES;
    region_bytes -= HEAP_WARM_BYTES;
    return made;
}

/* One for the first that is wanted, since a client that comes to a node at rest wants one too;
 * twice as many each time some are. */
static bool fill(void)
{
    static int most = 1;
    int end = most;
    most = 2 * most < READY ? 2 * most : READY;
    for (int i = 0; i < end; i++) {
        if (atomic_load_explicit(&ready[i], memory_order_relaxed))
            continue;
        void *made = make();
        if (!made)
            return false;
        atomic_store_explicit(&ready[i], made, memory_order_release);
    }
    return true;
}

/* Until some were wanted, or a second is over: much may be freed meanwhile and nothing wanted, and
 * then none is made either: a node at rest never wants any. */
static bool wait_for_use(void)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* cannot fail: a clock that there is */
    until.tv_sec++;
    int failed;
    while ((failed = sem_clockwait(&wanted, CLOCK_MONOTONIC, &until)) && errno == EINTR) {
    }
    return !failed;
}

static void *keep_ready(void *unused)
{
    (void)unused;
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* of this thread alone */
    bool made = true;
    while (made) {
        bool used = wait_for_use();
        while (!sem_trywait(&wanted)) { /* what several asked for is done at once */
        }
        look_after();
        made = !used || fill();
    }
    atomic_store(&started, false);
    return NULL;
}

void heap_warm_start(void (*look)(void))
{
    sigset_t all, before;
    pthread_t thread;
    if (sem_init(&wanted, 0, 0))
        return;
    look_after = look;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!pthread_create(&thread, NULL, keep_ready, NULL)) {
        (void)pthread_setname_np(thread, "cv-heap");
        (void)pthread_detach(thread);
        atomic_store(&started, true);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void *heap_warm_take(void)
{
    void *taken = NULL;
    if (!atomic_load(&started))
        return NULL;
    for (int i = 0; i < READY && !taken; i++)
        if (atomic_load_explicit(&ready[i], memory_order_relaxed))
            taken = atomic_exchange_explicit(&ready[i], NULL, memory_order_acquire);
    (void)sem_post(&wanted);
    return taken;
}
