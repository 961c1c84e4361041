/* Which message ids were published: under each id where, and for each publish which ids, in order,
 * so that those behind the window are found. */
#include "base/fatal.h"
#include "machine/topic_internal.h"

#include <stdlib.h>

enum {
    EXPIRE_MAX = 4, /* publishes whose ids one publish erases; it brings one */
    ORDER_HEAD_BYTES = 16
};

static struct topic_key id_key(uint64_t topic, struct slice id)
{
    struct topic_key key = topic_key_tagged(TOPIC_TAG_ID);
    topic_key_add_number(&key, topic);
    topic_key_add(&key, id.data, id.bytes);
    return key;
}

static struct topic_key order_key(uint64_t topic, uint64_t sequence)
{
    struct topic_key key = topic_key_tagged(TOPIC_TAG_ORDER);
    topic_key_add_number(&key, topic);
    topic_key_add_number(&key, sequence);
    return key;
}

/* rc. *ret all zero: none. */
static int find(struct topic_batch *batch, struct slice id, struct topic_id_record *ret)
{
    struct topic_key key = id_key(batch->record.id, id);
    struct slice stored = {0};
    int rc = tables_get(batch->tx, TABLE_TOPICS, topic_key_slice(&key), &stored);
    if (!rc)
        rc = topic_numbers_read(stored, ret, sizeof *ret);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* What is not erased yet does not count: the window is exact. */
int topic_dedup_find(struct topic_batch *batch, struct slice id, uint64_t *ret_sequence)
{
    const struct topic_record *record = &batch->record;
    struct topic_id_record found = {0};
    int rc = find(batch, id, &found);
    if (rc)
        return rc;
    bool within = found.sequence && batch->clock_ms < found.time_ms + record->dedup_ms &&
                  found.sequence + record->dedup_count >= record->end;
    *ret_sequence = within ? found.sequence : 0;
    return 0;
}

int topic_dedup_note(struct topic_batch *batch, struct slice id, uint64_t sequence)
{
    struct topic_key key = id_key(batch->record.id, id);
    struct topic_id_record record = {sequence, topic_stamp_ms(batch)};
    void *room = NULL;
    int rc = tables_put(batch->tx, TABLE_TOPICS, topic_key_slice(&key), sizeof record, &room);
    if (!rc)
        topic_numbers_write(room, &record, sizeof record);
    return rc;
}

int topic_dedup_order(struct topic_batch *batch, const struct topic_message *messages,
                      uint32_t count, uint64_t first)
{
    struct topic_record *record = &batch->record;
    struct topic_key key = order_key(record->id, first);
    uint64_t head[2] = {topic_stamp_ms(batch), first + count};
    size_t bytes = ORDER_HEAD_BYTES;
    void *room = NULL;
    for (uint32_t i = 0; i < count; i++)
        bytes += messages[i].id.bytes ? 1 + messages[i].id.bytes : 0;
    int rc = tables_put(batch->tx, TABLE_TOPICS, topic_key_slice(&key), bytes, &room);
    if (rc)
        return rc;
    topic_numbers_write(room, head, sizeof head);
    uint8_t *at = (uint8_t *)room + sizeof head;
    for (uint32_t i = 0; i < count; i++) {
        struct slice id = messages[i].id;
        if (id.bytes == 0)
            continue;
        *at++ = (uint8_t)id.bytes;
        memcpy(at, id.data, id.bytes);
        at += id.bytes;
    }
    if (record->order_end == 0) {
        record->order_end = first + count;
        record->order_ms = topic_stamp_ms(batch);
    }
    return 0;
}

/* --- Expiry ------------------------------------------------------------------------------------
 */

/* rc. The oldest entry of the topic; NOT_FOUND: none. */
static int oldest(struct topic_batch *batch, struct tables_cursor *cursor, struct slice *ret_key,
                  struct slice *ret_value)
{
    struct topic_key from = order_key(batch->record.id, 0);
    *ret_key = topic_key_slice(&from);
    int rc = tables_cursor_move(cursor, TABLES_FROM, ret_key, ret_value);
    if (!rc && (ret_key->bytes != from.used || memcmp(ret_key->data, from.bytes, 9) != 0))
        rc = CONCLAVE_NOT_FOUND;
    return rc;
}

/* rc. Erases the ids of a publish that had sequences below `end`; one that was published again
 * later stands for that. */
static int erase_ids(struct topic_batch *batch, struct slice ids, uint64_t end)
{
    for (size_t at = 0; at < ids.bytes;) {
        struct slice id = {ids.data + at + 1, ids.data[at]};
        struct topic_id_record found = {0};
        if (ids.bytes - at - 1 < id.bytes)
            return CONCLAVE_CORRUPT;
        int rc = find(batch, id, &found);
        if (!rc && found.sequence && found.sequence < end) {
            struct topic_key key = id_key(batch->record.id, id);
            rc = tables_erase(batch->tx, TABLE_TOPICS, topic_key_slice(&key));
        }
        if (rc)
            return rc;
        at += 1 + id.bytes;
    }
    return 0;
}

/* rc. Erases the oldest entry with its ids, and sees which one is the oldest then. */
static int expire_one(struct topic_batch *batch, struct tables_cursor *cursor)
{
    struct topic_record *record = &batch->record;
    struct slice key, value;
    uint64_t head[2];
    int rc = oldest(batch, cursor, &key, &value);
    if (!rc)
        rc = topic_numbers_read(value, head, sizeof head);
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
    size_t bytes = value.bytes - sizeof head;
    uint8_t *ids = mem_alloc(bytes + 1);
    memcpy(ids, value.data + sizeof head, bytes);
    rc = tables_cursor_erase(cursor);
    if (!rc)
        rc = erase_ids(batch, (struct slice){ids, bytes}, head[1]);
    free(ids);
    if (!rc)
        rc = oldest(batch, cursor, &key, &value);
    if (!rc)
        rc = topic_numbers_read(value, head, sizeof head);
    if (rc == CONCLAVE_NOT_FOUND) {
        record->order_end = record->order_ms = 0;
        return 0;
    }
    record->order_ms = head[0];
    record->order_end = head[1];
    return rc;
}

static bool oldest_is_behind(const struct topic_batch *batch)
{
    const struct topic_record *record = &batch->record;
    return record->order_end && (record->order_ms + record->dedup_ms <= batch->clock_ms ||
                                 record->order_end - 1 + record->dedup_count < record->end);
}

int topic_dedup_expire(struct topic_batch *batch)
{
    struct tables_cursor cursor;
    if (!oldest_is_behind(batch))
        return 0;
    int rc = tables_cursor_open(batch->tx, TABLE_TOPICS, &cursor);
    if (rc)
        return rc;
    for (int i = 0; !rc && i < EXPIRE_MAX && oldest_is_behind(batch); i++)
        rc = expire_one(batch, &cursor);
    tables_cursor_close(&cursor);
    return rc;
}
