#include "machine/kv_change.h"

#include "base/fatal.h"
#include "machine/kv_lease.h"

void kv_batch_close(struct kv_batch *batch)
{
    for (int i = 0; i < KV_SPACES; i++)
        tables_cursor_close(&batch->keys[i]);
    kv_history_deinit(&batch->history);
    topic_batch_deinit(&batch->topics);
}

void kv_change_begin(struct kv_batch *batch)
{
    batch->changes = 0;
    batch->published = false;
}

/* For the audit: what was stored where this command changes something, value and all. A store that
 * was damaged in silence shows when the damage is overwritten. */
static void note_effect(const struct kv_batch *batch, uint64_t hash)
{
    struct conclave_reply_sink *reply = batch->reply;
    if (reply)
        reply->effect = reply->effect * 31 + hash;
}

static int open_cursor(struct kv_batch *batch, enum kv_space space)
{
    struct tables_cursor *cursor = &batch->keys[space];
    int rc = cursor->tx ? 0 : tables_cursor_open(&batch->tx, kv_space_table(space), cursor);
    cursor->counted = true; /* the hash of what was there is needed anyway */
    return rc;
}

int kv_change_find(struct kv_batch *batch, enum kv_space space, struct slice key,
                   struct kv_found *ret)
{
    int rc = open_cursor(batch, space);
    if (!rc)
        rc = tables_cursor_move(&batch->keys[space], TABLES_AT, &key, &ret->stored);
    if (rc == CONCLAVE_NOT_FOUND) {
        *ret = (struct kv_found){0};
        return 0;
    }
    return rc ? rc : kv_record_read(ret->stored, &ret->record);
}

/* Appends to the history. What there is now, `after_bytes`, is still to be written to
 * *ret_after, and then counted. */
static int note_change(struct kv_batch *batch, struct kv_change *change, size_t after_bytes,
                       void **ret_after)
{
    change->revision = kv_change_revision(batch);
    change->sub = batch->changes++;
    change->clock_ms = batch->clock_ms;
    change->after.bytes = after_bytes;
    int rc = kv_history_append(&batch->history, &batch->state, change, ret_after);
    change->after.data = *ret_after;
    return rc;
}

/* For the digests, and for the audit. The history has copies of both records by now. */
static void count_change(struct kv_batch *batch, const struct kv_change *change)
{
    uint64_t before = digest_hash(change->before.data, change->before.bytes);
    note_effect(batch, before);
    const struct kv_change_sums sums = {
        .place = digest_place(kv_space_table((enum kv_space)change->space), change->key),
        .before = change->before.bytes ? before : 0,
        .after = change->after.bytes ? digest_hash(change->after.data, change->after.bytes) : 0};
    tables_count(&batch->tx, sums.place, sums.before, sums.after);
    kv_history_count(&batch->history, change, &sums);
}

uint64_t kv_change_growth(size_t key_bytes, size_t value_bytes, const struct kv_found *old)
{
    uint64_t before = old->stored.bytes ? key_bytes + old->stored.bytes : 0;
    uint64_t after = key_bytes + KV_RECORD_HEADER_BYTES + value_bytes;
    return after > before ? after - before : 0;
}

static void write_record(void *room, const struct kv_record *record, struct slice value)
{
    kv_record_write(room, record);
    if (value.bytes)
        memcpy((uint8_t *)room + KV_RECORD_HEADER_BYTES, value.data, value.bytes);
}

int kv_change_put(struct kv_batch *batch, enum kv_space space, struct slice key, struct slice value,
                  uint64_t lease, const struct kv_found *old)
{
    struct kv_state *state = &batch->state;
    uint64_t revision = kv_change_revision(batch);
    bool existed = old->record.version > 0;
    struct kv_record new = {existed ? old->record.create_revision : revision, revision,
                            old->record.version + 1, lease};
    size_t bytes = KV_RECORD_HEADER_BYTES + value.bytes;
    void *room = NULL;
    struct kv_change change = {
        .space = (uint32_t)space, .kind = KV_CHANGE_PUT, .key = key, .before = old->stored};
    /* The history first: what was found is gone once it is overwritten. */
    int rc = note_change(batch, &change, bytes, &room);
    if (rc)
        return rc;
    write_record(room, &new, value);
    count_change(batch, &change);
    state->keys += !existed;
    state->bytes += bytes + (existed ? 0 : key.bytes);
    state->bytes -= old->stored.bytes;
    batch->keys[space].fresh = !existed;
    rc = tables_cursor_put_bytes(&batch->keys[space], key, (struct slice){room, bytes});
    uint64_t before = old->record.lease;
    if (!rc && before && before != lease)
        rc = kv_lease_detach(batch, before, space, key);
    if (!rc && lease && before != lease)
        rc = kv_lease_attach(batch, lease, space, key);
    return rc;
}

int kv_change_erase(struct kv_batch *batch, enum kv_space space, enum kv_change_kind kind,
                    struct slice key, const struct kv_found *old)
{
    void *room = NULL;
    struct kv_change change = {
        .space = (uint32_t)space, .kind = kind, .key = key, .before = old->stored};
    ASSERT(kind != KV_CHANGE_PUT && old->record.version > 0);
    int rc = note_change(batch, &change, 0, &room);
    if (rc)
        return rc;
    count_change(batch, &change);
    batch->state.keys--;
    batch->state.bytes -= key.bytes + old->stored.bytes;
    if (old->record.lease && !batch->expiring)
        rc = kv_lease_detach(batch, old->record.lease, space, key);
    return rc ? rc : tables_cursor_erase(&batch->keys[space]);
}

int kv_change_erase_range(struct kv_batch *batch, enum kv_space space, struct slice from,
                          struct slice to, bool no_end, uint64_t *ret_count)
{
    struct tables_cursor *cursor = &batch->keys[space];
    struct slice key = from;
    struct kv_found found;
    int rc = open_cursor(batch, space);
    *ret_count = 0;
    if (!rc)
        rc = tables_cursor_move(cursor, TABLES_FROM, &key, &found.stored);
    while (!rc && (no_end || tables_compare(key, to) < 0)) {
        rc = kv_record_read(found.stored, &found.record);
        if (!rc)
            rc = kv_change_erase(batch, space, KV_CHANGE_DELETE, key, &found);
        if (rc)
            return rc;
        ++*ret_count;
        rc = tables_cursor_move(cursor, TABLES_NEXT, &key, &found.stored);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

int kv_change_end(struct kv_batch *batch)
{
    if (!kv_change_any(batch))
        return 0;
    batch->state.revision++;
    if (batch->changes == 0)
        return 0;
    return kv_history_compact(&batch->history, &batch->state, KV_HISTORY_STEP);
}
