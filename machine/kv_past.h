/* machine/kv_past.h - keys as they were at an older revision: as they are now, without what changed
 * since. The changes are those of the history behind that revision; the first one of each key
 * tells what was there before it.
 *
 * Bytes are borrowed from the tables. State-machine thread. */
#ifndef MACHINE_KV_PAST_H
#define MACHINE_KV_PAST_H

#include "codec/kv.h"
#include "machine/kv_change.h"

/* A key that has changed since. */
struct kv_past_key {
    struct slice key;
    struct slice stored; /* record and value then; empty: there was no such key */
    uint64_t order;
};

/* All that changed since, in the order of the keys. All zero: nothing. */
struct kv_past {
    struct kv_past_key *items;
    uint32_t count, capacity;
};

/* What changed in the space since the revision, within these bounds. Codes of the tables. */
MUST_USE int kv_past_read(struct tables_tx *tx, enum kv_space space, const struct kv_bounds *bounds,
                          uint64_t revision, struct kv_past *ret);
void kv_past_clear(struct kv_past *past);

/* One key: *ret_changed says whether it changed since; then what it was. */
MUST_USE int kv_past_get(struct tables_tx *tx, enum kv_space space, struct slice key,
                         uint64_t revision, bool *ret_changed, struct slice *ret_stored);

#endif
