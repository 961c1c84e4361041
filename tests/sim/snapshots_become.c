/* A node becomes a snapshot: one that was received, or its own at a start. Without room for it it
 * waits, as actors/machine_open.c does, and a later one may overtake the one that waits. */
#include "tests/sim/world.h"

#include "base/fatal.h"

/* A disk without room stays so for a while. */
static void refuse(struct world *world, struct node *node)
{
    if (world->calm || world->knobs.chance[SIM_FAULT_FULL_STORE] == 0)
        return;
    bool full = node->install_waits
                    ? world_draw(world, 0, 29) > 0
                    : world_draw(world, 0, 2) == 0 && world_grant(world, SIM_FAULT_FULL_STORE);
    if (full)
        (void)machine_refuse(node->machine);
}

bool snapshots_become(struct world *world, struct node *node, struct raft_id id)
{
    struct snapshots *snapshots = &node->snapshots;
    struct conclave_error error;
    struct snapshot_meta meta = {0};
    struct buf *state = NULL;
    uint32_t index = world_index(world, node);
    uint64_t from = machine_applied(node->machine);
    int code = shelf_read(snapshots->shelf, id, &meta, &state, &error);
    if (code != CONCLAVE_OK) {
        check_fail(&world->check, "a snapshot that is needed can be read",
                   "n%u can not become the snapshot at %lu: %s", index + 1, (unsigned long)id.index,
                   error.message);
        return false;
    }
    refuse(world, node);
    code = machine_restore(node->machine, id.index, (struct slice){state->data, state->bytes});
    if (code == CONCLAVE_NO_SPACE) {
        node->install_waits = true;
        snapshot_meta_clear(&meta);
        buf_unref(state);
        return false;
    }
    if (node->install_waits || node->install_waited)
        report_mark(&world->report,
                    node->install_waited ? SIM_MARK_INSTALL_WAITED_START : SIM_MARK_INSTALL_WAITED);
    node->install_waits = node->install_waited = false;
    if (node->altered)
        report_mark(&world->report, SIM_MARK_ALTERED_RESTORED);
    node->was_altered |= node->altered;
    node->altered = false; /* none is taken of an altered one */
    if (code != CONCLAVE_OK)
        check_fail(&world->check, "a snapshot that is needed can be read",
                   "n%u can not become the snapshot at %lu: %s", index + 1, (unsigned long)id.index,
                   conclave_code_name(code));
    buf_unref(state);
    buf_unref(snapshots->configuration);
    snapshots->configuration = meta.configuration;
    snapshots->configuration_index = meta.configuration_index;
    snapshot_meta_clear(&snapshots->ahead);
    snapshots->applied = id;
    snapshots->entries = 0;
    if (world->check.failed)
        return false;
    check_restored(&world->check, index, from, id.index);
    if (!world->check.failed)
        check_machine_state(world, node); /* the state is that of its index */
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_RESTORED,
                                                 .node = index,
                                                 .v = {id.term, id.index}});
    return !world->check.failed;
}

struct node_dropping {
    struct world *world;
    struct node *node;
};

static void entry_dropped(void *arg, const struct raft_entry *entry)
{
    struct node_dropping *at = arg;
    if (operator_origin(entry->origin))
        operator_answer(at->world, at->node, entry->origin.request, CONCLAVE_UNKNOWN,
                        entry->id.index);
    else if (entry->origin.request)
        clients_refuse(at->world, at->node, entry->origin.request, CONCLAVE_UNKNOWN);
}

bool snapshots_install(struct world *world, struct node *node, struct raft_id id)
{
    ASSERT(!node->snapshots.taking);
    struct node_dropping dropping = {world, node};
    if (node->install_waits && machine_overtake(node->machine, entry_dropped, &dropping)) {
        report_mark(&world->report, SIM_MARK_INSTALL_WAITED_OVER);
        id = machine_next_install(node->machine);
    }
    if (!snapshots_become(world, node, id))
        return false;
    report_mark(&world->report, SIM_MARK_INSTALLED);
    watches_installed(world, node);
    return true;
}
