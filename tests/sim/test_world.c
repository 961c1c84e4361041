/* The simulator's own parts: its disk loses only what it may, its runs repeat exactly. */
#include "tests/sim/disk.h"
#include "tests/sim/queue.h"
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <string.h>

static struct raft_persist persist_of(uint64_t seq, uint64_t term, uint64_t first, uint32_t count)
{
    struct raft_persist persist = {
        .seq = seq, .hard_state_changed = true, .hard_state = {.term = term}};
    struct raft_batch *batch = raft_batch_create(count ? count : 1);
    for (uint32_t i = 0; i < count; i++)
        raft_batch_add(batch, (struct raft_entry){.id = {.term = term, .index = first + i}});
    raft_runs_append(&persist.entries, batch, 0, count);
    raft_batch_unref(batch);
    return persist;
}

static struct disk *disk_new(void)
{
    struct buf *payload = buf_create(8);
    memset(payload->data, 0, 8);
    struct disk *disk = disk_create(payload, NULL);
    buf_unref(payload);
    return disk;
}

static void ignore_durable(void *arg, struct raft_persist *persist)
{
    (void)persist;
    ++*(int *)arg;
}

static struct raft_id recovered(struct disk *disk, uint64_t *ret_term)
{
    struct disk_found found;
    cr_assert_eq(disk_recover(disk, false, &found, NULL), DISK_STARTED);
    struct raft_id last = raft_runs_last(&found.entries);
    raft_runs_clear(&found.entries);
    *ret_term = found.hard_state.term;
    return last;
}

Test(disk, keeps_what_was_synced)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct disk *disk = disk_new();
        struct raft_persist persist = persist_of(1, 2, 2, 3);
        disk_submit(disk, &persist);
        persist = persist_of(2, 3, 5, 2);
        disk_submit(disk, &persist);
        int completions = 0;
        cr_assert_eq(disk_begin(disk, 1), 1);
        cr_assert_eq(disk_complete(disk, false, ignore_durable, &completions, NULL), CONCLAVE_OK);
        cr_assert_eq(completions, 1);
        struct prng prng;
        prng_init(&prng, seed);
        disk_crash(disk, &prng);
        uint64_t term;
        struct raft_id last = recovered(disk, &term);
        cr_assert(last.index >= 4 && last.index <= 6);
        cr_assert(term >= 2 && term >= last.term);
        disk_destroy(disk);
    }
}

Test(disk, loses_any_part_of_what_was_not)
{
    bool seen[4][2] = {{false}}; /* entries kept of the persist; its hard state kept */
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct disk *disk = disk_new();
        struct raft_persist persist = persist_of(1, 2, 2, 3);
        disk_submit(disk, &persist);
        disk_begin(disk, 1);
        struct prng prng;
        prng_init(&prng, seed);
        disk_crash(disk, &prng);
        uint64_t term;
        seen[recovered(disk, &term).index - 1][term == 2] = true;
        disk_destroy(disk);
    }
    cr_assert(seen[0][false] && seen[0][true] && seen[1][true] && seen[2][true] && seen[3][true]);
    cr_assert(!seen[1][false] && !seen[2][false] && !seen[3][false]);
}

Test(disk, replaces_entries_from_a_truncation_on)
{
    struct disk *disk = disk_new();
    struct raft_persist persist = persist_of(1, 2, 2, 4);
    disk_submit(disk, &persist);
    persist = persist_of(2, 3, 3, 1);
    disk_submit(disk, &persist);
    int completions = 0;
    cr_assert_eq(disk_begin(disk, UINT32_MAX), 2);
    cr_assert_eq(disk_complete(disk, false, ignore_durable, &completions, NULL), CONCLAVE_OK);
    uint64_t term;
    struct raft_id last = recovered(disk, &term);
    cr_assert_eq(last.index, 3);
    cr_assert_eq(last.term, 3);
    cr_assert_eq(completions, 2);
    disk_destroy(disk);
}

Test(queue, orders_by_time_and_keeps_the_order_of_equals)
{
    struct queue queue = {0};
    for (uint64_t i = 0; i < 100; i++)
        queue_push(&queue, (struct sim_event){.at_us = i * 7 % 10, .a = i});
    struct sim_event last = {0};
    struct sim_event event;
    uint64_t count = 0;
    for (; queue_pop(&queue, &event); count++, last = event)
        cr_assert(count == 0 || event.at_us > last.at_us ||
                  (event.at_us == last.at_us && event.a > last.a));
    cr_assert_eq(count, 100);
    queue_deinit(&queue);
}

static struct world_result run(uint64_t seed)
{
    struct world *world = world_create(seed, false);
    struct world_result result = world_run(world, 3000);
    world_destroy(world);
    return result;
}

Test(world, repeats_a_seed_exactly)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world_result first = run(seed);
        struct world_result second = run(seed);
        cr_assert_eq(first.hash, second.hash);
        cr_assert_eq(first.events, second.events);
    }
}

Test(world, differs_from_seed_to_seed)
{
    cr_assert_neq(run(1).hash, run(2).hash);
}

Test(world, tells_what_led_to_a_violation)
{
    struct world *world = world_create(3, false);
    world_run(world, 3000);
    check_fail(&world->check, "an example", "with its reason");
    char text[32768];
    FILE *out = fmemopen(text, sizeof text, "w");
    world_print_failure(world, out);
    fclose(out);
    cr_assert(strstr(text, "seed 3 violates \"an example\""));
    cr_assert(strstr(text, "with its reason"));
    cr_assert(strstr(text, "the last events:"));
    cr_assert(strstr(text, "steps over"));
    world_destroy(world);
}
