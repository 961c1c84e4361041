#include "tests/sim/world.h"

/* Every answer an operation gets, of every kind, passes here once. */
static void op_end(struct world *world, uint64_t number, uint32_t node, enum op_state state)
{
    struct op *op = &world->ops.items[number];
    op->state = state;
    if (state == OP_OK || state == OP_REFUSED || state == OP_UNKNOWN)
        op->finished = world->tick;
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_ANSWER,
                                                 .node = node,
                                                 .v = {number, state, op->index, op->value}});
    if (op->client >= world->knobs.client_count)
        return; /* the calm phase's own */
    struct client *client = &world->clients[op->client];
    if (op->epoch == client->epoch && --client->outstanding == 0)
        world_push(world, world_draw(world, 0, world->knobs.think_us_max),
                   (struct sim_event){.kind = SIM_CLIENT, .a = op->client, .b = client->epoch});
}

static uint64_t op_create(struct world *world, enum op_kind kind, uint32_t client, uint32_t node)
{
    struct op op = {.kind = kind,
                    .state = OP_SENT,
                    .client = client,
                    .node = node,
                    .cell = (uint32_t)world_draw(world, 0, SIM_REGISTERS - 1),
                    .epoch = client < SIM_CLIENTS_MAX ? world->clients[client].epoch : 0,
                    .invoked = world->tick,
                    .floor = world->check.oracle.count};
    return ops_add(&world->ops, op);
}

/* Creates `count` operations of one kind and sends them to a node as one request. */
static uint64_t request_send(struct world *world, uint32_t client, uint32_t node, enum op_kind kind,
                             uint64_t count)
{
    uint64_t first = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number = op_create(world, kind, client, node);
        first = first ? first : number;
    }
    uint64_t delay = world_draw(world, 1, world->knobs.network_us_max);
    world_push(world, delay,
               (struct sim_event){.kind = SIM_REQUEST, .node = node, .a = first, .b = count});
    return first;
}

static void client_invoke(struct world *world, uint32_t number)
{
    const struct knobs *knobs = &world->knobs;
    struct client *client = &world->clients[number];
    uint32_t node = client->leader;
    if (!knobs_chance(&world->prng, knobs->leader_guess_chance))
        node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    bool read = knobs_chance(&world->prng, knobs->read_chance);
    uint64_t count = world_draw(world, 1, knobs->burst_max);
    client->outstanding = (uint32_t)count;
    client->epoch++;
    /* It gives up some time later and goes on; what it asked for may still happen. */
    world_push(world, knobs->raft.election_timeout_us * world_draw(world, 1, 16) / 4,
               (struct sim_event){.kind = SIM_CLIENT, .a = number, .b = client->epoch});
    if (world_grant(world, SIM_ACTION_REQUEST))
        request_send(world, number, node, read ? OP_READ : OP_WRITE, count);
}

/* Commands that arrive together are one batch for the core. */
static void request_propose(struct world *world, struct node *node, uint64_t first, uint64_t count)
{
    struct raft_batch *batch = raft_batch_create((uint32_t)count);
    for (uint64_t number = first; number < first + count; number++) {
        const struct op *op = &world->ops.items[number];
        uint32_t pad = (uint32_t)world_draw(world, 0, world->knobs.pad_max);
        struct buf *buf = command_encode(number, op->cell, pad);
        raft_batch_add(batch,
                       (struct raft_entry){.origin = {.client = op->client + 1u, .request = number},
                                           .buf = buf,
                                           .payload = {buf->data, buf->bytes},
                                           .kind = RAFT_ENTRY_COMMAND});
    }
    report_event(&world->report, (struct record){.at_us = world->now_us,
                                                 .kind = RECORD_PROPOSE,
                                                 .node = world_index(world, node),
                                                 .v = {first, count}});
    node_give(world, node, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .propose = batch});
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
        if (op->kind == OP_WRITE)
            continue;
        report_event(&world->report, (struct record){.at_us = world->now_us,
                                                     .kind = RECORD_READ,
                                                     .node = event->node,
                                                     .v = {number}});
        check_read_arrives(&world->check, number, event->node);
        bool lease = knobs_chance(&world->prng, world->knobs.lease_chance);
        node_give(world, node,
                  (struct raft_event){.type = lease ? RAFT_EVENT_READ_LEASE : RAFT_EVENT_READ,
                                      .read = number});
    }
    if (node->up && world->ops.items[event->a].kind == OP_WRITE)
        request_propose(world, node, event->a, event->b);
}

void clients_start(struct world *world)
{
    for (uint32_t i = 0; i < world->knobs.client_count; i++) {
        world->clients[i].leader = (uint32_t)world_draw(world, 0, world->node_count - 1);
        world_push(world, world_draw(world, 0, world->knobs.think_us_max),
                   (struct sim_event){.kind = SIM_CLIENT, .a = i});
    }
}

static void stray_send(struct world *world, uint32_t node)
{
    enum op_kind kind = world_draw(world, 0, 3) == 0 ? OP_WRITE : OP_READ;
    if (!world->calm && world_grant(world, SIM_ACTION_STRAY))
        request_send(world, SIM_CLIENTS_MAX, node, kind, 1);
}

void clients_event(struct world *world, const struct sim_event *event)
{
    if (event->kind == SIM_REQUEST)
        request_arrive(world, event);
    else if (event->kind == SIM_STRAY)
        stray_send(world, event->node);
    else if (!world->calm && world->clients[event->a].epoch == event->b)
        client_invoke(world, (uint32_t)event->a);
}

void clients_tempt(struct world *world, uint32_t old_leader)
{
    for (uint64_t count = world_draw(world, 0, 6); count > 0; count--)
        world_push(world, world_draw(world, 0, world->knobs.raft.election_timeout_us),
                   (struct sim_event){.kind = SIM_STRAY, .node = old_leader});
}

void clients_probe(struct world *world, uint32_t node, uint64_t *ret_write, uint64_t *ret_read)
{
    *ret_write = request_send(world, SIM_CLIENTS_MAX, node, OP_WRITE, 1);
    *ret_read = request_send(world, SIM_CLIENTS_MAX, node, OP_READ, 1);
}

static void answer_marks(struct world *world, const struct op *op, enum op_state state)
{
    struct report *report = &world->report;
    if (op->kind == OP_READ)
        report_mark(report, state == OP_OK ? SIM_MARK_READ_OK : SIM_MARK_READ_REFUSED);
    else if (state == OP_UNKNOWN)
        report_mark(report, SIM_MARK_WRITE_UNKNOWN);
    else
        report_mark(report, state == OP_OK ? SIM_MARK_WRITE_OK : SIM_MARK_WRITE_REFUSED);
}

void clients_answer(struct world *world, struct node *node, uint64_t number, enum op_state state,
                    uint64_t index, uint64_t value)
{
    uint32_t at = world_index(world, node);
    check_answer(&world->check, number, at, node->incarnation, state);
    if (world->check.failed)
        return;
    struct op *op = &world->ops.items[number];
    op->index = index;
    op->value = value;
    answer_marks(world, op, state);
    if (op->kind == OP_READ && state == OP_OK)
        check_read(&world->check, number, index);
    if (op->client < world->knobs.client_count) {
        uint32_t leader = check_find(&world->check, raft_leader(node->raft));
        world->clients[op->client].leader =
            leader < world->node_count ? leader
                                       : (uint32_t)world_draw(world, 0, world->node_count - 1);
    }
    op_end(world, number, at, state);
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
