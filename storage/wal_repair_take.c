/* What peers give, and which of it is taken. */
#include "storage/wal_repair_internal.h"

#include "base/fatal.h"
#include "storage/wal_fill.h"

#include <inttypes.h>

enum { STEP_BACK_MAX = 64 };

/* True if this log has the same at prev.index as the peer that answers has. The id of an absent
 * entry may be a guess: the same id shows nothing. What a snapshot here has is what all have. */
static bool agrees(const struct wal_repair *repair, struct raft_id own, struct raft_id prev)
{
    const struct raft_entry *entry =
        prev.index > repair->survey.scan.base.index ? wal_repair_entry(repair, prev.index) : NULL;
    if (entry && wal_is_absent(entry))
        return prev.index <= repair->covered.index;
    return own.term == prev.term;
}

/* True if it also has the same where the entry is lost here and its id is no guess. */
static bool agrees_before(const struct wal_repair *repair, struct raft_id own, struct raft_id prev)
{
    struct raft_id lost;
    return agrees(repair, own, prev) ||
           (wal_repair_sure_id(repair, prev.index, &lost) && raft_id_equal(lost, prev));
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
    const struct raft_entry *entry = wal_repair_entry(repair, own.index);
    bool guessed = repair->got.entry_count == 0 && entry && wal_is_absent(entry);
    return !guessed && entries->entry_count > 0 && raft_runs_first(entries).term == own.term;
}

/* The last one came later, in another hole: here stood something else. */
static bool is_later(const struct wal_repair *repair, size_t number,
                     const struct raft_runs *entries)
{
    const struct wal_survey *survey = &repair->survey;
    const struct wal_hole *hole = &survey->holes.items[number];
    const struct raft_id last = raft_runs_last(entries);
    for (size_t i = 0; i < survey->witnesses.count; i++) {
        const struct wal_witness *witness = &survey->witnesses.items[i];
        if (witness->holes > number && witness->index == last.index &&
            wal_repair_leads_elsewhere(repair, entries, witness->link))
            return true;
    }
    return last.term > hole->term_max ||
           (last.index == hole->behind.index &&
            ((hole->named && last.term != hole->behind.term) ||
             wal_repair_leads_elsewhere(repair, entries, hole->stands_for)));
}

static bool may_come_later(const struct wal_repair *repair, size_t number)
{
    for (size_t i = number + 1; i < repair->survey.holes.count; i++)
        if (!repair->survey.holes.items[i].certain)
            return true;
    return false;
}

/* Those that are in the log before the hole already are left out: they were asked for only to find
 * where the logs agree. So are those that came later, in another one, in the place of what is lost
 * here. From which one on they did is not always known: then from where there is no room for more.
 */
void wal_repair_fill(struct wal_repair *repair, size_t number, uint64_t floor,
                     struct raft_runs *entries)
{
    struct wal_hole *hole = &repair->survey.holes.items[number];
    const struct raft_entry *first;
    if (hole->last > hole->prev.index)
        raft_runs_truncate(entries, hole->last + 1);
    else
        raft_runs_truncate(entries, hole->prev.index + 1);
    for (uint64_t index = floor + 1;
         index <= hole->prev.index && (first = raft_runs_find(entries, index)) != NULL &&
         agrees(repair, wal_repair_id(repair, index), first->id);
         index++)
        raft_runs_drop_front(entries, index);
    const bool later = may_come_later(repair, number);
    while (entries->entry_count > 0 &&
           (is_later(repair, number, entries) || (later && !wal_fill_has_room(hole, entries))))
        raft_runs_truncate(entries, raft_runs_last(entries).index);
    raft_runs_move(&repair->filled[number], entries);
    wal_repair_learn(repair, number);
    hole->certain = true;
}

/* Whoever holds the anchor has this entry, and so has the log. */
static void note_told(struct wal_repair *repair, struct raft_id id)
{
    if (id.index == repair->covered.index)
        repair->told = id;
}

/* All that was wanted is which entry stands where a snapshot here ends. */
static void take_told(struct wal_repair *repair, struct raft_id prev)
{
    note_told(repair, prev);
    if (!raft_id_equal(prev, repair->covered)) {
        repair->denied = repair->covered;
        wal_repair_advance(repair);
        return;
    }
    repair->survey.holes.items[repair->at].certain = true;
    repair->at++;
    wal_repair_advance(repair);
}

/* The hole at hand has all its entries. */
static void fill(struct wal_repair *repair)
{
    const struct raft_entry *covered = raft_runs_find(&repair->got, repair->covered.index);
    if (covered)
        note_told(repair, covered->id);
    wal_repair_keep(repair, &repair->got);
    wal_repair_fill(repair, repair->at, repair->floor, &repair->got);
    repair->at++;
    wal_repair_advance(repair);
}

uint64_t wal_repair_count(const struct raft_runs *entries, uint64_t last)
{
    struct raft_runs_iter iter = {0};
    uint64_t count = 0;
    const struct raft_entry *entry;
    while ((entry = raft_runs_next(entries, &iter)) != NULL && entry->id.index <= last)
        count++;
    return count;
}

/* All that was asked for is here, and the links say that it is not what stood there: whoever gave
 * it has another log after all, or other bytes. Of what came later holes may have put in its place
 * the links say nothing. */
static bool is_wrong(const struct wal_repair *repair, uint64_t last)
{
    for (size_t i = repair->at + 1; i < repair->survey.holes.count; i++)
        if (!repair->survey.holes.items[i].certain)
            return false;
    return wal_repair_disproved(repair, repair->floor, last, &repair->got);
}

int wal_repair_take(struct wal_repair *repair, struct raft_id prev, const struct raft_runs *entries,
                    struct conclave_error *error)
{
    struct wal_want want;
    if (!wal_repair_want(repair, &want))
        return CONCLAVE_OK;
    if (repair->proof.hole != WAL_NO_PROOF) {
        wal_repair_prove_take(repair, entries);
        return CONCLAVE_OK;
    }
    if (prev.index != want.prev.index)
        return CONCLAVE_OK;
    if (prev.term == 0 && prev.index > 0) { /* it does not know */
        if (!follows(repair, want.prev, entries))
            return CONCLAVE_OK;
        prev = want.prev;
    }
    if (!believable(prev, entries, want.anchor))
        return CONCLAVE_OK;
    if (wal_repair_wants_id(repair, &repair->survey.holes.items[repair->at])) {
        take_told(repair, prev);
        return CONCLAVE_OK;
    }
    if (repair->got.entry_count > 0 ? prev.term != want.prev.term
                                    : !agrees_before(repair, want.prev, prev)) {
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
    note_told(repair, prev);
    uint64_t count = wal_repair_count(entries, want.last);
    if (count > 0)
        raft_runs_slice(entries, prev.index + 1, count, UINT64_MAX, &repair->got);
    repair->tried = false;
    if (repair->floor + repair->got.entry_count < want.last)
        return CONCLAVE_OK;
    if (is_wrong(repair, want.last)) {
        raft_runs_clear(&repair->got);
        return error_set(error, CONCLAVE_INVALID,
                         "the entries up to %" PRIu64 " are not what was written there", want.last);
    }
    fill(repair);
    return CONCLAVE_OK;
}
