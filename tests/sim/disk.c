#include "tests/sim/disk.h"

#include "base/fatal.h"
#include "tests/sim/storage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct disk {
    struct raft_hard_state hard_state;
    struct raft_id base;        /* the entry before the first one of the account */
    struct raft_entry *entries; /* synced; entries[i] is index base.index + i + 1; owns its buf */
    uint64_t count, capacity;
    uint64_t cut;               /* up to here entries may be missing at the next start */
    struct raft_persist *queue; /* unsynced, oldest first */
    uint32_t queued, queue_capacity;
    uint32_t writing; /* of the queue's front: in the batch under way */
    struct storage *storage;
    uint32_t lost; /* persists that were queued and never begun when it crashed */
    bool failed;   /* the batch under way has failed: nothing may be written after it (Rule 6) */
    struct disk_crash crash; /* the last one, of a model */
    uint64_t life;           /* starts of a model */
    uint64_t attested; /* of a model: the last entry before the last batch, if that replaced none */
};

static uint64_t disk_last(const struct disk *disk)
{
    return disk->base.index + disk->count;
}

static struct raft_id disk_id(const struct disk *disk, uint64_t index)
{
    return index == disk->base.index ? disk->base : disk->entries[index - disk->base.index - 1].id;
}

static void disk_put(struct disk *disk, const struct raft_entry *entry)
{
    ASSERT(entry->id.index > disk->base.index && entry->id.index <= disk_last(disk) + 1);
    while (disk_last(disk) >= entry->id.index)
        buf_unref(disk->entries[--disk->count].buf);
    if (disk->count == disk->capacity) {
        disk->capacity = disk->capacity ? disk->capacity * 2 : 64;
        disk->entries = mem_realloc(disk->entries, disk->capacity * sizeof *disk->entries);
    }
    struct raft_entry *put = &disk->entries[disk->count++];
    *put = *entry;
    put->origin = (struct raft_origin){0};
    /* Of its own: in its batch another entry may hold the bytes for all. */
    put->buf = entry->payload.bytes ? buf_copy(entry->payload.data, entry->payload.bytes) : NULL;
    put->payload.data = put->buf ? put->buf->data : NULL;
}

/* The log begins anew behind this entry. */
static void disk_anew(struct disk *disk, struct raft_id base)
{
    while (disk->count > 0)
        buf_unref(disk->entries[--disk->count].buf);
    disk->base = base;
}

/* Entries up to `index` are gone. */
static void disk_drop_front(struct disk *disk, uint64_t index)
{
    if (index <= disk->base.index)
        return;
    uint64_t gone = index - disk->base.index;
    disk->base = disk_id(disk, index);
    for (uint64_t i = 0; i < gone; i++)
        buf_unref(disk->entries[i].buf);
    disk->count -= gone;
    memmove(disk->entries, disk->entries + gone, disk->count * sizeof *disk->entries);
}

bool disk_holds(const struct disk *disk, struct raft_id id)
{
    return id.index > disk->base.index && id.index <= disk->base.index + disk->count &&
           raft_id_equal(disk->entries[id.index - disk->base.index - 1].id, id);
}

static void persist_deinit(struct raft_persist *persist)
{
    raft_runs_clear(&persist->entries);
    raft_messages_clear(&persist->send_after);
    *persist = (struct raft_persist){0};
}

struct disk *disk_create(struct buf *configuration, struct storage *storage)
{
    struct disk *disk = mem_zalloc(sizeof *disk);
    disk->storage = storage;
    disk->hard_state = (struct raft_hard_state){.term = 1};
    if (!configuration)
        return disk;
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
    storage_destroy(disk->storage);
    free(disk);
}

uint64_t disk_rot(struct disk *disk)
{
    ASSERT(disk->queued == 0);
    if (disk->storage || disk->attested <= disk->base.index || disk->attested == disk_last(disk))
        return 0;
    while (disk_last(disk) > disk->attested)
        buf_unref(disk->entries[--disk->count].buf);
    return disk->attested;
}

struct storage *disk_storage(struct disk *disk)
{
    return disk->storage;
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

/* Makes the hard state and the first `limit` entries of a persist part of what is synced; if any,
 * then behind its beginning anew. */
static void disk_apply(struct disk *disk, const struct raft_persist *persist, uint64_t limit)
{
    if (persist->hard_state_changed)
        disk->hard_state = persist->hard_state;
    if (persist->anew.index > 0 && limit > 0)
        disk_anew(disk, persist->anew);
    struct raft_runs_iter it = {0};
    const struct raft_entry *entry;
    for (uint64_t i = 0; i < limit && (entry = raft_runs_next(&persist->entries, &it)); i++)
        disk_put(disk, entry);
}

int disk_complete(struct disk *disk, bool fails,
                  void (*durable)(void *arg, struct raft_persist *persist), void *arg,
                  struct conclave_error *error)
{
    ASSERT(disk->writing > 0);
    if (disk->storage) {
        int code = storage_write(disk->storage, disk->queue, disk->writing, fails, error);
        if (code != CONCLAVE_OK) {
            disk->failed = !storage_waits(disk->storage);
            return code;
        }
    }
    disk->attested = disk_last(disk);
    for (uint32_t i = 0; i < disk->writing; i++) {
        const struct raft_runs *entries = &disk->queue[i].entries;
        if (disk->queue[i].anew.index > 0 ||
            (entries->entry_count > 0 && raft_runs_first(entries).index <= disk->attested))
            disk->attested = 0; /* what it replaced would come back */
        disk_apply(disk, &disk->queue[i], UINT64_MAX);
        durable(arg, &disk->queue[i]);
        persist_deinit(&disk->queue[i]);
    }
    disk->queued -= disk->writing;
    for (uint32_t i = 0; i < disk->queued; i++)
        disk->queue[i] = disk->queue[i + disk->writing];
    disk->writing = 0;
    return CONCLAVE_OK;
}

bool disk_reaches(const struct disk *disk, struct raft_id from, struct raft_id to)
{
    uint64_t first = disk->cut > disk->base.index ? disk->cut : disk->base.index;
    return disk->queued == 0 && from.index >= first && to.index <= disk_last(disk) &&
           from.index <= to.index && raft_id_equal(disk_id(disk, to.index), to);
}

int disk_cut(struct disk *disk, uint64_t index, struct conclave_error *error)
{
    if (index > disk->cut)
        disk->cut = index;
    return disk->storage ? storage_cut(disk->storage, index, error) : CONCLAVE_OK;
}

static int model_fetch(const struct disk *disk, const struct raft_fetch *fetch,
                       struct raft_runs *ret, struct conclave_error *error)
{
    uint64_t bytes = 0, base = disk->base.index;
    if (fetch->first.index <= base || fetch->last > disk_last(disk))
        return error_set(error, CONCLAVE_NOT_FOUND, "it is not there");
    struct raft_batch *batch = raft_batch_create((uint32_t)(fetch->last - fetch->first.index) + 1);
    for (uint64_t i = fetch->first.index; i <= fetch->last; i++) {
        struct raft_entry entry = disk->entries[i - base - 1];
        bytes += entry.payload.bytes;
        if (batch->count > 0 && (batch->count >= fetch->entries_max || bytes > fetch->bytes_max))
            break;
        if (entry.buf)
            buf_ref(entry.buf);
        raft_batch_add(batch, entry);
    }
    raft_runs_append(ret, batch, 0, batch->count);
    raft_batch_unref(batch);
    return CONCLAVE_OK;
}

int disk_fetch(struct disk *disk, const struct raft_fetch *fetch, struct raft_runs *ret,
               struct conclave_error *error)
{
    if (!disk->storage)
        return model_fetch(disk, fetch, ret, error);
    int code = storage_fetch(disk->storage, fetch, ret, error);
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; code == CONCLAVE_OK && (e = raft_runs_next(ret, &it));) {
        if (e->id.index > disk->base.index &&
            !raft_entry_equal(e, &disk->entries[e->id.index - disk->base.index - 1]))
            code = error_set(error, CONCLAVE_CORRUPT, "entry %" PRIu64 " is not what was written",
                             e->id.index);
    }
    return code;
}

void disk_cover(struct disk *disk, uint64_t index)
{
    if (index > disk->cut)
        disk->cut = index;
}

static void queue_clear(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->queued; i++)
        persist_deinit(&disk->queue[i]);
    disk->queued = 0;
    disk->writing = 0;
}

static void model_crash(struct disk *disk, struct prng *prng)
{
    if (disk->queued > 0)
        disk->attested = 0; /* what is kept of it was written after the last batch */
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
    queue_clear(disk);
    uint64_t may_go = disk->cut < disk_last(disk) ? disk->cut : disk_last(disk);
    if (may_go > disk->base.index)
        disk_drop_front(disk, prng_between(prng, disk->base.index, may_go));
    disk->crash = crash;
}

bool disk_crash(struct disk *disk, struct prng *prng)
{
    if (!disk->storage) {
        model_crash(disk, prng);
        return true;
    }
    /* What was only queued has not been written at all. The rest is kept, to be compared with. */
    uint32_t under_way = disk->failed ? 0 : disk->writing;
    disk->lost = disk->queued - disk->writing;
    for (uint32_t i = disk->writing; i < disk->queued; i++)
        persist_deinit(&disk->queue[i]);
    disk->queued = disk->writing;
    disk->failed = false;
    return storage_crash(disk->storage, disk->queue, under_way);
}

/* --- Starting --------------------------------------------------------------------------------- */

static bool hard_state_equal(struct raft_hard_state a, struct raft_hard_state b)
{
    return a.term == b.term && a.vote == b.vote;
}

/* True if what was found is the account's log, but for a front that may be gone. */
/* What a repair got from others may begin before the account does: where the record was lost that
 * said what the log began behind, nobody knew that it could do without. */
static bool log_equal(const struct disk *disk, const struct storage_found *found)
{
    uint64_t base = found->base.index;
    if ((base > disk->base.index && base > disk->cut) ||
        base + found->entries.entry_count != disk_last(disk) ||
        (base >= disk->base.index && !raft_id_equal(found->base, disk_id(disk, base))) ||
        (found->entries.entry_count > 0 &&
         !raft_id_equal(raft_runs_last(&found->entries), disk_id(disk, disk_last(disk)))))
        return false;
    struct raft_runs_iter it = {0};
    for (const struct raft_entry *e; (e = raft_runs_next(&found->entries, &it));) {
        if (e->id.index == disk->base.index && !raft_id_equal(e->id, disk->base))
            return false;
        if (e->id.index > disk->base.index &&
            !raft_entry_equal(e, &disk->entries[e->id.index - disk->base.index - 1]))
            return false;
    }
    return true;
}

/* The account goes on to where the log that was found is the log: entry by entry over what was
 * being written when the node died. False: it is so at no point. */
static bool account_follow(struct disk *disk, const struct storage_found *found,
                           struct disk_crash *crash)
{
    if (log_equal(disk, found))
        return true;
    for (uint32_t i = 0; i < disk->queued; i++) {
        const struct raft_persist *persist = &disk->queue[i];
        uint64_t count = persist->entries.entry_count;
        if (persist->anew.index > 0) {
            disk_anew(disk, persist->anew);
            if (log_equal(disk, found)) {
                crash->partial = count > 0;
                crash->kept_count = i + !crash->partial;
                return true;
            }
        }
        struct raft_runs_iter it = {0};
        const struct raft_entry *entry;
        for (uint64_t kept = 1; (entry = raft_runs_next(&persist->entries, &it)); kept++) {
            disk_put(disk, entry);
            if (!log_equal(disk, found))
                continue;
            crash->partial = kept < count;
            crash->partial_count = crash->partial ? (uint32_t)kept : 0;
            crash->kept_count = i + !crash->partial;
            return true;
        }
    }
    return false;
}

/* Term and vote are those that were synced, or the batch's last: and those surely if any entry of
 * the batch is there (Rule 2). */
static bool account_hard_state(struct disk *disk, const struct storage_found *found,
                               struct disk_crash *crash)
{
    struct raft_hard_state newest = disk->hard_state;
    for (uint32_t i = 0; i < disk->queued; i++) {
        if (disk->queue[i].hard_state_changed)
            newest = disk->queue[i].hard_state;
    }
    bool some = crash->kept_count > 0 || crash->partial;
    if (!hard_state_equal(found->hard_state, newest) &&
        (some || !hard_state_equal(found->hard_state, disk->hard_state)))
        return false;
    crash->hard_state_ahead =
        crash->kept_count < disk->queued && !hard_state_equal(found->hard_state, disk->hard_state);
    disk->hard_state = found->hard_state;
    return true;
}

static enum disk_start real_recover(struct disk *disk, bool interrupted, struct disk_found *ret,
                                    struct conclave_error *error)
{
    struct storage_found found = {0};
    int code = storage_open(disk->storage, interrupted, &found, error);
    if (code == CONCLAVE_CORRUPT || (code == CONCLAVE_IO && storage_is_unreadable(disk->storage)))
        return DISK_REFUSED;
    if (code != CONCLAVE_OK && interrupted)
        return DISK_FAILED;
    if (code == CONCLAVE_IO && storage_left_unreadable(disk->storage))
        return DISK_REFUSED;
    if (code != CONCLAVE_OK)
        return DISK_WRONG;
    uint64_t synced = disk_last(disk), dirty;
    struct raft_id last = raft_runs_last(&found.entries);
    struct disk_crash crash = {0};
    if (!storage_is_zero_behind(disk->storage, &dirty)) {
        error_set(error, CONCLAVE_CORRUPT,
                  "what stands behind the log in segment %016" PRIx64 " is not zero", dirty);
        raft_runs_clear(&found.entries);
        return DISK_WRONG;
    }
    bool kept = account_follow(disk, &found, &crash);
    if (!kept || !account_hard_state(disk, &found, &crash)) {
        error_set(error, CONCLAVE_CORRUPT,
                  "it starts with the entries from %" PRIu64 ":%" PRIu64 " up to %" PRIu64
                  ":%" PRIu64 ", term %" PRIu64 ": the %s is not what was synced (up to %" PRIu64
                  ", term %" PRIu64 ", kept from %" PRIu64 " at least) with a beginning of the "
                  "%" PRIu32 " writes under way",
                  found.base.term, found.base.index, last.term, last.index, found.hard_state.term,
                  kept ? "hard state" : "log", synced, disk->hard_state.term, disk->cut,
                  disk->queued);
        raft_runs_clear(&found.entries);
        return DISK_WRONG;
    }
    crash.lost_count = disk->lost + disk->queued - crash.kept_count - crash.partial;
    disk->lost = 0;
    queue_clear(disk);
    disk_drop_front(disk, found.base.index);
    *ret = (struct disk_found){.hard_state = found.hard_state,
                               .base = found.base,
                               .crash = crash,
                               .cut_bytes = found.cut_bytes,
                               .life = found.life};
    raft_runs_move(&ret->entries, &found.entries);
    return DISK_STARTED;
}

enum disk_start disk_recover(struct disk *disk, bool interrupted, struct disk_found *ret,
                             struct conclave_error *error)
{
    if (disk->storage)
        return real_recover(disk, interrupted, ret, error);
    ASSERT(disk->queued == 0);
    struct raft_batch *batch = raft_batch_create((uint32_t)disk->count + 1);
    for (uint64_t i = 0; i < disk->count; i++) {
        struct raft_entry entry = disk->entries[i];
        if (entry.buf)
            buf_ref(entry.buf);
        raft_batch_add(batch, entry);
    }
    *ret = (struct disk_found){.hard_state = disk->hard_state,
                               .base = disk->base,
                               .crash = disk->crash,
                               .life = ++disk->life};
    disk->attested = 0; /* a start attests what it found */
    disk->crash = (struct disk_crash){0};
    if (batch->count > 0)
        raft_runs_append(&ret->entries, batch, 0, batch->count);
    raft_batch_unref(batch);
    return DISK_STARTED;
}
