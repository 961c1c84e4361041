/* The answers of codec/topic.h. */
#include "codec/topic.h"

#include "codec/fields.h"

/* --- Publish ---------------------------------------------------------------------------------- */

void topic_published_pack(struct pack *pack, const struct topic_published *published,
                          const struct topic_duplicate *duplicates)
{
    pack_array(pack, published->duplicate_count ? 4 : 3);
    pack_uint(pack, published->revision);
    pack_uint(pack, published->first);
    pack_uint(pack, published->count);
    if (published->duplicate_count == 0)
        return;
    pack_array(pack, published->duplicate_count);
    for (uint32_t i = 0; i < published->duplicate_count; i++) {
        pack_array(pack, 2);
        pack_uint(pack, duplicates[i].place);
        pack_uint(pack, duplicates[i].sequence);
    }
}

static struct topic_duplicate duplicate_read(struct cursor *cursor)
{
    struct fields fields = fields_inner(cursor);
    uint64_t place = cursor_uint(fields_next(&fields));
    struct topic_duplicate duplicate = {.sequence = cursor_uint(fields_next(&fields))};
    if (place >= CONCLAVE_PUBLISH_MAX)
        cursor_fail(&fields.cursor);
    duplicate.place = (uint32_t)place;
    fields_inner_end(&fields, cursor);
    return duplicate;
}

int topic_published_decode(const void *data, size_t bytes, struct topic_published *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct topic_published published = {.revision = cursor_uint(fields_next(&fields))};
    published.first = cursor_uint(fields_next(&fields));
    published.count = cursor_uint(fields_next(&fields));
    if (fields_given(&fields))
        published.duplicates = fields_elements(&fields, &published.duplicate_count);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    struct cursor check = published.duplicates;
    for (uint32_t i = 0; i < published.duplicate_count; i++)
        (void)duplicate_read(&check);
    if (published.duplicate_count && !cursor_ok(&check))
        return CONCLAVE_MALFORMED;
    *ret = published;
    return CONCLAVE_OK;
}

struct topic_duplicate topic_duplicate_next(struct topic_published *published)
{
    return duplicate_read(&published->duplicates);
}

/* --- Info and list ---------------------------------------------------------------------------- */

void topic_info_pack(struct pack *pack, const struct topic_info *info)
{
    const struct topic_settings *settings = &info->settings;
    pack_array(pack, 10);
    pack_bin(pack, info->name.data, info->name.bytes);
    pack_uint(pack, info->id);
    pack_uint(pack, info->first);
    pack_uint(pack, info->end);
    pack_uint(pack, info->bytes);
    pack_uint(pack, settings->count_max);
    pack_uint(pack, settings->bytes_max);
    pack_uint(pack, settings->age_ms);
    pack_uint(pack, settings->dedup_ms);
    pack_uint(pack, settings->dedup_count);
}

static struct topic_info info_read(struct cursor *cursor)
{
    struct fields fields = fields_inner(cursor);
    struct topic_info info = {.name = cursor_bin(fields_next(&fields))};
    info.id = cursor_uint(fields_next(&fields));
    info.first = cursor_uint(fields_next(&fields));
    info.end = cursor_uint(fields_next(&fields));
    info.bytes = cursor_uint(fields_next(&fields));
    info.settings.count_max = cursor_uint(fields_next(&fields));
    info.settings.bytes_max = cursor_uint(fields_next(&fields));
    info.settings.age_ms = cursor_uint(fields_next(&fields));
    info.settings.dedup_ms = cursor_uint(fields_next(&fields));
    info.settings.dedup_count = cursor_uint(fields_next(&fields));
    fields_inner_end(&fields, cursor);
    return info;
}

void topic_info_answer_pack(struct pack *pack, uint64_t revision, uint64_t clock_ms,
                            const struct topic_info *info)
{
    pack_array(pack, 3);
    pack_uint(pack, revision);
    pack_uint(pack, clock_ms);
    topic_info_pack(pack, info);
}

int topic_info_answer_decode(const void *data, size_t bytes, uint64_t *ret_revision,
                             uint64_t *ret_clock_ms, struct topic_info *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    uint64_t revision = cursor_uint(fields_next(&fields));
    uint64_t clock_ms = cursor_uint(fields_next(&fields));
    struct topic_info info = info_read(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret_revision = revision;
    *ret_clock_ms = clock_ms;
    *ret = info;
    return CONCLAVE_OK;
}

int topic_list_answer_next(struct list_answer *answer, struct topic_info *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->infos) ? 0 : -1;
    struct topic_info info = info_read(&answer->infos);
    if (!cursor_ok(&answer->infos))
        return -1;
    answer->count--;
    *ret = info;
    return 1;
}

/* --- Read ------------------------------------------------------------------------------------- */

size_t topic_item_bytes(const struct topic_item *item)
{
    const struct topic_message *message = &item->message;
    size_t id = message->id.bytes ? bin_header_bytes(message->id.bytes) + message->id.bytes : 1;
    return 1 + uint_bytes(item->sequence) + uint_bytes(item->revision) + uint_bytes(item->time_ms) +
           bin_header_bytes(message->data.bytes) + message->data.bytes + id + message->origin.bytes;
}

void topic_origin_pack(struct pack *pack, const struct topic_origin *origin)
{
    pack_array(pack, 4);
    pack_bin(pack, origin->topic.data, origin->topic.bytes);
    pack_bin(pack, origin->group.data, origin->group.bytes);
    pack_uint(pack, origin->sequence);
    pack_uint(pack, origin->deliveries);
}

int topic_origin_decode(struct slice bytes, struct topic_origin *ret)
{
    struct fields fields;
    fields_begin(&fields, bytes.data, bytes.bytes);
    struct topic_origin origin = {.topic = cursor_bin(fields_next(&fields))};
    origin.group = cursor_bin(fields_next(&fields));
    origin.sequence = cursor_uint(fields_next(&fields));
    origin.deliveries = cursor_uint(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = origin;
    return CONCLAVE_OK;
}

void topic_item_pack(struct pack *pack, const struct topic_item *item)
{
    pack_array(pack, item->message.origin.bytes ? 6 : 5);
    pack_uint(pack, item->sequence);
    pack_uint(pack, item->revision);
    pack_uint(pack, item->time_ms);
    pack_bin(pack, item->message.data.data, item->message.data.bytes);
    if (item->message.id.bytes)
        pack_bin(pack, item->message.id.data, item->message.id.bytes);
    else
        pack_nil(pack);
    if (item->message.origin.bytes)
        pack_raw(pack, item->message.origin.data, item->message.origin.bytes);
}

void topic_read_answer_pack(struct pack *pack, const struct topic_read_answer *answer,
                            struct slice items)
{
    pack_array(pack, 6);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->clock_ms);
    pack_uint(pack, answer->first);
    pack_uint(pack, answer->end);
    pack_uint(pack, answer->next);
    pack_array(pack, answer->count);
    pack_raw(pack, items.data, items.bytes);
}

int topic_read_answer_begin(const void *data, size_t bytes, struct topic_read_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct topic_read_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.clock_ms = cursor_uint(fields_next(&fields));
    answer.first = cursor_uint(fields_next(&fields));
    answer.end = cursor_uint(fields_next(&fields));
    answer.next = cursor_uint(fields_next(&fields));
    answer.items = fields_elements(&fields, &answer.count);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int topic_item_read(struct cursor *cursor, struct topic_item *ret)
{
    struct fields fields = fields_inner(cursor);
    struct topic_item item = {.sequence = cursor_uint(fields_next(&fields))};
    item.revision = cursor_uint(fields_next(&fields));
    item.time_ms = cursor_uint(fields_next(&fields));
    item.message.data = cursor_bin(fields_next(&fields));
    if (fields_given(&fields))
        item.message.id = cursor_bin(fields_next(&fields));
    if (fields_given(&fields))
        item.message.origin = cursor_raw(fields_next(&fields));
    fields_inner_end(&fields, cursor);
    if (!cursor_ok(cursor))
        return CONCLAVE_MALFORMED;
    *ret = item;
    return CONCLAVE_OK;
}

int topic_read_answer_next(struct topic_read_answer *answer, struct topic_item *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->items) ? 0 : -1;
    if (topic_item_read(&answer->items, ret))
        return -1;
    answer->count--;
    return 1;
}
