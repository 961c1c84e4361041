#include "bench/standstill.h"

#include "bench/measure.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* Shorter ones are timers and interrupts of a machine that is busy. */
enum { SLEEP_NS = 2000000, SEEN_NS = 2000000 };

/* Less does not show in a 99th percentile. */
static const double SHARE_TOLD = 0.005;

void standstill_note(struct standstill_seen *seen, uint64_t late_ns, uint64_t waited_ns)
{
    uint64_t stood_ns = late_ns > waited_ns ? late_ns - waited_ns : 0;
    if (stood_ns < SEEN_NS)
        return;
    seen->times++;
    seen->stood_ns += stood_ns;
    if (stood_ns > seen->longest_ns)
        seen->longest_ns = stood_ns;
}

double standstill_share(const struct standstill_seen *seen)
{
    return seen->watched_ns ? (double)seen->stood_ns / (double)seen->watched_ns : 0;
}

bool standstill_matters(const struct standstill_seen *seen)
{
    return standstill_share(seen) >= SHARE_TOLD;
}

static void look(struct standstill *standstill, int fd)
{
    uint64_t waited_ns = 0, before_ns = 0, began_ns = measure_now_ns(), slept_ns = began_ns;
    bool known = measure_wait_read(fd, &before_ns);
    while (known && !atomic_load(&standstill->end)) {
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
        uint64_t now_ns = measure_now_ns(), late_ns = now_ns - slept_ns - SLEEP_NS;
        known = measure_wait_read(fd, &waited_ns);
        if (known)
            standstill_note(&standstill->seen, late_ns, waited_ns - before_ns);
        before_ns = waited_ns;
        slept_ns = now_ns;
    }
    standstill->seen.watched_ns = slept_ns - began_ns;
}

static void *watch(void *arg)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    look(arg, fd);
    close(fd);
    return NULL;
}

void standstill_begin(struct standstill *standstill)
{
    memset(standstill, 0, sizeof *standstill);
    standstill->runs = !pthread_create(&standstill->thread, NULL, watch, standstill);
}

struct standstill_seen standstill_end(struct standstill *standstill)
{
    atomic_store(&standstill->end, true);
    if (standstill->runs)
        pthread_join(standstill->thread, NULL);
    standstill->runs = false;
    return standstill->seen;
}
