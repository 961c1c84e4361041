#include "machine/coord.h"

#include "codec/coord.h"
#include "machine/kv_lease.h"
#include "machine/kv_quota.h"
#include "machine/kv_reply.h"

/* --- Keys ------------------------------------------------------------------------------------- */

struct entry_key {
    uint8_t bytes[COORD_KEY_BYTES_MAX];
};
_Static_assert((int)COORD_KEY_BYTES_MAX <= (int)CONCLAVE_KEY_BYTES_MAX, "an entry's key is a key");
_Static_assert((int)COORD_SPACE == (int)KV_SPACE_COORD, "entries are in the space that is told");

static struct slice key_of(struct entry_key *key, struct slice name, uint64_t token)
{
    return coord_key(name, token, key->bytes);
}

/* rc. What is stored of an entry. */
static int entry_read(struct slice stored, uint64_t token, struct coord_entry *ret,
                      uint64_t *ret_slots)
{
    struct kv_record record;
    int rc = kv_record_read(stored, &record);
    if (rc)
        return rc;
    *ret = (struct coord_entry){
        .token = token, .lease = record.lease, .revision = record.mod_revision};
    return coord_stored_read(kv_record_value(stored), ret_slots, &ret->value);
}

/* --- The queue -------------------------------------------------------------------------------- */

/* rc. The first entry of the queue with a token above this one; NOT_FOUND: there is none. */
static int queue_seek(struct tables_cursor *cursor, struct slice name, uint64_t token,
                      struct coord_entry *ret, uint64_t *ret_slots)
{
    struct entry_key room;
    struct slice key = key_of(&room, name, token + 1), stored;
    uint64_t found;
    int rc = tables_cursor_move(cursor, TABLES_FROM, &key, &stored);
    if (!rc && !coord_key_is_of(key, name, &found))
        rc = CONCLAVE_NOT_FOUND;
    return rc ? rc : entry_read(stored, found, ret, ret_slots);
}

/* rc. Whether the entry holds, or which one has to go first: the one `slots` places ahead. */
static int place_of(struct tables_tx *tx, struct slice name, uint64_t token, uint64_t slots,
                    uint64_t *ret_awaited)
{
    struct tables_cursor cursor;
    struct entry_key room;
    struct slice key = key_of(&room, name, token);
    uint64_t ahead = 0, found = 0;
    *ret_awaited = 0;
    if (slots == 0)
        return 0;
    int rc = tables_cursor_open(tx, TABLE_COORD, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_AT, &key, NULL);
    while (!rc && ahead < slots) {
        rc = tables_cursor_move(&cursor, TABLES_PREVIOUS, &key, NULL);
        if (rc || !coord_key_is_of(key, name, &found))
            break;
        ahead++;
    }
    tables_cursor_close(&cursor);
    if (!rc && ahead == slots)
        *ret_awaited = found;
    return rc == CONCLAVE_NOT_FOUND && ahead < slots ? 0 : rc;
}

/* --- Commands --------------------------------------------------------------------------------- */

static void answer_number(struct kv_batch *batch, int code, uint64_t number)
{
    kv_reply_outcome(batch, code,
                     &(struct kv_outcome){.revision = batch->state.revision, .value = number});
}

/* rc. */
static int answer_place(struct kv_batch *batch, struct slice name, uint64_t token, uint64_t slots)
{
    struct coord_place place = {.revision = batch->state.revision, .token = token};
    struct pack pack;
    int rc = place_of(&batch->tx, name, token, slots, &place.awaited);
    if (rc || !batch->reply)
        return rc;
    pack_init(&pack, 0);
    coord_place_pack(&pack, &place);
    reply_sink_take(batch->reply, CONCLAVE_OK, pack_take(&pack));
    return 0;
}

/* rc. The entry that the lease has in the queue; 0: none. */
static int entry_of_lease(struct kv_batch *batch, uint64_t lease, struct slice name,
                          uint64_t *ret_token)
{
    uint8_t bytes[8 + 1 + CONCLAVE_KEY_BYTES_MAX];
    uint64_t big = htobe64(lease);
    struct entry_key room;
    struct slice first = key_of(&room, name, 0), key = {bytes, 9 + first.bytes};
    struct tables_cursor cursor;
    memcpy(bytes, &big, sizeof big);
    bytes[8] = KV_SPACE_COORD;
    memcpy(bytes + 9, first.data, first.bytes);
    *ret_token = 0;
    int rc = tables_cursor_open(&batch->tx, TABLE_ATTACHED, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    if (!rc && (key.bytes < 9 || memcmp(key.data, bytes, 9) != 0 ||
                !coord_key_is_of((struct slice){key.data + 9, key.bytes - 9}, name, ret_token)))
        *ret_token = 0;
    tables_cursor_close(&cursor);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. How many slots those have who are in the queue; *ret_found false: nobody is. */
static int slots_of(struct kv_batch *batch, struct slice name, bool *ret_found, uint64_t *ret_slots)
{
    struct tables_cursor cursor;
    struct coord_entry entry;
    int rc = tables_cursor_open(&batch->tx, TABLE_COORD, &cursor);
    if (rc)
        return rc;
    rc = queue_seek(&cursor, name, 0, &entry, ret_slots);
    tables_cursor_close(&cursor);
    *ret_found = rc == 0;
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. Puts the value, with the slots in front, under the key that was looked for. */
static int entry_put(struct kv_batch *batch, struct slice key, uint64_t slots, struct slice value,
                     uint64_t lease, const struct kv_found *found)
{
    uint8_t bytes[COORD_SLOTS_BYTES + CONCLAVE_QUEUE_VALUE_BYTES_MAX];
    bytes[0] = (uint8_t)(slots >> 8);
    bytes[1] = (uint8_t)slots;
    if (value.bytes)
        memcpy(bytes + COORD_SLOTS_BYTES, value.data, value.bytes);
    struct slice stored = {bytes, COORD_SLOTS_BYTES + value.bytes};
    if (!kv_quota_takes(&batch->state, kv_change_growth(key.bytes, stored.bytes, found))) {
        kv_reply_revision(batch, CONCLAVE_QUOTA);
        return CONCLAVE_QUOTA;
    }
    kv_change_begin(batch);
    int rc = kv_change_put(batch, KV_SPACE_COORD, key, stored, lease, found);
    return rc ? rc : kv_change_end(batch);
}

static int enqueue(struct kv_batch *batch, const struct coord_request *request)
{
    struct kv_lease lease;
    uint64_t token = 0, slots = request->slots;
    bool queued = false;
    int rc = kv_lease_find(&batch->tx, request->lease, &lease);
    if (rc == CONCLAVE_NOT_FOUND || (!rc && lease.flags & KV_LEASE_OF_KEY)) {
        kv_reply_revision(batch, CONCLAVE_LEASE_EXPIRED);
        return 0;
    }
    if (!rc)
        rc = slots_of(batch, request->name, &queued, &slots);
    if (!rc)
        rc = entry_of_lease(batch, request->lease, request->name, &token);
    if (rc)
        return rc;
    if (queued && slots != request->slots) {
        answer_number(batch, CONCLAVE_COMPARE_FAILED, slots);
        return 0;
    }
    if (!token) {
        struct entry_key room;
        struct kv_found found;
        token = kv_change_revision(batch);
        struct slice key = key_of(&room, request->name, token);
        rc = kv_change_find(batch, KV_SPACE_COORD, key, &found);
        if (!rc)
            rc = entry_put(batch, key, request->slots, request->value, request->lease, &found);
        if (rc)
            return rc == CONCLAVE_QUOTA ? 0 : rc;
    }
    return answer_place(batch, request->name, token, request->slots);
}

static int leave(struct kv_batch *batch, const struct coord_request *request)
{
    struct entry_key room;
    struct kv_found found;
    struct slice key = key_of(&room, request->name, request->token);
    int rc = kv_change_find(batch, KV_SPACE_COORD, key, &found);
    bool left = !rc && found.record.version > 0;
    if (left) {
        kv_change_begin(batch);
        rc = kv_change_erase(batch, KV_SPACE_COORD, KV_CHANGE_DELETE, key, &found);
        if (!rc)
            rc = kv_change_end(batch);
    }
    if (!rc)
        answer_number(batch, CONCLAVE_OK, left);
    return rc;
}

static int proclaim(struct kv_batch *batch, const struct coord_request *request)
{
    struct entry_key room;
    struct kv_found found;
    struct coord_entry entry;
    struct slice key = key_of(&room, request->name, request->token);
    uint64_t slots = 0, awaited = 0;
    int rc = kv_change_find(batch, KV_SPACE_COORD, key, &found);
    if (!rc && found.record.version == 0) {
        kv_reply_revision(batch, CONCLAVE_NOT_FOUND);
        return 0;
    }
    if (!rc)
        rc = entry_read(found.stored, request->token, &entry, &slots);
    if (!rc)
        rc = place_of(&batch->tx, request->name, request->token, slots, &awaited);
    if (!rc && awaited) {
        answer_number(batch, CONCLAVE_COMPARE_FAILED, awaited);
        return 0;
    }
    if (!rc)
        rc = entry_put(batch, key, slots, request->value, entry.lease, &found);
    if (rc)
        return rc == CONCLAVE_QUOTA ? 0 : rc;
    answer_number(batch, CONCLAVE_OK, request->token);
    return 0;
}

int coord_command_apply(struct kv_batch *batch, const void *data, size_t bytes)
{
    struct coord_request request;
    int code = coord_command_decode(data, bytes, &request);
    if (code) {
        if (batch->reply)
            reply_sink_take(batch->reply, code, NULL);
        return 0;
    }
    if (request.opcode == COORD_ENQUEUE)
        return enqueue(batch, &request);
    return request.opcode == COORD_LEAVE ? leave(batch, &request) : proclaim(batch, &request);
}

/* --- Queries ---------------------------------------------------------------------------------- */

/* rc. The place of an entry; NOT_FOUND: it is gone. */
static int place_answer(struct tables_tx *tx, uint64_t revision,
                        const struct coord_request *request, struct pack *pack)
{
    struct entry_key room;
    struct coord_entry entry;
    struct slice stored = {0};
    struct coord_place place = {.revision = revision, .token = request->token};
    uint64_t slots = 0;
    int rc = tables_get(tx, TABLE_COORD, key_of(&room, request->name, request->token), &stored);
    if (!rc)
        rc = entry_read(stored, request->token, &entry, &slots);
    if (!rc)
        rc = place_of(tx, request->name, request->token, slots, &place.awaited);
    if (!rc)
        coord_place_pack(pack, &place);
    return rc;
}

/* rc. */
static int queue_answer(struct tables_tx *tx, uint64_t revision,
                        const struct coord_request *request, struct pack *pack)
{
    struct coord_queue queue = {.revision = revision};
    struct coord_entry entry;
    struct tables_cursor cursor;
    struct pack entries;
    uint64_t token = request->token;
    int rc = tables_cursor_open(tx, TABLE_COORD, &cursor);
    if (rc)
        return rc;
    pack_init(&entries, 0);
    while ((rc = queue_seek(&cursor, request->name, token, &entry, &queue.slots)) == 0) {
        if (queue.count == request->limit) {
            queue.next = token;
            break;
        }
        coord_entry_pack(&entries, &entry);
        queue.count++;
        token = entry.token;
    }
    tables_cursor_close(&cursor);
    rc = rc == CONCLAVE_NOT_FOUND ? 0 : rc;
    if (!rc)
        coord_queue_pack(pack, &queue, (struct slice){entries.buf->data, entries.bytes});
    pack_deinit(&entries);
    return rc;
}

void coord_query_answer(struct tables *tables, uint64_t revision, const void *data, size_t bytes,
                        struct conclave_reply_sink *reply)
{
    struct coord_request request;
    struct tables_tx *tx = NULL;
    struct pack pack;
    int code = coord_query_decode(data, bytes, &request);
    if (!code)
        code = tables_read(tables, &tx);
    if (code) {
        reply_sink_take(reply, code, NULL);
        return;
    }
    pack_init(&pack, 0);
    code = request.opcode == COORD_PLACE ? place_answer(tx, revision, &request, &pack)
                                         : queue_answer(tx, revision, &request, &pack);
    if (code == CONCLAVE_NOT_FOUND)
        kv_not_found_pack(&pack, revision);
    if (code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND) {
        reply_sink_take(reply, code, pack_take(&pack));
        return;
    }
    pack_deinit(&pack);
    reply_sink_take(reply, code, NULL);
}
