#include "storage/wal_supply.h"

#include "storage/wal_format.h"

bool wal_is_absent(const struct raft_entry *entry)
{
    return (int)entry->kind == WAL_ABSENT;
}

/* The entry may be given to whoever holds the anchor, or can tell by itself. */
static bool is_sure(const struct wal_supplier *supplier, const struct raft_entry *entry,
                    struct raft_id anchor)
{
    return entry && !wal_is_absent(entry) &&
           (entry->id.index > supplier->doubtful || entry->id.term == anchor.term ||
            anchor.index == 0);
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

/* The id at this index, if it is known: of an entry that is there, or of one that is absent. */
static bool find_id(const struct wal_supplier *supplier, uint64_t index, struct raft_id *ret)
{
    const struct raft_entry *entry = raft_runs_find(supplier->log, index);
    if (!entry)
        return false;
    *ret = entry->id;
    if (!wal_is_absent(entry))
        return true;
    for (size_t i = 0; i < supplier->sure_count; i++) {
        const struct wal_sure *sure = &supplier->sure[i];
        if (index < sure->first || index > sure->last)
            continue;
        ret->term = sure->term;
        return true;
    }
    return false;
}

/* The last entry of this term that the log has, or is known to have had; 0: there is none. */
static uint64_t find_term(const struct wal_supplier *supplier, uint64_t term)
{
    uint64_t last = supplier->base.term == term ? supplier->base.index : 0;
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(supplier->log, &iter)) != NULL;)
        if (entry->id.term == term && !wal_is_absent(entry))
            last = entry->id.index;
    for (size_t i = 0; i < supplier->sure_count; i++)
        if (supplier->sure[i].term == term && supplier->sure[i].last > last)
            last = supplier->sure[i].last;
    return last;
}

/* Does the log hold the anchor? HERE: it does. */
static enum wal_supply find_exactly(const struct wal_supplier *supplier, struct raft_id anchor)
{
    const struct raft_id base = supplier->base;
    struct raft_id id;
    if (anchor.index <= base.index)
        return WAL_SUPPLY_COMPACTED;
    if (!find_id(supplier, anchor.index, &id))
        return raft_runs_find(supplier->log, anchor.index) ? WAL_SUPPLY_LATER : WAL_SUPPLY_ABSENT;
    if (id.term == anchor.term)
        return WAL_SUPPLY_HERE;
    return anchor.index > supplier->doubtful ? WAL_SUPPLY_ABSENT : WAL_SUPPLY_LATER;
}

/* Up to where the log is that which holds the anchor: to the anchor if it has that, or a later
 * entry of its term; else to the last one of its term, before it. The leader of that term made them
 * all, in one log (paper, 5.3). */
static enum wal_supply find_anchor(const struct wal_supplier *supplier, struct raft_id anchor,
                                   uint64_t *ret_up_to)
{
    *ret_up_to = UINT64_MAX;
    if (anchor.index == 0) /* whoever asks can tell by itself */
        return WAL_SUPPLY_HERE;
    *ret_up_to = anchor.index;
    enum wal_supply held =
        raft_id_equal(anchor, supplier->base) ? WAL_SUPPLY_HERE : find_exactly(supplier, anchor);
    if (held != WAL_SUPPLY_LATER && held != WAL_SUPPLY_ABSENT)
        return held;
    uint64_t last = find_term(supplier, anchor.term);
    *ret_up_to = last < anchor.index ? last : anchor.index;
    return held;
}

/* Where those begin that this log has of the wanted ones, for whoever can tell by itself. */
static uint64_t find_next(const struct wal_supplier *supplier, const struct wal_want *want)
{
    uint64_t index =
        want->prev.index > supplier->base.index ? want->prev.index : supplier->base.index;
    while (index < want->last) {
        const struct raft_entry *entry = raft_runs_find(supplier->log, index + 1);
        if (!entry || !wal_is_absent(entry))
            break;
        index++;
    }
    return index;
}

/* What is before the wanted entries, in the log that holds the anchor. */
static struct raft_id find_prev(const struct wal_supplier *supplier, const struct wal_want *want)
{
    struct raft_id id;
    if (want->prev.index == supplier->base.index)
        return supplier->base;
    if (find_id(supplier, want->prev.index, &id) &&
        (id.index > supplier->doubtful || id.term == want->anchor.term))
        return id;
    return (struct raft_id){.index = want->prev.index};
}

/* What is before the log may be in others, and whoever can tell by itself takes what is here. */
static bool gives_rest(const struct wal_supplier *supplier, const struct wal_want *want)
{
    const uint64_t next = find_next(supplier, want);
    return want->anchor.index == 0 && supplier->no_past && next < want->last &&
           raft_runs_find(supplier->log, next + 1) != NULL;
}

enum wal_supply wal_supply_from(const struct wal_supplier *supplier, const struct wal_want *want,
                                uint64_t bytes_max, struct raft_id *ret_prev,
                                struct raft_runs *ret_entries)
{
    uint64_t up_to;
    const enum wal_supply held = find_anchor(supplier, want->anchor, &up_to);
    if (held == WAL_SUPPLY_COMPACTED)
        return held;
    if (want->prev.index > up_to)
        return held == WAL_SUPPLY_HERE ? WAL_SUPPLY_LATER : held;
    if (want->prev.index < supplier->base.index && !gives_rest(supplier, want))
        return up_to > 0 ? WAL_SUPPLY_COMPACTED : held;
    struct raft_id prev = find_prev(supplier, want);
    if (want->anchor.index == 0 && find_next(supplier, want) > prev.index)
        prev = (struct raft_id){.index = find_next(supplier, want)};
    uint64_t last = want->last < up_to ? want->last : up_to;
    uint64_t count = count_sure(supplier, want, prev.index, last, bytes_max);
    if (count == 0 && (prev.index < want->last || (prev.term == 0 && prev.index > 0)))
        return held == WAL_SUPPLY_HERE ? WAL_SUPPLY_LATER : held;
    *ret_prev = prev;
    if (count > 0)
        raft_runs_slice(supplier->log, prev.index + 1, count, UINT64_MAX, ret_entries);
    return WAL_SUPPLY_HERE;
}
