/* The hubs of the nodes (actors/stream_hub.h), over their real state machines. */
#include "tests/sim/world.h"

#include "codec/client.h"

enum { LOSS_CHANCE = 10 /* of each frame, in thousandths */ };

/* Reads of the hubs: this bit, and the node's time when it was begun. */
#define HUB_READ (UINT64_C(1) << 63)

void hubs_node_started(struct world *world, struct node *node)
{
    const struct knobs *knobs = &world->knobs;
    struct store *store = machine_store(node->machine);
    struct feed feeds[STREAM_KINDS] = {0};
    feeds[STREAM_WATCH] = store_feed(store);
    feeds[STREAM_TOPIC] = store_topic_feed(store);
    feeds[STREAM_GROUP] = store_group_feed(store);
    for (int i = 0; i < STREAM_KINDS; i++)
        feeds[i] =
            narrow_feed_as_feed(&node->feeds[i], feeds[i], knobs->feed_looks, knobs->feed_bytes);
    node->hub = stream_hub_create(feeds);
    node->hub_at_us = UINT64_MAX;
}

void hubs_node_forgotten(struct node *node)
{
    stream_hub_destroy(node->hub);
    node->hub = NULL;
}

static void hub_queue(struct world *world, struct node *node, uint64_t delay_us)
{
    if (world->now_us + delay_us >= node->hub_at_us)
        return;
    node->hub_at_us = world->now_us + delay_us;
    world_push(world, delay_us,
               (struct sim_event){.kind = SIM_HUB,
                                  .node = world_index(world, node),
                                  .incarnation = node->incarnation});
}

/* Until the next turn: changes come between two pieces of what is told. */
static uint64_t turn_delay(struct world *world)
{
    uint64_t most = world->knobs.hub_us_max;
    return most ? world_draw(world, 0, most) : 0;
}

void hubs_node_applied(struct world *world, struct node *node)
{
    stream_hub_applied(node->hub);
    if (stream_hub_count(node->hub))
        hub_queue(world, node, turn_delay(world));
}

bool hubs_read(uint64_t number)
{
    return (number & HUB_READ) != 0;
}

void hubs_confirmed(struct world *world, struct node *node, uint64_t number)
{
    stream_hub_fresh(node->hub, number & ~HUB_READ);
    hub_queue(world, node, 0);
}

/* A frame, or the end (body NULL), is on its way. */
static void send_frame(struct world *world, const struct stream_output *output)
{
    struct sim_watcher *watcher = &world->watches.all[(output->client - 1) % SIM_STREAMS];
    bool lost = !world->calm && knobs_chance(&world->prng, LOSS_CHANCE);
    uint64_t at_us = world->now_us + world_draw(world, 1, world->knobs.network_us_max);
    if (lost && output->id == watcher->id)
        report_mark(&world->report, SIM_MARK_WATCH_LOST);
    if (lost) {
        buf_unref(output->body);
        return;
    }
    if (at_us < watcher->deliver_us)
        at_us = watcher->deliver_us;
    watcher->deliver_us = at_us;
    world_push(world, at_us - world->now_us,
               (struct sim_event){.kind = SIM_TOLD,
                                  .node = (uint32_t)(watcher - world->watches.all),
                                  .a = output->id,
                                  .b = (uint64_t)output->code,
                                  .ptr = output->body});
}

static void hub_turn(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    if (!node->up || node->incarnation != event->incarnation || node->hub_at_us != world->now_us)
        return;
    uint64_t now_us = node_clock(world, node);
    node->hub_at_us = UINT64_MAX;
    if (node->install_waits)
        return; /* there is nothing to read: it goes on when something is applied */
    stream_hub_turn(node->hub, now_us);
    if (stream_hub_wants_read(node->hub, now_us))
        node_give(world, node,
                  (struct raft_event){.type = RAFT_EVENT_READ, .read = HUB_READ | now_us});
    struct stream_outputs *outputs = stream_hub_outputs(node->hub);
    for (uint32_t i = 0; i < outputs->count; i++)
        if (node->altered) /* what it tells is wrong, and no fault of what is looked at here */
            buf_unref(outputs->items[i].body);
        else
            send_frame(world, &outputs->items[i]);
    outputs->count = 0;
    uint64_t due_us = stream_hub_due_us(node->hub);
    if (due_us != UINT64_MAX)
        hub_queue(world, node, due_us > now_us ? due_us - now_us : turn_delay(world));
}

static void asked(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    struct buf *body = event->ptr;
    struct slice bytes = body ? (struct slice){body->data, body->bytes} : (struct slice){0};
    /* Each node knows a watcher as one client, from one subscription to the next. */
    uint64_t client = event->a + 1;
    if (node->up) {
        struct meter *meter = meter_create(world->watches.meter);
        uint64_t now_us = node_clock(world, node);
        if (event->b == CLIENT_OP_SUBSCRIBE)
            stream_hub_subscribe(node->hub, client, event->c, meter, bytes, now_us);
        else if (event->b == CLIENT_OP_CREDIT)
            stream_hub_credit(node->hub, client, event->c, bytes, now_us);
        else
            stream_hub_unsubscribe(node->hub, client, event->c);
        meter_unref(meter);
        hub_queue(world, node, 0);
    }
    buf_unref(body);
}

void hubs_event(struct world *world, const struct sim_event *event)
{
    if (event->kind == SIM_HUB)
        hub_turn(world, event);
    else
        asked(world, event);
}
