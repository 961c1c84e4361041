/* The client's key-value functions against the machine, behind a client that calls it at once. */
#include "client_stub.h"
#include "conclave_kv.h"
#include "conclave_topic.h"

#include "codec/topic.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct conclave_client *the_client;

int conclave_client_call(struct conclave_client *client, struct conclave_op *op)
{
    client->calls++;
    client->timeout_ms = op->timeout_ms;
    op->reply = NULL;
    op->reply_owner = NULL;
    op->reply_bytes = 0;
    op->code = client->code;
    if (client->fail_after && client->calls >= client->fail_after)
        return op->code;
    struct conclave_reply_sink sink = {0};
    struct conclave_reply_sink *replies = &sink;
    struct rig *rig = client->rig;
    if (op->kind == CONCLAVE_OP_PROPOSE) {
        struct conclave_command command = {++rig->index, 1, op->data, op->bytes};
        cr_assert_eq(rig->ops->apply(rig->kv, &command, 1, rig->index, &replies), CONCLAVE_OK);
    } else {
        rig->ops->query(rig->kv, op->data, op->bytes, &sink);
    }
    op->code = sink.code;
    if (sink.body) {
        op->reply = sink.body->data;
        op->reply_bytes = sink.body->bytes;
        op->reply_owner = sink.body;
        client->live++;
    }
    return op->code;
}

void conclave_op_release(struct conclave_op *op)
{
    if (op->reply_owner)
        the_client->live--;
    buf_unref(op->reply_owner);
    op->reply_owner = NULL;
    op->reply = NULL;
    op->reply_bytes = 0;
}

Test(client, puts_gets_and_deletes)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    struct conclave_kv_result result;
    struct conclave_kv_found found;
    cr_assert_eq(conclave_kv_put(&client, "a\0b", 3, "v\0", 2, CONCLAVE_KV_ANY, 77, &result), 0);
    cr_assert_eq(client.timeout_ms, 77);
    cr_assert_eq(result.revision, 1);
    cr_assert_eq(result.mod_revision, 0);
    cr_assert_eq(conclave_kv_put(&client, "a\0b", 3, "w", 1, 1, 0, &result), 0);
    cr_assert_eq(result.mod_revision, 1);
    cr_assert_eq(conclave_kv_put(&client, "e", 1, NULL, 0, CONCLAVE_KV_ABSENT, 0, NULL), 0);

    cr_assert_eq(conclave_kv_get(&client, "a\0b", 3, 0, &found), CONCLAVE_OK);
    cr_assert_eq(found.revision, 3);
    cr_assert_eq(found.item.key_bytes, 3);
    cr_assert_eq(found.item.value_bytes, 1);
    cr_assert_eq(memcmp(found.item.value, "w", 1), 0);
    cr_assert_eq(found.item.create_revision, 1);
    cr_assert_eq(found.item.mod_revision, 2);
    cr_assert_eq(found.item.version, 2);
    conclave_kv_found_release(&found);
    conclave_kv_found_release(&found);
    cr_assert_eq(conclave_kv_get(&client, "e", 1, 0, &found), CONCLAVE_OK);
    cr_assert_not_null(found.item.value, "empty, and there");
    conclave_kv_found_release(&found);

    cr_assert_eq(conclave_kv_delete(&client, "a\0b", 3, CONCLAVE_KV_ANY, 0, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 1);
    cr_assert_eq(result.revision, 4);
    cr_assert_eq(conclave_kv_delete(&client, "a\0b", 3, CONCLAVE_KV_ANY, 0, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 0);
    cr_assert_eq(conclave_kv_get(&client, "a\0b", 3, 0, &found), CONCLAVE_NOT_FOUND);
    cr_assert_eq(found.revision, 4);
    conclave_kv_found_release(&found);
    client_teardown(&client);
}

Test(client, failed_condition_tells_the_present_revision)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    struct conclave_kv_result result;
    cr_assert_eq(conclave_kv_put(&client, "a", 1, "1", 1, CONCLAVE_KV_ANY, 0, NULL), CONCLAVE_OK);
    cr_assert_eq(conclave_kv_put(&client, "a", 1, "2", 1, CONCLAVE_KV_ABSENT, 0, &result),
                 CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(result.mod_revision, 1);
    cr_assert_eq(conclave_kv_delete(&client, "a", 1, 5, 0, &result), CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(result.mod_revision, 1);
    cr_assert_eq(result.deleted, 0);
    client_teardown(&client);
}

Test(client, refuses_what_is_over_a_limit_without_asking)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    static char big[CONCLAVE_VALUE_BYTES_MAX + 1];
    struct conclave_kv_result result = {.revision = 99};
    struct conclave_kv_found found;
    size_t key = CONCLAVE_KEY_BYTES_MAX + 1;
    cr_assert_eq(conclave_kv_put(&client, "", 0, "v", 1, CONCLAVE_KV_ANY, 0, &result),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_kv_put(&client, big, key, "v", 1, CONCLAVE_KV_ANY, 0, &result),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_kv_put(&client, "a", 1, big, sizeof big, CONCLAVE_KV_ANY, 0, &result),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_kv_get(&client, big, key, 0, &found), CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_kv_get(&client, NULL, 0, 0, &found), CONCLAVE_INVALID);
    cr_assert_eq(conclave_kv_delete(&client, NULL, 0, CONCLAVE_KV_ANY, 0, &result),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_kv_delete_prefix(&client, big, key, 0, &result), CONCLAVE_TOO_LARGE);
    struct conclave_kv_list_options options;
    conclave_kv_list_options_init(&options);
    options.prefix = big;
    options.prefix_bytes = key;
    cr_assert_eq(conclave_kv_list(&client, &options, NULL, NULL, NULL), CONCLAVE_TOO_LARGE);
    cr_assert_eq(client.calls, 0);
    cr_assert_eq(result.revision, 99);
    client_teardown(&client);
}

Test(client, hands_failures_on)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    client.fail_after = 1;
    client.code = CONCLAVE_UNKNOWN;
    struct conclave_kv_result result = {.revision = 99};
    cr_assert_eq(conclave_kv_put(&client, "a", 1, "1", 1, CONCLAVE_KV_ANY, 0, &result),
                 CONCLAVE_UNKNOWN);
    cr_assert_eq(result.revision, 99);
    client.code = CONCLAVE_OK; /* and an answer without bytes */
    cr_assert_eq(conclave_kv_put(&client, "a", 1, "1", 1, CONCLAVE_KV_ANY, 0, &result),
                 CONCLAVE_MALFORMED);
    struct conclave_kv_found found;
    cr_assert_eq(conclave_kv_get(&client, "a", 1, 0, &found), CONCLAVE_MALFORMED);
    client_teardown(&client);
}

/* --- Lists ------------------------------------------------------------------------------------ */

struct listing {
    char keys[4096];
    size_t stop_after;
    size_t count;
    size_t with_value;
};

static int listing_item(void *arg, const struct conclave_kv_item *item)
{
    struct listing *listing = arg;
    size_t used = strlen(listing->keys);
    snprintf(listing->keys + used, sizeof listing->keys - used, "%.*s ", (int)item->key_bytes,
             (const char *)item->key);
    listing->with_value += item->value != NULL;
    return ++listing->count == listing->stop_after;
}

static void put_keys(struct conclave_client *client)
{
    const char *const keys[] = {"a", "b/1", "b/2", "b/3", "b0", "c", "\xff", "\xff\xff"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        cr_assert_eq(
            conclave_kv_put(client, keys[i], strlen(keys[i]), "value", 5, CONCLAVE_KV_ANY, 0, NULL),
            CONCLAVE_OK);
}

static struct conclave_kv_list_options options_of(const char *prefix, const char *from,
                                                  const char *to)
{
    struct conclave_kv_list_options options;
    conclave_kv_list_options_init(&options);
    options.prefix = prefix;
    options.prefix_bytes = prefix ? strlen(prefix) : 0;
    options.from = from;
    options.from_bytes = from ? strlen(from) : 0;
    options.to = to;
    options.to_bytes = to ? strlen(to) : 0;
    options.page_bytes = 30; /* a page holds two items */
    return options;
}

Test(client, lists_prefixes_and_ranges)
{
    const struct {
        const char *prefix, *from, *to, *expected;
    } cases[] = {
        {NULL, NULL, NULL, "a b/1 b/2 b/3 b0 c \xff \xff\xff "},
        {"", NULL, NULL, "a b/1 b/2 b/3 b0 c \xff \xff\xff "},
        {"b/", NULL, NULL, "b/1 b/2 b/3 "},
        {"b", NULL, NULL, "b/1 b/2 b/3 b0 "},
        {"\xff", NULL, NULL, "\xff \xff\xff "},
        {NULL, "b/2", "c", "b/2 b/3 b0 "},
        {NULL, "c", NULL, "c \xff \xff\xff "},
        {NULL, NULL, "b/2", "a b/1 "},
        {"b/", "b/2", NULL, "b/2 b/3 "},
        {"b/", "a", "b/3", "b/1 b/2 "},
        {"b/", "b/2", "z", "b/2 b/3 "},
        {"b/", "c", NULL, ""},
        {"b/", NULL, "a", ""},
        {NULL, NULL, "", ""},
    };
    struct conclave_client client = client_setup();
    the_client = &client;
    put_keys(&client);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conclave_kv_list_options options =
            options_of(cases[i].prefix, cases[i].from, cases[i].to);
        struct listing listing = {0};
        struct conclave_kv_listed listed;
        cr_assert_eq(conclave_kv_list(&client, &options, listing_item, &listing, &listed), 0);
        cr_assert_str_eq(listing.keys, cases[i].expected, "case %zu", i);
        cr_assert_eq(listed.count, listing.count);
        cr_assert_eq(listing.with_value, listing.count);
        cr_assert_eq(listed.first_revision, 8);
        cr_assert_eq(listed.last_revision, 8);
        cr_assert_eq(conclave_kv_list(&client, &options, NULL, NULL, &listed), 0);
        cr_assert_eq(listed.count, listing.count, "case %zu, counted", i);
    }
    client_teardown(&client);
}

Test(client, list_keeps_to_its_limit)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    put_keys(&client);
    for (uint64_t limit = 1; limit < 12; limit++) {
        struct conclave_kv_list_options options = options_of(NULL, NULL, NULL);
        options.limit = limit;
        options.keys_only = limit % 2;
        struct listing listing = {0};
        struct conclave_kv_listed listed;
        cr_assert_eq(conclave_kv_list(&client, &options, listing_item, &listing, &listed), 0);
        cr_assert_eq(listed.count, limit < 8 ? limit : 8);
        cr_assert_eq(listing.with_value, options.keys_only ? 0 : listing.count);
        cr_assert_eq(conclave_kv_list(&client, &options, NULL, NULL, &listed), 0);
        cr_assert_eq(listed.count, limit < 8 ? limit : 8);
    }
    client_teardown(&client);
}

Test(client, list_ends_when_told_to)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    put_keys(&client);
    for (size_t stop = 1; stop <= 8; stop++) {
        struct conclave_kv_list_options options = options_of(NULL, NULL, NULL);
        struct listing listing = {.stop_after = stop};
        struct conclave_kv_listed listed;
        cr_assert_eq(conclave_kv_list(&client, &options, listing_item, &listing, &listed), 0);
        cr_assert_eq(listing.count, stop);
        cr_assert_eq(listed.count, stop);
    }
    client_teardown(&client);
}

Test(client, list_that_fails_tells_how_far_it_came)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    put_keys(&client);
    client.calls = 0;
    client.fail_after = 3;
    client.code = CONCLAVE_NO_LEADER;
    struct conclave_kv_list_options options = options_of(NULL, NULL, NULL);
    struct listing listing = {0};
    struct conclave_kv_listed listed;
    cr_assert_eq(conclave_kv_list(&client, &options, listing_item, &listing, &listed),
                 CONCLAVE_NO_LEADER);
    cr_assert_gt(listed.count, 0);
    cr_assert_eq(listed.count, listing.count);
    client_teardown(&client);
}

Test(client, deletes_prefixes_and_ranges)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    put_keys(&client);
    struct conclave_kv_result result;
    cr_assert_eq(conclave_kv_delete_prefix(&client, "\xff", 1, 0, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 2);
    cr_assert_eq(conclave_kv_delete_prefix(&client, "b/", 2, 0, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 3);
    cr_assert_eq(result.revision, 10);
    cr_assert_eq(conclave_kv_delete_range(&client, "b", 1, "c", 1, 0, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 1);
    cr_assert_eq(conclave_kv_delete_range(&client, NULL, 0, NULL, 0, 0, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 2);
    rig_expect(client.rig, "12");
    client_teardown(&client);
}

/* --- Encoders --------------------------------------------------------------------------------- */

Test(client, encoders_never_write_beyond_the_promised_bytes)
{
    static uint8_t key[CONCLAVE_KEY_BYTES_MAX], value[70000];
    static uint8_t buffer[sizeof key + sizeof value + CONCLAVE_KV_OVERHEAD + 1];
    const size_t keys[] = {1, 255, 256, 480}, values[] = {0, 1, 255, 256, 65535, 65536, 70000};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 7; j++) {
            size_t capacity = keys[i] + values[j] + CONCLAVE_KV_OVERHEAD, bytes = 0;
            buffer[capacity] = 0xa5;
            cr_assert_eq(conclave_kv_encode_put(buffer, capacity, key, keys[i], value, values[j],
                                                UINT64_MAX - 1, &bytes),
                         CONCLAVE_OK);
            cr_assert_leq(bytes, capacity);
            cr_assert_eq(buffer[capacity], 0xa5);
            struct kv_command command;
            cr_assert_eq(kv_command_decode(buffer, bytes, &command), CONCLAVE_OK);
            cr_assert_eq(conclave_kv_encode_put(buffer, capacity - 1, key, keys[i], value,
                                                values[j], 0, &bytes),
                         CONCLAVE_TOO_LARGE);
        }
    size_t bytes;
    cr_assert_eq(conclave_kv_encode_range(buffer, 2 * 480 + CONCLAVE_KV_OVERHEAD, key, 480, value,
                                          480, UINT64_MAX, UINT32_MAX, true, &bytes),
                 CONCLAVE_OK);
    cr_assert_leq(bytes, (size_t)(2 * 480 + CONCLAVE_KV_OVERHEAD));
    cr_assert_eq(conclave_kv_encode_get(buffer, 10, key, 1, &bytes), CONCLAVE_TOO_LARGE);
}

/* Encodes into an operation and runs it. */
static void run(struct conclave_client *client, struct conclave_op *op, enum conclave_op_kind kind,
                const void *data, size_t bytes)
{
    *op = (struct conclave_op){.kind = kind, .data = data, .bytes = bytes};
    (void)!conclave_client_call(client, op);
}

Test(client, encodes_and_decodes_for_asynchronous_use)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    uint8_t buffer[200];
    size_t bytes;
    struct conclave_op op;
    struct conclave_kv_result result;
    cr_assert_eq(
        conclave_kv_encode_put(buffer, sizeof buffer, "k", 1, "v", 1, CONCLAVE_KV_ANY, &bytes),
        CONCLAVE_OK);
    run(&client, &op, CONCLAVE_OP_PROPOSE, buffer, bytes);
    cr_assert_eq(conclave_kv_decode_put(&op, &result), CONCLAVE_OK);
    cr_assert_eq(result.revision, 1);
    conclave_op_release(&op);

    cr_assert_eq(conclave_kv_encode_get(buffer, sizeof buffer, "k", 1, &bytes), CONCLAVE_OK);
    run(&client, &op, CONCLAVE_OP_READ, buffer, bytes);
    struct conclave_kv_item item;
    uint64_t revision = 0;
    cr_assert_eq(conclave_kv_decode_get(&op, &item, &revision), CONCLAVE_OK);
    cr_assert_eq(revision, 1);
    cr_assert_eq(memcmp(item.value, "v", 1), 0);
    conclave_op_release(&op);

    cr_assert_eq(
        conclave_kv_encode_range(buffer, sizeof buffer, NULL, 0, NULL, 0, 0, 0, false, &bytes),
        CONCLAVE_OK);
    run(&client, &op, CONCLAVE_OP_READ, buffer, bytes);
    struct listing listing = {0};
    struct conclave_kv_page page;
    cr_assert_eq(conclave_kv_decode_range(&op, listing_item, &listing, &page), CONCLAVE_OK);
    cr_assert_str_eq(listing.keys, "k ");
    cr_assert_eq(page.count, 1);
    cr_assert_null(page.next);
    conclave_op_release(&op);

    cr_assert_eq(conclave_kv_encode_delete(buffer, sizeof buffer, "k", 1, CONCLAVE_KV_ANY, &bytes),
                 CONCLAVE_OK);
    run(&client, &op, CONCLAVE_OP_PROPOSE, buffer, bytes);
    cr_assert_eq(conclave_kv_decode_delete(&op, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 1);
    conclave_op_release(&op);

    cr_assert_eq(conclave_kv_encode_delete_range(buffer, sizeof buffer, NULL, 0, NULL, 0, &bytes),
                 CONCLAVE_OK);
    run(&client, &op, CONCLAVE_OP_PROPOSE, buffer, bytes);
    cr_assert_eq(conclave_kv_decode_delete(&op, &result), CONCLAVE_OK);
    cr_assert_eq(result.deleted, 0);
    conclave_op_release(&op);
    client_teardown(&client);
}

/* --- Topics ------------------------------------------------------------------------------------
 */

struct seen {
    char text[200];
    int stop_after;
};

static int see_message(void *arg, const struct conclave_topic_message *message)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%lu=%.*s(%.*s) ",
             (unsigned long)message->sequence, (int)message->bytes, (const char *)message->data,
             (int)message->id_bytes, message->id ? (const char *)message->id : "");
    return --seen->stop_after == 0;
}

static int see_topic(void *arg, const struct conclave_topic_info *info)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%.*s:%lu ", (int)info->name_bytes,
             (const char *)info->name, (unsigned long)info->end);
    return --seen->stop_after == 0;
}

Test(client, publishes_and_reads_topics)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    const struct conclave_topic_settings settings = {.dedup_ms = 1000};
    const struct conclave_message messages[] = {{"a", 1, "x", 1}, {"b", 1, NULL, 0}};
    struct conclave_published published;
    struct conclave_topic_page page;
    uint64_t id = 0, sequences[2];
    bool deleted;
    cr_assert_eq(conclave_topic_publish(&client, "t", 1, messages, 2, CONCLAVE_EXPECT_ANY, 0,
                                        &published, sequences),
                 CONCLAVE_NOT_FOUND);
    cr_assert_eq(conclave_topic_create(&client, "t", 1, &settings, 0, &id), CONCLAVE_OK);
    cr_assert_eq(id, 1);
    cr_assert_eq(conclave_topic_publish(&client, "t", 1, messages, 2, 0, 0, &published, sequences),
                 CONCLAVE_OK);
    cr_assert(published.first == 1 && published.count == 2 && published.duplicates == 0);
    cr_assert(sequences[0] == 1 && sequences[1] == 2);
    cr_assert_eq(conclave_topic_publish(&client, "t", 1, messages, 2, 2, 0, &published, sequences),
                 CONCLAVE_OK);
    cr_assert(published.count == 1 && published.duplicates == 1 && published.revision == 3);
    cr_assert(sequences[0] == 1 && sequences[1] == 3, "a duplicate has the sequence it had");
    cr_assert_eq(
        conclave_topic_publish(&client, "t", 1, messages + 1, 1, 2, 0, &published, sequences),
        CONCLAVE_COMPARE_FAILED);
    cr_assert_eq(published.last, 3);
    struct seen seen = {.stop_after = 2};
    cr_assert_eq(conclave_topic_read(&client, "t", 1, CONCLAVE_FROM_FIRST, 0, 0, 0, 55, see_message,
                                     &seen, &page),
                 CONCLAVE_OK);
    cr_assert_eq(client.timeout_ms, 55);
    cr_assert_str_eq(seen.text, "1=a(x) 2=b() ");
    cr_assert(page.next == 3 && page.end == 4 && page.count == 2);
    cr_assert_eq(conclave_topic_delete(&client, "t", 1, 0, &deleted), CONCLAVE_OK);
    cr_assert(deleted);
    cr_assert_eq(conclave_topic_delete(&client, "t", 1, 0, &deleted), CONCLAVE_OK);
    cr_assert_not(deleted);
    client_teardown(&client);
}

Test(client, lists_more_topics_than_an_answer_holds)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    const struct conclave_topic_settings settings = {0};
    for (int i = 0; i < 1002; i++) {
        char name[16];
        snprintf(name, sizeof name, "%04d", i);
        cr_assert_eq(conclave_topic_create(&client, name, 4, &settings, 0, NULL), CONCLAVE_OK);
    }
    unsigned before = client.calls;
    struct seen seen = {.stop_after = 1002};
    cr_assert_eq(conclave_topic_list(&client, 0, see_topic, &seen), CONCLAVE_OK);
    cr_assert_eq(seen.stop_after, 0);
    cr_assert_eq(client.calls, before + 2);
    seen = (struct seen){.stop_after = 2};
    cr_assert_eq(conclave_topic_list(&client, 0, see_topic, &seen), CONCLAVE_OK);
    cr_assert_str_eq(seen.text, "0000:1 0001:1 ");
    client_teardown(&client);
}

Test(client, refuses_before_it_asks_what_no_topic_takes)
{
    struct conclave_client client = client_setup();
    the_client = &client;
    const struct conclave_message message = {"a", 1, NULL, 0},
                                  large = {"a", CONCLAVE_VALUE_BYTES_MAX + 1, NULL, 0},
                                  long_id = {"a", 1, "i", CONCLAVE_MESSAGE_ID_BYTES_MAX + 1};
    const struct conclave_topic_settings settings = {0};
    struct conclave_topic_info info;
    cr_assert_eq(conclave_topic_create(&client, "", 0, &settings, 0, NULL), CONCLAVE_INVALID);
    cr_assert_eq(conclave_topic_info(&client, "t", CONCLAVE_TOPIC_BYTES_MAX + 1, 0, &info),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_topic_publish(&client, "t", 1, &message, 0, 0, 0, NULL, NULL),
                 CONCLAVE_INVALID);
    cr_assert_eq(conclave_topic_publish(&client, "t", 1, &large, 1, 0, 0, NULL, NULL),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_topic_publish(&client, "t", 1, &long_id, 1, 0, 0, NULL, NULL),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(client.calls, 0);
    client_teardown(&client);
}

Test(client, packs_publishes_and_reads_into_buffers)
{
    static uint8_t data[70000];
    const struct conclave_message messages[] = {{data, sizeof data, "i", 1}, {NULL, 0, NULL, 0}};
    size_t needed = 1 + sizeof data + 1 + 2 * CONCLAVE_PUBLISH_OVERHEAD + CONCLAVE_KV_OVERHEAD;
    uint8_t *buffer = malloc(needed);
    struct topic_command command;
    size_t bytes = 0;
    cr_assert_eq(conclave_topic_encode_publish(buffer, needed - 1, "t", 1, messages, 2, 5, &bytes),
                 CONCLAVE_TOO_LARGE);
    cr_assert_eq(conclave_topic_encode_publish(buffer, needed, "t", 1, messages, 2, 5, &bytes),
                 CONCLAVE_OK);
    cr_assert_eq(topic_command_decode(buffer, bytes, &command), CONCLAVE_OK);
    cr_assert(command.expected && command.expect == 5 && command.messages.count == 2);
    cr_assert_eq(topic_messages_next(&command.messages).data.bytes, sizeof data);
    cr_assert_eq(
        conclave_topic_encode_read(buffer, needed, "t", 1, CONCLAVE_FROM_NEW, 0, 0, 0, &bytes),
        CONCLAVE_OK);
    struct topic_query query;
    cr_assert_eq(topic_query_decode(buffer, bytes, &query), CONCLAVE_OK);
    cr_assert_eq(query.start, CONCLAVE_FROM_NEW);
    free(buffer);
}
