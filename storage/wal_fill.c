#include "storage/wal_fill.h"

#include "base/fatal.h"
#include "storage/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The one entry of the hole, as it stood there: the link of what follows proves it. What stood
 * before it is before the hole, or was replaced in one that is filled by now. */
static bool put_entry(const struct wal_hole *hole, const struct wal_survey *survey,
                      const struct raft_runs *entries, uint8_t *to)
{
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry = raft_runs_next(entries, &iter);
    if (!entry || entries->entry_count > 1 ||
        wal_record_bytes(entry->payload.bytes) != hole->end - hole->offset)
        return false;
    struct wal_record record = {.offset = (uint32_t)hole->offset,
                                .batch = (uint32_t)hole->batch_before,
                                .kind = WAL_ENTRY,
                                .entry_kind = (uint8_t)entry->kind,
                                .id = entry->id,
                                .payload = entry->payload};
    const uint64_t index = entry->id.index, before = hole->before.index;
    const uint64_t tried[] = {
        index == before + 1 ? hole->link : WAL_LINK_UNKNOWN,
        index <= before && before - index < WAL_HOLE_RECENT ? hole->recent[before - index]
                                                            : WAL_LINK_UNKNOWN,
        wal_links_find(&survey->found, index - 1), wal_links_find(&survey->sure, index - 1)};
    for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++) {
        record.previous = tried[i];
        if (record.previous != WAL_LINK_UNKNOWN &&
            wal_record_encode(to, hole->key, &record) == hole->stands_for)
            return true;
    }
    return false;
}

/* The last entry as of behind the hole, for a mend with these entries. */
static struct raft_id behind_mend(const struct wal_hole *hole, const struct raft_runs *entries,
                                  struct raft_id told)
{
    const uint64_t index = hole->behind.index;
    struct raft_id last = entries->entry_count > 0 ? raft_runs_last(entries) : hole->before;
    if (hole->named)
        return hole->behind;
    if (entries->entry_count == 0 && told.index == index && hole->last == index && index > 0)
        return told;
    if (entries->entry_count == 0 && last.index < index && last.term > hole->behind.term)
        last.term = hole->behind.term; /* what was before was replaced */
    if (hole->certain && last.index < index) {
        if (last.term > 0 && last.term < hole->next_term)
            last.term = hole->next_term; /* where it changed is not known, so not what is between */
        return (struct raft_id){.term = last.term > 0 ? last.term : hole->behind.term,
                                .index = index};
    }
    if (hole->certain && (entries->entry_count > 0 || hole->unchanged))
        return last;
    /* What it replaced, and its own last term, are not known: later ones replaced it, or a snapshot
     * covers it. */
    return (struct raft_id){.term = WAL_TERM_UNKNOWN, .index = index};
}

/* Of a mend with the entries. */
static uint64_t mend_bytes(const struct raft_runs *entries)
{
    uint64_t bytes = WAL_MEND_BYTES + (entries->entry_count > 0 ? 8 : 0);
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)) != NULL;)
        bytes += wal_mend_entry_bytes(entry->payload.bytes);
    return bytes;
}

bool wal_fill_has_room(const struct wal_hole *hole, const struct raft_runs *entries)
{
    struct raft_runs_iter iter = {0};
    const struct raft_entry *first = raft_runs_next(entries, &iter);
    const uint64_t bytes = hole->end - hole->offset;
    return !first || mend_bytes(entries) <= bytes ||
           (entries->entry_count == 1 && wal_record_bytes(first->payload.bytes) == bytes);
}

/* One record for all that the hole held. */
static bool put_mend(const struct wal_hole *hole, const struct wal_survey *survey,
                     const struct raft_runs *entries, struct raft_id told, uint8_t *to)
{
    uint64_t bytes = hole->end - hole->offset;
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry;
    if (mend_bytes(entries) > bytes || bytes - WAL_RECORD_BYTES > WAL_PAYLOAD_BYTES_MAX)
        return false;
    uint8_t *payload = mem_zalloc((size_t)bytes - WAL_RECORD_BYTES);
    const struct raft_id behind = behind_mend(hole, entries, told);
    put_u64(payload, behind.index == hole->behind.index ? hole->stands_for : hole->link);
    if (entries->entry_count > 0) {
        uint8_t *at = payload + WAL_MEND_ENTRIES_AT;
        put_u64(payload + 8, raft_runs_first(entries).index);
        while ((entry = raft_runs_next(entries, &iter)) != NULL) {
            wal_mend_put(at, entry);
            at += wal_mend_entry_bytes(entry->payload.bytes);
        }
    }
    bool replaces = entries->entry_count > 0 && /* others, as a start will find them */
                    raft_runs_first(entries).index != hole->before.index + 1;
    const struct wal_record record = {
        .previous = replaces ? wal_links_find(&survey->sure, raft_runs_first(entries).index - 1)
                             : hole->link,
        .offset = (uint32_t)hole->offset,
        .batch = hole->batch_behind,
        .kind = WAL_MEND,
        .id = behind,
        .payload = {.data = payload, .bytes = (size_t)bytes - WAL_RECORD_BYTES}};
    wal_record_encode(to, hole->key, &record);
    free(payload);
    return true;
}

uint8_t *wal_fill_make(const struct wal_hole *hole, const struct wal_survey *survey,
                       const struct raft_runs *entries, struct raft_id told,
                       struct conclave_error *error)
{
    size_t size = (size_t)(hole->end - hole->offset);
    uint8_t *bytes = mem_zalloc(size);
    if (hole->bytes) {
        memcpy(bytes, hole->bytes, size);
    } else if (!put_entry(hole, survey, entries, bytes) &&
               !put_mend(hole, survey, entries, told, bytes)) {
        free(bytes);
        error_set(error, CONCLAVE_CORRUPT,
                  "segment %016" PRIx64 ".wal, offset %" PRIu64
                  ": what the other nodes have does not fit there",
                  hole->sequence, hole->offset);
        return NULL;
    }
    return bytes;
}
