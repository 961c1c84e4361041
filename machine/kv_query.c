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

/* rc. */
static int item_of(struct slice key, struct slice stored, struct kv_item *ret)
{
    struct kv_record record;
    int rc = kv_record_read(stored, &record);
    if (rc)
        return rc;
    *ret = (struct kv_item){
        .key = key,
        .value = kv_record_value(stored),
        .create_revision = record.create_revision,
        .mod_revision = record.mod_revision,
        .version = record.version,
    };
    return 0;
}

/* rc. */
static int get_answer(struct tables_tx *tx, uint64_t revision, struct slice key,
                      struct conclave_reply_sink *reply)
{
    struct slice stored = {0};
    struct pack pack;
    int rc = tables_get(tx, TABLE_KEYS, key, &stored);
    if (rc == CONCLAVE_NOT_FOUND) {
        pack_init(&pack, 0);
        kv_not_found_pack(&pack, revision);
        reply_sink_take(reply, CONCLAVE_NOT_FOUND, pack_take(&pack));
        return 0;
    }
    struct kv_item item;
    if (!rc)
        rc = item_of(key, stored, &item);
    if (rc)
        return rc;
    pack_init(&pack, KV_ITEM_FRAME_BYTES + item.value.bytes);
    kv_get_answer_pack(&pack, revision, &item);
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
static int range_take(struct range *range, struct slice key, struct slice stored)
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
        int rc = item_of(key, stored, &item);
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
    range->last = key;
    return 0;
}

/* rc. */
static int range_walk(struct range *range, struct tables_cursor *cursor)
{
    const struct kv_bounds *bounds = &range->query->bounds;
    struct slice key = bounds->from, stored;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &stored);
    while (rc == 0) {
        if (!bounds->no_end && tables_compare(key, bounds->to) >= 0)
            return 0;
        rc = range_take(range, key, stored);
        if (rc || range->more)
            return rc;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, &stored);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
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
static int range_answer(struct tables_tx *tx, uint64_t revision, const struct kv_query *query,
                        struct conclave_reply_sink *reply)
{
    struct tables_cursor cursor;
    int rc = tables_cursor_open(tx, TABLE_KEYS, &cursor);
    if (rc)
        return rc;
    struct range range = {.query = query, .answer.revision = revision};
    pack_init(&range.items, RANGE_CAPACITY);
    rc = range_walk(&range, &cursor);
    if (!rc)
        range_finish(&range, reply);
    pack_deinit(&range.items);
    tables_cursor_close(&cursor);
    return rc;
}

void kv_query_answer(struct tables *tables, uint64_t revision, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply)
{
    struct kv_query query;
    int code = kv_query_decode(data, bytes, &query);
    if (code) {
        reply_sink_take(reply, code, NULL);
        return;
    }
    struct tables_tx *tx = NULL;
    int rc = tables_read(tables, &tx);
    if (!rc)
        rc = query.opcode == KV_GET ? get_answer(tx, revision, query.key, reply)
                                    : range_answer(tx, revision, &query, reply);
    if (rc)
        reply_sink_take(reply, rc, NULL);
}
