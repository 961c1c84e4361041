/* A disk that does something else than it was told, or fails twice in a row: reads that end early
 * or bring other bytes, writes that never arrive. What was repaired is right, or was refused and
 * can be repaired later.
 */
#include "healing.h"

#include <criterion/criterion.h>
#include <string.h>

enum lie { LIE_NONE, LIE_SHORT_READ, LIE_OTHER_BYTE, LIE_LOST_WRITE, LIE_FAIL_TWICE };

/* Stands in front of a disk in memory. */
static struct {
    const struct io *truth;
    enum lie lie;
    uint64_t calls; /* of the kind that the lie is about */
    uint64_t at;    /* this one is not what it seems */
    uint64_t then;  /* the second failure: so many calls later */
    size_t less;    /* only reads of less than so much; 0: all */
    size_t eighth;  /* of what is read: there is the other byte */
} front;

static int fail(int code, struct conclave_error *error)
{
    return error_set(error, code, "the disk was told to fail");
}

static int lying_call(struct conclave_error *error)
{
    if (front.lie != LIE_FAIL_TWICE)
        return CONCLAVE_OK;
    front.calls++;
    if (front.calls == front.at)
        return fail(CONCLAVE_IO, error);
    return front.calls == front.at + front.then ? fail(CONCLAVE_NO_SPACE, error) : CONCLAVE_OK;
}

static int lying_read(void *ctx, struct io_file *file, uint64_t offset, void *data, size_t bytes,
                      size_t *ret_bytes, struct conclave_error *error)
{
    int code = lying_call(error);
    if (code == CONCLAVE_OK)
        code = front.truth->read(ctx, file, offset, data, bytes, ret_bytes, error);
    if (front.lie == LIE_SHORT_READ && (front.less == 0 || bytes < front.less) &&
        ++front.calls == front.at)
        *ret_bytes /= 2;
    if (front.lie == LIE_OTHER_BYTE && code == CONCLAVE_OK && *ret_bytes > 0 &&
        ++front.calls == front.at)
        ((uint8_t *)data)[*ret_bytes * front.eighth / 8] ^= 0x40;
    return code;
}

static int lying_writev(void *ctx, struct io_file *file, uint64_t offset, const struct iovec *parts,
                        int part_count, struct conclave_error *error)
{
    int code = lying_call(error);
    if (code != CONCLAVE_OK)
        return code;
    if (front.lie == LIE_LOST_WRITE && ++front.calls == front.at)
        return CONCLAVE_OK;
    return front.truth->writev(ctx, file, offset, parts, part_count, error);
}

static int lying_datasync(void *ctx, struct io_file *file, struct conclave_error *error)
{
    int code = lying_call(error);
    return code == CONCLAVE_OK ? front.truth->datasync(ctx, file, error) : code;
}

static struct io lie_about(struct memory_disk *disk, enum lie lie, uint64_t at)
{
    struct io io = *memory_disk_io(disk);
    front.truth = memory_disk_io(disk);
    front.lie = lie;
    front.calls = 0;
    front.at = at;
    io.read = lying_read;
    io.writev = lying_writev;
    io.datasync = lying_datasync;
    return io;
}

/* Some records are lost, one of them with those behind it. */
static struct memory_disk *damage(const struct peer *peer)
{
    struct placed places[512];
    struct memory_disk *disk = memory_disk_clone(peer->disk);
    size_t count = image_layout(peer->disk, places, 512);
    for (size_t i = 3; i < count; i += count / 4)
        memory_disk_rot(disk, places[i].path, places[i].offset + 5, "x", 1);
    for (size_t i = 10; i < 13; i++)
        memory_disk_rot(disk, places[i].path, places[i].offset + 5, "x", 1);
    return disk;
}

/* How often the repair failed, by code. */
struct outcomes {
    size_t fine, io, no_space, corrupt;
};

/* False: the lie was never told. */
static bool repair_with(const struct peer *peer, enum lie lie, uint64_t at,
                        struct outcomes *outcomes)
{
    struct memory_disk *damaged = damage(peer);
    struct conclave_error error = {0};
    struct io io = lie_about(damaged, lie, at);
    int code = repair_through(&io, peer, &error);
    cr_assert_eq(memory_disk_handles(damaged), 0, "lie %d", (int)at);
    outcomes->fine += code == CONCLAVE_OK;
    outcomes->io += code == CONCLAVE_IO;
    outcomes->no_space += code == CONCLAVE_NO_SPACE;
    outcomes->corrupt += code == CONCLAVE_CORRUPT;
    cr_assert(code == CONCLAVE_OK || error.message[0] != '\0');
    cr_assert_neq(heal(peer, damaged, "afterwards"), OUTCOME_REFUSED, "lie %d", (int)at);
    memory_disk_destroy(damaged);
    return front.calls >= at;
}

static struct outcomes repair_with_all(enum lie lie)
{
    struct peer peer;
    struct outcomes outcomes = {0};
    uint64_t at = 1;
    peer_make(&peer, story_long);
    while (repair_with(&peer, lie, at, &outcomes))
        at++;
    cr_assert_gt(at, 10);
    cr_assert_eq(outcomes.fine + outcomes.io + outcomes.no_space + outcomes.corrupt, at);
    peer_free(&peer);
    return outcomes;
}

Test(lying, a_read_that_ends_early_in_a_repair_spoils_nothing, .timeout = 600)
{
    struct outcomes outcomes = repair_with_all(LIE_SHORT_READ);
    cr_assert_gt(outcomes.io, 3, "it became shorter");
    cr_assert_gt(outcomes.corrupt + heal_anew, 3, "%zu", heal_anew); /* what is here is known */
}

/* One byte is another one when it is read, once, and the disk holds the right one. */
Test(lying, a_byte_that_is_read_otherwise_in_a_repair_spoils_nothing, .timeout = 600)
{
    for (front.eighth = 0; front.eighth < 8; front.eighth += 3)
        (void)repair_with_all(LIE_OTHER_BYTE);
}

Test(lying, a_write_that_does_not_arrive_is_seen_before_the_repair_ends, .timeout = 600)
{
    struct outcomes outcomes = repair_with_all(LIE_LOST_WRITE);
    cr_assert_gt(outcomes.io, 3, "it is not what was written");
    cr_assert_eq(outcomes.corrupt, 0);
}

/* The first failure is taken for a block that cannot be read, where that is allowed. */
Test(lying, a_repair_that_fails_twice_can_be_begun_again, .timeout = 1200)
{
    size_t told = 0;
    for (uint64_t then = 1; then <= 3; then++) {
        front.then = then;
        told += repair_with_all(LIE_FAIL_TWICE).no_space;
    }
    cr_assert_gt(told, 10);
}

/* What a sync that failed should have written is read as if it were there. The power goes before a
 * start has written all of the log once more. */
Test(lying, a_repair_that_was_begun_twice_outlives_the_power)
{
    struct peer peer;
    size_t failed = 0;
    bool over = false;
    peer_make(&peer, story_long);
    for (uint64_t at = 1; !over; at++) {
        struct memory_disk *damaged = damage(&peer);
        struct wal_recovery log = {0};
        struct conclave_error error = {0};
        memory_disk_fail_at_change(damaged, at, CONCLAVE_IO);
        failed += repair_all(damaged, &peer, &error) == CONCLAVE_OK ? 0 : 1;
        over = memory_disk_changes(damaged) < at;
        memory_disk_fail_at_change(damaged, 0, CONCLAVE_OK);
        cr_assert_eq(repair_all(damaged, &peer, &error), CONCLAVE_OK, "%s", error.message);
        memory_disk_crash_hard(damaged);
        cr_assert_eq(log_read(memory_disk_io(damaged), &log, &error), CONCLAVE_OK, "change %d: %s",
                     (int)at, error.message);
        raft_runs_clear(&log.entries);
        memory_disk_destroy(damaged);
    }
    cr_assert_gt(failed, 10);
    peer_free(&peer);
}

/* What the start writes again it has read before. */
Test(lying, a_start_that_reads_less_than_before_is_no_start)
{
    struct peer peer;
    size_t refused = 0;
    peer_make(&peer, story_short);
    for (uint64_t at = 1;; at++) {
        struct memory_disk *disk = memory_disk_clone(peer.disk);
        struct wal_recovery found = {0};
        struct conclave_error error = {0};
        struct io io = lie_about(disk, LIE_SHORT_READ, at);
        front.less = STORY_SEGMENT_BYTES;
        int code = log_read(&io, &found, &error);
        bool met = front.calls >= at;
        cr_assert_eq(code, met ? CONCLAVE_IO : CONCLAVE_OK, "read %d", (int)at);
        refused += met;
        raft_runs_clear(&found.entries);
        cr_assert_eq(log_read(memory_disk_io(disk), &found, &error), CONCLAVE_OK);
        cr_assert(story_matches(&peer.story, peer.story.staged_count, &found.entries));
        raft_runs_clear(&found.entries);
        memory_disk_destroy(disk);
        if (!met)
            break;
    }
    cr_assert_geq(refused, 2);
    peer_free(&peer);
}

/* The same for other bytes than before: what a start judged is what it writes again, and what it
 * goes on behind. */
static size_t start_with_other_bytes(const struct peer *peer)
{
    bool met = true;
    size_t told = 0;
    for (uint64_t at = 1; met; at++) {
        struct memory_disk *disk = memory_disk_clone(peer->disk);
        struct wal_recovery found = {0};
        struct conclave_error error = {0};
        struct io io = lie_about(disk, LIE_OTHER_BYTE, at);
        struct wal *wal = NULL;
        struct raft_runs next = {0};
        int code = wal_open(&io, STORY_DIR, &story_identity, &story_options, &wal, &found, &error);
        met = front.calls >= at;
        front.lie = LIE_NONE;
        told += code == CONCLAVE_IO || code == CONCLAVE_CORRUPT;
        if (code == CONCLAVE_OK) {
            const struct raft_id last = raft_runs_last(&found.entries);
            runs_fill(&next, last.term + 1, last.index + 1, 1);
            wal_append(wal, &next);
            cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
            cr_assert_eq(wal_attest(wal, NULL), CONCLAVE_OK);
        }
        wal_close(wal);
        raft_runs_clear(&next);
        raft_runs_clear(&found.entries);
        cr_assert_eq(log_read(memory_disk_io(disk), &found, &error), CONCLAVE_OK, "read %d: %s",
                     (int)at, error.message);
        raft_runs_clear(&found.entries);
        memory_disk_destroy(disk);
    }
    return told;
}

Test(lying, a_start_that_reads_other_bytes_than_before_writes_none_of_them)
{
    static const struct step *const stories[] = {story_short, story_long};
    for (size_t i = 0; i < 2; i++) {
        struct peer peer;
        size_t told = 0;
        peer_make(&peer, stories[i]);
        for (front.eighth = 0; front.eighth < 8; front.eighth++)
            told += start_with_other_bytes(&peer);
        cr_assert_gt(told, 8);
        peer_free(&peer);
    }
}

/* What a repair finds around the damage it makes durable, by writing it once more: as it was
 * judged, or not at all. */
Test(lying, a_repair_that_reads_other_bytes_than_before_writes_none_of_them)
{
    struct peer peer;
    size_t told = 0;
    peer_make(&peer, story_long);
    for (front.eighth = 0; front.eighth < 8; front.eighth++) {
        bool met = true;
        for (uint64_t at = 1; met; at++) {
            struct memory_disk *disk = damage(&peer), *before = memory_disk_clone(disk);
            struct io io = lie_about(disk, LIE_OTHER_BYTE, at);
            struct wal_repair *repair = NULL;
            told += wal_repair_open(&io, STORY_DIR, &story_identity, &repair, NULL) == CONCLAVE_IO;
            met = front.calls >= at;
            wal_repair_close(repair);
            cr_assert(memory_disk_equal(disk, before), "read %d", (int)at);
            memory_disk_destroy(before);
            memory_disk_destroy(disk);
        }
    }
    cr_assert_gt(told, 8);
    peer_free(&peer);
}

/* The start behind a repair writes all of the log once more. */
Test(lying, a_start_after_a_repair_that_reads_other_bytes_than_before_writes_none_of_them)
{
    struct peer peer = {0}, mended = {0};
    struct conclave_error error = {0};
    peer_make(&peer, story_long);
    mended.disk = damage(&peer);
    cr_assert_eq(repair_all(mended.disk, &peer, &error), CONCLAVE_OK, "%s", error.message);
    size_t told = 0;
    for (front.eighth = 0; front.eighth < 8; front.eighth += 3)
        told += start_with_other_bytes(&mended);
    cr_assert_gt(told, 20);
    peer_free(&mended);
    peer_free(&peer);
}
