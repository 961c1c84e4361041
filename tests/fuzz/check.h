/* tests/fuzz/check.h - what must hold for the decoders whatever bytes they get. */
#ifndef TESTS_FUZZ_CHECK_H
#define TESTS_FUZZ_CHECK_H

#include "samples.h"

/* Decodes the bytes as what `kind` says and checks, with abort() on the first thing that is wrong:
 *   - refused bytes leave no reference and an untouched result;
 *   - what is accepted lies within the bytes, keeps the schema, and is the same again after it was
 *     encoded and decoded once more.
 * Answers whether the bytes were accepted. The bytes are copied to an allocation of their own size,
 * so that a sanitizer sees every read beyond them. */
bool check_bytes(enum sample_kind kind, const uint8_t *data, size_t bytes);

/* The same for what belongs to subscriptions (check_stream.c); called by it. */
bool check_subscribe(const uint8_t *data, size_t bytes);
bool check_credit(const uint8_t *data, size_t bytes);
bool check_frame(const uint8_t *data, size_t bytes);

/* Whether the bytes of the slice, if it has any, are among those. */
bool check_within(struct slice slice, const void *data, size_t bytes);

#endif
