/* Commands and reads of which no history is searched: transactions of several keys, earlier
 * revisions, topics with everything. */
#include "tests/sim/world.h"

static uint32_t draw_cell(struct world *world)
{
    return (uint32_t)world_draw(world, 0, SIM_KEYS - 1);
}

/* So many bytes: less than an item, exactly one or two, as many as there are. */
static uint32_t draw_page(struct world *world)
{
    return world_draw(world, 0, 2) == 0 ? 0 : (uint32_t)world_draw(world, 10, 150);
}

/* --- Transactions ----------------------------------------------------------------------------- */

/* Of the topic of that name, or of the one that it takes the place of. */
static uint64_t topic_id(const struct world *world, uint32_t name)
{
    const struct reference *reference = &world->reference;
    for (uint32_t i = reference->topics.count; i-- > 0;)
        if (reference->topics.items[i].name == name)
            return reference->topics.items[i].id;
    return 0;
}

/* What the client saw last of the key, as a rule. */
static struct op_compare draw_compare(struct world *world, const struct client *client)
{
    struct op_compare compare = {
        .what = (enum kv_compare_what)world_draw(world, 0, KV_COMPARE_WHATS - 1),
        .cell = draw_cell(world)};
    const struct op_item *seen = &client->items[compare.cell];
    if (kv_compare_is_of_topic(compare.what))
        compare.cell %= SIM_TOPICS;
    if (world_draw(world, 0, 1))
        compare.how = (enum kv_compare_how)world_draw(world, 0, KV_COMPARE_HOWS - 1);
    switch (compare.what) {
    case KV_COMPARE_REVISION:
        compare.number = seen->mod_revision;
        break;
    case KV_COMPARE_CREATE:
        compare.number = seen->create_revision;
        break;
    case KV_COMPARE_VERSION:
        compare.number = seen->version;
        break;
    case KV_COMPARE_LEASE:
        compare.number = world_draw(world, 0, 1) ? seen->lease : 0;
        break;
    case KV_COMPARE_SEQUENCE:
        compare.number = client->last[compare.cell];
        break;
    case KV_COMPARE_TOPIC:
        compare.number = topic_id(world, compare.cell);
        break;
    default:
        compare.number = seen->value;
        compare.pad =
            seen->bytes > sizeof seen->value ? (uint32_t)(seen->bytes - sizeof seen->value) : 0;
    }
    if (world_draw(world, 0, 9) == 0) /* absent, or anything */
        compare.number = 0;
    return compare;
}

static bool meets(uint32_t cells, uint32_t from, uint32_t end)
{
    return (cells >> from & ((1u << (end - from)) - 1)) != 0;
}

/* No key is put and changed by another step as well. False: this one is. */
static bool draw_step(struct world *world, const struct client *client, uint32_t *put,
                      uint32_t *changed, struct op_step *step)
{
    static const enum op_kind kinds[] = {OP_PUT,          OP_PUT,     OP_PUT,    OP_DELETE,
                                         OP_DELETE,       OP_GET,     OP_GET,    OP_RANGE,
                                         OP_DELETE_RANGE, OP_PUBLISH, OP_PUBLISH};
    const struct knobs *knobs = &world->knobs;
    *step = (struct op_step){.kind = kinds[world_draw(world, 0, sizeof kinds / sizeof *kinds - 1)],
                             .cell = draw_cell(world)};
    step->cell_end = step->cell + 1;
    if (step->kind == OP_RANGE || step->kind == OP_DELETE_RANGE)
        step->cell_end = (uint32_t)world_draw(world, step->cell, SIM_KEYS);
    if (step->kind == OP_RANGE) {
        step->limit = (uint32_t)world_draw(world, 0, 2);
        step->what = (enum kv_range_what)world_draw(world, KV_RANGE_ITEMS, KV_RANGE_COUNT);
    }
    step->no_end = step->cell_end == SIM_KEYS && world_draw(world, 0, 1);
    step->pad = (uint32_t)world_draw(world, 0, knobs->part_pad_max);
    step->previous = world_draw(world, 0, 2) == 0;
    uint64_t lease = world_draw(world, 0, 7);
    if (step->kind == OP_PUBLISH) {
        step->cell = (uint32_t)world_draw(world, 0, SIM_TOPICS - 1);
        step->cell_end = (uint32_t)world_draw(world, 0, 9);
        return knobs->topic_chance > 0;
    }
    if (step->kind == OP_PUT && knobs->ttl_chance && lease == 0)
        step->ttl_ms = world_draw(world, 1, knobs->ttl_ms_max);
    else if (step->kind == OP_PUT && lease == 1)
        step->lease = client->lease;
    if (step->kind == OP_GET || step->kind == OP_RANGE)
        return true;
    uint32_t taken = step->kind == OP_PUT ? *changed : *put;
    if (meets(taken, step->cell, step->cell_end))
        return false;
    for (uint32_t i = step->cell; i < step->cell_end; i++)
        *changed |= 1u << i;
    if (step->kind == OP_PUT)
        *put |= 1u << step->cell;
    return true;
}

static uint32_t draw_steps(struct world *world, const struct client *client,
                           struct op_step steps[SIM_STEPS_MAX])
{
    uint32_t count = 0, put = 0, changed = 0;
    for (uint64_t tries = world_draw(world, 0, SIM_STEPS_MAX); tries > 0; tries--)
        count += draw_step(world, client, &put, &changed, &steps[count]);
    return count;
}

static struct op draw_txn(struct world *world, const struct client *client)
{
    struct op_txn *txn = ops_txn(&world->ops);
    txn->compare_count = (uint32_t)world_draw(world, 0, SIM_COMPARES_MAX);
    for (uint32_t i = 0; i < txn->compare_count; i++)
        txn->compares[i] = draw_compare(world, client);
    txn->then_count = draw_steps(world, client, txn->then);
    txn->otherwise_count = draw_steps(world, client, txn->otherwise);
    return (struct op){.kind = OP_TXN, .txn = txn};
}

/* --- Topics ----------------------------------------------------------------------------------- */

static struct op draw_topic(struct world *world, const struct client *client)
{
    enum { IDS = 9 };
    const struct knobs *knobs = &world->knobs;
    struct op op = {.kind = OP_PUBLISH, .cell = (uint32_t)world_draw(world, 0, SIM_TOPICS - 1)};
    uint64_t draw = world_draw(world, 0, 29);
    if (draw < 3 && knobs->homeless && op.cell == knobs->groups[0].dead) {
        op.kind = OP_TOPIC_DELETE;
        return op;
    }
    if (draw < 3) {
        op.kind = OP_CREATE;
        op.settings = knobs->topics[op.cell];
        op.settings.count_max += draw == 0; /* not those that it has */
        return op;
    }
    if (draw == 3) {
        op.kind = OP_TOPIC_DELETE;
        return op;
    }
    if (draw <= 5) {
        op.kind = OP_TRIM;
        op.position = world_draw(world, 0, client->last[op.cell] + 2);
        return op;
    }
    op.limit = (uint32_t)world_draw(world, 1, SIM_BATCH_MAX);
    op.message_id = world_draw(world, 0, IDS);
    op.pad = (uint32_t)world_draw(world, 0, knobs->part_pad_max);
    op.conditional = world_draw(world, 0, 2) == 0;
    op.condition = op.conditional ? client->last[op.cell] : 0;
    return op;
}

static struct op draw_topic_read(struct world *world, const struct client *client)
{
    static const enum conclave_from starts[] = {CONCLAVE_FROM_SEQUENCE, CONCLAVE_FROM_FIRST,
                                                CONCLAVE_FROM_LAST,     CONCLAVE_FROM_TIME,
                                                CONCLAVE_FROM_NEW,      CONCLAVE_FROM_AGO};
    struct op op = {.kind = OP_TOPIC_READ,
                    .pad = draw_page(world),
                    .cell = (uint32_t)world_draw(world, 0, SIM_TOPICS - 1),
                    .start = starts[world_draw(world, 0, sizeof starts / sizeof *starts - 1)],
                    .limit = (uint32_t)world_draw(world, 0, 4)};
    if (op.start == CONCLAVE_FROM_SEQUENCE)
        op.position = world_draw(world, 1, client->last[op.cell] + 2);
    else if (op.start == CONCLAVE_FROM_LAST)
        op.position = world_draw(world, 0, 5);
    else if (op.start == CONCLAVE_FROM_TIME)
        op.position = world_draw(world, 0, world->now_us / 1000);
    else if (op.start == CONCLAVE_FROM_AGO)
        op.position = world_draw(world, 0, 8 * world->knobs.raft.election_timeout_us / 1000);
    return op;
}

/* --- Questions -------------------------------------------------------------------------------- */

/* One of a queue's, as a rule; or 0. */
static uint64_t draw_token(struct world *world)
{
    const struct reference *reference = &world->reference;
    if (reference->places.count == 0 || world_draw(world, 0, 3) == 0)
        return 0;
    uint64_t back = world_draw(world, 1, 6), count = reference->places.count;
    return reference->places.items[count - (back < count ? back : count)].token +
           (world_draw(world, 0, 7) == 0);
}

static struct op draw_leases_question(struct world *world, const struct client *client)
{
    struct op op = {.kind = OP_ASK,
                    .question = (enum op_question)world_draw(world, ASK_LEASES, ASK_LEASE_KEYS),
                    .limit = (uint32_t)world_draw(world, 0, 2)};
    uint64_t other = world_draw(world, 0, world->knobs.client_count - 1);
    uint64_t any = world_draw(world, 0, 3 + world->reference.last_lease);
    op.lease = world_draw(world, 0, 2) > 0 ? world->clients[other].lease : any;
    if (op.question == ASK_LEASE_KEYS) {
        op.position = world_draw(world, 0, 2) > 0 ? 0 : world_draw(world, 0, SIM_KEYS - 1);
        op.lease = op.lease ? op.lease : client->lease + 1;
    }
    if (op.question == ASK_LEASE_KEYS && world_draw(world, 0, 3) == 0) {
        op.space = 1;
        op.position %= SIM_QUEUES;
        op.token = draw_token(world);
    }
    return op;
}

/* Of any messages, near those that the client knows. */
static void draw_sequences(struct world *world, const struct client *client, struct op *op)
{
    uint64_t at = 1, last = client->last[op->cell] + 3;
    op->range_count = (uint32_t)world_draw(world, 1, SIM_RANGES_MAX);
    for (uint32_t i = 0; i < op->range_count; i++) {
        at += world_draw(world, 0, last / op->range_count);
        op->ranges[i] = (struct conclave_group_range){at, world_draw(world, 1, 3)};
        at += op->ranges[i].count;
    }
}

static struct op draw_topics_question(struct world *world, const struct client *client)
{
    bool groups = world->knobs.worker_count > 0;
    struct op op = {.kind = OP_ASK,
                    .question = (enum op_question)world_draw(world, ASK_TOPICS,
                                                             groups ? ASK_PENDING : ASK_MESSAGES),
                    .cell = (uint32_t)world_draw(world, 0, SIM_TOPICS - 1),
                    .cell_end = (uint32_t)world_draw(world, 0, SIM_GROUPS - 1),
                    .limit = (uint32_t)world_draw(world, 1, 4)};
    if (op.question == ASK_MESSAGES) {
        op.pad = draw_page(world);
        draw_sequences(world, client, &op);
    }
    if (op.question == ASK_PENDING && world_draw(world, 0, 2) == 0) {
        op.lease = world_draw(world, 0, world->reference.last_lease);
        op.position = world_draw(world, 0, 20);
    }
    return op;
}

/* Of either space, now or at an earlier revision. */
static struct op draw_keys_question(struct world *world, const struct client *client)
{
    const struct knobs *knobs = &world->knobs;
    struct op op = {.kind = OP_ASK,
                    .question = world_draw(world, 0, 2) ? ASK_RANGE : ASK_GET,
                    .space = knobs->locker_count ? world_draw(world, 0, 1) : 0,
                    .position = world_draw(world, KV_RANGE_ITEMS, KV_RANGE_COUNT),
                    .limit = (uint32_t)world_draw(world, 0, SIM_KEYS),
                    .pad = draw_page(world)};
    uint32_t names = op.space ? SIM_QUEUES : SIM_KEYS;
    op.cell = (uint32_t)world_draw(world, 0, names - 1);
    op.cell_end = (uint32_t)world_draw(world, op.cell, names);
    op.no_end = op.cell_end == names;
    if (op.no_end) /* it is not looked at */
        op.cell_end = op.cell;
    if (op.space)
        op.token = draw_token(world);
    if (knobs_chance(&world->prng, knobs->past_chance) && client->revision)
        op.revision_at = world_draw(world, 1, client->revision + 1);
    return op;
}

static struct op draw_question(struct world *world, const struct client *client)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t draw = world_draw(world, 0, 9);
    if (knobs->ttl_chance && draw < 2)
        return draw_leases_question(world, client);
    if (knobs->topic_chance && draw < 7)
        return draw_topics_question(world, client);
    if (world_draw(world, 0, 2) == 0)
        return (struct op){.kind = OP_ASK, .question = ASK_USAGE};
    return draw_keys_question(world, client);
}

/* Less than there is, just enough for a little more, or none. */
static struct op draw_quota(struct world *world)
{
    enum { NEAR_BYTES = 300, KEY = 32 + 8, MESSAGE = 5 + 8, BLOCK = 24 };
    static const uint16_t growths[] = {/* of what comes without a pad */
                                       KEY + 1,
                                       KEY + 2,
                                       KEY + 1 + 96,
                                       MESSAGE,
                                       MESSAGE + 1,
                                       BLOCK + MESSAGE,
                                       BLOCK + MESSAGE + 1,
                                       BLOCK + 2 * MESSAGE,
                                       96,
                                       128 + 1,
                                       384 + 1};
    uint64_t draw = world_draw(world, 0, 9), used = reference_used(&world->reference);
    uint64_t which = world_draw(world, 0, sizeof growths / sizeof *growths - 1);
    uint64_t quota = SIM_QUOTA_NONE;
    if (draw == 0)
        quota = used / 2 + 1;
    else if (draw <= 3)
        quota = used + world_draw(world, 1, NEAR_BYTES);
    else if (draw <= 6)
        quota = used + growths[which] - world_draw(world, 0, 1);
    return (struct op){.kind = OP_SETTINGS, .quota = quota};
}

/* --- Any -------------------------------------------------------------------------------------- */

void workload_rich(struct world *world, const struct client *client, struct op *op)
{
    const struct knobs *knobs = &world->knobs;
    if (knobs->topics_rich && knobs_chance(&world->prng, knobs->topic_chance))
        *op = draw_topic(world, client);
    if (knobs->rich && (op->kind == OP_PUT || op->kind == OP_DELETE))
        op->previous = world_draw(world, 0, 2) == 0;
    if (knobs_chance(&world->prng, knobs->txn_chance))
        *op = draw_txn(world, client);
    if ((knobs->history_changes || knobs->history_bytes || knobs->history_age_ms) &&
        world_draw(world, 0, 29) == 0)
        *op = (struct op){.kind = OP_SETTINGS,
                          .limit = knobs->history_changes,
                          .position = knobs->history_bytes,
                          .ttl_ms = knobs->history_age_ms};
    if (knobs_chance(&world->prng, knobs->quota_chance))
        *op = draw_quota(world);
    if (knobs->rich &&
        world_draw(world, 0, 99) == 0) /* now and then more than a block of messages spans */
        *op =
            (struct op){.kind = OP_ADVANCE, .limit = (uint32_t)world_draw(world, 0, 1) ? 1 : 3000};
}

void workload_rich_read(struct world *world, const struct client *client, struct op *op)
{
    const struct knobs *knobs = &world->knobs;
    uint64_t max_age_us = op->max_age_us;
    if (knobs->topics_rich && world_draw(world, 0, 2) == 0)
        *op = draw_topic_read(world, client);
    if (knobs->locker_count && world_draw(world, 0, 3) == 0)
        *op = (struct op){.kind = OP_QUEUE,
                          .cell = (uint32_t)world_draw(world, 0, SIM_QUEUES - 1),
                          .token = world_draw(world, 0, 1) ? draw_token(world) : 0,
                          .limit = (uint32_t)world_draw(world, 0, 3)};
    if (world_draw(world, 0, 3) == 0)
        *op = draw_question(world, client);
    op->max_age_us = max_age_us;
    if ((op->kind != OP_GET && op->kind != OP_RANGE) ||
        !knobs_chance(&world->prng, knobs->past_chance))
        return;
    if (world_draw(world, 0, 1) && client->revision)
        op->revision_at = world_draw(world, 1, client->revision + 1);
    if (op->kind == OP_GET)
        return;
    op->cell_end = (uint32_t)world_draw(world, op->cell + 1, SIM_KEYS);
    op->limit = (uint32_t)world_draw(world, 0, 2);
}

static const enum sim_mark asked_marks[ASK_COUNT] = {
    [ASK_RANGE] = SIM_MARK_ASKED_RANGE,     [ASK_GET] = SIM_MARK_ASKED_KEY,
    [ASK_USAGE] = SIM_MARK_ASKED_USAGE,     [ASK_LEASES] = SIM_MARK_ASKED_LEASES,
    [ASK_TOPICS] = SIM_MARK_ASKED_TOPICS,   [ASK_TOPIC] = SIM_MARK_ASKED_TOPIC,
    [ASK_GROUPS] = SIM_MARK_ASKED_GROUPS,   [ASK_GROUP] = SIM_MARK_ASKED_GROUP,
    [ASK_PENDING] = SIM_MARK_ASKED_PENDING, [ASK_MESSAGES] = SIM_MARK_ASKED_MESSAGES,
    [ASK_LEASE_KEYS] = SIM_MARK_ASKED_LEASE};

void workload_rich_answered(struct world *world, struct client *client, const struct op *op)
{
    struct report *report = &world->report;
    if (op->revision > client->revision)
        client->revision = op->revision;
    if (op->kind == OP_SETTINGS && op->quota)
        report_mark(report, SIM_MARK_QUOTA_SET);
    if (op->code == CONCLAVE_QUOTA)
        return;
    if (op->kind == OP_ASK && op->question == ASK_USAGE &&
        world->reference.past.items[op->index].usage.refused)
        report_mark(report, SIM_MARK_QUOTA_ALARM);
    if (op->kind == OP_GET && op->code == CONCLAVE_OK && !op->revision_at)
        client->items[op->cell] = op->items[0];
    for (uint32_t i = op->cell; op->kind == OP_RANGE && !op->revision_at && i < op->content; i++)
        client->items[i] = op->items[i];
    if (op->kind == OP_TXN && op->code == CONCLAVE_OK)
        report_mark(report, op->value ? SIM_MARK_TXN_THEN : SIM_MARK_TXN_ELSE);
    if (op->kind == OP_TXN && op->code != CONCLAVE_OK)
        report_mark(report, SIM_MARK_TXN_REFUSED);
    if (op_is_read(op) && op->revision_at)
        report_mark(report,
                    op->code == CONCLAVE_COMPACTED ? SIM_MARK_READ_COMPACTED : SIM_MARK_READ_PAST);
    if (op->kind == OP_QUEUE && op->value)
        report_mark(report, SIM_MARK_QUEUE_PAGE);
    if (op->kind == OP_ASK && op->space == 1)
        report_mark(report, SIM_MARK_ASKED_PLACES);
    if (op->kind == OP_TOPIC_READ && op->end > op->from)
        report_mark(report, SIM_MARK_TOPIC_READ);
    if (op->kind == OP_ASK)
        report_mark(report, asked_marks[op->question]);
    if (op->kind == OP_TRIM && op->code == CONCLAVE_OK && op->value == op->position)
        report_mark(report, SIM_MARK_TOPIC_CUT);
    if (op->kind == OP_ADVANCE)
        report_mark(report, SIM_MARK_ADVANCED);
    if (op->kind == OP_TOPIC_DELETE && op->value)
        report_mark(report, SIM_MARK_TOPIC_DELETED);
    if (op->kind == OP_PUBLISH && op->limit && op->code != CONCLAVE_NOT_FOUND) {
        client->last[op->cell] = op->value;
        report_mark(report, op->code ? SIM_MARK_PUBLISH_BEHIND : SIM_MARK_PUBLISHED);
    }
}
