/* The wire form of topics: the examples of docs/protocol.md byte by byte, what is refused and how,
 * and that what is written is read. */
#include "check.h"

#include "codec/topic.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct pack pack;

static void setup(void)
{
    pack_init(&pack, 0);
}

static void teardown(void)
{
    pack_deinit(&pack);
}

TestSuite(topic, .init = setup, .fini = teardown);

static void expect(const char *bytes, size_t count)
{
    cr_assert_eq(pack.bytes, count, "%zu bytes, not %zu", pack.bytes, count);
    cr_assert_arr_eq(pack.buf->data, bytes, count);
    pack_deinit(&pack);
    pack_init(&pack, 0);
}
#define EXPECT(literal) expect(BYTES(literal))

static void publish(const char *name, const char *const *data, const char *const *ids,
                    uint32_t count, const uint64_t *expected)
{
    struct topic_publish wanted = {
        .name = text(name), .count = count, .expect = expected, .have_ids = ids != NULL};
    topic_publish_begin(&pack, &wanted);
    for (uint32_t i = 0; i < count; i++)
        topic_publish_data(&pack, text(data[i]));
    topic_publish_ids(&pack, &wanted);
    for (uint32_t i = 0; ids && i < count; i++)
        topic_publish_id(&pack, text(ids[i]));
}

Test(topic, commands_are_as_documented)
{
    static const char *const data[] = {"hi", "ho"}, *const ids[] = {"m1", ""};
    uint64_t seven = 7;
    topic_create_pack(&pack, text("t"),
                      &(struct topic_settings){.bytes_max = 1 << 20, .dedup_ms = 120000});
    EXPECT("\x97\x18\xc4\x01\x74\x00\xce\x00\x10\x00\x00\x00\xce\x00\x01\xd4\xc0\x00");
    topic_delete_pack(&pack, text("t"));
    EXPECT("\x92\x19\xc4\x01\x74");
    topic_trim_pack(&pack, text("t"), 7);
    EXPECT("\x93\x30\xc4\x01\x74\x07");
    publish("t", data, NULL, 1, NULL);
    EXPECT("\x93\x1a\xc4\x01\x74\x91\xc4\x02\x68\x69");
    publish("t", data, NULL, 1, &seven);
    EXPECT("\x94\x1a\xc4\x01\x74\x91\xc4\x02\x68\x69\x07");
    publish("t", data, ids, 2, NULL);
    EXPECT("\x95\x1a\xc4\x01\x74\x92\xc4\x02\x68\x69\xc4\x02\x68\x6f\xc0\x92\xc4\x02\x6d\x31\xc0");
}

Test(topic, queries_are_as_documented)
{
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_INFO, .name = text("t")});
    EXPECT("\x92\x50\xc4\x01\x74");
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_LIST});
    EXPECT("\x93\x51\xc4\x00\x00");
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_READ,
                                                  .name = text("t"),
                                                  .start = CONCLAVE_FROM_AGO,
                                                  .position = 60000,
                                                  .limit = 1});
    EXPECT("\x96\x52\xc4\x01\x74\x04\xcd\xea\x60\x01\x00");
}

Test(topic, subscriptions_are_as_documented)
{
    struct topic_spec spec;
    topic_spec_pack(&pack, &(struct topic_spec){text("t"), 7});
    cr_assert_eq(topic_spec_decode((struct slice){pack.buf->data, pack.bytes}, &spec), CONCLAVE_OK);
    cr_assert(same(spec.name, text("t")) && spec.id == 7);
    EXPECT("\x92\xc4\x01\x74\x07");
    static const uint8_t bare[] = {0x91, 0xc4, 0x01, 't'}, none[] = {0x91, 0xc4, 0x00};
    cr_assert_eq(topic_spec_decode((struct slice){bare, sizeof bare}, &spec), CONCLAVE_OK);
    cr_assert_eq(spec.id, 0);
    cr_assert_eq(topic_spec_decode((struct slice){none, sizeof none}, &spec), CONCLAVE_INVALID);
    cr_assert_eq(topic_spec_decode((struct slice){bare, 3}, &spec), CONCLAVE_MALFORMED);
}

Test(topic, answers_are_as_documented)
{
    struct topic_duplicate duplicate = {0, 5};
    topic_published_pack(&pack, &(struct topic_published){.revision = 300, .first = 8, .count = 2},
                         NULL);
    EXPECT("\x93\xcd\x01\x2c\x08\x02");
    topic_published_pack(
        &pack,
        &(struct topic_published){.revision = 300, .first = 8, .count = 1, .duplicate_count = 1},
        &duplicate);
    EXPECT("\x94\xcd\x01\x2c\x08\x01\x91\x92\x00\x05");
    topic_info_answer_pack(&pack, 300, 5000,
                           &(struct topic_info){.name = text("t"),
                                                .id = 7,
                                                .first = 3,
                                                .end = 8,
                                                .bytes = 200,
                                                .settings = {.count_max = 5}});
    EXPECT("\x93\xcd\x01\x2c\xcd\x13\x88\x9a\xc4\x01\x74\x07\x03\x08\xcc\xc8\x05\x00\x00\x00\x00");
    struct pack items;
    pack_init(&items, 0);
    topic_item_pack(&items,
                    &(struct topic_item){7, 300, 4000, {.data = text("hi"), .id = text("m1")}});
    topic_read_answer_pack(
        &pack,
        &(struct topic_read_answer){
            .revision = 300, .clock_ms = 5000, .first = 3, .end = 8, .next = 8, .count = 1},
        (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    EXPECT(
        "\x96\xcd\x01\x2c\xcd\x13\x88\x03\x08\x08\x91\x95\x07\xcd\x01\x2c\xcd\x0f\xa0\xc4\x02\x68"
        "\x69\xc4\x02\x6d\x31");
}

/* --- What is refused ---------------------------------------------------------------------------
 */

static int decode(const char *bytes, size_t count)
{
    struct topic_command command;
    return topic_command_decode(bytes, count, &command);
}
#define DECODE(literal) decode(BYTES(literal))

Test(topic, commands_that_cannot_be_read_are_refused)
{
    cr_assert_eq(DECODE(""), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x91\x1a"), CONCLAVE_MALFORMED, "no name");
    cr_assert_eq(DECODE("\x92\x1a\xc4\x01t"), CONCLAVE_MALFORMED, "no messages");
    cr_assert_eq(DECODE("\x93\x1a\xc4\x01t\xc4\x01x"), CONCLAVE_MALFORMED, "no array of them");
    cr_assert_eq(DECODE("\x93\x1a\xc4\x01t\x91\x05"), CONCLAVE_MALFORMED, "a number as a message");
    cr_assert_eq(DECODE("\x93\x1a\xc4\x01t\x92\xc4\x01x"), CONCLAVE_MALFORMED, "one is missing");
    cr_assert_eq(DECODE("\x95\x1a\xc4\x01t\x91\xc4\x01x\xc0\x92\xc0\xc0"), CONCLAVE_MALFORMED,
                 "more ids than messages");
    cr_assert_eq(DECODE("\x95\x1a\xc4\x01t\x91\xc4\x01x\xc0\x91\x07"), CONCLAVE_MALFORMED,
                 "a number as an id");
    cr_assert_eq(DECODE("\x93\x1a\xc4\x01t\x90"), CONCLAVE_INVALID, "no message");
    cr_assert_eq(DECODE("\x93\x1a\xc4\x00\x91\xc4\x01x"), CONCLAVE_INVALID, "an empty name");
    cr_assert_eq(DECODE("\x92\x19\xc4\x01t\x00"), CONCLAVE_MALFORMED, "something behind it");
    cr_assert_eq(DECODE("\x92\x50\xc4\x01t"), CONCLAVE_MALFORMED, "a query");
    cr_assert_eq(DECODE("\x93\x1a\xc4\x01t\x91\xa1x"), CONCLAVE_OK, "str is bin");
    cr_assert_eq(DECODE("\x93\x19\xc4\x01t\x07"), CONCLAVE_OK, "a field of the future");
}

Test(topic, commands_over_their_limits_are_refused)
{
    char name[CONCLAVE_TOPIC_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    topic_delete_pack(&pack, text(name));
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    pack.bytes = 0;
    topic_create_pack(
        &pack, text("t"),
        &(struct topic_settings){.dedup_ms = 1, .dedup_count = TOPIC_DEDUP_COUNT_MAX + 1});
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    pack.bytes = 0;
    topic_create_pack(&pack, text("t"), &(struct topic_settings){.age_ms = UINT64_MAX});
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    for (uint32_t more = 0; more < 2; more++) {
        struct topic_publish wanted = {.name = text("t"), .count = CONCLAVE_PUBLISH_MAX + more};
        pack.bytes = 0;
        topic_publish_begin(&pack, &wanted);
        for (uint32_t i = 0; i < wanted.count; i++)
            topic_publish_data(&pack, text(""));
        cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes),
                     more ? CONCLAVE_TOO_LARGE : CONCLAVE_OK);
    }
}

Test(topic, queries_are_checked)
{
    struct topic_query query;
    cr_assert_eq(topic_query_decode(BYTES("\x92\x50\xc4\x00"), &query), CONCLAVE_INVALID);
    cr_assert_eq(topic_query_decode(BYTES("\x93\x52\xc4\x01t\x06"), &query), CONCLAVE_INVALID);
    cr_assert_eq(topic_query_decode(BYTES("\x92\x1a\xc4\x01t"), &query), CONCLAVE_MALFORMED);
    cr_assert_eq(topic_query_decode(BYTES("\x91\x51"), &query), CONCLAVE_OK);
    cr_assert_eq(query.name.bytes, 0);
    cr_assert_eq(topic_query_decode(BYTES("\x92\x52\xc4\x01t"), &query), CONCLAVE_OK);
    cr_assert_eq(query.start, CONCLAVE_FROM_SEQUENCE);
    cr_assert_eq(query.bytes, TOPIC_READ_BYTES_DEFAULT);
}

/* Cut anywhere, and with any byte changed: an answer, never a crash. */
Test(topic, nothing_that_comes_is_believed)
{
    static const char *const data[] = {"one", "two", "three"}, *const ids[] = {"a", "", "c"};
    uint64_t seven = 7;
    struct topic_command command;
    publish("topic", data, ids, 3, &seven);
    for (size_t at = 0; at < pack.bytes; at++) {
        uint8_t *cut = mem_alloc(at + 1);
        memcpy(cut, pack.buf->data, at);
        cr_assert_neq(topic_command_decode(cut, at, &command), CONCLAVE_OK);
        free(cut);
        for (unsigned value = 0; value < 256; value++) {
            uint8_t *copy = mem_alloc(pack.bytes);
            memcpy(copy, pack.buf->data, pack.bytes);
            copy[at] = (uint8_t)value;
            if (topic_command_decode(copy, pack.bytes, &command) == CONCLAVE_OK)
                for (uint32_t i = 0; i < command.messages.count; i++)
                    (void)topic_messages_next(&command.messages);
            free(copy);
        }
    }
}

Test(topic, sizes_of_messages_are_exact)
{
    static uint8_t bytes[70000];
    static const size_t sizes[] = {0, 1, 255, 256, 65535, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct topic_item item = {.sequence = UINT64_C(1) << (i * 10),
                                  .revision = 300,
                                  .message = {{bytes, sizes[i]}, {bytes, i * 20}}};
        pack.bytes = 0;
        topic_item_pack(&pack, &item);
        cr_assert_eq(pack.bytes, topic_item_bytes(&item));
    }
}
