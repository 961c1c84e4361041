#include "machine/kv_history.h"

#include "base/fatal.h"

struct disk_key {
    uint8_t revision[8], sub[4];
};
_Static_assert(sizeof(struct disk_key) == KV_HISTORY_KEY_BYTES, "no padding");

struct disk_header {
    uint8_t space, kind;
    uint16_t key_bytes;
    uint32_t before_bytes;
    uint64_t clock_ms;
};
_Static_assert(sizeof(struct disk_header) == KV_HISTORY_HEADER_BYTES, "no padding");

static struct slice key_of(struct disk_key *room, uint64_t revision, uint32_t sub)
{
    uint64_t revision_be = htobe64(revision);
    uint32_t sub_be = htobe32(sub);
    memcpy(room->revision, &revision_be, sizeof revision_be);
    memcpy(room->sub, &sub_be, sizeof sub_be);
    return (struct slice){(const uint8_t *)room, sizeof *room};
}

static uint8_t *put_slice(uint8_t *at, struct slice slice)
{
    if (slice.bytes)
        memcpy(at, slice.data, slice.bytes);
    return at + slice.bytes;
}

int kv_history_append(struct tables_cursor *cursor, struct kv_state *state,
                      const struct kv_change *change, void **ret_after)
{
    struct disk_key name;
    size_t bytes =
        KV_HISTORY_HEADER_BYTES + change->key.bytes + change->before.bytes + change->after.bytes;
    void *room = NULL;
    ASSERT(cursor->append);
    int rc = tables_cursor_put(cursor, key_of(&name, change->revision, change->sub), bytes, &room);
    if (rc)
        return rc;
    const struct disk_header header = {.space = (uint8_t)change->space,
                                       .kind = (uint8_t)change->kind,
                                       .key_bytes = htole16((uint16_t)change->key.bytes),
                                       .before_bytes = htole32((uint32_t)change->before.bytes),
                                       .clock_ms = htole64(change->clock_ms)};
    memcpy(room, &header, sizeof header);
    uint8_t *at = put_slice((uint8_t *)room + sizeof header, change->key);
    *ret_after = put_slice(at, change->before);
    state->history_changes++;
    state->history_bytes += KV_HISTORY_KEY_BYTES + bytes;
    return 0;
}

static int change_read(struct slice key, struct slice value, struct kv_change *ret)
{
    struct disk_header header;
    if (key.bytes != KV_HISTORY_KEY_BYTES || value.bytes < sizeof header)
        return CONCLAVE_CORRUPT;
    memcpy(&header, value.data, sizeof header);
    size_t key_bytes = le16toh(header.key_bytes), before_bytes = le32toh(header.before_bytes);
    if (value.bytes - sizeof header < key_bytes + before_bytes)
        return CONCLAVE_CORRUPT;
    uint64_t revision;
    uint32_t sub;
    memcpy(&revision, key.data, sizeof revision);
    memcpy(&sub, key.data + sizeof revision, sizeof sub);
    const uint8_t *at = value.data + sizeof header;
    *ret = (struct kv_change){
        .revision = be64toh(revision),
        .sub = be32toh(sub),
        .space = header.space,
        .kind = (enum kv_change_kind)header.kind,
        .clock_ms = le64toh(header.clock_ms),
        .key = {at, key_bytes},
        .before = {at + key_bytes, before_bytes},
        .after = {at + key_bytes + before_bytes,
                  value.bytes - sizeof header - key_bytes - before_bytes},
    };
    return CONCLAVE_OK;
}

static int change_move(struct tables_cursor *cursor, enum tables_move move, struct slice key,
                       struct kv_change *ret)
{
    struct slice value;
    int rc = tables_cursor_move(cursor, move, &key, &value);
    return rc ? rc : change_read(key, value, ret);
}

int kv_history_seek(struct tables_cursor *cursor, uint64_t revision, uint32_t sub,
                    struct kv_change *ret)
{
    struct disk_key name;
    return change_move(cursor, TABLES_FROM, key_of(&name, revision, sub), ret);
}

int kv_history_next(struct tables_cursor *cursor, struct kv_change *ret)
{
    return change_move(cursor, TABLES_NEXT, (struct slice){0}, ret);
}

/* --- Compaction ------------------------------------------------------------------------------- */

/* A limit may be passed by an eighth of it before anything is done: erasing several neighbours at
 * once costs less than one each time. */
static bool is_over(const struct kv_state *state)
{
    return state->history_changes > state->changes_max + state->changes_max / 8 ||
           state->history_bytes > state->bytes_max + state->bytes_max / 8;
}

/* Erases the change that the cursor stands on, and goes to the next one. */
static int erase(struct tables_cursor *cursor, struct kv_state *state, struct slice *key,
                 struct slice *value)
{
    struct kv_change change;
    int rc = change_read(*key, *value, &change);
    if (rc)
        return rc;
    state->compacted = change.revision;
    state->history_changes--;
    state->history_bytes -= KV_HISTORY_KEY_BYTES + value->bytes;
    rc = tables_cursor_erase(cursor);
    return rc ? rc : tables_cursor_move(cursor, TABLES_NEXT, key, value);
}

int kv_history_compact(struct tables_cursor *cursor, struct kv_state *state, uint32_t budget)
{
    struct slice key = {0}, value;
    if (!is_over(state))
        return 0;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &value);
    while (!rc && budget-- > 0 &&
           (state->history_changes > state->changes_max || state->history_bytes > state->bytes_max))
        rc = erase(cursor, state, &key, &value);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

int kv_history_age(struct tables_cursor *cursor, struct kv_state *state, uint64_t clock_ms,
                   uint32_t budget)
{
    struct slice key = {0}, value;
    if (state->age_ms_max == 0 || clock_ms <= state->age_ms_max)
        return 0;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &value);
    while (!rc && budget-- > 0) {
        struct kv_change change;
        rc = change_read(key, value, &change);
        if (rc || change.clock_ms >= clock_ms - state->age_ms_max)
            return rc;
        rc = erase(cursor, state, &key, &value);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}
