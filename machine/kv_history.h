/* machine/kv_history.h - what happened to keys: every change, in the order of its revision.
 *
 * The table holds, under revision (8 bytes, big-endian) and the number of the change within it (4,
 * big-endian, from 0):
 *
 *     space (1), kind (1), key bytes (2), bytes of the record before it (4), cluster time in ms
 * (8), key, the record that was there before (none: 0 bytes), the record that is there now
 *
 * little-endian; records as in machine/kv_record.h. A delete range, a transaction or the end of a
 * lease is one revision with several changes. A change holds both records, so that any revision
 * from `compacted` on can be read by undoing what came later, whatever came before it, and so that
 * whoever watches gets the value and the one before it from one place.
 *
 * Written with every change, in its transaction; the oldest are erased by later commands, a bounded
 * number each, so that the history is the same on every node after the same entry.
 *
 * Functions return what those of machine/tables.h do. One thread: the state-machine actor's, but
 * for reading from a view. */
#ifndef MACHINE_KV_HISTORY_H
#define MACHINE_KV_HISTORY_H

#include "machine/kv_record.h"
#include "machine/kv_state.h"

enum kv_change_kind { KV_CHANGE_PUT = 1, KV_CHANGE_DELETE = 2, KV_CHANGE_EXPIRE = 3 };

enum {
    KV_HISTORY_KEY_BYTES = 12,
    KV_HISTORY_HEADER_BYTES = 16,
    KV_HISTORY_STEP = 512,    /* changes that are erased after one command, at most */
    KV_HISTORY_TICK = 1 << 14 /* when time passes, or settings change */
};

struct kv_change {
    uint64_t revision;
    uint32_t sub; /* within the revision */
    uint32_t space;
    enum kv_change_kind kind;
    uint64_t clock_ms;
    struct slice key;
    struct slice before, after; /* records; empty: there was none, there is none now */
};

/* Appends a change, which is behind all others. `cursor` is on TABLE_HISTORY with `append` set. The
 * record now is *ret_after, for the caller to write: `after.bytes` of them. */
MUST_USE int kv_history_append(struct tables_cursor *cursor, struct kv_state *state,
                               const struct kv_change *change, void **ret_after);

/* Erases the oldest ones while there are more than settings allow; at most `budget`. */
MUST_USE int kv_history_compact(struct tables_cursor *cursor, struct kv_state *state,
                                uint32_t budget);

/* The same for those that are too old at this cluster time. */
MUST_USE int kv_history_age(struct tables_cursor *cursor, struct kv_state *state, uint64_t clock_ms,
                            uint32_t budget);

/* --- Reading: a cursor on TABLE_HISTORY --------------------------------------------------------
 */

/* The first change at or behind this place; then the next. NOT_FOUND: there is none.
 * CORRUPT. The slices are borrowed from the table. */
MUST_USE int kv_history_seek(struct tables_cursor *cursor, uint64_t revision, uint32_t sub,
                             struct kv_change *ret);
MUST_USE int kv_history_next(struct tables_cursor *cursor, struct kv_change *ret);

#endif
