/* machine/tables.h - where a machine keeps its data: several ordered tables of bytes, all of them
 * changed in one transaction together with the applied index (Rule 7).
 *
 *     tables_lmdb.h    files, for nodes; a cache of the log, kept or thrown away as a whole
 *     tables_memory.h  memory, for tests and simulations; the same results, step by step
 *
 * Keys have 1 to TABLES_KEY_BYTES_MAX bytes and are ordered as by memcmp, a prefix first. What a
 * read points to is valid until the next change of that table or the end of its transaction.
 *
 * Functions return 0, a public code, or, while changing, TABLES_FULL. A failure is this node's own
 * and never an answer to a command. One thread, the state-machine actor's, but for views. */
#ifndef MACHINE_TABLES_H
#define MACHINE_TABLES_H

#include "base/buf.h"
#include "base/error.h"
#include "base/fatal.h"
#include "machine/tables_digest.h"
#include "machine/tables_part.h"

#include <string.h>

/* Numbers are those of snapshots (machine/kv_snapshot.h): new ones go to the end. */
enum table {
    TABLE_KEYS,
    TABLE_SESSIONS,
    TABLE_HISTORY,   /* machine/kv_history.h */
    TABLE_COORD,     /* keys of space 1 (machine/kv_change.h) */
    TABLE_LEASES,    /* machine/kv_lease.h, as the next two */
    TABLE_ATTACHED,  /* keys by the lease that they end with */
    TABLE_DEADLINES, /* what ends by cluster time, the earliest first */
    TABLE_TOPICS,
    TABLE_MESSAGES,
    TABLE_GROUPS, /* machine/group_record.h */
    TABLES
};

enum {
    TABLES_KEY_BYTES_MAX = 511,
    TABLES_NOTE_BYTES_MAX = 192,

    /* No room as things stand: abort, tables_grow, and everything once more from its begin. */
    TABLES_FULL = -1
};

/* Committed with every transaction: the applied index, and what the machine notes beside it. The
 * digest is the tables' own: a commit writes that of its transaction. */
struct tables_state {
    uint64_t applied_index;
    uint64_t digest; /* machine/tables_digest.h */
    uint32_t note_bytes;
    uint8_t note[TABLES_NOTE_BYTES_MAX];
};

struct tables;
struct tables_tx;
struct tables_view;
struct tables_cursor;

enum tables_move {
    TABLES_AT,   /* the key that is given */
    TABLES_FROM, /* the first key at or behind the one that is given; empty: the first */
    TABLES_LAST,
    TABLES_NEXT,
    TABLES_PREVIOUS
};

/* What an implementation is. The functions of the same names below say what each does. */
struct tables_ops {
    int (*open)(struct tables *tables, const struct conclave_machine_env *env,
                struct conclave_error *error);
    void (*close)(struct tables *tables);
    void (*destroy)(struct tables *tables);
    int (*sync)(struct tables *tables);
    int (*grow)(struct tables *tables);
    int (*reserve)(struct tables *tables, bool lacking); /* NULL: there is always room */
    void (*next_part)(struct tables *tables, struct tables_part *ret); /* NULL: there is no file */
    int (*begin_anew)(struct tables *tables);
    int (*trust)(struct tables *tables);

    int (*begin)(struct tables *tables, struct tables_tx *ret_tx);
    int (*commit)(struct tables_tx *tx, const struct tables_state *state);
    void (*abort)(struct tables_tx *tx);
    int (*read)(struct tables *tables, struct tables_tx **ret_tx);

    int (*view_begin)(struct tables *tables, struct tables_view **ret_view);
    bool (*view_enter)(struct tables_view *view);
    void (*view_leave)(struct tables_view *view);
    void (*view_end)(struct tables_view *view);

    int (*get)(struct tables_tx *tx, enum table table, struct slice key, struct slice *ret_value);
    int (*put)(struct tables_tx *tx, enum table table, struct slice key, size_t bytes,
               void **ret_room);
    int (*erase)(struct tables_tx *tx, enum table table, struct slice key);

    int (*cursor_open)(struct tables_cursor *cursor);
    void (*cursor_close)(struct tables_cursor *cursor);
    int (*cursor_move)(struct tables_cursor *cursor, enum tables_move move, struct slice *key,
                       struct slice *ret_value);
    int (*cursor_put)(struct tables_cursor *cursor, struct slice key, size_t bytes,
                      void **ret_room);
    /* NULL: cursor_put, and a copy. */
    int (*cursor_put_bytes)(struct tables_cursor *cursor, struct slice key, struct slice value);
    int (*cursor_erase)(struct tables_cursor *cursor);
    /* Where it stands. */
    int (*cursor_read)(struct tables_cursor *cursor, struct slice *ret_key,
                       struct slice *ret_value);
};

/* The head of every implementation. */
struct tables {
    const struct tables_ops *ops;
    struct tables_state state; /* as committed last; all zero: never */
};

/* A value that was put and is being written by who put it. All zero: none. */
struct tables_room {
    uint64_t place;
    const void *data;
    size_t bytes;
};

struct tables_tx {
    struct tables *tables;
    void *handle;
    uint64_t digest; /* of a transaction that changes, but for what is in `room` */
    struct tables_room room;
};

/* A place in a table, or nowhere. */
struct tables_cursor {
    struct tables_tx *tx;
    enum table table;
    bool placed, erased;
    bool append;  /* set by its user: most keys that are put are behind all others of the table */
    bool fresh;   /* set by its user: the key that is put next is not there yet */
    bool counted; /* set by its user: who changes through it keeps the digest (tables_count) */
    bool refind;  /* the implementation's */
    void *handle;
};

/* The head of every implementation's. */
struct tables_view {
    struct tables_tx tx;
};

/* --- Life --------------------------------------------------------------------------------------
 */

/* Opens what is there, or begins anew in its place if it cannot be trusted: it is of another node,
 * or of an earlier boot and was not synced. On failure describes it in *error. */
MUST_USE static inline int tables_open(struct tables *tables,
                                       const struct conclave_machine_env *env,
                                       struct conclave_error *error)
{
    return tables->ops->open(tables, env, error);
}

/* No transaction, cursor or view is open. Syncs nothing. What was committed is found by the next
 * open in this boot. */
static inline void tables_close(struct tables *tables)
{
    tables->ops->close(tables);
}

/* NULL is allowed. Closed before. */
static inline void tables_destroy(struct tables *tables)
{
    if (tables)
        tables->ops->destroy(tables);
}

/* From here until the next change every later boot trusts what was committed. */
MUST_USE static inline int tables_sync(struct tables *tables)
{
    return tables->ops->sync(tables);
}

/* Makes room after TABLES_FULL; views end. A public code: there is none. */
MUST_USE static inline int tables_grow(struct tables *tables)
{
    return tables->ops->grow(tables);
}

/* Whether there is room left for deletes, which is made if it can be: views may end then. No
 * transaction is open. `lacking`: there was none, so that some more is wanted. NO_SPACE: there is
 * little; changes can go on while they find any. */
MUST_USE static inline int tables_reserve(struct tables *tables, bool lacking)
{
    return tables->ops->reserve ? tables->ops->reserve(tables, lacking) : CONCLAVE_OK;
}

/* The part of the file whose turn it is to be written to disk (machine/tables_trickle.h); from the
 * front again behind the last. Its pages may be slow to be touched next. */
static inline void tables_next_part(struct tables *tables, struct tables_part *ret)
{
    *ret = (struct tables_part){0};
    if (tables->ops->next_part)
        tables->ops->next_part(tables, ret);
}

/* Throws everything away. Nothing that is committed from here on is found by an open, until
 * tables_trust. Views end. */
MUST_USE static inline int tables_begin_anew(struct tables *tables)
{
    return tables->ops->begin_anew(tables);
}
MUST_USE static inline int tables_trust(struct tables *tables)
{
    return tables->ops->trust(tables);
}

/* --- Transactions ------------------------------------------------------------------------------
 */

/* The transaction that changes; one at a time. Ends what tables_read gave. */
MUST_USE static inline int tables_begin(struct tables *tables, struct tables_tx *ret_tx)
{
    int rc = tables->ops->begin(tables, ret_tx);
    if (!rc)
        ret_tx->digest = tables->state.digest;
    return rc;
}

/* The value that was put last counts, as it is written now (machine/tables_digest.c, as the next
 * ones): before anything else is done with the transaction. */
void tables_seal_room(struct tables_tx *tx);
static inline void tables_seal(struct tables_tx *tx)
{
    if (tx->room.data)
        tables_seal_room(tx);
}

/* Which tables the digest is of. */
bool tables_are_summed(uint32_t table);

/* rc. What was put counts from now on; what is stored under a key, or there where the cursor
 * stands if it is that key, if anything is, counts no more. Of tables that are summed. */
void tables_digest_put(struct tables_tx *tx, enum table table, struct slice key, const void *room,
                       size_t bytes);
MUST_USE int tables_digest_take(struct tables_tx *tx, enum table table, struct slice key);
MUST_USE int tables_digest_take_here(struct tables_cursor *cursor, struct slice key);

/* For who changes through a cursor of his own count: at this place of a table that is summed a
 * value goes, and another one comes. 0: there was none, there is none now. */
static inline void tables_count(struct tables_tx *tx, uint64_t place, uint64_t old_hash,
                                uint64_t new_hash)
{
    if (old_hash)
        tx->digest -= digest_mix(place, old_hash);
    if (new_hash)
        tx->digest += digest_mix(place, new_hash);
}

/* All or nothing, with this state, also for a process that is killed. Its cursors are closed
 * before. The transaction is over either way. */
MUST_USE static inline int tables_commit(struct tables_tx *tx, const struct tables_state *state)
{
    ASSERT(state->applied_index >= tx->tables->state.applied_index);
    ASSERT(state->note_bytes <= TABLES_NOTE_BYTES_MAX);
    struct tables_state summed = *state;
    tables_seal(tx);
    summed.digest = tx->digest;
    return tx->tables->ops->commit(tx, &summed);
}
static inline void tables_abort(struct tables_tx *tx)
{
    tx->tables->ops->abort(tx);
}

/* Everything committed, to be read until the next begin. Need not be ended. */
MUST_USE static inline int tables_read(struct tables *tables, struct tables_tx **ret_tx)
{
    return tables->ops->read(tables, ret_tx);
}

/* --- Views -------------------------------------------------------------------------------------
 *
 * Everything as it is committed now, to be read by another thread while changes go on; one at a
 * time. The other thread reads view->tx between enter and leave, in short pieces: changes that need
 * room wait for them. Enter answers false when the view was ended by a lack of room: nothing of it
 * may be used then. Cursors stay where they are from one piece to the next. Begun and ended by the
 * state-machine thread, when nobody reads it any more. */
MUST_USE static inline int tables_view_begin(struct tables *tables, struct tables_view **ret_view)
{
    return tables->ops->view_begin(tables, ret_view);
}
MUST_USE static inline bool tables_view_enter(struct tables_view *view)
{
    return view->tx.tables->ops->view_enter(view);
}
static inline void tables_view_leave(struct tables_view *view)
{
    view->tx.tables->ops->view_leave(view);
}
static inline void tables_view_end(struct tables_view *view)
{
    view->tx.tables->ops->view_end(view);
}

/* --- Single keys -------------------------------------------------------------------------------
 */

/* NOT_FOUND, with *ret_value untouched, if there is none. */
MUST_USE static inline int tables_get(struct tables_tx *tx, enum table table, struct slice key,
                                      struct slice *ret_value)
{
    return tx->tables->ops->get(tx, table, key, ret_value);
}

/* Puts a value of so many bytes, which the caller writes to *ret_room before it does anything else
 * with the transaction. Cursors on this table are nowhere then, as after tables_erase. */
MUST_USE static inline int tables_put(struct tables_tx *tx, enum table table, struct slice key,
                                      size_t bytes, void **ret_room)
{
    bool summed = tables_are_summed(table);
    tables_seal(tx);
    int rc = summed ? tables_digest_take(tx, table, key) : 0;
    if (!rc)
        rc = tx->tables->ops->put(tx, table, key, bytes, ret_room);
    if (!rc && summed)
        tables_digest_put(tx, table, key, *ret_room, bytes);
    return rc;
}

/* NOT_FOUND if there is none. */
MUST_USE static inline int tables_erase(struct tables_tx *tx, enum table table, struct slice key)
{
    tables_seal(tx);
    int rc = tables_are_summed(table) ? tables_digest_take(tx, table, key) : 0;
    return rc ? rc : tx->tables->ops->erase(tx, table, key);
}

/* --- Cursors -----------------------------------------------------------------------------------
 */

/* Nowhere at first. *ret_cursor need not be initialised. */
MUST_USE static inline int tables_cursor_open(struct tables_tx *tx, enum table table,
                                              struct tables_cursor *ret_cursor)
{
    *ret_cursor = (struct tables_cursor){.tx = tx, .table = table};
    return tx->tables->ops->cursor_open(ret_cursor);
}

/* Allowed for one that was not opened, all zero. */
static inline void tables_cursor_close(struct tables_cursor *cursor)
{
    if (cursor->tx)
        cursor->tx->tables->ops->cursor_close(cursor);
    cursor->tx = NULL;
}

/* Goes there; *key is what it found, and where to go for AT and FROM. ret_value may be NULL.
 * NOT_FOUND: there is nothing, and the cursor is nowhere. NEXT and PREVIOUS: only from a place;
 * after cursor_erase only NEXT, which is the key that followed. */
MUST_USE static inline int tables_cursor_move(struct tables_cursor *cursor, enum tables_move move,
                                              struct slice *key, struct slice *ret_value)
{
    ASSERT(cursor->placed || (move != TABLES_NEXT && move != TABLES_PREVIOUS));
    ASSERT(!cursor->erased || move != TABLES_PREVIOUS);
    int rc = cursor->tx->tables->ops->cursor_move(cursor, move, key, ret_value);
    cursor->placed = rc == 0;
    cursor->erased = false;
    return rc;
}

/* As tables_put; the cursor stands on the key then. Fast where it was on it before. */
MUST_USE static inline int tables_cursor_put(struct tables_cursor *cursor, struct slice key,
                                             size_t bytes, void **ret_room)
{
    bool summed = tables_are_summed(cursor->table) && !cursor->counted;
    tables_seal(cursor->tx);
    int rc = summed ? tables_digest_take_here(cursor, key) : 0;
    if (!rc)
        rc = cursor->tx->tables->ops->cursor_put(cursor, key, bytes, ret_room);
    if (!rc && summed)
        tables_digest_put(cursor->tx, cursor->table, key, *ret_room, bytes);
    cursor->placed = rc == 0;
    cursor->erased = cursor->fresh = false;
    return rc;
}

/* The same with a copy of a value, which is not the table's; fastest where it stands on the key. */
MUST_USE static inline int tables_cursor_put_bytes(struct tables_cursor *cursor, struct slice key,
                                                   struct slice value)
{
    const struct tables_ops *ops = cursor->tx->tables->ops;
    void *room = NULL;
    if (!ops->cursor_put_bytes) {
        int rc = tables_cursor_put(cursor, key, value.bytes, &room);
        if (!rc && value.bytes)
            memcpy(room, value.data, value.bytes);
        return rc;
    }
    bool summed = tables_are_summed(cursor->table) && !cursor->counted;
    tables_seal(cursor->tx);
    int rc = summed ? tables_digest_take_here(cursor, key) : 0;
    if (!rc)
        rc = ops->cursor_put_bytes(cursor, key, value);
    if (!rc && summed) {
        tables_digest_put(cursor->tx, cursor->table, key, value.data, value.bytes);
        tables_seal(cursor->tx);
    }
    cursor->placed = rc == 0;
    cursor->erased = cursor->fresh = false;
    return rc;
}

/* Erases the key that it stands on. */
MUST_USE static inline int tables_cursor_erase(struct tables_cursor *cursor)
{
    ASSERT(cursor->placed && !cursor->erased);
    struct slice key, old;
    int rc = 0;
    tables_seal(cursor->tx);
    if (tables_are_summed(cursor->table) && !cursor->counted) {
        rc = cursor->tx->tables->ops->cursor_read(cursor, &key, &old);
        if (!rc)
            cursor->tx->digest -= digest_of(digest_place(cursor->table, key), old);
    }
    cursor->erased = true;
    return rc ? rc : cursor->tx->tables->ops->cursor_erase(cursor);
}

/* --- Helpers -----------------------------------------------------------------------------------
 */

/* Puts a copy. */
MUST_USE static inline int tables_put_bytes(struct tables_tx *tx, enum table table,
                                            struct slice key, struct slice value)
{
    void *room = NULL;
    int rc = tables_put(tx, table, key, value.bytes, &room);
    if (!rc && value.bytes)
        memcpy(room, value.data, value.bytes);
    return rc;
}

/* The order of the tables: below, equal, above 0. */
static inline int tables_compare(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

#endif
