/* Which names begin with what somebody wants: compared with looking at all of it. */
#include "actors/prefix_set.h"

#include "base/prng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct slice of(const char *name)
{
    return (struct slice){(const uint8_t *)name, strlen(name)};
}

Test(prefix_set, covers_what_begins_with_one_of_them)
{
    struct prefix_set *set = prefix_set_create();
    cr_assert(prefix_set_is_empty(set));
    cr_assert_not(prefix_set_covers(set, of("")));
    prefix_set_add(set, of("jobs"));
    cr_assert(prefix_set_covers(set, of("jobs")));
    cr_assert(prefix_set_covers(set, of("jobs/a")));
    cr_assert_not(prefix_set_covers(set, of("job")));
    cr_assert_not(prefix_set_covers(set, of("xjobs")));
    prefix_set_remove(set, of("job"));
    cr_assert(prefix_set_covers(set, of("jobs")));
    prefix_set_remove(set, of("jobs"));
    cr_assert(prefix_set_is_empty(set));
    cr_assert_not(prefix_set_covers(set, of("jobs")));
    prefix_set_add(set, of(""));
    cr_assert(prefix_set_covers(set, of("")));
    cr_assert(prefix_set_covers(set, of("anything")));
    prefix_set_destroy(set);
}

Test(prefix_set, tells_a_terminated_name_from_longer_ones)
{
    struct prefix_set *set = prefix_set_create();
    prefix_set_add(set, (struct slice){(const uint8_t *)"t\0", 2});
    cr_assert(prefix_set_covers(set, (struct slice){(const uint8_t *)"t\0", 2}));
    cr_assert_not(prefix_set_covers(set, (struct slice){(const uint8_t *)"t2\0", 3}));
    prefix_set_destroy(set);
}

Test(prefix_set, does_not_look_at_what_is_too_long)
{
    static const uint8_t bytes[PREFIX_BYTES_MAX + 1];
    struct prefix_set *set = prefix_set_create();
    prefix_set_add(set, (struct slice){bytes, PREFIX_BYTES_MAX + 1});
    cr_assert(prefix_set_is_empty(set));
    prefix_set_add(set, (struct slice){bytes, PREFIX_BYTES_MAX});
    cr_assert(prefix_set_covers(set, (struct slice){bytes, PREFIX_BYTES_MAX}));
    cr_assert_not(prefix_set_covers(set, (struct slice){bytes, PREFIX_BYTES_MAX - 1}));
    prefix_set_remove(set, (struct slice){bytes, PREFIX_BYTES_MAX + 1});
    cr_assert_not(prefix_set_is_empty(set));
    prefix_set_destroy(set);
}

Test(prefix_set, wants_everything_while_there_are_more_than_it_holds)
{
    struct prefix_set *set = prefix_set_create();
    for (uint32_t i = 0; i < PREFIXES_MAX; i++)
        prefix_set_add(set, (struct slice){(const uint8_t *)&i, sizeof i});
    cr_assert_not(prefix_set_covers(set, of("other")));
    prefix_set_add(set, of("one more"));
    cr_assert(prefix_set_covers(set, of("other")));
    prefix_set_remove(set, of("one more"));
    cr_assert_not(prefix_set_covers(set, of("other")));
    for (uint32_t i = 0; i < PREFIXES_MAX; i++)
        prefix_set_remove(set, (struct slice){(const uint8_t *)&i, sizeof i});
    cr_assert(prefix_set_is_empty(set));
    prefix_set_destroy(set);
}

Test(prefix_set, agrees_with_a_list_at_random)
{
    enum { WORDS = 81, ROUNDS = 20000 };
    char words[WORDS][8];
    bool there[WORDS] = {false};
    struct prefix_set *set = prefix_set_create();
    struct prng prng;
    prng_init(&prng, 3);
    for (uint32_t i = 0; i < WORDS; i++) /* of 0 to 4 letters out of two */
        snprintf(words[i], sizeof words[i], "%.*s%s", (int)(i % 3), "aab", i % 2 ? "ab" : "b");
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t i = (uint32_t)prng_below(&prng, WORDS);
        bool expected = false;
        for (uint32_t k = 0; k < WORDS; k++)
            expected |= there[k] && strncmp(words[i], words[k], strlen(words[k])) == 0;
        cr_assert_eq(prefix_set_covers(set, of(words[i])), expected, "%s", words[i]);
        bool add = prng_below(&prng, 3) == 0;
        for (uint32_t k = 0; k < WORDS; k++)
            if (strcmp(words[k], words[i]) == 0)
                there[k] = add;
        if (add)
            prefix_set_add(set, of(words[i]));
        else
            prefix_set_remove(set, of(words[i]));
    }
    prefix_set_destroy(set);
}
