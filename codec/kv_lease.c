#include "codec/kv_lease.h"

#include "codec/fields.h"
#include "codec/kv_internal.h"

enum { INFO_FIELDS = 4, USAGE_FIELDS = 8 };

int kv_ttl_check(uint64_t ttl_ms)
{
    if (ttl_ms == 0)
        return CONCLAVE_INVALID;
    return ttl_ms > KV_TTL_MS_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

/* --- Settings --------------------------------------------------------------------------------- */

void kv_settings_decode(struct fields *fields, struct kv_settings *settings)
{
    *settings = (struct kv_settings){0};
    for (int i = 0; i < KV_SETTING_COUNT; i++) {
        settings->given[i] = fields_given(fields);
        if (settings->given[i])
            settings->values[i] = cursor_uint(fields_next(fields));
    }
}

int kv_settings_check(const struct kv_settings *settings)
{
    static const uint64_t most[KV_SETTING_COUNT] = {
        [KV_SETTING_CHANGES] = KV_HISTORY_CHANGES_MAX,
        [KV_SETTING_BYTES] = UINT64_C(1) << 40,
        [KV_SETTING_AGE_MS] = KV_TTL_MS_MAX,
        [KV_SETTING_QUOTA] = UINT64_C(1) << 50,
    };
    for (int i = 0; i < KV_SETTING_COUNT; i++)
        if (settings->given[i] && settings->values[i] > most[i])
            return CONCLAVE_TOO_LARGE;
    return CONCLAVE_OK;
}

void kv_settings_pack(struct pack *pack, const struct kv_settings *settings)
{
    pack_array(pack, 1 + KV_SETTING_COUNT);
    pack_uint(pack, KV_SETTINGS);
    for (int i = 0; i < KV_SETTING_COUNT; i++) {
        if (settings->given[i])
            pack_uint(pack, settings->values[i]);
        else
            pack_nil(pack);
    }
}

/* --- Grant and renew -------------------------------------------------------------------------- */

void kv_lease_answer_pack(struct pack *pack, const struct kv_lease_answer *answer)
{
    pack_array(pack, 3);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->lease);
    pack_uint(pack, answer->ttl_ms);
}

int kv_lease_answer_decode(const void *data, size_t bytes, struct kv_lease_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_lease_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.lease = cursor_uint(fields_next(&fields));
    answer.ttl_ms = cursor_uint(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

/* --- Lists ------------------------------------------------------------------------------------ */

void kv_lease_info_pack(struct pack *pack, const struct kv_lease_info *info)
{
    pack_array(pack, INFO_FIELDS);
    pack_uint(pack, info->lease);
    pack_uint(pack, info->ttl_ms);
    pack_uint(pack, info->left_ms);
    pack_uint(pack, info->keys);
}

/* Inside another array; a bad one leaves the cursor bad. */
static struct kv_lease_info info_read(struct cursor *cursor)
{
    struct fields fields = {*cursor, 0};
    fields.left = cursor_array(&fields.cursor);
    struct kv_lease_info info = {.lease = cursor_uint(fields_next(&fields))};
    info.ttl_ms = cursor_uint(fields_next(&fields));
    info.left_ms = cursor_uint(fields_next(&fields));
    info.keys = cursor_uint(fields_next(&fields));
    fields_end(&fields);
    *cursor = fields.cursor;
    return info;
}

void kv_leases_answer_pack(struct pack *pack, const struct kv_leases_answer *answer,
                           struct slice items)
{
    pack_array(pack, 3);
    pack_uint(pack, answer->revision);
    pack_array(pack, answer->count);
    pack_raw(pack, items.data, items.bytes);
    if (answer->next)
        pack_uint(pack, answer->next);
    else
        pack_nil(pack);
}

int kv_leases_answer_begin(const void *data, size_t bytes, struct kv_leases_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_leases_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    struct slice items = cursor_raw(fields_next(&fields));
    answer.next = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    cursor_init(&answer.items, items.data, items.bytes);
    answer.count = cursor_array(&answer.items);
    if (!cursor_ok(&answer.items))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int kv_leases_answer_next(struct kv_leases_answer *answer, struct kv_lease_info *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->items) ? 0 : -1;
    struct kv_lease_info info = info_read(&answer->items);
    if (!cursor_ok(&answer->items))
        return -1;
    answer->count--;
    *ret = info;
    return 1;
}

void kv_lease_key_pack(struct pack *pack, uint64_t space, struct slice key)
{
    pack_array(pack, 2);
    pack_uint(pack, space);
    pack_bin(pack, key.data, key.bytes);
}

void kv_lease_keys_answer_pack(struct pack *pack, const struct kv_lease_keys_answer *answer,
                               struct slice items)
{
    pack_array(pack, 4);
    pack_uint(pack, answer->revision);
    kv_lease_info_pack(pack, &answer->info);
    pack_array(pack, answer->count);
    pack_raw(pack, items.data, items.bytes);
    if (answer->next.bytes)
        pack_bin(pack, answer->next.data, answer->next.bytes);
    else
        pack_nil(pack);
}

int kv_lease_keys_answer_begin(const void *data, size_t bytes, struct kv_lease_keys_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_lease_keys_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.info = info_read(fields_next(&fields));
    struct slice items = cursor_raw(fields_next(&fields));
    if (fields_given(&fields))
        answer.next = cursor_bin(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    cursor_init(&answer.items, items.data, items.bytes);
    answer.count = cursor_array(&answer.items);
    if (!cursor_ok(&answer.items))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int kv_lease_keys_answer_next(struct kv_lease_keys_answer *answer, uint64_t *ret_space,
                              struct slice *ret_key)
{
    if (answer->count == 0)
        return cursor_ok(&answer->items) ? 0 : -1;
    struct fields fields = {answer->items, 0};
    fields.left = cursor_array(&fields.cursor);
    uint64_t space = cursor_uint(fields_next(&fields));
    struct slice key = cursor_bin(fields_next(&fields));
    fields_end(&fields);
    answer->items = fields.cursor;
    if (!cursor_ok(&answer->items))
        return -1;
    answer->count--;
    *ret_space = space;
    *ret_key = key;
    return 1;
}

/* --- Usage ------------------------------------------------------------------------------------ */

void kv_usage_pack(struct pack *pack, const struct kv_usage *usage)
{
    pack_array(pack, 5);
    pack_uint(pack, usage->revision);
    pack_uint(pack, usage->compacted);
    pack_uint(pack, usage->clock_ms);
    pack_array(pack, KV_SETTING_COUNT);
    for (int i = 0; i < KV_SETTING_COUNT; i++)
        pack_uint(pack, usage->settings[i]);
    pack_array(pack, USAGE_FIELDS);
    pack_uint(pack, usage->keys);
    pack_uint(pack, usage->bytes);
    pack_uint(pack, usage->history_changes);
    pack_uint(pack, usage->history_bytes);
    pack_uint(pack, usage->leases);
    pack_uint(pack, usage->topics);
    pack_uint(pack, usage->topic_bytes);
    pack_uint(pack, usage->refused);
}

/* So many numbers in an array of their own, and whatever a later version appended. */
static void numbers_read(struct cursor *cursor, uint64_t *numbers, uint32_t count)
{
    struct fields fields = {*cursor, 0};
    fields.left = cursor_array(&fields.cursor);
    for (uint32_t i = 0; i < count; i++)
        numbers[i] = cursor_uint(fields_next(&fields));
    fields_end(&fields);
    *cursor = fields.cursor;
}

int kv_usage_decode(const void *data, size_t bytes, struct kv_usage *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_usage usage = {.revision = cursor_uint(fields_next(&fields))};
    uint64_t used[USAGE_FIELDS];
    usage.compacted = cursor_uint(fields_next(&fields));
    usage.clock_ms = cursor_uint(fields_next(&fields));
    numbers_read(fields_next(&fields), usage.settings, KV_SETTING_COUNT);
    numbers_read(fields_next(&fields), used, USAGE_FIELDS);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    usage.keys = used[0];
    usage.bytes = used[1];
    usage.history_changes = used[2];
    usage.history_bytes = used[3];
    usage.leases = used[4];
    usage.topics = used[5];
    usage.topic_bytes = used[6];
    usage.refused = used[7];
    *ret = usage;
    return CONCLAVE_OK;
}
