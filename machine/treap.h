/* machine/treap.h - an ordered map of bytes that never changes: changing it makes another one that
 * shares what is equal. Keeping a state while changes go on costs one reference.
 *
 * A treap whose priorities are hashes of the keys: its shape follows from its content alone. A
 * struct treap_node * is a map (NULL: the empty one), and owns one reference to it. References may
 * be taken and dropped by several threads; a map that is not shared is changed in place. */
#ifndef MACHINE_TREAP_H
#define MACHINE_TREAP_H

#include "base/buf.h"

#include <stdbool.h>

/* A key and its value; immutable once it is in a map. */
struct treap_item {
    atomic_uint refs;
    uint32_t key_bytes;
    uint64_t priority;
    size_t value_bytes;
    uint8_t bytes[]; /* key, value */
};

struct treap_node;

/* One reference; the caller writes the value. */
struct treap_item *treap_item_create(struct slice key, size_t value_bytes);
struct treap_item *treap_item_ref(struct treap_item *item);
void treap_item_unref(struct treap_item *item); /* NULL is allowed */

static inline struct slice treap_key(const struct treap_item *item)
{
    return (struct slice){item->bytes, item->key_bytes};
}

static inline struct slice treap_value(const struct treap_item *item)
{
    return (struct slice){item->bytes + item->key_bytes, item->value_bytes};
}

struct treap_node *treap_ref(struct treap_node *map); /* NULL is allowed */
void treap_unref(struct treap_node *map);             /* likewise */

/* Puts the item in the place of one with its key, if there is one; takes its reference over. */
void treap_put(struct treap_node **map, struct treap_item *item);

/* False if there is none. */
bool treap_erase(struct treap_node **map, struct slice key);

enum treap_which { TREAP_AT, TREAP_FROM, TREAP_BEHIND, TREAP_BEFORE };

/* The item with this key, the first at or behind it, the first behind it, the last before it; NULL
 * if there is none. Borrowed from the map. */
struct treap_item *treap_find(const struct treap_node *map, enum treap_which which,
                              struct slice key);

struct treap_item *treap_last(const struct treap_node *map);

#endif
