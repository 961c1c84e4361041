#include "tests/sim/disk.h"

#include "base/fatal.h"

#include <stdlib.h>

struct disk {
    struct raft_hard_state hard_state;
    struct raft_entry
        *entries; /* synced; entries[i] is index i + 1; owns a reference on each buf */
    uint64_t count, capacity;
    struct raft_persist *queue; /* unsynced, oldest first */
    uint32_t queued, queue_capacity;
    uint32_t writing; /* of the queue's front: in the batch under way */
};

static void disk_put(struct disk *disk, const struct raft_entry *entry)
{
    ASSERT(entry->id.index >= 1 && entry->id.index <= disk->count + 1);
    while (disk->count >= entry->id.index)
        buf_unref(disk->entries[--disk->count].buf);
    if (disk->count == disk->capacity) {
        disk->capacity = disk->capacity ? disk->capacity * 2 : 64;
        disk->entries = mem_realloc(disk->entries, disk->capacity * sizeof *disk->entries);
    }
    struct raft_entry *put = &disk->entries[disk->count++];
    *put = *entry;
    put->origin = (struct raft_origin){0};
    if (put->buf)
        buf_ref(put->buf);
}

static void persist_deinit(struct raft_persist *persist)
{
    raft_runs_clear(&persist->entries);
    raft_messages_clear(&persist->send_after);
    *persist = (struct raft_persist){0};
}

struct disk *disk_create(struct buf *configuration)
{
    struct disk *disk = mem_zalloc(sizeof *disk);
    disk->hard_state = (struct raft_hard_state){.term = 1};
    struct raft_entry first = {.id = {.term = 1, .index = 1},
                               .kind = RAFT_ENTRY_CONFIG,
                               .buf = configuration,
                               .payload = {configuration->data, configuration->bytes}};
    disk_put(disk, &first);
    return disk;
}

void disk_destroy(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->queued; i++)
        persist_deinit(&disk->queue[i]);
    for (uint64_t i = 0; i < disk->count; i++)
        buf_unref(disk->entries[i].buf);
    free(disk->queue);
    free(disk->entries);
    free(disk);
}

void disk_submit(struct disk *disk, struct raft_persist *persist)
{
    if (disk->queued == disk->queue_capacity) {
        disk->queue_capacity = disk->queue_capacity ? disk->queue_capacity * 2 : 8;
        disk->queue = mem_realloc(disk->queue, disk->queue_capacity * sizeof *disk->queue);
    }
    disk->queue[disk->queued++] = *persist;
    *persist = (struct raft_persist){0};
}

uint32_t disk_begin(struct disk *disk, uint32_t max)
{
    ASSERT(disk->writing == 0);
    disk->writing = disk->queued < max ? disk->queued : max;
    return disk->writing;
}

/* Makes the hard state and the first `limit` entries of a persist part of what is synced. */
static void disk_apply(struct disk *disk, const struct raft_persist *persist, uint64_t limit)
{
    if (persist->hard_state_changed)
        disk->hard_state = persist->hard_state;
    struct raft_runs_iter it = {0};
    const struct raft_entry *entry;
    for (uint64_t i = 0; i < limit && (entry = raft_runs_next(&persist->entries, &it)); i++)
        disk_put(disk, entry);
}

void disk_complete(struct disk *disk, void (*durable)(void *arg, struct raft_persist *persist),
                   void *arg)
{
    ASSERT(disk->writing > 0);
    for (uint32_t i = 0; i < disk->writing; i++) {
        disk_apply(disk, &disk->queue[i], UINT64_MAX);
        durable(arg, &disk->queue[i]);
        persist_deinit(&disk->queue[i]);
    }
    disk->queued -= disk->writing;
    for (uint32_t i = 0; i < disk->queued; i++)
        disk->queue[i] = disk->queue[i + disk->writing];
    disk->writing = 0;
}

struct disk_crash disk_crash(struct disk *disk, struct prng *prng)
{
    struct disk_crash crash = {0};
    crash.kept_count = (uint32_t)prng_between(prng, 0, disk->queued);
    for (uint32_t i = 0; i < crash.kept_count; i++)
        disk_apply(disk, &disk->queue[i], UINT64_MAX);
    crash.lost_count = disk->queued - crash.kept_count;
    if (crash.lost_count > 0 && prng_below(prng, 2) == 0) {
        const struct raft_persist *cut = &disk->queue[crash.kept_count];
        uint64_t limit = prng_between(prng, 0, cut->entries.entry_count);
        crash.partial = true;
        crash.partial_count = (uint32_t)limit;
        disk_apply(disk, cut, limit);
        /* A batch writes its newest hard state first, in its own place. */
        uint32_t ahead = (uint32_t)prng_between(prng, crash.kept_count, disk->queued - 1);
        for (uint32_t i = crash.kept_count + 1; i <= ahead; i++) {
            crash.hard_state_ahead |= disk->queue[i].hard_state_changed;
            disk_apply(disk, &disk->queue[i], 0);
        }
    }
    for (uint32_t i = 0; i < disk->queued; i++)
        persist_deinit(&disk->queue[i]);
    disk->queued = 0;
    disk->writing = 0;
    return crash;
}

void disk_recover(const struct disk *disk, struct raft_hard_state *ret_hard_state,
                  struct raft_runs *ret_entries)
{
    ASSERT(disk->queued == 0);
    struct raft_batch *batch = raft_batch_create((uint32_t)disk->count);
    for (uint64_t i = 0; i < disk->count; i++) {
        struct raft_entry entry = disk->entries[i];
        if (entry.buf)
            buf_ref(entry.buf);
        raft_batch_add(batch, entry);
    }
    *ret_hard_state = disk->hard_state;
    raft_runs_append(ret_entries, batch, 0, batch->count);
    raft_batch_unref(batch);
}
