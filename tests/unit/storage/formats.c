/* Bytes that carry a right checksum and still make no sense: what a program that is wrong, or
 * somebody with an editor, leaves on a disk. All of it is refused, and nothing is changed. */
#include "fixture.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/joined.h"
#include "storage/wal_repair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void file_write(const struct io *io, const char *path, uint8_t *bytes, size_t count)
{
    struct io_file *file = NULL;
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    if (count > 0)
        cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
}

static struct memory_disk *disk_with(const char *directory)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    if (directory)
        cr_assert_eq(io->make_dir(io->ctx, directory, NULL), CONCLAVE_OK);
    return disk;
}

/* --- Names ------------------------------------------------------------------------------------ */

Test(formats, names_of_segments_are_read_as_they_are_written)
{
    static const char *const wrong[] = {"",
                                        "0000000000000001.wa",
                                        "0000000000000001.wax",
                                        "000000000000000A.wal",
                                        "000000000000000g.wal",
                                        "000000000000000/.wal",
                                        "000000000000000:.wal",
                                        "000000000000000`.wal",
                                        "0000000000000000.wal",
                                        "00000000000000001.wal"};
    char name[WAL_NAME_BYTES];
    uint64_t sequence = 0;
    wal_name_format(0x19af, name);
    cr_assert(wal_name_parse(name, &sequence));
    cr_assert_eq(sequence, 0x19af);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(wal_name_parse(wrong[i], &sequence), "%s", wrong[i]);
}

/* --- Blocks ----------------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 96 };

static int check_block(const uint8_t *block, size_t available)
{
    return block_check(block, available, BLOCK_BYTES, "MAGICMAG", &story_identity);
}

/* Makes the checksum right again, over so many bytes. */
static void reseal(uint8_t *block, size_t bytes)
{
    put_u64(block, XXH3_64bits(block + 8, bytes - 8));
}

Test(formats, block_is_whole_and_of_this_node)
{
    uint8_t whole[BLOCK_BYTES] = {0}, block[BLOCK_BYTES];
    (void)block_seal(whole, sizeof whole, "MAGICMAG", &story_identity);
    cr_assert_eq(check_block(whole, sizeof whole), CONCLAVE_OK);
    for (size_t available = 0; available < sizeof whole; available++)
        cr_assert_eq(check_block(whole, available), CONCLAVE_CORRUPT, "%zu bytes", available);
    static const struct {
        size_t at;
        uint32_t value;
        size_t sealed;
        int code;
    } changes[] = {{8, 0x4d4d4d4d, BLOCK_BYTES, CONCLAVE_CORRUPT}, /* magic */
                   {16, 2, BLOCK_BYTES, CONCLAVE_VERSION},
                   {16, 0, BLOCK_BYTES, CONCLAVE_CORRUPT},
                   {20, 47, 47, CONCLAVE_CORRUPT}, /* bytes claimed */
                   {20, 48, 48, CONCLAVE_CORRUPT},
                   {20, 97, BLOCK_BYTES, CONCLAVE_CORRUPT},
                   {24, 1, BLOCK_BYTES, CONCLAVE_IDENTITY},
                   {32, 1, BLOCK_BYTES, CONCLAVE_IDENTITY},
                   {40, 1, BLOCK_BYTES, CONCLAVE_IDENTITY}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        memcpy(block, whole, sizeof block);
        put_u32(block + changes[i].at, changes[i].value);
        reseal(block, changes[i].sealed);
        cr_assert_eq(check_block(block, sizeof block), changes[i].code, "change %zu", i);
    }
}

/* Numbers of a thousand nodes, bytes that are no configuration, another node's: all refused. */
Test(formats, joined_file_is_refused_unless_whole)
{
    static const struct {
        const char *payload;
        size_t bytes;
        bool foreign;
        int code;
    } files[] = {{"\xdd\xff\xff\xff\xff", 5, false, CONCLAVE_CORRUPT},
                 {"\x00", 1, false, CONCLAVE_CORRUPT},
                 {"", 0, false, CONCLAVE_CORRUPT},
                 {"x", 1, true, CONCLAVE_IDENTITY}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct memory_disk *disk = disk_with(NULL);
        struct conclave_error error = {0};
        uint8_t block[128] = {0};
        struct storage_identity identity = story_identity;
        identity.node_id += files[i].foreign;
        size_t bytes = BLOCK_FRAME_BYTES + files[i].bytes;
        memcpy(block + BLOCK_FRAME_BYTES, files[i].payload, files[i].bytes);
        (void)block_seal(block, bytes, "CNCLV_JN", &identity);
        file_write(memory_disk_io(disk), STORY_DIR "/joined", block, bytes);
        struct raft_configuration *got = mem_zalloc(sizeof *got);
        cr_assert_eq(joined_read(memory_disk_io(disk), STORY_DIR, &story_identity, got, &error),
                     files[i].code, "file %zu: %s", i, error.message);
        cr_assert_eq(got->member_count, 0, "untouched");
        free(got);
        memory_disk_destroy(disk);
    }
}

/* --- Records of the log ----------------------------------------------------------------------- */

/* Where the log ends, and what follows from that for the next record. */
struct tail {
    struct memory_disk *disk;
    char path[64];
    uint64_t key;
    uint64_t chain, before; /* the links of the last entry, and of the one before it */
    uint32_t offset, batch;
    struct raft_id last;
};

/* A log of several segments whose last one holds this many entries of the last batch. */
static bool tail_try(struct tail *tail, uint64_t count)
{
    const struct step steps[] = {
        {STEP_APPEND, 1, 2, 4},      {STEP_SYNC, 0, 0, 0},     {STEP_APPEND, 2, 4, 12},
        {STEP_SYNC, 0, 0, 0},        {STEP_APPEND, 3, 16, 10}, {STEP_SYNC, 0, 0, 0},
        {STEP_APPEND, 4, 26, count}, {STEP_SYNC, 0, 0, 0},     {STEP_END, 0, 0, 0}};
    struct memory_disk *played = memory_disk_create();
    struct story story;
    struct placed places[512];
    cr_assert_eq(story_play(&story, memory_disk_io(played), steps), CONCLAVE_OK);
    tail->disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    const struct placed *last = &places[image_layout(tail->disk, places, 512) - 1];
    memcpy(tail->path, last->path, sizeof tail->path);
    size_t bytes = 0;
    uint64_t sequence = 0;
    struct wal_record record;
    const uint8_t *data = memory_disk_bytes(tail->disk, tail->path, &bytes);
    cr_assert(wal_name_parse(strrchr(tail->path, '/') + 1, &sequence));
    tail->key = wal_key(&story_identity, sequence);
    cr_assert(wal_record_decode(data, bytes, last->offset, tail->key, &record));
    cr_assert_eq(record.kind, WAL_ENTRY);
    tail->chain = record.link;
    tail->before = record.previous;
    tail->offset = (uint32_t)(last->offset + last->bytes);
    tail->batch = record.batch;
    tail->last = record.id;
    return sequence > 1 && tail->offset + 300 <= bytes;
}

static void tail_make(struct tail *tail)
{
    for (uint64_t count = 1; !tail_try(tail, count); count++) {
        memory_disk_destroy(tail->disk);
        cr_assert_lt(count, 20, "there is no room for one more");
    }
}

/* What a repair sees in it: it may want something or give up; it changes nothing. */
static void assert_looked_at_only(struct memory_disk *disk)
{
    struct memory_disk *before = memory_disk_clone(disk);
    struct wal_repair *repair = NULL;
    struct wal_want want;
    struct conclave_error error = {0};
    int code = wal_repair_open(memory_disk_io(disk), STORY_DIR, &story_identity, &repair, &error);
    cr_assert(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT || code == CONCLAVE_VERSION, "%s",
              error.message);
    if (code == CONCLAVE_OK && wal_repair_want(repair, &want))
        cr_assert_geq(want.anchor.index, want.last);
    wal_repair_close(repair);
    cr_assert(memory_disk_equal(before, disk), "it changed something");
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(before);
}

/* What a start says of the log with this record at its end, chained and with a right checksum. */
static int start_with(const struct tail *tail, struct wal_record record, const uint8_t *payload,
                      size_t payload_bytes)
{
    uint8_t bytes[512];
    struct memory_disk *disk = memory_disk_clone(tail->disk);
    struct wal_recovery recovery = {0};
    record.offset = tail->offset;
    record.previous = record.kind == WAL_ENTRY && record.id.index == tail->last.index ? tail->before
                                                                                      : tail->chain;
    record.payload = (struct slice){.data = payload, .bytes = payload_bytes};
    ASSERT(wal_record_bytes(payload_bytes) <= sizeof bytes);
    (void)wal_record_encode(bytes, tail->key, &record);
    memory_disk_rot(disk, tail->path, tail->offset, bytes, wal_record_bytes(payload_bytes));
    struct memory_disk *before = memory_disk_clone(disk);
    int code = log_read(memory_disk_io(disk), &recovery, NULL);
    if (code == CONCLAVE_OK)
        raft_runs_clear(&recovery.entries);
    else
        cr_assert(memory_disk_equal(before, disk), "it changed something");
    if (code != CONCLAVE_OK)
        assert_looked_at_only(disk);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(before);
    memory_disk_destroy(disk);
    return code;
}

Test(formats, entry_that_cannot_stand_there_is_corruption)
{
    struct tail tail;
    tail_make(&tail);
    struct wal_record good = {.kind = WAL_ENTRY,
                              .entry_kind = RAFT_ENTRY_NOOP,
                              .batch = tail.batch,
                              .id = {tail.last.term, tail.last.index + 1}};
    cr_assert_eq(start_with(&tail, good, NULL, 0), CONCLAVE_OK);
    static const struct {
        int64_t term, index, batch;
    } wrong[] = {{0, 1, 0}, {0, 0, 8}, {-1, 0, 0}, {1, -1000, 0}, {-1000, 0, 0}, {-2, -1, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wal_record record = good;
        uint64_t terms_left = wrong[i].term == -1000 ? 0 : record.id.term + (uint64_t)wrong[i].term;
        record.id.term = terms_left;
        record.id.index = wrong[i].index == -1000 ? 0 : record.id.index + (uint64_t)wrong[i].index;
        record.batch += (uint32_t)wrong[i].batch;
        cr_assert_eq(start_with(&tail, record, NULL, 0), CONCLAVE_CORRUPT, "record %zu", i);
    }
    memory_disk_destroy(tail.disk);
}

Test(formats, batch_record_that_cannot_stand_there_is_corruption)
{
    struct tail tail;
    tail_make(&tail);
    struct wal_record good = {.kind = WAL_BATCH, .batch = tail.offset, .id = tail.last};
    cr_assert_eq(start_with(&tail, good, NULL, 0), CONCLAVE_OK);
    struct wal_record wrong = good;
    wrong.batch -= 8;
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    wrong = good;
    wrong.id.index++;
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    wrong = good;
    wrong.id.term++;
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    cr_assert_eq(start_with(&tail, good, (const uint8_t *)"x", 1), CONCLAVE_CORRUPT);
    memory_disk_destroy(tail.disk);
}

/* The log begins anew only at the front of a segment. */
Test(formats, new_beginning_that_cannot_stand_there_is_corruption)
{
    struct tail tail;
    tail_make(&tail);
    struct wal_record wrong = {.kind = WAL_ANEW, .batch = tail.batch, .id = {9, 100}};
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    wrong.batch++;
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    wrong.id.index = 0;
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    wrong.id.term = 0;
    cr_assert_eq(start_with(&tail, wrong, NULL, 0), CONCLAVE_CORRUPT);
    memory_disk_destroy(tail.disk);
}

/* A mend is only ever written over a hole; what one says of itself must make sense. */
Test(formats, mend_that_makes_no_sense_is_corruption)
{
    struct tail tail;
    tail_make(&tail);
    uint64_t next = tail.last.index + 1, term = tail.last.term;
    struct wal_record good = {.kind = WAL_MEND, .batch = tail.batch, .id = {term, next}};
    uint8_t mend[64] = {0};
    const struct raft_id entry = {term, next};
    put_u64(mend, wal_link(tail.chain, entry, RAFT_ENTRY_NOOP, (struct slice){0})); /* stands for */
    put_u64(mend + 8, next);                   /* first index */
    put_u64(mend + WAL_MEND_ENTRIES_AT, term); /* one entry without payload */
    mend[WAL_MEND_ENTRIES_AT + 12] = RAFT_ENTRY_NOOP;
    cr_assert_eq(start_with(&tail, good, mend, sizeof mend), CONCLAVE_OK);
    for (int i = 0; i < 12; i++) {
        uint8_t wrong[sizeof mend];
        struct wal_record record = good;
        size_t bytes = sizeof wrong;
        memcpy(wrong, mend, sizeof mend);
        if (i == 0)
            bytes = 7; /* not even what it stands for */
        else if (i == 1)
            put_u64(wrong + 8, 0); /* entries from nowhere on */
        else if (i == 2)
            put_u64(wrong + 8, next + 1); /* a gap before it */
        else if (i == 3)
            put_u32(wrong + WAL_MEND_ENTRIES_AT + 8, 1000); /* longer than it is */
        else if (i == 4)
            wrong[WAL_MEND_ENTRIES_AT + 12] = 200; /* no kind */
        else if (i == 5)
            record.id.index = next - 1; /* ends before its entry */
        else if (i == 6)
            record.id.term = term - 1; /* ends in an earlier term */
        else if (i == 7)
            put_u64(wrong + WAL_MEND_ENTRIES_AT + 16, term - 1); /* a second of an earlier term */
        else if (i == 8)
            record.batch = tail.offset + 1000; /* belongs to what comes later */
        else if (i == 9)
            wrong[0] ^= 1; /* its entry is not what stood there */
        else if (i == 10)
            bytes = 8, record.id.index = 0; /* no entries, and a term of none */
        else
            bytes = 8, record.id.term = WAL_TERM_UNKNOWN; /* the log ends with what nobody knows */
        cr_assert_eq(start_with(&tail, record, wrong, bytes), CONCLAVE_CORRUPT, "mend %d", i);
    }
    memory_disk_destroy(tail.disk);
}

/* --- Headers of segments, and what lies in the directory of the log -----------------------------
 */

static void set_header(struct tail *tail, uint64_t previous_end, uint64_t previous,
                       uint64_t sequence, struct raft_id last, uint32_t version)
{
    size_t bytes = 0;
    uint8_t header[WAL_HEADER_BYTES];
    memcpy(header, memory_disk_bytes(tail->disk, tail->path, &bytes), sizeof header);
    put_u32(header + 16, version);
    put_u64(header + 48, sequence);
    put_u64(header + 56, previous);
    put_u64(header + 64, previous_end);
    put_u64(header + 72, last.term);
    put_u64(header + 80, last.index);
    reseal(header, sizeof header);
    memory_disk_rot(tail->disk, tail->path, 0, header, sizeof header);
}

Test(formats, header_that_does_not_continue_the_log_is_corruption)
{
    for (int i = 0; i < 10; i++) {
        struct tail tail;
        tail_make(&tail);
        size_t bytes = 0;
        struct wal_header header;
        cr_assert_eq(wal_header_decode(memory_disk_bytes(tail.disk, tail.path, &bytes),
                                       WAL_HEADER_BYTES, &story_identity, &header),
                     CONCLAVE_OK);
        struct wal_header wrong = header;
        uint32_t version = BLOCK_VERSION;
        wrong.sequence += i == 1;
        wrong.previous += i == 2;
        wrong.previous_end -= i == 3 ? 48 : 0;
        wrong.previous_end += i == 4 ? 48 : 0;
        wrong.last.index += i == 5;
        version += i == 6;
        wrong.previous_end += i == 7 ? 52 : i == 8 ? 1 << 20 : 0;
        wrong.last.term += i == 9;
        set_header(&tail, wrong.previous_end, wrong.previous, wrong.sequence, wrong.last, version);
        struct wal_recovery recovery = {0};
        struct conclave_error error = {0};
        int code = log_read(memory_disk_io(tail.disk), &recovery, &error);
        int expected = i == 0 ? CONCLAVE_OK : i == 6 ? CONCLAVE_VERSION : CONCLAVE_CORRUPT;
        cr_assert_eq(code, expected, "header %d: %s", i, error.message);
        raft_runs_clear(&recovery.entries);
        if (code != CONCLAVE_OK)
            assert_looked_at_only(tail.disk);
        memory_disk_destroy(tail.disk);
    }
}

Test(formats, log_that_is_not_there_says_what_to_do)
{
    for (int empty = 0; empty <= 1; empty++) {
        struct memory_disk *disk = disk_with(empty ? STORY_DIR "/wal" : NULL);
        struct conclave_error error = {0};
        struct wal_recovery recovery = {0};
        cr_assert_eq(log_read(memory_disk_io(disk), &recovery, &error), CONCLAVE_CORRUPT);
        cr_assert_not_null(strstr(error.message, "is missing"), "%s", error.message);
        memory_disk_destroy(disk);
    }
}

static int size_lies(void *ctx, struct io_file *file, uint64_t *ret_bytes,
                     struct conclave_error *error)
{
    (void)ctx;
    (void)file;
    (void)error;
    *ret_bytes = UINT64_C(3) << 30;
    return CONCLAVE_OK;
}

Test(formats, segment_that_no_program_made_is_not_read)
{
    struct memory_disk *disk = disk_with(STORY_DIR "/wal");
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    struct wal_recovery recovery = {0};
    char name[WAL_NAME_BYTES], path[64];
    wal_name_format(1, name);
    (void)snprintf(path, sizeof path, "%s/wal/%s", STORY_DIR, name);
    file_write(io, path, NULL, 0);
    cr_assert_eq(log_read(io, &recovery, &error), CONCLAVE_CORRUPT, "an empty one");
    struct io lying = *io;
    lying.size = size_lies;
    cr_assert_eq(log_read(&lying, &recovery, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "larger than any"), "%s", error.message);
    memory_disk_destroy(disk);
}
