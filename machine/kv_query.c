#include "machine/kv_query.h"

#include "base/fatal.h"
#include "codec/kv.h"
#include "machine/kv_record.h"
#include "machine/reply.h"

enum {
    /* Keys that one counting query walks over: some 5 ms at 20-40 ns a key, during which nothing is
     * applied. The answer says where to go on. */
    COUNT_KEYS_MAX = 128 << 10,

    RANGE_CAPACITY = 4096
};

static MDB_val val_of(struct slice slice)
{
    return (MDB_val){slice.bytes, (void *)(uintptr_t)slice.data};
}

/* rc. */
static int item_of(const MDB_val *name, const MDB_val *stored, struct kv_item *ret)
{
    struct kv_record record;
    int rc = kv_record_read(stored, &record);
    if (rc)
        return rc;
    *ret = (struct kv_item){
        .key = {name->mv_data, name->mv_size},
        .value = {(const uint8_t *)stored->mv_data + KV_RECORD_HEADER_BYTES,
                  stored->mv_size - KV_RECORD_HEADER_BYTES},
        .create_revision = record.create_revision,
        .mod_revision = record.mod_revision,
        .version = record.version,
    };
    return 0;
}

/* rc. */
static int get_answer(struct kv_store *store, MDB_txn *txn, struct slice key,
                      struct conclave_reply_sink *reply)
{
    MDB_val name = val_of(key);
    MDB_val stored;
    struct pack pack;
    int rc = mdb_get(txn, store->keys, &name, &stored);
    if (rc == MDB_NOTFOUND) {
        pack_init(&pack, 0);
        kv_not_found_pack(&pack, store->state.revision);
        reply_sink_take(reply, CONCLAVE_NOT_FOUND, pack_take(&pack));
        return 0;
    }
    struct kv_item item;
    if (!rc)
        rc = item_of(&name, &stored, &item);
    if (rc)
        return rc;
    pack_init(&pack, KV_ITEM_FRAME_BYTES + item.value.bytes);
    kv_get_answer_pack(&pack, store->state.revision, &item);
    reply_sink_take(reply, CONCLAVE_OK, pack_take(&pack));
    return 0;
}

/* One range query on its way through the keys. */
struct range {
    const struct kv_query *query;
    struct kv_range_answer answer;
    struct pack items;
    struct slice last; /* the last key that the answer covers */
    bool more;         /* there is at least one key behind it */
    uint8_t next[KV_BOUND_BYTES_MAX];
};

/* rc. Takes one key in, or sees that it is too much. */
static int range_take(struct range *range, const MDB_val *name, const MDB_val *stored)
{
    const struct kv_query *query = range->query;
    uint64_t limit = query->limit ? query->limit : UINT64_MAX;
    if (query->what == KV_RANGE_COUNT && limit > COUNT_KEYS_MAX)
        limit = COUNT_KEYS_MAX;
    if (range->answer.count >= limit) {
        range->more = true;
        return 0;
    }
    if (query->what != KV_RANGE_COUNT) {
        struct kv_item item;
        int rc = item_of(name, stored, &item);
        if (rc)
            return rc;
        item.value_left_out = query->what == KV_RANGE_KEYS;
        if (range->answer.count && range->items.bytes + kv_item_bytes(&item) > query->bytes) {
            range->more = true;
            return 0;
        }
        kv_item_pack(&range->items, &item);
        range->answer.item_count++;
    }
    range->answer.count++;
    range->last = (struct slice){name->mv_data, name->mv_size};
    return 0;
}

/* rc. */
static int range_walk(struct range *range, MDB_cursor *cursor)
{
    const struct kv_bounds *bounds = &range->query->bounds;
    MDB_txn *txn = mdb_cursor_txn(cursor);
    MDB_val name = val_of(bounds->from);
    MDB_val end = val_of(bounds->to);
    MDB_val stored;
    int rc = mdb_cursor_get(cursor, &name, &stored, bounds->from.bytes ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0) {
        if (!bounds->no_end && mdb_cmp(txn, mdb_cursor_dbi(cursor), &name, &end) >= 0)
            return 0;
        rc = range_take(range, &name, &stored);
        if (rc || range->more)
            return rc;
        rc = mdb_cursor_get(cursor, &name, &stored, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static void range_finish(struct range *range, struct conclave_reply_sink *reply)
{
    /* The next key after `last` in the order of memcmp: keys put in between until then are seen. */
    if (range->more) {
        ASSERT(range->last.bytes < sizeof range->next);
        memcpy(range->next, range->last.data, range->last.bytes);
        range->next[range->last.bytes] = 0;
        range->answer.next = (struct slice){range->next, range->last.bytes + 1};
    }
    struct pack pack;
    pack_init(&pack, range->items.bytes + KV_RANGE_FRAME_BYTES);
    kv_range_answer_pack(&pack, &range->answer,
                         (struct slice){range->items.buf->data, range->items.bytes});
    reply_sink_take(reply, CONCLAVE_OK, pack_take(&pack));
}

/* rc. */
static int range_answer(struct kv_store *store, MDB_txn *txn, const struct kv_query *query,
                        struct conclave_reply_sink *reply)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, store->keys, &cursor);
    if (rc)
        return rc;
    struct range range = {.query = query, .answer.revision = store->state.revision};
    pack_init(&range.items, RANGE_CAPACITY);
    rc = range_walk(&range, cursor);
    if (!rc)
        range_finish(&range, reply);
    pack_deinit(&range.items);
    mdb_cursor_close(cursor);
    return rc;
}

void kv_query_answer(struct kv_store *store, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply)
{
    struct kv_query query;
    int code = kv_query_decode(data, bytes, &query);
    if (code) {
        reply_sink_take(reply, code, NULL);
        return;
    }
    MDB_txn *txn;
    int rc = kv_store_read(store, &txn);
    if (!rc)
        rc = query.opcode == KV_GET ? get_answer(store, txn, query.key, reply)
                                    : range_answer(store, txn, &query, reply);
    if (rc)
        reply_sink_take(reply, kv_store_code(rc), NULL);
}
