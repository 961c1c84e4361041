/* Letting go of the front of the log, and beginning it anew behind a snapshot. */
#include "fixture.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* What a scenario did so far, and what of it a sync acknowledged. */
struct scene {
    const struct io *io;
    struct wal *wal;
    uint64_t acked;    /* the last entry that must be there */
    uint64_t released; /* entries up to here may be gone */
    struct raft_id anew_staged, anew_acked;
    struct conclave_error error;
};

static int scene_open(struct scene *scene)
{
    struct wal_recovery recovery = {0};
    int code = wal_open(scene->io, STORY_DIR, &story_identity, &story_options, &scene->wal,
                        &recovery, &scene->error);
    raft_runs_clear(&recovery.entries);
    return code;
}

static int scene_create(struct scene *scene, const struct io *io)
{
    struct raft_runs runs = {0};
    *scene = (struct scene){.io = io};
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync_dir(io->ctx, ".", NULL), CONCLAVE_OK);
    runs_fill(&runs, 1, 1, 1);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &story_options, &runs, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&runs);
    scene->acked = 1;
    return scene_open(scene);
}

static int append(struct scene *scene, uint64_t term, uint64_t index, uint64_t count)
{
    struct raft_runs runs = {0};
    runs_fill(&runs, term, index, count);
    wal_append(scene->wal, &runs);
    raft_runs_clear(&runs);
    if (scene->acked >= index) /* what is replaced was never committed */
        scene->acked = index - 1;
    int code = wal_sync(scene->wal, &scene->error);
    if (code == CONCLAVE_OK) {
        scene->acked = index + count - 1;
        scene->anew_acked = scene->anew_staged;
    }
    return code;
}

static int compact(struct scene *scene, uint64_t index)
{
    struct wal_range range = wal_release(scene->wal, index);
    if (scene->released < index)
        scene->released = index;
    return wal_remove(scene->wal, range, &scene->error);
}

static uint64_t segment_count(struct memory_disk *disk)
{
    uint64_t count = 0;
    for (size_t i = 0; memory_disk_file(disk, i) != NULL; i++)
        count += strstr(memory_disk_file(disk, i), ".wal") != NULL &&
                 strstr(memory_disk_file(disk, i), ".spare") == NULL;
    return count;
}

/* Appends, compacts twice and begins anew in between. */
static int play(struct scene *scene, const struct io *io)
{
    int code = CONCLAVE_OK;
    for (uint64_t index = 2; index < 60 && code == CONCLAVE_OK; index += 4)
        code = append(scene, 1, index, 4);
    if (code == CONCLAVE_OK)
        code = compact(scene, 40);
    if (code == CONCLAVE_OK)
        code = append(scene, 2, 58, 4);
    if (code == CONCLAVE_OK) {
        scene->anew_staged = (struct raft_id){.term = 3, .index = 100};
        wal_begin_anew(scene->wal, scene->anew_staged);
        code = append(scene, 3, 101, 3);
    }
    if (code == CONCLAVE_OK)
        code = compact(scene, 50);
    for (uint64_t index = 104; index < 130 && code == CONCLAVE_OK; index += 4)
        code = append(scene, 3, index, 4);
    if (code == CONCLAVE_OK)
        code = compact(scene, 120);
    (void)io;
    return code;
}

static void check(const struct scene *scene, struct memory_disk *disk, const char *when)
{
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &found, &error), CONCLAVE_OK, "%s: %s", when,
                 error.message);
    struct raft_id first = raft_runs_first(&found.entries), last = raft_runs_last(&found.entries);
    uint64_t end = last.index > 0 ? last.index : found.base.index;
    cr_assert_geq(end, scene->acked, "%s: the log ends at %lu", when, (unsigned long)end);
    if (last.index > 0)
        cr_assert_eq(first.index, found.base.index + 1, "%s", when);
    bool anew = found.base.index >= 100;
    cr_assert(anew || scene->anew_acked.index == 0, "%s: what began anew is forgotten", when);
    uint64_t reach = anew ? 100 : 0;
    if (scene->released > reach)
        reach = scene->released;
    cr_assert_leq(found.base.index, reach, "%s: gone up to %lu", when,
                  (unsigned long)found.base.index);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&found.entries, &iter));) {
        struct slice payload = payload_of(entry->id);
        cr_assert_eq(entry->payload.bytes, payload.bytes, "%s", when);
    }
    raft_runs_clear(&found.entries);
}

Test(compaction, removes_whole_segments_up_to_an_index)
{
    struct memory_disk *disk = memory_disk_create();
    struct scene scene;
    cr_assert_eq(scene_create(&scene, memory_disk_io(disk)), CONCLAVE_OK);
    for (uint64_t index = 2; index < 60; index += 4)
        cr_assert_eq(append(&scene, 1, index, 4), CONCLAVE_OK);
    uint64_t before = segment_count(disk);
    cr_assert_eq(compact(&scene, 40), CONCLAVE_OK);
    cr_assert_lt(segment_count(disk), before);
    struct wal_range none = wal_release(scene.wal, 40);
    cr_assert_eq(none.first, none.end, "what was let go of is let go of once");
    wal_close(scene.wal);
    struct wal_recovery found = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &found, NULL), CONCLAVE_OK);
    cr_assert(found.base.index > 20 && found.base.index <= 40 && found.base.term == 1);
    cr_assert_eq(raft_runs_first(&found.entries).index, found.base.index + 1);
    cr_assert_eq(raft_runs_last(&found.entries).index, scene.acked);
    raft_runs_clear(&found.entries);
    memory_disk_destroy(disk);
}

/* What the header of the first segment says was before it. */
static struct raft_id first_header_last(const struct memory_disk *disk)
{
    struct wal_header header = {0};
    const char *path;
    for (size_t i = 0; (path = memory_disk_file(disk, i)) != NULL; i++) {
        if (strstr(path, ".wal") == NULL)
            continue;
        size_t bytes = 0;
        const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
        cr_assert_eq(wal_header_decode(data, bytes, &story_identity, &header), CONCLAVE_OK);
        break;
    }
    return header.last;
}

/* Entries of term 1 up to 39, of term 2 from `from` to 59, and then nothing is needed up to
 * `index`. `reopened`: what was replaced is known from the disk. */
static void compact_replaced(uint64_t from, uint64_t index, bool reopened)
{
    struct memory_disk *disk = memory_disk_create();
    struct scene scene;
    cr_assert_eq(scene_create(&scene, memory_disk_io(disk)), CONCLAVE_OK);
    for (uint64_t at = 2; at < 40; at += 2)
        cr_assert_eq(append(&scene, 1, at, 2), CONCLAVE_OK);
    cr_assert_eq(append(&scene, 2, from, 60 - from), CONCLAVE_OK);
    if (reopened) {
        wal_close(scene.wal);
        cr_assert_eq(scene_open(&scene), CONCLAVE_OK);
    }
    cr_assert_eq(compact(&scene, index), CONCLAVE_OK);
    wal_close(scene.wal);
    struct wal_recovery found = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &found, NULL), CONCLAVE_OK);
    cr_assert_leq(found.base.index, index, "replaced from %lu, gone up to %lu instead of %lu",
                  (unsigned long)from, (unsigned long)found.base.index, (unsigned long)index);
    cr_assert_eq(raft_runs_first(&found.entries).index, found.base.index + 1);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(&found.entries, &iter));)
        cr_assert_eq(entry->id.term, entry->id.index < from ? 1 : 2);
    cr_assert_eq(raft_runs_last(&found.entries).index, 59);
    cr_assert(raft_id_equal(found.base, first_header_last(disk)),
              "replaced from %lu, released up to %lu: what was before the log is gone",
              (unsigned long)from, (unsigned long)index);
    raft_runs_clear(&found.entries);
    memory_disk_destroy(disk);
}

/* A snapshot came while the disk was slow: it is ahead of what was written. */
Test(compaction, knows_what_stands_before_an_entry_below_the_cut)
{
    struct memory_disk *disk = memory_disk_create();
    struct scene scene;
    struct wal_recovery found = {0};
    cr_assert_eq(scene_create(&scene, memory_disk_io(disk)), CONCLAVE_OK);
    cr_assert_eq(append(&scene, 1, 2, 8), CONCLAVE_OK);
    cr_assert_eq(compact(&scene, 6), CONCLAVE_OK);
    cr_assert_eq(append(&scene, 2, 6, 1), CONCLAVE_OK);
    cr_assert_eq(append(&scene, 2, 7, 1), CONCLAVE_OK);
    wal_close(scene.wal);
    cr_assert_eq(log_read(memory_disk_io(disk), &found, &scene.error), CONCLAVE_OK, "%s",
                 scene.error.message);
    cr_assert_eq(raft_runs_last(&found.entries).index, 7);
    cr_assert_eq(raft_runs_last(&found.entries).term, 2);
    raft_runs_clear(&found.entries);
    memory_disk_destroy(disk);
}

/* Wherever the ends of segments lie: behind what replaced something, or within. */
Test(compaction, keeps_segments_whose_end_was_replaced_later)
{
    for (uint64_t from = 2; from < 40; from++)
        for (uint64_t index = 1; index < 60; index++)
            compact_replaced(from, index, false);
}

Test(compaction, keeps_after_a_start_segments_whose_end_was_replaced_before)
{
    for (uint64_t from = 2; from < 40; from += 3)
        for (uint64_t index = 1; index < 59; index += SPARSELY(3)) /* with 59 nothing is left */
            compact_replaced(from, index, true);
}

Test(compaction, log_begins_anew_behind_a_snapshot)
{
    struct memory_disk *disk = memory_disk_create();
    struct scene scene;
    cr_assert_eq(scene_create(&scene, memory_disk_io(disk)), CONCLAVE_OK);
    cr_assert_eq(append(&scene, 1, 2, 30), CONCLAVE_OK);
    wal_begin_anew(scene.wal, (struct raft_id){.term = 4, .index = 20});
    cr_assert(raft_id_equal(wal_last(scene.wal), (struct raft_id){.term = 4, .index = 20}));
    cr_assert_eq(wal_sync(scene.wal, NULL), CONCLAVE_OK);
    cr_assert_eq(compact(&scene, 0), CONCLAVE_OK);
    wal_close(scene.wal);
    cr_assert_eq(segment_count(disk), 1);
    struct wal_recovery found = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &found, NULL), CONCLAVE_OK);
    cr_assert(raft_id_equal(found.base, (struct raft_id){.term = 4, .index = 20}));
    cr_assert_eq(found.entries.entry_count, 0);
    memory_disk_destroy(disk);
}

/* The log before was longer than what it begins anew behind: the links of what comes then are still
 * needed when that is gone. */
Test(compaction, what_came_with_a_new_beginning_can_be_replaced)
{
    static const struct wal_options options[] = {{.segment_bytes = STORY_SEGMENT_BYTES},
                                                 {.segment_bytes = 1 << 16}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        struct memory_disk *disk = memory_disk_create();
        struct scene scene;
        struct wal_recovery found = {0};
        cr_assert_eq(scene_create(&scene, memory_disk_io(disk)), CONCLAVE_OK);
        wal_close(scene.wal);
        cr_assert_eq(
            wal_open(scene.io, STORY_DIR, &story_identity, &options[i], &scene.wal, &found, NULL),
            CONCLAVE_OK);
        raft_runs_clear(&found.entries);
        cr_assert_eq(append(&scene, 1, 2, 39), CONCLAVE_OK);
        wal_begin_anew(scene.wal, (struct raft_id){.term = 4, .index = 20});
        cr_assert_eq(append(&scene, 4, 21, 4), CONCLAVE_OK); /* in the batch of that */
        cr_assert_eq(compact(&scene, 20), CONCLAVE_OK);
        cr_assert_eq(append(&scene, 5, 23, 2), CONCLAVE_OK);
        wal_close(scene.wal);
        cr_assert_eq(wal_open(scene.io, STORY_DIR, &story_identity, &options[i], &scene.wal, &found,
                              &scene.error),
                     CONCLAVE_OK, "%s", scene.error.message);
        cr_assert(
            raft_id_equal(raft_runs_last(&found.entries), (struct raft_id){.term = 5, .index = 24}),
            "%zu: what was acknowledged is lost", i);
        cr_assert_eq(found.entries.entry_count, 4);
        raft_runs_clear(&found.entries);
        wal_close(scene.wal);
        memory_disk_destroy(disk);
    }
}

Test(compaction, crash_anywhere_leaves_a_log_without_a_gap)
{
    struct memory_disk *base = memory_disk_create();
    struct scene scene;
    cr_assert_eq(scene_create(&scene, memory_disk_io(base)), CONCLAVE_OK);
    wal_close(scene.wal);
    struct memory_disk *dry = memory_disk_clone(base);
    scene = (struct scene){.io = memory_disk_io(dry)};
    cr_assert_eq(scene_open(&scene), CONCLAVE_OK);
    cr_assert_eq(play(&scene, scene.io), CONCLAVE_OK, "%s", scene.error.message);
    wal_close(scene.wal);
    check(&scene, dry, "without a crash");
    uint64_t operations = memory_disk_operations(dry);
    memory_disk_destroy(dry);
    for (uint64_t at = 1; at <= operations; at++) {
        for (uint64_t seed = 0; seed < 8; seed++) {
            struct memory_disk *disk = memory_disk_clone(base);
            char when[64];
            (void)snprintf(when, sizeof when, "operation %lu, seed %lu", (unsigned long)at,
                           (unsigned long)seed);
            scene = (struct scene){.io = memory_disk_io(disk), .acked = 1};
            memory_disk_power_off_at(disk, at);
            if (scene_open(&scene) == CONCLAVE_OK)
                (void)play(&scene, scene.io);
            wal_close(scene.wal);
            if (seed == 0)
                memory_disk_crash_hard(disk);
            else
                memory_disk_crash(disk, at * 31 + seed);
            check(&scene, disk, when);
            check(&scene, disk, when);
            memory_disk_destroy(disk);
        }
    }
    memory_disk_destroy(base);
}

/* Removing stops between two segments, of which the second replaces entries of the first: what is
 * before the log then has no known term, and a leader asked with it would be heard by nobody. */
Test(compaction, stopped_half_way_leaves_a_log_that_begins_behind_a_known_entry)
{
    uint64_t removed = 1, count = 2;
    for (; removed < count; removed++) {
        struct memory_disk *disk = memory_disk_create();
        struct scene scene;
        cr_assert_eq(scene_create(&scene, memory_disk_io(disk)), CONCLAVE_OK);
        for (uint64_t index = 2; index < 42; index += 4)
            cr_assert_eq(append(&scene, 1, index, 4), CONCLAVE_OK);
        for (uint64_t index = 20; index < 100; index += 4)
            cr_assert_eq(append(&scene, 2, index, 4), CONCLAVE_OK);
        struct wal_range range = wal_release(scene.wal, 90);
        count = range.end - range.first;
        cr_assert_gt(count, 3);
        range.end = range.first + removed;
        cr_assert_eq(wal_remove(scene.wal, range, NULL), CONCLAVE_OK);
        wal_close(scene.wal);
        struct wal_recovery found = {0};
        cr_assert_eq(log_read(memory_disk_io(disk), &found, NULL), CONCLAVE_OK);
        cr_assert_eq(found.base.term, found.base.index < 20 ? 1 : 2, "behind %lu:%lu",
                     (unsigned long)found.base.term, (unsigned long)found.base.index);
        cr_assert_leq(found.base.index, 90);
        cr_assert_eq(raft_runs_first(&found.entries).index, found.base.index + 1);
        cr_assert_eq(raft_runs_last(&found.entries).index, 99);
        raft_runs_clear(&found.entries);
        memory_disk_destroy(disk);
    }
}
