/* Which threads of a program go first. */
#include "base/turn.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As the kernel has it (sched_getattr(2)), whose header does not go with that of threads. */
struct attr {
    uint32_t size, sched_policy;
    uint64_t flags;
    int32_t sched_nice;
    uint32_t priority;
    uint64_t sched_runtime, deadline, period;
};

struct asked {
    enum thread_turn turn;
    struct attr got;
};

static struct attr attr_now(void)
{
    struct attr attr = {0};
    cr_assert_eq(syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0), 0);
    return attr;
}

static void *ask(void *arg)
{
    struct asked *asked = arg;
    thread_take_turn(asked->turn);
    asked->got = attr_now();
    return NULL;
}

static struct attr of_a_thread_with(enum thread_turn turn)
{
    pthread_t thread;
    struct asked asked = {.turn = turn};
    const struct attr before = attr_now();
    cr_assert_eq(pthread_create(&thread, NULL, ask, &asked), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    const struct attr after = attr_now();
    cr_assert_eq(asked.got.sched_policy, before.sched_policy);
    cr_assert(after.sched_nice == before.sched_nice && after.sched_runtime == before.sched_runtime,
              "of the others nothing changes");
    return asked.got;
}

/* Kernels before 6.12 say 0 of any slice. */
static bool is_slice(const struct attr *attr, uint64_t ns)
{
    return attr->sched_runtime == ns || attr->sched_runtime == 0;
}

Test(turn, first_is_a_short_slice_and_no_priority)
{
    const struct attr usual = of_a_thread_with(TURN_USUAL);
    const struct attr first = of_a_thread_with(TURN_FIRST);
    cr_assert(is_slice(&first, 1000000), "%llu", (unsigned long long)first.sched_runtime);
    cr_assert_eq(first.sched_nice, usual.sched_nice);
}

Test(turn, last_is_ten_nicer_with_a_long_slice)
{
    const struct attr usual = of_a_thread_with(TURN_USUAL);
    const struct attr last = of_a_thread_with(TURN_LAST);
    int nice = usual.sched_nice + 10 < 19 ? usual.sched_nice + 10 : 19;
    cr_assert_eq(last.sched_nice, nice, "%d", last.sched_nice);
    cr_assert(is_slice(&last, 5000000), "%llu", (unsigned long long)last.sched_runtime);
}

Test(turn, last_is_never_nicer_than_there_is)
{
    thread_take_turn(TURN_LAST);
    thread_take_turn(TURN_LAST);
    cr_assert_eq(attr_now().sched_nice, 19);
}
