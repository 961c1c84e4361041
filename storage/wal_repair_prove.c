/* Repair without anyone's word for it: whatever others have between two entries whose links are
 * known here is what stood there if it leads from the one link to the other. Links cover all that
 * is before them in the log, so nothing has to be known of the logs that it comes from, nor in
 * which batches it was written. Each of the others is asked in turn for all that it has of the
 * stretch: what one shows may have been replaced in a hole of its own, so all are tried together.
 */
#include "storage/wal_repair_internal.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

enum { STEPS = 6 }; /* how often it is tried from farther back */

/* --- What is asked for ------------------------------------------------------------------------ */

void wal_repair_forget(struct wal_proof *proof)
{
    for (size_t i = 0; i < proof->parts.count; i++)
        raft_runs_clear(&proof->parts.items[i]);
    proof->parts.count = 0;
}

void wal_repair_prove_end(struct wal_repair *repair)
{
    wal_repair_forget(&repair->proof);
    free(repair->proof.parts.items);
    for (size_t i = 0; i < repair->came.count; i++)
        raft_runs_clear(&repair->came.items[i]);
    free(repair->came.items);
}

/* The first entry from the hole's last one on whose link is known; 0: there is none. */
static uint64_t find_to(const struct wal_repair *repair, const struct wal_hole *hole)
{
    const uint64_t last = repair->survey.scan.last.index;
    uint64_t to = hole->last > hole->prev.index ? hole->last : hole->prev.index;
    while (to <= last && wal_repair_link(repair, to) == WAL_LINK_UNKNOWN)
        to++;
    return to <= last ? to : 0;
}

/* An entry before `to` whose link is shown, in this step: what is before the hole first, then
 * farther back, since something before the hole may have been replaced in it, or be missing too.
 * That it is still there shows when entries lead from it to the link at `to`, which is known. */
static bool find_from(const struct wal_repair *repair, const struct wal_hole *hole, uint64_t to,
                      unsigned step, uint64_t *ret)
{
    const uint64_t base = repair->survey.scan.base.index;
    uint64_t from = hole->prev.index < to ? hole->prev.index : to - 1;
    uint64_t back = step > 0 ? (uint64_t)1 << (3 * step) : 0;
    if (from < base)
        return false;
    from = from - base > back ? from - back : base;
    while (from > base && wal_repair_found(repair, from) == WAL_LINK_UNKNOWN)
        from--;
    *ret = from;
    return wal_repair_found(repair, from) != WAL_LINK_UNKNOWN && to - from <= WAL_PROOF_ENTRIES_MAX;
}

/* False: there is no such stretch, or none that is larger than before. */
static bool begin(struct wal_repair *repair, size_t number, unsigned step)
{
    const struct wal_hole *hole = &repair->survey.holes.items[number];
    struct wal_proof *proof = &repair->proof;
    ASSERT(step == 0 || proof->hole == number);
    const uint64_t before = step > 0 ? proof->from : UINT64_MAX;
    wal_repair_forget(proof);
    if (!wal_repair_wants(repair, hole) || (step > 0 && hole->certain && number == repair->at))
        return false;
    uint64_t to = find_to(repair, hole), from;
    if (to == 0 || !find_from(repair, hole, to, step, &from) || from >= before)
        return false;
    proof->hole = number;
    proof->step = step;
    proof->from = proof->next = from;
    proof->to = to;
    proof->giver = 1;
    return true;
}

void wal_repair_prove(struct wal_repair *repair, size_t number)
{
    repair->skip = 0;
    for (number = number > repair->at ? number : repair->at; number < repair->survey.holes.count;
         number++)
        if (begin(repair, number, 0))
            return;
    wal_repair_forget(&repair->proof);
    repair->proof.hole = WAL_NO_PROOF;
    repair->tried = true;
}

/* Once more from farther back, or the next hole. */
static void next_stretch(struct wal_repair *repair)
{
    const size_t number = repair->proof.hole;
    for (unsigned step = repair->proof.step + 1; step < STEPS; step++)
        if (begin(repair, number, step))
            return;
    wal_repair_prove(repair, number + 1);
}

/* --- What came -------------------------------------------------------------------------------- */

void wal_repair_keep(struct wal_repair *repair, const struct raft_runs *entries)
{
    LIST_RESERVE(&repair->came);
    struct raft_runs *kept = &repair->came.items[repair->came.count++];
    *kept = (struct raft_runs){0};
    raft_runs_append_all(kept, entries);
}

/* The entries are the log's in the end, also those that go into no hole, since a snapshot here has
 * them. */
static void learn_proved(struct wal_repair *repair, const struct raft_runs *proved)
{
    uint64_t link = wal_repair_found(repair, repair->proof.from);
    struct raft_runs_iter iter = {0};
    wal_links_learn(&repair->survey.sure, repair->proof.from, link); /* they lead on from it */
    for (const struct raft_entry *entry; (entry = raft_runs_next(proved, &iter)) != NULL;) {
        link = wal_repair_link_behind(link, entry);
        wal_links_learn(&repair->survey.sure, entry->id.index, link);
    }
    wal_repair_keep(repair, proved);
}

/* Before the hole something else stood where the stretch begins than the log has there in the end:
 * it was replaced in the hole, with entries before the stretch. */
static bool begins_before(const struct wal_repair *repair, const struct wal_hole *hole)
{
    const uint64_t from = repair->proof.from, before = hole->before.index;
    if (hole->certain || from > before || before - from > WAL_HOLE_RECENT)
        return false;
    const uint64_t link = from == before ? hole->link : hole->recent[before - from - 1];
    return link != WAL_LINK_UNKNOWN && link != wal_repair_found(repair, from);
}

/* The entries are what stood in the stretch: so all the holes in it are known. */
static void accept(struct wal_repair *repair, const struct raft_runs *proved)
{
    const struct wal_proof *proof = &repair->proof;
    const size_t number = proof->hole;
    for (size_t i = repair->at; i < repair->survey.holes.count; i++) {
        struct wal_hole *hole = &repair->survey.holes.items[i];
        struct raft_runs entries = {0};
        if (!wal_repair_wants(repair, hole) || hole->prev.index < proof->from ||
            hole->last > proof->to || begins_before(repair, hole))
            continue;
        raft_runs_append_all(&entries, proved);
        wal_repair_fill(repair, i, proof->from, &entries);
        uint64_t first = raft_runs_first(&repair->filled[i]).index;
        /* Else what it replaced is still shown as if it were there. */
        hole->doubtful = first > 0 && first <= hole->before.index;
        hole->done = true;
    }
    learn_proved(repair, proved);
    wal_repair_find_sure(repair);
    if (repair->survey.holes.items[repair->at].done)
        wal_repair_advance(repair);
    wal_repair_prove(repair, number + 1);
    repair->tried = false;
}

/* One of the others has given all that it has. */
void wal_repair_prove_on(struct wal_repair *repair)
{
    struct wal_proof *proof = &repair->proof;
    struct raft_runs proved = {0};
    if (wal_repair_find_way(repair, proof, &proved)) {
        accept(repair, &proved);
        raft_runs_clear(&proved);
        return;
    }
    proof->next = proof->from;
    if (++proof->giver > repair->peers)
        next_stretch(repair);
}

struct raft_runs *wal_repair_add_part(struct wal_proof *proof)
{
    LIST_RESERVE(&proof->parts);
    ASSERT(proof->parts.items);
    struct raft_runs *part = &proof->parts.items[proof->parts.count++];
    *part = (struct raft_runs){0};
    return part;
}

/* Where what comes next goes: behind what came before it, so that a stretch of many answers is one
 * part for each of the others, in which every index has to be looked up. */
static struct raft_runs *find_part(struct wal_proof *proof, uint64_t first)
{
    struct raft_runs *last =
        proof->parts.count > 0 ? &proof->parts.items[proof->parts.count - 1] : NULL;
    if (last && raft_runs_last(last).index + 1 == first)
        return last;
    return wal_repair_add_part(proof);
}

void wal_repair_prove_take(struct wal_repair *repair, const struct raft_runs *entries)
{
    struct wal_proof *proof = &repair->proof;
    const struct raft_id first = raft_runs_first(entries), last = raft_runs_last(entries);
    if (entries->entry_count == 0 || first.index <= proof->next || first.index > proof->to)
        return;
    raft_runs_append_all(find_part(proof, first.index), entries);
    proof->next = last.index < proof->to ? last.index : proof->to;
    if (proof->next == proof->to)
        wal_repair_prove_on(repair);
}
