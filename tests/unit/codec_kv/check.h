/* What the tests of the key-value encoding share. */
#ifndef TESTS_CODEC_KV_CHECK_H
#define TESTS_CODEC_KV_CHECK_H

#include "codec/kv.h"

#include <string.h>

static inline struct slice text(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline bool same(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

/* The bytes of a string literal, zero bytes included, as (data, size). */
#define BYTES(literal) (literal), sizeof(literal) - 1

#endif
