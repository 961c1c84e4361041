#include "storage/wal_prove.h"

#include "base/fatal.h"

#include <stdlib.h>

/* Entries are known, where their batches began is not: all layouts are tried that have the size of
 * the hole, and the checksum of its last record, which the record behind it names, tells the right
 * one. Each record's checksum covers the one before it, so that one speaks for all. */

enum {
    RECORDS_MAX = 256,        /* in a hole: how deep the search may go */
    FARTHER_MAX = 16,         /* entries that may have replaced others before the hole */
    TRIES_MAX = 1 << 18,      /* records made in one search */
    TRIES_BYTES_MAX = 1 << 28 /* likewise; some tenths of a second */
};

struct proving {
    const struct wal_hole *hole;
    const struct raft_entry *entries[RECORDS_MAX];
    size_t count;
    size_t batches; /* batch records among them */
    uint8_t *bytes;
    uint64_t tries, tried_bytes;
};

/* Where the search stands: so much of the hole is laid out. */
struct layout {
    uint64_t offset, chain;
    uint32_t batch;
    size_t entries, batches;
};

/* A hole that begins with a segment's first record begins with a batch record. */
static bool must_begin(const struct proving *proving, const struct layout *layout)
{
    const struct wal_hole *hole = proving->hole;
    return layout->offset == WAL_HEADER_BYTES ||
           (!hole->named && layout->offset == hole->batch_behind);
}

/* Behind the beginning of the batch that goes on behind the hole there is no other. */
static bool may_begin(const struct proving *proving, const struct layout *layout)
{
    const struct wal_hole *hole = proving->hole;
    uint64_t begins = layout->offset == WAL_HEADER_BYTES ? 0 : layout->offset;
    return layout->batches < proving->batches && (hole->named || begins <= hole->batch_behind);
}

/* Lays out one more record. False: that was tried often enough. */
static bool lay(struct proving *proving, const struct layout *from, struct wal_record *record,
                struct layout *ret)
{
    const struct wal_hole *hole = proving->hole;
    size_t bytes = wal_record_bytes(record->payload.bytes);
    proving->tries++;
    proving->tried_bytes += bytes;
    if (proving->tries > TRIES_MAX || proving->tried_bytes > TRIES_BYTES_MAX ||
        from->offset + bytes > hole->end)
        return false;
    record->previous = from->chain;
    record->offset = (uint32_t)from->offset;
    *ret = *from;
    ret->chain =
        wal_record_encode(proving->bytes + (from->offset - hole->offset), hole->key, record);
    ret->offset += bytes;
    ret->batch = record->batch;
    return true;
}

static bool search(struct proving *proving, const struct layout *layout);

static bool search_batch(struct proving *proving, const struct layout *layout, uint32_t begins)
{
    struct layout next;
    struct wal_record record = {.kind = WAL_BATCH,
                                .batch = begins,
                                .id = layout->entries > 0
                                          ? proving->entries[layout->entries - 1]->id
                                          : proving->hole->before};
    if (!lay(proving, layout, &record, &next))
        return false;
    next.batches++;
    return search(proving, &next);
}

static bool search_entry(struct proving *proving, const struct layout *layout)
{
    struct layout next;
    const struct raft_entry *entry = proving->entries[layout->entries];
    struct wal_record record = {.kind = WAL_ENTRY,
                                .entry_kind = (uint8_t)entry->kind,
                                .batch = layout->batch,
                                .id = entry->id,
                                .payload = entry->payload};
    if (!lay(proving, layout, &record, &next))
        return false;
    next.entries++;
    return search(proving, &next);
}

static bool search(struct proving *proving, const struct layout *layout)
{
    const struct wal_hole *hole = proving->hole;
    if (layout->entries == proving->count && layout->batches == proving->batches)
        return layout->offset == hole->end && layout->chain == hole->stands_for &&
               (hole->named || layout->batch == hole->batch_behind);
    if (layout->entries < proving->count && !must_begin(proving, layout) &&
        search_entry(proving, layout))
        return true;
    if (!may_begin(proving, layout))
        return false;
    uint32_t offset = (uint32_t)layout->offset;
    if (offset == WAL_HEADER_BYTES && search_batch(proving, layout, 0))
        return true;
    return search_batch(proving, layout, offset);
}

/* How many entries there were at least. */
static uint64_t count_least(const struct wal_hole *hole)
{
    return hole->behind.index > hole->before.index ? hole->behind.index - hole->before.index : 1;
}

bool wal_prove_fits(const struct wal_hole *hole)
{
    return !hole->bytes && hole->behind.index > 0 && count_least(hole) <= RECORDS_MAX &&
           count_least(hole) * WAL_RECORD_BYTES <= hole->end - hole->offset;
}

uint64_t wal_prove_from(const struct wal_hole *hole, bool farther)
{
    uint64_t from = hole->behind.index - count_least(hole);
    uint64_t room = (hole->end - hole->offset) / WAL_RECORD_BYTES - count_least(hole);
    if (room > FARTHER_MAX)
        room = FARTHER_MAX;
    return !farther ? from : from > room ? from - room : 0;
}

/* Looks for a layout of the entries from `first` on. */
static bool prove_from(struct proving *proving, const struct raft_runs *entries, uint64_t first)
{
    const struct wal_hole *hole = proving->hole;
    uint64_t left = hole->end - hole->offset;
    proving->count = 0;
    for (uint64_t index = first; index <= hole->behind.index; index++) {
        const struct raft_entry *entry = raft_runs_find(entries, index);
        uint64_t bytes = wal_record_bytes(entry->payload.bytes);
        if (bytes > left || proving->count == RECORDS_MAX)
            return false;
        left -= bytes;
        proving->entries[proving->count++] = entry;
    }
    proving->batches = (size_t)(left / WAL_RECORD_BYTES);
    if (left % WAL_RECORD_BYTES != 0 || proving->count + proving->batches > RECORDS_MAX)
        return false;
    const struct layout begin = {
        .offset = hole->offset, .chain = hole->chain, .batch = (uint32_t)hole->batch_before};
    return search(proving, &begin);
}

uint8_t *wal_prove(const struct wal_hole *hole, const struct raft_runs *entries,
                   uint64_t *ret_first)
{
    struct proving proving = {.hole = hole};
    if (!wal_prove_fits(hole) || raft_runs_last(entries).index != hole->behind.index)
        return NULL;
    proving.bytes = mem_zalloc((size_t)(hole->end - hole->offset));
    for (uint64_t first = hole->behind.index - count_least(hole) + 1;
         first >= raft_runs_first(entries).index && first > 0; first--) {
        if (!prove_from(&proving, entries, first))
            continue;
        *ret_first = first;
        return proving.bytes;
    }
    free(proving.bytes);
    return NULL;
}
