/* A log that began anew behind a snapshot, and loses what says so. */
#include "fixture.h"

#include "storage/wal_repair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { RECORDS_MAX = 512, LAST = 140 };

static const struct raft_id base = {.term = 3, .index = 100};

struct scene {
    struct memory_disk *disk; /* whole */
    struct raft_runs log;     /* that stands behind the base */
    struct placed places[RECORDS_MAX];
    size_t count;
    size_t from; /* the first record of the segment in which it begins */
};

static const uint8_t *bytes_at(const struct memory_disk *disk, const struct placed *place)
{
    size_t size = 0;
    const uint8_t *bytes = memory_disk_bytes(disk, place->path, &size);
    return bytes ? bytes + place->offset : NULL;
}

static void append(struct wal *wal, uint64_t term, uint64_t index, uint64_t count)
{
    struct raft_runs runs = {0};
    runs_fill(&runs, term, index, count);
    wal_append(wal, &runs);
    raft_runs_clear(&runs);
}

/* A log as a node begins with it; its next entry has the index *ret_first. */
static struct wal *open_story(const struct io *io, uint64_t *ret_first)
{
    const struct step nothing[] = {{.kind = STEP_END}};
    struct story story;
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    cr_assert_eq(story_play(&story, io, nothing), CONCLAVE_OK);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    *ret_first = raft_runs_last(&recovery.entries).index + 1;
    raft_runs_clear(&recovery.entries);
    return wal;
}

/* The log before ends with `last`; it is still there, or (`alone`) was let go of. */
static void scene_begin(struct scene *scene, uint64_t last, bool alone)
{
    struct memory_disk *played = memory_disk_create();
    const struct io *io = memory_disk_io(played);
    uint64_t first;
    struct wal *wal = open_story(io, &first);
    struct wal_recovery recovery = {0};
    append(wal, 2, first, last + 1 - first);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_begin_anew(wal, base);
    for (uint64_t index = base.index + 1; index < LAST; index += 8) {
        append(wal, 3, index, 8);
        cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    }
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    *scene = (struct scene){0};
    scene->count = image_layout(played, scene->places, RECORDS_MAX);
    if (alone)
        cr_assert_eq(wal_remove(wal, wal_release(wal, 0), NULL), CONCLAVE_OK);
    wal_close(wal);
    scene->disk = memory_disk_clone(played);
    scene->from = scene->count;
    for (size_t i = 0; i + 1 < scene->count && scene->from == scene->count; i++)
        if (bytes_at(scene->disk, &scene->places[i + 1]) &&
            bytes_at(scene->disk, &scene->places[i + 1])[28] == WAL_ANEW)
            scene->from = i;
    cr_assert_lt(scene->from, scene->count);
    cr_assert_eq(log_read(memory_disk_io(played), &recovery, NULL), CONCLAVE_OK);
    cr_assert(raft_id_equal(recovery.base, base));
    raft_runs_move(&scene->log, &recovery.entries);
    memory_disk_destroy(played);
}

static void scene_end(struct scene *scene)
{
    raft_runs_clear(&scene->log);
    memory_disk_destroy(scene->disk);
}

static void lose(struct memory_disk *disk, const struct placed *place)
{
    memory_disk_rot(disk, place->path, place->offset + 4,
                    &(uint8_t){bytes_at(disk, place)[4] ^ 0x5a}, 1);
}

/* Another node has all of it behind the same snapshot. */
static int repair(const struct scene *scene, struct memory_disk *damaged,
                  struct conclave_error *error)
{
    struct wal_repair *repair = NULL;
    struct wal_want want;
    const struct wal_supplier log = {.log = &scene->log, .base = base};
    int code = wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair, error);
    if (code != CONCLAVE_OK)
        return code;
    wal_repair_cover(repair, base);
    for (int round = 0; code == CONCLAVE_OK && wal_repair_want(repair, &want); round++) {
        struct raft_id prev = {0};
        struct raft_runs entries = {0};
        cr_assert_lt(round, 200, "it never ends");
        if (wal_supply_from(&log, &want, 200, &prev, &entries) == WAL_SUPPLY_HERE)
            code = wal_repair_take(repair, prev, &entries, error);
        else
            wal_repair_turn(repair);
        raft_runs_clear(&entries);
    }
    if (code == CONCLAVE_OK)
        code = wal_repair_write(repair, error);
    wal_repair_close(repair);
    return code;
}

static void expect_whole(const struct scene *scene, struct memory_disk *disk, const char *what)
{
    for (int start = 0; start < 2; start++) {
        struct wal_recovery found = {0};
        struct conclave_error error = {0};
        struct raft_runs_iter here = {0}, wanted = {0};
        cr_assert_eq(log_read(memory_disk_io(disk), &found, &error), CONCLAVE_OK, "%s: %s", what,
                     error.message);
        cr_assert(raft_id_equal(found.base, base), "%s: behind %llu", what,
                  (unsigned long long)found.base.index);
        cr_assert_eq(found.entries.entry_count, scene->log.entry_count, "%s", what);
        for (const struct raft_entry *entry;
             (entry = raft_runs_next(&scene->log, &wanted)) != NULL;)
            cr_assert(raft_entry_equal(entry, raft_runs_next(&found.entries, &here)), "%s", what);
        raft_runs_clear(&found.entries);
    }
}

/* From every record on, up to where the new beginning's segment ends; with what was before still
 * there, and without; a log before that is shorter, and one that is longer. */
Test(beginnings, all_of_the_log_comes_back_whatever_stretch_with_the_beginning_is_lost)
{
    static const uint64_t lasts[] = {12, 90, 130};
    for (size_t i = 0; i < 2 * sizeof lasts / sizeof lasts[0]; i++) {
        struct scene scene;
        scene_begin(&scene, lasts[i / 2], i % 2 == 0);
        const size_t from = scene.from;
        for (size_t first = from; first < from + 3; first++) {
            for (size_t count = 1; count < 12; count++) {
                struct memory_disk *damaged = memory_disk_clone(scene.disk);
                struct conclave_error error = {0};
                char what[64];
                (void)snprintf(what, sizeof what, "%zu: %zu records from %zu", i, count,
                               first - from);
                for (size_t k = first; k < first + count; k++)
                    lose(damaged, &scene.places[k]);
                cr_assert_eq(repair(&scene, damaged, &error), CONCLAVE_OK, "%s: %s", what,
                             error.message);
                expect_whole(&scene, damaged, what);
                memory_disk_destroy(damaged);
            }
        }
        scene_end(&scene);
    }
}

/* The header alone is lost: the batch behind it says the same. */
Test(beginnings, header_is_made_again)
{
    for (int alone = 0; alone < 2; alone++) {
        struct scene scene;
        scene_begin(&scene, 130, alone);
        struct placed place = scene.places[scene.from];
        struct conclave_error error = {0};
        place.offset = 0;
        lose(scene.disk, &place);
        cr_assert_eq(repair(&scene, scene.disk, &error), CONCLAVE_OK, "alone %d: %s", alone,
                     error.message);
        expect_whole(&scene, scene.disk, alone ? "alone" : "behind another");
        scene_end(&scene);
    }
}

/* --- In the middle of it ---------------------------------------------------------------------- */

/* A log of one leader up to `last`, attested. */
static struct memory_disk *log_before(uint64_t last)
{
    struct memory_disk *played = memory_disk_create();
    const struct io *io = memory_disk_io(played);
    uint64_t first;
    struct wal *wal = open_story(io, &first);
    for (uint64_t index = first; index <= last; index++) {
        append(wal, 2, index, 1);
        if (index % 5 == 0 || index == last)
            cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    }
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    struct memory_disk *disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    return disk;
}

/* The power goes at a change while the log begins anew behind a snapshot that is installed. False:
 * it was over before. */
static bool stop_beginning(struct memory_disk *disk, uint64_t at)
{
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    cr_assert_eq(wal_open(memory_disk_io(disk), STORY_DIR, &story_identity, &story_options, &wal,
                          &recovery, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&recovery.entries);
    memory_disk_power_off_at_change(disk, memory_disk_changes(disk) + at);
    wal_begin_anew(wal, base);
    append(wal, 3, base.index + 1, 8);
    int code = wal_sync(wal, NULL);
    if (code == CONCLAVE_OK)
        code = wal_attest(wal, NULL);
    wal_close(wal);
    memory_disk_crash(disk, at);
    return code != CONCLAVE_OK;
}

/* Either the log is the one from before, all of it that stands behind what it begins with, or it
 * begins anew, with what was written of the first batch. */
static void expect_either(struct memory_disk *disk, uint64_t last, const char *what)
{
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    struct raft_runs_iter iter = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &found, &error), CONCLAVE_OK, "%s: %s", what,
                 error.message);
    const bool anew = raft_id_equal(found.base, base);
    uint64_t index = found.base.index;
    for (const struct raft_entry *entry; (entry = raft_runs_next(&found.entries, &iter)) != NULL;) {
        struct raft_runs right = {0};
        struct raft_runs_iter only = {0};
        index++;
        runs_fill(&right, anew ? 3 : index == 1 ? 1 : 2, index, 1);
        cr_assert(raft_entry_equal(entry, raft_runs_next(&right, &only)), "%s: %d", what,
                  (int)index);
        raft_runs_clear(&right);
    }
    cr_assert(anew ? index <= base.index + 8 : index == last, "%s: up to %d", what, (int)index);
    raft_runs_clear(&found.entries);
}

/* A snapshot was received and is durable, the log is to begin anew behind it, the power goes, and a
 * record of the log before is damaged: the snapshot holds what it had. */
Test(beginnings, what_is_damaged_while_a_snapshot_is_installed_stops_nobody)
{
    static const uint64_t lasts[] = {12, 90};
    size_t repaired = 0;
    for (size_t i = 0; i < 2; i++) {
        struct memory_disk *before = log_before(lasts[i]);
        struct placed places[RECORDS_MAX];
        const size_t count = image_layout(before, places, RECORDS_MAX);
        bool stopped = true;
        for (uint64_t at = 1; stopped; at++) {
            struct memory_disk *disk = memory_disk_clone(before);
            stopped = stop_beginning(disk, at);
            for (size_t k = at % 7; k < count; k += 7 * SPARSELY(3)) {
                struct memory_disk *damaged = memory_disk_clone(disk);
                const struct scene scene = {0};
                struct conclave_error error = {0};
                struct wal_recovery found = {0};
                char what[64];
                (void)snprintf(what, sizeof what, "%d, change %d, record %zu", (int)lasts[i],
                               (int)at, k);
                lose(damaged, &places[k]);
                if (log_read(memory_disk_io(damaged), &found, NULL) == CONCLAVE_CORRUPT) {
                    cr_assert_eq(repair(&scene, damaged, &error), CONCLAVE_OK, "%s: %s", what,
                                 error.message);
                    repaired++;
                }
                raft_runs_clear(&found.entries);
                expect_either(damaged, lasts[i], what);
                memory_disk_destroy(damaged);
            }
            memory_disk_destroy(disk);
        }
        memory_disk_destroy(before);
    }
    cr_assert_gt(repaired, 10);
}

/* The log begins anew and ends a segment, with an entry in it or none, which the next one names. */
static struct memory_disk *log_in_two(struct raft_id behind, struct placed *ret_header)
{
    struct memory_disk *disk = memory_disk_create();
    struct placed places[RECORDS_MAX];
    uint64_t first;
    struct wal *wal = open_story(memory_disk_io(disk), &first);
    wal_begin_anew(wal, behind);
    for (uint64_t index = behind.index + 1; index <= STORY_LARGE_INDEX; index++) {
        append(wal, 3, index, 1);
        cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    }
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    const size_t count = image_layout(disk, places, RECORDS_MAX);
    wal_close(wal);
    for (size_t i = 1; i < count; i++)
        if (bytes_at(disk, &places[i])[28] == WAL_ANEW)
            *ret_header = places[i - 1];
    ret_header->offset = 0;
    return disk;
}

/* A segment behind which the log goes on as it began holds nothing of it: a start has not to miss
 * its header, and lets go of it. One entry in it is enough for that to be damage. */
Test(beginnings, a_header_before_what_goes_on_as_the_log_began_is_not_missed)
{
    for (uint64_t before = 0; before < 2; before++) {
        const struct raft_id behind = {.term = 3, .index = STORY_LARGE_INDEX - 1 - before};
        struct placed header = {0};
        size_t bytes = 0;
        struct wal_recovery found = {0};
        struct memory_disk *disk = log_in_two(behind, &header);
        lose(disk, &header);
        const int code = log_read(memory_disk_io(disk), &found, NULL);
        if (before > 0) {
            cr_assert_eq(code, CONCLAVE_CORRUPT);
            memory_disk_destroy(disk);
            continue;
        }
        cr_assert_eq(code, CONCLAVE_OK);
        cr_assert(raft_id_equal(found.base, behind));
        cr_assert_eq(found.entries.entry_count, 1);
        cr_assert_null(memory_disk_bytes(disk, header.path, &bytes));
        raft_runs_clear(&found.entries);
        memory_disk_destroy(disk);
    }
}
