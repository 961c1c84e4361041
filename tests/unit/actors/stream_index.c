/* Which subscriptions a name concerns, against looking at all of them. */
#include "actors/stream_index.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct interested {
    struct stream_index_entry entry;
    unsigned kind;
    struct feed_interest interest;
    uint8_t bytes[32];
    unsigned found;
    bool added;
};

static int compare(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static bool holds(const struct interested *one, unsigned kind, uint8_t space, struct slice name)
{
    return one->added && one->kind == kind && one->interest.space == space &&
           compare(one->interest.from, name) <= 0 &&
           (one->interest.no_end || compare(name, one->interest.to) < 0);
}

/* Few different bytes, so that names meet. */
static size_t random_name(struct prng *prng, uint8_t *room, size_t max)
{
    size_t bytes = prng_below(prng, max + 1);
    for (size_t i = 0; i < bytes; i++)
        room[i] = (uint8_t)("\0ab\xff"[prng_below(prng, 4)]);
    return bytes;
}

static void random_interest(struct prng *prng, struct interested *one)
{
    size_t from = random_name(prng, one->bytes, 5);
    uint8_t *to = one->bytes + 16;
    size_t to_bytes = random_name(prng, to, 5);
    uint64_t shape = prng_below(prng, 4);
    if (shape < 2 && from > 0) { /* a single name */
        memcpy(to, one->bytes, from);
        to[from] = 0;
        to_bytes = from + 1;
    }
    one->kind = 1 + (unsigned)prng_below(prng, 2);
    one->interest = (struct feed_interest){.space = (uint8_t)prng_below(prng, 2),
                                           .no_end = shape == 2,
                                           .from = {one->bytes, from},
                                           .to = {to, to_bytes}};
}

static void found(void *arg, struct stream_index_entry *entry)
{
    unsigned *count = arg;
    struct interested *one = (struct interested *)(void *)entry;
    one->found++;
    ++*count;
}

static void check_name(struct stream_index *index, struct interested *all, size_t count,
                       unsigned kind, uint8_t space, struct slice name)
{
    unsigned reported = 0, expected = 0;
    stream_index_find(index, kind, space, name, found, &reported);
    for (size_t i = 0; i < count; i++) {
        unsigned wanted = holds(&all[i], kind, space, name);
        cr_assert_eq(all[i].found, wanted, "entry %zu is reported %u times", i, all[i].found);
        all[i].found = 0;
        expected += wanted;
    }
    cr_assert_eq(reported, expected);
}

Test(stream_index, finds_what_looking_at_all_of_them_finds)
{
    enum { COUNT = 300, STEPS = 4000 };
    struct interested *all = calloc(COUNT, sizeof *all);
    struct stream_index *index = stream_index_create();
    struct prng prng;
    prng_init(&prng, 7);
    for (unsigned step = 0; step < STEPS; step++) {
        struct interested *one = &all[prng_below(&prng, COUNT)];
        if (one->added) {
            stream_index_remove(index, &one->entry);
        } else {
            random_interest(&prng, one);
            stream_index_add(index, one->kind, &one->interest, &one->entry);
        }
        one->added = !one->added;
        uint8_t room[8];
        struct slice name = {room, random_name(&prng, room, 6)};
        check_name(index, all, COUNT, 1 + (unsigned)prng_below(&prng, 2),
                   (uint8_t)prng_below(&prng, 2), name);
    }
    stream_index_destroy(index);
    free(all);
}

Test(stream_index, holds_ten_thousand_and_empties_again)
{
    enum { COUNT = 10000, NAMES = 200 };
    struct interested *all = calloc(COUNT, sizeof *all);
    struct stream_index *index = stream_index_create();
    struct prng prng;
    prng_init(&prng, 8);
    for (unsigned i = 0; i < COUNT; i++) {
        char *from = (char *)all[i].bytes, *to = from + 16;
        bool prefix = i % 2;
        size_t bytes = (size_t)snprintf(from, 16, prefix ? "p%u/" : "k%u", i % 5000);
        memcpy(to, from, bytes);
        if (prefix)
            to[bytes - 1]++;
        else
            to[bytes++] = 0;
        all[i].kind = 1;
        all[i].added = true;
        all[i].interest = (struct feed_interest){.from = {all[i].bytes, strlen(from)},
                                                 .to = {all[i].bytes + 16, bytes}};
        stream_index_add(index, 1, &all[i].interest, &all[i].entry);
    }
    for (unsigned i = 0; i < NAMES; i++) {
        char name[32];
        unsigned number = (unsigned)prng_below(&prng, 5000);
        size_t bytes = (size_t)snprintf(name, sizeof name, i % 2 ? "p%u/x" : "k%u", number);
        check_name(index, all, COUNT, 1, 0, (struct slice){(uint8_t *)name, bytes});
    }
    unsigned left = 0;
    for (unsigned i = 0; i < COUNT; i++)
        stream_index_remove(index, &all[i].entry);
    stream_index_find(index, 1, 0, (struct slice){(const uint8_t *)"k7", 2}, found, &left);
    cr_assert_eq(left, 0);
    stream_index_destroy(index);
    free(all);
}
