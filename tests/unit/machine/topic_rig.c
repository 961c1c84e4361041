#include "topic_rig.h"

#include "base/fatal.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct slice text(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

struct topic_rig *topic_rig_create(void)
{
    struct topic_rig *rig = mem_zalloc(sizeof *rig);
    struct conclave_machine_env env = {.dir = "", .cluster_id = 1, .node_id = 1, .boot_id = {1}};
    struct conclave_error error;
    rig->tables = tables_memory_create();
    cr_assert_eq(tables_open(rig->tables, &env, &error), CONCLAVE_OK);
    return rig;
}

void topic_rig_destroy(struct topic_rig *rig)
{
    reply_sink_clear(&rig->sink);
    tables_close(rig->tables);
    tables_destroy(rig->tables);
    free(rig);
}

static void take_answer(struct topic_rig *rig, bool publish)
{
    const struct buf *body = rig->sink.body;
    rig->published = (struct topic_published){0};
    rig->number = 0;
    if (!body)
        return;
    if (publish && rig->sink.code == CONCLAVE_OK) {
        struct topic_published *published = &rig->published;
        cr_assert_eq(topic_published_decode(body->data, body->bytes, published), CONCLAVE_OK);
        for (uint32_t i = 0; i < published->duplicate_count; i++)
            rig->duplicates[i] = topic_duplicate_next(published);
        return;
    }
    struct cursor cursor;
    cursor_init(&cursor, body->data, body->bytes);
    cr_assert_eq(cursor_array(&cursor), 2);
    cr_assert_eq(cursor_uint(&cursor), rig->revision);
    rig->number = cursor_uint(&cursor);
    cr_assert(cursor_done(&cursor));
}

static int command(struct topic_rig *rig, struct pack *pack, bool publish)
{
    struct topic_batch batch;
    struct tables_tx tx;
    reply_sink_clear(&rig->sink);
    cr_assert_eq(tables_begin(rig->tables, &tx), 0);
    topic_batch_init(&batch, &tx);
    batch.clock_ms = rig->clock_ms;
    batch.lag_ms = rig->lag_ms;
    cr_assert_eq(
        topic_command_apply(&batch, &rig->revision, pack->buf->data, pack->bytes, &rig->sink), 0);
    cr_assert_eq(topic_batch_flush(&batch), 0);
    topic_batch_deinit(&batch);
    struct tables_state state = {.applied_index = ++rig->index};
    cr_assert_eq(tables_commit(&tx, &state), 0);
    take_answer(rig, publish);
    pack_deinit(pack);
    return rig->sink.code;
}

int topic_rig_create_topic(struct topic_rig *rig, const char *name, struct topic_settings settings)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_create_pack(&pack, text(name), &settings);
    return command(rig, &pack, false);
}

int topic_rig_delete_topic(struct topic_rig *rig, const char *name)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_delete_pack(&pack, text(name));
    return command(rig, &pack, false);
}

/* Cuts the words; their count. */
static uint32_t words_of(char *copy, struct topic_message *messages, bool *ret_have_ids)
{
    uint32_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *colon = strchr(word, ':');
        messages[count] = (struct topic_message){.data = text(colon ? colon + 1 : word)};
        if (colon)
            messages[count].id = (struct slice){(uint8_t *)word, (size_t)(colon - word)};
        *ret_have_ids |= colon != NULL;
        count++;
    }
    return count;
}

int topic_rig_publish(struct topic_rig *rig, const char *name, const char *messages,
                      const uint64_t *expect)
{
    struct topic_message list[64];
    struct topic_publish publish = {.name = text(name), .expect = expect};
    char copy[512];
    struct pack pack;
    snprintf(copy, sizeof copy, "%s", messages);
    publish.count = words_of(copy, list, &publish.have_ids);
    pack_init(&pack, 0);
    topic_publish_begin(&pack, &publish);
    for (uint32_t i = 0; i < publish.count; i++)
        topic_publish_data(&pack, list[i].data);
    topic_publish_ids(&pack, &publish);
    for (uint32_t i = 0; publish.have_ids && i < publish.count; i++)
        topic_publish_id(&pack, list[i].id);
    return command(rig, &pack, true);
}

int topic_rig_publish_bytes(struct topic_rig *rig, const char *name, const void *data, size_t bytes)
{
    struct topic_publish publish = {.name = text(name), .count = 1};
    struct pack pack;
    pack_init(&pack, bytes);
    topic_publish_begin(&pack, &publish);
    topic_publish_data(&pack, (struct slice){data, bytes});
    topic_publish_ids(&pack, &publish);
    return command(rig, &pack, true);
}

void topic_rig_publish_many(struct topic_rig *rig, const char *name, unsigned count)
{
    for (unsigned i = 1; i <= count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        cr_assert_eq(topic_rig_publish(rig, name, number, NULL), CONCLAVE_OK);
    }
}

int topic_rig_query(struct topic_rig *rig, const struct topic_query *query)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_query_pack(&pack, query);
    reply_sink_clear(&rig->sink);
    topic_query_answer(rig->tables, rig->revision, rig->clock_ms, pack.buf->data, pack.bytes,
                       &rig->sink);
    pack_deinit(&pack);
    return rig->sink.code;
}

const char *topic_rig_read(struct topic_rig *rig, const char *name, enum conclave_from start,
                           uint64_t position, uint64_t limit)
{
    static char out[4096];
    struct topic_read_answer answer;
    struct topic_item item;
    struct topic_query query = {.opcode = TOPIC_READ,
                                .name = text(name),
                                .start = start,
                                .position = position,
                                .limit = limit};
    int code = topic_rig_query(rig, &query);
    if (code)
        return conclave_code_name(code);
    const struct buf *body = rig->sink.body;
    cr_assert_eq(topic_read_answer_begin(body->data, body->bytes, &answer), CONCLAVE_OK);
    cr_assert_eq(answer.revision, rig->revision);
    cr_assert_eq(answer.clock_ms, rig->clock_ms);
    int used = snprintf(out, sizeof out, "%lu..%lu>%lu", (unsigned long)answer.first,
                        (unsigned long)answer.end, (unsigned long)answer.next);
    int more;
    while ((more = topic_read_answer_next(&answer, &item)) == 1)
        used += snprintf(out + used, sizeof out - (size_t)used, " %lu@%lu/%lu=%.*s",
                         (unsigned long)item.sequence, (unsigned long)item.revision,
                         (unsigned long)item.time_ms, (int)item.message.data.bytes,
                         (const char *)item.message.data.data);
    cr_assert_eq(more, 0);
    return out;
}

struct topic_record topic_rig_record(struct topic_rig *rig, const char *name)
{
    struct tables_tx *tx = NULL;
    struct topic_record record = {0};
    cr_assert_eq(tables_read(rig->tables, &tx), 0);
    cr_assert_eq(topic_record_find(tx, text(name), &record), 0);
    return record;
}

unsigned topic_rig_count(struct topic_rig *rig, enum table table, const void *prefix, size_t bytes)
{
    struct tables_tx *tx = NULL;
    struct tables_cursor cursor;
    struct slice key = {prefix, bytes};
    unsigned count = 0;
    cr_assert_eq(tables_read(rig->tables, &tx), 0);
    cr_assert_eq(tables_cursor_open(tx, table, &cursor), 0);
    int rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    for (; !rc && key.bytes >= bytes && (bytes == 0 || memcmp(key.data, prefix, bytes) == 0);
         rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL))
        count++;
    tables_cursor_close(&cursor);
    return count;
}
