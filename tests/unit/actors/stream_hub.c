/* Subscriptions and what they are told, over the key-value machine itself on tables in memory. */
#include "stream_room.h"

#include "actors/reply_room.h"
#include "base/prng.h"
#include "codec/kv.h"
#include "tests/sim/watcher.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEYS = 24, WATCHERS_MAX = 64 };

/* A machine, a hub, and clients; client i + 1 is watcher i, its subscription has the id `ids[i]`.
 */
struct room {
    struct stream_room of;
    uint64_t revision;
    struct oracle oracle;
    bool exists[KEYS];
    struct watcher watchers[WATCHERS_MAX];
    uint64_t ids[WATCHERS_MAX];
    uint32_t watcher_count;
    struct stream_output last; /* of another code than OK, or empty */
};

static struct room *room_create(void)
{
    struct room *room = calloc(1, sizeof *room);
    stream_room_init(&room->of);
    return room;
}

static void room_destroy(struct room *room)
{
    for (uint32_t i = 0; i < room->watcher_count; i++)
        watcher_deinit(&room->watchers[i]);
    oracle_deinit(&room->oracle);
    stream_room_deinit(&room->of);
    free(room);
}

static void apply(struct room *room, const struct kv_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    (void)stream_room_apply(&room->of, &pack);
    room->revision = kv_revision(room->of.kv);
}

static struct slice key_of(char name[8], uint32_t key)
{
    snprintf(name, 8, "k%02u", key);
    return slice_of(name);
}

static void put(struct room *room, uint32_t key, struct slice value)
{
    char name[8];
    struct slice bytes = key_of(name, key);
    apply(room, &(struct kv_command){.opcode = KV_PUT, .key = bytes, .value = value});
    room->exists[key] = true;
    oracle_add(&room->oracle, room->revision - 1, room->revision, bytes, oracle_hash(value));
}

static void delete_range(struct room *room, uint32_t from, uint32_t to)
{
    char first[8], last[8];
    uint64_t before = room->revision;
    apply(room, &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                     .bounds = {key_of(first, from), key_of(last, to), false}});
    for (uint32_t key = from; key < to; key++) {
        char name[8];
        if (room->exists[key])
            oracle_add(&room->oracle, before, room->revision, key_of(name, key), 0);
        room->exists[key] = false;
    }
}

static void subscribe(struct room *room, uint32_t i)
{
    struct watcher *watcher = &room->watchers[i];
    struct buf *body = watcher_subscribe(watcher);
    stream_hub_subscribe(room->of.hub, i + 1, ++room->ids[i], room->of.meter,
                         (struct slice){body->data, body->bytes}, room->of.now_us);
    buf_unref(body);
}

static struct watcher *watch(struct room *room, const char *from, const char *to, uint64_t what,
                             uint64_t granted)
{
    uint32_t i = room->watcher_count++;
    cr_assert_lt(i, WATCHERS_MAX);
    watcher_init(&room->watchers[i], &room->oracle, slice_of(from), slice_of(to), what);
    room->watchers[i].granted = granted;
    subscribe(room, i);
    return &room->watchers[i];
}

static void grant(struct room *room, uint32_t i, uint64_t bytes, uint64_t ask)
{
    struct watcher *watcher = &room->watchers[i];
    struct pack pack;
    watcher->granted += bytes;
    pack_init(&pack, 0);
    stream_credit_pack(&pack, &(struct stream_credit){watcher->granted, ask});
    stream_hub_credit(room->of.hub, i + 1, room->ids[i], (struct slice){pack.buf->data, pack.bytes},
                      room->of.now_us);
    pack_deinit(&pack);
}

/* Hands what was made to those whom it is for; the count. */
static uint32_t deliver(struct room *room)
{
    struct stream_outputs *outputs = stream_hub_outputs(room->of.hub);
    uint32_t count = outputs->count;
    for (uint32_t i = 0; i < outputs->count; i++) {
        const struct stream_output *output = &outputs->items[i];
        struct watcher *watcher = &room->watchers[output->client - 1];
        if (output->code || !output->body) {
            room->last = *output;
        } else if (output->id == room->ids[output->client - 1]) {
            cr_assert(
                watcher_take(watcher, (struct slice){output->body->data, output->body->bytes}),
                "no frame is missing");
            cr_assert_null(watcher->wrong, "%s, revision %llu", watcher->wrong,
                           (unsigned long long)watcher->wrong_revision);
        }
        buf_unref(output->body);
    }
    outputs->count = 0;
    return count;
}

/* Lets everything happen that needs no more credit. */
static void run(struct room *room)
{
    stream_hub_fresh(room->of.hub, room->of.now_us);
    do {
        stream_hub_turn(room->of.hub, room->of.now_us);
    } while (deliver(room) > 0 || stream_hub_due_us(room->of.hub) == 0);
}

static void expect_all_told(struct room *room)
{
    for (uint32_t i = 0; i < room->watcher_count; i++) {
        grant(room, i, 64 << 20, 7);
        run(room);
        cr_assert_eq(room->watchers[i].answered, 7, "watcher %u", i);
        cr_assert(watcher_is_at(&room->watchers[i], room->revision + 1), "watcher %u", i);
    }
}

Test(stream_hub, begins_when_it_is_confirmed_and_tells_what_comes)
{
    struct room *room = room_create();
    put(room, 1, slice_of("before"));
    struct watcher *all = watch(room, "", "", 0, 65536);
    stream_hub_turn(room->of.hub, room->of.now_us);
    cr_assert_eq(deliver(room), 0, "nothing is known of the others yet");
    cr_assert(stream_hub_wants_read(room->of.hub, room->of.now_us));
    cr_assert_not(stream_hub_wants_read(room->of.hub, room->of.now_us), "it is under way");
    run(room);
    cr_assert_eq(all->position, 2);
    put(room, 1, slice_of("a"));
    put(room, 2, slice_of("b"));
    delete_range(room, 0, KEYS);
    run(room);
    cr_assert_eq(all->events, 4);
    room_destroy(room);
}

Test(stream_hub, tells_one_name_to_those_who_want_it_alone)
{
    struct room *room = room_create();
    struct watcher *first = watch(room, "k01", "k02", 0, 65536);
    struct watcher *second = watch(room, "k02", "k03", 0, 65536);
    run(room);
    put(room, 1, slice_of("a"));
    put(room, 1, slice_of("b"));
    put(room, 3, slice_of("c"));
    run(room);
    cr_assert_eq(first->events, 2);
    cr_assert_eq(second->events, 0);
    cr_assert_eq(second->frames, 1, "nobody is told what is not for him");
    expect_all_told(room);
    room_destroy(room);
}

Test(stream_hub, sends_no_more_than_was_granted)
{
    struct room *room = room_create();
    char value[1000];
    memset(value, 'v', sizeof value);
    struct watcher *slow = watch(room, "", "", 0, 0);
    struct watcher *fast = watch(room, "", "", 0, 64 << 20);
    run(room);
    for (int i = 0; i < 1000; i++)
        put(room, (uint32_t)i % KEYS, (struct slice){(uint8_t *)value, sizeof value});
    run(room);
    cr_assert_eq(slow->events, 0);
    cr_assert_eq(fast->events, 1000, "a slow one stalls nobody");
    grant(room, 0, 1, 0);
    run(room);
    cr_assert_gt(slow->events, 0);
    cr_assert_lt(slow->spent, (uint64_t)STREAM_FRAME_BYTES + 2000, "one frame, whatever is in it");
    expect_all_told(room);
    cr_assert_eq(slow->events, 1000);
    room_destroy(room);
}

Test(stream_hub, makes_nothing_for_a_client_that_does_not_read)
{
    struct room *room = room_create();
    struct watcher *watcher = watch(room, "", "", 0, 64 << 20);
    run(room);
    meter_take(room->of.meter, REPLY_CLIENT_QUERY_BYTES);
    put(room, 1, slice_of("a"));
    for (int i = 0; i < 3; i++) {
        room->of.now_us += STREAM_BLOCKED_US;
        stream_hub_turn(room->of.hub, room->of.now_us);
        cr_assert_eq(deliver(room), 0);
        cr_assert_gt(stream_hub_due_us(room->of.hub), room->of.now_us, "and does not spin");
    }
    meter_give_back(room->of.meter, REPLY_CLIENT_QUERY_BYTES);
    room->of.now_us += STREAM_BLOCKED_US;
    run(room);
    cr_assert_eq(watcher->events, 1);
    room_destroy(room);
}

Test(stream_hub, a_revision_that_is_larger_than_a_frame_comes_in_parts)
{
    struct room *room = room_create();
    char value[8000];
    memset(value, 'v', sizeof value);
    for (uint32_t i = 0; i < KEYS; i++)
        put(room, i, (struct slice){(uint8_t *)value, sizeof value});
    struct watcher *watcher = watch(room, "k", "l", WATCH_PREVIOUS, 64 << 20);
    struct watcher *some = watch(room, "k00", "k02", WATCH_PREVIOUS, 64 << 20);
    run(room);
    delete_range(room, 0, KEYS);
    run(room);
    cr_assert_eq(watcher->events, KEYS);
    cr_assert_gt(watcher->frames, 2, "%u bytes in one frame", KEYS * 8000);
    cr_assert_not(watcher->part);
    cr_assert_eq(some->events, 2);
    cr_assert_not(some->part, "what follows is not for it, and it knows");
    expect_all_told(room);
    room_destroy(room);
}

Test(stream_hub, the_state_comes_first_if_it_is_wanted)
{
    struct room *room = room_create();
    for (uint32_t i = 0; i < KEYS; i++)
        put(room, i, slice_of("x"));
    delete_range(room, 3, 5);
    struct watcher *watcher = watch(room, "k02", "k10", WATCH_INITIAL, 64 << 20);
    run(room);
    cr_assert_eq(watcher->states, 1);
    cr_assert_eq(watcher->events, 0);
    put(room, 4, slice_of("y"));
    run(room);
    cr_assert_eq(watcher->events, 1);
    room_destroy(room);
}

Test(stream_hub, a_state_in_pieces_is_that_of_its_end)
{
    struct room *room = room_create();
    char value[30000];
    memset(value, 'v', sizeof value);
    for (uint32_t i = 0; i < KEYS; i++)
        put(room, i, (struct slice){(uint8_t *)value, sizeof value - i});
    struct watcher *watcher = watch(room, "", "", WATCH_INITIAL, 1);
    uint32_t pieces = 0;
    while (watcher->states == 0) {
        run(room);
        put(room, pieces % KEYS, slice_of("changed meanwhile"));
        put(room, KEYS - 1, slice_of("often"));
        delete_range(room, pieces % 7, pieces % 7 + 2);
        grant(room, 0, watcher->spent - watcher->granted + 1, 0);
        cr_assert_lt(++pieces, 50);
    }
    cr_assert_gt(pieces, 3);
    expect_all_told(room);
    room_destroy(room);
}

Test(stream_hub, who_is_too_late_is_told_so_and_gets_the_state)
{
    struct room *room = room_create();
    struct watcher *late = watch(room, "k05", "k09", 0, 0);
    struct watcher *other = watch(room, "k10", "k11", 0, 64 << 20);
    run(room);
    for (uint32_t i = 0; i < 130000; i++)
        put(room, i % 9, slice_of(i % 2 ? "a" : "b"));
    put(room, 10, slice_of("c"));
    expect_all_told(room);
    cr_assert_eq(late->resyncs, 1);
    cr_assert_eq(late->states, 1);
    cr_assert_eq(other->resyncs, 0, "nothing that was for it is lost");
    cr_assert_eq(other->events, 1);
    /* From the beginning, which is not kept. */
    struct watcher *first = watch(room, "k05", "k09", 0, 64 << 20);
    watcher_init(first, &room->oracle, slice_of("k05"), slice_of("k09"), 0);
    stream_hub_unsubscribe(room->of.hub, 3, room->ids[2]);
    first->granted = 64 << 20;
    first->position = 1;
    subscribe(room, 2);
    expect_all_told(room);
    cr_assert_eq(first->resyncs, 1);
    room_destroy(room);
}

Test(stream_hub, says_how_far_it_is_while_nothing_happens)
{
    struct room *room = room_create();
    struct watcher *watcher = watch(room, "k00", "k01", 0, 64 << 20);
    run(room);
    put(room, 5, slice_of("of another key"));
    run(room);
    uint64_t frames = watcher->frames;
    room->of.now_us += (uint64_t)STREAM_PROGRESS_MS * 1000 + STREAM_TICK_US;
    run(room);
    cr_assert_eq(watcher->frames, frames + 1);
    cr_assert_eq(watcher->position, room->revision + 1, "progress passes what is not for it");
    grant(room, 0, 0, 42);
    stream_hub_turn(room->of.hub, room->of.now_us);
    cr_assert_eq(deliver(room), 1, "this is as new as what was asked for");
    room->of.now_us += 5000;
    grant(room, 0, 0, 43);
    stream_hub_turn(room->of.hub, room->of.now_us);
    cr_assert_eq(deliver(room), 0, "not confirmed");
    cr_assert(stream_hub_wants_read(room->of.hub, room->of.now_us));
    run(room);
    cr_assert_eq(watcher->answered, 43);
    room_destroy(room);
}

Test(stream_hub, a_client_that_is_silent_for_long_has_none_any_more)
{
    struct room *room = room_create();
    watch(room, "a", "z", 0, 65536);
    struct watcher *speaks = watch(room, "a", "z", 0, 65536);
    run(room);
    room->of.now_us += (uint64_t)STREAM_LIFETIME_MS * 1000 - STREAM_TICK_US;
    grant(room, 1, 0, 0);
    run(room);
    cr_assert_eq(stream_hub_count(room->of.hub), 2);
    room->of.now_us += 2 * (uint64_t)STREAM_TICK_US;
    run(room);
    cr_assert_eq(stream_hub_count(room->of.hub), 1);
    cr_assert_eq(room->last.code, CONCLAVE_TIMEOUT);
    cr_assert_eq(room->last.client, 1);
    put(room, 1, slice_of("v"));
    run(room);
    cr_assert_eq(speaks->events, 1);
    stream_hub_client_gone(room->of.hub, 2);
    cr_assert_eq(stream_hub_count(room->of.hub), 0);
    cr_assert_eq(stream_hub_due_us(room->of.hub), UINT64_MAX, "idle is idle");
    room_destroy(room);
}

Test(stream_hub, one_that_is_not_confirmed_ends)
{
    struct room *room = room_create();
    watch(room, "a", "z", 0, 65536);
    stream_hub_turn(room->of.hub, room->of.now_us);
    room->of.now_us += STREAM_CONFIRM_US_MAX + STREAM_TICK_US;
    stream_hub_turn(room->of.hub, room->of.now_us);
    deliver(room);
    cr_assert_eq(room->last.code, CONCLAVE_NO_LEADER);
    cr_assert_eq(stream_hub_count(room->of.hub), 0);
    room_destroy(room);
}

static int refusal(struct room *room, struct slice body)
{
    room->last = (struct stream_output){0};
    room->watcher_count = 1;
    stream_hub_subscribe(room->of.hub, 1, 9, room->of.meter, body, room->of.now_us);
    deliver(room);
    return room->last.code;
}

Test(stream_hub, refuses_what_it_cannot_do)
{
    struct room *room = room_create();
    struct slice key = slice_of("\x94\x01\x00\x01\x92\xc4\x01k\xc4\x01");
    watcher_init(&room->watchers[0], &room->oracle, slice_of("a"), slice_of("b"), 0);
    cr_assert_eq(refusal(room, key), CONCLAVE_MALFORMED, "cut off");
    cr_assert_eq(refusal(room, slice_of("\x94\x09\x01\x01\x92\xc4\x01k\xc0")), CONCLAVE_INVALID,
                 "kind");
    cr_assert_eq(refusal(room, slice_of("\x94\x01\x01\x01\x93\xc4\x01k\xc0\x77")),
                 CONCLAVE_INVALID);
    cr_assert_eq(refusal(room, slice_of("\x94\x01\x01\x01\x91\xc0")), CONCLAVE_MALFORMED, "spec");
    cr_assert_eq(refusal(room, slice_of("\x94\x01\x01\x01\x92\xc4\x01k\xc0")), CONCLAVE_OK);
    cr_assert_eq(refusal(room, slice_of("\x94\x01\x01\x01\x92\xc4\x01k\xc0")), CONCLAVE_INVALID,
                 "twice");
    cr_assert_eq(stream_hub_count(room->of.hub), 1);
    stream_hub_credit(room->of.hub, 1, 10, slice_of("\x91\x05"), room->of.now_us);
    deliver(room);
    cr_assert_eq(room->last.code, CONCLAVE_NOT_FOUND);
    stream_hub_credit(room->of.hub, 1, 9, slice_of("\x91"), room->of.now_us);
    deliver(room);
    cr_assert_eq(room->last.code, CONCLAVE_MALFORMED);
    cr_assert_eq(stream_hub_count(room->of.hub), 0);
    room_destroy(room);
}

Test(stream_hub, has_a_limit_of_subscriptions)
{
    struct room *room = room_create();
    struct slice body = slice_of("\x94\x01\x01\x01\x92\xc4\x01k\xc0");
    room->watcher_count = 1;
    watcher_init(&room->watchers[0], &room->oracle, slice_of("a"), slice_of("b"), 0);
    for (uint64_t id = 1; id <= STREAMS_OF_CLIENT_MAX + 1; id++)
        stream_hub_subscribe(room->of.hub, 1, id, room->of.meter, body, room->of.now_us);
    deliver(room);
    cr_assert_eq(room->last.code, CONCLAVE_BUSY);
    cr_assert_eq(room->last.id, STREAMS_OF_CLIENT_MAX + 1);
    for (uint64_t client = 2; stream_hub_count(room->of.hub) < STREAMS_MAX; client++)
        stream_hub_subscribe(room->of.hub, client, 1, room->of.meter, body, room->of.now_us);
    stream_hub_subscribe(room->of.hub, 1000000, 1, room->of.meter, body, room->of.now_us);
    cr_assert_eq(stream_hub_outputs(room->of.hub)->items[0].code, CONCLAVE_BUSY);
    stream_hub_outputs(room->of.hub)->count = 0;
    stream_hub_end_all(room->of.hub, CONCLAVE_STOPPING);
    cr_assert_eq(stream_hub_count(room->of.hub), 0);
    cr_assert_eq(stream_hub_outputs(room->of.hub)->count, STREAMS_MAX);
    stream_hub_outputs(room->of.hub)->count = 0;
    room_destroy(room);
}

/* Whatever happens, in any order: begins, losses, credit in drops, changes of one and many keys. */
Test(stream_hub, tells_everything_once_and_in_order_whatever_happens, .timeout = 1200)
{
    static const char *const bounds[] = {"", "k", "k05", "k1", "k12", "k20", "l", "k23"};
    enum { SEEDS = 20, STEPS = 1500, COUNT = 12 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct room *room = room_create();
        struct prng prng;
        prng_init(&prng, seed);
        for (uint32_t i = 0; i < COUNT; i++) {
            const char *from = bounds[prng_below(&prng, 8)], *to = bounds[prng_below(&prng, 8)];
            watch(room, from, to, prng_below(&prng, 16), prng_below(&prng, 2000));
        }
        char value[6000];
        memset(value, 'v', sizeof value);
        for (uint32_t step = 0; step < STEPS; step++) {
            uint32_t i = (uint32_t)prng_below(&prng, COUNT),
                     key = (uint32_t)prng_below(&prng, KEYS);
            switch (prng_below(&prng, 12)) {
            case 0:
                stream_hub_client_gone(room->of.hub, i + 1);
                subscribe(room, i);
                break;
            case 1:
                stream_hub_unsubscribe(room->of.hub, i + 1, room->ids[i]);
                subscribe(room, i);
                break;
            case 2:
                delete_range(room, key, key + (uint32_t)prng_below(&prng, KEYS - key) + 1);
                break;
            case 3:
            case 4:
                grant(room, i, prng_below(&prng, 3000), 0);
                break;
            case 5:
                room->of.now_us += prng_below(&prng, 2000000);
                grant(room, i, 0, 0);
                break;
            case 6:
                run(room);
                break;
            case 7:
                stream_hub_turn(room->of.hub, room->of.now_us);
                deliver(room);
                break;
            default:
                put(room, key, (struct slice){(uint8_t *)value, prng_below(&prng, sizeof value)});
            }
        }
        /* Those that were silent for too long begin again. */
        for (uint32_t i = 0; i < COUNT; i++) {
            stream_hub_client_gone(room->of.hub, i + 1);
            subscribe(room, i);
        }
        run(room);
        expect_all_told(room);
        room_destroy(room);
    }
}
