#include "storage/wal_links.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

void wal_links_begin(struct wal_links *links, uint64_t index, uint64_t link)
{
    links->count = links->dropped = 0;
    wal_links_put(links, index, link);
}

uint64_t wal_links_find(const struct wal_links *links, uint64_t index)
{
    if (index < links->first || index - links->first >= links->count)
        return 0;
    return links->items[links->dropped + (index - links->first)];
}

/* Moves what is there to the front when half of the room is gone, else takes more. */
static void reserve(struct wal_links *links, size_t count)
{
    if (links->dropped + count <= links->capacity)
        return;
    if (links->dropped >= links->capacity / 2 && count <= links->capacity) {
        memmove(links->items, links->items + links->dropped, links->count * sizeof links->items[0]);
        links->dropped = 0;
        return;
    }
    size_t capacity = links->capacity == 0 ? 64 : 2 * links->capacity;
    while (links->dropped + count > capacity)
        capacity *= 2;
    links->items = mem_realloc(links->items, capacity * sizeof links->items[0]);
    links->capacity = capacity;
}

void wal_links_put(struct wal_links *links, uint64_t index, uint64_t link)
{
    if (index < links->first || links->count == 0) {
        links->first = index;
        links->count = 0;
    }
    size_t at = (size_t)(index - links->first);
    reserve(links, at + 1);
    if (at > links->count)
        memset(links->items + links->dropped + links->count, 0,
               (at - links->count) * sizeof links->items[0]);
    links->items[links->dropped + at] = link;
    links->count = at + 1;
}

void wal_links_learn(struct wal_links *links, uint64_t index, uint64_t link)
{
    if (index >= links->first && index - links->first < links->count)
        links->items[links->dropped + (index - links->first)] = link;
}

void wal_links_drop_front(struct wal_links *links, uint64_t index)
{
    if (index <= links->first || links->count == 0)
        return;
    uint64_t gone = index - links->first;
    if (gone > links->count - 1) /* the last one stays: what comes next follows it */
        gone = links->count - 1;
    links->first += gone;
    links->dropped += (size_t)gone;
    links->count -= (size_t)gone;
}

void wal_links_move(struct wal_links *to, struct wal_links *from)
{
    ASSERT(to->items == NULL);
    *to = *from;
    *from = (struct wal_links){0};
}

void wal_links_deinit(struct wal_links *links)
{
    free(links->items);
    *links = (struct wal_links){0};
}
