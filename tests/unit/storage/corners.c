/* Sizes, names and moments that are rare: more files than one would expect, logs with large groups,
 * another process in between, damage next to what was mended or begun anew. */
#include "fixture.h"

#include "base/prng.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/snapshot.h"
#include "storage/wal_internal.h"
#include "storage/wal_repair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct memory_disk *disk_with(const char *directory)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    if (directory)
        cr_assert_eq(io->make_dir(io->ctx, directory, NULL), CONCLAVE_OK);
    return disk;
}

static void file_make(const struct io *io, const char *path, uint8_t *bytes, size_t count)
{
    struct io_file *file = NULL;
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
}

/* --- Snapshots -------------------------------------------------------------------------------- */

Test(corners, many_snapshots_are_listed_newest_first)
{
    struct memory_disk *disk = disk_with(STORY_DIR "/snapshots");
    const struct io *io = memory_disk_io(disk);
    struct snapshot_list list = {0};
    for (unsigned i = 0; i < 40; i++) {
        char path[96];
        unsigned index = (i * 7) % 20 + 1, term = (i < 20) == (i % 2 == 0) ? 3 : 2;
        (void)snprintf(path, sizeof path, "%s/snapshots/%016x-%016x.snap", STORY_DIR, index, term);
        file_make(io, path, (uint8_t[]){1}, 1);
    }
    cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, NULL), CONCLAVE_OK);
    cr_assert_eq(list.count, 40);
    for (size_t i = 0; i < list.count; i++) {
        cr_assert_eq(list.items[i].index, 20 - i / 2);
        cr_assert_eq(list.items[i].term, 3 - i % 2);
    }
    snapshot_list_clear(&list);
    memory_disk_destroy(disk);
}

/* Four snapshots, a part of another name, and what a crash left of one that was being written. */
static struct memory_disk *disk_with_snapshots(void)
{
    static const char *const names[] = {"new.tmp", "00000000000000aa.part"};
    struct memory_disk *made = disk_with(STORY_DIR "/snapshots");
    char path[96];
    for (unsigned i = 0; i < 6; i++) {
        if (i < 4)
            (void)snprintf(path, sizeof path, STORY_DIR "/snapshots/%016x-%016x.snap", i + 1, 1U);
        else
            (void)snprintf(path, sizeof path, STORY_DIR "/snapshots/%s", names[i - 4]);
        file_make(memory_disk_io(made), path, (uint8_t[]){1}, 1);
    }
    struct memory_disk *disk = memory_disk_clone(made); /* durable */
    memory_disk_destroy(made);
    return disk;
}

static int call_list(const struct io *io, struct conclave_error *error)
{
    struct snapshot_list list = {0};
    int code = snapshot_list_read(io, STORY_DIR, &list, error);
    snapshot_list_clear(&list);
    return code;
}

static int call_prune(const struct io *io, struct conclave_error *error)
{
    uint64_t oldest = 0;
    return snapshot_prune(io, STORY_DIR, 0, &oldest, error);
}

static int call_set_aside(const struct io *io, struct conclave_error *error)
{
    return snapshot_set_aside(io, STORY_DIR, (struct raft_id){.term = 1, .index = 4}, error);
}

static int call_part_open(const struct io *io, struct conclave_error *error)
{
    struct snapshot_part *part = NULL;
    int code = snapshot_part_open(io, STORY_DIR, 0xbb, 100, &part, error);
    snapshot_part_close(part);
    return code;
}

Test(corners, whatever_fails_in_the_directory_of_snapshots_is_told)
{
    static int (*const calls[])(const struct io *io, struct conclave_error *error) = {
        call_list, call_prune, call_set_aside, call_part_open};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        bool failed = true;
        for (uint64_t at = 1; failed; at++) {
            struct memory_disk *disk = disk_with_snapshots();
            memory_disk_fail_at(disk, at, CONCLAVE_IO);
            int code = calls[i](memory_disk_io(disk), NULL);
            failed = memory_disk_operations(disk) >= at;
            cr_assert_eq(code, failed ? CONCLAVE_IO : CONCLAVE_OK, "call %zu, operation %d", i,
                         (int)at);
            cr_assert(failed || at > 2);
            memory_disk_destroy(disk);
        }
    }
}

Test(corners, snapshots_that_went_stay_away_after_a_crash)
{
    struct memory_disk *disk = disk_with_snapshots();
    struct snapshot_list list = {0};
    cr_assert_eq(call_prune(memory_disk_io(disk), NULL), CONCLAVE_OK);
    memory_disk_crash_hard(disk);
    cr_assert_eq(snapshot_list_read(memory_disk_io(disk), STORY_DIR, &list, NULL), CONCLAVE_OK);
    cr_assert_eq(list.count, SNAPSHOTS_KEPT);
    snapshot_list_clear(&list);
    memory_disk_destroy(disk);
}

Test(corners, no_chunk_of_a_snapshot_goes_behind_its_end)
{
    struct memory_disk *disk = disk_with_snapshots();
    struct snapshot_part *part = NULL;
    uint8_t data[100] = {1};
    cr_assert_eq(snapshot_part_open(memory_disk_io(disk), STORY_DIR, 0xbb, 100, &part, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(snapshot_part_add(part, data, 60, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_add(part, data, 41, NULL), CONCLAVE_MALFORMED);
    cr_assert_eq(snapshot_part_add(part, data, 40, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), 100);
    snapshot_part_close(part);
    memory_disk_destroy(disk);
}

Test(corners, parts_that_nobody_goes_on_with_are_removed)
{
    struct memory_disk *disk = disk_with(STORY_DIR "/snapshots");
    const struct io *io = memory_disk_io(disk);
    struct snapshot_part *part = NULL;
    char path[96];
    for (unsigned i = 1; i <= 20; i++) {
        (void)snprintf(path, sizeof path, "%s/snapshots/%016x.part", STORY_DIR, i);
        file_make(io, path, (uint8_t[]){1, 2, 3, 4}, 4);
    }
    (void)snprintf(path, sizeof path, "%s/snapshots/%016x.other", STORY_DIR, 1);
    file_make(io, path, (uint8_t[]){1}, 1);
    (void)snprintf(path, sizeof path, "%s/snapshots/%016x.parx", STORY_DIR, 1);
    file_make(io, path, (uint8_t[]){1}, 1);
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, 7, 100, &part, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), 4, "it goes on with its own");
    snapshot_part_close(part);
    size_t files = 0;
    while (memory_disk_file(disk, files) != NULL)
        files++;
    cr_assert_eq(files, 3);
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, 7, 3, &part, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), 0, "there is more of it than there should be");
    snapshot_part_close(part);
    snapshot_writer_abort(NULL);
    memory_disk_destroy(disk);
}

/* --- Identity and lock ------------------------------------------------------------------------ */

Test(corners, identity_with_a_name_that_is_none_is_damaged)
{
    static const struct {
        const char *name; /* 40 bytes */
        int code;
    } names[] = {{"n1", CONCLAVE_OK},
                 {"", CONCLAVE_CORRUPT},
                 {NULL, CONCLAVE_CORRUPT},
                 {"n1\0n2", CONCLAVE_CORRUPT}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct memory_disk *disk = disk_with(NULL);
        const struct io *io = memory_disk_io(disk);
        struct storage_identity got;
        size_t bytes = 0;
        uint8_t block[128];
        cr_assert_eq(identity_write(io, STORY_DIR, &story_identity, NULL), CONCLAVE_OK);
        const uint8_t *data = memory_disk_bytes(disk, STORY_DIR "/identity", &bytes);
        cr_assert_eq(bytes, sizeof block);
        memcpy(block, data, bytes);
        memset(block + 48, names[i].name ? 0 : 'x', 40);
        if (names[i].name)
            memcpy(block + 48, names[i].name, i == 3 ? 5 : strlen(names[i].name));
        put_u64(block, XXH3_64bits(block + 8, bytes - 8));
        memory_disk_rot(disk, STORY_DIR "/identity", 0, block, bytes);
        cr_assert_eq(identity_read(io, STORY_DIR, &got, NULL), names[i].code, "name %zu", i);
        memory_disk_destroy(disk);
    }
}

static const struct io *truth;
static int hidden; /* how often the lock file is not seen */

static int open_blindly(void *ctx, const char *path, unsigned flags, struct io_file **ret_file,
                        struct conclave_error *error)
{
    if (flags == 0 && hidden > 0) {
        hidden--;
        return CONCLAVE_NOT_FOUND;
    }
    return truth->open(ctx, path, flags, ret_file, error);
}

Test(corners, lock_file_that_another_process_makes_at_the_same_time_is_taken)
{
    struct memory_disk *disk = disk_with(NULL);
    struct io_file *lock = NULL;
    truth = memory_disk_io(disk);
    file_make(truth, STORY_DIR "/lock", (uint8_t[]){' '}, 1);
    struct io io = *truth;
    io.open = open_blindly;
    hidden = 1;
    cr_assert_eq(dir_lock(&io, STORY_DIR, &lock, NULL), CONCLAVE_OK);
    cr_assert_eq(hidden, 0);
    dir_unlock(&io, lock);
    memory_disk_destroy(disk);
}

/* --- The log ---------------------------------------------------------------------------------- */

/* More entries, and more bytes, than are kept in one piece of memory. */
Test(corners, long_log_comes_back)
{
    const struct wal_options options = {.segment_bytes = 1 << 20};
    struct memory_disk *disk = disk_with(NULL);
    const struct io *io = memory_disk_io(disk);
    struct raft_runs runs = {0};
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    runs_fill(&runs, 1, 1, 1);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &options, &runs, NULL), CONCLAVE_OK);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&recovery.entries);
    struct raft_batch *batch = raft_batch_create(3000);
    struct buf *large = buf_create(300 << 10);
    memset(large->data, 'x', large->bytes);
    for (uint64_t index = 2; index < 3002; index++) {
        struct raft_entry entry = {.id = {.term = 1, .index = index}, .kind = RAFT_ENTRY_NOOP};
        if (index == 2000)
            entry = (struct raft_entry){.id = entry.id,
                                        .kind = RAFT_ENTRY_COMMAND,
                                        .buf = buf_ref(large),
                                        .payload = {large->data, large->bytes}};
        raft_batch_add(batch, entry);
    }
    buf_unref(large);
    raft_runs_append(&runs, batch, 0, 3000);
    raft_batch_unref(batch);
    wal_append(wal, &runs);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(recovery.entries.entry_count, 3001);
    cr_assert_eq(raft_runs_find(&recovery.entries, 2000)->payload.bytes, 300 << 10);
    cr_assert_eq(raft_runs_find(&recovery.entries, 1999)->payload.bytes, 0);
    raft_runs_clear(&recovery.entries);
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(corners, segments_are_whole_blocks_whatever_size_is_asked_for)
{
    const struct wal_options options = {.segment_bytes = 10000};
    struct memory_disk *disk = disk_with(NULL);
    struct raft_runs runs = {0};
    size_t bytes = 0;
    cr_assert_eq(
        wal_create(memory_disk_io(disk), STORY_DIR, &story_identity, &options, &runs, NULL),
        CONCLAVE_OK);
    cr_assert_not_null(memory_disk_bytes(disk, STORY_DIR "/wal/0000000000000001.wal", &bytes));
    cr_assert_eq(bytes, 8192);
    memory_disk_destroy(disk);
}

Test(corners, what_was_synced_leaves_the_memory)
{
    const struct wal_options options = {.segment_bytes = 1 << 20};
    struct memory_disk *disk = disk_with(NULL);
    const struct io *io = memory_disk_io(disk);
    struct raft_runs runs = {0};
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &options, &runs, NULL), CONCLAVE_OK);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    for (uint64_t index = 1; index <= 50; index++) {
        runs_fill(&runs, 1, index, 1);
        wal_append(wal, &runs);
        raft_runs_clear(&runs);
        cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
        cr_assert_eq(wal->staged_bytes, 0);
    }
    cr_assert_eq(wal->staged_capacity, 64 << 10, "a block at a time needs no more");
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* A log that begins anew behind a snapshot in its middle, or (`alone`) at its front. */
static struct memory_disk *disk_begun_anew(bool alone)
{
    struct memory_disk *played = disk_with(NULL);
    const struct io *io = memory_disk_io(played);
    struct raft_runs runs = {0};
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    runs_fill(&runs, 1, 1, 20);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &story_options, &runs, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&recovery.entries);
    wal_begin_anew(wal, (struct raft_id){.term = 3, .index = 100});
    for (uint64_t index = 101; index < 141; index += 8) {
        runs_fill(&runs, 3, index, 8);
        wal_append(wal, &runs);
        raft_runs_clear(&runs);
        cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    }
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    if (alone)
        cr_assert_eq(wal_remove(wal, wal_release(wal, 0), NULL), CONCLAVE_OK);
    wal_close(wal);
    struct memory_disk *disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    return disk;
}

/* What stands before the new beginning is nobody's: damage there wants nothing from others. */
Test(corners, damage_before_a_new_beginning_wants_nothing)
{
    struct memory_disk *disk = disk_begun_anew(false);
    struct placed places[512];
    size_t count = image_layout(disk, places, 512), idle = 0, wanting = 0;
    for (size_t i = 0; i + 2 < count; i++) {
        struct memory_disk *damaged = memory_disk_clone(disk);
        struct wal_repair *repair = NULL;
        struct wal_want want;
        struct conclave_error error = {0};
        size_t bytes = 0;
        bool itself = false; /* the new beginning is hit: then nobody knows of it */
        for (size_t j = i; j < i + 2; j++)
            itself |=
                memory_disk_bytes(disk, places[j].path, &bytes)[places[j].offset + 28] == WAL_ANEW;
        for (size_t j = i; j < i + 2; j++)
            memory_disk_rot(damaged, places[j].path, places[j].offset + 4, "x", 1);
        struct memory_disk *before = memory_disk_clone(damaged);
        int code =
            wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair, &error);
        cr_assert(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT, "%s", error.message);
        if (code == CONCLAVE_OK && wal_repair_want(repair, &want)) {
            wanting++;
            cr_assert(itself || want.prev.index >= 100, "record %zu", i);
        } else if (code == CONCLAVE_OK) {
            idle++;
        }
        wal_repair_close(repair);
        cr_assert(memory_disk_equal(before, damaged));
        memory_disk_destroy(before);
        memory_disk_destroy(damaged);
    }
    cr_assert_gt(idle, 15);
    cr_assert_gt(wanting, 15);
    memory_disk_destroy(disk);
}

/* The batch with which a log begins anew leaves it as it was, whatever it then becomes. */
Test(corners, the_batch_of_a_new_beginning_is_made_again_from_what_stands_around_it)
{
    struct memory_disk *whole = disk_begun_anew(false), *disk = disk_begun_anew(true);
    struct placed places[512];
    size_t count = image_layout(whole, places, 512), found = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        const struct placed *place = &places[i];
        struct wal_repair *repair = NULL;
        struct wal_want want;
        struct conclave_error error = {0};
        size_t bytes = 0;
        if (memory_disk_bytes(whole, places[i + 1].path, &bytes)[places[i + 1].offset + 28] !=
            WAL_ANEW)
            continue;
        struct memory_disk *damaged = memory_disk_clone(disk);
        const uint8_t *was = memory_disk_bytes(disk, place->path, &bytes) + place->offset;
        const uint8_t *is = memory_disk_bytes(damaged, place->path, &bytes) + place->offset;
        memory_disk_rot(damaged, place->path, place->offset + 4, &(uint8_t){was[4] ^ 1}, 1);
        cr_assert_neq(memcmp(was, is, place->bytes), 0);
        cr_assert_eq(
            wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair, &error),
            CONCLAVE_OK, "%s", error.message);
        cr_assert_not(wal_repair_want(repair, &want));
        cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
        wal_repair_close(repair);
        is = memory_disk_bytes(damaged, place->path, &bytes) + place->offset;
        cr_assert_eq(memcmp(was, is, place->bytes), 0);
        memory_disk_destroy(damaged);
        found++;
    }
    cr_assert_eq(found, 1);
    memory_disk_destroy(disk);
    memory_disk_destroy(whole);
}

/* --- Bytes -------------------------------------------------------------------------------------
 */

Test(corners, bytes_are_zero_if_all_of_them_are_as_none_are)
{
    uint8_t bytes[4] = {0};
    cr_assert(bytes_zero(bytes, 0));
    for (size_t count = 1; count <= sizeof bytes; count++) {
        cr_assert(bytes_zero(bytes, count));
        bytes[count - 1] = 1;
        cr_assert_not(bytes_zero(bytes, count));
        bytes[count - 1] = 0;
    }
}

static void append_one(struct wal *wal, uint64_t index)
{
    struct raft_runs runs = {0};
    runs_fill(&runs, 1, index, 1);
    wal_append(wal, &runs);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
}

/* A log of which a crash kept a new segment's header and not its first batch, and which went on:
 * the first batch there begins behind the header, which had been durable before it. */
static struct memory_disk *disk_with_a_header_that_survived_alone(char path[64], uint64_t *ret_last)
{
    static const uint8_t zeros[STORY_SEGMENT_BYTES];
    struct memory_disk *played = disk_with(NULL);
    struct placed places[512];
    struct raft_runs runs = {0};
    uint64_t last = 0;
    size_t count = 0, bytes = 0;
    runs_fill(&runs, 1, 1, 1);
    cr_assert_eq(
        wal_create(memory_disk_io(played), STORY_DIR, &story_identity, &story_options, &runs, NULL),
        CONCLAVE_OK);
    raft_runs_clear(&runs);
    struct wal *wal = story_log_open(played, &last);
    for (bool begun = false; !begun;) { /* what is before it is attested */
        cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
        count = image_layout(played, places, 512);
        memcpy(path, places[count - 1].path, 64);
        append_one(wal, ++last);
        count = image_layout(played, places, 512);
        begun = strcmp(path, places[count - 1].path) != 0;
        memcpy(path, places[count - 1].path, 64);
    }
    wal_close(wal);
    cr_assert_not_null(memory_disk_bytes(played, path, &bytes));
    cr_assert_leq(bytes - WAL_HEADER_BYTES, sizeof zeros);
    struct memory_disk *disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    memory_disk_rot(disk, path, WAL_HEADER_BYTES, zeros, bytes - WAL_HEADER_BYTES);
    const uint64_t lost = last;
    wal = story_log_open(disk, &last);
    cr_assert_eq(last + 1, lost, "what was never attested is gone");
    append_one(wal, lost);
    append_one(wal, lost + 1);
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    *ret_last = lost + 1;
    return disk;
}

Test(corners, first_batch_behind_a_header_that_survived_alone_is_made_again)
{
    char path[64];
    uint64_t last = 0;
    struct memory_disk *disk = disk_with_a_header_that_survived_alone(path, &last);
    struct wal_repair *repair = NULL;
    struct wal_want want;
    struct conclave_error error = {0};
    struct wal_record record;
    size_t bytes = 0;
    const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
    const uint64_t key = wal_key(&story_identity, strtoull(strrchr(path, '/') + 1, NULL, 16));
    cr_assert(wal_record_decode(data, bytes, WAL_HEADER_BYTES, key, &record));
    cr_assert_eq(record.kind, WAL_BATCH);
    cr_assert_eq(record.batch, WAL_HEADER_BYTES, "it does not begin with the header");
    struct memory_disk *damaged = memory_disk_clone(disk);
    struct wal_recovery found = {0};
    memory_disk_rot(damaged, path, WAL_HEADER_BYTES + 4, "x", 1);
    cr_assert_eq(log_read(memory_disk_io(damaged), &found, &error), CONCLAVE_CORRUPT);
    cr_assert_eq(
        wal_repair_open(memory_disk_io(damaged), STORY_DIR, &story_identity, &repair, &error),
        CONCLAVE_OK, "%s", error.message);
    cr_assert_not(wal_repair_want(repair, &want), "what stands around it tells all of it");
    cr_assert_eq(wal_repair_write(repair, &error), CONCLAVE_OK, "%s", error.message);
    wal_repair_close(repair);
    cr_assert_eq(log_read(memory_disk_io(damaged), &found, &error), CONCLAVE_OK, "%s",
                 error.message);
    cr_assert_eq(raft_runs_last(&found.entries).index, last);
    cr_assert_eq(found.attested_index, last);
    cr_assert_eq(found.cut_bytes, 0);
    raft_runs_clear(&found.entries);
    memory_disk_destroy(damaged);
    memory_disk_destroy(disk);
}
