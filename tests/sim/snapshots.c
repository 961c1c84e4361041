#include "tests/sim/world.h"

#include "base/fatal.h"

enum { DOOM_OPERATIONS = 12 }; /* more than a snapshot's own, so that some get through */

void snapshots_init(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    struct storage *storage = disk_storage(node->disk);
    snapshots->shelf =
        shelf_create(storage ? storage_io(storage) : NULL, storage_dir(), &node->identity);
    snapshots->sender.limits = world->knobs.flow;
    snapshots->stream_at_us = UINT64_MAX;
}

static void forget(struct snapshots *snapshots)
{
    buf_unref(snapshots->configuration);
    snapshots->configuration = NULL;
    snapshots->configuration_index = 0;
    snapshots->applied = (struct raft_id){0};
    snapshots->entries = 0;
    snapshots->newest = snapshots->damaged = (struct raft_id){0};
    snapshots->asked_us = 0;
    snapshot_meta_clear(&snapshots->ahead);
    snapshots->taking = snapshots->wanted = false;
    snapshot_meta_clear(&snapshots->taken);
    buf_unref(snapshots->state);
    snapshots->state = NULL;
}

void snapshots_deinit(struct node *node)
{
    forget(&node->snapshots);
    for (uint32_t i = 0; i < CONCLAVE_MEMBERS_MAX; i++)
        shelf_source_close(&node->snapshots.sources[i]);
    shelf_destroy(node->snapshots.shelf);
}

/* Some of the crashes that wait for a moment come here. */
static bool doom(struct world *world, struct storage *storage, uint64_t operations)
{
    if (!world->crash_armed || world->calm || world_draw(world, 0, 2) > 0)
        return false;
    world->crash_armed = false;
    if (!world_grant(world, SIM_FAULT_CRASH))
        return false;
    storage_doom(storage, world_draw(world, 1, operations));
    return true;
}

bool snapshots_doom(struct world *world, struct node *node, uint64_t operations, uint64_t changes)
{
    struct storage *storage = disk_storage(node->disk);
    if (!storage)
        return false;
    bool fails = world_fault(world, SIM_FAULT_BAD_SYNC);
    if (fails && changes > 0)
        storage_fail_change(storage, world_draw(world, 1, changes));
    else if (fails)
        storage_fail(storage, world_draw(world, 1, operations));
    return doom(world, storage, operations);
}

/* The power is off, or on its way to be: the node dies. */
static void die(struct world *world, struct node *node)
{
    report_mark(&world->report, SIM_MARK_SNAPSHOT_CRASH);
    faults_crash(world, node);
}

static void record(struct world *world, const struct node *node, enum record_kind kind,
                   struct raft_id id, uint64_t more)
{
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = kind,
                                                 .node = world_index(world, node),
                                                 .v = {id.term, id.index, more}});
}

static struct raft_snapshot snapshot_of(const struct snapshot_meta *meta)
{
    return (struct raft_snapshot){.last = meta->last,
                                  .configuration_index = meta->configuration_index,
                                  .configuration = meta->configuration};
}

/* --- Taking ----------------------------------------------------------------------------------- */

void snapshots_note(struct node *node, const struct raft_entry *entry)
{
    struct snapshots *snapshots = &node->snapshots;
    snapshots->applied = entry->id;
    snapshots->entries++;
    if (entry->id.index == snapshots->ahead.last.index) {
        buf_unref(snapshots->configuration);
        snapshots->configuration = snapshots->ahead.configuration;
        snapshots->configuration_index = snapshots->ahead.configuration_index;
        snapshots->ahead = (struct snapshot_meta){0};
    }
    if (entry->kind != RAFT_ENTRY_CONFIG)
        return;
    buf_unref(snapshots->configuration);
    snapshots->configuration = buf_copy(entry->payload.data, entry->payload.bytes);
    snapshots->configuration_index = entry->id.index;
}

static void write_later(struct world *world, const struct node *node, uint64_t delay_us)
{
    world_push(world, delay_us,
               (struct sim_event){.kind = SIM_SNAPSHOT,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void snapshots_take(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    uint64_t every = world->knobs.snapshot_entries;
    bool due = snapshots->wanted || (every > 0 && snapshots->entries >= every);
    if (!due || node->install_waits)
        return;
    if (!snapshots->configuration || snapshots->applied.term == 0) {
        if (snapshots->ahead.last.index == 0)
            check_fail(&world->check, "a snapshot that is due can be taken",
                       "n%u does not know the configuration at %lu:%lu",
                       world_index(world, node) + 1, (unsigned long)snapshots->applied.term,
                       (unsigned long)snapshots->applied.index);
        return;
    }
    if (snapshots->taking) {
        report_mark(&world->report, SIM_MARK_SNAPSHOT_WAITS);
        return;
    }
    snapshots->taking = true;
    snapshots->wanted = false;
    snapshots->entries = 0;
    snapshots->taken = (struct snapshot_meta){.last = snapshots->applied,
                                              .configuration_index = snapshots->configuration_index,
                                              .configuration = buf_ref(snapshots->configuration)};
    snapshots->state = machine_snapshot(node->machine);
    if (!snapshots->state != node->altered)
        check_fail(&world->check, "no snapshot holds what was altered",
                   "n%u, which %s altered, %s one at %lu", world_index(world, node) + 1,
                   node->altered ? "is" : "is not", snapshots->state ? "takes" : "refuses",
                   (unsigned long)snapshots->applied.index);
    write_later(world, node,
                world_draw(world, world->knobs.disk_us_min, world->knobs.snapshot_us_max));
}

static int write_taken(struct snapshots *snapshots, struct conclave_error *error)
{
    return shelf_write(snapshots->shelf, &snapshots->taken,
                       (struct slice){snapshots->state->data, snapshots->state->bytes}, error);
}

void snapshots_taken(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    struct storage *storage = disk_storage(node->disk);
    struct conclave_error error;
    struct raft_id last = snapshots->taken.last;
    uint64_t told = node->applied_index;
    if (!snapshots->state) {
        audit_refused(world, node);
        return;
    }
    if ((told > node->start_applied ? told : node->start_applied) <
        last.index) { /* the core hears first that it was applied */
        write_later(world, node, 1);
        return;
    }
    bool doomed = snapshots_doom(world, node, DOOM_OPERATIONS, 0);
    int code = write_taken(snapshots, &error);
    if (storage)
        storage_fail(storage, 0);
    if (code == CONCLAVE_OK) {
        struct raft_snapshot snapshot = snapshot_of(&snapshots->taken);
        check_snapshot_durable(&world->check, world_index(world, node), &snapshot, true);
        check_snapshot_synced(&world->check, world_index(world, node), last,
                              shelf_is_synced(snapshots->shelf, last));
        report_mark(&world->report, SIM_MARK_SNAPSHOT_TAKEN);
    } else {
        report_mark(&world->report, SIM_MARK_SNAPSHOT_FAILED);
        snapshots->entries += world->knobs.snapshot_entries; /* what it was to hold is to come */
    }
    record(world, node, RECORD_SNAPSHOT, last, (uint64_t)code);
    snapshots->taking = false;
    snapshot_meta_clear(&snapshots->taken);
    buf_unref(snapshots->state);
    snapshots->state = NULL;
    if (world->check.failed)
        return;
    if (doomed) {
        die(world, node);
        return;
    }
    if (code == CONCLAVE_OK) {
        if (last.index < snapshots->newest.index)
            report_mark(&world->report, SIM_MARK_SNAPSHOT_OVERTAKEN);
        node_give(world, node,
                  (struct raft_event){.type = RAFT_EVENT_SNAPSHOT_TAKEN, .snapshot_taken = last});
        if (!snapshots_durable(world, node, last))
            return;
    }
    node_machine_begin(world, node); /* an install may have waited */
}

/* As actors/snapshot_actor.c: another one is in the damaged one's place. */
static int set_aside(struct world *world, struct snapshots *snapshots, struct raft_id id,
                     struct conclave_error *error)
{
    struct raft_id damaged = snapshots->damaged;
    if (damaged.index == 0 || id.index < damaged.index)
        return CONCLAVE_OK;
    snapshots->damaged = (struct raft_id){0};
    report_mark(&world->report, SIM_MARK_SNAPSHOT_REPLACED);
    if (raft_id_equal(id, damaged))
        return CONCLAVE_OK;
    return shelf_set_aside(snapshots->shelf, damaged, error);
}

bool snapshots_durable(struct world *world, struct node *node, struct raft_id id)
{
    struct snapshots *snapshots = &node->snapshots;
    struct storage *storage = disk_storage(node->disk);
    struct conclave_error error;
    if (id.index > snapshots->newest.index)
        snapshots->newest = id;
    struct raft_id before[2], after[2];
    bool damaged = snapshots->damaged.index > 0; /* and may be set aside */
    shelf_newest(snapshots->shelf, before);
    bool doomed = snapshots_doom(world, node, DOOM_OPERATIONS, 0);
    uint64_t oldest = 0, needed = machine_awaited_install(node->machine).index;
    int code = set_aside(world, snapshots, id, &error);
    if (code == CONCLAVE_OK)
        code = shelf_prune(snapshots->shelf, needed, &oldest, &error);
    if (storage)
        storage_fail(storage, 0);
    if (code == CONCLAVE_OK && !doomed && !damaged) {
        shelf_newest(snapshots->shelf, after);
        check_snapshots_pruned(&world->check, world_index(world, node), before, after, oldest,
                               needed);
    }
    if (node->raft && oldest > raft_base(node->raft).index) /* what the core has may be read back */
        oldest = raft_base(node->raft).index;
    int cut = code == CONCLAVE_OK ? disk_cut(node->disk, oldest, &error) : CONCLAVE_OK;
    if (doomed) {
        die(world, node);
        return false;
    }
    if (cut != CONCLAVE_OK) { /* the segment helper ends, and the node with it */
        check_fail(&world->check, "segments can be removed", "n%u: %s",
                   world_index(world, node) + 1, error.message);
        return false;
    }
    return true;
}

/* --- Starting --------------------------------------------------------------------------------- */

/* True if the log that was found goes on where the snapshot ends. */
static bool log_holds(const struct disk_found *found, struct raft_id id)
{
    if (raft_id_equal(found->base, id))
        return true;
    struct raft_id first = raft_runs_first(&found->entries);
    if (id.index < first.index || id.index > raft_runs_last(&found->entries).index)
        return false;
    return raft_runs_find(&found->entries, id.index)->id.term == id.term;
}

static bool must_restore(const struct disk_found *found, struct raft_id last, uint64_t applied)
{
    if (last.index == 0 || applied >= last.index)
        return false;
    return applied < found->base.index || !log_holds(found, last);
}

/* As actors/log_writer.c and actors/machine_snapshot.c do it: the newest that has a beginning, and
 * if the state machine needs it, the newest that is whole. */
static int find(struct world *world, struct node *node, const struct disk_found *found,
                struct snapshot_meta *ret, struct conclave_error *error)
{
    struct shelf *shelf = node->snapshots.shelf;
    uint32_t aside = 0, more = 0;
    int code = shelf_find(shelf, false, ret, &aside, error);
    if (code == CONCLAVE_OK && must_restore(found, ret->last, machine_applied(node->machine))) {
        snapshot_meta_clear(ret);
        code = shelf_find(shelf, true, ret, &more, error);
    }
    if (aside + more > 0)
        report_mark(&world->report, SIM_MARK_SNAPSHOT_ASIDE);
    return code;
}

/* The configuration in effect at the applied index. */
static void read_log(struct snapshots *snapshots, const struct disk_found *found,
                     const struct snapshot_meta *meta, struct node *node)
{
    uint64_t applied = node->start_applied;
    if (!snapshots->configuration && meta->configuration && meta->last.index <= applied) {
        snapshots->configuration = buf_ref(meta->configuration);
        snapshots->configuration_index = meta->configuration_index;
    }
    if (applied == meta->last.index)
        snapshots->applied = meta->last;
    if (meta->configuration && meta->last.index > applied) {
        snapshots->ahead = *meta;
        buf_ref(meta->configuration);
    }
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(&found->entries, &it));) {
        if (e->id.index > applied)
            break;
        if (e->id.index > meta->last.index)
            snapshots_note(node, e);
    }
}

/* The disk failed: the node dies before it has begun to live. */
static bool start_failed(struct world *world, struct node *node, bool interrupted,
                         const struct conclave_error *error)
{
    if (!interrupted) {
        check_fail(&world->check, "a start finds its snapshots", "n%u: %s",
                   world_index(world, node) + 1, error->message);
        return false;
    }
    report_mark(&world->report, SIM_MARK_START_FAILED);
    bool power = disk_crash(node->disk, &world->prng);
    machine_crash(node->machine, power && world->knobs.real_machine);
    faults_restart(world, node);
    return false;
}

/* As actors/machine_open.c: without room the node begins as if the snapshot were restored, and what
 * is behind it waits until it is. */
static bool restore_at_start(struct world *world, struct node *node, struct raft_id id)
{
    bool restored = snapshots_become(world, node, id);
    node->start_applied = id.index;
    if (restored)
        report_mark(&world->report, SIM_MARK_RESTORED_AT_START);
    if (restored || world->check.failed)
        return restored;
    check_restored(&world->check, world_index(world, node), 0, id.index);
    machine_submit_install(node->machine, id);
    return true;
}

bool snapshots_start(struct world *world, struct node *node, const struct disk_found *found,
                     struct raft_snapshot *ret)
{
    struct snapshots *snapshots = &node->snapshots;
    struct storage *storage = disk_storage(node->disk);
    struct conclave_error error;
    struct snapshot_meta meta;
    forget(snapshots);
    bool interrupted = storage && world_fault(world, SIM_FAULT_BAD_START);
    if (interrupted)
        storage_doom(storage, world_draw(world, 1, DOOM_OPERATIONS));
    int code = find(world, node, found, &meta, &error);
    if (interrupted) { /* found or not: the power is gone */
        snapshot_meta_clear(&meta);
        return start_failed(world, node, true, &error);
    }
    if (code != CONCLAVE_OK)
        return start_failed(world, node, false, &error);
    struct raft_snapshot snapshot = snapshot_of(&meta);
    check_start_snapshot(&world->check, world_index(world, node), &snapshot);
    bool done = !world->check.failed;
    if (done && must_restore(found, meta.last, machine_applied(node->machine))) {
        done = restore_at_start(world, node, meta.last);
        if (!log_holds(found, meta.last))
            report_mark(&world->report, SIM_MARK_START_BEFORE_ANEW);
    }
    if (done)
        read_log(snapshots, found, &meta, node);
    if (done && snapshots->ahead.last.index != 0 && !snapshots->configuration)
        report_mark(&world->report, SIM_MARK_SNAPSHOT_AHEAD);
    snapshots->newest = meta.last;
    node->install_waited &= node->install_waits; /* else the log was enough */
    if (done)
        *ret = snapshot; /* the reference moves */
    else
        snapshot_meta_clear(&meta);
    return done;
}

/* --- Dying ------------------------------------------------------------------------------------ */

void snapshots_crash(struct world *world, struct node *node)
{
    struct snapshots *snapshots = &node->snapshots;
    struct storage *storage = disk_storage(node->disk);
    struct conclave_error error;
    /* The one under way was written up to some point. */
    if (snapshots->state && storage && world_draw(world, 0, 1) == 0) {
        storage_doom(storage, world_draw(world, 1, DOOM_OPERATIONS));
        if (write_taken(snapshots, &error) == CONCLAVE_OK)
            report_mark(&world->report, SIM_MARK_SNAPSHOT_UNTOLD);
    }
    if (snapshots->taking)
        report_mark(&world->report, SIM_MARK_SNAPSHOT_LOST);
    streams_crash(world, node);
    shelf_crash(snapshots->shelf, &world->prng);
    forget(snapshots);
}

bool snapshots_rot(struct world *world, struct node *node)
{
    struct shelf *shelf = node->snapshots.shelf;
    struct raft_id found[2];
    shelf_newest(shelf, found);
    const struct raft_id second = found[1];
    const struct check_node *at = &world->check.nodes[world_index(world, node)];
    struct raft_id newest = at->snapshot;
    /* Only if the log reaches back to the one before it, and holds all that the newest does. And
     * one at a time: a start that was cut short may have set the newest aside already. */
    if (node->install_waits || /* for what it is to become nothing else would do while it runs */
        raft_id_equal(second, at->rotten) || raft_id_equal(newest, at->rotten) ||
        newest.index <= second.index || second.index == 0 ||
        !disk_reaches(node->disk, second, newest))
        return false;
    shelf_rot(shelf, &world->prng);
    check_snapshot_rotten(&world->check, world_index(world, node), second);
    report_mark(&world->report, SIM_MARK_SNAPSHOT_ROTTEN);
    return true;
}
