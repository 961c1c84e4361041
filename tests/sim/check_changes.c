/* Changes of the members: what a leader may append, when it has to go, and what the operator is
 * told. */
#include "tests/sim/check.h"

#include <inttypes.h>

/* --- Catching up ------------------------------------------------------------------------------ */

/* A learner is promoted when it has all that its leader had three election timeouts before: one for
 * the round that shows that it keeps up, one since the next began, one since it was heard of. */
enum { LAG_TIMEOUTS = 3, SAMPLES_A_TIMEOUT = 8 };

static void sample_take(struct check *check, struct check_node *at)
{
    struct check_samples *samples = &at->samples;
    uint64_t newest = samples->now_us[(samples->count + CHECK_SAMPLES - 1) % CHECK_SAMPLES];
    if (samples->count > 0 &&
        at->view.now_us - newest < check->options.election_timeout_us / SAMPLES_A_TIMEOUT)
        return;
    uint64_t place = samples->count++ % CHECK_SAMPLES;
    samples->now_us[place] = at->view.now_us;
    samples->last[place] = at->memory.count;
}

/* The last index that the leader had so long ago; the first entry of its term if it led later. */
static uint64_t sample_before(const struct check *check, const struct check_node *at)
{
    const struct check_samples *samples = &at->samples;
    uint64_t found = at->led_from + 1;
    uint64_t kept = samples->count < CHECK_SAMPLES ? samples->count : CHECK_SAMPLES;
    for (uint64_t i = samples->count - kept; i < samples->count; i++) {
        uint64_t place = i % CHECK_SAMPLES;
        if (samples->now_us[place] + LAG_TIMEOUTS * check->options.election_timeout_us <=
                at->view.now_us &&
            samples->last[place] > found)
            found = samples->last[place];
    }
    return found;
}

static void check_caught_up(struct check *check, uint32_t node, uint32_t learner, uint64_t index)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_node *other = &check->nodes[learner];
    if (other->rotten_life != 0 && at->peers[learner].life <= other->rotten_life)
        return; /* the leader has not heard that it was restarted with less */
    uint64_t needed = sample_before(check, at);
    const struct check_entry *own = check_log_at(&at->memory, needed);
    if (own && !check_holds(check, learner, needed, own))
        check_fail(check, "learners catch up before they vote",
                   "n%u makes n%u a voter at %" PRIu64 ", whose disk holds %" PRIu64
                   " entries; the leader had %" PRIu64 " long before",
                   node + 1, learner + 1, index, check_stored_last(check, learner), needed);
}

/* --- Appending -------------------------------------------------------------------------------- */

/* Rule 28. */
static void check_change_time(struct check *check, uint32_t node, uint64_t index,
                              uint64_t before_index)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *committed = check_log_at(&at->memory, at->view.commit);
    if (before_index > at->view.commit)
        check_fail(check, "one change at a time",
                   "n%u appends a configuration at %" PRIu64 ", the one at %" PRIu64
                   " is not committed",
                   node + 1, index, before_index);
    if (!committed || committed->term != at->view.hard_state.term)
        check_fail(check, "no change before the own term commits",
                   "n%u appends a configuration at %" PRIu64 " in term %" PRIu64
                   " and has committed nothing of it",
                   node + 1, index, at->view.hard_state.term);
}

/* Rules 30, 32 and 34. */
static void check_change_shape(struct check *check, uint32_t node, uint64_t index,
                               const struct check_config *old, const struct check_config *next)
{
    bool whole = old->joint ? !next->joint && next->voters == old->voters
                            : (next->joint ? next->outgoing : next->voters) == old->voters;
    uint32_t gone = old->members & ~next->members;
    uint32_t come = next->members & ~old->members;
    if (!whole)
        check_fail(check, "voters change by way of a joint phase",
                   "n%u appends at %" PRIu64 " voters %#x, outgoing %#x after %#x, %#x", node + 1,
                   index, next->voters, next->outgoing, old->voters, old->outgoing);
    if (come & ~next->learners)
        check_fail(check, "members come as learners", "n%u adds the nodes of mask %#x at %" PRIu64,
                   node + 1, come, index);
    if (next->members & old->removed)
        check_fail(check, "ids never return", "n%u takes in again, at %" PRIu64 ", some of %#x",
                   node + 1, index, next->members & old->removed);
    if ((old->removed | gone) & ~next->removed)
        check_fail(check, "removed ids are remembered",
                   "n%u forgets at %" PRIu64 " the nodes of mask %#x", node + 1, index,
                   (old->removed | gone) & ~next->removed);
    if (old->known & next->members & ~next->known)
        check_fail(check, "data directories are remembered",
                   "n%u forgets at %" PRIu64 " those of the nodes of mask %#x", node + 1, index,
                   old->known & next->members & ~next->known);
    uint32_t promoted = next->voters & ~(old->voters | old->outgoing);
    if (promoted & ~old->learners)
        return; /* told above: they came as voters */
    for (uint32_t i = 0; i < check->node_count; i++) {
        if (promoted >> i & 1)
            check_caught_up(check, node, i, index);
    }
}

/* Rule 31. */
static void check_retirement(struct check *check, uint32_t node)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    const struct check_config *config = &check->configs.items[last->config];
    bool voter = (config->voters | config->outgoing) >> node & 1;
    bool committed = last->config_at <= at->view.commit;
    if (at->view.role == RAFT_LEADER && committed && !voter)
        check_fail(check, "a removed leader steps down",
                   "n%u leads on, and its removal at %" PRIu64 " is committed", node + 1,
                   last->config_at);
    if (at->view.retired && (!committed || voter))
        check_fail(check, "a removed leader leads until that is committed",
                   "n%u steps down, commit %" PRIu64 ", newest configuration %" PRIu64, node + 1,
                   at->view.commit, last->config_at);
}

void check_leader_changes(struct check *check, uint32_t node, const struct check_view *before,
                          uint64_t last)
{
    struct check_node *at = &check->nodes[node];
    bool led = before->role == RAFT_LEADER && before->hard_state.term == at->view.hard_state.term;
    if ((at->view.role != RAFT_LEADER && !led) || at->memory.count == 0)
        return;
    for (uint64_t index = last + 1; index <= at->memory.count && !check->failed; index++) {
        const struct check_entry *entry = check_log_at(&at->memory, index);
        const struct check_entry *old = check_log_at(&at->memory, index - 1);
        if (entry->config_at != index || entry->term != at->view.hard_state.term || !old)
            continue;
        check_change_time(check, node, index, old->config_at);
        check_change_shape(check, node, index, &check->configs.items[old->config],
                           &check->configs.items[entry->config]);
    }
    check_retirement(check, node);
    sample_take(check, at);
}

/* --- The operator -------------------------------------------------------------------------------
 */

static bool change_done(const struct check_config *config, const struct change *change)
{
    uint32_t subject = UINT32_C(1) << change->subject;
    switch (change->type) {
    case RAFT_CHANGE_ADD:
        return (config->members & subject) != 0;
    case RAFT_CHANGE_PROMOTE:
        return !config->joint && (config->voters & subject) != 0;
    case RAFT_CHANGE_REMOVE:
        return !(config->members & subject);
    case RAFT_CHANGE_REPLACE:
        return !config->joint && !(config->members & subject) &&
               (config->voters >> change->replacement & 1);
    }
    return false;
}

static void check_change_done(struct check *check, const struct change *change, uint32_t node,
                              uint64_t index)
{
    const struct check_node *at = &check->nodes[node];
    const struct check_log *log = index > 0 ? &check->oracle : &at->memory;
    const struct check_entry *last = check_log_at(log, index > 0 ? index : log->count);
    bool done = last && change_done(&check->configs.items[last->config], change);
    /* Done already when it was asked for, and then the next change began in the same step. */
    if (index == 0 && last && last->config_at > at->view.commit)
        done |= change_done(check_config_at(check, log, last->config_at - 1), change);
    if (change->nonsense)
        check_fail(check, "nonsense is refused", "n%u takes a change of kind %u of n%u by n%u",
                   node + 1, change->type, change->subject + 1, change->replacement + 1);
    else if (index > check->oracle.count)
        check_fail(check, "acknowledged is committed",
                   "n%u acknowledges a change at %" PRIu64 ", which is not committed", node + 1,
                   index);
    else if (!done)
        check_fail(check, "a change that is done shows",
                   "n%u acknowledges a change of kind %u of n%u at %" PRIu64
                   ", which is not in the configuration there",
                   node + 1, change->type, change->subject + 1, index);
}

void check_change(struct check *check, const struct change *change, uint32_t node, uint32_t life,
                  int code, uint64_t index)
{
    static const int codes[] = {CONCLAVE_OK,      CONCLAVE_NOT_LEADER, CONCLAVE_NO_LEADER,
                                CONCLAVE_BUSY,    CONCLAVE_HANDOVER,   CONCLAVE_UNKNOWN,
                                CONCLAVE_INVALID, CONCLAVE_EXISTS,     CONCLAVE_NOT_FOUND};
    size_t i = 0;
    while (i < sizeof codes / sizeof *codes && codes[i] != code)
        i++;
    if (!change)
        check_fail(check, "an answer is somebody's", "n%u answers a change of nobody", node + 1);
    else if (change->state != OP_TAKEN)
        check_fail(check, "an operation is answered once",
                   "n%u answers a change of kind %u again or unasked", node + 1, change->type);
    else if (change->node != node || change->life != life)
        check_fail(check, "an answer comes from where it was asked",
                   "n%u answers a change that n%u took", node + 1, change->node + 1);
    else if (i == sizeof codes / sizeof *codes)
        check_fail(check, "refusals say why", "n%u refuses a change with %s", node + 1,
                   conclave_code_name(code));
    else if (code == CONCLAVE_OK)
        check_change_done(check, change, node, index);
}
