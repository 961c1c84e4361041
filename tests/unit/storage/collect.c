/* The entries of a log as a scan meets them: which are known to be there and are not here, and what
 * takes the place of what. */
#include "storage/wal_collect.h"

#include <criterion/criterion.h>

enum { ABSENT_FROM = 12, ABSENT_TO = 14 };

static void add(struct wal_collect *collect, uint64_t term, uint64_t index)
{
    const struct wal_record record = {
        .kind = WAL_ENTRY, .entry_kind = RAFT_ENTRY_NOOP, .id = {.term = term, .index = index}};
    cr_assert(wal_collect_fits(collect, record.id), "%d:%d", (int)term, (int)index);
    wal_collect_add(collect, &record);
}

/* Behind 1:10: entry 11, then 12 to 14, of which only that they are there is known. */
static void begin_with_a_gap(struct wal_collect *collect)
{
    *collect = (struct wal_collect){0};
    wal_collect_begin(collect, (struct raft_id){.term = 1, .index = 10});
    add(collect, 1, 11);
    cr_assert_eq(wal_collect_absent(collect, (struct raft_id){.term = 2, .index = ABSENT_TO}),
                 ABSENT_FROM);
}

static void expect_gap(const struct wal_collect *collect, uint64_t last, const char *when)
{
    for (uint64_t index = 9; index <= last + 2; index++)
        cr_assert_eq(wal_collect_lacks(collect, index), index >= ABSENT_FROM && index <= ABSENT_TO,
                     "%s: %d", when, (int)index);
}

Test(collect, knows_what_is_absent_before_and_after_it_is_copied)
{
    struct wal_collect collect;
    begin_with_a_gap(&collect);
    expect_gap(&collect, 14, "pending");
    wal_collect_flush(&collect);
    expect_gap(&collect, 14, "copied");
    add(&collect, 2, 15);
    expect_gap(&collect, 15, "one is pending behind it");
    wal_collect_flush(&collect);
    expect_gap(&collect, 15, "copied in two pieces");
    add(&collect, 3, 13); /* in the place of two that are absent */
    cr_assert(wal_collect_lacks(&collect, 12));
    cr_assert_not(wal_collect_lacks(&collect, 13));
    cr_assert_not(wal_collect_lacks(&collect, 14));
    wal_collect_deinit(&collect);
}

Test(collect, that_the_log_held_nothing_takes_nothing_away)
{
    struct wal_collect collect;
    begin_with_a_gap(&collect);
    cr_assert_eq(wal_collect_absent(&collect, (struct raft_id){0}), UINT64_MAX);
    cr_assert_eq(collect.last.index, 14);
    expect_gap(&collect, 14, "as before");
    wal_collect_deinit(&collect);
}

/* Terms never go back: what is of a later term than an absent entry behind it was replaced by what
 * is lost with that one. What the log begins behind stays, whatever its term is. */
Test(collect, an_absent_entry_takes_the_place_of_those_of_later_terms_before_it)
{
    struct wal_collect collect = {0};
    struct raft_runs entries = {0};
    wal_collect_begin(&collect, (struct raft_id){.term = 5, .index = 10});
    add(&collect, 5, 11);
    add(&collect, 6, 12);
    cr_assert_eq(wal_collect_absent(&collect, (struct raft_id){.term = 5, .index = 14}), 12);
    cr_assert_not(wal_collect_lacks(&collect, 11));
    cr_assert(wal_collect_lacks(&collect, 12) && wal_collect_lacks(&collect, 14));
    cr_assert_eq(wal_collect_below(&collect, 13).term, 5, "between two of one term is no other");
    cr_assert_eq(wal_collect_absent(&collect, (struct raft_id){.term = 3, .index = 15}), 11);
    cr_assert_eq(collect.base.term, 5);
    cr_assert_eq(wal_collect_below(&collect, 15).term, WAL_TERM_UNKNOWN);
    wal_collect_flush(&collect);
    wal_collect_finish(&collect, &entries);
    cr_assert_eq(entries.entry_count, 5);
    cr_assert_eq(raft_runs_first(&entries).index, 11);
    raft_runs_clear(&entries);
    wal_collect_deinit(&collect);
}

Test(collect, a_log_that_begins_anew_has_nothing_of_what_was_before)
{
    struct wal_collect collect;
    struct raft_runs entries = {0};
    begin_with_a_gap(&collect);
    wal_collect_flush(&collect);
    add(&collect, 2, 15); /* in another piece, and not copied */
    wal_collect_restart(&collect, (struct raft_id){.term = 3, .index = 12});
    cr_assert_eq(collect.last.index, 12);
    cr_assert_not(wal_collect_fits(&collect, (struct raft_id){.term = 3, .index = 14}));
    add(&collect, 3, 13);
    cr_assert_not(wal_collect_lacks(&collect, 13));
    wal_collect_flush(&collect);
    wal_collect_finish(&collect, &entries);
    cr_assert_eq(entries.entry_count, 1);
    cr_assert_eq(raft_runs_first(&entries).term, 3);
    raft_runs_clear(&entries);
    wal_collect_deinit(&collect);
}
