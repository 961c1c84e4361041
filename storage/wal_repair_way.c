/* Which way leads from link to link: of all that came, or is here, the entries that stood there. */
#include "storage/wal_repair_internal.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

enum { WAYS_MAX = 64 }; /* kept of those that lead to one index */

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
