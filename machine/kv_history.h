/* machine/kv_history.h - what happened to keys: every change, in the order of its revision.
 *
 * Changes lie one behind the other in blocks, so that one put into the table stores many of them. A
 * block is named by its first change: revision (8 bytes, big-endian) and the number of the change
 * within it (4, big-endian, from 0). It takes changes as long as they fit into one page of the
 * store; a change that is larger than that has a block of its own. In front are how many changes it
 * has (4), the sum of their checksums (4; 0: not known, as in older ones) and the revision of the
 * last of them (8): a block may go unread. A change is
 *
 *     bytes of all of it (4), revision (8), number within the revision (4), space (1), kind (1),
 * key bytes (2), bytes of the record before it (4), cluster time in ms (8), key, the record that
 * was there before (none: 0 bytes), the record that is there now
 *
 * little-endian; records as in machine/kv_record.h. A delete range, a transaction or the end of a
 * lease is one revision with several changes. A change holds both records, so that any revision
 * from `compacted` on can be read by undoing what came later, whatever came before it, and so that
 * whoever watches gets the value and the one before it from one place.
 *
 * Written with every change, in its transaction; the oldest are erased by later commands, a bounded
 * number each. Where a block ends follows from the changes alone, so the history is the same on
 * every node after the same entry, to the byte.
 *
 * Functions return what those of machine/tables.h do. One thread: the state-machine actor's, but
 * for reading from a view. */
#ifndef MACHINE_KV_HISTORY_H
#define MACHINE_KV_HISTORY_H

#include "machine/kv_record.h"
#include "machine/kv_state.h"

enum kv_change_kind { KV_CHANGE_PUT = 1, KV_CHANGE_DELETE = 2, KV_CHANGE_EXPIRE = 3 };

enum {
    KV_HISTORY_NAME_BYTES = 12,
    KV_HISTORY_FRONT_BYTES = 16, /* of a block */
    KV_HISTORY_HEADER_BYTES = 32,
    KV_HISTORY_BLOCK_BYTES = 4080, /* with LMDB's header of 16 bytes: one page */
    KV_HISTORY_STEP = 512,         /* changes that are erased after one command, at most */
    KV_HISTORY_TICK = 1 << 14      /* when time passes, or settings change */
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

/* The digests of a change (machine/tables_digest.h): the place of its key, and the hashes of both
 * records, 0 for none. Whoever makes the change knows them. */
struct kv_change_sums {
    uint64_t place, before, after;
};

/* What stands in front of a block. */
struct kv_history_front {
    uint32_t count;
    uint32_t sum;
    uint64_t revision; /* of the last change */
};

/* The history while a batch changes it. All zero: nothing was done yet. */
struct kv_history {
    struct tables_tx *tx;
    struct tables_cursor cursor;
    bool loaded; /* the last block was looked at, and is here if changes may go on in it */
    bool dirty;  /* the table does not have all of it yet */
    uint8_t name[KV_HISTORY_NAME_BYTES];
    uint8_t *block;
    size_t used, capacity; /* used 0: the next change begins a block */
    struct kv_history_front front;
};

void kv_history_init(struct kv_history *history, struct tables_tx *tx);
void kv_history_deinit(struct kv_history *history);

/* Appends a change, which is behind all others. The record now is *ret_after, for the caller to
 * write before anything else is done with the history: `after.bytes` of them. */
MUST_USE int kv_history_append(struct kv_history *history, struct kv_state *state,
                               const struct kv_change *change, void **ret_after);

/* Counts the change that was appended last, all of which is written now. */
void kv_history_count(struct kv_history *history, const struct kv_change *change,
                      const struct kv_change_sums *sums);

/* Puts into the table what is not there yet: before a commit. */
MUST_USE int kv_history_flush(struct kv_history *history);

/* Erases the oldest ones while there are more than settings allow; at most `budget`. */
MUST_USE int kv_history_compact(struct kv_history *history, struct kv_state *state,
                                uint32_t budget);

/* The same for those that are too old at this cluster time. */
MUST_USE int kv_history_age(struct kv_history *history, struct kv_state *state, uint64_t clock_ms,
                            uint32_t budget);

/* --- Reading what was committed ----------------------------------------------------------------
 */

struct kv_history_reader {
    struct tables_cursor cursor;
    struct slice block;
    size_t at; /* of the next change in the block */
};

MUST_USE int kv_history_reader_open(struct kv_history_reader *reader, struct tables_tx *tx);

/* Allowed for one that was not opened, all zero. */
void kv_history_reader_close(struct kv_history_reader *reader);

/* The first change at or behind this place; then the next. NOT_FOUND: there is none.
 * CORRUPT. The slices are borrowed from the table, until its transaction ends. */
MUST_USE int kv_history_seek(struct kv_history_reader *reader, uint64_t revision, uint32_t sub,
                             struct kv_change *ret);
MUST_USE int kv_history_next(struct kv_history_reader *reader, struct kv_change *ret);

/* The change at `at` of a block; *ret_bytes is its size. NOT_FOUND: the block ends there. */
MUST_USE int kv_history_change_read(struct slice block, size_t at, struct kv_change *ret,
                                    size_t *ret_bytes);

/* What stands in front of a block. CORRUPT. */
MUST_USE int kv_history_front_read(struct slice block, struct kv_history_front *ret);

/* The checksum of a change. */
uint32_t kv_history_sum_of(const struct kv_change *change, const struct kv_change_sums *sums);

/* What has to stand in front of the changes of a block. CORRUPT. */
MUST_USE int kv_history_front_make(struct slice block, struct kv_history_front *ret);

/* What a block is named that begins with this change. */
struct slice kv_history_name(uint8_t name[KV_HISTORY_NAME_BYTES], uint64_t revision, uint32_t sub);

#endif
