#include "tests/sim/world.h"

#include <string.h>

/* Carrying out what a step of the core put out, after checking it. */

/* The learner was added to become a voter. Before the step is checked: the log is as it was. */
static bool promotes_itself(const struct world *world, const struct node *node, raft_node_id id)
{
    const struct check *check = &world->check;
    const struct check_log *log = &check->nodes[world_index(world, node)].memory;
    return check_config_at(check, log, log->count)->promote >> check_find(check, id) & 1;
}

/* What was replaced is on the disk yet, for a while: that it rots is rare enough. */
static void truncated(struct world *world)
{
    report_mark(&world->report, SIM_MARK_TRUNCATED);
    world->scatter_armed = world->knobs.on[SIM_FAULT_SCATTER];
}

static void output_trace(struct world *world, struct node *node)
{
    struct report *report = &world->report;
    for (uint32_t i = 0; i < node->output.trace.count; i++) {
        const struct raft_trace *trace = &node->output.trace.items[i];
        report_event(report, (struct record){.at_us = world->now_us,
                                             .kind = RECORD_TRACE,
                                             .node = world_index(world, node),
                                             .v = {trace->type, trace->a, trace->b}});
        if (trace->type == RAFT_TRACE_CONFIG)
            links_update(world, node);
        else if (trace->type == RAFT_TRACE_PROMOTE && promotes_itself(world, node, trace->a))
            report_mark(report, SIM_MARK_PROMOTED);
        else if (trace->type == RAFT_TRACE_UNREADABLE)
            check_unreadable(&world->check, world_index(world, node), trace->a);
        else if (trace->type == RAFT_TRACE_RETIRED)
            report_mark(report, SIM_MARK_RETIRED);
        else if (trace->type == RAFT_TRACE_TRUNCATE)
            truncated(world);
        else if (trace->type == RAFT_TRACE_QUORUM_LOST)
            report_mark(report, SIM_MARK_QUORUM_LOST);
        else if (trace->type == RAFT_TRACE_TRANSFER && trace->b == RAFT_TRANSFER_DISK)
            report_mark(report, SIM_MARK_DISK_TRANSFER);
        else if (trace->type == RAFT_TRACE_TRANSFER && trace->b == RAFT_TRANSFER_PRIORITY)
            report_mark(report, SIM_MARK_PRIORITY_TRANSFER);
        else if (trace->type == RAFT_TRACE_RESTARTED)
            report_mark(report, SIM_MARK_PEER_RESTARTED);
        else if (trace->type == RAFT_TRACE_TRANSFER_ENDED)
            report_mark(report, SIM_MARK_TRANSFER_ENDED);
        else if (trace->type == RAFT_TRACE_DISK_STALLED)
            report_mark(report, SIM_MARK_DISK_STALLED);
    }
}

/* How often the step says so. */
static uint32_t output_traces(const struct node *node, enum raft_trace_type type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->output.trace.count; i++)
        count += node->output.trace.items[i].type == type;
    return count;
}

static void output_persist(struct world *world, struct node *node)
{
    struct raft_persist *persist = &node->output.persist;
    if (persist->seq == 0)
        return;
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_PERSIST,
                                                 .node = world_index(world, node),
                                                 .v = {persist->seq, persist->hard_state.term,
                                                       persist->hard_state.vote,
                                                       raft_runs_first(&persist->entries).index,
                                                       persist->last.term, persist->last.index}});
    disk_submit(node->disk, persist);
    node_disk_begin(world, node);
}

/* Marks of an install, before the checks go on to what it leads to. */
static void install_marks(struct world *world, const struct node *node)
{
    struct report *report = &world->report;
    const struct check_node *at = &world->check.nodes[world_index(world, node)];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    report_mark(report, SIM_MARK_INSTALL_ANEW);
    if (last && last->config_at > at->view.commit)
        report_mark(report, SIM_MARK_INSTALL_CONFIG);
}

static void output_install(struct world *world, struct node *node)
{
    struct raft_id id = node->output.install;
    if (id.index == 0)
        return;
    check_install(&world->check, world_index(world, node), id);
    machine_submit_install(node->machine, id);
    node_machine_begin(world, node);
}

static void output_apply(struct world *world, struct node *node)
{
    struct raft_runs *apply = &node->output.apply;
    uint32_t index = world_index(world, node);
    check_apply(&world->check, index, apply);
    if (apply->entry_count == 0 || world->check.failed)
        return;
    report_event(&world->report,
                 (struct record){.at_us = world->now_us,
                                 .kind = RECORD_APPLY,
                                 .node = index,
                                 .v = {raft_runs_first(apply).index, raft_runs_last(apply).index}});
    machine_submit(node->machine, apply);
    node_machine_begin(world, node);
}

static void output_reads(struct world *world, struct node *node)
{
    ahead_begun(world, node);
    for (uint32_t i = 0; i < node->output.reads.count; i++) {
        struct raft_read_result result = node->output.reads.items[i];
        report_event(&world->report,
                     (struct record){.at_us = world->now_us,
                                     .kind = RECORD_READ_AT,
                                     .node = world_index(world, node),
                                     .v = {result.read, (uint64_t)result.code, result.index}});
        node->reads_in_core--;
        if (result.code == CONCLAVE_OK)
            check_read_awaited(&world->check, world_index(world, node), result.index);
        if (hubs_read(result.read)) {
            if (result.code == CONCLAVE_OK)
                node_add_read(node, (struct node_read){.op = result.read, .index = result.index});
            continue;
        }
        if (result.code != CONCLAVE_OK) {
            if (!ahead_decided(world, node, &result))
                clients_refuse(world, node, result.read, result.code);
        } else {
            uint64_t taken_us = world->ops.items[result.read].taken_us;
            if (taken_us > node->fresh_us) {
                node->fresh_us = taken_us;
                node->fresh_index = result.index;
            }
            if (raft_role(node->raft) == RAFT_FOLLOWER && result.valid_until_us == 0) {
                report_mark(&world->report, SIM_MARK_READ_FOLLOWER);
                check_read_followed(&world->check, result.read, world_index(world, node));
            } else if (raft_role(node->raft) == RAFT_LEADER && result.valid_until_us == 0)
                check_read_confirmed(&world->check, result.read, world_index(world, node));
            if (result.index > machine_applied(node->machine))
                report_mark(&world->report, SIM_MARK_READ_WAITED);
            if (ahead_decided(world, node, &result))
                continue;
            node_add_read(node, (struct node_read){.op = result.read,
                                                   .index = result.index,
                                                   .valid_until_us = result.valid_until_us,
                                                   .fresh_us = taken_us});
        }
    }
    if (node->reads_in_core > node->options.reads_max)
        check_fail(&world->check, "waiting reads are bounded", "n%u keeps %lu reads",
                   world_index(world, node) + 1, (unsigned long)node->reads_in_core);
    node_answer_reads(world, node);
}

static void output_refused(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < node->output.refused.count; i++) {
        struct raft_refusal refusal = node->output.refused.items[i];
        if (operator_origin(refusal.origin)) {
            operator_answer(world, node, refusal.origin.request, refusal.code, 0);
            continue;
        }
        if (refusal.code == CONCLAVE_BUSY)
            report_mark(&world->report, SIM_MARK_WRITE_BUSY);
        if (refusal.code == CONCLAVE_HANDOVER)
            report_mark(&world->report, SIM_MARK_WRITE_HANDOVER);
        if (refusal.code != CONCLAVE_NOT_LEADER && refusal.code != CONCLAVE_NO_LEADER &&
            refusal.code != CONCLAVE_BUSY && refusal.code != CONCLAVE_UNKNOWN &&
            refusal.code != CONCLAVE_HANDOVER)
            check_fail(&world->check, "refusals say why", "n%u refuses with %s",
                       world_index(world, node) + 1, conclave_code_name(refusal.code));
        if (refusal.origin.request) /* nobody waits for the clock */
            clients_refuse(world, node, refusal.origin.request, refusal.code);
    }
}

static void output_transfers(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < node->output.transfers.count; i++) {
        if (node->output.transfers.items[i].code == CONCLAVE_OK)
            report_mark(&world->report, SIM_MARK_TRANSFER_DONE);
    }
}

/* --- Checks and marks --------------------------------------------------------------------------
 */

static struct check_view node_view(const struct world *world, const struct node *node)
{
    uint64_t config_index;
    uint64_t lease = raft_lease_until(node->raft);
    (void)raft_configuration(node->raft, &config_index);
    return (struct check_view){.role = raft_role(node->raft),
                               .config_index = config_index,
                               .now_us = node->now_us,
                               .retired = output_traces(node, RAFT_TRACE_RETIRED) > 0,
                               .hard_state = raft_hard_state(node->raft),
                               .commit = raft_commit(node->raft),
                               .applied = raft_applied(node->raft),
                               .last = raft_last(node->raft),
                               .durable = raft_durable(node->raft),
                               .base = raft_base(node->raft),
                               .memory_base = raft_memory_base(node->raft).index,

                               .world_us = world->now_us,
                               .lease_us = lease > 0 ? node_world_before(node, lease) : 0,
                               .lease_own_us = lease};
}

/* After the step was checked: the log is as it is now. */
static void member_marks(struct world *world, const struct node *node,
                         const struct check_view *before, const struct check_view *after)
{
    const struct check *check = &world->check;
    uint32_t index = world_index(world, node);
    const struct check_log *log = &check->nodes[index].memory;
    const struct check_config *config = check_config_at(check, log, log->count);
    if (after->config_index < before->config_index)
        report_mark(&world->report, SIM_MARK_CONFIG_TRUNCATED);
    if (after->role != RAFT_LEADER)
        return;
    const struct check_config *committed = members_committed(world);
    if (before->role != RAFT_LEADER && !((committed->voters | committed->outgoing) >> index & 1))
        report_mark(&world->report, SIM_MARK_NEW_VOTER_LEADS);
    if (after->config_index <= before->config_index || before->role != RAFT_LEADER)
        return;
    const struct check_entry *old = check_log_at(log, after->config_index - 1);
    const struct check_entry *begun = old ? check_log_at(log, old->config_at) : NULL;
    if (begun && check->configs.items[old->config].joint && !config->joint &&
        begun->term < after->hard_state.term)
        report_mark(&world->report, SIM_MARK_JOINT_INHERITED);
}

static void view_marks(struct world *world, struct node *node, const struct check_view *before,
                       const struct check_view *after)
{
    struct report *report = &world->report;
    if (after->role == RAFT_LEADER &&
        (before->role != RAFT_LEADER || before->hard_state.term != after->hard_state.term)) {
        node->session_clock_us = node->now_us;
        clock_update(world, node);
    }
    if (after->role == RAFT_LEADER && before->role != RAFT_LEADER) {
        report_mark(report, SIM_MARK_LEADER);
        const struct check_node *at = &world->check.nodes[world_index(world, node)];
        uint64_t last = at->memory.count;
        while (last > 0 && at->memory.entries[last - 1].term == after->hard_state.term)
            last--;
        if (last > world->check.oracle.count)
            report_mark(report, SIM_MARK_OLD_TERM_AT_LEADER);
        for (uint32_t i = 0; i < world->node_count; i++) {
            if (&world->nodes[i] != node && world->nodes[i].up &&
                world->check.nodes[i].view.role == RAFT_LEADER) {
                report_mark(report, SIM_MARK_TWO_LEADERS);
                clients_tempt(world, i);
            }
        }
    }
    if (before->role == RAFT_CANDIDATE && after->role != RAFT_LEADER &&
        after->hard_state.term >= before->hard_state.term && after->role != RAFT_CANDIDATE)
        report_mark(report, SIM_MARK_SPLIT_VOTE);
}

/* True if the leader said in this step that the peer's log differs. */
static bool output_rejected(const struct node *node, raft_node_id peer)
{
    for (uint32_t i = 0; i < node->output.trace.count; i++) {
        const struct raft_trace *trace = &node->output.trace.items[i];
        if (trace->type == RAFT_TRACE_REJECTED && trace->a == peer)
            return true;
    }
    return false;
}

static void node_check_leader(struct world *world, struct node *node)
{
    uint32_t index = world_index(world, node);
    check_uncommitted(&world->check, index);
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct raft_peer_view peer;
        if (i == index || world->nodes[i].blank ||
            !raft_peer_view(node->raft, world->ids[i], &peer))
            continue;
        const struct check_node *at = &world->check.nodes[index];
        if (peer.needs_snapshot && !at->peers[i].needs_snapshot)
            report_mark(&world->report, SIM_MARK_NEEDS_SNAPSHOT);
        if (at->view.base.index > at->base_before && peer.match < at->snapshot_told &&
            peer.match >= at->view.base.index)
            report_mark(&world->report, SIM_MARK_NEEDS_NONE);
        check_belief(&world->check, index, i, &peer);
        check_peer_view(&world->check, index, i, &peer, output_rejected(node, world->ids[i]),
                        node->now_us);
    }
}

static void node_check(struct world *world, struct node *node, const struct check_view *after)
{
    uint32_t index = world_index(world, node);
    struct check_view before = world->check.nodes[index].view;
    bool leading = before.role == RAFT_LEADER && after->role == RAFT_LEADER &&
                   before.hard_state.term == after->hard_state.term;
    if (node->output.install.index > 0)
        install_marks(world, node);
    check_persist(&world->check, index, &node->output.persist,
                  output_traces(node, RAFT_TRACE_TRUNCATE), leading);
    if (world->check.failed)
        return;
    if (before.base.index < after->base.index && node->output.persist.anew.index == 0)
        report_mark(&world->report, SIM_MARK_CUT);
    check_step(&world->check, index, after);
    if (output_traces(node, RAFT_TRACE_CONFIG) > 0 || after->config_index != before.config_index)
        check_configuration(&world->check, index, raft_configuration(node->raft, NULL));
    for (uint32_t i = 0; i < node->output.trace.count; i++) {
        const struct raft_trace *trace = &node->output.trace.items[i];
        if (trace->type == RAFT_TRACE_REMOVED)
            check_removed(&world->check, index, trace->a);
    }
    check_followed(&world->check, index, raft_leader(node->raft));
    check_entries(&world->check, index, raft_entries(node->raft));
    if (after->role == RAFT_LEADER)
        node_check_leader(world, node);
    view_marks(world, node, &before, after);
    if (after->config_index != before.config_index || before.role != after->role)
        member_marks(world, node, &before, after);
}

static void node_check_says(struct world *world, struct node *node)
{
    uint32_t index = world_index(world, node);
    const struct check_own own = {
        .incarnation = node->options.incarnation,
        .life = node->life,
        .promise_us = node->options.leases ? node->options.election_timeout_us : 0,
        .priority = node->options.priority,
        .leader = raft_leader(node->raft),
    };
    check_says(&world->check, index, &own, &node->output.send_now);
    check_says(&world->check, index, &own, &node->output.persist.send_after);
    check_heed(&world->check, index, &own, &node->output);
    check_lead(&world->check, index, &own, &node->output);
    check_stand(&world->check, index, &node->output);
    check_said(&world->check, index);
}

void node_carry_out(struct world *world, struct node *node, uint32_t event_count)
{
    struct raft_output *output = &node->output;
    uint32_t index = world_index(world, node);
    output_trace(world, node);
    struct check_view view = node_view(world, node);
    report_event(
        &world->report,
        (struct record){.at_us = world->now_us,
                        .kind = RECORD_STEP,
                        .node = index,
                        .v = {view.role, view.hard_state.term, view.commit, view.last.term,
                              view.last.index, view.durable.index, view.applied, event_count}});
    node_check(world, node, &view);
    node_check_says(world, node);
    for (uint32_t i = 0; i < output->send_now.count && !world->check.failed; i++) {
        network_send(world, node, output->send_now.items[i]);
        output->send_now.items[i] = NULL;
    }
    check_sent(&world->check, index);
    if (world->check.failed)
        return;
    fetches_begin(world, node);
    if (world->check.failed)
        return;
    output_install(world, node);
    output_apply(world, node);
    output_persist(world, node);
    output_refused(world, node);
    output_transfers(world, node);
    output_reads(world, node);
}
