/* Snapshot files: what is read back, what is refused, and what a crash leaves. */
#include "fixture.h"

#include "base/fatal.h"
#include "storage/bytes.h"
#include "storage/snapshot.h"
#include "storage/snapshot_format.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

enum { STATE_BYTES = 300000 };

static struct buf *configuration(void)
{
    return buf_copy("members", 7);
}

/* The state of a snapshot at `index`: hard to compress, so that there are several chunks. */
static uint8_t state_byte(uint64_t index, size_t at)
{
    uint64_t x = (index << 32 | at) * UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    return (uint8_t)((x * UINT64_C(0xbf58476d1ce4e5b9)) >> 56);
}

static int write_one(const struct io *io, uint64_t index, struct conclave_error *error)
{
    struct snapshot_meta meta = {
        .last = {.term = 2, .index = index}, .configuration_index = 1, configuration()};
    struct snapshot_writer *writer = NULL;
    int code = snapshot_writer_create(io, STORY_DIR, &story_identity, &meta, &writer, error);
    snapshot_meta_clear(&meta);
    if (code != CONCLAVE_OK)
        return code;
    uint8_t *state = mem_alloc(STATE_BYTES);
    for (size_t i = 0; i < STATE_BYTES; i++)
        state[i] = state_byte(index, i);
    for (size_t at = 0; at < STATE_BYTES && code == CONCLAVE_OK; at += STATE_BYTES / 10)
        code = snapshot_writer_add(writer, state + at, STATE_BYTES / 10, error);
    free(state);
    if (code == CONCLAVE_OK)
        return snapshot_writer_finish(writer, error);
    snapshot_writer_abort(writer);
    return code;
}

/* Reads it whole and compares. */
static int read_one(const struct io *io, struct raft_id id, struct conclave_error *error)
{
    struct snapshot_reader *reader = NULL;
    struct snapshot_meta meta = {0};
    int code = snapshot_reader_open(io, STORY_DIR, &story_identity, id, &reader, &meta, error);
    if (code != CONCLAVE_OK)
        return code;
    cr_assert(raft_id_equal(meta.last, id));
    cr_assert_eq(meta.configuration_index, 1);
    cr_assert(meta.configuration->bytes == 7 &&
              memcmp(meta.configuration->data, "members", 7) == 0);
    snapshot_meta_clear(&meta);
    uint8_t part[7777];
    size_t at = 0, got = sizeof part;
    while (code == CONCLAVE_OK && got == sizeof part) {
        code = snapshot_reader_read(reader, part, sizeof part, &got, error);
        for (size_t i = 0; code == CONCLAVE_OK && i < got; i++)
            cr_assert_eq(part[i], state_byte(id.index, at + i));
        at += got;
    }
    if (code == CONCLAVE_OK)
        cr_assert_eq(at, STATE_BYTES);
    snapshot_reader_close(reader);
    return code;
}

static struct memory_disk *disk_create(void)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct snapshot_list list = {0};
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync_dir(io->ctx, ".", NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, NULL), CONCLAVE_OK);
    cr_assert_eq(list.count, 0);
    snapshot_list_clear(&list);
    return disk;
}

static const char *path_of(uint64_t index, const char *suffix)
{
    static char path[80];
    (void)snprintf(path, sizeof path, "%s/snapshots/%016lx-%016lx%s", STORY_DIR,
                   (unsigned long)index, 2ul, suffix);
    return path;
}

/* As corruption: it is set aside, and the one before it is used. */
Test(snapshot, with_a_block_that_the_disk_fails_to_read_is_damaged)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    const struct raft_id id = {2, 40};
    size_t bytes = 0;
    cr_assert_eq(write_one(io, 40, NULL), CONCLAVE_OK);
    (void)memory_disk_bytes(disk, path_of(40, ".snap"), &bytes);
    for (size_t at = 0; at < bytes; at += 50 * MEMORY_SECTOR_BYTES) {
        struct conclave_error error = {0};
        memory_disk_break(disk, path_of(40, ".snap"), at, 1);
        cr_assert_eq(snapshot_verify(io, STORY_DIR, &story_identity, id, &error), CONCLAVE_CORRUPT,
                     "unreadable at %zu: %s", at, error.message);
        cr_assert_not_null(strstr(error.message, "fails to read"), "%s", error.message);
        cr_assert_eq(read_one(io, id, &error), CONCLAVE_CORRUPT, "unreadable at %zu", at);
        memory_disk_unbreak(disk, path_of(40, ".snap"));
    }
    cr_assert_eq(read_one(io, id, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
}

Test(snapshot, reads_back_what_was_written)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    cr_assert_eq(write_one(io, 40, &error), CONCLAVE_OK, "%s", error.message);
    memory_disk_crash_hard(disk);
    cr_assert_eq(read_one(io, (struct raft_id){2, 40}, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(snapshot_verify(io, STORY_DIR, &story_identity, (struct raft_id){2, 40}, &error),
                 CONCLAVE_OK);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
}

Test(snapshot, of_another_cluster_is_refused)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(write_one(io, 40, NULL), CONCLAVE_OK);
    struct storage_identity other = story_identity;
    other.cluster_id++;
    cr_assert_eq(snapshot_verify(io, STORY_DIR, &other, (struct raft_id){2, 40}, NULL),
                 CONCLAVE_IDENTITY);
    other = story_identity;
    other.node_id++; /* made by another node of the cluster */
    cr_assert_eq(snapshot_verify(io, STORY_DIR, &other, (struct raft_id){2, 40}, NULL),
                 CONCLAVE_OK);
    memory_disk_destroy(disk);
}

Test(snapshot, every_damaged_byte_is_seen)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(write_one(io, 40, NULL), CONCLAVE_OK);
    size_t bytes = 0;
    memory_disk_bytes(disk, path_of(40, ".snap"), &bytes);
    cr_assert_gt(bytes, 2 * SNAPSHOT_CHUNK_BYTES);
    for (size_t at = 0; at < bytes; at += at < 700 || at + 100 > bytes ? 1 : 1511) {
        struct memory_disk *rotten = memory_disk_clone(disk);
        uint8_t byte = memory_disk_bytes(rotten, path_of(40, ".snap"), &bytes)[at];
        byte ^= 0x10;
        memory_disk_rot(rotten, path_of(40, ".snap"), at, &byte, 1);
        int code = snapshot_verify(memory_disk_io(rotten), STORY_DIR, &story_identity,
                                   (struct raft_id){2, 40}, NULL);
        cr_assert_neq(code, CONCLAVE_OK, "byte %zu", at);
        code = read_one(memory_disk_io(rotten), (struct raft_id){2, 40}, NULL);
        cr_assert_neq(code, CONCLAVE_OK, "byte %zu", at);
        memory_disk_destroy(rotten);
    }
    memory_disk_destroy(disk);
}

static void overwrite(const struct io *io, uint64_t offset, const void *data, size_t bytes)
{
    struct io_file *file = NULL;
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    cr_assert_eq(io->open(io->ctx, path_of(40, ".snap"), 0, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->writev(io->ctx, file, offset, &iov, 1, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
}

/* The snapshot at 40 is found to be damaged, with this in the message. */
static void expect_damaged(const struct io *io, const char *says)
{
    struct conclave_error error = {0};
    cr_assert_eq(snapshot_verify(io, STORY_DIR, &story_identity, (struct raft_id){2, 40}, &error),
                 CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, says), "%s", error.message);
}

Test(snapshot, with_something_behind_its_end_is_damaged)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    size_t bytes = 0;
    cr_assert_eq(write_one(io, 40, NULL), CONCLAVE_OK);
    (void)memory_disk_bytes(disk, path_of(40, ".snap"), &bytes);
    overwrite(io, bytes, "more", 4);
    expect_damaged(io, "does not end it");
    memory_disk_destroy(disk);
}

/* Each of its chunks may be as it was sealed, and yet they are not those that belong together. */
Test(snapshot, of_which_the_hash_of_the_whole_does_not_fit_is_damaged)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    size_t bytes = 0;
    cr_assert_eq(write_one(io, 40, NULL), CONCLAVE_OK);
    const uint8_t *file = memory_disk_bytes(disk, path_of(40, ".snap"), &bytes);
    const uint64_t seed = get_u64(file);
    const size_t end = bytes - SNAPSHOT_FRAME_BYTES - SNAPSHOT_END_BYTES;
    uint8_t chunk[SNAPSHOT_FRAME_BYTES + SNAPSHOT_END_BYTES];
    memcpy(chunk, file + end, sizeof chunk);
    cr_assert(snapshot_chunk_whole(chunk, seed, SNAPSHOT_END_BYTES));
    chunk[SNAPSHOT_FRAME_BYTES] ^= 1;
    snapshot_chunk_seal(chunk, seed, end, SNAPSHOT_END, SNAPSHOT_END_BYTES);
    overwrite(io, end, chunk, sizeof chunk);
    expect_damaged(io, "hash of the whole");
    memory_disk_destroy(disk);
}

/* The state machine waits for room to become the one at 20, and others came meanwhile. */
Test(snapshot, what_the_state_machine_is_yet_to_become_is_kept)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    uint64_t oldest = 0;
    for (uint64_t index = 10; index <= 50; index += 10)
        cr_assert_eq(write_one(io, index, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_prune(io, STORY_DIR, 20, &oldest, NULL), CONCLAVE_OK);
    cr_expect_eq(oldest, 20);
    cr_assert_eq(snapshot_prune(io, STORY_DIR, 50, &oldest, NULL), CONCLAVE_OK);
    cr_expect_eq(oldest, 40, "two stay in any case");
    memory_disk_destroy(disk);
}

Test(snapshot, two_are_kept_and_a_bad_one_is_set_aside)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    uint64_t oldest = 7;
    cr_assert_eq(snapshot_prune(io, STORY_DIR, 0, &oldest, NULL), CONCLAVE_OK);
    cr_assert_eq(oldest, 0);
    for (uint64_t index = 10; index <= 40; index += 10)
        cr_assert_eq(write_one(io, index, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_prune(io, STORY_DIR, 0, &oldest, NULL), CONCLAVE_OK);
    cr_assert_eq(oldest, 30);
    cr_assert_eq(snapshot_set_aside(io, STORY_DIR, (struct raft_id){2, 40}, NULL), CONCLAVE_OK);
    memory_disk_crash_hard(disk);
    struct snapshot_list list = {0};
    cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, NULL), CONCLAVE_OK);
    cr_assert(list.count == 1 && list.items[0].index == 30);
    snapshot_list_clear(&list);
    size_t bytes;
    cr_assert_not_null(memory_disk_bytes(disk, path_of(40, ".bad"), &bytes));
    memory_disk_destroy(disk);
}

Test(snapshot, crash_leaves_a_whole_one_or_none)
{
    struct memory_disk *disk = disk_create();
    cr_assert_eq(write_one(memory_disk_io(disk), 10, NULL), CONCLAVE_OK);
    struct memory_disk *dry = memory_disk_clone(disk);
    cr_assert_eq(write_one(memory_disk_io(dry), 20, NULL), CONCLAVE_OK);
    uint64_t operations = memory_disk_operations(dry);
    memory_disk_destroy(dry);
    for (uint64_t at = 1; at <= operations; at++) {
        for (uint64_t seed = 0; seed < 12; seed++) {
            struct memory_disk *copy = memory_disk_clone(disk);
            const struct io *io = memory_disk_io(copy);
            memory_disk_power_off_at(copy, at);
            cr_assert_eq(write_one(io, 20, NULL), CONCLAVE_IO);
            memory_disk_crash(copy, at * 100 + seed);
            struct snapshot_list list = {0};
            struct conclave_error error = {0};
            cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, &error), CONCLAVE_OK, "%s",
                         error.message);
            for (size_t i = 0; i < list.count; i++)
                cr_assert_eq(read_one(io, list.items[i], &error), CONCLAVE_OK, "%s", error.message);
            cr_assert(list.count >= 1 && list.items[list.count - 1].index == 10);
            snapshot_list_clear(&list);
            cr_assert_eq(write_one(io, 20, &error), CONCLAVE_OK, "%s", error.message);
            memory_disk_destroy(copy);
        }
    }
    memory_disk_destroy(disk);
}

/* A process was killed between the rename and the sync behind it: who finds it lets the log before
 * it go. */
Test(snapshot, name_that_was_in_memory_alone_is_durable_when_it_was_found)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    struct snapshot_list list = {0};
    cr_assert_eq(write_one(io, 10, NULL), CONCLAVE_OK);
    char *from = strdup(path_of(10, ".snap"));
    cr_assert_eq(io->rename(io->ctx, from, path_of(20, ".snap"), NULL), CONCLAVE_OK);
    free(from);
    for (int life = 0; life < 2; life++) {
        cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, NULL), CONCLAVE_OK);
        cr_assert_eq(list.count, 1);
        cr_assert_eq(list.items[0].index, 20);
        snapshot_list_clear(&list);
        memory_disk_crash_hard(disk);
    }
    memory_disk_destroy(disk);
}

Test(snapshot, failing_write_leaves_the_others)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(write_one(io, 10, NULL), CONCLAVE_OK);
    memory_disk_set_space(disk, 1000);
    cr_assert_eq(write_one(io, 20, NULL), CONCLAVE_NO_SPACE);
    memory_disk_set_space(disk, UINT64_MAX);
    cr_assert_eq(read_one(io, (struct raft_id){2, 10}, NULL), CONCLAVE_OK);
    cr_assert_eq(write_one(io, 20, NULL), CONCLAVE_OK);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
}

/* Copies up to `until` bytes of a source into a part, in pieces. */
static int copy_some(const struct snapshot_source *source, struct snapshot_part *part,
                     uint64_t until)
{
    uint8_t piece[5000];
    int code = CONCLAVE_OK;
    while (code == CONCLAVE_OK && snapshot_part_offset(part) < until) {
        size_t got = 0;
        code = source->io->read(source->io->ctx, source->file, snapshot_part_offset(part), piece,
                                sizeof piece, &got, NULL);
        if (code == CONCLAVE_OK)
            code = snapshot_part_add(part, piece, got, NULL);
    }
    return code;
}

Test(snapshot, transfer_goes_on_where_it_stopped)
{
    struct memory_disk *disk = disk_create(), *from = disk_create();
    const struct io *io = memory_disk_io(disk), *io_from = memory_disk_io(from);
    cr_assert_eq(write_one(io_from, 40, NULL), CONCLAVE_OK);
    struct snapshot_source source;
    cr_assert_eq(snapshot_source_open(io_from, STORY_DIR, (struct raft_id){2, 40}, &source, NULL),
                 CONCLAVE_OK);
    struct snapshot_part *part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(copy_some(&source, part, source.bytes / 2), CONCLAVE_OK);
    uint64_t half = snapshot_part_offset(part);
    snapshot_part_close(part);
    part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), half);
    cr_assert_eq(copy_some(&source, part, source.bytes), CONCLAVE_OK);
    struct snapshot_meta meta = {0};
    cr_assert_eq(snapshot_part_finish(part, &story_identity, &meta, NULL), CONCLAVE_OK);
    cr_assert(meta.last.index == 40 && meta.last.term == 2);
    snapshot_meta_clear(&meta);
    memory_disk_crash_hard(disk);
    cr_assert_eq(read_one(io, (struct raft_id){2, 40}, NULL), CONCLAVE_OK);
    snapshot_source_close(&source);
    memory_disk_destroy(disk);
    memory_disk_destroy(from);
}

/* Takes in what is missing of it; the code of the end, or of what failed before. */
static int receive_rest(const struct io *io, const struct snapshot_source *source,
                        uint64_t *ret_begun_at)
{
    struct snapshot_part *part = NULL;
    int code = snapshot_part_open(io, STORY_DIR, source->name, source->bytes, &part, NULL);
    if (code != CONCLAVE_OK)
        return code;
    *ret_begun_at = snapshot_part_offset(part);
    code = copy_some(source, part, source->bytes);
    if (code != CONCLAVE_OK) {
        snapshot_part_close(part);
        return code;
    }
    struct snapshot_meta meta = {0};
    code = snapshot_part_finish(part, &story_identity, &meta, NULL);
    snapshot_meta_clear(&meta);
    return code;
}

/* LogCabin 174. Nothing of what was received was synced, so any sector of it may be lost, and what
 * is left may be of the right length and wrong: then it begins anew, and only once. */
Test(snapshot, transfer_goes_on_after_any_crash_of_the_receiver)
{
    struct memory_disk *from = disk_create(), *base = disk_create();
    const struct io *io_from = memory_disk_io(from);
    const struct raft_id id = {2, 40};
    cr_assert_eq(write_one(io_from, 40, NULL), CONCLAVE_OK);
    struct snapshot_source source;
    cr_assert_eq(snapshot_source_open(io_from, STORY_DIR, id, &source, NULL), CONCLAVE_OK);
    uint64_t begun_at = 0, refused = 0;
    struct memory_disk *dry = memory_disk_clone(base);
    cr_assert_eq(receive_rest(memory_disk_io(dry), &source, &begun_at), CONCLAVE_OK);
    uint64_t operations = memory_disk_operations(dry);
    memory_disk_destroy(dry);
    for (uint64_t at = 1; at <= operations; at++) {
        for (uint64_t seed = 0; seed < 6; seed++) {
            struct memory_disk *disk = memory_disk_clone(base);
            const struct io *io = memory_disk_io(disk);
            memory_disk_power_off_at(disk, at);
            (void)receive_rest(io, &source, &begun_at);
            memory_disk_crash(disk, at * 17 + seed);
            if (read_one(io, id, NULL) != CONCLAVE_OK) {
                int code = receive_rest(io, &source, &begun_at);
                refused += code == CONCLAVE_CORRUPT;
                if (code == CONCLAVE_CORRUPT) {
                    cr_assert_gt(begun_at, 0, "what was sent whole is whole");
                    code = receive_rest(io, &source, &begun_at);
                    cr_assert_eq(begun_at, 0);
                }
                cr_assert_eq(code, CONCLAVE_OK, "operation %lu, seed %lu", (unsigned long)at,
                             (unsigned long)seed);
            }
            memory_disk_crash_hard(disk);
            cr_assert_eq(read_one(io, id, NULL), CONCLAVE_OK, "operation %lu, seed %lu",
                         (unsigned long)at, (unsigned long)seed);
            memory_disk_destroy(disk);
        }
    }
    cr_assert_gt(refused, 0, "it never went on with what was damaged");
    snapshot_source_close(&source);
    memory_disk_destroy(base);
    memory_disk_destroy(from);
}

Test(snapshot, transfer_with_one_wrong_bit_is_not_taken)
{
    struct memory_disk *disk = disk_create(), *from = disk_create();
    const struct io *io = memory_disk_io(disk), *io_from = memory_disk_io(from);
    cr_assert_eq(write_one(io_from, 40, NULL), CONCLAVE_OK);
    struct snapshot_source source;
    cr_assert_eq(snapshot_source_open(io_from, STORY_DIR, (struct raft_id){2, 40}, &source, NULL),
                 CONCLAVE_OK);
    struct snapshot_part *part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(copy_some(&source, part, source.bytes / 2), CONCLAVE_OK);
    uint8_t byte = 0;
    size_t got = 0;
    cr_assert_eq(
        io_from->read(io_from->ctx, source.file, snapshot_part_offset(part), &byte, 1, &got, NULL),
        CONCLAVE_OK);
    byte ^= 1;
    cr_assert_eq(snapshot_part_add(part, &byte, 1, NULL), CONCLAVE_OK);
    cr_assert_eq(copy_some(&source, part, source.bytes), CONCLAVE_OK);
    struct snapshot_meta meta = {0};
    cr_assert_eq(snapshot_part_finish(part, &story_identity, &meta, NULL), CONCLAVE_CORRUPT);
    cr_assert_neq(read_one(io, (struct raft_id){2, 40}, NULL), CONCLAVE_OK);
    snapshot_source_close(&source);
    memory_disk_destroy(disk);
    memory_disk_destroy(from);
}

Test(snapshot, transfer_of_another_cluster_is_not_taken_and_begins_anew)
{
    struct memory_disk *disk = disk_create(), *from = disk_create();
    const struct io *io = memory_disk_io(disk), *io_from = memory_disk_io(from);
    struct storage_identity other = story_identity;
    struct snapshot_source source;
    struct snapshot_part *part = NULL;
    struct snapshot_meta meta = {0};
    other.cluster_id ^= 1;
    cr_assert_eq(write_one(io_from, 40, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_source_open(io_from, STORY_DIR, (struct raft_id){2, 40}, &source, NULL),
                 CONCLAVE_OK);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                     CONCLAVE_OK);
        cr_assert_eq(snapshot_part_offset(part), 0);
        cr_assert_eq(copy_some(&source, part, source.bytes), CONCLAVE_OK);
        cr_assert_eq(snapshot_part_finish(part, round == 0 ? &other : &story_identity, &meta, NULL),
                     round == 0 ? CONCLAVE_IDENTITY : CONCLAVE_OK);
    }
    cr_assert_eq(read_one(io, (struct raft_id){2, 40}, NULL), CONCLAVE_OK);
    snapshot_meta_clear(&meta);
    snapshot_source_close(&source);
    memory_disk_destroy(disk);
    memory_disk_destroy(from);
}

/* As if it were of a newer format. */
static void make_newer(struct memory_disk *disk, const char *path)
{
    uint8_t header[512];
    size_t bytes;
    memcpy(header, memory_disk_bytes(disk, path, &bytes), sizeof header);
    header[16]++;
    put_u64(header, XXH3_64bits(header + 8, sizeof header - 8));
    memory_disk_rot(disk, path, 0, header, sizeof header);
}

Test(snapshot, transfer_of_a_newer_format_is_not_taken_and_begins_anew)
{
    struct memory_disk *disk = disk_create(), *from = disk_create();
    struct snapshot_source source;
    struct snapshot_part *part = NULL;
    cr_assert_eq(write_one(memory_disk_io(from), 40, NULL), CONCLAVE_OK);
    make_newer(from, path_of(40, ".snap"));
    cr_assert_eq(snapshot_source_open(memory_disk_io(from), STORY_DIR, (struct raft_id){2, 40},
                                      &source, NULL),
                 CONCLAVE_OK);
    uint64_t begun_at = 1;
    cr_assert_eq(receive_rest(memory_disk_io(disk), &source, &begun_at), CONCLAVE_VERSION);
    cr_assert_eq(
        snapshot_part_open(memory_disk_io(disk), STORY_DIR, source.name, source.bytes, &part, NULL),
        CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), 0);
    snapshot_part_close(part);
    snapshot_source_close(&source);
    memory_disk_destroy(disk);
    memory_disk_destroy(from);
}

/* Rule 6. What a sync that failed was to write may count as clean, and a later one would write
 * nothing: so all of it comes again, into a new file. */
Test(snapshot, rule_6_transfer_that_could_not_be_finished_comes_again)
{
    enum { SYNC = 1, RENAME, SYNC_DIR, DONE };
    for (uint64_t fails = SYNC; fails < DONE; fails++) {
        struct memory_disk *disk = disk_create(), *from = disk_create();
        const struct io *io = memory_disk_io(disk);
        struct snapshot_source source;
        struct snapshot_part *part = NULL;
        struct snapshot_meta meta = {0};
        cr_assert_eq(write_one(memory_disk_io(from), 40, NULL), CONCLAVE_OK);
        cr_assert_eq(snapshot_source_open(memory_disk_io(from), STORY_DIR, (struct raft_id){2, 40},
                                          &source, NULL),
                     CONCLAVE_OK);
        cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                     CONCLAVE_OK);
        cr_assert_eq(copy_some(&source, part, source.bytes), CONCLAVE_OK);
        memory_disk_fail_at_change(disk, memory_disk_changes(disk) + fails, CONCLAVE_NO_SPACE);
        cr_assert_eq(snapshot_part_finish(part, &story_identity, &meta, NULL), CONCLAVE_NO_SPACE);
        cr_assert_null(meta.configuration);
        uint64_t begun_at = 0;
        if (fails < SYNC_DIR) { /* else it has its name already */
            cr_assert_eq(receive_rest(io, &source, &begun_at), CONCLAVE_OK);
            cr_assert_eq(begun_at, 0);
            memory_disk_crash_hard(disk);
        }
        cr_assert_eq(read_one(io, (struct raft_id){2, 40}, NULL), CONCLAVE_OK);
        snapshot_source_close(&source);
        memory_disk_destroy(disk);
        memory_disk_destroy(from);
    }
}

/* One of its operations after the other fails. */
Test(snapshot, failures_among_the_files_are_told)
{
    enum { PRUNE, SET_ASIDE, BEGIN, CALLS };
    for (int call = 0; call < CALLS; call++) {
        struct memory_disk *disk = disk_create();
        for (uint64_t index = 40; index <= 42; index++)
            cr_assert_eq(write_one(memory_disk_io(disk), index, NULL), CONCLAVE_OK);
        struct snapshot_part *part = NULL;
        cr_assert_eq(snapshot_part_open(memory_disk_io(disk), STORY_DIR, 1, 9, &part, NULL),
                     CONCLAVE_OK);
        snapshot_part_close(part);
        int code = CONCLAVE_IO;
        uint64_t fails;
        for (fails = 1; code != CONCLAVE_OK; fails++) {
            struct memory_disk *some = memory_disk_clone(disk);
            const struct io *io = memory_disk_io(some);
            uint64_t oldest = 0;
            memory_disk_fail_at(some, fails, CONCLAVE_IO);
            if (call == PRUNE)
                code = snapshot_prune(io, STORY_DIR, 0, &oldest, NULL);
            else if (call == SET_ASIDE)
                code = snapshot_set_aside(io, STORY_DIR, (struct raft_id){2, 42}, NULL);
            else
                code = snapshot_part_open(io, STORY_DIR, 2, 9, &part, NULL);
            cr_assert(code == CONCLAVE_IO || memory_disk_operations(some) < fails,
                      "call %d, operation %u", call, (unsigned)fails);
            cr_assert_eq(oldest, call == PRUNE && code == CONCLAVE_OK ? 41 : 0);
            if (call == BEGIN && code == CONCLAVE_OK)
                snapshot_part_close(part);
            memory_disk_destroy(some);
        }
        cr_assert_gt(fails, 3);
        memory_disk_destroy(disk);
    }
}

/* Of a sender whose bytes are wrong: it had named the file with another size. */
Test(snapshot, transfer_of_which_more_is_here_than_there_is_begins_anew)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    struct snapshot_part *part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, 7, 100, &part, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_add(part, "garbage", 7, NULL), CONCLAVE_OK);
    snapshot_part_close(part);
    part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, 7, 6, &part, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), 0);
    memory_disk_fail_at_change(disk, memory_disk_changes(disk) + 1, CONCLAVE_NO_SPACE);
    cr_assert_eq(snapshot_part_add(part, "other", 5, NULL), CONCLAVE_NO_SPACE);
    cr_assert_eq(snapshot_part_offset(part), 0, "what could not be written is not here");
    snapshot_part_close(part);
    memory_disk_destroy(disk);
}

Test(snapshot, transfer_that_went_wrong_begins_anew)
{
    struct memory_disk *disk = disk_create(), *from = disk_create();
    const struct io *io = memory_disk_io(disk), *io_from = memory_disk_io(from);
    cr_assert_eq(write_one(io_from, 40, NULL), CONCLAVE_OK);
    struct snapshot_source source;
    cr_assert_eq(snapshot_source_open(io_from, STORY_DIR, (struct raft_id){2, 40}, &source, NULL),
                 CONCLAVE_OK);
    struct snapshot_part *part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(snapshot_part_add(part, "garbage", 7, NULL), CONCLAVE_OK);
    cr_assert_eq(copy_some(&source, part, source.bytes), CONCLAVE_OK);
    struct snapshot_meta meta = {0};
    cr_assert_eq(snapshot_part_finish(part, &story_identity, &meta, NULL), CONCLAVE_CORRUPT);
    part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(snapshot_part_offset(part), 0);
    cr_assert_eq(snapshot_part_add(part, "x", (size_t)source.bytes + 1, NULL), CONCLAVE_MALFORMED);
    cr_assert_eq(snapshot_part_add(part, "garbage", 7, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_add(part, "x", (size_t)source.bytes - 6, NULL), CONCLAVE_MALFORMED,
                 "nor behind what is here");
    snapshot_part_close(part);
    part = NULL;
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, source.name + 1, 10, &part, NULL), CONCLAVE_OK);
    snapshot_part_close(part);
    size_t parts = 0;
    for (size_t i = 0; memory_disk_file(disk, i) != NULL; i++)
        parts += strstr(memory_disk_file(disk, i), ".part") != NULL;
    cr_assert_eq(parts, 1, "the part that nobody goes on with is removed");
    snapshot_source_close(&source);
    memory_disk_destroy(disk);
    memory_disk_destroy(from);
}
