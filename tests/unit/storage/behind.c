/* What stands behind the end of a log, in the segments that come next: prepared ones, a first batch
 * that was torn, or something that shows that more had been durable. Judged by the scan alone. */
#include "fixture.h"

#include "storage/bytes.h"
#include "storage/wal_scan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { ACTIVE = 2, NEXT = 3, SECOND = 4, FROM_START = 0 };

/* Batches of one entry each, in four segments at least; in the first two all is well. */
static const struct step steps[] = {
    {STEP_APPEND, 2, 2, 1},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 3, 1},  {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 4, 1},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 5, 1},  {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 6, 1},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 7, 1},  {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 8, 1},  {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 9, 1},  {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 10, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 11, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 12, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 13, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 14, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_APPEND, 2, 15, 1}, {STEP_SYNC, 0, 0, 0},
    {STEP_APPEND, 2, 16, 1}, {STEP_SYNC, 0, 0, 0}, {STEP_END, 0, 0, 0},
};

static struct memory_disk *disk;
static struct placed places[512];
static size_t place_count;

static void make(void)
{
    struct memory_disk *played = memory_disk_create();
    struct story story;
    cr_assert_eq(story_play(&story, memory_disk_io(played), steps), CONCLAVE_OK);
    disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    place_count = image_layout(disk, places, 512);
    cr_assert_geq(strtoul(strrchr(places[place_count - 1].path, '/') + 1, NULL, 16), SECOND);
}

static void gone(void)
{
    memory_disk_destroy(disk);
}

TestSuite(behind, .init = make, .fini = gone);

static const char *path_of(unsigned sequence)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "%s/wal/%016x.wal", STORY_DIR, sequence);
    return path;
}

/* Record `number` of a segment. */
static const struct placed *record_of(unsigned sequence, size_t number)
{
    size_t i = 0;
    while (strcmp(places[i].path, path_of(sequence)) != 0)
        i++;
    cr_assert_lt(i + number, place_count);
    cr_assert_str_eq(places[i + number].path, path_of(sequence));
    return &places[i + number];
}

/* Bytes [from, to) become zero; to 0: up to the end of the file. */
static void clear(unsigned sequence, size_t from, size_t to)
{
    static const uint8_t zeros[2 * STORY_SEGMENT_BYTES];
    size_t bytes = 0;
    cr_assert_not_null(memory_disk_bytes(disk, path_of(sequence), &bytes));
    to = to == 0 ? bytes : to;
    cr_assert_leq(to - from, sizeof zeros);
    memory_disk_rot(disk, path_of(sequence), from, zeros, to - from);
}

/* Leaves of a segment one record, and no header. */
static void leave_record(unsigned sequence, size_t number)
{
    const struct placed *record = record_of(sequence, number);
    clear(sequence, FROM_START, record->offset);
    clear(sequence, record->offset + record->bytes, 0);
}

/* The segments behind these hold nothing and are not there. */
static void end_with(unsigned sequence)
{
    const struct io *io = memory_disk_io(disk);
    for (unsigned next = sequence + 1; io->unlink(io->ctx, path_of(next), NULL) == CONCLAVE_OK;)
        next++;
}

static int scan(struct wal_scan *ret, struct conclave_error *error)
{
    return wal_scan_run(memory_disk_io(disk), STORY_DIR "/wal", &story_identity, false, ret, error);
}

/* The code; the message has this in it. */
static int judged(const char *what)
{
    struct wal_scan found = {0};
    struct conclave_error error = {0};
    int code = scan(&found, &error);
    cr_assert_not_null(strstr(error.message, what), "%s", error.message);
    wal_scan_deinit(&found);
    return code;
}

Test(behind, prepared_segments_hold_nothing)
{
    struct wal_scan found = {0};
    end_with(SECOND);
    clear(NEXT, FROM_START, 0);
    clear(SECOND, FROM_START, 0);
    cr_assert_eq(scan(&found, NULL), CONCLAVE_OK);
    cr_assert_eq(found.segment_count, SECOND);
    cr_assert_eq(found.segments[found.active].sequence, ACTIVE);
    for (size_t i = found.active; i < found.segment_count; i++) {
        cr_assert_eq(found.segments[i].dirty_end, found.segments[i].dirty_start);
        cr_assert_eq(found.segments[i].torn_bytes, 0);
    }
    wal_scan_deinit(&found);
}

/* What a spare held is of another sequence: no record here. */
Test(behind, what_is_no_record_shows_nothing_and_is_made_zero)
{
    struct wal_scan found = {0};
    end_with(SECOND);
    clear(NEXT, FROM_START, 0);
    clear(SECOND, FROM_START, 0);
    memory_disk_rot(disk, path_of(NEXT), 600, "junk", 4);
    memory_disk_rot(disk, path_of(SECOND), 700, "junk", 4);
    cr_assert_eq(scan(&found, NULL), CONCLAVE_OK);
    cr_assert_eq(found.segments[NEXT - 1].dirty_start, 600);
    cr_assert_eq(found.segments[NEXT - 1].dirty_end, 604);
    cr_assert_eq(found.segments[NEXT - 1].torn_bytes, 0);
    cr_assert_eq(found.segments[SECOND - 1].dirty_start, 700);
    cr_assert_eq(found.segments[SECOND - 1].torn_bytes, 0);
    wal_scan_deinit(&found);
}

Test(behind, torn_first_batch_reaches_to_its_last_whole_record)
{
    const struct placed *entry = record_of(NEXT, 1);
    struct wal_scan found = {0};
    end_with(NEXT);
    clear(NEXT, FROM_START, WAL_HEADER_BYTES);
    clear(NEXT, entry->offset + entry->bytes, 0);
    memory_disk_rot(disk, path_of(NEXT), entry->offset + entry->bytes + 40, "junk", 4);
    cr_assert_eq(scan(&found, NULL), CONCLAVE_OK);
    cr_assert_eq(found.segments[found.active].sequence, ACTIVE);
    cr_assert_eq(found.segments[NEXT - 1].torn_bytes, entry->offset + entry->bytes);
    wal_scan_deinit(&found);
}

/* An entry of it alone says no more than that: nothing before it is lost. */
Test(behind, torn_first_batch_may_lack_its_front)
{
    struct wal_scan found = {0};
    end_with(NEXT);
    leave_record(NEXT, 1);
    cr_assert_eq(scan(&found, NULL), CONCLAVE_OK);
    cr_assert_eq(found.segments[found.active].sequence, ACTIVE);
    wal_scan_deinit(&found);
}

Test(behind, first_batch_that_names_a_later_entry_shows_that_one_is_lost)
{
    size_t last = place_count;
    end_with(NEXT);
    leave_record(NEXT, 0);
    while (strcmp(places[last - 1].path, path_of(ACTIVE)) != 0)
        last--;
    clear(ACTIVE, places[last - 1].offset, 0);
    cr_assert_eq(judged("segment 0000000000000002.wal"), CONCLAVE_CORRUPT);
}

Test(behind, record_of_a_later_batch_shows_that_the_header_had_been_durable)
{
    end_with(NEXT);
    leave_record(NEXT, 2);
    cr_assert_eq(judged("segment 0000000000000003.wal, offset 0"), CONCLAVE_CORRUPT);
}

Test(behind, header_of_the_second_segment_shows_that_the_first_had_been_durable)
{
    end_with(SECOND);
    clear(NEXT, FROM_START, 0);
    clear(SECOND, WAL_HEADER_BYTES, 0);
    cr_assert_eq(judged("segment 0000000000000003.wal, offset 0"), CONCLAVE_CORRUPT);
}

Test(behind, record_in_the_second_segment_shows_that_the_first_had_been_durable)
{
    end_with(SECOND);
    clear(NEXT, FROM_START, 0);
    leave_record(SECOND, 1);
    cr_assert_eq(judged("segment 0000000000000003.wal, offset 0"), CONCLAVE_CORRUPT);
}

Test(behind, damage_stays_damage_though_all_behind_it_is_well)
{
    end_with(SECOND);
    leave_record(NEXT, 2);
    clear(SECOND, FROM_START, 0);
    cr_assert_eq(judged("segment 0000000000000003.wal, offset 0"), CONCLAVE_CORRUPT);
}

Test(behind, header_that_is_newer_or_of_another_node_is_told_there_too)
{
    static const struct {
        size_t at;
        int code;
        const char *says;
    } headers[] = {{16, CONCLAVE_VERSION, "newer format"}, {32, CONCLAVE_IDENTITY, "another node"}};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        uint8_t header[WAL_HEADER_BYTES];
        size_t bytes = 0;
        gone();
        make();
        end_with(SECOND);
        clear(NEXT, FROM_START, 0);
        memcpy(header, memory_disk_bytes(disk, path_of(SECOND), &bytes), sizeof header);
        header[headers[i].at]++;
        put_u64(header, XXH3_64bits(header + 8, sizeof header - 8));
        memory_disk_rot(disk, path_of(SECOND), 0, header, sizeof header);
        cr_assert_eq(judged(headers[i].says), headers[i].code);
    }
}

Test(behind, disk_that_fails_to_read_it_is_told)
{
    end_with(NEXT);
    clear(NEXT, FROM_START, 0);
    memory_disk_break(disk, path_of(NEXT), 0, 1);
    cr_assert_eq(judged(""), CONCLAVE_IO);
}
