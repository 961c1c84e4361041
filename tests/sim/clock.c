/* Cluster time, as who leads writes it: before the commands that are measured by it, and when
 * something is due. */
#include "tests/sim/world.h"

#include "codec/session_clock.h"

/* True and *ret if enough time has passed; it counts as written from now on. */
static bool clock_entry(struct world *world, struct node *node, struct raft_entry *ret)
{
    uint64_t before_us = node->session_clock_us;
    if (raft_role(node->raft) != RAFT_LEADER ||
        !session_clock_entry(&node->session_clock_us, node_clock(world, node),
                             world->knobs.clock_step_us, ret))
        return false;
    if ((node->session_clock_us - before_us) / 1000 > world->knobs.sessions.clock_step_max_ms)
        report_mark(&world->report, SIM_MARK_CLOCK_CAPPED);
    return true;
}

/* A lease counts from what is written and a bound: that has to hold where there are some. */
void clock_add(struct world *world, struct node *node, struct raft_batch *batch)
{
    struct raft_entry entry;
    bool quiet = world->now_us < world->quiet_until_us && !world->knobs.ttl_chance;
    if (!quiet && clock_entry(world, node, &entry))
        raft_batch_add(batch, entry);
}

/* As the network actor has it, but for its hurry when more is due than could end. */
static uint64_t tick_us(const struct world *world, const struct node *node)
{
    if (!node->up || raft_role(node->raft) != RAFT_LEADER || node->due_ms == UINT64_MAX)
        return UINT64_MAX;
    uint64_t wait_ms = world->knobs.sessions.clock_step_max_ms / 2;
    if (node->due_ms < wait_ms)
        wait_ms = node->due_ms;
    uint64_t step_us = world->knobs.clock_step_us;
    return node->session_clock_us + (wait_ms * 1000 > step_us ? wait_ms * 1000 : step_us);
}

static void clock_queue(struct world *world, struct node *node, uint64_t at_us)
{
    if (at_us < world->now_us)
        at_us = world->now_us;
    if (at_us >= node->clock_at_us)
        return;
    node->clock_at_us = at_us;
    world_push(world, at_us - world->now_us,
               (struct sim_event){.kind = SIM_CLOCK,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void clock_update(struct world *world, struct node *node)
{
    if (!world->knobs.ttl_chance)
        return;
    node->due_ms = store_due_ms(machine_store(node->machine));
    uint64_t at_us = tick_us(world, node);
    if (at_us != UINT64_MAX)
        clock_queue(world, node, node_world_time(node, at_us));
}

void clock_event(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    if (!node->up || node->incarnation != event->incarnation || node->clock_at_us != world->now_us)
        return;
    node->clock_at_us = UINT64_MAX;
    uint64_t at_us = tick_us(world, node);
    if (at_us == UINT64_MAX)
        return;
    uint64_t later_us = node->paused_until_us > world->quiet_until_us ? node->paused_until_us
                                                                      : world->quiet_until_us;
    if (later_us > world->now_us) { /* it measures when it runs again */
        clock_queue(world, node, later_us);
        return;
    }
    struct raft_entry entry;
    if (node_clock(world, node) >= at_us && clock_entry(world, node, &entry)) {
        struct raft_batch *batch = raft_batch_create(1);
        raft_batch_add(batch, entry);
        report_mark(&world->report, SIM_MARK_CLOCK_DUE);
        node_give(world, node, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = batch});
    }
    clock_queue(world, node, node_world_time(node, tick_us(world, node)));
}
