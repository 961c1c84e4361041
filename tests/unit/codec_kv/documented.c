/* The key-value examples of docs/protocol.md, byte by byte. */
#include "check.h"

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
