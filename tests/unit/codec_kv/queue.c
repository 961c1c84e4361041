/* The wire form of queues: the examples of docs/protocol.md byte by byte, and what is refused. */
#include "check.h"

#include "codec/coord.h"
#include "codec/stream.h"
#include "codec/watch.h"

#include <criterion/criterion.h>
#include <string.h>

static struct pack pack;

static void setup(void)
{
    pack_init(&pack, 0);
}

static void teardown(void)
{
    pack_deinit(&pack);
}

TestSuite(queue, .init = setup, .fini = teardown);

static void expect(const char *bytes, size_t count)
{
    cr_assert_eq(pack.bytes, count, "%zu bytes, not %zu", pack.bytes, count);
    cr_assert_arr_eq(pack.buf->data, bytes, count);
    pack_deinit(&pack);
    pack_init(&pack, 0);
}
#define EXPECT(literal) expect(BYTES(literal))

Test(queue, requests_are_as_documented)
{
    coord_request_pack(&pack, &(struct coord_request){.opcode = COORD_ENQUEUE,
                                                      .name = text("l"),
                                                      .lease = 7,
                                                      .value = text("me"),
                                                      .slots = 1});
    EXPECT("\x95\x10\xc4\x01\x6c\x07\xc4\x02\x6d\x65\x01");
    coord_request_pack(
        &pack, &(struct coord_request){.opcode = COORD_LEAVE, .name = text("l"), .token = 300});
    EXPECT("\x93\x11\xc4\x01\x6c\xcd\x01\x2c");
    coord_request_pack(
        &pack, &(struct coord_request){
                   .opcode = COORD_PROCLAIM, .name = text("l"), .token = 300, .value = text("me")});
    EXPECT("\x94\x12\xc4\x01\x6c\xcd\x01\x2c\xc4\x02\x6d\x65");
    coord_request_pack(
        &pack, &(struct coord_request){.opcode = COORD_PLACE, .name = text("l"), .token = 300});
    EXPECT("\x93\x46\xc4\x01\x6c\xcd\x01\x2c");
    coord_request_pack(
        &pack, &(struct coord_request){.opcode = COORD_QUEUE, .name = text("l"), .limit = 1});
    EXPECT("\x94\x47\xc4\x01\x6c\x00\x01");
}

Test(queue, watch_of_an_entry_is_as_documented)
{
    static const uint8_t key[] = {'l', 0, 0, 0, 0, 0, 0, 0, 0x01, 0x18, 0};
    struct watch_spec spec = {.bounds = {.from = {key, sizeof key - 1}, .to = {key, sizeof key}},
                              .what = WATCH_NO_PUTS,
                              .space = 1};
    struct pack packed;
    pack_init(&packed, 0);
    watch_spec_pack(&packed, &spec);
    stream_subscribe_pack(&pack,
                          &(struct stream_subscribe){.kind = STREAM_WATCH,
                                                     .position = 302,
                                                     .granted = 65536,
                                                     .spec = {packed.buf->data, packed.bytes}});
    EXPECT("\x94\x01\xcd\x01\x2e\xce\x00\x01\x00\x00\x94\xc4\x0a\x6c\x00\x00\x00\x00\x00\x00"
           "\x00\x01\x18\xc4\x0b\x6c\x00\x00\x00\x00\x00\x00\x00\x01\x18\x00\x02\x01");
    pack_deinit(&packed);
}

Test(queue, answers_are_as_documented)
{
    struct pack entries;
    struct coord_queue queue = {.revision = 301, .slots = 1, .next = 300, .count = 1};
    struct coord_entry entry;
    coord_place_pack(&pack, &(struct coord_place){301, 300, 280});
    EXPECT("\x93\xcd\x01\x2d\xcd\x01\x2c\xcd\x01\x18");
    pack_init(&entries, 0);
    coord_entry_pack(&entries, &(struct coord_entry){300, 7, text("me"), 300});
    coord_queue_pack(&pack, &queue, (struct slice){entries.buf->data, entries.bytes});
    pack_deinit(&entries);
    cr_assert_eq(coord_queue_begin(pack.buf->data, pack.bytes, &queue), CONCLAVE_OK);
    cr_assert(queue.next == 300 && queue.count == 1);
    cr_assert_eq(coord_queue_next(&queue, &entry), 1);
    cr_assert(entry.token == 300 && entry.lease == 7 && same(entry.value, text("me")));
    cr_assert_eq(coord_queue_next(&queue, &entry), 0);
    EXPECT("\x94\xcd\x01\x2d\x01\x91\x94\xcd\x01\x2c\x07\xc4\x02\x6d\x65\xcd\x01\x2c\xcd\x01\x2c");
}

static int decode(const char *bytes, size_t count)
{
    struct coord_request request;
    return coord_command_decode(bytes, count, &request);
}
#define DECODE(literal) decode(BYTES(literal))

Test(queue, commands_are_checked)
{
    struct coord_request request;
    cr_assert_eq(DECODE("\x93\x10\xc4\x01l\x07"), CONCLAVE_OK, "no value, one slot");
    cr_assert_eq(coord_command_decode(BYTES("\x93\x10\xc4\x01l\x07"), &request), CONCLAVE_OK);
    cr_assert_eq(request.slots, 1);
    cr_assert_eq(DECODE("\x93\x10\xc4\x01l\x00"), CONCLAVE_INVALID, "no lease");
    cr_assert_eq(DECODE("\x93\x10\xc4\x00\x07"), CONCLAVE_INVALID, "no name");
    cr_assert_eq(DECODE("\x93\x10\xc4\x01\x00\x07"), CONCLAVE_INVALID, "a zero byte");
    cr_assert_eq(DECODE("\x92\x10\xc4\x01l"), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x92\x11\xc4\x01l"), CONCLAVE_MALFORMED);
    cr_assert_eq(DECODE("\x93\x12\xc4\x01l\x07"), CONCLAVE_MALFORMED, "no value to proclaim");
    cr_assert_eq(DECODE("\x93\x46\xc4\x01l\x07"), CONCLAVE_MALFORMED, "a query");
    cr_assert_eq(DECODE("\x95\x10\xc4\x01l\x07\xc0\xcd\x03\xe9"), CONCLAVE_TOO_LARGE, "1001 slots");
    char name[CONCLAVE_QUEUE_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    coord_request_pack(&pack, &(struct coord_request){.opcode = COORD_LEAVE, .name = text(name)});
    cr_assert_eq(decode((const char *)pack.buf->data, pack.bytes), CONCLAVE_TOO_LARGE);
}

/* Cut anywhere, and with any byte changed: an answer, never a crash. */
Test(queue, nothing_that_comes_is_believed)
{
    struct coord_request request = {.opcode = COORD_ENQUEUE,
                                    .name = text("lock"),
                                    .value = text("value"),
                                    .lease = 300,
                                    .slots = 2};
    coord_request_pack(&pack, &request);
    for (size_t at = 0; at < pack.bytes; at++) {
        uint8_t before = pack.buf->data[at];
        cr_assert_neq(coord_command_decode(pack.buf->data, at, &request), CONCLAVE_OK);
        for (unsigned value = 0; value < 256; value++) {
            pack.buf->data[at] = (uint8_t)value;
            (void)!coord_command_decode(pack.buf->data, pack.bytes, &request);
        }
        pack.buf->data[at] = before;
    }
}

Test(queue, an_entry_that_expired_is_told_as_documented)
{
    uint8_t key[COORD_KEY_BYTES_MAX];
    watch_event_pack(&pack, &(struct watch_event){.kind = WATCH_EXPIRE,
                                                  .key = coord_key(text("l"), 280, key),
                                                  .revision = 301});
    struct pack frame;
    pack_init(&frame, 0);
    stream_frame_pack(&frame, &(struct stream_frame){.number = 2,
                                                     .type = STREAM_EVENTS,
                                                     .position = 302,
                                                     .count = 1,
                                                     .items = {pack.buf->data, pack.bytes}});
    pack_deinit(&pack);
    pack = frame;
    EXPECT("\x95\x02\x02\xcd\x01\x2e\xc2\x91\x96\x03\xc4\x0a\x6c\x00\x00\x00\x00\x00\x00\x00\x01"
           "\x18\xc0\xcd\x01\x2d\x00\x00");
}

Test(queue, a_key_is_of_the_queue_that_it_was_made_for_alone)
{
    uint8_t room[COORD_KEY_BYTES_MAX];
    uint64_t token = 0;
    struct slice key = coord_key(text("lock"), UINT64_C(0x0102030405060708), room);
    cr_assert(coord_key_is_of(key, text("lock"), &token));
    cr_assert_eq(token, UINT64_C(0x0102030405060708));
    cr_assert_not(coord_key_is_of(key, text("loc"), &token));
    cr_assert_not(coord_key_is_of(key, text("luck"), &token));
    key.bytes--;
    cr_assert_not(coord_key_is_of(key, text("lock"), &token));
    cr_assert_not(coord_key_is_of((struct slice){0}, text("lock"), &token));
}

Test(queue, what_is_stored_of_an_entry_has_its_slots_in_front)
{
    uint64_t slots = 0;
    struct slice value;
    cr_assert_eq(coord_stored_read(text("\001\002me"), &slots, &value), CONCLAVE_OK);
    cr_assert_eq(slots, 258);
    cr_assert(value.bytes == 2 && memcmp(value.data, "me", 2) == 0);
    cr_assert_eq(coord_stored_read(text("\001"), &slots, &value), CONCLAVE_CORRUPT);
}
