/* Reads that are executed before they are confirmed, as actors/reads_ahead.h has it: while a leader
 * asks whether it still leads, its state machine executes what was asked, at any moment, and the
 * answer leaves with the decision. */
#include "tests/sim/world.h"

#include "base/list.h"

static void execute(struct world *world, struct node *node, struct node_ahead *ahead)
{
    struct buf *query = query_encode(&world->ops.items[ahead->op]);
    const struct conclave_reply_sink *told =
        store_query(machine_store(node->machine), (struct slice){query->data, query->bytes});
    buf_unref(query);
    ahead->executed = true;
    ahead->altered = node->altered;
    ahead->applied = machine_applied(node->machine);
    ahead->told = (struct conclave_reply_sink){.code = told->code, .refused = told->refused};
    if (told->body)
        ahead->told.body = buf_ref(told->body);
}

static void drop(struct node *node, uint32_t at)
{
    reply_sink_clear(&node->ahead.items[at].told);
    for (uint32_t i = at + 1; i < node->ahead.count; i++)
        node->ahead.items[i - 1] = node->ahead.items[i];
    node->ahead.count--;
}

static void answer(struct world *world, struct node *node, uint32_t at)
{
    struct node_ahead ahead = node->ahead.items[at];
    node->ahead.items[at].told.body = NULL; /* moved */
    drop(node, at);
    if (ahead.altered)
        clients_refuse(world, node, ahead.op, CONCLAVE_BUSY);
    else
        clients_answer(world, node, ahead.op, ahead.applied, &ahead.told);
    reply_sink_clear(&ahead.told);
}

void ahead_run(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < node->ahead.count && !world->check.failed;) {
        struct node_ahead *ahead = &node->ahead.items[i];
        if (!ahead->executed && ahead->index <= machine_applied(node->machine))
            execute(world, node, ahead);
        if (ahead->executed && ahead->confirmed)
            answer(world, node, i);
        else
            i++;
    }
}

void ahead_begun(struct world *world, struct node *node)
{
    bool now = false;
    for (uint32_t i = 0; i < node->output.reads_begun.count; i++) {
        const struct raft_read_begun *begun = &node->output.reads_begun.items[i];
        if (hubs_read(begun->read) || world->ops.items[begun->read].max_age_us ||
            !knobs_chance(&world->prng, world->knobs.ahead_chance))
            continue;
        LIST_RESERVE(&node->ahead);
        node->ahead.items[node->ahead.count++] =
            (struct node_ahead){.op = begun->read, .index = begun->index};
        now = now || world_draw(world, 0, 1) == 0;
    }
    if (now)
        ahead_run(world, node);
}

bool ahead_decided(struct world *world, struct node *node, const struct raft_read_result *result)
{
    uint32_t at = 0;
    while (at < node->ahead.count && node->ahead.items[at].op != result->read)
        at++;
    if (at == node->ahead.count)
        return false;
    struct node_ahead *ahead = &node->ahead.items[at];
    if (result->code != CONCLAVE_OK) {
        report_mark(&world->report, SIM_MARK_READ_AHEAD_VOID);
        drop(node, at);
        clients_refuse(world, node, result->read, result->code);
        return true;
    }
    if (ahead->executed)
        report_mark(&world->report, SIM_MARK_READ_AHEAD);
    if (ahead->index != result->index)
        check_fail(&world->check, "a read is confirmed as it began",
                   "n%u confirms read %llu at %llu, which began at %llu",
                   world_index(world, node) + 1, (unsigned long long)result->read,
                   (unsigned long long)result->index, (unsigned long long)ahead->index);
    ahead->confirmed = true;
    return true;
}

void ahead_forget(struct node *node)
{
    while (node->ahead.count > 0)
        drop(node, node->ahead.count - 1);
}
