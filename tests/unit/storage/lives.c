#include "lives.h"

enum { STAGED_MAX = 200 };

void life_draw(struct prng *prng, struct step steps[LIFE_STEPS_MAX])
{
    uint64_t term = 2, last = 1;
    size_t count = 0;
    for (; count + 5 < LIFE_STEPS_MAX; count++) {
        uint64_t index = last + 1;
        if (prng_below(prng, 3) == 0)
            term++;
        if (prng_below(prng, 4) == 0 && last > 4) { /* another leader has others */
            term++;
            index -= prng_between(prng, 1, 3);
        }
        uint64_t entries = prng_between(prng, 1, 4);
        steps[count] = (struct step){STEP_APPEND, term, index, entries};
        last = index + entries - 1;
        if (prng_below(prng, 3) > 0)
            steps[++count] = (struct step){STEP_SYNC, 0, 0, 0};
    }
    steps[count++] = (struct step){STEP_SYNC, 0, 0, 0};
    steps[count++] = (struct step){STEP_ATTEST, 0, 0, 0};
    steps[count] = (struct step){STEP_END, 0, 0, 0};
}

/* All entries that any leader made: what stands before an entry is the same in every log that has
 * it (paper, 5.3). */
struct tree {
    struct raft_id ids[LIFE_ENTRIES_MAX];
    size_t before[LIFE_ENTRIES_MAX];
    size_t count;
};

/* The entry of the log up to `tip` that has this index. */
static size_t tree_at(const struct tree *tree, size_t tip, uint64_t index)
{
    while (tree->ids[tip].index > index)
        tip = tree->before[tip];
    return tip;
}

/* What a follower with the log up to `from` takes of a leader with the log up to `to`: steps for
 * each term in it. Returns how many entries. */
static uint64_t follow(const struct tree *tree, size_t from, size_t to, struct step *steps,
                       size_t *count)
{
    const uint64_t last = tree->ids[to].index, all = tree->ids[from].index;
    uint64_t index = 1, taken = 0;
    while (index < last && index < all &&
           tree_at(tree, from, index + 1) == tree_at(tree, to, index + 1))
        index++;
    while (++index <= last) {
        const struct raft_id id = tree->ids[tree_at(tree, to, index)];
        if (taken > 0 && steps[*count - 1].term == id.term)
            steps[*count - 1].count++;
        else
            steps[(*count)++] = (struct step){STEP_APPEND, id.term, id.index, 1};
        taken++;
    }
    return taken;
}

/* Makes some more entries under a leader that has whatever log. */
static void lead(struct tree *tree, struct prng *prng, uint64_t *term, size_t *leader)
{
    const size_t back = (size_t)prng_below(prng, 8);
    if (*term == 1 || prng_below(prng, 3) == 0) {
        (*term)++;
        *leader = back < tree->count ? tree->count - 1 - back : 0;
    }
    for (uint64_t made = prng_between(prng, 1, 3); made > 0; made--) {
        tree->ids[tree->count] =
            (struct raft_id){.term = *term, .index = tree->ids[*leader].index + 1};
        tree->before[tree->count] = *leader;
        *leader = tree->count++;
    }
}

static void end(struct step *steps, size_t count)
{
    steps[count++] = (struct step){STEP_SYNC, 0, 0, 0};
    steps[count++] = (struct step){STEP_ATTEST, 0, 0, 0};
    steps[count] = (struct step){STEP_END, 0, 0, 0};
}

void life_draw_under_many(struct prng *prng, struct step steps[LIFE_MANY_STEPS_MAX])
{
    struct tree tree = {.ids = {{.term = 1, .index = 1}}, .count = 1};
    uint64_t term = 1, staged = 0;
    size_t count = 0, here = 0, leader = 0;
    while (count < 60 && staged < STAGED_MAX && tree.count + 4 < LIFE_ENTRIES_MAX) {
        lead(&tree, prng, &term, &leader);
        if (prng_below(prng, 3) == 0) /* it hears nothing of that */
            continue;
        staged += follow(&tree, here, leader, steps, &count);
        here = leader;
        if (prng_below(prng, 3) > 0)
            steps[count++] = (struct step){STEP_SYNC, 0, 0, 0};
    }
    end(steps, count);
}

void life_draw_followers(struct prng *prng, struct step (*steps)[LIFE_MANY_STEPS_MAX], size_t count)
{
    struct tree tree = {.ids = {{.term = 1, .index = 1}}, .count = 1};
    struct {
        size_t count, here;
        uint64_t staged;
    } sides[LIFE_FOLLOWERS_MAX] = {0};
    uint64_t term = 1, rounds = prng_between(prng, 5, 25);
    size_t leader = 0;
    for (bool last = false; !last; rounds--) {
        lead(&tree, prng, &term, &leader);
        last = rounds == 0 || tree.count + 4 >= LIFE_ENTRIES_MAX;
        for (size_t i = 0; i < count; i++) {
            bool full = sides[i].count >= 60 || sides[i].staged >= STAGED_MAX;
            if (!last && (full || prng_below(prng, 3) == 0))
                continue;
            sides[i].staged += follow(&tree, sides[i].here, leader, steps[i], &sides[i].count);
            sides[i].here = leader;
            if (prng_below(prng, 3) > 0)
                steps[i][sides[i].count++] = (struct step){STEP_SYNC, 0, 0, 0};
        }
    }
    for (size_t i = 0; i < count; i++)
        end(steps[i], sides[i].count);
}
