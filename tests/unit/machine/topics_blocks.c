/* Blocks of topics: what comes in the same moment shares one as long as it is small, the same on
 * every node wherever its batches end. */
#include "topic_rig.h"

#include "base/prng.h"
#include "machine/kv.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct topic_rig *begin(struct topic_settings settings)
{
    struct topic_rig *rig = topic_rig_create();
    cr_assert_eq(topic_rig_create_topic(rig, "t", settings), CONCLAVE_OK);
    return rig;
}

static unsigned blocks(struct topic_rig *rig)
{
    return topic_rig_count(rig, TABLE_MESSAGES, "", 0);
}

Test(topics_blocks, hold_what_several_publishes_brought_in_one_moment)
{
    struct topic_rig *rig = begin((struct topic_settings){0});
    cr_assert_eq(topic_rig_publish(rig, "t", "a b", NULL), CONCLAVE_OK);
    rig->revision += 7; /* of something else */
    cr_assert_eq(topic_rig_publish(rig, "t", "id:c", NULL), CONCLAVE_OK);
    cr_assert_eq(topic_rig_publish(rig, "t", "d e", NULL), CONCLAVE_OK);
    cr_assert_eq(blocks(rig), 1);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0),
                     "1..6>6 1@2/0=a 2@2/0=b 3@10/0=c 4@11/0=d 5@11/0=e");
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_SEQUENCE, 4, 0),
                     "1..6>6 4@11/0=d 5@11/0=e");
    cr_assert_eq(topic_rig_record(rig, "t").bytes, sizeof(struct topic_block) + 5 * 6 + 2);
    topic_rig_destroy(rig);
}

Test(topics_blocks, are_of_one_moment_and_small_to_be_joined_to)
{
    static const uint8_t data[TOPIC_JOIN_BYTES];
    struct topic_rig *rig = begin((struct topic_settings){0});
    topic_rig_publish_many(rig, "t", 5);
    rig->clock_ms++;
    topic_rig_publish_many(rig, "t", 5);
    cr_assert_eq(blocks(rig), 2, "another moment");
    cr_assert_eq(topic_rig_publish_bytes(rig, "t", data, sizeof data), CONCLAVE_OK);
    cr_assert_eq(blocks(rig), 3, "it is large");
    topic_rig_publish_many(rig, "t", 5);
    cr_assert_eq(blocks(rig), 4, "nothing is joined to a large one");
    size_t rest = TOPIC_JOIN_BYTES - sizeof(struct topic_block) - 5 * (TOPIC_ENTRY_BYTES + 1);
    cr_assert_eq(topic_rig_publish_bytes(rig, "t", data, rest - TOPIC_ENTRY_BYTES), CONCLAVE_OK);
    cr_assert_eq(blocks(rig), 4, "to the last byte");
    topic_rig_publish_many(rig, "t", 1);
    cr_assert_eq(blocks(rig), 5);
    rig->revision += TOPIC_STEP_MAX;
    topic_rig_publish_many(rig, "t", 1);
    cr_assert_eq(blocks(rig), 6, "its revision is too far from the last one");
    rig->revision += TOPIC_STEP_MAX - 1;
    topic_rig_publish_many(rig, "t", 1);
    cr_assert_eq(blocks(rig), 6);
    char expected[64];
    snprintf(expected, sizeof expected, "1..21>21 20@%lu/1=1", (unsigned long)rig->revision);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_LAST, 1, 0), expected);
    topic_rig_destroy(rig);
}

Test(topics_blocks, are_smaller_where_a_topic_may_hold_little)
{
    struct topic_rig *rig = begin((struct topic_settings){.bytes_max = 1600});
    topic_rig_publish_many(rig, "t", 16);
    struct topic_record record = topic_rig_record(rig, "t");
    cr_assert_eq(blocks(rig), 2, "a hundred bytes each at most: twelve of 6 and a head");
    cr_assert_eq(record.bytes, 2 * sizeof(struct topic_block) + 16 * 6 + 7);
    topic_rig_destroy(rig);
}

Test(topics_blocks, that_are_joined_to_are_erased_as_a_whole)
{
    struct topic_rig *rig = begin((struct topic_settings){.count_max = 3, .age_ms = 1000});
    for (int i = 0; i < 50; i++) {
        topic_rig_publish_many(rig, "t", 1);
        rig->clock_ms += i % 5 == 4 ? 100 : 0;
        struct topic_record record = topic_rig_record(rig, "t");
        cr_assert_eq(record.end - record.first, i < 3 ? i + 1 : 3);
        cr_assert_leq(blocks(rig), 2);
    }
    rig->clock_ms += 1000;
    cr_assert_eq(topic_rig_create_topic(rig, "u", (struct topic_settings){0}), CONCLAVE_OK);
    cr_assert_str_eq(topic_rig_read(rig, "t", CONCLAVE_FROM_FIRST, 0, 0), "51..51>51");
    topic_rig_publish_many(rig, "t", 2);
    cr_assert_eq(blocks(rig), 1);
    topic_rig_destroy(rig);
}

/* --- Wherever batches end ----------------------------------------------------------------------
 */

enum { COMMANDS = 3000, BATCH_MAX = 40 };

static void draw_command(struct prng *prng, struct pack *pack)
{
    static const uint8_t data[2500];
    uint8_t name = (uint8_t)('a' + prng_below(prng, 3));
    struct topic_settings settings = {.count_max = name == 'a' ? 50 : 0,
                                      .bytes_max = name == 'b' ? 20000 : 0};
    struct topic_publish publish = {.name = {&name, 1}, .count = prng_below(prng, 4) ? 1 : 3};
    uint64_t draw = prng_below(prng, 200);
    pack_init(pack, 0);
    if (draw == 0) {
        topic_delete_pack(pack, publish.name);
        return;
    }
    if (draw < 8) {
        topic_create_pack(pack, publish.name, &settings);
        return;
    }
    topic_publish_begin(pack, &publish);
    for (uint32_t i = 0; i < publish.count; i++)
        topic_publish_data(
            pack, (struct slice){data, prng_below(prng, 20) ? prng_below(prng, 200) : sizeof data});
    topic_publish_ids(pack, &publish);
}

static struct kv *kv_in(struct tables *tables)
{
    struct conclave_machine_env env = {.dir = "-", .cluster_id = 1, .node_id = 1};
    uint64_t applied;
    struct kv *kv = kv_create_in(tables);
    cr_assert_eq(kv_machine_ops()->open(kv, &env, &applied, NULL), CONCLAVE_OK);
    return kv;
}

static void expect_same(struct tables *one, struct tables *two, enum table table)
{
    struct tables_tx *tx[2];
    struct tables_cursor cursors[2];
    struct slice keys[2] = {{0}}, values[2];
    cr_assert_eq(tables_read(one, &tx[0]), 0);
    cr_assert_eq(tables_read(two, &tx[1]), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(tables_cursor_open(tx[i], table, &cursors[i]), 0);
    enum tables_move move = TABLES_FROM;
    for (int rc = 0; rc == 0; move = TABLES_NEXT) {
        rc = tables_cursor_move(&cursors[0], move, &keys[0], &values[0]);
        cr_assert_eq(tables_cursor_move(&cursors[1], move, &keys[1], &values[1]), rc);
        if (rc == 0) {
            cr_assert_eq(tables_compare(keys[0], keys[1]), 0);
            cr_assert_eq(tables_compare(values[0], values[1]), 0);
        }
    }
    tables_cursor_close(&cursors[0]);
    tables_cursor_close(&cursors[1]);
}

Test(topics_blocks, are_the_same_wherever_batches_end)
{
    struct tables *one = tables_memory_create(), *two = tables_memory_create();
    struct kv *by_one = kv_in(one), *by_many = kv_in(two);
    const struct conclave_machine_ops *ops = kv_machine_ops();
    struct pack packs[BATCH_MAX];
    struct conclave_command commands[BATCH_MAX];
    struct prng prng;
    prng_init(&prng, 9);
    for (uint64_t index = 0; index < COMMANDS;) {
        size_t count = 1 + prng_below(&prng, BATCH_MAX);
        for (size_t i = 0; i < count; i++) {
            draw_command(&prng, &packs[i]);
            commands[i] = (struct conclave_command){++index, 1, packs[i].buf->data, packs[i].bytes};
            cr_assert_eq(ops->apply(by_one, &commands[i], 1, index, NULL), CONCLAVE_OK);
        }
        cr_assert_eq(ops->apply(by_many, commands, count, index, NULL), CONCLAVE_OK);
        for (size_t i = 0; i < count; i++)
            pack_deinit(&packs[i]);
        expect_same(one, two, TABLE_TOPICS);
    }
    expect_same(one, two, TABLE_MESSAGES);
    kv_destroy(by_one);
    kv_destroy(by_many);
    tables_destroy(one);
    tables_destroy(two);
}
