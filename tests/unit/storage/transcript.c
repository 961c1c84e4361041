/* The log as it is in the end, written anew in one segment behind those that are damaged. */
#include "healing.h"

#include "storage/bytes.h"
#include "storage/wal_survey.h"
#include "storage/wal_transcript.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define WAL_DIR STORY_DIR "/wal"

struct scene {
    struct story story;
    struct memory_disk *disk; /* its first segment is damaged */
    struct wal_recovery log;  /* as it was */
    struct wal_survey survey;
};

static void scene_begin(struct scene *scene)
{
    *scene = (struct scene){.disk = memory_disk_create()};
    const struct io *io = memory_disk_io(scene->disk);
    struct wal_recovery damaged = {0};
    cr_assert_eq(story_play(&scene->story, io, story_long), CONCLAVE_OK);
    cr_assert_eq(log_read(io, &scene->log, NULL), CONCLAVE_OK);
    memory_disk_rot(scene->disk, WAL_DIR "/0000000000000001.wal", 5, "\x5a\xa5", 2);
    memory_disk_rot(scene->disk, WAL_DIR "/0000000000000001.wal", 700, "\x5a\xa5", 2);
    cr_assert_eq(log_read(io, &damaged, NULL), CONCLAVE_CORRUPT);
    cr_assert_eq(wal_survey_run(io, WAL_DIR, &story_identity, 16, &scene->survey, NULL),
                 CONCLAVE_OK);
}

static void scene_end(struct scene *scene)
{
    raft_runs_clear(&scene->log.entries);
    wal_survey_deinit(&scene->survey);
    memory_disk_destroy(scene->disk);
}

static int write_behind(const struct scene *scene, struct memory_disk *disk, struct raft_id base,
                        const struct raft_runs *entries, struct conclave_error *error)
{
    const struct wal_transcript transcript = {.io = memory_disk_io(disk),
                                              .dir = WAL_DIR,
                                              .identity = &story_identity,
                                              .seen = &scene->survey.scan,
                                              .base = base,
                                              .entries = entries};
    return wal_transcript_write(&transcript, error);
}

/* A start finds all of it, and again after that. */
static void expect_whole(const struct scene *scene, struct memory_disk *disk, const char *when)
{
    for (int start = 0; start < 2; start++) {
        struct wal_recovery found = {0};
        struct conclave_error error = {0};
        cr_assert_eq(log_read(memory_disk_io(disk), &found, &error), CONCLAVE_OK, "%s: %s", when,
                     error.message);
        cr_assert(story_matches(&scene->story, scene->story.staged_count, &found.entries), "%s",
                  when);
        cr_assert_eq(found.attested_index, raft_runs_last(&found.entries).index, "%s", when);
        raft_runs_clear(&found.entries);
    }
}

static size_t count_segments(const struct memory_disk *disk)
{
    size_t count = 0;
    const char *path;
    for (size_t i = 0; (path = memory_disk_file(disk, i)) != NULL; i++)
        count += strncmp(path, WAL_DIR, strlen(WAL_DIR)) == 0 ? 1 : 0;
    return count;
}

Test(transcript, is_the_log_from_then_on_and_what_was_damaged_goes)
{
    struct scene scene;
    scene_begin(&scene);
    cr_assert_eq(write_behind(&scene, scene.disk, scene.log.base, &scene.log.entries, NULL),
                 CONCLAVE_OK);
    cr_assert_gt(count_segments(scene.disk), 2);
    expect_whole(&scene, scene.disk, "written");
    cr_assert_eq(count_segments(scene.disk), 1);
    scene_end(&scene);
}

Test(transcript, may_begin_behind_an_entry_that_a_snapshot_holds)
{
    struct scene scene;
    struct wal_recovery found = {0};
    struct raft_runs rest = {0};
    scene_begin(&scene);
    const struct raft_id base = raft_runs_find(&scene.log.entries, 9)->id;
    raft_runs_append_all(&rest, &scene.log.entries);
    raft_runs_drop_front(&rest, 9);
    cr_assert_eq(write_behind(&scene, scene.disk, base, &rest, NULL), CONCLAVE_OK);
    cr_assert_eq(log_read(memory_disk_io(scene.disk), &found, NULL), CONCLAVE_OK);
    cr_assert(raft_id_equal(found.base, base));
    cr_assert_eq(found.entries.entry_count, rest.entry_count);
    cr_assert(raft_id_equal(raft_runs_last(&found.entries), raft_runs_last(&rest)));
    raft_runs_clear(&found.entries);
    raft_runs_clear(&rest);
    scene_end(&scene);
}

static uint64_t segment_written(const struct scene *scene, char path[64])
{
    const struct wal_scan *scan = &scene->survey.scan;
    const uint64_t sequence = scan->segments[scan->active].sequence + 1;
    char name[WAL_NAME_BYTES];
    wal_name_format(sequence, name);
    (void)snprintf(path, 64, "%s/%s", WAL_DIR, name);
    return sequence;
}

/* A record of the segment that was written anew, after a start. */
struct spot {
    const char *path;
    size_t offset;
    size_t batch; /* where the last entry's batch begins */
    size_t end;   /* behind the last record, which is an attestation */
};

/* Calls it for each. */
static void each_record(void (*check)(const struct peer *peer, const struct spot *spot))
{
    struct scene scene;
    scene_begin(&scene);
    char path[64];
    const uint64_t key = wal_key(&story_identity, segment_written(&scene, path));
    cr_assert_eq(write_behind(&scene, scene.disk, scene.log.base, &scene.log.entries, NULL),
                 CONCLAVE_OK);
    expect_whole(&scene, scene.disk, "written");
    const struct peer peer = {.story = scene.story, .disk = scene.disk, .log = scene.log};
    size_t bytes = 0, count = 0;
    const uint8_t *data = memory_disk_bytes(scene.disk, path, &bytes);
    struct spot spot = {.path = path, .end = WAL_HEADER_BYTES};
    struct wal_record record;
    for (; wal_record_decode(data, bytes, spot.end, key, &record); count++) {
        spot.end += wal_record_bytes(record.payload.bytes);
        if (record.kind == WAL_ENTRY)
            spot.batch = record.batch;
    }
    cr_assert_gt(count, scene.log.entries.entry_count);
    cr_assert_gt(spot.batch, WAL_HEADER_BYTES);
    for (spot.offset = WAL_HEADER_BYTES; spot.offset < spot.end;
         spot.offset += wal_record_bytes(record.payload.bytes)) {
        cr_assert(wal_record_decode(data, bytes, spot.offset, key, &record));
        check(&peer, &spot);
    }
    scene_end(&scene);
}

static void lose_one(const struct peer *peer, const struct spot *spot)
{
    char what[64];
    struct memory_disk *damaged = memory_disk_clone(peer->disk);
    (void)snprintf(what, sizeof what, "%zu", spot->offset);
    memory_disk_rot(damaged, spot->path, spot->offset + 4, "\x5a\xa5", 2);
    enum outcome outcome = heal(peer, damaged, what);
    if (spot->offset + WAL_RECORD_BYTES < spot->end) /* else nothing is lost with it */
        cr_assert(outcome == OUTCOME_SAME_BYTES || outcome == OUTCOME_MENDED, "%s: %d", what,
                  (int)outcome);
    memory_disk_destroy(damaged);
}

Test(transcript, comes_back_whatever_record_of_it_is_lost_later)
{
    each_record(lose_one);
}

/* No start came by that could have let go of the damaged segments before it: they are not what the
 * mended log is judged by. */
Test(transcript, comes_back_though_its_header_is_lost_while_the_damaged_are_there)
{
    struct scene scene;
    char path[64];
    struct conclave_error error = {0};
    scene_begin(&scene);
    (void)segment_written(&scene, path);
    cr_assert_eq(write_behind(&scene, scene.disk, scene.log.base, &scene.log.entries, NULL),
                 CONCLAVE_OK);
    memory_disk_rot(scene.disk, path, 4, "\x5a\xa5", 2);
    memory_disk_break(scene.disk, WAL_DIR "/0000000000000001.wal", 700, 1);
    const struct peer peer = {.story = scene.story, .disk = scene.disk, .log = scene.log};
    cr_assert_eq(repair_all(scene.disk, &peer, &error), CONCLAVE_OK, "%s", error.message);
    expect_whole(&scene, scene.disk, "mended");
    scene_end(&scene);
}

static void lose_the_end_too(const struct peer *peer, const struct spot *spot)
{
    struct memory_disk *damaged = memory_disk_clone(peer->disk);
    struct wal_recovery found = {0};
    memory_disk_rot(damaged, spot->path, spot->offset + 4, "\x5a\xa5", 2);
    memory_disk_rot(damaged, spot->path, spot->end - WAL_RECORD_BYTES + 4, "\x5a\xa5", 2);
    if (spot->offset < spot->batch) /* else it looks like a torn write */
        cr_assert_eq(log_read(memory_disk_io(damaged), &found, NULL), CONCLAVE_CORRUPT, "%zu",
                     spot->offset);
    raft_runs_clear(&found.entries);
    memory_disk_destroy(damaged);
}

Test(transcript, is_not_cut_though_its_last_attestation_is_lost_too)
{
    each_record(lose_the_end_too);
}

/* Nothing of it counts: it has no name yet. */
static void expect_none(const struct scene *scene, const struct memory_disk *disk)
{
    char path[64];
    size_t bytes = 0;
    (void)segment_written(scene, path);
    const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
    cr_assert(!data || bytes_zero(data, bytes), "a part of it has its name");
}

/* The power goes, or something fails, anywhere while it is written or at the start behind that: the
 * log is damaged as before, or is all there. */
static void interrupt(bool power)
{
    struct scene scene;
    size_t damaged = 0, whole = 0;
    bool done = false;
    scene_begin(&scene);
    for (uint64_t at = 1; !done; at++) {
        struct memory_disk *disk = memory_disk_clone(scene.disk);
        struct wal_recovery found = {0};
        uint64_t last = memory_disk_operations(disk) + at;
        if (power)
            memory_disk_power_off_at(disk, last);
        else
            memory_disk_fail_at(disk, last, CONCLAVE_IO);
        int code = write_behind(&scene, disk, scene.log.base, &scene.log.entries, NULL);
        if (code == CONCLAVE_OK)
            code = log_read(memory_disk_io(disk), &found, NULL);
        raft_runs_clear(&found.entries);
        done = code == CONCLAVE_OK && memory_disk_operations(disk) < last;
        cr_assert_eq(memory_disk_handles(disk), 0);
        memory_disk_power_off_at(disk, 0);
        memory_disk_fail_at(disk, 0, CONCLAVE_OK);
        memory_disk_crash(disk, at);
        code = log_read(memory_disk_io(disk), &found, NULL);
        raft_runs_clear(&found.entries);
        if (code == CONCLAVE_CORRUPT) {
            damaged++;
            expect_none(&scene, disk);
            cr_assert_eq(write_behind(&scene, disk, scene.log.base, &scene.log.entries, NULL),
                         CONCLAVE_OK, "once more");
        } else {
            whole++;
        }
        expect_whole(&scene, disk, "after that");
        memory_disk_destroy(disk);
    }
    cr_assert_gt(damaged, 3, "%zu", damaged);
    cr_assert_gt(whole, 10, "%zu", whole);
    scene_end(&scene);
}

Test(transcript, is_there_as_a_whole_or_not_at_all_whenever_the_power_goes)
{
    interrupt(true);
}

Test(transcript, is_there_as_a_whole_or_not_at_all_whatever_fails)
{
    interrupt(false);
}

/* Whatever room there is: all of it, or nothing and once more. */
Test(transcript, without_room_leaves_nothing_and_may_be_tried_again)
{
    struct scene scene;
    size_t refused = 0;
    scene_begin(&scene);
    for (uint64_t space = 0;; space += 512) {
        struct memory_disk *disk = memory_disk_clone(scene.disk);
        const size_t before = count_segments(disk);
        memory_disk_set_space(disk, space);
        int code = write_behind(&scene, disk, scene.log.base, &scene.log.entries, NULL);
        if (code == CONCLAVE_OK) {
            memory_disk_destroy(disk);
            break;
        }
        cr_assert_eq(code, CONCLAVE_NO_SPACE);
        cr_assert_eq(count_segments(disk), before, "what was written is given back");
        refused++;
        memory_disk_set_space(disk, UINT64_MAX);
        cr_assert_eq(write_behind(&scene, disk, scene.log.base, &scene.log.entries, NULL),
                     CONCLAVE_OK);
        expect_whole(&scene, disk, "when there is room");
        memory_disk_destroy(disk);
    }
    cr_assert_gt(refused, 0);
    scene_end(&scene);
}

/* A sync that failed is not tried again, though it is for lack of room that it did (Rule 6). */
Test(transcript, ends_with_a_sync_that_found_no_room)
{
    enum { SYNCS = 2 }; /* of the file, and of the directory */
    struct scene scene;
    int code = CONCLAVE_IO;
    size_t ended = 0, again = 0;
    scene_begin(&scene);
    for (uint64_t at = 1; code != CONCLAVE_OK; at++) {
        struct memory_disk *disk = memory_disk_clone(scene.disk);
        memory_disk_fail_at(disk, memory_disk_operations(disk) + at, CONCLAVE_NO_SPACE);
        code = write_behind(&scene, disk, scene.log.base, &scene.log.entries, NULL);
        ended += code == CONCLAVE_IO ? 1 : 0;
        again += code == CONCLAVE_NO_SPACE ? 1 : 0;
        memory_disk_destroy(disk);
    }
    cr_assert_eq(ended, SYNCS);
    cr_assert_gt(again, 2, "%zu", again);
    scene_end(&scene);
}

/* What would not be the log is never given its name: here the first entry is not the next one. */
Test(transcript, that_would_not_open_is_not_kept)
{
    struct scene scene;
    struct conclave_error error = {0};
    struct raft_runs rest = {0};
    scene_begin(&scene);
    const size_t before = count_segments(scene.disk);
    raft_runs_append_all(&rest, &scene.log.entries);
    raft_runs_drop_front(&rest, 9);
    cr_assert_eq(write_behind(&scene, scene.disk, scene.log.base, &rest, &error), CONCLAVE_CORRUPT);
    cr_assert(strstr(error.message, "would not open"), "%s", error.message);
    cr_assert_eq(count_segments(scene.disk), before);
    expect_none(&scene, scene.disk);
    raft_runs_clear(&rest);
    scene_end(&scene);
}

static void expect_refused(const struct scene *scene, struct raft_id base,
                           const struct raft_runs *entries)
{
    struct conclave_error error = {0};
    const size_t before = count_segments(scene->disk);
    cr_assert_eq(write_behind(scene, scene->disk, base, entries, &error), CONCLAVE_CORRUPT);
    cr_assert(strstr(error.message, "it would hold something else"), "%s", error.message);
    cr_assert_eq(count_segments(scene->disk), before);
    expect_none(scene, scene->disk);
}

/* A start would open these, and find another log than the one that was to be written: the first
 * entry stands in the place of the one that the log is to begin behind. */
Test(transcript, that_would_be_another_log_is_not_kept)
{
    struct scene scene;
    struct raft_runs rest = {0};
    scene_begin(&scene);
    raft_runs_append_all(&rest, &scene.log.entries);
    raft_runs_drop_front(&rest, 9);
    const struct raft_id first = raft_runs_first(&rest);
    expect_refused(&scene, first, &rest);
    expect_refused(&scene, (struct raft_id){.term = first.term + 1, .index = first.index}, &rest);
    raft_runs_clear(&rest);
    scene_end(&scene);
}

/* Offsets in a segment have 32 bits, and no log is spread over several when it is written anew. */
Test(transcript, that_is_larger_than_any_segment_is_refused_before_anything_is_written)
{
    enum { COUNT = 1030, BYTES = 1 << 20 };
    struct scene scene;
    struct conclave_error error = {0};
    struct raft_runs entries = {0};
    struct buf *buf = buf_create(BYTES);
    struct raft_batch *batch = raft_batch_create(COUNT);
    memset(buf->data, 'x', BYTES);
    scene_begin(&scene);
    for (uint64_t index = 1; index <= COUNT; index++) /* all of them share what they hold */
        raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = index},
                                                  .kind = RAFT_ENTRY_COMMAND,
                                                  .buf = buf_ref(buf),
                                                  .payload = {buf->data, BYTES}});
    buf_unref(buf);
    raft_runs_append(&entries, batch, 0, COUNT);
    raft_batch_unref(batch);
    struct memory_disk *before = memory_disk_clone(scene.disk);
    cr_assert_eq(write_behind(&scene, scene.disk, (struct raft_id){0}, &entries, &error),
                 CONCLAVE_CORRUPT);
    cr_assert(strstr(error.message, "larger than a segment"), "%s", error.message);
    cr_assert(memory_disk_equal(scene.disk, before));
    memory_disk_destroy(before);
    raft_runs_clear(&entries);
    scene_end(&scene);
}

static const struct io *truth;

static int lose_write(void *ctx, struct io_file *file, uint64_t offset, const struct iovec *parts,
                      int part_count, struct conclave_error *error)
{
    (void)ctx, (void)file, (void)offset, (void)parts, (void)part_count, (void)error;
    return CONCLAVE_OK;
}

static int read_half(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                     size_t *ret_bytes, struct conclave_error *error)
{
    return truth->read(ctx, file, offset, data, bytes / 2, ret_bytes, error);
}

/* What was written is read back before anything rests on it. */
Test(transcript, that_did_not_arrive_is_not_kept)
{
    for (int lie = 0; lie < 2; lie++) {
        struct scene scene;
        struct conclave_error error = {0};
        scene_begin(&scene);
        const size_t before = count_segments(scene.disk);
        truth = memory_disk_io(scene.disk);
        struct io io = *truth;
        if (lie == 0)
            io.writev = lose_write;
        else
            io.read = read_half;
        const struct wal_transcript transcript = {.io = &io,
                                                  .dir = WAL_DIR,
                                                  .identity = &story_identity,
                                                  .seen = &scene.survey.scan,
                                                  .base = scene.log.base,
                                                  .entries = &scene.log.entries};
        cr_assert_eq(wal_transcript_write(&transcript, &error), CONCLAVE_IO);
        cr_assert(strstr(error.message, "does not hold what was written"), "%s", error.message);
        cr_assert_eq(count_segments(scene.disk), before);
        cr_assert_eq(memory_disk_handles(scene.disk), 0);
        expect_none(&scene, scene.disk);
        scene_end(&scene);
    }
}
