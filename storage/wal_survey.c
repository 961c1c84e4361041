#include "storage/wal_survey.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/bytes.h"
#include "storage/wal_smallest.h"

#include <inttypes.h>
#include <stdlib.h>

/* What stands behind a segment. */
struct ahead {
    bool whole;           /* the next header is */
    bool header_attested; /* it had been durable, so all of this segment had */
    bool attested;        /* all of this segment had been durable */
    struct wal_header header;
};

struct surveyor {
    struct wal_scanner scanner;
    struct wal_survey *survey;
    size_t holes_max;
    struct ahead ahead; /* of the segment being walked */
    bool ended;         /* the log ends in it */
    bool guessed;       /* the last entry's id is a mend's, which may not have known it */
};

static int beyond(const struct surveyor *surveyor, uint64_t sequence, uint64_t offset,
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
static void note_replaced(struct surveyor *surveyor, struct raft_id id)
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

static void take(struct surveyor *surveyor, const struct wal_record *record)
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
    wal_scanner_take(scanner, record);
    surveyor->guessed = record->kind == WAL_MEND;
}

static struct wal_hole *add_hole(struct surveyor *surveyor, size_t number, uint64_t offset,
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
                              .chain = survey->scan.chain,
                              .batch_before = survey->scan.batch,
                              .before = scanner->collect.last,
                              .sure_before = !surveyor->guessed,
                              .prev = scanner->collect.last,
                              .last = scanner->collect.last.index,
                              .term_max = UINT64_MAX,
                              .certain = true};
    return hole;
}

/* What stood in the hole, if that can be told. `from` and `to`: of what terms an entry can be. */
static bool try_smallest(struct surveyor *surveyor, struct wal_hole *hole, uint64_t index,
                         uint64_t from, uint64_t to)
{
    struct wal_record record;
    if (!wal_smallest_find(&surveyor->scanner, hole, index, from, to, &record))
        return false;
    take(surveyor, &record); /* the payload is empty: nothing points into hole->bytes */
    return true;
}

/* Behind the hole the log ended with `behind`, by what a batch record or a header says. */
static void pass_named(struct surveyor *surveyor, struct wal_hole *hole, struct raft_id behind)
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
    scan->chain = hole->stands_for;
    scan->attested = false;
    if (raft_id_equal(before, behind))
        return;
    hole->certain = before.term == behind.term;
    hole->level = hole->certain && hole->sure_before && hole->sure_behind;
    hole->term_max = behind.term;
    uint64_t lowest = before.index + 1;
    if (behind.index <= before.index) {
        note_replaced(surveyor, behind);
        lowest = behind.index;
    }
    struct wal_segment *known = &scan->segments[scan->active].known;
    if (known->lowest > lowest)
        known->lowest = lowest;
    wal_collect_absent(&scanner->collect, behind);
    hole->last = behind.index;
}

/* Right behind the hole stands this entry of the same batch. */
static void pass_to_entry(struct surveyor *surveyor, struct wal_hole *hole,
                          const struct wal_record *next)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    struct raft_id before = scanner->collect.last;
    hole->batch_behind = next->batch;
    if (try_smallest(surveyor, hole, next->id.index - 1, before.term, next->id.term))
        return;
    scan->end = hole->end;
    scan->chain = hole->stands_for;
    scan->batch = next->batch;
    scan->attested = false;
    hole->certain = before.term == next->id.term;
    hole->level = hole->certain && hole->sure_before;
    hole->term_max = next->id.term;
    hole->behind = (struct raft_id){.term = before.term, .index = next->id.index - 1};
    if (hole->behind.term == 0) /* no entry is of no term */
        hole->behind.term = next->id.term;
    if (hole->behind.index <= before.index)
        return;
    struct wal_segment *known = &scan->segments[scan->active].known;
    if (known->lowest > before.index + 1)
        known->lowest = before.index + 1;
    wal_collect_absent(&scanner->collect, hole->behind);
    hole->last = hole->behind.index;
}

/* --- A segment -------------------------------------------------------------------------------- */

/* What of a segment's rest is whole. */
struct rest {
    struct wal_record first; /* the first whole record; kind 0: there is none */
    uint64_t attested;       /* everything before this offset had been durable */
};

static struct rest read_rest(const struct surveyor *surveyor)
{
    const struct wal_scan *scan = &surveyor->survey->scan;
    const struct wal_loaded *here = &surveyor->scanner.here;
    struct rest rest = {.attested = scan->end};
    struct wal_record record;
    uint64_t dirty_end = scan->segments[scan->active].dirty_end;
    for (size_t at = (size_t)scan->end; at < dirty_end; at += 8) {
        if (!wal_record_decode(here->data, here->bytes, at, here->key, &record))
            continue;
        if (rest.first.kind == 0)
            rest.first = record;
        if (record.batch > rest.attested)
            rest.attested = record.batch;
    }
    return rest;
}

static int pass_to_record(struct surveyor *surveyor, const struct rest *rest)
{
    struct wal_scan *scan = surveyor->scanner.scan;
    const struct wal_record *next = &rest->first;
    uint64_t sequence = scan->segments[scan->active].sequence;
    bool all = surveyor->ahead.whole || surveyor->ahead.attested;
    if (next->offset == scan->end)
        return beyond(surveyor, sequence, scan->end, "a whole record is not chained to its place");
    if (next->offset > rest->attested && !all)
        return beyond(surveyor, sequence, scan->end,
                      "it reaches up to a torn batch, so its end is not known");
    struct wal_hole *hole = add_hole(surveyor, scan->active, scan->end, next->offset);
    if (!hole)
        return beyond(surveyor, sequence, scan->end, "there are too many damaged places");
    hole->stands_for = next->previous;
    struct wal_mend mend;
    struct wal_record first;
    if (next->kind == WAL_ENTRY) {
        pass_to_entry(surveyor, hole, next);
    } else if (next->kind == WAL_MEND && wal_mend_begin(next, &mend) &&
               wal_mend_next(&mend, &first) == 1) {
        first.batch = next->batch;
        pass_to_entry(surveyor, hole, &first);
    } else if (next->kind == WAL_MEND && next->id.index > 0 && next->id.term == WAL_TERM_UNKNOWN) {
        return beyond(surveyor, sequence, scan->end, "what stood between two others is not known");
    } else { /* a mend without entries: what it says of itself holds before it too */
        hole->sure_behind = next->kind == WAL_BATCH;
        pass_named(surveyor, hole, next->id);
    }
    return CONCLAVE_OK;
}

static int pass_to_header(struct surveyor *surveyor)
{
    struct wal_scan *scan = surveyor->scanner.scan;
    const struct wal_header *header = &surveyor->ahead.header;
    uint64_t sequence = scan->segments[scan->active].sequence;
    if (header->previous_end < scan->end + WAL_RECORD_BYTES || header->previous_end % 8 != 0 ||
        header->previous_end > scan->segments[scan->active].bytes)
        return beyond(surveyor, sequence, scan->end, "the next segment does not continue it");
    struct wal_hole *hole = add_hole(surveyor, scan->active, scan->end, header->previous_end);
    if (!hole)
        return beyond(surveyor, sequence, scan->end, "there are too many damaged places");
    hole->stands_for = header->previous;
    hole->sure_behind = true;
    pass_named(surveyor, hole, header->last);
    return CONCLAVE_OK;
}

/* Walks the segment in scanner.here from behind its header to its end. */
static int survey_segment(struct surveyor *surveyor)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    const struct wal_loaded *here = &scanner->here;
    const struct ahead *ahead = &surveyor->ahead;
    struct wal_record record;
    for (;;) {
        while (wal_record_decode(here->data, here->bytes, (size_t)scan->end, here->key, &record) &&
               record.previous == scan->chain) {
            if (!wal_scanner_possible(scanner, &record))
                return beyond(surveyor, here->sequence, scan->end,
                              "a whole record that cannot stand here");
            take(surveyor, &record);
        }
        struct wal_scan_segment *segment = &scan->segments[scan->active];
        segment->dirty_start = segment->dirty_end = 0;
        wal_scanner_note_dirty(segment, here, scan->end);
        const struct rest rest = read_rest(surveyor);
        bool attested = ahead->whole || ahead->attested || rest.attested > scan->end;
        int code = CONCLAVE_OK;
        if (rest.first.kind != 0 && attested) {
            code = pass_to_record(surveyor, &rest);
        } else if (ahead->whole && (ahead->header.previous_end != scan->end ||
                                    ahead->header.previous != scan->chain)) {
            code = pass_to_header(surveyor);
        } else if (!ahead->whole && ahead->attested && segment->dirty_end > segment->dirty_start) {
            return beyond(surveyor, here->sequence, scan->end,
                          "the next segment's header is damaged too, so its end is not known");
        } else {
            wal_collect_flush(&scanner->collect);
            surveyor->ended = !ahead->whole && !ahead->header_attested;
            return CONCLAVE_OK;
        }
        if (code != CONCLAVE_OK)
            return code;
    }
}

/* --- The whole -------------------------------------------------------------------------------- */

/* Is anything of this segment whole? As judge_behind() in wal_scan.c. */
static void read_evidence(const struct wal_loaded *loaded, bool first, struct ahead *ahead)
{
    struct wal_record record;
    for (size_t at = 0; at < loaded->bytes && !ahead->header_attested; at += 8) {
        if (!wal_record_decode(loaded->data, loaded->bytes, at, loaded->key, &record))
            continue;
        ahead->attested = true;
        ahead->header_attested = !first || record.batch > 0;
    }
}

static int look_ahead(struct surveyor *surveyor, size_t number)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct ahead *ahead = &surveyor->ahead;
    *ahead = (struct ahead){0};
    for (size_t i = scanner->scan->segment_count; i > number + 1; i--) {
        bool first = i == number + 2;
        struct wal_header header;
        int code = wal_scanner_load(scanner, i - 1, &scanner->next);
        if (code != CONCLAVE_OK)
            return code;
        code = wal_scanner_header(scanner, &scanner->next, &header);
        if (code != CONCLAVE_OK && code != CONCLAVE_CORRUPT)
            return code;
        if (code == CONCLAVE_OK) {
            ahead->attested = ahead->header_attested = true;
            ahead->whole = first;
            ahead->header = header;
        } else {
            read_evidence(&scanner->next, first, ahead);
        }
    }
    return CONCLAVE_OK;
}

/* The header that the segment in scanner.here must have had. */
static int guess_header(struct surveyor *surveyor, size_t number, struct wal_header *ret)
{
    const struct wal_scanner *scanner = &surveyor->scanner;
    const struct wal_loaded *here = &scanner->here;
    struct wal_record record = {0};
    bool known = wal_record_decode(here->data, here->bytes, WAL_HEADER_BYTES, here->key, &record) &&
                 record.kind == WAL_BATCH;
    *ret = (struct wal_header){.sequence = here->sequence};
    if (number > 0) {
        ret->previous = scanner->scan->chain;
        ret->previous_end = scanner->scan->end;
        ret->last = scanner->collect.last;
    }
    uint8_t bytes[WAL_HEADER_BYTES];
    uint64_t checksum = wal_header_encode(bytes, scanner->identity, ret);
    if ((known && record.previous == checksum) || (!known && number > 0))
        return CONCLAVE_OK;
    if (!known || number > 0)
        return beyond(surveyor, here->sequence, 0,
                      number > 0 ? "the header does not continue the segment before"
                                 : "the first header and the record behind it are both damaged");
    ret->last = record.id;
    ret->stands_for = record.previous;
    return CONCLAVE_OK;
}

static int mend_header(struct surveyor *surveyor, size_t number, struct wal_header *header,
                       uint64_t *ret_checksum)
{
    if (surveyor->scanner.here.bytes <= WAL_HEADER_BYTES)
        return beyond(surveyor, surveyor->scanner.here.sequence, 0, "the file was cut short");
    int code = guess_header(surveyor, number, header);
    if (code != CONCLAVE_OK)
        return code;
    struct wal_hole *hole = add_hole(surveyor, number, 0, WAL_HEADER_BYTES);
    if (!hole)
        return beyond(surveyor, surveyor->scanner.here.sequence, 0,
                      "there are too many damaged places");
    hole->bytes = mem_alloc(WAL_HEADER_BYTES);
    *ret_checksum = wal_header_encode(hole->bytes, surveyor->scanner.identity, header);
    return CONCLAVE_OK;
}

static int survey_all(struct surveyor *surveyor)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    for (size_t number = 0; number < scan->segment_count && !surveyor->ended; number++) {
        struct wal_header header = {0};
        int code = look_ahead(surveyor, number);
        if (code == CONCLAVE_OK)
            code = wal_scanner_load(scanner, number, &scanner->next);
        if (code != CONCLAVE_OK)
            return code;
        wal_scanner_advance(scanner);
        code = wal_scanner_header(scanner, &scanner->here, &header);
        uint64_t checksum = code == CONCLAVE_OK ? get_u64(scanner->here.data) : 0;
        if (code == CONCLAVE_CORRUPT)
            code = mend_header(surveyor, number, &header, &checksum);
        if (code != CONCLAVE_OK)
            return code;
        if (header.sequence != scanner->here.sequence ||
            (number > 0 && !raft_id_equal(header.last, scanner->collect.last)))
            return beyond(surveyor, scanner->here.sequence, 0,
                          "the header does not continue the segment before");
        wal_scanner_take_header(scanner, number, &header, checksum);
        code = survey_segment(surveyor);
        if (code != CONCLAVE_OK)
            return code;
    }
    return CONCLAVE_OK;
}

int wal_survey_run(const struct io *io, const char *wal_dir,
                   const struct storage_identity *identity, size_t holes_max,
                   struct wal_survey *ret, struct conclave_error *error)
{
    struct conclave_error own = {0};
    *ret = (struct wal_survey){0};
    struct surveyor surveyor = {.scanner = {.io = io,
                                            .dir = wal_dir,
                                            .identity = identity,
                                            .scan = &ret->scan,
                                            .patient = true,
                                            .error = &own},
                                .survey = ret,
                                .holes_max = holes_max};
    int code = wal_scanner_find(&surveyor.scanner);
    if (code == CONCLAVE_OK)
        code = survey_all(&surveyor);
    if (code == CONCLAVE_OK) {
        ret->scan.base = surveyor.scanner.collect.base;
        ret->scan.last = surveyor.scanner.collect.last;
        wal_collect_finish(&surveyor.scanner.collect, &ret->scan.entries);
    } else if (error) {
        *error = own;
    }
    wal_scanner_deinit(&surveyor.scanner);
    return code;
}

void wal_survey_deinit(struct wal_survey *survey)
{
    for (size_t i = 0; i < survey->holes.count; i++)
        free(survey->holes.items[i].bytes);
    free(survey->holes.items);
    wal_scan_deinit(&survey->scan);
    *survey = (struct wal_survey){0};
}
