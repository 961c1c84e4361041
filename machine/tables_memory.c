#include "machine/tables_memory.h"

#include "base/fatal.h"
#include "machine/treap.h"

#include <stdlib.h>
#include <string.h>

struct memory {
    struct tables tables;
    struct treap_node *maps[TABLES];     /* committed */
    struct treap_node *changing[TABLES]; /* the transaction's */
    bool in_transaction, full;
    uint32_t refusals; /* of growing, to come */
    struct tables_tx read_tx;
    struct memory_view *view; /* NULL: none, or ended */

    /* What the owner file says, and what is there under it. */
    bool owned, clean, is_open;
    struct tables_state kept; /* committed; tables.state is the one of who has it open */
    uint64_t cluster_id, node_id;
    uint8_t boot_id[16];
};

struct memory_view {
    struct tables_view view;
    atomic_bool ended;
    struct treap_node *maps[TABLES];
};

static struct memory *memory_of(struct tables *tables)
{
    return (struct memory *)tables; /* its first member */
}

static void copy_maps(struct treap_node **to, struct treap_node *const *from)
{
    for (int i = 0; i < TABLES; i++)
        to[i] = treap_ref(from[i]);
}

static void drop_maps(struct treap_node **maps)
{
    for (int i = 0; i < TABLES; i++) {
        treap_unref(maps[i]);
        maps[i] = NULL;
    }
}

/* --- Life --------------------------------------------------------------------------------------
 */

static void clear(struct memory *memory)
{
    drop_maps(memory->maps);
    memory->tables.state = memory->kept = (struct tables_state){0};
}

static bool trusts(const struct memory *memory, const struct conclave_machine_env *env)
{
    static const uint8_t unknown_boot[16];
    if (!memory->owned || memory->cluster_id != env->cluster_id || memory->node_id != env->node_id)
        return false;
    bool same_boot = memcmp(memory->boot_id, env->boot_id, sizeof memory->boot_id) == 0 &&
                     memcmp(memory->boot_id, unknown_boot, sizeof unknown_boot) != 0;
    return same_boot || memory->clean;
}

static int memory_open(struct tables *tables, const struct conclave_machine_env *env,
                       struct conclave_error *error)
{
    struct memory *memory = memory_of(tables);
    (void)error;
    ASSERT(!memory->is_open);
    if (!trusts(memory, env))
        clear(memory);
    memory->is_open = memory->owned = true;
    memory->clean = false;
    memory->cluster_id = env->cluster_id;
    memory->node_id = env->node_id;
    memcpy(memory->boot_id, env->boot_id, sizeof memory->boot_id);
    tables->state = memory->kept;
    return CONCLAVE_OK;
}

static void end_view(struct memory *memory)
{
    if (memory->view)
        atomic_store(&memory->view->ended, true);
    memory->view = NULL;
}

static void memory_close(struct tables *tables)
{
    struct memory *memory = memory_of(tables);
    ASSERT(memory->is_open && !memory->in_transaction);
    end_view(memory);
    memory->is_open = false;
}

static void memory_destroy(struct tables *tables)
{
    struct memory *memory = memory_of(tables);
    ASSERT(!memory->is_open);
    clear(memory);
    free(memory);
}

static int memory_sync(struct tables *tables)
{
    memory_of(tables)->clean = true;
    return CONCLAVE_OK;
}

static int memory_grow(struct tables *tables)
{
    struct memory *memory = memory_of(tables);
    end_view(memory);
    if (memory->refusals == 0)
        return CONCLAVE_OK;
    memory->refusals--;
    memory->full = true;
    return CONCLAVE_NO_SPACE;
}

static int memory_begin_anew(struct tables *tables)
{
    struct memory *memory = memory_of(tables);
    end_view(memory);
    memory->owned = memory->clean = false;
    clear(memory);
    return CONCLAVE_OK;
}

static int memory_trust(struct tables *tables)
{
    memory_of(tables)->owned = true;
    return CONCLAVE_OK;
}

/* --- Transactions ------------------------------------------------------------------------------
 */

static int memory_begin(struct tables *tables, struct tables_tx *ret_tx)
{
    struct memory *memory = memory_of(tables);
    ASSERT(memory->is_open && !memory->in_transaction);
    memory->in_transaction = true;
    memory->clean = false;
    copy_maps(memory->changing, memory->maps);
    *ret_tx = (struct tables_tx){.tables = tables, .handle = memory->changing};
    return CONCLAVE_OK;
}

static void memory_abort(struct tables_tx *tx)
{
    struct memory *memory = memory_of(tx->tables);
    ASSERT(memory->in_transaction);
    memory->in_transaction = false;
    drop_maps(memory->changing);
}

static int memory_commit(struct tables_tx *tx, const struct tables_state *state)
{
    struct memory *memory = memory_of(tx->tables);
    ASSERT(memory->in_transaction);
    memory->in_transaction = false;
    drop_maps(memory->maps);
    memcpy(memory->maps, memory->changing, sizeof memory->maps);
    memset(memory->changing, 0, sizeof memory->changing);
    tx->tables->state = memory->kept = *state;
    return CONCLAVE_OK;
}

static int memory_read(struct tables *tables, struct tables_tx **ret_tx)
{
    struct memory *memory = memory_of(tables);
    ASSERT(memory->is_open && !memory->in_transaction);
    *ret_tx = &memory->read_tx;
    return CONCLAVE_OK;
}

/* True once after tables_memory_fill. */
static bool is_full(const struct tables_tx *tx)
{
    struct memory *memory = memory_of(tx->tables);
    bool full = memory->full;
    memory->full = false;
    return full;
}

/* --- Views -------------------------------------------------------------------------------------
 */

static int memory_view_begin(struct tables *tables, struct tables_view **ret_view)
{
    struct memory *memory = memory_of(tables);
    ASSERT(memory->is_open && !memory->view);
    struct memory_view *view = mem_zalloc(sizeof *view);
    copy_maps(view->maps, memory->maps);
    view->view.tx = (struct tables_tx){.tables = tables, .handle = view->maps};
    memory->view = view;
    *ret_view = &view->view;
    return CONCLAVE_OK;
}

static struct memory_view *memory_view_of(struct tables_view *view)
{
    return (struct memory_view *)view; /* its first member */
}

static bool memory_view_enter(struct tables_view *view)
{
    return !atomic_load(&memory_view_of(view)->ended);
}

static void memory_view_leave(struct tables_view *view)
{
    (void)view; /* its maps are its own: nobody waits */
}

static void memory_view_end(struct tables_view *view)
{
    struct memory_view *ended = memory_view_of(view);
    if (!atomic_load(&ended->ended))
        memory_of(view->tx.tables)->view = NULL;
    drop_maps(ended->maps);
    free(ended);
}

/* --- Single keys -------------------------------------------------------------------------------
 */

static struct treap_node **map_of(const struct tables_tx *tx, enum table table)
{
    struct treap_node **maps = tx->handle;
    return &maps[table];
}

static int memory_get(struct tables_tx *tx, enum table table, struct slice key,
                      struct slice *ret_value)
{
    const struct treap_item *item = treap_find(*map_of(tx, table), TREAP_AT, key);
    if (!item)
        return CONCLAVE_NOT_FOUND;
    *ret_value = treap_value(item);
    return CONCLAVE_OK;
}

static struct treap_item *put_item(struct tables_tx *tx, enum table table, struct slice key,
                                   size_t bytes, void **ret_room)
{
    ASSERT(key.bytes > 0 && key.bytes <= TABLES_KEY_BYTES_MAX);
    struct treap_item *item = treap_item_create(key, bytes);
    treap_put(map_of(tx, table), item);
    *ret_room = item->bytes + item->key_bytes;
    return item;
}

static int memory_put(struct tables_tx *tx, enum table table, struct slice key, size_t bytes,
                      void **ret_room)
{
    if (is_full(tx))
        return TABLES_FULL;
    (void)put_item(tx, table, key, bytes, ret_room);
    return CONCLAVE_OK;
}

static int memory_erase(struct tables_tx *tx, enum table table, struct slice key)
{
    if (is_full(tx))
        return TABLES_FULL;
    return treap_erase(map_of(tx, table), key) ? CONCLAVE_OK : CONCLAVE_NOT_FOUND;
}

/* --- Cursors: a reference to the item where it is ----------------------------------------------
 */

static int memory_cursor_open(struct tables_cursor *cursor)
{
    (void)cursor;
    return CONCLAVE_OK;
}

static void memory_cursor_close(struct tables_cursor *cursor)
{
    treap_item_unref(cursor->handle);
    cursor->handle = NULL;
}

static void place(struct tables_cursor *cursor, struct treap_item *item)
{
    struct treap_item *before = cursor->handle;
    cursor->handle = item ? treap_item_ref(item) : NULL;
    treap_item_unref(before);
}

static struct treap_item *target(const struct tables_cursor *cursor, enum tables_move move,
                                 struct slice key)
{
    const struct treap_node *map = *map_of(cursor->tx, cursor->table);
    switch (move) {
    case TABLES_AT:
        return treap_find(map, TREAP_AT, key);
    case TABLES_FROM:
        return treap_find(map, TREAP_FROM, key);
    case TABLES_LAST:
        return treap_last(map);
    case TABLES_NEXT:
        return treap_find(map, TREAP_BEHIND, treap_key(cursor->handle));
    case TABLES_PREVIOUS:
        break;
    }
    return treap_find(map, TREAP_BEFORE, treap_key(cursor->handle));
}

static int memory_cursor_move(struct tables_cursor *cursor, enum tables_move move,
                              struct slice *key, struct slice *ret_value)
{
    struct treap_item *item = target(cursor, move, *key);
    place(cursor, item);
    if (!item)
        return CONCLAVE_NOT_FOUND;
    *key = treap_key(item);
    if (ret_value)
        *ret_value = treap_value(item);
    return CONCLAVE_OK;
}

static int memory_cursor_put(struct tables_cursor *cursor, struct slice key, size_t bytes,
                             void **ret_room)
{
    if (is_full(cursor->tx))
        return TABLES_FULL;
    place(cursor, put_item(cursor->tx, cursor->table, key, bytes, ret_room));
    return CONCLAVE_OK;
}

static int memory_cursor_erase(struct tables_cursor *cursor)
{
    if (is_full(cursor->tx))
        return TABLES_FULL;
    return treap_erase(map_of(cursor->tx, cursor->table), treap_key(cursor->handle))
               ? CONCLAVE_OK
               : CONCLAVE_NOT_FOUND;
}

static int memory_cursor_read(struct tables_cursor *cursor, struct slice *ret_key,
                              struct slice *ret_value)
{
    *ret_key = treap_key(cursor->handle);
    *ret_value = treap_value(cursor->handle);
    return CONCLAVE_OK;
}

/* --- The object --------------------------------------------------------------------------------
 */

void tables_memory_kill(struct tables *tables)
{
    struct memory *memory = memory_of(tables);
    if (memory->in_transaction)
        memory_abort(&(struct tables_tx){.tables = tables});
    if (memory->is_open)
        memory_close(tables);
    tables_memory_fill(tables, false, 0);
}

void tables_memory_fill(struct tables *tables, bool full, uint32_t refusals)
{
    memory_of(tables)->full = full;
    memory_of(tables)->refusals = refusals;
}

struct tables *tables_memory_create(void)
{
    static const struct tables_ops ops = {
        .open = memory_open,
        .close = memory_close,
        .destroy = memory_destroy,
        .sync = memory_sync,
        .grow = memory_grow,
        .begin_anew = memory_begin_anew,
        .trust = memory_trust,
        .begin = memory_begin,
        .commit = memory_commit,
        .abort = memory_abort,
        .read = memory_read,
        .view_begin = memory_view_begin,
        .view_enter = memory_view_enter,
        .view_leave = memory_view_leave,
        .view_end = memory_view_end,
        .get = memory_get,
        .put = memory_put,
        .erase = memory_erase,
        .cursor_open = memory_cursor_open,
        .cursor_close = memory_cursor_close,
        .cursor_move = memory_cursor_move,
        .cursor_put = memory_cursor_put,
        .cursor_erase = memory_cursor_erase,
        .cursor_read = memory_cursor_read,
    };
    struct memory *memory = mem_zalloc(sizeof *memory);
    memory->tables.ops = &ops;
    memory->read_tx = (struct tables_tx){.tables = &memory->tables, .handle = memory->maps};
    return &memory->tables;
}
