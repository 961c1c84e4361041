/* Topics: what commands and queries answer, and what the state is then. */
#include "rig.h"
#include "topic_rig.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct topic_settings plain = {0};

Test(topics, number_their_messages_without_gaps_and_say_in_which_order)
{
    struct topic_rig *rig = topic_rig_create();
    cr_assert_eq(topic_rig_create_topic(rig, "a", plain), CONCLAVE_OK);
    cr_assert_eq(rig->number, 1);
    cr_assert_eq(topic_rig_create_topic(rig, "b", plain), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "a", "x", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->published.first, 1);
    cr_assert_eq(topic_rig_publish(rig, "b", "y", NULL), CONCLAVE_OK);
    rig->clock_ms = 50;
    cr_assert_eq(topic_rig_publish(rig, "a", "p q r", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->published.first, 2);
    cr_assert_eq(rig->published.count, 3);
    cr_assert_eq(rig->published.revision, 5);
    cr_assert_str_eq(topic_rig_read(rig, "a", CONCLAVE_FROM_FIRST, 0, 0),
                     "1..5>5 1@3/0=x 2@5/50=p 3@5/50=q 4@5/50=r");
    cr_assert_str_eq(topic_rig_read(rig, "b", CONCLAVE_FROM_FIRST, 0, 0), "1..2>2 1@4/0=y");
    topic_rig_destroy(rig);
}

Test(topics, are_read_from_wherever_one_likes)
{
    struct topic_rig *rig = topic_rig_create();
    cr_assert_eq(topic_rig_create_topic(rig, "t", plain), CONCLAVE_OK);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "1..1>1");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_LAST, 0, 0), "1..1>1");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_AGO, 5, 0), "1..1>1");
    for (rig->clock_ms = 100; rig->clock_ms <= 500; rig->clock_ms += 100)
        cr_assert_eq(topic_rig_publish(rig, "t", "m n", NULL), CONCLAVE_OK);
    rig->clock_ms = 500;
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_SEQUENCE, 4, 1), "1..11>5 4@3/200=n");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_LAST, 0, 0), "1..11>11 10@6/500=n");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_LAST, 3, 2),
                     "1..11>10 8@5/400=n 9@6/500=m");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_LAST, 99, 1), "1..11>2 1@2/100=m");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_TIME, 300, 1), "1..11>6 5@4/300=m");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_TIME, 301, 1), "1..11>8 7@5/400=m");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_TIME, 501, 1), "1..11>11");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_AGO, 100, 1), "1..11>8 7@5/400=m");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_AGO, 9999, 1), "1..11>2 1@2/100=m");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_NEW, 0, 0), "1..11>11");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_SEQUENCE, 20, 0), "1..11>20");
    cr_assert_str_eq(topic_rig_read(rig, "none", CONCLAVE_FROM_FIRST, 0, 0), "NOT_FOUND");
    topic_rig_destroy(rig);
}

Test(topics, publish_only_behind_the_message_that_is_expected)
{
    struct topic_rig *rig = topic_rig_create();
    uint64_t none = 0, one = 1;
    cr_assert_eq(topic_rig_publish(rig, "t", "a", NULL), CONCLAVE_NOT_FOUND);
    cr_assert_eq(topic_rig_create_topic(rig, "t", plain), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "t", "a", &one), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(rig->number, 0);
    cr_assert_eq(topic_rig_publish(rig, "t", "a", &none), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "t", "b", &none), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(rig->number, 1);
    cr_assert_eq(rig->revision, 2, "a publish that is refused is no change");
    cr_assert_eq(topic_rig_publish(rig, "t", "b", &one), CONCLAVE_OK);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "1..3>3 1@2/0=a 2@3/0=b");
    topic_rig_destroy(rig);
}

Test(topics, are_created_once_and_only_with_the_settings_they_have)
{
    struct topic_rig *rig = topic_rig_create();
    struct topic_settings other = {.count_max = 5};
    cr_assert_eq(topic_rig_create_topic(rig, "t", plain), CONCLAVE_OK);
    cr_assert_eq(topic_rig_create_topic(rig, "t", plain), CONCLAVE_OK);
    cr_assert_eq(rig->number, 1);
    cr_assert_eq(topic_rig_create_topic(rig, "t", other), CONCLAVE_EXISTS);
    cr_assert_eq(rig->number, 1);
    cr_assert_eq(rig->revision, 1);
    topic_rig_destroy(rig);
}

Test(topics, that_are_deleted_leave_nothing_and_begin_anew)
{
    struct topic_rig *rig = topic_rig_create();
    struct topic_settings compared = {.dedup_ms = 1000};
    cr_assert_eq(topic_rig_create_topic(rig, "t", compared), CONCLAVE_OK);
    for (int i = 0; i < 200; i++) {
        char message[32];
        snprintf(message, sizeof message, "id%d:x", i);
        cr_assert_eq(topic_rig_publish(rig, "t", message, NULL), CONCLAVE_OK);
    }
    cr_assert_eq(topic_rig_delete_topic(rig, "t"), CONCLAVE_OK);
    cr_assert_eq(rig->number, 1);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "NOT_FOUND");
    cr_assert_eq(topic_rig_create_topic(rig, "t", compared), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "t", "id7:new", NULL), CONCLAVE_OK);
    cr_assert_eq(rig->published.count, 1, "ids of another topic are not compared");
    for (int i = 0; i < 20; i++) /* a part of it with each command */
        cr_assert_eq(topic_rig_delete_topic(rig, "none"), CONCLAVE_OK);
    cr_assert_eq(rig->number, 0);
    cr_assert_eq(topic_rig_count(rig, TABLE_MESSAGES, "", 0), 1);
    cr_assert_eq(topic_rig_count(rig, TABLE_TOPICS, "", 0), 3);
    char expected[64];
    snprintf(expected, sizeof expected, "1..2>2 1@%lu/0=new", (unsigned long)rig->revision);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), expected);
    topic_rig_destroy(rig);
}

Test(topics, are_listed_in_the_order_of_their_names_page_by_page)
{
    struct topic_rig *rig = topic_rig_create();
    const char *names[] = {"b", "a", "c"};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(topic_rig_create_topic(rig, names[i], plain), CONCLAVE_OK);
    struct topic_query query = {.opcode = TOPIC_LIST, .limit = 2};
    struct list_answer answer;
    struct topic_info info;
    cr_assert_eq(topic_rig_query(rig, &query), CONCLAVE_OK);
    cr_assert_eq(list_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(topic_list_answer_next(&answer, &info), 1);
    cr_assert_eq(info.name.data[0], 'a');
    cr_assert_eq(info.id, 2);
    cr_assert_eq(topic_list_answer_next(&answer, &info), 1);
    cr_assert_eq(topic_list_answer_next(&answer, &info), 0);
    cr_assert_eq(answer.next.data[0], 'c');
    query.name = (struct slice){(const uint8_t *)"c", 1};
    cr_assert_eq(topic_rig_query(rig, &query), CONCLAVE_OK);
    cr_assert_eq(list_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(topic_list_answer_next(&answer, &info), 1);
    cr_assert_eq(info.name.data[0], 'c');
    cr_assert_eq(answer.next.bytes, 0);
    topic_rig_destroy(rig);
}

Test(topics, keep_large_batches_and_messages_in_order)
{
    struct topic_rig *rig = topic_rig_create();
    enum { LARGE = 300000 };
    uint8_t *large = mem_zalloc(LARGE);
    cr_assert_eq(topic_rig_create_topic(rig, "t", plain), CONCLAVE_OK);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(topic_rig_publish(rig, "t", "a b c d", NULL), CONCLAVE_OK);
        cr_assert_eq(topic_rig_publish_bytes(rig, "t", large, LARGE), CONCLAVE_OK);
    }
    uint64_t next = 1;
    for (unsigned pages = 0; next < 26; pages++) {
        struct topic_read_answer answer;
        struct topic_item item;
        struct topic_query query = {.opcode = TOPIC_READ,
                                    .name = {(const uint8_t *)"t", 1},
                                    .position = next,
                                    .bytes = 1000};
        cr_assert_lt(pages, 26);
        cr_assert_eq(topic_rig_query(rig, &query), CONCLAVE_OK);
        cr_assert_eq(topic_read_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer),
                     0);
        cr_assert_gt(answer.count, 0);
        while (topic_read_answer_next(&answer, &item) == 1) {
            cr_assert_eq(item.sequence, next);
            cr_assert_eq(item.message.data.bytes, next % 5 == 0 ? LARGE : 1);
            next++;
        }
        cr_assert_eq(answer.next, next);
    }
    free(large);
    topic_rig_destroy(rig);
}

/* --- The whole machine -------------------------------------------------------------------------
 */

static int machine_publish(struct rig *rig, const char *name, const char *data)
{
    struct topic_publish publish = {.name = text(name), .count = 1};
    struct pack pack;
    pack_init(&pack, 0);
    topic_publish_begin(&pack, &publish);
    topic_publish_data(&pack, text(data));
    topic_publish_ids(&pack, &publish);
    int code = rig_command_bytes(rig, pack.buf->data, pack.bytes);
    pack_deinit(&pack);
    return code;
}

/* One batch of the log: the record of a topic is stored when another one is used, and at the end.
 */
Test(topics, take_turns_within_one_batch)
{
    enum { COMMANDS = 20 };
    struct rig *rig = rig_create();
    struct pack packs[COMMANDS];
    struct conclave_command commands[COMMANDS];
    struct conclave_reply_sink sinks[COMMANDS] = {{0}}, *replies[COMMANDS];
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct topic_publish publish = {.name = text(i % 2 ? "a" : "b"), .count = 1};
        pack_init(&packs[i], 0);
        if (i < 2) {
            topic_create_pack(&packs[i], publish.name, &plain);
        } else {
            topic_publish_begin(&packs[i], &publish);
            topic_publish_data(&packs[i], text("m"));
            topic_publish_ids(&packs[i], &publish);
        }
        commands[i] =
            (struct conclave_command){++rig->index, 1, packs[i].buf->data, packs[i].bytes};
        replies[i] = &sinks[i];
    }
    cr_assert_eq(rig->ops->apply(rig->kv, commands, COMMANDS, rig->index, replies), CONCLAVE_OK);
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct topic_published published;
        cr_assert_eq(sinks[i].code, CONCLAVE_OK);
        if (i >= 2) {
            cr_assert_eq(
                topic_published_decode(sinks[i].body->data, sinks[i].body->bytes, &published), 0);
            cr_assert_eq(published.first, i / 2);
        }
        reply_sink_clear(&sinks[i]);
        pack_deinit(&packs[i]);
    }
    cr_assert_eq(machine_publish(rig, "a", "last"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, COMMANDS / 2);
    rig_destroy(rig);
}

Test(topics, share_revisions_with_keys_and_live_through_a_kill)
{
    struct rig *rig = rig_create();
    struct pack pack;
    pack_init(&pack, 0);
    topic_create_pack(&pack, text("t"), &plain);
    cr_assert_eq(rig_command_bytes(rig, pack.buf->data, pack.bytes), CONCLAVE_OK);
    pack_deinit(&pack);
    cr_assert_eq(rig_put(rig, "k", "v"), CONCLAVE_OK);
    cr_assert_eq(machine_publish(rig, "t", "m"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.revision, 3);
    cr_assert_eq(rig->outcome.value, 1);
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 3);
    cr_assert_eq(machine_publish(rig, "t", "n"), CONCLAVE_OK);
    cr_assert_eq(rig->outcome.value, 2);
    struct topic_query query = {.opcode = TOPIC_READ, .name = text("t")};
    pack_init(&pack, 0);
    topic_query_pack(&pack, &query);
    reply_sink_clear(&rig->sink);
    rig->ops->query(rig->kv, pack.buf->data, pack.bytes, &rig->sink);
    pack_deinit(&pack);
    struct topic_read_answer answer;
    cr_assert_eq(topic_read_answer_begin(rig->sink.body->data, rig->sink.body->bytes, &answer), 0);
    cr_assert_eq(answer.count, 2);
    rig_destroy(rig);
}
