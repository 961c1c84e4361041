#include "bench/disturb.h"

#include "bench/process.h"

#include <stdio.h>
#include <time.h>

enum { CATCH_UP_SECONDS = 60, LOOK_NS = 5000000 };

static void plan(struct faults *faults, enum fault_kind kind, uint64_t at_ms)
{
    faults->list[faults->count++] = (struct fault){kind, at_ms};
}

void disturb_init(struct disturb *disturb, struct target *target, const struct load *load,
                  struct live *live, const volatile sig_atomic_t *stop)
{
    *disturb = (struct disturb){.target = target,
                                .live = live,
                                .faults = load->options->faults,
                                .awaited = TARGET_NODE_NONE,
                                .stop = stop};
    struct faults *faults = &disturb->faults;
    uint64_t tenth_ms = load->duration_ms / 10;
    if (load->workload == BENCH_RECOVER) {
        faults->count = 0;
        plan(faults, FAULT_KILL_FOLLOWER, 2 * tenth_ms);
        plan(faults, FAULT_RESTART, 6 * tenth_ms);
    } else if (load->workload == BENCH_FAILOVER && faults->count == 0) {
        plan(faults, FAULT_KILL_LEADER, 3 * tenth_ms);
        plan(faults, FAULT_RESTART, 6 * tenth_ms);
    }
}

static void note(struct disturb *disturb, struct measure *measure, uint64_t elapsed_ns,
                 enum fault_kind kind, unsigned node)
{
    char text[MEASURE_MARK_BYTES];
    snprintf(text, sizeof text, "%s %s", fault_name(kind), disturb->target->nodes[node].name);
    measure_mark(measure, elapsed_ns, text);
}

static void kill_one(struct disturb *disturb, struct measure *measure, enum fault_kind kind)
{
    struct target *target = disturb->target;
    unsigned leader = target->ops->leader(target), victim = leader;
    if (leader == TARGET_NODE_NONE) {
        measure_fail(measure, CONCLAVE_NO_LEADER, "%s: nobody leads, or it is not known who",
                     fault_name(kind));
        return;
    }
    if (kind == FAULT_KILL_FOLLOWER)
        for (unsigned i = 0; i < target->count; i++)
            if (i != leader && target->nodes[i].pid > 0)
                victim = i;
    if (victim == leader && kind == FAULT_KILL_FOLLOWER) {
        measure_fail(measure, CONCLAVE_INVALID, "%s: there is no follower", fault_name(kind));
        return;
    }
    note(disturb, measure, measure_now_ns() - measure->start_ns, kind, victim);
    target_kill_node(target, victim);
}

static void restart_all(struct disturb *disturb, struct measure *measure)
{
    struct target *target = disturb->target;
    for (unsigned i = 0; i < target->count; i++) {
        struct conclave_error error;
        uint64_t applied;
        if (target->nodes[i].pid > 0)
            continue;
        unsigned other = i == 0 ? 1 : 0;
        bool told = target->ops->progress &&
                    target->ops->progress(target, other, &disturb->committed, &applied);
        uint64_t now_ns = measure_now_ns() - measure->start_ns;
        note(disturb, measure, now_ns, FAULT_RESTART, i);
        int code = target_start_node(target, i, &error);
        if (code != CONCLAVE_OK)
            measure_fail(measure, code, "%s", error.message);
        if (told) {
            disturb->awaited = i;
            disturb->restarted_ns = now_ns;
        }
    }
}

/* Whether the node that was started has applied what was committed then. */
static void look_for_awaited(struct disturb *disturb, struct measure *measure)
{
    struct target *target = disturb->target;
    uint64_t committed, applied;
    int status;
    if (process_ended(&target->nodes[disturb->awaited].pid, &status)) {
        measure_fail(measure, CONCLAVE_UNREACHABLE, "the node that was started again has ended");
        disturb->awaited = TARGET_NODE_NONE;
    } else if (target->ops->progress(target, disturb->awaited, &committed, &applied) &&
               applied >= disturb->committed) {
        measure->recover_ns = measure_now_ns() - measure->start_ns - disturb->restarted_ns;
        measure_mark(measure, measure_now_ns() - measure->start_ns, "caught up");
        disturb->awaited = TARGET_NODE_NONE;
    }
}

void disturb_tick(void *arg, struct measure *measure, uint64_t elapsed_ns)
{
    struct disturb *disturb = arg;
    pid_t pids[BENCH_NODES_MAX];
    for (unsigned i = 0; i < disturb->target->count; i++)
        pids[i] = disturb->target->nodes[i].pid;
    usage_tick(&disturb->usage, pids, disturb->target->count, measure, elapsed_ns);
    live_tick(disturb->live, measure, elapsed_ns);
    while (disturb->next < disturb->faults.count &&
           elapsed_ns / 1000000 >= disturb->faults.list[disturb->next].at_ms) {
        enum fault_kind kind = disturb->faults.list[disturb->next++].kind;
        if (kind == FAULT_RESTART)
            restart_all(disturb, measure);
        else
            kill_one(disturb, measure, kind);
    }
    if (disturb->awaited != TARGET_NODE_NONE)
        look_for_awaited(disturb, measure);
}

void disturb_finish(struct disturb *disturb, struct measure *measure)
{
    uint64_t until_ns = measure_now_ns() + CATCH_UP_SECONDS * UINT64_C(1000000000);
    while (disturb->awaited != TARGET_NODE_NONE && !*disturb->stop) {
        look_for_awaited(disturb, measure);
        if (measure_now_ns() > until_ns) {
            measure_fail(measure, CONCLAVE_TIMEOUT, "the node that was started again is not back");
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}
