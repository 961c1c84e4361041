#include "check.h"

#include <criterion/criterion.h>

static bool ends(const char *prefix, size_t bytes, const char *end, size_t end_bytes)
{
    uint8_t ret[8];
    size_t ret_bytes = kv_prefix_end((struct slice){(const uint8_t *)prefix, bytes}, ret);
    return ret_bytes == end_bytes && memcmp(ret, end, end_bytes) == 0;
}

Test(prefix, end_is_the_last_byte_raised)
{
    cr_assert(ends(BYTES("a"), BYTES("b")));
    cr_assert(ends(BYTES("a/"), BYTES("a0")));
    cr_assert(ends(BYTES("a\0"), BYTES("a\x01")));
    cr_assert(ends(BYTES("\0"), BYTES("\x01")));
    cr_assert(ends(BYTES("\xfe"), BYTES("\xff")));
}

Test(prefix, end_leaves_out_bytes_that_cannot_be_raised)
{
    cr_assert(ends(BYTES("a\xff"), BYTES("b")));
    cr_assert(ends(BYTES("a\xff\xff\xff"), BYTES("b")));
    cr_assert(ends(BYTES("\xff\x01\xff"), BYTES("\xff\x02")));
    cr_assert(ends(BYTES("\xff\xfe\xff"), BYTES("\xff\xff")));
}

Test(prefix, without_end)
{
    cr_assert(ends(BYTES(""), BYTES("")));
    cr_assert(ends(NULL, 0, BYTES("")));
    cr_assert(ends(BYTES("\xff"), BYTES("")));
    cr_assert(ends(BYTES("\xff\xff"), BYTES("")));
}

/* Against the definition, for every prefix of up to two bytes out of a few and every such key. */
Test(prefix, range_holds_exactly_the_keys_that_begin_with_it)
{
    static const uint8_t letters[] = {0, 1, 0x7f, 0xfe, 0xff};
    uint8_t all[1 + 5 + 25 + 125][3];
    size_t sizes[1 + 5 + 25 + 125], count = 0;
    for (size_t i = 0; i < 216; i++) { /* digits to base 6; 0 ends a key */
        size_t digits[] = {i / 36, i / 6 % 6, i % 6};
        size_t bytes = 0;
        while (bytes < 3 && digits[bytes]) {
            all[count][bytes] = letters[digits[bytes] - 1];
            bytes++;
        }
        bool rest_is_empty = true;
        for (size_t j = bytes; j < 3; j++)
            rest_is_empty = rest_is_empty && digits[j] == 0;
        if (rest_is_empty)
            sizes[count++] = bytes;
    }
    cr_assert_eq(count, 156);
    for (size_t p = 0; p < count; p++) {
        uint8_t end[3];
        size_t end_bytes = kv_prefix_end((struct slice){all[p], sizes[p]}, end);
        for (size_t k = 0; k < count; k++) {
            bool begins = sizes[k] >= sizes[p] && memcmp(all[k], all[p], sizes[p]) == 0;
            size_t low = sizes[k] < sizes[p] ? sizes[k] : sizes[p];
            int order = memcmp(all[k], all[p], low);
            bool from = order > 0 || (order == 0 && sizes[k] >= sizes[p]);
            low = sizes[k] < end_bytes ? sizes[k] : end_bytes;
            order = memcmp(all[k], end, low);
            bool to = end_bytes == 0 || order < 0 || (order == 0 && sizes[k] < end_bytes);
            cr_assert_eq(begins, from && to, "prefix %zu, key %zu", p, k);
        }
    }
}
