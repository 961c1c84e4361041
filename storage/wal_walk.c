#include "storage/wal_walk.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/bytes.h"
#include "storage/wal_internal.h"
#include "storage/wal_scanner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDS_KEPT = 1 << 16 }; /* of the newest entries, at least; twice as many at most */

struct wal_walk {
    bool live;
    char *dir;
    struct storage_identity identity;
    struct wal_scan scan;
    struct wal_scanner scanner; /* here: the segment `number`, once it was entered */
    struct conclave_error error;
    char missing[96]; /* a sentence about segments */
    struct {          /* to be told before the walk goes on */
        struct wal_walk_step *items;
        size_t count, capacity;
        size_t told;
    } steps;
    uint64_t skipped; /* the next segment of those that are no part of the log */
    size_t number;
    bool entered;   /* it is being walked; else it comes next */
    bool ahead;     /* scanner.next holds the one behind it */
    bool continued; /* what stands before the next segment is known */
    bool reread;    /* it was read again since the last valid record */
    bool ended;
};

/* --- What is told ----------------------------------------------------------------------------- */

static struct wal_walk_step *tell(struct wal_walk *walk, enum wal_walk_what what, size_t number,
                                  uint64_t offset, uint64_t end)
{
    const struct wal_scan_segment *segment = &walk->scan.segments[number];
    LIST_RESERVE(&walk->steps);
    struct wal_walk_step *step = &walk->steps.items[walk->steps.count++];
    *step = (struct wal_walk_step){.what = what,
                                   .sequence = segment->sequence,
                                   .bytes = segment->bytes,
                                   .offset = offset,
                                   .end = end,
                                   .last = walk->scanner.collect.last};
    return step;
}

static void tell_damage(struct wal_walk *walk, size_t number, uint64_t offset, uint64_t end,
                        const char *why)
{
    tell(walk, WAL_WALK_DAMAGE, number, offset, end)->why = why;
}

static void tell_unread(struct wal_walk *walk, size_t number)
{
    const struct wal_loaded *here = &walk->scanner.here;
    for (size_t i = 0; i < here->unread.count; i++)
        tell_damage(walk, number, here->unread.items[i],
                    here->unread.items[i] + WAL_SCANNER_BLOCK_BYTES, "the disk fails to read it");
}

/* --- Places ----------------------------------------------------------------------------------- */

/* The first whole record of the segment in `here` from this offset on. */
static bool find_whole(const struct wal_walk *walk, uint64_t from, struct wal_record *ret)
{
    const struct wal_loaded *here = &walk->scanner.here;
    for (size_t at = (size_t)(from + 7) / 8 * 8; at + WAL_RECORD_BYTES <= here->bytes; at += 8)
        if (wal_record_decode(here->data, here->bytes, at, here->key, ret))
            return true;
    return false;
}

static void begin_behind(struct wal_walk *walk, struct raft_id base, uint64_t link)
{
    wal_collect_restart(&walk->scanner.collect, base);
    wal_links_begin(&walk->scan.links, base.index, link);
    walk->scan.links_unsure = walk->scan.absent_unsure = walk->scan.doubted = 0;
    walk->scan.mended = false;
}

/* The log was, before this record, as it says. */
static void anchor(struct wal_walk *walk, const struct wal_record *record)
{
    struct wal_mend mend;
    struct wal_record first = *record;
    struct raft_id base = record->id;
    if (record->kind == WAL_MEND &&
        (!wal_mend_begin(record, &mend) || wal_mend_next(&mend, &first) != 1))
        first = *record;
    if (first.kind == WAL_ENTRY)
        base = (struct raft_id){.term = WAL_TERM_UNKNOWN,
                                .index = first.id.index > 0 ? first.id.index - 1 : 0};
    begin_behind(walk, base, record->previous);
    walk->scan.end = record->offset;
    walk->scan.batch = record->batch;
}

static void leave(struct wal_walk *walk, bool continued)
{
    wal_collect_flush(&walk->scanner.collect);
    walk->entered = false;
    walk->continued = continued;
    walk->number++;
}

/* Goes on with the first whole record at or behind this offset, or with the next segment. */
static void go_on_from(struct wal_walk *walk, uint64_t offset)
{
    struct wal_record record;
    if (find_whole(walk, offset, &record))
        anchor(walk, &record);
    else
        leave(walk, false);
}

static uint64_t whole_from(const struct wal_walk *walk, uint64_t offset, uint64_t otherwise)
{
    struct wal_record record;
    return find_whole(walk, offset, &record) ? record.offset : otherwise;
}

/* --- Segments --------------------------------------------------------------------------------- */

static bool follows(const struct wal_walk *walk, size_t number)
{
    const struct wal_scan_segment *segments = walk->scan.segments;
    return number < walk->scan.segment_count &&
           segments[number].sequence == segments[number - 1].sequence + 1;
}

static int load_next(struct wal_walk *walk, size_t number)
{
    const int code = wal_scanner_load(&walk->scanner, number, &walk->scanner.next);
    const size_t next = walk->entered ? walk->number + 1 : walk->number;
    walk->ahead = code == CONCLAVE_OK && number == next;
    return code;
}

/* Its header is lost: what else is whole in it? */
static void enter_headless(struct wal_walk *walk, const char *why)
{
    const size_t number = walk->number;
    const struct wal_header unknown = {.sequence = walk->scanner.here.sequence};
    walk->entered = true;
    wal_scanner_take_header(&walk->scanner, number, &unknown);
    tell(walk, WAL_WALK_SEGMENT, number, 0, WAL_HEADER_BYTES);
    const uint64_t end = whole_from(walk, WAL_HEADER_BYTES, walk->scanner.here.bytes);
    tell_damage(walk, number, 0, end, why);
    go_on_from(walk, WAL_HEADER_BYTES);
}

static void enter_header(struct wal_walk *walk, const struct wal_header *header)
{
    if (!walk->continued)
        begin_behind(walk, header->last, header->previous);
    walk->entered = true;
    wal_scanner_take_header(&walk->scanner, walk->number, header);
    struct wal_walk_step *step = tell(walk, WAL_WALK_SEGMENT, walk->number, 0, WAL_HEADER_BYTES);
    step->has_header = true;
    step->header = *header;
}

static void pass_over(struct wal_walk *walk, const char *why)
{
    tell_damage(walk, walk->number, 0, walk->scan.segments[walk->number].bytes, why);
    walk->ahead = false;
    walk->continued = false;
    walk->number++;
}

static void tell_missing(struct wal_walk *walk)
{
    const uint64_t from = walk->scan.segments[walk->number - 1].sequence + 1;
    const uint64_t to = walk->scan.segments[walk->number].sequence - 1;
    struct wal_walk_step *step = tell(walk, WAL_WALK_DAMAGE, walk->number, 0, 0);
    step->sequence = from;
    step->bytes = 0;
    step->why = walk->missing;
    if (from == to)
        (void)snprintf(walk->missing, sizeof walk->missing, "the segment is missing");
    else
        (void)snprintf(walk->missing, sizeof walk->missing,
                       "the segments from this one to %016" PRIx64 ".wal are missing", to);
    walk->continued = false;
}

static void enter(struct wal_walk *walk)
{
    const size_t number = walk->number;
    struct wal_header header;
    if (walk->number == walk->scan.segment_count) {
        walk->ended = true;
        return;
    }
    if (walk->number > 0 && !follows(walk, walk->number))
        tell_missing(walk);
    int code = walk->ahead ? CONCLAVE_OK : load_next(walk, walk->number);
    if (code == CONCLAVE_NOT_FOUND) {
        tell(walk, WAL_WALK_GONE, walk->number, 0, 0);
        walk->continued = false;
        walk->number++;
        return;
    }
    if (code != CONCLAVE_OK) {
        pass_over(walk, walk->error.message);
        return;
    }
    code = wal_scanner_header(&walk->scanner, &walk->scanner.next, &header);
    if (code != CONCLAVE_OK && code != CONCLAVE_CORRUPT) {
        pass_over(walk, walk->error.message);
        return;
    }
    wal_scanner_advance(&walk->scanner);
    walk->ahead = walk->reread = false;
    if (code == CONCLAVE_OK && header.sequence == walk->scanner.here.sequence)
        enter_header(walk, &header);
    else
        enter_headless(walk, code == CONCLAVE_OK ? "the header is another segment's"
                                                 : "the header is not valid");
    tell_unread(walk, number);
}

/* --- Records ---------------------------------------------------------------------------------- */

static void tell_mended(struct wal_walk *walk, const struct wal_record *record, size_t number)
{
    struct wal_mend mend;
    struct wal_record entry;
    if (!wal_mend_begin(record, &mend))
        return;
    while (wal_mend_next(&mend, &entry) == 1) {
        const uint64_t end = record->offset + wal_record_bytes(record->payload.bytes);
        struct wal_walk_step *step = tell(walk, WAL_WALK_ENTRY, number, record->offset, end);
        step->record = entry;
        step->record.offset = record->offset;
        step->mended = true;
    }
}

static void take(struct wal_walk *walk, const struct wal_record *record)
{
    struct wal_scan *scan = &walk->scan;
    struct wal_segment *known = &scan->segments[scan->active].known;
    const uint64_t end = scan->end + wal_record_bytes(record->payload.bytes);
    const uint64_t last = walk->scanner.collect.last.index;
    enum wal_walk_what what = record->kind == WAL_ENTRY  ? WAL_WALK_ENTRY
                              : record->kind == WAL_MEND ? WAL_WALK_MEND
                                                         : WAL_WALK_RECORD;
    struct wal_walk_step *step = tell(walk, what, walk->number, scan->end, end);
    step->record = *record;

    struct wal_record light = *record;
    if (record->kind == WAL_ENTRY) /* its payload is not kept */
        light.payload = (struct slice){0};
    known->lowest = UINT64_MAX;
    wal_scanner_take(&walk->scanner, &light);
    scan->end = end;
    if (known->lowest <= last)
        step->replaces = known->lowest > 0 ? known->lowest : 1;
    if (record->kind == WAL_MEND)
        tell_mended(walk, record, walk->number);
    walk->reread = false;

    struct wal_collect *collect = &walk->scanner.collect;
    if (collect->group_count > 2 * IDS_KEPT / 1024) {
        wal_collect_forget(collect, IDS_KEPT);
        wal_links_drop_front(&scan->links, collect->base.index);
    }
}

/* --- Where there is no valid record ----------------------------------------------------------- */

/* What is found out about such a place. */
struct stuck {
    enum { STUCK_END, STUCK_NEXT, STUCK_DAMAGED, STUCK_NEXT_DAMAGED } is;
    uint64_t end; /* of the damage */
    const char *why;
};

/* The next segment's header is whole. */
static struct stuck judge_header(const struct wal_walk *walk, const struct wal_header *header)
{
    const struct wal_scan *scan = &walk->scan;
    if (header->sequence != walk->scanner.next.sequence)
        return (struct stuck){.is = STUCK_NEXT};
    if (header->previous_end > scan->end ||
        (header->previous_end == scan->end && !wal_scanner_continues(&walk->scanner, header)))
        return (struct stuck){.is = STUCK_DAMAGED,
                              .end = header->previous_end,
                              .why = "a record that had been durable, as the next segment shows, "
                                     "is not valid"};
    if (header->previous_end < scan->end ||
        !raft_id_equal(header->last, walk->scanner.collect.last))
        return (struct stuck){.is = STUCK_NEXT_DAMAGED,
                              .end = WAL_HEADER_BYTES,
                              .why = "the header does not continue the segment before"};
    return (struct stuck){.is = STUCK_NEXT};
}

/* A segment behind, in scanner.next, without a whole header if it is the first: as judge_behind()
 * in wal_scan.c. */
static struct stuck judge_behind(struct wal_walk *walk, size_t number)
{
    const struct wal_loaded *loaded = &walk->scanner.next;
    const struct wal_scan_segment *active = &walk->scan.segments[walk->number];
    struct wal_scan_segment *segment = &walk->scan.segments[number];
    segment->dirty_start = segment->dirty_end = segment->torn_bytes = 0;
    wal_scanner_note_dirty(segment, loaded, 0);
    struct wal_header header;
    const int code = wal_scanner_header(&walk->scanner, loaded, &header);
    const bool first = number == walk->number + 1;
    bool attests = code != CONCLAVE_CORRUPT && !(first && code == CONCLAVE_OK);
    struct wal_record record;
    for (size_t at = 0; at < segment->dirty_end && !attests; at += 8) {
        if (!wal_record_decode(loaded->data, loaded->bytes, at, loaded->key, &record))
            continue;
        segment->torn_bytes = at + wal_record_bytes(record.payload.bytes);
        if (active->dirty_end > active->dirty_start || wal_scanner_misses(&walk->scanner, &record))
            return (struct stuck){.is = STUCK_DAMAGED,
                                  .end = active->bytes,
                                  .why = "a record that had been durable, as the next segment "
                                         "shows, is not valid"};
        attests = !first || record.batch > 0;
    }
    return (struct stuck){.is = attests ? STUCK_NEXT : STUCK_END};
}

/* What stands behind this place in the segment itself, and what in those behind it. */
static struct stuck judge_rest(struct wal_walk *walk)
{
    const struct wal_scan *scan = &walk->scan;
    const struct wal_loaded *here = &walk->scanner.here;
    struct wal_scan_segment *segment = &walk->scan.segments[walk->number];
    segment->dirty_start = segment->dirty_end = segment->torn_bytes = 0;
    wal_scanner_note_dirty(segment, here, scan->end);
    struct wal_record record;
    for (size_t at = (size_t)scan->end; at < segment->dirty_end; at += 8) {
        if (!wal_record_decode(here->data, here->bytes, at, here->key, &record))
            continue;
        if (record.batch > scan->end)
            return (struct stuck){.is = STUCK_DAMAGED,
                                  .end = segment->dirty_end,
                                  .why = "a record that had been durable, as later ones show, is "
                                         "not valid"};
        segment->torn_bytes = at + wal_record_bytes(record.payload.bytes) - scan->end;
    }
    struct stuck stuck = {.is = STUCK_END};
    for (size_t i = walk->number + 1; i < scan->segment_count && stuck.is == STUCK_END; i++) {
        const bool here_already = walk->ahead && i == walk->number + 1;
        const int code = here_already ? CONCLAVE_OK : load_next(walk, i);
        if (code == CONCLAVE_OK)
            stuck = judge_behind(walk, i);
        else if (code != CONCLAVE_NOT_FOUND)
            stuck.is = STUCK_NEXT; /* it is told there */
    }
    return stuck;
}

static struct stuck judge(struct wal_walk *walk)
{
    struct wal_header header;
    const size_t next = walk->number + 1;
    if (next < walk->scan.segment_count && !follows(walk, next))
        return (struct stuck){.is = STUCK_NEXT}; /* that one is missing */
    if (next < walk->scan.segment_count && (walk->ahead || load_next(walk, next) == CONCLAVE_OK)) {
        const int code = wal_scanner_header(&walk->scanner, &walk->scanner.next, &header);
        if (code == CONCLAVE_OK)
            return judge_header(walk, &header);
        if (code != CONCLAVE_CORRUPT)
            return (struct stuck){.is = STUCK_NEXT};
    }
    return judge_rest(walk);
}

/* The log ends here. */
static void tell_end(struct wal_walk *walk)
{
    for (size_t i = walk->number; i < walk->scan.segment_count; i++) {
        const struct wal_scan_segment *segment = &walk->scan.segments[i];
        const uint64_t from = i == walk->number ? walk->scan.end : 0;
        if (segment->torn_bytes > 0)
            tell(walk, WAL_WALK_TORN, i, from, from + segment->torn_bytes);
        else if (i > walk->number)
            tell(walk, WAL_WALK_PREPARED, i, 0, 0);
    }
    walk->ended = true;
}

static void pass_stuck(struct wal_walk *walk)
{
    const struct stuck stuck = judge(walk);
    const uint64_t end = walk->scan.end;
    const bool bad = stuck.is == STUCK_DAMAGED || stuck.is == STUCK_NEXT_DAMAGED;
    if (bad && walk->live && !walk->reread) { /* it may have been written while it was read */
        walk->reread = true;
        walk->ahead = false;
        if (wal_scanner_load(&walk->scanner, walk->number, &walk->scanner.here) == CONCLAVE_OK)
            return;
    }
    switch (stuck.is) {
    case STUCK_END:
        tell_end(walk);
        break;
    case STUCK_NEXT:
        leave(walk, true);
        break;
    case STUCK_DAMAGED:
        tell_damage(walk, walk->number, end, whole_from(walk, end + 8, stuck.end), stuck.why);
        go_on_from(walk, end + 8);
        break;
    case STUCK_NEXT_DAMAGED:
        tell_damage(walk, walk->number + 1, 0, stuck.end, stuck.why);
        leave(walk, false);
        break;
    }
}

static void walk_record(struct wal_walk *walk)
{
    struct wal_scanner *scanner = &walk->scanner;
    const struct wal_loaded *here = &scanner->here;
    const uint64_t end = walk->scan.end;
    struct wal_record record;
    if (!wal_record_decode(here->data, here->bytes, (size_t)end, here->key, &record) ||
        !wal_scanner_chained(scanner, &record)) {
        pass_stuck(walk);
    } else if (wal_scanner_possible(scanner, &record)) {
        take(walk, &record);
    } else {
        tell_damage(walk, walk->number, end, end + wal_record_bytes(record.payload.bytes),
                    "a whole record that cannot stand here");
        go_on_from(walk, end + 8);
    }
}

/* --- The walk --------------------------------------------------------------------------------- */

int wal_walk_open(const struct io *io, const char *wal_dir, const struct storage_identity *identity,
                  bool live, struct wal_walk **ret, struct conclave_error *error)
{
    struct wal_walk *walk = mem_zalloc(sizeof *walk);
    const size_t bytes = strlen(wal_dir) + 1;
    walk->live = live;
    walk->dir = mem_alloc(bytes);
    memcpy(walk->dir, wal_dir, bytes);
    walk->identity = *identity;
    walk->scanner = (struct wal_scanner){.io = io,
                                         .dir = walk->dir,
                                         .identity = &walk->identity,
                                         .scan = &walk->scan,
                                         .patient = true,
                                         .error = &walk->error};
    int code = wal_scanner_find(&walk->scanner);
    if (code == CONCLAVE_CORRUPT && walk->scan.segment_count > 0)
        code = CONCLAVE_OK; /* one is missing: it is told in its place */
    if (code == CONCLAVE_OK)
        code = wal_scanner_skip(&walk->scanner);
    if (code != CONCLAVE_OK) {
        *error = walk->error;
        wal_walk_close(walk);
        return code;
    }
    walk->skipped = walk->scan.skipped;
    *ret = walk;
    return CONCLAVE_OK;
}

void wal_walk_next(struct wal_walk *walk, struct wal_walk_step *ret)
{
    if (walk->skipped < walk->scan.segments[0].sequence) {
        *ret = (struct wal_walk_step){.what = WAL_WALK_SKIPPED, .sequence = walk->skipped++};
        return;
    }
    while (walk->steps.told == walk->steps.count && !walk->ended) {
        walk->steps.told = walk->steps.count = 0;
        if (walk->entered)
            walk_record(walk);
        else
            enter(walk);
    }
    if (walk->steps.told < walk->steps.count)
        *ret = walk->steps.items[walk->steps.told++];
    else
        *ret = (struct wal_walk_step){.what = WAL_WALK_END, .last = walk->scanner.collect.last};
}

void wal_walk_close(struct wal_walk *walk)
{
    if (walk == NULL)
        return;
    wal_scanner_deinit(&walk->scanner);
    wal_scan_deinit(&walk->scan);
    free(walk->steps.items);
    free(walk->dir);
    free(walk);
}

/* --- Cuts ------------------------------------------------------------------------------------- */

static void cut(struct wal_cuts *cuts, const struct wal_walk_step *step, uint64_t index)
{
    LIST_RESERVE(cuts);
    cuts->items[cuts->count++] =
        (struct wal_cut){.sequence = step->sequence, .offset = step->offset, .index = index};
}

void wal_cuts_note(struct wal_cuts *cuts, const struct wal_walk_step *step)
{
    const bool anew = step->what == WAL_WALK_RECORD && step->record.kind == WAL_ANEW;
    uint64_t from = anew ? 1 : step->replaces;
    if (step->what == WAL_WALK_ENTRY && step->record.id.index <= cuts->last &&
        (from == 0 || step->record.id.index < from))
        from = step->record.id.index;
    if (from > 0 && from <= cuts->last) {
        cut(cuts, step, from);
        cuts->last = from - 1;
    }
    if (step->what == WAL_WALK_ENTRY)
        cuts->last = step->record.id.index;
}

void wal_cuts_settle(struct wal_cuts *cuts)
{
    for (size_t i = cuts->count; i > 1; i--)
        if (cuts->items[i - 2].index > cuts->items[i - 1].index)
            cuts->items[i - 2].index = cuts->items[i - 1].index;
}

bool wal_cuts_replaced(struct wal_cuts *cuts, const struct wal_walk_step *step)
{
    while (cuts->at < cuts->count && (cuts->items[cuts->at].sequence < step->sequence ||
                                      (cuts->items[cuts->at].sequence == step->sequence &&
                                       cuts->items[cuts->at].offset <= step->offset)))
        cuts->at++;
    return cuts->at < cuts->count && cuts->items[cuts->at].index <= step->record.id.index;
}

void wal_cuts_deinit(struct wal_cuts *cuts)
{
    free(cuts->items);
    *cuts = (struct wal_cuts){0};
}
