/* What a core may put off: its applying for a while, and the news of its own disk as long as it
 * does not wait for that. */
#include "tests/sim/check.h"

#include <inttypes.h>

void check_moment(struct check *check, uint64_t now_us)
{
    check->moment_events = now_us == check->moment_us ? check->moment_events + 1 : 1;
    check->moment_us = now_us;
    if (check->moment_events > SIM_MOMENT_EVENTS_MAX)
        check_fail(check, "time goes on", "%" PRIu64 " events at %" PRIu64 " us",
                   check->moment_events, now_us);
}

/* What a leader keeps for a while goes out when that is over. */
static void check_kept(struct check *check, uint32_t node, uint64_t deadline_us)
{
    const struct check_node *at = &check->nodes[node];
    for (uint32_t i = 0; i < check->node_count && at->view.role == RAFT_LEADER; i++) {
        uint64_t until_us = at->flows[i].kept_until_us;
        if (until_us > 0 && deadline_us > until_us)
            check_fail(check, "what is kept is sent in time",
                       "n%u keeps entries from n%u until %" PRIu64
                       " and is to be woken at %" PRIu64,
                       node + 1, i + 1, until_us, deadline_us);
    }
}

void check_deadline(struct check *check, uint32_t node, uint64_t deadline_us)
{
    const struct check_node *at = &check->nodes[node];
    check_kept(check, node, deadline_us);
    uint64_t ready =
        at->view.commit < at->view.durable.index ? at->view.commit : at->view.durable.index;
    if (ready <= at->apply_handed || at->apply_handed > at->view.applied ||
        at->installing > at->view.applied)
        return; /* nothing, or an APPLIED is to come */
    if (deadline_us > at->view.now_us + check->options.apply_delay_us)
        check_fail(check, "what is committed is applied in time",
                   "n%u has applied %" PRIu64 ", could apply %" PRIu64
                   ", and is to be woken in %" PRIu64 " us",
                   node + 1, at->view.applied, ready, deadline_us - at->view.now_us);
}

void check_read_awaited(struct check *check, uint32_t node, uint64_t index)
{
    const struct check_node *at = &check->nodes[node];
    uint64_t ready =
        at->view.commit < at->view.durable.index ? at->view.commit : at->view.durable.index;
    if (index > at->apply_handed && ready > at->apply_handed &&
        at->apply_handed == at->view.applied)
        check_fail(check, "what a read waits for is applied at once",
                   "n%u tells the index %" PRIu64 " of a read, has applied %" PRIu64
                   ", and could apply %" PRIu64,
                   node + 1, index, at->apply_handed, ready);
}

void check_told_late(struct check *check, uint32_t node, const struct check_view *before,
                     uint64_t handed_before)
{
    const struct check_node *at = &check->nodes[node];
    if (at->view.commit > before->commit)
        check_fail(check, "a core says that it waits for its disk",
                   "n%u commits %" PRIu64 " as soon as it hears of what was durable before",
                   node + 1, at->view.commit);
    if (at->view.role == RAFT_LEADER && before->role != RAFT_LEADER)
        check_fail(check, "a core says that it waits for its disk",
                   "n%u leads as soon as it hears of what was durable before", node + 1);
    if (check->options.apply_delay_us == 0 && at->apply_handed > handed_before)
        check_fail(check, "a core says that it waits for its disk",
                   "n%u applies %" PRIu64 " as soon as it hears of what was durable before",
                   node + 1, at->apply_handed);
}
