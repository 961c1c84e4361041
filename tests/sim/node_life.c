/* The lives of a node: what it starts with, and what is left of it when it dies. */
#include "tests/sim/node_internal.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

static void start_marks(struct report *report, const struct disk_found *found)
{
    if (found->crash.lost_count > 0)
        report_mark(report, SIM_MARK_PERSIST_LOST);
    if (found->crash.partial)
        report_mark(report, SIM_MARK_PERSIST_PARTIAL);
    if (found->crash.hard_state_ahead)
        report_mark(report, SIM_MARK_HARD_STATE_AHEAD);
    if (found->cut_bytes > 0)
        report_mark(report, SIM_MARK_REAL_CUT);
}

/* What the node starts with; false: it does not start now. A log that is damaged where it had been
 * attested is refused, and untouched; no other is. */
static bool node_recover(struct world *world, struct node *node, struct disk_found *ret)
{
    uint32_t index = world_index(world, node);
    struct storage *storage = disk_storage(node->disk);
    if (storage && node->incarnation > 0 && world_fault(world, SIM_FAULT_DAMAGED_VOTE) &&
        storage_damage_vote(storage))
        report_mark(&world->report, SIM_MARK_VOTE_DAMAGED);
    bool interrupted = storage && !node->damaged && world_fault(world, SIM_FAULT_BAD_START);
    struct conclave_error error;
    enum disk_start started = disk_recover(node->disk, interrupted, ret, &error);
    if (started == DISK_FAILED) {
        report_mark(&world->report, SIM_MARK_START_FAILED);
        faults_restart(world, node);
    } else if (started == DISK_WRONG || (started == DISK_REFUSED && !node->damaged)) {
        check_fail(&world->check, "a start finds what was synced", "n%u: %s", index + 1,
                   error.message);
    } else if (node->damaged && !node->half_mended &&
               (started == DISK_STARTED || !storage_untouched(storage))) {
        check_fail(&world->check, "damage is found and left alone", "n%u %s", index + 1,
                   started == DISK_STARTED ? "starts with a damaged log" : "changes a damaged log");
        if (started == DISK_STARTED)
            raft_runs_clear(&ret->entries);
    } else if (started == DISK_REFUSED) {
        report_mark(&world->report, SIM_MARK_REFUSED);
        if (storage_is_unreadable(storage))
            report_mark(&world->report, SIM_MARK_UNREADABLE);
        if (storage_is_misdirected(storage))
            report_mark(&world->report, SIM_MARK_MISDIRECTED);
        repair_begin(world, node);
    } else {
        node->damaged = node->scattered = node->half_mended = false;
        node->wants = (struct wal_want){0};
        if (storage)
            report_mark(&world->report, SIM_MARK_REAL_START);
        start_marks(&world->report, ret);
        return true;
    }
    return false;
}

static bool node_open_machine(struct world *world, struct node *node)
{
    struct conclave_error error;
    if (!machine_start(node->machine, &error)) {
        check_fail(&world->check, "a store is kept or begun anew", "n%u: %s",
                   world_index(world, node) + 1, error.message);
        return false;
    }
    check_machine_state(world, node);
    node->start_applied = machine_applied(node->machine);
    if (world->knobs.real_machine && node->incarnation > 0)
        report_mark(&world->report,
                    node->start_applied > 0 ? SIM_MARK_REAL_STORE_KEPT : SIM_MARK_REAL_STORE_RESET);
    return true;
}

void node_start(struct world *world, struct node *node)
{
    ASSERT(!node->up);
    uint32_t index = world_index(world, node);
    struct disk_found found;
    if (!node->exists || node->gone || node->stopped || node->refused || node->repairing ||
        !node_recover(world, node, &found))
        return;
    if (!node_open_machine(world, node)) {
        raft_runs_clear(&found.entries);
        return;
    }
    struct raft_snapshot snapshot = {0};
    if (!snapshots_start(world, node, &found, &snapshot)) {
        raft_runs_clear(&found.entries);
        return;
    }
    struct raft_event start = {.type = RAFT_EVENT_START,
                               .start = {.hard_state = found.hard_state,
                                         .base = found.base,
                                         .entries = found.entries,
                                         .snapshot = snapshot}};
    start.start.applied_index = node->start_applied;
    start.start.members = node->joined;
    check_life(&world->check, index, node->life, found.life);
    start.start.life = node->life = found.life;
    node->up = true;
    node->incarnation++;
    node->options.seed = prng_next(&world->prng);
    node->raft = raft_create(&node->options);
    timer_begin(node);
    node->asked_us = 0;
    struct raft_id last =
        found.entries.entry_count > 0 ? raft_runs_last(&found.entries) : found.base;
    if (found.base.index > 0)
        report_mark(&world->report, SIM_MARK_START_BEHIND_BASE);
    report_event(&world->report,
                 (struct record){.at_us = world->now_us,
                                 .kind = RECORD_START,
                                 .node = index,
                                 .v = {node->incarnation, start.start.hard_state.term,
                                       start.start.hard_state.vote, last.term, last.index,
                                       start.start.applied_index}});
    if (start.start.applied_index < last.index && node->incarnation > 1)
        report_mark(&world->report, SIM_MARK_RESTART_UNAPPLIED);
    check_start(&world->check, index, node->incarnation, start.start.hard_state, found.base,
                &start.start.entries, start.start.applied_index);
    node->clock_at_us = node->due_ms = UINT64_MAX;
    hubs_node_started(world, node);
    node_step(world, node, &start, 1);
    if (machine_next_install(node->machine).index > 0)
        node_machine_begin(world, node);
    if (node->up && world->knobs.raft.apply_delay_us &&
        world_draw(world, 0, 999) < world->knobs.watched_chance)
        node_give(world, node, (struct raft_event){.type = RAFT_EVENT_WATCHED, .watched = true});
    audit_start(world, node);
}

static void node_forget(struct node *node)
{
    for (uint32_t i = 0; i < node->inbox.count; i++)
        node_drop_event(&node->inbox.items[i]);
    node->inbox.count = 0;
    hubs_node_forgotten(node);
    node->reads.count = 0;
    ahead_forget(node);
    node->reads_in_core = 0;
    node->fetches.count = 0;
    node->fresh_us = node->fresh_index = 0;
    node->disk_busy = node->disk_waits = node->machine_busy = false;
    node->install_waited |= node->install_waits;
    node->install_waits = false;
    node->wake_queued = node->timer_due = false;
    node->persisted_at_us = node->applied_at_us = 0;
    node->persisted_seq = node->applied_index = 0;
    node->persisted = (struct raft_event){0};
    memset(node->known, 0, sizeof node->known);
    if (node->raft)
        raft_destroy(node->raft);
    node->raft = NULL;
    node->up = false;
}

void node_crash(struct world *world, struct node *node)
{
    struct report *report = &world->report;
    uint32_t index = world_index(world, node);
    if (world->check.nodes[index].view.role == RAFT_LEADER)
        report_mark(report, SIM_MARK_LEADER_CRASHED);
    snapshots_crash(world, node);
    bool power = disk_crash(node->disk, &world->prng);
    if (!power)
        report_mark(report, SIM_MARK_REAL_KILLED);
    bool reset = knobs_chance(&world->prng, world->knobs.reset_chance);
    bool files = world->knobs.real_machine || world->knobs.twin_machine;
    if (files && disk_storage(node->disk) && power)
        reset = true; /* one machine: what it kept in memory alone is gone */
    bool held = machine_applied(node->machine) > 0;
    if (!machine_crash(node->machine, reset) && reset) {
        report_mark(report, SIM_MARK_MACHINE_SYNCED);
        reset = false;
    }
    if (reset && held)
        report_mark(report, SIM_MARK_MACHINE_RESET);
    node->altered &= !reset;
    report_event(report, (struct record){.at_us = world->now_us,
                                         .kind = RECORD_CRASH,
                                         .node = index,

                                         .v = {power, !reset}});
    clients_node_crashed(world, node);
    operator_node_crashed(world, node);
    world->check.nodes[index].view = (struct check_view){0};
    node->paused_until_us = 0;
    node_forget(node);
}

void node_deinit(struct node *node)
{
    node_forget(node);
    if (node->exists) {
        snapshots_deinit(node);
        disk_destroy(node->disk);
        machine_destroy(node->machine);
    }
    free(node->joined);
    free(node->audit);
    raft_output_deinit(&node->output);
    free(node->inbox.items);
    free(node->reads.items);
    free(node->fetches.items);
    ahead_forget(node);
    free(node->ahead.items);
}
