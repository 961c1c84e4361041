#include "tests/sim/world.h"

#include "tests/sim/storage.h"

/* Committed entries rot on several nodes at once, so that each is still good on one of them, on
 * which one is drawn: their logs may be left without a single entry in common. Whatever is damaged
 * so has to be whole again in the end. */

enum { ENTRIES_MAX = 40 };

struct scattering {
    const struct world *world;
    const struct node *victims[SIM_NODES_MAX];
    uint32_t count;
    uint32_t own; /* the victim at hand */
    uint64_t salt;
};

/* Which victim keeps the entry. */
static uint32_t keeper(const struct scattering *scattering, uint64_t index)
{
    struct prng prng;
    prng_init(&prng, scattering->salt + index);
    return (uint32_t)prng_below(&prng, scattering->count);
}

/* It is committed, and a start of its keeper surely finds it. */
static bool is_left(void *arg, struct raft_id id)
{
    const struct scattering *scattering = arg;
    const struct check_log *oracle = &scattering->world->check.oracle;
    uint32_t kept = keeper(scattering, id.index);
    return kept != scattering->own && id.index <= oracle->count &&
           check_log_at(oracle, id.index)->term == id.term &&
           disk_reaches(scattering->victims[kept]->disk, (struct raft_id){.index = id.index - 1},
                        id);
}

static bool may_be_hit(const struct world *world, const struct node *node)
{
    return node->exists && !node->gone && !node->blank && !node->stopped && !node->damaged &&
           !node->refused && node->incarnation > 0 &&
           (members_committed(world)->members >> world_index(world, node) & 1);
}

void scatter_damage(struct world *world)
{
    struct scattering scattering = {.world = world};
    if (!world->knobs.real_disk)
        return;
    uint64_t wanted = world_draw(world, 2, world->node_count > 2 ? world->node_count : 2);
    scattering.salt = world_draw(world, 0, UINT32_MAX);
    uint32_t first = world_index(world, faults_target(world));
    for (uint32_t i = 0; i < world->node_count && scattering.count < wanted; i++) {
        const struct node *node = &world->nodes[(first + i) % world->node_count];
        if (may_be_hit(world, node))
            scattering.victims[scattering.count++] = node;
    }
    if (scattering.count < 2 || !world_grant(world, SIM_FAULT_SCATTER))
        return;
    for (uint32_t i = 0; i < scattering.count; i++) {
        struct node *node = &world->nodes[world_index(world, scattering.victims[i])];
        if (node->up)
            faults_crash(world, node);
    }
    struct storage_rot rot = {.wanted = is_left,
                              .arg = &scattering,
                              .entries_max = ENTRIES_MAX,
                              .batch_chance = world_draw(world, 0, 1) ? 300 : 0,
                              .replaced_chance = world_draw(world, 0, 1) ? 500 : 0};
    uint32_t hit = 0;
    for (uint32_t i = 0; i < scattering.count; i++) {
        struct node *node = &world->nodes[world_index(world, scattering.victims[i])];
        scattering.own = i;
        struct storage_rotten lost =
            storage_damage_records(disk_storage(node->disk), &rot, &node->wants);
        node->damaged = node->scattered = lost.entries + lost.batches + lost.replaced > 0;
        hit += lost.entries > 0 ? 1 : 0;
        if (lost.batches)
            report_mark(&world->report, SIM_MARK_SCATTERED_BATCH);
        if (lost.replaced)
            report_mark(&world->report, SIM_MARK_SCATTERED_REPLACED);
    }
    if (hit > 1)
        report_mark(&world->report, SIM_MARK_SCATTERED);
}

bool scatter_rest(const struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (node->damaged && node->scattered && node->exists && !node->gone && !node->stopped &&
            (members_committed(world)->members >> i & 1))
            return false;
    }
    return true;
}
