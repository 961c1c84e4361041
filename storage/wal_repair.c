/* What is wanted of others, and writing what they gave. */
#include "storage/wal_repair_internal.h"

#include "base/fatal.h"
#include "base/list.h"
#include "storage/block.h"
#include "storage/bytes.h"
#include "storage/wal_evidence.h"
#include "storage/wal_fill.h"
#include "storage/wal_mend.h"
#include "storage/wal_transcript.h"

#include <stdio.h>
#include <stdlib.h>

/* --- What is missing -------------------------------------------------------------------------- */

static bool is_unchanged(const struct wal_repair *repair, size_t number);

/* Right behind so many holes something else than in the end is shown to have been there. */
static bool is_denied(const struct wal_repair *repair, size_t holes, uint64_t index)
{
    const struct wal_survey *survey = &repair->survey;
    for (size_t i = 0; i < survey->witnesses.count; i++) {
        const struct wal_witness *witness = &survey->witnesses.items[i];
        if (witness->holes == holes && witness->index == index)
            return wal_links_find(&survey->sure, index) != witness->link;
    }
    return false;
}

/* What the holes before this one have there; *ret_lost: it was there and is gone, or did not come
 * back. */
static const struct raft_entry *find_filled(const struct wal_repair *repair, size_t number,
                                            uint64_t index, bool *ret_lost)
{
    *ret_lost = false;
    for (size_t i = number; i > 0 && !*ret_lost; i--) {
        const struct wal_hole *hole = &repair->survey.holes.items[i - 1];
        *ret_lost = is_denied(repair, i, index);
        if (*ret_lost)
            break;
        const struct raft_entry *entry =
            index <= hole->last ? raft_runs_find(&repair->filled[i - 1], index) : NULL;
        if (entry)
            return entry;
        *ret_lost = (index >= hole->lost && index <= hole->behind.index) ||
                    (index == hole->behind.index && !hole->named && !is_unchanged(repair, i - 1));
    }
    return NULL;
}

/* Another entry follows the hole: was the one before that there before the hole? Else it came in
 * the hole. */
static bool is_unchanged(const struct wal_repair *repair, size_t number)
{
    const struct wal_hole *hole = &repair->survey.holes.items[number];
    bool lost;
    return hole->unchanged || hole->bytes ||
           (hole->lost == UINT64_MAX && repair->filled[number].entry_count == 0 &&
            wal_links_find(&repair->survey.sure, hole->behind.index) == hole->stands_for &&
            find_filled(repair, number, hole->behind.index, &lost));
}

const struct raft_entry *wal_repair_entry(const struct wal_repair *repair, uint64_t index)
{
    bool lost;
    const struct raft_entry *entry = find_filled(repair, repair->survey.holes.count, index, &lost);
    return entry ? entry : raft_runs_find(&repair->survey.scan.entries, index);
}

struct raft_id wal_repair_id(const struct wal_repair *repair, uint64_t index)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (index <= scan->base.index)
        return scan->base;
    const struct raft_entry *entry = wal_repair_entry(repair, index);
    return entry ? entry->id : scan->last;
}

/* A snapshot here has all of the hole, and the log can begin behind that: behind the last entry in
 * it if its id is known, else behind the entry that follows, which the snapshot has as well. */
static bool hole_covered(const struct wal_repair *repair, const struct wal_hole *hole)
{
    bool known = hole->certain || (hole->named && hole->last == hole->behind.index);
    return known ? hole->last <= repair->covered.index : hole->last < repair->covered.index;
}

bool wal_repair_wants(const struct wal_repair *repair, const struct wal_hole *hole)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (hole->bytes || hole->done || hole->last < scan->base.index ||
        hole->prev.index >= scan->last.index)
        return false;
    return (!hole->certain || hole->last > hole->prev.index) && !hole_covered(repair, hole);
}

bool wal_repair_wants_id(const struct wal_repair *repair, const struct wal_hole *hole)
{
    const struct raft_id covered = repair->covered;
    return wal_repair_wants(repair, hole) && !hole->named && hole->last == hole->behind.index &&
           hole->last == covered.index && !raft_id_equal(repair->denied, covered);
}

void wal_repair_advance(struct wal_repair *repair)
{
    const struct wal_survey *survey = &repair->survey;
    while (repair->at < survey->holes.count &&
           !wal_repair_wants(repair, &survey->holes.items[repair->at]))
        repair->at++;
    if (repair->at == survey->holes.count)
        return;
    const struct wal_hole *hole = &survey->holes.items[repair->at];
    repair->floor = wal_repair_wants_id(repair, hole) ? hole->last : hole->prev.index;
    if (repair->floor < survey->scan.base.index)
        repair->floor = survey->scan.base.index;
    repair->step_back = 1;
    repair->skip = 0;
    repair->tried = false;
    raft_runs_clear(&repair->got);
}

static void add_sure(struct wal_repair *repair, uint64_t first, uint64_t last, uint64_t term)
{
    struct wal_sure *before =
        repair->sure.count > 0 ? &repair->sure.items[repair->sure.count - 1] : NULL;
    if (first > last)
        return;
    if (before && before->term == term && before->last + 1 == first) {
        before->last = last;
        return;
    }
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
    if (hole->done) {
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

void wal_repair_find_sure(struct wal_repair *repair)
{
    repair->doubtful = repair->survey.scan.absent_unsure; /* by mends */
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
    repair->proof.hole = WAL_NO_PROOF;
    repair->peers = 1;
    int code = wal_survey_run(io, repair->dir, identity, WAL_HOLES_MAX, &repair->survey, error);
    if (code == CONCLAVE_OK)
        code = wal_evidence_keep(io, repair->dir, identity, &repair->survey, error);
    if (code != CONCLAVE_OK) {
        wal_repair_close(repair);
        return code;
    }
    repair->filled =
        mem_zalloc((repair->survey.holes.count + 1) * sizeof repair->filled[0]); /* never 0 */
    for (size_t i = 0; i < repair->survey.holes.count; i++) {
        struct wal_hole *hole = &repair->survey.holes.items[i];
        if (hole->prev.index > 0)
            hole->prev = wal_repair_id(repair, hole->prev.index);
        hole->doubtful = !hole->bytes && !hole->certain;
    }
    wal_repair_find_sure(repair);
    wal_repair_advance(repair);
    *ret_repair = repair;
    return CONCLAVE_OK;
}

void wal_repair_ask(struct wal_repair *repair, uint32_t peers)
{
    repair->peers = peers;
}

void wal_repair_close(struct wal_repair *repair)
{
    if (!repair)
        return;
    for (size_t i = 0; repair->filled && i < repair->survey.holes.count; i++)
        raft_runs_clear(&repair->filled[i]);
    free(repair->filled);
    free(repair->sure.items);
    wal_repair_prove_end(repair);
    raft_runs_clear(&repair->got);
    wal_survey_deinit(&repair->survey);
    free(repair->dir);
    free(repair);
}

bool wal_repair_sure_id(const struct wal_repair *repair, uint64_t index, struct raft_id *ret)
{
    for (size_t i = 0; i < repair->sure.count; i++) {
        const struct wal_sure *sure = &repair->sure.items[i];
        if (index < sure->first || index > sure->last)
            continue;
        *ret = (struct raft_id){.term = sure->term, .index = index};
        return true;
    }
    return false;
}

/* The last entry lost in the hole at hand is named by what stands behind the hole, and nothing
 * further on may have replaced it: it is as good as an entry that is here. */
static bool is_named(const struct wal_repair *repair)
{
    const struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    for (size_t i = repair->at + 1; i < repair->survey.holes.count; i++)
        if (!repair->survey.holes.items[i].certain)
            return false;
    return hole->sure_behind && hole->last == hole->behind.index && hole->last > hole->prev.index;
}

/* The first entry behind an index whose id is known here: whoever holds it has the same before it.
 */
static struct raft_id anchor_behind(const struct wal_repair *repair, uint64_t index)
{
    const struct wal_scan *scan = &repair->survey.scan;
    struct raft_id id;
    if (repair->skip == 0 && is_named(repair))
        return repair->survey.holes.items[repair->at].behind;
    for (index++; index <= scan->last.index; index++) {
        const struct raft_entry *entry = wal_repair_entry(repair, index);
        if (entry && !wal_is_absent(entry))
            return entry->id;
        if (wal_repair_sure_id(repair, index, &id))
            return id;
    }
    return scan->last; /* a batch record names it, if it is absent itself */
}

uint64_t wal_repair_doubtful(const struct wal_repair *repair)
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
    const struct wal_proof *proof = &repair->proof;
    if (proof->hole != WAL_NO_PROOF) {
        const struct wal_hole *hole = &repair->survey.holes.items[proof->hole];
        *ret = (struct wal_want){.prev = {.index = proof->next},
                                 .last = proof->to,
                                 .giver = proof->giver,
                                 .sequence = hole->sequence,
                                 .offset = hole->offset};
        return true;
    }
    const struct wal_hole *hole = &repair->survey.holes.items[repair->at];
    *ret = (struct wal_want){
        .prev = repair->got.entry_count > 0 ? raft_runs_last(&repair->got)
                                            : wal_repair_id(repair, repair->floor),
        .last = hole->last > repair->floor ? hole->last : repair->floor,
        .anchor = anchor_behind(repair, wal_repair_doubtful(repair) + repair->skip),
        .sequence = hole->sequence,
        .offset = hole->offset};
    return true;
}

void wal_repair_turn(struct wal_repair *repair)
{
    const struct wal_scan *scan = &repair->survey.scan;
    if (repair->at == repair->survey.holes.count)
        return;
    if (repair->proof.hole != WAL_NO_PROOF) {
        wal_repair_prove_on(repair);
        return;
    }
    uint64_t last = wal_repair_doubtful(repair);
    repair->skip = repair->skip == 0 ? 1 : 2 * repair->skip;
    if (last >= scan->last.index || repair->skip >= scan->last.index - last)
        wal_repair_prove(repair, 0);
}

bool wal_repair_is_nearest(const struct wal_repair *repair)
{
    return repair->skip == 0 && repair->proof.hole == WAL_NO_PROOF;
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
        if (wal_repair_wants(repair, hole) && hole->last > hole->prev.index)
            missing += hole->last - hole->prev.index;
    }
    return missing > repair->got.entry_count ? missing - repair->got.entry_count : 0;
}

uint64_t wal_repair_holes(const struct wal_repair *repair)
{
    return repair->survey.holes.count;
}

struct wal_supplier wal_repair_log(const struct wal_repair *repair)
{
    return (struct wal_supplier){.log = &repair->survey.scan.entries,
                                 .base = repair->survey.scan.base,
                                 .no_past = true,
                                 .sure = repair->sure.items,
                                 .sure_count = repair->sure.count,
                                 .doubtful = repair->doubtful};
}

void wal_repair_cover(struct wal_repair *repair, struct raft_id snapshot)
{
    if (snapshot.index <= repair->covered.index)
        return;
    repair->covered = snapshot;
    const size_t proving = repair->proof.hole;
    if (repair->at < repair->survey.holes.count &&
        (!wal_repair_wants(repair, &repair->survey.holes.items[repair->at]) ||
         wal_repair_wants_id(repair, &repair->survey.holes.items[repair->at])))
        wal_repair_advance(repair);
    if (proving == WAL_NO_PROOF || wal_repair_wants(repair, &repair->survey.holes.items[proving]))
        return;
    wal_repair_prove(repair, 0);
    repair->tried = false;
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* What stood in each hole, as far as that is known. CORRUPT: of one it does not fit there. */
static int make_patches(struct wal_repair *repair, struct wal_patch *patches,
                        struct conclave_error *error)
{
    for (size_t i = 0; i < repair->survey.holes.count; i++) {
        struct wal_hole *hole = &repair->survey.holes.items[i];
        hole->unchanged = !hole->named && is_unchanged(repair, i);
        patches[i] = (struct wal_patch){
            .sequence = hole->sequence,
            .offset = hole->offset,
            .end = hole->end,
            .bytes = wal_fill_make(hole, &repair->survey, &repair->filled[i], repair->told, error)};
        if (!patches[i].bytes)
            return CONCLAVE_CORRUPT;
    }
    return CONCLAVE_OK;
}

/* All entries are here, and cannot be put where they stood: then into a segment of their own.
 * `code`, with what was said in *error: not all are. */
static int write_transcript(struct wal_repair *repair, int code, struct conclave_error *error)
{
    struct raft_runs entries = {0};
    struct wal_transcript transcript = {.io = repair->io,
                                        .dir = repair->dir,
                                        .identity = &repair->identity,
                                        .seen = &repair->survey.scan,
                                        .entries = &entries};
    wal_repair_trace_links(repair);
    if (wal_repair_tell(repair, &transcript.base, &entries))
        code = wal_transcript_write(&transcript, error);
    repair->anew = code == CONCLAVE_OK;
    raft_runs_clear(&entries);
    return code;
}

int wal_repair_write_anew(struct wal_repair *repair, struct conclave_error *error)
{
    ASSERT(repair->at == repair->survey.holes.count);
    int code = error_set(error, CONCLAVE_NOT_FOUND, "the links do not tell all of the log in %s",
                         repair->dir);
    return write_transcript(repair, code, error);
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
    ASSERT(repair->at == count);
    int code = make_patches(repair, patches, error); /* before anything is changed */
    if (code == CONCLAVE_OK)
        code = wal_mend_rehearse(&mending, error);
    if (code == CONCLAVE_OK)
        code = wal_mend_write(&mending, error);
    else if (code == CONCLAVE_CORRUPT)
        code = write_transcript(repair, code, error);
    for (size_t i = 0; i < count; i++)
        free(patches[i].bytes);
    free(patches);
    return code;
}

bool wal_repair_is_anew(const struct wal_repair *repair)
{
    return repair->anew;
}
