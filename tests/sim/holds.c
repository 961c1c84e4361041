/* Links that deliver late, all at once: what is believed, and no longer so.
 *
 * Most of what is sent arrives soon, or never, and then a leader and its voters know the same
 * within moments. A leader that serves reads by a lease is right or wrong only while they do not.
 */
#include "tests/sim/world.h"

#include <string.h>

static void hold_links(struct world *world, uint32_t node, bool inwards, struct hold hold)
{
    for (uint32_t other = 0; other < world->node_count; other++)
        world->held[inwards ? other : node][inwards ? node : other] = hold;
}

static uint64_t hold_length(struct world *world)
{
    uint64_t timeout_us = world->knobs.raft.election_timeout_us;
    return world_draw(world, timeout_us / 4, timeout_us * 2);
}

/* Why others than a leader's voters may help a rival of it. */
enum rival_reason {
    RIVAL_NONE,
    RIVAL_TOLD_LATE,
    RIVAL_TOLD,
    RIVAL_LOST,
    RIVAL_CRASH,
    RIVAL_REASONS
};

static void rival_reason(struct world *world, struct node *node, raft_node_id leader,
                         enum rival_reason reason, bool rival)
{
    uint64_t soon_us = world_draw(world, 1, world->knobs.raft.election_timeout_us / 8);
    if (reason == RIVAL_LOST && node->up && world_grant(world, SIM_FAULT_PEER_DOWN))
        faults_tell_down(world, node, leader);
    if (reason == RIVAL_CRASH && !rival && node->up && world_grant(world, SIM_FAULT_CRASH)) {
        node_crash(world, node);
        faults_restart_in(world, node, soon_us);
    }
}

/* The steps of it; behind them the reasons. */
enum { RIVAL_CUT = 1, RIVAL_DEAF = 2 };

static void rival_next(struct world *world, uint64_t delay_us, uint32_t leader, uint32_t rival,
                       uint64_t step)
{
    world_push(world, delay_us,
               (struct sim_event){.kind = SIM_FAULT, .node = leader, .a = step, .b = rival});
}

/* The leader does not hear for a while what goes on, and the others are given a reason to help its
 * rival: none is good enough before the lease has ended (Rules 21, 41, 42). */
static void rival_helped(struct world *world, uint32_t leader, uint32_t rival,
                         enum rival_reason reason)
{
    uint64_t timeout_us = world->knobs.raft.election_timeout_us;
    uint64_t length_us = world_draw(world, timeout_us / 2, timeout_us * 2);
    struct hold hold = {.from_us = world->now_us, .until_us = world->now_us + length_us};
    if (world_draw(world, 0, 1) == 0) {
        /* What was answered just before comes in the middle of it. */
        hold.until_us = world->now_us + world_draw(world, timeout_us / 2, timeout_us);
        rival_next(world, world_draw(world, 1, timeout_us / 8), leader, rival, RIVAL_DEAF);
    }
    hold_links(world, leader, true, hold);
    hold.until_us = world->now_us + length_us;
    if (reason != RIVAL_TOLD && world_draw(world, 0, 3) > 0)
        hold_links(world, leader, false, hold);
    if (reason == RIVAL_TOLD)
        faults_transfer(world, &world->nodes[leader], rival + 1);
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (i != leader)
            rival_reason(world, &world->nodes[i], world->nodes[leader].id, reason, i == rival);
    }
}

/* A leader that serves, and another voter that holds all that it holds. False: there is none. */
static bool find_rival(struct world *world, uint32_t leader, uint32_t *ret_rival)
{
    const struct node *node = &world->nodes[leader];
    if (!node->up || raft_role(node->raft) != RAFT_LEADER ||
        (node->options.leases && raft_lease_until(node->raft) == 0))
        return false;
    uint32_t first = (uint32_t)world_draw(world, 0, world->node_count - 1);
    uint32_t voters = members_committed(world)->voters;
    if (check_count(voters) < 3) /* the leader would miss it */
        return false;
    for (uint32_t i = 0; i < world->node_count; i++) {
        uint32_t other = (first + i) % world->node_count;
        *ret_rival = other;
        if (other != leader && (voters >> other & 1) && world->nodes[other].up &&
            raft_last(world->nodes[other].raft).index == raft_last(node->raft).index)
            return true;
    }
    return false;
}

/* One node, the rival, hears no more of the leader: it stands for election, and is refused. Or it
 * is told to by the leader itself, and hears that when it was given up long ago. Nobody writes
 * meanwhile, or its log would be too old to lead, and nothing else befalls the cluster. */
static void hold_from_rival(struct world *world, uint32_t leader)
{
    uint32_t rival;
    if (!find_rival(world, leader, &rival)) {
        world->quiet_until_us = world->now_us;
        return;
    }
    memset(world->cut, 0, sizeof world->cut);
    uint64_t timeout_us = world->knobs.raft.election_timeout_us;
    uint64_t reason = world_draw(world, 0, RIVAL_REASONS - 1);
    bool late = reason == RIVAL_TOLD_LATE;
    uint64_t least_us = late ? timeout_us : timeout_us * 2;
    uint64_t length_us = world_draw(world, least_us, least_us * 2);
    if (late)
        least_us = length_us - timeout_us / 4;
    world->held[leader][rival] = (struct hold){world->now_us, world->now_us + length_us};
    if (late)
        faults_transfer(world, &world->nodes[leader], rival + 1);
    world->quiet_until_us = world->now_us + length_us + timeout_us;
    rival_next(world, world_draw(world, least_us, length_us), leader, rival,
               RIVAL_DEAF + 1 + reason);
}

void holds_rival(struct world *world, const struct sim_event *event)
{
    uint64_t deaf_us = world->now_us + 2 * world->knobs.raft.election_timeout_us;
    if (event->a == RIVAL_CUT)
        hold_from_rival(world, event->node);
    else if (event->a == RIVAL_DEAF)
        hold_links(world, event->node, true, (struct hold){world->now_us, deaf_us});
    else
        rival_helped(world, event->node, (uint32_t)event->b,
                     (enum rival_reason)(event->a - RIVAL_DEAF - 1));
}

/* A leader with a lease says nothing any more, and hears for a while what was said before: answers
 * that are old when they come. The others have nothing to wait for but what they promised. The slow
 * one shall lead. */
static void hold_at_the_edge(struct world *world)
{
    uint32_t leader = world_leader(world), rival;
    uint64_t timeout_us = world->knobs.raft.election_timeout_us;
    uint64_t deaf_us = world_draw(world, 0, 1) ? world_draw(world, 0, timeout_us) : 0;
    if (leader != 0) {
        faults_transfer(world, &world->nodes[leader], 1);
        return;
    }
    if (!find_rival(world, leader, &rival) || !world_grant(world, SIM_FAULT_HOLD))
        return;
    uint64_t until_us = world->now_us + 3 * timeout_us;
    hold_links(world, leader, false, (struct hold){world->now_us, until_us});
    hold_links(world, leader, true, (struct hold){world->now_us, world->now_us + deaf_us});
    if (deaf_us) /* and then nothing more */
        rival_next(world, deaf_us + 1, leader, rival, RIVAL_DEAF);
    else
        hold_links(world, leader, true, (struct hold){world->now_us, until_us});
    world->quiet_until_us = until_us;
    for (uint32_t i = 1; i < world->node_count && world->knobs.leases_mixed; i++)
        if (world->nodes[i].up && world_grant(world, SIM_FAULT_PEER_DOWN))
            faults_tell_down(world, &world->nodes[i], world->nodes[leader].id);
}

/* What a node says, or what is said to it, comes late and all at once: a link that was full. At
 * times what it said last comes when it begins to hear nothing itself. Then a leader may believe
 * for a while what has long been over, and others what it has given up. */
void holds_begin(struct world *world)
{
    struct node *node = faults_target(world);
    uint64_t shape = world_draw(world, 0, 7);
    uint64_t length_us = hold_length(world);
    uint64_t deaf_us = hold_length(world);
    if (world->knobs.lease_edge) {
        hold_at_the_edge(world);
        return;
    }
    if (!world_grant(world, SIM_FAULT_HOLD))
        return;
    uint64_t timeout_us = world->knobs.raft.election_timeout_us;
    if (shape >= 3 && world->knobs.on[SIM_FAULT_CLOCK] && world_leader(world) != 0 &&
        world->knobs.clocks == SIM_CLOCKS_ONE_SLOW) {
        faults_transfer(world, &world->nodes[world_leader(world)], 1); /* the slow one shall lead */
        return;
    }
    if (shape >= 3) {
        world->quiet_until_us = world->now_us + timeout_us; /* first what was written settles */
        rival_next(world, world_draw(world, timeout_us / 4, timeout_us), world_leader(world), 0,
                   RIVAL_CUT);
        return;
    }
    struct hold hold = {.from_us = world->now_us, .until_us = world->now_us + length_us};
    if (shape != 0) /* says */
        hold_links(world, world_index(world, node), false, hold);
    if (shape == 2) {
        hold.from_us = hold.until_us;
        hold.until_us += deaf_us;
    }
    if (shape != 1) /* hears */
        hold_links(world, world_index(world, node), true, hold);
    if (world->knobs.on[SIM_FAULT_TRANSFER] && world_draw(world, 0, 1) == 0)
        faults_transfer(world, node, world_draw(world, 0, world->node_count));
}

/* A node that has all of a snapshot but its end hears nothing else for so long that it asks whether
 * it may lead, or does. Then it comes (Rules 24 and 36). Once a frame, which says so itself. */
bool holds_last_piece(struct world *world, struct sim_event event)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t timeout_us = knobs->raft.election_timeout_us;
    const struct hold *hold = &world->held[event.b][event.node];
    if (event.a || world->calm || knobs->lease_edge || world->now_us < world->quiet_until_us ||
        !knobs->on[SIM_FAULT_HOLD])
        return false;
    if (hold->until_us <= world->now_us) {
        if (!knobs_chance(&world->prng, knobs->last_piece_chance) ||
            !world_grant(world, SIM_FAULT_HOLD))
            return false;
        uint64_t until_us = world->now_us + world_draw(world, 2 * timeout_us, 3 * timeout_us);
        hold_links(world, event.node, true, (struct hold){world->now_us, until_us});
    }
    uint64_t left_us = hold->until_us - world->now_us;
    event.a = 1;
    world_push(world, world_draw(world, left_us / 2, left_us), event);
    return true;
}
