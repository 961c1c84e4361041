#include "storage/wal_scan.h"

#include "base/fatal.h"
#include "storage/wal_scanner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

/* --- Judging ---------------------------------------------------------------------------------- */

static int damaged(const struct wal_scanner *scanner, uint64_t sequence, uint64_t offset,
                   const char *what)
{
    return error_set(scanner->error, CONCLAVE_CORRUPT,
                     "the log is damaged: segment %016" PRIx64 ".wal, offset %" PRIu64
                     ", behind index %" PRIu64 " (term %" PRIu64
                     "): %s. Nothing was changed (in %s)",
                     sequence, offset, scanner->collect.last.index, scanner->collect.last.term,
                     what, scanner->dir);
}

/* Walks the valid records of scanner->here from behind its header. */
static int walk(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    const struct wal_loaded *here = &scanner->here;
    struct wal_record record;
    while (wal_record_decode(here->data, here->bytes, (size_t)scan->end, here->key, &record) &&
           wal_scanner_chained(scanner, &record)) {
        if (!wal_scanner_possible(scanner, &record))
            return damaged(scanner, here->sequence, scan->end,
                           "a whole record that cannot stand here");
        wal_scanner_take(scanner, &record);
    }
    wal_collect_flush(&scanner->collect);
    return CONCLAVE_OK;
}

/* Enters a segment whose header is whole; the first one, or right behind the walked one. */
static int enter(struct wal_scanner *scanner, size_t number, const struct wal_header *header)
{
    const struct wal_scan *scan = scanner->scan;
    const struct wal_scan_segment *segment = &scan->segments[number];
    if (header->sequence != segment->sequence)
        return damaged(scanner, segment->sequence, 0, "the header is another segment's");
    if (number > 0) {
        if (header->previous_end > scan->end ||
            (header->previous_end == scan->end && !wal_scanner_continues(scanner, header)))
            return damaged(
                scanner, segment->sequence - 1, scan->end,
                "a record that had been durable, as the next segment shows, is not valid");
        if (header->previous_end < scan->end || !raft_id_equal(header->last, scanner->collect.last))
            return damaged(scanner, segment->sequence, 0,
                           "the header does not continue the segment before");
    }
    wal_scanner_take_header(scanner, number, header);
    return CONCLAVE_OK;
}

/* What a start is going to write again, and to cut, as it is here. */
static void note_read(struct wal_scan *scan, const struct wal_loaded *here)
{
    const struct wal_scan_segment *segment = &scan->segments[scan->active];
    const uint64_t block = scan->end / IO_BLOCK_BYTES * IO_BLOCK_BYTES;
    scan->read_from = scan->batch < block ? scan->batch : block;
    scan->read_to = scan->end < segment->dirty_end ? segment->dirty_end : scan->end;
    scan->read_sum =
        XXH3_64bits(here->data + scan->read_from, (size_t)(scan->read_to - scan->read_from));
}

/* What stands behind the log's end in its own segment: is it only a torn batch? */
static int judge_rest(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    const struct wal_loaded *here = &scanner->here;
    struct wal_scan_segment *segment = &scan->segments[scan->active];
    wal_scanner_note_dirty(segment, here, scan->end);
    struct wal_record record;
    for (size_t at = (size_t)scan->end; at < segment->dirty_end; at += 8) {
        if (!wal_record_decode(here->data, here->bytes, at, here->key, &record))
            continue;
        if (record.batch > scan->end)
            return damaged(scanner, here->sequence, scan->end,
                           "a record that had been durable, as later ones show, is not valid");
        segment->torn_bytes = at + wal_record_bytes(record.payload.bytes) - scan->end;
    }
    note_read(scan, here);
    if (scanner->sums)
        segment->read_sum = XXH3_64bits(here->data, (size_t)scan->end);
    return CONCLAVE_OK;
}

/* A segment behind the end, whose header is not whole or which lies behind such a one: is it only
 * prepared, or a torn first batch? */
static int judge_behind(struct wal_scanner *scanner, size_t number, const struct wal_loaded *loaded)
{
    struct wal_scan *scan = scanner->scan;
    const struct wal_scan_segment *active = &scan->segments[scan->active];
    struct wal_scan_segment *segment = &scan->segments[number];
    wal_scanner_note_dirty(segment, loaded, 0);
    if (segment->dirty_end == 0)
        return CONCLAVE_OK;

    struct wal_header header;
    int code = wal_scanner_header(scanner, loaded, &header);
    if (code != CONCLAVE_CORRUPT && code != CONCLAVE_OK)
        return code;
    bool first = number == scan->active + 1;
    bool attests_first = code == CONCLAVE_OK && !first;
    struct wal_record record;
    for (size_t at = 0; at < segment->dirty_end && !attests_first; at += 8) {
        if (!wal_record_decode(loaded->data, loaded->bytes, at, loaded->key, &record))
            continue;
        segment->torn_bytes = at + wal_record_bytes(record.payload.bytes);
        /* Even a record of the first batch shows that everything before this segment was synced. */
        if (active->dirty_end > active->dirty_start || wal_scanner_misses(scanner, &record))
            return damaged(scanner, active->sequence, scan->end,
                           "a record that had been durable, as the next segment shows, is not "
                           "valid");
        attests_first = !first || record.batch > 0;
    }
    if (attests_first)
        return damaged(scanner, active->sequence + 1, 0,
                       "the header had been durable, as later records show, and is not valid");
    return CONCLAVE_OK;
}

/* --- The whole -------------------------------------------------------------------------------- */

/* Walks segment after segment up to the first whose header is not whole. */
static int walk_all(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    for (size_t number = 0; number < scan->segment_count; number++) {
        struct wal_header header;
        int code = wal_scanner_load(scanner, number, &scanner->next);
        if (code != CONCLAVE_OK)
            return code;
        code = wal_scanner_header(scanner, &scanner->next, &header);
        if (code == CONCLAVE_CORRUPT && number == 0)
            return damaged(scanner, scan->segments[0].sequence, 0, "the first header is not valid");
        if (code == CONCLAVE_CORRUPT)
            return CONCLAVE_OK;
        if (code == CONCLAVE_OK)
            code = enter(scanner, number, &header);
        if (code != CONCLAVE_OK)
            return code;
        wal_scanner_advance(scanner);
        code = walk(scanner);
        if (code != CONCLAVE_OK)
            return code;
        if (scanner->sums)
            scan->segments[number].read_sum = XXH3_64bits(scanner->here.data, scanner->here.bytes);
    }
    return CONCLAVE_OK;
}

/* All was walked: what the log holds. */
static int conclude(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    wal_collect_settle(&scanner->collect);
    scan->base = scanner->collect.base;
    scan->last = scanner->collect.last;
    wal_collect_finish(&scanner->collect, &scan->entries);
    if (scan->entries.entry_count == 0 && scan->base.index > 0 &&
        scan->base.term == WAL_TERM_UNKNOWN)
        return damaged(scanner, scan->segments[scan->active].sequence, scan->end,
                       "the log ends with entries that are not there");
    return CONCLAVE_OK;
}

/* The scanner is fresh, and gone then. */
static int scan_all(struct wal_scanner *scanner)
{
    struct wal_scan *scan = scanner->scan;
    *scan = (struct wal_scan){0};
    int code = wal_scanner_find(scanner);
    if (code == CONCLAVE_OK)
        code = wal_scanner_skip(scanner);
    if (code == CONCLAVE_OK)
        code = walk_all(scanner);
    if (code == CONCLAVE_OK)
        code = judge_rest(scanner);
    for (size_t i = scan->active + 1; i < scan->segment_count && code == CONCLAVE_OK; i++) {
        code = wal_scanner_load(scanner, i, &scanner->next);
        if (code == CONCLAVE_OK)
            code = judge_behind(scanner, i, &scanner->next);
    }
    if (code == CONCLAVE_OK)
        code = conclude(scanner);
    wal_scanner_deinit(scanner);
    return code;
}

int wal_scan_rehearse(const struct io *io, const char *wal_dir,
                      const struct storage_identity *identity, const struct wal_patch *patches,
                      size_t patch_count, struct wal_scan *ret, struct conclave_error *error)
{
    struct wal_scanner scanner = {.io = io,
                                  .dir = wal_dir,
                                  .identity = identity,
                                  .scan = ret,
                                  .patches = patches,
                                  .patch_count = patch_count,
                                  .error = error};
    return scan_all(&scanner);
}

int wal_scan_run(const struct io *io, const char *wal_dir, const struct storage_identity *identity,
                 bool sums, struct wal_scan *ret, struct conclave_error *error)
{
    struct wal_scanner scanner = {
        .io = io, .dir = wal_dir, .identity = identity, .scan = ret, .sums = sums, .error = error};
    return scan_all(&scanner);
}

int wal_scan_image(const char *wal_dir, const struct storage_identity *identity, uint64_t sequence,
                   uint8_t *segment, size_t bytes, struct wal_scan *ret,
                   struct conclave_error *error)
{
    *ret = (struct wal_scan){
        .segments = mem_zalloc(sizeof *ret->segments), .segment_count = 1, .segment_capacity = 1};
    ret->segments[0] = (struct wal_scan_segment){.sequence = sequence, .bytes = bytes};
    struct wal_scanner scanner = {.dir = wal_dir,
                                  .identity = identity,
                                  .scan = ret,
                                  .here = {.data = segment,
                                           .bytes = bytes,
                                           .sequence = sequence,
                                           .key = wal_key(identity, sequence)},
                                  .error = error};
    struct wal_header header;
    int code = wal_scanner_header(&scanner, &scanner.here, &header);
    if (code == CONCLAVE_CORRUPT)
        code = damaged(&scanner, sequence, 0, "the first header is not valid");
    if (code == CONCLAVE_OK)
        code = enter(&scanner, 0, &header);
    if (code == CONCLAVE_OK)
        code = walk(&scanner);
    if (code == CONCLAVE_OK)
        code = judge_rest(&scanner);
    if (code == CONCLAVE_OK)
        code = conclude(&scanner);
    scanner.here = (struct wal_loaded){0}; /* the caller's */
    wal_scanner_deinit(&scanner);
    return code;
}

void wal_scan_deinit(struct wal_scan *scan)
{
    raft_runs_clear(&scan->entries);
    wal_links_deinit(&scan->links);
    free(scan->segments);
    *scan = (struct wal_scan){0};
}
