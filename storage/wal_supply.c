#include "storage/wal_supply.h"

#include "storage/wal_format.h"

bool wal_is_absent(const struct raft_entry *entry)
{
    return (int)entry->kind == WAL_ABSENT;
}

/* The entry may be given to whoever holds the anchor. */
static bool is_sure(const struct wal_supplier *supplier, const struct raft_entry *entry,
                    struct raft_id anchor)
{
    return entry && !wal_is_absent(entry) &&
           (entry->id.index > supplier->doubtful || entry->id.term == anchor.term);
}

/* How many of the wanted entries behind `prev` can be given at once. */
static uint64_t count_sure(const struct wal_supplier *supplier, const struct wal_want *want,
                           uint64_t prev, uint64_t last, uint64_t bytes_max)
{
    uint64_t count = 0, bytes = 0;
    for (uint64_t index = prev + 1; index <= last; index++) {
        const struct raft_entry *entry = raft_runs_find(supplier->log, index);
        if (!is_sure(supplier, entry, want->anchor))
            break;
        bytes += entry->payload.bytes;
        if (count > 0 && bytes > bytes_max)
            break;
        count++;
    }
    return count;
}

enum wal_supply wal_supply_from(const struct wal_supplier *supplier, const struct wal_want *want,
                                uint64_t bytes_max, struct raft_id *ret_prev,
                                struct raft_runs *ret_entries)
{
    const struct raft_id base = supplier->base;
    if (want->anchor.index <= base.index && !raft_id_equal(want->anchor, base))
        return WAL_SUPPLY_COMPACTED;
    const struct raft_entry *entry = raft_runs_find(supplier->log, want->anchor.index);
    if (want->anchor.index > base.index) {
        if (entry && wal_is_absent(entry))
            return WAL_SUPPLY_LATER;
        if (!entry || entry->id.term != want->anchor.term)
            return WAL_SUPPLY_ABSENT;
    }
    if (want->prev.index < base.index)
        return WAL_SUPPLY_COMPACTED;
    struct raft_id prev = base;
    if (want->prev.index > base.index) {
        entry = raft_runs_find(supplier->log, want->prev.index);
        if (!is_sure(supplier, entry, want->anchor))
            return WAL_SUPPLY_LATER;
        prev = entry->id;
    }
    uint64_t last = want->last < want->anchor.index ? want->last : want->anchor.index;
    uint64_t count = count_sure(supplier, want, prev.index, last, bytes_max);
    if (count == 0 && prev.index < last)
        return WAL_SUPPLY_LATER;
    *ret_prev = prev;
    if (count > 0)
        raft_runs_slice(supplier->log, prev.index + 1, count, UINT64_MAX, ret_entries);
    return WAL_SUPPLY_HERE;
}
