#include "machine/treap.h"

#include "base/fatal.h"
#include "machine/tables.h"

#include <stdlib.h>
#include <string.h>

struct treap_node {
    atomic_uint refs;
    struct treap_node *left, *right; /* references */
    struct treap_item *item;         /* likewise */
    struct treap_node *next_dead;
};

/* --- Items -------------------------------------------------------------------------------------
 */

/* FNV-1a, then the finalizer of splitmix64: neighbouring keys have unrelated priorities. */
static uint64_t priority_of(struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.bytes; i++)
        hash = (hash ^ key.data[i]) * 0x100000001b3u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

struct treap_item *treap_item_create(struct slice key, size_t value_bytes)
{
    struct treap_item *item = mem_alloc(sizeof *item + key.bytes + value_bytes);
    atomic_init(&item->refs, 1);
    item->key_bytes = (uint32_t)key.bytes;
    item->value_bytes = value_bytes;
    item->priority = priority_of(key);
    memcpy(item->bytes, key.data, key.bytes);
    return item;
}

struct treap_item *treap_item_ref(struct treap_item *item)
{
    atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
    return item;
}

void treap_item_unref(struct treap_item *item)
{
    if (item && atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1)
        free(item);
}

/* --- Nodes -------------------------------------------------------------------------------------
 */

static struct treap_node *node_create(struct treap_item *item)
{
    struct treap_node *node = mem_zalloc(sizeof *node);
    atomic_init(&node->refs, 1);
    node->item = item;
    return node;
}

struct treap_node *treap_ref(struct treap_node *map)
{
    if (map)
        atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

void treap_unref(struct treap_node *map)
{
    struct treap_node *dead = NULL; /* whose children are still to be dropped */
    for (struct treap_node *node = map; node || dead;) {
        if (node && atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel) == 1) {
            node->next_dead = dead;
            dead = node;
        }
        if (!dead)
            return;
        struct treap_node **child = dead->left ? &dead->left : &dead->right;
        node = *child;
        *child = NULL;
        if (node)
            continue;
        struct treap_node *gone = dead;
        dead = gone->next_dead;
        treap_item_unref(gone->item);
        free(gone);
    }
}

/* The node to be changed in the place of this one, whose reference is taken over: itself if nobody
 * else has one. */
static struct treap_node *node_own(struct treap_node *node)
{
    if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1)
        return node;
    struct treap_node *copy = node_create(treap_item_ref(node->item));
    copy->left = treap_ref(node->left);
    copy->right = treap_ref(node->right);
    treap_unref(node);
    return copy;
}

/* --- Changing ----------------------------------------------------------------------------------
 */

/* What is below the key and what is above it; it is not in the map. */
static void split(struct treap_node *map, struct slice key, struct treap_node **below,
                  struct treap_node **above)
{
    while (map) {
        map = node_own(map);
        if (tables_compare(treap_key(map->item), key) < 0) {
            *below = map;
            below = &map->right;
            map = map->right;
        } else {
            *above = map;
            above = &map->left;
            map = map->left;
        }
    }
    *below = *above = NULL;
}

void treap_put(struct treap_node **map, struct treap_item *item)
{
    struct slice key = treap_key(item);
    /* Below a lower priority there is no key with this one's. */
    while (*map && (*map)->item->priority >= item->priority) {
        struct treap_node *node = *map = node_own(*map);
        int order = tables_compare(key, treap_key(node->item));
        if (order == 0) {
            treap_item_unref(node->item);
            node->item = item;
            return;
        }
        map = order < 0 ? &node->left : &node->right;
    }
    struct treap_node *node = node_create(item), *rest = *map;
    *map = node;
    split(rest, key, &node->left, &node->right);
}

/* Everything in `left` is below everything in `right`. */
static void merge(struct treap_node *left, struct treap_node *right, struct treap_node **map)
{
    while (left && right) {
        if (left->item->priority >= right->item->priority) {
            *map = left = node_own(left);
            map = &left->right;
            left = left->right;
        } else {
            *map = right = node_own(right);
            map = &right->left;
            right = right->left;
        }
    }
    *map = left ? left : right;
}

bool treap_erase(struct treap_node **map, struct slice key)
{
    if (!treap_find(*map, TREAP_AT, key))
        return false;
    while (*map) {
        struct treap_node *node = *map = node_own(*map);
        int order = tables_compare(key, treap_key(node->item));
        if (order == 0) {
            merge(node->left, node->right, map);
            node->left = node->right = NULL;
            treap_unref(node);
            return true;
        }
        map = order < 0 ? &node->left : &node->right;
    }
    ASSERT(!"it was found above");
    return false;
}

/* --- Finding -----------------------------------------------------------------------------------
 */

struct treap_item *treap_find(const struct treap_node *map, enum treap_which which,
                              struct slice key)
{
    struct treap_item *before = NULL, *behind = NULL;
    while (map) {
        int order = tables_compare(key, treap_key(map->item));
        if (order == 0 && (which == TREAP_AT || which == TREAP_FROM))
            return map->item;
        if (order > 0 || (order == 0 && which == TREAP_BEHIND)) {
            before = order > 0 ? map->item : before;
            map = map->right;
        } else {
            behind = order < 0 ? map->item : behind;
            map = map->left;
        }
    }
    switch (which) {
    case TREAP_AT:
        return NULL;
    case TREAP_BEFORE:
        return before;
    case TREAP_FROM:
    case TREAP_BEHIND:
        break;
    }
    return behind;
}

struct treap_item *treap_last(const struct treap_node *map)
{
    while (map && map->right)
        map = map->right;
    return map ? map->item : NULL;
}
