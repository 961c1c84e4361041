#include "storage/identity.h"
#include "fixture.h"

#include "storage/block.h"
#include "storage/bytes.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <xxhash.h>

static struct memory_disk *disk_with_dir(void)
{
    struct memory_disk *disk = memory_disk_create();
    const struct io *io = memory_disk_io(disk);
    cr_assert_eq(io->make_dir(io->ctx, STORY_DIR, NULL), CONCLAVE_OK);
    cr_assert_eq(io->sync_dir(io->ctx, ".", NULL), CONCLAVE_OK);
    return disk;
}

/* Sets a block's version and makes its checksum right again. */
static void set_version(struct memory_disk *disk, const char *path, size_t at, size_t bytes,
                        uint32_t version)
{
    size_t size = 0;
    uint8_t block[BLOCK_BYTES_MAX];
    const uint8_t *data = memory_disk_bytes(disk, path, &size);
    cr_assert_not_null(data);
    memcpy(block, data + at, bytes);
    put_u32(block + 16, version);
    put_u64(block, XXH3_64bits(block + 8, bytes - 8));
    memory_disk_rot(disk, path, at, block, bytes);
}

Test(identity, reads_back_what_was_written)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct storage_identity got = {0};
    cr_assert_eq(identity_write(io, STORY_DIR, &story_identity, NULL), CONCLAVE_OK);
    memory_disk_crash_hard(disk);
    cr_assert_eq(identity_read(io, STORY_DIR, &got, NULL), CONCLAVE_OK);
    cr_assert_eq(got.cluster_id, story_identity.cluster_id);
    cr_assert_eq(got.node_id, story_identity.node_id);
    cr_assert_eq(got.incarnation, story_identity.incarnation);
    cr_assert_str_eq(got.name, "n1");
    memory_disk_destroy(disk);
}

Test(identity, longest_name_fits)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct storage_identity identity = story_identity, got = {0};
    memset(identity.name, 'x', CONCLAVE_NAME_BYTES_MAX);
    identity.name[CONCLAVE_NAME_BYTES_MAX] = 0;
    cr_assert_eq(identity_write(io, STORY_DIR, &identity, NULL), CONCLAVE_OK);
    cr_assert_eq(identity_read(io, STORY_DIR, &got, NULL), CONCLAVE_OK);
    cr_assert_str_eq(got.name, identity.name);
    memory_disk_destroy(disk);
}

Test(identity, is_written_once)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    cr_assert_eq(identity_write(io, STORY_DIR, &story_identity, NULL), CONCLAVE_OK);
    cr_assert_eq(identity_write(io, STORY_DIR, &story_identity, &error), CONCLAVE_EXISTS);
    cr_assert_not_null(strstr(error.message, STORY_DIR));
    memory_disk_destroy(disk);
}

Test(identity, one_that_cannot_be_read_is_neither_missing_nor_damaged)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct conclave_error error = {0};
    struct storage_identity got;
    cr_assert_eq(identity_write(io, STORY_DIR, &story_identity, NULL), CONCLAVE_OK);
    for (uint64_t operation = 1; operation <= 2; operation++) { /* opening it, reading it */
        memory_disk_fail_at(disk, memory_disk_operations(disk) + operation, CONCLAVE_IO);
        cr_assert_eq(identity_read(io, STORY_DIR, &got, &error), CONCLAVE_IO, "%s", error.message);
        cr_assert_null(strstr(error.message, "not a node"), "%s", error.message);
    }
    memory_disk_destroy(disk);
}

Test(identity, missing_one_says_what_to_do)
{
    struct memory_disk *disk = disk_with_dir();
    struct conclave_error error = {0};
    struct storage_identity got;
    cr_assert_eq(identity_read(memory_disk_io(disk), STORY_DIR, &got, &error), CONCLAVE_NOT_FOUND);
    cr_assert_not_null(strstr(error.message, "conclave init"), "%s", error.message);
    memory_disk_destroy(disk);
}

Test(identity, every_flipped_byte_is_seen)
{
    struct memory_disk *disk = disk_with_dir();
    cr_assert_eq(identity_write(memory_disk_io(disk), STORY_DIR, &story_identity, NULL),
                 CONCLAVE_OK);
    size_t bytes = 0;
    const char *path = STORY_DIR "/identity";
    cr_assert_not_null(memory_disk_bytes(disk, path, &bytes));
    cr_assert_eq(bytes, 128);
    for (size_t at = 0; at < bytes; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct memory_disk *damaged = memory_disk_clone(disk);
            struct storage_identity got;
            struct conclave_error error = {0};
            uint8_t value =
                (uint8_t)(memory_disk_bytes(damaged, path, &bytes)[at] ^ (uint8_t)(1u << bit));
            memory_disk_rot(damaged, path, at, &value, 1);
            cr_assert_eq(identity_read(memory_disk_io(damaged), STORY_DIR, &got, &error),
                         CONCLAVE_CORRUPT);
            cr_assert_not_null(strstr(error.message, path));
            cr_assert_eq(memory_disk_changes(damaged), 0);
            memory_disk_destroy(damaged);
        }
    }
    memory_disk_destroy(disk);
}

Test(identity, newer_format_is_told_from_damage)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct storage_identity got;
    struct conclave_error error = {0};
    cr_assert_eq(identity_write(io, STORY_DIR, &story_identity, NULL), CONCLAVE_OK);
    set_version(disk, STORY_DIR "/identity", 0, 128, 2);
    cr_assert_eq(identity_read(io, STORY_DIR, &got, &error), CONCLAVE_VERSION);
    cr_assert_not_null(strstr(error.message, "newer"), "%s", error.message);
    memory_disk_destroy(disk);
}

Test(lock, second_holder_is_refused_until_the_first_lets_go)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct io_file *first = NULL, *second = NULL;
    cr_assert_eq(dir_lock(io, STORY_DIR, &first, NULL), CONCLAVE_OK);
    cr_assert_eq(dir_lock(io, STORY_DIR, &second, NULL), CONCLAVE_IN_USE);
    cr_assert_null(second);
    dir_unlock(io, first);
    cr_assert_eq(dir_lock(io, STORY_DIR, &second, NULL), CONCLAVE_OK);
    dir_unlock(io, second);
    dir_unlock(io, NULL);
    cr_assert_eq(memory_disk_handles(disk), 0);
    memory_disk_destroy(disk);
}

/* --- Vote ------------------------------------------------------------------------------------- */

#define VOTE_PATH STORY_DIR "/vote"

enum { VOTE_SLOT_AT = 4096 }; /* the second one */

/* A disk on which terms 1, 2 and 3 were voted in. */
static struct memory_disk *disk_with_vote(void)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct vote_file *vote = NULL;
    struct raft_hard_state state = {0};
    cr_assert_eq(vote_create(io, STORY_DIR, &story_identity, (struct raft_hard_state){1, 0}, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(vote_open(io, STORY_DIR, &story_identity, &vote, &state, NULL), CONCLAVE_OK);
    cr_assert_eq(state.term, 1);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){2, 5}, NULL), CONCLAVE_OK);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){3, 6}, NULL), CONCLAVE_OK);
    vote_close(vote);
    memory_disk_crash_hard(disk);
    return disk;
}

static int vote_read(struct memory_disk *disk, struct raft_hard_state *ret,
                     struct conclave_error *error)
{
    struct vote_file *vote = NULL;
    int code = vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, ret, error);
    vote_close(vote);
    return code;
}

Test(vote, no_single_damaged_byte_takes_a_vote_away)
{
    struct memory_disk *disk = disk_with_vote();
    size_t bytes = 0;
    cr_assert_not_null(memory_disk_bytes(disk, VOTE_PATH, &bytes));
    cr_assert_eq(bytes, 8192);
    for (size_t at = 0; at < bytes; at++) {
        struct memory_disk *damaged = memory_disk_clone(disk);
        struct raft_hard_state state = {0};
        /* Of a length this makes one that ends behind the file, and not far. */
        uint8_t value = memory_disk_bytes(damaged, VOTE_PATH, &bytes)[at] ^ 0x21;
        memory_disk_rot(damaged, VOTE_PATH, at, &value, 1);
        cr_assert_eq(vote_read(damaged, &state, NULL), CONCLAVE_OK, "at %zu", at);
        cr_assert_eq(state.term, 3, "at %zu", at);
        cr_assert_eq(state.vote, 6, "at %zu", at);
        memory_disk_destroy(damaged);
    }
    memory_disk_destroy(disk);
}

/* A vote file of these bytes. */
static struct memory_disk *disk_with_bytes(const uint8_t *bytes, size_t count)
{
    struct memory_disk *disk = disk_with_dir();
    const struct io *io = memory_disk_io(disk);
    struct io_file *file = NULL;
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
    cr_assert_eq(io->open(io->ctx, VOTE_PATH, IO_OPEN_CREATE, &file, NULL), CONCLAVE_OK);
    cr_assert_eq(io->writev(io->ctx, file, 0, &part, 1, NULL), CONCLAVE_OK);
    io->close(io->ctx, file);
    return disk;
}

Test(vote, file_that_ends_before_its_second_slot_has_what_the_first_one_says)
{
    struct memory_disk *disk = disk_with_vote();
    size_t bytes = 0;
    struct raft_hard_state state = {0}, all = {0};
    cr_assert_eq(vote_read(disk, &all, NULL), CONCLAVE_OK);
    struct memory_disk *shorter =
        disk_with_bytes(memory_disk_bytes(disk, VOTE_PATH, &bytes), VOTE_SLOT_AT / 2);
    cr_assert_eq(vote_read(shorter, &state, NULL), CONCLAVE_OK);
    cr_assert(state.term == all.term || state.term + 1 == all.term, "whichever the first one is");
    memory_disk_destroy(shorter);
    memory_disk_destroy(disk);
}

Test(vote, slot_whose_write_was_lost_is_the_older_one_in_the_same_term_too)
{
    static uint8_t mixed[2 * VOTE_SLOT_AT];
    struct memory_disk *disk = disk_with_vote();
    struct vote_file *vote = NULL;
    struct raft_hard_state state = {0};
    size_t bytes = 0;
    uint8_t before[VOTE_SLOT_AT];
    cr_assert_eq(vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL),
                 CONCLAVE_OK);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){5, 0}, NULL), CONCLAVE_OK);
    memcpy(before, memory_disk_bytes(disk, VOTE_PATH, &bytes), sizeof before);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){5, 7}, NULL), CONCLAVE_OK);
    vote_close(vote);
    memcpy(mixed, memory_disk_bytes(disk, VOTE_PATH, &bytes), sizeof mixed);
    memcpy(mixed, before, sizeof before);
    struct memory_disk *lost = disk_with_bytes(mixed, sizeof mixed);
    cr_assert_eq(vote_read(lost, &state, NULL), CONCLAVE_OK);
    cr_assert_eq(state.vote, 7);
    memory_disk_destroy(lost);
    memory_disk_destroy(disk);
}

Test(vote, newer_slot_with_a_lower_term_is_damage_that_nobody_believes)
{
    static uint8_t mixed[2 * VOTE_SLOT_AT];
    struct memory_disk *low = disk_with_vote(), *high = disk_with_vote();
    struct vote_file *vote = NULL;
    struct raft_hard_state state = {0};
    struct conclave_error error = {0};
    size_t bytes = 0;
    for (int i = 0; i < 2; i++) { /* the same writes, each of the next term */
        struct memory_disk *disk = i ? high : low;
        cr_assert_eq(
            vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL),
            CONCLAVE_OK);
        for (uint64_t term = 4; term < 6; term++)
            cr_assert_eq(vote_write(vote, (struct raft_hard_state){term + (uint64_t)i, 5}, NULL),
                         CONCLAVE_OK);
        vote_close(vote);
    }
    for (size_t older = 0; older < 2; older++) {
        memcpy(mixed, memory_disk_bytes(low, VOTE_PATH, &bytes), sizeof mixed);
        memcpy(mixed + older * VOTE_SLOT_AT,
               memory_disk_bytes(high, VOTE_PATH, &bytes) + older * VOTE_SLOT_AT, VOTE_SLOT_AT);
        struct memory_disk *disk = disk_with_bytes(mixed, sizeof mixed);
        int code = vote_read(disk, &state, &error);
        cr_assert(code == CONCLAVE_CORRUPT || state.term == 6, "of the newest slot");
        if (code == CONCLAVE_CORRUPT)
            cr_assert_not_null(strstr(error.message, "its term goes back"), "%s", error.message);
        memory_disk_destroy(disk);
    }
    cr_assert_not_null(strstr(error.message, "its term goes back"));
    memory_disk_destroy(low);
    memory_disk_destroy(high);
}

Test(vote, damage_in_one_slot_is_mended_by_the_next_start)
{
    struct memory_disk *disk = disk_with_vote();
    uint8_t junk[512];
    struct raft_hard_state state = {0};
    memset(junk, 0xa5, sizeof(junk));
    memory_disk_rot(disk, VOTE_PATH, 0, junk, sizeof(junk));
    cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_OK);
    memory_disk_crash_hard(disk);
    memory_disk_rot(disk, VOTE_PATH, 4096, junk, sizeof(junk));
    cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_OK);
    cr_assert_eq(state.term, 3);
    cr_assert_eq(state.vote, 6);
    memory_disk_destroy(disk);
}

Test(vote, slot_that_the_disk_fails_to_read_is_mended_by_the_next_start)
{
    struct memory_disk *disk = disk_with_vote();
    for (size_t at = 0; at <= 4096; at += 4096) {
        struct raft_hard_state state = {0};
        memory_disk_break(disk, VOTE_PATH, at, 1);
        cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_OK);
        cr_assert_eq(state.term, 3);
        cr_assert_eq(state.vote, 6);
        memory_disk_crash_hard(disk);
    }
    memory_disk_break(disk, VOTE_PATH, 0, 1);
    memory_disk_break(disk, VOTE_PATH, 4096, 1);
    uint64_t changes = memory_disk_changes(disk);
    cr_assert_eq(vote_read(disk, NULL, NULL), CONCLAVE_IO);
    cr_assert_eq(memory_disk_changes(disk), changes);
    memory_disk_destroy(disk);
}

/* The number of a start on this disk. */
static uint64_t start_number(struct memory_disk *disk)
{
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    cr_assert_eq(vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL),
                 CONCLAVE_OK);
    uint64_t number = vote_start_number(vote);
    vote_close(vote);
    return number;
}

Test(vote, every_start_has_a_higher_number_whatever_happens_to_one_slot)
{
    uint8_t junk = 0xee;
    for (size_t damaged = 0; damaged <= 2; damaged++) {
        struct memory_disk *disk = disk_with_vote();
        uint64_t before = start_number(disk);
        for (int i = 0; i < 3; i++) {
            memory_disk_crash_hard(disk);
            if (damaged < 2)
                memory_disk_rot(disk, VOTE_PATH, 60 + damaged * 4096, &junk, 1);
            uint64_t number = start_number(disk);
            cr_assert_gt(number, before);
            before = number;
        }
        memory_disk_destroy(disk);
    }
}

Test(vote, every_start_has_a_higher_number_though_nobody_was_voted_for)
{
    struct memory_disk *disk = disk_with_dir();
    cr_assert_eq(vote_create(memory_disk_io(disk), STORY_DIR, &story_identity,
                             (struct raft_hard_state){1, 0}, NULL),
                 CONCLAVE_OK);
    uint64_t before = start_number(disk);
    cr_assert_gt(start_number(disk), before);
    memory_disk_destroy(disk);
}

Test(vote, a_start_that_fails_leaves_the_next_one_a_higher_number)
{
    for (uint64_t operation = 1; operation <= 8; operation++) {
        struct memory_disk *disk = disk_with_vote();
        uint64_t before = start_number(disk);
        struct vote_file *vote = NULL;
        struct raft_hard_state state;
        memory_disk_power_off_at(disk, memory_disk_operations(disk) + operation);
        int code = vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL);
        if (code == CONCLAVE_OK)
            before = vote_start_number(vote);
        vote_close(vote);
        memory_disk_power_off_at(disk, 0);
        memory_disk_crash_hard(disk);
        cr_assert_gt(start_number(disk), before);
        memory_disk_destroy(disk);
    }
}

/* The process is killed in the middle of a vote, which then is in memory alone, and the power goes
 * in the middle of the next start: of all slots that were not synced any part may be there. */
Test(vote, power_that_goes_in_a_start_after_a_kill_tears_one_slot_at_most)
{
    enum { KILLS = 4, OPERATIONS = 9, SEEDS = 40 };
    for (uint64_t kill = 1; kill <= KILLS; kill++) {
        struct memory_disk *killed = disk_with_vote();
        const struct io *io = memory_disk_io(killed);
        struct vote_file *vote = NULL;
        struct raft_hard_state state;
        cr_assert_eq(vote_open(io, STORY_DIR, &story_identity, &vote, &state, NULL), CONCLAVE_OK);
        memory_disk_power_off_at(killed, memory_disk_operations(killed) + kill);
        cr_assert_eq(vote_write(vote, (struct raft_hard_state){4, 7}, NULL), CONCLAVE_IO);
        vote_close(vote);
        memory_disk_power_off_at(killed, 0);
        for (uint64_t at = 1; at <= OPERATIONS * SEEDS; at++) {
            struct memory_disk *disk = memory_disk_fork(killed);
            memory_disk_power_off_at(disk, 1 + at % OPERATIONS);
            (void)vote_read(disk, &state, NULL);
            memory_disk_crash(disk, at);
            cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_OK, "kill %u, at %u",
                         (unsigned)kill, (unsigned)at);
            cr_assert((state.term == 3 && state.vote == 6) || (state.term == 4 && state.vote == 7));
            memory_disk_destroy(disk);
        }
        memory_disk_destroy(killed);
    }
}

/* The one that is whole is not written over before the other one is whole again. */
Test(vote, power_that_goes_while_one_slot_is_mended_takes_nothing_away)
{
    enum { OPERATIONS = 9, SEEDS = 40 };
    for (size_t slot = 0; slot < 2; slot++) {
        struct memory_disk *damaged = disk_with_vote();
        memory_disk_rot(damaged, VOTE_PATH, 60 + slot * VOTE_SLOT_AT, "x", 1);
        for (uint64_t at = 1; at <= OPERATIONS * SEEDS; at++) {
            struct memory_disk *disk = memory_disk_fork(damaged);
            struct raft_hard_state state;
            memory_disk_power_off_at(disk, 1 + at % OPERATIONS);
            (void)vote_read(disk, &state, NULL);
            memory_disk_crash(disk, at);
            cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_OK, "slot %u, at %u",
                         (unsigned)slot, (unsigned)at);
            cr_assert(state.term == 3 && state.vote == 6);
            memory_disk_destroy(disk);
        }
        memory_disk_destroy(damaged);
    }
}

Test(vote, both_slots_damaged_never_vote_again)
{
    struct memory_disk *disk = disk_with_vote();
    struct conclave_error error = {0};
    struct raft_hard_state state = {99, 99};
    uint8_t junk = 0xee;
    memory_disk_rot(disk, VOTE_PATH, 60, &junk, 1);
    memory_disk_rot(disk, VOTE_PATH, 4096 + 60, &junk, 1);
    uint64_t before = memory_disk_changes(disk);
    cr_assert_eq(vote_read(disk, &state, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "must not vote"), "%s", error.message);
    cr_assert_eq(state.term, 99, "outputs are untouched on failure");
    cr_assert_eq(memory_disk_changes(disk), before);
    memory_disk_destroy(disk);
}

Test(vote, file_that_cannot_be_made_does_not_stay_half_made)
{
    bool failed = true;
    for (uint64_t at = 1; failed; at++) {
        struct memory_disk *disk = disk_with_dir();
        const struct io *io = memory_disk_io(disk);
        uint64_t before = memory_disk_operations(disk);
        size_t bytes = 0;
        memory_disk_fail_at(disk, before + at, CONCLAVE_IO);
        int code = vote_create(io, STORY_DIR, &story_identity, (struct raft_hard_state){0}, NULL);
        failed = code != CONCLAVE_OK;
        cr_assert(failed == (memory_disk_bytes(disk, VOTE_PATH, &bytes) == NULL), "operation %d",
                  (int)at);
        cr_assert(failed || (at > 5 && memory_disk_operations(disk) - before < at));
        memory_disk_destroy(disk);
    }
}

Test(vote, missing_file_is_not_a_fresh_start)
{
    struct memory_disk *disk = disk_with_dir();
    struct raft_hard_state state;
    struct conclave_error error = {0};
    cr_assert_eq(vote_read(disk, &state, &error), CONCLAVE_CORRUPT);
    cr_assert_not_null(strstr(error.message, "missing"), "%s", error.message);
    memory_disk_destroy(disk);
}

Test(vote, of_another_node_is_refused)
{
    struct memory_disk *disk = disk_with_vote();
    struct storage_identity other = story_identity;
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    other.node_id++;
    cr_assert_eq(vote_open(memory_disk_io(disk), STORY_DIR, &other, &vote, &state, NULL),
                 CONCLAVE_IDENTITY);
    set_version(disk, VOTE_PATH, 0, 512, 7);
    cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_VERSION);
    memory_disk_destroy(disk);
}

Test(vote, failed_write_is_final)
{
    struct memory_disk *disk = disk_with_vote();
    const struct io *io = memory_disk_io(disk);
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    cr_assert_eq(vote_open(io, STORY_DIR, &story_identity, &vote, &state, NULL), CONCLAVE_OK);
    memory_disk_fail_at(disk, memory_disk_operations(disk) + 2, CONCLAVE_IO);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){4, 1}, NULL), CONCLAVE_IO);
    cr_assert_eq(vote_write(vote, (struct raft_hard_state){4, 1}, NULL), CONCLAVE_IO, "Rule 6");
    vote_close(vote);
    memory_disk_destroy(disk);
}

Test(vote, failed_write_that_is_still_visible_becomes_durable_or_is_not_used)
{
    for (uint64_t operation = 1; operation <= 4; operation++) {
        struct memory_disk *disk = disk_with_vote();
        struct vote_file *vote = NULL;
        struct raft_hard_state state, again;
        uint8_t junk = 0xee;
        cr_assert_eq(
            vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL),
            CONCLAVE_OK);
        memory_disk_fail_at(disk, memory_disk_operations(disk) + operation, CONCLAVE_IO);
        cr_assert_eq(vote_write(vote, (struct raft_hard_state){4, 1}, NULL), CONCLAVE_IO);
        vote_close(vote);
        cr_assert_eq(vote_read(disk, &state, NULL), CONCLAVE_OK);
        memory_disk_crash_hard(disk);
        memory_disk_rot(disk, VOTE_PATH, 60 + (operation <= 2 ? 4096 : 0), &junk, 1);
        cr_assert_eq(vote_read(disk, &again, NULL), CONCLAVE_OK);
        cr_assert_eq(again.term, state.term, "failing operation %lu", (unsigned long)operation);
        cr_assert_eq(again.vote, state.vote);
        memory_disk_destroy(disk);
    }
}

Test(vote, lower_term_is_a_broken_program, .signal = SIGABRT)
{
    struct memory_disk *disk = disk_with_vote();
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    cr_assert_eq(vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL),
                 CONCLAVE_OK);
    (void)!vote_write(vote, (struct raft_hard_state){2, 5}, NULL);
}

Test(vote, second_vote_in_a_term_is_a_broken_program, .signal = SIGABRT)
{
    struct memory_disk *disk = disk_with_vote();
    struct vote_file *vote = NULL;
    struct raft_hard_state state;
    cr_assert_eq(vote_open(memory_disk_io(disk), STORY_DIR, &story_identity, &vote, &state, NULL),
                 CONCLAVE_OK);
    (void)!vote_write(vote, (struct raft_hard_state){3, 7}, NULL);
}
