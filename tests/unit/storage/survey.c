/* What a damaged log is told by others, and what it tells them: whatever does not fit is ignored or
 * refused, and nothing is changed before all of it is there. */
#include "fixture.h"

#include "base/prng.h"
#include "storage/wal_repair.h"
#include "storage/wal_survey.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* --- Giving ----------------------------------------------------------------------------------- */

/* Entries 5 to 10 of term 2, of which 7 is known by its id alone. */
static void log_with_a_gap(struct raft_runs *ret)
{
    struct raft_batch *batch = raft_batch_create(6);
    for (uint64_t index = 5; index <= 10; index++)
        raft_batch_add(batch,
                       (struct raft_entry){.id = {.term = 2, .index = index},
                                           .kind = index == 7 ? (enum raft_entry_kind)WAL_ABSENT
                                                              : RAFT_ENTRY_NOOP});
    raft_runs_append(ret, batch, 0, 6);
    raft_batch_unref(batch);
}

Test(survey, a_log_gives_what_it_has_and_says_what_it_has_not)
{
    static const struct {
        struct raft_id prev;
        uint64_t last;
        struct raft_id anchor;
        enum wal_supply supply;
        uint64_t count;
    } wants[] = {
        {{2, 7}, 9, {2, 9}, WAL_SUPPLY_HERE, 2},  /* what is before it is lost here too */
        {{2, 7}, 7, {2, 9}, WAL_SUPPLY_LATER, 0}, /* and that alone is wanted */
        {{2, 6}, 9, {2, 9}, WAL_SUPPLY_LATER, 0}, /* the first of them is */
        {{2, 5}, 9, {2, 9}, WAL_SUPPLY_HERE, 1},  /* up to there */
        {{2, 5}, 7, {2, 7}, WAL_SUPPLY_HERE, 1}, /* the anchor is, and others of its term are not */
        {{2, 8}, 99, {2, 9}, WAL_SUPPLY_HERE, 1},     /* nothing behind the anchor */
        {{2, 8}, 8, {2, 9}, WAL_SUPPLY_HERE, 0},      /* only the id */
        {{1, 4}, 4, {1, 4}, WAL_SUPPLY_HERE, 0},      /* the anchor is where the log begins */
        {{1, 3}, 4, {2, 4}, WAL_SUPPLY_COMPACTED, 0}, /* of another term there */
        {{1, 1}, 2, {1, 2}, WAL_SUPPLY_COMPACTED, 0}, {{1, 3}, 8, {2, 9}, WAL_SUPPLY_COMPACTED, 0},
        {{2, 12}, 14, {2, 10}, WAL_SUPPLY_LATER, 0}, /* it does not reach so far */
        {{2, 9}, 10, {3, 10}, WAL_SUPPLY_ABSENT, 0},  {{2, 9}, 10, {2, 11}, WAL_SUPPLY_HERE, 1},
    };
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
        struct raft_runs log = {0}, given = {0};
        struct raft_id prev = {0};
        const struct wal_want want = {
            .prev = wants[i].prev, .last = wants[i].last, .anchor = wants[i].anchor};
        log_with_a_gap(&log);
        const struct wal_supplier supplier = {.log = &log, .base = {1, 4}};
        cr_assert_eq(wal_supply_from(&supplier, &want, 1 << 20, &prev, &given), wants[i].supply,
                     "want %zu", i);
        cr_assert_eq(given.entry_count, wants[i].count, "want %zu", i);
        if (wants[i].supply == WAL_SUPPLY_HERE)
            cr_assert_eq(prev.index, wants[i].prev.index, "want %zu", i);
        raft_runs_clear(&given);
        raft_runs_clear(&log);
    }
}

/* --- Taking ----------------------------------------------------------------------------------- */

static struct memory_disk *disk_played(struct placed *places, size_t *ret_count)
{
    struct memory_disk *played = memory_disk_create();
    struct story story;
    cr_assert_eq(story_play(&story, memory_disk_io(played), story_long), CONCLAVE_OK);
    struct memory_disk *disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    *ret_count = image_layout(disk, places, 512);
    return disk;
}

/* One that wants entries of a term above 1, so that others are too old, and all of that term: so
 * many records in a row are damaged. */
static struct wal_repair *repair_that_wants(struct memory_disk **ret_disk, struct wal_want *ret,
                                            size_t records)
{
    struct placed places[512];
    size_t count = 0;
    struct memory_disk *disk = disk_played(places, &count);
    for (size_t i = count / 2; i + 3 < count; i++) {
        struct memory_disk *damaged = memory_disk_clone(disk);
        struct wal_repair *repair = NULL;
        for (size_t j = i; j < i + records; j++)
            memory_disk_rot(damaged, places[j].path, places[j].offset + 4, "x", 1);
        if (wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair, NULL) ==
                CONCLAVE_OK &&
            wal_repair_want(repair, ret) && ret->prev.term > 1 && ret->last > ret->prev.index &&
            ret->prev.term == ret->anchor.term) {
            memory_disk_destroy(disk);
            *ret_disk = damaged;
            return repair;
        }
        wal_repair_close(repair);
        memory_disk_destroy(damaged);
    }
    cr_assert_fail("nothing is wanted");
    return NULL;
}

/* Answers with these entries, one behind the other, which cannot be: nothing comes of it. */
static void refuse(struct wal_repair *repair, struct raft_id prev, const struct raft_entry *entries,
                   uint32_t count, const char *what)
{
    struct wal_want before, after;
    struct raft_runs runs = {0};
    struct conclave_error error = {0};
    cr_assert(wal_repair_want(repair, &before));
    uint64_t missing = wal_repair_missing(repair);
    for (uint32_t i = 0; i < count; i++) {
        struct raft_batch *batch = raft_batch_create(1);
        raft_batch_add(batch, entries[i]);
        raft_runs_append(&runs, batch, 0, 1);
        raft_batch_unref(batch);
    }
    cr_assert_eq(wal_repair_take(repair, prev, &runs, &error), CONCLAVE_OK, "%s", what);
    cr_assert(wal_repair_want(repair, &after), "%s", what);
    cr_assert(raft_id_equal(before.prev, after.prev) && before.last == after.last, "%s", what);
    cr_assert_eq(wal_repair_missing(repair), missing, "%s", what);
    raft_runs_clear(&runs);
}

Test(survey, answers_that_cannot_be_are_ignored)
{
    struct memory_disk *disk = NULL;
    struct wal_want want;
    struct wal_repair *repair = repair_that_wants(&disk, &want, 3);
    const struct raft_id next = {want.prev.term, want.prev.index + 1};
    const struct raft_entry good = {.id = next, .kind = RAFT_ENTRY_NOOP};
    refuse(repair, (struct raft_id){want.prev.term, want.prev.index + 1}, &good, 0,
           "another place");
    struct raft_entry wrong = good;
    wrong.id.index++;
    refuse(repair, want.prev, &wrong, 1, "a gap");
    wrong.id = (struct raft_id){want.prev.term - 1, next.index};
    refuse(repair, want.prev, &wrong, 1, "a term that goes back");
    wrong.id.term = want.anchor.term + 1;
    refuse(repair, want.prev, &wrong, 1, "a term above the anchor's");
    wrong.id.term = 0;
    refuse(repair, want.prev, &wrong, 1, "no term");
    wrong = good;
    wrong.kind = (enum raft_entry_kind)(RAFT_ENTRY_SESSION + 1);
    refuse(repair, want.prev, &wrong, 1, "no kind");
    wal_repair_close(repair);
    memory_disk_destroy(disk);
}

/* At the anchor's index only the anchor itself can stand. */
Test(survey, answer_with_another_entry_for_the_anchor_is_ignored)
{
    struct memory_disk *disk = NULL;
    struct wal_want want;
    struct wal_repair *repair = repair_that_wants(&disk, &want, 3);
    struct raft_entry entries[64];
    uint32_t count = 0;
    for (uint64_t index = want.prev.index + 1; index <= want.anchor.index && count < 64; index++)
        entries[count++] =
            (struct raft_entry){.id = {want.prev.term, index}, .kind = RAFT_ENTRY_NOOP};
    cr_assert_eq(entries[count - 1].id.index, want.anchor.index);
    entries[count - 1].id.term =
        want.prev.term < want.anchor.term ? want.prev.term : want.anchor.term + 1;
    refuse(repair, want.prev, entries, count, "another anchor");
    wal_repair_close(repair);
    memory_disk_destroy(disk);
}

/* In a hole between two entries of one term nothing was replaced. So a log that has another entry
 * before it has none of what stood in it, and if nothing else brings that back, it stays a gap. */
Test(survey, a_gap_that_nothing_covers_is_refused)
{
    struct memory_disk *disk = NULL;
    struct wal_want want;
    struct conclave_error error = {0};
    struct raft_runs nothing = {0};
    struct wal_repair *repair = repair_that_wants(&disk, &want, 3);
    struct memory_disk *before = memory_disk_clone(disk);
    const struct raft_id other = {want.prev.term - 1, want.prev.index};
    cr_assert_eq(wal_repair_take(repair, other, &nothing, &error), CONCLAVE_OK);
    cr_assert_not(wal_repair_want(repair, &want));
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "entries would still be missing"), "%s",
                       error.message);
    cr_assert(memory_disk_equal(before, disk), "something was written");
    wal_repair_close(repair);
    memory_disk_destroy(before);
    memory_disk_destroy(disk);
}

Test(survey, a_snapshot_covers_no_less_than_before)
{
    struct memory_disk *disk = NULL;
    struct wal_want want, after;
    struct wal_repair *repair = repair_that_wants(&disk, &want, 1);
    wal_repair_cover(repair, (struct raft_id){1, 2});
    wal_repair_cover(repair, (struct raft_id){1, 1});
    cr_assert(wal_repair_want(repair, &after), "it is not reached");
    cr_assert(raft_id_equal(after.prev, want.prev));
    const struct raft_id enough = {want.anchor.term, want.last};
    wal_repair_cover(repair, enough);
    wal_repair_cover(repair, enough);
    cr_assert_not(wal_repair_want(repair, &after));
    cr_assert_eq(wal_repair_missing(repair), 0);
    struct raft_runs nothing = {0};
    cr_assert_eq(wal_repair_take(repair, want.prev, &nothing, NULL), CONCLAVE_OK, "too late");
    wal_repair_close(repair);
    memory_disk_destroy(disk);
}

/* The last batch was never attested, so where it ends nobody knows: what was lost before it reaches
 * into it, and it may have been torn. */
Test(survey, damage_that_reaches_into_a_torn_batch_is_left_alone)
{
    struct placed places[512];
    size_t count = 0, last = 0;
    struct memory_disk *played = memory_disk_create();
    struct story story;
    struct wal_repair *repair = NULL;
    struct conclave_error error = {0};
    cr_assert_eq(story_play(&story, memory_disk_io(played), story_short), CONCLAVE_OK);
    struct memory_disk *disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    count = image_layout(disk, places, 512);
    for (size_t i = 0; i < count; i++)
        if (places[i].is_batch)
            last = i; /* the batch record of the last batch */
    cr_assert(last > 1 && last + 1 < count, "entries stand before it and behind it");
    cr_assert_str_eq(places[last - 1].path, places[last].path, "in one segment");
    cr_assert_not(places[last - 1].is_batch);
    for (size_t i = last - 1; i <= last; i++)
        memory_disk_rot(disk, places[i].path, places[i].offset + 4, "x", 1);
    struct memory_disk *before = memory_disk_clone(disk);
    cr_assert_eq(wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, &error),
                 CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "torn batch"), "%s", error.message);
    cr_assert(memory_disk_equal(before, disk));
    memory_disk_destroy(before);
    memory_disk_destroy(disk);
}

/* --- Limits ----------------------------------------------------------------------------------- */

/* Damage in the header, in a record and at the end of a segment, one place more than may be. */
Test(survey, more_holes_than_it_can_keep_are_beyond_repair)
{
    struct placed places[512];
    size_t count = 0, refused = 0;
    struct memory_disk *disk = disk_played(places, &count);
    for (size_t i = 1; i < count; i++) {
        for (int header = 0; header <= 1; header++) {
            struct memory_disk *damaged = memory_disk_clone(disk);
            struct wal_survey survey;
            struct conclave_error error = {0};
            memory_disk_rot(damaged, places[i].path, header ? 60 : places[i].offset + 4, "x", 1);
            struct memory_disk *before = memory_disk_clone(damaged);
            int code = wal_survey_run(memory_disk_io(damaged), STORY_DIR "/wal", &story_identity, 0,
                                      &survey, i % 2 ? &error : NULL);
            wal_survey_deinit(&survey);
            cr_assert(code == CONCLAVE_CORRUPT || code == CONCLAVE_OK);
            if (code == CONCLAVE_CORRUPT && i % 2)
                cr_assert_not_null(strstr(error.message, "beyond repair"), "%s", error.message);
            refused += code == CONCLAVE_CORRUPT;
            cr_assert(memory_disk_equal(before, damaged));
            cr_assert_eq(memory_disk_handles(damaged), 0);
            memory_disk_destroy(before);
            memory_disk_destroy(damaged);
        }
    }
    cr_assert_gt(refused, count, "only what was not attested needs no hole");
    memory_disk_destroy(disk);
}

/* Operations of the disk that a survey of so many segments takes, in the first of which a record is
 * lost. */
static uint64_t survey_operations(uint64_t segments)
{
    struct step steps[2 * 16 + 2] = {{0}};
    struct placed places[512];
    struct story story;
    struct wal_survey survey;
    for (uint64_t i = 0; i < segments; i++) { /* each batch fills one */
        steps[2 * i] = (struct step){STEP_APPEND, 1, i * 8 + 1, 8};
        steps[2 * i + 1] = (struct step){.kind = STEP_SYNC};
    }
    steps[2 * segments] = (struct step){.kind = STEP_END};
    struct memory_disk *disk = memory_disk_create();
    cr_assert_eq(story_play(&story, memory_disk_io(disk), steps), CONCLAVE_OK);
    cr_assert_gt(image_layout(disk, places, 512), 1);
    memory_disk_rot(disk, places[1].path, places[1].offset + 4, "x", 1);
    const uint64_t before = memory_disk_operations(disk);
    cr_assert_eq(
        wal_survey_run(memory_disk_io(disk), STORY_DIR "/wal", &story_identity, 8, &survey, NULL),
        CONCLAVE_OK);
    const uint64_t operations = memory_disk_operations(disk) - before;
    cr_assert_geq(survey.scan.segment_count, segments);
    cr_assert_eq(survey.holes.count, 1);
    wal_survey_deinit(&survey);
    memory_disk_destroy(disk);
    return operations;
}

/* A damaged log may be of thousands of segments: what is behind each is not read again for it. */
Test(survey, a_log_of_twice_the_segments_takes_about_twice_the_reads)
{
    cr_assert_lt(survey_operations(16), 3 * survey_operations(8));
}

/* Files that were cut short, anywhere. */
Test(survey, a_segment_that_was_cut_short_changes_nothing)
{
    struct placed places[512];
    size_t count = 0;
    struct memory_disk *disk = disk_played(places, &count);
    const struct io *io = memory_disk_io(disk);
    const char *path = places[count / 2].path;
    size_t bytes = 0;
    uint8_t data[STORY_SEGMENT_BYTES + STORY_LARGE_BYTES + 1024];
    const uint8_t *whole = memory_disk_bytes(disk, path, &bytes);
    cr_assert_leq(bytes, sizeof data);
    memcpy(data, whole, bytes);
    size_t refused = 0;
    for (size_t left = 0; left < bytes; left += 24) {
        struct io_file *file = NULL;
        struct wal_repair *repair = NULL;
        struct wal_recovery recovery = {0};
        struct iovec part = {.iov_base = data, .iov_len = left};
        cr_assert_eq(io->unlink(io->ctx, path, NULL), CONCLAVE_OK);
        cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
        if (left > 0)
            cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
        io->close(io->ctx, file);
        struct memory_disk *before = memory_disk_clone(disk);
        struct memory_disk *opened = memory_disk_clone(disk);
        if (log_read(memory_disk_io(opened), &recovery, NULL) == CONCLAVE_OK) {
            raft_runs_clear(&recovery.entries);
            memory_disk_destroy(opened);
            memory_disk_destroy(before);
            break; /* only zeros are missing */
        }
        refused++;
        cr_assert(memory_disk_equal(before, opened));
        int code =
            wal_repair_open(memory_disk_io(opened), STORY_DIR, &story_identity, &repair, NULL);
        cr_assert(code == CONCLAVE_CORRUPT || code == CONCLAVE_OK);
        wal_repair_close(repair);
        cr_assert(memory_disk_equal(before, opened));
        memory_disk_destroy(opened);
        memory_disk_destroy(before);
    }
    cr_assert_gt(refused, 30);
    memory_disk_destroy(disk);
}
