/* Message ids: published once within the window, exactly, and forgotten behind it. */
#include "topic_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct topic_rig *rig;

static void setup(void)
{
    struct topic_settings settings = {.dedup_ms = 1000, .dedup_count = 10};
    rig = topic_rig_create();
    cr_assert_eq(topic_rig_create_topic(rig, "t", settings), CONCLAVE_OK);
}

static void teardown(void)
{
    topic_rig_destroy(rig);
}

TestSuite(topics_dedup, .init = setup, .fini = teardown);

static void publish(const char *messages)
{
    cr_assert_eq(topic_rig_publish(rig, "t", messages, NULL), CONCLAVE_OK);
}

Test(topics_dedup, answers_a_repeated_id_with_its_first_sequence)
{
    publish("a:one");
    publish("b:two");
    uint64_t revision = rig->revision;
    publish("a:other");
    cr_assert_eq(rig->published.count, 0);
    cr_assert_eq(rig->published.duplicate_count, 1);
    cr_assert_eq(rig->duplicates[0].place, 0);
    cr_assert_eq(rig->duplicates[0].sequence, 1);
    cr_assert_eq(rig->revision, revision, "nothing changed");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0),
                     "1..3>3 1@2/0=one 2@3/0=two");
}

Test(topics_dedup, sorts_out_those_of_a_batch)
{
    publish("a:1 b:2");
    publish("x b:3 c:4 c:5 a:6 y");
    cr_assert_eq(rig->published.first, 3);
    cr_assert_eq(rig->published.count, 3);
    cr_assert_eq(rig->published.duplicate_count, 3);
    const struct topic_duplicate expected[] = {{1, 2}, {3, 4}, {4, 1}};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(rig->duplicates[i].place, expected[i].place);
        cr_assert_eq(rig->duplicates[i].sequence, expected[i].sequence);
    }
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_SEQUENCE, 3, 0),
                     "1..6>6 3@3/0=x 4@3/0=4 5@3/0=y");
}

Test(topics_dedup, forgets_an_id_when_its_time_is_over_and_not_before)
{
    rig->clock_ms = 5000;
    publish("a:1");
    rig->clock_ms = 5999;
    publish("a:2");
    cr_assert_eq(rig->published.count, 0);
    rig->clock_ms = 6000;
    publish("a:3");
    cr_assert_eq(rig->published.count, 1);
    cr_assert_eq(rig->published.first, 2);
}

/* What is over is erased bit by bit, and the older of two publishes of an id is a part of that. */
Test(topics_dedup, keeps_an_id_that_was_published_again_when_the_first_time_is_erased)
{
    char message[8];
    for (int i = 0; i < 9; i++) {
        (void)snprintf(message, sizeof message, "%c:1", 'a' + i);
        publish(message);
    }
    rig->clock_ms = 1000;
    publish("i:2");
    cr_assert_eq(rig->published.count, 1);
    cr_assert_eq(rig->published.first, 10);
    cr_assert_gt(topic_rig_count(rig, TABLE_TOPICS, "o", 1), 2, "its first time is not erased yet");
    for (int i = 0; i < 6; i++)
        publish("x");
    cr_assert_eq(topic_rig_count(rig, TABLE_TOPICS, "o", 1), 1, "it is by now");
    publish("i:3");
    cr_assert_eq(rig->published.duplicate_count, 1);
    cr_assert_eq(rig->duplicates[0].sequence, 10);
}

Test(topics_dedup, forgets_an_id_behind_so_many_messages_and_not_before)
{
    publish("a:1");
    topic_rig_publish_many(rig, "t", 9);
    publish("a:2");
    cr_assert_eq(rig->published.count, 0);
    publish("z");
    publish("a:3");
    cr_assert_eq(rig->published.count, 1);
    cr_assert_eq(rig->published.first, 12);
    publish("a:4");
    cr_assert_eq(rig->duplicates[0].sequence, 12, "the newer one stands now");
}

Test(topics_dedup, does_not_grow_without_end)
{
    for (int i = 0; i < 500; i++) {
        char messages[64];
        snprintf(messages, sizeof messages, "p%d:x q%d:y", i, i);
        publish(messages);
        cr_assert_leq(topic_rig_count(rig, TABLE_TOPICS, "i", 1), 12);
        cr_assert_leq(topic_rig_count(rig, TABLE_TOPICS, "o", 1), 6);
    }
    rig->clock_ms = 1000;
    publish("last");
    publish("last");
    cr_assert_eq(topic_rig_count(rig, TABLE_TOPICS, "i", 1), 0);
    cr_assert_eq(topic_rig_count(rig, TABLE_TOPICS, "o", 1), 0);
}

Test(topics_dedup, comes_before_what_is_expected)
{
    uint64_t none = 0;
    cr_assert_eq(topic_rig_publish(rig, "t", "a:1", &none), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "t", "a:1", &none), CONCLAVE_OK, "it is a repeat");
    cr_assert_eq(rig->published.duplicate_count, 1);
    cr_assert_eq(topic_rig_publish(rig, "t", "a:1 b:2", &none), CONCLAVE_COMPARE_FAILED);
    publish("b:3");
    cr_assert_eq(rig->published.count, 1, "what was refused left no id behind");
}

Test(topics_dedup, is_left_out_where_a_topic_does_not_want_it)
{
    cr_assert_eq(topic_rig_create_topic(rig, "u", (struct topic_settings){0}), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "u", "a:1 a:2", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->published.count, 2);
    cr_assert_eq(topic_rig_count(rig, TABLE_TOPICS, "i", 1), 0);
}
