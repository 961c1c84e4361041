/* tests/sim/map.h - a hash map from a pair of integers to an integer, for the checks.
 * Keys are never removed. One thread. */
#ifndef TESTS_SIM_MAP_H
#define TESTS_SIM_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct map_slot {
    uint64_t a, b, value;
    bool used;
};

/* All zero is empty. */
struct map {
    struct map_slot *slots;
    uint64_t count, capacity; /* capacity: a power of two */
};

/* The value under {a, b}, which is `value` from now on if there was none. */
uint64_t map_put_once(struct map *map, uint64_t a, uint64_t b, uint64_t value);

/* True and *ret_value if there is a value under {a, b}. */
bool map_get(const struct map *map, uint64_t a, uint64_t b, uint64_t *ret_value);

void map_deinit(struct map *map);

/* Mixes one more value into a hash. */
static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 29);
}

#endif
