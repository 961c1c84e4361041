/* The walk over a damaged log. */
#include "storage/wal_survey_internal.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <xxhash.h>

/* --- A segment -------------------------------------------------------------------------------- */

/* What of a segment's rest is whole. */
struct rest {
    struct wal_record first; /* the first whole record; kind 0: there is none */
    uint64_t attested;       /* everything before this offset had been durable */
};

static struct rest read_rest(const struct wal_surveyor *surveyor)
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

static int pass_to_record(struct wal_surveyor *surveyor, const struct rest *rest)
{
    struct wal_scan *scan = surveyor->scanner.scan;
    const struct wal_record *next = &rest->first;
    uint64_t sequence = scan->segments[scan->active].sequence;
    bool all = surveyor->ahead.whole || surveyor->ahead.attested;
    if (next->offset == scan->end)
        return wal_survey_beyond(surveyor, sequence, scan->end,
                                 "a whole record is not chained to its place");
    if (next->offset > rest->attested && !all)
        return wal_survey_beyond(surveyor, sequence, scan->end,
                                 "it reaches up to a torn batch, so its end is not known");
    struct wal_hole *hole = wal_survey_add_hole(surveyor, scan->active, scan->end, next->offset);
    if (!hole)
        return wal_survey_beyond(surveyor, sequence, scan->end,
                                 "there are too many damaged places");
    hole->stands_for = next->previous;
    struct wal_mend mend;
    struct wal_record first;
    if (next->kind == WAL_ENTRY) {
        wal_survey_pass_to_entry(surveyor, hole, next);
    } else if (next->kind == WAL_MEND && wal_mend_begin(next, &mend) &&
               wal_mend_next(&mend, &first) == 1) {
        first.batch = next->batch;
        wal_survey_pass_to_entry(surveyor, hole, &first);
    } else if (next->kind == WAL_MEND && next->id.index > 0 && next->id.term == WAL_TERM_UNKNOWN) {
        return wal_survey_beyond(surveyor, sequence, scan->end,
                                 "what stood between two others is not known");
    } else if (next->kind == WAL_ANEW) { /* only the batch that it begins stands before it */
        wal_survey_pass_named(surveyor, hole, surveyor->scanner.collect.last);
    } else { /* a mend without entries: what it says of itself holds before it too */
        hole->sure_behind = next->kind == WAL_BATCH;
        wal_survey_pass_named(surveyor, hole, next->id);
    }
    return CONCLAVE_OK;
}

static int pass_to_header(struct wal_surveyor *surveyor)
{
    struct wal_scan *scan = surveyor->scanner.scan;
    const struct wal_header *header = &surveyor->ahead.header;
    uint64_t sequence = scan->segments[scan->active].sequence;
    if (header->previous_end < scan->end + WAL_RECORD_BYTES || header->previous_end % 8 != 0 ||
        header->previous_end > scan->segments[scan->active].bytes)
        return wal_survey_beyond(surveyor, sequence, scan->end,
                                 "the next segment does not continue it");
    struct wal_hole *hole =
        wal_survey_add_hole(surveyor, scan->active, scan->end, header->previous_end);
    if (!hole)
        return wal_survey_beyond(surveyor, sequence, scan->end,
                                 "there are too many damaged places");
    hole->stands_for = header->previous;
    hole->sure_behind = true;
    wal_survey_pass_named(surveyor, hole, header->last);
    return CONCLAVE_OK;
}

/* The next header is lost too, and with it where this segment ended; what it ended with is known.
 * So it ends with its file: the next header will say so. */
static int pass_to_end(struct wal_surveyor *surveyor)
{
    const struct wal_scan *scan = surveyor->scanner.scan;
    const struct wal_scan_segment *segment = &scan->segments[scan->active];
    const struct wal_record *first = &surveyor->ahead.first;
    uint64_t end = surveyor->scanner.here.bytes / 8 * 8;
    if (end < scan->end + WAL_MEND_BYTES)
        return wal_survey_beyond(
            surveyor, segment->sequence, scan->end,
            "the next segment's header is damaged too, and there is no room here");
    struct wal_hole *hole = wal_survey_add_hole(surveyor, scan->active, scan->end, end);
    if (!hole)
        return wal_survey_beyond(surveyor, segment->sequence, scan->end,
                                 "there are too many damaged places");
    hole->stands_for = first->previous;
    hole->sure_behind = true;
    wal_survey_pass_named(surveyor, hole, first->id);
    return CONCLAVE_OK;
}

/* Does the next segment, whose header is lost, go on behind something else than this one has? */
static bool is_short(const struct wal_surveyor *surveyor)
{
    const struct wal_scanner *scanner = &surveyor->scanner;
    const struct wal_ahead *ahead = &surveyor->ahead;
    const struct wal_scan_segment *segment = &scanner->scan->segments[scanner->scan->active];
    uint64_t link = wal_scanner_link(scanner);
    return !ahead->whole && ahead->begun &&
           (segment->dirty_end > segment->dirty_start ||
            !raft_id_equal(ahead->first.id, scanner->collect.last) ||
            (link != WAL_LINK_UNKNOWN && link != ahead->first.previous));
}

/* Walks the segment in scanner.here from behind its header to its end. */
static int survey_segment(struct wal_surveyor *surveyor)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    const struct wal_loaded *here = &scanner->here;
    const struct wal_ahead *ahead = &surveyor->ahead;
    struct wal_record record;
    for (;;) {
        while (wal_record_decode(here->data, here->bytes, (size_t)scan->end, here->key, &record) &&
               wal_scanner_chained(scanner, &record)) {
            if (!wal_scanner_possible(scanner, &record))
                return wal_survey_beyond(surveyor, here->sequence, scan->end,
                                         "a whole record that cannot stand here");
            wal_survey_take(surveyor, &record);
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
                                    !wal_scanner_continues(scanner, &ahead->header))) {
            code = pass_to_header(surveyor);
        } else if (is_short(surveyor)) {
            code = pass_to_end(surveyor);
        } else if (!ahead->whole && ahead->attested && segment->dirty_end > segment->dirty_start) {
            return wal_survey_beyond(
                surveyor, here->sequence, scan->end,
                "the next segment's header is damaged too, so its end is not known");
        } else {
            wal_collect_flush(&scanner->collect);
            surveyor->ended = !ahead->whole && !ahead->header_attested;
            return wal_survey_take_unread(surveyor, surveyor->ended);
        }
        if (code != CONCLAVE_OK)
            return code;
    }
}

/* --- The whole -------------------------------------------------------------------------------- */

/* Is any record of this segment whole, wherever it stands? */
static bool holds_record(const struct wal_loaded *loaded)
{
    struct wal_record record;
    for (size_t at = 0; at < loaded->bytes; at += 8)
        if (wal_record_decode(loaded->data, loaded->bytes, at, loaded->key, &record))
            return true;
    return false;
}

/* Which segment is the last in which anything is whole, of those behind the first. */
static int find_evident(struct wal_surveyor *surveyor)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_header header;
    for (size_t i = scanner->scan->segment_count; i > 1; i--) {
        int code = wal_scanner_load(scanner, i - 1, &scanner->next);
        if (code == CONCLAVE_OK)
            code = wal_scanner_header(scanner, &scanner->next, &header);
        if (code != CONCLAVE_OK && code != CONCLAVE_CORRUPT)
            return code;
        if (surveyor->evident == 0 && (code == CONCLAVE_OK || holds_record(&scanner->next)))
            surveyor->evident = i - 1;
    }
    return CONCLAVE_OK;
}

/* The header is lost: is anything else of the segment whole? As judge_behind() in wal_scan.c. */
static void read_evidence(const struct wal_loaded *loaded, struct wal_ahead *ahead)
{
    struct wal_record record;
    ahead->begun = wal_record_decode(loaded->data, loaded->bytes, WAL_HEADER_BYTES, loaded->key,
                                     &ahead->first) &&
                   ahead->first.kind == WAL_BATCH;
    for (size_t at = 0; at < loaded->bytes && !ahead->header_attested; at += 8) {
        if (!wal_record_decode(loaded->data, loaded->bytes, at, loaded->key, &record))
            continue;
        ahead->attested = true;
        ahead->header_attested = record.batch > 0;
    }
}

/* Loads the segment behind the numbered one, if there is one, into scanner.next. */
static int look_ahead(struct wal_surveyor *surveyor, size_t number)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_ahead *ahead = &surveyor->ahead;
    *ahead = (struct wal_ahead){0};
    ahead->attested = ahead->header_attested = surveyor->evident > number + 1;
    if (number + 1 == scanner->scan->segment_count)
        return CONCLAVE_OK;
    int code = wal_scanner_load(scanner, number + 1, &scanner->next);
    if (code == CONCLAVE_OK)
        code = wal_scanner_header(scanner, &scanner->next, &ahead->header);
    if (code == CONCLAVE_CORRUPT) {
        read_evidence(&scanner->next, ahead);
        return CONCLAVE_OK;
    }
    ahead->whole = ahead->attested = ahead->header_attested = code == CONCLAVE_OK;
    return code;
}

/* The header that the segment in scanner.here must have had. */
static int guess_header(struct wal_surveyor *surveyor, size_t number, struct wal_header *ret)
{
    const struct wal_scanner *scanner = &surveyor->scanner;
    const struct wal_loaded *here = &scanner->here;
    struct wal_record record = {0};
    bool known = wal_record_decode(here->data, here->bytes, WAL_HEADER_BYTES, here->key, &record) &&
                 record.kind == WAL_BATCH;
    *ret = (struct wal_header){.sequence = here->sequence};
    if (number > 0) {
        ret->previous = wal_scanner_link(scanner);
        ret->previous_end = scanner->scan->end;
        ret->last = scanner->collect.last;
        if (known && (record.previous != ret->previous || !raft_id_equal(record.id, ret->last)))
            return wal_survey_beyond(surveyor, here->sequence, 0,
                                     "the header does not continue the segment before");
        return CONCLAVE_OK;
    }
    if (!known)
        return wal_survey_beyond(surveyor, here->sequence, 0,
                                 "the first header and the record behind it are both damaged");
    ret->previous = record.previous; /* where the one before ended nobody needs to know */
    ret->last = record.id;
    return CONCLAVE_OK;
}

static int mend_header(struct wal_surveyor *surveyor, size_t number, struct wal_header *header)
{
    if (surveyor->scanner.here.bytes <= WAL_HEADER_BYTES)
        return wal_survey_beyond(surveyor, surveyor->scanner.here.sequence, 0,
                                 "the file was cut short");
    int code = guess_header(surveyor, number, header);
    if (code != CONCLAVE_OK)
        return code;
    struct wal_hole *hole = wal_survey_add_hole(surveyor, number, 0, WAL_HEADER_BYTES);
    if (!hole)
        return wal_survey_beyond(surveyor, surveyor->scanner.here.sequence, 0,
                                 "there are too many damaged places");
    hole->bytes = mem_alloc(WAL_HEADER_BYTES);
    wal_header_encode(hole->bytes, surveyor->scanner.identity, header);
    return CONCLAVE_OK;
}

static int survey_all(struct wal_surveyor *surveyor)
{
    struct wal_scanner *scanner = &surveyor->scanner;
    struct wal_scan *scan = scanner->scan;
    int code = find_evident(surveyor);
    if (code == CONCLAVE_OK && scan->segment_count > 0)
        code = wal_scanner_load(scanner, 0, &scanner->next);
    if (code != CONCLAVE_OK)
        return code;
    for (size_t number = 0; number < scan->segment_count && !surveyor->ended; number++) {
        struct wal_header header = {0};
        wal_scanner_advance(scanner);
        code = look_ahead(surveyor, number);
        if (code != CONCLAVE_OK)
            return code;
        code = wal_scanner_header(scanner, &scanner->here, &header);
        if (code == CONCLAVE_CORRUPT)
            code = mend_header(surveyor, number, &header);
        if (code != CONCLAVE_OK)
            return code;
        if (header.sequence != scanner->here.sequence ||
            (number > 0 && !raft_id_equal(header.last, scanner->collect.last)))
            return wal_survey_beyond(surveyor, scanner->here.sequence, 0,
                                     "the header does not continue the segment before");
        wal_scanner_take_header(scanner, number, &header);
        if (number == 0) {
            wal_links_begin(&surveyor->survey->found, header.last.index, header.previous);
            wal_links_begin(&surveyor->survey->sure, header.last.index, header.previous);
        }
        code = survey_segment(surveyor);
        if (code != CONCLAVE_OK)
            return code;
        const bool last = surveyor->ended || number + 1 == scan->segment_count;
        scan->segments[number].read_sum = wal_survey_sum(
            surveyor->survey, number, scanner->here.data, last ? scan->end : scanner->here.bytes);
    }
    return CONCLAVE_OK;
}

uint64_t wal_survey_sum(const struct wal_survey *survey, size_t number, const uint8_t *data,
                        uint64_t end)
{
    uint64_t from = 0, sum = 0;
    for (size_t i = 0; i < survey->holes.count; i++) {
        const struct wal_hole *hole = &survey->holes.items[i];
        if (hole->number != number)
            continue;
        const uint64_t to = hole->offset < end ? hole->offset : end;
        if (to > from)
            sum = XXH3_64bits_withSeed(data + from, (size_t)(to - from), sum);
        from = hole->end;
    }
    return end > from ? XXH3_64bits_withSeed(data + from, (size_t)(end - from), sum) : sum;
}

int wal_survey_run(const struct io *io, const char *wal_dir,
                   const struct storage_identity *identity, size_t holes_max,
                   struct wal_survey *ret, struct conclave_error *error)
{
    struct conclave_error own = {0};
    *ret = (struct wal_survey){0};
    struct wal_surveyor surveyor = {.scanner = {.io = io,
                                                .dir = wal_dir,
                                                .identity = identity,
                                                .scan = &ret->scan,
                                                .patient = true,
                                                .error = &own},
                                    .survey = ret,
                                    .holes_max = holes_max};
    int code = wal_scanner_find(&surveyor.scanner);
    if (code == CONCLAVE_OK)
        code = wal_scanner_skip(&surveyor.scanner);
    if (code == CONCLAVE_OK)
        code = survey_all(&surveyor);
    if (code == CONCLAVE_OK)
        code = wal_survey_take_unread_behind(&surveyor);
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
    free(survey->witnesses.items);
    free(survey->unread.items);
    wal_links_deinit(&survey->found);
    wal_links_deinit(&survey->sure);
    wal_scan_deinit(&survey->scan);
    *survey = (struct wal_survey){0};
}
