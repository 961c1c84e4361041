/* Blocks of a log that the disk fails to read: what stood in them comes back from a peer, and the
 * blocks are written as a whole, which is what makes a disk use others in their place. */
#include "healing.h"

#include "storage/identity.h"
#include "storage/wal_scanner.h"

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

static void fill_large(struct raft_runs *runs, struct raft_id id)
{
    struct raft_batch *batch = raft_batch_create(1);
    struct raft_entry entry = {
        .id = id, .kind = RAFT_ENTRY_COMMAND, .buf = buf_create(LARGE_BYTES)};
    memset(entry.buf->data, (int)id.index, LARGE_BYTES);
    entry.payload = (struct slice){.data = entry.buf->data, .bytes = LARGE_BYTES};
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
    struct wal_recovery found = {0};
    struct wal *wal = NULL;
    struct raft_runs runs = {0};
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    runs_fill(&runs, 1, 1, BATCH);
    cr_assert_eq(wal_create(io, STORY_DIR, &story_identity, &options, &runs, NULL), CONCLAVE_OK);
    raft_runs_clear(&runs);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &options, &wal, &found, NULL), 0);
    raft_runs_clear(&found.entries);
    for (uint64_t i = 1; i < BATCHES; i++) {
        runs_fill(&runs, 1 + i / 7, 1 + i * BATCH, BATCH);
        append(wal, &runs);
    }
    for (uint64_t i = 1; more && i <= LARGE; i++) {
        fill_large(&runs, (struct raft_id){.term = BATCHES, .index = BATCHES * BATCH + i});
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
