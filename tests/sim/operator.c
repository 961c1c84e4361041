#include "tests/sim/world.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdio.h>

/* The operator: adds, promotes, removes and replaces members, and asks nonsense. It looks at one
 * node, which may be behind, asks one, which may not lead, and may not hear the answer. */

/* As origin.client; those of the clients are below. */
#define OPERATOR_CLIENT UINT64_C(1000)

#define NOBODY UINT32_MAX

/* --- Requests -----------------------------------------------------------------------------------
 */

static void name_of(const struct world *world, uint32_t node,
                    char name[CONCLAVE_NAME_BYTES_MAX + 1])
{
    if (node == NOBODY)
        snprintf(name, CONCLAVE_NAME_BYTES_MAX + 1, "nobody");
    else
        snprintf(name, CONCLAVE_NAME_BYTES_MAX + 1, "%s", world->nodes[node].identity.name);
}

static void change_send(struct world *world, struct change change)
{
    change.state = OP_SENT;
    LIST_RESERVE(&world->changes);
    world->changes.items[world->changes.count++] = change;
    world_push(
        world, world_draw(world, 1, world->knobs.network_us_max),
        (struct sim_event){.kind = SIM_CHANGE, .node = change.node, .a = world->changes.count});
}

static void change_arrive(struct world *world, const struct sim_event *event)
{
    struct change *asked = &world->changes.items[event->a - 1];
    struct node *node = &world->nodes[event->node];
    if (!node->up) {
        asked->state = OP_UNDELIVERED;
        return;
    }
    asked->state = OP_TAKEN;
    asked->life = node->incarnation;
    struct raft_change *change = mem_zalloc(sizeof *change);
    change->type = asked->type;
    change->origin = (struct raft_origin){.client = OPERATOR_CLIENT, .request = event->a};
    if (asked->type == RAFT_CHANGE_ADD) {
        change->member = asked->member;
    } else {
        name_of(world, asked->subject, change->member.name);
        name_of(world, asked->replacement, change->replacement);
    }
    report_event(&world->report,
                 (struct record){.at_us = world->now_us,
                                 .kind = RECORD_CHANGE,
                                 .node = event->node,
                                 .v = {event->a, asked->type, asked->subject + 1u,
                                       asked->replacement + 1u, asked->member.incarnation}});
    node_give(world, node, (struct raft_event){.type = RAFT_EVENT_CHANGE, .change = change});
}

bool operator_removes(const struct world *world)
{
    for (uint32_t i = 0; i < world->changes.count; i++) {
        const struct change *change = &world->changes.items[i];
        if ((change->state == OP_SENT || change->state == OP_TAKEN) &&
            (change->type == RAFT_CHANGE_REMOVE || change->type == RAFT_CHANGE_REPLACE))
            return true;
    }
    return false;
}

uint64_t operator_pending(const struct world *world)
{
    uint64_t pending = 0;
    uint32_t removed = members_committed(world)->removed;
    for (uint32_t i = 0; i < world->changes.count; i++) {
        const struct change *change = &world->changes.items[i];
        bool taken = change->state == OP_TAKEN && !(removed >> change->node & 1);
        pending += taken || change->state == OP_SENT;
    }
    return pending;
}

/* --- What to ask --------------------------------------------------------------------------------
 */

/* A drawn node of a set; NOBODY if it is empty. */
static uint32_t pick(struct world *world, uint32_t set)
{
    uint32_t count = check_count(set);
    if (count == 0)
        return NOBODY;
    uint64_t skip = world_draw(world, 0, count - 1);
    uint32_t node = 0;
    for (;; node++) {
        if ((set >> node & 1) && skip-- == 0)
            return node;
    }
}

/* Nodes that were asked in and have no directory yet. */
static uint32_t awaited(const struct world *world)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct node *node = &world->nodes[i];
        if (!node->exists && !node->joined)
            set |= UINT32_C(1) << i;
    }
    return set;
}

static bool plan_add(struct world *world, const struct check_config *config, struct change *change)
{
    const struct change_knobs *knobs = &world->knobs.changes;
    uint32_t again = pick(world, awaited(world));
    bool room = world->node_count < SIM_NODES_MAX &&
                check_count(config->voters | config->learners) < knobs->voters_max + 2;
    if (again == NOBODY && !room)
        return false;
    if (again == NOBODY || (room && world_draw(world, 0, 2) == 0))
        again = members_add(world);
    change->type = RAFT_CHANGE_ADD;
    change->subject = again;
    struct node *node = &world->nodes[again];
    members_describe(node, &change->member);
    if (!node->asked)
        node->promote = check_count(config->voters) < knobs->voters_max &&
                        knobs_chance(&world->prng, knobs->promote_chance);
    if (node->promote)
        change->member.flags = RAFT_MEMBER_PROMOTE;
    /* `conclave member add` first, and the node joins later. */
    if (!node->asked && knobs_chance(&world->prng, knobs->late_chance))
        change->member.incarnation = 0;
    node->asked = true;
    return true;
}

static bool plan_promote(struct world *world, const struct check_config *config,
                         struct change *change)
{
    change->type = RAFT_CHANGE_PROMOTE;
    change->subject = pick(world, config->learners & ~members_lost(world));
    return change->subject != NOBODY &&
           check_count(config->voters) < world->knobs.changes.voters_max;
}

/* Whoever is lost goes first: one loss more would be too many. */
static uint32_t pick_leaving(struct world *world, const struct check_config *config)
{
    uint32_t lost = members_lost(world);
    if (lost != 0)
        return pick(world, lost & config->members);
    uint32_t leader = world_leader(world);
    if ((config->voters >> leader & 1) &&
        knobs_chance(&world->prng, world->knobs.changes.leader_chance))
        return leader;
    return pick(world, config->members);
}

static bool plan_remove(struct world *world, const struct check_config *config,
                        struct change *change)
{
    change->type = RAFT_CHANGE_REMOVE;
    change->subject = pick_leaving(world, config);
    if (change->subject == NOBODY)
        return false;
    return !(config->voters >> change->subject & 1) ||
           check_count(config->voters) > world->knobs.changes.voters_min ||
           (members_lost(world) >> change->subject & 1);
}

static bool plan_replace(struct world *world, const struct check_config *config,
                         struct change *change)
{
    change->type = RAFT_CHANGE_REPLACE;
    change->subject = pick_leaving(world, config);
    change->replacement = pick(world, config->learners & ~members_lost(world));
    return change->subject != NOBODY && change->replacement != NOBODY &&
           change->subject != change->replacement;
}

/* What has to be refused, whatever the members are. */
static bool plan_nonsense(struct world *world, const struct check_config *config,
                          struct change *change)
{
    change->nonsense = true;
    change->type = RAFT_CHANGE_ADD;
    switch (world_draw(world, 0, 6)) {
    case 0: /* an id that was removed */
        change->subject = pick(world, config->removed);
        if (change->subject == NOBODY)
            return false;
        members_describe(&world->nodes[change->subject], &change->member);
        snprintf(change->member.name, sizeof change->member.name, "back");
        snprintf(change->member.peer, sizeof change->member.peer, "sim://back");
        return true;
    case 1: /* a voter's other directory */
        change->subject = (uint32_t)world_draw(world, 0, world->knobs.voter_count - 1);
        members_describe(&world->nodes[change->subject], &change->member);
        change->member.incarnation++;
        return true;
    case 2: /* no id */
        snprintf(change->member.name, sizeof change->member.name, "none");
        snprintf(change->member.peer, sizeof change->member.peer, "sim://none");
        return true;
    case 3: /* nobody */
        change->type =
            (enum raft_change_type)world_draw(world, RAFT_CHANGE_PROMOTE, RAFT_CHANGE_REPLACE);
        change->subject = change->replacement = NOBODY;
        return true;
    case 4: /* one by itself */
        change->type = RAFT_CHANGE_REPLACE;
        change->subject = change->replacement = pick(world, config->members);
        return change->subject != NOBODY;
    case 5: /* no kind of change */
        change->type = (enum raft_change_type)99;
        return true;
    default: /* a voter by another voter */
        change->type = RAFT_CHANGE_REPLACE;
        change->subject = pick(world, config->voters);
        change->replacement = pick(world, config->voters);
        return change->subject != NOBODY && change->replacement != change->subject;
    }
}

static bool plan(struct world *world, const struct check_config *config, struct change *change)
{
    static bool (*const plans[])(struct world *, const struct check_config *, struct change *) = {
        plan_add, plan_promote, plan_remove, plan_replace, plan_nonsense};
    const uint32_t *weights = world->knobs.changes.weights;
    uint64_t sum = 0;
    for (int i = 0; i < SIM_CHANGE_KINDS; i++)
        sum += weights[i];
    uint64_t drawn = world_draw(world, 0, sum - 1);
    int kind = 0;
    for (; drawn >= weights[kind]; kind++)
        drawn -= weights[kind];
    return plans[kind](world, config, change);
}

static void operator_ask(struct world *world)
{
    struct change change = {.subject = NOBODY, .replacement = NOBODY};
    change.node = world_leader(world);
    if (knobs_chance(&world->prng, world->knobs.changes.stray_chance))
        change.node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    const struct check_log *log = &world->check.nodes[change.node].memory;
    const struct check_config *config = check_config_at(&world->check, log, log->count);
    if (config->voters != 0 && plan(world, config, &change) &&
        world_grant(world, SIM_ACTION_CHANGE))
        change_send(world, change);
}

static void operator_next(struct world *world)
{
    world_push(world, world_draw(world, 1, world->knobs.changes.gap_us_max),
               (struct sim_event){.kind = SIM_OPERATOR});
}

void operator_start(struct world *world)
{
    if (world->knobs.changes.on)
        operator_next(world);
}

void operator_event(struct world *world, const struct sim_event *event)
{
    if (event->kind == SIM_CHANGE) {
        change_arrive(world, event);
        return;
    }
    if (world->calm)
        return;
    if (world->now_us >= world->quiet_until_us) {
        if (audit_altered(world))
            report_mark(&world->report, SIM_MARK_ALTERED_CHANGE);
        operator_ask(world);
        if (knobs_chance(&world->prng, world->knobs.changes.pair_chance))
            operator_ask(world);
    }
    operator_next(world);
}

/* --- Answers ------------------------------------------------------------------------------------
 */

bool operator_origin(struct raft_origin origin)
{
    return origin.client == OPERATOR_CLIENT;
}

/* The operator goes on: a node that was added gets its directory, one that was removed may be
 * switched off. */
static void change_follow(struct world *world, const struct change *change, const struct node *by)
{
    if (knobs_chance(&world->prng, world->knobs.changes.lost_chance))
        return; /* the answer was lost */
    if (change->type == RAFT_CHANGE_ADD) {
        struct node *node = &world->nodes[change->subject];
        if (change->member.incarnation != 0 && !change->nonsense)
            members_told(world, node, by);
        return;
    }
    if (change->type == RAFT_CHANGE_PROMOTE || world_draw(world, 0, 1) == 0)
        return;
    world_push(world, world_draw(world, 1, world->knobs.fault_length_us_max),
               (struct sim_event){.kind = SIM_STOP, .node = change->subject});
}

static void change_marks(struct world *world, const struct change *change, int code,
                         const struct node *by)
{
    struct report *report = &world->report;
    static const enum sim_mark done[] = {SIM_MARK_CHANGE_ADD, SIM_MARK_CHANGE_PROMOTE,
                                         SIM_MARK_CHANGE_REMOVE, SIM_MARK_CHANGE_REPLACE};
    if (code == CONCLAVE_OK)
        report_mark(report, done[change->type - RAFT_CHANGE_ADD]);
    else if (code == CONCLAVE_UNKNOWN)
        report_mark(report, SIM_MARK_CHANGE_UNKNOWN);
    else
        report_mark(report, SIM_MARK_CHANGE_REFUSED);
    if (code != CONCLAVE_BUSY)
        return;
    bool learner = change->type == RAFT_CHANGE_PROMOTE || change->type == RAFT_CHANGE_REPLACE;
    const struct check_node *at = &world->check.nodes[world_index(world, by)];
    const struct check_entry *last = check_log_at(&at->memory, at->memory.count);
    const struct check_config *newest = &world->check.configs.items[last->config];
    if (!raft_is_serving(by->raft))
        report_mark(report, SIM_MARK_CHANGE_BEFORE_COMMIT);
    else if (last->config_at > at->view.commit || newest->joint) {
        report_mark(report, SIM_MARK_CHANGE_PENDING);
        if (learner && newest->joint && (newest->voters & ~newest->outgoing))
            report_mark(report, SIM_MARK_CHANGE_TWO_PROMOTIONS);
    } else if (learner)
        report_mark(report, SIM_MARK_CHANGE_LAG);
}

void operator_answer(struct world *world, struct node *node, uint64_t number, int code,
                     uint64_t index)
{
    uint32_t at = world_index(world, node);
    check_change(&world->check,
                 number <= world->changes.count ? &world->changes.items[number - 1] : NULL, at,
                 node->incarnation, code, index);
    if (world->check.failed)
        return;
    struct change *change = &world->changes.items[number - 1];
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_CHANGED,
                                                 .node = at,
                                                 .v = {number, (uint64_t)code, index}});
    change->state = code == CONCLAVE_OK        ? OP_OK
                    : code == CONCLAVE_UNKNOWN ? OP_UNKNOWN
                                               : OP_REFUSED;
    change_marks(world, change, code, node);
    if (code == CONCLAVE_OK)
        change_follow(world, change, node);
}

void operator_node_crashed(struct world *world, const struct node *node)
{
    uint32_t at = world_index(world, node);
    for (uint32_t i = 0; i < world->changes.count; i++) {
        struct change *change = &world->changes.items[i];
        if (change->state == OP_TAKEN && change->node == at && change->life == node->incarnation)
            change->state = OP_LOST;
    }
}
