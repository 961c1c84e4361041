#include "tests/sim/workers.h"

#include "base/list.h"
#include "tests/sim/world.h"

enum {
    DIES_CHANCE = 30,           /* of each step of one with something in hand, in thousandths */
    OTHER_SETTINGS_CHANCE = 60, /* of each that makes the group: not those of the others */
    STRAY_CHANCE = 100          /* of what is said of messages: of others, too */
};

#define NO_MEMBER UINT32_MAX

static const struct group_knobs *group_of(const struct world *world, const struct worker *worker)
{
    return &world->knobs.groups[worker->group];
}

static struct hands_member *member_of(struct world *world, const struct worker *worker)
{
    return &world->hands.members.items[worker->member];
}

/* --- Asking ----------------------------------------------------------------------------------- */

/* Of this kind, by its group and member; the rest is given. */
static void send(struct world *world, struct worker *worker, enum op_kind kind, struct op op)
{
    op.kind = kind;
    if (kind >= OP_GROUP_CREATE) {
        op.cell = group_of(world, worker)->topic;
        op.cell_end = worker->group;
    }
    if (worker->member != NO_MEMBER && kind != OP_GROUP_CREATE)
        op.lease = member_of(world, worker)->lease;
    asker_send(world, &worker->asker, op);
}

static void begin(struct world *world, struct worker *worker)
{
    uint64_t most_ms = world->knobs.worker_ttl_ms_max;
    if (worker->asker.in_session && worker->asker.session == 0)
        asker_send(world, &worker->asker, (struct op){.kind = OP_OPEN});
    else
        asker_send(
            world, &worker->asker,
            (struct op){.kind = OP_GRANT, .ttl_ms = world_draw(world, most_ms / 4 + 1, most_ms)});
}

/* The group, or what it lacks. */
static void make(struct world *world, struct worker *worker)
{
    const struct knobs *knobs = &world->knobs;
    struct op op = {.group = *group_of(world, worker)};
    if (worker->lacks < SIM_TOPICS) {
        asker_send(world, &worker->asker,
                   (struct op){.kind = OP_CREATE,
                               .cell = worker->lacks,
                               .settings = knobs->topics[worker->lacks]});
        return;
    }
    op.group.held_max += knobs_chance(&world->prng, OTHER_SETTINGS_CHANCE);
    op.start = op.group.start;
    op.position = op.group.position;
    send(world, worker, OP_GROUP_CREATE, op);
}

static void leave(struct world *world, struct worker *worker)
{
    member_of(world, worker)->let_go = true;
    send(world, worker, OP_REVOKE, (struct op){0});
}

static void fetch(struct world *world, struct worker *worker)
{
    struct op op = {.limit = (uint32_t)world_draw(world, 1, SIM_HANDED_MAX)};
    op.once = world->calm || world_draw(world, 0, 11) == 0;
    send(world, worker, OP_FETCH, op);
}

/* Whoever finds nothing to do makes something. */
static void publish(struct world *world, struct worker *worker)
{
    asker_send(world, &worker->asker,
               (struct op){.kind = OP_PUBLISH,
                           .cell = group_of(world, worker)->topic,
                           .limit = (uint32_t)world_draw(world, 1, SIM_BATCH_MAX),
                           .pad = (uint32_t)world_draw(world, 0, world->knobs.part_pad_max)});
    worker->found_nothing = false;
}

/* --- What it has in hand ---------------------------------------------------------------------- */

static bool is_in_hand(const struct worker *worker, const struct hand *hand)
{
    return hand->member == worker->member && !hand->let_go_by;
}

static bool has_any(const struct world *world, const struct worker *worker)
{
    for (uint32_t i = 0; i < world->hands.all.count; i++)
        if (is_in_hand(worker, &world->hands.all.items[i]))
            return true;
    return false;
}

/* False: there is no room for more. */
static bool range_add(struct op *op, struct conclave_group_range range)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < op->range_count; i++)
        count += op->ranges[i].count;
    if (count + range.count > SIM_HANDED_MAX)
        return false;
    struct conclave_group_range *last = op->range_count ? &op->ranges[op->range_count - 1] : NULL;
    if (last && last->first + last->count == range.first) {
        last->count += range.count;
        return true;
    }
    if (op->range_count == SIM_RANGES_MAX)
        return false;
    op->ranges[op->range_count++] = range;
    return true;
}

/* Some of it, or all. */
static struct op draw_ranges(struct world *world, const struct worker *worker)
{
    struct op op = {0};
    bool all = world->calm || world_draw(world, 0, 1);
    bool room = true;
    for (uint32_t i = 0; room && i < world->hands.all.count; i++) {
        const struct hand *hand = &world->hands.all.items[i];
        if (is_in_hand(worker, hand) && (all || world_draw(world, 0, 1)))
            room = range_add(&op, (struct conclave_group_range){hand->sequence, 1});
    }
    if (!world->calm && knobs_chance(&world->prng, STRAY_CHANCE))
        (void)range_add(
            &op, (struct conclave_group_range){world_draw(world, 1, 40), world_draw(world, 1, 3)});
    return op;
}

/* From now on it is nobody's, as far as the member knows. */
static void let_go(struct world *world, const struct worker *worker, const struct op *op)
{
    for (uint32_t i = 0; i < world->hands.all.count; i++) {
        struct hand *hand = &world->hands.all.items[i];
        for (uint32_t k = 0; k < op->range_count && is_in_hand(worker, hand); k++)
            if (hand->sequence - op->ranges[k].first < op->ranges[k].count)
                hand->let_go_by = worker->asker.first;
    }
}

static void settle(struct world *world, struct worker *worker, enum op_kind kind)
{
    struct op op = draw_ranges(world, worker);
    if (kind == OP_NACK)
        op.ttl_ms =
            world_draw(world, 0, 2) ? world_draw(world, 0, group_of(world, worker)->ack_ms) : 0;
    send(world, worker, kind, op);
    if (kind != OP_EXTEND)
        let_go(world, worker, &op);
}

/* --- Steps ------------------------------------------------------------------------------------ */

static bool wants_renewal(struct world *world, const struct worker *worker)
{
    const struct hands_member *member = member_of(world, worker);
    return world->now_us > member->sent_us + member->ttl_ms * 1000 / 3;
}

/* Everything that the topic has was handed out and is done; or there is no group. */
static bool is_done(const struct world *world, uint32_t number)
{
    const struct reference *reference = &world->reference;
    const struct reference_group *group =
        reference_group_at(reference, world->knobs.groups[number].topic, number, UINT64_MAX);
    return !group || (group->handed.count == 0 &&
                      group->next >= reference_topic_of(reference, group->topic)->end);
}

/* One of what members do all the time. */
static void work(struct world *world, struct worker *worker)
{
    uint64_t draw = world_draw(world, 0, 19);
    if (!has_any(world, worker))
        draw += 10;
    if (draw < 6)
        settle(world, worker, OP_ACK);
    else if (draw < 9)
        settle(world, worker, OP_NACK);
    else if (draw < 11)
        settle(world, worker, OP_EXTEND);
    else if (draw == 11 && world_draw(world, 0, 2) == 0)
        leave(world, worker);
    else if (draw == 12 && world_draw(world, 0, 9) == 0)
        send(world, worker, OP_GROUP_DELETE, (struct op){0});
    else if (worker->found_nothing && world_draw(world, 0, 3) > 0)
        publish(world, worker);
    else
        fetch(world, worker);
}

/* What comes next, while nothing is under way. */
static void next(struct world *world, struct worker *worker)
{
    bool rests = world->calm && is_done(world, worker->group);
    if (worker->member == NO_MEMBER) {
        if (!rests)
            begin(world, worker);
    } else if (rests || member_of(world, worker)->let_go) {
        leave(world, worker);
    } else if (!world->calm && !worker->joined) {
        make(world, worker);
    } else if (wants_renewal(world, worker) && world_draw(world, 0, 5) > 0) {
        send(world, worker, OP_RENEW, (struct op){0});
    } else if (world->calm && has_any(world, worker)) {
        settle(world, worker, OP_ACK);
    } else if (world->calm) {
        fetch(world, worker);
    } else {
        work(world, worker);
    }
}

/* It begins again, with nothing; what it had in hand stays there. */
static void dies(struct world *world, struct worker *worker)
{
    report_mark(&world->report, SIM_MARK_WORKER_DIED);
    asker_forget(&worker->asker);
    worker->asker.session = 0;
    worker->member = NO_MEMBER;
}

void workers_event(struct world *world, const struct sim_event *event)
{
    struct worker *worker = &world->workers[event->node];
    uint64_t next_us = world_draw(world, 1, world->knobs.raft.election_timeout_us / 2);
    world_push(world, next_us, (struct sim_event){.kind = SIM_WORKER, .node = event->node});
    if (world->calm && world_draw(world, 0, 3) > 0)
        worker->asker.node = world_leader(world);
    bool asks = world->calm || world->now_us >= world->quiet_until_us;
    if (!asks || (!world->calm && !world_grant(world, SIM_ACTION_WORK)))
        return;
    bool busy = worker->member != NO_MEMBER && has_any(world, worker);
    if (!world->calm && busy && knobs_chance(&world->prng, DIES_CHANCE))
        dies(world, worker);
    else if (asker_is_free(world, &worker->asker))
        next(world, worker);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void made(struct worker *worker, const struct group_knobs *group, const struct op *op)
{
    worker->joined = op->code != CONCLAVE_NOT_FOUND;
    worker->lacks = worker->joined ? SIM_TOPICS : op->value ? group->dead : group->topic;
}

/* The id of the group that answered. */
static uint64_t group_id(const struct world *world, const struct op *op)
{
    const struct reference_group *group =
        reference_group_at(&world->reference, op->cell, op->cell_end, asker_applied(world, op));
    return group ? group->id : 0;
}

static void fetched(struct world *world, struct worker *worker, const struct op *op)
{
    uint64_t index = asker_applied(world, op), group = group_id(world, op);
    uint64_t *marks = world->report.marks;
    marks[op->once ? SIM_MARK_HANDED_ONCE : SIM_MARK_HANDED] += op->handed_count;
    worker->found_nothing = op->handed_count == 0;
    for (uint32_t i = 0; i < op->handed_count && !world->check.failed; i++) {
        const struct op_handed *handed = &op->handed[i];
        hands_take(world, (struct hand){.group = group,
                                        .sequence = handed->sequence,
                                        .deliveries = handed->deliveries,
                                        .index = index,
                                        .member = worker->member,
                                        .ack_ms = op->granted_ms,
                                        .sent_us = world->ops.items[op->first].invoked_us,
                                        .let_go_by = op->once ? op->first : 0});
        if (op->once)
            hands_acked(world, (struct hands_ack){group, handed->sequence, index});
    }
}

static bool is_missing(const struct op *op, uint64_t sequence)
{
    for (uint32_t i = 0; i < op->handed_count; i++)
        if (op->handed[i].sequence == sequence)
            return true;
    return false;
}

/* The second time it is not in hand any more. */
static bool is_named_twice(const struct op *op, uint64_t sequence)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->range_count; i++)
        count += sequence - op->ranges[i].first < op->ranges[i].count;
    return count > 1;
}

/* Of one message: what was said of it was taken, or it was not in hand. */
static void settled_one(struct world *world, const struct worker *worker, const struct op *op,
                        uint64_t sequence)
{
    uint64_t group = group_id(world, op);
    struct hand *hand = hands_find(&world->hands, worker->member, group, sequence);
    if (is_missing(op, sequence)) {
        report_mark(&world->report, SIM_MARK_SETTLED_LATE);
        if (hand && !is_named_twice(op, sequence))
            hands_lost(world, hand, op->first);
        return;
    }
    report_mark(&world->report, op->kind == OP_ACK    ? SIM_MARK_ACKED
                                : op->kind == OP_NACK ? SIM_MARK_NACKED
                                                      : SIM_MARK_EXTENDED);
    if (op->kind == OP_ACK)
        hands_acked(world, (struct hands_ack){group, sequence, asker_applied(world, op)});
    uint64_t sent_us = world->ops.items[op->first].invoked_us;
    if (op->kind == OP_EXTEND && hand && hand->sent_us < sent_us)
        hand->sent_us = sent_us;
}

static void settled(struct world *world, const struct worker *worker, const struct op *op)
{
    for (uint32_t i = 0; i < op->range_count; i++)
        for (uint64_t k = 0; k < op->ranges[i].count && !world->check.failed; k++)
            settled_one(world, worker, op, op->ranges[i].first + k);
}

static void done(struct world *world, struct worker *worker, const struct op *op)
{
    if (op->code == CONCLAVE_QUOTA) {
        worker->found_nothing = false; /* what it would publish has no room */
        return;
    }
    if (op->code == CONCLAVE_LEASE_EXPIRED && op->kind != OP_REVOKE)
        hands_ended(world, worker->member);
    if (op->code == CONCLAVE_LEASE_EXPIRED || op->kind == OP_REVOKE) {
        worker->member = NO_MEMBER;
    } else if (op->kind == OP_GRANT) {
        worker->member =
            hands_join(&world->hands,
                       (struct hands_member){.lease = op->value,
                                             .ttl_ms = op->granted_ms,
                                             .sent_us = world->ops.items[op->first].invoked_us});
    } else if (op->kind == OP_RENEW) {
        member_of(world, worker)->sent_us = world->ops.items[op->first].invoked_us;
    } else if (op->kind == OP_CREATE) {
        worker->lacks = SIM_TOPICS;
    } else if (op->kind == OP_GROUP_CREATE) {
        made(worker, group_of(world, worker), op);
    } else if (op->kind == OP_PUBLISH) {
        worker->joined &= op->code != CONCLAVE_NOT_FOUND;
    } else if (op->kind == OP_GROUP_DELETE || op->code == CONCLAVE_NOT_FOUND) {
        world->report.marks[SIM_MARK_GROUP_DELETED] += op->value && op->kind == OP_GROUP_DELETE;
        worker->joined = false;
    } else if (op->kind == OP_FETCH) {
        fetched(world, worker, op);
    } else if (op->kind >= OP_ACK) {
        settled(world, worker, op);
    }
}

void workers_answered(struct world *world, const struct op *op)
{
    struct worker *worker = &world->workers[op->client - WORKER_FIRST];
    struct op answer;
    if (asker_answered(world, &worker->asker, op, &answer))
        done(world, worker, &answer);
}

/* --- Life ------------------------------------------------------------------------------------- */

void workers_start(struct world *world)
{
    const struct knobs *knobs = &world->knobs;
    for (uint32_t i = 0; i < knobs->worker_count; i++) {
        world->workers[i] = (struct worker){
            .asker = {.client = WORKER_FIRST + i,
                      .in_session = knobs_chance(&world->prng, knobs->session_chance / 3)},
            .group = i % SIM_GROUPS,
            .member = NO_MEMBER,
            .lacks = SIM_TOPICS,
            .joined = true};
        world_push(world, world_draw(world, 0, knobs->raft.election_timeout_us),
                   (struct sim_event){.kind = SIM_WORKER, .node = i});
    }
}

uint64_t workers_messages(const struct world *world)
{
    const struct reference *reference = &world->reference;
    uint64_t count = 0;
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        const struct reference_group *group = &reference->groups.items[i];
        const struct reference_topic *topic = reference_topic_of(reference, group->topic);
        if (!group->deleted && topic->end > group->start)
            count += topic->end - group->start;
    }
    return count;
}

bool workers_rest(const struct world *world)
{
    for (uint32_t i = 0; i < world->knobs.worker_count; i++) {
        const struct worker *worker = &world->workers[i];
        if (worker->asker.first || worker->member != NO_MEMBER || !is_done(world, worker->group))
            return false;
    }
    return true;
}
