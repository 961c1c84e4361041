/* The table as bytes: one record a session, and one (id 0) of the table itself.
 *
 *     table    [2, clock_ms, commands, audited index, audited hash]: hash nil: not known
 *     session  [acknowledged, highest, used_ms, used_index, capacity, [slot, ...]]
 *     slot     [sequence, code, body]: body nil if empty; code nil if the answer is forgotten
 *     encoded  [[id, record], ...], each record a bin, in the order of use; the table's first
 *
 * Saved beside a machine's data, the session's own record has no slots. They are in parts, each
 * [slot, ...] of SESSION_PART_NUMBERS numbers; a part may still hold some that were acknowledged
 * since it was written, and goes when all of its numbers are. */
#include "machine/session_internal.h"

#include "base/cursor.h"
#include "base/fatal.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD_FORMAT = 2, TABLE_FIELDS = 5, SESSION_FIELDS = 6 };

/* --- Writing ---------------------------------------------------------------------------------- */

static void table_pack(struct pack *pack, const struct session_table *table)
{
    pack_array(pack, TABLE_FIELDS);
    pack_uint(pack, RECORD_FORMAT);
    pack_uint(pack, table->clock_ms);
    pack_uint(pack, table->commands);
    pack_uint(pack, table->audit.at.index);
    if (table->audit.unknown)
        pack_nil(pack);
    else
        pack_uint(pack, table->audit.at.hash);
}

static void slot_pack(struct pack *pack, const struct session_slot *slot)
{
    ASSERT(slot->state == SLOT_KEPT || slot->state == SLOT_FORGOTTEN);
    pack_array(pack, 3);
    pack_uint(pack, slot->sequence);
    if (slot->state == SLOT_KEPT)
        pack_uint(pack, slot->code);
    else
        pack_nil(pack);
    if (slot->body)
        pack_bin(pack, slot->body->data, slot->body->bytes);
    else
        pack_nil(pack);
}

/* All but the array of slots. */
static void session_head_pack(struct pack *pack, const struct session *session)
{
    pack_array(pack, SESSION_FIELDS);
    pack_uint(pack, session->acknowledged);
    pack_uint(pack, session->highest);
    pack_uint(pack, session->used_ms);
    pack_uint(pack, session->used_index);
    pack_uint(pack, session->capacity);
}

static void session_pack(struct pack *pack, const struct session *session)
{
    uint32_t slots = 0;
    for (uint32_t i = 0; i < session->capacity; i++)
        slots += session->slots[i].state != SLOT_FREE;
    session_head_pack(pack, session);
    pack_array(pack, slots);
    for (uint32_t i = 0; i < session->capacity; i++)
        if (session->slots[i].state != SLOT_FREE)
            slot_pack(pack, &session->slots[i]);
}

/* --- Saving: a record for what changed ---------------------------------------------------------
 */

static uint64_t part_of(uint64_t sequence)
{
    return sequence / SESSION_PART_NUMBERS + 1;
}

/* The answers that are kept for the numbers of one part. */
static void part_pack(struct pack *pack, const struct session *session, uint64_t part)
{
    uint64_t from = (part - 1) * SESSION_PART_NUMBERS, to = from + SESSION_PART_NUMBERS - 1;
    from = from > session->acknowledged ? from : session->acknowledged + 1;
    to = to < session->highest ? to : session->highest;
    uint32_t slots = 0;
    for (uint64_t at = from; at <= to; at++)
        slots += session_slot_of(session, at)->state != SLOT_FREE;
    pack_array(pack, slots);
    for (uint64_t at = from; at <= to; at++)
        if (session_slot_of(session, at)->state != SLOT_FREE)
            slot_pack(pack, session_slot_of(session, at));
}

static int session_save(const struct session *session, const struct session_sink *sink,
                        struct pack *pack)
{
    pack->bytes = 0;
    session_head_pack(pack, session);
    pack_array(pack, 0);
    int rc = sink->put(sink->arg, session->id, 0, pack->buf->data, pack->bytes);

    uint64_t first = part_of(session->acknowledged + 1);
    uint64_t end = first < session->stored_to ? first : session->stored_to;
    for (uint64_t part = session->stored_from; part < end && !rc; part++)
        rc = sink->remove(sink->arg, session->id, part);

    uint64_t from = session->changed_from, to = session->changed_to;
    from = from > session->acknowledged ? from : session->acknowledged + 1;
    if (to < from)
        return rc; /* none, or none that is still wanted */
    for (uint64_t part = part_of(from); part <= part_of(to) && !rc; part++) {
        pack->bytes = 0;
        part_pack(pack, session, part);
        rc = sink->put(sink->arg, session->id, part, pack->buf->data, pack->bytes);
    }
    return rc;
}

int session_table_save(const struct session_table *table, const struct session_sink *sink)
{
    struct pack pack;
    pack_init(&pack, 4096);
    int rc = 0;
    if (table->changed) {
        table_pack(&pack, table);
        rc = sink->put(sink->arg, 0, 0, pack.buf->data, pack.bytes);
    }
    for (uint32_t i = 0; i < table->removed.count && !rc; i++)
        rc = sink->remove_all(sink->arg, table->removed.items[i]);
    for (const struct session *at = table->dirty; at && !rc; at = at->next_dirty)
        rc = session_save(at, sink, &pack);
    pack_deinit(&pack);
    return rc;
}

/* What can be stored of it now: its parts from the first number that is not acknowledged on. */
static void note_stored(struct session *session)
{
    uint64_t end = part_of(session->highest) + 1;
    session->stored_from = part_of(session->acknowledged + 1);
    session->stored_to = end > session->stored_from ? end : session->stored_from;
    session->changed_from = session->changed_to = 0;
}

void session_table_saved(struct session_table *table)
{
    table->changed = false;
    table->removed.count = 0;
    while (table->dirty) {
        struct session *session = table->dirty;
        table->dirty = session->next_dirty;
        session->dirty = false;
        note_stored(session);
    }
}

/* --- The whole table ---------------------------------------------------------------------------
 */

struct buf *session_table_encode(const struct session_table *table)
{
    struct pack pack, record;
    pack_init(&pack, 4096);
    pack_init(&record, 4096);
    pack_array(&pack, 1 + table->count);
    table_pack(&record, table);
    pack_array(&pack, 2);
    pack_uint(&pack, 0);
    pack_bin(&pack, record.buf->data, record.bytes);
    for (const struct session *at = table->oldest; at; at = at->newer) {
        record.bytes = 0;
        session_pack(&record, at);
        pack_array(&pack, 2);
        pack_uint(&pack, at->id);
        pack_bin(&pack, record.buf->data, record.bytes);
    }
    pack_deinit(&record);
    return pack_take(&pack);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static bool table_read(struct cursor *cursor, struct session_table *table)
{
    uint32_t fields = cursor_array(cursor);
    uint64_t format = cursor_uint(cursor);
    table->clock_ms = cursor_uint(cursor);
    table->commands = cursor_uint(cursor);
    table->audit.at.index = cursor_uint(cursor);
    table->audit.unknown = cursor_nil(cursor);
    if (!table->audit.unknown)
        table->audit.at.hash = cursor_uint(cursor);
    return cursor_done(cursor) && fields == TABLE_FIELDS && format == RECORD_FORMAT;
}

/* One slot, of this part (0: whichever). */
static bool slot_read(struct cursor *cursor, struct session_table *table, struct session *session,
                      uint64_t part)
{
    if (cursor_array(cursor) != 3)
        return false;
    struct session_slot slot = {.sequence = cursor_uint(cursor), .state = SLOT_FORGOTTEN};
    if (!cursor_nil(cursor)) {
        uint64_t code = cursor_uint(cursor);
        slot.code = (uint32_t)code;
        slot.state = SLOT_KEPT;
        if (code > INT32_MAX)
            return false;
    }
    struct slice body = {0};
    bool has_body = !cursor_nil(cursor);
    if (has_body)
        body = cursor_bin(cursor);
    if (!cursor_ok(cursor) || slot.sequence > session->highest ||
        (has_body && slot.state != SLOT_KEPT) || (part > 0 && part_of(slot.sequence) != part))
        return false;
    if (slot.sequence <= session->acknowledged)
        return part > 0;
    struct session_slot *at = session_slot_of(session, slot.sequence);
    if (at->state != SLOT_FREE)
        return false;
    if (has_body) {
        slot.body = buf_copy(body.data, body.bytes);
        session->body_bytes += body.bytes + SESSION_BODY_OVERHEAD_BYTES;
        table->body_bytes += body.bytes + SESSION_BODY_OVERHEAD_BYTES;
    }
    *at = slot;
    return true;
}

static bool session_read(struct cursor *cursor, struct session_table *table,
                         struct session *session)
{
    uint32_t fields = cursor_array(cursor);
    session->acknowledged = cursor_uint(cursor);
    session->highest = cursor_uint(cursor);
    session->used_ms = cursor_uint(cursor);
    session->used_index = cursor_uint(cursor);
    uint64_t capacity = cursor_uint(cursor);
    uint32_t slots = cursor_array(cursor);
    if (!cursor_ok(cursor) || fields != SESSION_FIELDS || capacity > table->limits.window ||
        (capacity & (capacity - 1)) != 0 || slots > capacity ||
        (session->highest > session->acknowledged &&
         session->highest - session->acknowledged > capacity))
        return false;
    if (capacity > 0)
        session_ring_create(table, session, (uint32_t)capacity);
    for (; slots > 0; slots--)
        if (!slot_read(cursor, table, session, 0))
            return false;
    return cursor_done(cursor);
}

static bool part_read(struct cursor *cursor, struct session_table *table, uint64_t id,
                      uint64_t part)
{
    struct session *session = session_table_find(table, id);
    uint32_t slots = cursor_array(cursor);
    if (!session || slots > SESSION_PART_NUMBERS)
        return false;
    for (; slots > 0; slots--)
        if (!slot_read(cursor, table, session, part))
            return false;
    return cursor_done(cursor);
}

int session_table_load(struct session_table *table, uint64_t id, uint64_t part, const void *data,
                       size_t bytes)
{
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    if (id == 0)
        return part == 0 && table_read(&cursor, table) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
    if (part > 0)
        return part_read(&cursor, table, id, part) ? CONCLAVE_OK : CONCLAVE_MALFORMED;
    if (session_table_find(table, id) || table->count == table->limits.sessions)
        return CONCLAVE_MALFORMED;
    struct session *session = mem_zalloc(sizeof *session);
    session->id = id;
    session_table_insert(table, session);
    if (!session_read(&cursor, table, session))
        return CONCLAVE_MALFORMED;
    note_stored(session);
    return CONCLAVE_OK;
}

static int compare_use(const void *a, const void *b)
{
    const struct session *const *left = a, *const *right = b;
    return ((*left)->used_index > (*right)->used_index) -
           ((*left)->used_index < (*right)->used_index);
}

void session_table_loaded(struct session_table *table)
{
    if (table->count == 0)
        return;
    struct session **all = mem_alloc(table->count * sizeof *all);
    uint32_t count = 0;
    for (struct session *at = table->oldest; at; at = at->newer)
        all[count++] = at;
    ASSERT(count == table->count);
    qsort(all, count, sizeof *all, compare_use);
    for (uint32_t i = 0; i < count; i++) {
        all[i]->older = i > 0 ? all[i - 1] : NULL;
        all[i]->newer = i + 1 < count ? all[i + 1] : NULL;
    }
    table->oldest = all[0];
    table->newest = all[count - 1];
    free(all);
}

int session_table_decode(struct session_table *table, const void *data, size_t bytes)
{
    session_table_clear(table);
    struct cursor cursor;
    cursor_init(&cursor, data, bytes);
    uint32_t count = cursor_array(&cursor);
    int code = count > 0 ? CONCLAVE_OK : CONCLAVE_MALFORMED;
    for (uint32_t i = 0; i < count && !code; i++) {
        uint32_t fields = cursor_array(&cursor);
        uint64_t id = cursor_uint(&cursor);
        struct slice record = cursor_bin(&cursor);
        if (!cursor_ok(&cursor) || fields != 2 || (i == 0) != (id == 0))
            code = CONCLAVE_MALFORMED;
        else
            code = session_table_load(table, id, 0, record.data, record.bytes);
    }
    if (!code && !cursor_done(&cursor))
        code = CONCLAVE_MALFORMED;
    if (code) {
        session_table_clear(table);
        return code;
    }
    session_table_loaded(table);
    /* A store of single records has none of them yet. */
    table->changed = true;
    for (struct session *at = table->oldest; at; at = at->newer)
        session_mark_changed(table, at, at->acknowledged + 1, at->highest);
    return CONCLAVE_OK;
}
