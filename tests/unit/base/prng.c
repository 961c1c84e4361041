#include "base/prng.h"

#include <criterion/criterion.h>

/* The first outputs of the reference implementation for state {1, 2, 3, 4}. */
Test(prng, is_xoshiro256starstar)
{
    static const uint64_t expected[] = {
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
        16172922978634559625u,
        8476171486693032832,
    };
    struct prng prng = {.state = {1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        cr_assert_eq(prng_next(&prng), expected[i], "output %zu", i);
}

/* splitmix64 from 0 gives these four words; they are the state. */
Test(prng, is_seeded_by_splitmix64)
{
    struct prng prng;
    prng_init(&prng, 0);
    cr_assert_eq(prng.state[0], 0xe220a8397b1dcdafu);
    cr_assert_eq(prng.state[1], 0x6e789e6aa1b965f4u);
    cr_assert_eq(prng.state[2], 0x06c45d188009454fu);
    cr_assert_eq(prng.state[3], 0xf88bb8a8724c81ecu);
}

Test(prng, repeats_itself_for_one_seed_and_differs_for_another)
{
    struct prng a, b, c;
    prng_init(&a, 42);
    prng_init(&b, 42);
    prng_init(&c, 43);
    int differing = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t value = prng_next(&a);
        cr_assert_eq(value, prng_next(&b));
        differing += value != prng_next(&c);
    }
    cr_assert_gt(differing, 95);
}

Test(prng, stays_below_its_bound_and_reaches_every_value)
{
    struct prng prng;
    prng_init(&prng, 1);
    int seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t value = prng_below(&prng, 7);
        cr_assert_lt(value, 7);
        seen[value]++;
    }
    for (int i = 0; i < 7; i++)
        cr_assert(seen[i] > 800 && seen[i] < 1200, "value %d came %d times", i, seen[i]);
    cr_assert_eq(prng_below(&prng, 1), 0);
}

Test(prng, includes_both_ends_of_a_range)
{
    struct prng prng;
    prng_init(&prng, 2);
    int low = 0, high = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = prng_between(&prng, 5, 8);
        cr_assert(value >= 5 && value <= 8);
        low += value == 5;
        high += value == 8;
    }
    cr_assert(low > 0 && high > 0);
    cr_assert_eq(prng_between(&prng, UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

Test(prng, entropy_differs_from_call_to_call)
{
    cr_assert_neq(prng_entropy(), prng_entropy());
}
