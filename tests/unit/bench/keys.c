#include "bench/keys.h"

#include "conclave.h"

#include <criterion/criterion.h>
#include <string.h>

enum { COUNT = 1000, PICKS = 200000 };

static uint32_t picked[COUNT];

static void pick_all(enum keys_distribution distribution)
{
    struct keys keys;
    keys_init(&keys, "k", COUNT, distribution, 7);
    memset(picked, 0, sizeof picked);
    for (uint64_t i = 0; i < PICKS; i++) {
        uint64_t key = keys_pick(&keys, i);
        cr_assert_lt(key, COUNT);
        picked[key]++;
    }
}

Test(keys, are_the_prefix_and_at_least_eight_digits)
{
    char key[CONCLAVE_KEY_BYTES_MAX + 1];
    cr_assert_eq(keys_format("bench/", 42, key, sizeof key), 14);
    cr_assert_str_eq(key, "bench/00000042");
    cr_assert_eq(keys_format("bench/", 1234567890, key, sizeof key), 16);
    cr_assert_str_eq(key, "bench/1234567890");
    cr_assert_eq(keys_format("b", 123456789, key, sizeof key), 10);
    cr_assert_str_eq(key, "b123456789");
    cr_assert_eq(keys_format("", UINT64_MAX, key, sizeof key), 20);
    cr_assert_str_eq(key, "18446744073709551615");
}

Test(keys, value_is_the_key_repeated_and_cut)
{
    uint8_t value[33];
    for (size_t bytes = 0; bytes <= 32; bytes++) {
        memset(value, '#', sizeof value);
        keys_value("bench/00000042", 14, value, bytes);
        cr_assert_arr_eq(value, "bench/00000042:bench/00000042:be", bytes);
        cr_assert_eq(value[bytes], '#', "not a byte more");
    }
}

Test(keys, value_repeats_keys_of_any_length)
{
    const char *key = "bench/01234567890123";
    uint8_t value[701];
    for (size_t key_bytes = 1; key_bytes <= strlen(key); key_bytes++)
        for (size_t bytes = 0; bytes < sizeof value; bytes += 1 + bytes / 9) {
            memset(value, '#', sizeof value);
            keys_value(key, key_bytes, value, bytes);
            for (size_t i = 0; i < bytes; i++) {
                size_t at = i % (key_bytes + 1);
                cr_assert_eq(value[i], at < key_bytes ? key[at] : ':', "%zu of %zu", i, bytes);
            }
            cr_assert_eq(value[bytes], '#');
        }
}

Test(keys, in_sequence_come_round_again)
{
    struct keys keys;
    keys_init(&keys, "k", 10, KEYS_SEQUENTIAL, 1);
    cr_assert_eq(keys_pick(&keys, 42), 2);
    keys_init(&keys, "k", UINT64_MAX, KEYS_SEQUENTIAL, 1);
    cr_assert_eq(keys_pick(&keys, 42), 42);
}

Test(keys, uniform_ones_are_picked_about_equally_often)
{
    pick_all(KEYS_UNIFORM);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_gt(picked[i], PICKS / COUNT / 2, "key %d: %u times", i, picked[i]);
        cr_assert_lt(picked[i], PICKS / COUNT * 2, "key %d: %u times", i, picked[i]);
    }
}

/* With a skew of 0.99 the first of 1000 keys has a share of 1 / 7.7. */
Test(keys, of_zipf_are_picked_by_their_rank)
{
    pick_all(KEYS_ZIPF);
    uint32_t first = 0, second = 0, used = 0;
    for (int i = 0; i < COUNT; i++) {
        used += picked[i] > 0;
        if (picked[i] > first) {
            second = first;
            first = picked[i];
        } else if (picked[i] > second) {
            second = picked[i];
        }
    }
    cr_assert_gt(first, PICKS / 9);
    cr_assert_lt(first, PICKS / 6);
    cr_assert_lt(second, first * 3 / 4);
    cr_assert_gt(used, COUNT / 2, "the rare ones come too");
}

Test(keys, of_zipf_can_be_one_or_two)
{
    struct keys keys;
    for (uint64_t count = 1; count <= 2; count++) {
        keys_init(&keys, "k", count, KEYS_ZIPF, 1);
        for (uint64_t i = 0; i < 1000; i++)
            cr_assert_lt(keys_pick(&keys, i), count);
    }
}

Test(keys, follow_from_the_seed_alone)
{
    struct keys a, b, c;
    uint64_t different = 0;
    keys_init(&a, "k", COUNT, KEYS_UNIFORM, 1);
    keys_init(&b, "k", COUNT, KEYS_UNIFORM, 1);
    keys_init(&c, "k", COUNT, KEYS_UNIFORM, 2);
    for (uint64_t i = 0; i < 1000; i++) {
        cr_assert_eq(keys_pick(&a, i), keys_pick(&b, i));
        different += keys_pick(&a, i) != keys_pick(&c, i);
    }
    cr_assert_gt(different, 900);
}

Test(keys, chance_has_the_share_that_is_asked_of_it)
{
    struct keys keys;
    int below = 0;
    keys_init(&keys, "k", COUNT, KEYS_UNIFORM, 3);
    for (uint64_t i = 0; i < 10000; i++) {
        double chance = keys_chance(&keys, i);
        cr_assert(chance >= 0 && chance < 1);
        below += chance < 0.3;
    }
    cr_assert(below > 2800 && below < 3200, "%d", below);
}
