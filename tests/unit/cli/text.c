#include "cli/text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(text, reads_durations_with_their_units)
{
    uint32_t ms = 0;
    cr_assert(text_duration_parse("500ms", &ms));
    cr_expect_eq(ms, 500);
    cr_assert(text_duration_parse("2s", &ms));
    cr_expect_eq(ms, 2000);
    cr_assert(text_duration_parse("3m", &ms));
    cr_expect_eq(ms, 180000);
    cr_assert(text_duration_parse("1h", &ms));
    cr_expect_eq(ms, 3600000);
    cr_assert(text_duration_parse("4294967295ms", &ms));
    cr_expect_eq(ms, UINT32_MAX);
}

Test(text, refuses_what_is_no_duration)
{
    static const char *const bad[] = {"",     "5",     "s",   "-1s",  "1.5s",         "1 s",  "5x",
                                      "5sec", "1s2ms", " 1s", "0x1s", "4294967296ms", "1194h"};
    uint32_t ms = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_not(text_duration_parse(bad[i], &ms), "'%s' was taken", bad[i]);
    cr_expect_eq(ms, 7, "a refused text changed the output");
}

Test(text, reads_long_durations_and_sizes)
{
    uint64_t value = 0;
    cr_expect(text_long_duration_parse("365d", &value) && value == UINT64_C(31536000000));
    cr_expect(text_long_duration_parse("5ms", &value) && value == 5);
    cr_expect(text_size_parse("512B", &value) && value == 512);
    cr_expect(text_size_parse("3KiB", &value) && value == 3072);
    cr_expect(text_size_parse("1TiB", &value) && value == UINT64_C(1) << 40);
    cr_expect_not(text_size_parse("1GB", &value));
    cr_expect_not(text_size_parse("1", &value));
    cr_expect_not(text_size_parse("99999999TiB", &value));
    cr_expect_not(text_long_duration_parse("9999999999999999d", &value));
    cr_expect_eq(value, UINT64_C(1) << 40, "a refused text changed the output");
}

Test(text, reads_whole_numbers_up_to_the_limit)
{
    uint64_t value = 7;
    cr_expect(text_uint_parse("0", 9, &value) && value == 0);
    cr_expect(text_uint_parse("18446744073709551615", UINT64_MAX, &value) && value == UINT64_MAX);
    cr_expect_not(text_uint_parse("18446744073709551616", UINT64_MAX, &value));
    cr_expect_not(text_uint_parse("10", 9, &value));
    cr_expect_not(text_uint_parse("", 9, &value));
    cr_expect_not(text_uint_parse("+1", 9, &value));
    cr_expect_not(text_uint_parse("1a", 9, &value));
    cr_expect_eq(value, UINT64_MAX);
}

Test(text, knows_well_formed_utf8)
{
    cr_expect(text_is_utf8("", 0));
    cr_expect(text_is_utf8("plain\0text", 10));
    cr_expect(text_is_utf8("gr\xc3\xbc\xc3\x9f", 6));
    cr_expect(text_is_utf8("\xe2\x82\xac\xf0\x9f\x94\x92", 7));
    cr_expect_not(text_is_utf8("\x80", 1), "a lone continuation");
    cr_expect_not(text_is_utf8("\xc0\x80", 2), "an overlong NUL");
    cr_expect_not(text_is_utf8("\xe0\x80\xaf", 3), "an overlong slash");
    cr_expect_not(text_is_utf8("\xed\xa0\x80", 3), "a surrogate");
    cr_expect_not(text_is_utf8("\xf4\x90\x80\x80", 4), "beyond U+10FFFF");
    cr_expect_not(text_is_utf8("\xe2\x82", 2), "a cut sequence");
    cr_expect_not(text_is_utf8("\xff", 1));
}

Test(text, writes_base64_as_rfc_4648_does)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char *text = text_base64(pairs[i][0], strlen(pairs[i][0]));
        cr_expect_str_eq(text, pairs[i][1]);
        free(text);
    }
    char *text = text_base64("\xfb\xff\xfe", 3);
    cr_expect_str_eq(text, "+//+");
    free(text);
}

static char *escaped(const void *data, size_t bytes)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    text_escape(out, data, bytes);
    fclose(out);
    return text;
}

Test(text, escapes_what_would_break_a_line_and_nothing_else)
{
    char *text = escaped("a b\n\t\\gr\xc3\xbc\xff\0\xc2\x85", 14);
    cr_expect_str_eq(text, "a b\\x0a\\x09\\x5cgr\xc3\xbc\\xff\\x00\\xc2\\x85");
    free(text);
}

Test(text, calls_printable_what_keeps_a_terminal_safe)
{
    cr_expect(text_is_printable("a \\ gr\xc3\xbc\xc3\x9f", 10));
    cr_expect(text_is_printable("", 0));
    cr_expect_not(text_is_printable("a\nb", 3));
    cr_expect_not(text_is_printable("\x1b[31m", 5));
    cr_expect_not(text_is_printable("\xc2\x9b", 2), "a control sequence introducer in UTF-8");
    cr_expect_not(text_is_printable("\x7f", 1));
    cr_expect_not(text_is_printable("\xff", 1));
}

Test(text, counts_a_swap_of_neighbours_as_one_edit)
{
    cr_expect_eq(text_distance("", ""), 0);
    cr_expect_eq(text_distance("put", "put"), 0);
    cr_expect_eq(text_distance("put", "ptu"), 1);
    cr_expect_eq(text_distance("put", "pt"), 1);
    cr_expect_eq(text_distance("get", "put"), 2);
    cr_expect_eq(text_distance("", "abc"), 3);
}

Test(text, finds_the_nearest_word_or_none)
{
    static const char *const all[] = {"put", "get", "status", "serve"};
    cr_expect_str_eq(text_nearest("stauts", all, 4), "status");
    cr_expect_str_eq(text_nearest("sevre", all, 4), "serve");
    cr_expect_null(text_nearest("xylophone", all, 4));
}

Test(text, base64_is_read_back_and_nothing_else_is)
{
    static const char *const bad[] = {"A",    "AA",   "AAA",  "A===", "=AAA",  "AA=A",
                                      "AB==", "AAB=", "AA A", "AA-_", "AAAA=", "===="};
    uint8_t data[40];
    for (size_t bytes = 0; bytes < sizeof data; bytes++) {
        size_t back_bytes = 99;
        data[bytes] = (uint8_t)(bytes * 37);
        char *text = text_base64(data, bytes);
        char *back = text_base64_decode(text, strlen(text), &back_bytes);
        cr_assert(back && back_bytes == bytes);
        cr_assert_eq(memcmp(back, data, bytes), 0);
        free(text);
        free(back);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t bytes;
        cr_assert_null(text_base64_decode(bad[i], strlen(bad[i]), &bytes), "%s", bad[i]);
    }
}
