/* Watchers, and the hubs of the nodes. */
#include "tests/sim/world.h"

#include "codec/client.h"

#include <endian.h>
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

static struct slice cell_name(char room[ORACLE_KEY_BYTES], uint32_t cell)
{
    room[0] = 'k';
    room[1] = (char)('0' + cell);
    return (struct slice){(const uint8_t *)room, 2};
}

/* The name of the queue, a zero byte, the token. */
static struct slice place_name(char room[ORACLE_KEY_BYTES], const struct reference_change *change)
{
    struct slice name = queue_encode(change->cell - SIM_KEYS);
    uint64_t token = htobe64(change->token);
    memcpy(room, name.data, name.bytes);
    room[name.bytes] = 0;
    memcpy(room + name.bytes + 1, &token, sizeof token);
    return (struct slice){(const uint8_t *)room, name.bytes + 1 + sizeof token};
}

void watches_note(struct world *world)
{
    struct watches *watches = &world->watches;
    const struct reference *reference = &world->reference;
    for (; watches->changes < reference->changes.count; watches->changes++) {
        const struct reference_change *change = &reference->changes.items[watches->changes];
        char room[ORACLE_KEY_BYTES];
        if (change->cell < SIM_KEYS)
            oracle_add(&watches->oracle, change->revision - 1, change->revision,
                       cell_name(room, change->cell), change->value);
        else
            oracle_add(&watches->places, change->revision - 1, change->revision,
                       place_name(room, change), change->value);
    }
    watches->revision = reference->revision;
}

/* --- Nodes ------------------------------------------------------------------------------------ */

void watches_node_started(struct world *world, struct node *node)
{
    (void)world;
    struct feed feeds[STREAM_KINDS] = {0};
    feeds[STREAM_WATCH] = store_feed(machine_store(node->machine));
    feeds[STREAM_TOPIC] = store_topic_feed(machine_store(node->machine));
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
    static const char *const bounds[SIM_WATCHERS][2] = {
        {"", ""}, {"k1", "k3"}, {"k2", "k2\0"}, {"e", "m"}};
    static const size_t bytes[SIM_WATCHERS][2] = {{0, 0}, {2, 2}, {2, 3}, {1, 1}};
    world->watches.oracle.hash = world->watches.places.hash = reference_value_hash;
    world->watches.meter = meter_create(NULL);
    for (uint32_t i = 0; i < SIM_WATCHERS; i++) {
        struct watcher *watcher = &world->watches.all[i].watcher;
        bool queues = i == SIM_WATCHERS - 1; /* elections and locks */
        watcher_init(watcher, queues ? &world->watches.places : &world->watches.oracle,
                     (struct slice){(const uint8_t *)bounds[i][0], bytes[i][0]},
                     (struct slice){(const uint8_t *)bounds[i][1], bytes[i][1]},
                     i == 1 ? WATCH_INITIAL | WATCH_PREVIOUS : 0);
        watcher->spec.space = queues;
    }
    for (uint32_t i = 0; i < SIM_STREAMS; i++) {
        struct sim_watcher *watcher = &world->watches.all[i];
        watcher->subscribes = i >= SIM_WATCHERS;
        if (watcher->subscribes)
            subscriber_init(&watcher->subscriber, &world->reference,
                            (i - SIM_WATCHERS) % SIM_TOPICS);
        if (!watcher->subscribes || world->knobs.topic_chance)
            world_push(world, (uint64_t)i * STEP_US_MAX,
                       (struct sim_event){.kind = SIM_WATCHER, .node = i});
    }
}

void watches_deinit(struct world *world)
{
    for (uint32_t i = 0; i < SIM_WATCHERS; i++)
        watcher_deinit(&world->watches.all[i].watcher);
    oracle_deinit(&world->watches.oracle);
    oracle_deinit(&world->watches.places);
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

/* False: there is nothing to subscribe to. */
static bool choose(struct world *world, struct subscriber *subscriber)
{
    static const uint64_t positions[] = {0, 1, 1}; /* what comes, all that is kept, from any on */
    uint64_t draw = world_draw(world, 0, 3);
    if (subscriber->begins && subscriber->topic)
        report_mark(&world->report, SIM_MARK_SUBSCRIPTION_MOVED);
    return subscriber_choose(subscriber, draw < 3 ? positions[draw] : world_draw(world, 1, 50));
}

static void subscribe(struct world *world, struct sim_watcher *watcher)
{
    uint32_t living = members_living(world);
    uint32_t node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    struct subscriber *subscriber = &watcher->subscriber;
    if (!world->nodes[node].up || (world->calm && !(living >> node & 1)) ||
        (watcher->subscribes && !choose(world, subscriber)))
        return;
    if (watcher->watcher.begins)
        report_mark(&world->report, SIM_MARK_WATCH_AGAIN);
    watcher->node = node;
    watcher->id = ++world->watches.ids;
    watcher->subscribed = true;
    watcher->heard_us = world->now_us;
    watcher->watcher.granted = subscriber->granted = world_draw(world, 0, GRANT_BYTES_MAX);
    say(world, watcher, CLIENT_OP_SUBSCRIBE,
        watcher->subscribes ? subscriber_subscribe(subscriber)
                            : watcher_subscribe(&watcher->watcher));
}

/* It begins again, without what was open. */
static void drop(struct sim_watcher *watcher)
{
    watcher->subscribed = false;
    if (watcher->subscribes)
        subscriber_lost(&watcher->subscriber);
    else
        watcher_lost(&watcher->watcher);
}

static void leave(struct world *world, struct sim_watcher *watcher)
{
    if (world_draw(world, 0, 1))
        say(world, watcher, CLIENT_OP_UNSUBSCRIBE, NULL);
    drop(watcher);
}

static void grant(struct world *world, struct sim_watcher *watcher)
{
    struct pack pack;
    struct watcher *told = &watcher->watcher;
    struct subscriber *subscriber = &watcher->subscriber;
    told->granted += world->calm ? 1 << 20 : world_draw(world, 0, GRANT_BYTES_MAX);
    subscriber->granted = told->granted;
    if (watcher->subscribes) {
        subscriber_ask(subscriber);
    } else if (told->ask == told->answered) {
        told->ask++;
        told->ask_revision = world->watches.revision;
    }
    pack_init(&pack, 0);
    stream_credit_pack(
        &pack,
        &(struct stream_credit){told->granted, watcher->subscribes ? subscriber->ask : told->ask});
    say(world, watcher, CLIENT_OP_CREDIT, pack_take(&pack));
}

/* Subscribes, or grants, or leaves. */
static void step(struct world *world, uint32_t number)
{
    struct sim_watcher *watcher = &world->watches.all[number];
    const struct knobs *knobs = &world->knobs;
    bool begun = watcher->subscribes ? watcher->subscriber.begun : watcher->watcher.begun;
    uint64_t patience_us =
        begun ? SILENCE_US : 3 * knobs->raft.election_timeout_us + 4 * knobs->network_us_max;
    world_push(world, world_draw(world, 1, STEP_US_MAX) + knobs->network_us_max,
               (struct sim_event){.kind = SIM_WATCHER, .node = number});
    if (!watcher->subscribed)
        subscribe(world, watcher);
    else if (world->now_us > watcher->heard_us + patience_us ||
             watcher->watcher.age_ms + watcher->subscriber.age_ms > AGE_MS_MAX ||
             (!world->calm && knobs_chance(&world->prng, LEAVE_CHANCE)))
        leave(world, watcher);
    else if (begun)
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

/* A frame for a watcher of keys. False: it has lost one. */
static bool told_keys(struct world *world, struct sim_watcher *watcher, const struct buf *body)
{
    struct watcher *state = &watcher->watcher;
    uint64_t events = state->events, states = state->states, answered = state->answered;
    uint64_t resyncs = state->resyncs;
    bool goes_on = watcher_take(state, (struct slice){body->data, body->bytes});
    world->report.marks[SIM_MARK_WATCH_EVENT] += state->events - events;
    world->report.marks[SIM_MARK_WATCH_STATE] += state->states - states;
    world->report.marks[SIM_MARK_WATCH_RESYNC] += state->resyncs - resyncs;
    if (state->answered != answered && state->answered)
        report_mark(&world->report, SIM_MARK_WATCH_ASKED);
    if (state->wrong)
        check_fail(&world->check, "watches tell everything once and in order",
                   "watcher %u at n%u: %s (revision %llu)",
                   (uint32_t)(watcher - world->watches.all) + 1, watcher->node + 1, state->wrong,
                   (unsigned long long)state->wrong_revision);
    return goes_on;
}

/* A frame for a subscriber to a topic, or (NULL) the end of its subscription. */
static bool told_topic(struct world *world, struct sim_watcher *watcher, const struct buf *body,
                       int code)
{
    struct subscriber *state = &watcher->subscriber;
    const struct subscriber before = *state;
    bool goes_on = body && subscriber_take(state, (struct slice){body->data, body->bytes});
    if (!body)
        subscriber_ended(state, code);
    world->report.marks[SIM_MARK_SUBSCRIBED] += state->begins - before.begins;
    world->report.marks[SIM_MARK_SUBSCRIPTION_MESSAGE] += state->messages - before.messages;
    world->report.marks[SIM_MARK_SUBSCRIPTION_GAP] += state->gaps - before.gaps;
    world->report.marks[SIM_MARK_SUBSCRIPTION_DELETED] += state->deletions - before.deletions;
    if (state->wrong)
        check_fail(&world->check, "topics tell every message once and in order",
                   "subscriber %u at n%u: %s (%llu)", (uint32_t)(watcher - world->watches.all) + 1,
                   watcher->node + 1, state->wrong, (unsigned long long)state->wrong_at);
    return goes_on;
}

static void told(struct world *world, const struct sim_event *event)
{
    struct sim_watcher *watcher = &world->watches.all[event->node];
    struct buf *body = event->ptr;
    if (watcher->subscribed && event->a == watcher->id) { /* not of one that it has left */
        watcher->heard_us = world->now_us;
        world->watches.frames++;
        bool goes_on = watcher->subscribes ? told_topic(world, watcher, body, (int)event->b)
                                           : body && told_keys(world, watcher, body);
        if (!goes_on) /* it ended, or a frame was lost */
            drop(watcher);
    }
    buf_unref(body);
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
    for (uint32_t i = SIM_WATCHERS; i < SIM_STREAMS && world->knobs.topic_chance; i++)
        if (!subscriber_rests(&world->watches.all[i].subscriber))
            return false;
    return true;
}
