#include "storage/wal_repair.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/wal_internal.h"
#include "storage/wal_survey.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STEP_BACK_MAX = 64 };

struct wal_repair {
    const struct io *io;
    char *dir; /* DIR/wal */
    struct storage_identity identity;
    struct wal_survey survey;
    struct raft_runs *filled; /* by hole: the entries that go into it */

    size_t at;          /* the hole being filled */
    uint64_t floor;     /* its entries are asked for from behind here */
    uint64_t step_back; /* how much farther, if the peer has something else there */
    uint64_t skip;      /* the anchor stands so much farther behind the hole than it could */
    struct raft_runs got;
    uint64_t covered; /* a snapshot here has all up to this index */
};

/* --- What is missing -------------------------------------------------------------------------- */

static bool is_absent(const struct raft_entry *entry)
{
    return (int)entry->kind == WAL_ABSENT;
}

/* What this log has at an index: what a peer gave for an earlier hole, else what was found. */
static struct raft_id own_id(const struct wal_repair *repair, uint64_t index)
{
    const struct wal_scan *scan = &repair->survey.scan;
    for (size_t i = repair->at; i > 0; i--) {
        const struct raft_runs *filled = &repair->filled[i - 1];
        const struct raft_entry *entry =
            index <= repair->survey.holes.items[i - 1].last ? raft_runs_find(filled, index) : NULL;
        if (entry)
            return entry->id;
    }
    if (index <= scan->base.index)
        return scan->base;
    const struct raft_entry *entry = raft_runs_find(&scan->entries, index);
    return entry ? entry->id : scan->last;
}

/* A snapshot here has all of the hole, and the log can begin behind that: behind the last entry in
 * it if its id is known, else behind the entry that follows, which the snapshot has as well. */
static bool hole_covered(const struct wal_repair *repair, const struct wal_hole *hole)
{
    bool known = hole->certain || (hole->named && hole->last == hole->behind.index);
    return known ? hole->last <= repair->covered : hole->last < repair->covered;
}

static bool hole_wants(const struct wal_repair *repair, const struct wal_hole *hole)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (hole->bytes || hole->last < scan->base.index || hole->prev.index >= scan->last.index)
        return false;
    return (!hole->certain || hole->last > hole->prev.index) && !hole_covered(repair, hole);
}

/* Goes to the next hole that wants something. */
static void advance(struct wal_repair *repair)
{
    const struct wal_survey *survey = &repair->survey;
    while (repair->at < survey->holes.count &&
           !hole_wants(repair, &survey->holes.items[repair->at]))
        repair->at++;
    if (repair->at == survey->holes.count)
        return;
    repair->floor = survey->holes.items[repair->at].prev.index;
    if (repair->floor < survey->scan.base.index)
        repair->floor = survey->scan.base.index;
    repair->step_back = 1;
    repair->skip = 0;
    raft_runs_clear(&repair->got);
}

int wal_repair_open(const struct io *io, const char *dir, const struct storage_identity *identity,
                    struct wal_repair **ret_repair, struct conclave_error *error)
{
    struct wal_repair *repair = mem_zalloc(sizeof *repair);
    repair->io = io;
    repair->dir = path_join(dir, "wal");
    repair->identity = *identity;
    int code = wal_survey_run(io, repair->dir, identity, WAL_HOLES_MAX, &repair->survey, error);
    if (code != CONCLAVE_OK) {
        wal_repair_close(repair);
        return code;
    }
    repair->filled =
        mem_zalloc((repair->survey.holes.count + 1) * sizeof repair->filled[0]); /* never 0 */
    for (size_t i = 0; i < repair->survey.holes.count; i++) {
        struct wal_hole *hole = &repair->survey.holes.items[i];
        if (hole->prev.index > 0)
            hole->prev = own_id(repair, hole->prev.index);
    }
    advance(repair);
    *ret_repair = repair;
    return CONCLAVE_OK;
}

void wal_repair_close(struct wal_repair *repair)
{
    if (!repair)
        return;
    for (size_t i = 0; repair->filled && i < repair->survey.holes.count; i++)
        raft_runs_clear(&repair->filled[i]);
    free(repair->filled);
    raft_runs_clear(&repair->got);
    wal_survey_deinit(&repair->survey);
    free(repair->dir);
    free(repair);
}

/* The first entry behind an index that is here: whoever holds it has the same before it. */
static struct raft_id anchor_behind(const struct wal_repair *repair, uint64_t index)
{
    const struct wal_scan *scan = &repair->survey.scan;
    for (index++; index <= scan->last.index; index++) {
        const struct raft_entry *entry = raft_runs_find(&scan->entries, index);
        if (entry && !is_absent(entry))
            return entry->id;
    }
    return scan->last; /* a batch record names it, if it is absent itself */
}

bool wal_repair_want(const struct wal_repair *repair, struct wal_want *ret)
{
    if (repair->at == repair->survey.holes.count)
        return false;
    const struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    *ret = (struct wal_want){.prev = repair->got.entry_count > 0 ? raft_runs_last(&repair->got)
                                                                 : own_id(repair, repair->floor),
                             .last = hole->last > repair->floor ? hole->last : repair->floor,
                             .anchor = anchor_behind(repair, hole->last + repair->skip),
                             .sequence = hole->sequence,
                             .offset = hole->offset};
    return true;
}

void wal_repair_turn(struct wal_repair *repair)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (repair->at == repair->survey.holes.count)
        return;
    uint64_t last = repair->survey.holes.items[repair->at].last;
    repair->skip = repair->skip == 0 ? 1 : 2 * repair->skip;
    if (last >= scan->last.index || repair->skip >= scan->last.index - last)
        repair->skip = 0;
}

bool wal_repair_is_nearest(const struct wal_repair *repair)
{
    return repair->skip == 0;
}

uint64_t wal_repair_missing(const struct wal_repair *repair)
{
    uint64_t missing = 0;
    for (size_t i = repair->at; i < repair->survey.holes.count; i++) {
        const struct wal_hole *hole = &repair->survey.holes.items[i];
        if (hole_wants(repair, hole) && hole->last > hole->prev.index)
            missing += hole->last - hole->prev.index;
    }
    return missing - repair->got.entry_count;
}

uint64_t wal_repair_holes(const struct wal_repair *repair)
{
    return repair->survey.holes.count;
}

const struct raft_runs *wal_repair_log(const struct wal_repair *repair, struct raft_id *ret_base)
{
    *ret_base = repair->survey.scan.base;
    return &repair->survey.scan.entries;
}

void wal_repair_cover(struct wal_repair *repair, struct raft_id snapshot)
{
    if (snapshot.index <= repair->covered)
        return;
    repair->covered = snapshot.index;
    if (repair->at < repair->survey.holes.count &&
        !hole_wants(repair, &repair->survey.holes.items[repair->at]))
        advance(repair);
}

/* --- Taking what a peer has ------------------------------------------------------------------- */

/* True if the entries can follow `prev` and come before the anchor. */
static bool believable(struct raft_id prev, const struct raft_runs *entries, struct raft_id anchor)
{
    struct raft_runs_iter iter = {0};
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)) != NULL;) {
        if (entry->id.index != prev.index + 1 || entry->id.term < prev.term ||
            entry->id.term > anchor.term || entry->id.term == 0 ||
            entry->kind > RAFT_ENTRY_SESSION ||
            (entry->id.index == anchor.index && entry->id.term != anchor.term))
            return false;
        prev = entry->id;
    }
    return true;
}

/* The hole at hand has all its entries. Those that are in the log before it already are left out:
 * they were asked for only to find where the logs agree. */
static void fill(struct wal_repair *repair)
{
    struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    const struct raft_entry *first;
    for (uint64_t index = repair->floor + 1;
         index <= hole->prev.index && (first = raft_runs_find(&repair->got, index)) != NULL &&
         raft_id_equal(first->id, own_id(repair, index));
         index++)
        raft_runs_drop_front(&repair->got, index);
    raft_runs_move(&repair->filled[repair->at], &repair->got);
    hole->certain = true;
    repair->at++;
    advance(repair);
}

int wal_repair_take(struct wal_repair *repair, struct raft_id prev, const struct raft_runs *entries,
                    struct conclave_error *error)
{
    struct wal_want want;
    if (!wal_repair_want(repair, &want) || prev.index != want.prev.index ||
        !believable(prev, entries, want.anchor))
        return CONCLAVE_OK;
    if (prev.term != want.prev.term) {
        uint64_t base = repair->survey.scan.base.index;
        if (repair->got.entry_count > 0)
            return CONCLAVE_OK;
        if (repair->floor <= base)
            return error_set(error, CONCLAVE_CORRUPT,
                             "the log is damaged and has nothing in common with those of the "
                             "others behind index %" PRIu64,
                             base);
        repair->floor -=
            repair->step_back < repair->floor - base ? repair->step_back : repair->floor - base;
        if (repair->step_back < STEP_BACK_MAX)
            repair->step_back *= 2;
        return CONCLAVE_OK;
    }
    struct raft_runs_iter iter = {0};
    uint64_t count = 0;
    for (const struct raft_entry *entry;
         (entry = raft_runs_next(entries, &iter)) != NULL && entry->id.index <= want.last;)
        count++;
    if (count > 0)
        raft_runs_slice(entries, prev.index + 1, count, UINT64_MAX, &repair->got);
    if (repair->floor + repair->got.entry_count >= want.last)
        fill(repair);
    return CONCLAVE_OK;
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* The one entry of the hole, as it stood there: its checksum proves it. */
static bool put_entry(const struct wal_hole *hole, const struct raft_runs *entries, uint8_t *to)
{
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry = raft_runs_next(entries, &iter);
    if (!entry || entries->entry_count > 1 ||
        wal_record_bytes(entry->payload.bytes) != hole->end - hole->offset)
        return false;
    const struct wal_record record = {.previous = hole->chain,
                                      .offset = (uint32_t)hole->offset,
                                      .batch = (uint32_t)hole->batch_before,
                                      .kind = WAL_ENTRY,
                                      .entry_kind = (uint8_t)entry->kind,
                                      .id = entry->id,
                                      .payload = entry->payload};
    return wal_record_encode(to, hole->key, &record) == hole->stands_for;
}

/* The last entry as of behind the hole, for a mend with these entries. */
static struct raft_id behind_mend(const struct wal_hole *hole, const struct raft_runs *entries,
                                  struct raft_id before)
{
    if (hole->named)
        return hole->behind;
    if (!hole->certain) /* covered: what it replaced, and its own last term, are not known */
        return (struct raft_id){.term = WAL_TERM_UNKNOWN, .index = hole->behind.index};
    struct raft_id last = entries->entry_count > 0 ? raft_runs_last(entries) : before;
    if (last.index >= hole->behind.index)
        return last;
    return (struct raft_id){.term = last.term > 0 ? last.term : hole->behind.term,
                            .index = hole->behind.index};
}

/* One record for all that the hole held. */
static bool put_mend(const struct wal_hole *hole, const struct raft_runs *entries, uint8_t *to)
{
    uint64_t bytes = hole->end - hole->offset;
    uint64_t needed = WAL_MEND_BYTES;
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry;
    if (entries->entry_count > 0)
        needed += 8;
    while ((entry = raft_runs_next(entries, &iter)) != NULL)
        needed += wal_mend_entry_bytes(entry->payload.bytes);
    if (needed > bytes || bytes - WAL_RECORD_BYTES > WAL_PAYLOAD_BYTES_MAX)
        return false;
    uint8_t *payload = mem_zalloc((size_t)bytes - WAL_RECORD_BYTES);
    put_u64(payload, hole->stands_for);
    if (entries->entry_count > 0) {
        uint8_t *at = payload + WAL_MEND_ENTRIES_AT;
        put_u64(payload + 8, raft_runs_first(entries).index);
        iter = (struct raft_runs_iter){0};
        while ((entry = raft_runs_next(entries, &iter)) != NULL) {
            wal_mend_put(at, entry);
            at += wal_mend_entry_bytes(entry->payload.bytes);
        }
    }
    const struct wal_record record = {
        .previous = hole->chain,
        .offset = (uint32_t)hole->offset,
        .batch = hole->batch_behind,
        .kind = WAL_MEND,
        .id = behind_mend(hole, entries, hole->before),
        .payload = {.data = payload, .bytes = (size_t)bytes - WAL_RECORD_BYTES}};
    wal_record_encode(to, hole->key, &record);
    free(payload);
    return true;
}

/* Writes over the hole, in whole blocks where the disk fails to read, and reads it back. */
static int write_hole(const struct wal_repair *repair, const struct wal_hole *hole,
                      const uint8_t *bytes, struct wal_loaded *segment,
                      struct conclave_error *error)
{
    const struct io *io = repair->io;
    uint64_t from = hole->offset, to = hole->end;
    size_t got = 0;
    memcpy(segment->data + from, bytes, (size_t)(to - from));
    if (segment->unreadable) { /* what stands beside the hole in them was read */
        from -= from % WAL_SCANNER_BLOCK_BYTES;
        to += WAL_SCANNER_BLOCK_BYTES - 1 - (to - 1) % WAL_SCANNER_BLOCK_BYTES;
        to = to > segment->bytes ? segment->bytes : to;
    }
    char *path = wal_segment_path(repair->dir, hole->sequence);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, 0, &file, error);
    free(path);
    if (code != CONCLAVE_OK)
        return code;
    uint8_t *back = mem_alloc((size_t)(to - from));
    struct iovec part = {.iov_base = segment->data + from, .iov_len = (size_t)(to - from)};
    code = io->writev(io->ctx, file, from, &part, 1, error);
    if (code == CONCLAVE_OK)
        code = io->datasync(io->ctx, file, error);
    if (code == CONCLAVE_OK)
        code = io->read(io->ctx, file, from, back, part.iov_len, &got, error);
    if (code == CONCLAVE_OK &&
        (got != part.iov_len || memcmp(back, segment->data + from, part.iov_len) != 0))
        code = error_set(error, CONCLAVE_IO,
                         "segment %016" PRIx64 ".wal does not hold what was written to it",
                         hole->sequence);
    free(back);
    io->close(io->ctx, file);
    return code;
}

/* What goes into a hole, to be freed; NULL: what the peers gave does not fit. */
static uint8_t *fill_bytes(const struct wal_repair *repair, size_t number,
                           struct conclave_error *error)
{
    const struct wal_hole *hole = &repair->survey.holes.items[number];
    const struct raft_runs *entries = &repair->filled[number];
    size_t size = (size_t)(hole->end - hole->offset);
    uint8_t *bytes = mem_zalloc(size);
    if (hole->bytes) {
        memcpy(bytes, hole->bytes, size);
    } else if (!put_entry(hole, entries, bytes) && !put_mend(hole, entries, bytes)) {
        free(bytes);
        error_set(error, CONCLAVE_CORRUPT,
                  "segment %016" PRIx64 ".wal, offset %" PRIu64
                  ": what the other nodes have does not fit there",
                  hole->sequence, hole->offset);
        return NULL;
    }
    return bytes;
}

static int mend(struct wal_repair *repair, size_t number, struct conclave_error *error)
{
    const struct wal_hole *hole = &repair->survey.holes.items[number];
    struct wal_scanner scanner = {.io = repair->io,
                                  .dir = repair->dir,
                                  .identity = &repair->identity,
                                  .scan = &repair->survey.scan,
                                  .patient = true,
                                  .error = error};
    int code = wal_scanner_load(&scanner, hole->number, &scanner.next);
    if (code == CONCLAVE_OK && hole->end > scanner.next.bytes)
        code = error_set(error, CONCLAVE_IO, "the log became shorter while it was read");
    uint8_t *bytes = code == CONCLAVE_OK ? fill_bytes(repair, number, error) : NULL;
    if (code == CONCLAVE_OK)
        code = bytes ? write_hole(repair, hole, bytes, &scanner.next, error) : CONCLAVE_CORRUPT;
    wal_scanner_deinit(&scanner);
    free(bytes);
    return code;
}

/* The next start writes everything once more, whatever happens to this process or to a sync. */
static int mark_mending(const struct wal_repair *repair, struct conclave_error *error)
{
    const struct io *io = repair->io;
    char *path = path_join(repair->dir, WAL_MENDING_NAME);
    struct io_file *file = NULL;
    int code = io->open(io->ctx, path, IO_OPEN_CREATE, &file, error);
    if (code == CONCLAVE_OK)
        io->close(io->ctx, file);
    if (code == CONCLAVE_OK || code == CONCLAVE_EXISTS)
        code = io->sync_dir(io->ctx, repair->dir, error);
    free(path);
    return code;
}

int wal_repair_write(struct wal_repair *repair, struct conclave_error *error)
{
    ASSERT(repair->at == repair->survey.holes.count);
    for (size_t i = 0; i < repair->survey.holes.count; i++) { /* before anything is changed */
        uint8_t *bytes = fill_bytes(repair, i, error);
        if (!bytes)
            return CONCLAVE_CORRUPT;
        free(bytes);
    }
    int code = mark_mending(repair, error);
    for (size_t i = 0; i < repair->survey.holes.count && code == CONCLAVE_OK; i++)
        code = mend(repair, i, error);
    return code;
}

/* --- Giving ----------------------------------------------------------------------------------- */

enum wal_supply wal_supply_from(const struct raft_runs *log, struct raft_id base,
                                const struct wal_want *want, uint64_t bytes_max,
                                struct raft_id *ret_prev, struct raft_runs *ret_entries)
{
    if (want->anchor.index <= base.index && !raft_id_equal(want->anchor, base))
        return WAL_SUPPLY_COMPACTED;
    const struct raft_entry *entry = raft_runs_find(log, want->anchor.index);
    if (want->anchor.index > base.index) {
        if (entry && is_absent(entry))
            return WAL_SUPPLY_LATER;
        if (!entry || entry->id.term != want->anchor.term)
            return WAL_SUPPLY_ABSENT;
    }
    if (want->prev.index < base.index)
        return WAL_SUPPLY_COMPACTED;
    struct raft_id prev = base;
    if (want->prev.index > base.index) {
        entry = raft_runs_find(log, want->prev.index);
        if (!entry || is_absent(entry))
            return WAL_SUPPLY_LATER;
        prev = entry->id;
    }
    uint64_t count = 0, bytes = 0, last = want->last;
    if (last > want->anchor.index)
        last = want->anchor.index;
    for (uint64_t index = prev.index + 1; index <= last; index++) {
        entry = raft_runs_find(log, index);
        if (!entry || is_absent(entry))
            break;
        bytes += entry->payload.bytes;
        if (count > 0 && bytes > bytes_max)
            break;
        count++;
    }
    if (count == 0 && prev.index < last)
        return WAL_SUPPLY_LATER;
    *ret_prev = prev;
    if (count > 0)
        raft_runs_slice(log, prev.index + 1, count, UINT64_MAX, ret_entries);
    return WAL_SUPPLY_HERE;
}
