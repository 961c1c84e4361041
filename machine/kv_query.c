#include "machine/kv_query.h"

#include "base/fatal.h"
#include "machine/kv_past.h"
#include "machine/kv_query_lease.h"
#include "machine/kv_reply.h"

enum {
    /* Keys that one counting query walks over: some 5 ms at 20-40 ns a key, during which nothing is
     * applied. The answer says where to go on. */
    COUNT_KEYS_MAX = 128 << 10,

    RANGE_CAPACITY = 4096,
    ANSWER_CAPACITY = 256 /* a small value need not be made room for twice */
};

/* Whether the store knows of the revision: it may have been compacted, or not be there yet. */
static int revision_check(const struct kv_view *view, uint64_t revision)
{
    if (revision > view->state->revision)
        return CONCLAVE_STALE;
    return revision && revision < view->state->compacted ? CONCLAVE_COMPACTED : CONCLAVE_OK;
}

static bool is_past(const struct kv_view *view, uint64_t revision)
{
    return revision && revision < view->state->revision;
}

/* --- Get -------------------------------------------------------------------------------------- */

/* rc. What there is, or was, under the key; NOT_FOUND. */
static int stored_find(const struct kv_view *view, const struct kv_query *query,
                       struct slice *ret_stored)
{
    enum kv_space space = (enum kv_space)query->space;
    if (is_past(view, query->revision)) {
        bool changed;
        int rc = kv_past_get(view->tx, space, query->key, query->revision, &changed, ret_stored);
        if (rc || changed)
            return rc ? rc : ret_stored->bytes ? 0 : CONCLAVE_NOT_FOUND;
    }
    return tables_get(view->tx, kv_space_table(space), query->key, ret_stored);
}

/* rc. */
static int get_run(const struct kv_view *view, const struct kv_query *query, struct pack *pack,
                   int *ret_code)
{
    struct slice stored = {0};
    struct kv_item item;
    int rc = stored_find(view, query, &stored);
    if (rc == CONCLAVE_NOT_FOUND) {
        *ret_code = CONCLAVE_NOT_FOUND;
        kv_not_found_pack(pack, view->revision);
        return 0;
    }
    if (!rc)
        rc = kv_item_of(query->key, stored, &item);
    if (!rc)
        kv_get_answer_pack(pack, view->revision, &item);
    return rc;
}

/* --- Range ------------------------------------------------------------------------------------ */

/* One range query on its way through the keys. */
struct range {
    const struct kv_query *query;
    struct kv_range_answer answer;
    struct pack items;
    struct slice last; /* the last key that the answer covers */
    bool more;         /* there is at least one key behind it */
    uint8_t next[KV_BOUND_BYTES_MAX];
    struct kv_past past;
    uint32_t at; /* in `past` */
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
        int rc = kv_item_of(key, stored, &item);
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

/* rc. Everything of the past before this key, or, `to` NULL, before the end. A key that is there
 * now and was another then is taken as it was; *ret_replaced says so. */
static int range_take_past(struct range *range, const struct slice *to, bool *ret_replaced)
{
    *ret_replaced = false;
    while (range->at < range->past.count && !range->more) {
        const struct kv_past_key *was = &range->past.items[range->at];
        int order = to ? tables_compare(was->key, *to) : -1;
        if (order > 0)
            return 0;
        *ret_replaced = order == 0;
        range->at++;
        int rc = was->stored.bytes ? range_take(range, was->key, was->stored) : 0;
        if (rc || *ret_replaced)
            return rc;
    }
    return 0;
}

/* rc. */
static int range_walk(struct range *range, struct tables_cursor *cursor)
{
    const struct kv_bounds *bounds = &range->query->bounds;
    struct slice key = bounds->from, stored;
    bool replaced;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &stored);
    while (rc == 0 && (bounds->no_end || tables_compare(key, bounds->to) < 0)) {
        rc = range_take_past(range, &key, &replaced);
        if (!rc && !replaced && !range->more)
            rc = range_take(range, key, stored);
        if (rc || range->more)
            return rc;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, &stored);
    }
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    return range_take_past(range, NULL, &replaced);
}

static void range_finish(struct range *range, struct pack *pack)
{
    /* The next key after `last` in the order of memcmp: keys put in between until then are seen. */
    if (range->more) {
        ASSERT(range->last.bytes < sizeof range->next);
        memcpy(range->next, range->last.data, range->last.bytes);
        range->next[range->last.bytes] = 0;
        range->answer.next = (struct slice){range->next, range->last.bytes + 1};
    }
    kv_range_answer_pack(pack, &range->answer,
                         (struct slice){range->items.buf->data, range->items.bytes});
}

/* rc. */
static int range_run(const struct kv_view *view, const struct kv_query *query, struct pack *pack)
{
    struct tables_cursor cursor;
    enum kv_space space = (enum kv_space)query->space;
    int rc = tables_cursor_open(view->tx, kv_space_table(space), &cursor);
    if (rc)
        return rc;
    struct range range = {.query = query, .answer.revision = view->revision};
    pack_init(&range.items, RANGE_CAPACITY);
    if (is_past(view, query->revision))
        rc = kv_past_read(view->tx, space, &query->bounds, query->revision, &range.past);
    if (!rc)
        rc = range_walk(&range, &cursor);
    if (!rc)
        range_finish(&range, pack);
    kv_past_clear(&range.past);
    pack_deinit(&range.items);
    tables_cursor_close(&cursor);
    return rc;
}

/* --- Any -------------------------------------------------------------------------------------- */

int kv_query_run(const struct kv_view *view, const struct kv_query *query, struct pack *pack,
                 int *ret_code)
{
    *ret_code = revision_check(view, query->revision);
    if (*ret_code) {
        kv_not_found_pack(pack, *ret_code == CONCLAVE_COMPACTED ? view->state->compacted
                                                                : view->revision);
        return 0;
    }
    switch (query->opcode) {
    case KV_GET:
        return get_run(view, query, pack, ret_code);
    case KV_RANGE:
        return range_run(view, query, pack);
    case KV_LEASES:
        return kv_leases_run(view, query, pack);
    case KV_LEASE_KEYS:
        return kv_lease_keys_run(view, query, pack, ret_code);
    case KV_USAGE:
        kv_usage_run(view, pack);
        return 0;
    default:
        break;
    }
    ASSERT(!"the decoder answers queries only");
    return CONCLAVE_INTERNAL;
}

void kv_query_answer(struct tables *tables, const struct kv_state *state, uint64_t clock_ms,
                     const void *data, size_t bytes, struct conclave_reply_sink *reply)
{
    struct kv_query query;
    int code = kv_query_decode(data, bytes, &query);
    if (code) {
        reply_sink_take(reply, code, NULL);
        return;
    }
    struct kv_view view = {.state = state, .revision = state->revision, .clock_ms = clock_ms};
    struct pack pack;
    pack_init(&pack, ANSWER_CAPACITY);
    int rc = tables_read(tables, &view.tx);
    if (!rc)
        rc = kv_query_run(&view, &query, &pack, &code);
    if (rc)
        pack_deinit(&pack);
    reply_sink_take(reply, rc ? rc : code, rc ? NULL : pack_take(&pack));
}
