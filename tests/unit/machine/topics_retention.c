/* What topics drop: by count exactly, by bytes and age in whole blocks, never what is to be kept.
 */
#include "topic_rig.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct topic_rig *rig;

static void begin(struct topic_settings settings)
{
    rig = topic_rig_create();
    cr_assert_eq(topic_rig_create_topic(rig, "t", settings), CONCLAVE_OK);
}

/* The oldest message kept is the first one that can be read, and behind it there is no gap. */
static void whole(void)
{
    struct topic_record record = topic_rig_record(rig, "t");
    uint64_t next = 0;
    struct topic_query query = {
        .opcode = TOPIC_READ, .name = {(const uint8_t *)"t", 1}, .start = CONCLAVE_FROM_FIRST};
    struct topic_read_answer answer;
    struct topic_item item;
    cr_assert_eq(topic_rig_query(rig, &query), CONCLAVE_OK);
    cr_assert_eq(topic_read_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    for (next = answer.first; topic_read_answer_next(&answer, &item) == 1; next++)
        cr_assert_eq(item.sequence, next);
    cr_assert_eq(next, record.end);
    cr_assert_eq(answer.end, record.end);
}

Test(topics_retention, keeps_exactly_so_many_messages)
{
    begin((struct topic_settings){.count_max = 5});
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(topic_rig_publish(rig, "t", "a b c", NULL), CONCLAVE_OK);
        struct topic_record record = topic_rig_record(rig, "t");
        cr_assert_eq(record.end - record.first, i == 0 ? 3 : 5);
        whole();
    }
    cr_assert_leq(topic_rig_count(rig, TABLE_MESSAGES, "", 0), 2);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_SEQUENCE, 1, 1),
                     "116..121>117 116@40/0=b");
    topic_rig_destroy(rig);
}

Test(topics_retention, keeps_no_more_bytes_than_it_may)
{
    begin((struct topic_settings){.bytes_max = 10000});
    static uint8_t data[900];
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(topic_rig_publish_bytes(rig, "t", data, sizeof data), CONCLAVE_OK);
        struct topic_record record = topic_rig_record(rig, "t");
        cr_assert_leq(record.bytes, 10000);
        cr_assert(i < 10 || record.bytes > 9000, "it keeps what it can");
        whole();
    }
    topic_rig_destroy(rig);
}

Test(topics_retention, keeps_the_newest_message_however_large)
{
    begin((struct topic_settings){.bytes_max = 10});
    topic_rig_publish_many(rig, "t", 3);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "3..4>4 3@4/0=3");
    topic_rig_destroy(rig);
}

Test(topics_retention, shows_nothing_that_is_too_old_and_all_that_is_not)
{
    begin((struct topic_settings){.age_ms = 1000});
    rig->clock_ms = 100;
    topic_rig_publish_many(rig, "t", 1);
    rig->clock_ms = 101;
    topic_rig_publish_many(rig, "t", 2);
    rig->clock_ms = 1099;
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 1), "1..4>2 1@2/100=1");
    rig->clock_ms = 1100; /* before anything is erased */
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 1), "2..4>3 2@3/101=1");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_TIME, 0, 1), "2..4>3 2@3/101=1");
    rig->clock_ms = 1101;
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "4..4>4");
    topic_rig_publish_many(rig, "t", 1);
    cr_assert_eq(topic_rig_count(rig, TABLE_MESSAGES, "", 0), 1);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "4..5>5 4@5/1101=1");
    whole();
    topic_rig_destroy(rig);
}

Test(topics_retention, counts_from_the_latest_that_a_message_can_have_come)
{
    begin((struct topic_settings){.age_ms = 1000, .dedup_ms = 1000});
    rig->lag_ms = 100;
    cr_assert_eq(topic_rig_publish(rig, "t", "id:a", NULL), CONCLAVE_OK);
    rig->clock_ms = 1099;
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "1..2>2 1@2/100=a");
    cr_assert_eq(topic_rig_publish(rig, "t", "id:b", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->published.count, 0);
    rig->clock_ms = 1100;
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "2..2>2");
    cr_assert_eq(topic_rig_publish(rig, "t", "id:b", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->published.count, 1);
    topic_rig_destroy(rig);
}

Test(topics_retention, erases_a_bounded_part_with_each_publish_and_catches_up)
{
    begin((struct topic_settings){.age_ms = 1000});
    for (; rig->clock_ms < 100; rig->clock_ms++) /* a block each */
        topic_rig_publish_many(rig, "t", 1);
    rig->clock_ms = 5000;
    topic_rig_publish_many(rig, "t", 1);
    cr_assert_eq(topic_rig_count(rig, TABLE_MESSAGES, "", 0), 101 - 18);
    whole();
    topic_rig_publish_many(rig, "t", 6);
    cr_assert_eq(topic_rig_count(rig, TABLE_MESSAGES, "", 0), 1);
    cr_assert_eq(topic_rig_record(rig, "t").first, 101);
    whole();
    topic_rig_destroy(rig);
}

Test(topics_retention, of_one_topic_leaves_the_others_alone)
{
    begin((struct topic_settings){.count_max = 1});
    cr_assert_eq(topic_rig_create_topic(rig, "u", (struct topic_settings){0}), CONCLAVE_OK);
    for (int i = 0; i < 20; i++) {
        topic_rig_publish_many(rig, "t", 1);
        topic_rig_publish_many(rig, "u", 1);
        rig->clock_ms++;
    }
    cr_assert_eq(topic_rig_record(rig, "u").end, 21);
    cr_assert_eq(topic_rig_record(rig, "u").first, 1);
    cr_assert_eq(topic_rig_count(rig, TABLE_MESSAGES, "", 0), 21);
    topic_rig_destroy(rig);
}
