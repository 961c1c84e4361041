#include "tests/sim/limit.h"

#include "base/fatal.h"

#include <signal.h>
#include <sys/time.h>

static void set(struct limit limit)
{
    const struct itimerval busy = {.it_value = {.tv_sec = (time_t)(limit.busy_us / 1000000),
                                                .tv_usec = (suseconds_t)(limit.busy_us % 1000000)}};
    const struct itimerval real = {.it_value = {.tv_sec = (time_t)(limit.true_us / 1000000),
                                                .tv_usec = (suseconds_t)(limit.true_us % 1000000)}};
    ASSERT(setitimer(ITIMER_PROF, &busy, NULL) == 0);
    ASSERT(setitimer(ITIMER_REAL, &real, NULL) == 0);
}

void limit_begin(struct limit limit)
{
    ASSERT(limit.busy_us > 0 && limit.true_us > 0);
    set(limit);
}

void limit_end(void)
{
    set((struct limit){0});
}

bool limit_signals(int number)
{
    return number == SIGPROF || number == SIGALRM;
}
