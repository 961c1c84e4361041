#include "tests/sim/world.h"

#include "base/list.h"
#include "machine/reply.h"
#include "tests/sim/storage.h"

/* What the disk and the state machine of a node do: one batch each under way, and the report of it
 * to the core some time later. */

void node_disk_begin(struct world *world, struct node *node)
{
    if (node->disk_busy)
        return;
    uint32_t max = world_draw(world, 0, 3) == 0 ? 1 : UINT32_MAX;
    uint32_t count = disk_begin(node->disk, max);
    if (count == 0)
        return;
    if (count > 1)
        report_mark(&world->report, SIM_MARK_BATCHED_SYNC);
    node->disk_busy = true;
    uint64_t delay = world_draw(world, world->knobs.disk_us_min, world->knobs.disk_us_max);
    if (world_fault(world, SIM_FAULT_SLOW_DISK))
        delay += world_draw(world, 0, world->knobs.spike_us_max);
    faults_disk_begun(world, node, delay);
    world_push(world, delay,
               (struct sim_event){.kind = SIM_SYNCED,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void node_machine_begin(struct world *world, struct node *node)
{
    if (node->machine_busy)
        return;
    /* The one that is being written is of the state that goes. */
    if (machine_next_install(node->machine).index > 0 && node->snapshots.taking)
        return;
    uint32_t max = world_draw(world, 0, 1) == 0 ? 1 : UINT32_MAX;
    uint32_t count = machine_begin(node->machine, max);
    if (count == 0)
        return;
    if (count > 1)
        report_mark(&world->report, SIM_MARK_APPLY_BATCHED);
    node->machine_busy = true;
    uint64_t delay = world_draw(world, world->knobs.machine_us_min, world->knobs.machine_us_max);
    if (world_fault(world, SIM_FAULT_SLOW_MACHINE))
        delay += world_draw(world, 0, world->knobs.spike_us_max);
    world_push(world, delay,
               (struct sim_event){.kind = SIM_MACHINE,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

struct node_at {
    struct world *world;
    struct node *node;
    struct raft_id last; /* of the last persist made durable */
    uint64_t seq;
};

static void persist_durable(void *arg, struct raft_persist *persist)
{
    struct node_at *at = arg;
    uint32_t index = world_index(at->world, at->node);
    check_durable(&at->world->check, index, persist);
    report_event(&at->world->report,
                 (struct record){.at_us = at->world->now_us,
                                 .kind = RECORD_SYNCED,
                                 .node = index,
                                 .v = {persist->seq, persist->last.term, persist->last.index}});
    for (uint32_t i = 0; i < persist->send_after.count; i++)
        network_send(at->world, at->node, persist->send_after.items[i]);
    persist->send_after.count = 0;
    at->last = persist->last;
    at->seq = persist->seq;
}

/* As actors/log_writer.c: it tries again and again, and one day somebody has freed some space. */
static void wait_for_room(struct world *world, struct node *node)
{
    if (!node->disk_waits)
        report_mark(&world->report, SIM_MARK_DISK_WAITS);
    node->disk_waits = true;
    if (world_draw(world, 0, 3) == 0)
        storage_empty(disk_storage(node->disk));
    world_push(world, world_draw(world, 1, world->knobs.raft.election_timeout_us),
               (struct sim_event){.kind = SIM_SYNCED,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

/* The log-writer reports once for the whole batch, a little later, in order. */
void node_synced(struct world *world, struct node *node)
{
    struct node_at at = {.world = world, .node = node};
    bool real = disk_storage(node->disk) != NULL;
    bool fails = real && world_fault(world, SIM_FAULT_BAD_SYNC);
    struct conclave_error error;
    int code = disk_complete(node->disk, fails, persist_durable, &at, &error);
    if (code == CONCLAVE_NO_SPACE && storage_waits(disk_storage(node->disk))) {
        wait_for_room(world, node);
        return;
    }
    node->disk_waits = false;
    if (code != CONCLAVE_OK) { /* Rule 6: never again; what is on disk is seen at the next start */
        report_mark(&world->report, SIM_MARK_DISK_STOPPED);
        node_crash(world, node);
        faults_restart(world, node);
        return;
    }
    if (real)
        report_mark(&world->report, SIM_MARK_REAL_SYNC);
    node->disk_busy = false;
    uint64_t when = world->now_us + world_draw(world, 0, world->knobs.disk_us_max);
    if (when < node->persisted_at_us)
        when = node->persisted_at_us;
    node->persisted_at_us = when;
    world_push(world, when - world->now_us,
               (struct sim_event){.kind = SIM_PERSISTED,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation,
                                  .a = at.seq,
                                  .b = at.last.term,
                                  .c = at.last.index});
    node_disk_begin(world, node);
}

static void entry_applied(void *arg, const struct raft_entry *entry,
                          const struct conclave_reply_sink *reply)
{
    struct node_at *at = arg;
    snapshots_note(at->node, entry);
    check_machine_entry(at->world, at->node, entry, reply);
    if (at->world->check.failed)
        return;
    if (operator_origin(entry->origin))
        operator_answer(at->world, at->node, entry->origin.request, CONCLAVE_OK, entry->id.index);
    else if (reply && entry->origin.request)
        clients_answer(at->world, at->node, entry->origin.request, entry->id.index, reply);
}

void node_add_read(struct node *node, struct node_read read)
{
    LIST_RESERVE(&node->reads);
    node->reads.items[node->reads.count++] = read;
}

static void answer_read(struct world *world, struct node *node, const struct node_read *read)
{
    if (hubs_read(read->op)) {
        hubs_confirmed(world, node, read->op);
        return;
    }
    const struct op *op = &world->ops.items[read->op];
    /* Rule 41: looked at after it was executed, which may have been long after. */
    if (read->valid_until_us > 0 && node_clock(world, node) >= read->valid_until_us) {
        report_mark(&world->report, SIM_MARK_LEASE_ENDED);
        check_read_arrives(&world->check, read->op, world_index(world, node));
        node_give(world, node, (struct raft_event){.type = RAFT_EVENT_READ, .read = read->op});
        return;
    }
    if (read->valid_until_us > 0)
        report_mark(&world->report, SIM_MARK_READ_LEASE);
    if (op->max_age_us && node_clock(world, node) - read->fresh_us > op->max_age_us) {
        report_mark(&world->report, SIM_MARK_STALE_REFUSED);
        clients_refuse(world, node, read->op, CONCLAVE_STALE);
        return;
    }
    struct buf *query = query_encode(op);
    const struct conclave_reply_sink *told =
        store_query(machine_store(node->machine), (struct slice){query->data, query->bytes});
    buf_unref(query);
    clients_answer(world, node, read->op, machine_applied(node->machine), told);
}

void node_answer_reads(struct world *world, struct node *node)
{
    uint64_t applied = machine_applied(node->machine);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->reads.count; i++) {
        struct node_read read = node->reads.items[i];
        if (read.index > applied)
            node->reads.items[kept++] = read;
        else
            answer_read(world, node, &read);
    }
    node->reads.count = kept;
    ahead_run(world, node);
}

static void apply_batch(struct world *world, struct node *node, struct node_at *at)
{
    if (world_fault(world, SIM_FAULT_FULL_STORE))
        machine_fill(node->machine);
    machine_complete(node->machine, entry_applied, at);
    if (!world->check.failed && knobs_chance(&world->prng, world->knobs.sync_chance))
        machine_sync(node->machine);
}

/* As actors/machine_open.c: from the beginning, again and again. */
static void install_again(struct world *world, struct node *node)
{
    world_push(world, world_draw(world, 1, world->knobs.raft.election_timeout_us),
               (struct sim_event){.kind = SIM_MACHINE,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void node_applied(struct world *world, struct node *node)
{
    struct node_at at = {.world = world, .node = node};
    struct raft_id install = machine_next_install(node->machine);
    if (install.index == 0)
        apply_batch(world, node, &at);
    else if (!snapshots_install(world, node, install) && !world->check.failed)
        install_again(world, node);
    if (world->check.failed || node->install_waits)
        return;
    node->machine_busy = false;
    if (world->knobs.real_machine)
        report_mark(&world->report, SIM_MARK_REAL_APPLY);
    if (world->knobs.twin_machine)
        report_mark(&world->report, SIM_MARK_TWIN_APPLY);
    if (!world->check.failed)
        check_machine_state(world, node);
    audit_applied(world, node);
    if (!node->up)
        return; /* it differs */
    clock_update(world, node);
    hubs_node_applied(world, node);
    node_answer_reads(world, node);
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_APPLIED,
                                                 .node = world_index(world, node),
                                                 .v = {machine_applied(node->machine),
                                                       machine_hash(node->machine)}});
    uint64_t when = world->now_us + world_draw(world, 0, world->knobs.machine_us_max);
    if (when < node->applied_at_us)
        when = node->applied_at_us;
    node->applied_at_us = when;
    world_push(world, when - world->now_us,
               (struct sim_event){.kind = SIM_APPLIED,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation,
                                  .a = machine_applied(node->machine)});
    snapshots_take(world, node);
    node_machine_begin(world, node);
}
