/* The answers of codec/group.h. */
#include "codec/group.h"

#include "codec/fields.h"

/* --- Fetch and settle --------------------------------------------------------------------------
 */

void group_run_pack(struct pack *pack, const struct conclave_group_run *run)
{
    pack_array(pack, 3);
    pack_uint(pack, run->first);
    pack_uint(pack, run->count);
    pack_uint(pack, run->deliveries);
}

void group_fetch_answer_pack(struct pack *pack, const struct group_fetch_answer *answer,
                             struct slice runs)
{
    pack_array(pack, 5);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->wake);
    pack_uint(pack, answer->lost);
    pack_uint(pack, answer->ack_ms);
    pack_array(pack, answer->count);
    pack_raw(pack, runs.data, runs.bytes);
}

int group_fetch_answer_begin(const void *data, size_t bytes, struct group_fetch_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct group_fetch_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.wake = cursor_uint(fields_next(&fields));
    answer.lost = cursor_uint(fields_next(&fields));
    answer.ack_ms = cursor_uint(fields_next(&fields));
    answer.runs = fields_elements(&fields, &answer.count);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int group_fetch_answer_next(struct group_fetch_answer *answer, struct conclave_group_run *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->runs) ? 0 : -1;
    struct fields fields = fields_inner(&answer->runs);
    struct conclave_group_run run = {.first = cursor_uint(fields_next(&fields))};
    run.count = cursor_uint(fields_next(&fields));
    run.deliveries = cursor_uint(fields_next(&fields));
    fields_inner_end(&fields, &answer->runs);
    if (!cursor_ok(&answer->runs))
        return -1;
    answer->count--;
    *ret = run;
    return 1;
}

void group_settle_answer_pack(struct pack *pack, const struct group_settle_answer *answer,
                              struct slice missing)
{
    pack_array(pack, 3);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->settled);
    pack_array(pack, answer->missing.count);
    pack_raw(pack, missing.data, missing.bytes);
}

int group_settle_answer_decode(const void *data, size_t bytes, struct group_settle_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct group_settle_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.settled = cursor_uint(fields_next(&fields));
    answer.missing.at = fields_elements(&fields, &answer.missing.count);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    struct group_ranges check = answer.missing;
    for (uint32_t i = 0; i < check.count; i++)
        answer.missing.total += group_ranges_next(&check).count;
    if (!cursor_ok(&check.at))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

/* --- Info and list -----------------------------------------------------------------------------
 */

enum { INFO_NUMBERS = 16 };

/* In the order of the wire, between the two names. */
#define INFO_FIELDS(info)                                                                          \
    {                                                                                              \
        &(info)->id, &(info)->start, &(info)->next, &(info)->end, &(info)->held, &(info)->delayed, \
            &(info)->ready, &(info)->acked, &(info)->dead_letters, &(info)->lost,                  \
            &(info)->redelivered, &(info)->members, &(info)->ack_ms, &(info)->held_max,            \
            &(info)->pending_max, &(info)->deliveries_max                                          \
    }

void group_info_pack(struct pack *pack, const struct group_info *info)
{
    const uint64_t *const numbers[INFO_NUMBERS] = INFO_FIELDS(info);
    pack_array(pack, INFO_NUMBERS + 2);
    pack_bin(pack, info->name.data, info->name.bytes);
    for (int i = 0; i < INFO_NUMBERS; i++)
        pack_uint(pack, *numbers[i]);
    if (info->dead.bytes)
        pack_bin(pack, info->dead.data, info->dead.bytes);
    else
        pack_nil(pack);
}

/* Inside another array; a bad one leaves the cursor bad. */
static struct group_info info_read(struct cursor *cursor)
{
    struct fields fields = fields_inner(cursor);
    struct group_info info = {.name = cursor_bin(fields_next(&fields))};
    uint64_t *const numbers[INFO_NUMBERS] = INFO_FIELDS(&info);
    for (int i = 0; i < INFO_NUMBERS; i++)
        *numbers[i] = cursor_uint(fields_next(&fields));
    if (fields_given(&fields))
        info.dead = cursor_bin(fields_next(&fields));
    fields_inner_end(&fields, cursor);
    return info;
}

void group_info_answer_pack(struct pack *pack, uint64_t revision, uint64_t clock_ms,
                            const struct group_info *info)
{
    pack_array(pack, 3);
    pack_uint(pack, revision);
    pack_uint(pack, clock_ms);
    group_info_pack(pack, info);
}

int group_info_answer_decode(const void *data, size_t bytes, uint64_t *ret_revision,
                             uint64_t *ret_clock_ms, struct group_info *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    uint64_t revision = cursor_uint(fields_next(&fields));
    uint64_t clock_ms = cursor_uint(fields_next(&fields));
    struct group_info info = info_read(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret_revision = revision;
    *ret_clock_ms = clock_ms;
    *ret = info;
    return CONCLAVE_OK;
}

int group_list_answer_next(struct list_answer *answer, struct group_info *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->infos) ? 0 : -1;
    struct group_info info = info_read(&answer->infos);
    if (!cursor_ok(&answer->infos))
        return -1;
    answer->count--;
    *ret = info;
    return 1;
}

/* --- Pending ------------------------------------------------------------------------------------
 */

void group_pending_pack(struct pack *pack, const struct conclave_group_pending *pending)
{
    pack_array(pack, 4);
    pack_uint(pack, pending->lease);
    pack_uint(pack, pending->sequence);
    pack_uint(pack, pending->deliveries);
    pack_uint(pack, pending->left_ms);
}

void group_pending_answer_pack(struct pack *pack, const struct group_pending_answer *answer,
                               struct slice items)
{
    pack_array(pack, 4);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->clock_ms);
    pack_array(pack, answer->count);
    pack_raw(pack, items.data, items.bytes);
    if (!answer->more) {
        pack_nil(pack);
        return;
    }
    pack_array(pack, 2);
    pack_uint(pack, answer->lease);
    pack_uint(pack, answer->sequence);
}

int group_pending_answer_begin(const void *data, size_t bytes, struct group_pending_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct group_pending_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.clock_ms = cursor_uint(fields_next(&fields));
    answer.items = fields_elements(&fields, &answer.count);
    answer.more = fields_given(&fields);
    if (answer.more) {
        struct cursor *cursor = fields_next(&fields);
        struct fields place = fields_inner(cursor);
        answer.lease = cursor_uint(fields_next(&place));
        answer.sequence = cursor_uint(fields_next(&place));
        fields_inner_end(&place, cursor);
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int group_pending_answer_next(struct group_pending_answer *answer,
                              struct conclave_group_pending *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->items) ? 0 : -1;
    struct fields fields = fields_inner(&answer->items);
    struct conclave_group_pending pending = {.lease = cursor_uint(fields_next(&fields))};
    pending.sequence = cursor_uint(fields_next(&fields));
    pending.deliveries = cursor_uint(fields_next(&fields));
    pending.left_ms = cursor_uint(fields_next(&fields));
    fields_inner_end(&fields, &answer->items);
    if (!cursor_ok(&answer->items))
        return -1;
    answer->count--;
    *ret = pending;
    return 1;
}

/* --- Messages -----------------------------------------------------------------------------------
 */

void group_messages_answer_pack(struct pack *pack, const struct group_messages_answer *answer,
                                struct slice items)
{
    pack_array(pack, 4);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->clock_ms);
    pack_uint(pack, answer->covered);
    pack_array(pack, answer->count);
    pack_raw(pack, items.data, items.bytes);
}

int group_messages_answer_begin(const void *data, size_t bytes, struct group_messages_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct group_messages_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.clock_ms = cursor_uint(fields_next(&fields));
    answer.covered = cursor_uint(fields_next(&fields));
    answer.items = fields_elements(&fields, &answer.count);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int group_messages_answer_next(struct group_messages_answer *answer, struct topic_item *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->items) ? 0 : -1;
    if (topic_item_read(&answer->items, ret))
        return -1;
    answer->count--;
    return 1;
}
