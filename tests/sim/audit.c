#include "tests/sim/world.h"

#include "base/fatal.h"

#include <inttypes.h>
#include <stdlib.h>

/* The continuous audit: nodes tell each other what their chains were, as actors/peer_audit.c,
 * and raft/audit.c judges. And the fault that it is there for: a stored value changes behind a
 * machine's back. What such a node answers is worth nothing, to clients and to the checks, from
 * then on until it is found: then it stops, its machine is removed, and it begins anew.
 *
 * Only in runs with that fault. As long as the voters that are whole are a majority, which changes
 * of the members may end, whoever says that a whole node differs is wrong. And the next one is
 * altered behind all that an altered one has told of: two that were altered one after the other, in
 * the same bit, would be a majority against one that never was. */

enum { MARKS_REPEATED = 8 };

/* Voters that run, or will, with what was applied. */
static uint32_t whole_voters(const struct world *world)
{
    uint32_t count = 0;
    uint32_t living = members_living(world) & members_committed(world)->voters;
    for (uint32_t i = 0; i < world->node_count; i++)
        count += (living >> i & 1) && !world->nodes[i].altered ? 1 : 0;
    return count;
}

static bool whole_majority(const struct world *world)
{
    return 2 * whole_voters(world) > check_count(members_committed(world)->voters);
}

/* It stops; its machine is removed, and made again from the log. */
static void stop(struct world *world, struct node *node)
{
    node_crash(world, node);
    machine_wipe(node->machine);
    node->altered = false;
    world_push(world, world_draw(world, 1, world->knobs.fault_length_us_max),
               (struct sim_event){.kind = SIM_AUDIT, .node = world_index(world, node), .a = 1});
}

void audit_refused(struct world *world, struct node *node)
{
    report_mark(&world->report, SIM_MARK_ALTERED_REFUSED);
    stop(world, node);
}

static void judge(struct world *world, struct node *node, const struct audit_finding *finding)
{
    uint32_t at = world_index(world, node);
    if (finding->verdict == AUDIT_SELF_DEVIATES) {
        if (!node->altered && !node->was_altered && whole_majority(world)) {
            check_fail(&world->check, "only who differs is found to",
                       "n%u stops at %" PRIu64 " and is as it should be", at + 1, finding->index);
            return;
        }
        report_mark(&world->report, SIM_MARK_ALTERED_FOUND);
        stop(world, node);
    } else if (finding->verdict == AUDIT_DEVIATES || finding->verdict == AUDIT_SPLIT) {
        if (!world->altered)
            check_fail(&world->check, "only who differs is found to",
                       "n%u finds another that differs at %" PRIu64, at + 1, finding->index);
        report_mark(&world->report, finding->verdict == AUDIT_SPLIT ? SIM_MARK_ALTERED_SPLIT
                                                                    : SIM_MARK_ALTERED_TOLD);
    }
}

/* The node hears what one, perhaps itself, says; until it stops. */
static void note(struct world *world, struct node *node, raft_node_id id,
                 const struct audit_mark *marks, uint32_t count)
{
    for (uint32_t i = 0; i < count && node->up && !world->check.failed; i++) {
        const struct audit_finding finding =
            audit_note(node->audit, raft_configuration(node->raft, NULL), id, marks[i]);
        judge(world, node, &finding);
    }
}

static void tell(struct world *world, struct node *node, const struct audit_mark *marks,
                 uint32_t count)
{
    const struct peer_identity identity = {.cluster_id = node->identity.cluster_id,
                                           .node_id = node->identity.node_id,
                                           .incarnation = node->identity.incarnation};
    const struct raft_configuration *members = raft_configuration(node->raft, NULL);
    uint32_t from = world_index(world, node);
    for (uint32_t i = 0; count > 0 && i < members->member_count; i++) {
        raft_node_id id = members->members[i].id;
        uint32_t to = world->nodes[check_find(&world->check, id)].heir;
        if (id == node->id || world->cut[from][to] || world_fault(world, SIM_FAULT_LOSS))
            continue;
        world_push(world,
                   world_draw(world, world->knobs.network_us_min, world->knobs.network_us_max),
                   (struct sim_event){.kind = SIM_MARKS,
                                      .node = to,
                                      .ptr = peer_encode_audit(&identity, id, marks, count),
                                      .b = from});
    }
}

static void next_tick(struct world *world, const struct node *node)
{
    world_push(world, world->knobs.raft.election_timeout_us,
               (struct sim_event){.kind = SIM_AUDIT,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

void audit_start(struct world *world, struct node *node)
{
    if (!world->knobs.on[SIM_FAULT_ALTER] || !node->up)
        return;
    if (!node->audit)
        node->audit = mem_alloc(sizeof *node->audit);
    audit_init(node->audit, node->id);
    node->was_altered = false;
    next_tick(world, node);
}

void audit_applied(struct world *world, struct node *node)
{
    struct audit_mark marks[AUDIT_MARKS_MAX];
    if (!node->audit || world->check.failed)
        return;
    uint32_t count = store_marks(machine_store(node->machine), marks, AUDIT_MARKS_MAX);
    if (node->altered && count > 0 && marks[count - 1].index > world->altered_told)
        world->altered_told = marks[count - 1].index;
    tell(world, node, marks, count);
    note(world, node, node->id, marks, count);
}

static void arrive(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    struct peer_frame decoded;
    if (node->up && links_listen(world, node, (uint32_t)event->b)) {
        int code = peer_decode(event->ptr, &decoded);
        if (code != CONCLAVE_OK || decoded.type != PEER_FRAME_AUDIT)
            check_fail(&world->check, "frames arrive as they were sent", "n%u refuses a frame: %s",
                       event->node + 1, conclave_code_name(code));
        else
            note(world, node, decoded.from.node_id, decoded.audit.marks, decoded.audit.count);
    }
    buf_unref(event->ptr);
}

void audit_event(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    struct audit_mark marks[MARKS_REPEATED];
    if (event->kind == SIM_MARKS) {
        arrive(world, event);
    } else if (event->a == 1) {
        if (!node->up)
            node_start(world, node);
    } else if (node->up && node->incarnation == event->incarnation) {
        if (node->joined && !world->calm && world->now_us >= world->quiet_until_us &&
            world_draw(world, 0, 3) == 0)
            audit_alter(world, node); /* which is not often met by chance */
        tell(world, node, marks, audit_own(node->audit, marks, MARKS_REPEATED));
        next_tick(world, node);
    }
}

bool audit_altered(const struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++)
        if (world->nodes[i].altered)
            return true;
    return false;
}

/* The members are those that they will be for now, and enough to tell who is right: as all that run
 * know them. */
static bool members_are_settled(const struct world *world)
{
    const struct check_config *committed = members_committed(world);
    if (committed->joint || operator_pending(world) > 0 || check_count(committed->voters) < 3)
        return false;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct check_log *log = &world->check.nodes[i].memory;
        if (world->nodes[i].up && (committed->members >> i & 1) &&
            check_config_at(&world->check, log, log->count)->joint)
            return false;
    }
    return true;
}

struct node *audit_target(struct world *world)
{
    struct node *node = faults_target(world);
    uint32_t first = world_index(world, node);
    bool joined = world_draw(world, 0, 3) > 0;
    for (uint32_t i = 0; joined && i < world->node_count; i++) {
        struct node *at = &world->nodes[(first + i) % world->node_count];
        if (at->joined && at->up)
            return at;
    }
    return node;
}

void audit_alter(struct world *world, struct node *node)
{
    const struct snapshots *snapshots = &node->snapshots;
    if (audit_altered(world) || !members_are_settled(world) || !node->up || node->blank ||
        !(members_committed(world)->members >> world_index(world, node) & 1) ||
        node->machine_busy || machine_applied(node->machine) == 0 ||
        machine_applied(node->machine) < world->altered_told ||
        !world_grant(world, SIM_FAULT_ALTER))
        return;
    node->altered = machine_alter(node->machine, world_draw(world, 0, UINT32_MAX));
    world->altered |= node->altered;
    if (node->altered && snapshots->newest.index > 0)
        report_mark(&world->report, SIM_MARK_ALTERED_SNAPSHOT);
    if (node->altered && node->joined)
        report_mark(&world->report, SIM_MARK_ALTERED_JOINED);
}

void audit_calm(struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct node *node = &world->nodes[i];
        if (!node->altered || whole_majority(world))
            continue;
        if (node->up) {
            stop(world, node);
        } else {
            machine_wipe(node->machine);
            node->altered = false;
        }
    }
}

/* True if it says so of a member that runs, or will. */
static bool says_that_one_differs(const struct world *world, const struct node *node)
{
    if (!node->up || !node->audit)
        return false;
    raft_node_id id = audit_deviating(node->audit, raft_configuration(node->raft, NULL));
    return id && (members_living(world) >> check_find(&world->check, id) & 1);
}

bool audit_pending(const struct world *world)
{
    uint32_t living = members_living(world);
    for (uint32_t i = 0; i < world->node_count; i++)
        if ((living >> i & 1) &&
            (world->nodes[i].altered || says_that_one_differs(world, &world->nodes[i])))
            return true;
    return false;
}
