/* A log that lost entries of which a snapshot holds all: it begins behind them, its beginning is an
 * entry that it had, and what it has behind the snapshot stays. */
#include "covering.h"

#include "storage/identity.h"
#include "storage/wal_repair_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Covers what is missing with a snapshot up to `index`, if that is enough. */
static void cover(struct covering *covering, struct memory_disk *disk, uint64_t index,
                  const char *what)
{
    struct conclave_error error = {0};
    struct wal_repair *repair = NULL;
    struct wal_want want;
    const struct raft_id snapshot = covering_id(covering, index);
    cr_assert_eq(wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, &error),
                 CONCLAVE_OK, "%s: %s", what, error.message);
    cr_assert(wal_repair_want(repair, &want));
    wal_repair_cover(repair, snapshot);
    const uint64_t last = want.last;
    bool wants = wal_repair_want(repair, &want);
    bool fits = true;
    cr_assert(wants || index >= last, "%s: entries up to %d were given up", what, (int)last);
    if (!wants) {
        int code = wal_repair_write(repair, &error);
        fits = code == CONCLAVE_OK; /* else a stretch too short for a mend, and left alone */
        cr_assert(fits || code == CONCLAVE_CORRUPT, "%s: %s", what, error.message);
    }
    wal_repair_close(repair);
    if (!wants && fits)
        covering_judge(covering, memory_disk_io(disk), snapshot, what);
}

static void zero_and_cover(struct covering *covering, const char *path, size_t at, size_t length)
{
    static const uint8_t zeros[512];
    char what[128];
    struct conclave_error error = {0};
    struct wal_repair *repair = NULL;
    struct wal_want want;
    struct memory_disk *damaged = memory_disk_clone(covering->disk);
    memory_disk_rot(damaged, path, at, zeros, length);
    bool wants = wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair,
                                 &error) == CONCLAVE_OK &&
                 wal_repair_want(repair, &want);
    wal_repair_close(repair);
    uint64_t last = raft_runs_last(&covering->log.entries).index;
    for (uint64_t index = want.prev.index; wants && index <= last; index++) {
        struct memory_disk *disk = memory_disk_clone(damaged);
        (void)snprintf(what, sizeof(what), "%s: zeros from %zu to %zu, snapshot of %d", path, at,
                       at + length, (int)index);
        if (index > covering->log.base.index)
            cover(covering, disk, index, what);
        memory_disk_destroy(disk);
    }
    memory_disk_destroy(damaged);
}

Test(repair_cover, what_a_snapshot_holds_goes_and_the_rest_stays, .timeout = 1200)
{
    struct covering covering;
    covering_begin(&covering, story_long);
    static const size_t lengths[] = {8, 152, 512};
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(covering.disk, file)) != NULL; file++) {
        size_t bytes = 0;
        (void)memory_disk_bytes(covering.disk, path, &bytes);
        for (size_t i = 0; strstr(path, ".wal") != NULL && i < 3; i++)
            for (size_t at = 0; at + lengths[i] <= bytes; at += 40 * SPARSELY(3))
                zero_and_cover(&covering, path, at, lengths[i]);
    }
    cr_assert_gt(covering.covered, 1000 / SPARSELY(3));
    covering_end(&covering);
}

/* What a snapshot holds was left out of the log, and then the batch before that is lost. */
Test(repair_cover, a_batch_before_what_a_snapshot_holds_is_made_again)
{
    struct covering covering;
    struct placed places[512];
    struct conclave_error error = {0};
    struct wal_repair *repair = NULL;
    covering_begin(&covering, story_long);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    cr_assert_gt(image_layout(disk, places, 512), 2);
    cr_assert(places[0].is_batch && !places[1].is_batch);
    memory_disk_rot(disk, places[1].path, places[1].offset + 4, "\xff\xfe\xfd\xfc", 4);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(
            wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, &error),
            CONCLAVE_OK, "%s", error.message);
        wal_repair_cover(repair, covering_id(&covering, 5));
        cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
        wal_repair_close(repair);
        covering_judge(&covering, memory_disk_io(disk), covering_id(&covering, 5),
                       "an entry, then the batch");
        memory_disk_rot(disk, places[0].path, places[0].offset + 4, "\xff\xfe\xfd\xfc", 4);
    }
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* 3:3 and 5:4 came in the place of 4:3 and 4:4, and are lost. 6:4 follows 3:3, so what stands
 * before it here is not of the log any more, whatever is known of what replaced it. */
Test(repair_cover, what_was_replaced_where_nothing_shows_it_goes_too)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 1}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 4, 3, 2},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 3, 1}, {STEP_APPEND, 5, 4, 1},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 6, 4, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct placed places[64];
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    const size_t count = image_layout(disk, places, 64);
    size_t lost = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        if (places[i].entries_before != 4 || places[i].is_batch)
            continue;
        memory_disk_rot(disk, places[i].path, places[i].offset + 4, "\xff\xfe\xfd\xfc", 4);
        lost++;
    }
    cr_assert_eq(lost, 2);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 4));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    wal_repair_close(repair);
    covering_judge(&covering, memory_disk_io(disk), covering_id(&covering, 4),
                   "replaced out of sight");
    cr_assert_eq(covering.covered, 1);
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* 2:3 to 2:5 are lost, and in another hole 3:3 and 3:4, which came in the place of two of them. 4:4
 * follows 3:3, and of what stands before it here neither bytes nor link are left. */
Test(repair_cover, what_was_lost_and_may_have_been_replaced_is_no_beginning)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 5}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 3, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 4, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    struct wal_want want;
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 2, 3),
                  covering_place(&covering, 2, 5));
    covering_lose(&covering, disk, covering_place(&covering, 3, 3),
                  covering_place(&covering, 3, 4));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 4));
    cr_assert_not(wal_repair_want(repair, &want));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 4, "lost, and replaced where it is lost");
}

/* 2:3 and 2:4 are lost, and in another hole 3:3 to 3:5 that came in their place. */
static struct memory_disk *lose_what_was_replaced(struct covering *covering)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 5}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 3, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 5, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    covering_begin(covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering->disk);
    const size_t behind = covering_place(covering, 3, 5);
    covering_lose(covering, disk, covering_place(covering, 2, 3), covering_place(covering, 2, 4));
    covering_lose(covering, disk, behind - 3, behind); /* with the batch's own record */
    return disk;
}

/* A snapshot of 3:4 holds all of that: the log begins behind 3:4, which it has nowhere, and not
 * behind 2:4. */
Test(repair_cover, the_log_begins_behind_what_replaced_the_lost)
{
    struct covering covering;
    struct conclave_error error = {0};
    struct memory_disk *disk = lose_what_was_replaced(&covering);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 4));
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 4, "replaced in another hole");
}

/* A snapshot of 3:3 is here, and one of 3:4 comes when the others have given that entry. What they
 * told of 3:3 says nothing of 3:4; what they gave does. */
Test(repair_cover, a_newer_snapshot_leaves_what_shows_that_the_log_can_begin_behind_it)
{
    struct covering covering;
    struct conclave_error error = {0};
    struct memory_disk *disk = lose_what_was_replaced(&covering);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 3));
    covering_ask(&covering, repair);
    wal_repair_cover(repair, covering_id(&covering, 4));
    cr_assert_eq(wal_repair_write_anew(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 4, "replaced in another hole");
}

/* A snapshot of as many entries as the log has is no proof that the log ends with its entry. */
Test(repair_cover, a_log_that_ends_otherwise_is_not_told_behind_a_snapshot)
{
    struct covering covering;
    struct raft_id base = {0};
    struct raft_runs entries = {0};
    struct memory_disk *disk = lose_what_was_replaced(&covering);
    const struct raft_id last = raft_runs_last(&covering.log.entries);
    covering_lose(&covering, disk, covering_place(&covering, 4, 5),
                  covering_place(&covering, 4, 6));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, (struct raft_id){.term = last.term + 1, .index = last.index});
    repair->told = repair->covered;
    cr_assert_not(wal_repair_tell(repair, &base, &entries));
    raft_runs_clear(&entries);
    wal_repair_close(repair);
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* 2:4 and 3:5 are lost, and nothing here tells of which term 5 was. */
static struct memory_disk *lose_the_change_of_term(struct covering *covering)
{
    static const struct step steps[] = {{STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0},
                                        {STEP_APPEND, 3, 5, 3}, {STEP_SYNC, 0, 0, 0},
                                        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    covering_begin(covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering->disk);
    covering_lose(covering, disk, covering_place(covering, 2, 4), covering_place(covering, 3, 5));
    return disk;
}

/* What a peer answers whose log begins behind the snapshot of `index`. */
static enum wal_supply ask_compacted(const struct covering *covering, uint64_t index,
                                     struct wal_repair *repair)
{
    struct raft_runs rest = {0}, entries = {0};
    struct raft_id prev = {0};
    struct wal_want want;
    raft_runs_append_all(&rest, &covering->log.entries);
    raft_runs_drop_front(&rest, index);
    const struct wal_supplier log = {.log = &rest, .base = covering_id(covering, index)};
    cr_assert(wal_repair_want(repair, &want));
    const enum wal_supply supply = wal_supply_from(&log, &want, 1, &prev, &entries);
    if (supply == WAL_SUPPLY_HERE)
        cr_assert_eq(wal_repair_take(repair, prev, &entries, NULL), CONCLAVE_OK);
    raft_runs_clear(&entries);
    raft_runs_clear(&rest);
    return supply;
}

/* Nobody has entry 5 itself any more. Whoever begins behind it, and has what stands behind it here,
 * knows its term: that is all that is missing where a snapshot ends with it. */
Test(repair_cover, whoever_begins_behind_the_snapshot_tells_its_term)
{
    struct covering covering;
    struct conclave_error error = {0};
    struct wal_want want;
    struct memory_disk *disk = lose_the_change_of_term(&covering);
    struct wal_repair *repair = covering_repair(disk);
    cr_assert_eq(ask_compacted(&covering, 5, repair), WAL_SUPPLY_COMPACTED);
    wal_repair_cover(repair, covering_id(&covering, 5));
    cr_assert_eq(ask_compacted(&covering, 5, repair), WAL_SUPPLY_HERE);
    cr_assert_not(wal_repair_want(repair, &want));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_not(wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 5, "its term was told");
}

/* Also a start that finds the snapshot here already asks for no more than that. */
Test(repair_cover, a_snapshot_that_ends_with_the_lost_needs_its_term_alone)
{
    struct covering covering;
    struct wal_want want;
    struct memory_disk *disk = lose_the_change_of_term(&covering);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 5));
    cr_assert(wal_repair_want(repair, &want));
    cr_assert_eq(want.prev.index, 5);
    cr_assert_eq(want.last, 5);
    cr_assert_eq(wal_repair_missing(repair), 1);
    wal_repair_close(repair);
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* Another entry stands there in the log that has what stands behind it here: what is lost is no
 * snapshot's then, and has to come back. */
Test(repair_cover, a_term_that_is_not_the_snapshots_is_no_answer)
{
    struct covering covering;
    struct conclave_error error = {0};
    struct wal_want want;
    struct memory_disk *disk = lose_the_change_of_term(&covering);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, (struct raft_id){.term = 2, .index = 5});
    cr_assert_eq(ask_compacted(&covering, 5, repair), WAL_SUPPLY_HERE);
    cr_assert(wal_repair_want(repair, &want));
    cr_assert_eq(want.prev.index, 4);
    cr_assert_eq(want.last, 5);
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 4, "the entries came");
}

/* 3:3 to 3:5 came in the place of 2:3 and 2:4, and a mend lacks them, since a snapshot holds them.
 * Damaged again, the log does not give what they replaced to one that holds its end. */
Test(repair_cover, what_a_mend_lacks_leaves_those_before_it_in_doubt)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 3, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 6, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    struct raft_id prev = {0};
    struct raft_runs entries = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 3, 3),
                  covering_place(&covering, 3, 5));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 5));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_not(wal_repair_is_anew(repair));
    wal_repair_close(repair);
    covering_lose(&covering, disk, covering_place(&covering, 4, 7),
                  covering_place(&covering, 4, 7));
    repair = covering_repair(disk);
    const struct wal_supplier log = wal_repair_log(repair);
    struct wal_want want = {.prev = {2, 2}, .last = 5, .anchor = covering_id(&covering, 8)};
    cr_assert_eq(wal_supply_from(&log, &want, 1 << 20, &prev, &entries), WAL_SUPPLY_LATER);
    want.prev = (struct raft_id){3, 3};
    cr_assert_eq(wal_supply_from(&log, &want, 1 << 20, &prev, &entries), WAL_SUPPLY_LATER);
    cr_assert_eq(entries.entry_count, 0);
    wal_repair_cover(repair, covering_id(&covering, 5));
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 5, "damaged again behind a mend");
}

/* Damages the record with this entry, wherever it stands. */
static void lose_entry(struct memory_disk *disk, struct raft_id id)
{
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(disk, file)) != NULL; file++) {
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
        for (size_t at = 0; strstr(path, ".wal") != NULL && at + 48 <= bytes; at += 8) {
            if (memcmp(data + at + 32, &id.term, sizeof id.term) != 0 ||
                memcmp(data + at + 40, &id.index, sizeof id.index) != 0)
                continue;
            memory_disk_rot(disk, path, at + 4, "\xff\xfe", 2);
            return;
        }
    }
    cr_assert(false, "it is not there");
}

static bool is_told(struct wal_repair *repair)
{
    struct raft_id base;
    struct raft_runs entries = {0};
    wal_repair_trace_links(repair);
    const bool told = wal_repair_tell(repair, &base, &entries);
    raft_runs_clear(&entries);
    return told;
}

/* 3:8, with which a snapshot ends, is lost between 3:7 and 3:9 of the same leader, and 4:9, which
 * came in the place of that, tells its link. What was lost further on fits nowhere: 4:10 alone,
 * which was replaced, stood in a hole that is too small for a mend. So the log begins behind 3:8.
 * Of 6:13, in the place of 5:13, there was room for one: it replaced nothing so far before it. */
Test(repair_cover, what_is_lost_between_two_of_one_leader_is_a_beginning)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2},  {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 3, 4, 4},
        {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 3, 8, 2},  {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 9, 2},  {STEP_APPEND, 5, 10, 4}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 6, 13, 2}, {STEP_SYNC, 0, 0, 0},    {STEP_ATTEST, 0, 0, 0},
        {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    struct wal_want want;
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    cr_assert_eq(payload_of((struct raft_id){4, 10}).bytes, 0);
    lose_entry(disk, (struct raft_id){3, 5});
    covering_lose(&covering, disk, covering_place(&covering, 3, 8),
                  covering_place(&covering, 3, 9));
    lose_entry(disk, (struct raft_id){4, 10});
    lose_entry(disk, (struct raft_id){6, 13});
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, (struct raft_id){.term = 2, .index = 8});
    cr_assert_not(is_told(repair));
    covering_ask(&covering, repair);
    cr_assert_not(is_told(repair)); /* 2:8 is another leader's, and not the log's */
    wal_repair_close(repair);
    repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 8));
    cr_assert(wal_repair_want(repair, &want));
    cr_assert_eq(want.last, 13);
    cr_assert_not(is_told(repair));
    covering_ask(&covering, repair);
    cr_assert(is_told(repair));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 8, "behind what one leader made");
}

/* What came right behind is lost too, and there was room in it for more: 4:8 may have come in the
 * place of 3:8. */
Test(repair_cover, what_may_have_been_replaced_right_behind_is_no_beginning)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 4, 4}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 3, 8, 2},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 4, 9, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 5, 11, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 3, 8),
                  covering_place(&covering, 3, 9));
    covering_lose(&covering, disk, covering_place(&covering, 4, 9),
                  covering_place(&covering, 4, 10));
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 8));
    cr_assert_not(is_told(repair));
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 8, "replaced right behind");
}

/* So it was: 3:8 is what a snapshot ends with that came from another node, and 4:8 stands in the
 * log.
 */
Test(repair_cover, what_was_replaced_right_behind_is_no_beginning)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 4, 4}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 3, 8, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 4, 8, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    lose_entry(disk, (struct raft_id){3, 6});
    covering_lose(&covering, disk, covering_place(&covering, 3, 8),
                  covering_place(&covering, 3, 9));
    lose_entry(disk, (struct raft_id){4, 8});
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, (struct raft_id){.term = 3, .index = 8});
    cr_assert_not(is_told(repair));
    wal_repair_close(repair);
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* The same, but the one before is of another leader: what is lost may be 2:8 and 3:9. So somebody
 * has to say that it is 3:8. */
Test(repair_cover, what_is_lost_between_two_leaders_is_no_beginning_before_somebody_tells)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 6}, {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 3, 8, 2},
        {STEP_SYNC, 0, 0, 0},   {STEP_APPEND, 4, 9, 2}, {STEP_APPEND, 5, 10, 2},
        {STEP_SYNC, 0, 0, 0},   {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    struct wal_recovery found = {0};
    struct raft_id other;
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    covering_lose(&covering, disk, covering_place(&covering, 3, 8),
                  covering_place(&covering, 3, 9));
    covering_lose(&covering, disk, covering_place(&covering, 4, 10),
                  covering_place(&covering, 4, 10));
    struct wal_repair *repair = covering_repair(disk);
    other = (struct raft_id){.term = 2, .index = 8};
    wal_repair_cover(repair, other);
    cr_assert_not(is_told(repair));
    wal_repair_close(repair);
    repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 8));
    cr_assert_not(is_told(repair));
    covering_ask(&covering, repair);
    cr_assert(is_told(repair));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_is_anew(repair));
    wal_repair_close(repair);
    covering_judge(&covering, memory_disk_io(disk), covering_id(&covering, 8), "told");
    /* From then on it begins behind an entry, and without a snapshot nothing is told of that. */
    lose_entry(disk, (struct raft_id){5, 10});
    cr_assert_eq(log_read(memory_disk_io(disk), &found, NULL), CONCLAVE_CORRUPT);
    repair = covering_repair(disk);
    cr_assert_not(is_told(repair));
    covering_ask(&covering, repair);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    covering_finish(&covering, disk, repair, 8, "and again");
}

/* Of a peer that holds no anchor: what it has comes back by links alone, and it tells no id. */
static void ask_by_links(const struct covering *covering, struct wal_repair *repair)
{
    const struct wal_supplier log = {.log = &covering->log.entries, .base = covering->log.base};
    struct wal_want want;
    for (int asks = 0; wal_repair_want(repair, &want); asks++) {
        struct raft_runs entries = {0};
        struct raft_id prev = {0};
        cr_assert_lt(asks, 40, "it never ends");
        if (want.giver == 0) {
            wal_repair_turn(repair);
            continue;
        }
        cr_assert_eq(wal_supply_from(&log, &want, 1 << 20, &prev, &entries), WAL_SUPPLY_HERE);
        cr_assert_eq(wal_repair_take(repair, prev, &entries, NULL), CONCLAVE_OK);
        raft_runs_clear(&entries);
    }
}

/* 4:8, with which a snapshot ends, is whole. What came right before it, 3:7, is lost, and is
 * nowhere else in a log that begins behind the snapshot; and until what is behind it was proved 4:8
 * itself might have been replaced. What was lost further on fits nowhere, as above: the log begins
 * behind 4:8, whose own link says that it is there. */
static struct memory_disk *lose_what_is_before_the_snapshot(struct covering *covering)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 5},  {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 2, 7, 2},
        {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 3, 7, 1},  {STEP_APPEND, 4, 8, 3},
        {STEP_APPEND, 5, 10, 4}, {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 6, 14, 8},
        {STEP_SYNC, 0, 0, 0},    {STEP_APPEND, 7, 22, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_ATTEST, 0, 0, 0},  {STEP_END, 0, 0, 0}};
    covering_begin(covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering->disk);
    lose_entry(disk, (struct raft_id){3, 7});
    lose_entry(disk, (struct raft_id){4, 10});
    covering_lose(covering, disk, covering_place(covering, 6, 14), covering_place(covering, 7, 22));
    return disk;
}

Test(repair_cover, an_entry_that_is_shown_with_the_right_link_is_a_beginning)
{
    struct covering covering;
    struct raft_runs given = {0};
    struct conclave_error error = {0};
    struct memory_disk *disk = lose_what_is_before_the_snapshot(&covering);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 8));
    cr_assert_not(is_told(repair));
    ask_by_links(&covering, repair);
    cr_assert_eq(repair->told.index, 0);
    cr_assert(is_told(repair));
    raft_runs_slice(&covering.log.entries, 8, 1, UINT64_MAX, &given);
    wal_repair_keep(repair, &given); /* the same was given, too */
    raft_runs_clear(&given);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 8, "shown");
}

/* Shows another entry at an index, whose link is not known. */
static void show_another(struct wal_repair *repair, struct raft_id id)
{
    struct raft_runs *entries = &repair->survey.scan.entries, changed = {0};
    raft_runs_append_all(&changed, entries);
    raft_runs_truncate(&changed, id.index);
    runs_fill(&changed, id.term, id.index, 1);
    raft_runs_slice(entries, id.index + 1, UINT64_MAX, UINT64_MAX, &changed);
    raft_runs_clear(entries);
    raft_runs_move(entries, &changed);
}

/* The same, but 3:8 is shown, of which the link is not known, and 4:8 came for what is lost: the
 * link that is known then is not that of the entry which is shown. */
Test(repair_cover, an_entry_in_the_place_of_which_another_was_given_is_no_beginning)
{
    struct covering covering;
    struct raft_runs given = {0};
    struct memory_disk *disk = lose_what_is_before_the_snapshot(&covering);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 8));
    ask_by_links(&covering, repair);
    cr_assert(is_told(repair));
    show_another(repair, (struct raft_id){.term = 3, .index = 8});
    raft_runs_slice(&covering.log.entries, 8, 1, UINT64_MAX, &given);
    wal_repair_keep(repair, &given);
    raft_runs_clear(&given);
    struct raft_id base = {0};
    cr_assert(wal_repair_tell(repair, &base, &given));
    cr_assert(raft_id_equal(base, covering_id(&covering, 8)), "%d:%d", (int)base.term,
              (int)base.index);
    raft_runs_clear(&given);
    wal_repair_close(repair);
    memory_disk_destroy(disk);
    covering_end(&covering);
}

/* 2:8 was replaced, and came once more, and all three are lost. It comes back for the first hole,
 * where it does not stay; what the last one lost is not told from what was there. But its link is
 * known, and leads from that of 2:7: so what is before it is the log's, and the log can begin
 * there.
 */
Test(repair_cover, what_came_for_a_hole_in_which_it_was_replaced_shows_what_is_before_it)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 6},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 8, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 3, 8, 3},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 8, 3}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 5, 11, 2}, {STEP_SYNC, 0, 0, 0}, {STEP_ATTEST, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct covering covering;
    struct conclave_error error = {0};
    covering_begin(&covering, steps);
    struct memory_disk *disk = memory_disk_clone(covering.disk);
    const size_t first = covering_place(&covering, 2, 8), second = covering_place(&covering, 3, 8);
    lose_entry(disk, (struct raft_id){2, 4});
    covering_lose(&covering, disk, first, first + 1);
    covering_lose(&covering, disk, second - 1, second);
    covering_lose(&covering, disk, second + 4, second + 5);
    struct wal_repair *repair = covering_repair(disk);
    wal_repair_cover(repair, covering_id(&covering, 6));
    covering_ask(&covering, repair);
    cr_assert_eq(repair->told.index, 0);
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(wal_repair_is_anew(repair));
    covering_finish(&covering, disk, repair, 6, "came again");
}
