/* The key-value examples of docs/protocol.md, byte by byte. */
#include "check.h"

#include "codec/kv_lease.h"
#include "codec/kv_txn.h"

#include <criterion/criterion.h>

static void expect(struct pack *pack, const char *bytes, size_t count)
{
    cr_assert_eq(pack->bytes, count, "%zu bytes, not %zu", pack->bytes, count);
    cr_assert_arr_eq(pack->buf->data, bytes, count);
    pack_deinit(pack);
    pack_init(pack, 0);
}
#define EXPECT(literal) expect(&pack, BYTES(literal))

Test(documented, commands)
{
    struct pack pack;
    pack_init(&pack, 0);
    struct kv_command put = {.opcode = KV_PUT, .key = text("k1"), .value = text("hi")};
    kv_command_pack(&pack, &put);
    EXPECT("\x93\x01\xc4\x02\x6b\x31\xc4\x02\x68\x69");
    put.condition = (struct kv_condition){true, 0};
    kv_command_pack(&pack, &put);
    EXPECT("\x94\x01\xc4\x02\x6b\x31\xc4\x02\x68\x69\x00");
    kv_command_pack(&pack, &(struct kv_command){
                               .opcode = KV_DELETE, .key = text("k1"), .condition = {true, 300}});
    EXPECT("\x93\x02\xc4\x02\x6b\x31\xcd\x01\x2c");
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                                .bounds = {text("k"), text("l"), false}});
    EXPECT("\x93\x03\xc4\x01\x6b\xc4\x01\x6c");
    pack_deinit(&pack);
}

Test(documented, queries)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_GET, .key = text("k1")});
    EXPECT("\x92\x40\xc4\x02\x6b\x31");
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_RANGE,
                                            .bounds = {text("k"), {0}, true},
                                            .limit = 1,
                                            .what = KV_RANGE_KEYS});
    EXPECT("\x96\x41\xc4\x01\x6b\xc0\x01\x00\x01");
    pack_deinit(&pack);
}

Test(documented, answers)
{
    struct pack pack, items;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){.revision = 300, .value = 7});
    EXPECT("\x92\xcd\x01\x2c\x07");
    kv_not_found_pack(&pack, 300);
    EXPECT("\x91\xcd\x01\x2c");
    kv_get_answer_pack(&pack, 300, &(struct kv_item){text("k1"), text("hi"), false, 7, 300, 2, 0});
    EXPECT("\x92\xcd\x01\x2c\x95\xc4\x02\x6b\x31\xc4\x02\x68\x69\x07\xcd\x01\x2c\x02");
    pack_init(&items, 0);
    kv_item_pack(&items, &(struct kv_item){text("k1"), {0}, true, 7, 300, 2, 0});
    kv_range_answer_pack(
        &pack,
        &(struct kv_range_answer){
            .revision = 300, .count = 1, .next = {(const uint8_t *)"k1", 3}, .item_count = 1},
        (struct slice){items.buf->data, items.bytes});
    EXPECT("\x94\xcd\x01\x2c\x91\x95\xc4\x02\x6b\x31\xc0\x07\xcd\x01\x2c\x02\x01\xc4\x03\x6b\x31"
           "\x00");
    pack_deinit(&items);
    pack_deinit(&pack);
}

Test(documented, leases_and_settings)
{
    struct pack pack, items;
    pack_init(&pack, 0);
    pack_init(&items, 0);
    struct kv_command put = {
        .opcode = KV_PUT, .key = text("k1"), .value = text("hi"), .ttl_ms = 30000};
    kv_command_pack(&pack, &put);
    EXPECT("\x96\x01\xc4\x02\x6b\x31\xc4\x02\x68\x69\xc0\xc0\xcd\x75\x30");
    put = (struct kv_command){
        .opcode = KV_PUT, .key = text("k1"), .value = text("hi"), .previous = true};
    kv_command_pack(&pack, &put);
    EXPECT("\x97\x01\xc4\x02\x6b\x31\xc4\x02\x68\x69\xc0\xc0\xc0\x01");
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 30000});
    EXPECT("\x92\x06\xcd\x75\x30");
    kv_lease_answer_pack(&pack, &(struct kv_lease_answer){300, 1, 30000});
    EXPECT("\x93\xcd\x01\x2c\x01\xcd\x75\x30");
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_LEASE_RENEW, .lease = 1});
    EXPECT("\x92\x07\x01");
    kv_command_pack(&pack, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = 1});
    EXPECT("\x92\x08\x01");
    struct kv_command settings = {.opcode = KV_SETTINGS};
    settings.settings.given[KV_SETTING_QUOTA] = true;
    settings.settings.values[KV_SETTING_QUOTA] = 1 << 30;
    kv_command_pack(&pack, &settings);
    EXPECT("\x95\x09\xc0\xc0\xc0\xce\x40\x00\x00\x00");
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_LEASES});
    EXPECT("\x93\x42\x00\x00");
    kv_lease_info_pack(&items, &(struct kv_lease_info){1, 30000, 29000, 2});
    kv_leases_answer_pack(&pack, &(struct kv_leases_answer){.revision = 300, .count = 1},
                          (struct slice){items.buf->data, items.bytes});
    EXPECT("\x93\xcd\x01\x2c\x91\x94\x01\xcd\x75\x30\xcd\x71\x48\x02\xc0");
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_LEASE_KEYS, .lease = 1});
    EXPECT("\x94\x44\x01\xc4\x00\x00");
    items.bytes = 0;
    kv_lease_key_pack(&items, 0, text("k1"));
    kv_lease_keys_answer_pack(
        &pack,
        &(struct kv_lease_keys_answer){.revision = 300, .info = {1, 30000, 29000, 1}, .count = 1},
        (struct slice){items.buf->data, items.bytes});
    EXPECT("\x94\xcd\x01\x2c\x94\x01\xcd\x75\x30\xcd\x71\x48\x01\x91\x92\x00\xc4\x02\x6b\x31\xc0");
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_USAGE});
    EXPECT("\x91\x43");
    kv_usage_pack(&pack, &(struct kv_usage){.revision = 300,
                                            .compacted = 200,
                                            .clock_ms = 60000,
                                            .settings = {100000, 64 << 20, 0, 0},
                                            .keys = 2,
                                            .bytes = 70,
                                            .history_changes = 100,
                                            .history_bytes = 6400,
                                            .leases = 1,
                                            .topics = 1,
                                            .topic_bytes = 400});
    EXPECT(
        "\x95\xcd\x01\x2c\xcc\xc8\xcd\xea\x60\x94\xce\x00\x01\x86\xa0\xce\x04\x00\x00\x00\x00\x00"
        "\x98\x02\x46\x64\xcd\x19\x00\x01\x01\xcd\x01\x90\x00");
    pack_deinit(&items);
    pack_deinit(&pack);
}

Test(documented, reads_of_the_past)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_GET, .key = text("k1"), .revision = 7});
    EXPECT("\x93\x40\xc4\x02\x6b\x31\x07");
    kv_query_pack(&pack, &(struct kv_query){
                             .opcode = KV_RANGE, .bounds = {text("k"), {0}, true}, .revision = 7});
    EXPECT("\x97\x41\xc4\x01\x6b\xc0\x00\x00\x00\x07");
    pack_deinit(&pack);
}

Test(documented, transactions)
{
    struct pack pack, compares, then, otherwise;
    pack_init(&pack, 0);
    pack_init(&compares, 0);
    pack_init(&then, 0);
    pack_init(&otherwise, 0);
    kv_compare_pack(&compares, &(struct kv_compare){.key = text("k1"), .number = 7});
    kv_command_pack(&then,
                    &(struct kv_command){.opcode = KV_PUT, .key = text("k1"), .value = text("hi")});
    kv_query_pack(&otherwise, &(struct kv_query){.opcode = KV_GET, .key = text("k1")});
    const struct kv_command command = {
        .opcode = KV_TXN,
        .txn = {.compares = {1, {compares.buf->data, compares.bytes}},
                .then = {1, {then.buf->data, then.bytes}},
                .otherwise = {1, {otherwise.buf->data, otherwise.bytes}}}};
    kv_command_pack(&pack, &command);
    EXPECT("\x94\x05\x91\x94\x00\x00\xc4\x02\x6b\x31\x07"
           "\x91\x93\x01\xc4\x02\x6b\x31\xc4\x02\x68\x69\x91\x92\x40\xc4\x02\x6b\x31");
    struct pack steps;
    pack_init(&steps, 0);
    kv_outcome_pack(&then, &(struct kv_outcome){.revision = 300, .value = 7});
    size_t begin = 10; /* behind the put */
    kv_step_answer_pack(
        &steps, &(struct kv_step_answer){.body = {then.buf->data + begin, then.bytes - begin}});
    kv_txn_answer_pack(&pack, &(struct kv_txn_answer){.revision = 300, .held = true, .count = 1},
                       (struct slice){steps.buf->data, steps.bytes});
    EXPECT("\x93\xcd\x01\x2c\x01\x91\x92\x00\x92\xcd\x01\x2c\x07");
    pack_deinit(&steps);
    pack_deinit(&compares);
    pack_deinit(&then);
    pack_deinit(&otherwise);
    pack_deinit(&pack);
}

Test(documented, transactions_over_topics)
{
    struct pack pack, compares, then;
    pack_init(&pack, 0);
    pack_init(&compares, 0);
    pack_init(&then, 0);
    kv_compare_pack(&compares, &(struct kv_compare){.what = KV_COMPARE_TOPIC,
                                                    .how = KV_COMPARE_GREATER,
                                                    .key = text("t"),
                                                    .number = 0});
    kv_compare_pack(&compares, &(struct kv_compare){
                                   .what = KV_COMPARE_SEQUENCE, .key = text("t"), .number = 7});
    const struct topic_publish publish = {.name = text("t"), .count = 1};
    topic_publish_begin(&then, &publish);
    topic_publish_data(&then, text("hi"));
    topic_publish_ids(&then, &publish);
    const struct kv_command command = {
        .opcode = KV_TXN,
        .txn = {.compares = {2, {compares.buf->data, compares.bytes}},
                .then = {1, {then.buf->data, then.bytes}}}};
    kv_command_pack(&pack, &command);
    EXPECT("\x94\x05\x92\x94\x06\x03\xc4\x01\x74\x00\x94\x05\x00\xc4\x01\x74\x07"
           "\x91\x93\x1a\xc4\x01\x74\x91\xc4\x02\x68\x69\x90");
    pack_deinit(&compares);
    pack_deinit(&then);
    pack_deinit(&pack);
}

/* The name of a topic is shorter than a key. */
Test(documented, limits_of_what_is_compared)
{
    static const struct {
        enum kv_compare_what what;
        size_t bytes;
    } limits[] = {{KV_COMPARE_VERSION, CONCLAVE_KEY_BYTES_MAX},
                  {KV_COMPARE_SEQUENCE, CONCLAVE_TOPIC_BYTES_MAX},
                  {KV_COMPARE_TOPIC, CONCLAVE_TOPIC_BYTES_MAX}};
    static const uint8_t name[CONCLAVE_KEY_BYTES_MAX + 1];
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        for (size_t bytes = limits[i].bytes; bytes <= limits[i].bytes + 1; bytes++) {
            struct pack compares;
            struct kv_txn_reader reader;
            struct kv_compare read;
            pack_init(&compares, 0);
            kv_compare_pack(&compares,
                            &(struct kv_compare){.what = limits[i].what, .key = {name, bytes}});
            kv_txn_begin(&reader, &(struct kv_txn_list){1, {compares.buf->data, compares.bytes}});
            cr_assert_eq(kv_txn_next_compare(&reader, &read),
                         bytes > limits[i].bytes ? -CONCLAVE_TOO_LARGE : 1);
            pack_deinit(&compares);
        }
    }
}
