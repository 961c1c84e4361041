/* A node's timer, and how raft's thread uses it: by actors/alarm.h, as it does. The timer has one
 * deadline, which the newest ARM replaces; its word that it went off may be on its way while raft
 * arms it for something else. */
#include "tests/sim/world.h"

#include "base/fatal.h"

#include <inttypes.h>

static uint64_t world_time(const struct node *node, uint64_t local_us)
{
    return local_us == UINT64_MAX ? UINT64_MAX : node_world_time(node, local_us);
}

/* The next look at both: what the timer waits for, and what raft's thread does. */
static void look_later(struct world *world, struct node *node)
{
    uint64_t timer = world_time(node, node->timer.deadline_us);
    uint64_t near = world_time(node, node->alarm.near_us);
    uint64_t next = timer < near ? timer : near;
    if (next >= node->timer.look_us)
        return;
    node->timer.look_us = next;
    world_push(world, next > world->now_us ? next - world->now_us : 0,
               (struct sim_event){.kind = SIM_TIMER,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void timer_begin(struct node *node)
{
    alarm_init(&node->alarm);
    node->timer = (struct sim_timer){.deadline_us = UINT64_MAX, .look_us = UINT64_MAX};
}

void timer_set(struct world *world, struct node *node, uint64_t deadline_us)
{
    if (alarm_set(&node->alarm, deadline_us, node->now_us)) {
        if (node->alarm.armed_us >= node->timer.deadline_us)
            check_fail(&world->check, "the timer is armed for what is earlier",
                       "n%u arms it for %" PRIu64 " us, and it waits for %" PRIu64 " us",
                       world_index(world, node) + 1, node->alarm.armed_us, node->timer.deadline_us);
        node->timer.deadline_us = node->alarm.armed_us;
        node->timer.epoch = node->alarm.epoch;
    }
    if (node->alarm.near_us > deadline_us && node->timer.deadline_us > deadline_us &&
        node->timer.fired == 0)
        check_fail(&world->check, "somebody wakes for each deadline",
                   "n%u asked to be woken at %" PRIu64 " us, and its timer waits for %" PRIu64
                   " us",
                   world_index(world, node) + 1, deadline_us, node->timer.deadline_us);
    look_later(world, node);
}

static void timeout(struct world *world, struct node *node)
{
    node->timer_due = true;
    node_wake(world, node, world_draw(world, 0, world->knobs.wake_us_max));
}

/* Too early, it may be heard late, too: who is woken for nothing is in no hurry. */
static void go_off(struct world *world, struct node *node, bool early)
{
    uint64_t late_us = early ? world->knobs.raft.heartbeat_us : world->knobs.wake_us_max;
    node->timer.deadline_us = UINT64_MAX;
    node->timer.fired = node->timer.epoch;
    world_push(world, world_draw(world, 0, late_us),
               (struct sim_event){.kind = SIM_FIRED,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation,
                                  .a = node->timer.epoch});
}

void timer_look(struct world *world, struct node *node)
{
    uint64_t timer = world_time(node, node->timer.deadline_us);
    uint64_t near = world_time(node, node->alarm.near_us);
    node->timer.look_us = UINT64_MAX;
    bool early = (timer != UINT64_MAX || near != UINT64_MAX) && timer > world->now_us &&
                 near > world->now_us && world_fault(world, SIM_FAULT_EARLY_TIMER);
    if (timer <= world->now_us || (early && timer != UINT64_MAX))
        go_off(world, node, early);
    if (near <= world->now_us && alarm_is_due(&node->alarm, node->alarm.near_us))
        timeout(world, node);
    else if (early && near != UINT64_MAX)
        timeout(world, node);
    look_later(world, node);
}

void timer_fired(struct world *world, struct node *node, uint64_t epoch)
{
    if (epoch == node->timer.fired)
        node->timer.fired = 0;
    alarm_fired(&node->alarm, epoch);
    timeout(world, node);
}
