/* Going through a log from outside: what is told is what a start finds, whatever is damaged. */
#include "fixture.h"

#include "storage/identity.h"
#include "storage/wal_scan.h"
#include "storage/wal_walk.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define STORY_WAL STORY_DIR "/wal"

/* What two walks over a log tell. */
struct told {
    struct raft_id ids[STORY_ENTRIES_MAX];
    size_t id_count;
    size_t damaged;
    uint64_t damaged_bytes;
    char places[512]; /* of the damage */
    bool payloads_right;
};

static void walk_once(const struct io *io, struct wal_cuts *cuts, struct told *told)
{
    struct wal_walk *walk = NULL;
    struct wal_walk_step step;
    struct conclave_error error;
    const int code = wal_walk_open(io, STORY_WAL, &story_identity, false, &walk, &error);
    cr_assert_eq(code, CONCLAVE_OK, "%s", error.message);
    for (wal_walk_next(walk, &step); step.what != WAL_WALK_END; wal_walk_next(walk, &step)) {
        if (!told) {
            wal_cuts_note(cuts, &step);
        } else if (step.what == WAL_WALK_DAMAGE) {
            char place[64];
            told->damaged++;
            told->damaged_bytes += step.end - step.offset;
            (void)snprintf(place, sizeof place, "%016llx.wal %llu; ",
                           (unsigned long long)step.sequence, (unsigned long long)step.offset);
            (void)strncat(told->places, place, sizeof told->places - strlen(told->places) - 1);
        } else if (step.what == WAL_WALK_ENTRY && !wal_cuts_replaced(cuts, &step)) {
            const struct slice right = payload_of(step.record.id);
            cr_assert_lt(told->id_count, STORY_ENTRIES_MAX);
            told->ids[told->id_count++] = step.record.id;
            told->payloads_right = told->payloads_right &&
                                   right.bytes == step.record.payload.bytes &&
                                   memcmp(right.data, step.record.payload.data, right.bytes) == 0;
        }
    }
    wal_walk_next(walk, &step);
    cr_assert_eq(step.what, WAL_WALK_END, "the end stays the end");
    wal_walk_close(walk);
}

static void walk_twice(struct memory_disk *disk, struct told *told)
{
    struct wal_cuts cuts = {0};
    const struct io *io = memory_disk_io(disk);
    const uint64_t changes = memory_disk_changes(disk);
    *told = (struct told){.payloads_right = true};
    walk_once(io, &cuts, NULL);
    wal_cuts_settle(&cuts);
    walk_once(io, &cuts, told);
    wal_cuts_deinit(&cuts);
    cr_assert_eq(memory_disk_changes(disk), changes, "it was only looked at");
    cr_assert_eq(memory_disk_handles(disk), 0);
    cr_assert(told->payloads_right);
}

/* Compares with what a start finds. Returns how many places are damaged. */
static size_t compare(struct memory_disk *disk, const char *what)
{
    static struct told told;
    struct wal_scan scan;
    struct conclave_error error = {0};
    walk_twice(disk, &told);
    const int code =
        wal_scan_run(memory_disk_io(disk), STORY_WAL, &story_identity, false, &scan, &error);
    cr_assert_eq(code == CONCLAVE_OK, told.damaged == 0, "%s: a start says '%s', and told is '%s'",
                 what, error.message, told.places);
    if (code == CONCLAVE_OK) {
        struct raft_runs_iter iter = {0};
        const struct raft_entry *entry;
        size_t count = 0;
        for (; (entry = raft_runs_next(&scan.entries, &iter)); count++)
            cr_assert(count < told.id_count && raft_id_equal(entry->id, told.ids[count]),
                      "%s: entry %zu is another one", what, count);
        cr_assert_eq(count, told.id_count, "%s", what);
    }
    wal_scan_deinit(&scan);
    return told.damaged;
}

static struct memory_disk *play(const struct step *steps)
{
    static struct story story;
    struct memory_disk *disk = memory_disk_create();
    story = (struct story){0};
    cr_assert_eq(story_play(&story, memory_disk_io(disk), steps), CONCLAVE_OK);
    return disk;
}

Test(walk, tells_a_whole_log_as_a_start_finds_it)
{
    struct memory_disk *disk = play(story_long);
    cr_assert_eq(compare(disk, "whole"), 0);
    memory_disk_destroy(disk);
}

static size_t flip_bytes(const struct step *steps)
{
    struct memory_disk *disk = play(steps);
    size_t damaged = 0;
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(disk, file)) != NULL; file++) {
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
        for (size_t at = 0; strstr(path, ".wal") && at < bytes; at += (size_t)7 * SPARSELY(7)) {
            char what[128];
            const uint8_t value = data[at] ^ (uint8_t)(1u << at % 8);
            (void)snprintf(what, sizeof what, "%s at %zu", path, at);
            struct memory_disk *copy = memory_disk_clone(disk);
            memory_disk_rot(copy, path, at, &value, 1);
            damaged += compare(copy, what);
            memory_disk_destroy(copy);
        }
    }
    memory_disk_destroy(disk);
    return damaged;
}

Test(walk, finds_whatever_byte_is_flipped_as_a_start_does)
{
    cr_assert_gt(flip_bytes(story_long), 600 / SPARSELY(7));
    cr_assert_gt(flip_bytes(story_short), 200 / SPARSELY(7));
}

/* The number of the n-th segment's file, in the order in which they were made. */
static const char *segment(const struct memory_disk *disk, size_t number)
{
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(disk, file)) != NULL; file++)
        if (strstr(path, ".wal") && number-- == 0)
            return path;
    cr_assert_fail("there are not so many segments");
    return NULL;
}

Test(walk, goes_on_behind_each_of_several_damaged_places)
{
    struct memory_disk *disk = play(story_long);
    struct told whole, told;
    walk_twice(disk, &whole);
    const uint8_t wrong[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < 3; i++)
        memory_disk_rot(disk, segment(disk, i), 600, wrong, sizeof wrong);
    walk_twice(disk, &told);
    cr_assert_eq(told.damaged, 3, "%s", told.places);
    cr_assert_gt(told.id_count, whole.id_count / 2, "the rest of the log is told");
    cr_assert(raft_id_equal(told.ids[told.id_count - 1], whole.ids[whole.id_count - 1]));
    memory_disk_destroy(disk);
}

static void drop(struct memory_disk *disk, const char *segment_path)
{
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error;
    char path[64];
    (void)snprintf(path, sizeof path, "%s", segment_path);
    cr_assert_eq(io->unlink(io->ctx, path, &error), CONCLAVE_OK);
}

Test(walk, tells_which_segment_is_missing)
{
    struct memory_disk *disk = play(story_long);
    struct told told;
    char path[64];
    (void)snprintf(path, sizeof path, "%s", segment(disk, 1));
    drop(disk, path);
    walk_twice(disk, &told);
    cr_assert_eq(told.damaged, 1, "what follows is whole: %s", told.places);
    cr_assert_not_null(strstr(told.places, strrchr(path, '/') + 1), "%s", told.places);
    memory_disk_destroy(disk);
}

Test(walk, tells_what_the_disk_cannot_read)
{
    struct memory_disk *disk = play(story_long);
    struct told told;
    memory_disk_break(disk, segment(disk, 2), 0, 1);
    walk_twice(disk, &told);
    cr_assert_geq(told.damaged, 1);
    memory_disk_destroy(disk);
}

Test(walk, damage_of_a_header_ends_with_it)
{
    struct memory_disk *disk = play(story_long);
    struct told told;
    memory_disk_rot(disk, segment(disk, 1), 20, "wrong", 5);
    walk_twice(disk, &told);
    cr_assert_eq(told.damaged, 1, "%s", told.places);
    cr_assert_eq(told.damaged_bytes, WAL_HEADER_BYTES, "the record right behind it is whole");
    memory_disk_destroy(disk);
}

/* What was replaced twice: the second time from further back. */
Test(walk, entries_that_a_later_cut_reaches_are_not_told)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 9}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 3, 8, 2}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 5, 3}, {STEP_SYNC, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    struct memory_disk *disk = play(steps);
    cr_assert_eq(compare(disk, "cut twice"), 0);
    memory_disk_destroy(disk);
}

/* The last header is lost, but records of its first batch are there: what stands before it was
 * synced, so that a record which is not valid there is damaged. */
Test(walk, torn_first_batch_attests_the_segment_before_as_at_a_start)
{
    static const struct step steps[] = {
        {STEP_APPEND, 2, 2, 10}, {STEP_SYNC, 0, 0, 0}, {STEP_END, 0, 0, 0}};
    static const uint8_t zeros[WAL_HEADER_BYTES + WAL_RECORD_BYTES];
    static struct placed places[64];
    struct memory_disk *disk = play(steps);
    const size_t last = image_layout(disk, places, 64) - 1;
    size_t before = last;
    while (strcmp(places[before].path, places[last].path) == 0)
        before--;
    memory_disk_rot(disk, places[last].path, 0, zeros, sizeof zeros);
    cr_assert_eq(compare(disk, "torn"), 0);
    memory_disk_rot(disk, places[before].path, places[before].offset + 36, "x", 1);
    cr_assert_geq(compare(disk, "damaged"), 1);
    memory_disk_destroy(disk);
}

static size_t segments(const struct memory_disk *disk)
{
    const char *path;
    size_t count = 0;
    for (size_t file = 0; (path = memory_disk_file(disk, file)) != NULL; file++)
        count += strstr(path, ".wal") != NULL;
    return count;
}

Test(walk, several_that_are_missing_are_one_place)
{
    struct memory_disk *disk = play(story_long);
    struct told told;
    cr_assert_geq(segments(disk), 4);
    drop(disk, segment(disk, 2));
    drop(disk, segment(disk, 1));
    walk_twice(disk, &told);
    cr_assert_eq(told.damaged, 1, "%s", told.places);
    cr_assert_gt(told.id_count, 0);
    memory_disk_destroy(disk);
}

Test(walk, header_of_another_segment_is_told_and_what_stands_behind_it)
{
    struct memory_disk *disk = play(story_long);
    struct told whole, told;
    size_t bytes = 0;
    uint8_t header[WAL_HEADER_BYTES];
    walk_twice(disk, &whole);
    memcpy(header, memory_disk_bytes(disk, segment(disk, 2), &bytes), sizeof header);
    memory_disk_rot(disk, segment(disk, 1), 0, header, sizeof header);
    walk_twice(disk, &told);
    cr_assert_eq(told.damaged, 1, "%s", told.places);
    cr_assert_eq(told.damaged_bytes, WAL_HEADER_BYTES);
    cr_assert_eq(told.id_count, whole.id_count);
    memory_disk_destroy(disk);
}

Test(walk, log_of_another_node_is_told_as_that)
{
    struct memory_disk *disk = play(story_long);
    struct storage_identity other = story_identity;
    struct wal_walk *walk = NULL;
    struct wal_walk_step step;
    struct conclave_error error;
    size_t damaged = 0;
    other.node_id++;
    cr_assert_eq(wal_walk_open(memory_disk_io(disk), STORY_WAL, &other, false, &walk, &error),
                 CONCLAVE_OK);
    for (wal_walk_next(walk, &step); step.what != WAL_WALK_END; wal_walk_next(walk, &step)) {
        cr_assert_eq(step.what, WAL_WALK_DAMAGE);
        cr_assert_not_null(strstr(step.why, "belongs to another node"), "%s", step.why);
        damaged++;
    }
    cr_assert_eq(damaged, segments(disk));
    wal_walk_close(walk);
    memory_disk_destroy(disk);
}

/* --- While the node runs -----------------------------------------------------------------------
 */

/* Begins a walk over a log that is written meanwhile, up to its first entry. */
static struct wal_walk *begin_live(struct memory_disk *disk)
{
    struct wal_walk *walk = NULL;
    struct wal_walk_step step;
    struct conclave_error error;
    cr_assert_eq(
        wal_walk_open(memory_disk_io(disk), STORY_WAL, &story_identity, true, &walk, &error),
        CONCLAVE_OK);
    do
        wal_walk_next(walk, &step);
    while (step.what != WAL_WALK_ENTRY);
    return walk;
}

/* Ends it. Returns how many steps of this kind the rest had. */
static size_t rest_of(struct wal_walk *walk, enum wal_walk_what what)
{
    struct wal_walk_step step;
    size_t count = 0;
    for (wal_walk_next(walk, &step); step.what != WAL_WALK_END; wal_walk_next(walk, &step))
        count += step.what == what;
    wal_walk_close(walk);
    return count;
}

Test(walk, what_was_half_written_when_it_was_read_is_read_again)
{
    enum { PLACES_MAX = 1024 };
    static struct placed places[PLACES_MAX];
    for (int comes_right = 0; comes_right < 2; comes_right++) {
        struct memory_disk *disk = play(story_long);
        size_t bytes = 0;
        cr_assert_gt(image_layout(disk, places, PLACES_MAX), 6);
        const char *path = segment(disk, 0);
        const size_t at = places[5].offset + WAL_RECORD_BYTES - 1;
        cr_assert_str_eq(places[5].path, path);
        const uint8_t right = memory_disk_bytes(disk, path, &bytes)[at], wrong = right ^ 1;
        memory_disk_rot(disk, path, at, &wrong, 1);
        struct wal_walk *walk = begin_live(disk);
        if (comes_right)
            memory_disk_rot(disk, path, at, &right, 1);
        cr_assert_eq(rest_of(walk, WAL_WALK_DAMAGE) == 0, comes_right);
        memory_disk_destroy(disk);
    }
}

Test(walk, segments_that_go_meanwhile_are_no_damage)
{
    struct memory_disk *disk = play(story_long);
    struct wal_walk *walk = begin_live(disk);
    const size_t last = segments(disk) - 1;
    for (size_t i = last - 1; i > 0; i--)
        drop(disk, segment(disk, i));
    cr_assert_geq(rest_of(walk, WAL_WALK_GONE), last - 2);
    memory_disk_destroy(disk);
}
