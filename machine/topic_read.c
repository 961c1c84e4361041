#include "machine/topic_read.h"

int topic_record_find(struct tables_tx *tx, struct slice name, struct topic_record *ret)
{
    struct topic_key key = topic_name_key(name);
    struct slice stored = {0};
    struct topic_record record;
    int rc = tables_get(tx, TABLE_TOPICS, topic_key_slice(&key), &stored);
    if (!rc)
        rc = topic_numbers_read(stored, &record, sizeof record);
    if (!rc)
        *ret = record;
    return rc;
}

/* Takes the block that the cursor is on. NOT_FOUND: it is of another topic. */
static int block_take(struct topic_walk *walk, struct slice key, struct slice value)
{
    if (!topic_block_is(key, walk->topic, &walk->block_sequence))
        return CONCLAVE_NOT_FOUND;
    walk->block = value;
    walk->at = sizeof walk->head;
    int rc = topic_numbers_read(value, &walk->head, sizeof walk->head);
    walk->block_revision = walk->head.revision;
    return rc;
}

/* The block that holds the sequence: the last one that begins at or before it. */
static int block_find(struct topic_walk *walk, uint64_t sequence)
{
    struct topic_key behind = topic_block_key(walk->topic, sequence + 1);
    struct slice key = topic_key_slice(&behind), value = {0};
    int rc = tables_cursor_move(&walk->cursor, TABLES_FROM, &key, NULL);
    if (!rc || rc == CONCLAVE_NOT_FOUND)
        rc = tables_cursor_move(&walk->cursor, rc ? TABLES_LAST : TABLES_PREVIOUS, &key, &value);
    if (!rc)
        rc = block_take(walk, key, value);
    if (!rc && sequence - walk->block_sequence >= walk->head.count)
        rc = CONCLAVE_CORRUPT; /* sequences have no gaps */
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

int topic_walk_begin(struct topic_walk *walk, struct tables_tx *tx,
                     const struct topic_record *record, uint64_t sequence)
{
    *walk = (struct topic_walk){.topic = record->id,
                                .sequence = sequence > record->first ? sequence : record->first,
                                .end = record->end};
    return tables_cursor_open(tx, TABLE_MESSAGES, &walk->cursor);
}

/* Makes the block the one that holds walk->sequence. */
static int block_reach(struct topic_walk *walk)
{
    if (!walk->block.bytes)
        return block_find(walk, walk->sequence);
    if (walk->at < walk->block.bytes)
        return 0;
    struct slice key = {0}, value = {0};
    int rc = tables_cursor_move(&walk->cursor, TABLES_NEXT, &key, &value);
    if (!rc)
        rc = block_take(walk, key, value);
    if (!rc && walk->block_sequence != walk->sequence)
        rc = CONCLAVE_CORRUPT;
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

int topic_walk_next(struct topic_walk *walk, struct topic_item *ret)
{
    struct topic_message message = {0};
    bool found = false;
    if (walk->sequence >= walk->end)
        return CONCLAVE_NOT_FOUND;
    int rc = block_reach(walk);
    while (!rc && !found) {
        uint32_t step = 0;
        rc = topic_entry_read(walk->block, &walk->at, &message, &step);
        walk->block_revision += step;
        found = walk->block_sequence++ == walk->sequence;
    }
    if (rc)
        return rc;
    *ret = (struct topic_item){.sequence = walk->sequence++,
                               .revision = walk->block_revision,
                               .time_ms = walk->head.time_ms,
                               .message = message};
    return 0;
}

void topic_walk_end(struct topic_walk *walk)
{
    tables_cursor_close(&walk->cursor);
}

int topic_time_find(struct tables_tx *tx, const struct topic_record *record, uint64_t time_ms,
                    uint64_t *ret_sequence)
{
    struct topic_walk walk;
    uint64_t low = record->first, high = record->end; /* before low: older; from high on: not */
    int rc = topic_walk_begin(&walk, tx, record, low);
    while (!rc && low < high) {
        uint64_t middle = low + (high - low) / 2;
        rc = block_find(&walk, middle);
        if (!rc && walk.head.time_ms < time_ms)
            low = walk.block_sequence + walk.head.count;
        else if (!rc)
            high = walk.block_sequence > low ? walk.block_sequence : low;
    }
    topic_walk_end(&walk);
    if (!rc)
        *ret_sequence = low < record->end ? low : record->end;
    return rc;
}

int topic_first(struct tables_tx *tx, const struct topic_record *record, uint64_t clock_ms,
                uint64_t *ret_sequence)
{
    *ret_sequence = record->first;
    if (!record->age_ms || !record->head_end || record->head_ms + record->age_ms > clock_ms)
        return 0;
    return topic_time_find(tx, record, clock_ms - record->age_ms + 1, ret_sequence);
}

int topic_start(struct tables_tx *tx, const struct topic_record *record, uint64_t clock_ms,
                enum conclave_from from, uint64_t position, uint64_t first, uint64_t *ret_sequence)
{
    *ret_sequence = first;
    switch (from) {
    case CONCLAVE_FROM_SEQUENCE: /* behind the newest one is waited for */
        *ret_sequence = position > first ? position : first;
        return 0;
    case CONCLAVE_FROM_FIRST:
        return 0;
    case CONCLAVE_FROM_LAST:
        position += position == 0;
        *ret_sequence = record->end - first > position ? record->end - position : first;
        return 0;
    case CONCLAVE_FROM_AGO:
        position = clock_ms > position ? clock_ms - position : 0;
        break;
    case CONCLAVE_FROM_TIME:
        break;
    case CONCLAVE_FROM_NEW:
        *ret_sequence = record->end;
        return 0;
    }
    int rc = topic_time_find(tx, record, position, ret_sequence);
    if (*ret_sequence < first)
        *ret_sequence = first;
    return rc;
}
