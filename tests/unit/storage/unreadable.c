/* Blocks of a log that the disk fails to read: what stood in them comes back from a peer, and the
 * blocks are written as a whole, which is what makes a disk use others in their place. */
#include "healing.h"

#include "storage/identity.h"
#include "storage/wal_survey.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEGMENT_BYTES = 5 * WAL_SCANNER_BLOCK_BYTES,
    BATCHES = 60,
    BATCH = 6,
    LARGE_BYTES = 12000, /* one in a segment, and a block of nothing behind it */
    LARGE = 5
};

static const struct wal_options options = {.segment_bytes = SEGMENT_BYTES};

static int read_log(const struct io *io, struct wal_recovery *ret, struct conclave_error *error)
{
    struct wal *wal = NULL;
    int code = wal_open(io, STORY_DIR, &story_identity, &options, &wal, ret, error);
    wal_close(wal);
    return code;
}

static void fill_large(struct raft_runs *runs, struct raft_id id, size_t bytes)
{
    struct raft_batch *batch = raft_batch_create(1);
    struct raft_entry entry = {.id = id, .kind = RAFT_ENTRY_COMMAND, .buf = buf_create(bytes)};
    memset(entry.buf->data, (int)id.index, bytes);
    entry.payload = (struct slice){.data = entry.buf->data, .bytes = bytes};
    raft_batch_add(batch, entry);
    raft_runs_append(runs, batch, 0, 1);
    raft_batch_unref(batch);
}

static void append(struct wal *wal, struct raft_runs *runs)
{
    wal_append(wal, runs);
    cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
    raft_runs_clear(runs);
}

/* Some segments of several blocks each, in batches much smaller than a block; then, if that is
 * wanted, some that are not full, and one behind the end that is prepared. */
static void make(struct peer *peer, bool more)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct wal *wal = log_begin(disk, &options, BATCH);
    struct raft_runs runs = {0};
    for (uint64_t i = 1; i < BATCHES; i++) {
        runs_fill(&runs, 1 + i / 7, 1 + i * BATCH, BATCH);
        append(wal, &runs);
    }
    for (uint64_t i = 1; more && i <= LARGE; i++) {
        fill_large(&runs, (struct raft_id){.term = BATCHES, .index = BATCHES * BATCH + i},
                   LARGE_BYTES);
        append(wal, &runs);
    }
    cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
    if (more)
        cr_assert_eq(wal_prepare_segment(wal, NULL), CONCLAVE_OK);
    wal_close(wal);
    *peer = (struct peer){.disk = memory_disk_clone(disk)};
    cr_assert_eq(read_log(io, &peer->log, NULL), CONCLAVE_OK);
    cr_assert_eq(peer->log.entries.entry_count, BATCHES * BATCH + (more ? LARGE : 0));
    memory_disk_destroy(disk);
}

static void assert_same_log(const struct peer *peer, const struct wal_recovery *found,
                            const char *what)
{
    struct raft_runs_iter right = {0}, here = {0};
    cr_assert_eq(found->entries.entry_count, peer->log.entries.entry_count, "%s", what);
    for (const struct raft_entry *a; (a = raft_runs_next(&peer->log.entries, &right)) != NULL;) {
        const struct raft_entry *b = raft_runs_next(&found->entries, &here);
        cr_assert(raft_id_equal(a->id, b->id), "%s", what);
        cr_assert_eq(a->payload.bytes, b->payload.bytes, "%s", what);
        cr_assert(a->payload.bytes == 0 ||
                      memcmp(a->payload.data, b->payload.data, a->payload.bytes) == 0,
                  "%s", what);
    }
}

/* Where the last segment's records end: behind it nothing was written. */
static size_t used_bytes(const struct memory_disk *disk, const char *path)
{
    size_t bytes = 0;
    const uint8_t *data = memory_disk_bytes(disk, path, &bytes);
    while (bytes > 0 && data[bytes - 1] == 0)
        bytes--;
    return bytes;
}

/* The first segment's first block says what nothing else does; of the block in which the log ends
 * nobody knows how much stood in it, nor of the first one of a segment behind that. */
static bool can_come_back(const struct peer *peer, const char *path, size_t at)
{
    size_t block = at / WAL_SCANNER_BLOCK_BYTES;
    if (strstr(path, "0000000000000001.wal") != NULL)
        return block > 0;
    char next[64];
    uint64_t sequence = strtoull(strrchr(path, '/') + 1, NULL, 16);
    (void)snprintf(next, sizeof(next), "%s/wal/%016llx.wal", STORY_DIR,
                   (unsigned long long)sequence + 1);
    size_t bytes = 0;
    if (memory_disk_bytes(peer->disk, next, &bytes) != NULL && used_bytes(peer->disk, next) > 0)
        return true;
    return block != used_bytes(peer->disk, path) / WAL_SCANNER_BLOCK_BYTES;
}

/* Breaks one sector. True: the log came back; else it was left as it is, and cannot be opened. */
static bool break_and_heal(const struct peer *peer, const char *path, size_t at)
{
    char what[128];
    struct conclave_error error = {0};
    struct wal_recovery found = {0};
    struct memory_disk *disk = memory_disk_clone(peer->disk);
    const struct io *io = memory_disk_io(disk);
    (void)snprintf(what, sizeof(what), "%s: unreadable at %zu", path, at);
    memory_disk_break(disk, path, at, MEMORY_SECTOR_BYTES);
    cr_assert_eq(read_log(io, &found, &error), CONCLAVE_IO, "%s", what);
    cr_assert_eq(memory_disk_changes(disk), 0, "%s", what);
    int code = repair_all(disk, peer, &error);
    bool expected = can_come_back(peer, path, at);
    cr_assert(!expected || code == CONCLAVE_OK, "%s: %s", what, error.message);
    code = read_log(io, &found, &error);
    cr_assert_eq(code, expected ? CONCLAVE_OK : CONCLAVE_IO, "%s: %s", what, error.message);
    if (expected)
        assert_same_log(peer, &found, what);
    raft_runs_clear(&found.entries);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
    return expected;
}

static size_t break_and_heal_all(const struct peer *peer)
{
    size_t healed = 0;
    const char *path;
    for (size_t file = 0; (path = memory_disk_file(peer->disk, file)) != NULL; file++) {
        size_t bytes = 0;
        (void)memory_disk_bytes(peer->disk, path, &bytes);
        for (size_t at = 0; strstr(path, ".wal") != NULL && at < bytes; at += MEMORY_SECTOR_BYTES)
            healed += break_and_heal(peer, path, at);
    }
    return healed;
}

Test(unreadable, blocks_come_back_from_a_peer_and_can_be_read_again, .timeout = 1200)
{
    struct peer peer;
    make(&peer, false);
    cr_assert_gt(break_and_heal_all(&peer), 40);
    peer_free(&peer);
}

/* Behind the last record of a segment, and in those that are prepared, nothing counts. */
Test(unreadable, blocks_in_which_nothing_stood_need_no_peer, .timeout = 1200)
{
    struct peer peer;
    make(&peer, true);
    cr_assert_gt(break_and_heal_all(&peer), 80);
    peer_free(&peer);
}

/* --- Several at once -------------------------------------------------------------------------- */

enum { QUIET_BYTES = WAL_SCANNER_BLOCK_BYTES };

/* The segment that is so far before the last one that the disk has; the last is prepared. */
static const char *segment_back(const struct peer *peer, uint64_t back)
{
    static char path[64];
    uint64_t last = 0;
    const char *name;
    for (size_t file = 0; (name = memory_disk_file(peer->disk, file)) != NULL; file++)
        if (strstr(name, ".wal") != NULL && strtoull(strrchr(name, '/') + 1, NULL, 16) > last)
            last = strtoull(strrchr(name, '/') + 1, NULL, 16);
    (void)snprintf(path, sizeof path, "%s/wal/%016llx.wal", STORY_DIR,
                   (unsigned long long)(last - back));
    return path;
}

static void break_blocks(struct memory_disk *disk, const char *path, const size_t *blocks,
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        memory_disk_break(disk, path, blocks[i] * WAL_SCANNER_BLOCK_BYTES, 1);
}

static int survey(struct memory_disk *disk, size_t holes_max, struct wal_survey *ret,
                  struct conclave_error *error)
{
    return wal_survey_run(memory_disk_io(disk), STORY_DIR "/wal", &story_identity, holes_max, ret,
                          error);
}

/* Blocks in a record, behind the last one and in what is prepared, in two segments with records:
 * what was quiet is a hole of zeros for each row, and the record's own holds what is before it. */
Test(unreadable, several_blocks_at_once_come_back)
{
    static const size_t to_its_end[] = {1, 3, 4}, within[] = {1, 4}, apart[] = {1, 2, 4};
    struct peer peer;
    struct wal_survey found;
    struct wal_recovery log = {0};
    struct conclave_error error = {0};
    make(&peer, true);
    struct memory_disk *disk = memory_disk_clone(peer.disk);
    break_blocks(disk, segment_back(&peer, 2), to_its_end, 3);
    break_blocks(disk, segment_back(&peer, 1), within, 2);
    break_blocks(disk, segment_back(&peer, 0), apart, 3);
    cr_assert_eq(survey(disk, 6, &found, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(found.holes.count, 6);
    for (size_t i = 0; i < found.holes.count; i++) {
        static const uint8_t zeros[2 * QUIET_BYTES];
        const struct wal_hole *hole = &found.holes.items[i];
        const bool lost = i == 0 || i == 2;
        cr_assert_eq(hole->bytes == NULL, lost, "hole %zu", i);
        if (lost)
            continue;
        cr_assert_eq(hole->offset, (i == 4 ? 1 : 4) * QUIET_BYTES, "hole %zu", i);
        cr_assert_eq(hole->end - hole->offset, (i == 4 ? 2 : 1) * QUIET_BYTES, "hole %zu", i);
        cr_assert_eq(memcmp(hole->bytes, zeros, (size_t)(hole->end - hole->offset)), 0);
    }
    wal_survey_deinit(&found);
    cr_assert_eq(survey(disk, 5, &found, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "too many damaged places"), "%s", error.message);
    wal_survey_deinit(&found);
    cr_assert_eq(survey(disk, 3, &found, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "too many damaged places"), "%s", error.message);
    wal_survey_deinit(&found);
    cr_assert_eq(repair_all(disk, &peer, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(read_log(memory_disk_io(disk), &log, &error), CONCLAVE_OK, "%s", error.message);
    assert_same_log(&peer, &log, "several");
    raft_runs_clear(&log.entries);
    memory_disk_destroy(disk);
    peer_free(&peer);
}

/* Behind the log's end stands the front of a record, as a torn batch leaves it: if it says that it
 * stands where it does, what cannot be read behind it may hold the rest of a log that goes on. */
Test(unreadable, a_block_behind_the_front_of_a_record_may_be_of_the_log)
{
    static const struct {
        const char *what;
        uint64_t sum, shift;
        int code;
    } fronts[] = {{"nothing", 0, 0, CONCLAVE_OK},
                  {"a front", 7, 0, CONCLAVE_CORRUPT},
                  {"one of another place", 7, 8, CONCLAVE_OK}};
    static const size_t last_block[] = {4};
    struct peer peer;
    struct wal_survey found;
    struct conclave_error error = {0};
    make(&peer, true);
    const char *path = segment_back(&peer, 1);
    cr_assert_eq(survey(peer.disk, 1, &found, &error), CONCLAVE_OK, "%s", error.message);
    const uint64_t end = found.scan.end;
    wal_survey_deinit(&found);
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
        struct memory_disk *disk = memory_disk_clone(peer.disk);
        const uint32_t offset = (uint32_t)(end + fronts[i].shift);
        memory_disk_rot(disk, path, (size_t)end, &fronts[i].sum, sizeof fronts[i].sum);
        memory_disk_rot(disk, path, (size_t)end + 20, &offset, sizeof offset);
        break_blocks(disk, path, last_block, 1);
        cr_assert_eq(survey(disk, 1, &found, &error), fronts[i].code, "%s", fronts[i].what);
        cr_assert_eq(found.holes.count, fronts[i].code == CONCLAVE_OK ? 1 : 0);
        wal_survey_deinit(&found);
        memory_disk_destroy(disk);
    }
    peer_free(&peer);
}

/* The log ends so many bytes before a block that cannot be read: the beginning of a record has to
 * be seen where one could stand, or nobody knows whether the log goes on. */
Test(unreadable, a_block_right_behind_the_end_may_be_of_the_log)
{
    static const struct {
        size_t before;
        int code;
    } ends[] = {{0, CONCLAVE_CORRUPT}, {16, CONCLAVE_CORRUPT}, {24, CONCLAVE_OK}};
    static const size_t last_block[] = {4};
    const struct raft_id large = {.term = BATCHES, .index = BATCHES * BATCH + 1};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct peer peer;
        struct wal_survey found;
        struct wal_recovery recovery = {0};
        struct raft_runs runs = {0};
        struct wal *wal = NULL;
        make(&peer, false);
        const struct io *io = memory_disk_io(peer.disk);
        const size_t end = last_block[0] * WAL_SCANNER_BLOCK_BYTES - ends[i].before;
        cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &recovery, NULL), 0);
        raft_runs_clear(&recovery.entries);
        fill_large(&runs, large, end - WAL_HEADER_BYTES - 3 * (size_t)WAL_RECORD_BYTES);
        append(wal, &runs);
        cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
        wal_close(wal);
        break_blocks(peer.disk, segment_back(&peer, 0), last_block, 1);
        cr_assert_eq(survey(peer.disk, 1, &found, NULL), ends[i].code, "%zu", ends[i].before);
        cr_assert_eq(found.scan.end, end);
        wal_survey_deinit(&found);
        peer_free(&peer);
    }
}

/* --- While it is mended ----------------------------------------------------------------------- */

/* A disk that loses the block at `at` when a repair has been rehearsed: the names are synced then.
 */
static struct {
    const struct io *truth;
    struct memory_disk *disk;
    const char *path;
    size_t at;
} failing;

static int sync_dir_and_break(void *ctx, const char *path, struct conclave_error *error)
{
    memory_disk_break(failing.disk, failing.path, failing.at, 1);
    return failing.truth->sync_dir(ctx, path, error);
}

/* True if the files are the same but for these bytes. */
static bool same_around(const struct memory_disk *disk, const struct memory_disk *right,
                        const struct placed *hole)
{
    size_t bytes = 0, other = 0;
    const size_t end = hole->offset + hole->bytes;
    const uint8_t *a = memory_disk_bytes(disk, hole->path, &bytes);
    const uint8_t *b = memory_disk_bytes(right, hole->path, &other);
    return bytes == other && memcmp(a, b, hole->offset) == 0 &&
           memcmp(a + end, b + end, bytes - end) == 0;
}

/* A record is lost, and while it is put back a block cannot be read any more. Returns what the
 * repair said; whatever that was, what stood beside the record is left alone, and the next repair
 * puts back all. */
static int break_while_mended(const struct peer *peer, const struct placed *lost, size_t at)
{
    struct memory_disk *disk = memory_disk_clone(peer->disk);
    struct io io = *memory_disk_io(disk);
    struct conclave_error error = {0};
    struct wal_recovery found = {0};
    io.sync_dir = sync_dir_and_break;
    failing.truth = memory_disk_io(disk);
    failing.disk = disk;
    failing.path = lost->path;
    failing.at = at;
    memory_disk_rot(disk, lost->path, lost->offset + 4, "\xff\xfe\xfd\xfc", 4);
    const int code = repair_through(&io, peer, &error);
    cr_assert_eq(memory_disk_handles(disk), 0);
    cr_assert(same_around(disk, peer->disk, lost), "%s: block %zu", lost->path, at);
    if (code != CONCLAVE_OK)
        cr_assert_eq(repair_all(disk, peer, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert_eq(read_log(memory_disk_io(disk), &found, &error), CONCLAVE_OK, "%s", error.message);
    assert_same_log(peer, &found, "beside what is mended");
    raft_runs_clear(&found.entries);
    memory_disk_destroy(disk);
    return code;
}

Test(unreadable, a_block_that_fails_beside_what_is_mended_is_not_overwritten)
{
    struct peer peer;
    struct placed places[600];
    size_t failed = 0;
    make(&peer, true);
    const size_t count = image_layout(peer.disk, places, 600);
    for (size_t i = 0; i < count; i++) {
        const struct placed *place = &places[i];
        const size_t end = place->offset + place->bytes - 1;
        const bool spans = place->offset / QUIET_BYTES != end / QUIET_BYTES;
        if (place->is_batch || place->offset < QUIET_BYTES || (!spans && i % 20 != 0))
            continue;
        cr_assert_eq(break_while_mended(&peer, place, place->offset), CONCLAVE_IO);
        cr_assert_eq(break_while_mended(&peer, place, end), CONCLAVE_IO);
        failed++;
    }
    cr_assert_gt(failed, 10);
    peer_free(&peer);
}

/* Nothing stands beside it in the block. */
Test(unreadable, a_block_that_fails_within_what_is_mended_is_written)
{
    struct peer peer;
    struct placed places[600];
    make(&peer, true);
    const size_t count = image_layout(peer.disk, places, 600);
    const struct placed *large = &places[count - 2];
    cr_assert_gt(large->bytes, LARGE_BYTES);
    cr_assert_eq(break_while_mended(&peer, large, QUIET_BYTES), CONCLAVE_OK);
    peer_free(&peer);
}
