#include "machine/kv_query_lease.h"

#include "machine/kv_lease.h"
#include "machine/kv_quota.h"

static uint32_t limit_of(const struct kv_query *query)
{
    if (query->limit == 0)
        return KV_LEASES_DEFAULT;
    return query->limit > KV_LEASES_MAX ? KV_LEASES_MAX : (uint32_t)query->limit;
}

static struct kv_lease_info info_of(const struct kv_view *view, const struct kv_lease *lease)
{
    uint64_t now_ms = view->clock_ms;
    return (struct kv_lease_info){.lease = lease->id,
                                  .ttl_ms = lease->ttl_ms,
                                  .left_ms =
                                      lease->deadline_ms > now_ms ? lease->deadline_ms - now_ms : 0,
                                  .keys = lease->keys};
}

int kv_leases_run(const struct kv_view *view, const struct kv_query *query, struct pack *pack)
{
    struct tables_cursor cursor;
    struct pack items;
    struct kv_leases_answer answer = {.revision = view->revision};
    uint64_t number = htobe64(query->lease + 1), last = 0;
    struct slice key = {(const uint8_t *)&number, sizeof number};
    int rc = tables_cursor_open(view->tx, TABLE_LEASES, &cursor);
    if (rc)
        return rc;
    pack_init(&items, 0);
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    for (uint32_t looked = 0; !rc && !answer.next; looked++) {
        struct kv_lease lease;
        uint64_t id;
        if (key.bytes != sizeof id) {
            rc = CONCLAVE_CORRUPT;
            break;
        }
        memcpy(&id, key.data, sizeof id);
        rc = kv_lease_find(view->tx, be64toh(id), &lease);
        if (rc)
            break;
        if (answer.count == limit_of(query) || looked == KV_LEASES_MAX) {
            answer.next = last;
            break;
        }
        last = lease.id;
        if (!(lease.flags & KV_LEASE_OF_KEY)) {
            struct kv_lease_info info = info_of(view, &lease);
            kv_lease_info_pack(&items, &info);
            answer.count++;
        }
        rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL);
    }
    if (!rc || rc == CONCLAVE_NOT_FOUND) {
        kv_leases_answer_pack(pack, &answer, (struct slice){items.buf->data, items.bytes});
        rc = 0;
    }
    pack_deinit(&items);
    tables_cursor_close(&cursor);
    return rc;
}

enum { NUMBER_BYTES = 8 };

/* rc. The keys from the place on; where to go on goes to next[]. Behind them are groups. */
static int keys_walk(struct tables_cursor *cursor, const struct kv_query *query,
                     struct kv_lease_keys_answer *answer, struct pack *items,
                     uint8_t next[KV_LEASE_PLACE_BYTES_MAX])
{
    uint8_t place[NUMBER_BYTES + KV_LEASE_PLACE_BYTES_MAX];
    uint64_t number = htobe64(query->lease);
    memcpy(place, &number, sizeof number);
    if (query->key.bytes)
        memcpy(place + NUMBER_BYTES, query->key.data, query->key.bytes);
    struct slice key = {place, NUMBER_BYTES + query->key.bytes};
    if (key.bytes > TABLES_KEY_BYTES_MAX)
        key.bytes = TABLES_KEY_BYTES_MAX;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, NULL);
    while (!rc && key.bytes > NUMBER_BYTES + 1 && memcmp(key.data, &number, sizeof number) == 0 &&
           key.data[NUMBER_BYTES] < KV_SPACES) {
        if (answer->count == limit_of(query) || items->bytes > KV_RANGE_BYTES_DEFAULT) {
            memcpy(next, key.data + NUMBER_BYTES, key.bytes - NUMBER_BYTES);
            answer->next = (struct slice){next, key.bytes - NUMBER_BYTES};
            return 0;
        }
        struct slice name = {key.data + NUMBER_BYTES + 1, key.bytes - NUMBER_BYTES - 1};
        kv_lease_key_pack(items, key.data[NUMBER_BYTES], name);
        answer->count++;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, NULL);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

int kv_lease_keys_run(const struct kv_view *view, const struct kv_query *query, struct pack *pack,
                      int *ret_code)
{
    struct tables_cursor cursor;
    struct kv_lease lease;
    struct kv_lease_keys_answer answer = {.revision = view->revision};
    uint8_t next[KV_LEASE_PLACE_BYTES_MAX];
    struct pack items;
    int rc = kv_lease_find(view->tx, query->lease, &lease);
    if (rc == CONCLAVE_NOT_FOUND) {
        *ret_code = CONCLAVE_LEASE_EXPIRED;
        kv_not_found_pack(pack, view->revision);
        return 0;
    }
    if (!rc)
        rc = tables_cursor_open(view->tx, TABLE_ATTACHED, &cursor);
    if (rc)
        return rc;
    answer.info = info_of(view, &lease);
    pack_init(&items, 0);
    rc = keys_walk(&cursor, query, &answer, &items, next);
    if (!rc)
        kv_lease_keys_answer_pack(pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    tables_cursor_close(&cursor);
    return rc;
}

void kv_usage_run(const struct kv_view *view, struct pack *pack)
{
    const struct kv_state *state = view->state;
    const struct kv_usage usage = {
        .revision = view->revision,
        .compacted = state->compacted,
        .clock_ms = view->clock_ms,
        .settings = {[KV_SETTING_CHANGES] = state->changes_max,
                     [KV_SETTING_BYTES] = state->bytes_max,
                     [KV_SETTING_AGE_MS] = state->age_ms_max,
                     [KV_SETTING_QUOTA] = state->quota},
        .keys = state->keys,
        .bytes = state->bytes,
        .history_changes = state->history_changes,
        .history_bytes = state->history_bytes,
        .leases = state->leases,
        .topics = state->topics,
        .topic_bytes = state->topic_bytes,
        .refused = kv_quota_alarm(state) ? state->refused : 0,
    };
    kv_usage_pack(pack, &usage);
}
