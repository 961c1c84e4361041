#include "base/cursor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct cursor over(const void *data, size_t bytes)
{
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    return cursor;
}
#define OVER(text) over(text, sizeof(text) - 1)

/* --- Integers --------------------------------------------------------------------------------- */

Test(cursor, reads_integers_of_every_width)
{
    struct cursor cursor = OVER("\x00\x7f\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff"
                                "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"
                                "\xe0\xff\xd0\x80\xd1\x80\x00\xd2\x80\x00\x00\x00"
                                "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
    cr_assert_eq(cursor_uint(&cursor), 0);
    cr_assert_eq(cursor_uint(&cursor), 127);
    cr_assert_eq(cursor_uint(&cursor), 255);
    cr_assert_eq(cursor_uint(&cursor), 65535);
    cr_assert_eq(cursor_uint(&cursor), UINT32_MAX);
    cr_assert_eq(cursor_uint(&cursor), UINT64_MAX);
    cr_assert_eq(cursor_int(&cursor), -32);
    cr_assert_eq(cursor_int(&cursor), -1);
    cr_assert_eq(cursor_int(&cursor), INT8_MIN);
    cr_assert_eq(cursor_int(&cursor), INT16_MIN);
    cr_assert_eq(cursor_int(&cursor), INT32_MIN);
    cr_assert_eq(cursor_int(&cursor), INT64_MIN);
    cr_assert(cursor_done(&cursor));
}

Test(cursor, reads_integers_that_are_wider_than_needed)
{
    struct cursor cursor = OVER("\xcf\x00\x00\x00\x00\x00\x00\x00\x05\xd3\x00\x00\x00\x00\x00\x00"
                                "\x00\x05\xd0\x05\xcd\x00\x05");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(cursor_uint(&cursor), 5);
    cr_assert(cursor_done(&cursor));
}

Test(cursor, takes_non_negative_signed_integers_for_unsigned)
{
    struct cursor cursor = OVER("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff");
    cr_assert_eq(cursor_uint(&cursor), INT64_MAX);
    cr_assert(cursor_done(&cursor));
}

Test(cursor, refuses_negative_integers_for_unsigned)
{
    static const char *const negative[] = {"\xff", "\xd0\xff", "\xd1\xff\xff"};
    for (size_t i = 0; i < 3; i++) {
        struct cursor cursor = over(negative[i], i + 1);
        cr_assert_eq(cursor_uint(&cursor), 0);
        cr_assert_not(cursor_ok(&cursor));
    }
}

Test(cursor, refuses_unsigned_integers_above_the_signed_range)
{
    struct cursor cursor = OVER("\xcf\x80\x00\x00\x00\x00\x00\x00\x00");
    cr_assert_eq(cursor_int(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
    cursor = OVER("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff");
    cr_assert_eq(cursor_int(&cursor), INT64_MAX);
    cr_assert(cursor_done(&cursor));
}

static struct cursor over_double(double value, uint8_t bytes[9])
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bytes[0] = 0xcb;
    for (int i = 0; i < 8; i++)
        bytes[1 + i] = (uint8_t)(bits >> (56 - 8 * i));
    return over(bytes, 9);
}

Test(cursor, takes_whole_floats_up_to_two_to_the_53)
{
    static const double whole[] = {0.0, -0.0, 1.0, 4294967296.0, 9007199254740992.0};
    uint8_t bytes[9];
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct cursor cursor = over_double(whole[i], bytes);
        cr_assert_eq(cursor_uint(&cursor), (uint64_t)whole[i]);
        cr_assert(cursor_done(&cursor));
        cursor = over_double(-whole[i], bytes);
        cr_assert_eq(cursor_int(&cursor), -(int64_t)whole[i]);
        cr_assert(cursor_done(&cursor));
    }
}

Test(cursor, refuses_floats_that_are_no_integers)
{
    static const double others[] = {0.5,
                                    -0.5,
                                    9007199254740994.0,
                                    -9007199254740994.0,
                                    1e300,
                                    (double)INFINITY,
                                    -(double)INFINITY,
                                    (double)NAN};
    uint8_t bytes[9];
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct cursor cursor = over_double(others[i], bytes);
        cr_assert_eq(cursor_int(&cursor), 0, "number %zu", i);
        cr_assert_not(cursor_ok(&cursor));
    }
    struct cursor cursor = over_double(-1.0, bytes);
    cr_assert_eq(cursor_uint(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
    cursor = OVER("\xca\x3f\x80\x00\x00"); /* a float32 */
    cr_assert_eq(cursor_uint(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
}

/* --- Other scalars ---------------------------------------------------------------------------- */

Test(cursor, reads_booleans_and_nothing_else_as_such)
{
    struct cursor cursor = OVER("\xc3\xc2\x01");
    cr_assert(cursor_bool(&cursor));
    cr_assert_not(cursor_bool(&cursor));
    cr_assert(cursor_ok(&cursor));
    cr_assert_not(cursor_bool(&cursor));
    cr_assert_not(cursor_ok(&cursor));
}

Test(cursor, reads_nil_only_if_it_is_there)
{
    struct cursor cursor = OVER("\xc0\x01");
    cr_assert(cursor_nil(&cursor));
    cr_assert_not(cursor_nil(&cursor));
    cr_assert(cursor_ok(&cursor));
    cr_assert_eq(cursor_uint(&cursor), 1);
    cr_assert_not(cursor_nil(&cursor));
    cr_assert(cursor_done(&cursor));
}

Test(cursor, takes_bin_and_str_of_every_header_for_bytes)
{
    struct cursor cursor = OVER("\xa2hi\xd9\x02hi\xda\x00\x02hi\xdb\x00\x00\x00\x02hi"
                                "\xc4\x02hi\xc5\x00\x02hi\xc6\x00\x00\x00\x02hi");
    for (int i = 0; i < 7; i++) {
        cr_assert_eq(cursor_is_bin(&cursor), i >= 4);
        struct slice bytes = cursor_bin(&cursor);
        cr_assert_eq(bytes.bytes, 2);
        cr_assert_arr_eq(bytes.data, "hi", 2);
    }
    cr_assert(cursor_done(&cursor));
    cr_assert_not(cursor_is_bin(&cursor));
}

Test(cursor, refuses_bytes_that_are_not_there)
{
    static const struct {
        const char *data;
        size_t bytes;
    } cut[] = {{"\xa2h", 2},
               {"\xd9", 1},
               {"\xc4\x01", 2},
               {"\xc5\x00", 2},
               {"\xc6\xff\xff\xff\xff", 5},
               {"\xdb\x00\x00\x00\x01", 5},
               {"\x01", 1},
               {"\xd4\x01\x02", 3},
               {"\xc1", 1}};
    for (size_t i = 0; i < sizeof cut / sizeof cut[0]; i++) {
        struct cursor cursor = over(cut[i].data, cut[i].bytes);
        struct slice bytes = cursor_bin(&cursor);
        cr_assert_null(bytes.data);
        cr_assert_eq(bytes.bytes, 0);
        cr_assert_not(cursor_ok(&cursor));
    }
}

Test(cursor, copies_text_that_fits)
{
    struct cursor cursor = OVER("\xa3"
                                "abc"
                                "\xa0");
    char text[4] = "zzz";
    cursor_text(&cursor, text, sizeof text);
    cr_assert_str_eq(text, "abc");
    cursor_text(&cursor, text, sizeof text);
    cr_assert_str_eq(text, "");
    cr_assert(cursor_done(&cursor));
}

Test(cursor, refuses_text_that_does_not_fit_or_holds_a_nul)
{
    char text[4] = "zzz";
    struct cursor cursor = OVER("\xa4"
                                "abcd");
    cursor_text(&cursor, text, sizeof text);
    cr_assert_not(cursor_ok(&cursor));
    cr_assert_str_eq(text, "");
    cursor = OVER("\xa3"
                  "a\0c");
    cursor_text(&cursor, text, sizeof text);
    cr_assert_not(cursor_ok(&cursor));
    cr_assert_str_eq(text, "");
}

/* --- Containers ------------------------------------------------------------------------------- */

Test(cursor, reads_counts_of_arrays_and_maps)
{
    struct cursor cursor = OVER("\x92\x80\xdc\x00\x01\xdd\x00\x00\x00\x01\xde\x00\x01\x01\x02"
                                "\xdf\x00\x00\x00\x01\x81\x01\x02");
    cr_assert_eq(cursor_array(&cursor), 2);
    cr_assert_eq(cursor_map(&cursor), 0);
    cr_assert_eq(cursor_array(&cursor), 1);
    cr_assert_eq(cursor_array(&cursor), 1);
    cr_assert_eq(cursor_map(&cursor), 1);
    cursor_skip(&cursor);
    cursor_skip(&cursor);
    cr_assert_eq(cursor_map(&cursor), 1);
    cr_assert_eq(cursor_map(&cursor), 1);
    cr_assert_eq(cursor_uint(&cursor), 1);
    cr_assert_eq(cursor_uint(&cursor), 2);
    cr_assert(cursor_done(&cursor));
}

Test(cursor, refuses_counts_that_the_bytes_cannot_hold)
{
    struct cursor cursor = OVER("\xdd\xff\xff\xff\xff");
    cr_assert_eq(cursor_array(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
    cursor = OVER("\x93\x01\x02");
    cr_assert_eq(cursor_array(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
    cursor = OVER("\x82\x01\x02\x03");
    cr_assert_eq(cursor_map(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
    cursor = OVER("\xdf\xff\xff\xff\xff\x01\x01");
    cr_assert_eq(cursor_map(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
}

/* --- Skipping --------------------------------------------------------------------------------- */

Test(cursor, skips_every_type)
{
    static const struct {
        const char *data;
        size_t bytes;
    } values[] = {{"\x05", 1},
                  {"\xe0", 1},
                  {"\xc0", 1},
                  {"\xc2", 1},
                  {"\xc3", 1},
                  {"\xa1x", 2},
                  {"\xc4\x01x", 3},
                  {"\xc5\x00\x01x", 4},
                  {"\xc6\x00\x00\x00\x01x", 6},
                  {"\xc7\x01\x05x", 4},
                  {"\xc8\x00\x01\x05x", 5},
                  {"\xc9\x00\x00\x00\x01\x05x", 7},
                  {"\xca....", 5},
                  {"\xcb........", 9},
                  {"\xcc.", 2},
                  {"\xcd..", 3},
                  {"\xce....", 5},
                  {"\xcf........", 9},
                  {"\xd0.", 2},
                  {"\xd1..", 3},
                  {"\xd2....", 5},
                  {"\xd3........", 9},
                  {"\xd4..", 3},
                  {"\xd5...", 4},
                  {"\xd6.....", 6},
                  {"\xd7.........", 10},
                  {"\xd8.................", 18},
                  {"\xd9\x01x", 3},
                  {"\xda\x00\x01x", 4},
                  {"\xdb\x00\x00\x00\x01x", 6},
                  {"\x92\x01\x02", 3},
                  {"\x82\x01\x02\x03\x91\x04", 6},
                  {"\xdc\x00\x01\x01", 4},
                  {"\xdd\x00\x00\x00\x01\x01", 6},
                  {"\xde\x00\x01\x01\x01", 5},
                  {"\xdf\x00\x00\x00\x01\x01\x01", 7},
                  {"\x90", 1},
                  {"\x80", 1}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct cursor cursor = over(values[i].data, values[i].bytes);
        cursor_skip(&cursor);
        cr_assert(cursor_done(&cursor), "value %zu", i);
        for (size_t cut = 0; cut < values[i].bytes; cut++) {
            cursor = over(values[i].data, cut);
            cursor_skip(&cursor);
            cr_assert_not(cursor_ok(&cursor), "value %zu cut to %zu bytes", i, cut);
        }
    }
    struct cursor cursor = OVER("\xc1");
    cursor_skip(&cursor);
    cr_assert_not(cursor_ok(&cursor));
}

Test(cursor, skips_deep_nesting_without_recursion)
{
    enum { DEPTH = 4 << 20 };
    uint8_t *nested = malloc(DEPTH + 1);
    memset(nested, 0x91, DEPTH);
    nested[DEPTH] = 0xc0;
    struct cursor cursor = over(nested, DEPTH + 1);
    cursor_skip(&cursor);
    cr_assert(cursor_done(&cursor));
    cursor = over(nested, DEPTH);
    cursor_skip(&cursor);
    cr_assert_not(cursor_ok(&cursor));
    free(nested);
}

Test(cursor, gives_up_at_once_on_claims_larger_than_the_bytes)
{
    static const char *const claims[] = {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
                                         "\xc6\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff",
                                         "\xc9\xff\xff\xff\xff"};
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        struct cursor cursor = over(claims[i], 5);
        cursor_skip(&cursor);
        cr_assert_not(cursor_ok(&cursor), "claim %zu", i);
    }
    /* Each header alone would fit; together they ask for more than is there. */
    struct cursor cursor = OVER("\x93\x93\x93\x01\x02\x03\x04");
    cursor_skip(&cursor);
    cr_assert_not(cursor_ok(&cursor));
}

Test(cursor, gives_the_raw_bytes_of_a_value)
{
    static const char data[] = "\x01\x92\xa1x\x81\x02\x03\xc0";
    struct cursor cursor = OVER(data);
    cursor_skip(&cursor);
    struct slice raw = cursor_raw(&cursor);
    cr_assert_eq((const char *)raw.data, data + 1);
    cr_assert_eq(raw.bytes, 6);
    cr_assert(cursor_nil(&cursor));
    raw = cursor_raw(&cursor);
    cr_assert_null(raw.data);
    cr_assert_eq(raw.bytes, 0);
    cr_assert_not(cursor_ok(&cursor));
}

/* --- The sticky error ------------------------------------------------------------------------- */

Test(cursor, answers_nothing_after_the_first_bad_read)
{
    struct cursor cursor = OVER("\xc3\x05\xa1x\x91\x01\xc0\xc3");
    cr_assert_eq(cursor_uint(&cursor), 0);
    char text[8] = "zzz";
    cr_assert_eq(cursor_uint(&cursor), 0);
    cr_assert_eq(cursor_int(&cursor), 0);
    cr_assert_not(cursor_bool(&cursor));
    cr_assert_not(cursor_nil(&cursor));
    cr_assert_not(cursor_is_bin(&cursor));
    cr_assert_eq(cursor_array(&cursor), 0);
    cr_assert_eq(cursor_map(&cursor), 0);
    cr_assert_null(cursor_bin(&cursor).data);
    cr_assert_null(cursor_raw(&cursor).data);
    cursor_skip(&cursor);
    cursor_text(&cursor, text, sizeof text);
    cr_assert_str_eq(text, "");
    cr_assert_not(cursor_ok(&cursor));
    cr_assert_not(cursor_done(&cursor));
}

Test(cursor, can_be_failed_by_its_user)
{
    struct cursor cursor = OVER("\x01\x02");
    cr_assert_eq(cursor_uint(&cursor), 1);
    cursor_fail(&cursor);
    cr_assert_eq(cursor_uint(&cursor), 0);
    cr_assert_not(cursor_done(&cursor));
}

Test(cursor, is_done_only_at_the_end)
{
    struct cursor cursor = OVER("\x01\x02");
    cursor_skip(&cursor);
    cr_assert(cursor_ok(&cursor));
    cr_assert_not(cursor_done(&cursor));
    cursor_skip(&cursor);
    cr_assert(cursor_done(&cursor));
}

Test(cursor, takes_no_bytes_at_all)
{
    struct cursor cursor = over(NULL, 0);
    cr_assert(cursor_done(&cursor));
    cr_assert_eq(cursor_uint(&cursor), 0);
    cr_assert_not(cursor_ok(&cursor));
}
