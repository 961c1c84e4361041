/* Publishing: what is new of a batch becomes blocks at the end of its topic. */
#include "base/fatal.h"
#include "machine/reply.h"
#include "machine/topic_internal.h"

#include <stdlib.h>

/* One publish. */
struct publish {
    struct topic_message *fresh; /* to be published */
    uint32_t fresh_count;
    uint32_t blocks;
    bool have_ids;                      /* one of them has an id that is compared */
    struct topic_duplicate *duplicates; /* NULL: there can be none */
    uint32_t duplicate_count;
    struct topic_message one;
};

/* rc. Whether a message of the batch would be new. */
static int any_is_new(struct topic_batch *batch, struct topic_messages messages, bool *ret)
{
    *ret = !messages.have_ids || !batch->record.dedup_ms;
    for (uint32_t left = messages.count; left > 0 && !*ret; left--) {
        struct topic_message message = topic_messages_next(&messages);
        uint64_t sequence = 0;
        int rc = message.id.bytes ? topic_dedup_find(batch, message.id, &sequence) : 0;
        if (rc)
            return rc;
        *ret = sequence == 0;
    }
    return 0;
}

/* rc. Tells new messages from those that were there, and notes the ids of new ones: the same id
 * twice in one batch is published once. */
static int sort_out(struct topic_batch *batch, struct publish *publish,
                    struct topic_messages *messages)
{
    bool compared = messages->have_ids && batch->record.dedup_ms;
    for (uint32_t i = 0; i < messages->count; i++) {
        struct topic_message message = topic_messages_next(messages);
        uint64_t sequence = 0;
        int rc = 0;
        if (compared && message.id.bytes) {
            rc = topic_dedup_find(batch, message.id, &sequence);
            if (!rc && sequence == 0)
                rc = topic_dedup_note(batch, message.id, batch->record.end + publish->fresh_count);
            publish->have_ids |= sequence == 0;
        }
        if (rc)
            return rc;
        if (sequence == 0)
            publish->fresh[publish->fresh_count++] = message;
        else
            publish->duplicates[publish->duplicate_count++] = (struct topic_duplicate){i, sequence};
    }
    return 0;
}

/* --- Entries -----------------------------------------------------------------------------------
 */

static size_t entry_bytes(const struct topic_message *message)
{
    size_t origin = message->origin.bytes ? TOPIC_ENTRY_ORIGIN_BYTES + message->origin.bytes : 0;
    return TOPIC_ENTRY_BYTES + message->id.bytes + origin + message->data.bytes;
}

static uint8_t *origin_write(uint8_t *at, struct slice origin)
{
    uint16_t bytes = htole16((uint16_t)origin.bytes);
    ASSERT(origin.bytes <= TOPIC_ORIGIN_BYTES_MAX);
    memcpy(at, &bytes, sizeof bytes);
    memcpy(at + sizeof bytes, origin.data, origin.bytes);
    return at + sizeof bytes + origin.bytes;
}

static uint8_t *entry_write(uint8_t *at, const struct topic_message *message, uint64_t step)
{
    uint32_t head = htole32((uint32_t)message->data.bytes | (uint32_t)step << TOPIC_DATA_BITS |
                            (message->origin.bytes ? TOPIC_ENTRY_ORIGIN : 0));
    memcpy(at, &head, sizeof head);
    at[4] = (uint8_t)message->id.bytes;
    at += TOPIC_ENTRY_BYTES;
    if (message->id.bytes)
        memcpy(at, message->id.data, message->id.bytes);
    at += message->id.bytes;
    if (message->origin.bytes)
        at = origin_write(at, message->origin);
    if (message->data.bytes)
        memcpy(at, message->data.data, message->data.bytes);
    return at + message->data.bytes;
}

/* --- The newest block, as long as it is small --------------------------------------------------
 */

int topic_tail_flush(struct topic_batch *batch)
{
    struct topic_tail *tail = &batch->tail;
    const struct topic_record *record = &batch->record;
    struct topic_key key = topic_block_key(record->id, record->tail_begin);
    void *room = NULL;
    if (!tail->changed)
        return 0;
    int rc = topic_blocks_open(batch, &batch->newest);
    batch->newest.append = !tail->stored; /* of the topic that was created last it is */
    batch->newest.fresh = !tail->stored;
    if (!rc)
        rc = tables_cursor_put(&batch->newest, topic_key_slice(&key), record->tail_bytes, &room);
    if (rc)
        return rc;
    uint64_t count = record->end - record->tail_begin;
    topic_numbers_write(tail->bytes + offsetof(struct topic_block, count), &count, sizeof count);
    memcpy(room, tail->bytes, record->tail_bytes);
    tail->changed = false;
    tail->stored = true;
    return 0;
}

/* How large a block may be to be joined to. */
static uint64_t join_bytes_max(const struct topic_record *record)
{
    uint64_t share = record->bytes_max / TOPIC_JOIN_SHARE;
    return record->bytes_max && share < TOPIC_JOIN_BYTES ? share : TOPIC_JOIN_BYTES;
}

/* Whether messages of so many bytes may be joined to the newest block. */
static bool tail_takes(const struct topic_batch *batch, size_t bytes, uint64_t revision)
{
    const struct topic_record *record = &batch->record;
    return record->tail_begin && record->tail_ms == topic_stamp_ms(batch) &&
           revision - record->tail_revision <= TOPIC_STEP_MAX &&
           record->tail_bytes + bytes <= join_bytes_max(record);
}

/* rc. */
static int tail_load(struct topic_batch *batch)
{
    struct topic_key key = topic_block_key(batch->record.id, batch->record.tail_begin);
    struct slice stored = {0};
    if (batch->tail.loaded)
        return 0;
    int rc = tables_get(batch->tx, TABLE_MESSAGES, topic_key_slice(&key), &stored);
    if (rc == CONCLAVE_NOT_FOUND ||
        (!rc && (stored.bytes != batch->record.tail_bytes || stored.bytes > TOPIC_JOIN_BYTES)))
        rc = CONCLAVE_CORRUPT;
    if (rc)
        return rc;
    memcpy(batch->tail.bytes, stored.data, stored.bytes);
    batch->tail.loaded = batch->tail.stored = true;
    return 0;
}

/* Puts messages of so many bytes behind what the newest block holds in the batch. */
static void tail_add(struct topic_batch *batch, const struct publish *publish, size_t bytes,
                     uint64_t revision)
{
    struct topic_record *record = &batch->record;
    uint8_t *at = batch->tail.bytes + record->tail_bytes;
    for (uint32_t i = 0; i < publish->fresh_count; i++)
        at = entry_write(at, &publish->fresh[i], i ? 0 : revision - record->tail_revision);
    record->end += publish->fresh_count;
    record->bytes += bytes;
    record->tail_bytes += bytes;
    record->tail_revision = revision;
    ASSERT(at == batch->tail.bytes + record->tail_bytes);
    batch->tail.changed = true;
}

/* rc. */
static int tail_join(struct topic_batch *batch, const struct publish *publish, size_t bytes,
                     uint64_t revision)
{
    struct topic_record *record = &batch->record;
    int rc = tail_load(batch);
    if (rc)
        return rc;
    bool oldest = record->head_end == record->end; /* it is the only one */
    tail_add(batch, publish, bytes, revision);
    if (oldest) {
        record->head_end = record->end;
        record->head_bytes = record->tail_bytes;
    }
    return 0;
}

/* --- Blocks ----------------------------------------------------------------------------------- */

/* If there was no block, it is the oldest one too. */
static void note_block(struct topic_batch *batch, size_t bytes)
{
    struct topic_record *record = &batch->record;
    if (record->head_end == 0) {
        record->head_end = record->end;
        record->head_bytes = bytes;
        record->head_ms = topic_stamp_ms(batch);
    }
}

/* rc. Messages become a block to which others may be joined; it is stored later. */
static int tail_begin(struct topic_batch *batch, const struct publish *publish, size_t bytes,
                      uint64_t revision)
{
    struct topic_record *record = &batch->record;
    struct topic_block block = {revision, topic_stamp_ms(batch), 0};
    int rc = topic_tail_flush(batch); /* the one before it */
    if (rc)
        return rc;
    topic_numbers_write(batch->tail.bytes, &block, sizeof block);
    batch->tail.loaded = true;
    batch->tail.stored = false;
    record->tail_begin = record->end;
    record->tail_bytes = sizeof block;
    record->tail_ms = block.time_ms;
    record->tail_revision = revision;
    record->bytes += sizeof block;
    tail_add(batch, publish, bytes, revision);
    note_block(batch, record->tail_bytes);
    return 0;
}

/* rc. Appends messages as one block, to which nothing is joined. */
static int block_append(struct topic_batch *batch, const struct topic_message *messages,
                        uint32_t count, size_t bytes, uint64_t revision)
{
    struct topic_record *record = &batch->record;
    struct topic_key key = topic_block_key(record->id, record->end);
    struct topic_block block = {revision, topic_stamp_ms(batch), count};
    void *room = NULL;
    batch->newest.fresh = true;
    int rc = tables_cursor_put(&batch->newest, topic_key_slice(&key), bytes, &room);
    if (rc)
        return rc;
    topic_numbers_write(room, &block, sizeof block);
    uint8_t *at = (uint8_t *)room + sizeof block;
    for (uint32_t i = 0; i < count; i++)
        at = entry_write(at, &messages[i], 0);
    ASSERT(at == (uint8_t *)room + bytes);
    record->end += count;
    record->bytes += bytes;
    note_block(batch, bytes);
    return 0;
}

/* rc. */
static int append_blocks(struct topic_batch *batch, struct publish *publish, uint64_t revision)
{
    int rc = topic_tail_flush(batch);
    if (!rc)
        rc = topic_blocks_open(batch, &batch->newest);
    batch->newest.append = true; /* of the topic that was created last it is */
    batch->tail.loaded = false;
    batch->record.tail_begin = 0;
    for (uint32_t at = 0, count = 0; !rc && at < publish->fresh_count; at += count) {
        size_t bytes = sizeof(struct topic_block) + entry_bytes(&publish->fresh[at]);
        for (count = 1; at + count < publish->fresh_count; count++) {
            size_t more = entry_bytes(&publish->fresh[at + count]);
            if (bytes + more > TOPIC_BLOCK_BYTES)
                break;
            bytes += more;
        }
        rc = block_append(batch, publish->fresh + at, count, bytes, revision);
        publish->blocks++;
    }
    return rc;
}

/* rc. */
static int append(struct topic_batch *batch, struct publish *publish, uint64_t revision)
{
    size_t bytes = 0, most = join_bytes_max(&batch->record);
    for (uint32_t i = 0; i < publish->fresh_count && bytes <= most; i++)
        bytes += entry_bytes(&publish->fresh[i]);
    if (tail_takes(batch, bytes, revision))
        return tail_join(batch, publish, bytes, revision);
    if (sizeof(struct topic_block) + bytes > most)
        return append_blocks(batch, publish, revision);
    publish->blocks = 1;
    return tail_begin(batch, publish, bytes, revision);
}

/* What is stored beside the entries: nothing, if they are joined to the newest block. That they can
 * be joined to one which comes before them in the same transaction is not looked at. */
int topic_publish_growth(struct topic_batch *batch, const struct topic_command *command,
                         uint64_t revision, uint64_t *ret)
{
    struct topic_messages messages = command->messages;
    bool compared = messages.have_ids && batch->record.dedup_ms;
    size_t all = 0, heads = 0, block = TOPIC_BLOCK_BYTES; /* of the one at hand: full */
    for (uint32_t left = messages.count; left > 0; left--) {
        struct topic_message message = topic_messages_next(&messages);
        uint64_t sequence = 0;
        int rc = compared && message.id.bytes ? topic_dedup_find(batch, message.id, &sequence) : 0;
        if (rc)
            return rc;
        if (sequence)
            continue;
        size_t bytes = entry_bytes(&message);
        bool next = block + bytes > TOPIC_BLOCK_BYTES;
        block = bytes + (next ? sizeof(struct topic_block) : block);
        heads += next ? sizeof(struct topic_block) : 0;
        all += bytes;
    }
    *ret = all + (tail_takes(batch, all, revision) ? 0 : heads);
    return 0;
}

/* --- All of it ---------------------------------------------------------------------------------
 */

void topic_touch(struct topic_touched *touched, struct slice name, uint64_t first, uint64_t end)
{
    uint32_t i = touched->count;
    while (i > 0 && (touched->items[i - 1].name_bytes != name.bytes ||
                     memcmp(touched->items[i - 1].name, name.data, name.bytes) != 0))
        i--;
    if (i == 0 && touched->count == TOPIC_TOUCHED_MAX) {
        touched->too_many = true;
        return;
    }
    if (i == 0) {
        i = ++touched->count;
        touched->items[i - 1].from = first;
        touched->items[i - 1].name_bytes = (uint8_t)name.bytes;
        memcpy(touched->items[i - 1].name, name.data, name.bytes);
    }
    if (first < touched->items[i - 1].from) /* it was made anew */
        touched->items[i - 1].from = first;
    touched->items[i - 1].end = end;
}

/* The topic at hand got messages from `first` on. */
static void touch(struct topic_batch *batch, uint64_t first)
{
    struct slice name = {batch->name, batch->name_bytes};
    if (batch->touched)
        topic_touch(batch->touched, name, first, batch->record.end);
    if (batch->waiting)
        topic_touch(batch->waiting, name, first, batch->record.end);
}

/* rc. What is new goes to the end of the topic, and what has to go for it is erased. */
static int take(struct topic_batch *batch, struct publish *publish, uint64_t *revision,
                struct conclave_reply_sink *reply)
{
    uint64_t first = batch->record.end, bytes = batch->record.bytes;
    topic_note_effect(reply, &batch->record, sizeof batch->record);
    batch->changed = true;
    int rc = append(batch, publish, *revision + 1);
    topic_count(batch->bytes, (int64_t)(batch->record.bytes - bytes));
    if (!rc && publish->have_ids)
        rc = topic_dedup_order(batch, publish->fresh, publish->fresh_count, first);
    if (!rc && batch->record.dedup_ms)
        rc = topic_dedup_expire(batch);
    uint32_t blocks = 16 + 2 * publish->blocks; /* more than what came: it catches up */
    if (!rc)
        rc = topic_trim(batch, &blocks, reply);
    *revision += !rc;
    if (!rc)
        touch(batch, first);
    return rc;
}

int topic_publish_letter(struct topic_batch *batch, uint64_t *revision,
                         const struct topic_message *message, struct conclave_reply_sink *reply)
{
    struct publish publish = {.fresh = &publish.one, .fresh_count = 1, .one = *message};
    return take(batch, &publish, revision, reply);
}

static void publish_answer(const struct topic_batch *batch, const struct publish *publish,
                           uint64_t revision, struct conclave_reply_sink *reply)
{
    if (!reply)
        return;
    struct pack pack;
    struct topic_published published = {.revision = revision,
                                        .first = batch->record.end - publish->fresh_count,
                                        .count = publish->fresh_count,
                                        .duplicate_count = publish->duplicate_count};
    pack_init(&pack, 0);
    topic_published_pack(&pack, &published, publish->duplicates);
    reply_sink_take(reply, CONCLAVE_OK, pack_take(&pack));
}

int topic_publish(struct topic_batch *batch, uint64_t *revision, struct topic_command *command,
                  struct conclave_reply_sink *reply)
{
    struct topic_messages *messages = &command->messages;
    uint64_t last = batch->record.end - 1;
    if (command->expected && command->expect != last) {
        bool new = true;
        int rc = any_is_new(batch, *messages, &new);
        if (rc)
            return rc;
        if (new) {
            topic_answer(reply, CONCLAVE_COMPARE_FAILED, *revision, last);
            return 0;
        }
    }
    uint64_t growth = 0;
    int rc = 0;
    if (batch->room < TOPIC_GROWTH_MAX)
        rc = topic_publish_growth(batch, command, *revision + 1, &growth);
    if (rc)
        return rc;
    if (!topic_room_takes(batch, growth)) {
        topic_answer(reply, CONCLAVE_QUOTA, *revision, 0);
        return 0;
    }
    struct publish publish = {.fresh = &publish.one};
    if (messages->count > 1)
        publish.fresh = mem_alloc(messages->count * sizeof *publish.fresh);
    if (messages->have_ids)
        publish.duplicates = mem_alloc(messages->count * sizeof *publish.duplicates);
    rc = sort_out(batch, &publish, messages);
    if (!rc && publish.fresh_count)
        rc = take(batch, &publish, revision, reply);
    if (!rc)
        publish_answer(batch, &publish, *revision, reply);
    if (publish.fresh != &publish.one)
        free(publish.fresh);
    free(publish.duplicates);
    return rc;
}
