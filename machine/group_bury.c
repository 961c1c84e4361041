/* Groups that are deleted, by themselves or with their topic, and what they have left: it may be
 * much, and is erased by later commands, a bounded part each. */
#include "base/fatal.h"
#include "machine/group_internal.h"
#include "machine/kv_deadline.h"

int group_drop(struct kv_batch *batch, const struct group *group)
{
    const struct group_record *record = &group->record;
    struct topic_key name = group_name_key(record->topic, group_name(group));
    struct topic_key key = group_key(GROUP_TAG_GROUP, record->id);
    struct topic_key dead = group_key(GROUP_TAG_DEAD, record->id);
    struct kv_deadline deadline = {
        .ms = record->deadline_ms, .kind = KV_DEADLINE_GROUP, .number = record->id};
    group_note(batch, group);
    int rc = record->deadline_ms ? kv_deadline_clear(&batch->tx, &deadline) : 0;
    if (!rc)
        rc = group_erase_key(batch, &name);
    if (!rc)
        rc = group_erase_key(batch, &key);
    if (!rc)
        rc = tables_put_bytes(&batch->tx, TABLE_GROUPS, topic_key_slice(&dead), (struct slice){0});
    batch->state.bytes -= GROUP_BYTES + record->name_bytes;
    batch->groups_buried = false;
    return rc;
}

int group_topic_deleted(struct kv_batch *batch, struct slice topic)
{
    struct topic_key key;
    int rc = topic_load(&batch->topics, topic);
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
    key = group_key(GROUP_TAG_TOPIC, batch->topics.record.id);
    batch->groups_buried = false;
    return tables_put_bytes(&batch->tx, TABLE_GROUPS, topic_key_slice(&key), (struct slice){0});
}

/* rc. Goes to the first key with the prefix; NOT_FOUND: there is none. */
static int seek(struct tables_cursor *cursor, struct slice prefix, struct slice *ret_key)
{
    *ret_key = prefix;
    int rc = tables_cursor_move(cursor, TABLES_FROM, ret_key, NULL);
    if (!rc &&
        (ret_key->bytes < prefix.bytes || memcmp(ret_key->data, prefix.data, prefix.bytes) != 0))
        rc = CONCLAVE_NOT_FOUND;
    return rc;
}

/* rc. Erases up to *left keys with the prefix; all of them: *left is not 0 then. */
static int erase_prefix(struct tables_cursor *cursor, struct slice prefix, uint32_t *left)
{
    struct slice key;
    int rc = seek(cursor, prefix, &key);
    while (!rc && *left > 0) {
        rc = tables_cursor_erase(cursor);
        --*left;
        if (!rc)
            rc = seek(cursor, prefix, &key);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. Of one deleted group; its mark at last. */
static int bury_group(struct tables_cursor *cursor, uint64_t id, uint32_t *left)
{
    static const uint8_t tags[] = {GROUP_TAG_HELD,   GROUP_TAG_DUE,   GROUP_TAG_READY,
                                   GROUP_TAG_MEMBER, GROUP_TAG_ENDED, GROUP_TAG_DEAD};
    int rc = 0;
    for (size_t i = 0; !rc && *left > 0 && i < sizeof tags; i++) {
        struct topic_key key = group_key(tags[i], id);
        rc = erase_prefix(cursor, topic_key_slice(&key), left);
    }
    return rc;
}

/* rc. The groups of one deleted topic; its mark at last. */
static int bury_topic(struct kv_batch *batch, struct tables_cursor *cursor, uint64_t topic,
                      uint32_t *left)
{
    struct topic_key prefix = group_key(GROUP_TAG_NAME, topic);
    struct topic_key mark = group_key(GROUP_TAG_TOPIC, topic);
    struct slice key;
    int rc = 0;
    while (!rc && *left > 0) {
        struct group group;
        rc = seek(cursor, topic_key_slice(&prefix), &key);
        if (rc == CONCLAVE_NOT_FOUND)
            return group_erase_key(batch, &mark);
        uint8_t name[CONCLAVE_GROUP_BYTES_MAX];
        size_t bytes = rc ? 0 : key.bytes - prefix.used;
        if (bytes > sizeof name)
            return CONCLAVE_CORRUPT;
        if (!rc)
            memcpy(name, key.data + prefix.used, bytes);
        if (!rc)
            rc = group_find(&batch->tx, topic, (struct slice){name, bytes}, &group);
        if (!rc)
            rc = group_drop(batch, &group);
        --*left;
    }
    return rc;
}

int group_bury(struct kv_batch *batch)
{
    static const uint8_t topics[] = {GROUP_TAG_TOPIC}, groups[] = {GROUP_TAG_DEAD};
    struct tables_cursor cursor;
    struct slice key;
    uint32_t left = GROUP_BURY_MAX;
    if (batch->groups_buried)
        return 0;
    int rc = tables_cursor_open(&batch->tx, TABLE_GROUPS, &cursor);
    while (!rc && left > 0) {
        rc = seek(&cursor, (struct slice){topics, 1}, &key);
        bool of_topic = rc == 0;
        if (rc == CONCLAVE_NOT_FOUND)
            rc = seek(&cursor, (struct slice){groups, 1}, &key);
        batch->groups_buried = rc == CONCLAVE_NOT_FOUND;
        if (rc)
            break;
        uint64_t id = topic_number_at(key.data + 1);
        rc = of_topic ? bury_topic(batch, &cursor, id, &left) : bury_group(&cursor, id, &left);
    }
    tables_cursor_close(&cursor);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}
