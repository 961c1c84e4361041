/* The account of the real disk: what it lets pass and what it finds. */
#include "tests/disk/memory_io.h"
#include "tests/sim/disk.h"
#include "tests/sim/storage.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct storage_identity identity = {
    .cluster_id = 7, .node_id = 11, .incarnation = 13, .name = "n1"};

static struct storage *storage;
static struct prng prng;

static struct disk *disk_real(uint64_t seed, uint64_t kill_chance)
{
    prng_init(&prng, seed);
    struct buf *payload = buf_create(8);
    memset(payload->data, 0, 8);
    struct storage_knobs knobs = {.segment_bytes = 1024, .kill_chance = kill_chance};
    storage = storage_create(&identity, &knobs, payload, &prng);
    struct disk *disk = disk_create(payload, storage);
    buf_unref(payload);
    return disk;
}

static enum disk_start start(struct disk *disk, uint64_t *ret_last, uint64_t *ret_term)
{
    struct disk_found found;
    enum disk_start started = disk_recover(disk, false, &found, NULL);
    if (started != DISK_STARTED)
        return started;
    *ret_last = raft_runs_last(&found.entries).index;
    *ret_term = found.hard_state.term;
    raft_runs_clear(&found.entries);
    return started;
}

static void submit(struct disk *disk, uint64_t seq, uint64_t term, uint64_t first, uint32_t count)
{
    struct raft_persist persist = {
        .seq = seq, .hard_state_changed = true, .hard_state = {.term = term}};
    struct raft_batch *batch = raft_batch_create(count);
    for (uint32_t i = 0; i < count; i++)
        raft_batch_add(batch, (struct raft_entry){.id = {.term = term, .index = first + i}});
    raft_runs_append(&persist.entries, batch, 0, count);
    raft_batch_unref(batch);
    disk_submit(disk, &persist);
    disk_begin(disk, UINT32_MAX);
}

static void count_durable(void *arg, struct raft_persist *persist)
{
    (void)persist;
    ++*(int *)arg;
}

static int complete(struct disk *disk, bool fails, int *ret_durable)
{
    *ret_durable = 0;
    return disk_complete(disk, fails, count_durable, ret_durable, NULL);
}

Test(real_disk, keeps_what_was_synced_over_power_and_kills)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t last, term;
        int durable;
        struct disk *disk = disk_real(seed, seed % 2 * 1000);
        cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
        cr_assert_eq(last, 1);
        submit(disk, 1, 2, 2, 10);
        cr_assert_eq(complete(disk, false, &durable), CONCLAVE_OK);
        cr_assert_eq(durable, 1);
        submit(disk, 2, 3, 5, 30); /* replaces entries; several segments */
        cr_assert_eq(disk_crash(disk, &prng), seed % 2 == 0);
        cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
        cr_assert(term == 2 ? last == 11 : last == 11 || (last >= 5 && last <= 34));
        disk_crash(disk, &prng);
        disk_destroy(disk);
    }
}

Test(real_disk, releases_nothing_of_a_batch_that_failed)
{
    uint64_t last, term;
    int durable;
    struct disk *disk = disk_real(3, 1000);
    cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
    submit(disk, 1, 2, 2, 3);
    cr_assert_eq(complete(disk, true, &durable), CONCLAVE_IO);
    cr_assert_eq(durable, 0);
    disk_crash(disk, &prng);
    cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
    cr_assert(last >= 1 && last <= 4);
    disk_destroy(disk);
}

Test(real_disk, refuses_attested_damage_and_leaves_it)
{
    uint32_t damaged = 0;
    struct wal_want wants;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t last, term;
        int durable;
        struct disk *disk = disk_real(seed, 0);
        cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
        submit(disk, 1, 2, 2, 30);
        cr_assert_eq(complete(disk, false, &durable), CONCLAVE_OK);
        disk_crash(disk, &prng);
        if (storage_damage(storage,
                           &wants)) { /* not if the drawn segment has one batch, the last */
            damaged++;
            cr_assert_eq(start(disk, &last, &term), DISK_REFUSED);
            cr_assert(storage_untouched(storage));
        }
        disk_destroy(disk);
    }
    cr_assert_gt(damaged, 20);
}

Test(real_disk, finds_a_log_that_lost_what_was_synced)
{
    uint64_t last, term;
    int durable;
    struct disk *disk = disk_real(5, 0);
    cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
    submit(disk, 1, 2, 2, 3);
    cr_assert_eq(complete(disk, false, &durable), CONCLAVE_OK);
    disk_crash(disk, &prng);
    /* The last batch as a disk leaves it that said "synced" and was not. */
    storage_zero_last_batch(storage);
    cr_assert_eq(start(disk, &last, &term), DISK_WRONG);
    disk_destroy(disk);
}

/* Of a segment that is full, and of the one in which the log goes on. */
Test(real_disk, sees_that_something_stands_behind_the_log)
{
    const char *const segments[] = {"node/wal/0000000000000001.wal",
                                    "node/wal/0000000000000002.wal"};
    const uint8_t byte = 1, zero = 0;
    uint64_t last, term, sequence;
    int durable;
    struct disk *disk = disk_real(5, 0);
    struct memory_disk *files = storage_io(storage)->ctx;
    cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
    submit(disk, 1, 2, 2, 20);
    cr_assert_eq(complete(disk, false, &durable), CONCLAVE_OK);
    cr_assert(storage_is_zero_behind(storage, &sequence));
    for (uint64_t i = 0; i < 2; i++) {
        memory_disk_rot(files, segments[i], 1023, &byte, 1);
        cr_assert_not(storage_is_zero_behind(storage, &sequence));
        cr_assert_eq(sequence, i + 1);
        memory_disk_rot(files, segments[i], 1023, &zero, 1);
        cr_assert(storage_is_zero_behind(storage, &sequence));
    }
    disk_destroy(disk);
}

Test(real_disk, keeps_the_vote_in_either_slot)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t last, term;
        int durable;
        struct disk *disk = disk_real(seed, 0);
        cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
        submit(disk, 1, 9, 2, 1);
        cr_assert_eq(complete(disk, false, &durable), CONCLAVE_OK);
        disk_crash(disk, &prng);
        cr_assert(storage_damage_vote(storage));
        cr_assert(!storage_damage_vote(storage));
        cr_assert_eq(start(disk, &last, &term), DISK_STARTED);
        cr_assert_eq(term, 9);
        disk_destroy(disk);
    }
}
