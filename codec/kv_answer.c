/* Answers of the key-value machine: the second half of codec/kv.h. */
#include "codec/fields.h"
#include "codec/kv.h"

#include <string.h>

/* --- Answers ---------------------------------------------------------------------------------- */

void kv_outcome_pack(struct pack *pack, const struct kv_outcome *outcome)
{
    pack_array(pack, 2u + outcome->has_item);
    pack_uint(pack, outcome->revision);
    pack_uint(pack, outcome->value);
    if (outcome->has_item)
        kv_item_pack(pack, &outcome->item);
}

void kv_not_found_pack(struct pack *pack, uint64_t revision)
{
    pack_array(pack, 1);
    pack_uint(pack, revision);
}

/* Reads an item inside another array; a bad one leaves the cursor bad. */
struct kv_item kv_item_read(struct cursor *cursor)
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
    item.lease = fields_uint_or(&fields, 0);
    fields_end(&fields);
    *cursor = fields.cursor;
    return item;
}

int kv_outcome_decode(const void *data, size_t bytes, struct kv_outcome *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_outcome outcome = {.revision = cursor_uint(fields_next(&fields))};
    outcome.value = fields_uint_or(&fields, 0);
    outcome.has_item = fields_given(&fields);
    if (outcome.has_item)
        outcome.item = kv_item_read(fields_next(&fields));
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
           uint_bytes(item->mod_revision) + uint_bytes(item->version) +
           (item->lease ? uint_bytes(item->lease) : 0);
}

void kv_item_pack(struct pack *pack, const struct kv_item *item)
{
    pack_array(pack, 5u + (item->lease > 0));
    pack_bin(pack, item->key.data, item->key.bytes);
    if (item->value_left_out)
        pack_nil(pack);
    else
        pack_bin(pack, item->value.data, item->value.bytes);
    pack_uint(pack, item->create_revision);
    pack_uint(pack, item->mod_revision);
    pack_uint(pack, item->version);
    if (item->lease)
        pack_uint(pack, item->lease);
}

void kv_get_answer_pack(struct pack *pack, uint64_t revision, const struct kv_item *item)
{
    pack_reserve(pack, 1 + uint_bytes(revision) + kv_item_bytes(item));
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
    struct kv_item item = kv_item_read(fields_next(&fields));
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
    struct kv_item item = kv_item_read(&answer->items);
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
