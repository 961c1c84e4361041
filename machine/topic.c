#include "machine/topic.h"

#include "machine/reply.h"
#include "machine/topic_internal.h"

/* --- The kept record ---------------------------------------------------------------------------
 */

void topic_batch_init(struct topic_batch *batch, struct tables_tx *tx)
{
    batch->tx = tx;
    batch->touched = batch->waiting = NULL;
    batch->topics = batch->bytes = NULL;
    batch->room = UINT64_MAX;
    batch->refused = 0;
    batch->clock_ms = batch->lag_ms = 0;
    batch->newest = batch->oldest = (struct tables_cursor){0};
    batch->loaded = batch->changed = batch->none_dead = false;
    batch->tail.loaded = batch->tail.changed = false;
    batch->name_bytes = 0;
}

void topic_batch_deinit(struct topic_batch *batch)
{
    tables_cursor_close(&batch->newest);
    tables_cursor_close(&batch->oldest);
}

static struct slice kept_name(const struct topic_batch *batch)
{
    return (struct slice){batch->name, batch->name_bytes};
}

int topic_batch_flush(struct topic_batch *batch)
{
    int rc = topic_tail_flush(batch);
    if (rc || !batch->changed)
        return rc;
    struct topic_key key = topic_name_key(kept_name(batch));
    void *room = NULL;
    rc = tables_put(batch->tx, TABLE_TOPICS, topic_key_slice(&key), TOPIC_RECORD_BYTES, &room);
    if (rc)
        return rc;
    topic_numbers_write(room, &batch->record, TOPIC_RECORD_BYTES);
    batch->changed = false;
    return 0;
}

static void keep(struct topic_batch *batch, struct slice name)
{
    memcpy(batch->name, name.data, name.bytes);
    batch->name_bytes = name.bytes;
    batch->loaded = true;
}

int topic_load(struct topic_batch *batch, struct slice name)
{
    if (batch->loaded && tables_compare(name, kept_name(batch)) == 0)
        return 0;
    int rc = topic_batch_flush(batch);
    if (rc)
        return rc;
    batch->loaded = batch->tail.loaded = false;
    struct topic_key key = topic_name_key(name);
    struct slice stored = {0};
    rc = tables_get(batch->tx, TABLE_TOPICS, topic_key_slice(&key), &stored);
    if (!rc)
        rc = topic_numbers_read(stored, &batch->record, TOPIC_RECORD_BYTES);
    if (!rc)
        keep(batch, name);
    return rc;
}

int topic_blocks_open(struct topic_batch *batch, struct tables_cursor *cursor)
{
    return cursor->tx ? 0 : tables_cursor_open(batch->tx, TABLE_MESSAGES, cursor);
}

/* --- Commands ----------------------------------------------------------------------------------
 */

void topic_note_effect(struct conclave_reply_sink *reply, const void *data, size_t bytes)
{
    if (reply)
        reply->effect = reply->effect * 31 + digest_hash(data, bytes);
}

void topic_answer(struct conclave_reply_sink *reply, int code, uint64_t revision, uint64_t number)
{
    if (!reply)
        return;
    struct pack pack;
    pack_init(&pack, 0);
    pack_array(&pack, 2);
    pack_uint(&pack, revision);
    pack_uint(&pack, number);
    reply_sink_take(reply, code, pack_take(&pack));
}

bool topic_room_takes(struct topic_batch *batch, uint64_t growth)
{
    if (growth <= batch->room)
        return true;
    batch->refused = growth;
    return false;
}

static uint64_t own_bytes(const struct topic_batch *batch)
{
    return TOPIC_BYTES + batch->name_bytes;
}

static bool same_settings(const struct topic_record *record, const struct topic_settings *settings)
{
    return record->count_max == settings->count_max && record->bytes_max == settings->bytes_max &&
           record->age_ms == settings->age_ms && record->dedup_ms == settings->dedup_ms &&
           record->dedup_count == settings->dedup_count;
}

static int create(struct topic_batch *batch, uint64_t *revision,
                  const struct topic_command *command, struct conclave_reply_sink *reply)
{
    const struct topic_settings *settings = &command->settings;
    int rc = topic_load(batch, command->name);
    if (rc == 0) {
        bool same = same_settings(&batch->record, settings);
        topic_answer(reply, same ? CONCLAVE_OK : CONCLAVE_EXISTS, *revision, batch->record.id);
        return 0;
    }
    if (rc != CONCLAVE_NOT_FOUND)
        return rc;
    if (!topic_room_takes(batch, TOPIC_BYTES + command->name.bytes)) {
        topic_answer(reply, CONCLAVE_QUOTA, *revision, 0);
        return 0;
    }
    batch->record = (struct topic_record){.id = ++*revision,
                                          .count_max = settings->count_max,
                                          .bytes_max = settings->bytes_max,
                                          .age_ms = settings->age_ms,
                                          .dedup_ms = settings->dedup_ms,
                                          .dedup_count = settings->dedup_count,
                                          .first = 1,
                                          .end = 1};
    keep(batch, command->name);
    batch->changed = true;
    topic_count(batch->topics, 1);
    topic_count(batch->bytes, (int64_t)own_bytes(batch));
    topic_answer(reply, CONCLAVE_OK, *revision, batch->record.id);
    return 0;
}

/* What it held is erased bit by bit (topic_bury), by later commands and as time passes: it may be
 * millions of messages. */
static int delete (struct topic_batch *batch, uint64_t *revision,
                   const struct topic_command *command, struct conclave_reply_sink *reply)
{
    int rc = topic_load(batch, command->name);
    if (rc == CONCLAVE_NOT_FOUND) {
        topic_answer(reply, CONCLAVE_OK, *revision, 0);
        return 0;
    }
    if (!rc)
        rc = topic_batch_flush(batch); /* one that was created in this batch is stored now */
    if (rc)
        return rc;
    topic_note_effect(reply, &batch->record, sizeof batch->record);
    batch->loaded = batch->tail.loaded = batch->none_dead = false;
    topic_count(batch->topics, -1);
    topic_count(batch->bytes, -(int64_t)(own_bytes(batch) + batch->record.bytes));
    struct topic_key key = topic_name_key(command->name);
    rc = tables_erase(batch->tx, TABLE_TOPICS, topic_key_slice(&key));
    if (!rc)
        rc = topic_deadline_clear(batch);
    batch->changed = false; /* what is kept is not to be stored any more */
    if (!rc)
        rc = topic_die(batch);
    if (rc)
        return rc;
    topic_answer(reply, CONCLAVE_OK, ++*revision, 1);
    return 0;
}

/* Messages before the sequence go: the blocks of many of them bit by bit. */
static int trim(struct topic_batch *batch, uint64_t *revision, const struct topic_command *command,
                struct conclave_reply_sink *reply)
{
    enum { BLOCKS_MAX = 256 }; /* at once */
    struct topic_record *record = &batch->record;
    uint64_t wanted = command->sequence < record->end ? command->sequence : record->end;
    uint32_t blocks = BLOCKS_MAX;
    if (wanted <= record->first) {
        topic_answer(reply, CONCLAVE_OK, *revision, record->first);
        return 0;
    }
    topic_note_effect(reply, record, sizeof *record);
    record->first = wanted;
    batch->changed = true;
    int rc = topic_trim(batch, &blocks, reply);
    if (!rc)
        topic_answer(reply, CONCLAVE_OK, ++*revision, record->first);
    return rc;
}

int topic_command_apply(struct topic_batch *batch, uint64_t *revision, const void *data,
                        size_t bytes, struct conclave_reply_sink *reply)
{
    struct topic_command command;
    int code = topic_command_decode(data, bytes, &command);
    if (code) {
        if (reply)
            reply_sink_take(reply, code, NULL);
        return 0;
    }
    if (reply)
        reply->effect = 0; /* it may be tried again */
    int rc = topic_bury(batch);
    if (rc)
        return rc;
    if (command.opcode == TOPIC_CREATE)
        return create(batch, revision, &command, reply);
    if (command.opcode == TOPIC_DELETE)
        return delete (batch, revision, &command, reply);
    rc = topic_load(batch, command.name);
    if (rc == CONCLAVE_NOT_FOUND) {
        topic_answer(reply, CONCLAVE_NOT_FOUND, *revision, 0);
        return 0;
    }
    if (rc)
        return rc;
    return command.opcode == TOPIC_TRIM ? trim(batch, revision, &command, reply)
                                        : topic_publish(batch, revision, &command, reply);
}
