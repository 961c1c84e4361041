/* The sums of a log by index, beside a plain list of them: whatever is put, learned and let go of.
 */
#include "storage/wal_links.h"

#include "base/prng.h"

#include <criterion/criterion.h>

#include <string.h>

enum { INDEXES = 3000 };

static uint64_t known[INDEXES]; /* by index; 0: it is not known */
static uint64_t first, last;    /* of those that the links cover */
static bool any;

static void account_put(uint64_t index, uint64_t link)
{
    if (!any || index < first)
        first = index;
    for (uint64_t i = !any || index <= last ? first : last + 1; i < INDEXES; i++)
        if (i >= index || !any || i > last)
            known[i] = 0;
    known[index] = link;
    last = index;
    any = true;
}

static void account_drop(uint64_t index)
{
    if (!any || index <= first)
        return;
    first = index < last ? index : last; /* the last one stays */
    for (uint64_t i = 0; i < first; i++)
        known[i] = 0;
}

static void check(const struct wal_links *links)
{
    for (uint64_t index = 0; index < INDEXES; index++)
        cr_assert_eq(wal_links_find(links, index), any && index >= first ? known[index] : 0);
    cr_assert_leq(links->dropped + links->count, links->block_count * WAL_LINKS_BLOCK);
    cr_assert_lt(links->dropped, WAL_LINKS_BLOCK, "what is let go of takes no memory");
    cr_assert_leq(links->block_count, INDEXES / WAL_LINKS_BLOCK + 2);
}

static void run(uint64_t seed)
{
    struct wal_links links = {0};
    struct prng prng;
    prng_init(&prng, seed);
    memset(known, 0, sizeof known);
    first = last = 0;
    any = false;
    for (int step = 0; step < 400; step++) {
        uint64_t link = prng_next(&prng) | 1, what = prng_below(&prng, 100);
        uint64_t next = any && last + 1 < INDEXES ? last + 1 : prng_below(&prng, 100);
        if (what < 50) {
            for (uint64_t i = 0; i < 1 + seed % 7 * 4 && next + i < INDEXES; i++) {
                wal_links_put(&links, next + i, link + i);
                account_put(next + i, link + i);
            }
        } else if (what < 60) { /* what was there is replaced, or a part is left out */
            next = next < 20 ? next : next - 20 + prng_below(&prng, 40);
            next = next < INDEXES ? next : INDEXES - 1;
            wal_links_put(&links, next, link);
            account_put(next, link);
        } else if (what < 80) {
            next = prng_below(&prng, INDEXES);
            wal_links_learn(&links, next, link);
            if (any && next >= first && next <= last)
                known[next] = link;
        } else if (what < 97) {
            next = last > 30 ? last + 5 - prng_below(&prng, 35) : prng_below(&prng, 40);
            wal_links_drop_front(&links, next);
            account_drop(next);
        } else if (what < 98) {
            next = prng_below(&prng, INDEXES / 2);
            wal_links_begin(&links, next, link);
            any = false;
            account_put(next, link);
        }
        if (step % 10 == 0)
            check(&links);
    }
    check(&links);
    wal_links_deinit(&links);
}

Test(links_account, links_are_those_of_a_plain_list)
{
    for (uint64_t seed = 1; seed <= 40; seed++)
        run(seed);
}
