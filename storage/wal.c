/* Staging, syncing, attesting; making a new log. */
#include "storage/wal.h"

#include "base/fatal.h"
#include "base/list.h"
#include "base/prefetch.h"
#include "storage/block.h"
#include "storage/wal_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    WAL_SEGMENT_BYTES = 16 << 20,   /* the default: zeroing one takes tens of milliseconds */
    WAL_SEGMENT_BYTES_MIN = 1 << 10 /* a header, a batch record and some small entries */
};

struct wal *wal_new(const struct io *io, const char *wal_dir,
                    const struct storage_identity *identity, const struct wal_options *options,
                    uint64_t next_sequence)
{
    uint64_t segment_bytes =
        options->segment_bytes == 0 ? WAL_SEGMENT_BYTES : options->segment_bytes;
    ASSERT(segment_bytes >= WAL_SEGMENT_BYTES_MIN && segment_bytes <= WAL_SEGMENT_BYTES_MAX);
    ASSERT(next_sequence > 0);
    struct wal *wal = mem_zalloc(sizeof(*wal));
    size_t bytes = strlen(wal_dir) + 1;
    wal->io = io;
    wal->dir = mem_alloc(bytes);
    memcpy(wal->dir, wal_dir, bytes);
    wal->identity = *identity;
    uint64_t unit = segment_bytes < IO_BLOCK_BYTES ? 8 : IO_BLOCK_BYTES; /* small ones: in tests */
    wal->segment_bytes = segment_bytes & ~(unit - 1);
    wal->attested = true;
    wal->at.sequence = next_sequence - 1; /* full: capacity 0 */
    wal->ahead.sequence = next_sequence;
    wal->ahead.spares_max =
        options->spares_max < WAL_SPARES_MAX ? options->spares_max : WAL_SPARES_MAX;
    atomic_init(&wal->ahead.state, WAL_AHEAD_NONE);
    atomic_init(&wal->ahead.pressing, false);
    ASSERT(pthread_mutex_init(&wal->ahead.mutex, NULL) == 0);
    return wal;
}

void wal_close(struct wal *wal)
{
    if (wal == NULL)
        return;
    if (wal->file != NULL)
        wal->io->close(wal->io->ctx, wal->file);
    if (wal->ahead.file != NULL)
        wal->io->close(wal->io->ctx, wal->ahead.file);
    pthread_mutex_destroy(&wal->ahead.mutex);
    free(wal->segments.items);
    wal_links_deinit(&wal->links);
    free(wal->parts);
    free(wal->staged);
    free(wal->dir);
    free(wal);
}

/* Room for `bytes` more; returns where they go. */
static uint8_t *stage_room(struct wal *wal, size_t bytes)
{
    if (wal->staged_capacity - wal->staged_bytes < bytes) {
        size_t capacity = wal->staged_capacity == 0 ? 64 << 10 : wal->staged_capacity;
        while (capacity - wal->staged_bytes < bytes)
            capacity *= 2;
        uint8_t *larger = mem_alloc_aligned(IO_BLOCK_BYTES, capacity);
        if (wal->staged_bytes > 0)
            memcpy(larger, wal->staged, wal->staged_bytes);
        free(wal->staged);
        wal->staged = larger;
        wal->staged_capacity = capacity;
    }
    return wal->staged + wal->staged_bytes;
}

/* Counts bytes that were written to stage_room(). */
static void stage_take(struct wal *wal, size_t bytes)
{
    wal->staged_bytes += bytes;
    wal->at.offset += bytes;
    wal->parts[wal->part_count - 1].bytes += bytes;
}

static void stage_record(struct wal *wal, enum wal_kind kind, uint8_t entry_kind, struct raft_id id,
                         struct slice payload)
{
    size_t bytes = wal_record_bytes(payload.bytes);
    ASSERT(wal->at.offset + bytes <= wal->at.capacity);
    const struct wal_part *part = &wal->parts[wal->part_count - 1];
    uint64_t before = kind == WAL_ENTRY ? id.index - 1 : wal->last.index;
    struct wal_record record = {
        .previous = wal_links_find(&wal->links, before),
        .offset = (uint32_t)wal->at.offset,
        .batch = (uint32_t)part->offset,
        .kind = kind,
        .entry_kind = entry_kind,
        .id = id,
        .payload = payload,
    };
    /* Where the disk reads what is staged itself, nothing of it is this processor's alone any more.
     */
    enum { FETCH_AHEAD_BYTES = 1024 };
    uint8_t *room = stage_room(wal, bytes);
    prefetch_for_write(room + FETCH_AHEAD_BYTES,
                       bytes < FETCH_AHEAD_BYTES ? bytes : FETCH_AHEAD_BYTES);
    uint64_t link = wal_record_encode(room, wal->at.key, &record);
    if (kind == WAL_ENTRY)
        wal_links_put(&wal->links, id.index, link);
    stage_take(wal, bytes);
}

/* Fills the last block up with zeros. */
static void stage_fill(struct wal *wal)
{
    size_t over = wal->staged_bytes % IO_BLOCK_BYTES;
    if (over == 0)
        return;
    memset(stage_room(wal, IO_BLOCK_BYTES - over), 0, IO_BLOCK_BYTES - over);
    wal->staged_bytes += IO_BLOCK_BYTES - over;
}

/* What stands before a part in its first block. */
static void stage_before(struct wal *wal, uint64_t offset)
{
    size_t before = offset % IO_BLOCK_BYTES;
    if (before == 0)
        return;
    memcpy(stage_room(wal, before), wal->tail, before);
    wal->staged_bytes += before;
}

/* Begins a batch with room for at least one more record of record_bytes, in a new segment if this
 * one has no such room. Everything before the batch is durable before it is written, so its batch
 * record attests the last entry staged so far. */
static void stage_batch(struct wal *wal, size_t record_bytes)
{
    if (wal->part_count == wal->part_capacity) {
        wal->part_capacity = wal->part_capacity == 0 ? 4 : 2 * wal->part_capacity;
        wal->parts = mem_realloc(wal->parts, wal->part_capacity * sizeof(wal->parts[0]));
    }
    struct wal_position *at = &wal->at;
    uint64_t previous_end = at->offset;
    if (at->offset + WAL_RECORD_BYTES + record_bytes > at->capacity) {
        uint64_t least = WAL_HEADER_BYTES + WAL_RECORD_BYTES + record_bytes;
        at->sequence++;
        at->offset = 0;
        if (least > wal->segment_bytes)
            at->capacity = (least + IO_BLOCK_BYTES - 1) / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
        else
            at->capacity = wal->segment_bytes;
        at->key = wal_key(&wal->identity, at->sequence);
    }
    stage_fill(wal);
    wal->parts[wal->part_count++] = (struct wal_part){.sequence = at->sequence,
                                                      .offset = at->offset,
                                                      .capacity = at->capacity,
                                                      .start = wal->staged_bytes,
                                                      .attestation = true};
    stage_before(wal, at->offset);
    if (at->offset == 0) {
        LIST_RESERVE(&wal->segments);
        wal->segments.items[wal->segments.count++] = (struct wal_segment){
            .sequence = at->sequence, .before = wal->last, .lowest = UINT64_MAX};
        struct wal_header header = {.sequence = at->sequence,
                                    .previous = wal_links_find(&wal->links, wal->last.index),
                                    .previous_end = previous_end,
                                    .last = wal->last};
        wal_header_encode(stage_room(wal, WAL_HEADER_BYTES), &wal->identity, &header);
        stage_take(wal, WAL_HEADER_BYTES);
    }
    stage_record(wal, WAL_BATCH, 0, wal->last, (struct slice){0});
}

void wal_append(struct wal *wal, const struct raft_runs *entries)
{
    if (entries->entry_count == 0)
        return;
    ASSERT(raft_runs_first(entries).index <= wal->last.index + 1);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)) != NULL;) {
        size_t bytes = wal_record_bytes(entry->payload.bytes);
        if (wal->part_count == 0 || wal->at.offset + bytes > wal->at.capacity)
            stage_batch(wal, bytes);
        stage_record(wal, WAL_ENTRY, (uint8_t)entry->kind, entry->id, entry->payload);
        wal->parts[wal->part_count - 1].attestation = false;
        struct wal_segment *segment = &wal->segments.items[wal->segments.count - 1];
        if (segment->lowest > entry->id.index)
            segment->lowest = entry->id.index;
        wal->last = entry->id;
    }
}

void wal_begin_anew(struct wal *wal, struct raft_id base)
{
    ASSERT(base.index > 0 && base.term > 0);
    wal->at.capacity = wal->at.offset; /* in a new segment, so that those before it can go */
    /* Its header and first batch name the base, too: whichever of the three is lost. */
    wal->last = base;
    wal_links_begin(&wal->links, base.index, wal_link_begin(base));
    stage_batch(wal, WAL_RECORD_BYTES);
    stage_record(wal, WAL_ANEW, 0, base, (struct slice){0});
    wal->parts[wal->part_count - 1].attestation = false;
    wal->segments.items[wal->segments.count - 1].anew = true;
}

/* True if the log can begin with segments.items[number]. */
static bool can_begin(const struct wal *wal, size_t number, uint64_t index)
{
    const struct wal_segment *segments = wal->segments.items;
    if (segments[number].anew)
        return true;
    uint64_t before = segments[number].before.index;
    if (before > index)
        return false;
    /* What stood at or below `before` may since have been replaced: then the log needs it. */
    for (size_t i = number; i < wal->segments.count && !segments[i].anew; i++)
        if (segments[i].lowest <= before)
            return false;
    return true;
}

struct wal_range wal_release(struct wal *wal, uint64_t index)
{
    ASSERT(wal->part_count == 0);
    struct wal_range range = {0};
    size_t keep = wal->segments.count; /* number of the first that stays, plus 1 */
    while (keep > 1 && !can_begin(wal, keep - 1, index))
        keep--;
    if (keep <= 1)
        return range;
    range.first = wal->segments.items[0].sequence;
    range.end = wal->segments.items[keep - 1].sequence;
    wal->segments.count -= keep - 1;
    memmove(wal->segments.items, wal->segments.items + keep - 1,
            wal->segments.count * sizeof wal->segments.items[0]);
    /* Not up to `index`: a snapshot may have come that is ahead of what was written here, and an
     * entry below it is about to be replaced. Where the log begins anew they begin behind that. */
    if (!wal->segments.items[0].anew)
        wal_links_drop_front(&wal->links, wal->segments.items[0].before.index);
    return range;
}

int wal_remove(struct wal *wal, struct wal_range range, struct conclave_error *error)
{
    return wal_remove_files(wal, range, true, error);
}

int wal_remove_files(struct wal *wal, struct wal_range range, bool keep,
                     struct conclave_error *error)
{
    for (uint64_t sequence = range.first; sequence < range.end; sequence++) {
        bool kept = false;
        int code = keep ? wal_spare_keep(wal, sequence, &kept, error) : CONCLAVE_OK;
        if (code == CONCLAVE_OK && !kept) {
            char *path = wal_segment_path(wal->dir, sequence);
            code = wal->io->unlink(wal->io->ctx, path, error);
            free(path);
        }
        /* After each: the disk may carry them out in any order, and a gap is damage. */
        if (code == CONCLAVE_OK)
            code = wal->io->sync_dir(wal->io->ctx, wal->dir, error);
        if (code != CONCLAVE_OK)
            return code;
        if (kept)
            wal_spare_add(wal, sequence);
    }
    return CONCLAVE_OK;
}

/* Behind the last record of a segment that another one follows everything is zero: a start takes
 * what is not for the rest of a record that had been durable. */
static int end_segment(struct wal *wal, struct conclave_error *error)
{
    if (!wal->file_recycled || wal->file_end == wal->file_bytes)
        return CONCLAVE_OK;
    int code = wal_write_zeros(wal->io, wal->file, wal->file_end, wal->file_bytes, error);
    if (code == CONCLAVE_OK)
        code = wal->io->datasync(wal->io->ctx, wal->file, error);
    if (code == CONCLAVE_OK)
        wal->file_recycled = false;
    return code;
}

/* Whole blocks, and no more than the segment has. */
static int write_part(struct wal *wal, const struct wal_part *part, struct conclave_error *error)
{
    uint64_t from = part->offset / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
    uint64_t end = part->offset + part->bytes;
    uint64_t to = (end + IO_BLOCK_BYTES - 1) / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
    if (to > part->capacity)
        to = part->capacity;
    struct iovec bytes = {.iov_base = wal->staged + part->start, .iov_len = (size_t)(to - from)};
    int code = wal->io->writev(wal->io->ctx, wal->file, from, &bytes, 1, error);
    if (code != CONCLAVE_OK)
        return code;
    uint64_t block = end / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
    memcpy(wal->tail, wal->staged + part->start + (block - from), (size_t)(end - block));
    wal->file_end = to;
    if (wal->file_end > wal->file_bytes / 2)
        atomic_store_explicit(&wal->ahead.pressing, true, memory_order_relaxed);
    return CONCLAVE_OK;
}

int wal_sync(struct wal *wal, struct conclave_error *error)
{
    if (wal->failed)
        return error_set(error, CONCLAVE_IO, "the log is not usable after a failed write");
    wal->blocked = false;
    size_t unfilled = wal->staged_bytes;
    stage_fill(wal);
    for (size_t i = 0; i < wal->part_count; i++) {
        const struct wal_part *part = &wal->parts[i];
        int code = CONCLAVE_OK;
        if (wal->file != NULL && part->sequence != wal->file_sequence)
            code = end_segment(wal, error);
        if (code == CONCLAVE_OK && (wal->file == NULL || part->sequence != wal->file_sequence))
            code = wal_segment_switch(wal, part->sequence, part->capacity, error);
        if (code == CONCLAVE_NO_SPACE) { /* nothing of this part was written: no case of Rule 6 */
            wal->part_count -= i;
            memmove(wal->parts, wal->parts + i, wal->part_count * sizeof wal->parts[0]);
            wal->staged_bytes = unfilled; /* the last part may grow */
            wal->blocked = true;
            return code;
        }
        if (code == CONCLAVE_OK)
            code = write_part(wal, part, error);
        /* The next part, and with it the claim that this one is durable, is written only after
         * this returned. */
        if (code == CONCLAVE_OK)
            code = wal->io->datasync(wal->io->ctx, wal->file, error);
        if (code != CONCLAVE_OK) {
            wal->failed = true; /* Rule 6 */
            return code;
        }
        wal->attested = part->attestation;
    }
    wal->part_count = 0;
    wal->staged_bytes = 0;
    return CONCLAVE_OK;
}

bool wal_needs_attest(const struct wal *wal)
{
    return !wal->attested && !wal->failed && wal->part_count == 0;
}

int wal_attest(struct wal *wal, struct conclave_error *error)
{
    if (!wal_needs_attest(wal))
        return CONCLAVE_OK;
    stage_batch(wal, 0);
    return wal_sync(wal, error);
}

bool wal_is_blocked(const struct wal *wal)
{
    return wal->blocked;
}

struct raft_id wal_last(const struct wal *wal)
{
    return wal->last;
}

int wal_create(const struct io *io, const char *dir, const struct storage_identity *identity,
               const struct wal_options *options, const struct raft_runs *entries,
               struct conclave_error *error)
{
    char *wal_dir = path_join(dir, "wal");
    int code = io->make_dir(io->ctx, wal_dir, error);
    if (code != CONCLAVE_OK)
        goto free_dir;
    struct wal *wal = wal_new(io, wal_dir, identity, options, 1);
    if (entries->entry_count > 0) /* a log may begin above 1, behind a snapshot */
        wal->last.index = raft_runs_first(entries).index - 1;
    wal_links_begin(&wal->links, wal->last.index, wal_link_begin(wal->last));
    if (entries->entry_count > 0) {
        wal_append(wal, entries);
    } else {
        stage_batch(wal, 0);
    }
    code = wal_sync(wal, error);
    if (code == CONCLAVE_OK)
        code = wal_attest(wal, error);
    wal_close(wal);
    if (code == CONCLAVE_OK) /* DIR/wal itself */
        code = io->sync_dir(io->ctx, dir, error);
free_dir:
    free(wal_dir);
    return code;
}
