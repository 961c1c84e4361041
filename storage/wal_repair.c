#include "storage/wal_repair.h"

#include "base/fatal.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/wal_evidence.h"
#include "storage/wal_mend.h"
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
    uint64_t covered;  /* a snapshot here has all up to this index */
    uint64_t doubtful; /* as it was found: for those who ask this log */
};

/* --- What is missing -------------------------------------------------------------------------- */

/* What this log has at an index: what a peer gave for an earlier hole, else what was found. */
static const struct raft_entry *own_entry(const struct wal_repair *repair, uint64_t index)
{
    for (size_t i = repair->at; i > 0; i--) {
        const struct raft_runs *filled = &repair->filled[i - 1];
        const struct raft_entry *entry =
            index <= repair->survey.holes.items[i - 1].last ? raft_runs_find(filled, index) : NULL;
        if (entry)
            return entry;
    }
    return raft_runs_find(&repair->survey.scan.entries, index);
}

static struct raft_id own_id(const struct wal_repair *repair, uint64_t index)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (index <= scan->base.index)
        return scan->base;
    const struct raft_entry *entry = own_entry(repair, index);
    return entry ? entry->id : scan->last;
}

/* A snapshot here has all of the hole, and the log can begin behind that: behind the last entry in
 * it if its id is known, else behind the entry that follows, which the snapshot has as well. */
static bool hole_covered(const struct wal_repair *repair, const struct wal_hole *hole)
{
    bool known = hole->certain || (hole->named && hole->last == hole->behind.index);
    return known ? hole->last <= repair->covered : hole->last < repair->covered;
}

/* True if this log has the same at prev.index as the peer that answers has. The id of an absent
 * entry may be a guess: the same id shows nothing. What a snapshot here has is what all have. */
static bool agrees(const struct wal_repair *repair, struct raft_id own, struct raft_id prev)
{
    const struct raft_entry *entry =
        prev.index > repair->survey.scan.base.index ? own_entry(repair, prev.index) : NULL;
    if (entry && wal_is_absent(entry))
        return prev.index <= repair->covered;
    return own.term == prev.term;
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
    if (code == CONCLAVE_OK)
        code = wal_evidence_keep(io, repair->dir, &repair->survey, error);
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
        if (!hole->bytes && !hole->certain && hole->last > repair->doubtful)
            repair->doubtful = hole->last;
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
        if (entry && !wal_is_absent(entry))
            return entry->id;
    }
    return scan->last; /* a batch record names it, if it is absent itself */
}

/* What stands behind this index was written behind the hole at hand, and behind all those in which
 * something before may have been replaced: so it is in the log that the entries are put back into.
 */
static uint64_t doubtful_up_to(const struct wal_repair *repair)
{
    uint64_t index = repair->survey.holes.items[repair->at].last;
    for (size_t i = repair->at + 1; i < repair->survey.holes.count; i++) {
        const struct wal_hole *hole = &repair->survey.holes.items[i];
        if (!hole->certain && hole->last > index)
            index = hole->last;
    }
    return index;
}

bool wal_repair_want(const struct wal_repair *repair, struct wal_want *ret)
{
    if (repair->at == repair->survey.holes.count)
        return false;
    const struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    *ret = (struct wal_want){.prev = repair->got.entry_count > 0 ? raft_runs_last(&repair->got)
                                                                 : own_id(repair, repair->floor),
                             .last = hole->last > repair->floor ? hole->last : repair->floor,
                             .anchor = anchor_behind(repair, doubtful_up_to(repair) + repair->skip),
                             .sequence = hole->sequence,
                             .offset = hole->offset};
    return true;
}

void wal_repair_turn(struct wal_repair *repair)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (repair->at == repair->survey.holes.count)
        return;
    uint64_t last = doubtful_up_to(repair);
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

struct wal_supplier wal_repair_log(const struct wal_repair *repair)
{
    return (struct wal_supplier){.log = &repair->survey.scan.entries,
                                 .base = repair->survey.scan.base,
                                 .doubtful = repair->doubtful};
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
 * they were asked for only to find where the logs agree. So are those of a later term than what
 * stands behind the hole: they came later, in another one, in the place of what is lost here. */
static void fill(struct wal_repair *repair)
{
    struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    const struct raft_entry *first;
    for (uint64_t index = repair->floor + 1;
         index <= hole->prev.index && (first = raft_runs_find(&repair->got, index)) != NULL &&
         raft_id_equal(first->id, own_id(repair, index));
         index++)
        raft_runs_drop_front(&repair->got, index);
    while (repair->got.entry_count > 0 && raft_runs_last(&repair->got).term > hole->term_max)
        raft_runs_truncate(&repair->got, raft_runs_last(&repair->got).index);
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
    if (repair->got.entry_count > 0 ? prev.term != want.prev.term
                                    : !agrees(repair, want.prev, prev)) {
        uint64_t base = repair->survey.scan.base.index;
        if (repair->got.entry_count > 0)
            return CONCLAVE_OK;
        if (repair->survey.holes.items[repair->at].certain) { /* all of it was replaced later */
            fill(repair);
            return CONCLAVE_OK;
        }
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

int wal_repair_write(struct wal_repair *repair, struct conclave_error *error)
{
    const size_t count = repair->survey.holes.count;
    struct wal_patch *patches = mem_zalloc((count + 1) * sizeof *patches); /* never 0 */
    const struct wal_mending mending = {.io = repair->io,
                                        .dir = repair->dir,
                                        .identity = &repair->identity,
                                        .survey = &repair->survey,
                                        .patches = patches,
                                        .covered = repair->covered};
    int code = CONCLAVE_OK;
    ASSERT(repair->at == count);
    for (size_t i = 0; i < count && code == CONCLAVE_OK; i++) { /* before anything is changed */
        const struct wal_hole *hole = &repair->survey.holes.items[i];
        patches[i] = (struct wal_patch){.sequence = hole->sequence,
                                        .offset = hole->offset,
                                        .end = hole->end,
                                        .bytes = fill_bytes(repair, i, error)};
        code = patches[i].bytes ? CONCLAVE_OK : CONCLAVE_CORRUPT;
    }
    if (code == CONCLAVE_OK)
        code = wal_mend_rehearse(&mending, error);
    if (code == CONCLAVE_OK)
        code = wal_mend_write(&mending, error);
    for (size_t i = 0; i < count; i++)
        free(patches[i].bytes);
    free(patches);
    return code;
}

/* --- Giving ----------------------------------------------------------------------------------- */
