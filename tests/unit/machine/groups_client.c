/* The client's functions for work groups against the machine, each by itself; and what their
 * encoders put into a caller's buffer. */
#include "client_stub.h"
#include "conclave_group.h"
#include "conclave_kv.h"
#include "conclave_lease.h"

#include <stdio.h>

static struct conclave_client client;
static uint64_t lease;

static void setup(void)
{
    static const struct conclave_message messages[] = {
        {"one", 3, "i", 1}, {"two", 3, NULL, 0}, {"three", 5, NULL, 0}};
    client = client_setup();
    the_client = &client;
    cr_assert_eq(
        conclave_topic_create(&client, "t", 1, &(struct conclave_topic_settings){0}, 0, NULL),
        CONCLAVE_OK);
    cr_assert_eq(
        conclave_topic_publish(&client, "t", 1, messages, 3, CONCLAVE_EXPECT_ANY, 0, NULL, NULL),
        CONCLAVE_OK);
    cr_assert_eq(conclave_lease_grant(&client, 60000, 0, &lease), CONCLAVE_OK);
}

static void teardown(void)
{
    client_teardown(&client);
}

TestSuite(groups_client, .init = setup, .fini = teardown);

static int create(const struct conclave_group_settings *settings)
{
    return conclave_group_create(&client, "t", 1, "g", 1, settings, CONCLAVE_FROM_FIRST, 0, 0,
                                 NULL);
}

struct told {
    char text[256];
    int stop_after;
};

static int tell_group(void *arg, const struct conclave_group_info *info)
{
    struct told *told = arg;
    size_t used = strlen(told->text);
    snprintf(told->text + used, sizeof told->text - used, "%.*s ", (int)info->name_bytes,
             (const char *)info->name);
    return --told->stop_after == 0;
}

Test(groups_client, makes_shows_and_deletes_them)
{
    struct conclave_group_settings settings;
    struct conclave_group_info info;
    struct told told = {{0}, 0};
    bool deleted = false;
    conclave_group_settings_init(&settings);
    settings.ack_ms = 5000;
    cr_assert_eq(create(&settings), CONCLAVE_OK);
    cr_assert_eq(create(&settings), CONCLAVE_OK);
    cr_assert_eq(create(NULL), CONCLAVE_EXISTS);
    cr_assert_eq(
        conclave_group_create(&client, "t", 1, "h", 1, NULL, CONCLAVE_FROM_NEW, 0, 0, NULL),
        CONCLAVE_OK);
    cr_assert_eq(conclave_group_info(&client, "t", 1, "g", 1, 0, &info), CONCLAVE_OK);
    cr_assert(info.name_bytes == 1 && info.name[0] == 'g' && info.start == 1 && info.end == 4);
    cr_assert(info.ack_ms == 5000 && info.held_max == 1024 && info.pending_max == 65536);
    cr_assert_eq(conclave_group_list(&client, "t", 1, 0, tell_group, &told), CONCLAVE_OK);
    cr_assert_str_eq(told.text, "g h ");
    cr_assert_eq(conclave_group_delete(&client, "t", 1, "g", 1, 0, &deleted), CONCLAVE_OK);
    cr_assert(deleted);
    cr_assert_eq(conclave_group_delete(&client, "t", 1, "g", 1, 0, &deleted), CONCLAVE_OK);
    cr_assert_not(deleted);
    cr_assert_eq(conclave_group_info(&client, "t", 1, "g", 1, 0, &info), CONCLAVE_NOT_FOUND);
    cr_assert_eq(conclave_group_list(&client, "u", 1, 0, tell_group, &told), CONCLAVE_NOT_FOUND);
}

static int tell_pending(void *arg, const struct conclave_group_pending *pending)
{
    struct told *told = arg;
    size_t used = strlen(told->text);
    snprintf(told->text + used, sizeof told->text - used, "%lu*%lu%s ",
             (unsigned long)pending->sequence, (unsigned long)pending->deliveries,
             pending->lease == lease ? "" : "?");
    return --told->stop_after == 0;
}

Test(groups_client, fetches_settles_and_lists_what_is_pending)
{
    static struct conclave_group_fetched fetched;
    const struct conclave_group_range two = {2, 1}, all = {1, 3};
    struct told told = {{0}, 0}, first = {{0}, 1};
    uint64_t settled = 0;
    cr_assert_eq(create(NULL), CONCLAVE_OK);
    cr_assert_eq(conclave_group_fetch(&client, "t", 1, "g", 1, lease, 10, false, 77, &fetched),
                 CONCLAVE_OK);
    cr_assert_eq(client.timeout_ms, 77);
    cr_assert(fetched.count == 3 && fetched.run_count == 1 && fetched.runs[0].first == 1);
    cr_assert_eq(fetched.ack_ms, 30000);
    cr_assert_eq(conclave_group_settle(&client, "t", 1, "g", 1, lease, CONCLAVE_GROUP_ACK, &two, 1,
                                       0, 0, &settled),
                 CONCLAVE_OK);
    cr_assert_eq(settled, 1);
    cr_assert_eq(conclave_group_list_pending(&client, "t", 1, "g", 1, 0, tell_pending, &told),
                 CONCLAVE_OK);
    cr_assert_str_eq(told.text, "1*1 3*1 ");
    cr_assert_eq(conclave_group_list_pending(&client, "t", 1, "g", 1, 0, tell_pending, &first),
                 CONCLAVE_OK);
    cr_assert_str_eq(first.text, "1*1 ");
    cr_assert_eq(conclave_group_settle(&client, "t", 1, "g", 1, lease, CONCLAVE_GROUP_NACK, &all, 1,
                                       0, 0, &settled),
                 CONCLAVE_OK);
    cr_assert_eq(settled, 2, "the second one was done");
    cr_assert_eq(conclave_group_fetch(&client, "t", 1, "g", 1, lease, 10, true, 0, &fetched),
                 CONCLAVE_OK);
    cr_assert(fetched.count == 2 && fetched.run_count == 2 && fetched.runs[1].deliveries == 2);
    cr_assert_eq(conclave_group_fetch(&client, "t", 1, "g", 1, 999, 10, true, 0, &fetched),
                 CONCLAVE_LEASE_EXPIRED);
}

Test(groups_client, refuses_before_it_asks_what_no_group_takes)
{
    static struct conclave_group_fetched fetched;
    const struct conclave_group_range none = {1, 0}, many = {1, CONCLAVE_GROUP_SETTLE_MAX + 1};
    char name[CONCLAVE_GROUP_BYTES_MAX + 1] = {0};
    unsigned calls = client.calls;
    cr_assert_eq(conclave_group_fetch(&client, "", 0, "g", 1, lease, 1, false, 0, &fetched),
                 CONCLAVE_INVALID);
    cr_assert_eq(
        conclave_group_fetch(&client, "t", 1, name, sizeof name, lease, 1, false, 0, &fetched),
        CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_group_settle(&client, "t", 1, "g", 1, lease, CONCLAVE_GROUP_ACK, &none, 1,
                                       0, 0, NULL),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_group_settle(&client, "t", 1, "g", 1, lease, CONCLAVE_GROUP_ACK, &many, 1,
                                       0, 0, NULL),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(client.calls, calls);
}

static int tell_message(void *arg, const struct conclave_topic_message *message)
{
    struct told *told = arg;
    size_t used = strlen(told->text);
    snprintf(told->text + used, sizeof told->text - used, "%lu=%.*s ",
             (unsigned long)message->sequence, (int)message->bytes, (const char *)message->data);
    return 0;
}

/* Runs what was encoded. */
static struct conclave_op run(enum conclave_op_kind kind, const void *data, size_t bytes)
{
    struct conclave_op op = {.kind = kind, .data = data, .bytes = bytes};
    cr_assert_eq(conclave_client_call(&client, &op), CONCLAVE_OK);
    return op;
}

Test(groups_client, packs_its_requests_into_buffers)
{
    static struct conclave_group_fetched fetched;
    const struct conclave_group_range ranges[] = {{3, 1}, {1, 2}};
    uint8_t buffer[256];
    size_t bytes = 0, room = 2 + CONCLAVE_KV_OVERHEAD;
    uint64_t settled = 0, covered = 0;
    struct told told = {{0}, 0};
    cr_assert_eq(create(NULL), CONCLAVE_OK);
    cr_assert_eq(
        conclave_group_encode_fetch(buffer, room - 1, "t", 1, "g", 1, lease, 3, false, &bytes),
        CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_group_encode_fetch(buffer, room, "t", 1, "g", 1, lease, 3, false, &bytes),
                 CONCLAVE_OK);
    struct conclave_op op = run(CONCLAVE_OP_PROPOSE, buffer, bytes);
    cr_assert_eq(conclave_group_decode_fetch(&op, &fetched), CONCLAVE_OK);
    cr_assert_eq(fetched.count, 3);
    conclave_op_release(&op);

    room += 2 * CONCLAVE_GROUP_RANGE_BYTES;
    cr_assert_eq(conclave_group_encode_messages(buffer, room, "t", 1, ranges, 2, 0, &bytes),
                 CONCLAVE_OK);
    op = run(CONCLAVE_OP_READ, buffer, bytes);
    cr_assert_eq(conclave_group_decode_messages(&op, tell_message, &told, &covered), CONCLAVE_OK);
    cr_assert_str_eq(told.text, "3=three 1=one 2=two ");
    cr_assert_eq(covered, 3);
    conclave_op_release(&op);

    cr_assert_eq(conclave_group_encode_settle(
                     buffer, room, "t", 1, "g", 1, UINT64_MAX, CONCLAVE_GROUP_NACK,
                     (const struct conclave_group_range[]){{INT64_MAX, 2000}, {INT64_MAX, 2000}}, 2,
                     UINT64_MAX, &bytes),
                 CONCLAVE_OK, "the largest numbers fit");
    cr_assert_eq(conclave_group_encode_settle(buffer, room, "t", 1, "g", 1, lease,
                                              CONCLAVE_GROUP_ACK, ranges, 2, 0, &bytes),
                 CONCLAVE_OK);
    op = run(CONCLAVE_OP_PROPOSE, buffer, bytes);
    cr_assert_eq(conclave_group_decode_settle(&op, &settled), CONCLAVE_OK);
    cr_assert_eq(settled, 3);
    conclave_op_release(&op);
}
