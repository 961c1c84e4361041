#include "tests/sim/storage_internal.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/block.h"
#include "storage/wal_format.h"
#include "storage/wal_past.h"
#include "storage/wal_repair_internal.h"
#include "storage/wal_scanner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORAGE_WAL STORAGE_DIR "/wal/"
#define VOTE_PATH STORAGE_DIR "/vote"

enum {
    REPAIR_CHANGES = 8, /* three that say so, and two for each hole; or a segment with its name */
    VOTE_SLOT_BYTES = 512,
    VOTE_SLOT_USED = 72 /* bytes with a meaning at the front of a slot */
};

struct segment {
    char path[STORAGE_PATH_BYTES];
    const uint8_t *data;
    size_t bytes;
    size_t end;   /* of its records */
    size_t batch; /* where its last batch begins: what is before it is attested; 0: none */
    bool anew;    /* the log begins in it: nothing before it is a part of it */
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
    /* So says the header, too, of the segment behind a beginning that no entry came behind yet. */
    ret->anew = header.previous == wal_link_begin(header.last);
    ret->end = WAL_HEADER_BYTES;
    for (; wal_record_decode(ret->data, ret->bytes, ret->end, key, &record);
         ret->end += wal_record_bytes(record.payload.bytes)) {
        ret->batch = record.batch;
        ret->anew |= record.kind == WAL_ANEW;
    }
    return true;
}

static uint64_t segments_highest(const struct storage *storage)
{
    uint64_t highest = 0, sequence;
    const char *path;
    for (size_t i = 0; (path = memory_disk_file(storage->disk, i)) != NULL; i++)
        if (strncmp(path, STORAGE_WAL, strlen(STORAGE_WAL)) == 0 &&
            wal_name_parse(path + strlen(STORAGE_WAL), &sequence) && sequence > highest)
            highest = sequence;
    return highest;
}

/* The sequences of the first and the last segment with records that are part of the log; false:
 * there is none. */
static bool segments_find(const struct storage *storage, uint64_t *ret_first, uint64_t *ret_last)
{
    struct segment segment;
    const uint64_t highest = segments_highest(storage);
    uint64_t first = 0, last = 0;
    for (uint64_t next = 1; next <= highest; next++) {
        if (!segment_find(storage, next, &segment))
            continue; /* let go of, or damaged before a new beginning, or prepared */
        if (last == 0 || segment.anew) /* nobody has to find damage before a new beginning */
            first = last = next;
        else if (next == last + 1)
            last = next;
    }
    *ret_first = first;
    *ret_last = last;
    return last != 0;
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

/* Keeps the log as it is now, and what a repair of it will want. */
static void look_at_damage(struct storage *storage, struct wal_want *ret_wants)
{
    struct wal_repair *repair = NULL;
    storage->damaged = memory_disk_clone(storage->disk);
    *ret_wants = (struct wal_want){0};
    if (wal_repair_open(storage->io, STORAGE_DIR, &storage->identity, &repair, NULL) == CONCLAVE_OK)
        (void)wal_repair_want(repair, ret_wants);
    else
        ret_wants->anchor.index = UINT64_MAX; /* which nobody has */
    wal_repair_close(repair);
}

/* A byte turns into another one; or a block is what stands, or stood, in another place of the
 * segment: a write for that place hit this one, or the one for this place was lost. */
static void rot(struct storage *storage, const struct segment *segment, size_t at, size_t attested)
{
    uint8_t bytes[STORAGE_ROTTEN_MAX] = {
        (uint8_t)(segment->data[at] ^ storage_draw(storage, 1, 255))};
    size_t count = 1, block = at - at % STORAGE_ROTTEN_MAX;
    size_t other = (size_t)storage_draw(storage, 0, segment->bytes / STORAGE_ROTTEN_MAX - 1) *
                   STORAGE_ROTTEN_MAX;
    if (storage_draw(storage, 0, 3) == 0 && block + STORAGE_ROTTEN_MAX <= attested &&
        memcmp(segment->data + block, segment->data + other, STORAGE_ROTTEN_MAX) != 0) {
        memcpy(bytes, segment->data + other, STORAGE_ROTTEN_MAX);
        at = block;
        count = STORAGE_ROTTEN_MAX;
    }
    storage->rotten_at = at;
    storage->rotten_count = count;
    memcpy(storage->rotten_bytes, segment->data + at, count);
    memory_disk_rot(storage->disk, segment->path, at, bytes, count);
}

/* Sometimes a block is hit in which nothing of the log stands, behind what does. */
static bool break_behind(struct storage *storage, const struct segment *segment)
{
    const size_t from =
        (segment->end / WAL_SCANNER_BLOCK_BYTES + 1) * (size_t)WAL_SCANNER_BLOCK_BYTES;
    if (from >= segment->bytes || storage_draw(storage, 0, 7) != 0)
        return false;
    storage->unreadable = true;
    memory_disk_break(storage->disk, segment->path,
                      (size_t)storage_draw(storage, from, segment->bytes - 1), 1);
    return true;
}

bool storage_damage(struct storage *storage, struct wal_want *ret_wants)
{
    ASSERT(!storage->wal && !storage->damaged);
    struct segment segment;
    uint64_t first, last;
    if (!segments_find(storage, &first, &last))
        return false;
    uint64_t sequence = storage_draw(storage, first, last);
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
    memcpy(storage->rotten, segment.path, sizeof storage->rotten);
    if (break_behind(storage, &segment)) {
        look_at_damage(storage, ret_wants);
        return true;
    }
    size_t at = (size_t)storage_draw(storage, 0, attested - 1);
    /* What cannot be read is read as a block, with what is not attested in it. */
    size_t block_end = (at / WAL_SCANNER_BLOCK_BYTES + 1) * WAL_SCANNER_BLOCK_BYTES;
    storage->unreadable =
        (sequence < last || block_end <= attested) && storage_draw(storage, 0, 2) == 0;
    if (storage->unreadable)
        memory_disk_break(storage->disk, segment.path, at, 1);
    else
        rot(storage, &segment, at, attested);
    look_at_damage(storage, ret_wants);
    return true;
}

/* A record of the log. */
struct found_record {
    struct segment segment;
    struct raft_id id;
    size_t offset, bytes;
    bool attested, entry;
    bool replaced; /* by another entry: it is not part of the log as it is in the end */
};

struct found_records {
    struct found_record *items;
    size_t count, capacity;
};

/* The entry behind them replaces what is at or behind its index. */
static void replace_from(struct found_records *found, uint64_t index)
{
    for (size_t i = found->count; i-- > 0;) {
        struct found_record *record = &found->items[i];
        if (record->entry && !record->replaced && record->id.index < index)
            return;
        record->replaced |= record->entry;
    }
}

/* Entries and the records of batches, of all segments from `first` to `last`; to be freed. None of
 * what stood there when it was mended last. */
static struct found_records find_records(const struct storage *storage, uint64_t first,
                                         uint64_t last)
{
    struct found_records found = {0};
    struct wal_record record;
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        struct segment segment;
        uint64_t key = wal_key(&storage->identity, sequence);
        (void)segment_find(storage, sequence, &segment);
        for (size_t at = WAL_HEADER_BYTES;
             wal_record_decode(segment.data, segment.bytes, at, key, &record);
             at += wal_record_bytes(record.payload.bytes)) {
            if (record.kind == WAL_MEND || record.kind == WAL_ANEW)
                found.count = 0;
            if (record.kind != WAL_ENTRY && record.kind != WAL_BATCH)
                continue;
            if (record.kind == WAL_ENTRY)
                replace_from(&found, record.id.index);
            LIST_RESERVE(&found);
            found.items[found.count++] =
                (struct found_record){.segment = segment,
                                      .id = record.id,
                                      .offset = at,
                                      .bytes = wal_record_bytes(record.payload.bytes),
                                      .attested = sequence < last || at < segment.batch,
                                      .entry = record.kind == WAL_ENTRY};
        }
    }
    return found;
}

/* Whether it is to rot, after those that do. */
static bool rots(struct storage *storage, const struct storage_rot *rot,
                 const struct found_record *record, const struct storage_rotten *before)
{
    if (!record->attested)
        return false;
    if (record->replaced)
        return storage_draw(storage, 0, 999) < rot->replaced_chance;
    if (record->entry)
        return before->entries < rot->entries_max && rot->wanted(rot->arg, record->id);
    return storage_draw(storage, 0, 999) < rot->batch_chance;
}

struct storage_rotten storage_damage_records(struct storage *storage, const struct storage_rot *rot,
                                             struct wal_want *ret_wants)
{
    ASSERT(!storage->wal && !storage->damaged);
    struct storage_rotten rotten = {0};
    uint64_t first, last;
    if (!segments_find(storage, &first, &last))
        return rotten;
    for (uint64_t sequence = last; sequence >= first; sequence--) {
        struct segment segment;
        if (segment_find(storage, sequence, &segment))
            settle(storage, &segment);
    }
    storage->rotten_count = 0;
    struct found_records found = find_records(storage, first, last);
    for (size_t i = 0; i < found.count; i++) {
        const struct found_record *record = &found.items[i];
        if (!rots(storage, rot, record, &rotten))
            continue;
        size_t at = record->offset + (size_t)storage_draw(storage, 0, record->bytes - 1);
        uint8_t byte = (uint8_t)(record->segment.data[at] ^ storage_draw(storage, 1, 255));
        memory_disk_rot(storage->disk, record->segment.path, at, &byte, 1);
        rotten.batches += record->entry ? 0 : 1;
        rotten.replaced += record->replaced ? 1 : 0;
        rotten.entries += record->entry && !record->replaced ? 1 : 0;
    }
    free(found.items);
    if (rotten.entries + rotten.batches + rotten.replaced > 0)
        look_at_damage(storage, ret_wants);
    return rotten;
}

void storage_undamage(struct storage *storage)
{
    if (storage->unreadable)
        memory_disk_unbreak(storage->disk, storage->rotten);
    else
        memory_disk_rot(storage->disk, storage->rotten, storage->rotten_at, storage->rotten_bytes,
                        storage->rotten_count);
    storage->unreadable = false;
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

int storage_past(const struct storage *storage, struct raft_id known, const struct wal_want *want,
                 uint64_t bytes_max, enum wal_supply *ret, struct raft_id *ret_prev,
                 struct raft_runs *ret_entries, struct conclave_error *error)
{
    const struct wal_past past = {
        .io = storage->io, .dir = STORAGE_DIR, .identity = &storage->identity, .known = known};
    if (storage->doomed || !storage->wal)
        return error_set(error, CONCLAVE_NOT_FOUND, "it is not there");
    return wal_past_supply(&past, want, bytes_max, ret, ret_prev, ret_entries, error);
}

static int write_repaired(const struct storage *storage, bool anew, struct conclave_error *error)
{
    int code = anew ? wal_repair_write_anew(storage->repair, error) : CONCLAVE_NOT_FOUND;
    return code == CONCLAVE_NOT_FOUND ? wal_repair_write(storage->repair, error) : code;
}

int storage_repair_write(struct storage *storage, bool interrupted, bool anew,
                         struct conclave_error *error)
{
    uint64_t at = memory_disk_changes(storage->disk) + storage_draw(storage, 1, REPAIR_CHANGES);
    bool power = storage_draw(storage, 0, 1) == 0;
    if (interrupted && power)
        memory_disk_power_off_at_change(storage->disk, at);
    else if (interrupted)
        memory_disk_fail_at_change(storage->disk, at, CONCLAVE_IO);
    int code = write_repaired(storage, anew, error);
    memory_disk_power_off_at_change(storage->disk, 0);
    memory_disk_fail_at_change(storage->disk, 0, CONCLAVE_OK);
    if (code == CONCLAVE_NO_SPACE)
        return code;
    storage->anew = wal_repair_is_anew(storage->repair);
    wal_repair_close(storage->repair);
    storage->repair = NULL;
    if (code != CONCLAVE_OK && interrupted && power)
        memory_disk_crash(storage->disk, prng_next(&storage->prng));
    memory_disk_destroy(storage->damaged);
    storage->damaged = NULL;
    if (code != CONCLAVE_OK)
        storage->damaged = memory_disk_clone(storage->disk);
    if (code == CONCLAVE_OK) {
        storage->left |= storage->unreadable && storage->anew;
        storage->unreadable = false;
    }
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
    const uint8_t *data = memory_disk_bytes(storage->disk, VOTE_PATH, &bytes);
    if (storage->vote_damaged || !data)
        return false;
    size_t at = (size_t)storage_draw(storage, 0, VOTE_SLOT_USED - 1);
    bool second = storage_draw(storage, 0, 1) != 0;
    /* Torn, or in the page cache alone and so torn when the power goes, and the only one that is
     * left: these would be two faults. */
    size_t other = second ? 0 : bytes / 2;
    if (block_check(data + other, VOTE_SLOT_BYTES, VOTE_SLOT_BYTES, "CNCLVOTE",
                    &storage->identity) != CONCLAVE_OK ||
        !memory_disk_is_synced(storage->disk, VOTE_PATH, other, VOTE_SLOT_BYTES))
        return false;
    at += second ? bytes / 2 : 0;
    uint8_t byte = (uint8_t)(data[at] ^ storage_draw(storage, 1, 255));
    if (storage_draw(storage, 0, 2) == 0)
        memory_disk_break(storage->disk, VOTE_PATH, at, 1);
    else
        memory_disk_rot(storage->disk, VOTE_PATH, at, &byte, 1);
    storage->vote_damaged = true;
    return true;
}

bool storage_is_anew(const struct storage *storage)
{
    return storage->anew;
}

bool storage_is_unreadable(const struct storage *storage)
{
    return storage->unreadable;
}

bool storage_left_unreadable(const struct storage *storage)
{
    return storage->left;
}

bool storage_is_misdirected(const struct storage *storage)
{
    return !storage->unreadable && storage->rotten_count > 1;
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
