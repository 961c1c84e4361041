/* Operations on their way: to a node, into its core, and the answers back. What a client does next
 * is in workload.c. */
#include "tests/sim/world.h"

#include "base/list.h"
#include "machine/reply.h"

/* Every answer an operation gets, of every kind, passes here once. */
static void op_end(struct world *world, uint64_t number, uint32_t node, enum op_state state)
{
    struct op *op = &world->ops.items[number];
    op->state = state;
    if (state == OP_OK || state == OP_REFUSED || state == OP_UNKNOWN || state == OP_DENIED)
        op->finished = world->tick;
    op->finished_us = world->now_us;
    report_event(&world->report,
                 (struct record){.at_us = world->now_us,
                                 .kind = RECORD_ANSWER,
                                 .node = node,
                                 .v = {number, state, op->index, op->value, op->revision,
                                       (uint64_t)op->code, op->first, op->sequence}});
    if (op->client >= WORKER_FIRST) {
        workers_answered(world, op);
        return;
    }
    if (op->client >= LOCKER_FIRST) {
        lockers_answered(world, op);
        return;
    }
    if (op->client >= world->knobs.client_count)
        return; /* not one of those, or the calm phase's own */
    struct client *client = &world->clients[op->client];
    workload_answered(world, client, op);
    if (op->epoch == client->epoch && --client->outstanding == 0)
        world_push(world, workload_pause(world),
                   (struct sim_event){.kind = SIM_CLIENT, .a = op->client, .b = client->epoch});
}

uint64_t request_add(struct world *world, struct op op, uint32_t client, uint32_t node)
{
    op.state = OP_SENT;
    op.client = client;
    op.node = node;
    op.epoch = client < SIM_CLIENTS_MAX ? world->clients[client].epoch : 0;
    op.invoked = op.since = world->tick;
    op.invoked_us = world->now_us;
    op.floor = world->check.oracle.count;
    return ops_add(&world->ops, op);
}

void request_send(struct world *world, uint32_t node, uint64_t first, uint64_t count)
{
    uint64_t delay = world_draw(world, 1, world->knobs.network_us_max);
    world_push(world, delay,
               (struct sim_event){.kind = SIM_REQUEST, .node = node, .a = first, .b = count});
}

/* --- At a node -------------------------------------------------------------------------------- */

/* Commands that arrive together are one batch for the core. */
static void request_propose(struct world *world, struct node *node, uint64_t first, uint64_t count)
{
    struct raft_batch *batch = raft_batch_create((uint32_t)count + 1);
    bool timed = false;
    for (uint64_t number = first; number < first + count; number++)
        timed |= op_is_timed(&world->ops.items[number]);
    if (timed)
        clock_add(world, node, batch);
    for (uint64_t number = first; number < first + count; number++) {
        struct op *op = &world->ops.items[number];
        op->proposed_us = world->now_us;
        struct buf *buf = command_encode(op, number);
        raft_batch_add(batch,
                       (struct raft_entry){.origin = {.client = op->client + 1u, .request = number},
                                           .buf = buf,
                                           .payload = {buf->data, buf->bytes},
                                           .kind = op_in_session(op) ? RAFT_ENTRY_SESSION
                                                                     : RAFT_ENTRY_COMMAND});
    }
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_PROPOSE,
                                                 .node = world_index(world, node),
                                                 .v = {first, count}});
    node_give(world, node, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = batch});
}

/* A read whose bound the last confirmed read still keeps is not confirmed again. */
static void request_read(struct world *world, struct node *node, uint64_t number)
{
    struct op *op = &world->ops.items[number];
    op->taken_us = node_clock(world, node);
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_READ,
                                                 .node = world_index(world, node),
                                                 .v = {number}});
    if (op->max_age_us && node->fresh_us && op->taken_us - node->fresh_us <= op->max_age_us) {
        node_add_read(node, (struct node_read){.op = number,
                                               .index = node->fresh_index,
                                               .fresh_us = node->fresh_us});
        node_answer_reads(world, node);
        return;
    }
    check_read_arrives(&world->check, number, world_index(world, node));
    bool lease = knobs_chance(&world->prng, world->knobs.lease_chance);
    node_give(world, node,
              (struct raft_event){.type = lease ? RAFT_EVENT_READ_LEASE : RAFT_EVENT_READ,
                                  .read = number});
}

static void request_arrive(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    for (uint64_t number = event->a; number < event->a + event->b; number++) {
        struct op *op = &world->ops.items[number];
        if (!node->up) {
            op_end(world, number, event->node, OP_UNDELIVERED);
            continue;
        }
        op->state = OP_TAKEN;
        op->incarnation = node->incarnation;
        if (op_is_read(op))
            request_read(world, node, number);
    }
    if (node->up && !op_is_read(&world->ops.items[event->a]))
        request_propose(world, node, event->a, event->b);
}

void clients_event(struct world *world, const struct sim_event *event)
{
    if (event->kind == SIM_REQUEST)
        request_arrive(world, event);
    else if (event->kind == SIM_STRAY)
        workload_stray(world, event->node);
    else if (!world->calm && world->clients[event->a].epoch == event->b)
        workload_next(world, (uint32_t)event->a);
}

/* --- Answers ---------------------------------------------------------------------------------- */

static void answer_marks(struct world *world, const struct op *op, enum op_state state)
{
    struct report *report = &world->report;
    if (op_is_read(op))
        report_mark(report, state == OP_OK ? SIM_MARK_READ_OK : SIM_MARK_READ_REFUSED);
    else if (state == OP_UNKNOWN)
        report_mark(report, SIM_MARK_WRITE_UNKNOWN);
    else
        report_mark(report, state == OP_OK ? SIM_MARK_WRITE_OK : SIM_MARK_WRITE_REFUSED);
    if (state == OP_OK && op->code == CONCLAVE_COMPARE_FAILED)
        report_mark(report, SIM_MARK_COMPARE_FAILED);
    if (op->max_age_us && op_is_read(op) && state == OP_OK && op->index < world->check.oracle.count)
        report_mark(report, SIM_MARK_STALE_SERVED);
}

/* An answered read shows at least what was committed when it was invoked; one that may be old, what
 * was so long before it was answered. */
static void answer_floor(struct world *world, const struct node *node, struct op *op)
{
    if (!op->max_age_us)
        return;
    uint64_t age_us = (uint64_t)((double)op->max_age_us * (1e6 / (double)node->clock_rate)) + 2;
    uint64_t at_us = world->now_us > age_us ? world->now_us - age_us : 0;
    op->floor = op->since = 0;
    for (uint32_t i = world->commits.count; i-- > 0;) {
        if (world->commits.items[i].at_us > at_us)
            continue;
        op->floor = world->commits.items[i].count;
        op->since = world->commits.items[i].tick;
        break;
    }
}

static void answer(struct world *world, struct node *node, uint64_t number, enum op_state state)
{
    uint32_t at = world_index(world, node);
    check_answer(&world->check, number, at, node->incarnation, state);
    if (world->check.failed)
        return;
    struct op *op = &world->ops.items[number];
    answer_marks(world, op, state);
    if (op_is_read(op) && state == OP_OK) {
        answer_floor(world, node, op);
        check_read(&world->check, number, op->index);
        check_read_content(world, number);
    }
    if (world->check.failed)
        return;
    if (op->client < world->knobs.client_count) {
        uint32_t leader = check_find(&world->check, raft_leader(node->raft));
        world->clients[op->client].leader =
            leader < world->node_count ? leader
                                       : (uint32_t)world_draw(world, 0, world->node_count - 1);
    }
    op_end(world, number, at, state);
}

void clients_refuse(struct world *world, struct node *node, uint64_t number, int code)
{
    if (number > 0 && number <= world->ops.count)
        world->ops.items[number].code = code;
    answer(world, node, number, code == CONCLAVE_UNKNOWN ? OP_UNKNOWN : OP_REFUSED);
}

void clients_answer(struct world *world, struct node *node, uint64_t number, uint64_t index,
                    const struct conclave_reply_sink *reply)
{
    if (number == 0 || number > world->ops.count) {
        answer(world, node, number, OP_OK);
        return;
    }
    struct op *op = &world->ops.items[number];
    if (node->altered) { /* what it says is worth nothing, until it is found */
        clients_refuse(world, node, number, op_is_read(op) ? CONCLAVE_BUSY : CONCLAVE_UNKNOWN);
        return;
    }
    struct slice body = {0};
    if (reply->body)
        body = (struct slice){reply->body->data, reply->body->bytes};
    op->index = index;
    op->code = reply->code;
    if (reply->refused || reply->code == CONCLAVE_BUSY) { /* by the sessions: not applied */
        answer(world, node, number, OP_DENIED);
        return;
    }
    if (!answer_decode(op, reply->code, body)) {
        check_fail(&world->check, "an answer has its form",
                   "n%u answers operation %llu with %s and %zu bytes", world_index(world, node) + 1,
                   (unsigned long long)number, conclave_code_name(reply->code), body.bytes);
        return;
    }
    check_repeat(&world->check, number);
    answer(world, node, number, OP_OK);
}

void clients_node_crashed(struct world *world, const struct node *node)
{
    uint32_t at = world_index(world, node);
    for (uint64_t number = 1; number <= world->ops.count; number++) {
        const struct op *op = &world->ops.items[number];
        if (op->state == OP_TAKEN && op->node == at && op->incarnation == node->incarnation) {
            report_mark(&world->report, SIM_MARK_WRITE_LOST);
            op_end(world, number, at, OP_LOST);
        }
    }
}

uint64_t clients_pending(const struct world *world)
{
    uint64_t pending = 0;
    uint32_t removed = members_committed(world)->removed;
    for (uint64_t number = 1; number <= world->ops.count; number++) {
        const struct op *op = &world->ops.items[number];
        bool taken = op->state == OP_TAKEN && !(removed >> op->node & 1);
        pending += taken || op->state == OP_SENT;
    }
    return pending;
}
