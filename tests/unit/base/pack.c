#include "base/pack.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Takes what was packed and compares it with bytes written down by hand. */
static void expect(struct pack *pack, const void *bytes, size_t count)
{
    struct buf *buf = pack_take(pack);
    cr_assert_eq(buf->bytes, count, "%zu bytes, not %zu", buf->bytes, count);
    cr_assert_arr_eq(buf->data, bytes, count);
    buf_unref(buf);
}
#define EXPECT(pack, text) expect(pack, text, sizeof(text) - 1)

Test(pack, writes_unsigned_integers_in_their_smallest_form)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_uint(&pack, 0);
    pack_uint(&pack, 127);
    pack_uint(&pack, 128);
    pack_uint(&pack, 255);
    pack_uint(&pack, 256);
    pack_uint(&pack, 65535);
    pack_uint(&pack, 65536);
    pack_uint(&pack, UINT32_MAX);
    pack_uint(&pack, (uint64_t)UINT32_MAX + 1);
    pack_uint(&pack, UINT64_MAX);
    EXPECT(&pack, "\x00\x7f\xcc\x80\xcc\xff\xcd\x01\x00\xcd\xff\xff\xce\x00\x01\x00\x00"
                  "\xce\xff\xff\xff\xff\xcf\x00\x00\x00\x01\x00\x00\x00\x00"
                  "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
}

Test(pack, writes_signed_integers_in_their_smallest_form)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_int(&pack, 5);
    pack_int(&pack, -1);
    pack_int(&pack, -32);
    pack_int(&pack, -33);
    pack_int(&pack, -129);
    pack_int(&pack, INT16_MIN - 1);
    pack_int(&pack, INT64_MIN);
    EXPECT(&pack, "\x05\xff\xe0\xd0\xdf\xd1\xff\x7f\xd2\xff\xff\x7f\xff"
                  "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
}

Test(pack, reserved_room_is_there_and_keeps_what_was_written)
{
    struct pack pack;
    uint8_t bytes[1000] = {0};
    pack_init(&pack, 0);
    pack_uint(&pack, 5);
    pack_reserve(&pack, sizeof bytes);
    const struct buf *buf = pack.buf;
    pack_reserve(&pack, sizeof bytes); /* is there already */
    pack_raw(&pack, bytes, sizeof bytes);
    cr_assert_eq(pack.buf, buf, "nothing had to grow");
    struct buf *taken = pack_take(&pack);
    cr_assert_eq(taken->bytes, 1 + sizeof bytes);
    cr_assert_eq(taken->data[0], 5);
    buf_unref(taken);
}

Test(pack, writes_nil_and_booleans)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_nil(&pack);
    pack_bool(&pack, false);
    pack_bool(&pack, true);
    EXPECT(&pack, "\xc0\xc2\xc3");
}

Test(pack, writes_headers_of_arrays_and_maps)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_array(&pack, 15);
    pack_array(&pack, 16);
    pack_array(&pack, 65536);
    pack_map(&pack, 15);
    pack_map(&pack, 16);
    pack_map(&pack, 65536);
    EXPECT(&pack, "\x9f\xdc\x00\x10\xdd\x00\x01\x00\x00\x8f\xde\x00\x10\xdf\x00\x01\x00\x00");
}

Test(pack, writes_bytes_and_text)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_bin(&pack, NULL, 0);
    pack_bin(&pack, "\x00\xff", 2);
    pack_str(&pack, "");
    pack_str(&pack, "n1");
    pack_raw(&pack, "\x92\x01\x02", 3);
    EXPECT(&pack, "\xc4\x00\xc4\x02\x00\xff\xa0\xa2n1\x92\x01\x02");
}

Test(pack, widens_the_header_with_the_length)
{
    static const size_t lengths[] = {255, 256, 65535, 65536};
    static const size_t bin_header[] = {2, 3, 3, 5};
    static const size_t str_header[] = {2, 3, 3, 5};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *text = malloc(lengths[i] + 1);
        memset(text, 'v', lengths[i]);
        text[lengths[i]] = '\0';
        struct pack pack;
        pack_init(&pack, 0);
        pack_bin(&pack, text, lengths[i]);
        cr_assert_eq(pack.bytes, lengths[i] + bin_header[i]);
        pack_str(&pack, text);
        cr_assert_eq(pack.bytes, 2 * lengths[i] + bin_header[i] + str_header[i]);
        cr_assert_eq(pack.buf->data[pack.bytes - 1], 'v');
        pack_deinit(&pack);
        free(text);
    }
}

Test(pack, keeps_what_was_written_when_it_grows)
{
    struct pack pack;
    pack_init(&pack, 0);
    for (uint32_t i = 0; i < 100000; i++)
        pack_uint(&pack, i & 0x7f);
    struct buf *buf = pack_take(&pack);
    cr_assert_eq(buf->bytes, 100000);
    for (uint32_t i = 0; i < 100000; i++)
        cr_assert_eq(buf->data[i], i & 0x7f);
    buf_unref(buf);
}

Test(pack, does_not_grow_within_its_capacity)
{
    struct pack pack;
    pack_init(&pack, 1000);
    const struct buf *first = pack.buf;
    for (int i = 0; i < 1000; i++)
        pack_nil(&pack);
    cr_assert_eq(pack.buf, first);
    pack_nil(&pack);
    cr_assert_neq(pack.bytes, 1000);
    pack_deinit(&pack);
}

Test(pack, hands_over_exactly_what_was_written)
{
    struct pack pack;
    pack_init(&pack, 4096);
    pack_nil(&pack);
    struct buf *buf = pack_take(&pack);
    cr_assert_eq(buf->bytes, 1);
    cr_assert_eq(atomic_load(&buf->refs), 1);
    cr_assert_null(pack.buf);
    pack_deinit(&pack);
    buf_unref(buf);
}
