#include "storage/wal_past.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/wal_internal.h"
#include "storage/wal_scanner.h"

#include <stdlib.h>
#include <string.h>

/* What stood in a segment may have been replaced in a later one. That it was not is seen without
 * reading on to the end: as soon as the log, as it was written, holds the known entry, or one
 * before it that the leader of the known entry's term made in the same log, all before is as it is
 * now (log matching; paper, 5.3). */

struct reader {
    struct wal_scanner scanner;
    struct raft_id known;
    uint64_t to;       /* entries up to it are needed; not above known.index */
    uint64_t begin;    /* what is read begins where the log ended there, or before */
    uint64_t replaced; /* index of an entry in the place of what stood before that; 0: none */
    uint64_t bytes;    /* read so far */
};

static int gone(const struct reader *reader)
{
    return error_set(reader->scanner.error, CONCLAVE_NOT_FOUND,
                     "the entries are not in the log any more, or too far back");
}

static bool is_settled(const struct reader *reader)
{
    const struct wal_collect *collect = &reader->scanner.collect;
    const struct raft_id last = collect->last, known = reader->known;
    if (last.index < reader->to)
        return false;
    if (last.index <= known.index)
        return last.term == known.term;
    return raft_id_equal(wal_collect_below(collect, known.index + 1), known);
}

/* The header alone, which is written with the segment's first batch. NOT_FOUND: there is none. */
static int read_header(struct reader *reader, size_t number, struct wal_header *ret)
{
    const struct wal_scanner *scanner = &reader->scanner;
    const struct io *io = scanner->io;
    uint8_t bytes[WAL_HEADER_BYTES];
    size_t got = 0;
    char *path = wal_segment_path(scanner->dir, scanner->scan->segments[number].sequence);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_READ_ONLY, &file, scanner->error);
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    code = io->read(io->ctx, file, 0, bytes, sizeof bytes, &got, scanner->error);
    io->close(io->ctx, file);
    if (code == CONCLAVE_OK)
        code = wal_header_decode(bytes, got, scanner->identity, ret);
    return code == CONCLAVE_CORRUPT ? CONCLAVE_NOT_FOUND : code;
}

/* Leaves out the segments before the last one at whose beginning the log ended at `begin` or
 * before: what follows that was written in it or later. */
static int find_first(struct reader *reader)
{
    struct wal_scan *scan = reader->scanner.scan;
    for (size_t number = scan->segment_count; number > 0; number--) {
        struct wal_header header;
        int code = read_header(reader, number - 1, &header);
        if (code == CONCLAVE_NOT_FOUND) /* prepared for later, or damaged: walking shows it */
            continue;
        if (code != CONCLAVE_OK)
            return code;
        if (header.last.index > reader->begin) {
            if (header.previous == wal_link_begin(header.last))
                break; /* what stands before it is no part of the log */
            continue;
        }
        scan->segment_count -= number - 1;
        memmove(scan->segments, scan->segments + (number - 1),
                scan->segment_count * sizeof scan->segments[0]);
        return CONCLAVE_OK;
    }
    return gone(reader);
}

/* It was made for what comes next, and nothing is written to it yet. */
static bool is_prepared(const struct wal_loaded *segment)
{
    return segment->bytes >= WAL_HEADER_BYTES && bytes_zero(segment->data, WAL_HEADER_BYTES);
}

/* Goes into a segment: the first one, or right behind the walked one. */
static int enter(struct reader *reader, size_t number)
{
    struct wal_scanner *scanner = &reader->scanner;
    const struct wal_scan *scan = scanner->scan;
    struct wal_header header;
    int code = wal_scanner_load(scanner, number, &scanner->next);
    if (code != CONCLAVE_OK)
        return code;
    reader->bytes += scanner->next.bytes;
    if (reader->bytes > WAL_PAST_BYTES_MAX)
        return gone(reader);
    code = wal_scanner_header(scanner, &scanner->next, &header);
    if (code == CONCLAVE_OK && (header.sequence != scan->segments[number].sequence ||
                                (number > 0 && (!wal_scanner_continues(scanner, &header) ||
                                                header.previous_end != scan->end))))
        code = CONCLAVE_CORRUPT;
    if (code == CONCLAVE_CORRUPT && number + 1 == scan->segment_count &&
        is_prepared(&scanner->next))
        return gone(reader); /* the known entry is still to be written */
    if (code == CONCLAVE_CORRUPT)
        return error_set(scanner->error, code, "the log is damaged");
    if (code != CONCLAVE_OK)
        return code;
    wal_scanner_take_header(scanner, number, &header);
    wal_scanner_advance(scanner);
    return CONCLAVE_OK;
}

/* What stops the walk may replace entries from before its beginning: by a mend that stands between
 * it is not known then what it follows. */
static void note_replaced(struct reader *reader)
{
    const struct wal_scanner *scanner = &reader->scanner;
    const struct wal_loaded *here = &scanner->here;
    struct wal_record record;
    struct wal_mend mend;
    uint64_t first = 0;
    if (!wal_record_decode(here->data, here->bytes, (size_t)scanner->scan->end, here->key, &record))
        return;
    if (record.kind == WAL_ENTRY)
        first = record.id.index;
    else if (record.kind == WAL_MEND && wal_mend_begin(&record, &mend))
        first = mend.index;
    if (first <= scanner->collect.base.index)
        reader->replaced = first;
}

/* True as soon as what was read is settled; the last segment's end may just be being written. */
static bool walk(struct reader *reader)
{
    struct wal_scanner *scanner = &reader->scanner;
    const struct wal_scan *scan = scanner->scan;
    const struct wal_loaded *here = &scanner->here;
    struct wal_record record;
    bool settled = is_settled(reader);
    while (!settled &&
           wal_record_decode(here->data, here->bytes, (size_t)scan->end, here->key, &record) &&
           wal_scanner_chained(scanner, &record) && wal_scanner_possible(scanner, &record)) {
        wal_scanner_take(scanner, &record);
        settled = record.kind != WAL_MEND && is_settled(reader); /* its id may be a guess */
    }
    wal_collect_flush(&scanner->collect);
    if (!settled)
        note_replaced(reader);
    return settled;
}

static int read_once(struct reader *reader)
{
    const struct wal_scan *scan = reader->scanner.scan;
    reader->replaced = 0;
    int code = wal_scanner_find(&reader->scanner);
    if (code == CONCLAVE_OK)
        code = find_first(reader);
    for (size_t number = 0; code == CONCLAVE_OK; number++) {
        code = number < scan->segment_count ? enter(reader, number) : gone(reader);
        if (code == CONCLAVE_OK && walk(reader))
            break;
    }
    return code;
}

/* From as far back as it takes. */
static int read_all(struct reader *reader)
{
    int code = read_once(reader);
    while (code != CONCLAVE_OK && reader->replaced > 0 && reader->replaced <= reader->begin) {
        const struct wal_scanner *before = &reader->scanner;
        const struct wal_scanner fresh = {.io = before->io,
                                          .dir = before->dir,
                                          .identity = before->identity,
                                          .scan = before->scan,
                                          .error = before->error};
        reader->begin = reader->replaced - 1;
        wal_scanner_deinit(&reader->scanner);
        wal_scan_deinit(fresh.scan);
        reader->scanner = fresh;
        code = read_once(reader);
    }
    return code;
}

/* On success what was read is in *ret_entries behind *ret_base, and goes up to `to` at least. */
static int read_span(const struct wal_past *past, uint64_t from, uint64_t to,
                     struct raft_id *ret_base, struct raft_runs *ret_entries,
                     struct conclave_error *error)
{
    struct conclave_error own = {0};
    struct wal_scan scan = {0};
    char *wal_dir = path_join(past->dir, "wal");
    struct reader reader = {.scanner = {.io = past->io,
                                        .dir = wal_dir,
                                        .identity = past->identity,
                                        .scan = &scan,
                                        .error = &own},
                            .known = past->known,
                            .begin = from,
                            .to = to};
    int code = read_all(&reader);
    if (code == CONCLAVE_OK) {
        wal_collect_settle(&reader.scanner.collect); /* the log begins behind what a mend lacks */
        *ret_base = reader.scanner.collect.base;
        wal_collect_finish(&reader.scanner.collect, ret_entries);
        raft_runs_truncate(ret_entries, past->known.index + 1);
    } else if (error) {
        *error = own;
    }
    wal_scanner_deinit(&reader.scanner);
    wal_scan_deinit(&scan);
    free(wal_dir);
    return code;
}

int wal_past_supply(const struct wal_past *past, const struct wal_want *want, uint64_t bytes_max,
                    enum wal_supply *ret, struct raft_id *ret_prev, struct raft_runs *ret_entries,
                    struct conclave_error *error)
{
    struct wal_want here = *want;
    struct raft_runs entries = {0};
    struct wal_supplier log = {.log = &entries};
    bool behind = want->anchor.index == 0 || want->anchor.index > past->known.index;
    uint64_t to = behind ? want->last : want->anchor.index;
    if (to > past->known.index)
        to = past->known.index;
    if (want->prev.index > to)
        return error_set(error, CONCLAVE_INVALID, "that is in memory");
    int code = read_span(past, want->prev.index, to, &log.base, &entries, error);
    if (code != CONCLAVE_OK)
        return code;
    if (behind) /* what was read is before it, in the same log */
        here.anchor = entries.entry_count > 0 ? raft_runs_last(&entries) : log.base;
    if (here.last > here.anchor.index)
        here.last = here.anchor.index;
    *ret = wal_supply_from(&log, &here, bytes_max, ret_prev, ret_entries);
    raft_runs_clear(&entries);
    return CONCLAVE_OK;
}
