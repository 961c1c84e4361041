/* Many watches of one client over one connection, to a node that says what the test tells it to. */
#include "conclave_watch.h"
#include "stage.h"

#include "codec/watch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { WATCHES = 100 };

struct scene {
    struct stage stage;
    struct conclave_watch *watches[WATCHES];
    struct stage_op ops[WATCHES]; /* their SUBSCRIBEs, by the watch */
    char keys[WATCHES][8];
    size_t count;
};

static struct conclave_watch *watch_of(struct scene *scene, size_t i)
{
    struct conclave_watch_options options;
    struct conclave_watch *watch;
    struct conclave_error error;
    conclave_watch_options_init(&options);
    snprintf(scene->keys[i], sizeof scene->keys[i], "k%zu", i);
    options.client = scene->stage.client;
    options.user = scene->keys[i];
    options.key = scene->keys[i];
    options.key_bytes = strlen(scene->keys[i]);
    options.revision = 5;
    cr_assert_eq(conclave_watch_create(&options, &watch, &error), CONCLAVE_OK, "%s", error.message);
    return watch;
}

/* Hears the SUBSCRIBE of every watch, in whatever order, and begins them. */
static void begin_all(struct scene *scene)
{
    for (size_t n = 0; n < scene->count; n++) {
        struct watch_spec spec;
        struct stage_op op = stage_hear(&scene->stage, CLIENT_OP_SUBSCRIBE);
        cr_assert_eq(watch_spec_decode(stage_subscribe(&op).spec, &spec), CONCLAVE_OK);
        size_t i = 0;
        while (i < scene->count &&
               (strlen(scene->keys[i]) != spec.bounds.from.bytes ||
                memcmp(scene->keys[i], spec.bounds.from.data, spec.bounds.from.bytes) != 0))
            i++;
        cr_assert_lt(i, scene->count);
        scene->ops[i] = op;
        stage_begun(&scene->stage, &scene->ops[i]);
    }
}

static void scene_open(struct scene *scene, size_t count)
{
    memset(scene, 0, sizeof *scene);
    stage_open(&scene->stage, 20000);
    scene->count = count;
    for (size_t i = 0; i < count; i++)
        scene->watches[i] = watch_of(scene, i);
    begin_all(scene);
}

static void scene_close(struct scene *scene)
{
    for (size_t i = 0; i < scene->count; i++)
        conclave_watch_destroy(scene->watches[i]);
    stage_close(&scene->stage);
}

static void say_put(struct scene *scene, size_t i, uint64_t revision)
{
    stage_event(&scene->stage, &scene->ops[i], WATCH_PUT, stage_text(scene->keys[i]), "v",
                revision);
}

static void expect_put(struct scene *scene, size_t i, uint64_t revision)
{
    struct conclave_watch_event event;
    int code;
    STAGE_UNTIL(&scene->stage,
                (code = conclave_watch_next(scene->watches[i], 0, &event)) != CONCLAVE_TIMEOUT);
    cr_assert_eq(code, CONCLAVE_OK);
    cr_assert_eq(event.kind, CONCLAVE_WATCH_PUT);
    cr_assert_eq(event.revision, revision);
}

static int silence(struct scene *scene, size_t i)
{
    struct conclave_watch_event event;
    int code = conclave_watch_next(scene->watches[i], 0, &event);
    cr_assert_neq(code, CONCLAVE_OK, "an event of kind %d", event.kind);
    return code;
}

Test(streams, share_one_connection_and_begin_in_few_frames)
{
    struct scene scene;
    scene_open(&scene, WATCHES);
    for (size_t i = 1; i < WATCHES; i++) {
        cr_assert_eq(scene.ops[i].route_bytes, scene.ops[0].route_bytes);
        cr_assert_arr_eq(scene.ops[i].route, scene.ops[0].route, scene.ops[0].route_bytes);
    }
    cr_assert_leq(scene.stage.frames, 2);
    for (size_t i = 0; i < WATCHES; i++)
        say_put(&scene, i, 10 + i);
    for (size_t i = WATCHES; i-- > 0;)
        expect_put(&scene, i, 10 + i);
    scene_close(&scene);
}

Test(streams, ready_names_those_with_something_to_hand_out_in_turn)
{
    struct scene scene;
    void *user = NULL;
    scene_open(&scene, 3);
    cr_assert_eq(conclave_client_ready(scene.stage.client, 0, &user), CONCLAVE_TIMEOUT);
    say_put(&scene, 2, 10);
    say_put(&scene, 0, 11);
    STAGE_UNTIL(&scene.stage, conclave_client_ready(scene.stage.client, 0, &user) == CONCLAVE_OK);
    cr_assert_str_eq(user, "k2");
    STAGE_UNTIL(&scene.stage, conclave_client_ready(scene.stage.client, 0, &user) == CONCLAVE_OK &&
                                  strcmp(user, "k0") == 0);
    expect_put(&scene, 2, 10);
    expect_put(&scene, 0, 11);
    cr_assert_eq(silence(&scene, 2), CONCLAVE_TIMEOUT);
    cr_assert_eq(conclave_client_ready(scene.stage.client, 0, &user), CONCLAVE_TIMEOUT);
    scene_close(&scene);
}

Test(streams, all_go_on_where_they_were_when_the_node_stops)
{
    struct scene scene;
    scene_open(&scene, WATCHES);
    for (size_t i = 0; i < WATCHES; i++)
        say_put(&scene, i, 10 + i);
    for (size_t i = 0; i < WATCHES; i++)
        expect_put(&scene, i, 10 + i);
    struct stage_op before = scene.ops[0];
    stage_reply(&scene.stage, &scene.ops[1], CONCLAVE_STOPPING, "", 0);
    begin_all(&scene);
    cr_assert(before.route_bytes != scene.ops[0].route_bytes ||
                  memcmp(before.route, scene.ops[0].route, before.route_bytes) != 0,
              "over a new connection");
    for (size_t i = 0; i < WATCHES; i++) {
        cr_assert_eq(stage_subscribe(&scene.ops[i]).position, 11 + i);
        say_put(&scene, i, 500 + i);
    }
    for (size_t i = 0; i < WATCHES; i++)
        expect_put(&scene, i, 500 + i);
    scene_close(&scene);
}

Test(streams, one_that_a_node_has_no_more_begins_again_alone)
{
    struct scene scene;
    scene_open(&scene, 3);
    say_put(&scene, 1, 10);
    expect_put(&scene, 1, 10);
    stage_reply(&scene.stage, &scene.ops[1], CONCLAVE_TIMEOUT, "", 0);
    struct stage_op again = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage_subscribe(&again).position, 11);
    cr_assert_arr_eq(again.route, scene.ops[0].route, again.route_bytes);
    cr_assert_eq(stage_count(&scene.stage, CLIENT_OP_SUBSCRIBE), 0);
    say_put(&scene, 2, 12);
    expect_put(&scene, 2, 12);
    scene_close(&scene);
}

Test(streams, one_whose_frame_was_lost_says_so_and_begins_again_alone)
{
    struct scene scene;
    scene_open(&scene, 3);
    say_put(&scene, 1, 10);
    scene.ops[1].number++; /* lost */
    say_put(&scene, 1, 12);
    struct stage_op given_up = stage_hear(&scene.stage, CLIENT_OP_UNSUBSCRIBE);
    struct stage_op again = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(given_up.id, scene.ops[1].id);
    cr_assert_neq(again.id, given_up.id);
    cr_assert_eq(stage_subscribe(&again).position, 11);
    expect_put(&scene, 1, 10);
    scene_close(&scene);
}

Test(streams, one_that_is_refused_for_good_leaves_the_others_alone)
{
    struct scene scene;
    void *user = NULL;
    scene_open(&scene, 2);
    stage_reply(&scene.stage, &scene.ops[1], CONCLAVE_INVALID, "", 0);
    STAGE_UNTIL(&scene.stage, silence(&scene, 1) == CONCLAVE_INVALID);
    cr_assert_eq(conclave_client_ready(scene.stage.client, 0, &user), CONCLAVE_OK);
    cr_assert_str_eq(user, "k1", "its end is something to be told");
    say_put(&scene, 0, 10);
    expect_put(&scene, 0, 10);
    cr_assert_eq(scene.stage.count, 0);
    scene_close(&scene);
}

Test(streams, a_full_node_keeps_those_that_it_has)
{
    struct scene scene;
    scene_open(&scene, 1);
    scene.watches[1] = watch_of(&scene, 1);
    struct stage_op refused = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    stage_reply(&scene.stage, &refused, CONCLAVE_BUSY, "", 0);
    struct stage_op again = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_arr_eq(again.route, scene.ops[0].route, again.route_bytes);
    say_put(&scene, 0, 10);
    expect_put(&scene, 0, 10);
    scene.count = 2;
    scene_close(&scene);
}

Test(streams, one_that_is_given_up_is_unsubscribed_and_its_frames_are_nobodys)
{
    struct scene scene;
    scene_open(&scene, 2);
    conclave_watch_destroy(scene.watches[1]);
    cr_assert_eq(stage_hear(&scene.stage, CLIENT_OP_UNSUBSCRIBE).id, scene.ops[1].id);
    say_put(&scene, 1, 10);
    cr_assert_eq(stage_hear(&scene.stage, CLIENT_OP_UNSUBSCRIBE).id, scene.ops[1].id);
    scene.watches[1] = watch_of(&scene, 1); /* in the place of the other */
    struct stage_op op = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_neq(op.id, scene.ops[1].id);
    say_put(&scene, 1, 10); /* still of the old one */
    stage_begun(&scene.stage, &op);
    scene.ops[1] = op;
    say_put(&scene, 1, 20);
    expect_put(&scene, 1, 20);
    scene_close(&scene);
}

Test(streams, what_is_left_unread_is_not_granted_again_elsewhere)
{
    struct scene scene;
    char value[20000];
    scene_open(&scene, 1);
    uint64_t granted = stage_subscribe(&scene.ops[0]).granted;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    stage_event(&scene.stage, &scene.ops[0], WATCH_PUT, stage_text("k0"), value, 10);
    stage_reply(&scene.stage, &scene.ops[0], CONCLAVE_STOPPING, "", 0);
    begin_all(&scene);
    struct stream_subscribe again = stage_subscribe(&scene.ops[0]);
    cr_assert_eq(again.position, 11);
    cr_assert_leq(again.granted, granted - sizeof value);
    expect_put(&scene, 0, 10);
    stage_event(&scene.stage, &scene.ops[0], WATCH_PUT, stage_text("k0"), value, 11);
    expect_put(&scene, 0, 11);
    cr_assert_eq(silence(&scene, 0), CONCLAVE_TIMEOUT); /* both are handed out now */
    struct stage_op credit = stage_hear(&scene.stage, CLIENT_OP_CREDIT);
    cr_assert_gt(stage_credit(&credit).granted, granted, "both were taken");
    scene_close(&scene);
}

Test(streams, of_marks_that_nobody_takes_the_last_one_is_kept)
{
    struct scene scene;
    struct conclave_watch_event event;
    scene_open(&scene, 2);
    for (uint64_t position = 100; position < 1100; position++)
        stage_frame(&scene.stage, &scene.ops[0],
                    (struct stream_frame){.type = STREAM_PROGRESS, .position = position});
    say_put(&scene, 1, 10); /* comes behind all of them */
    expect_put(&scene, 1, 10);
    cr_assert_eq(conclave_watch_next(scene.watches[0], 0, &event), CONCLAVE_OK);
    cr_assert_eq(event.kind, CONCLAVE_WATCH_PROGRESS);
    cr_assert_eq(event.revision, 1098);
    cr_assert_eq(silence(&scene, 0), CONCLAVE_TIMEOUT);
    scene_close(&scene);
}

Test(streams, of_a_client_that_is_gone_say_so)
{
    struct scene scene;
    scene_open(&scene, 2);
    say_put(&scene, 0, 10);
    say_put(&scene, 1, 11);
    expect_put(&scene, 1, 11); /* so the other one has come too */
    conclave_client_destroy(scene.stage.client);
    scene.stage.client = NULL;
    struct conclave_watch_event event;
    cr_assert_eq(conclave_watch_next(scene.watches[0], 0, &event), CONCLAVE_OK, "it had come");
    cr_assert_eq(conclave_watch_next(scene.watches[0], 10000, &event), CONCLAVE_STOPPING);
    cr_assert_eq(conclave_watch_next(scene.watches[1], 10000, &event), CONCLAVE_STOPPING);
    cr_assert_eq(conclave_watch_fd(scene.watches[0]), -1);
    cr_assert_str_eq(conclave_watch_describe(scene.watches[0]), "its client is gone");
    scene_close(&scene);
}

Test(streams, there_is_a_most_of_them)
{
    struct stage stage;
    static struct conclave_watch *watches[STREAM_CONNECTION_MAX];
    struct conclave_watch *one_more;
    struct conclave_watch_options options;
    stage_open(&stage, 20000);
    conclave_watch_options_init(&options);
    options.client = stage.client;
    options.key = "k";
    options.key_bytes = 1;
    for (size_t i = 0; i < STREAM_CONNECTION_MAX; i++)
        cr_assert_eq(conclave_watch_create(&options, &watches[i], NULL), CONCLAVE_OK);
    cr_assert_eq(conclave_watch_create(&options, &one_more, NULL), CONCLAVE_BUSY);
    conclave_watch_destroy(watches[77]);
    cr_assert_eq(conclave_watch_create(&options, &watches[77], NULL), CONCLAVE_OK);
    for (size_t i = 0; i < STREAM_CONNECTION_MAX; i++)
        conclave_watch_destroy(watches[i]);
    stage_close(&stage);
}
