/* Segments that were let go of and are used again. */
#include "fixture.h"

#include "base/fatal.h"
#include "storage/bytes.h"
#include "storage/wal_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Of several blocks. */
static struct wal_options options = {.segment_bytes = 8192, .spares_max = 2};

enum { ENTRIES = 600 };

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
        wal_open(room->io, STORY_DIR, &story_identity, &options, &room->wal, &found, &error),
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
    cr_assert_eq(wal_create(room.io, STORY_DIR, &story_identity, &options, &runs, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&runs);
    room_open(&room);
    for (uint64_t index = 2; index < ENTRIES + 2; index += 40)
        append(&room, index, 40);
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

static void expect_log(struct room *room, uint64_t last, uint64_t cut_bytes)
{
    struct wal_recovery found = {0};
    struct conclave_error error = {0};
    wal_close(room->wal);
    room->wal = NULL;
    cr_assert_eq(log_read(room->io, &found, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(raft_runs_last(&found.entries).index, last);
    cr_assert_eq(found.cut_bytes, cut_bytes);
    raft_runs_clear(&found.entries);
    room_open(room);
}

Test(spares, the_next_segment_is_made_of_one_and_needs_no_room)
{
    struct room room = room_create();
    let_go(&room, ENTRIES - 60);
    cr_assert_eq(count_names(&room, ".spare"), options.spares_max);
    memory_disk_set_space(room.disk, 0);
    cr_assert_eq(wal_prepare_segment(room.wal, NULL), CONCLAVE_OK);
    cr_assert_eq(count_names(&room, ".spare"), options.spares_max - 1);
    append(&room, ENTRIES + 2, 50);
    append(&room, ENTRIES + 52, 50);
    memory_disk_set_space(room.disk, UINT64_MAX);
    expect_log(&room, ENTRIES + 101, 0);
    room_destroy(&room);
}

Test(spares, no_more_are_kept_than_are_wanted)
{
    struct room room = room_create();
    size_t before = count_names(&room, ".wal");
    let_go(&room, ENTRIES);
    cr_assert_gt(before, count_names(&room, ".wal") + options.spares_max);
    cr_assert_eq(count_names(&room, ".spare"), options.spares_max);
    room_destroy(&room);
}

Test(spares, go_when_the_disk_is_full_and_at_a_start)
{
    struct room room = room_create();
    let_go(&room, ENTRIES / 2);
    cr_assert_eq(wal_drop_spares(room.wal, NULL), CONCLAVE_OK);
    cr_assert_eq(count_names(&room, ".spare"), 0);
    let_go(&room, ENTRIES);
    cr_assert_gt(count_names(&room, ".spare"), 0);
    expect_log(&room, ENTRIES + 1, 0);
    cr_assert_eq(count_names(&room, ".spare"), 0);
    room_destroy(&room);
}

/* A repair that wrote the log anew may have left blocks in them that the disk fails to read. */
Test(spares, what_a_start_finds_before_a_log_that_began_anew_becomes_none)
{
    struct room room = room_create();
    wal_begin_anew(room.wal, (struct raft_id){.term = 1, .index = ENTRIES + 1});
    cr_assert_eq(wal_sync(room.wal, NULL), CONCLAVE_OK);
    const size_t before = count_names(&room, ".wal");
    wal_close(room.wal);
    room_open(&room);
    cr_assert_lt(count_names(&room, ".wal"), before);
    cr_assert_eq(count_names(&room, ".spare"), 0);
    room_destroy(&room);
}

/* A record of its earlier life may stand behind the end of the log, whole, and says nothing. */
Test(spares, what_stood_in_one_is_no_torn_batch)
{
    struct room room = room_create();
    let_go(&room, ENTRIES - 60);
    for (uint64_t index = ENTRIES + 2; index < ENTRIES + 300; index += 7) {
        append(&room, index, 7);
        expect_log(&room, index + 6, 0);
        let_go(&room, index - 10);
    }
    room_destroy(&room);
}

/* Of the segment that is written to. */
static uint64_t last_sequence(const struct room *room)
{
    uint64_t last = 0;
    for (size_t i = 0; memory_disk_file(room->disk, i) != NULL; i++) {
        const char *name = strstr(memory_disk_file(room->disk, i), "/wal/");
        uint64_t sequence = 0;
        if (name && wal_name_parse(name + 5, &sequence) && sequence > last)
            last = sequence;
    }
    return last;
}

/* An entry of so many bytes. */
static int try_append_large(const struct room *room, uint64_t index, size_t bytes)
{
    struct raft_runs runs = {0};
    struct raft_batch *batch = raft_batch_create(1);
    struct buf *payload = buf_create(bytes);
    memset(payload->data, 'x', bytes);
    raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = index},
                                              .kind = RAFT_ENTRY_COMMAND,
                                              .payload = {payload->data, bytes},
                                              .buf = payload});
    raft_runs_append(&runs, batch, 0, 1);
    raft_batch_unref(batch);
    wal_append(room->wal, &runs);
    raft_runs_clear(&runs);
    return wal_sync(room->wal, NULL);
}

static void append_large(const struct room *room, uint64_t index, size_t bytes)
{
    cr_assert_eq(try_append_large(room, index, bytes), CONCLAVE_OK);
}

/* Behind the last record of a segment. */
static size_t end_of(const uint8_t *data, size_t bytes, uint64_t key)
{
    struct wal_record record;
    size_t end = WAL_HEADER_BYTES;
    while (wal_record_decode(data, bytes, end, key, &record))
        end += wal_record_bytes(record.payload.bytes);
    return end;
}

static const uint8_t *segment(const struct room *room, uint64_t sequence, size_t *ret_bytes)
{
    char name[WAL_NAME_BYTES], path[64];
    wal_name_format(sequence, name);
    (void)snprintf(path, sizeof path, STORY_DIR "/wal/%s", name);
    return memory_disk_bytes(room->disk, path, ret_bytes);
}

/* The end of a segment that another one follows is zero: what is not there would be taken for a
 * record that was durable and is damaged, were the header of the next one torn. How many of them
 * have a block that was not written. */
static size_t expect_zero_ends(const struct room *room)
{
    size_t with_room = 0, bytes = 0, next_bytes = 0;
    for (uint64_t sequence = 1; sequence < last_sequence(room); sequence++) {
        struct wal_header header;
        const uint8_t *data = segment(room, sequence, &bytes);
        const uint8_t *next = segment(room, sequence + 1, &next_bytes);
        if (!data || wal_header_decode(next, next_bytes, &story_identity, &header) != CONCLAVE_OK)
            continue; /* let go of; or the next one is prepared */
        size_t end = end_of(data, bytes, wal_key(&story_identity, sequence));
        with_room += end + 4096 < bytes;
        for (size_t at = end; at < bytes; at++)
            cr_assert_eq(data[at], 0, "segment %d at %zu", (int)sequence, at);
    }
    return with_room;
}

static void go_round_and_look(bool prepared, size_t large)
{
    struct room room = room_create();
    size_t with_room = 0;
    for (uint64_t index = ENTRIES + 2; index < ENTRIES + 100; index++) {
        append_large(&room, index, index % 2 == 0 ? 3000 : large);
        with_room += expect_zero_ends(&room);
        let_go(&room, index - 3);
        if (prepared && wal_needs_segment(room.wal))
            cr_assert_eq(wal_prepare_segment(room.wal, NULL), CONCLAVE_OK);
    }
    cr_assert_gt(with_room, 0, "none had a block that was not written");
    room_destroy(&room);
}

Test(spares, behind_the_last_record_of_one_that_is_full_everything_is_zero)
{
    go_round_and_look(false, 5000);
}

Test(spares, so_it_is_where_they_were_made_segments_before_they_were_needed)
{
    go_round_and_look(true, 5000);
}

Test(spares, so_it_is_where_more_than_half_of_one_was_filled)
{
    options.segment_bytes = 20480;
    go_round_and_look(false, 9000);
}

static void file_make(const struct room *room, const char *path)
{
    struct io_file *file = NULL;
    struct iovec part = {.iov_base = (char[]){"x"}, .iov_len = 1};
    cr_assert_eq(room->io->open(room->io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(room->io->writev(room->io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
    room->io->close(room->io->ctx, file);
    cr_assert_eq(room->io->sync_dir(room->io->ctx, STORY_DIR "/wal", NULL), CONCLAVE_OK);
}

/* What is made zero is written in pieces, and nothing after one that fails. */
Test(spares, zeros_are_written_in_pieces_and_stop_at_the_first_that_fails)
{
    enum { PIECE = 256 << 10, FROM = IO_BLOCK_BYTES, TO = FROM + 2 * PIECE + IO_BLOCK_BYTES };
    for (uint64_t fails = 0; fails <= 3; fails++) {
        struct memory_disk *disk = memory_disk_create();
        const struct io *io = memory_disk_io(disk);
        struct io_file *file = NULL;
        size_t count = TO + IO_BLOCK_BYTES;
        uint8_t *ones = mem_alloc(count);
        memset(ones, 1, count);
        struct iovec part = {.iov_base = ones, .iov_len = count};
        cr_assert_eq(io->open(io->ctx, "file", IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
        cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
        free(ones);
        uint64_t before = memory_disk_changes(disk);
        memory_disk_fail_at_change(disk, fails ? before + fails : 0, CONCLAVE_IO);
        cr_assert_eq(wal_write_zeros(io, file, FROM, TO, NULL), fails ? CONCLAVE_IO : CONCLAVE_OK);
        cr_assert_eq(memory_disk_changes(disk), before + (fails ? fails : 3));
        const uint8_t *bytes = memory_disk_bytes(disk, "file", &count);
        cr_assert_eq(count, TO + IO_BLOCK_BYTES);
        cr_assert(bytes[FROM - 1] == 1 && bytes[TO] == 1, "and nothing else");
        cr_assert(fails > 0 || bytes_zero(bytes + FROM, TO - FROM));
        io->close(io->ctx, file);
        memory_disk_destroy(disk);
    }
}

Test(spares, files_of_other_names_stay_where_they_are)
{
    static const char *const names[] = {STORY_DIR "/wal/0000000000000001.wal.other",
                                        STORY_DIR "/wal/segment-number-1.wal.spare",
                                        STORY_DIR "/wal/000000000000000g.wal.spare"};
    struct room room = room_create();
    size_t bytes;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        file_make(&room, names[i]);
    expect_log(&room, ENTRIES + 1, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_not_null(memory_disk_bytes(room.disk, names[i], &bytes), "%s", names[i]);
    room_destroy(&room);
}

/* Goes round in the spares, and gives them up; how far the log is synced then. */
static uint64_t go_round(const struct room *room)
{
    uint64_t synced = ENTRIES + 1;
    int code = wal_remove(room->wal, wal_release(room->wal, ENTRIES - 60), NULL);
    if (!code)
        code = wal_prepare_segment(room->wal, NULL);
    for (int i = 0; i < 4 && !code; i++) {
        struct raft_runs runs = {0};
        runs_fill(&runs, 1, synced + 1, 50);
        wal_append(room->wal, &runs);
        raft_runs_clear(&runs);
        code = wal_sync(room->wal, NULL);
        synced += code ? 0 : 50;
    }
    if (!code)
        code = wal_drop_spares(room->wal, NULL);
    cr_assert(!code || code == CONCLAVE_IO);
    return synced;
}

/* The same with entries that leave a block of most segments unwritten, which is made zero. */
static uint64_t go_round_large(const struct room *room)
{
    uint64_t synced = ENTRIES + 1;
    int code = CONCLAVE_OK;
    for (int i = 0; i < 6 && !code; i++) {
        code = wal_remove(room->wal, wal_release(room->wal, synced - 3), NULL);
        if (!code)
            code = try_append_large(room, synced + 1, i % 2 == 0 ? 3000 : 5000);
        synced += code ? 0 : 1;
    }
    return synced;
}

static void fail_everywhere(uint64_t (*round)(const struct room *))
{
    uint64_t failed = 0, changes = 0;
    do {
        struct room room = room_create();
        uint64_t before = memory_disk_changes(room.disk);
        memory_disk_fail_at_change(room.disk, before + ++failed, CONCLAVE_IO);
        uint64_t synced = round(&room);
        changes = memory_disk_changes(room.disk) - before;
        memory_disk_fail_at_change(room.disk, 0, CONCLAVE_OK);
        struct wal_recovery found = {0};
        struct conclave_error error = {0};
        wal_close(room.wal);
        memory_disk_crash_hard(room.disk);
        (void)expect_zero_ends(&room);
        cr_assert_eq(log_read(room.io, &found, &error), CONCLAVE_OK, "change %lu: %s",
                     (unsigned long)failed, error.message);
        cr_assert_geq(raft_runs_last(&found.entries).index, synced);
        raft_runs_clear(&found.entries);
        memory_disk_destroy(room.disk);
    } while (changes >= failed);
    cr_assert_gt(failed, 10);
}

Test(spares, any_operation_may_fail_and_what_was_synced_is_there, .timeout = 1200)
{
    fail_everywhere(go_round);
}

Test(spares, so_it_is_where_the_end_of_one_is_made_zero, .timeout = 1200)
{
    fail_everywhere(go_round_large);
}

Test(spares, one_that_cannot_be_removed_is_told_and_goes_at_the_next_start)
{
    struct room room = room_create();
    let_go(&room, ENTRIES);
    cr_assert_eq(count_names(&room, ".spare"), 2);
    memory_disk_fail_at_change(room.disk, memory_disk_changes(room.disk) + 1, CONCLAVE_IO);
    cr_assert_eq(wal_drop_spares(room.wal, NULL), CONCLAVE_IO);
    cr_assert_eq(count_names(&room, ".spare"), 2);
    cr_assert_eq(wal_drop_spares(room.wal, NULL), CONCLAVE_OK);
    cr_assert_eq(count_names(&room, ".spare"), 1, "the first one is not known any more");
    expect_log(&room, ENTRIES + 1, 0);
    cr_assert_eq(count_names(&room, ".spare"), 0);
    room_destroy(&room);
}

/* More than a run makes: left behind by several that were killed. */
Test(spares, many_that_were_left_go_at_a_start_though_one_before_it_failed)
{
    struct room room = room_create();
    uint64_t at = 1;
    for (unsigned i = 0; i < 20; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, STORY_DIR "/wal/%016x.wal.spare", 0x1000 + i);
        file_make(&room, path);
    }
    for (bool met = true; met; at++) {
        struct room again = {.disk = memory_disk_clone(room.disk)};
        struct wal_recovery found = {0};
        again.io = memory_disk_io(again.disk);
        memory_disk_fail_at(again.disk, at, CONCLAVE_IO);
        int code = log_read(again.io, &found, NULL);
        met = memory_disk_operations(again.disk) >= at;
        cr_assert_eq(code, met ? CONCLAVE_IO : CONCLAVE_OK, "operation %d", (int)at);
        raft_runs_clear(&found.entries);
        memory_disk_fail_at(again.disk, 0, CONCLAVE_OK);
        expect_log(&again, ENTRIES + 1, 0);
        cr_assert_eq(count_names(&again, ".spare"), 0);
        room_destroy(&again);
    }
    cr_assert_gt(at, 20);
    room_destroy(&room);
}
