/* Lives of a log drawn at random, as steps for the story of fixture.h. */
#ifndef TESTS_STORAGE_LIVES_H
#define TESTS_STORAGE_LIVES_H

#include "fixture.h"

#include "base/prng.h"

enum {
    LIFE_STEPS_MAX = 64,
    LIFE_ENTRIES_MAX = 120,
    LIFE_FOLLOWERS_MAX = 5,
    LIFE_MANY_STEPS_MAX = 2 * LIFE_ENTRIES_MAX + 60
};

/* A life with batches of all sizes, changes of the term everywhere, and entries that replace
 * others, also within a batch. */
void life_draw(struct prng *prng, struct step steps[LIFE_STEPS_MAX]);

/* A life under leaders that have whatever log: what replaces an entry is often of an earlier term,
 * since a leader's log may end with what it has of those before it. */
void life_draw_under_many(struct prng *prng, struct step steps[LIFE_MANY_STEPS_MAX]);

/* Lives of several followers of the same leaders, of whom each hears its own part; in the end all
 * have the log of the last one. */
void life_draw_followers(struct prng *prng, struct step (*steps)[LIFE_MANY_STEPS_MAX],
                         size_t count);

#endif
