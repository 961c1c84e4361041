/* Watchers, and the hubs of the nodes. */
#include "tests/sim/world.h"

#include "codec/client.h"

#include <stdlib.h>
#include <string.h>

enum {
    STEP_US_MAX = 20000,
    SILENCE_US = WATCH_PATIENCE_US / 2, /* longer than a hub is silent */
    AGE_MS_MAX = 8000,                  /* the node is cut off, and would tell nothing for ever */
    LEAVE_CHANCE = 30,                  /* of each step, in thousandths */
    LOSS_CHANCE = 10,                   /* of each frame */
    GRANT_BYTES_MAX = 2000              /* of each step */
};

/* Reads of the hubs: this bit, and the node's time when it was begun. */
#define HUB_READ (UINT64_C(1) << 63)

/* --- What happened ---------------------------------------------------------------------------- */

static struct slice cell_name(char room[8], uint32_t cell)
{
    room[0] = 'k';
    room[1] = (char)('0' + cell);
    return (struct slice){(const uint8_t *)room, 2};
}

/* What is different from before is what the entry did. */
void watches_note(struct world *world)
{
    struct watches *watches = &world->watches;
    const struct reference *reference = &world->reference;
    for (uint64_t revision = watches->revision + 1; revision <= reference->revision; revision++)
        for (uint32_t cell = 0; cell < SIM_KEYS; cell++) {
            const struct reference_key *now = &reference->keys[cell];
            char room[8];
            bool gone = !now->version && watches->keys[cell].version;
            if (gone && revision == reference->gone[cell])
                oracle_add(&watches->oracle, revision - 1, revision, cell_name(room, cell), 0);
            else if (now->version && now->mod_revision == revision)
                oracle_add(&watches->oracle, revision - 1, revision, cell_name(room, cell),
                           now->value);
        }
    watches->revision = reference->revision;
    memcpy(watches->keys, reference->keys, sizeof watches->keys);
}

/* --- Nodes ------------------------------------------------------------------------------------ */

void watches_node_started(struct world *world, struct node *node)
{
    (void)world;
    struct feed feeds[STREAM_KINDS] = {0};
    feeds[STREAM_WATCH] = store_feed(machine_store(node->machine));
    node->hub = stream_hub_create(feeds);
    node->hub_at_us = UINT64_MAX;
}

void watches_node_forgotten(struct node *node)
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

void watches_node_applied(struct world *world, struct node *node)
{
    stream_hub_applied(node->hub);
    if (stream_hub_count(node->hub))
        hub_queue(world, node, 0);
}

bool watches_read(uint64_t number)
{
    return (number & HUB_READ) != 0;
}

void watches_confirmed(struct world *world, struct node *node, uint64_t number)
{
    stream_hub_fresh(node->hub, number & ~HUB_READ);
    hub_queue(world, node, 0);
}

/* A frame, or the end (body NULL), is on its way. */
static void send_frame(struct world *world, const struct stream_output *output)
{
    struct sim_watcher *watcher = &world->watches.all[(output->client - 1) % SIM_WATCHERS];
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
                                  .ptr = output->body});
}

static void hub_turn(struct world *world, const struct sim_event *event)
{
    struct node *node = &world->nodes[event->node];
    if (!node->up || node->incarnation != event->incarnation || node->hub_at_us != world->now_us)
        return;
    uint64_t now_us = node_clock(world, node);
    node->hub_at_us = UINT64_MAX;
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
        hub_queue(world, node, due_us > now_us ? due_us - now_us : 0);
}

/* --- Watchers --------------------------------------------------------------------------------- */

void watches_start(struct world *world)
{
    static const char *const bounds[SIM_WATCHERS][2] = {{"", ""}, {"k1", "k3"}, {"k2", "k2\0"}};
    static const size_t bytes[SIM_WATCHERS][2] = {{0, 0}, {2, 2}, {2, 3}};
    world->watches.oracle.hash = reference_value_hash;
    world->watches.meter = meter_create(NULL);
    for (uint32_t i = 0; i < SIM_WATCHERS; i++) {
        struct watcher *watcher = &world->watches.all[i].watcher;
        watcher_init(watcher, &world->watches.oracle,
                     (struct slice){(const uint8_t *)bounds[i][0], bytes[i][0]},
                     (struct slice){(const uint8_t *)bounds[i][1], bytes[i][1]},
                     i == 1 ? WATCH_INITIAL | WATCH_PREVIOUS : 0);
        world_push(world, (uint64_t)i * STEP_US_MAX,
                   (struct sim_event){.kind = SIM_WATCHER, .node = i});
    }
}

void watches_deinit(struct world *world)
{
    for (uint32_t i = 0; i < SIM_WATCHERS; i++)
        watcher_deinit(&world->watches.all[i].watcher);
    oracle_deinit(&world->watches.oracle);
    meter_unref(world->watches.meter);
}

static void say(struct world *world, struct sim_watcher *watcher, enum client_op_type type,
                struct buf *body)
{
    uint64_t delay_us = world_draw(world, 1, world->knobs.network_us_max);
    world_push(world, delay_us,
               (struct sim_event){.kind = SIM_ASKED,
                                  .node = watcher->node,
                                  .a = (uint64_t)(watcher - world->watches.all),
                                  .b = type,
                                  .c = watcher->id,
                                  .ptr = body});
}

static void subscribe(struct world *world, struct sim_watcher *watcher)
{
    uint32_t living = members_living(world);
    uint32_t node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    if (!world->nodes[node].up || (world->calm && !(living >> node & 1)))
        return;
    if (watcher->watcher.begins)
        report_mark(&world->report, SIM_MARK_WATCH_AGAIN);
    watcher->node = node;
    watcher->id = ++world->watches.ids;
    watcher->subscribed = true;
    watcher->heard_us = world->now_us;
    watcher->watcher.granted = world_draw(world, 0, GRANT_BYTES_MAX);
    say(world, watcher, CLIENT_OP_SUBSCRIBE, watcher_subscribe(&watcher->watcher));
}

static void leave(struct world *world, struct sim_watcher *watcher)
{
    if (world_draw(world, 0, 1))
        say(world, watcher, CLIENT_OP_UNSUBSCRIBE, NULL);
    watcher->subscribed = false;
    watcher_lost(&watcher->watcher);
}

static void grant(struct world *world, struct sim_watcher *watcher)
{
    struct pack pack;
    struct watcher *told = &watcher->watcher;
    told->granted += world->calm ? 1 << 20 : world_draw(world, 0, GRANT_BYTES_MAX);
    if (told->ask == told->answered) {
        told->ask++;
        told->ask_revision = world->watches.revision;
    }
    pack_init(&pack, 0);
    stream_credit_pack(&pack, &(struct stream_credit){told->granted, told->ask});
    say(world, watcher, CLIENT_OP_CREDIT, pack_take(&pack));
}

/* Subscribes, or grants, or leaves. */
static void step(struct world *world, uint32_t number)
{
    struct sim_watcher *watcher = &world->watches.all[number];
    const struct knobs *knobs = &world->knobs;
    uint64_t patience_us = watcher->watcher.begun
                               ? SILENCE_US
                               : 3 * knobs->raft.election_timeout_us + 4 * knobs->network_us_max;
    world_push(world, world_draw(world, 1, STEP_US_MAX) + knobs->network_us_max,
               (struct sim_event){.kind = SIM_WATCHER, .node = number});
    if (!watcher->subscribed)
        subscribe(world, watcher);
    else if (world->now_us > watcher->heard_us + patience_us ||
             watcher->watcher.age_ms > AGE_MS_MAX ||
             (!world->calm && knobs_chance(&world->prng, LEAVE_CHANCE)))
        leave(world, watcher);
    else if (watcher->watcher.begun)
        grant(world, watcher);
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

static void told(struct world *world, const struct sim_event *event)
{
    struct sim_watcher *watcher = &world->watches.all[event->node];
    struct watcher *state = &watcher->watcher;
    struct buf *body = event->ptr;
    uint64_t events = state->events, states = state->states, answered = state->answered;
    if (!watcher->subscribed || event->a != watcher->id) { /* of one that it has left */
        buf_unref(body);
        return;
    }
    watcher->heard_us = world->now_us;
    world->watches.frames++;
    if (!body || !watcher_take(state, (struct slice){body->data, body->bytes})) {
        watcher->subscribed = false; /* it ended, or a frame was lost */
        watcher_lost(state);
    }
    buf_unref(body);
    world->report.marks[SIM_MARK_WATCH_EVENT] += state->events - events;
    world->report.marks[SIM_MARK_WATCH_STATE] += state->states - states;
    if (state->answered != answered && state->answered)
        report_mark(&world->report, SIM_MARK_WATCH_ASKED);
    if (state->wrong)
        check_fail(&world->check, "watches tell everything once and in order",
                   "watcher %u at n%u: %s (revision %llu)", event->node + 1, watcher->node + 1,
                   state->wrong, (unsigned long long)state->wrong_revision);
}

void watches_event(struct world *world, const struct sim_event *event)
{
    switch (event->kind) {
    case SIM_HUB:
        hub_turn(world, event);
        return;
    case SIM_WATCHER:
        step(world, event->node);
        return;
    case SIM_ASKED:
        asked(world, event);
        return;
    default:
        told(world, event);
    }
}

bool watches_rest(const struct world *world)
{
    for (uint32_t i = 0; i < SIM_WATCHERS; i++)
        if (!watcher_is_at(&world->watches.all[i].watcher, world->watches.revision + 1))
            return false;
    return true;
}
