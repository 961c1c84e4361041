/* The topic functions of libconclave's client. */
#include "codec/topic.h"
#include "client/name_list.h"
#include "client/request.h"
#include "client/topic_message.h"

#include <stdlib.h>
#include <string.h>

static int name_check(struct slice name)
{
    if (name.bytes == 0)
        return CONCLAVE_INVALID;
    return name.bytes > CONCLAVE_TOPIC_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

/* Answers that hold a revision and a number. */
static int number_decode(const struct conclave_op *op, uint64_t *ret_revision, uint64_t *ret_number)
{
    struct cursor cursor;
    cursor_init(&cursor, op->reply, op->reply_bytes);
    uint32_t fields = cursor_array(&cursor);
    uint64_t revision = cursor_uint(&cursor), number = cursor_uint(&cursor);
    for (uint32_t i = 2; i < fields && cursor_ok(&cursor); i++)
        cursor_skip(&cursor);
    if (!cursor_done(&cursor))
        return CONCLAVE_MALFORMED;
    *ret_revision = revision;
    *ret_number = number;
    return CONCLAVE_OK;
}

/* --- Topics ----------------------------------------------------------------------------------- */

/* A command whose answer is a revision and a number; packed. */
static int number_call(struct conclave_client *client, struct pack *pack, uint32_t timeout_ms,
                       uint64_t *ret_number)
{
    struct conclave_op op, wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    uint64_t revision, number = 0;
    request_call(client, wanted, pack, &op);
    int code = op.code;
    if (!code)
        code = number_decode(&op, &revision, &number);
    conclave_op_release(&op);
    if (!code)
        *ret_number = number;
    return code;
}

int conclave_topic_create(struct conclave_client *client, const void *name, size_t name_bytes,
                          const struct conclave_topic_settings *settings, uint32_t timeout_ms,
                          uint64_t *ret_id)
{
    struct slice topic = request_slice(name, name_bytes);
    int code = name_check(topic);
    if (code)
        return code;
    struct topic_settings wanted = {settings->count_max, settings->bytes_max, settings->age_ms,
                                    settings->dedup_ms, settings->dedup_count};
    struct pack pack;
    uint64_t id;
    pack_init(&pack, name_bytes + CONCLAVE_KV_OVERHEAD);
    topic_create_pack(&pack, topic, &wanted);
    code = number_call(client, &pack, timeout_ms, &id);
    if (!code && ret_id)
        *ret_id = id;
    return code;
}

int conclave_topic_delete(struct conclave_client *client, const void *name, size_t name_bytes,
                          uint32_t timeout_ms, bool *ret_deleted)
{
    struct slice topic = request_slice(name, name_bytes);
    int code = name_check(topic);
    if (code)
        return code;
    struct pack pack;
    uint64_t deleted;
    pack_init(&pack, name_bytes + CONCLAVE_KV_OVERHEAD);
    topic_delete_pack(&pack, topic);
    code = number_call(client, &pack, timeout_ms, &deleted);
    if (!code && ret_deleted)
        *ret_deleted = deleted > 0;
    return code;
}

int conclave_topic_trim(struct conclave_client *client, const void *name, size_t name_bytes,
                        uint64_t sequence, uint32_t timeout_ms, uint64_t *ret_first)
{
    struct slice topic = request_slice(name, name_bytes);
    int code = name_check(topic);
    if (code)
        return code;
    struct pack pack;
    uint64_t first;
    pack_init(&pack, name_bytes + CONCLAVE_KV_OVERHEAD);
    topic_trim_pack(&pack, topic, sequence);
    code = number_call(client, &pack, timeout_ms, &first);
    if (!code && ret_first)
        *ret_first = first;
    return code;
}

/* MALFORMED: a name of more bytes than any. */
static int info_of(const struct topic_info *info, uint64_t clock_ms,
                   struct conclave_topic_info *ret)
{
    const struct topic_settings *settings = &info->settings;
    if (info->name.bytes > sizeof ret->name)
        return CONCLAVE_MALFORMED;
    *ret = (struct conclave_topic_info){.name_bytes = info->name.bytes,
                                        .id = info->id,
                                        .first = info->first,
                                        .end = info->end,
                                        .bytes = info->bytes,
                                        .clock_ms = clock_ms,
                                        .settings = {settings->count_max, settings->bytes_max,
                                                     settings->age_ms, settings->dedup_ms,
                                                     settings->dedup_count}};
    if (info->name.bytes)
        memcpy(ret->name, info->name.data, info->name.bytes);
    return CONCLAVE_OK;
}

static void query_call(struct conclave_client *client, const struct topic_query *query,
                       uint32_t timeout_ms, struct conclave_op *op)
{
    struct pack pack;
    pack_init(&pack, query->name.bytes + CONCLAVE_KV_OVERHEAD);
    topic_query_pack(&pack, query);
    struct conclave_op wanted = {.kind = CONCLAVE_OP_READ, .timeout_ms = timeout_ms};
    request_call(client, wanted, &pack, op);
}

static int query_encode(void *buffer, size_t capacity, const struct topic_query *query,
                        size_t *ret_bytes)
{
    struct pack pack;
    struct buf buf;
    int code = name_check(query->name);
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity, query->name.bytes);
    if (code)
        return code;
    topic_query_pack(&pack, query);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_topic_encode_info(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                               size_t *ret_bytes)
{
    struct topic_query query = {.opcode = TOPIC_INFO, .name = request_slice(name, name_bytes)};
    return query_encode(buffer, capacity, &query, ret_bytes);
}

int conclave_topic_decode_info(const struct conclave_op *op, struct conclave_topic_info *ret_info)
{
    struct topic_info info;
    uint64_t revision, clock_ms;
    int code = op->code;
    if (!code)
        code = topic_info_answer_decode(op->reply, op->reply_bytes, &revision, &clock_ms, &info);
    return code ? code : info_of(&info, clock_ms, ret_info);
}

int conclave_topic_info(struct conclave_client *client, const void *name, size_t name_bytes,
                        uint32_t timeout_ms, struct conclave_topic_info *ret_info)
{
    struct topic_query query = {.opcode = TOPIC_INFO, .name = request_slice(name, name_bytes)};
    int code = name_check(query.name);
    if (code)
        return code;
    struct conclave_op op;
    query_call(client, &query, timeout_ms, &op);
    code = conclave_topic_decode_info(&op, ret_info);
    conclave_op_release(&op);
    return code;
}

/* A page of a list on its way through all topics. */
struct list {
    int (*topic)(void *arg, const struct conclave_topic_info *info);
    void *arg;
    struct name_list names;
};

static int list_page(struct list *list, const struct conclave_op *op)
{
    struct list_answer answer;
    struct topic_info info;
    struct conclave_topic_info handed;
    int got = 0;
    int code = list_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    while (!list->names.stopped && (got = topic_list_answer_next(&answer, &info)) == 1) {
        code = info_of(&info, answer.clock_ms, &handed);
        if (code)
            return code;
        list->names.stopped = list->topic(list->arg, &handed) != 0;
    }
    return name_list_go_on(&list->names, got, answer.next);
}

int conclave_topic_list(struct conclave_client *client, uint32_t timeout_ms,
                        int (*topic)(void *arg, const struct conclave_topic_info *info), void *arg)
{
    struct list list = {.topic = topic, .arg = arg, .names = {.more = true}};
    int code = CONCLAVE_OK;
    while (!code && list.names.more) {
        struct topic_query query = {.opcode = TOPIC_LIST,
                                    .name = {list.names.from, list.names.from_bytes}};
        struct conclave_op op;
        query_call(client, &query, timeout_ms, &op);
        code = op.code ? op.code : list_page(&list, &op);
        conclave_op_release(&op);
    }
    return code;
}

/* --- Publishing ------------------------------------------------------------------------------- */

/* The machine's own rules, before anything is copied or sent. *ret_bytes: of what varies. */
static int publish_check(struct slice name, const struct conclave_message *messages, uint32_t count,
                         size_t *ret_bytes)
{
    int code = name_check(name);
    if (!code && count == 0)
        code = CONCLAVE_INVALID;
    if (!code && count > CONCLAVE_PUBLISH_MAX)
        code = CONCLAVE_TOO_LARGE;
    size_t bytes = name.bytes;
    for (uint32_t i = 0; !code && i < count; i++) {
        if (messages[i].bytes > CONCLAVE_VALUE_BYTES_MAX ||
            messages[i].id_bytes > CONCLAVE_MESSAGE_ID_BYTES_MAX)
            code = CONCLAVE_TOO_LARGE;
        bytes += messages[i].bytes + messages[i].id_bytes + CONCLAVE_PUBLISH_OVERHEAD;
    }
    if (!code)
        *ret_bytes = bytes;
    return code;
}

static void publish_pack(struct pack *pack, struct slice name,
                         const struct conclave_message *messages, uint32_t count, uint64_t expect)
{
    struct topic_publish publish = {
        .name = name, .count = count, .expect = expect == CONCLAVE_EXPECT_ANY ? NULL : &expect};
    for (uint32_t i = 0; i < count; i++)
        publish.have_ids |= messages[i].id && messages[i].id_bytes > 0;
    topic_publish_begin(pack, &publish);
    for (uint32_t i = 0; i < count; i++)
        topic_publish_data(pack, request_slice(messages[i].data, messages[i].bytes));
    topic_publish_ids(pack, &publish);
    for (uint32_t i = 0; publish.have_ids && i < count; i++)
        topic_publish_id(pack, request_slice(messages[i].id, messages[i].id_bytes));
}

int conclave_topic_encode_publish(void *buffer, size_t capacity, const void *name,
                                  size_t name_bytes, const struct conclave_message *messages,
                                  uint32_t count, uint64_t expect, size_t *ret_bytes)
{
    struct slice topic = request_slice(name, name_bytes);
    struct pack pack;
    struct buf buf;
    size_t bytes = 0;
    int code = publish_check(topic, messages, count, &bytes);
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity, bytes);
    if (code)
        return code;
    publish_pack(&pack, topic, messages, count, expect);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

/* The duplicates stand where they were in the batch; the others are in a row. */
static int sequences_of(struct topic_published *published, uint32_t count, uint64_t *sequences)
{
    for (uint32_t i = 0; i < count; i++)
        sequences[i] = 0;
    for (uint32_t i = 0; i < published->duplicate_count; i++) {
        struct topic_duplicate duplicate = topic_duplicate_next(published);
        if (duplicate.place >= count || sequences[duplicate.place])
            return CONCLAVE_MALFORMED;
        sequences[duplicate.place] = duplicate.sequence;
    }
    uint64_t next = published->first;
    for (uint32_t i = 0; i < count; i++)
        if (sequences[i] == 0)
            sequences[i] = next++;
    return next == published->first + published->count ? CONCLAVE_OK : CONCLAVE_MALFORMED;
}

int conclave_topic_decode_publish(const struct conclave_op *op, uint32_t count,
                                  struct conclave_published *ret_published, uint64_t *ret_sequences)
{
    struct topic_published published;
    struct conclave_published result = {0};
    int code = op->code;
    if (code == CONCLAVE_COMPARE_FAILED) {
        int bad = number_decode(op, &result.revision, &result.last);
        if (!bad && ret_published)
            *ret_published = result;
        return bad ? bad : code;
    }
    if (!code)
        code = topic_published_decode(op->reply, op->reply_bytes, &published);
    if (!code && published.count + published.duplicate_count != count)
        code = CONCLAVE_MALFORMED;
    if (code)
        return code;
    result = (struct conclave_published){.revision = published.revision,
                                         .first = published.first,
                                         .count = published.count,
                                         .duplicates = published.duplicate_count};
    if (ret_sequences)
        code = sequences_of(&published, count, ret_sequences);
    if (!code && ret_published)
        *ret_published = result;
    return code;
}

int conclave_topic_publish(struct conclave_client *client, const void *name, size_t name_bytes,
                           const struct conclave_message *messages, uint32_t count, uint64_t expect,
                           uint32_t timeout_ms, struct conclave_published *ret_published,
                           uint64_t *ret_sequences)
{
    struct slice topic = request_slice(name, name_bytes);
    size_t bytes = 0;
    int code = publish_check(topic, messages, count, &bytes);
    if (code)
        return code;
    struct pack pack;
    struct conclave_op op, wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    pack_init(&pack, bytes + CONCLAVE_KV_OVERHEAD);
    publish_pack(&pack, topic, messages, count, expect);
    request_call(client, wanted, &pack, &op);
    code = conclave_topic_decode_publish(&op, count, ret_published, ret_sequences);
    conclave_op_release(&op);
    return code;
}

/* --- Reading ---------------------------------------------------------------------------------- */

static struct topic_query read_query(const void *name, size_t name_bytes, enum conclave_from from,
                                     uint64_t position, uint64_t limit, uint32_t page_bytes)
{
    return (struct topic_query){.opcode = TOPIC_READ,
                                .name = request_slice(name, name_bytes),
                                .start = from,
                                .position = position,
                                .limit = limit,
                                .bytes = page_bytes};
}

int conclave_topic_encode_read(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                               enum conclave_from from, uint64_t position, uint64_t limit,
                               uint32_t page_bytes, size_t *ret_bytes)
{
    struct topic_query query = read_query(name, name_bytes, from, position, limit, page_bytes);
    return query_encode(buffer, capacity, &query, ret_bytes);
}

int conclave_topic_decode_read(const struct conclave_op *op,
                               int (*message)(void *arg,
                                              const struct conclave_topic_message *message),
                               void *arg, struct conclave_topic_page *ret_page)
{
    struct topic_read_answer answer;
    struct topic_item item;
    int more = 0;
    int code = op->code;
    if (!code)
        code = topic_read_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    struct conclave_topic_page page = {.revision = answer.revision,
                                       .clock_ms = answer.clock_ms,
                                       .first = answer.first,
                                       .end = answer.end,
                                       .next = answer.next};
    while ((more = topic_read_answer_next(&answer, &item)) == 1) {
        struct conclave_topic_message handed;
        if (topic_message_of(&item, &handed))
            return CONCLAVE_MALFORMED;
        page.count++;
        if (message(arg, &handed)) {
            page.next = item.sequence + 1;
            break;
        }
    }
    if (more < 0)
        return CONCLAVE_MALFORMED;
    *ret_page = page;
    return CONCLAVE_OK;
}

int conclave_topic_read(struct conclave_client *client, const void *name, size_t name_bytes,
                        enum conclave_from from, uint64_t position, uint64_t limit,
                        uint32_t page_bytes, uint32_t timeout_ms,
                        int (*message)(void *arg, const struct conclave_topic_message *message),
                        void *arg, struct conclave_topic_page *ret_page)
{
    struct topic_query query = read_query(name, name_bytes, from, position, limit, page_bytes);
    int code = name_check(query.name);
    if (code)
        return code;
    struct conclave_op op;
    query_call(client, &query, timeout_ms, &op);
    code = conclave_topic_decode_read(&op, message, arg, ret_page);
    conclave_op_release(&op);
    return code;
}
