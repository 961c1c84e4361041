#include "tests/sim/map.h"

#include "base/fatal.h"

#include <stdlib.h>

static struct map_slot *map_slot(const struct map *map, uint64_t a, uint64_t b)
{
    uint64_t at = hash_mix(a, b);
    for (;; at++) {
        struct map_slot *slot = &map->slots[at & (map->capacity - 1)];
        if (!slot->used || (slot->a == a && slot->b == b))
            return slot;
    }
}

static void map_grow(struct map *map)
{
    struct map grown = {.capacity = map->capacity ? map->capacity * 2 : 256, .count = map->count};
    grown.slots = mem_zalloc(grown.capacity * sizeof *grown.slots);
    for (uint64_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].used)
            *map_slot(&grown, map->slots[i].a, map->slots[i].b) = map->slots[i];
    }
    free(map->slots);
    *map = grown;
}

uint64_t map_put_once(struct map *map, uint64_t a, uint64_t b, uint64_t value)
{
    if (map->count * 2 >= map->capacity)
        map_grow(map);
    struct map_slot *slot = map_slot(map, a, b);
    if (!slot->used) {
        *slot = (struct map_slot){.a = a, .b = b, .value = value, .used = true};
        map->count++;
    }
    return slot->value;
}

bool map_get(const struct map *map, uint64_t a, uint64_t b, uint64_t *ret_value)
{
    if (map->capacity == 0)
        return false;
    const struct map_slot *slot = map_slot(map, a, b);
    if (!slot->used)
        return false;
    *ret_value = slot->value;
    return true;
}

void map_deinit(struct map *map)
{
    free(map->slots);
    *map = (struct map){0};
}
