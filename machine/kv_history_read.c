/* Reading the history, change by change. */
#include "machine/kv_history.h"

#include "machine/kv_change.h"

struct slice kv_history_name(uint8_t name[KV_HISTORY_NAME_BYTES], uint64_t revision, uint32_t sub)
{
    uint64_t revision_be = htobe64(revision);
    uint32_t sub_be = htobe32(sub);
    memcpy(name, &revision_be, sizeof revision_be);
    memcpy(name + sizeof revision_be, &sub_be, sizeof sub_be);
    return (struct slice){name, KV_HISTORY_NAME_BYTES};
}

static uint32_t read_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t read_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

int kv_history_front_read(struct slice block, struct kv_history_front *ret)
{
    if (block.bytes < KV_HISTORY_FRONT_BYTES)
        return CONCLAVE_CORRUPT;
    *ret = (struct kv_history_front){read_u32(block.data), read_u32(block.data + 4),
                                     read_u64(block.data + 8)};
    return CONCLAVE_OK;
}

int kv_history_change_read(struct slice block, size_t at, struct kv_change *ret, size_t *ret_bytes)
{
    if (at == block.bytes)
        return CONCLAVE_NOT_FOUND;
    if (block.bytes < at || block.bytes - at < KV_HISTORY_HEADER_BYTES)
        return CONCLAVE_CORRUPT;
    const uint8_t *from = block.data + at;
    size_t bytes = read_u32(from), before_bytes = read_u32(from + 20);
    uint16_t key_bytes;
    memcpy(&key_bytes, from + 18, sizeof key_bytes);
    key_bytes = le16toh(key_bytes);
    size_t least = KV_HISTORY_HEADER_BYTES + key_bytes + before_bytes;
    if (bytes < least || bytes > block.bytes - at)
        return CONCLAVE_CORRUPT;
    const uint8_t *key = from + KV_HISTORY_HEADER_BYTES;
    *ret = (struct kv_change){
        .revision = read_u64(from + 4),
        .sub = read_u32(from + 12),
        .space = from[16],
        .kind = (enum kv_change_kind)from[17],
        .clock_ms = read_u64(from + 24),
        .key = {key, key_bytes},
        .before = {key + key_bytes, before_bytes},
        .after = {key + key_bytes + before_bytes, bytes - least},
    };
    *ret_bytes = bytes;
    return CONCLAVE_OK;
}

uint32_t kv_history_sum_of(const struct kv_change *change, const struct kv_change_sums *sums)
{
    uint64_t x = digest_mix(digest_mix(sums->place, sums->before), sums->after);
    x = digest_mix(x, change->revision);
    x = digest_mix(x, (uint64_t)change->sub << 32 | change->space << 8 | (uint32_t)change->kind);
    return (uint32_t)digest_mix(x, change->clock_ms);
}

static uint64_t record_hash(struct slice record)
{
    return record.bytes ? digest_hash(record.data, record.bytes) : 0;
}

int kv_history_front_make(struct slice block, struct kv_history_front *ret)
{
    struct kv_history_front front = {0};
    struct kv_change change;
    size_t at = KV_HISTORY_FRONT_BYTES, bytes = 0;
    int rc;
    while (!(rc = kv_history_change_read(block, at, &change, &bytes))) {
        const struct kv_change_sums sums = {
            .place = digest_place(kv_space_table((enum kv_space)change.space), change.key),
            .before = record_hash(change.before),
            .after = record_hash(change.after)};
        front.sum += kv_history_sum_of(&change, &sums);
        front.count++;
        front.revision = change.revision;
        at += bytes;
    }
    if (rc != CONCLAVE_NOT_FOUND)
        return rc;
    *ret = front;
    return CONCLAVE_OK;
}

int kv_history_reader_open(struct kv_history_reader *reader, struct tables_tx *tx)
{
    *reader = (struct kv_history_reader){0};
    return tables_cursor_open(tx, TABLE_HISTORY, &reader->cursor);
}

void kv_history_reader_close(struct kv_history_reader *reader)
{
    tables_cursor_close(&reader->cursor);
}

int kv_history_next(struct kv_history_reader *reader, struct kv_change *ret)
{
    size_t bytes = 0;
    int rc = kv_history_change_read(reader->block, reader->at, ret, &bytes);
    if (rc == CONCLAVE_NOT_FOUND) {
        struct slice name = {0};
        rc = tables_cursor_move(&reader->cursor, TABLES_NEXT, &name, &reader->block);
        reader->at = KV_HISTORY_FRONT_BYTES;
        if (!rc)
            rc = kv_history_change_read(reader->block, reader->at, ret, &bytes);
    }
    reader->at += bytes;
    return rc;
}

/* Goes to the block that holds this place, or, if it would stand before all of them, the first. */
static int find_block(struct kv_history_reader *reader, struct slice place)
{
    struct slice name = place;
    int rc = tables_cursor_move(&reader->cursor, TABLES_FROM, &name, &reader->block);
    if (!rc && tables_compare(name, place) == 0)
        return 0;
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    rc = tables_cursor_move(&reader->cursor, rc ? TABLES_LAST : TABLES_PREVIOUS, &name,
                            &reader->block);
    if (rc != CONCLAVE_NOT_FOUND)
        return rc;
    name = (struct slice){0};
    return tables_cursor_move(&reader->cursor, TABLES_FROM, &name, &reader->block);
}

int kv_history_seek(struct kv_history_reader *reader, uint64_t revision, uint32_t sub,
                    struct kv_change *ret)
{
    uint8_t name[KV_HISTORY_NAME_BYTES];
    int rc = find_block(reader, kv_history_name(name, revision, sub));
    reader->at = KV_HISTORY_FRONT_BYTES;
    do {
        if (!rc)
            rc = kv_history_next(reader, ret);
    } while (!rc && (ret->revision < revision || (ret->revision == revision && ret->sub < sub)));
    return rc;
}
