/* Which links are known: of what is here, of what stands behind holes, and of what came. What they
 * say of others' entries. */
#include "storage/wal_repair_internal.h"

#include "base/fatal.h"

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

/* What is shown to be the link before the entry, if it leads to the entry's; WAL_LINK_UNKNOWN. */
static uint64_t find_before(const struct wal_repair *repair, const struct raft_entry *entry,
                            uint64_t link)
{
    const struct wal_survey *survey = &repair->survey;
    const uint64_t before = entry->id.index - 1, found = wal_links_find(&survey->found, before);
    if (found != WAL_LINK_UNKNOWN && wal_repair_link_behind(found, entry) == link)
        return found;
    for (size_t i = survey->witnesses.count; i > 0; i--) {
        const struct wal_witness *witness = &survey->witnesses.items[i - 1];
        if (witness->index == before && wal_repair_link_behind(witness->link, entry) == link)
            return witness->link;
    }
    return WAL_LINK_UNKNOWN;
}

/* The same of the entry at an index that has this link, in whatever hole it came: it may have been
 * replaced there, and lost again where it came once more. */
static uint64_t trace_link(const struct wal_repair *repair, uint64_t index, uint64_t link)
{
    const struct raft_entry *entry = wal_repair_entry(repair, index);
    uint64_t before = WAL_LINK_UNKNOWN;
    for (size_t i = 0; i <= repair->came.count && before == WAL_LINK_UNKNOWN; i++) {
        if (entry && !wal_is_absent(entry))
            before = find_before(repair, entry, link);
        entry = i < repair->came.count ? raft_runs_find(&repair->came.items[i], index) : NULL;
    }
    return before;
}

void wal_repair_trace_links(struct wal_repair *repair)
{
    const struct wal_scan *scan = &repair->survey.scan;
    for (uint64_t index = scan->last.index; index > scan->base.index; index--) {
        const uint64_t link = wal_repair_link(repair, index);
        if (link != WAL_LINK_UNKNOWN && wal_repair_link(repair, index - 1) == WAL_LINK_UNKNOWN)
            wal_links_learn(&repair->survey.sure, index - 1, trace_link(repair, index, link));
    }
}
