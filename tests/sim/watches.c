/* Watchers, subscribers, and those who wait for groups. */
#include "tests/sim/world.h"

#include "codec/client.h"

#include <stdlib.h>
#include <string.h>

enum {
    STEP_US_MAX = 20000,
    SILENCE_US = WATCH_PATIENCE_US / 2, /* longer than a hub is silent */
    AGE_MS_MAX = 8000,                  /* the node is cut off, and would tell nothing for ever */
    GRANT_BYTES_MAX = 2000              /* of each step */
};

/* --- What happened ---------------------------------------------------------------------------- */

/* The name of the queue, a zero byte, the token. */
static struct slice place_name(uint8_t room[ORACLE_KEY_BYTES],
                               const struct reference_change *change)
{
    return (struct slice){room, reference_place_key(change->cell - SIM_KEYS, change->token, room)};
}

void watches_note(struct world *world)
{
    struct watches *watches = &world->watches;
    const struct reference *reference = &world->reference;
    for (; watches->changes < reference->changes.count; watches->changes++) {
        const struct reference_change *change = &reference->changes.items[watches->changes];
        uint8_t room[ORACLE_KEY_BYTES];
        bool key = change->cell < SIM_KEYS;
        if (key)
            oracle_add(&watches->oracle, change->revision - 1, change->revision,
                       key_encode(change->cell, room), change->value);
        else
            oracle_add(&watches->places, change->revision - 1, change->revision,
                       place_name(room, change), change->value);
        struct oracle *oracle = key ? &watches->oracle : &watches->places;
        oracle->items[oracle->count - 1].tag = watches->changes;
    }
    watches->revision = reference->revision;
}

static bool is_told(const struct kv_item *told, const struct reference_key *key)
{
    return told->create_revision == key->create_revision &&
           told->mod_revision == key->mod_revision && told->version == key->version;
}

static const char *event_wrong(const void *arg, uint64_t tag, const struct watch_event *event,
                               bool previous)
{
    const struct reference *reference = arg;
    const struct reference_change *change = &reference->changes.items[tag];
    const struct reference_key *before = &change->before;
    uint64_t kind = change->value ? WATCH_PUT : change->expired ? WATCH_EXPIRE : WATCH_DELETE;
    if (event->kind != kind)
        return "an event is of another kind";
    if (event->create_revision != change->after.create_revision ||
        event->version != change->after.version)
        return "an event tells another key";
    if (event->has_previous != (previous && before->version > 0))
        return "an event tells what was there before, or not";
    if (event->has_previous && (!is_told(&event->previous, before) ||
                                reference_value_hash(event->previous.value) != before->value))
        return "an event tells something else that was there before";
    return NULL;
}

static const char *item_wrong(const void *arg, uint64_t tag, const struct kv_item *item)
{
    const struct reference *reference = arg;
    return is_told(item, &reference->changes.items[tag].after) ? NULL : "a state has another key";
}

/* --- Watchers --------------------------------------------------------------------------------- */

/* One that is no watcher of keys. */
static void stream_init(struct world *world, uint32_t number)
{
    struct sim_watcher *watcher = &world->watches.all[number];
    const struct knobs *knobs = &world->knobs;
    uint32_t at = number - SIM_WATCHERS;
    if (number < SIM_WATCHERS)
        return;
    if (at < SIM_SUBSCRIBERS) {
        watcher->kind = STREAM_TOPIC;
        watcher->idle = !knobs->topic_chance;
        subscriber_init(&watcher->subscriber, &world->reference, at % SIM_TOPICS);
        return;
    }
    at -= SIM_SUBSCRIBERS;
    watcher->kind = STREAM_GROUP;
    watcher->idle = !knobs->worker_count;
    waiter_init(&watcher->waiter, &world->reference, knobs->groups[at].topic, at);
}

void watches_start(struct world *world)
{
    static const char *const bounds[SIM_WATCHERS][2] = {
        {"", ""}, {"k\0", "l"}, {"k", "k\0"}, {"e", "m"}}; /* all, two of them, one, queues */
    static const size_t bytes[SIM_WATCHERS][2] = {{0, 0}, {2, 1}, {1, 2}, {1, 1}};
    struct oracle *const oracles[] = {&world->watches.oracle, &world->watches.places};
    for (size_t i = 0; i < sizeof oracles / sizeof *oracles; i++) {
        oracles[i]->hash = reference_value_hash;
        oracles[i]->event_wrong = event_wrong;
        oracles[i]->item_wrong = item_wrong;
        oracles[i]->arg = &world->reference;
    }
    const uint64_t whats[SIM_WATCHERS] = {
        world->seed % 2 ? WATCH_PREVIOUS : WATCH_INITIAL, WATCH_INITIAL | WATCH_PREVIOUS,
        world->seed % 3 ? WATCH_NO_PUTS : WATCH_NO_DELETES | WATCH_INITIAL,
        world->seed % 2 ? WATCH_INITIAL : WATCH_PREVIOUS};
    world->watches.meter = meter_create(NULL);
    for (uint32_t i = 0; i < SIM_WATCHERS; i++) {
        struct watcher *watcher = &world->watches.all[i].watcher;
        world->watches.all[i].kind = STREAM_WATCH;
        bool queues = i == SIM_WATCHERS - 1; /* elections and locks */
        watcher_init(watcher, queues ? &world->watches.places : &world->watches.oracle,
                     (struct slice){(const uint8_t *)bounds[i][0], bytes[i][0]},
                     (struct slice){(const uint8_t *)bounds[i][1], bytes[i][1]}, whats[i]);
        watcher->spec.space = queues;
    }
    for (uint32_t i = 0; i < SIM_STREAMS; i++) {
        stream_init(world, i);
        if (!world->watches.all[i].idle)
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
static bool choose(struct world *world, struct sim_watcher *watcher)
{
    static const uint64_t positions[] = {0, 1, 1}; /* what comes, all that is kept, from any on */
    struct subscriber *subscriber = &watcher->subscriber;
    if (watcher->kind == STREAM_WATCH)
        return true;
    uint64_t draw = world_draw(world, 0, 3);
    if (watcher->kind == STREAM_GROUP)
        return waiter_choose(&watcher->waiter, draw > 0);
    if (subscriber->begins && subscriber->topic)
        report_mark(&world->report, SIM_MARK_SUBSCRIPTION_MOVED);
    return subscriber_choose(subscriber, draw < 3 ? positions[draw] : world_draw(world, 1, 50));
}

/* The body of its request, with so much credit. */
static struct buf *subscribe_body(struct sim_watcher *watcher, uint64_t granted)
{
    switch (watcher->kind) {
    case STREAM_TOPIC:
        watcher->subscriber.granted = granted;
        return subscriber_subscribe(&watcher->subscriber);
    case STREAM_GROUP:
        watcher->waiter.granted = granted;
        return waiter_subscribe(&watcher->waiter);
    default:
        watcher->watcher.granted = granted;
        return watcher_subscribe(&watcher->watcher);
    }
}

static void subscribe(struct world *world, struct sim_watcher *watcher)
{
    uint32_t living = members_living(world);
    uint32_t node = (uint32_t)world_draw(world, 0, world->node_count - 1);
    if (!world->nodes[node].up || (world->calm && !(living >> node & 1)) || !choose(world, watcher))
        return;
    if (watcher->kind == STREAM_WATCH && watcher->watcher.begins)
        report_mark(&world->report, SIM_MARK_WATCH_AGAIN);
    watcher->node = node;
    watcher->id = ++world->watches.ids;
    watcher->subscribed = true;
    watcher->heard_us = world->now_us;
    say(world, watcher, CLIENT_OP_SUBSCRIBE,
        subscribe_body(watcher, world_draw(world, 0, GRANT_BYTES_MAX)));
}

/* It begins again, without what was open; or from nothing. */
static void drop(struct world *world, struct sim_watcher *watcher)
{
    watcher->subscribed = false;
    if (watcher->kind == STREAM_WATCH && !world->calm &&
        knobs_chance(&world->prng, world->knobs.forget_chance)) {
        watcher_forget(&watcher->watcher);
        report_mark(&world->report, SIM_MARK_WATCH_FORGOTTEN);
    }
    if (watcher->kind == STREAM_TOPIC)
        subscriber_lost(&watcher->subscriber);
    else if (watcher->kind == STREAM_GROUP)
        waiter_lost(&watcher->waiter);
    else
        watcher_lost(&watcher->watcher);
}

static void leave(struct world *world, struct sim_watcher *watcher)
{
    if (world_draw(world, 0, 1))
        say(world, watcher, CLIENT_OP_UNSUBSCRIBE, NULL);
    drop(world, watcher);
}

/* It wants a mark, unless one is on its way; which one. */
static uint64_t ask(const struct world *world, struct sim_watcher *watcher)
{
    struct watcher *told = &watcher->watcher;
    if (watcher->kind == STREAM_TOPIC) {
        subscriber_ask(&watcher->subscriber);
        return watcher->subscriber.ask;
    }
    if (watcher->kind == STREAM_GROUP) {
        waiter_ask(&watcher->waiter);
        return watcher->waiter.ask;
    }
    if (told->ask == told->answered) {
        told->ask++;
        told->ask_revision = world->watches.revision;
    }
    return told->ask;
}

static void grant(struct world *world, struct sim_watcher *watcher)
{
    struct pack pack;
    uint64_t *granted = watcher->kind == STREAM_TOPIC   ? &watcher->subscriber.granted
                        : watcher->kind == STREAM_GROUP ? &watcher->waiter.granted
                                                        : &watcher->watcher.granted;
    *granted += world->calm ? 1 << 20 : world_draw(world, 0, GRANT_BYTES_MAX);
    pack_init(&pack, 0);
    stream_credit_pack(&pack, &(struct stream_credit){*granted, ask(world, watcher)});
    say(world, watcher, CLIENT_OP_CREDIT, pack_take(&pack));
}

static bool has_begun(const struct sim_watcher *watcher, uint64_t *ret_age_ms)
{
    switch (watcher->kind) {
    case STREAM_TOPIC:
        *ret_age_ms = watcher->subscriber.age_ms;
        return watcher->subscriber.begun;
    case STREAM_GROUP:
        *ret_age_ms = watcher->waiter.age_ms;
        return watcher->waiter.begun;
    default:
        *ret_age_ms = watcher->watcher.age_ms;
        return watcher->watcher.begun;
    }
}

/* Subscribes, or grants, or leaves. */
static void step(struct world *world, uint32_t number)
{
    struct sim_watcher *watcher = &world->watches.all[number];
    const struct knobs *knobs = &world->knobs;
    uint64_t age_ms;
    bool begun = has_begun(watcher, &age_ms);
    uint64_t patience_us =
        begun ? SILENCE_US : 3 * knobs->raft.election_timeout_us + 4 * knobs->network_us_max;
    world_push(world, world_draw(world, 1, STEP_US_MAX) + knobs->network_us_max,
               (struct sim_event){.kind = SIM_WATCHER, .node = number});
    if (!watcher->subscribed)
        subscribe(world, watcher);
    else if (world->now_us > watcher->heard_us + patience_us || age_ms > AGE_MS_MAX ||
             (!world->calm && knobs_chance(&world->prng, knobs->leave_chance)))
        leave(world, watcher);
    else if (begun)
        grant(world, watcher);
}

/* A frame for a watcher of keys. False: it has lost one. */
static bool told_keys(struct world *world, struct sim_watcher *watcher, const struct buf *body)
{
    struct watcher *state = &watcher->watcher;
    uint64_t events = state->events, states = state->states, answered = state->answered;
    uint64_t resyncs = state->resyncs, pieces = state->pieces;
    bool goes_on = watcher_take(state, (struct slice){body->data, body->bytes});
    world->report.marks[SIM_MARK_WATCH_EVENT] += state->events - events;
    world->report.marks[SIM_MARK_WATCH_PIECE] += state->pieces - pieces;
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

/* Likewise for one who waits for a group. */
static bool told_group(struct world *world, struct sim_watcher *watcher, const struct buf *body,
                       int code)
{
    struct waiter *state = &watcher->waiter;
    const struct waiter before = *state;
    bool goes_on = body && waiter_take(state, (struct slice){body->data, body->bytes});
    if (!body)
        waiter_ended(state, code);
    world->report.marks[SIM_MARK_GROUP_WAITED] += state->begins - before.begins;
    world->report.marks[SIM_MARK_GROUP_WOKEN] += state->wakes - before.wakes;
    world->report.marks[SIM_MARK_GROUP_WAIT_ENDED] += state->deletions - before.deletions;
    if (state->wrong)
        check_fail(&world->check, "who waits for a group is woken", "waiter %u at n%u: %s (%llu)",
                   (uint32_t)(watcher - world->watches.all) + 1, watcher->node + 1, state->wrong,
                   (unsigned long long)state->wrong_at);
    return goes_on;
}

static bool told_any(struct world *world, struct sim_watcher *watcher, const struct buf *body,
                     int code)
{
    switch (watcher->kind) {
    case STREAM_TOPIC:
        return told_topic(world, watcher, body, code);
    case STREAM_GROUP:
        return told_group(world, watcher, body, code);
    default:
        return body && told_keys(world, watcher, body);
    }
}

static void told(struct world *world, const struct sim_event *event)
{
    struct sim_watcher *watcher = &world->watches.all[event->node];
    struct buf *body = event->ptr;
    if (watcher->subscribed && event->a == watcher->id) { /* not of one that it has left */
        watcher->heard_us = world->now_us;
        world->watches.frames++;
        if (!told_any(world, watcher, body, (int)event->b)) /* it ended, or a frame was lost */
            drop(world, watcher);
    }
    buf_unref(body);
}

void watches_event(struct world *world, const struct sim_event *event)
{
    if (event->kind == SIM_WATCHER)
        step(world, event->node);
    else
        told(world, event);
}

static bool rests(const struct world *world, const struct sim_watcher *watcher)
{
    switch (watcher->kind) {
    case STREAM_TOPIC:
        return subscriber_rests(&watcher->subscriber);
    case STREAM_GROUP:
        return waiter_rests(&watcher->waiter);
    default:
        return watcher_is_at(&watcher->watcher, world->watches.revision + 1);
    }
}

void watches_installed(struct world *world, const struct node *node)
{
    for (uint32_t i = SIM_STREAMS - SIM_WAITERS; i < SIM_STREAMS; i++) {
        const struct sim_watcher *watcher = &world->watches.all[i];
        if (watcher->subscribed && watcher->node == world_index(world, node) &&
            watcher->waiter.begun && !waiter_rests(&watcher->waiter))
            report_mark(&world->report, SIM_MARK_GROUP_WAIT_INSTALLED);
    }
}

bool watches_rest(const struct world *world)
{
    for (uint32_t i = 0; i < SIM_STREAMS; i++)
        if (!world->watches.all[i].idle && !rests(world, &world->watches.all[i]))
            return false;
    return true;
}
