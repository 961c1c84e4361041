#include "tests/sim/storage.h"

#include "base/fatal.h"
#include "storage/vote.h"
#include "storage/wal.h"
#include "storage/wal_format.h"
#include "tests/disk/memory_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORAGE_DIR "node"
#define STORAGE_WAL STORAGE_DIR "/wal/"

enum {
    STORAGE_PATH_BYTES = 64,
    SEGMENTS_MAX = 4096,   /* more than a run makes */
    BATCH_OPERATIONS = 14, /* a batch with a vote, entries and a new segment */
    WRITE_OPERATIONS = 2,  /* a batch with entries alone */
    START_OPERATIONS = 40,
    REPAIR_CHANGES = 7, /* three that say so, and two for each hole */
    VOTE_SLOT_USED = 72 /* bytes with a meaning at the front of a slot */
};

struct storage {
    struct memory_disk *disk;
    const struct io *io;
    struct storage_identity identity;
    struct storage_knobs knobs;
    struct prng prng; /* its own: what the files look like moves no other draw */
    struct vote_file *vote;
    struct wal *wal;
    uint64_t cut_index; /* entries up to here need not be on disk */
    bool cut_due;
    bool doomed;                 /* the power goes soon, or is gone */
    struct wal_range removing;   /* let go of, and not removed yet */
    bool vote_damaged;           /* in one slot */
    struct memory_disk *damaged; /* as it was when it was damaged; NULL: it is not */
    char rotten[STORAGE_PATH_BYTES];
    size_t rotten_at;
    uint8_t rotten_byte; /* what was there */
    struct wal_repair *repair;
};

static uint64_t draw(struct storage *storage, uint64_t low, uint64_t high)
{
    return prng_between(&storage->prng, low, high);
}

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
    storage->doomed = storage->cut_due = false;
    storage->cut_index = 0;
    storage->removing = (struct wal_range){0};
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
    memory_disk_fail_at(storage->disk, at, CONCLAVE_IO);
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
    if (!storage->cut_due)
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
    return draw(storage, 0, 1) == 0 ? remove_segments(storage, error) : CONCLAVE_OK;
}

/* What the log-writer and the segment helper do while nothing has to be written. */
static int write_idle(struct storage *storage, struct conclave_error *error)
{
    int code = CONCLAVE_OK;
    if (draw(storage, 0, 1) == 0)
        code = remove_segments(storage, error);
    if (code != CONCLAVE_OK)
        return code;
    if (knobs_chance(&storage->prng, storage->knobs.attest_chance))
        code = wal_attest(storage->wal, error);
    if (code == CONCLAVE_OK && wal_needs_segment(storage->wal) &&
        knobs_chance(&storage->prng, storage->knobs.prepare_chance)) {
        code = wal_prepare_segment(storage->wal, error);
        if (code == CONCLAVE_NO_SPACE) /* only a batch that needs it suffers */
            code = CONCLAVE_OK;
    }
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
        code = wal_sync(storage->wal, error);
    if (code == CONCLAVE_OK)
        release_segments(storage);
    return code;
}

int storage_write(struct storage *storage, const struct raft_persist *persists, uint32_t count,
                  bool fails, struct conclave_error *error)
{
    int code = write_idle(storage, error);
    if (code != CONCLAVE_OK)
        return code;
    if (fails)
        memory_disk_fail_at(storage->disk,
                            memory_disk_operations(storage->disk) + draw(storage, 1, 4),
                            CONCLAVE_IO);
    code = write_batch(storage, persists, count, error);
    memory_disk_fail_at(storage->disk, 0, CONCLAVE_OK);
    return code;
}

bool storage_crash(struct storage *storage, const struct raft_persist *persists, uint32_t count)
{
    struct conclave_error error;
    bool power = !knobs_chance(&storage->prng, storage->knobs.kill_chance);
    if (storage->wal && !storage->doomed) {
        uint64_t most = draw(storage, 0, 1) == 0 ? WRITE_OPERATIONS : BATCH_OPERATIONS;
        uint64_t last = memory_disk_operations(storage->disk) + draw(storage, 1, most);
        memory_disk_power_off_at(storage->disk, last);
        /* It fails, or is done just before the end. After a failure nothing may be written. */
        if (write_idle(storage, &error) == CONCLAVE_OK && count > 0)
            (void)write_batch(storage, persists, count, &error);
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
    memory_disk_set_space(storage->disk, draw(storage, 0, 2 * storage->knobs.segment_bytes));
}

void storage_empty(struct storage *storage)
{
    memory_disk_set_space(storage->disk, UINT64_MAX);
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
    uint64_t at = memory_disk_operations(storage->disk) + draw(storage, 1, START_OPERATIONS);
    bool power = draw(storage, 0, 1) == 0;
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
        return CONCLAVE_OK;
    }
    storage_close(storage);
    if (interrupted && power)
        memory_disk_crash(storage->disk, prng_next(&storage->prng));
    return code;
}

/* --- Damage ----------------------------------------------------------------------------------- */

struct segment {
    char path[STORAGE_PATH_BYTES];
    const uint8_t *data;
    size_t bytes;
    size_t end;   /* of its records */
    size_t batch; /* where its last batch begins: what is before it is attested; 0: none */
};

/* The segment of this sequence; false if it is not there or has no records. */
static bool segment_find(const struct storage *storage, uint64_t sequence, struct segment *ret)
{
    char name[WAL_NAME_BYTES];
    wal_name_format(sequence, name);
    (void)snprintf(ret->path, sizeof ret->path, STORAGE_WAL "%s", name);
    ret->data = memory_disk_bytes(storage->disk, ret->path, &ret->bytes);
    struct wal_header header;
    if (!ret->data ||
        wal_header_decode(ret->data, ret->bytes, &storage->identity, &header) != CONCLAVE_OK)
        return false;
    uint64_t key = wal_key(&storage->identity, sequence);
    struct wal_record record;
    ret->batch = 0;
    ret->end = WAL_HEADER_BYTES;
    for (; wal_record_decode(ret->data, ret->bytes, ret->end, key, &record);
         ret->end += wal_record_bytes(record.payload.bytes))
        ret->batch = record.batch;
    return true;
}

/* The sequences of the first and the last segment with records; false: there is none. */
static bool segments_find(const struct storage *storage, uint64_t *ret_first, uint64_t *ret_last)
{
    struct segment segment;
    uint64_t first = 1;
    while (!segment_find(storage, first, &segment) && first < SEGMENTS_MAX)
        first++; /* the front may have been let go of */
    *ret_first = first;
    *ret_last = 0;
    for (uint64_t next = first; segment_find(storage, next, &segment); next++)
        *ret_last = next;
    return *ret_last != 0;
}

/* What a killed process wrote reaches the disk by and by, and what attests the last batch with it:
 * before that, damage to it looks like a torn write, and may be cut. */
static void settle(const struct storage *storage, const struct segment *segment)
{
    const struct io *io = storage->io;
    struct io_file *file = NULL;
    int code = io->open(io->ctx, segment->path, 0, &file, NULL);
    if (code == CONCLAVE_OK) {
        code = io->datasync(io->ctx, file, NULL);
        io->close(io->ctx, file);
    }
    ASSERT(code == CONCLAVE_OK);
}

bool storage_damage(struct storage *storage, struct wal_want *ret_wants)
{
    ASSERT(!storage->wal && !storage->damaged);
    struct segment segment;
    uint64_t first, last;
    if (!segments_find(storage, &first, &last))
        return false;
    uint64_t sequence = draw(storage, first, last);
    (void)segment_find(storage, sequence, &segment);
    size_t attested = sequence < last ? segment.end : segment.batch;
    if (attested == 0)
        return false;
    if (sequence < last) {
        struct segment behind;
        if (segment_find(storage, sequence + 1, &behind))
            settle(storage, &behind);
    }
    settle(storage, &segment);
    (void)segment_find(storage, sequence, &segment); /* its bytes may stand elsewhere now */
    size_t at = (size_t)draw(storage, 0, attested - 1);
    uint8_t byte = (uint8_t)(segment.data[at] ^ draw(storage, 1, 255));
    memcpy(storage->rotten, segment.path, sizeof storage->rotten);
    storage->rotten_at = at;
    storage->rotten_byte = segment.data[at];
    memory_disk_rot(storage->disk, segment.path, at, &byte, 1);
    storage->damaged = memory_disk_clone(storage->disk);
    struct wal_repair *repair = NULL;
    *ret_wants = (struct wal_want){0};
    if (wal_repair_open(storage->io, STORAGE_DIR, &storage->identity, &repair, NULL) == CONCLAVE_OK)
        (void)wal_repair_want(repair, ret_wants);
    else
        ret_wants->anchor.index = UINT64_MAX; /* which nobody has */
    wal_repair_close(repair);
    return true;
}

void storage_undamage(struct storage *storage)
{
    memory_disk_rot(storage->disk, storage->rotten, storage->rotten_at, &storage->rotten_byte, 1);
    memory_disk_destroy(storage->damaged);
    storage->damaged = NULL;
}

int storage_repair_begin(struct storage *storage, struct conclave_error *error)
{
    ASSERT(!storage->wal && !storage->repair);
    return wal_repair_open(storage->io, STORAGE_DIR, &storage->identity, &storage->repair, error);
}

struct wal_repair *storage_repair(struct storage *storage)
{
    return storage->repair;
}

int storage_repair_write(struct storage *storage, bool interrupted, struct conclave_error *error)
{
    uint64_t at = memory_disk_changes(storage->disk) + draw(storage, 1, REPAIR_CHANGES);
    bool power = draw(storage, 0, 1) == 0;
    if (interrupted && power)
        memory_disk_power_off_at_change(storage->disk, at);
    else if (interrupted)
        memory_disk_fail_at_change(storage->disk, at, CONCLAVE_IO);
    int code = wal_repair_write(storage->repair, error);
    wal_repair_close(storage->repair);
    storage->repair = NULL;
    memory_disk_power_off_at_change(storage->disk, 0);
    memory_disk_fail_at_change(storage->disk, 0, CONCLAVE_OK);
    if (code != CONCLAVE_OK && interrupted && power)
        memory_disk_crash(storage->disk, prng_next(&storage->prng));
    memory_disk_destroy(storage->damaged);
    storage->damaged = NULL;
    if (code != CONCLAVE_OK)
        storage->damaged = memory_disk_clone(storage->disk);
    return code;
}

void storage_zero_last_batch(struct storage *storage)
{
    static const uint8_t zeros[4096];
    struct segment segment;
    uint64_t first, last;
    ASSERT(segments_find(storage, &first, &last) && segment_find(storage, last, &segment));
    ASSERT(segment.end - segment.batch <= sizeof zeros);
    memory_disk_rot(storage->disk, segment.path, segment.batch, zeros, segment.end - segment.batch);
}

bool storage_damage_vote(struct storage *storage)
{
    ASSERT(!storage->vote);
    size_t bytes = 0;
    const uint8_t *data = memory_disk_bytes(storage->disk, STORAGE_DIR "/vote", &bytes);
    if (storage->vote_damaged || !data)
        return false;
    size_t at = (size_t)draw(storage, 0, VOTE_SLOT_USED - 1);
    at += draw(storage, 0, 1) == 0 ? 0 : bytes / 2;
    uint8_t byte = (uint8_t)(data[at] ^ draw(storage, 1, 255));
    memory_disk_rot(storage->disk, STORAGE_DIR "/vote", at, &byte, 1);
    storage->vote_damaged = true;
    return true;
}

bool storage_untouched(const struct storage *storage)
{
    const char *path;
    for (size_t i = 0; (path = memory_disk_file(storage->damaged, i)) != NULL; i++) {
        size_t before_bytes = 0, now_bytes = 0;
        const uint8_t *before = memory_disk_bytes(storage->damaged, path, &before_bytes);
        const uint8_t *now = memory_disk_bytes(storage->disk, path, &now_bytes);
        if (strncmp(path, STORAGE_WAL, strlen(STORAGE_WAL)) == 0 &&
            (now_bytes != before_bytes ||
             (before_bytes > 0 && (!now || memcmp(now, before, before_bytes) != 0))))
            return false;
    }
    return true;
}
