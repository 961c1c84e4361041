#include "machine/kv_snapshot.h"

#include "base/fatal.h"
#include "machine/kv_history.h"

#include <stdlib.h>

enum {
    PIECE_BYTES = 256 << 10,      /* copied while the map must stay as it is: some 50 us */
    RECORD_BYTES = 12,            /* before key and value */
    STORED_BYTES_MAX = 256 << 20, /* of one record: more than a value can have */
    RESTORE_BATCH_BYTES = 4 << 20 /* of records in one transaction of a restore */
};

static const uint8_t SNAPSHOT_MAGIC[8] = "CNCLKVS\3";

struct start {
    uint8_t magic[8];
    uint32_t state_bytes, zero;
};
_Static_assert(sizeof(struct start) == 16, "no padding");

/* Which tables are in it: all but the sessions, which travel in front. */
static bool is_in_snapshot(uint32_t table)
{
    return table < TABLES && table != TABLE_SESSIONS;
}

struct kv_snapshot {
    struct tables_view *view;
    struct tables_cursor cursor; /* in the table being read; tx NULL: not opened yet */
    uint32_t table;
    enum tables_move step;
    struct tables_state state;
    uint64_t digest; /* of the records so far, as they are copied */
    struct {         /* of the history: how much of it is still to come */
        uint64_t changes, bytes;
    } history;
    uint8_t *piece;
    size_t used, capacity;
};

int kv_snapshot_begin(struct tables *tables, const struct kv_state *state, struct kv_snapshot **ret)
{
    struct tables_view *view = NULL;
    int code = tables_view_begin(tables, &view);
    if (code)
        return code;
    struct kv_snapshot *snapshot = mem_zalloc(sizeof *snapshot);
    snapshot->view = view;
    snapshot->state = kv_state_pack(0, state);
    snapshot->state.digest = tables->state.digest;
    snapshot->history.changes = state->history_changes;
    snapshot->history.bytes = state->history_bytes;
    *ret = snapshot;
    return CONCLAVE_OK;
}

void kv_snapshot_end(struct kv_snapshot *snapshot)
{
    tables_cursor_close(&snapshot->cursor);
    tables_view_end(snapshot->view);
    free(snapshot->piece);
    free(snapshot);
}

static void piece_add(struct kv_snapshot *snapshot, const void *data, size_t bytes)
{
    if (snapshot->capacity - snapshot->used < bytes) {
        while (snapshot->capacity - snapshot->used < bytes)
            snapshot->capacity =
                snapshot->capacity ? 2 * snapshot->capacity : (size_t)2 * PIECE_BYTES;
        snapshot->piece = mem_realloc(snapshot->piece, snapshot->capacity);
    }
    if (bytes)
        memcpy(snapshot->piece + snapshot->used, data, bytes);
    snapshot->used += bytes;
}

static void piece_add_record(struct kv_snapshot *snapshot, uint32_t number, struct slice key,
                             struct slice value)
{
    uint32_t head[3] = {htole32(number), htole32((uint32_t)key.bytes),
                        htole32((uint32_t)value.bytes)};
    piece_add(snapshot, head, sizeof head);
    piece_add(snapshot, key.data, key.bytes);
    piece_add(snapshot, value.data, value.bytes);
}

/* Whether a block of the history is what was put. */
static bool block_is_whole(struct slice name, struct slice block, struct kv_history_front *ret)
{
    struct kv_history_front right;
    struct kv_change first;
    uint8_t bytes[KV_HISTORY_NAME_BYTES];
    size_t first_bytes = 0;
    return !kv_history_front_read(block, ret) && !kv_history_front_make(block, &right) &&
           right.count == ret->count && right.revision == ret->revision &&
           (right.sum == ret->sum || ret->sum == 0) &&
           !kv_history_change_read(block, KV_HISTORY_FRONT_BYTES, &first, &first_bytes) &&
           !tables_compare(name, kv_history_name(bytes, first.revision, first.sub));
}

/* Looks at the copy of the last record: it is what goes to the disk. */
static int check_record(struct kv_snapshot *snapshot, size_t key_bytes, size_t value_bytes)
{
    const uint8_t *at = snapshot->piece + snapshot->used - value_bytes;
    const struct slice key = {at - key_bytes, key_bytes}, value = {at, value_bytes};
    struct kv_history_front front;
    if (tables_are_summed(snapshot->table)) {
        snapshot->digest += digest_of(digest_place(snapshot->table, key), value);
        return CONCLAVE_OK;
    }
    if (!block_is_whole(key, value, &front))
        return CONCLAVE_CORRUPT;
    snapshot->history.changes -= front.count;
    snapshot->history.bytes -= value.bytes - KV_HISTORY_FRONT_BYTES;
    return CONCLAVE_OK;
}

/* Behind the last record. CORRUPT: the tables do not hold what was put into them. */
static int piece_add_end(struct kv_snapshot *snapshot)
{
    uint64_t digest = snapshot->state.digest;
    uint32_t end[3] = {0, htole32((uint32_t)digest), htole32((uint32_t)(digest >> 32))};
    if (snapshot->digest != digest || snapshot->history.changes || snapshot->history.bytes)
        return CONCLAVE_CORRUPT;
    piece_add(snapshot, end, sizeof end);
    return CONCLAVE_OK;
}

/* Goes to the next record of this table. */
static int step(struct kv_snapshot *snapshot, struct slice *key, struct slice *value)
{
    if (!snapshot->cursor.tx) {
        int code =
            tables_cursor_open(&snapshot->view->tx, (enum table)snapshot->table, &snapshot->cursor);
        if (code)
            return code;
        snapshot->step = TABLES_FROM;
    }
    *key = (struct slice){0};
    int code = tables_cursor_move(&snapshot->cursor, snapshot->step, key, value);
    snapshot->step = TABLES_NEXT;
    return code;
}

/* Copies the next records out of the tables. NOT_FOUND behind the last one. */
static int piece_fill(struct kv_snapshot *snapshot)
{
    while (snapshot->used < PIECE_BYTES) {
        struct slice key, value;
        if (snapshot->table == TABLES)
            return CONCLAVE_NOT_FOUND;
        int code =
            is_in_snapshot(snapshot->table) ? step(snapshot, &key, &value) : CONCLAVE_NOT_FOUND;
        if (code == CONCLAVE_NOT_FOUND) {
            tables_cursor_close(&snapshot->cursor);
            snapshot->table++;
            continue;
        }
        if (code)
            return code;
        piece_add_record(snapshot, snapshot->table + 1, key, value);
        code = check_record(snapshot, key.bytes, value.bytes);
        if (code)
            return code;
    }
    return CONCLAVE_OK;
}

int kv_snapshot_write(struct kv_snapshot *snapshot, struct conclave_snapshot_sink *sink)
{
    struct start start = {.state_bytes = htole32(snapshot->state.note_bytes)};
    memcpy(start.magic, SNAPSHOT_MAGIC, sizeof start.magic);
    piece_add(snapshot, &start, sizeof start);
    piece_add(snapshot, snapshot->state.note, snapshot->state.note_bytes);
    for (bool ended = false; !ended;) {
        if (!tables_view_enter(snapshot->view))
            return CONCLAVE_BUSY;
        int code = piece_fill(snapshot);
        tables_view_leave(snapshot->view);
        ended = code == CONCLAVE_NOT_FOUND;
        if (code && !ended)
            return code;
        code = ended ? piece_add_end(snapshot) : CONCLAVE_OK;
        if (code)
            return code;
        code = conclave_snapshot_add(sink, snapshot->piece, snapshot->used);
        if (code)
            return code;
        snapshot->used = 0;
    }
    return CONCLAVE_OK;
}

/* --- Restoring -------------------------------------------------------------------------------- */

/* Records that are put in one transaction. */
struct restore {
    struct tables *tables;
    struct conclave_snapshot_source *source;
    int (*finish)(void *arg, struct tables_tx *tx);
    void *finish_arg;
    uint8_t *bytes;
    size_t used, capacity;
    bool ended;
    uint64_t digest; /* that the snapshot says; 0: nothing */
    struct kv_state state;
};

static int read_exactly(const struct restore *restore, void *data, size_t bytes)
{
    size_t got = 0;
    int code = conclave_snapshot_read(restore->source, data, bytes, &got);
    return code ? code : got < bytes ? CONCLAVE_CORRUPT : CONCLAVE_OK;
}

static int read_start(struct restore *restore)
{
    struct start start;
    uint8_t note[TABLES_NOTE_BYTES_MAX];
    int code = read_exactly(restore, &start, sizeof start);
    if (code)
        return code;
    struct slice state = {note, le32toh(start.state_bytes)};
    if (memcmp(start.magic, SNAPSHOT_MAGIC, sizeof start.magic) != 0 || start.zero != 0 ||
        state.bytes == 0 || state.bytes > sizeof note)
        return CONCLAVE_CORRUPT;
    code = read_exactly(restore, note, state.bytes);
    return code ? code : kv_state_unpack(state, &restore->state);
}

static uint32_t number_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint8_t *room(struct restore *restore, size_t bytes)
{
    if (restore->capacity - restore->used < bytes) {
        restore->capacity = restore->used + bytes + RESTORE_BATCH_BYTES;
        restore->bytes = mem_realloc(restore->bytes, restore->capacity);
    }
    return restore->bytes + restore->used;
}

/* Reads one record behind the others; `ended` behind the last. */
static int read_record(struct restore *restore)
{
    uint8_t *at = room(restore, RECORD_BYTES);
    int code = read_exactly(restore, at, RECORD_BYTES);
    if (code)
        return code;
    uint32_t number = number_at(at);
    size_t key_bytes = number_at(at + 4), value_bytes = number_at(at + 8);
    if (number == 0) {
        restore->ended = true;
        restore->digest = (uint64_t)value_bytes << 32 | key_bytes;
        return CONCLAVE_OK;
    }
    if (!is_in_snapshot(number - 1) || key_bytes == 0 || key_bytes > TABLES_KEY_BYTES_MAX ||
        value_bytes > STORED_BYTES_MAX)
        return CONCLAVE_CORRUPT;
    at = room(restore, RECORD_BYTES + key_bytes + value_bytes);
    code = read_exactly(restore, at + RECORD_BYTES, key_bytes + value_bytes);
    if (!code)
        restore->used += RECORD_BYTES + key_bytes + value_bytes;
    return code;
}

/* rc. Puts one record from the memory at `at` through a cursor that moves on to its table;
 * *ret_bytes is its size there. */
static int put_record(struct tables_tx *tx, struct tables_cursor *cursor, const uint8_t *at,
                      size_t *ret_bytes)
{
    enum table table = (enum table)(number_at(at) - 1);
    struct slice key = {at + RECORD_BYTES, number_at(at + 4)};
    struct slice value = {key.data + key.bytes, number_at(at + 8)};
    void *room = NULL;
    int rc = 0;
    struct kv_history_front front;
    *ret_bytes = RECORD_BYTES + key.bytes + value.bytes;
    if (table == TABLE_HISTORY && !block_is_whole(key, value, &front))
        return CONCLAVE_CORRUPT;
    if (!cursor->tx || cursor->table != table) {
        tables_cursor_close(cursor);
        rc = tables_cursor_open(tx, table, cursor);
    }
    cursor->fresh = true; /* all that is there comes from here; once each, or the digest tells */
    if (!rc)
        rc = tables_cursor_put(cursor, key, value.bytes, &room);
    if (!rc && value.bytes)
        memcpy(room, value.data, value.bytes);
    return rc;
}

/* rc. Puts all records that were read; the last transaction makes the state whole. */
static int put_records(const struct restore *restore, uint64_t index)
{
    struct tables_tx tx;
    struct tables_cursor cursor = {0};
    int rc = tables_begin(restore->tables, &tx);
    if (rc)
        return rc;
    for (size_t at = 0, bytes = 0; !rc && at < restore->used; at += bytes)
        rc = put_record(&tx, &cursor, restore->bytes + at, &bytes);
    tables_cursor_close(&cursor);
    tables_seal(&tx);
    if (!rc && restore->ended && restore->digest && restore->digest != tx.digest)
        rc = CONCLAVE_CORRUPT;
    if (!rc && restore->ended)
        rc = restore->finish(restore->finish_arg, &tx);
    if (rc) {
        tables_abort(&tx);
        return rc;
    }
    struct tables_state state = {0};
    if (restore->ended)
        state = kv_state_pack(index, &restore->state);
    return tables_commit(&tx, &state);
}

static int restore_batch(struct restore *restore, uint64_t index)
{
    int code = CONCLAVE_OK;
    restore->used = 0;
    while (!code && !restore->ended && restore->used < RESTORE_BATCH_BYTES)
        code = read_record(restore);
    if (!code && restore->ended) /* and with that the source has checked all of it */
        code = snapshot_source_end(restore->source);
    if (code)
        return code;
    code = put_records(restore, index);
    while (code == TABLES_FULL) {
        code = tables_grow(restore->tables);
        if (!code)
            code = put_records(restore, index);
    }
    return code;
}

int kv_snapshot_restore(struct tables *tables, uint64_t index,
                        struct conclave_snapshot_source *source,
                        int (*finish)(void *arg, struct tables_tx *tx), void *arg)
{
    struct restore restore = {
        .tables = tables, .source = source, .finish = finish, .finish_arg = arg};
    int code = read_start(&restore);
    if (!code)
        code = tables_begin_anew(tables);
    while (!code && !restore.ended)
        code = restore_batch(&restore, index);
    if (!code)
        code = tables_trust(tables);
    if (code == CONCLAVE_NO_SPACE) { /* what there was is given back: the log needs it */
        int emptied = tables_begin_anew(tables);
        code = emptied ? emptied : code;
    }
    free(restore.bytes);
    return code;
}
