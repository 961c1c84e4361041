#include "tests/sim/node_internal.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>
#include <string.h>

enum { OVERDUE_MAX = 100 }; /* steps in a row that leave a deadline in the past: it spins */

/* --- Clock ------------------------------------------------------------------------------------ */

/* Another zero, and fast or slow by up to a fifth. */
uint64_t node_clock(const struct world *world, const struct node *node)
{
    uint64_t elapsed = (uint64_t)((double)world->now_us * ((double)node->clock_rate / 1e6));
    return elapsed + (uint64_t)node->clock_offset_us;
}

uint64_t node_world_time(const struct node *node, uint64_t local)
{
    uint64_t offset = (uint64_t)node->clock_offset_us;
    if (local <= offset)
        return 0;
    return (uint64_t)((double)(local - offset) * (1e6 / (double)node->clock_rate)) + 2;
}

uint64_t node_world_before(const struct node *node, uint64_t local)
{
    uint64_t after = node_world_time(node, local);
    return after > 4 ? after - 4 : 0;
}

/* --- Inbox ------------------------------------------------------------------------------------ */

void node_wake(struct world *world, struct node *node, uint64_t delay_us)
{
    if (node->wake_queued)
        return;
    node->wake_queued = true;
    world_push(world, delay_us,
               (struct sim_event){.kind = SIM_WAKE,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void node_give(struct world *world, struct node *node, struct raft_event event)
{
    ASSERT(node->up);
    LIST_RESERVE(&node->inbox);
    node->inbox.items[node->inbox.count++] = event;
    node_wake(world, node, world_draw(world, 0, world->knobs.wake_us_max));
}

void node_drop_event(struct raft_event *event)
{
    if (event->type == RAFT_EVENT_RECEIVE)
        raft_message_destroy(event->receive);
    else if (event->type == RAFT_EVENT_PROPOSE)
        raft_batch_unref(event->propose);
    else if (event->type == RAFT_EVENT_CHANGE)
        free(event->change);
    else if (event->type == RAFT_EVENT_SNAPSHOT_RECEIVED)
        buf_unref(event->snapshot_received.configuration);
    else if (event->type == RAFT_EVENT_FETCHED)
        raft_runs_clear(&event->fetched.entries);
}

/* What the core is about to hear of peers and of snapshots. Returns the index of one that was
 * received. */
static uint64_t node_note_events(struct world *world, struct node *node,
                                 const struct raft_event *events, uint32_t count)
{
    uint64_t received = 0;
    check_events(&world->check, world_index(world, node), raft_leader(node->raft), node->asked_us,
                 events, count);
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].type == RAFT_EVENT_SNAPSHOT_TAKEN)
            check_snapshot_told(&world->check, world_index(world, node),
                                events[i].snapshot_taken.index);
        if (events[i].type != RAFT_EVENT_SNAPSHOT_RECEIVED)
            continue;
        received = events[i].snapshot_received.last.index;
        node->snapshots.handed = true;
    }
    return received;
}

/* The timer was early, and nothing came: whatever the core does now it should have asked to be
 * woken for. Only what it looks at whenever it is awake (a better node, for the sake of priority)
 * may come of it. */
static void check_early(struct world *world, const struct node *node, uint64_t commit)
{
    const struct raft_output *output = &node->output;
    const struct check_view *before = &world->check.nodes[world_index(world, node)].view;
    for (uint32_t i = 0; i < output->trace.count; i++)
        if (output->trace.items[i].type == RAFT_TRACE_TRANSFER)
            return;
    if (output->send_now.count > 0 || output->persist.seq != 0 || output->apply.count > 0 ||
        output->refused.count > 0 || output->reads.count > 0 || output->transfers.count > 0 ||
        raft_commit(node->raft) != commit || raft_role(node->raft) != before->role)
        check_fail(&world->check, "nothing is done before the deadline",
                   "n%u asked to be woken at %lu us of its clock and has something to do at %lu us",
                   world_index(world, node) + 1, (unsigned long)node->asked_us,
                   (unsigned long)node->now_us);
}

void node_step(struct world *world, struct node *node, struct raft_event *events, uint32_t count)
{
    node->now_us = node_clock(world, node);
    world->steps++;
    uint64_t commit = raft_commit(node->raft);
    uint64_t received = node_note_events(world, node, events, count);
    int code = raft_step(node->raft, node->now_us, events, count, &node->output);
    if (code != CONCLAVE_OK) {
        check_fail(&world->check, "the core goes on", "n%u stops with %s: %s",
                   world_index(world, node) + 1, conclave_code_name(code),
                   node->output.error.message);
        return;
    }
    if (count == 1 && events[0].type == RAFT_EVENT_TIMEOUT && node->now_us < node->asked_us)
        check_early(world, node, commit);
    node->asked_us = node->output.deadline_us;
    if (received > commit && raft_commit(node->raft) >= received && node->output.install.index == 0)
        report_mark(&world->report, SIM_MARK_INSTALL_KEPT);
    node_carry_out(world, node, count);
    if (world->check.failed)
        return;
    node->overdue = node->output.deadline_us <= node->now_us ? node->overdue + 1 : 0;
    if (node->overdue > OVERDUE_MAX)
        check_fail(&world->check, "deadlines lie ahead",
                   "n%u has asked %u times in a row to be woken at once",
                   world_index(world, node) + 1, node->overdue);
    check_deadline(&world->check, world_index(world, node), node->output.deadline_us);
    timer_set(world, node, node->output.deadline_us);
    raft_output_clear(&node->output);
    streams_update(world, node);
}

static void node_insert(struct node *node, uint32_t at, struct raft_event event)
{
    LIST_RESERVE(&node->inbox);
    struct raft_event *items = node->inbox.items;
    memmove(items + at + 1, items + at, (node->inbox.count - at) * sizeof *items);
    items[at] = event;
    node->inbox.count++;
}

/* The host wakes the core for it only if it waits for nothing else. */
static void node_persisted(struct world *world, struct node *node, struct raft_event event)
{
    if (world->knobs.lazy_disk && node->inbox.count == 0 && !raft_awaits_disk(node->raft)) {
        node->persisted = event;
        report_mark(&world->report, SIM_MARK_DISK_UNHURRIED);
        return;
    }
    node->persisted = (struct raft_event){0}; /* this one stands for it */
    node_give(world, node, event);
}

/* Tells what was held, by itself or with what has come: then nothing happens but by the clock. */
static void node_tell_persisted(struct world *world, struct node *node)
{
    struct raft_event event = node->persisted;
    node->persisted = (struct raft_event){0};
    if (world_draw(world, 0, 1) == 0) {
        node_insert(node, 0, event);
        return;
    }
    const struct check_node *at = &world->check.nodes[world_index(world, node)];
    struct check_view before = at->view;
    uint64_t handed = at->apply_handed;
    node_step(world, node, &event, 1);
    if (!world->check.failed)
        check_told_late(&world->check, world_index(world, node), &before, handed);
}

/* Drains the inbox into one step. A timeout that is due goes first or last: messages and the timer
 * race in a real node too. */
static void node_drain(struct world *world, struct node *node)
{
    node->wake_queued = false;
    if (node->timer_due) {
        node->timer_due = false;
        uint32_t at = world_draw(world, 0, 1) == 0 ? 0 : node->inbox.count;
        node_insert(node, at, (struct raft_event){.type = RAFT_EVENT_TIMEOUT});
    }
    if (node->persisted.type)
        node_tell_persisted(world, node);
    if (!node->up || world->check.failed)
        return;
    uint32_t count = node->inbox.count;
    if (count > world->knobs.wake_events_max)
        count = (uint32_t)world_draw(world, 1, world->knobs.wake_events_max);
    if (count == 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        node->reads_in_core += node->inbox.items[i].type == RAFT_EVENT_READ ||
                               node->inbox.items[i].type == RAFT_EVENT_READ_LEASE;
    node_step(world, node, node->inbox.items, count);
    node->inbox.count -= count;
    memmove(node->inbox.items, node->inbox.items + count,
            node->inbox.count * sizeof *node->inbox.items);
    if (node->inbox.count > 0 && node->up)
        node_wake(world, node, world_draw(world, 0, world->knobs.wake_us_max));
}

/* --- Events ----------------------------------------------------------------------------------- */

void node_event(struct world *world, struct node *node, const struct sim_event *event)
{
    if (!node->up || node->incarnation != event->incarnation)
        return;
    if (node->paused_until_us > world->now_us) {
        if (event->kind ==
            SIM_TIMER) /* or it would still count as queued if the pause is cut short */
            node->timer.look_us = node->paused_until_us;
        world_push(world, node->paused_until_us - world->now_us, *event);
        return;
    }
    switch (event->kind) {
    case SIM_WAKE:
        node_drain(world, node);
        break;
    case SIM_TIMER:
        timer_look(world, node);
        break;
    case SIM_FIRED:
        timer_fired(world, node, event->a);
        break;
    case SIM_SYNCED:
        node_synced(world, node);
        break;
    case SIM_PERSISTED:
        /* A pause may have brought completions out of order: the later one stands for both. */
        if (event->a <= node->persisted_seq)
            break;
        node->persisted_seq = event->a;
        node_persisted(
            world, node,
            (struct raft_event){
                .type = RAFT_EVENT_PERSISTED,
                .persisted = {.seq = event->a, .last = {.term = event->b, .index = event->c}}});
        break;
    case SIM_MACHINE:
        node_applied(world, node);
        break;
    case SIM_APPLIED:
        if (event->a <= node->applied_index)
            break;
        node->applied_index = event->a;
        node_give(world, node,
                  (struct raft_event){.type = RAFT_EVENT_APPLIED, .applied = event->a});
        break;
    case SIM_FETCHED:
        fetches_event(world, node, event->a);
        break;
    case SIM_SNAPSHOT:
        snapshots_taken(world, node);
        break;
    case SIM_STREAM:
        streams_event(world, node);
        break;
    default:
        break;
    }
}
