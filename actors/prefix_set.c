#include "actors/prefix_set.h"

#include "base/fatal.h"
#include "base/prng.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64 };

struct prefix {
    struct prefix *next; /* of the bucket */
    uint64_t hash;
    size_t bytes;
    uint8_t data[];
};

struct prefix_set {
    uint64_t seed; /* so that nobody can choose names that share a bucket */
    struct prefix **buckets;
    uint32_t bucket_count, count;
    uint32_t uncounted;                       /* that found no room */
    uint32_t of_length[PREFIX_BYTES_MAX + 1]; /* how many there are */
};

/* FNV-1a: the hash of a name's beginning is what the hash of a longer one goes through. */
static uint64_t hash_begin(const struct prefix_set *set)
{
    return UINT64_C(0xcbf29ce484222325) ^ set->seed;
}

static uint64_t hash_add(uint64_t hash, uint8_t byte)
{
    return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static uint64_t hash_of(const struct prefix_set *set, struct slice bytes)
{
    uint64_t hash = hash_begin(set);
    for (size_t i = 0; i < bytes.bytes; i++)
        hash = hash_add(hash, bytes.data[i]);
    return hash;
}

struct prefix_set *prefix_set_create(void)
{
    struct prefix_set *set = mem_zalloc(sizeof *set);
    set->seed = prng_entropy();
    set->bucket_count = BUCKETS_MIN;
    set->buckets = mem_zalloc(BUCKETS_MIN * sizeof(struct prefix *));
    return set;
}

void prefix_set_destroy(struct prefix_set *set)
{
    if (!set)
        return;
    for (uint32_t i = 0; i < set->bucket_count; i++)
        for (struct prefix *prefix = set->buckets[i], *next; prefix; prefix = next) {
            next = prefix->next;
            free(prefix);
        }
    free(set->buckets);
    free(set);
}

static struct prefix **place(const struct prefix_set *set, uint64_t hash, struct slice bytes)
{
    struct prefix **at = &set->buckets[hash & (set->bucket_count - 1)];
    while (*at && ((*at)->hash != hash || (*at)->bytes != bytes.bytes ||
                   (bytes.bytes && memcmp((*at)->data, bytes.data, bytes.bytes) != 0)))
        at = &(*at)->next;
    return at;
}

static void grow(struct prefix_set *set)
{
    uint32_t count = set->bucket_count * 2;
    struct prefix **buckets = mem_zalloc(count * sizeof(struct prefix *));
    for (uint32_t i = 0; i < set->bucket_count; i++)
        for (struct prefix *prefix = set->buckets[i], *next; prefix; prefix = next) {
            struct prefix **bucket = &buckets[prefix->hash & (count - 1)];
            next = prefix->next;
            prefix->next = *bucket;
            *bucket = prefix;
        }
    free(set->buckets);
    set->buckets = buckets;
    set->bucket_count = count;
}

void prefix_set_add(struct prefix_set *set, struct slice bytes)
{
    if (bytes.bytes > PREFIX_BYTES_MAX)
        return;
    uint64_t hash = hash_of(set, bytes);
    if (*place(set, hash, bytes))
        return;
    if (set->count == PREFIXES_MAX) {
        set->uncounted++;
        return;
    }
    if (set->count == set->bucket_count)
        grow(set);
    struct prefix **at = place(set, hash, bytes);
    struct prefix *prefix = mem_alloc(sizeof *prefix + bytes.bytes);
    *prefix = (struct prefix){.hash = hash, .bytes = bytes.bytes};
    if (bytes.bytes)
        memcpy(prefix->data, bytes.data, bytes.bytes);
    *at = prefix;
    set->count++;
    set->of_length[bytes.bytes]++;
}

void prefix_set_remove(struct prefix_set *set, struct slice bytes)
{
    if (bytes.bytes > PREFIX_BYTES_MAX)
        return;
    struct prefix **at = place(set, hash_of(set, bytes), bytes);
    struct prefix *prefix = *at;
    if (prefix) {
        *at = prefix->next;
        free(prefix);
        set->count--;
        set->of_length[bytes.bytes]--;
    } else if (set->uncounted > 0) {
        set->uncounted--;
    }
}

bool prefix_set_is_empty(const struct prefix_set *set)
{
    return set->count == 0 && set->uncounted == 0;
}

bool prefix_set_covers(const struct prefix_set *set, struct slice name)
{
    uint64_t hash = hash_begin(set);
    if (set->uncounted > 0)
        return true;
    for (size_t bytes = 0; bytes <= name.bytes && bytes <= PREFIX_BYTES_MAX; bytes++) {
        if (bytes > 0)
            hash = hash_add(hash, name.data[bytes - 1]);
        if (set->of_length[bytes] > 0 && *place(set, hash, (struct slice){name.data, bytes}))
            return true;
    }
    return false;
}
