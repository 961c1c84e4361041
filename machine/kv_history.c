/* Writing the history, and erasing its old end. */
#include "machine/kv_history.h"

#include "base/fatal.h"

#include <stdlib.h>

void kv_history_init(struct kv_history *history, struct tables_tx *tx)
{
    *history = (struct kv_history){.tx = tx};
}

void kv_history_deinit(struct kv_history *history)
{
    tables_cursor_close(&history->cursor);
    free(history->block);
    *history = (struct kv_history){0};
}

static int open_cursor(struct kv_history *history)
{
    if (history->cursor.tx)
        return 0;
    int rc = tables_cursor_open(history->tx, TABLE_HISTORY, &history->cursor);
    history->cursor.append = true;
    return rc;
}

static void make_room(struct kv_history *history, size_t bytes)
{
    if (history->capacity >= bytes)
        return;
    history->capacity = bytes < KV_HISTORY_BLOCK_BYTES ? KV_HISTORY_BLOCK_BYTES : bytes;
    history->block = mem_realloc(history->block, history->capacity);
}

/* --- Appending -------------------------------------------------------------------------------- */

/* The last block comes from the table, if it is not full. */
static int load(struct kv_history *history)
{
    struct slice name = {0}, block;
    int rc = open_cursor(history);
    if (!rc)
        rc = tables_cursor_move(&history->cursor, TABLES_LAST, &name, &block);
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    history->loaded = true;
    history->used = 0;
    if (rc || block.bytes >= KV_HISTORY_BLOCK_BYTES)
        return 0;
    if (name.bytes != sizeof history->name)
        return CONCLAVE_CORRUPT;
    make_room(history, block.bytes);
    memcpy(history->name, name.data, name.bytes);
    memcpy(history->block, block.data, block.bytes);
    history->used = block.bytes;
    return 0;
}

int kv_history_flush(struct kv_history *history)
{
    void *room = NULL;
    if (!history->dirty)
        return 0;
    const struct slice name = {history->name, sizeof history->name};
    int rc = tables_cursor_put(&history->cursor, name, history->used, &room);
    if (rc)
        return rc;
    memcpy(room, history->block, history->used);
    history->dirty = false;
    return 0;
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t bytes)
{
    if (bytes)
        memcpy(at, data, bytes);
    return at + bytes;
}

static uint8_t *put_u32(uint8_t *at, size_t value)
{
    uint32_t le = htole32((uint32_t)value);
    return put_bytes(at, &le, sizeof le);
}

static uint8_t *put_u64(uint8_t *at, uint64_t value)
{
    uint64_t le = htole64(value);
    return put_bytes(at, &le, sizeof le);
}

int kv_history_append(struct kv_history *history, struct kv_state *state,
                      const struct kv_change *change, void **ret_after)
{
    size_t bytes =
        KV_HISTORY_HEADER_BYTES + change->key.bytes + change->before.bytes + change->after.bytes;
    int rc = history->loaded ? 0 : load(history);
    if (!rc && history->used > 0 && history->used + bytes > KV_HISTORY_BLOCK_BYTES) {
        rc = kv_history_flush(history);
        history->used = 0;
    }
    if (rc)
        return rc;
    if (history->used == 0)
        (void)kv_history_name(history->name, change->revision, change->sub);
    make_room(history, history->used + bytes);
    uint8_t *at = put_u32(history->block + history->used, bytes);
    at = put_u64(at, change->revision);
    at = put_u32(at, change->sub);
    *at++ = (uint8_t)change->space;
    *at++ = (uint8_t)change->kind;
    uint16_t key_bytes = htole16((uint16_t)change->key.bytes);
    at = put_bytes(at, &key_bytes, sizeof key_bytes);
    at = put_u32(at, change->before.bytes);
    at = put_u64(at, change->clock_ms);
    at = put_bytes(at, change->key.data, change->key.bytes);
    *ret_after = put_bytes(at, change->before.data, change->before.bytes);
    history->used += bytes;
    history->dirty = true;
    state->history_changes++;
    state->history_bytes += bytes;
    return 0;
}

/* --- Compaction ------------------------------------------------------------------------------- */

/* A limit may be passed by an eighth of it before anything is done: erasing several neighbours at
 * once costs less than one each time. */
static bool is_over(const struct kv_state *state)
{
    return state->history_changes > state->changes_max + state->changes_max / 8 ||
           state->history_bytes > state->bytes_max + state->bytes_max / 8;
}

/* What goes: changes up to what settings allow, and those from before this time. */
struct limit {
    bool by_size;
    uint64_t clock_ms; /* 0: of any time */
    uint32_t budget;
};

static bool is_too_much(const struct kv_state *state, const struct limit *limit,
                        const struct kv_change *change)
{
    if (limit->budget == 0)
        return false;
    if (limit->by_size)
        return state->history_changes > state->changes_max ||
               state->history_bytes > state->bytes_max;
    return change->clock_ms < limit->clock_ms;
}

/* How much of the block in front goes: *ret_cut bytes. */
static int measure(struct slice block, struct kv_state *state, struct limit *limit, size_t *ret_cut,
                   struct kv_change *ret_next)
{
    size_t bytes = 0;
    *ret_cut = 0;
    while (kv_history_change_read(block, *ret_cut, ret_next, &bytes) == CONCLAVE_OK) {
        if (!is_too_much(state, limit, ret_next))
            return CONCLAVE_OK;
        state->compacted = ret_next->revision;
        state->history_changes--;
        state->history_bytes -= bytes;
        limit->budget--;
        *ret_cut += bytes;
    }
    return *ret_cut == block.bytes ? CONCLAVE_NOT_FOUND : CONCLAVE_CORRUPT;
}

/* Takes the front off a block: what is left of it is named by what it begins with now. */
static int cut_block(struct kv_history *history, struct slice block, size_t cut,
                     const struct kv_change *next)
{
    size_t left = block.bytes - cut;
    uint8_t name[KV_HISTORY_NAME_BYTES];
    void *room = NULL;
    uint8_t *copy = mem_alloc(left); /* the table's own goes with the name */
    memcpy(copy, block.data + cut, left);
    int rc = tables_cursor_erase(&history->cursor);
    if (!rc)
        rc = tables_cursor_put(&history->cursor, kv_history_name(name, next->revision, next->sub),
                               left, &room);
    if (!rc)
        memcpy(room, copy, left);
    free(copy);
    return rc;
}

/* Erases from the front as long as there is too much. */
static int shorten(struct kv_history *history, struct kv_state *state, struct limit *limit)
{
    struct slice name = {0}, block;
    struct kv_change next;
    int rc = kv_history_flush(history);
    if (!rc)
        rc = open_cursor(history);
    if (!rc)
        rc = tables_cursor_move(&history->cursor, TABLES_FROM, &name, &block);
    while (!rc) {
        size_t cut = 0;
        rc = measure(block, state, limit, &cut, &next);
        if (!rc)
            return cut ? cut_block(history, block, cut, &next) : 0;
        if (rc != CONCLAVE_NOT_FOUND)
            return rc;
        rc = tables_cursor_erase(&history->cursor);
        if (!rc)
            rc = tables_cursor_move(&history->cursor, TABLES_NEXT, &name, &block);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

int kv_history_compact(struct kv_history *history, struct kv_state *state, uint32_t budget)
{
    if (!is_over(state))
        return 0;
    struct limit limit = {.by_size = true, .budget = budget};
    history->loaded = false; /* the block that goes on may be the one in front */
    return shorten(history, state, &limit);
}

int kv_history_age(struct kv_history *history, struct kv_state *state, uint64_t clock_ms,
                   uint32_t budget)
{
    if (state->age_ms_max == 0 || clock_ms <= state->age_ms_max)
        return 0;
    struct limit limit = {.clock_ms = clock_ms - state->age_ms_max, .budget = budget};
    history->loaded = false;
    return shorten(history, state, &limit);
}
