#include "codec/coord.h"

#include "codec/fields.h"

#include <string.h>

/* --- What is stored ----------------------------------------------------------------------------
 */

struct slice coord_key(struct slice name, uint64_t token, uint8_t *key)
{
    memcpy(key, name.data, name.bytes);
    key[name.bytes] = 0;
    for (unsigned i = 0; i < COORD_TOKEN_BYTES; i++)
        key[name.bytes + 1 + i] = (uint8_t)(token >> (8 * (COORD_TOKEN_BYTES - 1 - i)));
    return (struct slice){key, name.bytes + 1 + COORD_TOKEN_BYTES};
}

bool coord_key_is_of(struct slice key, struct slice name, uint64_t *ret_token)
{
    uint64_t token = 0;
    if (key.bytes != name.bytes + 1 + COORD_TOKEN_BYTES || key.data[name.bytes] != 0 ||
        memcmp(key.data, name.data, name.bytes) != 0)
        return false;
    for (unsigned i = 0; i < COORD_TOKEN_BYTES; i++)
        token = token << 8 | key.data[name.bytes + 1 + i];
    *ret_token = token;
    return true;
}

int coord_stored_read(struct slice stored, uint64_t *ret_slots, struct slice *ret_value)
{
    if (stored.bytes < COORD_SLOTS_BYTES)
        return CONCLAVE_CORRUPT;
    *ret_slots = (uint64_t)stored.data[0] << 8 | stored.data[1];
    *ret_value = (struct slice){stored.data + COORD_SLOTS_BYTES, stored.bytes - COORD_SLOTS_BYTES};
    return CONCLAVE_OK;
}

/* --- Commands and queries --------------------------------------------------------------------- */

bool coord_is_command(uint64_t opcode)
{
    return opcode >= COORD_ENQUEUE && opcode <= COORD_PROCLAIM;
}

bool coord_is_query(uint64_t opcode)
{
    return opcode == COORD_PLACE || opcode == COORD_QUEUE;
}

/* A zero byte ends the name in the keys of its entries. */
static int check(const struct coord_request *request)
{
    if (request->name.bytes == 0 || memchr(request->name.data, 0, request->name.bytes) != NULL ||
        (request->opcode == COORD_ENQUEUE && request->lease == 0))
        return CONCLAVE_INVALID;
    bool fits = request->name.bytes <= CONCLAVE_QUEUE_NAME_BYTES_MAX &&
                request->value.bytes <= CONCLAVE_QUEUE_VALUE_BYTES_MAX &&
                request->slots <= CONCLAVE_LOCK_SLOTS_MAX;
    return fits ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

/* The fields behind the opcode. */
static void read_fields(struct fields *fields, struct coord_request *request)
{
    request->name = cursor_bin(fields_next(fields));
    switch (request->opcode) {
    case COORD_ENQUEUE:
        request->lease = cursor_uint(fields_next(fields));
        if (fields_given(fields))
            request->value = cursor_bin(fields_next(fields));
        request->slots = fields_uint_or(fields, 1);
        return;
    case COORD_PROCLAIM:
        request->token = cursor_uint(fields_next(fields));
        request->value = cursor_bin(fields_next(fields));
        return;
    case COORD_LEAVE:
    case COORD_PLACE:
        request->token = cursor_uint(fields_next(fields));
        return;
    case COORD_QUEUE:
        request->token = fields_uint_or(fields, 0);
        request->limit = fields_uint_or(fields, 0);
        return;
    }
}

static int decode(const void *data, size_t bytes, bool (*is_one)(uint64_t opcode),
                  struct coord_request *ret)
{
    struct fields fields;
    struct coord_request request = {0};
    fields_begin(&fields, data, bytes);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    if (!is_one(opcode))
        return CONCLAVE_MALFORMED;
    request.opcode = (enum coord_opcode)opcode;
    read_fields(&fields, &request);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    int code = check(&request);
    if (code)
        return code;
    if (request.limit == 0 || request.limit > COORD_QUEUE_LIMIT_MAX)
        request.limit = COORD_QUEUE_LIMIT_MAX;
    *ret = request;
    return CONCLAVE_OK;
}

int coord_command_decode(const void *data, size_t bytes, struct coord_request *ret)
{
    return decode(data, bytes, coord_is_command, ret);
}

int coord_query_decode(const void *data, size_t bytes, struct coord_request *ret)
{
    return decode(data, bytes, coord_is_query, ret);
}

void coord_request_pack(struct pack *pack, const struct coord_request *request)
{
    bool long_form = request->opcode == COORD_ENQUEUE;
    bool middle = request->opcode == COORD_PROCLAIM || request->opcode == COORD_QUEUE;
    pack_array(pack, long_form ? 5 : middle ? 4 : 3);
    pack_uint(pack, request->opcode);
    pack_bin(pack, request->name.data, request->name.bytes);
    pack_uint(pack, long_form ? request->lease : request->token);
    if (long_form || request->opcode == COORD_PROCLAIM)
        pack_bin(pack, request->value.data, request->value.bytes);
    if (long_form)
        pack_uint(pack, request->slots);
    if (request->opcode == COORD_QUEUE)
        pack_uint(pack, request->limit);
}

/* --- Answers ---------------------------------------------------------------------------------- */

void coord_place_pack(struct pack *pack, const struct coord_place *place)
{
    pack_array(pack, 3);
    pack_uint(pack, place->revision);
    pack_uint(pack, place->token);
    pack_uint(pack, place->awaited);
}

int coord_place_decode(const void *data, size_t bytes, struct coord_place *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct coord_place place = {.revision = cursor_uint(fields_next(&fields))};
    place.token = cursor_uint(fields_next(&fields));
    place.awaited = cursor_uint(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = place;
    return CONCLAVE_OK;
}

void coord_entry_pack(struct pack *pack, const struct coord_entry *entry)
{
    pack_array(pack, 4);
    pack_uint(pack, entry->token);
    pack_uint(pack, entry->lease);
    pack_bin(pack, entry->value.data, entry->value.bytes);
    pack_uint(pack, entry->revision);
}

void coord_queue_pack(struct pack *pack, const struct coord_queue *queue, struct slice entries)
{
    pack_array(pack, 4);
    pack_uint(pack, queue->revision);
    pack_uint(pack, queue->slots);
    pack_array(pack, queue->count);
    pack_raw(pack, entries.data, entries.bytes);
    if (queue->next)
        pack_uint(pack, queue->next);
    else
        pack_nil(pack);
}

int coord_queue_begin(const void *data, size_t bytes, struct coord_queue *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct coord_queue queue = {.revision = cursor_uint(fields_next(&fields))};
    queue.slots = cursor_uint(fields_next(&fields));
    struct slice entries = cursor_raw(fields_next(&fields));
    queue.next = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    cursor_init(&queue.entries, entries.data, entries.bytes);
    queue.count = cursor_array(&queue.entries);
    if (!cursor_ok(&queue.entries))
        return CONCLAVE_MALFORMED;
    *ret = queue;
    return CONCLAVE_OK;
}

int coord_queue_next(struct coord_queue *queue, struct coord_entry *ret)
{
    if (queue->count == 0)
        return cursor_ok(&queue->entries) ? 0 : -1;
    struct fields fields = {queue->entries, 0};
    fields.left = cursor_array(&fields.cursor);
    struct coord_entry entry = {.token = cursor_uint(fields_next(&fields))};
    entry.lease = cursor_uint(fields_next(&fields));
    entry.value = cursor_bin(fields_next(&fields));
    entry.revision = cursor_uint(fields_next(&fields));
    fields_end(&fields);
    queue->entries = fields.cursor;
    if (!cursor_ok(&queue->entries))
        return -1;
    queue->count--;
    *ret = entry;
    return 1;
}
