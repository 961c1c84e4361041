#include "tests/sim/world.h"

#include <string.h>

struct node *faults_target(struct world *world)
{
    if (knobs_chance(&world->prng, world->knobs.leader_chance))
        return &world->nodes[world_leader(world)];
    return &world->nodes[world_draw(world, 0, world->node_count - 1)];
}

static uint64_t fault_length(struct world *world)
{
    return world_draw(world, 1, world->knobs.fault_length_us_max);
}

void faults_restart_in(struct world *world, const struct node *node, uint64_t delay_us)
{
    world_push(world, delay_us,
               (struct sim_event){.kind = SIM_RESTART, .node = world_index(world, node)});
}

void faults_restart(struct world *world, const struct node *node)
{
    faults_restart_in(world, node, fault_length(world));
}

void faults_crash(struct world *world, struct node *node)
{
    node_crash(world, node);
    faults_restart_in(world, node, fault_length(world));
    uint32_t down = 0;
    uint32_t voters = members_committed(world)->voters;
    for (uint32_t i = 0; i < world->node_count; i++)
        down += (voters >> i & 1) && !world->nodes[i].up;
    if (down * 2 >= check_count(voters))
        report_mark(&world->report, SIM_MARK_MAJORITY_DOWN);
}

/* Now, or in the middle of the next write of any node, where most can go wrong. */
static void fault_crash(struct world *world)
{
    struct node *node = faults_target(world);
    if (world_draw(world, 0, 1) == 0)
        world->crash_armed = true;
    else if (node->up && world_grant(world, SIM_FAULT_CRASH))
        faults_crash(world, node);
}

void faults_disk_begun(struct world *world, struct node *node, uint64_t delay_us)
{
    if (!world->crash_armed || world->calm || world_draw(world, 0, 2) > 0)
        return;
    world->crash_armed = false;
    world_push(world, world_draw(world, 0, delay_us),
               (struct sim_event){.kind = SIM_CRASH,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

static void fault_crash_all(struct world *world)
{
    if (!world_grant(world, SIM_FAULT_CRASH_ALL))
        return;
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (!world->nodes[i].up)
            continue;
        node_crash(world, &world->nodes[i]);
        faults_restart_in(world, &world->nodes[i], fault_length(world));
    }
    report_mark(&world->report, SIM_MARK_MAJORITY_DOWN);
}

/* A log that is damaged where it had been attested keeps its node down until another one has given
 * it back what is lost: where a majority stays, or where that is sure to happen. */
static void fault_damage(struct world *world)
{
    struct node *node = faults_target(world);
    if (!world->knobs.real_disk || node->damaged || node->gone || node->incarnation == 0 ||
        !node->exists || node->blank || node->stopped)
        return;
    bool may_lose = members_may_lose(world, world_index(world, node));
    if (!world_grant(world, SIM_FAULT_DAMAGE))
        return;
    if (node->up)
        faults_crash(world, node);
    struct storage *storage = disk_storage(node->disk);
    node->damaged = storage_damage(storage, &node->wants);
    if (node->damaged && !may_lose && !repair_survives(world, node)) {
        storage_undamage(storage);
        node->damaged = false;
        node->wants = (struct wal_want){0};
    }
}

/* The last batch of a log rots before it is attested, on a node that nothing depends on: it has
 * acknowledged what it does not have any more, and the leader has to notice. Its state machine goes
 * as well, or it would be ahead of the log. */
static void fault_rot(struct world *world)
{
    struct node *node = faults_target(world);
    uint32_t index = world_index(world, node);
    if (world->knobs.real_disk || world->knobs.real_machine || !node->up ||
        world->report.decisions[SIM_FAULT_WIPE] > 0 || machine_synced(node->machine) ||
        !check_may_lose(&world->check, index) || !world_grant(world, SIM_FAULT_ROT))
        return;
    faults_crash(world, node);
    if (!check_may_lose(&world->check, index))
        return;
    uint64_t left = disk_rot(node->disk);
    if (left == 0)
        return;
    check_rot(&world->check, index, left, node->life);
    (void)machine_crash(node->machine, true);
    node->altered = false;
}

void faults_tell_down(struct world *world, struct node *node, raft_node_id peer)
{
    if (node->up)
        node_give(world, node,
                  (struct raft_event){.type = RAFT_EVENT_PEER_DOWN, .peer_down = peer});
}

/* A node is told that it has lost its connection to its leader, or to anybody: which may be so. Or
 * all are told that they have lost theirs to one node. */
static void fault_peer_down(struct world *world)
{
    struct node *node = &world->nodes[world_draw(world, 0, world->node_count - 1)];
    struct node *lost = world_draw(world, 0, 1) == 0 ? faults_target(world) : NULL;
    if ((!lost && !node->up) || !world_grant(world, SIM_FAULT_PEER_DOWN))
        return;
    for (uint32_t i = 0; lost && i < world->node_count; i++) {
        if (&world->nodes[i] != lost)
            faults_tell_down(world, &world->nodes[i], lost->id);
    }
    if (lost)
        return;
    raft_node_id peer = raft_leader(node->raft);
    if (peer == 0 || world_draw(world, 0, 3) == 0)
        peer = world->ids[world_draw(world, 0, world->node_count - 1)];
    faults_tell_down(world, node, peer);
}

/* A node comes back with a blank disk under its known id, or not at all: it has to be refused, and
 * to be replaced under another id. */
static void fault_wipe(struct world *world)
{
    struct node *node = faults_target(world);
    if (!members_may_wipe(world, world_index(world, node)) || !world_grant(world, SIM_FAULT_WIPE))
        return;
    if (node->up)
        faults_crash(world, node);
    members_wipe(world, node);
}

static void fault_full_disk(struct world *world)
{
    struct node *node = faults_target(world);
    if (world->knobs.real_disk && node->up && world_grant(world, SIM_FAULT_DISK_FULL))
        storage_fill(disk_storage(node->disk));
}

static void fault_pause(struct world *world)
{
    struct node *node = faults_target(world);
    if (!node->up || !world_grant(world, SIM_FAULT_PAUSE))
        return;
    uint64_t until = world->now_us + fault_length(world);
    if (until > node->paused_until_us)
        node->paused_until_us = until;
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_PAUSE,
                                                 .node = world_index(world, node),
                                                 .v = {node->paused_until_us}});
}

/* Cuts the links from one set of nodes to the others, and back unless one-way. The sets: one node
 * alone, any split, or one link. */
static void fault_partition(struct world *world, bool one_way)
{
    if (world->node_count < 2 ||
        !world_grant(world, one_way ? SIM_FAULT_ONE_WAY : SIM_FAULT_PARTITION))
        return;
    uint32_t target = world_index(world, faults_target(world));
    uint64_t side = UINT64_C(1) << target;
    uint64_t others = ~side;
    uint64_t shape = world_draw(world, 0, 2);
    if (shape == 1) {
        side |= prng_next(&world->prng);
        others = ~side;
    } else if (shape == 2) {
        others = UINT64_C(1) << world_draw(world, 0, world->node_count - 1);
    }
    bool inwards = one_way && world_draw(world, 0, 1) == 0;
    uint64_t number = ++world->cuts;
    for (uint32_t a = 0; a < world->node_count; a++) {
        for (uint32_t b = 0; b < world->node_count; b++) {
            if (a == b || !(side >> a & 1) || !(others >> b & 1))
                continue;
            if (!inwards)
                world->cut[a][b] = number;
            if (!one_way || inwards)
                world->cut[b][a] = number;
        }
    }
    report_event(
        &world->report,
        (struct record){.at_us = world->now_us,
                        .kind = RECORD_CUT,
                        .v = {side & ((UINT64_C(1) << world->node_count) - 1), one_way, number}});
    world_push(world, fault_length(world), (struct sim_event){.kind = SIM_HEAL, .a = number});
}

static void fault_heal(struct world *world, uint64_t number)
{
    report_event(&world->report,
                 (struct record){.at_us = world->now_us, .kind = RECORD_HEAL, .v = {0, 0, number}});
    for (uint32_t a = 0; a < world->node_count; a++) {
        for (uint32_t b = 0; b < world->node_count; b++) {
            if (world->cut[a][b] == number)
                world->cut[a][b] = 0;
        }
    }
}

void faults_transfer(struct world *world, struct node *node, uint64_t target)
{
    if (!node->up || !world_grant(world, SIM_FAULT_TRANSFER))
        return;
    node_give(world, node,
              (struct raft_event){
                  .type = RAFT_EVENT_TRANSFER,
                  .transfer = {.origin = {.client = 1, .request = ++world->transfers_asked},
                               .target = target > 0 ? world->ids[target - 1] : 0}});
}

static void fault_inject(struct world *world)
{
    static const enum sim_fault kinds[] = {
        SIM_FAULT_CRASH,   SIM_FAULT_CRASH_ALL, SIM_FAULT_PAUSE,     SIM_FAULT_PARTITION,
        SIM_FAULT_ONE_WAY, SIM_FAULT_TRANSFER,  SIM_FAULT_DISK_FULL, SIM_FAULT_DAMAGE,
        SIM_FAULT_ROT,     SIM_FAULT_PEER_DOWN, SIM_FAULT_WIPE,      SIM_FAULT_HOLD,
        SIM_FAULT_ALTER,   SIM_FAULT_SCATTER};
    enum sim_fault on[sizeof kinds / sizeof *kinds];
    uint64_t count = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (world->knobs.on[kinds[i]])
            on[count++] = kinds[i];
    }
    if (count == 0)
        return;
    enum sim_fault fault = on[world_draw(world, 0, count - 1)];
    if (world->knobs.raft.leases && world_draw(world, 0, 3) == 0)
        fault = SIM_FAULT_HOLD; /* what leases are most in danger of */
    if (world->scatter_armed && world_draw(world, 0, 1) == 0) {
        world->scatter_armed = false;
        scatter_damage(world);
        return;
    }
    switch (fault) {
    case SIM_FAULT_CRASH:
        fault_crash(world);
        break;
    case SIM_FAULT_CRASH_ALL:
        if (world_draw(world, 0, 3) == 0)
            fault_crash_all(world);
        break;
    case SIM_FAULT_PAUSE:
        fault_pause(world);
        break;
    case SIM_FAULT_DISK_FULL:
        fault_full_disk(world);
        break;
    case SIM_FAULT_DAMAGE:
        if (world_draw(world, 0, 3) == 0)
            fault_damage(world);
        break;
    case SIM_FAULT_PEER_DOWN:
        fault_peer_down(world);
        break;
    case SIM_FAULT_WIPE:
        if (world_draw(world, 0, 3) == 0)
            fault_wipe(world);
        break;
    case SIM_FAULT_ROT:
        fault_rot(world);
        break;
    case SIM_FAULT_PARTITION:
    case SIM_FAULT_ONE_WAY:
        fault_partition(world, fault == SIM_FAULT_ONE_WAY);
        break;
    case SIM_FAULT_HOLD:
        holds_begin(world);
        break;
    case SIM_FAULT_ALTER:
        audit_alter(world, audit_target(world));
        break;
    case SIM_FAULT_SCATTER:
        if (world_draw(world, 0, 3) == 0)
            scatter_damage(world);
        break;
    case SIM_FAULT_TRANSFER:
        faults_transfer(world, faults_target(world), world_draw(world, 0, world->node_count));
        break;
    default:
        break;
    }
}

static void fault_next(struct world *world)
{
    /* The square favours short gaps: faults upon faults. */
    uint64_t part = world_draw(world, 0, 1000);
    uint64_t delay = world->knobs.fault_us_max * part / 1000 * part / 1000;
    world_push(world, delay + 1, (struct sim_event){.kind = SIM_FAULT});
}

void faults_start(struct world *world)
{
    fault_next(world);
}

void faults_event(struct world *world, const struct sim_event *event)
{
    if (world->calm)
        return;
    switch (event->kind) {
    case SIM_FAULT:
        if (event->a) {
            holds_rival(world, event);
            break;
        }
        fault_next(world); /* first: when the next one comes does not hang on what this one does */
        if (world->now_us >= world->quiet_until_us)
            fault_inject(world);
        break;
    case SIM_CRASH: {
        struct node *node = &world->nodes[event->node];
        if (node->up && node->incarnation == event->incarnation &&
            world_grant(world, SIM_FAULT_CRASH))
            faults_crash(world, node);
        break;
    }
    case SIM_RESTART:
        if (!world->nodes[event->node].up && world_fault(world, SIM_FAULT_ROT_SNAPSHOT))
            (void)snapshots_rot(world, &world->nodes[event->node]);
        if (!world->nodes[event->node].up)
            node_start(world, &world->nodes[event->node]);
        break;
    case SIM_HEAL:
        fault_heal(world, event->a);
        break;
    default:
        break;
    }
}

/* Who was removed may stay down; a blank disk is not put in just now, with messages to the node
 * that was still on their way. */
static bool calm_starts(struct world *world, const struct node *node)
{
    if (members_committed(world)->removed >> world_index(world, node) & 1)
        return world_draw(world, 0, 1) == 0;
    return !node->blank;
}

static void away_begins(struct world *world, struct node *node)
{
    if (node->up && world_draw(world, 0, 1) == 0)
        node_crash(world, node);
}

void faults_end(struct world *world, uint32_t away)
{
    world->calm = true;
    world->away = away;
    world->quiet_until_us = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        for (uint32_t j = 0; j < world->node_count; j++)
            world->cut[i][j] = ((away >> i ^ away >> j) & 1) ? UINT64_MAX : 0;
        memset(world->held[i], 0, sizeof world->held[i]);
        node->paused_until_us = 0;
        if (node->exists && disk_storage(node->disk))
            storage_empty(disk_storage(node->disk));
        if (away >> i & 1)
            away_begins(world, node);
        else if (!node->up && calm_starts(world, node))
            node_start(world, node);
    }
    audit_calm(world);
}
