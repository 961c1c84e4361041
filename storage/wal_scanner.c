#include "storage/wal_scanner.h"

#include "base/fatal.h"
#include "storage/bytes.h"

#include <inttypes.h>
#include <stdlib.h>

int wal_scanner_header(const struct wal_scanner *scanner, const struct wal_loaded *segment,
                       struct wal_header *ret)
{
    int code = wal_header_decode(segment->data, segment->bytes, scanner->identity, ret);
    if (code == CONCLAVE_VERSION)
        return error_set(scanner->error, code,
                         "segment %016" PRIx64
                         ".wal in %s is of a newer format: use a newer program",
                         segment->sequence, scanner->dir);
    if (code == CONCLAVE_IDENTITY)
        return error_set(scanner->error, code,
                         "segment %016" PRIx64 ".wal in %s belongs to another node or cluster",
                         segment->sequence, scanner->dir);
    return code;
}

uint64_t wal_scanner_link(const struct wal_scanner *scanner)
{
    return wal_links_find(&scanner->scan->links, scanner->collect.last.index);
}

bool wal_scanner_continues(const struct wal_scanner *scanner, const struct wal_header *header)
{
    uint64_t link = wal_scanner_link(scanner);
    return link == WAL_LINK_UNKNOWN || link == header->previous;
}

/* The index of the first entry in it; 0: there is none. */
static uint64_t first_index(const struct wal_record *record)
{
    struct wal_mend mend;
    struct wal_record entry;
    if (record->kind == WAL_ENTRY)
        return record->id.index;
    bool first = record->kind == WAL_MEND && wal_mend_begin(record, &mend) &&
                 wal_mend_next(&mend, &entry) == 1;
    return first ? entry.id.index : 0;
}

/* What stands before it is not known behind entries that a mend lacks; a mend may not know it. */
bool wal_scanner_chained(const struct wal_scanner *scanner, const struct wal_record *record)
{
    uint64_t first = first_index(record), before = scanner->collect.last.index;
    bool replaces = first > 0 && first - 1 < before;
    if (replaces)
        before = first - 1;
    uint64_t link = wal_links_find(&scanner->scan->links, before);
    if (link == WAL_LINK_UNKNOWN && replaces && scanner->scan->mended)
        return false; /* a mend ends right before what replaces an entry that it lacks */
    if (replaces && before <= scanner->scan->links_unsure)
        return true;
    return link == WAL_LINK_UNKNOWN || link == record->previous ||
           (record->kind == WAL_MEND && record->previous == WAL_LINK_UNKNOWN);
}

/* What stands before the entry here is of a later term, or another than it names. Either it was
 * replaced where nothing shows it, in what a mend or a hole lacks, or it is absent itself, and its
 * term is a guess. So it is where it is absent and may have been replaced so: nothing tells. */
bool wal_scanner_unseats(const struct wal_scanner *scanner, struct raft_id id, uint64_t previous)
{
    const struct wal_collect *collect = &scanner->collect;
    const uint64_t before = id.index - 1;
    if (id.index < 2 || before > collect->last.index || id.term == 0)
        return false;
    const uint64_t link = wal_links_find(&scanner->scan->links, before);
    if (link != WAL_LINK_UNKNOWN && previous != WAL_LINK_UNKNOWN && link != previous &&
        before > collect->base.index)
        return true;
    if (link == WAL_LINK_UNKNOWN && before <= scanner->scan->absent_unsure &&
        wal_collect_lacks(collect, before))
        return true;
    return wal_collect_below(collect, id.index).term > id.term &&
           (before <= scanner->scan->links_unsure || wal_collect_lacks(collect, before));
}

static bool entry_fits(const struct wal_scanner *scanner, struct raft_id id, uint64_t previous)
{
    return wal_collect_fits(&scanner->collect, id) || wal_scanner_unseats(scanner, id, previous);
}

/* The link before the first entry of a mend, if it is known: the mend names it where others may
 * have been replaced. */
static uint64_t link_before(const struct wal_scanner *scanner, const struct wal_record *mend,
                            const struct wal_record *entry)
{
    const uint64_t before = entry->id.index - 1;
    const uint64_t link = wal_links_find(&scanner->scan->links, before);
    bool named = link == WAL_LINK_UNKNOWN || before <= scanner->scan->links_unsure;
    return named && mend->previous != WAL_LINK_UNKNOWN ? mend->previous : link;
}

static uint64_t mended_link(uint64_t before, const struct wal_record *entry)
{
    return before == WAL_LINK_UNKNOWN
               ? before
               : wal_link(before, entry->id, entry->entry_kind, entry->payload);
}

/* An entry of a mend follows the one before it, and where it holds all up to its end they are what
 * stood there. */
static bool mend_possible(const struct wal_scanner *scanner, const struct wal_record *record)
{
    struct wal_mend mend;
    struct wal_record entry;
    struct raft_id last = {0};
    uint64_t link = WAL_LINK_UNKNOWN;
    if (record->batch >= record->offset + wal_record_bytes(record->payload.bytes) ||
        !wal_mend_begin(record, &mend))
        return false;
    int more;
    while ((more = wal_mend_next(&mend, &entry)) == 1) {
        if (last.index == 0 ? !entry_fits(scanner, entry.id, record->previous)
                            : entry.id.term < last.term)
            return false;
        if (last.index == 0)
            link = link_before(scanner, record, &entry);
        link = mended_link(link, &entry);
        last = entry.id;
    }
    if (last.index == record->id.index && link != WAL_LINK_UNKNOWN &&
        mend.stands_for != WAL_LINK_UNKNOWN && link != mend.stands_for)
        return false;
    return more == 0 && record->id.index >= last.index && record->id.term >= last.term &&
           (record->id.index > 0 || record->id.term == 0);
}

bool wal_scanner_possible(const struct wal_scanner *scanner, const struct wal_record *record)
{
    const struct wal_scan *scan = scanner->scan;
    if (record->kind == WAL_BATCH) {
        uint32_t begins = record->offset == WAL_HEADER_BYTES ? 0 : record->offset;
        /* The first batch of a segment whose header alone had survived begins behind it. */
        return (record->batch == begins || record->batch == record->offset) &&
               raft_id_equal(record->id, scanner->collect.last) && record->payload.bytes == 0;
    }
    if (record->kind == WAL_ANEW)
        return record->batch == scan->batch && (record->id.index > 0) == (record->id.term > 0) &&
               record->offset == WAL_HEADER_BYTES + WAL_RECORD_BYTES && record->payload.bytes == 0;
    if (record->kind == WAL_MEND)
        return mend_possible(scanner, record);
    return record->batch == scan->batch && record->offset > WAL_HEADER_BYTES &&
           entry_fits(scanner, record->id, record->previous);
}

bool wal_scanner_misses(const struct wal_scanner *scanner, const struct wal_record *record)
{
    return record->batch == 0 && record->kind == WAL_BATCH &&
           record->previous != wal_link_begin(record->id) &&
           !raft_id_equal(record->id, scanner->collect.last);
}

uint64_t wal_scanner_take_absent(struct wal_scanner *scanner, struct raft_id last, uint64_t link)
{
    struct wal_scan *scan = scanner->scan;
    struct wal_segment *known = &scan->segments[scan->active].known;
    const uint64_t first = wal_collect_absent(&scanner->collect, last);
    if (known->lowest > first)
        known->lowest = first;
    if (scan->absent_unsure >= first)
        scan->absent_unsure = first - 1;
    if (first <= last.index)
        wal_links_put(&scan->links, first, WAL_LINK_UNKNOWN); /* and none behind it */
    wal_links_put(&scan->links, last.index, link);
    return first;
}

static void take_entry(struct wal_scanner *scanner, const struct wal_record *record,
                       uint64_t previous)
{
    struct wal_scan *scan = scanner->scan;
    struct wal_segment *known = &scan->segments[scan->active].known;
    if (wal_scanner_unseats(scanner, record->id, previous)) {
        const struct raft_id before = {.term = WAL_TERM_UNKNOWN, .index = record->id.index - 1};
        (void)wal_scanner_take_absent(scanner, before, WAL_LINK_UNKNOWN);
    }
    if (known->lowest > record->id.index)
        known->lowest = record->id.index;
    if (scan->absent_unsure >= record->id.index)
        scan->absent_unsure = record->id.index - 1;
    wal_collect_add(&scanner->collect, record);
    scan->attested = false;
    if (scan->attested_index >= record->id.index) /* replaced by what is not attested */
        scan->attested_index = record->id.index - 1;
}

/* What a mend lacks may have come in the place of others: of those that are left before `first`,
 * which it holds or lacks, nobody knows whether they were replaced. Unless the log ended with an
 * entry of the same term before and behind it: that term's leader has one log (paper, 5.3). */
static void note_unsure(struct wal_scan *scan, struct raft_id before, struct raft_id behind,
                        uint64_t first)
{
    bool level = behind.term != WAL_TERM_UNKNOWN && behind.term == before.term;
    if (scan->links_unsure < before.index)
        scan->links_unsure = before.index;
    scan->doubted = level ? 0 : first - 1;
    if (scan->absent_unsure < scan->doubted)
        scan->absent_unsure = scan->doubted;
}

static void take_mend(struct wal_scanner *scanner, const struct wal_record *record)
{
    struct wal_scan *scan = scanner->scan;
    struct wal_mend mend;
    struct wal_record entry;
    const struct raft_id before = scanner->collect.last;
    bool readable = wal_mend_begin(record, &mend);
    ASSERT(readable); /* it was looked at */
    uint64_t link = WAL_LINK_UNKNOWN, lowest = record->id.index;
    for (bool first = true; wal_mend_next(&mend, &entry) == 1; first = false) {
        link = mended_link(first ? link_before(scanner, record, &entry) : link, &entry);
        lowest = first ? entry.id.index : lowest;
        take_entry(scanner, &entry, first ? record->previous : WAL_LINK_UNKNOWN);
        wal_links_put(&scan->links, entry.id.index, link);
    }
    scan->batch = record->batch;
    scan->attested = false;
    scan->mended = true;
    bool told = wal_links_find(&scan->links, record->id.index) == mend.stands_for;
    if (raft_id_equal(scanner->collect.last, record->id)) {
        wal_links_put(&scan->links, record->id.index, mend.stands_for);
    } else {
        const uint64_t first = wal_scanner_take_absent(scanner, record->id, mend.stands_for);
        lowest = first < lowest ? first : lowest;
    }
    if (!told)
        note_unsure(scan, before, record->id, lowest);
}

void wal_scanner_take(struct wal_scanner *scanner, const struct wal_record *record)
{
    struct wal_scan *scan = scanner->scan;
    scan->end += wal_record_bytes(record->payload.bytes);
    scan->mended = false;
    scan->doubted = 0;
    if (record->kind == WAL_BATCH) /* it may not have been known */
        wal_links_learn(&scan->links, scanner->collect.last.index, record->previous);
    switch (record->kind) {
    case WAL_BATCH:
        scan->batch = record->batch;
        scan->attested_index = record->id.index;
        scan->attested = true;
        break;
    case WAL_ANEW:
        wal_collect_restart(&scanner->collect, record->id);
        wal_links_begin(&scan->links, record->id.index, record->link);
        scan->links_unsure = scan->absent_unsure = 0;
        scan->segments[scan->active].known.anew = true;
        scan->attested = false;
        scan->attested_index = record->id.index;
        break;
    case WAL_ENTRY:
        take_entry(scanner, record, record->previous);
        if (wal_links_find(&scan->links, record->id.index - 1) != record->previous)
            wal_links_put(&scan->links, record->id.index - 1, record->previous);
        wal_links_put(&scan->links, record->id.index, record->link);
        break;
    case WAL_MEND:
        take_mend(scanner, record);
        break;
    }
}

void wal_scanner_take_header(struct wal_scanner *scanner, size_t number,
                             const struct wal_header *header)
{
    struct wal_scan *scan = scanner->scan;
    if (number == 0) {
        wal_collect_begin(&scanner->collect, header->last);
        wal_links_begin(&scan->links, header->last.index, header->previous);
        scan->links_unsure = scan->absent_unsure = 0;
    }
    scan->active = number;
    scan->segments[number].known = (struct wal_segment){
        .sequence = header->sequence, .before = header->last, .lowest = UINT64_MAX};
    scan->end = WAL_HEADER_BYTES;
    scan->batch = 0;
    scan->attested = false;
    scan->attested_index = header->last.index;
    scan->mended = false;
    scan->doubted = 0;
    wal_links_learn(&scan->links, header->last.index, header->previous);
}

void wal_scanner_note_dirty(struct wal_scan_segment *segment, const struct wal_loaded *loaded,
                            uint64_t from)
{
    size_t start = (size_t)from, end = loaded->bytes;
    if (end <= start || bytes_zero(loaded->data + start, end - start)) /* as nearly always */
        return;
    while (end > start && loaded->data[end - 1] == 0)
        end--;
    while (start < end && loaded->data[start] == 0)
        start++;
    segment->dirty_start = start;
    segment->dirty_end = end;
}

void wal_scanner_advance(struct wal_scanner *scanner)
{
    struct wal_loaded swap = scanner->here;
    scanner->here = scanner->next;
    scanner->next = swap;
}

void wal_scanner_deinit(struct wal_scanner *scanner)
{
    wal_collect_deinit(&scanner->collect);
    free(scanner->here.data);
    free(scanner->next.data);
    free(scanner->here.unread.items);
    free(scanner->next.unread.items);
}
