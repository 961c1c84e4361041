/* Subscriptions on the wire: what is written is read, and nothing else. */
#include "codec/stream.h"

#include "codec/watch.h"

#include <criterion/criterion.h>
#include <string.h>

static struct slice text(const char *name)
{
    return (struct slice){(const uint8_t *)name, strlen(name)};
}

static struct slice packed(const struct pack *pack)
{
    return (struct slice){pack->buf->data, pack->bytes};
}

static void expect(struct pack *pack, const char *bytes, size_t count)
{
    cr_assert_eq(pack->bytes, count, "%zu bytes, not %zu", pack->bytes, count);
    cr_assert_arr_eq(pack->buf->data, bytes, count);
    pack_deinit(pack);
    pack_init(pack, 0);
}
#define EXPECT(literal) expect(&pack, literal, sizeof(literal) - 1)

/* The examples of docs/protocol.md. */
Test(stream, requests_are_as_documented)
{
    struct pack pack, spec;
    pack_init(&pack, 0);
    pack_init(&spec, 0);
    watch_spec_pack(&spec, &(struct watch_spec){.bounds = {text("k"), text("l"), false},
                                                .what = WATCH_INITIAL});
    stream_subscribe_pack(&pack,
                          &(struct stream_subscribe){STREAM_WATCH, 301, 65536, packed(&spec)});
    EXPECT("\x94\x01\xcd\x01\x2d\xce\x00\x01\x00\x00\x93\xc4\x01\x6b\xc4\x01\x6c\x01");
    stream_credit_pack(&pack, &(struct stream_credit){131072, 0});
    EXPECT("\x91\xce\x00\x02\x00\x00");
    stream_credit_pack(&pack, &(struct stream_credit){131072, 5});
    EXPECT("\x92\xce\x00\x02\x00\x00\x05");
    pack_deinit(&pack);
    pack_deinit(&spec);
}

Test(stream, frames_are_as_documented)
{
    struct pack pack, items;
    pack_init(&pack, 0);
    pack_init(&items, 0);
    stream_frame_pack(
        &pack, &(struct stream_frame){
                   .number = 1, .type = STREAM_BEGUN, .position = 301, .lifetime_ms = 30000});
    EXPECT("\x94\x01\x01\xcd\x01\x2d\xcd\x75\x30");
    watch_event_pack(&items, &(struct watch_event){.kind = WATCH_PUT,
                                                   .key = text("k1"),
                                                   .value = text("hi"),
                                                   .revision = 301,
                                                   .create_revision = 7,
                                                   .version = 2});
    watch_event_pack(
        &items, &(struct watch_event){.kind = WATCH_DELETE, .key = text("k2"), .revision = 301});
    stream_frame_pack(&pack, &(struct stream_frame){.number = 2,
                                                    .type = STREAM_EVENTS,
                                                    .position = 302,
                                                    .count = 2,
                                                    .items = packed(&items)});
    EXPECT("\x95\x02\x02\xcd\x01\x2e\xc2\x92\x96\x01\xc4\x02\x6b\x31\xc4\x02\x68\x69\xcd\x01\x2d"
           "\x07\x02\x96\x02\xc4\x02\x6b\x32\xc0\xcd\x01\x2d\x00\x00");
    stream_frame_pack(
        &pack, &(struct stream_frame){
                   .number = 3, .type = STREAM_PROGRESS, .position = 310, .age_ms = 4, .ask = 5});
    EXPECT("\x95\x03\x04\xcd\x01\x36\x04\x05");
    stream_frame_pack(
        &pack,
        &(struct stream_frame){.number = 4, .type = STREAM_RESYNC, .position = 310, .oldest = 400});
    EXPECT("\x94\x04\x05\xcd\x01\x36\xcd\x01\x90");
    pack_deinit(&pack);
    pack_deinit(&items);
}

Test(stream, what_is_written_is_read)
{
    struct pack pack, items;
    struct stream_frame read;
    pack_init(&pack, 0);
    pack_init(&items, 0);
    struct watch_event event = {
        .kind = WATCH_PUT,
        .key = text("k"),
        .value = text("new"),
        .revision = 9,
        .create_revision = 2,
        .version = 3,
        .has_previous = true,
        .previous = {.value = text("old"), .create_revision = 2, .mod_revision = 8, .version = 2}};
    watch_event_pack(&items, &event);
    cr_assert_leq(items.bytes, watch_event_bytes(&event));
    stream_frame_pack(&pack, &(struct stream_frame){.number = 7,
                                                    .type = STREAM_EVENTS,
                                                    .position = 9,
                                                    .more = true,
                                                    .count = 1,
                                                    .items = packed(&items)});
    cr_assert_eq(stream_frame_decode(packed(&pack), &read), CONCLAVE_OK);
    cr_assert_eq(read.number, 7);
    cr_assert_eq(read.position, 9);
    cr_assert(read.more);
    cr_assert_eq(read.count, 1);
    struct cursor cursor;
    struct watch_event got;
    cursor_init(&cursor, read.items.data, read.items.bytes);
    cr_assert_eq(watch_event_read(&cursor, &got), CONCLAVE_OK);
    cr_assert(cursor_done(&cursor));
    cr_assert(got.has_previous);
    cr_assert_eq(got.previous.mod_revision, 8);
    cr_assert_arr_eq(got.previous.value.data, "old", 3);
    cr_assert_arr_eq(got.value.data, "new", 3);
    pack_deinit(&pack);
    pack_deinit(&items);
}

/* Whatever was cut off, and whatever byte is another one. */
Test(stream, damaged_bytes_are_refused_or_stay_inside)
{
    struct pack pack, spec;
    pack_init(&pack, 0);
    pack_init(&spec, 0);
    watch_spec_pack(&spec, &(struct watch_spec){.bounds = {text("k"), {0}, true}});
    stream_subscribe_pack(&pack, &(struct stream_subscribe){STREAM_WATCH, 1, 65536, packed(&spec)});
    struct stream_subscribe subscribe;
    for (size_t bytes = 0; bytes < pack.bytes; bytes++)
        cr_assert_neq(stream_subscribe_decode((struct slice){pack.buf->data, bytes}, &subscribe),
                      CONCLAVE_OK);
    for (size_t i = 0; i < pack.bytes; i++) {
        uint8_t right = pack.buf->data[i];
        for (unsigned other = 0; other < 256; other++) {
            pack.buf->data[i] = (uint8_t)other;
            struct watch_spec watch;
            if (stream_subscribe_decode(packed(&pack), &subscribe) == CONCLAVE_OK) {
                cr_assert(subscribe.spec.data >= pack.buf->data &&
                          subscribe.spec.data + subscribe.spec.bytes <=
                              pack.buf->data + pack.bytes);
                if (watch_spec_decode(subscribe.spec, &watch) == CONCLAVE_OK)
                    cr_assert_leq(watch.bounds.from.bytes, subscribe.spec.bytes);
            }
        }
        pack.buf->data[i] = right;
    }
    pack_deinit(&pack);
    pack_deinit(&spec);
}

Test(stream, a_spec_is_checked)
{
    struct watch_spec watch;
    struct pack pack;
    pack_init(&pack, 0);
    watch_spec_pack(&pack, &(struct watch_spec){.bounds = {text("a"), text("b"), false},
                                                .what = WATCH_WHAT_ALL + 1});
    cr_assert_eq(watch_spec_decode(packed(&pack), &watch), CONCLAVE_INVALID);
    pack_deinit(&pack);
    uint8_t large[KV_BOUND_BYTES_MAX + 1] = {1};
    pack_init(&pack, 0);
    watch_spec_pack(&pack, &(struct watch_spec){.bounds = {{large, sizeof large}, {0}, true}});
    cr_assert_eq(watch_spec_decode(packed(&pack), &watch), CONCLAVE_TOO_LARGE);
    pack_deinit(&pack);
    cr_assert_eq(watch_spec_decode(text("\x91\xc0"), &watch), CONCLAVE_MALFORMED,
                 "an end that was forgotten does not become everything");
}
