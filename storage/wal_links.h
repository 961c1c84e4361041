/* storage/wal_links.h - the sum of a log up to each of its entries (storage/wal_format.h, Links),
 * by index. Pure; owned by one thread. */
#ifndef STORAGE_WAL_LINKS_H
#define STORAGE_WAL_LINKS_H

#include <stddef.h>
#include <stdint.h>

/* In blocks, so that a log of millions grows without a copy of what is there. */
enum { WAL_LINKS_BLOCK = 512 };

/* All zero: none is known. */
struct wal_links {
    uint64_t first; /* index of the first of them */
    size_t count;
    size_t dropped;    /* so many at the front of blocks[0] are not there any more */
    uint64_t **blocks; /* of WAL_LINKS_BLOCK each */
    size_t block_count, block_capacity;
};

/* The log begins behind this index. */
void wal_links_begin(struct wal_links *links, uint64_t index, uint64_t link);

/* The link at this index; 0: it is not known. */
uint64_t wal_links_find(const struct wal_links *links, uint64_t index);

/* Sets it; those behind are forgotten, and of those between the last one and this nothing is known.
 */
void wal_links_put(struct wal_links *links, uint64_t index, uint64_t link);

/* Sets one without forgetting those behind; nothing if it is out of range. */
void wal_links_learn(struct wal_links *links, uint64_t index, uint64_t link);

/* Forgets all before this index. */
void wal_links_drop_front(struct wal_links *links, uint64_t index);

void wal_links_move(struct wal_links *to, struct wal_links *from); /* *to must be empty */
void wal_links_deinit(struct wal_links *links);

#endif
