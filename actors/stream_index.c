#include "actors/stream_index.h"

#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64 };

/* All entries with one interest. */
struct stream_index_node {
    struct stream_index_entry *entries;
    bool single;
    bool no_end;
    uint32_t scope; /* kind and space */
    uint32_t from_bytes, to_bytes;
    uint8_t *bytes; /* from, to; behind the node */

    uint64_t hash;
    struct stream_index_node *next; /* single: of the same bucket */

    uint64_t priority;
    struct stream_index_node *left, *right;   /* a range */
    const struct stream_index_node *farthest; /* with the largest end in this subtree */
};

struct stream_index {
    struct stream_index_node **buckets; /* of single names */
    uint32_t bucket_count, single_count;
    struct stream_index_node *root; /* of ranges */
    uint64_t drawn;
};

struct stream_index *stream_index_create(void)
{
    struct stream_index *index = mem_zalloc(sizeof *index);
    index->bucket_count = BUCKETS_MIN;
    index->buckets = mem_zalloc(BUCKETS_MIN * sizeof(struct stream_index_node *));
    return index;
}

static void tree_free(struct stream_index_node *node)
{
    if (!node)
        return;
    tree_free(node->left);
    tree_free(node->right);
    free(node);
}

void stream_index_destroy(struct stream_index *index)
{
    if (!index)
        return;
    for (uint32_t i = 0; i < index->bucket_count; i++)
        for (struct stream_index_node *node = index->buckets[i], *next; node; node = next) {
            next = node->next;
            free(node);
        }
    free(index->buckets);
    tree_free(index->root);
    free(index);
}

/* --- Names ------------------------------------------------------------------------------------ */

static int bytes_compare(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    size_t bytes = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = bytes ? memcmp(a, b, bytes) : 0;
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static uint32_t scope_of(unsigned kind, uint8_t space)
{
    return (uint32_t)kind << 8 | space;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint64_t name_hash(uint32_t scope, struct slice name)
{
    uint64_t hash = mix(scope, name.bytes), word = 0;
    size_t at = 0;
    for (; at + sizeof word <= name.bytes; at += sizeof word) {
        memcpy(&word, name.data + at, sizeof word);
        hash = mix(hash, word);
    }
    for (; at < name.bytes; at++)
        hash = mix(hash, name.data[at]);
    return hash;
}

static const uint8_t *node_to(const struct stream_index_node *node)
{
    return node->bytes + node->from_bytes;
}

/* Order of ends: of scopes first, since a subtree may hold several; "no end" is the largest. */
static int end_compare(const struct stream_index_node *a, const struct stream_index_node *b)
{
    if (a->scope != b->scope)
        return a->scope < b->scope ? -1 : 1;
    if (a->no_end || b->no_end)
        return (int)a->no_end - (int)b->no_end;
    return bytes_compare(node_to(a), a->to_bytes, node_to(b), b->to_bytes);
}

/* Order of the tree: scope, from, to. */
static int node_compare(const struct stream_index_node *a, const struct stream_index_node *b)
{
    if (a->scope != b->scope)
        return a->scope < b->scope ? -1 : 1;
    int order = bytes_compare(a->bytes, a->from_bytes, b->bytes, b->from_bytes);
    return order ? order : end_compare(a, b);
}

static struct stream_index_node *node_create(unsigned kind, const struct feed_interest *interest)
{
    size_t to_bytes = interest->no_end ? 0 : interest->to.bytes;
    struct stream_index_node *node = mem_zalloc(sizeof *node + interest->from.bytes + to_bytes);
    node->single = feed_interest_is_single(interest);
    node->no_end = interest->no_end;
    node->scope = scope_of(kind, interest->space);
    node->from_bytes = (uint32_t)interest->from.bytes;
    node->to_bytes = (uint32_t)to_bytes;
    node->bytes = (uint8_t *)(node + 1);
    if (node->from_bytes)
        memcpy(node->bytes, interest->from.data, node->from_bytes);
    if (node->to_bytes)
        memcpy(node->bytes + node->from_bytes, interest->to.data, node->to_bytes);
    return node;
}

/* --- Single names ----------------------------------------------------------------------------- */

static void singles_grow(struct stream_index *index)
{
    if (index->single_count < index->bucket_count)
        return;
    uint32_t count = index->bucket_count * 2;
    struct stream_index_node **buckets = mem_zalloc(count * sizeof(struct stream_index_node *));
    for (uint32_t i = 0; i < index->bucket_count; i++)
        for (struct stream_index_node *node = index->buckets[i], *next; node; node = next) {
            next = node->next;
            node->next = buckets[node->hash % count];
            buckets[node->hash % count] = node;
        }
    free(index->buckets);
    index->buckets = buckets;
    index->bucket_count = count;
}

static struct stream_index_node *single_find(const struct stream_index *index, uint32_t scope,
                                             struct slice name)
{
    uint64_t hash = name_hash(scope, name);
    struct stream_index_node *node = index->buckets[hash % index->bucket_count];
    while (node && (node->hash != hash || node->scope != scope ||
                    bytes_compare(node->bytes, node->from_bytes, name.data, name.bytes) != 0))
        node = node->next;
    return node;
}

/* Takes the node over; returns it, or the one that is there already. */
static struct stream_index_node *single_insert(struct stream_index *index,
                                               struct stream_index_node *node)
{
    struct slice name = {node->bytes, node->from_bytes};
    struct stream_index_node *there = single_find(index, node->scope, name);
    if (there) {
        free(node);
        return there;
    }
    singles_grow(index);
    uint64_t hash = name_hash(node->scope, name);
    struct stream_index_node **bucket = &index->buckets[hash % index->bucket_count];
    node->hash = hash;
    node->next = *bucket;
    *bucket = node;
    index->single_count++;
    return node;
}

static void single_remove(struct stream_index *index, struct stream_index_node *node)
{
    struct stream_index_node **at = &index->buckets[node->hash % index->bucket_count];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    index->single_count--;
}

/* --- Ranges ----------------------------------------------------------------------------------- */

static void node_update(struct stream_index_node *node)
{
    node->farthest = node;
    if (node->left && end_compare(node->left->farthest, node->farthest) > 0)
        node->farthest = node->left->farthest;
    if (node->right && end_compare(node->right->farthest, node->farthest) > 0)
        node->farthest = node->right->farthest;
}

static struct stream_index_node *rotate_right(struct stream_index_node *node)
{
    struct stream_index_node *up = node->left;
    node->left = up->right;
    up->right = node;
    node_update(node);
    node_update(up);
    return up;
}

static struct stream_index_node *rotate_left(struct stream_index_node *node)
{
    struct stream_index_node *up = node->right;
    node->right = up->left;
    up->left = node;
    node_update(node);
    node_update(up);
    return up;
}

/* The subtree with the node in it; depth O(log n), as the priorities are random. */
static struct stream_index_node *tree_insert(struct stream_index_node *root,
                                             struct stream_index_node *node)
{
    if (!root) {
        node_update(node);
        return node;
    }
    if (node_compare(node, root) < 0) {
        root->left = tree_insert(root->left, node);
        if (root->left->priority > root->priority)
            return rotate_right(root);
    } else {
        root->right = tree_insert(root->right, node);
        if (root->right->priority > root->priority)
            return rotate_left(root);
    }
    node_update(root);
    return root;
}

static struct stream_index_node *tree_remove(struct stream_index_node *root,
                                             struct stream_index_node *node)
{
    int order = node_compare(node, root);
    if (order == 0) {
        ASSERT(root == node);
        if (!root->left || !root->right)
            return root->left ? root->left : root->right;
        if (root->left->priority > root->right->priority) {
            root = rotate_right(root);
            root->right = tree_remove(root->right, node);
        } else {
            root = rotate_left(root);
            root->left = tree_remove(root->left, node);
        }
    } else if (order < 0) {
        root->left = tree_remove(root->left, node);
    } else {
        root->right = tree_remove(root->right, node);
    }
    node_update(root);
    return root;
}

static struct stream_index_node *tree_find(struct stream_index_node *root,
                                           const struct stream_index_node *like)
{
    int order;
    while (root && (order = node_compare(like, root)) != 0)
        root = order < 0 ? root->left : root->right;
    return root;
}

static struct stream_index_node *range_insert(struct stream_index *index,
                                              struct stream_index_node *node)
{
    struct stream_index_node *there = tree_find(index->root, node);
    if (there) {
        free(node);
        return there;
    }
    index->drawn++;
    node->priority = mix(mix(1, index->drawn), 1);
    index->root = tree_insert(index->root, node);
    return node;
}

/* --- All of it -------------------------------------------------------------------------------- */

void stream_index_add(struct stream_index *index, unsigned kind,
                      const struct feed_interest *interest, struct stream_index_entry *entry)
{
    ASSERT(!entry->node);
    struct stream_index_node *node = node_create(kind, interest);
    node = node->single ? single_insert(index, node) : range_insert(index, node);
    *entry = (struct stream_index_entry){.node = node, .next = node->entries};
    if (node->entries)
        node->entries->previous = entry;
    node->entries = entry;
}

void stream_index_remove(struct stream_index *index, struct stream_index_entry *entry)
{
    struct stream_index_node *node = entry->node;
    ASSERT(node);
    if (entry->next)
        entry->next->previous = entry->previous;
    if (entry->previous)
        entry->previous->next = entry->next;
    else
        node->entries = entry->next;
    *entry = (struct stream_index_entry){0};
    if (node->entries)
        return;
    if (node->single)
        single_remove(index, node);
    else
        index->root = tree_remove(index->root, node);
    free(node);
}

/* What is asked for. */
struct lookup {
    uint32_t scope;
    struct slice name;
    void (*found)(void *arg, struct stream_index_entry *entry);
    void *arg;
};

static void report(const struct lookup *lookup, const struct stream_index_node *node)
{
    for (struct stream_index_entry *entry = node->entries; entry; entry = entry->next)
        lookup->found(lookup->arg, entry);
}

/* Whether the name lies before the end of the node. */
static bool ends_behind(const struct lookup *lookup, const struct stream_index_node *node)
{
    if (node->scope != lookup->scope)
        return node->scope > lookup->scope;
    return node->no_end ||
           bytes_compare(lookup->name.data, lookup->name.bytes, node_to(node), node->to_bytes) < 0;
}

/* Whether it lies at or behind the beginning of the node. */
static bool begins_before(const struct lookup *lookup, const struct stream_index_node *node)
{
    if (node->scope != lookup->scope)
        return node->scope < lookup->scope;
    return bytes_compare(node->bytes, node->from_bytes, lookup->name.data, lookup->name.bytes) <= 0;
}

static void ranges_find(const struct lookup *lookup, const struct stream_index_node *root)
{
    /* Nothing in here reaches as far as the name. */
    if (!root || !ends_behind(lookup, root->farthest))
        return;
    ranges_find(lookup, root->left);
    if (!begins_before(lookup, root))
        return; /* nor does anything that begins later */
    if (root->scope == lookup->scope && ends_behind(lookup, root))
        report(lookup, root);
    ranges_find(lookup, root->right);
}

void stream_index_find(const struct stream_index *index, unsigned kind, uint8_t space,
                       struct slice name,
                       void (*found)(void *arg, struct stream_index_entry *entry), void *arg)
{
    struct lookup lookup = {scope_of(kind, space), name, found, arg};
    const struct stream_index_node *single = single_find(index, lookup.scope, name);
    if (single)
        report(&lookup, single);
    ranges_find(&lookup, index->root);
}
