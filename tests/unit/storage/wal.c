#include "storage/wal.h"
#include "fixture.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct memory_disk *disk_with_log(uint64_t first, uint64_t count)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct raft_runs runs = {0};
    struct conclave_error error = {0};
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync_dir(io->ctx, ".", NULL), CONCLAVE_OK);
    if (count > 0)
        runs_fill(&runs, 4, first, count);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &story_options, &runs, &error),
                 CONCLAVE_OK, "%s", error.message);
    raft_runs_clear(&runs);
    memory_disk_crash_hard(disk);
    return disk;
}

static struct wal *log_open(struct memory_disk *disk)
{
    uint64_t last;
    return story_log_open(disk, &last);
}

static void append(struct wal *wal, uint64_t term, uint64_t index, uint64_t count)
{
    struct raft_runs runs = {0};
    runs_fill(&runs, term, index, count);
    wal_append(wal, &runs);
    raft_runs_clear(&runs);
}

Test(wal, new_log_holds_its_first_entries)
{
    struct memory_disk *disk = disk_with_log(1, 3);
    struct wal_recovery recovery = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(recovery.entries.entry_count, 3);
    cr_assert_eq(recovery.attested_index, 3);
    cr_assert_eq(recovery.cut_bytes, 0);
    cr_assert_eq(recovery.segment_count, 1);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, clean_start_writes_nothing)
{
    struct memory_disk *disk = disk_with_log(1, 3);
    struct memory_disk *before = memory_disk_clone(disk);
    wal_close(log_open(disk));
    cr_assert(memory_disk_equal(before, disk));
    memory_disk_destroy(before);
    memory_disk_destroy(disk);
}

Test(wal, is_created_once)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct raft_runs none = {0};
    cr_assert_eq(
        wal_create(memory_disk_io(disk), STORY_DIR, &story_identity, &story_options, &none, NULL),
        CONCLAVE_EXISTS);
    memory_disk_destroy(disk);
}

Test(wal, empty_log_takes_index_1_first)
{
    struct memory_disk *disk = disk_with_log(1, 0);
    struct wal *wal = log_open(disk);
    cr_assert_eq(wal_last(wal).index, 0);
    append(wal, 1, 1, 1);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(wal_last(wal).index, 1);
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(wal, log_may_begin_behind_a_snapshot)
{
    struct memory_disk *disk = disk_with_log(101, 40);
    struct wal_recovery recovery = {0};
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(log_read(io, &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(raft_runs_first(&recovery.entries).index, 101);
    cr_assert_eq(raft_runs_last(&recovery.entries).index, 140);
    cr_assert_gt(recovery.segment_count, 1);
    raft_runs_clear(&recovery.entries);

    /* Compaction of the future: the first segment is gone. */
    cr_assert_eq(io->unlink(io->ctx, STORY_DIR "/wal/0000000000000001.wal", NULL), CONCLAVE_OK);
    cr_assert_eq(log_read(io, &recovery, NULL), CONCLAVE_OK);
    cr_assert_gt(raft_runs_first(&recovery.entries).index, 101);
    cr_assert_eq(raft_runs_last(&recovery.entries).index, 140);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, sync_without_anything_staged_does_nothing)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    uint64_t before = memory_disk_operations(disk);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    cr_assert_not(wal_needs_attest(wal));
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_operations(disk), before);
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(wal, batch_is_one_write_and_one_sync)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    append(wal, 4, 2, 1);
    append(wal, 5, 3, 1);
    uint64_t before = memory_disk_operations(disk);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_operations(disk), before + 2);
    cr_assert(wal_needs_attest(wal));
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_operations(disk), before + 4);
    cr_assert_not(wal_needs_attest(wal));
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(wal, staged_entries_are_lost_by_close)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    append(wal, 4, 2, 5);
    cr_assert_eq(wal_last(wal).index, 6);
    cr_assert_not(wal_needs_attest(wal));
    wal_close(wal);
    wal = log_open(disk);
    cr_assert_eq(wal_last(wal).index, 1);
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(wal, entry_at_or_below_the_last_replaces_from_there)
{
    struct memory_disk *disk = disk_with_log(1, 40);
    struct wal *wal = log_open(disk);
    append(wal, 6, 20, 1);
    cr_assert_eq(wal_last(wal).index, 20);
    cr_assert_eq(wal_last(wal).term, 6);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    struct wal_recovery recovery = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(recovery.attested_index, 19, "what replaced the rest is not attested yet");
    raft_runs_clear(&recovery.entries);

    wal = log_open(disk);
    append(wal, 7, 20, 12); /* more than one segment */
    append(wal, 8, 22, 1);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    struct raft_runs_iter iter = {0};
    uint64_t index = 0;
    for (const struct raft_entry *entry;
         (entry = raft_runs_next(&recovery.entries, &iter)) != NULL;) {
        index++;
        cr_assert_eq(entry->id.index, index);
        cr_assert_eq(entry->id.term, index < 20 ? 4 : index < 22 ? 7 : 8);
    }
    cr_assert_eq(index, 22);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, gap_is_a_broken_program, .signal = SIGABRT)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    append(wal, 4, 3, 1);
}

Test(wal, prepared_segment_is_used_and_costs_the_owner_nothing)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    cr_assert(wal_needs_segment(wal));
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    cr_assert_not(wal_needs_segment(wal));
    uint64_t before = memory_disk_operations(disk);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_operations(disk), before, "it is there already");
    append(wal, 4, 2, 10);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_operations(disk), before + 4, "two batches: two writes, two syncs");
    cr_assert(wal_needs_segment(wal));
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(wal, prepared_segment_is_adopted_at_the_next_start)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    memory_disk_crash_hard(disk);
    wal = log_open(disk);
    cr_assert_not(wal_needs_segment(wal));
    append(wal, 4, 2, 10);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    struct wal_recovery recovery = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(recovery.segment_count, 2);
    cr_assert_eq(recovery.entries.entry_count, 11);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, prepared_segment_of_another_size_is_made_anew)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    const struct io *io = memory_disk_io(disk);
    const struct wal_options larger = {.segment_bytes = 4096};
    struct wal *wal = log_open(disk);
    struct wal_recovery recovery = {0};
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &larger, &wal, &recovery, NULL),
                 CONCLAVE_OK);
    raft_runs_clear(&recovery.entries);
    cr_assert(wal_needs_segment(wal));
    append(wal, 4, 2, 30);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    size_t bytes = 0;
    cr_assert_not_null(memory_disk_bytes(disk, STORY_DIR "/wal/0000000000000002.wal", &bytes));
    cr_assert_eq(bytes, 4096);
    cr_assert_eq(log_read(io, &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(recovery.entries.entry_count, 31);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, leftover_temporary_segment_is_replaced)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    const struct io *io = memory_disk_io(disk);
    struct io_file *file = NULL;
    cr_assert_eq(io->open(io->ctx, STORY_DIR "/wal/next.tmp", IO_OPEN_CREATE, &file, NULL),
                 CONCLAVE_OK);
    io->close(io->ctx, file);
    struct wal *wal = log_open(disk);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    memory_disk_destroy(disk);
}

Test(wal, helper_without_space_leaves_the_log_usable)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    memory_disk_set_space(disk, 100);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_NO_SPACE);
    append(wal, 4, 2, 1);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK, "there is room in this segment");
    memory_disk_set_space(disk, 1 << 20);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* The log grows by so many entries at a time until there is no room. */
static void wait_for_room(uint64_t step)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    memory_disk_set_space(disk, 100);
    uint64_t next = 2;
    int code = CONCLAVE_OK;
    for (; next < 10000 && !code; next += step) { /* until the segment is full */
        append(wal, 4, next, step);
        code = wal_sync(wal, NULL);
    }
    cr_assert_eq(code, CONCLAVE_NO_SPACE);
    cr_assert(wal_is_blocked(wal));
    cr_assert_not(wal_needs_attest(wal));
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_NO_SPACE, "as often as one likes");
    append(wal, 4, next, 20); /* more comes meanwhile: over the end of the next one too */
    next += 20;
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_NO_SPACE);
    memory_disk_set_space(disk, 1 << 20);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    cr_assert_not(wal_is_blocked(wal));
    wal_close(wal);
    memory_disk_crash_hard(disk);
    struct wal_recovery recovery = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(raft_runs_last(&recovery.entries).index, next - 1);
    cr_assert_eq(recovery.entries.entry_count, next - 1);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, what_finds_no_room_waits_and_loses_nothing)
{
    for (uint64_t step = 1; step <= 12; step++) /* with and without a part that had room */
        wait_for_room(step);
}

Test(wal, what_found_no_room_is_not_there_after_a_crash)
{
    struct memory_disk *disk = disk_with_log(1, 1);
    struct wal *wal = log_open(disk);
    memory_disk_set_space(disk, 100);
    uint64_t durable = 1;
    for (uint64_t next = 2;; next = durable + 1) {
        append(wal, 4, next, 1);
        if (wal_sync(wal, NULL) != CONCLAVE_OK)
            break;
        durable = next;
    }
    wal_close(wal);
    memory_disk_crash_hard(disk);
    struct wal_recovery recovery = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(raft_runs_last(&recovery.entries).index, durable);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, entry_larger_than_a_segment_gets_its_own)
{
    struct memory_disk *disk = disk_with_log(1, STORY_LARGE_INDEX - 1);
    struct wal *wal = log_open(disk);
    cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    append(wal, 4, STORY_LARGE_INDEX, 3);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    memory_disk_crash_hard(disk);
    struct wal_recovery recovery = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, NULL), CONCLAVE_OK);
    cr_assert_eq(recovery.entries.entry_count, STORY_LARGE_INDEX + 2);
    raft_runs_clear(&recovery.entries);
    memory_disk_destroy(disk);
}

Test(wal, segment_of_another_node_is_refused)
{
    struct memory_disk *disk = disk_with_log(1, 3);
    struct storage_identity other = story_identity;
    struct wal *wal = NULL;
    struct wal_recovery recovery;
    struct conclave_error error = {0};
    other.incarnation++;
    uint64_t before = memory_disk_changes(disk);
    cr_assert_eq(
        wal_open(memory_disk_io(disk), STORY_DIR, &other, &story_options, &wal, &recovery, &error),
        CONCLAVE_IDENTITY);
    cr_assert_not_null(strstr(error.message, "another node"), "%s", error.message);
    cr_assert_eq(memory_disk_changes(disk), before);
    memory_disk_destroy(disk);
}

Test(wal, missing_log_is_not_a_fresh_start)
{
    struct memory_disk *disk = memory_disk_create();
    struct wal_recovery recovery;
    struct conclave_error error = {0};
    cr_assert_eq(log_read(memory_disk_io(disk), &recovery, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "missing"), "%s", error.message);
    memory_disk_destroy(disk);
}

Test(wal_format, names)
{
    char name[WAL_NAME_BYTES];
    uint64_t sequence = 0;
    wal_name_format(0xabc, name);
    cr_assert_str_eq(name, "0000000000000abc.wal");
    cr_assert(wal_name_parse(name, &sequence));
    cr_assert_eq(sequence, 0xabc);
    cr_assert_not(wal_name_parse("next.tmp", &sequence));
    cr_assert_not(wal_name_parse("0000000000000ABC.wal", &sequence));
    cr_assert_not(wal_name_parse("0000000000000000.wal", &sequence));
    cr_assert_not(wal_name_parse("0000000000000abc.wal~", &sequence));
}

/* As docs/disk-format.md has it: what was written is to be read by every later version. */
Test(wal_format, record_is_these_bytes)
{
    static const uint8_t expected[] = {
        0xcf, 0x86, 0x14, 0x9d, 0x44, 0xee, 0x9a, 0xc2, /* checksum */
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* previous */
        0x05, 0x00, 0x00, 0x00, 0x14, 0x13, 0x12, 0x11, /* payload bytes, offset */
        0x24, 0x23, 0x22, 0x21, 0x02, 0x03, 0x00, 0x00, /* batch, kinds */
        0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, /* term */
        0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41, /* index */
        'h',  'e',  'l',  'l',  'o',  0x00, 0x00, 0x00};
    uint8_t bytes[sizeof expected + 8];
    memset(bytes, '#', sizeof bytes);
    const struct wal_record record = {
        .previous = 0x0102030405060708,
        .offset = 0x11121314,
        .batch = 0x21222324,
        .kind = WAL_ENTRY,
        .entry_kind = 3,
        .id = {.term = 0x3132333435363738, .index = 0x4142434445464748},
        .payload = {.data = (const uint8_t *)"hello", .bytes = 5}};
    uint64_t link = wal_record_encode(bytes, 0x5152535455565758, &record);
    cr_assert_eq(wal_record_bytes(record.payload.bytes), sizeof expected);
    cr_assert_arr_eq(bytes, expected, sizeof expected);
    cr_assert_eq(bytes[sizeof expected], '#', "and no more");
    cr_assert_eq(link, 0x4dfac3ad3c4dbe83);
}

Test(wal_format, record_is_whole_only_in_its_place_and_segment)
{
    uint8_t segment[512] = {0};
    struct wal_record record = {.previous = 7,
                                .offset = 64,
                                .batch = 16,
                                .kind = WAL_ENTRY,
                                .entry_kind = 1,
                                .id = {.term = 2, .index = 9},
                                .payload = {.data = (const uint8_t *)"hello", .bytes = 5}};
    struct wal_record got;
    uint64_t key = wal_key(&story_identity, 1);
    uint64_t link = wal_record_encode(segment + 64, key, &record);
    cr_assert(wal_record_decode(segment, sizeof(segment), 64, key, &got));
    cr_assert_eq(got.link, link);
    cr_assert_eq(got.previous, 7);
    cr_assert_eq(got.batch, 16);
    cr_assert_eq(got.id.index, 9);
    cr_assert_eq(got.payload.bytes, 5);
    cr_assert_eq(memcmp(got.payload.data, "hello", 5), 0);
    cr_assert_not(
        wal_record_decode(segment, sizeof(segment), 64, wal_key(&story_identity, 2), &got));
    cr_assert_not(wal_record_decode(segment + 8, sizeof(segment) - 8, 56, key, &got));
    cr_assert_not(wal_record_decode(segment, 64 + 55, 64, key, &got), "it does not lie in it");
    segment[64 + 48 + 6] = 1; /* padding */
    cr_assert_not(wal_record_decode(segment, sizeof(segment), 64, key, &got));
}
