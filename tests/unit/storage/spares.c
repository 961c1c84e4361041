/* Segments that were let go of and are used again. */
#include "fixture.h"

#include "base/fatal.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct room {
    struct memory_disk *disk;
    const struct io *io;
    struct wal *wal;
};

static void room_open(struct room *room)
{
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    cr_assert_eq(
        wal_open(room->io, STORY_DIR, &story_identity, &story_options, &room->wal, &found, &error),
        CONCLAVE_OK, "%s", error.message);
    raft_runs_clear(&found.entries);
}

static void append(const struct room *room, uint64_t index, uint64_t count)
{
    struct raft_runs runs = {0};
    runs_fill(&runs, 1, index, count);
    wal_append(room->wal, &runs);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_sync(room->wal, NULL), CONCLAVE_OK);
}

/* A log of some segments. */
static struct room room_create(void)
{
    struct room room = {.disk = memory_disk_create()};
    struct raft_runs runs = {0};
    room.io = memory_disk_io(room.disk);
    cr_assert_eq(room.io->make_dir(room.io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(room.io->sync_dir(room.io->ctx, ".", NULL), CONCLAVE_OK);
    runs_fill(&runs, 1, 1, 1);
    cr_assert_eq(wal_create(room.io, STORY_DIR, &story_identity, &story_options, &runs, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&runs);
    room_open(&room);
    for (uint64_t index = 2; index < 62; index += 4)
        append(&room, index, 4);
    return room;
}

static void room_destroy(struct room *room)
{
    wal_close(room->wal);
    memory_disk_destroy(room->disk);
}

static void let_go(const struct room *room, uint64_t index)
{
    cr_assert_eq(wal_remove(room->wal, wal_release(room->wal, index), NULL), CONCLAVE_OK);
}

static size_t count_names(const struct room *room, const char *suffix)
{
    size_t count = 0;
    for (size_t i = 0; memory_disk_file(room->disk, i) != NULL; i++) {
        const char *name = memory_disk_file(room->disk, i);
        size_t bytes = strlen(name), end = strlen(suffix);
        count += bytes > end && strcmp(name + bytes - end, suffix) == 0;
    }
    return count;
}

static void expect_log(struct room *room, uint64_t last, uint64_t ret_cut_bytes)
{
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    wal_close(room->wal);
    room->wal = NULL;
    cr_assert_eq(log_read(room->io, &found, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(raft_runs_last(&found.entries).index, last);
    cr_assert_eq(found.cut_bytes, ret_cut_bytes);
    raft_runs_clear(&found.entries);
    room_open(room);
}

Test(spares, the_next_segment_is_made_of_one_and_needs_no_room)
{
    struct room room = room_create();
    let_go(&room, 50);
    cr_assert_eq(count_names(&room, ".spare"), story_options.spares_max);
    memory_disk_set_space(room.disk, 0);
    cr_assert_eq(wal_prepare_segment(room.wal, NULL), CONCLAVE_OK);
    cr_assert_eq(count_names(&room, ".spare"), story_options.spares_max - 1);
    for (uint64_t index = 62; index < 70; index += 4)
        append(&room, index, 4);
    memory_disk_set_space(room.disk, UINT64_MAX);
    expect_log(&room, 69, 0);
    room_destroy(&room);
}

Test(spares, no_more_are_kept_than_are_wanted)
{
    struct room room = room_create();
    size_t before = count_names(&room, ".wal");
    let_go(&room, 60);
    cr_assert_gt(before, count_names(&room, ".wal") + story_options.spares_max);
    cr_assert_eq(count_names(&room, ".spare"), story_options.spares_max);
    room_destroy(&room);
}

Test(spares, go_when_the_disk_is_full_and_at_a_start)
{
    struct room room = room_create();
    let_go(&room, 30);
    cr_assert_eq(wal_drop_spares(room.wal, NULL), CONCLAVE_OK);
    cr_assert_eq(count_names(&room, ".spare"), 0);
    let_go(&room, 60);
    cr_assert_gt(count_names(&room, ".spare"), 0);
    expect_log(&room, 61, 0);
    cr_assert_eq(count_names(&room, ".spare"), 0);
    room_destroy(&room);
}

/* A record of its earlier life may stand behind the end of the log, whole, and says nothing. */
Test(spares, what_stood_in_one_is_no_torn_batch)
{
    struct room room = room_create();
    let_go(&room, 50);
    for (uint64_t index = 62; index < 102; index++) {
        append(&room, index, 1);
        expect_log(&room, index, 0);
        let_go(&room, index - 10);
    }
    room_destroy(&room);
}

/* The end of a segment that another one follows is zero: what is not there would be taken for a
 * record that was durable and is damaged, were the header of the next one torn. */
Test(spares, behind_the_last_record_of_one_that_is_full_everything_is_zero)
{
    struct room room = room_create();
    for (uint64_t index = 62; index < 202; index += 3) {
        append(&room, index, 3);
        let_go(&room, index - 10);
    }
    size_t looked_at = 0;
    for (size_t i = 0; memory_disk_file(room.disk, i) != NULL; i++) {
        size_t bytes = 0, end = WAL_HEADER_BYTES;
        const char *name = memory_disk_file(room.disk, i);
        uint64_t sequence = 0;
        if (!strstr(name, "/wal/") || !wal_name_parse(strstr(name, "/wal/") + 5, &sequence))
            continue;
        const uint8_t *data = memory_disk_bytes(room.disk, name, &bytes);
        struct wal_record record;
        uint64_t key = wal_key(&story_identity, sequence);
        while (wal_record_decode(data, bytes, end, key, &record))
            end += wal_record_bytes(record.payload.bytes);
        for (size_t at = end; at < bytes && end > bytes / 2; at++)
            cr_assert_eq(data[at], 0, "%s at %zu", name, at);
        looked_at++;
    }
    cr_assert_gt(looked_at, 1);
    room_destroy(&room);
}
