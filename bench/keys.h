/* bench/keys.h - which keys a workload touches, and values that anyone can check. Pure.
 *
 * What operation number i does is a function of i and the seed alone, so that it does not depend on
 * how many threads share the work. */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <stddef.h>
#include <stdint.h>

enum keys_distribution {
    KEYS_SEQUENTIAL, /* operation i takes key i modulo the number of keys */
    KEYS_UNIFORM,
    KEYS_ZIPF /* a few keys get most of the operations */
};

struct keys {
    const char *prefix;
    uint64_t count; /* of keys; UINT64_MAX: as many as operations (sequential only) */
    enum keys_distribution distribution;
    uint64_t seed;
    double zeta, eta, alpha; /* of Zipf's law, by keys_init */
};

/* Prepares the distribution; takes time in proportion to the number of keys with KEYS_ZIPF. */
void keys_init(struct keys *keys, const char *prefix, uint64_t count,
               enum keys_distribution distribution, uint64_t seed);

/* The number of the key that operation `number` touches. */
uint64_t keys_pick(const struct keys *keys, uint64_t number);

/* A number from 0 up to 1 that is the operation's own, not the one that its key came from. */
double keys_chance(const struct keys *keys, uint64_t number);

/* The key of this number, a C string: the prefix and at least eight digits. `size` is at least
 * CONCLAVE_KEY_BYTES_MAX + 1. Returns its length. */
size_t keys_format(const char *prefix, uint64_t key_number, char *key, size_t size);

/* The value of a key: the key and a colon, repeated, cut to `value_bytes`. */
void keys_value(const char *key, size_t key_bytes, uint8_t *value, size_t value_bytes);

#endif
