#include "storage/wal_smallest.h"

#include "base/fatal.h"

#include <stdlib.h>

enum { TERMS_TRIED_MAX = 4096 };

/* True if this record has the checksum that what stands behind the hole names. */
static bool try_record(const struct wal_scanner *scanner, struct wal_hole *hole,
                       struct wal_record *record)
{
    record->previous = hole->chain;
    record->offset = (uint32_t)hole->offset;
    record->checksum = wal_record_encode(hole->bytes, hole->key, record);
    return record->checksum == hole->stands_for && wal_scanner_possible(scanner, record);
}

static bool try_all(const struct wal_scanner *scanner, struct wal_hole *hole, uint64_t index,
                    uint64_t from, uint64_t to, struct wal_record *ret)
{
    const uint32_t offset = (uint32_t)hole->offset;
    const uint32_t begins[] = {offset == WAL_HEADER_BYTES ? 0 : offset, offset};
    *ret = (struct wal_record){.kind = WAL_BATCH, .id = scanner->collect.last};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        ret->batch = begins[i];
        if (try_record(scanner, hole, ret))
            return true;
    }
    ret->batch = (uint32_t)hole->batch_before;
    if (to - from > TERMS_TRIED_MAX)
        from = to - TERMS_TRIED_MAX;
    for (uint64_t term = from; term <= to; term++) {
        ret->id = (struct raft_id){.term = term, .index = index};
        ret->kind = WAL_ENTRY;
        for (int kind = RAFT_ENTRY_NOOP; kind <= RAFT_ENTRY_SESSION; kind++) {
            ret->entry_kind = (uint8_t)kind;
            if (try_record(scanner, hole, ret))
                return true;
        }
        ret->kind = WAL_ANEW;
        ret->entry_kind = 0;
        if (try_record(scanner, hole, ret))
            return true;
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
