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

static void put_front(uint8_t *block, const struct kv_history_front *front)
{
    put_u64(put_u32(put_u32(block, front->count), front->sum), front->revision);
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
    rc = kv_history_front_read(block, &history->front);
    if (!rc && history->front.sum == 0)
        rc = kv_history_front_make(block, &history->front);
    if (rc || name.bytes != sizeof history->name)
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
    put_front(history->block, &history->front);
    memcpy(room, history->block, history->used);
    history->dirty = false;
    return 0;
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
    if (history->used == 0) {
        (void)kv_history_name(history->name, change->revision, change->sub);
        history->used = KV_HISTORY_FRONT_BYTES;
        history->front = (struct kv_history_front){0};
    }
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
    history->front.count++;
    history->front.revision = change->revision;
    history->dirty = true;
    state->history_changes++;
    state->history_bytes += bytes;
    return 0;
}

void kv_history_count(struct kv_history *history, const struct kv_change *change,
                      const struct kv_change_sums *sums)
{
    history->front.sum += kv_history_sum_of(change, sums);
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

/* How the front of the history is taken off. */
struct cut {
    struct kv_history_front front; /* of the block that is in front */
    size_t bytes;                  /* that go from behind the block's front */
    struct kv_change next;         /* what is left of the block begins with it */
};

/* All of the block goes, which is known without looking at its changes: most often, since history
 * is long and what is at its end has left the caches long ago. */
static bool goes_unread(struct slice block, struct kv_state *state, struct limit *limit,
                        const struct kv_history_front *front)
{
    uint64_t bytes = block.bytes - KV_HISTORY_FRONT_BYTES;
    if (!limit->by_size || front->count > limit->budget || front->count > state->history_changes ||
        bytes > state->history_bytes)
        return false;
    if (state->history_changes - front->count < state->changes_max &&
        state->history_bytes - bytes < state->bytes_max)
        return false;
    state->compacted = front->revision;
    state->history_changes -= front->count;
    state->history_bytes -= bytes;
    limit->budget -= front->count;
    return true;
}

/* How much of the block in front goes. NOT_FOUND: all of it. */
static int measure(struct slice block, struct kv_state *state, struct limit *limit, struct cut *cut)
{
    size_t bytes = 0;
    *cut = (struct cut){0};
    int rc = kv_history_front_read(block, &cut->front);
    if (rc)
        return rc;
    if (goes_unread(block, state, limit, &cut->front))
        return CONCLAVE_NOT_FOUND;
    while (!(rc = kv_history_change_read(block, KV_HISTORY_FRONT_BYTES + cut->bytes, &cut->next,
                                         &bytes))) {
        if (!is_too_much(state, limit, &cut->next))
            return CONCLAVE_OK;
        state->compacted = cut->next.revision;
        state->history_changes--;
        state->history_bytes -= bytes;
        limit->budget--;
        cut->bytes += bytes;
    }
    return rc;
}

/* Takes the front off a block: what is left of it is named by what it begins with now. */
static int cut_block(struct kv_history *history, struct slice block, const struct cut *cut)
{
    size_t left = block.bytes - cut->bytes;
    uint8_t bytes[KV_HISTORY_NAME_BYTES];
    void *room = NULL;
    /* It lies in the block. */
    const struct slice name = kv_history_name(bytes, cut->next.revision, cut->next.sub);
    uint8_t *copy = mem_alloc(left); /* the table's own goes with the name */
    memcpy(copy + KV_HISTORY_FRONT_BYTES, block.data + KV_HISTORY_FRONT_BYTES + cut->bytes,
           left - KV_HISTORY_FRONT_BYTES);
    struct kv_history_front front;
    int rc = kv_history_front_make((struct slice){copy, left}, &front);
    if (!rc)
        put_front(copy, &front);
    if (!rc)
        rc = tables_cursor_erase(&history->cursor);
    if (!rc)
        rc = tables_cursor_put(&history->cursor, name, left, &room);
    if (!rc)
        memcpy(room, copy, left);
    free(copy);
    return rc;
}

/* Erases from the front as long as there is too much. */
static int shorten(struct kv_history *history, struct kv_state *state, struct limit *limit)
{
    struct slice name = {0}, block;
    struct cut cut;
    int rc = kv_history_flush(history);
    if (!rc)
        rc = open_cursor(history);
    if (!rc)
        rc = tables_cursor_move(&history->cursor, TABLES_FROM, &name, &block);
    while (!rc) {
        rc = measure(block, state, limit, &cut);
        if (!rc)
            return cut.bytes ? cut_block(history, block, &cut) : 0;
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
