#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

bool text_uint_parse(const char *text, uint64_t max, uint64_t *ret_value)
{
    if (*text == '\0')
        return false;
    uint64_t value = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *ret_value = value;
    return true;
}

/* A whole number with one of the units, at most `max`. */
struct unit {
    const char *name;
    uint64_t factor;
};

static bool with_unit(const char *text, const struct unit *units, size_t count, uint64_t max,
                      uint64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    char number[24];
    uint64_t value;
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (!text_uint_parse(number, max, &value))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (value > max / units[i].factor)
            return false;
        *ret = value * units[i].factor;
        return true;
    }
    return false;
}

bool text_long_duration_parse(const char *text, uint64_t *ret_ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    return with_unit(text, units, sizeof units / sizeof units[0], INT64_MAX / 4, ret_ms);
}

const char *text_ttl_fault(uint64_t ms)
{
    const uint64_t ms_max = UINT64_C(10) * 366 * 86400000; /* docs/protocol.md, Leases */
    if (ms == 0)
        return "it needs some time";
    return ms > ms_max ? "it is longer than ten years" : NULL;
}

bool text_duration_parse(const char *text, uint32_t *ret_ms)
{
    uint64_t ms;
    if (!text_long_duration_parse(text, &ms) || ms > UINT32_MAX)
        return false;
    *ret_ms = (uint32_t)ms;
    return true;
}

bool text_size_parse(const char *text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", UINT64_C(1) << 40}};
    return with_unit(text, units, sizeof units / sizeof units[0], INT64_MAX, ret_bytes);
}

size_t text_utf8_length(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    if (bytes == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    size_t length = 0;
    uint32_t point = 0, least = 0;
    if ((at[0] & 0xe0) == 0xc0) {
        length = 2, point = at[0] & 0x1fu, least = 0x80;
    } else if ((at[0] & 0xf0) == 0xe0) {
        length = 3, point = at[0] & 0x0fu, least = 0x800;
    } else if ((at[0] & 0xf8) == 0xf0) {
        length = 4, point = at[0] & 0x07u, least = 0x10000;
    }
    if (length == 0 || length > bytes)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (at[i] & 0x3fu);
    }
    /* Overlong forms, surrogates and what lies beyond Unicode are not UTF-8. */
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return length;
}

bool text_is_utf8(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        size_t length = text_utf8_length(at, bytes);
        if (length == 0)
            return false;
        at += length;
        bytes -= length;
    }
    return true;
}

char *text_base64(const void *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = data;
    char *text = malloc((bytes + 2) / 3 * 4 + 1);
    if (!text)
        return NULL;
    char *out = text;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t group = (uint32_t)in[i] << 16;
        if (left > 1)
            group |= (uint32_t)in[i + 1] << 8;
        if (left > 2)
            group |= in[i + 2];
        *out++ = digits[group >> 18 & 63];
        *out++ = digits[group >> 12 & 63];
        *out++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[group & 63] : '=';
    }
    *out = '\0';
    return text;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

char *text_base64_decode(const char *text, size_t length, size_t *ret_bytes)
{
    size_t padding = 0, used = 0;
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
        padding++;
    char *data = length % 4 == 0 ? malloc(length / 4 * 3 + 1) : NULL;
    uint32_t group = 0;
    for (size_t i = 0; data && i < length; i++) {
        int digit = i < length - padding ? base64_digit(text[i]) : 0;
        if (digit < 0) {
            free(data);
            return NULL;
        }
        group = group << 6 | (uint32_t)digit;
        if (i % 4 != 3)
            continue;
        data[used++] = (char)(group >> 16 & 0xff);
        data[used++] = (char)(group >> 8 & 0xff);
        data[used++] = (char)(group & 0xff);
    }
    /* Bits that stand for nothing have to be 0: one text for the same bytes. */
    if (data && (group & ((1u << 8 * padding) - 1))) {
        free(data);
        return NULL;
    }
    *ret_bytes = used - padding;
    return data;
}

/* The length of the printable sequence at the start of the bytes; 0 if there is none. */
static size_t printable_length(const uint8_t *at, size_t bytes)
{
    size_t length = text_utf8_length(at, bytes);
    if (length == 1 && (at[0] < 0x20 || at[0] == 0x7f))
        return 0;
    if (length == 2 && at[0] == 0xc2 && at[1] < 0xa0) /* U+0080 to U+009F control terminals too */
        return 0;
    return length;
}

bool text_is_printable(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        size_t length = printable_length(at, bytes);
        if (length == 0)
            return false;
        at += length;
        bytes -= length;
    }
    return true;
}

void text_escape(FILE *out, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    while (bytes > 0) {
        size_t length = *at == '\\' ? 0 : printable_length(at, bytes);
        if (length == 0) {
            fprintf(out, "\\x%02x", (unsigned)*at);
            length = 1;
        } else {
            fwrite(at, 1, length, out);
        }
        at += length;
        bytes -= length;
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum { TEXT_WORD_MAX = 32 };

size_t text_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > TEXT_WORD_MAX || b_length > TEXT_WORD_MAX)
        return a_length > b_length ? a_length : b_length;
    size_t cost[TEXT_WORD_MAX + 1][TEXT_WORD_MAX + 1];
    for (size_t i = 0; i <= a_length; i++) {
        for (size_t j = 0; j <= b_length; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            size_t replaced = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = least(replaced, least(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[a_length][b_length];
}

const char *text_nearest(const char *word, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    /* More than every third letter wrong is another word. */
    size_t best = strlen(word) / 3 + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = text_distance(word, words[i]);
        if (distance < best || (distance == best && !nearest)) {
            best = distance;
            nearest = words[i];
        }
    }
    return nearest;
}
