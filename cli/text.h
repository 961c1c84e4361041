/* cli/text.h - small conversions between bytes and what people and scripts read and write.
 * Pure functions; any thread. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* "500ms", "2s", "1m", "1h", "7d" as milliseconds. False if it is not a whole number with a unit,
 * or more than an uint32_t holds. */
bool text_duration_parse(const char *text, uint32_t *ret_ms);

/* The same and days, "7d", of any length. */
bool text_long_duration_parse(const char *text, uint64_t *ret_ms);

/* What is wrong with it as a time to live; NULL: nothing. */
const char *text_ttl_fault(uint64_t ms);

/* "512B", "64KiB", "16MiB", "1GiB", "2TiB" as bytes. False if it is none of them. */
bool text_size_parse(const char *text, uint64_t *ret_bytes);

/* A decimal number without sign, spaces or leading nonsense. False if it is none or above `max`. */
bool text_uint_parse(const char *text, uint64_t max, uint64_t *ret_value);

/* The length of the well-formed UTF-8 sequence (RFC 3629) at the start of the bytes; 0 if there is
 * none. NUL is a sequence of length 1. */
size_t text_utf8_length(const void *data, size_t bytes);

/* True if all of the bytes are well-formed UTF-8. */
bool text_is_utf8(const void *data, size_t bytes);

/* Base64 (RFC 4648, padded) of the bytes as a C string that the caller frees; NULL without memory.
 */
char *text_base64(const void *data, size_t bytes);

/* The bytes that padded base64 stands for, which the caller frees; NULL: it is none, or there is no
 * memory. */
char *text_base64_decode(const char *text, size_t length, size_t *ret_bytes);

/* Writes the bytes so that they stay on one line and can be told apart: printable UTF-8 as it is,
 * control characters, bytes that are not UTF-8 and the backslash itself as \xNN. */
void text_escape(FILE *out, const void *data, size_t bytes);

/* True if text_escape would leave all but backslashes as they are. */
bool text_is_printable(const void *data, size_t bytes);

/* Edits (insert, delete, replace, swap neighbours) that turn one word into the other. */
size_t text_distance(const char *a, const char *b);

/* The `count` words' nearest to `word`, or NULL if none is near enough to be what was meant. */
const char *text_nearest(const char *word, const char *const *words, size_t count);

#endif
