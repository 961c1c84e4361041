#include "storage/wal_links.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

/* Of the item so many behind the first one. */
static uint64_t *item(const struct wal_links *links, size_t at)
{
    size_t place = links->dropped + at;
    return &links->blocks[place / WAL_LINKS_BLOCK][place % WAL_LINKS_BLOCK];
}

void wal_links_begin(struct wal_links *links, uint64_t index, uint64_t link)
{
    links->count = links->dropped = 0;
    wal_links_put(links, index, link);
}

uint64_t wal_links_find(const struct wal_links *links, uint64_t index)
{
    if (index < links->first || index - links->first >= links->count)
        return 0;
    return *item(links, (size_t)(index - links->first));
}

static void reserve(struct wal_links *links, size_t count)
{
    size_t blocks = (links->dropped + count + WAL_LINKS_BLOCK - 1) / WAL_LINKS_BLOCK;
    if (blocks > links->block_capacity) {
        size_t capacity = links->block_capacity == 0 ? 4 : 2 * links->block_capacity;
        links->block_capacity = capacity > blocks ? capacity : blocks;
        links->blocks =
            mem_realloc((void *)links->blocks, links->block_capacity * sizeof links->blocks[0]);
    }
    while (links->block_count < blocks)
        links->blocks[links->block_count++] = mem_alloc(WAL_LINKS_BLOCK * sizeof(uint64_t));
}

void wal_links_put(struct wal_links *links, uint64_t index, uint64_t link)
{
    if (index < links->first || links->count == 0) {
        links->first = index;
        links->count = links->dropped = 0;
    }
    size_t at = (size_t)(index - links->first);
    reserve(links, at + 1);
    for (size_t between = links->count; between < at; between++)
        *item(links, between) = 0;
    *item(links, at) = link;
    links->count = at + 1;
}

void wal_links_learn(struct wal_links *links, uint64_t index, uint64_t link)
{
    if (index >= links->first && index - links->first < links->count)
        *item(links, (size_t)(index - links->first)) = link;
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
    size_t blocks = links->dropped / WAL_LINKS_BLOCK;
    if (blocks == 0)
        return;
    for (size_t i = 0; i < blocks; i++)
        free(links->blocks[i]);
    links->block_count -= blocks;
    links->dropped -= blocks * WAL_LINKS_BLOCK;
    memmove((void *)links->blocks, (void *)(links->blocks + blocks),
            links->block_count * sizeof links->blocks[0]);
}

void wal_links_move(struct wal_links *to, struct wal_links *from)
{
    ASSERT(to->blocks == NULL);
    *to = *from;
    *from = (struct wal_links){0};
}

void wal_links_deinit(struct wal_links *links)
{
    for (size_t i = 0; i < links->block_count; i++)
        free(links->blocks[i]);
    free((void *)links->blocks);
    *links = (struct wal_links){0};
}
