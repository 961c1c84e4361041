#include "storage/wal_repair.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/wal_evidence.h"
#include "storage/wal_fill.h"
#include "storage/wal_mend.h"
#include "storage/wal_prove.h"
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

    size_t proving;         /* this hole is asked for by its checksum alone; NONE */
    bool farther;           /* with entries that may have replaced others before it */
    bool tried;             /* all that can be asked for was, since something came last */
    struct raft_runs proof; /* what has come for it */

    /* For those who ask this log: what was found, and what was proved since. */
    uint64_t doubtful;
    struct {
        struct wal_sure *items;
        size_t count, capacity;
    } sure;
};

static const size_t NONE = SIZE_MAX;

/* --- What is missing -------------------------------------------------------------------------- */

/* What this log has at an index: what a peer gave for a hole, else what was found. */
static const struct raft_entry *own_entry(const struct wal_repair *repair, uint64_t index)
{
    for (size_t i = repair->survey.holes.count; i > 0; i--) {
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
    repair->tried = false;
    raft_runs_clear(&repair->got);
}

static void add_sure(struct wal_repair *repair, uint64_t first, uint64_t last, uint64_t term)
{
    if (first > last)
        return;
    LIST_RESERVE(&repair->sure);
    repair->sure.items[repair->sure.count++] =
        (struct wal_sure){.first = first, .last = last, .term = term};
}

/* What others can be told of a hole: entries that were proved; those between two entries of one
 * term, which are its leader's, as the two are; the last one, if a record behind the hole names it.
 */
static void add_hole_sure(struct wal_repair *repair, size_t number)
{
    const struct wal_hole *hole = &repair->survey.holes.items[number];
    uint64_t last = hole->last < hole->behind.index ? hole->last : hole->behind.index;
    if (hole->proved) {
        struct raft_runs_iter iter = {0};
        const struct raft_entry *entry;
        while ((entry = raft_runs_next(&repair->filled[number], &iter)) != NULL)
            if (entry->id.index <= last)
                add_sure(repair, entry->id.index, entry->id.index, entry->id.term);
    } else if (!hole->bytes && hole->level) {
        add_sure(repair, hole->before.index + 1, last, hole->before.term);
    } else if (!hole->bytes && hole->sure_behind && last == hole->behind.index && last > 0) {
        add_sure(repair, last, last, hole->behind.term);
    }
}

static void find_sure(struct wal_repair *repair)
{
    repair->doubtful = 0;
    repair->sure.count = 0;
    for (size_t i = 0; i < repair->survey.holes.count; i++) {
        const struct wal_hole *hole = &repair->survey.holes.items[i];
        if (hole->doubtful && hole->last > repair->doubtful)
            repair->doubtful = hole->last;
        add_hole_sure(repair, i);
    }
}

int wal_repair_open(const struct io *io, const char *dir, const struct storage_identity *identity,
                    struct wal_repair **ret_repair, struct conclave_error *error)
{
    struct wal_repair *repair = mem_zalloc(sizeof *repair);
    repair->io = io;
    repair->dir = path_join(dir, "wal");
    repair->identity = *identity;
    repair->proving = NONE;
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
        hole->doubtful = !hole->bytes && !hole->certain;
    }
    find_sure(repair);
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
    free(repair->sure.items);
    raft_runs_clear(&repair->proof);
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
        const struct raft_entry *entry = own_entry(repair, index);
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
    if (repair->proving != NONE) {
        const struct wal_hole *hole = &repair->survey.holes.items[repair->proving];
        uint64_t from = wal_prove_from(hole, repair->farther);
        *ret = (struct wal_want){.prev = repair->proof.entry_count > 0
                                             ? raft_runs_last(&repair->proof)
                                             : (struct raft_id){.index = from},
                                 .last = hole->behind.index,
                                 .sequence = hole->sequence,
                                 .offset = hole->offset};
        return true;
    }
    const struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    *ret = (struct wal_want){.prev = repair->got.entry_count > 0 ? raft_runs_last(&repair->got)
                                                                 : own_id(repair, repair->floor),
                             .last = hole->last > repair->floor ? hole->last : repair->floor,
                             .anchor = anchor_behind(repair, doubtful_up_to(repair) + repair->skip),
                             .sequence = hole->sequence,
                             .offset = hole->offset};
    return true;
}

/* Goes to the next hole, from this one on, that can be asked for by its checksum; behind the last
 * one back to the nearest anchor. */
static void prove_next(struct wal_repair *repair, size_t from)
{
    const struct wal_survey *survey = &repair->survey;
    raft_runs_clear(&repair->proof);
    repair->farther = false;
    repair->skip = 0;
    repair->proving = from > repair->at ? from : repair->at;
    while (repair->proving < survey->holes.count &&
           !(hole_wants(repair, &survey->holes.items[repair->proving]) &&
             wal_prove_fits(&survey->holes.items[repair->proving])))
        repair->proving++;
    if (repair->proving < survey->holes.count)
        return;
    repair->proving = NONE;
    repair->tried = true;
}

/* What was asked for by its checksum is not to be had: once more with more entries, or the next. */
static void prove_on(struct wal_repair *repair)
{
    const struct wal_hole *hole = &repair->survey.holes.items[repair->proving];
    if (repair->farther || wal_prove_from(hole, true) == wal_prove_from(hole, false)) {
        prove_next(repair, repair->proving + 1);
        return;
    }
    raft_runs_clear(&repair->proof);
    repair->farther = true;
}

void wal_repair_turn(struct wal_repair *repair)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (repair->at == repair->survey.holes.count)
        return;
    if (repair->proving != NONE) {
        prove_on(repair);
        return;
    }
    uint64_t last = doubtful_up_to(repair);
    repair->skip = repair->skip == 0 ? 1 : 2 * repair->skip;
    if (last >= scan->last.index || repair->skip >= scan->last.index - last)
        prove_next(repair, 0);
}

bool wal_repair_is_nearest(const struct wal_repair *repair)
{
    return repair->skip == 0 && repair->proving == NONE;
}

bool wal_repair_is_tried(const struct wal_repair *repair)
{
    return repair->tried;
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
                                 .sure = repair->sure.items,
                                 .sure_count = repair->sure.count,
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

/* The entries of a log that does not know what comes before them follow this log's entry there if
 * the first is of its term: that term's leader made both, one behind the other in one log (5.3). */
static bool follows(const struct wal_repair *repair, struct raft_id own,
                    const struct raft_runs *entries)
{
    const struct raft_entry *entry = own_entry(repair, own.index);
    bool guessed = repair->got.entry_count == 0 && entry && wal_is_absent(entry);
    return !guessed && entries->entry_count > 0 && raft_runs_first(entries).term == own.term;
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

/* How many of the entries are not behind `last`. */
static uint64_t count_up_to(const struct raft_runs *entries, uint64_t last)
{
    struct raft_runs_iter iter = {0};
    uint64_t count = 0;
    const struct raft_entry *entry;
    while ((entry = raft_runs_next(entries, &iter)) != NULL && entry->id.index <= last)
        count++;
    return count;
}

/* What any log has where the hole is that is being proved. If its checksum says that this is what
 * stood there, nothing else needs to be known of that log. */
static void take_proof(struct wal_repair *repair, const struct wal_want *want,
                       const struct raft_runs *entries)
{
    const size_t number = repair->proving;
    struct wal_hole *hole = &repair->survey.holes.items[number];
    uint64_t count = count_up_to(entries, want->last);
    bool first = repair->proof.entry_count == 0;
    if (count == 0 || raft_runs_first(entries).index != want->prev.index + 1)
        return;
    raft_runs_slice(entries, want->prev.index + 1, count, UINT64_MAX, &repair->proof);
    if (raft_runs_last(&repair->proof).index < want->last)
        return;
    uint64_t begins = 0;
    uint8_t *bytes = wal_prove(hole, &repair->proof, &begins);
    if (!bytes && first) /* others may have what it was */
        raft_runs_clear(&repair->proof);
    else if (!bytes)
        prove_on(repair);
    if (!bytes)
        return;
    hole->bytes = bytes;
    hole->proved = true;
    if (begins > hole->before.index) /* else what it replaced is still shown as if it were there */
        hole->certain = true;
    hole->doubtful = !hole->certain;
    raft_runs_drop_front(&repair->proof, begins - 1);
    raft_runs_move(&repair->filled[number], &repair->proof);
    find_sure(repair);
    if (number == repair->at)
        advance(repair);
    prove_next(repair, number + 1);
    repair->tried = false;
}

int wal_repair_take(struct wal_repair *repair, struct raft_id prev, const struct raft_runs *entries,
                    struct conclave_error *error)
{
    struct wal_want want;
    if (!wal_repair_want(repair, &want) || prev.index != want.prev.index)
        return CONCLAVE_OK;
    if (repair->proving != NONE) {
        take_proof(repair, &want, entries);
        return CONCLAVE_OK;
    }
    if (prev.term == 0 && prev.index > 0) { /* it does not know */
        if (!follows(repair, want.prev, entries))
            return CONCLAVE_OK;
        prev = want.prev;
    }
    if (!believable(prev, entries, want.anchor))
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
    uint64_t count = count_up_to(entries, want.last);
    if (count > 0)
        raft_runs_slice(entries, prev.index + 1, count, UINT64_MAX, &repair->got);
    repair->tried = false;
    if (repair->floor + repair->got.entry_count >= want.last)
        fill(repair);
    return CONCLAVE_OK;
}

/* --- Writing ---------------------------------------------------------------------------------- */

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
                                        .bytes = wal_fill_make(hole, &repair->filled[i], error)};
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
