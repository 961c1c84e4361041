#include "base/background.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICE = 10 };

/* Longer than what the others have, the kernel's default of up to 4 ms: since Linux 6.12 who wakes
 * up with a shorter slice than the thread that runs there need not wait for the end of its slice.
 * Not much longer, since it is also how long this thread may have to wait for its next one. Older
 * kernels take the nice value alone. */
#define SLICE_NS 5000000

void background_thread(void)
{
    struct sched_attr attr = {
        .size = sizeof attr, .sched_policy = SCHED_NORMAL, .sched_nice = NICE};
    attr.sched_runtime = SLICE_NS;
    if (syscall(SYS_sched_setattr, 0, &attr, 0)) /* of this thread alone, as is the other */
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
}
