/* Crashes at every operation, faults at every operation. */
#include "fixture.h"

#include "storage/identity.h"
#include "storage/wal_mend.h"

#include <criterion/criterion.h>
#include <stdio.h>

static uint64_t story_operations(const struct step *steps)
{
    struct memory_disk *disk = memory_disk_create();
    struct story story;
    cr_assert_eq(story_play(&story, memory_disk_io(disk), steps), CONCLAVE_OK, "%s",
                 story.error.message);
    uint64_t operations = memory_disk_operations(disk);
    memory_disk_destroy(disk);
    return operations;
}

static void check_vote(const struct story *story, const struct io *io, const char *when)
{
    struct conclave_error error = {0};
    struct vote_file *vote = NULL;
    struct raft_hard_state state = {0};
    cr_assert_eq(vote_open(io, STORY_DIR, &story_identity, &vote, &state, &error), CONCLAVE_OK,
                 "%s: %s", when, error.message);
    vote_close(vote);
    bool acked = state.term == story->vote_acked.term && state.vote == story->vote_acked.vote;
    bool staged = state.term == story->vote_staged.term && state.vote == story->vote_staged.vote;
    cr_assert(acked || staged, "%s: the vote is neither the old nor the new one", when);
}

/* Recovers, twice with a crash in between. */
static void check_log(const struct story *story, struct memory_disk *disk, uint64_t seed,
                      const char *when)
{
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    struct wal_recovery first = {0}, second = {0};
    cr_assert_eq(log_read(io, &first, &error), CONCLAVE_OK, "%s: %s", when, error.message);
    cr_assert_neq(story_find(story, story->acked, &first.entries), SIZE_MAX,
                  "%s: %zu were acknowledged, the log has %zu entries and is none of the states",
                  when, story->acked, (size_t)first.entries.entry_count);
    cr_assert_leq(first.attested_index, raft_runs_last(&first.entries).index, "%s", when);

    /* What a start has returned, the node acknowledges: it must be as durable as after a sync. */
    if (seed % 2 == 0)
        memory_disk_crash_hard(disk);
    else
        memory_disk_crash(disk, seed * 7919);
    cr_assert_eq(log_read(io, &second, &error), CONCLAVE_OK, "%s, again: %s", when, error.message);
    size_t count = story_find(story, story->acked, &first.entries);
    cr_assert(story_matches(story, count, &second.entries), "%s: the second start differs", when);
    cr_assert_eq(second.cut_bytes, 0, "%s: the first start left something to cut", when);
    raft_runs_clear(&first.entries);
    raft_runs_clear(&second.entries);
    cr_assert_eq(memory_disk_handles(disk), 0, "%s: a handle is left open", when);
}

static void check_all(const struct story *story, struct memory_disk *disk, uint64_t seed,
                      const char *when)
{
    const struct io *io = memory_disk_io(disk);
    struct storage_identity identity;
    struct conclave_error error = {0};
    int code = identity_read(io, STORY_DIR, &identity, &error);
    if (code == CONCLAVE_NOT_FOUND && !story->created)
        return;
    cr_assert_eq(code, CONCLAVE_OK, "%s: %s", when, error.message);
    cr_assert_eq(identity.incarnation, story_identity.incarnation);
    check_vote(story, io, when);
    check_log(story, disk, seed, when);
}

static void crash_everywhere(const struct step *steps, uint64_t seeds)
{
    uint64_t operations = story_operations(steps);
    cr_assert_gt(operations, 40);
    for (uint64_t at = 1; at <= operations; at++) {
        for (uint64_t seed = 0; seed < seeds; seed++) {
            struct memory_disk *disk = memory_disk_create();
            struct story story;
            char when[64];
            (void)snprintf(when, sizeof(when), "power off at operation %lu, seed %lu",
                           (unsigned long)at, (unsigned long)seed);
            memory_disk_power_off_at(disk, at);
            int code = story_play(&story, memory_disk_io(disk), steps);
            cr_assert_eq(code, CONCLAVE_IO, "%s", when);
            if (seed == 0)
                memory_disk_crash_hard(disk);
            else
                memory_disk_crash(disk, at * 1000 + seed);
            check_all(&story, disk, seed, when);
            memory_disk_destroy(disk);
        }
    }
}

Test(crash, long_story_keeps_everything_acknowledged)
{
    crash_everywhere(story_long, 24);
}

Test(crash, short_story_keeps_everything_acknowledged)
{
    crash_everywhere(story_short, 48);
}

Test(crash, process_killed_without_power_loss_keeps_what_it_finds)
{
    /* The page cache shows what the disk never saw; what a start takes from it must become durable.
     */
    uint64_t operations = story_operations(story_long);
    for (uint64_t at = 1; at <= operations; at++) {
        struct memory_disk *disk = memory_disk_create();
        struct story story;
        memory_disk_power_off_at(disk, at);
        cr_assert_eq(story_play(&story, memory_disk_io(disk), story_long), CONCLAVE_IO);
        memory_disk_power_off_at(disk, 0);
        check_all(&story, disk, at % 8, "process killed");
        memory_disk_destroy(disk);
    }
}

/* A start that is itself interrupted, again and again, loses nothing. */
Test(crash, in_the_middle_of_a_start)
{
    uint64_t operations = story_operations(story_long);
    for (uint64_t at = 20; at <= operations; at += 3) {
        for (uint64_t during = 1; during <= 16; during++) {
            struct memory_disk *disk = memory_disk_create();
            struct story story;
            struct conclave_error error;
            struct wal_recovery recovery;
            memory_disk_power_off_at(disk, at);
            cr_assert_eq(story_play(&story, memory_disk_io(disk), story_long), CONCLAVE_IO);
            memory_disk_crash(disk, at * 31 + during);
            if (story.created) {
                memory_disk_power_off_at(disk, memory_disk_operations(disk) + during);
                if (log_read(memory_disk_io(disk), &recovery, &error) == CONCLAVE_OK)
                    raft_runs_clear(&recovery.entries);
                memory_disk_crash(disk, at * 37 + during);
                check_all(&story, disk, during, "crash in a start");
            }
            memory_disk_destroy(disk);
        }
    }
}

/* Recovers, appends some batches and segments, loses what is not synced, and reads all of it back.
 * Returns what the first start cut. */
static uint64_t go_on(struct story *story, struct memory_disk *disk, uint64_t rounds)
{
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, &error),
                 CONCLAVE_OK, "%s", error.message);
    uint64_t cut_bytes = recovery.cut_bytes;
    size_t count = story_find(story, story->acked, &recovery.entries);
    cr_assert_neq(count, SIZE_MAX);
    raft_runs_clear(&recovery.entries);
    story->staged_count = count;
    for (uint64_t round = 0; round < rounds; round++) {
        struct raft_runs runs = {0};
        uint64_t index = wal_last(wal).index + 1;
        runs_fill(&runs, 9, index, 2);
        story->staged[story->staged_count++] = (struct raft_id){9, index};
        story->staged[story->staged_count++] = (struct raft_id){9, index + 1};
        wal_append(wal, &runs);
        raft_runs_clear(&runs);
        cr_assert_eq(wal_sync(wal, &error), CONCLAVE_OK, "%s", error.message);
    }
    wal_close(wal);
    memory_disk_crash_hard(disk);
    cr_assert_eq(log_read(io, &recovery, &error), CONCLAVE_OK, "%s", error.message);
    cr_assert(story_matches(story, story->staged_count, &recovery.entries));
    raft_runs_clear(&recovery.entries);
    return cut_bytes;
}

Test(crash, log_goes_on_after_a_torn_tail)
{
    uint64_t operations = story_operations(story_short);
    size_t torn = 0;
    for (uint64_t at = 1; at <= operations; at++) {
        for (uint64_t seed = 0; seed < 16; seed++) {
            struct memory_disk *disk = memory_disk_create();
            struct story story;
            memory_disk_power_off_at(disk, at);
            cr_assert_eq(story_play(&story, memory_disk_io(disk), story_short), CONCLAVE_IO);
            memory_disk_crash(disk, at * 100 + seed);
            if (story.created)
                torn += go_on(&story, disk, 12) > 0 ? 1 : 0;
            memory_disk_destroy(disk);
        }
    }
    cr_assert_gt(torn, 10, "the test tears too little to say anything");
}

/* Names that were never synced must be durable before something is built on them. */
Test(crash, log_goes_on_after_a_killed_process)
{
    uint64_t operations = story_operations(story_short);
    for (uint64_t at = 1; at <= operations; at++) {
        for (uint64_t rounds = 1; rounds < 10; rounds++) {
            struct memory_disk *disk = memory_disk_create();
            struct story story;
            memory_disk_power_off_at(disk, at);
            cr_assert_eq(story_play(&story, memory_disk_io(disk), story_short), CONCLAVE_IO);
            memory_disk_power_off_at(disk, 0);
            if (story.created)
                (void)go_on(&story, disk, rounds);
            memory_disk_destroy(disk);
        }
    }
}

/* The story reads the vote once: where that fails, what is read next are its slots one by one. */
enum { VOTE_READS = 1 };

static void fail_everywhere(int code)
{
    uint64_t operations = story_operations(story_long), survived = 0;
    for (uint64_t at = 1; at <= operations; at++) {
        struct memory_disk *disk = memory_disk_create();
        struct story story;
        memory_disk_fail_at(disk, at, code);
        int got = story_play(&story, memory_disk_io(disk), story_long);
        survived += got == CONCLAVE_OK;
        /* Only what tidies up behind another failure may fail unnoticed; nothing failed before. */
        if (got != CONCLAVE_OK)
            cr_assert_eq(got, code, "operation %lu: %s", (unsigned long)at, story.error.message);
        cr_assert_neq(story.error.message[0], 0);
        cr_assert_eq(memory_disk_handles(disk), 0, "operation %lu leaves a handle",
                     (unsigned long)at);
        check_all(&story, disk, at, "after a failed operation");
        memory_disk_destroy(disk);
    }
    cr_assert_eq(survived, code == CONCLAVE_IO ? VOTE_READS : 0);
}

/* What a failed sync left in the page cache alone must not become the ground of what follows. */
Test(fault, log_goes_on_after_any_failed_operation)
{
    uint64_t operations = story_operations(story_long), survived = 0;
    for (uint64_t at = 1; at <= operations; at++) {
        struct memory_disk *disk = memory_disk_create();
        struct story story;
        memory_disk_fail_at(disk, at, CONCLAVE_IO);
        int code = story_play(&story, memory_disk_io(disk), story_long);
        survived += code == CONCLAVE_OK;
        cr_assert(code == CONCLAVE_IO || code == CONCLAVE_OK);
        if (story.created)
            (void)go_on(&story, disk, 1 + at % 8);
        memory_disk_destroy(disk);
    }
    cr_assert_eq(survived, VOTE_READS);
}

/* The same with an attestation, which may need a new segment: its header is a sector of its own. */
Test(fault, log_goes_on_after_a_failed_attestation)
{
    for (uint64_t count = 1; count < 16; count++) {
        for (uint64_t operation = 1; operation <= 8; operation++) {
            struct memory_disk *disk = memory_disk_create();
            const struct io *io = memory_disk_io(disk);
            const struct step steps[] = {
                {STEP_APPEND, 1, 2, count}, {STEP_SYNC, 0, 0, 0}, {STEP_END, 0, 0, 0}};
            struct story story;
            struct wal *wal = NULL;
            struct wal_recovery recovery = {0};
            struct raft_runs runs = {0};
            cr_assert_eq(story_play(&story, io, steps), CONCLAVE_OK);
            cr_assert_eq(
                wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, NULL),
                CONCLAVE_OK);
            raft_runs_clear(&recovery.entries);
            runs_fill(&runs, 2, count + 2, 1);
            story.staged[story.staged_count++] = (struct raft_id){2, count + 2};
            wal_append(wal, &runs);
            raft_runs_clear(&runs);
            cr_assert_eq(wal_sync(wal, NULL), CONCLAVE_OK);
            memory_disk_fail_at(disk, memory_disk_operations(disk) + operation, CONCLAVE_IO);
            (void)!wal_attest(wal, NULL);
            wal_close(wal);
            memory_disk_fail_at(disk, 0, CONCLAVE_IO);
            story.acked = story.staged_count;
            (void)go_on(&story, disk, 1 + operation % 3);
            memory_disk_destroy(disk);
        }
    }
}

Test(fault, every_operation_may_fail_with_io)
{
    fail_everywhere(CONCLAVE_IO);
}

Test(fault, every_operation_may_find_no_space)
{
    fail_everywhere(CONCLAVE_NO_SPACE);
}

Test(fault, full_disk_at_the_change_of_segments_loses_nothing_and_heals)
{
    for (uint64_t space = 8192; space < 8192 + 12000; space += 300) {
        struct memory_disk *disk = memory_disk_create();
        struct story story;
        memory_disk_set_space(disk, space);
        int code = story_play(&story, memory_disk_io(disk), story_long);
        if (code != CONCLAVE_OK)
            cr_assert_eq(code, CONCLAVE_NO_SPACE, "%s", story.error.message);
        memory_disk_crash(disk, space);
        memory_disk_set_space(disk, UINT64_MAX);
        check_all(&story, disk, 1, "after a full disk");
        memory_disk_destroy(disk);
    }
}

Test(fault, failed_sync_is_final)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct story story;
    struct conclave_error error;
    struct wal *wal = NULL;
    struct wal_recovery recovery = {0};
    struct raft_runs runs = {0};
    cr_assert_eq(story_play(&story, io, story_short), CONCLAVE_OK);
    cr_assert_eq(wal_open(io, STORY_DIR, &story_identity, &story_options, &wal, &recovery, &error),
                 CONCLAVE_OK);
    raft_runs_clear(&recovery.entries);
    runs_fill(&runs, 9, wal_last(wal).index + 1, 1);
    wal_append(wal, &runs);
    raft_runs_clear(&runs);
    memory_disk_fail_at(disk, memory_disk_operations(disk) + 2, CONCLAVE_IO);
    cr_assert_eq(wal_sync(wal, &error), CONCLAVE_IO);
    cr_assert_eq(wal_sync(wal, &error), CONCLAVE_IO, "Rule 6: a sync is never tried again");
    cr_assert_not(wal_needs_attest(wal));
    cr_assert_not(wal_needs_segment(wal));
    wal_close(wal);
    memory_disk_destroy(disk);
}

/* --- Behind a repair -------------------------------------------------------------------------- */

#define FIRST_SEGMENT STORY_DIR "/wal/0000000000000001.wal"
#define MENDING STORY_DIR "/wal/" WAL_MENDING_NAME

/* What was repaired is right in memory alone: the process was killed before the sync. */
static struct memory_disk *mended_in_memory(void)
{
    static struct story story;
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    struct io_file *file = NULL;
    size_t bytes = 0;
    cr_assert_eq(story_play(&story, io, story_long), CONCLAVE_OK);
    cr_assert_eq(io->open(io->ctx, MENDING, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync(io->ctx, file, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
    cr_assert_eq(io->sync_dir(io->ctx, STORY_DIR "/wal", NULL), CONCLAVE_OK);
    uint8_t right = memory_disk_bytes(disk, FIRST_SEGMENT, &bytes)[200];
    const uint8_t wrong = right ^ 0x10;
    const struct iovec part = {.iov_base = &right, .iov_len = 1};
    memory_disk_rot(disk, FIRST_SEGMENT, 200, &wrong, 1);
    cr_assert_eq(io->open(io->ctx, FIRST_SEGMENT, 0, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->writev(io->ctx, file, 200, &part, 1, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
    cr_assert_not(memory_disk_is_synced(disk, FIRST_SEGMENT, 200, 1));
    return disk;
}

Test(crash, mark_of_a_repair_stays_until_all_of_it_is_on_disk)
{
    int code = CONCLAVE_IO;
    uint64_t failed = 0;
    for (; code != CONCLAVE_OK; failed++) {
        struct memory_disk *disk = mended_in_memory();
        struct wal_recovery recovery = {0};
        memory_disk_fail_at_change(disk, memory_disk_changes(disk) + failed + 1, CONCLAVE_IO);
        code = log_read(memory_disk_io(disk), &recovery, NULL);
        bool marked = false;
        cr_assert_eq(wal_mend_begun(memory_disk_io(disk), STORY_DIR "/wal", &marked, NULL),
                     CONCLAVE_OK);
        cr_assert(marked || memory_disk_is_synced(disk, FIRST_SEGMENT, 200, 1), "change %lu failed",
                  (unsigned long)failed + 1);
        cr_assert(code != CONCLAVE_OK || !marked, "it goes at last");
        raft_runs_clear(&recovery.entries);
        memory_disk_destroy(disk);
    }
    cr_assert_gt(failed, 4);
}
