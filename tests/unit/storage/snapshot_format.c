/* The bytes of a snapshot file: what carries a right checksum and still makes no sense is refused,
 * and how a writer lays them out. */
#include "fixture.h"

#include "base/fatal.h"
#include "base/prng.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/snapshot.h"
#include "storage/snapshot_format.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

static void file_write(const struct io *io, const char *path, uint8_t *bytes, size_t count)
{
    struct io_file *file = NULL;
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    cr_assert_eq(io->open(io->ctx, path, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
}

static struct memory_disk *disk_create(void)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR "/snapshots", NULL), CONCLAVE_OK);
    return disk;
}

Test(snapshot_format, names_are_read_as_they_are_written)
{
    static const char *const wrong[] = {"",
                                        "0000000000000001-0000000000000001.sna",
                                        "0000000000000001-0000000000000001.snax",
                                        "0000000000000001_0000000000000001.snap",
                                        "000000000000000A-0000000000000001.snap",
                                        "0000000000000001-000000000000000g.snap",
                                        "000000000000000/-0000000000000001.snap",
                                        "000000000000000`-0000000000000001.snap"};
    struct raft_id id = {0};
    cr_assert(snapshot_name_parse("00000000000009af-0000000000000012.snap", &id));
    cr_assert(id.index == 0x9af && id.term == 0x12);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_not(snapshot_name_parse(wrong[i], &id), "%s", wrong[i]);
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* A snapshot file that is put together piece by piece. */
struct craft {
    uint8_t bytes[8192];
    size_t count;
    uint64_t seed;
};

static void craft_header(struct craft *craft, uint64_t term, uint64_t index, uint64_t configuration)
{
    struct snapshot_meta meta = {.last = {.term = term, .index = index},
                                 .configuration_index = configuration};
    craft->seed = snapshot_header_encode(craft->bytes, &story_identity, &meta);
    craft->count = SNAPSHOT_HEADER_BYTES;
}

static void craft_chunk(struct craft *craft, uint32_t kind, const void *payload, size_t bytes)
{
    uint8_t *at = craft->bytes + craft->count;
    ASSERT(craft->count + SNAPSHOT_FRAME_BYTES + bytes <= sizeof craft->bytes);
    memcpy(at + SNAPSHOT_FRAME_BYTES, payload, bytes);
    snapshot_chunk_seal(at, craft->seed, craft->count, (enum snapshot_kind)kind, bytes);
    craft->count += SNAPSHOT_FRAME_BYTES + bytes;
}

static void craft_end(struct craft *craft, uint64_t plain_bytes, size_t bytes)
{
    uint8_t end[SNAPSHOT_END_BYTES + 8] = {0};
    put_u64(end, XXH3_64bits(craft->bytes, craft->count));
    put_u64(end + 8, plain_bytes);
    craft_chunk(craft, SNAPSHOT_END, end, bytes);
}

/* What a reader says of it. */
static int craft_read(struct craft *craft)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    struct snapshot_reader *reader = NULL;
    char path[96];
    uint8_t part[64];
    size_t got = sizeof part;
    (void)snprintf(path, sizeof path, "%s/snapshots/%016x-%016x.snap", STORY_DIR, 40, 2);
    file_write(io, path, craft->bytes, craft->count);
    int code = snapshot_reader_open(io, STORY_DIR, &story_identity, (struct raft_id){2, 40},
                                    &reader, NULL, NULL);
    while (code == CONCLAVE_OK && got == sizeof part)
        code = snapshot_reader_read(reader, part, sizeof part, &got, NULL);
    if (code == CONCLAVE_OK) { /* it goes on ending */
        cr_assert_eq(snapshot_reader_read(reader, part, sizeof part, &got, NULL), CONCLAVE_OK);
        cr_assert_eq(got, 0);
    }
    snapshot_reader_close(reader);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
    return code;
}

static size_t zstd_frame(uint8_t *to, size_t room)
{
    size_t bytes = ZSTD_compress(to, room, "the state of a machine", 22, 1);
    ASSERT(!ZSTD_isError(bytes));
    return bytes;
}

Test(snapshot_format, file_that_is_put_together_rightly_is_read)
{
    struct craft craft;
    uint8_t frame[256];
    size_t bytes = zstd_frame(frame, sizeof frame);
    craft_header(&craft, 2, 40, 1);
    craft_chunk(&craft, SNAPSHOT_CONFIGURATION, "members", 7);
    craft_chunk(&craft, SNAPSHOT_DATA, frame, bytes / 2);
    craft_chunk(&craft, SNAPSHOT_DATA, frame + bytes / 2, bytes - bytes / 2);
    craft_end(&craft, 22, SNAPSHOT_END_BYTES);
    cr_assert_eq(craft_read(&craft), CONCLAVE_OK);
}

Test(snapshot_format, file_with_an_impossible_header_is_refused)
{
    static const uint64_t headers[][3] = {{0, 40, 1},  {2, 0, 1},  {2, 40, 0},
                                          {2, 40, 41}, {2, 39, 1}, {3, 40, 1}};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct craft craft;
        uint8_t frame[256];
        size_t bytes = zstd_frame(frame, sizeof frame);
        craft_header(&craft, headers[i][0], headers[i][1], headers[i][2]);
        craft_chunk(&craft, SNAPSHOT_CONFIGURATION, "members", 7);
        craft_chunk(&craft, SNAPSHOT_DATA, frame, bytes);
        craft_end(&craft, 22, SNAPSHOT_END_BYTES);
        cr_assert_eq(craft_read(&craft), CONCLAVE_CORRUPT, "header %zu", i);
    }
}

enum flaw {
    FLAW_NO_CONFIGURATION,
    FLAW_SECOND_CONFIGURATION,
    FLAW_UNKNOWN_KIND,
    FLAW_KIND_ZERO,
    FLAW_NO_END,
    FLAW_SHORT_END,
    FLAW_LONG_END,
    FLAW_BEHIND_END,
    FLAW_MORE_PROMISED,
    FLAW_FRAME_CUT,
    FLAW_NO_FRAME,
    FLAW_TWO_FRAMES,
    FLAW_WRONG_HASH,
    FLAW_COUNT
};

static void craft_flawed(struct craft *craft, enum flaw flaw)
{
    uint8_t frame[256];
    size_t bytes = zstd_frame(frame, sizeof frame);
    craft_header(craft, 2, 40, 1);
    if (flaw != FLAW_NO_CONFIGURATION)
        craft_chunk(craft, SNAPSHOT_CONFIGURATION, "members", 7);
    if (flaw == FLAW_SECOND_CONFIGURATION)
        craft_chunk(craft, SNAPSHOT_CONFIGURATION, "members", 7);
    if (flaw == FLAW_UNKNOWN_KIND || flaw == FLAW_KIND_ZERO)
        craft_chunk(craft, flaw == FLAW_KIND_ZERO ? 0 : 4, "what", 4);
    if (flaw == FLAW_NO_FRAME)
        craft_chunk(craft, SNAPSHOT_DATA, "no frame of zstd", 16);
    else
        craft_chunk(craft, SNAPSHOT_DATA, frame, flaw == FLAW_FRAME_CUT ? bytes - 3 : bytes);
    if (flaw == FLAW_TWO_FRAMES)
        craft_chunk(craft, SNAPSHOT_DATA, frame, bytes - 3);
    if (flaw == FLAW_NO_END)
        return;
    craft_end(craft, flaw == FLAW_MORE_PROMISED ? 23 : 22,
              (size_t)SNAPSHOT_END_BYTES + (flaw == FLAW_LONG_END ? 8 : 0) -
                  (flaw == FLAW_SHORT_END ? 8 : 0));
    if (flaw == FLAW_WRONG_HASH) { /* in a whole end chunk */
        uint8_t end[SNAPSHOT_END_BYTES] = {1};
        put_u64(end + 8, 22);
        craft->count -= SNAPSHOT_FRAME_BYTES + SNAPSHOT_END_BYTES;
        craft_chunk(craft, SNAPSHOT_END, end, sizeof end);
    }
    if (flaw == FLAW_BEHIND_END)
        craft->bytes[craft->count++] = 0;
}

Test(snapshot_format, file_with_any_flaw_is_refused)
{
    for (int flaw = 0; flaw < FLAW_COUNT; flaw++) {
        struct craft craft;
        craft_flawed(&craft, (enum flaw)flaw);
        cr_assert_eq(craft_read(&craft), CONCLAVE_CORRUPT, "flaw %d", flaw);
    }
}

Test(snapshot_format, file_of_a_newer_program_says_so)
{
    struct craft craft;
    craft_flawed(&craft, FLAW_COUNT);
    put_u32(craft.bytes + 16, BLOCK_VERSION + 1);
    put_u64(craft.bytes, XXH3_64bits(craft.bytes + 8, SNAPSHOT_HEADER_BYTES - 8));
    cr_assert_eq(craft_read(&craft), CONCLAVE_VERSION);
}

/* It would take more memory than any of ours. */
Test(snapshot_format, file_compressed_over_a_large_window_is_refused)
{
    static const uint8_t piece[1024];
    for (int window = 23; window <= 24; window++) {
        struct craft craft;
        uint8_t frame[1024];
        ZSTD_outBuffer out = {.dst = frame, .size = sizeof frame};
        ZSTD_inBuffer in = {.src = piece, .size = sizeof piece};
        ZSTD_CCtx *zstd = ZSTD_createCCtx();
        cr_assert_not(ZSTD_isError(ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window)));
        /* In two steps: else the frame says how much there is, and its window is no larger. */
        cr_assert_not(ZSTD_isError(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_flush)));
        cr_assert_eq(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
        (void)ZSTD_freeCCtx(zstd);
        craft_header(&craft, 2, 40, 1);
        craft_chunk(&craft, SNAPSHOT_CONFIGURATION, "members", 7);
        craft_chunk(&craft, SNAPSHOT_DATA, frame, out.pos);
        craft_end(&craft, sizeof piece, SNAPSHOT_END_BYTES);
        cr_assert_eq(craft_read(&craft), window == 23 ? CONCLAVE_OK : CONCLAVE_CORRUPT,
                     "window of 2^%d", window);
    }
}

/* A reader has room for so much, and asks for no more. */
Test(snapshot_format, chunk_claims_what_fits_a_reader_or_nothing)
{
    static const struct {
        uint64_t offset;
        uint32_t kind;
        size_t bytes;
        bool taken;
    } claims[] = {{512, SNAPSHOT_CONFIGURATION, 0, true},
                  {512, SNAPSHOT_END, SNAPSHOT_CHUNK_BYTES, true},
                  {512, SNAPSHOT_DATA, SNAPSHOT_CHUNK_BYTES + 1, false},
                  {513, SNAPSHOT_DATA, 1, false},
                  {512, 0, 1, false},
                  {512, SNAPSHOT_END + 1, 1, false}};
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        uint8_t frame[SNAPSHOT_FRAME_BYTES] = {0};
        enum snapshot_kind kind = 0;
        size_t bytes = 0;
        put_u64(frame + 8, claims[i].offset);
        put_u32(frame + 16, (uint32_t)claims[i].bytes);
        put_u32(frame + 20, claims[i].kind);
        cr_assert_eq(snapshot_chunk_frame(frame, 512, &kind, &bytes), claims[i].taken, "claim %zu",
                     i);
        cr_assert_eq(bytes, claims[i].taken ? claims[i].bytes : 0);
    }
}

/* It is not sent, and not taken. */
Test(snapshot_format, file_too_short_for_a_name_is_refused)
{
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    struct snapshot_source source = {0};
    struct snapshot_part *part = NULL;
    struct snapshot_meta meta = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/snapshots/%016x-%016x.snap", STORY_DIR, 40, 2);
    file_write(io, path, (uint8_t[]){1, 2, 3}, 3);
    cr_assert_eq(snapshot_source_open(io, STORY_DIR, (struct raft_id){2, 40}, &source, NULL),
                 CONCLAVE_CORRUPT);
    cr_assert_eq(snapshot_part_open(io, STORY_DIR, 7, 3, &part, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_add(part, "abc", 3, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_part_finish(part, &story_identity, &meta, NULL), CONCLAVE_CORRUPT);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
}

/* --- Writing ---------------------------------------------------------------------------------- */

static struct snapshot_writer *writer_create(const struct io *io)
{
    struct snapshot_meta meta = {
        .last = {.term = 2, .index = 40}, .configuration_index = 1, buf_copy("members", 7)};
    struct snapshot_writer *writer = NULL;
    cr_assert_eq(snapshot_writer_create(io, STORY_DIR, &story_identity, &meta, &writer, NULL),
                 CONCLAVE_OK);
    snapshot_meta_clear(&meta);
    return writer;
}

/* Else one long sync at its end would hold up those of the log. */
Test(snapshot_format, large_file_is_synced_now_and_then_while_it_grows)
{
    enum { PIECE_BYTES = 1 << 20, SYNC_EVERY_BYTES = 8 << 20 };
    static const char path[] = STORY_DIR "/snapshots/new.tmp";
    struct memory_disk *disk = disk_create();
    struct snapshot_writer *writer = writer_create(memory_disk_io(disk));
    struct prng prng;
    uint8_t *piece = mem_alloc(PIECE_BYTES);
    size_t bytes = 0;
    prng_init(&prng, 1);
    while (bytes < SYNC_EVERY_BYTES + PIECE_BYTES) {
        if (bytes > 0 && bytes < SYNC_EVERY_BYTES)
            cr_assert_not(memory_disk_is_synced(disk, path, 0, 1));
        for (size_t i = 0; i < PIECE_BYTES; i++)
            piece[i] = (uint8_t)prng_next(&prng);
        cr_assert_eq(snapshot_writer_add(writer, piece, PIECE_BYTES, NULL), CONCLAVE_OK);
        cr_assert_not_null(memory_disk_bytes(disk, path, &bytes));
    }
    cr_assert(memory_disk_is_synced(disk, path, 0, SYNC_EVERY_BYTES));
    cr_assert_not(memory_disk_is_synced(disk, path, bytes - 1, 1), "not after every chunk");
    snapshot_writer_abort(writer);
    free(piece);
    memory_disk_destroy(disk);
}

Test(snapshot_format, small_pieces_are_compressed_together)
{
    struct memory_disk *disk = disk_create();
    struct snapshot_writer *writer = writer_create(memory_disk_io(disk));
    size_t bytes = 0;
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(snapshot_writer_add(writer, "key: value", 10, NULL), CONCLAVE_OK);
    cr_assert_eq(snapshot_writer_finish(writer, NULL), CONCLAVE_OK);
    cr_assert_not_null(memory_disk_bytes(
        disk, STORY_DIR "/snapshots/0000000000000028-0000000000000002.snap", &bytes));
    cr_assert_lt(bytes, 1000, "%zu bytes", bytes);
    memory_disk_destroy(disk);
}

/* A process that died while it wrote one, and that has not started again since: it may have been
 * longer than the next one. */
Test(snapshot_format, file_that_was_being_written_is_replaced)
{
    static uint8_t left[10000];
    memset(left, 1, sizeof left);
    for (size_t bytes = 3; bytes <= sizeof left; bytes += sizeof left - 3) {
        struct memory_disk *disk = disk_create();
        const struct io *io = memory_disk_io(disk);
        file_write(io, STORY_DIR "/snapshots/new.tmp", left, bytes);
        struct snapshot_writer *writer = writer_create(io);
        cr_assert_eq(snapshot_writer_finish(writer, NULL), CONCLAVE_OK);
        cr_assert_eq(snapshot_verify(io, STORY_DIR, &story_identity, (struct raft_id){2, 40}, NULL),
                     CONCLAVE_OK, "behind %zu bytes", bytes);
        memory_disk_destroy(disk);
    }
}

Test(snapshot_format, file_that_was_being_written_goes_when_it_is_given_up_and_at_the_next_start)
{
    static const char path[] = STORY_DIR "/snapshots/new.tmp";
    struct memory_disk *disk = disk_create();
    const struct io *io = memory_disk_io(disk);
    struct snapshot_list list = {0};
    size_t bytes;
    struct snapshot_writer *writer = writer_create(io);
    cr_assert_not_null(memory_disk_bytes(disk, path, &bytes));
    snapshot_writer_abort(writer);
    cr_assert_null(memory_disk_bytes(disk, path, &bytes), "the room it takes is free");
    file_write(io, path, (uint8_t[]){1, 2, 3}, 3);
    cr_assert_eq(snapshot_list_read(io, STORY_DIR, &list, NULL), CONCLAVE_OK);
    cr_assert_eq(list.count, 0);
    cr_assert_null(memory_disk_bytes(disk, path, &bytes));
    snapshot_list_clear(&list);
    memory_disk_destroy(disk);
}
