#include "machine/kv_past.h"

#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

void kv_past_clear(struct kv_past *past)
{
    free(past->items);
    *past = (struct kv_past){0};
}

static bool within(const struct kv_bounds *bounds, struct slice key)
{
    return tables_compare(key, bounds->from) >= 0 &&
           (bounds->no_end || tables_compare(key, bounds->to) < 0);
}

/* By key, the earliest change first. */
static int compare(const void *a, const void *b)
{
    const struct kv_past_key *left = a, *right = b;
    int order = tables_compare(left->key, right->key);
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

/* Keeps the first change of each key. */
static void keep_first(struct kv_past *past)
{
    uint32_t kept = 0;
    if (past->count > 1)
        qsort(past->items, past->count, sizeof *past->items, compare);
    for (uint32_t i = 0; i < past->count; i++)
        if (kept == 0 || tables_compare(past->items[kept - 1].key, past->items[i].key) != 0)
            past->items[kept++] = past->items[i];
    past->count = kept;
}

int kv_past_read(struct tables_tx *tx, enum kv_space space, const struct kv_bounds *bounds,
                 uint64_t revision, struct kv_past *ret)
{
    struct kv_history_reader reader;
    struct kv_change change;
    uint64_t order = 0;
    int rc = kv_history_reader_open(&reader, tx);
    if (rc)
        return rc;
    rc = kv_history_seek(&reader, revision + 1, 0, &change);
    while (!rc) {
        if (change.space == (uint32_t)space && within(bounds, change.key)) {
            LIST_RESERVE(ret);
            ret->items[ret->count++] =
                (struct kv_past_key){.key = change.key, .stored = change.before, .order = order++};
        }
        rc = kv_history_next(&reader, &change);
    }
    kv_history_reader_close(&reader);
    if (rc != CONCLAVE_NOT_FOUND)
        return rc;
    keep_first(ret);
    return 0;
}

int kv_past_get(struct tables_tx *tx, enum kv_space space, struct slice key, uint64_t revision,
                bool *ret_changed, struct slice *ret_stored)
{
    struct kv_history_reader reader;
    struct kv_change change;
    int rc = kv_history_reader_open(&reader, tx);
    if (rc)
        return rc;
    *ret_changed = false;
    rc = kv_history_seek(&reader, revision + 1, 0, &change);
    while (!rc && !*ret_changed) {
        *ret_changed = change.space == (uint32_t)space && tables_compare(change.key, key) == 0;
        if (*ret_changed)
            *ret_stored = change.before;
        else
            rc = kv_history_next(&reader, &change);
    }
    kv_history_reader_close(&reader);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}
