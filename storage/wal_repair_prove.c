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

enum {
    STEPS = 6,    /* how often it is tried from farther back */
    WAYS_MAX = 64 /* kept of those that lead to one index */
};

uint64_t wal_repair_link(const struct wal_repair *repair, uint64_t index)
{
    return wal_links_find(&repair->survey.sure, index);
}

uint64_t wal_repair_found(const struct wal_repair *repair, uint64_t index)
{
    const uint64_t link = wal_repair_link(repair, index);
    return link != WAL_LINK_UNKNOWN ? link : wal_links_find(&repair->survey.found, index);
}

/* Of the entry from which on a peer's entries are taken. Its id is the same there; so is its link,
 * as it is shown here, unless the entry is lost here and a snapshot alone says that all have it. */
static uint64_t link_from(const struct wal_repair *repair, uint64_t index)
{
    const uint64_t link = wal_repair_link(repair, index);
    const struct raft_entry *entry =
        index > repair->survey.scan.base.index && index <= repair->covered.index
            ? wal_repair_entry(repair, index)
            : NULL;
    if (link != WAL_LINK_UNKNOWN || (entry && wal_is_absent(entry)))
        return link;
    return wal_repair_found(repair, index);
}

uint64_t wal_repair_link_behind(uint64_t link, const struct raft_entry *entry)
{
    return wal_link(link, entry->id, (uint8_t)entry->kind, entry->payload);
}

bool wal_repair_disproved(const struct wal_repair *repair, uint64_t from, uint64_t to,
                          const struct raft_runs *entries)
{
    uint64_t link = link_from(repair, from), last = wal_repair_link(repair, to), at = from;
    struct raft_runs_iter iter = {0};
    const struct raft_entry *entry;
    if (link == WAL_LINK_UNKNOWN || last == WAL_LINK_UNKNOWN)
        return false;
    while ((entry = raft_runs_next(entries, &iter)) != NULL) {
        link = wal_repair_link_behind(link, entry);
        at = entry->id.index;
    }
    ASSERT(at == to || entries->entry_count == 0); /* no more was taken, and all of it is here */
    return at > from && link != last;
}

bool wal_repair_leads_elsewhere(const struct wal_repair *repair, const struct raft_runs *entries,
                                uint64_t link)
{
    struct raft_runs_iter iter = {0};
    uint64_t at = link_from(repair, raft_runs_first(entries).index - 1);
    if (at == WAL_LINK_UNKNOWN || link == WAL_LINK_UNKNOWN)
        return false;
    for (const struct raft_entry *entry; (entry = raft_runs_next(entries, &iter)) != NULL;)
        at = wal_repair_link_behind(at, entry);
    return at != link;
}

static void learn(struct wal_repair *repair, uint64_t index, uint64_t link)
{
    wal_links_learn(&repair->survey.found, index, link);
    wal_links_learn(&repair->survey.sure, index, link);
}

/* A later hole has another one there. */
static bool came_again(const struct wal_repair *repair, size_t number, uint64_t index)
{
    for (size_t i = number + 1; i < repair->survey.holes.count; i++)
        if (index <= repair->survey.holes.items[i].last &&
            raft_runs_find(&repair->filled[i], index))
            return true;
    return false;
}

/* The link of the entry with this id, as a record behind a hole tells it; WAL_LINK_UNKNOWN. The
 * same id is the same entry, with the same before it (paper, 5.3). */
static uint64_t named_link(const struct wal_repair *repair, struct raft_id id)
{
    for (size_t i = 0; i < repair->survey.holes.count; i++) {
        const struct wal_hole *hole = &repair->survey.holes.items[i];
        if ((hole->sure_behind || hole->level) && raft_id_equal(hole->behind, id))
            return hole->stands_for;
    }
    return WAL_LINK_UNKNOWN;
}

/* The link that is shown at an index is not that of the entry which was filled in: it was
 * another's, which that replaced. Of what is absent, who names its link names its id. */
static bool is_stale(const struct wal_repair *repair, struct raft_id id)
{
    const struct raft_entry *shown = raft_runs_find(&repair->survey.scan.entries, id.index);
    return !shown || wal_is_absent(shown) || shown->id.term != id.term;
}

void wal_repair_learn(struct wal_repair *repair, size_t number)
{
    const struct raft_runs *filled = &repair->filled[number];
    struct raft_runs_iter iter = {0};
    uint64_t link = filled->entry_count > 0 ? link_from(repair, raft_runs_first(filled).index - 1)
                                            : WAL_LINK_UNKNOWN;
    for (const struct raft_entry *entry; (entry = raft_runs_next(filled, &iter)) != NULL;) {
        link = link != WAL_LINK_UNKNOWN ? wal_repair_link_behind(link, entry)
                                        : named_link(repair, entry->id);
        if (came_again(repair, number, entry->id.index))
            continue;
        if (link != WAL_LINK_UNKNOWN)
            learn(repair, entry->id.index, link);
        else if (is_stale(repair, entry->id))
            wal_links_learn(&repair->survey.found, entry->id.index, WAL_LINK_UNKNOWN);
    }
}

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

/* --- Which way leads from link to link -------------------------------------------------------- */

/* One way to an index: the entry there, and the way to the one before it. */
struct way {
    const struct raft_entry *entry;
    uint64_t link;
    uint32_t before; /* which of those to the index before */
    uint32_t misses; /* how often it does not take what is of the highest term */
};

/* All ways, those to one index behind those to the one before. */
struct ways {
    struct way *items;
    size_t count, capacity;
    size_t *begins; /* by index, behind the first one; one more for the end */
};

static void add_way(struct ways *ways, struct way way)
{
    LIST_RESERVE(ways);
    ways->items[ways->count++] = way;
}

/* Keeps the ways that miss the least; what was shown and is gone is of an earlier term mostly. */
static void keep_way(struct way *ways, uint32_t *count, const struct way *way)
{
    for (uint32_t i = 0; i < *count; i++)
        if (ways[i].link == way->link)
            return;
    if (*count < WAYS_MAX) {
        ways[(*count)++] = *way;
        return;
    }
    uint32_t worst = 0;
    for (uint32_t i = 1; i < *count; i++)
        if (ways[i].misses > ways[worst].misses)
            worst = i;
    if (way->misses < ways[worst].misses)
        ways[worst] = *way;
}

/* What the others have at an index, one after the other, and what is here; NULL: of this one
 * nothing. */
static const struct raft_entry *candidate(const struct wal_repair *repair,
                                          const struct wal_proof *proof, uint64_t index, size_t i)
{
    const struct raft_entry *entry = i < proof->parts.count
                                         ? raft_runs_find(&proof->parts.items[i], index)
                                         : wal_repair_entry(repair, index);
    return entry && !wal_is_absent(entry) ? entry : NULL;
}

/* Goes on from each way to the index before by each entry that somebody has at this one. */
static void go_on(const struct wal_repair *repair, const struct wal_proof *proof, uint64_t index,
                  struct ways *ways, size_t number)
{
    const size_t candidates = proof->parts.count + 1;
    struct way next[WAYS_MAX];
    uint32_t count = 0;
    uint64_t highest = 0;
    for (size_t i = 0; i < candidates; i++) {
        const struct raft_entry *entry = candidate(repair, proof, index, i);
        if (entry && entry->id.term > highest)
            highest = entry->id.term;
    }
    const struct way *from = ways->items + ways->begins[number];
    const uint32_t from_count = (uint32_t)(ways->begins[number + 1] - ways->begins[number]);
    for (size_t i = 0; i < candidates; i++) {
        const struct raft_entry *entry = candidate(repair, proof, index, i);
        for (uint32_t k = 0; entry && k < from_count; k++) {
            if (from[k].entry && from[k].entry->id.term > entry->id.term)
                continue;
            const struct way way = {.entry = entry,
                                    .link = wal_repair_link_behind(from[k].link, entry),
                                    .before = k,
                                    .misses = from[k].misses + (entry->id.term < highest)};
            keep_way(next, &count, &way);
        }
    }
    for (uint32_t k = 0; k < count; k++)
        add_way(ways, next[k]);
}

void wal_repair_append_copies(const struct raft_entry *const *entries, size_t count,
                              struct raft_runs *ret)
{
    struct raft_batch *batch = raft_batch_create((uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        struct raft_entry entry = *entries[i];
        entry.buf = NULL;
        if (entry.payload.bytes > 0) {
            entry.buf = buf_copy(entry.payload.data, entry.payload.bytes);
            entry.payload.data = entry.buf->data;
        }
        raft_batch_add(batch, entry);
    }
    raft_runs_append(ret, batch, 0, (uint32_t)count);
    raft_batch_unref(batch);
}

/* The entries of a way, from its end back. */
static void collect(const struct ways *ways, size_t count, uint32_t last, struct raft_runs *ret)
{
    const struct raft_entry **entries = mem_alloc(count * sizeof(const struct raft_entry *));
    for (size_t i = count; i > 0; i--) {
        const struct way *way = &ways->items[ways->begins[i] + last];
        entries[i - 1] = way->entry;
        last = way->before;
    }
    wal_repair_append_copies(entries, count, ret);
    free(entries);
}

bool wal_repair_find_way(const struct wal_repair *repair, const struct wal_proof *proof,
                         struct raft_runs *ret)
{
    const size_t count = (size_t)(proof->to - proof->from);
    const uint64_t goal = wal_repair_link(repair, proof->to);
    struct ways ways = {.begins = mem_zalloc((count + 2) * sizeof *ways.begins)};
    bool found = false;
    add_way(&ways, (struct way){.link = wal_repair_found(repair, proof->from)});
    ways.begins[1] = 1;
    size_t at = 0;
    for (; at < count && ways.begins[at + 1] > ways.begins[at]; at++) {
        go_on(repair, proof, proof->from + at + 1, &ways, at);
        ways.begins[at + 2] = ways.count;
    }
    for (size_t k = ways.begins[at]; at == count && k < ways.count && !found; k++) {
        found = ways.items[k].link == goal;
        if (found)
            collect(&ways, count, (uint32_t)(k - ways.begins[at]), ret);
    }
    free(ways.items);
    free(ways.begins);
    return found;
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
