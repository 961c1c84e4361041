/* Reads that are executed before they are confirmed: while a leader asks whether it still leads,
 * its state machine executes what was asked, at any moment, and what keeps the answer until the
 * decision is actors/reads_ahead.h itself. A read that is refused is answered at once, and executed
 * perhaps later, for nobody. */
#include "tests/sim/world.h"

#include "base/list.h"
#include "machine/reply.h"

static uint32_t place_of(const struct node *node, uint64_t op)
{
    uint32_t at = 0;
    while (at < node->ahead.count && node->ahead.items[at].op != op)
        at++;
    return at;
}

static struct node_ahead take(struct node *node, uint64_t op)
{
    uint32_t at = place_of(node, op);
    ASSERT(at < node->ahead.count);
    struct node_ahead taken = node->ahead.items[at];
    for (uint32_t i = at + 1; i < node->ahead.count; i++)
        node->ahead.items[i - 1] = node->ahead.items[i];
    node->ahead.count--;
    return taken;
}

/* Takes the body over. */
static void tell(struct world *world, struct node *node, struct reply *reply)
{
    struct conclave_reply_sink told = {.code = reply->code, .body = reply->body};
    struct node_ahead ahead = take(node, reply->origin.request);
    if (ahead.altered)
        clients_refuse(world, node, ahead.op, CONCLAVE_BUSY);
    else
        clients_answer(world, node, ahead.op, ahead.applied, &told);
    reply_sink_clear(&told);
}

static void execute(struct world *world, struct node *node, struct node_ahead *ahead)
{
    struct buf *query = query_encode(&world->ops.items[ahead->op]);
    const struct conclave_reply_sink *told =
        store_query(machine_store(node->machine), (struct slice){query->data, query->bytes});
    buf_unref(query);
    ahead->executed = true;
    ahead->altered = node->altered;
    ahead->applied = machine_applied(node->machine);
    struct reply reply = {.origin.request = ahead->op,
                          .code = told->code,
                          .body = told->body ? buf_ref(told->body) : NULL,
                          .answer = true,
                          .read = ahead->op};
    switch (reads_ahead_take(&node->reads_ahead, &reply)) {
    case READS_AHEAD_OUT:
        tell(world, node, &reply);
        return;
    case READS_AHEAD_VOID:
        take(node, reply.origin.request);
        return;
    case READS_AHEAD_KEPT:
        return;
    }
}

void ahead_run(struct world *world, struct node *node)
{
    for (uint32_t i = 0; i < node->ahead.count && !world->check.failed;) {
        struct node_ahead *ahead = &node->ahead.items[i];
        uint32_t before = node->ahead.count;
        if (!ahead->executed && ahead->index <= machine_applied(node->machine))
            execute(world, node, ahead);
        i += node->ahead.count == before;
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
    uint32_t at = place_of(node, result->read);
    if (at == node->ahead.count)
        return false;
    struct node_ahead ahead = node->ahead.items[at];
    bool refused = result->code != CONCLAVE_OK;
    struct reply_list out = {0};
    reads_ahead_decide(&node->reads_ahead,
                       &(struct read_decision){.read = ahead.op, .count = 1, .code = result->code},
                       &out);
    if (refused) {
        report_mark(&world->report, SIM_MARK_READ_AHEAD_VOID);
        clients_refuse(world, node, ahead.op, result->code);
    } else if (ahead.executed) {
        report_mark(&world->report, SIM_MARK_READ_AHEAD);
    }
    if (!refused && ahead.index != result->index)
        check_fail(&world->check, "a read is confirmed as it began",
                   "n%u confirms read %llu at %llu, which began at %llu",
                   world_index(world, node) + 1, (unsigned long long)ahead.op,
                   (unsigned long long)result->index, (unsigned long long)ahead.index);
    for (uint32_t i = 0; i < out.count; i++) {
        tell(world, node, &out.items[i]);
        out.items[i].body = NULL;
    }
    if (refused && ahead.executed && out.count == 0)
        take(node, ahead.op);
    reply_list_clear(&out);
    return true;
}

void ahead_forget(struct node *node)
{
    node->ahead.count = 0;
    reads_ahead_deinit(&node->reads_ahead);
}
