/* A thread that stands behind the others of its program. */
#include "base/background.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

static void *stand_behind(void *arg)
{
    int *ret = arg;
    background_thread();
    ret[0] = getpriority(PRIO_PROCESS, (id_t)gettid());
    ret[1] = sched_getscheduler(0);
    return NULL;
}

Test(background, is_for_the_thread_that_asks_alone)
{
    pthread_t thread;
    int before = getpriority(PRIO_PROCESS, (id_t)gettid()), of_thread[2] = {-1, -1};
    cr_assert_eq(pthread_create(&thread, NULL, stand_behind, of_thread), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_geq(of_thread[0], 10, "nice %d", of_thread[0]);
    cr_assert_geq(of_thread[0], before);
    cr_assert_eq(of_thread[1], SCHED_OTHER, "one of SCHED_IDLE might never end");
    cr_assert_eq(getpriority(PRIO_PROCESS, (id_t)gettid()), before);
}
