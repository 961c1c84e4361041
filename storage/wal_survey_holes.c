/* What stood in a hole, as far as that can be told by what stands around it. */
#include "storage/wal_survey_internal.h"

#include "base/list.h"
#include "storage/wal_smallest.h"

#include <inttypes.h>

int wal_survey_beyond(const struct wal_surveyor *surveyor, uint64_t sequence, uint64_t offset,
                      const char *what)
{
    return error_set(surveyor->scanner.error, CONCLAVE_CORRUPT,
                     "the log is damaged beyond repair: segment %016" PRIx64 ".wal, offset %" PRIu64
                     ": %s. Nothing was changed. Remove this node from the "
                     "cluster and add it again with an empty directory (in %s)",
                     sequence, offset, what, surveyor->scanner.dir);
}

/* --- Holes ------------------------------------------------------------------------------------ */

/* This entry replaces what was there: that is in no hole's part of the log any more, and what comes
 * right before the entry is of no later term. */
static void note_replaced(struct wal_surveyor *surveyor, struct raft_id id)
{
    struct wal_survey *survey = surveyor->survey;
    for (size_t i = 0; i < survey->holes.count; i++) {
        struct wal_hole *hole = &survey->holes.items[i];
        if (hole->last + 1 >= id.index && id.term > 0 && hole->term_max > id.term)
            hole->term_max = id.term;
        if (hole->last >= id.index)
            hole->last = id.index - 1;
        if (hole->prev.index >= id.index)
            hole->prev.index = id.index - 1;
    }
}

/* Takes over the links of what the record holds. */
static void note_links(const struct wal_surveyor *surveyor, const struct wal_record *record,
                       struct wal_links *ret)
{
    const struct wal_links *links = &surveyor->scanner.scan->links;
    struct wal_mend mend;
    struct wal_record entry;
    switch (record->kind) {
    case WAL_BATCH:
        wal_links_learn(ret, record->id.index, record->previous);
        return;
    case WAL_ANEW:
        wal_links_begin(ret, record->id.index, record->link);
        return;
    case WAL_ENTRY:
        wal_links_put(ret, record->id.index, record->link);
        return;
    case WAL_MEND:
        (void)wal_mend_begin(record, &mend);
        while (wal_mend_next(&mend, &entry) == 1)
            wal_links_put(ret, entry.id.index, wal_links_find(links, entry.id.index));
        wal_links_put(ret, record->id.index, mend.stands_for);
        return;
    }
}

static void note_found(struct wal_surveyor *surveyor, const struct wal_record *record)
{
    struct wal_survey *survey = surveyor->survey;
    note_links(surveyor, record, &survey->found);
    note_links(surveyor, record, &survey->sure);
    if (record->kind == WAL_ENTRY)
        wal_links_learn(&survey->sure, record->id.index - 1, record->previous);
}

/* What stood before the entry is not shown, or is not known to be what is. */
static void note_witness(struct wal_surveyor *surveyor, const struct wal_record *entry)
{
    struct wal_survey *survey = surveyor->survey;
    const uint64_t before = entry->id.index - 1;
    if (wal_scanner_unseats(&surveyor->scanner, entry->id, entry->previous))
        wal_links_put(&survey->found, before, WAL_LINK_UNKNOWN);
    if (wal_links_find(&survey->scan.links, before) == entry->previous)
        return;
    LIST_RESERVE(&survey->witnesses);
    survey->witnesses.items[survey->witnesses.count++] = (struct wal_witness){
        .holes = survey->holes.count, .index = before, .link = entry->previous};
}

uint64_t wal_survey_most(uint64_t bytes)
{
    const uint64_t mend = WAL_RECORD_BYTES + WAL_MEND_ENTRIES_AT;
    const uint64_t mended = bytes > mend ? (bytes - mend) / wal_mend_entry_bytes(0) : 0;
    const uint64_t plain = bytes / WAL_RECORD_BYTES;
    return mended > plain ? mended : plain;
}

/* What stood in these bytes, up to the entry at `last`, may have replaced those up to `before`: the
 * links of as many as there was room for are not surely the log's. */
static void note_doubted(struct wal_surveyor *surveyor, uint64_t bytes, uint64_t last,
                         uint64_t before)
{
    const uint64_t most = wal_survey_most(bytes);
    for (uint64_t index = last > most ? last - most + 1 : 1; index <= before; index++)
        wal_links_learn(&surveyor->survey->sure, index, WAL_LINK_UNKNOWN);
}

void wal_survey_take(struct wal_surveyor *surveyor, const struct wal_record *record)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    if (record->kind == WAL_ANEW) { /* nothing before it counts */
        for (size_t i = 0; i < surveyor->survey->holes.count; i++) {
            struct wal_hole *hole = &surveyor->survey->holes.items[i];
            hole->prev = (struct raft_id){0};
            hole->last = 0;
            hole->certain = true;
        }
    } else if (record->kind == WAL_ENTRY && record->id.index <= scanner->collect.last.index) {
        note_replaced(surveyor, record->id);
    } else if (record->kind == WAL_MEND) {
        struct wal_mend mend = {0};
        struct wal_record entry;
        (void)wal_mend_begin(record, &mend);
        struct raft_id first = wal_mend_next(&mend, &entry) == 1 ? entry.id : record->id;
        if (first.index > 0 && first.index <= scanner->collect.last.index &&
            !raft_id_equal(record->id, scanner->collect.last))
            note_replaced(surveyor, first);
    }
    if (record->kind == WAL_ENTRY)
        note_witness(surveyor, record);
    wal_scanner_take(scanner, record);
    note_doubted(surveyor, wal_record_bytes(record->payload.bytes), record->id.index,
                 scanner->scan->doubted);
    note_found(surveyor, record);
    surveyor->guessed = record->kind == WAL_MEND;
}

struct wal_hole *wal_survey_add_hole(struct wal_surveyor *surveyor, size_t number, uint64_t offset,
                                     uint64_t end)
{
    struct wal_survey *survey = surveyor->survey;
    struct wal_scanner *scanner = &surveyor->scanner;
    if (survey->holes.count == surveyor->holes_max)
        return NULL;
    LIST_RESERVE(&survey->holes);
    struct wal_hole *hole = &survey->holes.items[survey->holes.count++];
    uint64_t sequence = survey->scan.segments[number].sequence;
    *hole = (struct wal_hole){.number = number,
                              .sequence = sequence,
                              .key = wal_key(scanner->identity, sequence),
                              .offset = offset,
                              .end = end,
                              .link = wal_scanner_link(scanner),
                              .batch_before = survey->scan.batch,
                              .before = scanner->collect.last,
                              .sure_before = !surveyor->guessed,
                              .prev = scanner->collect.last,
                              .last = scanner->collect.last.index,
                              .lost = UINT64_MAX,
                              .term_max = UINT64_MAX,
                              .certain = true};
    for (uint64_t i = 0; i < WAL_HOLE_RECENT && i < hole->before.index; i++)
        hole->recent[i] = wal_links_find(&survey->scan.links, hole->before.index - 1 - i);
    return hole;
}

/* What stood in the hole, if that can be told. `from` and `to`: of what terms an entry can be. */
static bool try_smallest(struct wal_surveyor *surveyor, struct wal_hole *hole, uint64_t index,
                         uint64_t from, uint64_t to)
{
    struct wal_record record;
    if (!wal_smallest_find(&surveyor->scanner, hole, index, from, to, &record))
        return false;
    wal_survey_take(surveyor, &record); /* the payload is empty: nothing points into hole->bytes */
    return true;
}

/* What came in the hole may have replaced others, whose links are known: no more than it can have
 * held, up to the last one. */
static void note_unsure(struct wal_surveyor *surveyor, const struct wal_hole *hole)
{
    struct wal_scan *scan = surveyor->scanner.scan;
    if (hole->certain)
        return;
    if (scan->links_unsure < hole->before.index)
        scan->links_unsure = hole->before.index;
    note_doubted(surveyor, hole->end - hole->offset, hole->behind.index, hole->before.index);
}

/* Of what the hole held only this is known: the log ended so behind it. */
static void take_absent(struct wal_surveyor *surveyor, struct wal_hole *hole, struct raft_id behind)
{
    struct wal_survey *survey = surveyor->survey;
    const uint64_t first = wal_scanner_take_absent(&surveyor->scanner, behind, hole->stands_for);
    hole->lost = first;
    if (first <= hole->before.index)
        note_replaced(surveyor, (struct raft_id){.term = behind.term, .index = first});
    if (first <= behind.index) {
        wal_links_put(&survey->found, first, WAL_LINK_UNKNOWN);
        wal_links_put(&survey->sure, first, WAL_LINK_UNKNOWN);
    }
    wal_links_put(&survey->found, behind.index, hole->stands_for);
    wal_links_put(&survey->sure, behind.index, hole->stands_for);
    hole->last = behind.index;
}

void wal_survey_pass_named(struct wal_surveyor *surveyor, struct wal_hole *hole,
                           struct raft_id behind)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    struct raft_id before = scanner->collect.last;
    hole->named = true;
    hole->behind = behind;
    hole->batch_behind = (uint32_t)hole->batch_before;
    if (try_smallest(surveyor, hole, behind.index, behind.term, behind.term))
        return;
    scan->end = hole->end;
    scan->attested = false;
    if (raft_id_equal(before, behind))
        return;
    hole->certain = before.term == behind.term;
    hole->level = hole->certain && hole->sure_before && hole->sure_behind;
    note_unsure(surveyor, hole);
    hole->term_max = behind.term;
    take_absent(surveyor, hole, behind);
}

/* The entry that is shown before the one behind the hole is another than stood there then. */
static void take_replaced(struct wal_surveyor *surveyor, const struct wal_hole *hole)
{
    const struct raft_id id = {.term = WAL_TERM_UNKNOWN, .index = hole->behind.index};
    if (id.index <= surveyor->scanner.collect.base.index)
        return;
    if (id.index < hole->before.index) /* the entry will not be seen to replace any */
        note_replaced(surveyor, (struct raft_id){.term = hole->term_max, .index = id.index + 1});
    (void)wal_scanner_take_absent(&surveyor->scanner, id, hole->stands_for);
    wal_links_put(&surveyor->survey->found, id.index, WAL_LINK_UNKNOWN);
}

void wal_survey_pass_to_entry(struct wal_surveyor *surveyor, struct wal_hole *hole,
                              const struct wal_record *next)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    struct raft_id before = scanner->collect.last;
    hole->batch_behind = next->batch;
    hole->next_term = next->id.term;
    const uint64_t index = next->id.index - 1;
    const uint64_t least = /* it may have replaced what is of a later term */
        index <= before.index ? wal_collect_below(&scanner->collect, index).term : before.term;
    if (try_smallest(surveyor, hole, index, least, next->id.term))
        return;
    const uint64_t link = wal_links_find(&scan->links, next->id.index - 1);
    scan->end = hole->end;
    scan->batch = next->batch;
    scan->attested = false;
    hole->certain = before.term == next->id.term;
    if (next->id.index <= before.index + 1 && link != WAL_LINK_UNKNOWN)
        hole->certain = hole->unchanged = link == hole->stands_for; /* else some were replaced */
    hole->level = hole->certain && hole->sure_before;
    hole->term_max = next->id.term;
    hole->behind = (struct raft_id){.term = before.term, .index = next->id.index - 1};
    if (before.term == 0 ||
        before.term > next->id.term) /* no entry is of no term, nor of a later */
        hole->behind.term = next->id.term;
    note_unsure(surveyor, hole);
    wal_links_learn(&scan->links, hole->behind.index, hole->stands_for);
    if (hole->behind.index > before.index) {
        take_absent(surveyor, hole, hole->behind);
    } else if (link != WAL_LINK_UNKNOWN && !hole->unchanged) {
        hole->lost = hole->behind.index;
        take_replaced(surveyor, hole);
    }
}
