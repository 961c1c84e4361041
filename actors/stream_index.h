/* actors/stream_index.h - which subscriptions a name concerns.
 *
 * Interests in one name are found by its hash; ranges by a tree that is ordered by where they begin
 * and knows, for every subtree, the farthest end in it (an interval tree, Cormen et al., 14.3, as a
 * treap), so that what is asked for is found in O(log n + k). Equal interests share a node. Owned
 * by one thread; pure but for its memory. */
#ifndef ACTORS_STREAM_INDEX_H
#define ACTORS_STREAM_INDEX_H

#include "machine/feed.h"

struct stream_index;
struct stream_index_node;

/* Embedded in what is found. Zeroed: in no index. */
struct stream_index_entry {
    struct stream_index_node *node;
    struct stream_index_entry *next, *previous; /* of the same node */
};

struct stream_index *stream_index_create(void);
void stream_index_destroy(struct stream_index *index); /* empty, or no entry is used any more */

/* Copies the interest. `kind` keeps those of different kinds apart. */
void stream_index_add(struct stream_index *index, unsigned kind,
                      const struct feed_interest *interest, struct stream_index_entry *entry);
void stream_index_remove(struct stream_index *index, struct stream_index_entry *entry);

/* Calls `found` for each entry whose interest holds the name, in no order. It must not change the
 * index. */
void stream_index_find(const struct stream_index *index, unsigned kind, uint8_t space,
                       struct slice name,
                       void (*found)(void *arg, struct stream_index_entry *entry), void *arg);

#endif
