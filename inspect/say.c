#include "inspect/say.h"

#include "base/fatal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void say_begin(struct say *say, char *text, size_t size, size_t value_bytes)
{
    ASSERT(size >= 4);
    text[0] = '\0';
    *say = (struct say){.text = text, .size = size, .value_bytes = value_bytes};
}

static void fill_up(struct say *say)
{
    if (!say->full)
        memcpy(say->text + say->size - 4, "...", 4);
    say->full = true;
}

void say(struct say *say, const char *format, ...)
{
    if (say->full)
        return;
    va_list list;
    va_start(list, format);
    const int bytes = vsnprintf(say->text + say->used, say->size - say->used, format, list);
    va_end(list);
    if (bytes < 0 || (size_t)bytes >= say->size - say->used)
        fill_up(say);
    else
        say->used += (size_t)bytes;
}

/* The bytes of the well-formed UTF-8 sequence (RFC 3629) at the front; 0: there is none. */
static size_t utf8_bytes(const uint8_t *at, size_t left)
{
    const size_t bytes = at[0] < 0x80   ? 1
                         : at[0] < 0xc2 ? 0
                         : at[0] < 0xe0 ? 2
                         : at[0] < 0xf0 ? 3
                         : at[0] < 0xf5 ? 4
                                        : 0;
    if (bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    const bool odd =
        bytes > 2 && ((at[0] == 0xe0 && at[1] < 0xa0) || /* too long for what it is */
                      (at[0] == 0xed && at[1] > 0x9f) || /* half of a pair */
                      (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f));
    return odd ? 0 : bytes;
}

/* U+0080 to U+009F are control characters, too. */
static bool is_plain(const uint8_t *at, size_t bytes)
{
    if (bytes == 1)
        return at[0] >= 0x20 && at[0] != 0x7f && at[0] != '"' && at[0] != '\\';
    return bytes > 0 && !(at[0] == 0xc2 && at[1] < 0xa0);
}

void say_bytes(struct say *text, struct slice bytes)
{
    const size_t shown = bytes.bytes <= text->value_bytes ? bytes.bytes : text->value_bytes;
    say(text, "\"");
    for (size_t at = 0; at < shown && !text->full;) {
        const size_t long_ = utf8_bytes(bytes.data + at, bytes.bytes - at);
        if (is_plain(bytes.data + at, long_))
            say(text, "%.*s", (int)long_, (const char *)bytes.data + at);
        else
            say(text, "\\x%02x", bytes.data[at]);
        at += is_plain(bytes.data + at, long_) ? long_ : 1;
    }
    if (shown < bytes.bytes)
        say(text, "...\" (%zu bytes)", bytes.bytes);
    else
        say(text, "\"");
}
