/* The wire form of work groups: the examples of docs/protocol.md byte by byte, what is refused and
 * how, and that what is written is read. */
#include "check.h"

#include "codec/group.h"

#include "base/fatal.h"
#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct pack pack, items;

static void setup(void)
{
    pack_init(&pack, 0);
    pack_init(&items, 0);
}

static void teardown(void)
{
    pack_deinit(&pack);
    pack_deinit(&items);
}

TestSuite(group, .init = setup, .fini = teardown);

static void expect(const char *bytes, size_t count)
{
    cr_assert_eq(pack.bytes, count, "%zu bytes, not %zu", pack.bytes, count);
    cr_assert_arr_eq(pack.buf->data, bytes, count);
    pack.bytes = items.bytes = 0;
}
#define EXPECT(literal) expect(BYTES(literal))

static struct slice packed(const struct pack *from)
{
    return (struct slice){from->buf->data, from->bytes};
}

/* Ack, nack or extend. */
static void settle(enum group_opcode opcode, uint64_t delay_ms,
                   const struct conclave_group_range *ranges, uint32_t count)
{
    struct group_command command = {
        .opcode = opcode, .topic = text("t"), .group = text("g"), .lease = 7, .delay_ms = delay_ms};
    group_command_pack(&pack, &command, count);
    for (uint32_t i = 0; i < count; i++)
        group_range_pack(&pack, &ranges[i]);
    group_command_end(&pack, &command);
}

Test(group, commands_are_as_documented)
{
    struct group_command command = {
        .opcode = GROUP_CREATE,
        .topic = text("t"),
        .group = text("g"),
        .settings = {.ack_ms = 60000, .deliveries_max = 5, .dead = text("d")},
        .start = CONCLAVE_FROM_FIRST};
    group_command_pack(&pack, &command, 0);
    EXPECT("\x9a\x1b\xc4\x01\x74\xc4\x01\x67\xcd\xea\x60\x05\xc4\x01\x64\x00\x00\x01\x00");
    command = (struct group_command){
        .opcode = GROUP_DELETE, .topic = text("t"), .group = text("g"), .lease = 7, .limit = 16};
    group_command_pack(&pack, &command, 0);
    EXPECT("\x93\x1c\xc4\x01\x74\xc4\x01\x67");
    command.opcode = GROUP_FETCH;
    group_command_pack(&pack, &command, 0);
    EXPECT("\x95\x1d\xc4\x01\x74\xc4\x01\x67\x07\x10");
    command.once = true;
    group_command_pack(&pack, &command, 0);
    EXPECT("\x96\x1d\xc4\x01\x74\xc4\x01\x67\x07\x10\x01");
    settle(GROUP_ACK, 0, &(struct conclave_group_range){3, 2}, 1);
    EXPECT("\x95\x1e\xc4\x01\x74\xc4\x01\x67\x07\x91\x92\x03\x02");
    settle(GROUP_NACK, 1000, &(struct conclave_group_range){5, 1}, 1);
    EXPECT("\x96\x1f\xc4\x01\x74\xc4\x01\x67\x07\x91\x92\x05\x01\xcd\x03\xe8");
    settle(GROUP_EXTEND, 0, (const struct conclave_group_range[]){{3, 2}, {9, 1}}, 2);
    EXPECT("\x95\x20\xc4\x01\x74\xc4\x01\x67\x07\x92\x92\x03\x02\x92\x09\x01");
}

Test(group, queries_are_as_documented)
{
    struct group_query query = {.opcode = GROUP_INFO, .topic = text("t"), .group = text("g")};
    group_query_pack(&pack, &query, 0);
    EXPECT("\x93\x58\xc4\x01\x74\xc4\x01\x67");
    group_query_pack(&pack, &(struct group_query){.opcode = GROUP_LIST, .topic = text("t")}, 0);
    EXPECT("\x94\x59\xc4\x01\x74\xc4\x00\x00");
    query.opcode = GROUP_PENDING;
    query.limit = 2;
    group_query_pack(&pack, &query, 0);
    EXPECT("\x96\x5a\xc4\x01\x74\xc4\x01\x67\x00\x00\x02");
    query.opcode = GROUP_MESSAGES;
    group_query_pack(&pack, &query, 2);
    group_range_pack(&pack, &(struct conclave_group_range){3, 1});
    group_range_pack(&pack, &(struct conclave_group_range){7, 2});
    group_query_end(&pack, &query);
    EXPECT("\x94\x5b\xc4\x01\x74\x92\x92\x03\x01\x92\x07\x02\x00");
}

Test(group, answers_to_commands_are_as_documented)
{
    group_run_pack(&items, &(struct conclave_group_run){3, 1, 2});
    group_run_pack(&items, &(struct conclave_group_run){7, 2, 1});
    group_fetch_answer_pack(
        &pack,
        &(struct group_fetch_answer){
            .revision = 300, .wake = 12, .lost = 1, .ack_ms = 60000, .count = 2},
        packed(&items));
    EXPECT("\x95\xcd\x01\x2c\x0c\x01\xcd\xea\x60\x92\x93\x03\x01\x02\x93\x07\x02\x01");
    group_range_pack(&items, &(struct conclave_group_range){4, 1});
    group_settle_answer_pack(
        &pack,
        &(struct group_settle_answer){.revision = 300, .settled = 1, .missing = {.count = 1}},
        packed(&items));
    EXPECT("\x93\xcd\x01\x2c\x01\x91\x92\x04\x01");
}

static const struct group_info INFO = {.id = 40,
                                       .start = 1,
                                       .next = 9,
                                       .end = 10,
                                       .held = 2,
                                       .delayed = 1,
                                       .acked = 4,
                                       .dead_letters = 1,
                                       .redelivered = 3,
                                       .members = 2,
                                       .ack_ms = 60000,
                                       .held_max = 1024,
                                       .pending_max = 65536,
                                       .deliveries_max = 5};

Test(group, answers_to_queries_are_as_documented)
{
    struct group_info info = INFO;
    info.name = text("g");
    info.dead = text("d");
    group_info_answer_pack(&pack, 300, 5000, &info);
    EXPECT("\x93\xcd\x01\x2c\xcd\x13\x88\xdc\x00\x12\xc4\x01\x67\x28\x01\x09\x0a\x02\x01\x00\x04"
           "\x01\x00\x03\x02\xcd\xea\x60\xcd\x04\x00\xce\x00\x01\x00\x00\x05\xc4\x01\x64");
    list_answer_pack(&pack, &(struct list_answer){.revision = 300, .clock_ms = 5000},
                     packed(&items));
    EXPECT("\x94\xcd\x01\x2c\xcd\x13\x88\x90\xc0");
    group_pending_pack(&items, &(struct conclave_group_pending){3, 2, 7, 59000});
    group_pending_answer_pack(
        &pack,
        &(struct group_pending_answer){
            .revision = 300, .clock_ms = 5000, .more = true, .lease = 7, .sequence = 8, .count = 1},
        packed(&items));
    EXPECT("\x94\xcd\x01\x2c\xcd\x13\x88\x91\x94\x07\x03\x02\xcd\xe6\x78\x92\x07\x08");
    topic_item_pack(&items, &(struct topic_item){3, 290, 4000, {.data = text("hi")}});
    group_messages_answer_pack(&pack,
                               &(struct group_messages_answer){
                                   .revision = 300, .clock_ms = 5000, .covered = 3, .count = 1},
                               packed(&items));
    EXPECT("\x94\xcd\x01\x2c\xcd\x13\x88\x03\x91\x95\x03\xcd\x01\x22\xcd\x0f\xa0\xc4\x02\x68\x69"
           "\xc0");
}

Test(group, dead_letters_and_subscriptions_are_as_documented)
{
    struct group_spec spec;
    struct topic_origin origin;
    struct topic_item item;
    struct cursor cursor;
    group_spec_pack(&pack, &(struct group_spec){text("t"), 40});
    cr_assert_eq(group_spec_decode(packed(&pack), &spec), CONCLAVE_OK);
    cr_assert(same(spec.topic, text("t")) && spec.id == 40);
    EXPECT("\x92\xc4\x01\x74\x28");
    topic_origin_pack(&items, &(struct topic_origin){text("t"), text("g"), 3, 5});
    const struct topic_item letter = {9, 300, 4000, {.data = text("hi"), .origin = packed(&items)}};
    topic_item_pack(&pack, &letter);
    cr_assert_eq(pack.bytes, topic_item_bytes(&letter));
    cursor_init(&cursor, pack.buf->data, pack.bytes);
    cr_assert_eq(topic_item_read(&cursor, &item), CONCLAVE_OK);
    cr_assert_eq(topic_origin_decode(item.message.origin, &origin), CONCLAVE_OK);
    cr_assert(same(origin.topic, text("t")) && same(origin.group, text("g")));
    cr_assert_eq(origin.sequence, 3);
    cr_assert_eq(origin.deliveries, 5);
    EXPECT("\x96\x09\xcd\x01\x2c\xcd\x0f\xa0\xc4\x02\x68\x69\xc0\x94\xc4\x01\x74\xc4\x01\x67\x03"
           "\x05");
}

/* --- What is refused ---------------------------------------------------------------------------
 */

static int decode(const char *bytes, size_t count)
{
    struct group_command command;
    return group_command_decode(bytes, count, &command);
}
#define DECODE(literal) decode(BYTES(literal))

static int query(const char *bytes, size_t count)
{
    struct group_query asked;
    return group_query_decode(bytes, count, &asked);
}
#define QUERY(literal) query(BYTES(literal))

Test(group, what_cannot_be_read_is_refused)
{
    cr_assert_eq(DECODE(""), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x92\x1c\xc4\x01t"), CONCLAVE_MALFORMED, "no group");
    cr_assert_eq(DECODE("\x93\x1d\xc4\x01t\xc4\x01g"), CONCLAVE_MALFORMED, "no lease");
    cr_assert_eq(DECODE("\x94\x1e\xc4\x01t\xc4\x01g\x07"), CONCLAVE_MALFORMED, "no ranges");
    cr_assert_eq(DECODE("\x95\x1e\xc4\x01t\xc4\x01g\x07\x91\x03"), CONCLAVE_MALFORMED, "no range");
    cr_assert_eq(DECODE("\x95\x1e\xc4\x01t\xc4\x01g\x07\x91\x91\x03"), CONCLAVE_MALFORMED,
                 "half a range");
    cr_assert_eq(DECODE("\x93\x1c\xc4\x01t\xc4\x01g\x00"), CONCLAVE_MALFORMED, "bytes behind it");
    cr_assert_eq(DECODE("\x93\x58\xc4\x01t\xc4\x01g"), CONCLAVE_MALFORMED, "a query");
    cr_assert_eq(QUERY("\x93\x1c\xc4\x01t\xc4\x01g"), CONCLAVE_MALFORMED, "a command");
    cr_assert_eq(DECODE("\x94\x1c\xc4\x01t\xc4\x01g\x07"), CONCLAVE_OK, "a field of the future");
}

Test(group, what_makes_no_sense_is_refused)
{
    cr_assert_eq(DECODE("\x93\x1c\xc4\x00\xc4\x01g"), CONCLAVE_INVALID, "an empty topic");
    cr_assert_eq(DECODE("\x93\x1c\xc4\x01t\xc4\x00"), CONCLAVE_INVALID, "an empty name");
    cr_assert_eq(DECODE("\x94\x1d\xc4\x01t\xc4\x01g\x00"), CONCLAVE_INVALID, "lease 0");
    cr_assert_eq(DECODE("\x95\x1e\xc4\x01t\xc4\x01g\x07\x91\x92\x03\x00"), CONCLAVE_INVALID,
                 "an empty range");
    cr_assert_eq(DECODE("\x95\x1e\xc4\x01t\xc4\x01g\x07\x91\x92\x00\x01"), CONCLAVE_INVALID,
                 "no message has the number 0");
    cr_assert_eq(DECODE("\x95\x1b\xc4\x01t\xc4\x01g\x07\x05"), CONCLAVE_INVALID,
                 "deliveries without dead letters");
    cr_assert_eq(DECODE("\x96\x1b\xc4\x01t\xc4\x01g\x07\xc0\xc4\x01\x64"), CONCLAVE_INVALID,
                 "dead letters without a limit");
    cr_assert_eq(DECODE("\x96\x1b\xc4\x01t\xc4\x01g\x07\x05\xc4\x01t"), CONCLAVE_INVALID,
                 "dead letters to the topic itself");
    cr_assert_eq(DECODE("\x99\x1b\xc4\x01t\xc4\x01g\xc0\xc0\xc0\xc0\xc0\x06"), CONCLAVE_INVALID,
                 "an unknown start");
    cr_assert_eq(QUERY("\x93\x58\xc4\x01t\xc4\x00"), CONCLAVE_INVALID);
    cr_assert_eq(QUERY("\x92\x59\xc4\x01t"), CONCLAVE_OK, "a list from the first one");
}

Test(group, what_is_over_its_limits_is_refused)
{
    settle(GROUP_ACK, 0, (const struct conclave_group_range[]){{1, 4000}, {5000, 96}}, 2);
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_OK);
    pack.bytes = 0;
    settle(GROUP_ACK, 0, (const struct conclave_group_range[]){{1, 4000}, {5000, 97}}, 2);
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    pack.bytes = 0;
    settle(GROUP_ACK, 0, (const struct conclave_group_range[]){{1, 1}, {2, UINT64_MAX}}, 2);
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    pack.bytes = 0;
    settle(GROUP_NACK, UINT64_MAX, &(struct conclave_group_range){1, 1}, 1);
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    static const struct group_settings over[] = {
        {.ack_ms = GROUP_MS_MAX + 1},
        {.held_max = CONCLAVE_GROUP_HELD_MAX + 1},
        {.pending_max = CONCLAVE_GROUP_PENDING_MAX + 1},
        {.deliveries_max = CONCLAVE_GROUP_DELIVERIES_MAX + 1, .dead = {(const uint8_t *)"d", 1}}};
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++) {
        pack.bytes = 0;
        group_command_pack(&pack,
                           &(struct group_command){.opcode = GROUP_CREATE,
                                                   .topic = text("t"),
                                                   .group = text("g"),
                                                   .settings = over[i]},
                           0);
        cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
    }
}

Test(group, what_is_left_out_is_the_default)
{
    struct group_command command;
    struct group_query asked;
    cr_assert_eq(group_command_decode(BYTES("\x93\x1b\xc4\x01t\xc4\x01g"), &command), CONCLAVE_OK);
    cr_assert_eq(command.settings.ack_ms, GROUP_ACK_MS_DEFAULT);
    cr_assert_eq(command.settings.held_max, GROUP_HELD_DEFAULT);
    cr_assert_eq(command.settings.pending_max, GROUP_PENDING_DEFAULT);
    cr_assert_eq(command.settings.deliveries_max, 0);
    cr_assert_eq(command.start, CONCLAVE_FROM_NEW);
    cr_assert_eq(group_command_decode(BYTES("\x94\x1d\xc4\x01t\xc4\x01g\x07"), &command),
                 CONCLAVE_OK);
    cr_assert_eq(command.limit, 1);
    cr_assert_not(command.once);
    cr_assert_eq(group_query_decode(BYTES("\x93\x5a\xc4\x01t\xc4\x01g"), &asked), CONCLAVE_OK);
    cr_assert_eq(asked.limit, GROUP_PENDING_LIMIT_MAX);
}

/* --- Hostile -----------------------------------------------------------------------------------
 */

static uint64_t read_all(const uint8_t *data, size_t bytes)
{
    struct group_command command;
    struct group_query asked;
    struct group_fetch_answer fetched;
    struct group_settle_answer settled;
    struct group_info info;
    struct list_answer list;
    struct group_pending_answer pending;
    struct group_messages_answer messages;
    struct conclave_group_run run;
    struct conclave_group_pending one;
    struct topic_item item;
    uint64_t sum = 0, a, b;
    if (!group_command_decode(data, bytes, &command))
        for (uint32_t i = 0; i < command.ranges.count; i++)
            sum += group_ranges_next(&command.ranges).count;
    cr_assert_leq(sum, CONCLAVE_GROUP_SETTLE_MAX);
    if (!group_query_decode(data, bytes, &asked))
        sum += asked.topic.bytes + asked.group.bytes;
    if (!group_fetch_answer_begin(data, bytes, &fetched))
        while (group_fetch_answer_next(&fetched, &run) == 1)
            sum += run.count;
    if (!group_settle_answer_decode(data, bytes, &settled))
        sum += settled.missing.total;
    if (!group_info_answer_decode(data, bytes, &a, &b, &info))
        sum += info.name.bytes + info.dead.bytes;
    if (!list_answer_begin(data, bytes, &list))
        while (group_list_answer_next(&list, &info) == 1)
            sum += info.end;
    if (!group_pending_answer_begin(data, bytes, &pending))
        while (group_pending_answer_next(&pending, &one) == 1)
            sum += one.sequence;
    if (!group_messages_answer_begin(data, bytes, &messages))
        while (group_messages_answer_next(&messages, &item) == 1)
            sum += item.message.data.bytes;
    return sum;
}

static void sample(unsigned which)
{
    struct group_info info = INFO;
    info.name = text("group");
    info.dead = text("dead");
    pack.bytes = items.bytes = 0;
    switch (which) {
    case 0:
        settle(GROUP_NACK, 1000, (const struct conclave_group_range[]){{3, 200}, {900, 1}}, 2);
        return;
    case 1:
        group_run_pack(&items, &(struct conclave_group_run){300, 70000, 2});
        group_fetch_answer_pack(&pack, &(struct group_fetch_answer){.revision = 300, .count = 1},
                                packed(&items));
        return;
    case 2:
        group_info_answer_pack(&pack, 300, 5000, &info);
        return;
    case 3:
        group_info_pack(&items, &info);
        list_answer_pack(&pack, &(struct list_answer){.count = 1, .next = text("n")},
                         packed(&items));
        return;
    case 4:
        group_pending_pack(&items, &(struct conclave_group_pending){3, 2, 7, 59000});
        group_pending_answer_pack(
            &pack, &(struct group_pending_answer){.count = 1, .more = true, .lease = 900},
            packed(&items));
        return;
    default:
        topic_item_pack(&items, &(struct topic_item){3, 290, 4000, {.data = text("hi")}});
        group_messages_answer_pack(&pack, &(struct group_messages_answer){.count = 1},
                                   packed(&items));
        return;
    }
}

/* Cut anywhere, and with any byte changed: an answer, never a crash. */
Test(group, nothing_that_comes_is_believed)
{
    struct prng prng;
    uint64_t sum = 0;
    prng_init(&prng, 5);
    for (unsigned which = 0; which < 6; which++) {
        sample(which);
        for (size_t cut = 0; cut < pack.bytes; cut++) {
            uint8_t *copy = mem_alloc(cut + 1);
            memcpy(copy, pack.buf->data, cut);
            sum += read_all(copy, cut);
            free(copy);
        }
        for (int i = 0; i < 3000; i++) {
            uint8_t *copy = mem_alloc(pack.bytes);
            memcpy(copy, pack.buf->data, pack.bytes);
            copy[prng_below(&prng, pack.bytes)] = (uint8_t)prng_next(&prng);
            sum += read_all(copy, pack.bytes);
            free(copy);
        }
    }
    cr_assert_gt(sum, 0);
}
