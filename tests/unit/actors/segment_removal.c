/* Which superfluous segments are removed when. */
#include "actors/segment_removal.h"

#include <criterion/criterion.h>

enum { REST_US = SEGMENT_REMOVAL_MS * 1000, NOW_US = 10 * REST_US };

static struct segment_removal removal;

static void add(uint64_t first, uint64_t end)
{
    struct wal_range at_once = segment_removal_add(&removal, (struct wal_range){first, end});
    cr_assert(at_once.first >= at_once.end);
}

static void is_range(struct wal_range range, uint64_t first, uint64_t end)
{
    cr_assert(range.first == first && range.end == end, "[%lu, %lu)", range.first, range.end);
}

static void setup(void)
{
    removal = (struct segment_removal){0};
}

TestSuite(segment_removal, .init = setup);

Test(segment_removal, goes_one_by_one_and_rests_between)
{
    add(3, 5);
    cr_assert(segment_removal_waits(&removal));
    is_range(segment_removal_next(&removal, NOW_US), 3, 4);
    is_range(segment_removal_next(&removal, NOW_US + REST_US - 1), 0, 0);
    is_range(segment_removal_next(&removal, NOW_US + REST_US), 4, 5);
    cr_assert_not(segment_removal_waits(&removal));
    is_range(segment_removal_next(&removal, NOW_US + 2 * REST_US), 0, 0);
}

Test(segment_removal, rests_behind_the_last_one_of_before)
{
    add(3, 4);
    is_range(segment_removal_next(&removal, NOW_US), 3, 4);
    add(4, 5);
    is_range(segment_removal_next(&removal, NOW_US + REST_US - 1), 0, 0);
    is_range(segment_removal_next(&removal, NOW_US + REST_US), 4, 5);
}

Test(segment_removal, what_follows_is_added)
{
    add(3, 5);
    add(5, 8);
    is_range(segment_removal_next(&removal, NOW_US), 3, 4);
    is_range(segment_removal_all(&removal), 4, 8);
    cr_assert_not(segment_removal_waits(&removal));
    is_range(segment_removal_all(&removal), 0, 0);
}

Test(segment_removal, what_does_not_follow_has_the_older_ones_go_at_once)
{
    add(3, 5);
    is_range(segment_removal_add(&removal, (struct wal_range){9, 12}), 3, 5);
    is_range(segment_removal_next(&removal, NOW_US), 9, 10);
    is_range(segment_removal_all(&removal), 10, 12);
}
