/* Answering queries about topics from what is committed. */
#include "base/fatal.h"
#include "machine/reply.h"
#include "machine/topic_read.h"

enum { READ_CAPACITY = 4096 };

/* One query at work. */
struct query {
    struct tables_tx *tx;
    uint64_t revision, clock_ms;
    const struct topic_query *asked;
    struct conclave_reply_sink *reply;
};

static void answer_not_found(const struct query *query)
{
    struct pack pack;
    pack_init(&pack, 0);
    pack_array(&pack, 2);
    pack_uint(&pack, query->revision);
    pack_uint(&pack, 0);
    reply_sink_take(query->reply, CONCLAVE_NOT_FOUND, pack_take(&pack));
}

static int info_of(const struct query *query, struct slice name, const struct topic_record *record,
                   struct topic_info *ret)
{
    *ret = (struct topic_info){.name = name,
                               .id = record->id,
                               .end = record->end,
                               .bytes = record->bytes,
                               .settings = {record->count_max, record->bytes_max, record->age_ms,
                                            record->dedup_ms, record->dedup_count}};
    return topic_first(query->tx, record, query->clock_ms, &ret->first);
}

static int info_answer(const struct query *query, const struct topic_record *record)
{
    struct topic_info info;
    int rc = info_of(query, query->asked->name, record, &info);
    if (rc)
        return rc;
    struct pack pack;
    pack_init(&pack, 0);
    topic_info_answer_pack(&pack, query->revision, query->clock_ms, &info);
    reply_sink_take(query->reply, CONCLAVE_OK, pack_take(&pack));
    return 0;
}

/* --- List --------------------------------------------------------------------------------------
 */

static int list_walk(const struct query *query, struct tables_cursor *cursor, struct pack *infos,
                     struct list_answer *answer)
{
    struct topic_key from = topic_key_tagged(TOPIC_TAG_NAME);
    struct slice key = {from.bytes, 1}, stored;
    uint64_t limit = query->asked->limit;
    if (limit == 0 || limit > TOPIC_LIST_LIMIT_MAX)
        limit = TOPIC_LIST_LIMIT_MAX;
    topic_key_add(&from, query->asked->name.data, query->asked->name.bytes);
    key = topic_key_slice(&from);
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &stored);
    while (!rc && key.data[0] == TOPIC_TAG_NAME) {
        struct topic_record record;
        struct topic_info info;
        struct slice name = {key.data + 1, key.bytes - 1};
        if (answer->count == limit) {
            answer->next = name;
            return 0;
        }
        rc = topic_numbers_read(stored, &record, sizeof record);
        if (!rc)
            rc = info_of(query, name, &record, &info);
        if (rc)
            return rc;
        topic_info_pack(infos, &info);
        answer->count++;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, &stored);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

static int list_answer(const struct query *query)
{
    struct list_answer answer = {.revision = query->revision, .clock_ms = query->clock_ms};
    struct tables_cursor cursor;
    struct pack infos, pack;
    int rc = tables_cursor_open(query->tx, TABLE_TOPICS, &cursor);
    if (rc)
        return rc;
    pack_init(&infos, READ_CAPACITY);
    rc = list_walk(query, &cursor, &infos, &answer);
    if (!rc) {
        pack_init(&pack, infos.bytes + CONCLAVE_TOPIC_BYTES_MAX + TOPIC_READ_FRAME_BYTES);
        list_answer_pack(&pack, &answer, (struct slice){infos.buf->data, infos.bytes});
        reply_sink_take(query->reply, CONCLAVE_OK, pack_take(&pack));
    }
    pack_deinit(&infos);
    tables_cursor_close(&cursor);
    return rc;
}

/* --- Read --------------------------------------------------------------------------------------
 */

static int read_walk(const struct query *query, struct topic_walk *walk, struct pack *items,
                     struct topic_read_answer *answer)
{
    uint64_t limit = query->asked->limit ? query->asked->limit : UINT64_MAX;
    while (answer->count < limit) {
        struct topic_item item;
        int rc = topic_walk_next(walk, &item);
        if (rc)
            return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
        if (answer->count && items->bytes + topic_item_bytes(&item) > query->asked->bytes)
            return 0;
        topic_item_pack(items, &item);
        answer->next = item.sequence + 1;
        answer->count++;
    }
    return 0;
}

static int read_answer(const struct query *query, const struct topic_record *record)
{
    struct topic_read_answer answer = {
        .revision = query->revision, .clock_ms = query->clock_ms, .end = record->end};
    struct topic_walk walk;
    struct pack items, pack;
    int rc = topic_first(query->tx, record, query->clock_ms, &answer.first);
    if (!rc)
        rc = topic_start(query->tx, record, query->clock_ms, query->asked->start,
                         query->asked->position, answer.first, &answer.next);
    if (!rc)
        rc = topic_walk_begin(&walk, query->tx, record, answer.next);
    if (rc)
        return rc;
    pack_init(&items, READ_CAPACITY);
    rc = read_walk(query, &walk, &items, &answer);
    topic_walk_end(&walk);
    if (!rc) {
        pack_init(&pack, items.bytes + TOPIC_READ_FRAME_BYTES);
        topic_read_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
        reply_sink_take(query->reply, CONCLAVE_OK, pack_take(&pack));
    }
    pack_deinit(&items);
    return rc;
}

void topic_query_answer(struct tables *tables, uint64_t revision, uint64_t clock_ms,
                        const void *data, size_t bytes, struct conclave_reply_sink *reply)
{
    struct topic_query asked;
    struct topic_record record;
    struct query query = {
        .revision = revision, .clock_ms = clock_ms, .asked = &asked, .reply = reply};
    int rc = topic_query_decode(data, bytes, &asked);
    if (!rc)
        rc = tables_read(tables, &query.tx);
    if (!rc && asked.opcode == TOPIC_LIST)
        rc = list_answer(&query);
    else if (!rc) {
        rc = topic_record_find(query.tx, asked.name, &record);
        if (rc == CONCLAVE_NOT_FOUND) {
            answer_not_found(&query);
            return;
        }
        if (!rc)
            rc = asked.opcode == TOPIC_INFO ? info_answer(&query, &record)
                                            : read_answer(&query, &record);
    }
    if (rc)
        reply_sink_take(reply, rc, NULL);
}
