/* What others gave comes in the place of what is shown: whose link is whose then, and where all of
 * it is the log though it fits nowhere. */
#include "covering.h"

#include "storage/identity.h"
#include "storage/wal_repair_internal.h"

#include <criterion/criterion.h>

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
