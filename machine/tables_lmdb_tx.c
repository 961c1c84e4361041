/* Transactions, cursors and views of the tables in LMDB. */
#include "machine/tables_lmdb_internal.h"

#include "base/fatal.h"
#include "base/prefetch.h"

#include <stdlib.h>

/* LMDB takes keys as pointers to what it does not change. */
static MDB_val val_of(struct slice slice)
{
    return (MDB_val){slice.bytes, (void *)(uintptr_t)slice.data};
}

static struct slice slice_of(const MDB_val *val)
{
    return (struct slice){val->mv_data, val->mv_size};
}

static MDB_dbi dbi_of(const struct tables_tx *tx, enum table table)
{
    return lmdb_of(tx->tables)->dbis[table];
}

/* --- Transactions ------------------------------------------------------------------------------
 */

/* The last keys are those of a transaction. */
static void forget_last_keys(struct lmdb *lmdb)
{
    for (int i = 0; i < TABLES; i++)
        lmdb->tails[i].last_bytes = 0;
}

int lmdb_begin(struct tables *tables, struct tables_tx *ret_tx)
{
    struct lmdb *lmdb = lmdb_of(tables);
    /* What the queries read would pin pages that this transaction could use again, and no
     * transaction may be open when the map grows. */
    if (lmdb->reading)
        mdb_txn_reset(lmdb->read);
    lmdb->reading = false;
    int rc = lmdb->clean ? tables_owner_write(&lmdb->owner, false) : 0;
    if (rc)
        return lmdb_code(rc);
    lmdb->clean = false;

    MDB_txn *txn;
    rc = mdb_txn_begin(lmdb->env, NULL, 0, &txn);
    if (!rc)
        *ret_tx = (struct tables_tx){.tables = tables, .handle = txn};
    return lmdb_code(rc);
}

int lmdb_commit(struct tables_tx *tx, const struct tables_state *state)
{
    forget_last_keys(lmdb_of(tx->tables));
    int rc = lmdb_state_write(lmdb_of(tx->tables), tx->handle, state);
    if (rc) {
        mdb_txn_abort(tx->handle);
        return lmdb_code(rc);
    }
    rc = mdb_txn_commit(tx->handle);
    if (!rc)
        tx->tables->state = *state;
    return lmdb_code(rc);
}

void lmdb_abort(struct tables_tx *tx)
{
    forget_last_keys(lmdb_of(tx->tables));
    mdb_txn_abort(tx->handle);
}

int lmdb_read(struct tables *tables, struct tables_tx **ret_tx)
{
    struct lmdb *lmdb = lmdb_of(tables);
    if (!lmdb->reading) {
        int rc = mdb_txn_renew(lmdb->read);
        if (rc)
            return lmdb_code(rc);
        lmdb->reading = true;
    }
    *ret_tx = &lmdb->read_tx;
    return CONCLAVE_OK;
}

/* --- Views -------------------------------------------------------------------------------------
 */

/* The mutex is held. */
static void drop_view(struct lmdb *lmdb)
{
    mdb_txn_abort(lmdb->view->view.tx.handle);
    lmdb->view->view.tx.handle = NULL;
    lmdb->view = NULL;
}

bool lmdb_end_view(struct lmdb *lmdb)
{
    pthread_mutex_lock(&lmdb->view_mutex);
    bool open = lmdb->view != NULL;
    if (open)
        drop_view(lmdb);
    pthread_mutex_unlock(&lmdb->view_mutex);
    return open;
}

int lmdb_view_begin(struct tables *tables, struct tables_view **ret_view)
{
    struct lmdb *lmdb = lmdb_of(tables);
    ASSERT(!lmdb->view);
    int code = lmdb_make_room(lmdb);
    if (code)
        return code;
    MDB_txn *txn;
    int rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return lmdb_code(rc);
    struct lmdb_view *view = mem_zalloc(sizeof *view);
    view->view.tx = (struct tables_tx){.tables = tables, .handle = txn};
    pthread_mutex_lock(&lmdb->view_mutex);
    lmdb->view = view;
    pthread_mutex_unlock(&lmdb->view_mutex);
    *ret_view = &view->view;
    return CONCLAVE_OK;
}

bool lmdb_view_enter(struct tables_view *view)
{
    struct lmdb *lmdb = lmdb_of(view->tx.tables);
    pthread_mutex_lock(&lmdb->view_mutex);
    if (view->tx.handle)
        return true;
    pthread_mutex_unlock(&lmdb->view_mutex);
    return false;
}

void lmdb_view_leave(struct tables_view *view)
{
    pthread_mutex_unlock(&lmdb_of(view->tx.tables)->view_mutex);
}

void lmdb_view_end(struct tables_view *view)
{
    struct lmdb *lmdb = lmdb_of(view->tx.tables);
    pthread_mutex_lock(&lmdb->view_mutex);
    if (view->tx.handle)
        drop_view(lmdb);
    pthread_mutex_unlock(&lmdb->view_mutex);
    free(view);
}

/* --- Single keys -------------------------------------------------------------------------------
 */

int lmdb_get(struct tables_tx *tx, enum table table, struct slice key, struct slice *ret_value)
{
    MDB_val name = val_of(key), value;
    int rc = mdb_get(tx->handle, dbi_of(tx, table), &name, &value);
    if (!rc)
        *ret_value = slice_of(&value);
    return lmdb_code(rc);
}

int lmdb_put(struct tables_tx *tx, enum table table, struct slice key, size_t bytes,
             void **ret_room)
{
    MDB_val name = val_of(key), value = {bytes, NULL};
    lmdb_of(tx->tables)->tails[table].last_bytes = 0; /* it may be behind that one */
    int rc = mdb_put(tx->handle, dbi_of(tx, table), &name, &value, MDB_RESERVE);
    *ret_room = value.mv_data;
    return lmdb_code(rc);
}

int lmdb_erase(struct tables_tx *tx, enum table table, struct slice key)
{
    MDB_val name = val_of(key);
    return lmdb_code(mdb_del(tx->handle, dbi_of(tx, table), &name, NULL));
}

/* --- Cursors -----------------------------------------------------------------------------------
 */

int lmdb_cursor_open(struct tables_cursor *cursor)
{
    MDB_cursor *handle;
    int rc = mdb_cursor_open(cursor->tx->handle, dbi_of(cursor->tx, cursor->table), &handle);
    if (rc)
        cursor->tx = NULL;
    else
        cursor->handle = handle;
    return lmdb_code(rc);
}

void lmdb_cursor_close(struct tables_cursor *cursor)
{
    mdb_cursor_close(cursor->handle);
}

/* LMDB's note that a cursor is at the end of its table (0.9.24) is not always taken back by a put
 * elsewhere: at the end of another page the next key would not be found. Who walks on behind a put
 * finds its key first, which takes it back. */
static int refind(struct tables_cursor *cursor)
{
    MDB_val key, value;
    if (!cursor->refind)
        return 0;
    cursor->refind = false;
    int rc = mdb_cursor_get(cursor->handle, &key, &value, MDB_GET_CURRENT);
    return rc ? rc : mdb_cursor_get(cursor->handle, &key, &value, MDB_SET_KEY);
}

/* Nothing is known, or the key is not behind that: it may be there. */
static bool may_be_there(const struct lmdb_tail *tail, struct slice key)
{
    return tail->last_bytes == 0 ||
           tables_compare(key, (struct slice){tail->last, tail->last_bytes}) <= 0;
}

int lmdb_cursor_move(struct tables_cursor *cursor, enum tables_move move, struct slice *key,
                     struct slice *ret_value)
{
    struct lmdb_tail *tail = &lmdb_of(cursor->tx->tables)->tails[cursor->table];
    if (move == TABLES_AT && !may_be_there(tail, *key)) {
        cursor->refind = false;
        return CONCLAVE_NOT_FOUND;
    }
    static const MDB_cursor_op ops[] = {[TABLES_AT] = MDB_SET_KEY,
                                        [TABLES_FROM] = MDB_SET_RANGE,
                                        [TABLES_LAST] = MDB_LAST,
                                        [TABLES_NEXT] = MDB_NEXT,
                                        [TABLES_PREVIOUS] = MDB_PREV};
    MDB_cursor_op op = move == TABLES_FROM && key->bytes == 0 ? MDB_FIRST : ops[move];
    MDB_val name = val_of(*key), value;
    int rc = move == TABLES_NEXT ? refind(cursor) : 0;
    if (!rc)
        rc = mdb_cursor_get(cursor->handle, &name, ret_value ? &value : NULL, op);
    if (!rc)
        *key = slice_of(&name);
    if (!rc && ret_value)
        *ret_value = slice_of(&value);
    cursor->refind = false;
    return lmdb_code(rc);
}

/* Whether to try if the key is behind all others: pages that are appended to become full, others
 * half full or nearly, and nothing is searched. It costs where it is not, so less and less
 * keys are tried while they fail. */
static bool tail_tries(struct lmdb_tail *tail)
{
    tail->puts++;
    return tail->puts >= tail->every;
}

static void tail_learns(struct lmdb_tail *tail, struct slice key, bool behind)
{
    if (behind) {
        tail->last_bytes = (uint32_t)key.bytes;
        memcpy(tail->last, key.data, key.bytes);
    }
    enum { EVERY_MAX = 256 };
    tail->puts = 0;
    tail->every = behind ? 1 : 2 * (tail->every + 1);
    if (tail->every > EVERY_MAX)
        tail->every = EVERY_MAX;
}

/* LMDB fills a page from its end. Where the records behind this one go, if they are as large, the
 * page is in no cache, since the kernel has made it a while ago: to wait for it with each record
 * took longer than to write it. */
static void fetch_next(const void *room, size_t bytes)
{
    enum { AHEAD = 2, BYTES_MAX = 1024 };
    if (bytes <= BYTES_MAX)
        prefetch_for_write((const char *)room - AHEAD * bytes, bytes);
}

int lmdb_cursor_put(struct tables_cursor *cursor, struct slice key, size_t bytes, void **ret_room)
{
    struct lmdb_tail *tail = &lmdb_of(cursor->tx->tables)->tails[cursor->table];
    MDB_val name = val_of(key), value = {bytes, NULL};
    int rc = MDB_KEYEXIST;
    if (cursor->append || tail_tries(tail)) {
        rc = mdb_cursor_put(cursor->handle, &name, &value, MDB_RESERVE | MDB_APPEND);
        tail_learns(tail, key, rc == 0);
        cursor->refind = false;
    } else {
        tail->last_bytes = 0; /* it may be behind that one */
    }
    if (rc == MDB_KEYEXIST) { /* not behind all others: it goes where it belongs */
        rc = mdb_cursor_put(cursor->handle, &name, &value, MDB_RESERVE);
        cursor->refind = true;
    }
    *ret_room = value.mv_data;
    if (!rc && tail->every == 1)
        fetch_next(value.mv_data, key.bytes + bytes);
    return lmdb_code(rc);
}

/* The key that it stands on need not be looked for. */
static bool stands_on(const struct tables_cursor *cursor, const MDB_val *name)
{
    MDB_val there;
    return cursor->placed && !cursor->erased &&
           mdb_cursor_get(cursor->handle, &there, NULL, MDB_GET_CURRENT) == 0 &&
           there.mv_size == name->mv_size &&
           memcmp(there.mv_data, name->mv_data, name->mv_size) == 0;
}

int lmdb_cursor_put_bytes(struct tables_cursor *cursor, struct slice key, struct slice value)
{
    MDB_val name = val_of(key), data = val_of(value);
    if (stands_on(cursor, &name)) {
        cursor->refind = true;
        return lmdb_code(mdb_cursor_put(cursor->handle, &name, &data, MDB_CURRENT));
    }
    void *room = NULL;
    int rc = lmdb_cursor_put(cursor, key, value.bytes, &room);
    if (!rc && value.bytes)
        memcpy(room, value.data, value.bytes);
    return rc;
}

int lmdb_cursor_erase(struct tables_cursor *cursor)
{
    int rc = refind(cursor);
    if (rc)
        return lmdb_code(rc);
    return lmdb_code(mdb_cursor_del(cursor->handle, 0));
}

int lmdb_cursor_read(struct tables_cursor *cursor, struct slice *ret_key, struct slice *ret_value)
{
    MDB_val key, value;
    int rc = mdb_cursor_get(cursor->handle, &key, &value, MDB_GET_CURRENT);
    if (!rc) {
        *ret_key = slice_of(&key);
        *ret_value = slice_of(&value);
    }
    return lmdb_code(rc);
}
