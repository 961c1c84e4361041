#include "base/turn.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICER = 10, NICE_MAX = 19 };

/* The usual one is up to 4 ms. The last ones' is not much longer, since it is also how long they
 * may have to wait for their next. */
#define SLICE_FIRST_NS 1000000
#define SLICE_LAST_NS 5000000

void thread_take_turn(enum thread_turn turn)
{
    struct sched_attr attr = {0};
    if (turn == TURN_USUAL || syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) ||
        attr.sched_policy != SCHED_NORMAL)
        return;
    attr.sched_runtime = turn == TURN_FIRST ? SLICE_FIRST_NS : SLICE_LAST_NS;
    if (turn == TURN_LAST)
        attr.sched_nice = attr.sched_nice + NICER < NICE_MAX ? attr.sched_nice + NICER : NICE_MAX;
    if (syscall(SYS_sched_setattr, 0, &attr, 0) && turn == TURN_LAST)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), attr.sched_nice);
}
