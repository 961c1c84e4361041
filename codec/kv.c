#include "codec/kv.h"

#include "base/fatal.h"
#include "codec/fields.h"

#include <string.h>

/* --- Parts ------------------------------------------------------------------------------------ */

static struct kv_condition fields_condition(struct fields *fields)
{
    struct kv_condition condition = {.given = fields_given(fields)};
    if (condition.given)
        condition.revision = cursor_uint(fields_next(fields));
    return condition;
}

static struct kv_bounds fields_bounds(struct fields *fields)
{
    struct kv_bounds bounds = {0};
    /* Both must be there: a forgotten end must not become "everything". */
    if (fields->left < 2)
        cursor_fail(&fields->cursor);
    if (fields_given(fields))
        bounds.from = cursor_bin(fields_next(fields));
    bounds.no_end = !fields_given(fields);
    if (!bounds.no_end)
        bounds.to = cursor_bin(fields_next(fields));
    return bounds;
}

static int key_check(struct slice key)
{
    if (key.bytes == 0)
        return CONCLAVE_INVALID;
    return key.bytes > CONCLAVE_KEY_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

static int bounds_check(const struct kv_bounds *bounds)
{
    bool fits = bounds->from.bytes <= KV_BOUND_BYTES_MAX && bounds->to.bytes <= KV_BOUND_BYTES_MAX;
    return fits ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

/* A revision has 64 bits, and no client may use them up at once. */
static int advance_check(uint64_t revisions)
{
    return revisions <= CONCLAVE_RECOVER_REVISIONS_MAX ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

static void bounds_pack(struct pack *pack, const struct kv_bounds *bounds)
{
    pack_bin(pack, bounds->from.data, bounds->from.bytes);
    if (bounds->no_end)
        pack_nil(pack);
    else
        pack_bin(pack, bounds->to.data, bounds->to.bytes);
}

/* --- Commands --------------------------------------------------------------------------------- */

int kv_command_decode(const void *data, size_t bytes, struct kv_command *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_command command = {0};
    uint64_t opcode = cursor_uint(fields_next(&fields));
    switch (opcode) {
    case KV_PUT:
        command.key = cursor_bin(fields_next(&fields));
        command.value = cursor_bin(fields_next(&fields));
        command.condition = fields_condition(&fields);
        break;
    case KV_DELETE:
        command.key = cursor_bin(fields_next(&fields));
        command.condition = fields_condition(&fields);
        break;
    case KV_DELETE_RANGE:
        command.bounds = fields_bounds(&fields);
        break;
    case KV_ADVANCE:
        command.revisions = cursor_uint(fields_next(&fields));
        break;
    default:
        return CONCLAVE_MALFORMED;
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    command.opcode = (enum kv_opcode)opcode;

    int code = opcode == KV_ADVANCE        ? advance_check(command.revisions)
               : opcode == KV_DELETE_RANGE ? bounds_check(&command.bounds)
                                           : key_check(command.key);
    if (!code && command.value.bytes > CONCLAVE_VALUE_BYTES_MAX)
        code = CONCLAVE_TOO_LARGE;
    if (!code)
        *ret = command;
    return code;
}

void kv_command_pack(struct pack *pack, const struct kv_command *command)
{
    bool put = command->opcode == KV_PUT;
    if (command->opcode == KV_ADVANCE) {
        pack_array(pack, 2);
        pack_uint(pack, command->opcode);
        pack_uint(pack, command->revisions);
        return;
    }
    ASSERT(put || command->opcode == KV_DELETE || command->opcode == KV_DELETE_RANGE);
    if (command->opcode == KV_DELETE_RANGE) {
        pack_array(pack, 3);
        pack_uint(pack, command->opcode);
        bounds_pack(pack, &command->bounds);
        return;
    }
    pack_array(pack, 2u + put + command->condition.given);
    pack_uint(pack, command->opcode);
    pack_bin(pack, command->key.data, command->key.bytes);
    if (put)
        pack_bin(pack, command->value.data, command->value.bytes);
    if (command->condition.given)
        pack_uint(pack, command->condition.revision);
}

/* --- Queries ---------------------------------------------------------------------------------- */

int kv_query_decode(const void *data, size_t bytes, struct kv_query *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_query query = {0};
    uint64_t what = KV_RANGE_ITEMS;
    uint64_t opcode = cursor_uint(fields_next(&fields));
    switch (opcode) {
    case KV_GET:
        query.key = cursor_bin(fields_next(&fields));
        break;
    case KV_RANGE:
        query.bounds = fields_bounds(&fields);
        query.limit = fields_uint_or(&fields, 0);
        query.bytes = fields_uint_or(&fields, 0);
        what = fields_uint_or(&fields, KV_RANGE_ITEMS);
        break;
    default:
        return CONCLAVE_MALFORMED;
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    query.opcode = (enum kv_opcode)opcode;

    int code = opcode == KV_RANGE ? bounds_check(&query.bounds) : key_check(query.key);
    if (!code && what > KV_RANGE_COUNT)
        code = CONCLAVE_INVALID;
    if (code)
        return code;
    query.what = (enum kv_range_what)what;
    if (query.bytes == 0)
        query.bytes = KV_RANGE_BYTES_DEFAULT;
    if (query.bytes > KV_RANGE_BYTES_MAX)
        query.bytes = KV_RANGE_BYTES_MAX;
    *ret = query;
    return CONCLAVE_OK;
}

void kv_query_pack(struct pack *pack, const struct kv_query *query)
{
    ASSERT(query->opcode == KV_GET || query->opcode == KV_RANGE);
    if (query->opcode == KV_GET) {
        pack_array(pack, 2);
        pack_uint(pack, query->opcode);
        pack_bin(pack, query->key.data, query->key.bytes);
        return;
    }
    pack_array(pack, 6);
    pack_uint(pack, query->opcode);
    bounds_pack(pack, &query->bounds);
    pack_uint(pack, query->limit);
    pack_uint(pack, query->bytes);
    pack_uint(pack, query->what);
}

/* --- Answers ---------------------------------------------------------------------------------- */

void kv_outcome_pack(struct pack *pack, const struct kv_outcome *outcome)
{
    pack_array(pack, 2);
    pack_uint(pack, outcome->revision);
    pack_uint(pack, outcome->value);
}

void kv_not_found_pack(struct pack *pack, uint64_t revision)
{
    pack_array(pack, 1);
    pack_uint(pack, revision);
}

int kv_outcome_decode(const void *data, size_t bytes, struct kv_outcome *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_outcome outcome = {.revision = cursor_uint(fields_next(&fields))};
    outcome.value = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = outcome;
    return CONCLAVE_OK;
}

size_t kv_item_bytes(const struct kv_item *item)
{
    size_t value = bin_header_bytes(item->value.bytes) + item->value.bytes;
    return 1 + bin_header_bytes(item->key.bytes) + item->key.bytes +
           (item->value_left_out ? 1 : value) + uint_bytes(item->create_revision) +
           uint_bytes(item->mod_revision) + uint_bytes(item->version);
}

void kv_item_pack(struct pack *pack, const struct kv_item *item)
{
    pack_array(pack, 5);
    pack_bin(pack, item->key.data, item->key.bytes);
    if (item->value_left_out)
        pack_nil(pack);
    else
        pack_bin(pack, item->value.data, item->value.bytes);
    pack_uint(pack, item->create_revision);
    pack_uint(pack, item->mod_revision);
    pack_uint(pack, item->version);
}

/* Reads an item inside another array; a bad one leaves the cursor bad. */
static struct kv_item item_read(struct cursor *cursor)
{
    struct fields fields = {*cursor, 0};
    fields.left = cursor_array(&fields.cursor);
    struct kv_item item = {.key = cursor_bin(fields_next(&fields))};
    item.value_left_out = !fields_given(&fields);
    if (!item.value_left_out)
        item.value = cursor_bin(fields_next(&fields));
    item.create_revision = cursor_uint(fields_next(&fields));
    item.mod_revision = cursor_uint(fields_next(&fields));
    item.version = cursor_uint(fields_next(&fields));
    fields_end(&fields);
    *cursor = fields.cursor;
    return item;
}

void kv_get_answer_pack(struct pack *pack, uint64_t revision, const struct kv_item *item)
{
    pack_array(pack, 2);
    pack_uint(pack, revision);
    kv_item_pack(pack, item);
}

int kv_get_answer_decode(const void *data, size_t bytes, uint64_t *ret_revision,
                         struct kv_item *ret_item)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    uint64_t revision = cursor_uint(fields_next(&fields));
    struct kv_item item = item_read(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret_revision = revision;
    *ret_item = item;
    return CONCLAVE_OK;
}

void kv_range_answer_pack(struct pack *pack, const struct kv_range_answer *answer,
                          struct slice items)
{
    pack_array(pack, 4);
    pack_uint(pack, answer->revision);
    pack_array(pack, answer->item_count);
    pack_raw(pack, items.data, items.bytes);
    pack_uint(pack, answer->count);
    if (answer->next.bytes)
        pack_bin(pack, answer->next.data, answer->next.bytes);
    else
        pack_nil(pack);
}

int kv_range_answer_begin(const void *data, size_t bytes, struct kv_range_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_range_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    struct slice items = cursor_raw(fields_next(&fields));
    answer.count = cursor_uint(fields_next(&fields));
    if (fields_given(&fields))
        answer.next = cursor_bin(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    cursor_init(&answer.items, items.data, items.bytes);
    answer.item_count = cursor_array(&answer.items);
    if (!cursor_ok(&answer.items))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int kv_range_answer_next(struct kv_range_answer *answer, struct kv_item *ret)
{
    if (answer->item_count == 0)
        return cursor_ok(&answer->items) ? 0 : -1;
    struct kv_item item = item_read(&answer->items);
    if (!cursor_ok(&answer->items))
        return -1;
    answer->item_count--;
    *ret = item;
    return 1;
}

/* --- Prefixes --------------------------------------------------------------------------------- */

size_t kv_prefix_end(struct slice prefix, uint8_t *end)
{
    size_t bytes = prefix.bytes;
    while (bytes > 0 && prefix.data[bytes - 1] == UINT8_MAX)
        bytes--; /* nothing of this length is above 0xff: raise the byte before it */
    if (bytes == 0)
        return 0;
    memcpy(end, prefix.data, bytes);
    end[bytes - 1]++;
    return bytes;
}
