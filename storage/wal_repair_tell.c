/* All of the log in the end, in whatever holes its entries came, for the case that they fit nowhere
 * any more: where it can begin, and what is behind that. */
#include "storage/wal_repair_internal.h"

#include "base/fatal.h"

#include <stdlib.h>

/* --- Where it can begin ----------------------------------------------------------------------- */

/* Is this the entry at its index in the log in the end? By its own link, and that before it. */
static bool is_linked(const struct wal_repair *repair, const struct raft_entry *entry)
{
    const uint64_t before = entry->id.index - 1, link = wal_repair_link(repair, entry->id.index);
    const uint64_t tried[] = {wal_repair_link(repair, before),
                              wal_links_find(&repair->survey.found, before)};
    for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++)
        if (tried[i] != WAL_LINK_UNKNOWN && wal_repair_link_behind(tried[i], entry) == link)
            return true;
    return false;
}

/* What stands around a hole tells which entry came last in it, and nothing further on replaced it.
 */
static bool is_named(const struct wal_repair *repair, struct raft_id id)
{
    const uint64_t link = wal_repair_link(repair, id.index);
    for (size_t i = 0; i < repair->survey.holes.count && link != WAL_LINK_UNKNOWN; i++) {
        const struct wal_hole *hole = &repair->survey.holes.items[i];
        if ((hole->sure_behind || hole->level) && raft_id_equal(hole->behind, id) &&
            hole->stands_for == link)
            return true;
    }
    return false;
}

/* What was lost around the snapshot's entry was one leader's, of its term, so it was there (paper,
 * 5.3), and nothing further on can have replaced it: neither in a hole nor in a mend. */
static bool is_level(const struct wal_repair *repair, struct raft_id id)
{
    const struct wal_survey *survey = &repair->survey;
    bool found = false;
    for (size_t i = 0; i < survey->holes.count; i++) {
        const struct wal_hole *hole = &survey->holes.items[i];
        if (hole->level && hole->before.index < id.index && id.index <= hole->last &&
            hole->before.term == id.term)
            found = true;
        else if (!hole->bytes && !hole->level &&
                 hole->behind.index < id.index + wal_survey_most(hole->end - hole->offset))
            found = false;
    }
    return found && survey->scan.absent_unsure < id.index;
}

/* What others gave, by an anchor or by links: so it is the log's. What was found alone may have
 * been replaced. NULL: nothing. */
static const struct raft_entry *find_given(const struct wal_repair *repair, uint64_t index)
{
    const struct raft_entry *entry = wal_repair_entry(repair, index);
    if (entry == raft_runs_find(&repair->survey.scan.entries, index))
        entry = NULL;
    for (size_t i = 0; i < repair->came.count && !entry; i++)
        entry = raft_runs_find(&repair->came.items[i], index);
    return entry;
}

/* Is the snapshot's entry the log's? A node that holds the anchor told so, or gave it, or what
 * stands around a hole tells. */
static bool is_covered_shown(const struct wal_repair *repair)
{
    const struct raft_id covered = repair->covered;
    const struct raft_entry *given = find_given(repair, covered.index);
    return raft_id_equal(repair->told, covered) || (given && raft_id_equal(given->id, covered)) ||
           is_named(repair, covered) || is_level(repair, covered);
}

/* The entry that is shown at an index, if this is its link: so it is the log's if the link is.
 * NULL: there is none. */
static const struct raft_entry *find_shown(const struct wal_repair *repair, uint64_t index,
                                           uint64_t link)
{
    const struct raft_entry *entry = raft_runs_find(&repair->survey.scan.entries, index);
    bool linked = link != WAL_LINK_UNKNOWN && wal_links_find(&repair->survey.found, index) == link;
    return linked && entry && !wal_is_absent(entry) ? entry : NULL;
}

/* What the log surely has at an index: it is here, or it was proved, or it is a snapshot's, and
 * others say so, or the log itself. */
static bool find_surely(const struct wal_repair *repair, uint64_t index, struct raft_id *ret)
{
    const struct raft_entry *entry = wal_repair_entry(repair, index);
    const struct raft_entry *given = find_given(repair, index);
    const struct raft_entry *shown = find_shown(repair, index, wal_repair_link(repair, index));
    /* By its own link, whatever is before it; unless that is by now the link of what was given. */
    if (shown && (!given || raft_id_equal(given->id, shown->id))) {
        *ret = shown->id;
        return true;
    }
    for (size_t i = 0; i <= repair->came.count; i++) {
        if (entry && !wal_is_absent(entry) && is_linked(repair, entry)) {
            *ret = entry->id;
            return true;
        }
        entry = i < repair->came.count ? raft_runs_find(&repair->came.items[i], index) : NULL;
    }
    *ret = repair->covered;
    return index == repair->covered.index && is_covered_shown(repair);
}

/* Where the log can begin: where it did, or, going back from what a snapshot here holds, behind an
 * entry that is surely the log's. False: there is none from `index` on back. */
static bool find_base(const struct wal_repair *repair, uint64_t index, struct raft_id *ret)
{
    for (; index > repair->survey.scan.base.index; index--)
        if (find_surely(repair, index, ret))
            return true;
    *ret = repair->survey.scan.base;
    return wal_repair_found(repair, index) != WAL_LINK_UNKNOWN;
}

/* --- What it holds ---------------------------------------------------------------------------- */

static void add_part(struct wal_proof *all, const struct raft_runs *entries)
{
    if (entries->entry_count > 0)
        raft_runs_append_all(wal_repair_add_part(all), entries);
}

/* All of the log behind `begin`. Up to where its links are known (`links_at`) it is what others
 * gave; if that is up to its end, it has to be the log's end. */
static bool tell_behind(const struct wal_repair *repair, struct wal_proof *all,
                        struct raft_id begin,
                        uint64_t (*links_at)(const struct wal_repair *, uint64_t),
                        struct raft_runs *ret)
{
    const uint64_t base = begin.index, last = repair->survey.scan.last.index;
    struct raft_id end = begin;
    bool told =
        wal_repair_link(repair, last) != WAL_LINK_UNKNOWN && last - base <= WAL_PROOF_ENTRIES_MAX;
    const struct raft_entry **given = mem_alloc((size_t)(last - base + 1) * sizeof *given);
    size_t count = 0;
    for (; told && links_at(repair, base + count) == WAL_LINK_UNKNOWN; count++) {
        given[count] = find_given(repair, base + count + 1);
        if (!given[count])
            given[count] = find_shown(repair, base + count + 1, links_at(repair, base + count + 1));
        told = given[count] != NULL;
        end = told ? given[count]->id : end;
    }
    all->from = base + count;
    all->to = last;
    raft_runs_clear(ret);
    if (told && count > 0)
        wal_repair_append_copies(given, count, ret);
    free(given);
    return told && (all->from == last ? raft_id_equal(end, repair->survey.scan.last)
                                      : wal_repair_find_way(repair, all, ret));
}

bool wal_repair_tell(const struct wal_repair *repair, struct raft_id *ret_base,
                     struct raft_runs *ret)
{
    const struct wal_survey *survey = &repair->survey;
    const uint64_t last = survey->scan.last.index;
    struct wal_proof all = {0};
    bool told = false;
    for (size_t i = 0; i < survey->holes.count; i++) /* in whatever hole it came */
        add_part(&all, &repair->filled[i]);
    for (size_t i = 0; i < repair->came.count; i++)
        add_part(&all, &repair->came.items[i]);
    add_part(&all, &survey->scan.entries);
    const uint64_t begins[] = {survey->scan.base.index,
                               repair->covered.index < last ? repair->covered.index : last};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0] && !told; i++) {
        told = begins[i] >= survey->scan.base.index && find_base(repair, begins[i], ret_base) &&
               (tell_behind(repair, &all, *ret_base, wal_repair_found, ret) ||
                tell_behind(repair, &all, *ret_base, wal_repair_link, ret));
    }
    wal_repair_forget(&all);
    free(all.parts.items);
    return told;
}
