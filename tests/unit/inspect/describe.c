/* What entries do, in words. */
#include "inspect/describe.h"

#include "codec/coord.h"
#include "codec/group.h"
#include "codec/kv_txn.h"
#include "codec/session.h"
#include "raft/entries.h"

#include <criterion/criterion.h>
#include <string.h>

static struct slice text_of(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

/* Frees the payload. */
static void expect(uint8_t kind, struct buf *payload, const char *words)
{
    char line[256];
    struct say say;
    say_begin(&say, line, sizeof line, 12);
    describe_entry(&say, kind, (struct slice){payload->data, payload->bytes});
    cr_assert_str_eq(line, words);
    buf_unref(payload);
}

static struct buf *kv(const struct kv_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    return pack_take(&pack);
}

Test(describe, says_what_is_done_to_keys)
{
    expect(RAFT_ENTRY_COMMAND,
           kv(&(struct kv_command){
               .opcode = KV_PUT, .key = text_of("a\"\n"), .value = text_of("0123456789abcdef")}),
           "put \"a\\x22\\x0a\" \"0123456789ab...\" (16 bytes)");
    expect(RAFT_ENTRY_COMMAND,
           kv(&(struct kv_command){.opcode = KV_DELETE,
                                   .key = text_of("\xc3\xbc\xff"),
                                   .condition = {.given = true, .revision = 7}}),
           "delete \"\xc3\xbc\\xff\", if its revision is 7");
    expect(RAFT_ENTRY_COMMAND,
           kv(&(struct kv_command){.opcode = KV_DELETE_RANGE,
                                   .bounds = {text_of("a"), text_of("b"), false}}),
           "delete keys from \"a\" to \"b\"");
    expect(RAFT_ENTRY_COMMAND, kv(&(struct kv_command){.opcode = KV_LEASE_RENEW, .lease = 4}),
           "renew lease 4");
}

Test(describe, says_what_a_transaction_compares_and_does)
{
    struct pack compares, then;
    pack_init(&compares, 0);
    pack_init(&then, 0);
    kv_compare_pack(&compares, &(struct kv_compare){.what = KV_COMPARE_REVISION,
                                                    .how = KV_COMPARE_GREATER,
                                                    .key = text_of("k"),
                                                    .number = 3});
    kv_command_pack(&then, &(struct kv_command){.opcode = KV_DELETE, .key = text_of("k")});
    kv_query_pack(&then, &(struct kv_query){.opcode = KV_GET, .key = text_of("l")});
    expect(RAFT_ENTRY_COMMAND,
           kv(&(struct kv_command){.opcode = KV_TXN,
                                   .txn = {.compares = {1, {compares.buf->data, compares.bytes}},
                                           .then = {2, {then.buf->data, then.bytes}}}}),
           "transaction: if rev(\"k\")>3 then delete \"k\"; get \"l\"");
    pack_deinit(&compares);
    pack_deinit(&then);
}

Test(describe, says_what_is_done_to_topics_groups_and_queues)
{
    struct pack pack;
    pack_init(&pack, 0);
    const struct topic_publish publish = {.name = text_of("t"), .count = 2};
    topic_publish_begin(&pack, &publish);
    topic_publish_data(&pack, text_of("x"));
    topic_publish_data(&pack, text_of("y"));
    topic_publish_ids(&pack, &publish);
    expect(RAFT_ENTRY_COMMAND, pack_take(&pack), "publish to \"t\" 2 messages: \"x\" \"y\"");

    pack_init(&pack, 0);
    const struct group_command ack = {
        .opcode = GROUP_ACK, .topic = text_of("t"), .group = text_of("g"), .lease = 9};
    group_command_pack(&pack, &ack, 1);
    group_range_pack(&pack, &(struct conclave_group_range){.first = 4, .count = 3});
    group_command_end(&pack, &ack);
    expect(RAFT_ENTRY_COMMAND, pack_take(&pack),
           "acknowledge in group \"g\" of topic \"t\" 4-6, lease 9");

    pack_init(&pack, 0);
    coord_request_pack(
        &pack, &(struct coord_request){.opcode = COORD_LEAVE, .name = text_of("q"), .token = 12});
    expect(RAFT_ENTRY_COMMAND, pack_take(&pack), "leave \"q\", token 12");
}

Test(describe, says_what_sessions_say)
{
    struct pack pack;
    struct buf *inner = kv(&(struct kv_command){.opcode = KV_LEASE_GRANT, .ttl_ms = 500});
    pack_init(&pack, 0);
    session_request_pack(&pack, &(struct session_request){.opcode = SESSION_COMMAND,
                                                          .session = 3,
                                                          .sequence = 2,
                                                          .command = {inner->data, inner->bytes}});
    expect(RAFT_ENTRY_SESSION, pack_take(&pack), "session 3, number 2: grant a lease of 500 ms");
    buf_unref(inner);
    pack_init(&pack, 0);
    session_request_pack(&pack,
                         &(struct session_request){.opcode = SESSION_CLOCK, .elapsed_ms = 20});
    expect(RAFT_ENTRY_SESSION, pack_take(&pack), "cluster time: 20 ms passed");
}

Test(describe, says_so_where_it_cannot_tell)
{
    expect(RAFT_ENTRY_COMMAND, buf_copy("own\x01", 4),
           "no command of the built-in state machine: \"own\\x01\"");
    expect(RAFT_ENTRY_CONFIG, buf_copy("x", 1), "a configuration that cannot be read: \"x\"");
    expect(RAFT_ENTRY_SESSION, buf_copy("x", 1), "nothing that a session says: \"x\"");
    expect(77, buf_copy("x", 1), "an entry of the unknown kind 77: \"x\"");
}

/* Whatever the bytes, the line ends and is printable. */
Test(describe, takes_any_bytes)
{
    uint64_t state = 1;
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[24];
        char line[64];
        for (size_t i = 0; i < sizeof bytes; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
            bytes[i] = (uint8_t)(state >> 56);
        }
        bytes[0] = (uint8_t)(0x90 | (round & 7)); /* an array, and an opcode that there is */
        bytes[1] = (uint8_t)(round >> 3 & 63);
        struct say say;
        say_begin(&say, line, sizeof line, 8);
        describe_entry(&say, (uint8_t)(round % 5), (struct slice){bytes, sizeof bytes});
        const size_t length = strlen(line);
        cr_assert(length > 0 && length < sizeof line);
        for (size_t i = 0; i < length; i++)
            cr_assert((uint8_t)line[i] >= 0x20 && line[i] != 0x7f);
    }
}
