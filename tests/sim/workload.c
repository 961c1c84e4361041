/* What the clients do: reads, plain commands, and commands of a session that they number, send
 * again when they were not answered, and acknowledge.
 *
 * A client sends one request of one or several operations at a time, to the node that it takes for
 * the leader or to any, and waits until all were answered, or for a while. Commands of its session
 * stay with it until they are answered: it sends them again, as a rule; or it gives them up, and
 * acknowledges them with the next ones. Requests that it gave up are still on their way. */
#include "tests/sim/world.h"

#include "base/list.h"

#include <string.h>

enum { IDLE_FACTOR = 40 };

uint64_t workload_pause(struct world *world)
{
    uint64_t pause_us = world_draw(world, 0, world->knobs.think_us_max);
    return knobs_chance(&world->prng, world->knobs.idle_chance) ? pause_us * IDLE_FACTOR : pause_us;
}

void clients_start(struct world *world)
{
    for (uint32_t i = 0; i < world->knobs.client_count; i++) {
        world->clients[i].leader = (uint32_t)world_draw(world, 0, world->node_count - 1);
        world->clients[i].in_session = knobs_chance(&world->prng, world->knobs.session_chance);
        world_push(world, world_draw(world, 0, world->knobs.think_us_max),
                   (struct sim_event){.kind = SIM_CLIENT, .a = i});
    }
}

/* --- Sessions --------------------------------------------------------------------------------- */

/* The number below which all commands are answered, or given up. */
static uint64_t acknowledged(const struct world *world, const struct client *client)
{
    if (client->commands.count > 0)
        return world->ops.items[client->commands.items[0]].sequence - 1;
    return client->next - 1;
}

static void session_begin(struct client *client, uint64_t session)
{
    client->session = session;
    client->next = 1;
    client->commands.count = 0;
    client->done = 0;
}

static void command_done(struct client *client, uint64_t first)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < client->commands.count; i++) {
        if (client->commands.items[i] != first)
            client->commands.items[kept++] = client->commands.items[i];
    }
    client->commands.count = kept;
    client->done = first;
}

static void denied(struct world *world, struct client *client, const struct op *op)
{
    struct report *report = &world->report;
    if (op->code == CONCLAVE_SESSION_EXPIRED) {
        report_mark(report, SIM_MARK_SESSION_EXPIRED);
        /* Some go on for a while as if nothing had happened. */
        if (op->session == client->session && world_draw(world, 0, 3) > 0)
            session_begin(client, 0);
    } else if (op->code == CONCLAVE_FORGOTTEN) {
        report_mark(report, SIM_MARK_SESSION_FORGOTTEN);
        if (op->session == client->session)
            command_done(client, op->first);
    } else {
        report_mark(report, SIM_MARK_SESSION_NO_ROOM);
    }
}

static void published(struct world *world, struct client *client, const struct op *op)
{
    if (op->code == CONCLAVE_NOT_FOUND)
        return;
    if (op->value > 0)
        client->last[op->cell] = op->value;
    report_mark(&world->report, op->code == CONCLAVE_COMPARE_FAILED ? SIM_MARK_PUBLISH_BEHIND
                                : op->value == 0                    ? SIM_MARK_PUBLISHED_BEFORE
                                                                    : SIM_MARK_PUBLISHED);
}

/* Some go on for a while as if nothing had happened. */
static void lease_lost(struct world *world, struct client *client, const struct op *op)
{
    report_mark(&world->report, SIM_MARK_LEASE_REFUSED);
    if (op->lease == client->lease && world_draw(world, 0, 2) > 0)
        client->lease = 0;
}

void workload_answered(struct world *world, struct client *client, const struct op *op)
{
    if (op->state == OP_DENIED) {
        denied(world, client, op);
        return;
    }
    if (op->state != OP_OK)
        return;
    if (op->kind == OP_OPEN && client->session == 0)
        session_begin(client, op->value);
    if (op->sequence && op->session == client->session)
        command_done(client, op->first);
    workload_rich_answered(world, client, op);
    if (op->code == CONCLAVE_QUOTA)
        return;
    if (op->kind == OP_GET && !op->revision_at)
        client->seen[op->cell] = op->items[0].mod_revision;
    else if (op->code == CONCLAVE_LEASE_EXPIRED)
        lease_lost(world, client, op);
    else if (op->kind == OP_PUBLISH && !op->limit)
        published(world, client, op);
    else if (op->kind == OP_GRANT)
        client->lease = op->value;
    else if (op->kind == OP_PUT)
        client->seen[op->cell] = op->code == CONCLAVE_OK ? op->revision : op->value;
}

/* --- Single operations ------------------------------------------------------------------------ */

static struct op draw_read(struct world *world, const struct client *client)
{
    struct op op = {.kind = world_draw(world, 0, 3) == 0 ? OP_RANGE : OP_GET,
                    .cell = (uint32_t)world_draw(world, 0, SIM_KEYS - 1)};
    if (knobs_chance(&world->prng, world->knobs.stale_chance))
        op.max_age_us =
            world->knobs.raft.election_timeout_us * (UINT64_C(1) << world_draw(world, 0, 4)) / 4;
    if (op.kind == OP_RANGE)
        op.cell = 0;
    if (world->knobs.rich)
        workload_rich_read(world, client, &op);
    return op;
}

static struct op draw_put(struct world *world)
{
    return (struct op){.kind = OP_PUT,
                       .cell = (uint32_t)world_draw(world, 0, SIM_KEYS - 1),
                       .pad = (uint32_t)world_draw(world, 0, world->knobs.pad_max)};
}

/* Makes some commands those about leases, or puts of keys that end: of the client's own, as a
 * rule. */
static void draw_ttl(struct world *world, const struct client *client, struct op *op)
{
    const struct knobs *knobs = &world->knobs;
    if (!knobs_chance(&world->prng, knobs->ttl_chance))
        return;
    uint64_t draw = world_draw(world, 0, 11);
    uint64_t ttl_ms = world_draw(world, 1, knobs->ttl_ms_max);
    uint64_t other = world_draw(world, 0, knobs->client_count - 1);
    uint64_t lease = draw == 9 ? world->clients[other].lease : client->lease;
    if (op->kind == OP_PUT && draw >= 10) {
        op->ttl_ms = ttl_ms;
    } else if (lease == 0 || draw == 0) {
        *op = (struct op){.kind = OP_GRANT, .ttl_ms = ttl_ms};
    } else if (draw <= 4) {
        *op = (struct op){.kind = draw == 1 ? OP_REVOKE : OP_RENEW, .lease = lease};
    } else if (op->kind == OP_PUT) {
        op->lease = lease;
    }
}

/* Makes some commands those about the topic: with few ids, so that they meet. */
static void draw_topic(struct world *world, const struct client *client, struct op *op)
{
    enum { IDS = 9 };
    if (world->knobs.topics_rich || !knobs_chance(&world->prng, world->knobs.topic_chance))
        return;
    *op = (struct op){.kind = world_draw(world, 0, 19) == 0 ? OP_CREATE : OP_PUBLISH};
    op->settings = world->knobs.topics[0];
    if (op->kind == OP_CREATE)
        return;
    op->message_id = world_draw(world, 0, IDS);
    op->pad = (uint32_t)world_draw(world, 0, world->knobs.pad_max);
    op->conditional = world_draw(world, 0, 2) == 0;
    op->condition = op->conditional ? client->last[0] : 0;
}

/* Puts and deletes; some on condition that the key is as the client saw it last, or not there. */
static struct op draw_command(struct world *world, const struct client *client)
{
    struct op op = draw_put(world);
    uint64_t draw = world_draw(world, 0, 19);
    if (draw >= 18) {
        op.kind = OP_DELETE_RANGE;
        op.cell_end = (uint32_t)world_draw(world, op.cell, SIM_KEYS);
        op.no_end = op.cell_end == SIM_KEYS && world_draw(world, 0, 1);
    } else if (draw >= 14) {
        op.kind = OP_DELETE;
    }
    if (op.kind != OP_DELETE_RANGE && world_draw(world, 0, 2) == 0) {
        op.conditional = true;
        op.condition = world_draw(world, 0, 5) == 0 ? 0 : client->seen[op.cell];
    }
    if (op.kind != OP_PUT)
        op.pad = 0;
    return op;
}

/* --- Requests --------------------------------------------------------------------------------- */

/* A new command of the client's session. */
static uint64_t command_add(struct world *world, uint32_t number, uint32_t node)
{
    struct client *client = &world->clients[number];
    struct op op = draw_command(world, client);
    draw_ttl(world, client, &op);
    draw_topic(world, client, &op);
    workload_rich(world, client, &op);
    op.session = client->session;
    op.sequence = client->next++;
    op.acknowledged = client->commands.count ? acknowledged(world, client) : op.sequence - 1;
    uint64_t first = request_add(world, op, number, node);
    LIST_RESERVE(&client->commands);
    client->commands.items[client->commands.count++] = first;
    return first;
}

/* A command once more, with what is acknowledged by now. */
static uint64_t command_repeat(struct world *world, uint64_t first, uint64_t acknowledges,
                               uint32_t client, uint32_t node)
{
    struct op again = op_again(&world->ops.items[first]);
    if (acknowledges > again.acknowledged)
        again.acknowledged = acknowledges;
    again.first = first;
    report_mark(&world->report, SIM_MARK_COMMAND_SENT_AGAIN);
    return request_add(world, again, client, node);
}

/* Returns how many operations it added. */
static uint64_t repeat_all(struct world *world, uint32_t number, uint32_t node)
{
    const struct client *client = &world->clients[number];
    for (uint32_t i = 0; i < client->commands.count; i++)
        command_repeat(world, client->commands.items[i], acknowledged(world, client), number, node);
    return client->commands.count;
}

/* One operation for the session itself, or an old command that comes late. */
static uint64_t session_add(struct world *world, uint32_t number, uint32_t node)
{
    struct client *client = &world->clients[number];
    struct op op = {.kind = OP_KEEP_ALIVE,
                    .session = client->session,
                    .acknowledged = acknowledged(world, client)};
    uint64_t draw = world_draw(world, 0, 7);
    if (draw >= 4 && client->done) {
        command_repeat(world, client->done, 0, number, node);
        return 1;
    }
    if (draw == 0) {
        op.kind = OP_CLOSE;
        session_begin(client, 0);
    }
    request_add(world, op, number, node);
    return 1;
}

/* Adds the operations of the client's next request. Returns how many. */
static uint64_t draw_request(struct world *world, uint32_t number, uint32_t node)
{
    const struct knobs *knobs = &world->knobs;
    struct client *client = &world->clients[number];
    bool quiet = world->now_us < world->quiet_until_us;
    if (client->commands.count > 0 && !quiet) {
        if (knobs_chance(&world->prng, knobs->retry_chance))
            return repeat_all(world, number, node);
        client->commands.count = 0; /* gives them up */
    }
    uint64_t count = world_draw(world, 1, knobs->burst_max);
    if (quiet || knobs_chance(&world->prng, knobs->read_chance)) {
        for (uint64_t i = 0; i < count; i++)
            request_add(world, draw_read(world, client), number, node);
        return count;
    }
    if (client->in_session && client->session == 0) {
        request_add(world, (struct op){.kind = OP_OPEN}, number, node);
        return 1;
    }
    if (client->in_session && world_draw(world, 0, 9) == 0)
        return session_add(world, number, node);
    for (uint64_t i = 0; i < count; i++) {
        if (client->in_session) {
            command_add(world, number, node);
            continue;
        }
        struct op op = draw_put(world);
        draw_ttl(world, client, &op);
        draw_topic(world, client, &op);
        workload_rich(world, client, &op);
        request_add(world, op, number, node);
    }
    return count;
}

void workload_next(struct world *world, uint32_t number)
{
    const struct knobs *knobs = &world->knobs;
    struct client *client = &world->clients[number];
    uint32_t node = client->leader;
    if (!knobs_chance(&world->prng, knobs->leader_guess_chance))
        node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    client->epoch++;
    /* It gives up some time later and goes on; what it asked for may still happen. */
    world_push(world, knobs->raft.election_timeout_us * world_draw(world, 1, 16) / 4,
               (struct sim_event){.kind = SIM_CLIENT, .a = number, .b = client->epoch});
    if (!world_grant(world, SIM_ACTION_REQUEST))
        return;
    uint64_t first = world->ops.count + 1;
    uint64_t count = draw_request(world, number, node);
    client->outstanding = (uint32_t)count;
    request_send(world, node, first, count);
}

/* --- Operations of nobody who waits ----------------------------------------------------------- */

void clients_tempt(struct world *world, uint32_t old_leader)
{
    for (uint64_t count = world_draw(world, 0, 6); count > 0; count--)
        world_push(world, world_draw(world, 0, world->knobs.raft.election_timeout_us),
                   (struct sim_event){.kind = SIM_STRAY, .node = old_leader});
}

/* Also a command of some client's session that the client may be sending elsewhere. */
void workload_stray(struct world *world, uint32_t node)
{
    uint64_t number = world_draw(world, 0, world->knobs.client_count - 1);
    const struct client *client = &world->clients[number];
    uint64_t draw = world_draw(world, 0, 3);
    uint64_t first;
    if (world->calm || world->now_us < world->quiet_until_us ||
        !world_grant(world, SIM_ACTION_STRAY))
        return;
    if (draw == 1 && client->commands.count > 0)
        first = command_repeat(world, client->commands.items[0], 0, SIM_CLIENTS_MAX, node);
    else
        first = request_add(world, draw == 0 ? draw_put(world) : draw_read(world, client),
                            SIM_CLIENTS_MAX, node);
    request_send(world, node, first, 1);
}

void clients_probe(struct world *world, uint32_t node, uint64_t *ret_write, uint64_t *ret_read)
{
    struct op read = {.kind = OP_RANGE};
    if (world->knobs.quota_chance) {
        const struct op lifted = {.kind = OP_SETTINGS, .quota = SIM_QUOTA_NONE};
        request_send(world, node, request_add(world, lifted, SIM_CLIENTS_MAX, node), 1);
    }
    *ret_write = request_add(world, draw_put(world), SIM_CLIENTS_MAX, node);
    request_send(world, node, *ret_write, 1);
    *ret_read = request_add(world, read, SIM_CLIENTS_MAX, node);
    request_send(world, node, *ret_read, 1);
}
