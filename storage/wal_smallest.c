#include "storage/wal_smallest.h"

#include "base/fatal.h"

#include <stdlib.h>

enum { TERMS_TRIED_MAX = 4096 };

static uint64_t link_at(const struct wal_scanner *scanner, uint64_t index)
{
    return wal_links_find(&scanner->scan->links, index);
}

/* Where the batch began that may have begun here. */
static uint32_t batch_begin(const struct wal_hole *hole)
{
    uint32_t offset = (uint32_t)hole->offset;
    bool known = !hole->named && hole->batch_behind == offset;
    return offset == WAL_HEADER_BYTES && !known ? 0 : offset;
}

/* A batch record leaves the log as it was, as the link shows: a mend behind it names what it led to
 * itself, if that is left out. The entry that follows belongs to the batch that began here, or to
 * another. */
static bool try_batch(const struct wal_scanner *scanner, struct wal_hole *hole,
                      struct wal_record *ret)
{
    const struct raft_id last = scanner->collect.last;
    const uint64_t link = link_at(scanner, last.index);
    *ret = (struct wal_record){.kind = WAL_BATCH,
                               .previous = link,
                               .offset = (uint32_t)hole->offset,
                               .batch = batch_begin(hole),
                               .id = last};
    if (hole->named ? link != hole->stands_for : hole->batch_behind != ret->batch)
        return false;
    ASSERT(wal_scanner_possible(scanner, ret)); /* it was made so */
    ret->link = wal_record_encode(hole->bytes, hole->key, ret);
    return link != WAL_LINK_UNKNOWN;
}

/* True if the log has the link that what stands behind the hole names, with this record in it. */
static bool try_record(const struct wal_scanner *scanner, struct wal_hole *hole,
                       struct wal_record *record)
{
    record->previous = link_at(scanner, record->kind == WAL_ENTRY ? record->id.index - 1
                                                                  : scanner->collect.last.index);
    record->offset = (uint32_t)hole->offset;
    record->link = wal_record_encode(hole->bytes, hole->key, record);
    return record->previous != WAL_LINK_UNKNOWN && record->link == hole->stands_for &&
           wal_scanner_possible(scanner, record);
}

/* The header names what the log begins behind, as the record that says so did. */
static bool try_anew(const struct wal_scanner *scanner, struct wal_hole *hole,
                     struct wal_record *ret)
{
    const struct raft_id last = scanner->collect.last;
    *ret = (struct wal_record){.kind = WAL_ANEW, .batch = (uint32_t)hole->batch_before, .id = last};
    return link_at(scanner, last.index) == wal_link_begin(last) && try_record(scanner, hole, ret);
}

static bool try_all(const struct wal_scanner *scanner, struct wal_hole *hole, uint64_t index,
                    uint64_t from, uint64_t to, struct wal_record *ret)
{
    if (try_batch(scanner, hole, ret))
        return true;
    if (try_anew(scanner, hole, ret))
        return true;
    if (link_at(scanner, index) == hole->stands_for) /* the log has it; no entry came again */
        return false;
    *ret = (struct wal_record){.kind = WAL_ENTRY, .batch = (uint32_t)hole->batch_before};
    if (to - from > TERMS_TRIED_MAX)
        from = to - TERMS_TRIED_MAX;
    for (uint64_t term = from; term <= to; term++) {
        ret->id = (struct raft_id){.term = term, .index = index};
        for (int kind = RAFT_ENTRY_NOOP; kind <= RAFT_ENTRY_SESSION; kind++) {
            ret->entry_kind = (uint8_t)kind;
            if (try_record(scanner, hole, ret))
                return true;
        }
    }
    return false;
}

bool wal_smallest_find(const struct wal_scanner *scanner, struct wal_hole *hole, uint64_t index,
                       uint64_t from, uint64_t to, struct wal_record *ret)
{
    if (hole->end - hole->offset != WAL_RECORD_BYTES)
        return false;
    hole->bytes = mem_alloc(WAL_RECORD_BYTES);
    if (try_all(scanner, hole, index, from, to, ret))
        return true;
    free(hole->bytes);
    hole->bytes = NULL;
    return false;
}
