/* What a topic keeps no more, and what deleted topics have left. */
#include "machine/topic_internal.h"

enum { BURY_MAX = 64 /* blocks and ids that one command erases of deleted topics */ };

/* --- Retention ---------------------------------------------------------------------------------
 */

/* Whether the oldest block is one too many. By bytes the newest one is always kept. */
static bool head_is_behind(const struct topic_batch *batch)
{
    const struct topic_record *record = &batch->record;
    if (record->head_end == 0)
        return false;
    return record->head_end <= record->first ||
           (record->bytes_max && record->bytes > record->bytes_max &&
            record->head_end < record->end) ||
           (record->age_ms && record->head_ms + record->age_ms <= batch->clock_ms);
}

/* rc. The cursor went to what is now the oldest block, if there is one. */
static int head_read(struct topic_record *record, int rc, struct slice key, struct slice value)
{
    uint64_t sequence = 0;
    if (rc == CONCLAVE_NOT_FOUND || (!rc && !topic_block_is(key, record->id, &sequence))) {
        record->head_end = record->head_bytes = record->head_ms = 0;
        record->tail_begin = 0;
        record->first = record->end;
        return 0;
    }
    struct topic_block block = {0};
    if (!rc)
        rc = topic_numbers_read(value, &block, sizeof block);
    if (rc)
        return rc;
    record->head_end = sequence + block.count;
    record->head_bytes = value.bytes;
    record->head_ms = block.time_ms;
    if (record->first < sequence)
        record->first = sequence;
    return 0;
}

/* rc. Erases the block that the cursor is on, the oldest, and goes to the next one. */
static int head_erase(struct topic_batch *batch, struct slice value,
                      struct conclave_reply_sink *reply, struct slice *ret_key,
                      struct slice *ret_value)
{
    struct topic_record *record = &batch->record;
    if (value.bytes != record->head_bytes || record->bytes < record->head_bytes)
        return CONCLAVE_CORRUPT;
    topic_note_effect(reply, value.data, value.bytes);
    int rc = tables_cursor_erase(&batch->oldest);
    if (rc)
        return rc;
    record->bytes -= record->head_bytes;
    topic_count(batch->bytes, -(int64_t)record->head_bytes);
    rc = tables_cursor_move(&batch->oldest, TABLES_NEXT, ret_key, ret_value);
    return head_read(record, rc, *ret_key, *ret_value);
}

/* rc. Erases the oldest blocks while they are too many. */
static int blocks_erase(struct topic_batch *batch, uint32_t *blocks,
                        struct conclave_reply_sink *reply)
{
    const struct topic_record *record = &batch->record;
    int rc = topic_tail_flush(batch);
    if (!rc)
        rc = topic_blocks_open(batch, &batch->oldest);
    if (rc)
        return rc;
    struct topic_key from = topic_block_key(record->id, 0);
    struct slice key = topic_key_slice(&from), value = {0};
    uint64_t sequence;
    rc = tables_cursor_move(&batch->oldest, TABLES_FROM, &key, &value);
    if (!rc && !topic_block_is(key, record->id, &sequence))
        rc = CONCLAVE_NOT_FOUND;
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
    for (; !rc && *blocks > 0 && head_is_behind(batch); --*blocks)
        rc = head_erase(batch, value, reply, &key, &value);
    return rc;
}

/* --- Deadlines ---------------------------------------------------------------------------------
 *
 * A topic has one at most: when its oldest block is too old, as of when it was set, or at once if
 * there is more to be erased than was. It is not moved when that block goes before: it comes, finds
 * nothing, and is set anew, once in the age of the topic. */

static struct kv_deadline deadline_of(const struct topic_batch *batch)
{
    return (struct kv_deadline){.ms = batch->record.due_ms,
                                .kind = KV_DEADLINE_TOPIC,
                                .number = batch->record.id,
                                .note = {batch->name, batch->name_bytes}};
}

int topic_deadline_clear(struct topic_batch *batch)
{
    struct kv_deadline deadline = deadline_of(batch);
    if (deadline.ms == 0)
        return 0;
    batch->record.due_ms = 0;
    batch->changed = true;
    return kv_deadline_clear(batch->tx, &deadline);
}

/* rc. */
static int deadline_arm(struct topic_batch *batch)
{
    struct topic_record *record = &batch->record;
    uint64_t due_ms = 0;
    if (head_is_behind(batch))
        due_ms = batch->clock_ms + (batch->clock_ms == 0); /* 0 is none */
    else if (record->age_ms && record->head_end)
        due_ms = record->head_ms + record->age_ms;
    if (due_ms == 0 || (record->due_ms && record->due_ms <= due_ms))
        return 0;
    int rc = topic_deadline_clear(batch);
    if (rc)
        return rc;
    record->due_ms = due_ms;
    batch->changed = true;
    struct kv_deadline deadline = deadline_of(batch);
    return kv_deadline_set(batch->tx, &deadline);
}

int topic_trim(struct topic_batch *batch, uint32_t *blocks, struct conclave_reply_sink *reply)
{
    struct topic_record *record = &batch->record;
    if (record->count_max && record->end - record->first > record->count_max)
        record->first = record->end - record->count_max; /* exact, wherever blocks end */
    int rc = head_is_behind(batch) ? blocks_erase(batch, blocks, reply) : 0;
    return rc ? rc : deadline_arm(batch);
}

int topic_age(struct topic_batch *batch, const struct kv_deadline *due, uint32_t *work,
              struct conclave_reply_sink *reply)
{
    uint8_t name[KV_DEADLINE_NOTE_BYTES_MAX];
    struct slice topic = {name, due->note.bytes};
    memcpy(name, due->note.data, due->note.bytes);
    int rc = topic_load(batch, topic);
    if (rc == CONCLAVE_NOT_FOUND || (!rc && batch->record.id != due->number))
        return CONCLAVE_CORRUPT;
    if (rc)
        return rc;
    topic_note_effect(reply, &batch->record, sizeof batch->record);
    rc = topic_deadline_clear(batch);
    --*work;
    return rc ? rc : topic_trim(batch, work, reply);
}

/* --- Deleted topics ----------------------------------------------------------------------------
 */

/* rc. Erases up to *left keys that begin with the prefix. */
static int erase_prefix(struct topic_batch *batch, enum table table, struct slice prefix,
                        uint32_t *left)
{
    struct tables_cursor cursor;
    struct slice key = prefix;
    int rc = tables_cursor_open(batch->tx, table, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    while (!rc && *left > 0 && key.bytes >= prefix.bytes &&
           memcmp(key.data, prefix.data, prefix.bytes) == 0) {
        --*left;
        rc = tables_cursor_erase(&cursor);
        if (!rc)
            rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL);
    }
    tables_cursor_close(&cursor);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. The deleted topic with the lowest id; NOT_FOUND: there is none. */
static int dead_find(struct topic_batch *batch, uint64_t *ret_topic)
{
    struct tables_cursor cursor;
    struct topic_key tag = topic_key_tagged(TOPIC_TAG_DEAD);
    struct slice key = topic_key_slice(&tag);
    int rc = tables_cursor_open(batch->tx, TABLE_TOPICS, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    if (!rc && (key.bytes != 9 || key.data[0] != TOPIC_TAG_DEAD))
        rc = CONCLAVE_NOT_FOUND;
    if (!rc)
        *ret_topic = topic_number_at(key.data + 1);
    tables_cursor_close(&cursor);
    return rc;
}

static struct topic_key dead_key(uint64_t topic)
{
    struct topic_key key = topic_key_tagged(TOPIC_TAG_DEAD);
    topic_key_add_number(&key, topic);
    return key;
}

static struct kv_deadline rest_deadline(uint64_t topic, uint64_t ms)
{
    return (struct kv_deadline){.ms = ms, .kind = KV_DEADLINE_REST, .number = topic};
}

int topic_die(struct topic_batch *batch)
{
    uint64_t ms = batch->clock_ms;
    struct topic_key key = dead_key(batch->record.id);
    struct kv_deadline deadline = rest_deadline(batch->record.id, ms);
    void *room = NULL;
    int rc = tables_put(batch->tx, TABLE_TOPICS, topic_key_slice(&key), sizeof ms, &room);
    if (rc)
        return rc;
    topic_numbers_write(room, &ms, sizeof ms);
    return kv_deadline_set(batch->tx, &deadline);
}

/* rc. Nothing is left of it but that it is dead. */
static int dead_forget(struct topic_batch *batch, uint64_t topic)
{
    struct topic_key key = dead_key(topic);
    struct slice stored = {0};
    uint64_t ms = 0;
    int rc = tables_get(batch->tx, TABLE_TOPICS, topic_key_slice(&key), &stored);
    if (!rc)
        rc = topic_numbers_read(stored, &ms, sizeof ms);
    struct kv_deadline deadline = rest_deadline(topic, ms);
    if (!rc)
        rc = kv_deadline_clear(batch->tx, &deadline);
    if (!rc)
        rc = tables_erase(batch->tx, TABLE_TOPICS, topic_key_slice(&key));
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

int topic_bury_one(struct topic_batch *batch, uint64_t topic, uint32_t *left)
{
    static const uint8_t tags[] = {TOPIC_TAG_ID, TOPIC_TAG_ORDER};
    struct topic_key blocks;
    blocks.used = 0;
    topic_key_add_number(&blocks, topic);
    int rc = erase_prefix(batch, TABLE_MESSAGES, topic_key_slice(&blocks), left);
    for (size_t i = 0; !rc && *left > 0 && i < sizeof tags; i++) {
        struct topic_key key = topic_key_tagged(tags[i]);
        topic_key_add_number(&key, topic);
        rc = erase_prefix(batch, TABLE_TOPICS, topic_key_slice(&key), left);
    }
    if (rc || *left == 0)
        return rc;
    --*left;
    return dead_forget(batch, topic);
}

int topic_bury(struct topic_batch *batch)
{
    uint32_t left = BURY_MAX;
    while (!batch->none_dead && left > 0) {
        uint64_t topic;
        int rc = dead_find(batch, &topic);
        batch->none_dead = rc == CONCLAVE_NOT_FOUND;
        if (!rc)
            rc = topic_bury_one(batch, topic, &left);
        if (rc && !batch->none_dead)
            return rc;
    }
    return 0;
}
