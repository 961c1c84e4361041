#include "machine/kv_snapshot.h"

#include "base/fatal.h"
#include "machine/kv_record.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    PIECE_BYTES = 256 << 10,      /* copied while the map must stay as it is: some 50 us */
    RECORD_BYTES = 12,            /* before key and value */
    STORED_BYTES_MAX = 256 << 20, /* of one record: more than a session can have */
    RESTORE_BATCH_BYTES = 4 << 20 /* of records in one transaction of a restore */
};

static const uint8_t SNAPSHOT_MAGIC[8] = "CNCLKVS\1";

/* Numbers of databases in a snapshot. */
enum { DATABASE_KEYS = 1, DATABASE_SESSIONS = 2, DATABASES = 2 };

struct kv_snapshot {
    struct kv_store *store;
    MDB_txn *txn; /* NULL: ended by the store; under store->snapshot_mutex */
    MDB_cursor *cursors[DATABASES];
    uint32_t database; /* being read */
    MDB_cursor_op step;
    uint64_t revision;
    uint8_t *piece;
    size_t used, capacity;
};

static void snapshot_free(struct kv_snapshot *snapshot)
{
    for (int i = 0; i < DATABASES; i++)
        if (snapshot->cursors[i]) /* of a read transaction: may be closed after it */
            mdb_cursor_close(snapshot->cursors[i]);
    free(snapshot->piece);
    free(snapshot);
}

int kv_snapshot_begin(struct kv_store *store, struct kv_snapshot **ret)
{
    ASSERT(store->snapshot_txn == NULL);
    int code = kv_store_make_room(store);
    if (code)
        return code;
    struct kv_snapshot *snapshot = mem_zalloc(sizeof *snapshot);
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &snapshot->txn);
    if (!rc)
        rc = mdb_cursor_open(snapshot->txn, store->keys, &snapshot->cursors[0]);
    if (!rc)
        rc = mdb_cursor_open(snapshot->txn, store->sessions, &snapshot->cursors[1]);
    if (rc) {
        if (snapshot->txn)
            mdb_txn_abort(snapshot->txn);
        snapshot_free(snapshot);
        return kv_store_code(rc);
    }
    snapshot->database = DATABASE_KEYS;
    snapshot->step = MDB_FIRST;
    snapshot->store = store;
    snapshot->revision = store->state.revision;
    pthread_mutex_lock(&store->snapshot_mutex);
    store->snapshot_txn = &snapshot->txn;
    pthread_mutex_unlock(&store->snapshot_mutex);
    *ret = snapshot;
    return CONCLAVE_OK;
}

void kv_snapshot_end(struct kv_snapshot *snapshot)
{
    struct kv_store *store = snapshot->store;
    pthread_mutex_lock(&store->snapshot_mutex);
    if (snapshot->txn)
        kv_store_drop_snapshot(store);
    pthread_mutex_unlock(&store->snapshot_mutex);
    snapshot_free(snapshot);
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

static void piece_add_record(struct kv_snapshot *snapshot, uint32_t database, const MDB_val *key,
                             const MDB_val *value)
{
    uint32_t head[3] = {htole32(database), htole32((uint32_t)key->mv_size),
                        htole32((uint32_t)value->mv_size)};
    piece_add(snapshot, head, sizeof head);
    piece_add(snapshot, key->mv_data, key->mv_size);
    piece_add(snapshot, value->mv_data, value->mv_size);
}

/* Copies the next records out of the map. rc; MDB_NOTFOUND behind the last one. */
static int piece_fill(struct kv_snapshot *snapshot)
{
    MDB_val key, value;
    while (snapshot->used < PIECE_BYTES) {
        MDB_cursor *cursor = snapshot->cursors[snapshot->database - 1];
        int rc = mdb_cursor_get(cursor, &key, &value, snapshot->step);
        snapshot->step = MDB_NEXT;
        if (rc == MDB_NOTFOUND && snapshot->database < DATABASES) {
            snapshot->database++;
            snapshot->step = MDB_FIRST;
            continue;
        }
        if (rc)
            return rc;
        piece_add_record(snapshot, snapshot->database, &key, &value);
    }
    return 0;
}

int kv_snapshot_write(struct kv_snapshot *snapshot, kv_snapshot_sink sink, void *arg)
{
    struct kv_store *store = snapshot->store;
    uint64_t revision = htole64(snapshot->revision);
    piece_add(snapshot, SNAPSHOT_MAGIC, sizeof SNAPSHOT_MAGIC);
    piece_add(snapshot, &revision, sizeof revision);
    for (int rc = 0; !rc;) {
        pthread_mutex_lock(&store->snapshot_mutex);
        bool ended = snapshot->txn == NULL;
        if (!ended)
            rc = piece_fill(snapshot);
        pthread_mutex_unlock(&store->snapshot_mutex);
        if (ended)
            return CONCLAVE_BUSY;
        if (rc && rc != MDB_NOTFOUND)
            return kv_store_code(rc);
        if (rc == MDB_NOTFOUND) {
            MDB_val none = {0, NULL};
            piece_add_record(snapshot, 0, &none, &none);
        }
        int code = sink(arg, snapshot->piece, snapshot->used);
        if (code)
            return code;
        snapshot->used = 0;
    }
    return CONCLAVE_OK;
}

/* --- Restoring -------------------------------------------------------------------------------- */

/* Records that are put in one transaction. */
struct restore {
    struct kv_store *store;
    kv_snapshot_source source;
    void *arg;
    uint8_t *bytes;
    size_t used, capacity;
    bool ended;
    uint64_t revision;
};

static int read_exactly(const struct restore *restore, void *data, size_t bytes)
{
    size_t got = 0;
    int code = restore->source(restore->arg, data, bytes, &got);
    return code ? code : got < bytes ? CONCLAVE_CORRUPT : CONCLAVE_OK;
}

static int read_start(struct restore *restore)
{
    struct {
        uint8_t magic[8];
        uint64_t revision;
    } start;
    int code = read_exactly(restore, &start, sizeof start);
    if (code)
        return code;
    if (memcmp(start.magic, SNAPSHOT_MAGIC, sizeof start.magic) != 0)
        return CONCLAVE_CORRUPT;
    restore->revision = le64toh(start.revision);
    return CONCLAVE_OK;
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
    uint32_t database = number_at(at);
    size_t key_bytes = number_at(at + 4), value_bytes = number_at(at + 8);
    if (database == 0) {
        restore->ended = true;
        return CONCLAVE_OK;
    }
    if (database > DATABASES || key_bytes == 0 || key_bytes > CONCLAVE_KEY_BYTES_MAX ||
        value_bytes > STORED_BYTES_MAX)
        return CONCLAVE_CORRUPT;
    at = room(restore, RECORD_BYTES + key_bytes + value_bytes);
    code = read_exactly(restore, at + RECORD_BYTES, key_bytes + value_bytes);
    if (!code)
        restore->used += RECORD_BYTES + key_bytes + value_bytes;
    return code;
}

/* rc. Puts all records that were read; the last transaction makes the state whole. */
static int put_records(const struct restore *restore, uint64_t index)
{
    struct kv_batch batch;
    int rc = kv_batch_begin(restore->store, &batch);
    if (rc)
        return rc;
    for (size_t at = 0; !rc && at < restore->used;) {
        uint8_t *record = restore->bytes + at;
        MDB_val key = {number_at(record + 4), record + RECORD_BYTES};
        MDB_val value = {number_at(record + 8), record + RECORD_BYTES + key.mv_size};
        bool keys = number_at(record) == DATABASE_KEYS;
        rc = keys ? mdb_cursor_put(batch.keys, &key, &value, 0)
                  : mdb_put(batch.txn, batch.sessions, &key, &value, 0);
        at += RECORD_BYTES + key.mv_size + value.mv_size;
    }
    if (rc) {
        kv_batch_abort(&batch);
        return rc;
    }
    if (restore->ended) {
        batch.state.applied_index = index;
        batch.state.revision = restore->revision;
    }
    return kv_batch_commit(restore->store, &batch);
}

static int restore_batch(struct restore *restore, uint64_t index)
{
    int code = CONCLAVE_OK;
    restore->used = 0;
    while (!code && !restore->ended && restore->used < RESTORE_BATCH_BYTES)
        code = read_record(restore);
    uint8_t more;
    size_t got = 0;
    if (!code && restore->ended) /* and with that the source has checked all of it */
        code = restore->source(restore->arg, &more, 1, &got);
    if (!code && got > 0)
        code = CONCLAVE_CORRUPT;
    if (code)
        return code;
    int rc = put_records(restore, index);
    while (rc == MDB_MAP_FULL) {
        code = kv_store_grow(restore->store);
        if (code)
            return code;
        rc = put_records(restore, index);
    }
    return kv_store_code(rc);
}

int kv_snapshot_restore(struct kv_store *store, uint64_t index, kv_snapshot_source source,
                        void *arg)
{
    struct restore restore = {.store = store, .source = source, .arg = arg};
    int code = read_start(&restore);
    if (!code)
        code = kv_store_begin_anew(store);
    while (!code && !restore.ended)
        code = restore_batch(&restore, index);
    if (!code)
        code = kv_store_trust(store);
    free(restore.bytes);
    return code;
}
