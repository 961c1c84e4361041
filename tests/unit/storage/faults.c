/* Every operation on the disk that any part of storage makes fails once, in every way that a disk
 * has: the failure is told with its own code, leaves no handle open, and does not stand in the way
 * of doing it again. */
#include "fixture.h"

#include "base/fatal.h"
#include "storage/identity.h"
#include "storage/joined.h"
#include "storage/snapshot.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
enum { STATE_BYTES = 1 << 20 }; /* memory costs ten times as much there */
#else
enum { STATE_BYTES = 9 << 20 }; /* above the bytes between two syncs of a snapshot */
#endif

/* --- What is done ------------------------------------------------------------------------------
 */

static struct raft_configuration *members(void)
{
    struct raft_configuration *configuration = mem_zalloc(sizeof *configuration);
    configuration->member_count = 1;
    configuration->members[0] = (struct raft_member){
        .id = 0x2222, .flags = RAFT_MEMBER_VOTER, .name = "n1", .peer = "inproc://n1"};
    return configuration;
}

static int do_identity_write(const struct io *io, struct conclave_error *error)
{
    return identity_write(io, STORY_DIR, &story_identity, error);
}

static int do_identity_read(const struct io *io, struct conclave_error *error)
{
    struct storage_identity got;
    int code = identity_read(io, STORY_DIR, &got, error);
    if (code == CONCLAVE_OK)
        cr_assert_str_eq(got.name, "n1");
    return code;
}

static int do_lock(const struct io *io, struct conclave_error *error)
{
    struct io_file *lock = NULL;
    int code = dir_lock(io, STORY_DIR, &lock, error);
    dir_unlock(io, lock);
    return code;
}

static int do_joined_write(const struct io *io, struct conclave_error *error)
{
    struct raft_configuration *configuration = members();
    int code = joined_write(io, STORY_DIR, &story_identity, configuration, error);
    free(configuration);
    return code;
}

static int do_joined_read(const struct io *io, struct conclave_error *error)
{
    struct raft_configuration *got = mem_zalloc(sizeof *got);
    int code = joined_read(io, STORY_DIR, &story_identity, got, error);
    if (code == CONCLAVE_OK)
        cr_assert_eq(got->members[0].id, 0x2222);
    free(got);
    return code;
}

static int do_vote(const struct io *io, struct conclave_error *error)
{
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    int code = vote_open(io, STORY_DIR, &story_identity, &vote, &state, error);
    if (code == CONCLAVE_OK)
        code = vote_write(vote, (struct raft_hard_state){.term = state.term + 1, .vote = 3}, error);
    vote_close(vote);
    return code;
}

static int do_vote_create(const struct io *io, struct conclave_error *error)
{
    return vote_create(io, STORY_DIR, &story_identity, (struct raft_hard_state){.term = 1}, error);
}

static int do_wal_create(const struct io *io, struct conclave_error *error)
{
    struct raft_runs runs = {0};
    runs_fill(&runs, 1, 1, 40); /* several segments */
    int code = wal_create(io, STORY_DIR, &story_identity, &story_options, &runs, error);
    raft_runs_clear(&runs);
    return code;
}

/* Opens, appends to several segments, attests, prepares, begins anew and lets go. */
static int do_wal(const struct io *io, struct conclave_error *error)
{
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    struct raft_runs runs = {0};
    int code = wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, error);
    raft_runs_clear(&recovery.entries);
    if (code != CONCLAVE_OK)
        return code;
    uint64_t last = wal_last(wal).index, term = wal_last(wal).term + 1;
    for (int i = 0; i < 3 && code == CONCLAVE_OK; i++, last += 10) {
        runs_fill(&runs, term, last + 1, 10);
        wal_append(wal, &runs);
        raft_runs_clear(&runs);
        code = wal_sync(wal, error);
        if (code == CONCLAVE_OK && i == 0)
            code = wal_attest(wal, error);
        if (code == CONCLAVE_OK && wal_needs_segment(wal))
            code = wal_prepare_segment(wal, error);
    }
    if (code == CONCLAVE_OK) {
        wal_begin_anew(wal, (struct raft_id){.term = term, .index = last + 100});
        code = wal_sync(wal, error);
    }
    if (code == CONCLAVE_OK)
        code = wal_remove(wal, wal_release(wal, last + 100), error);
    wal_close(wal);
    return code;
}

static struct snapshot_meta meta_at(uint64_t index)
{
    return (struct snapshot_meta){.last = {.term = 2, .index = index},
                                  .configuration_index = 1,
                                  .configuration = buf_copy("members", 7)};
}

static int write_snapshot(const struct io *io, uint64_t index, size_t bytes,
                          struct conclave_error *error)
{
    struct snapshot_meta meta = meta_at(index);
    struct snapshot_writer *writer = NULL;
    int code = snapshot_writer_create(io, STORY_DIR, &story_identity, &meta, &writer, error);
    snapshot_meta_clear(&meta);
    if (code != CONCLAVE_OK)
        return code;
    /* Does not compress, the same again neither: zstd does not look back so far at its first level.
     */
    static uint64_t state[(1 << 20) / sizeof(uint64_t)];
    for (size_t i = 0; i < sizeof state / sizeof *state && state[i] == 0; i++)
        state[i] =
            (i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (i + 7) * i * UINT64_C(0xd6e8feb86659fd93);
    for (size_t at = 0; at < bytes && code == CONCLAVE_OK; at += sizeof state)
        code = snapshot_writer_add(writer, state,
                                   bytes - at < sizeof state ? bytes - at : sizeof state, error);
    if (code == CONCLAVE_OK)
        return snapshot_writer_finish(writer, error);
    snapshot_writer_abort(writer);
    return code;
}

static int do_snapshot_write(const struct io *io, struct conclave_error *error)
{
    return write_snapshot(io, 90, STATE_BYTES, error);
}

static int do_snapshot_read(const struct io *io, struct conclave_error *error)
{
    struct snapshot_reader *reader = NULL;
    uint8_t part[4096];
    size_t got = sizeof part;
    int code = snapshot_reader_open(io, STORY_DIR, &story_identity, (struct raft_id){2, 10},
                                    &reader, NULL, error);
    while (code == CONCLAVE_OK && got == sizeof part)
        code = snapshot_reader_read(reader, part, sizeof part, &got, error);
    snapshot_reader_close(reader);
    return code;
}

static int do_snapshot_verify(const struct io *io, struct conclave_error *error)
{
    return snapshot_verify(io, STORY_DIR, &story_identity, (struct raft_id){2, 10}, error);
}

static int do_snapshot_list(const struct io *io, struct conclave_error *error)
{
    struct snapshot_list list = {0};
    int code = snapshot_list_read(io, STORY_DIR, &list, error);
    snapshot_list_clear(&list);
    return code;
}

static int do_snapshot_prune(const struct io *io, struct conclave_error *error)
{
    uint64_t oldest;
    return snapshot_prune(io, STORY_DIR, 0, &oldest, error);
}

static int do_snapshot_aside(const struct io *io, struct conclave_error *error)
{
    return snapshot_set_aside(io, STORY_DIR, (struct raft_id){2, 10}, error);
}

/* Sends the snapshot at 10 to this very directory. */
static int do_snapshot_transfer(const struct io *io, struct conclave_error *error)
{
    struct snapshot_source source = {0};
    struct snapshot_part *part = NULL;
    struct snapshot_meta meta = {0};
    uint8_t piece[20000];
    int code = snapshot_source_open(io, STORY_DIR, (struct raft_id){2, 10}, &source, error);
    if (code == CONCLAVE_OK)
        code = snapshot_part_open(io, STORY_DIR, source.name, source.bytes, &part, error);
    while (code == CONCLAVE_OK && snapshot_part_offset(part) < source.bytes) {
        size_t got = 0;
        code = io->read(io->ctx, source.file, snapshot_part_offset(part), piece, sizeof piece, &got,
                        error);
        if (code == CONCLAVE_OK)
            code = snapshot_part_add(part, piece, got, error);
    }
    if (code == CONCLAVE_OK)
        code = snapshot_part_finish(part, &story_identity, &meta, error);
    else
        snapshot_part_close(part);
    snapshot_meta_clear(&meta);
    snapshot_source_close(&source);
    return code;
}

/* --- What is there before ----------------------------------------------------------------------
 */

static struct memory_disk *disk_empty(void)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync_dir(io->ctx, ".", NULL), CONCLAVE_OK);
    return disk;
}

/* A node whose log ends in a torn batch that was never attested. */
static struct memory_disk *disk_with_log(void)
{
    struct memory_disk *played = memory_disk_create();
    struct story story;
    struct placed places[512];
    cr_assert_eq(story_play(&story, memory_disk_io(played), story_short), CONCLAVE_OK);
    struct memory_disk *disk = memory_disk_clone(played);
    memory_disk_destroy(played);
    size_t count = image_layout(disk, places, 512);
    memory_disk_rot(disk, places[count - 1].path, places[count - 1].offset + 1, "x", 1);
    cr_assert_eq(do_joined_write(memory_disk_io(disk), NULL), CONCLAVE_OK);
    return disk;
}

/* And with three snapshots, for what looks at them: each failure copies the whole disk. */
static struct memory_disk *disk_full(void)
{
    struct memory_disk *disk = disk_with_log();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(do_snapshot_list(io, NULL), CONCLAVE_OK);
    for (uint64_t index = 10; index <= 50; index += 10)
        cr_assert_eq(write_snapshot(io, index, 300000, NULL), CONCLAVE_OK);
    return disk;
}

/* Left by a crash: temporary files, and a part that nobody goes on with. */
static struct memory_disk *disk_littered(void)
{
    static const char *const names[] = {STORY_DIR "/identity.tmp",
                                        STORY_DIR "/joined.tmp",
                                        STORY_DIR "/vote.tmp",
                                        STORY_DIR "/snapshots/new.tmp",
                                        STORY_DIR "/snapshots/00000000000000fe.part",
                                        STORY_DIR "/snapshots/00000000000000ff.part",
                                        STORY_DIR "/snapshots/stranger"};
    struct memory_disk *disk = disk_full();
    const struct io *io = memory_disk_io(disk);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct io_file *file;
        char text[] = "half a thing";
        struct iovec part = {.iov_base = text, .iov_len = sizeof text};
        cr_assert_eq(io->open(io->ctx, names[i], IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
        cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
        io->close(io->ctx, file);
    }
    return disk;
}

static struct memory_disk *disk_littered_without_identity(void)
{
    struct memory_disk *disk = disk_littered();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(io->unlink(io->ctx, STORY_DIR "/identity", NULL), CONCLAVE_OK);
    return disk;
}

/* --- Failing -----------------------------------------------------------------------------------
 */

struct doing {
    const char *name;
    struct memory_disk *(*before)(void);
    int (*run)(const struct io *io, struct conclave_error *error);
    bool again; /* can be done again after it has failed on the way */
};

static const struct doing doings[] = {
    {"identity_write", disk_empty, do_identity_write, false}, /* it may be there, whole */
    {"identity_write over litter", disk_littered_without_identity, do_identity_write, false},
    {"identity_read", disk_with_log, do_identity_read, true},
    {"dir_lock, made", disk_empty, do_lock, true},
    {"dir_lock", disk_with_log, do_lock, true},
    {"joined_write", disk_empty, do_joined_write, true},
    {"joined_write over litter", disk_littered, do_joined_write, true},
    {"joined_read", disk_with_log, do_joined_read, true},
    {"vote_create", disk_empty, do_vote_create, false},
    {"vote", disk_with_log, do_vote, true},
    {"wal_create", disk_empty, do_wal_create, false},
    {"wal", disk_with_log, do_wal, true},
    {"snapshot_write", disk_full, do_snapshot_write, true},
    {"snapshot_write over litter", disk_littered, do_snapshot_write, true},
    {"snapshot_read", disk_full, do_snapshot_read, true},
    {"snapshot_verify", disk_full, do_snapshot_verify, true},
    {"snapshot_list, made", disk_empty, do_snapshot_list, true},
    {"snapshot_list over litter", disk_littered, do_snapshot_list, true},
    {"snapshot_prune", disk_full, do_snapshot_prune, true},
    {"snapshot_set_aside", disk_full, do_snapshot_aside, false}, /* it may be aside */
    {"snapshot_transfer", disk_full, do_snapshot_transfer, true},
    {"snapshot_transfer over litter", disk_littered, do_snapshot_transfer, true},
};

/* A snapshot that cannot be read is as good as damaged, and that may be said. */
static bool is_told(const struct doing *doing, int code, int got)
{
    bool reads = doing->run == do_snapshot_read || doing->run == do_snapshot_verify ||
                 doing->run == do_snapshot_transfer;
    return got == code || (code == CONCLAVE_IO && reads && got == CONCLAVE_CORRUPT);
}

/* Fails the operation `at` of it. False: it has fewer. */
static bool fail_one(const struct doing *doing, const struct memory_disk *before, uint64_t at,
                     int code, uint64_t *ret_told)
{
    struct memory_disk *disk = memory_disk_clone(before);
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    memory_disk_fail_at(disk, at, code);
    int got = doing->run(io, &error);
    bool met = memory_disk_operations(disk) >= at;
    if (got != CONCLAVE_OK) {
        cr_assert(met);
        cr_assert(is_told(doing, code, got), "%s, operation %lu: %s instead of %s: %s", doing->name,
                  (unsigned long)at, conclave_code_name(got), conclave_code_name(code),
                  error.message);
        ++*ret_told;
    }
    cr_assert_eq(memory_disk_handles(disk), 0, "%s, operation %lu leaves a file open", doing->name,
                 (unsigned long)at);
    memory_disk_fail_at(disk, 0, CONCLAVE_OK);
    if (doing->again && got != CONCLAVE_OK)
        cr_assert_eq(doing->run(io, &error), CONCLAVE_OK, "%s after operation %lu failed: %s",
                     doing->name, (unsigned long)at, error.message);
    memory_disk_destroy(disk);
    return met;
}

/* Which operation fails next. A snapshot is written chunk by chunk, all alike, megabytes each time:
 * the first and the last ones fail, among which the syncs are, and those between here and there. */
static uint64_t fail_next(const struct doing *doing, uint64_t at, uint64_t operations)
{
    enum { FIRST = 6, LAST = 16, STRIDE = 7 };
    if (doing->run != do_snapshot_write || at < FIRST || at + LAST >= operations)
        return at + 1;
    return at + LAST + STRIDE < operations ? at + STRIDE : operations - LAST;
}

static void fail_all(int code)
{
    for (size_t i = 0; i < sizeof doings / sizeof *doings; i++) {
        struct memory_disk *before = doings[i].before();
        struct memory_disk *undisturbed = memory_disk_clone(before);
        struct conclave_error error = {0};
        cr_assert_eq(doings[i].run(memory_disk_io(undisturbed), &error), CONCLAVE_OK, "%s: %s",
                     doings[i].name, error.message);
        const uint64_t operations = memory_disk_operations(undisturbed);
        memory_disk_destroy(undisturbed);
        uint64_t at = 1, told = 0;
        while (fail_one(&doings[i], before, at, code, &told))
            at = fail_next(&doings[i], at, operations);
        cr_assert_gt(told, 0, "%s never says that it failed", doings[i].name);
        memory_disk_destroy(before);
    }
}

Test(faults, an_operation_that_fails_is_told, .timeout = 1200)
{
    fail_all(CONCLAVE_IO);
}

Test(faults, a_disk_that_gets_full_is_told, .timeout = 1200)
{
    fail_all(CONCLAVE_NO_SPACE);
}
