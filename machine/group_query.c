/* Answering queries about work groups from what is committed. */
#include "base/fatal.h"
#include "machine/group.h"
#include "machine/reply.h"
#include "machine/topic_read.h"

enum { READ_CAPACITY = 4096 };

/* One query at work. */
struct query {
    struct tables_tx *tx;
    uint64_t revision, clock_ms;
    const struct group_query *asked;
    struct topic_record topic;
    struct pack *pack; /* the answer */
};

static struct group_info info_of(const struct query *query, const struct group *group)
{
    const struct group_record *record = &group->record;
    return (struct group_info){.name = group_name(group),
                               .dead = group_dead_name(group),
                               .id = record->id,
                               .start = record->start,
                               .next = record->next,
                               .end = query->topic.end,
                               .held = record->held,
                               .delayed = record->delayed,
                               .ready = record->ready,
                               .acked = record->acked,
                               .dead_letters = record->dead_letters,
                               .lost = record->lost,
                               .redelivered = record->redelivered,
                               .members = record->members,
                               .ack_ms = record->ack_ms,
                               .held_max = record->held_max,
                               .pending_max = record->pending_max,
                               .deliveries_max = record->deliveries_max};
}

static int info_run(const struct query *query, const struct group *group)
{
    struct group_info info = info_of(query, group);
    group_info_answer_pack(query->pack, query->revision, query->clock_ms, &info);
    return 0;
}

/* --- List --------------------------------------------------------------------------------------
 */

static int list_walk(const struct query *query, struct tables_cursor *cursor, struct pack *infos,
                     struct list_answer *answer)
{
    struct topic_key from = group_key(GROUP_TAG_NAME, query->topic.id);
    size_t prefix = from.used;
    topic_key_add(&from, query->asked->group.data, query->asked->group.bytes);
    struct slice key = topic_key_slice(&from), stored;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &stored);
    while (!rc && key.bytes > prefix && memcmp(key.data, from.bytes, prefix) == 0) {
        struct group group;
        uint64_t id;
        if (answer->count == query->asked->limit) {
            answer->next = (struct slice){key.data + prefix, key.bytes - prefix};
            return 0;
        }
        rc = topic_numbers_read(stored, &id, sizeof id);
        if (!rc)
            rc = group_read(query->tx, id, &group);
        if (rc)
            return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
        struct group_info info = info_of(query, &group);
        group_info_pack(infos, &info);
        answer->count++;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, &stored);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

static int list_run(const struct query *query)
{
    struct list_answer answer = {.revision = query->revision, .clock_ms = query->clock_ms};
    struct tables_cursor cursor;
    struct pack infos;
    int rc = tables_cursor_open(query->tx, TABLE_GROUPS, &cursor);
    if (rc)
        return rc;
    pack_init(&infos, READ_CAPACITY);
    rc = list_walk(query, &cursor, &infos, &answer);
    if (!rc)
        list_answer_pack(query->pack, &answer, (struct slice){infos.buf->data, infos.bytes});
    pack_deinit(&infos);
    tables_cursor_close(&cursor);
    return rc;
}

/* --- Pending -----------------------------------------------------------------------------------
 */

static int pending_walk(const struct query *query, uint64_t id, struct tables_cursor *cursor,
                        struct pack *items, struct group_pending_answer *answer)
{
    const struct group_query *asked = query->asked;
    struct topic_key from = group_key3(GROUP_TAG_HELD, id, asked->lease, asked->sequence);
    struct slice key = topic_key_slice(&from), value = {0};
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &value);
    while (!rc && group_key_is(key, GROUP_TAG_HELD, id, 2)) {
        struct group_held held;
        struct conclave_group_pending pending = {.lease = topic_number_at(key.data + 9),
                                                 .sequence = topic_number_at(key.data + 17)};
        if (answer->count == asked->limit) {
            answer->more = true;
            answer->lease = pending.lease;
            answer->sequence = pending.sequence;
            return 0;
        }
        rc = topic_numbers_read(value, &held, sizeof held);
        if (rc)
            return rc;
        pending.deliveries = held.deliveries;
        if (held.deadline_ms > query->clock_ms)
            pending.left_ms = held.deadline_ms - query->clock_ms;
        group_pending_pack(items, &pending);
        answer->count++;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, &value);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

static int pending_run(const struct query *query, const struct group *group)
{
    struct group_pending_answer answer = {.revision = query->revision, .clock_ms = query->clock_ms};
    struct tables_cursor cursor;
    struct pack items;
    int rc = tables_cursor_open(query->tx, TABLE_GROUPS, &cursor);
    if (rc)
        return rc;
    pack_init(&items, READ_CAPACITY);
    rc = pending_walk(query, group->record.id, &cursor, &items, &answer);
    if (!rc)
        group_pending_answer_pack(query->pack, &answer,
                                  (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    tables_cursor_close(&cursor);
    return rc;
}

/* --- Messages ----------------------------------------------------------------------------------
 */

/* Those of one range that are kept; *ret_full: there is no room for the next one. */
static int range_walk(const struct query *query, struct conclave_group_range range, uint64_t first,
                      struct pack *items, struct group_messages_answer *answer, bool *ret_full)
{
    struct topic_walk walk;
    uint64_t begin = range.first, end = range.first + range.count;
    if (begin < first)
        begin = first < end ? first : end;
    answer->covered += begin - range.first;
    int rc = topic_walk_begin(&walk, query->tx, &query->topic, begin);
    for (; !rc && begin < end && begin < query->topic.end; begin++) {
        struct topic_item item;
        rc = topic_walk_next(&walk, &item);
        if (rc)
            break;
        if (answer->count && items->bytes + topic_item_bytes(&item) > query->asked->bytes) {
            *ret_full = true;
            break;
        }
        topic_item_pack(items, &item);
        answer->count++;
        answer->covered++;
    }
    if (!rc && !*ret_full) /* what did not come yet */
        answer->covered += end - begin;
    topic_walk_end(&walk);
    return rc;
}

static int messages_run(const struct query *query)
{
    struct group_messages_answer answer = {.revision = query->revision,
                                           .clock_ms = query->clock_ms};
    struct group_ranges ranges = query->asked->ranges;
    struct pack items;
    uint64_t first = 0;
    bool full = false;
    int rc = topic_first(query->tx, &query->topic, query->clock_ms, &first);
    if (rc)
        return rc;
    pack_init(&items, READ_CAPACITY);
    for (uint32_t i = 0; !rc && !full && i < ranges.count; i++)
        rc = range_walk(query, group_ranges_next(&ranges), first, &items, &answer, &full);
    if (!rc)
        group_messages_answer_pack(query->pack, &answer,
                                   (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return rc;
}

/* --- Any -------------------------------------------------------------------------------------- */

/* NOT_FOUND: *ret_missing says what (codec/group.h). */
static int run(struct query *query, uint64_t *ret_missing)
{
    const struct group_query *asked = query->asked;
    struct group group;
    *ret_missing = 0;
    int rc = topic_record_find(query->tx, asked->topic, &query->topic);
    if (rc)
        return rc;
    if (asked->opcode == GROUP_LIST)
        return list_run(query);
    if (asked->opcode == GROUP_MESSAGES)
        return messages_run(query);
    *ret_missing = 1;
    rc = group_find(query->tx, query->topic.id, asked->group, &group);
    if (rc)
        return rc;
    return asked->opcode == GROUP_INFO ? info_run(query, &group) : pending_run(query, &group);
}

void group_query_answer(struct tables *tables, uint64_t revision, uint64_t clock_ms,
                        const void *data, size_t bytes, struct conclave_reply_sink *reply)
{
    struct group_query asked;
    struct pack pack;
    struct query query = {
        .revision = revision, .clock_ms = clock_ms, .asked = &asked, .pack = &pack};
    uint64_t missing = 0;
    int rc = group_query_decode(data, bytes, &asked);
    if (!rc)
        rc = tables_read(tables, &query.tx);
    if (rc) {
        reply_sink_take(reply, rc, NULL);
        return;
    }
    pack_init(&pack, READ_CAPACITY);
    rc = run(&query, &missing);
    if (rc == CONCLAVE_NOT_FOUND) {
        pack_array(&pack, 2);
        pack_uint(&pack, revision);
        pack_uint(&pack, missing);
    }
    if (rc && rc != CONCLAVE_NOT_FOUND) {
        pack_deinit(&pack);
        reply_sink_take(reply, rc, NULL);
        return;
    }
    reply_sink_take(reply, rc, pack_take(&pack));
}
