/* Subscriptions to a topic at a node that says what the test tells it to. */
#include "conclave_topic.h"
#include "stage.h"

#include "codec/topic.h"

#include <criterion/criterion.h>
#include <string.h>

struct scene {
    struct stage stage;
    struct conclave_subscription *subscription;
    struct stage_op op;
};

static void scene_open(struct scene *scene, uint64_t sequence)
{
    struct conclave_subscription_options options;
    struct conclave_error error;
    memset(scene, 0, sizeof *scene);
    stage_open(&scene->stage, 20000);
    conclave_subscription_options_init(&options);
    options.client = scene->stage.client;
    options.topic = "t";
    options.topic_bytes = 1;
    options.sequence = sequence;
    cr_assert_eq(conclave_subscription_create(&options, &scene->subscription, &error), CONCLAVE_OK,
                 "%s", error.message);
    scene->op = stage_hear(&scene->stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage_subscribe(&scene->op).kind, STREAM_TOPIC);
    cr_assert_eq(stage_subscribe(&scene->op).position, sequence);
    stage_begun(&scene->stage, &scene->op);
}

static void scene_close(struct scene *scene)
{
    conclave_subscription_destroy(scene->subscription);
    stage_close(&scene->stage);
}

static void say_message(struct scene *scene, uint64_t sequence, const char *data)
{
    struct pack items;
    pack_init(&items, 0);
    topic_item_pack(&items, &(struct topic_item){.sequence = sequence,
                                                 .revision = 100 + sequence,
                                                 .time_ms = 7,
                                                 .message = {.data = stage_text(data)}});
    stage_frame(&scene->stage, &scene->op,
                (struct stream_frame){.type = STREAM_EVENTS,
                                      .position = sequence + 1,
                                      .count = 1,
                                      .items = {items.buf->data, items.bytes}});
    pack_deinit(&items);
}

/* What comes next, whatever it is. */
static int next(struct scene *scene, struct conclave_subscription_event *ret)
{
    int code;
    STAGE_UNTIL(&scene->stage, (code = conclave_subscription_next(scene->subscription, 0, ret)) !=
                                   CONCLAVE_TIMEOUT);
    return code;
}

static void expect_message(struct scene *scene, uint64_t sequence, const char *data)
{
    struct conclave_subscription_event event;
    cr_assert_eq(next(scene, &event), CONCLAVE_OK);
    cr_assert_eq(event.kind, CONCLAVE_SUBSCRIPTION_MESSAGE);
    cr_assert_eq(event.message.sequence, sequence);
    cr_assert_eq(event.message.revision, 100 + sequence);
    cr_assert(event.message.bytes == strlen(data) &&
              memcmp(event.message.data, data, event.message.bytes) == 0);
}

Test(subscription, hands_out_each_message_and_goes_on_at_another_connection)
{
    struct scene scene;
    scene_open(&scene, 4);
    say_message(&scene, 4, "four");
    say_message(&scene, 5, "five");
    expect_message(&scene, 4, "four");
    expect_message(&scene, 5, "five");
    stage_reply(&scene.stage, &scene.op, CONCLAVE_STOPPING, "", 0);
    scene.op = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_eq(stage_subscribe(&scene.op).position, 6);
    stage_begun(&scene.stage, &scene.op);
    say_message(&scene, 6, "six");
    expect_message(&scene, 6, "six");
    scene_close(&scene);
}

Test(subscription, a_message_that_is_left_out_is_never_passed_over)
{
    struct scene scene;
    struct conclave_subscription_event event;
    scene_open(&scene, 4);
    say_message(&scene, 4, "four");
    say_message(&scene, 6, "six");
    expect_message(&scene, 4, "four");
    cr_assert_eq(next(&scene, &event), CONCLAVE_MALFORMED);
    scene_close(&scene);
}

Test(subscription, what_retention_dropped_is_told)
{
    struct scene scene;
    struct conclave_subscription_event event;
    scene_open(&scene, 4);
    stage_frame(&scene.stage, &scene.op,
                (struct stream_frame){.type = STREAM_RESYNC, .position = 4, .oldest = 9});
    say_message(&scene, 9, "nine");
    cr_assert_eq(next(&scene, &event), CONCLAVE_OK);
    cr_assert_eq(event.kind, CONCLAVE_SUBSCRIPTION_DROPPED);
    cr_assert_eq(event.dropped_first, 4);
    cr_assert_eq(event.dropped_last, 8);
    expect_message(&scene, 9, "nine");
    scene_close(&scene);
}

/* A node that was restarted, or that ended it because nothing was heard for long, says so when it
 * is granted credit: that is no word about the topic. */
Test(subscription, of_which_a_node_knows_no_more_begins_again)
{
    struct scene scene;
    struct conclave_subscription_event event;
    scene_open(&scene, 4);
    say_message(&scene, 4, "four");
    stage_reply(&scene.stage, &scene.op, CONCLAVE_NOT_FOUND, "", 0);
    struct stage_op again = stage_hear(&scene.stage, CLIENT_OP_SUBSCRIBE);
    cr_assert_neq(again.id, scene.op.id);
    cr_assert_eq(stage_subscribe(&again).position, 5);
    expect_message(&scene, 4, "four");
    stage_reply(&scene.stage, &again, CONCLAVE_NOT_FOUND, "", 0);
    cr_assert_eq(next(&scene, &event), CONCLAVE_NOT_FOUND, "and then the topic is gone");
    cr_assert_eq(conclave_subscription_next(scene.subscription, 0, &event), CONCLAVE_NOT_FOUND,
                 "for good");
    scene_close(&scene);
}

Test(subscription, checks_its_options)
{
    struct conclave_subscription_options options;
    struct conclave_subscription *subscription = NULL;
    char name[CONCLAVE_TOPIC_BYTES_MAX + 1] = "";
    conclave_subscription_options_init(&options);
    options.topic = "t";
    options.topic_bytes = 1;
    cr_assert_eq(conclave_subscription_create(&options, &subscription, NULL), CONCLAVE_INVALID,
                 "nobody to ask");
    options.endpoints = "tcp://127.0.0.1:1";
    options.topic_bytes = 0;
    cr_assert_eq(conclave_subscription_create(&options, &subscription, NULL), CONCLAVE_INVALID);
    options.topic = name;
    options.topic_bytes = sizeof name;
    cr_assert_eq(conclave_subscription_create(&options, &subscription, NULL), CONCLAVE_TOO_LARGE);
    options.topic_bytes--;
    cr_assert_eq(conclave_subscription_create(&options, &subscription, NULL), CONCLAVE_OK);
    cr_assert_geq(conclave_subscription_fd(subscription), 0);
    conclave_subscription_destroy(subscription);
    conclave_subscription_destroy(NULL);
}
