#include "tests/sim/world.h"

#include "base/fatal.h"

#include <inttypes.h>
#include <stdlib.h>

/* The nodes of a world as members: those from the start, those that join, those that are lost. */

/* --- Nodes ------------------------------------------------------------------------------------ */

/* Off by at most a fifth, which is what leases allow for. */
static uint64_t clock_rate(struct world *world, uint32_t index)
{
    enum { SLOWEST = 800000, FASTEST = 1200000 };
    if (world->knobs.clocks == SIM_CLOCKS_ANY)
        return world_draw(world, SLOWEST, FASTEST);
    bool slow =
        world->knobs.clocks == SIM_CLOCKS_ONE_SLOW ? index == 0 : world_draw(world, 0, 1) == 0;
    return slow ? SLOWEST : FASTEST;
}

/* Everything but a disk. */
static struct node *node_prepare(struct world *world, uint32_t index, raft_node_id id,
                                 const char *name)
{
    struct node *node = &world->nodes[index];
    node->id = id;
    node->heir = index;
    node->options = world->knobs.raft;
    node->options.id = id;
    if (world->knobs.priorities)
        node->options.priority = (uint32_t)world_draw(world, 0, 2) * RAFT_PRIORITY_MAX / 2;
    if (world->knobs.leases_mixed && world_draw(world, 0, 1) == 0)
        node->options.leases = false;
    node->clock_rate = 1000000;
    node->clock_offset_us = (int64_t)world_draw(world, 0, UINT64_C(1) << 40);
    if (world->knobs.on[SIM_FAULT_CLOCK]) {
        uint64_t rate = clock_rate(world, index);
        if (world_grant(world, SIM_FAULT_CLOCK))
            node->clock_rate = rate;
    }
    node->identity = (struct storage_identity){.cluster_id = world->cluster_id,
                                               .node_id = id,
                                               .incarnation = prng_next(&world->prng) >> 11};
    node->options.incarnation = node->identity.incarnation;
    snprintf(node->identity.name, sizeof node->identity.name, "%s", name);
    return node;
}

/* The directory; configuration NULL: that of a node that joins. */
static void node_make_disk(struct world *world, struct node *node, struct buf *configuration)
{
    struct storage *storage = NULL;
    if (world->knobs.real_disk)
        storage =
            storage_create(&node->identity, &world->knobs.storage, configuration, &world->prng);
    node->disk = disk_create(configuration, storage);
    const struct knobs *knobs = &world->knobs;
    struct store *twin = NULL;
    if (knobs->twin_machine)
        twin = store_create(knobs->real_machine ? STORE_MEMORY : STORE_LMDB, &knobs->sessions,
                            world->cluster_id, node->id);
    node->machine = machine_create(store_create(knobs->real_machine ? STORE_LMDB : STORE_MEMORY,
                                                &knobs->sessions, world->cluster_id, node->id),
                                   twin);
    snapshots_init(world, node);
    node->exists = true;
}

void members_start(struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct node *node =
            node_prepare(world, i, world->ids[i], world->configuration->members[i].name);
        node_make_disk(world, node, world->configuration_payload);
    }
}

static uint32_t slot_add(struct world *world, raft_node_id id, const char *name)
{
    uint32_t index = world->node_count++;
    ASSERT(index < SIM_NODES_MAX);
    world->ids[index] = id;
    world->report.node_count = world->node_count;
    check_add_node(&world->check, id);
    node_prepare(world, index, id, name);
    return index;
}

uint32_t members_add(struct world *world)
{
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    snprintf(name, sizeof name, "n%" PRIu32, world->node_count + 1);
    return slot_add(world, (prng_next(&world->prng) >> 16 << 4) + world->node_count + 1, name);
}

/* --- Joining -----------------------------------------------------------------------------------
 */

void members_told(struct world *world, struct node *node, const struct node *by)
{
    if (node->joined)
        return;
    /* As actors/join.c writes them down. */
    const struct raft_configuration *members = raft_configuration(by->raft, NULL);
    node->joined = mem_zalloc(sizeof *node->joined);
    for (uint32_t i = 0; i < members->member_count; i++) {
        if (members->members[i].id == node->id)
            continue;
        struct raft_member *member = &node->joined->members[node->joined->member_count++];
        *member = members->members[i];
        member->flags = raft_configuration_is_voter(members, member->id)
                            ? (uint32_t)RAFT_MEMBER_VOTER
                            : RAFT_MEMBER_LEARNER;
    }
    struct raft_member *self = &node->joined->members[node->joined->member_count++];
    members_describe(node, self);
    self->flags = RAFT_MEMBER_LEARNER;
    world_push(world, world_draw(world, 1, world->knobs.fault_length_us_max),
               (struct sim_event){.kind = SIM_JOIN, .node = world_index(world, node)});
}

void members_describe(const struct node *node, struct raft_member *ret)
{
    *ret = (struct raft_member){.id = node->id, .incarnation = node->identity.incarnation};
    snprintf(ret->name, sizeof ret->name, "%s", node->identity.name);
    snprintf(ret->peer, sizeof ret->peer, "sim://%s", node->identity.name);
}

static void members_join(struct world *world, struct node *node)
{
    ASSERT(!node->exists && node->joined);
    node_make_disk(world, node, NULL);
    report_mark(&world->report, SIM_MARK_JOINED);
    node_start(world, node);
}

void members_event(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    if (event->kind == SIM_JOIN) {
        members_join(world, node);
        return;
    }
    if (node->up)
        node_crash(world, node);
    node->stopped = true;
}

/* --- Losing -------------------------------------------------------------------------------------
 */

const struct check_config *members_committed(const struct world *world)
{
    const struct check *check = &world->check;
    return check_config_at(check, &check->oracle, check->oracle.count);
}

uint32_t members_lost(const struct world *world)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if ((node->gone || node->damaged) && !node->blank)
            lost |= UINT32_C(1) << i;
    }
    return lost & ~members_committed(world)->removed;
}

static bool set_survives(uint32_t voters, uint32_t learners, uint32_t lost)
{
    /* A learner may be made a voter a moment before its loss shows. */
    uint32_t all = voters | (learners & lost);
    return check_count(voters & ~lost) * 2 > check_count(all);
}

static bool config_survives(const struct check_config *config, uint32_t lost)
{
    return set_survives(config->voters, config->learners, lost) &&
           (!config->joint || set_survives(config->outgoing, config->learners, lost));
}

/* Who becomes a voter by this entry, and does not know it. Such a node may have a newer log than
 * those that do: it refuses them its vote then, and does not stand itself. */
static uint32_t unaware_voters(const struct check *check, const struct check_entry *entry)
{
    const struct check_log *oracle = &check->oracle;
    uint32_t voters = check_config_at(check, oracle, oracle->count)->voters;
    uint32_t unaware = check->configs.items[entry->config].voters & ~voters;
    for (uint32_t i = 0; i < check->node_count; i++) {
        const struct check_log *log = &check->nodes[i].memory;
        const struct check_entry *last = check_log_at(log, log->count);
        if (last && last->config == entry->config)
            unaware &= ~(UINT32_C(1) << i);
    }
    return unaware;
}

/* Every configuration of the log after `from`. */
static bool log_survives(const struct check *check, const struct check_log *log, uint64_t from,
                         uint32_t lost)
{
    const struct check_entry *entry = check_log_at(log, log->count);
    while (entry && entry->config_at > from) {
        if (!config_survives(&check->configs.items[entry->config],
                             lost | unaware_voters(check, entry)))
            return false;
        entry = check_log_at(log, entry->config_at - 1);
    }
    return true;
}

bool members_survive(const struct world *world, uint32_t lost)
{
    const struct check *check = &world->check;
    if (operator_removes(world) || !config_survives(members_committed(world), lost))
        return false;
    uint64_t from = check_log_at(&check->oracle, check->oracle.count)->config_at;
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (!log_survives(check, &check->nodes[i].memory, from, lost) ||
            !log_survives(check, &check->nodes[i].disk, from, lost))
            return false;
    }
    return true;
}

bool members_may_lose(const struct world *world, uint32_t node)
{
    return members_survive(world, members_lost(world) | UINT32_C(1) << node);
}

/* True if the node has it written down, for good, which data directory the member has. */
static bool knows(const struct world *world, uint32_t node, uint32_t member)
{
    const struct check *check = &world->check;
    const struct raft_configuration *joined = world->nodes[node].joined;
    const struct check_log *disk = &check->nodes[node].disk;
    uint64_t shared = disk->count < check->oracle.count ? disk->count : check->oracle.count;
    if (shared > 0) {
        const struct check_entry *own = check_log_at(disk, shared);
        return own->chain == check_log_at(&check->oracle, shared)->chain &&
               (check->configs.items[own->config].known >> member & 1);
    }
    const struct raft_member *told =
        joined ? raft_configuration_find(joined, world->ids[member]) : NULL;
    return told && told->incarnation != 0;
}

/* Everybody who can still vote or ask for votes: else a blank directory could pass for the one that
 * is lost, and no cluster can tell. */
static bool known_to_all(const struct world *world, uint32_t member)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        bool runs = (node->exists || node->joined) && !node->gone && !node->damaged &&
                    !node->blank && !node->stopped;
        if (i != member && runs && !knows(world, i, member))
            return false;
    }
    return true;
}

bool members_may_wipe(const struct world *world, uint32_t node)
{
    const struct node *wiped = &world->nodes[node];
    return wiped->exists && !wiped->gone && !wiped->damaged && !wiped->blank && !wiped->stopped &&
           (members_committed(world)->members >> node & 1) && members_may_lose(world, node) &&
           known_to_all(world, node);
}

/* `init` makes a directory under a known id, of the first members only; who joined is not let in
 * twice. A majority of such directories would be a cluster of its own, for clients too. */
static bool may_come_blank(const struct world *world, const struct node *node)
{
    uint32_t blank = 1;
    for (uint32_t i = 0; i < world->node_count; i++)
        blank += world->nodes[i].blank;
    return !node->joined && world->node_count < SIM_NODES_MAX &&
           blank * 2 <= world->knobs.voter_count;
}

void members_wipe(struct world *world, struct node *node)
{
    uint32_t index = world_index(world, node);
    node->gone = true;
    bool blank = may_come_blank(world, node);
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_WIPE,
                                                 .node = index,
                                                 .v = {blank ? world->node_count + 1 : 0}});
    if (!blank)
        return;
    node->heir = slot_add(world, node->id, node->identity.name);
    struct node *heir = &world->nodes[node->heir];
    heir->blank = true;
    node_make_disk(world, heir, world->configuration_payload);
    /* Behind all that is on its way to the node that was. */
    const struct knobs *knobs = &world->knobs;
    world_push(world,
               knobs->network_us_max + knobs->spike_us_max + knobs->fault_length_us_max +
                   world_draw(world, 1, knobs->fault_length_us_max),
               (struct sim_event){.kind = SIM_RESTART, .node = node->heir});
}

uint32_t members_living(const struct world *world)
{
    uint32_t living = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (node->exists && !node->gone && !node->damaged && !node->refused && !node->stopped)
            living |= UINT32_C(1) << i;
    }
    return living & members_committed(world)->members;
}
