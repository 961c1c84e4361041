/* What others gave comes in the place of what is shown: whose link is whose then, and where all of
 * it is the log though it fits nowhere. */
#include "covering.h"

#include "storage/identity.h"
#include "storage/wal_repair_internal.h"

#include <criterion/criterion.h>

/* 3:4 is lost, and a snapshot holds it; 4:5 and 4:6 are lost, of which the first came in the place
 * of 3:5, which is shown. What leads on from 4:5 does not lead on from that. */
Test(gathered, what_an_entry_replaced_says_nothing_of_those_behind_it)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 4, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 5, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 5, 6, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    struct raft_runs rest = {0};
    struct wal_want want;
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 3, 4),
                  covering_place(&covering, 3, 4));
    covering_lose(&covering, disk, covering_place(&covering, 4, 5),
                  covering_place(&covering, 4, 6));
    covering_lose(&covering, disk, covering_place(&covering, 5, 6),
                  covering_place(&covering, 5, 7));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 4));
    raft_runs_append_all(&rest, &covering.log.entries);
    raft_runs_drop_front(&rest, 4); /* the peer has let go of what the snapshot holds */
    const struct wal_supplier log = {.log = &rest, .base = covering_id(&covering, 4)};
    for (int asks = 0; wal_repair_want(repair, &want); asks++) {
        struct raft_runs entries = {0};
        struct raft_id prev = {0};
        cr_assert_lt(asks, 20, "it never ends");
        cr_assert_eq(wal_supply_from(&log, &want, 1, &prev, &entries), WAL_SUPPLY_HERE);
        cr_assert_eq(wal_repair_take(repair, prev, &entries, &error), CONCLAVE_OK, "%s",
                     error.message);
        raft_runs_clear(&entries);
    }
    raft_runs_clear(&rest);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 4, "behind what was replaced");
}

/* 2:5 has no payload, so its hole is too small for a mend. It came in the place of 3:5, from a
 * leader of a later term that had it: it is found all the same, as what leads to the link that
 * stands behind it. */
Test(gathered, the_smallest_entry_may_have_replaced_one_of_a_later_term)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 5, 2},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 2, 5, 2}, {STEP_APPEND, 4, 7, 1},
        {STEP_SYNC, 0, 0, 0},   {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    struct wal_want want;
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    const size_t place = covering_place(&covering, 2, 5);
    cr_assert_eq(payload_of((struct raft_id){2, 5}).bytes, 0);
    covering_lose(&covering, disk, place, place);
    struct wal_repair *repair = covering_repair(disk);
    cr_assert_not(wal_repair_want(repair, &want));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(memory_disk_equal(disk, covering.disk) || !wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 1, "the smallest");
}

/* 3:4 and 3:5 came in the place of 4:4, and 3:6 and 3:7 in that of 5:6, under leaders that had them
 * from that of term 3: which came in which hole cannot be seen, and all four do not fit into one.
 * What there was no room for was given all the same. */
Test(gathered, what_there_was_no_room_for_is_the_logs_too)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 4, 4, 1},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 4, 2}, {STEP_APPEND, 5, 6, 1},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 6, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 7, 9, 1}, {STEP_SYNC, 0, 0, 0},   {STEP_ATTEST, 0, 0, 0},
        {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 3, 4),
                  covering_place(&covering, 3, 5));
    covering_lose(&covering, disk, covering_place(&covering, 3, 6),
                  covering_place(&covering, 3, 7));
    covering_lose(&covering, disk, covering_place(&covering, 7, 9),
                  covering_place(&covering, 7, 9));
    struct wal_repair *repair = covering_repair(disk);
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 1, "no room");
}

/* 4:6 came in the place of 3:6, and is lost; a snapshot ends with it, and others tell that the log
 * has it. 4:7 behind it is shown: it is the log's, since its link leads to the end by what came. */
Test(gathered, what_is_shown_goes_on_behind_a_snapshot_if_its_link_leads_to_the_end)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 4, 5}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 6, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 5, 8, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 3, 5),
                  covering_place(&covering, 3, 5));
    covering_lose(&covering, disk, covering_place(&covering, 4, 6),
                  covering_place(&covering, 4, 6));
    covering_lose(&covering, disk, covering_place(&covering, 5, 8),
                  covering_place(&covering, 5, 9));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 6));
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write_anew(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 6, "up to what is shown");
}

/* 3:3 to 3:5 came in the place of 2:3 and 2:4. Of all these 2:3 alone is left where a mend lacks
 * the others: the link that stands at 4 is of 2:4, and no link that the log has in the end. */
Test(gathered, what_a_mend_lacks_leaves_no_link_before_it_sure)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 3, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 6, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 2, 4),
                  covering_place(&covering, 2, 4));
    covering_lose(&covering, disk, covering_place(&covering, 3, 3),
                  covering_place(&covering, 3, 5));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 5));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_not(wal_repair_is_anew(repair));
    wal_repair_close(repair);
    covering_lose(&covering, disk, covering_place(&covering, 4, 6),
                  covering_place(&covering, 4, 6));
    repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 4)); /* the one before: the newest rotted */
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 4, "behind a mend");
}

/* 3:6 came in the place of 4:6, both lost, and is taken for what stood in the first hole, since
 * nothing names that: the link that is known there is of 4:6 all the same, and nothing of what came
 * later leads on from it. */
Test(gathered, what_nothing_names_has_not_the_link_that_stands_behind_it)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 4, 1},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 5, 1}, {STEP_APPEND, 4, 6, 2},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 6, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 5, 8, 3}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 6, 9, 3},
        {STEP_SYNC, 0, 0, 0},   {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 2, 3),
                  covering_place(&covering, 2, 3));
    covering_lose(&covering, disk, covering_place(&covering, 3, 4),
                  covering_place(&covering, 3, 4));
    covering_lose(&covering, disk, covering_place(&covering, 3, 5),
                  covering_place(&covering, 4, 6));
    covering_lose(&covering, disk, covering_place(&covering, 3, 6),
                  covering_place(&covering, 3, 7));
    covering_lose(&covering, disk, covering_place(&covering, 5, 8),
                  covering_place(&covering, 5, 9));
    covering_lose(&covering, disk, covering_place(&covering, 6, 9),
                  covering_place(&covering, 6, 11));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 4));
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 4, "behind a link of another");
}

/* 4:5 to 4:7 found no room in their hole, and are lost here yet. A batch names 4:7, so whoever has
 * it has what was behind it in the next hole. */
Test(gathered, what_is_lost_and_named_is_what_others_have_before_the_next_hole)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 4, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 5, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 4, 8, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct raft_runs none = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 4, 5),
                  covering_place(&covering, 4, 7));
    covering_lose(&covering, disk, covering_place(&covering, 4, 8),
                  covering_place(&covering, 4, 8));
    struct wal_repair *repair = covering_repair(disk);
    cr_assert_eq(wal_repair_holes(repair), 2);
    wal_repair_fill(repair, 0, 4, &none);
    repair->at = 1;
    wal_repair_advance(repair);
    covering_ask(&covering, repair);
    cr_assert_eq(repair->filled[1].entry_count, 1);
    cr_assert(raft_id_equal(raft_runs_last(&repair->filled[1]), covering_id(&covering, 8)));
    wal_repair_close(repair);
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* 5:3 and 5:4 came in the place of 4:3 and 4:4, and are known already when those come for the hole
 * before: the links of the log stay theirs. */
Test(gathered, what_comes_for_an_earlier_hole_has_no_link_of_what_replaced_it)
{
    static const struct step steps[] = {
        {STEP_APPEND, 3, 2, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 4, 3, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 5, 3, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 6, 6, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct raft_runs later = {0}, earlier = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 4, 3),
                  covering_place(&covering, 4, 4));
    covering_lose(&covering, disk, covering_place(&covering, 5, 3),
                  covering_place(&covering, 5, 5));
    struct wal_repair *repair = covering_repair(disk);
    const size_t last = repair->survey.holes.count - 1;
    cr_assert_geq(last, 1);
    cr_assert_eq(repair->survey.holes.items[0].last, 4);
    runs_fill(&later, 5, 3, 3);
    runs_fill(&earlier, 4, 3, 2);
    wal_repair_fill(repair, last, 2, &later);
    const uint64_t three = wal_repair_link(repair, 3), four = wal_repair_link(repair, 4);
    cr_assert_neq(three, WAL_LINK_UNKNOWN);
    cr_assert_neq(four, WAL_LINK_UNKNOWN);
    wal_repair_fill(repair, 0, 2, &earlier);
    cr_assert_eq(repair->filled[0].entry_count, 2);
    cr_assert_eq(wal_repair_link(repair, 3), three);
    cr_assert_eq(wal_repair_link(repair, 4), four);
    wal_repair_close(repair);
    memory_disk_destroy(disk);
    covering_end(&covering);
}
