/* Locks and observers against a node that says what the test tells it to. */
#include "conclave_lock.h"
#include "stage.h"

#include "base/clock.h"
#include "codec/coord.h"
#include "codec/kv_lease.h"
#include "codec/watch.h"

#include <criterion/criterion.h>
#include <string.h>

enum { LEASE = 5, OWN = 20, AHEAD = 7, REVISION = 30, TTL_MS = 60000, SHORT_TTL_MS = 500 };

struct scene {
    struct stage stage;
    struct conclave_lock *lock;
    int code; /* of the last poll */
    uint64_t begun_us;
    struct stage_op own, ahead; /* the watches */
};

static void poll_lock(void *arg)
{
    struct scene *scene = arg;
    scene->code = conclave_lock_poll(scene->lock);
}

static void scene_begin(struct scene *scene, uint32_t ttl_ms)
{
    struct conclave_lock_options options;
    memset(scene, 0, sizeof *scene);
    stage_open(&scene->stage, 20000);
    conclave_lock_options_init(&options);
    options.ttl_ms = ttl_ms;
    options.value = "me";
    options.value_bytes = 2;
    scene->begun_us = clock_now_us();
    cr_assert_eq(conclave_lock_begin(scene->stage.client, "l", 1, &options, &scene->lock),
                 CONCLAVE_OK);
    scene->stage.turn = poll_lock;
    scene->stage.arg = scene;
}

static void scene_end(struct scene *scene)
{
    (void)conclave_lock_release(scene->lock, 1); /* nobody answers that */
    stage_close(&scene->stage);
}

static void reply_lease(struct stage *stage, const struct stage_op *op, uint64_t ttl_ms)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_lease_answer_pack(&pack, &(struct kv_lease_answer){REVISION, LEASE, ttl_ms});
    stage_reply(stage, op, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
}

static void reply_place(struct stage *stage, const struct stage_op *op, uint64_t awaited)
{
    struct pack pack;
    pack_init(&pack, 0);
    coord_place_pack(&pack, &(struct coord_place){REVISION, OWN, awaited});
    stage_reply(stage, op, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
}

static struct kv_command hear_lease(struct scene *scene, enum kv_opcode opcode,
                                    struct stage_op *ret_op)
{
    struct kv_command command;
    *ret_op = stage_hear(&scene->stage, CLIENT_OP_PROPOSE);
    struct slice body = stage_body(ret_op);
    cr_assert_eq(kv_command_decode(body.data, body.bytes, &command), CONCLAVE_OK);
    cr_assert_eq(command.opcode, opcode);
    return command;
}

/* Up to the answer to the enqueue. */
static void scene_enqueue(struct scene *scene, uint32_t ttl_ms, uint64_t awaited)
{
    struct coord_request request;
    struct stage_op op;
    scene_begin(scene, ttl_ms);
    cr_assert_eq(hear_lease(scene, KV_LEASE_GRANT, &op).ttl_ms, ttl_ms);
    reply_lease(&scene->stage, &op, ttl_ms);
    op = stage_hear(&scene->stage, CLIENT_OP_PROPOSE);
    struct slice body = stage_body(&op);
    cr_assert_eq(coord_command_decode(body.data, body.bytes, &request), CONCLAVE_OK);
    cr_assert_eq(request.opcode, COORD_ENQUEUE);
    cr_assert_eq(request.lease, LEASE);
    cr_assert_eq(request.slots, 1);
    reply_place(&scene->stage, &op, awaited);
}

/* The next watch is of this entry alone, from what was answered on. */
static struct stage_op hear_watch(struct stage *stage, uint64_t token)
{
    uint8_t key[COORD_KEY_BYTES_MAX];
    struct watch_spec spec;
    struct stage_op op = stage_hear(stage, CLIENT_OP_SUBSCRIBE);
    struct stream_subscribe subscribe = stage_subscribe(&op);
    struct slice wanted = coord_key(stage_text("l"), token, key);
    cr_assert_eq(watch_spec_decode(subscribe.spec, &spec), CONCLAVE_OK);
    cr_assert_eq(subscribe.position, REVISION + 1);
    cr_assert_eq(spec.space, COORD_SPACE);
    cr_assert_eq(spec.bounds.from.bytes, wanted.bytes);
    cr_assert_arr_eq(spec.bounds.from.data, wanted.data, wanted.bytes);
    cr_assert_eq(spec.bounds.to.bytes, wanted.bytes + 1);
    stage_begun(stage, &op);
    return op;
}

static void say_gone(struct stage *stage, struct stage_op *watch, uint64_t token, uint64_t kind)
{
    uint8_t key[COORD_KEY_BYTES_MAX];
    stage_event(stage, watch, kind, coord_key(stage_text("l"), token, key), NULL, REVISION + 1);
}

static void scene_hold(struct scene *scene, uint32_t ttl_ms)
{
    scene_enqueue(scene, ttl_ms, 0);
    scene->own = hear_watch(&scene->stage, OWN);
    cr_assert_eq(scene->code, CONCLAVE_OK);
    cr_assert_eq(conclave_lock_token(scene->lock), OWN);
}

static void scene_wait(struct scene *scene)
{
    scene_enqueue(scene, TTL_MS, AHEAD);
    scene->own = hear_watch(&scene->stage, OWN);
    scene->ahead = hear_watch(&scene->stage, AHEAD);
    cr_assert_eq(scene->code, CONCLAVE_TIMEOUT);
}

static struct stage_op hear_question(struct scene *scene)
{
    struct coord_request request;
    struct stage_op op = stage_hear(&scene->stage, CLIENT_OP_READ);
    struct slice body = stage_body(&op);
    cr_assert_eq(coord_query_decode(body.data, body.bytes, &request), CONCLAVE_OK);
    cr_assert_eq(request.opcode, COORD_PLACE);
    cr_assert_eq(request.token, OWN);
    return op;
}

Test(lock, one_that_is_free_is_held_when_it_is_told_so)
{
    struct scene scene;
    scene_hold(&scene, TTL_MS);
    uint64_t before_us = clock_now_us();
    uint32_t left_ms = conclave_lock_left_ms(scene.lock);
    cr_assert_gt(left_ms, 0);
    cr_assert_leq(left_ms, TTL_MS - (before_us - scene.begun_us) / 1000 + 1,
                  "it counts from before it was asked for");
    scene_end(&scene);
}

Test(lock, who_waits_asks_nothing_until_the_entry_ahead_goes)
{
    struct scene scene;
    scene_wait(&scene);
    for (int i = 0; i < 20; i++)
        stage_turn(&scene.stage);
    cr_assert_eq(scene.stage.count, 0, "nothing was asked");
    say_gone(&scene.stage, &scene.ahead, AHEAD, WATCH_DELETE);
    struct stage_op question = hear_question(&scene);
    cr_assert_eq(scene.code, CONCLAVE_TIMEOUT, "not before it is confirmed");
    reply_place(&scene.stage, &question, 0);
    STAGE_UNTIL(&scene.stage, scene.code == CONCLAVE_OK);
    scene_end(&scene);
}

Test(lock, who_is_still_behind_another_watches_that_one)
{
    struct scene scene;
    scene_wait(&scene);
    say_gone(&scene.stage, &scene.ahead, AHEAD, WATCH_EXPIRE);
    struct stage_op question = hear_question(&scene);
    reply_place(&scene.stage, &question, AHEAD + 1);
    scene.ahead = hear_watch(&scene.stage, AHEAD + 1);
    cr_assert_eq(scene.code, CONCLAVE_TIMEOUT);
    scene_end(&scene);
}

Test(lock, a_watch_that_lost_its_place_makes_it_ask)
{
    struct scene scene;
    scene_wait(&scene);
    stage_frame(&scene.stage, &scene.ahead,
                (struct stream_frame){
                    .type = STREAM_RESYNC, .position = REVISION + 1, .oldest = REVISION + 900});
    struct stage_op question = hear_question(&scene);
    reply_place(&scene.stage, &question, 0);
    STAGE_UNTIL(&scene.stage, scene.code == CONCLAVE_OK);
    scene_end(&scene);
}

Test(lock, the_watch_of_a_waiter_goes_on_when_its_node_stops)
{
    struct scene scene;
    scene_wait(&scene);
    stage_reply(&scene.stage, &scene.ahead, CONCLAVE_STOPPING, "", 0);
    scene.own = hear_watch(&scene.stage, OWN);
    scene.ahead = hear_watch(&scene.stage, AHEAD);
    say_gone(&scene.stage, &scene.ahead, AHEAD, WATCH_DELETE);
    hear_question(&scene);
    scene_end(&scene);
}

Test(lock, who_waits_is_told_when_its_own_entry_is_gone)
{
    struct scene scene;
    scene_wait(&scene);
    say_gone(&scene.stage, &scene.ahead, AHEAD, WATCH_DELETE);
    struct stage_op question = hear_question(&scene);
    stage_reply(&scene.stage, &question, CONCLAVE_NOT_FOUND, "\x91\x1e", 2);
    STAGE_UNTIL(&scene.stage, scene.code == CONCLAVE_LEASE_EXPIRED);
    scene_end(&scene);
}

Test(lock, is_lost_at_once_when_its_entry_is_seen_to_go)
{
    struct scene scene;
    scene_hold(&scene, TTL_MS);
    say_gone(&scene.stage, &scene.own, OWN, WATCH_EXPIRE);
    STAGE_UNTIL(&scene.stage, scene.code != CONCLAVE_OK);
    cr_assert_eq(scene.code, CONCLAVE_LEASE_EXPIRED);
    cr_assert_eq(conclave_lock_left_ms(scene.lock), 0);
    cr_assert_eq(conclave_lock_proclaim(scene.lock, "x", 1, 0), CONCLAVE_LEASE_EXPIRED);
    scene_end(&scene);
}

Test(lock, is_lost_by_its_own_clock_when_nothing_is_heard)
{
    struct scene scene;
    struct stage_op renewal;
    scene_hold(&scene, SHORT_TTL_MS);
    cr_assert_eq(hear_lease(&scene, KV_LEASE_RENEW, &renewal).lease, LEASE);
    STAGE_UNTIL(&scene.stage, scene.code != CONCLAVE_OK);
    cr_assert_eq(scene.code, CONCLAVE_LEASE_EXPIRED);
    cr_assert_geq(clock_now_us(), scene.begun_us + SHORT_TTL_MS * 1000, "not before");
    reply_lease(&scene.stage, &renewal, SHORT_TTL_MS);
    stage_turn(&scene.stage);
    cr_assert_eq(scene.code, CONCLAVE_LEASE_EXPIRED, "for good");
    scene_end(&scene);
}

Test(lock, a_renewal_counts_from_when_it_was_sent)
{
    struct scene scene;
    struct stage_op renewal;
    uint32_t left_ms;
    scene_hold(&scene, 2 * SHORT_TTL_MS);
    hear_lease(&scene, KV_LEASE_RENEW, &renewal);
    uint64_t heard_us = clock_now_us(), now_us;
    STAGE_UNTIL(&scene.stage, clock_now_us() > heard_us + 20000); /* the answer is on its way */
    reply_lease(&scene.stage, &renewal, 2 * SHORT_TTL_MS);
    hear_lease(&scene, KV_LEASE_RENEW, &renewal); /* so the first one has been taken */
    cr_assert_eq(scene.code, CONCLAVE_OK);
    now_us = clock_now_us();
    left_ms = conclave_lock_left_ms(scene.lock);
    cr_assert_leq(left_ms + (now_us - heard_us) / 1000, 2 * SHORT_TTL_MS);
    stage_reply(&scene.stage, &renewal, CONCLAVE_LEASE_EXPIRED, "\x91\x1e", 2);
    STAGE_UNTIL(&scene.stage, scene.code != CONCLAVE_OK);
    cr_assert_eq(scene.code, CONCLAVE_LEASE_EXPIRED);
    scene_end(&scene);
}

Test(lock, an_enqueue_that_got_no_answer_is_repeated)
{
    struct scene scene;
    struct stage_op op;
    scene_begin(&scene, TTL_MS);
    hear_lease(&scene, KV_LEASE_GRANT, &op);
    reply_lease(&scene.stage, &op, TTL_MS);
    op = stage_hear(&scene.stage, CLIENT_OP_PROPOSE);
    stage_reply(&scene.stage, &op, CONCLAVE_UNKNOWN, "", 0); /* as of a node that lost the lead */
    op = stage_hear(&scene.stage, CLIENT_OP_PROPOSE);
    reply_place(&scene.stage, &op, 0);
    STAGE_UNTIL(&scene.stage, scene.code == CONCLAVE_OK);
    scene_end(&scene);
}

Test(lock, other_slots_are_refused_for_good)
{
    struct scene scene;
    struct stage_op op;
    scene_begin(&scene, TTL_MS);
    hear_lease(&scene, KV_LEASE_GRANT, &op);
    reply_lease(&scene.stage, &op, TTL_MS);
    op = stage_hear(&scene.stage, CLIENT_OP_PROPOSE);
    stage_reply(&scene.stage, &op, CONCLAVE_COMPARE_FAILED, "\x92\x1e\x02", 3);
    STAGE_UNTIL(&scene.stage, scene.code == CONCLAVE_COMPARE_FAILED);
    scene_end(&scene);
}

Test(lock, can_be_given_up_while_it_is_being_asked_for)
{
    struct scene scene;
    scene_begin(&scene, TTL_MS);
    stage_hear(&scene.stage, CLIENT_OP_PROPOSE);
    cr_assert_eq(conclave_lock_release(scene.lock, 0), CONCLAVE_OK, "there is no lease to end");
    scene.stage.turn = NULL;
    stage_turn(&scene.stage);
    stage_close(&scene.stage);
    cr_assert_eq(conclave_lock_release(NULL, 0), CONCLAVE_OK);
}

Test(lock, acquire_says_that_nobody_could_be_asked)
{
    struct conclave_client_options options;
    struct conclave_lock_options wanted;
    struct conclave_client *client;
    struct conclave_lock *lock = NULL;
    conclave_client_options_init(&options);
    options.endpoints = "tcp://127.0.0.1:1";
    options.timeout_ms = 20;
    cr_assert_eq(conclave_client_create(&options, &client, NULL), CONCLAVE_OK);
    conclave_lock_options_init(&wanted);
    cr_assert_eq(conclave_lock_acquire(client, "l", 1, &wanted, 0, &lock), CONCLAVE_UNREACHABLE);
    cr_assert_eq(conclave_lock_acquire(client, "", 0, &wanted, 0, &lock), CONCLAVE_INVALID);
    cr_assert_eq(conclave_lock_acquire(client, "a\0b", 3, &wanted, 0, &lock), CONCLAVE_INVALID);
    wanted.ttl_ms = 10;
    cr_assert_eq(conclave_lock_acquire(client, "l", 1, &wanted, 0, &lock), CONCLAVE_INVALID);
    wanted.ttl_ms = 1000;
    wanted.slots = CONCLAVE_LOCK_SLOTS_MAX + 1;
    cr_assert_eq(conclave_lock_acquire(client, "l", 1, &wanted, 0, &lock), CONCLAVE_TOO_LARGE);
    cr_assert_null(lock);
    conclave_client_destroy(client);
}

/* --- Observers -------------------------------------------------------------------------------- */

struct view {
    struct stage stage;
    struct conclave_observer *observer;
    struct conclave_queue_entry entry; /* the last one told */
    char value[16];
    unsigned told;
};

static void look(void *arg)
{
    struct view *view = arg;
    int code = conclave_observer_next(view->observer, 0, &view->entry);
    if (code == CONCLAVE_TIMEOUT)
        return;
    cr_assert_eq(code, CONCLAVE_OK);
    cr_assert_lt(view->entry.value_bytes, sizeof view->value);
    memset(view->value, 0, sizeof view->value);
    if (view->entry.value_bytes)
        memcpy(view->value, view->entry.value, view->entry.value_bytes);
    view->told++;
}

static void view_open(struct view *view)
{
    memset(view, 0, sizeof *view);
    stage_open(&view->stage, 20000);
    cr_assert_eq(conclave_observer_create(view->stage.client, "l", 1, &view->observer),
                 CONCLAVE_OK);
    view->stage.turn = look;
    view->stage.arg = view;
}

static void view_close(struct view *view)
{
    conclave_observer_destroy(view->observer);
    stage_close(&view->stage);
}

/* Answers the question for the first entry. */
static void say_first(struct view *view, uint64_t token, const char *value, uint64_t revision)
{
    struct coord_request request;
    struct pack entries, pack;
    struct stage_op op = stage_hear(&view->stage, CLIENT_OP_READ);
    struct slice body = stage_body(&op);
    cr_assert_eq(coord_query_decode(body.data, body.bytes, &request), CONCLAVE_OK);
    cr_assert_eq(request.opcode, COORD_QUEUE);
    cr_assert_eq(request.limit, 1);
    pack_init(&entries, 0);
    pack_init(&pack, 0);
    if (token)
        coord_entry_pack(&entries, &(struct coord_entry){.token = token,
                                                         .lease = 1,
                                                         .value = stage_text(value),
                                                         .revision = revision});
    coord_queue_pack(
        &pack,
        &(struct coord_queue){.revision = REVISION, .slots = 1, .next = token, .count = token != 0},
        (struct slice){entries.buf->data, entries.bytes});
    stage_reply(&view->stage, &op, CONCLAVE_OK, pack.buf->data, pack.bytes);
    pack_deinit(&entries);
    pack_deinit(&pack);
}

static void expect_told(struct view *view, unsigned count, uint64_t token, const char *value)
{
    STAGE_UNTIL(&view->stage, view->told == count);
    cr_assert_eq(view->entry.token, token);
    cr_assert_str_eq(view->value, value);
}

Test(observer, tells_who_leads_each_new_value_and_who_is_next)
{
    struct view view;
    uint8_t key[COORD_KEY_BYTES_MAX];
    view_open(&view);
    say_first(&view, OWN, "one", OWN);
    expect_told(&view, 1, OWN, "one");
    struct stage_op watch = hear_watch(&view.stage, OWN);
    stage_event(&view.stage, &watch, WATCH_PUT, coord_key(stage_text("l"), OWN, key),
                "\001\001"
                "anew",
                REVISION + 1);
    expect_told(&view, 2, OWN, "anew");
    say_gone(&view.stage, &watch, OWN, WATCH_DELETE);
    say_first(&view, OWN + 5, "two", OWN + 5);
    expect_told(&view, 3, OWN + 5, "two");
    hear_watch(&view.stage, OWN + 5);
    view_close(&view);
}

Test(observer, waits_for_the_first_to_come_where_nobody_leads)
{
    struct view view;
    struct watch_spec spec;
    uint8_t key[COORD_KEY_BYTES_MAX];
    view_open(&view);
    say_first(&view, 0, "", 0);
    expect_told(&view, 1, 0, "");
    struct stage_op watch = stage_hear(&view.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(watch_spec_decode(stage_subscribe(&watch).spec, &spec), CONCLAVE_OK);
    cr_assert(spec.bounds.from.bytes == 2 && memcmp(spec.bounds.from.data, "l\0", 2) == 0);
    cr_assert(spec.bounds.to.bytes == 2 && memcmp(spec.bounds.to.data, "l\1", 2) == 0);
    stage_begun(&view.stage, &watch);
    stage_event(&view.stage, &watch, WATCH_PUT, coord_key(stage_text("l"), OWN, key),
                "\001\001"
                "x",
                REVISION + 1);
    say_first(&view, OWN, "one", OWN);
    expect_told(&view, 2, OWN, "one");
    view_close(&view);
}

Test(observer, asks_again_after_a_gap_and_tells_only_what_is_new)
{
    struct view view;
    view_open(&view);
    say_first(&view, OWN, "one", OWN);
    expect_told(&view, 1, OWN, "one");
    struct stage_op watch = hear_watch(&view.stage, OWN);
    stage_frame(&view.stage, &watch,
                (struct stream_frame){
                    .type = STREAM_RESYNC, .position = REVISION + 1, .oldest = REVISION + 900});
    say_first(&view, OWN, "one", OWN);
    watch = hear_watch(&view.stage, OWN);
    cr_assert_eq(view.told, 1, "nothing has changed");
    say_gone(&view.stage, &watch, OWN, WATCH_EXPIRE);
    say_first(&view, 0, "", 0);
    expect_told(&view, 2, 0, "");
    view_close(&view);
}
