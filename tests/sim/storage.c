#include "tests/sim/storage_internal.h"

#include "base/fatal.h"
#include "storage/wal_internal.h"

#include <stdlib.h>

enum {
    BATCH_OPERATIONS = 14, /* a batch with a vote, entries and a new segment */
    WRITE_OPERATIONS = 2,  /* a batch with entries alone */
    START_OPERATIONS = 40
};

static struct wal_options wal_options_of(const struct storage *storage)
{
    return (struct wal_options){.segment_bytes = storage->knobs.segment_bytes,
                                .spares_max = storage->knobs.spares_max};
}

static void first_entry(struct buf *configuration, struct raft_runs *ret)
{
    struct raft_batch *batch = raft_batch_create(1);
    raft_batch_add(batch,
                   (struct raft_entry){.id = {.term = 1, .index = 1},
                                       .kind = RAFT_ENTRY_CONFIG,
                                       .buf = buf_ref(configuration),
                                       .payload = {configuration->data, configuration->bytes}});
    raft_runs_append(ret, batch, 0, 1);
    raft_batch_unref(batch);
}

static void make_directory(struct storage *storage, struct buf *configuration)
{
    const struct io *io = storage->io;
    struct conclave_error error;
    struct raft_runs entries = {0};
    if (configuration)
        first_entry(configuration, &entries);
    struct wal_options options = wal_options_of(storage);
    int code = io->make_dir(io->ctx, STORAGE_DIR, &error);
    if (code == CONCLAVE_OK)
        code = io->sync_dir(io->ctx, ".", &error);
    if (code == CONCLAVE_OK)
        code = wal_create(io, STORAGE_DIR, &storage->identity, &options, &entries, &error);
    if (code == CONCLAVE_OK)
        code = vote_create(io, STORAGE_DIR, &storage->identity, (struct raft_hard_state){.term = 1},
                           &error);
    if (code == CONCLAVE_OK)
        code = identity_write(io, STORAGE_DIR, &storage->identity, &error);
    ASSERT(code == CONCLAVE_OK);
    raft_runs_clear(&entries);
}

struct storage *storage_create(const struct storage_identity *identity,
                               const struct storage_knobs *knobs, struct buf *configuration,
                               struct prng *prng)
{
    struct storage *storage = mem_zalloc(sizeof *storage);
    storage->disk = memory_disk_create();
    storage->io = memory_disk_io(storage->disk);
    storage->identity = *identity;
    storage->knobs = *knobs;
    prng_init(&storage->prng, prng_next(prng));
    make_directory(storage, configuration);
    return storage;
}

static void storage_close(struct storage *storage)
{
    storage->doomed = storage->cut_due = storage->blocked = false;
    storage->cut_index = 0;
    storage->removing = (struct wal_range){0};
    wal_reader_destroy(storage->reader);
    storage->reader = NULL;
    vote_close(storage->vote);
    wal_close(storage->wal);
    storage->vote = NULL;
    storage->wal = NULL;
}

void storage_destroy(struct storage *storage)
{
    if (!storage)
        return;
    storage_close(storage);
    wal_repair_close(storage->repair);
    memory_disk_destroy(storage->damaged);
    memory_disk_destroy(storage->disk);
    free(storage);
}

/* --- Writing ---------------------------------------------------------------------------------- */

const struct io *storage_io(const struct storage *storage)
{
    return storage->io;
}

const char *storage_dir(void)
{
    return STORAGE_DIR;
}

void storage_doom(struct storage *storage, uint64_t operations)
{
    storage->doomed = true;
    memory_disk_power_off_at(storage->disk, memory_disk_operations(storage->disk) + operations);
}

void storage_fail(struct storage *storage, uint64_t operations)
{
    uint64_t at = operations == 0 ? 0 : memory_disk_operations(storage->disk) + operations;
    memory_disk_fail_at_change(storage->disk, 0, CONCLAVE_IO);
    memory_disk_fail_at(storage->disk, at, CONCLAVE_IO);
}

void storage_fail_change(struct storage *storage, uint64_t changes)
{
    uint64_t at = memory_disk_changes(storage->disk) + changes;
    memory_disk_fail_at_change(storage->disk, at, CONCLAVE_IO);
}

/* The segment helper removes what was let go of. */
static int remove_segments(struct storage *storage, struct conclave_error *error)
{
    struct wal_range range = storage->removing;
    storage->removing = (struct wal_range){0};
    return range.first == range.end ? CONCLAVE_OK : wal_remove(storage->wal, range, error);
}

/* As cut() of actors/log_writer.c: nothing is staged. Ranges follow one another. */
static void release_segments(struct storage *storage)
{
    if (!storage->cut_due || wal_is_blocked(storage->wal))
        return;
    storage->cut_due = false;
    struct wal_range range = wal_release(storage->wal, storage->cut_index);
    if (range.first == range.end)
        return;
    if (storage->removing.first == storage->removing.end)
        storage->removing = range;
    ASSERT(storage->removing.first == range.first || storage->removing.end == range.first);
    storage->removing.end = range.end;
}

int storage_cut(struct storage *storage, uint64_t index, struct conclave_error *error)
{
    if (index > storage->cut_index)
        storage->cut_index = index;
    storage->cut_due = true;
    release_segments(storage);
    return storage_draw(storage, 0, 1) == 0 ? remove_segments(storage, error) : CONCLAVE_OK;
}

static int prepare_segment(struct storage *storage, struct conclave_error *error)
{
    int code = wal_prepare_segment(storage->wal, error);
    return code == CONCLAVE_NO_SPACE ? CONCLAVE_OK : code; /* only a batch that needs it suffers */
}

/* The segment helper was asked for the next segment, and makes it while a batch is written into the
 * one before: then there are two behind the log's end, if that batch is torn. */
static void prepare_meanwhile(void *arg)
{
    struct storage *storage = arg;
    struct conclave_error error;
    if (!wal_needs_segment(storage->wal) ||
        !knobs_chance(&storage->prng, storage->knobs.prepare_chance) ||
        pthread_mutex_trylock(&storage->wal->ahead.mutex) != 0)
        return; /* the log-writer makes one itself */
    pthread_mutex_unlock(&storage->wal->ahead.mutex);
    storage->helper_failed = prepare_segment(storage, &error) != CONCLAVE_OK;
}

/* What the log-writer and the segment helper do while nothing has to be written. */
static int write_idle(struct storage *storage, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    if (storage_draw(storage, 0, 1) == 0)
        code = remove_segments(storage, error);
    if (code != CONCLAVE_OK)
        return code;
    if (knobs_chance(&storage->prng, storage->knobs.attest_chance))
        code = wal_attest(storage->wal, error);
    if (wal_is_blocked(storage->wal)) /* what comes next waits with it */
        return CONCLAVE_OK;
    if (code == CONCLAVE_OK && wal_needs_segment(storage->wal) &&
        knobs_chance(&storage->prng, storage->knobs.prepare_chance))
        code = prepare_segment(storage, error);
    return code;
}

static int sync_log(struct storage *storage, struct conclave_error *error)
{
    storage->helper_failed = false;
    memory_disk_meanwhile(storage->disk, prepare_meanwhile, storage);
    int code = wal_sync(storage->wal, error);
    memory_disk_meanwhile(storage->disk, NULL, NULL);
    if (code == CONCLAVE_OK && storage->helper_failed)
        code = error_set(error, CONCLAVE_IO, "the segment helper died");
    return code;
}

/* As actors/log_writer.c does it: several hard states collapse to the last, which is written before
 * any entry (Rule 2); one sync for all. */
static int write_batch(struct storage *storage, const struct raft_persist *persists, uint32_t count,
                       struct conclave_error *error)
{
    const struct raft_hard_state *hard_state = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (persists[i].hard_state_changed)
            hard_state = &persists[i].hard_state;
        if (persists[i].anew.index > 0) {
            wal_begin_anew(storage->wal, persists[i].anew);
            storage->cut_due = true;
        }
        wal_append(storage->wal, &persists[i].entries);
    }
    int code = CONCLAVE_OK;
    if (hard_state)
        code = vote_write(storage->vote, *hard_state, error);
    if (code == CONCLAVE_OK)
        code = sync_log(storage, error);
    if (code == CONCLAVE_OK)
        release_segments(storage);
    return code;
}

/* What waits for room once more, else the persists. */
static int write_some(struct storage *storage, const struct raft_persist *persists, uint32_t count,
                      struct conclave_error *error)
{
    if (!storage->blocked)
        return write_batch(storage, persists, count, error);
    int code = sync_log(storage, error);
    if (code == CONCLAVE_OK)
        release_segments(storage);
    return code;
}

bool storage_waits(const struct storage *storage)
{
    return storage->blocked;
}

int storage_write(struct storage *storage, const struct raft_persist *persists, uint32_t count,
                  bool fails, struct conclave_error *error)
{
    int code = storage->blocked ? CONCLAVE_OK : write_idle(storage, error);
    if (code != CONCLAVE_OK)
        return code;
    if (fails)
        memory_disk_fail_at(storage->disk,
                            memory_disk_operations(storage->disk) + storage_draw(storage, 1, 4),
                            CONCLAVE_IO);
    code = write_some(storage, persists, count, error);
    storage->blocked = code == CONCLAVE_NO_SPACE && wal_is_blocked(storage->wal);
    memory_disk_fail_at(storage->disk, 0, CONCLAVE_OK);
    return code;
}

bool storage_crash(struct storage *storage, const struct raft_persist *persists, uint32_t count)
{
    struct conclave_error error;
    bool power = !knobs_chance(&storage->prng, storage->knobs.kill_chance);
    if (storage->wal && !storage->doomed) {
        uint64_t most = storage_draw(storage, 0, 1) == 0 ? WRITE_OPERATIONS : BATCH_OPERATIONS;
        uint64_t last = memory_disk_operations(storage->disk) + storage_draw(storage, 1, most);
        memory_disk_power_off_at(storage->disk, last);
        /* It fails, or is done just before the end. After a failure nothing may be written. */
        if ((storage->blocked || write_idle(storage, &error) == CONCLAVE_OK) && count > 0)
            (void)write_some(storage, persists, count, &error);
    }
    storage_close(storage);
    memory_disk_power_off_at(storage->disk, 0);
    memory_disk_set_space(storage->disk, UINT64_MAX);
    if (power)
        memory_disk_crash(storage->disk, prng_next(&storage->prng));
    return power;
}

void storage_fill(struct storage *storage)
{
    memory_disk_set_space(storage->disk,
                          storage_draw(storage, 0, 2 * storage->knobs.segment_bytes));
}

void storage_fill_up(struct storage *storage)
{
    memory_disk_set_space(storage->disk, 0);
}

void storage_empty(struct storage *storage)
{
    memory_disk_set_space(storage->disk, UINT64_MAX);
}

/* --- Reading back -------------------------------------------------------------------------------
 */

bool storage_is_doomed(const struct storage *storage)
{
    return storage && storage->doomed;
}

int storage_fetch(struct storage *storage, const struct raft_fetch *fetch, struct raft_runs *ret,
                  struct conclave_error *error)
{
    ASSERT(storage->wal && !storage->doomed);
    if (!storage->reader)
        storage->reader = wal_reader_create(storage->io, STORAGE_DIR, &storage->identity);
    return wal_reader_read(storage->reader, fetch, ret, error);
}

/* --- Starting --------------------------------------------------------------------------------- */

static int open_all(struct storage *storage, struct storage_found *ret,
                    struct conclave_error *error)
{
    struct storage_identity identity;
    struct wal_recovery recovery = {0};
    struct wal_options options = wal_options_of(storage);
    int code = identity_read(storage->io, STORAGE_DIR, &identity, error);
    if (code == CONCLAVE_OK)
        code =
            vote_open(storage->io, STORAGE_DIR, &identity, &storage->vote, &ret->hard_state, error);
    if (code == CONCLAVE_OK)
        code = wal_open(storage->io, STORAGE_DIR, &identity, &options, &storage->wal, &recovery,
                        error);
    if (code != CONCLAVE_OK)
        return code;
    ret->cut_bytes = recovery.cut_bytes;
    ret->life = vote_start_number(storage->vote);
    ret->base = recovery.base;
    storage->vote_damaged = false; /* a start writes both slots */
    raft_runs_move(&ret->entries, &recovery.entries);
    return CONCLAVE_OK;
}

int storage_open(struct storage *storage, bool interrupted, struct storage_found *ret,
                 struct conclave_error *error)
{
    ASSERT(!storage->wal && !storage->vote);
    uint64_t at =
        memory_disk_operations(storage->disk) + storage_draw(storage, 1, START_OPERATIONS);
    bool power = storage_draw(storage, 0, 1) == 0;
    if (interrupted && power)
        memory_disk_power_off_at(storage->disk, at);
    else if (interrupted)
        memory_disk_fail_at(storage->disk, at, CONCLAVE_IO);
    int code = open_all(storage, ret, error);
    memory_disk_power_off_at(storage->disk, 0);
    memory_disk_fail_at(storage->disk, 0, CONCLAVE_OK);
    if (code == CONCLAVE_OK) {
        memory_disk_destroy(storage->damaged); /* it may have been mended by halves */
        storage->damaged = NULL;
        storage->unreadable = storage->left = false;
        return CONCLAVE_OK;
    }
    storage_close(storage);
    if (interrupted && power)
        memory_disk_crash(storage->disk, prng_next(&storage->prng));
    return code;
}
