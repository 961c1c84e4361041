/* What happens to groups because cluster time passes: a step of what members that ended have left,
 * then of what is due. */
#include "base/fatal.h"
#include "machine/group_internal.h"
#include "machine/kv_deadline.h"
#include "machine/topic_read.h"

#include <stdlib.h>

/* One step. */
struct step {
    struct group *group;
    uint32_t left;       /* messages */
    uint64_t bytes_left; /* of dead letters */
    bool returned;
};

static bool is_over(const struct step *step)
{
    return step->left == 0 || step->bytes_left == 0;
}

/* --- Dead letters ------------------------------------------------------------------------------
 */

/* rc. A copy of the message: publishing changes the table that it is in. NOT_FOUND: the topic has
 * dropped it, or is deleted. To be freed. */
static int copy_message(struct kv_batch *batch, const struct group *group, uint64_t sequence,
                        struct topic_message *ret, uint8_t **ret_copy)
{
    struct topic_batch *topics = &batch->topics;
    struct topic_walk walk;
    struct topic_item item = {0};
    uint64_t first = 0;
    int rc = topic_load(topics, group_topic_name(group));
    if (!rc && topics->record.id != group->record.topic)
        rc = CONCLAVE_NOT_FOUND;
    if (!rc)
        rc = topic_tail_flush(topics); /* the message may be in it */
    if (!rc)
        rc = topic_first(&batch->tx, &topics->record, batch->clock_ms, &first);
    if (!rc && sequence < first)
        rc = CONCLAVE_NOT_FOUND;
    if (rc)
        return rc;
    rc = topic_walk_begin(&walk, &batch->tx, &topics->record, sequence);
    if (!rc)
        rc = topic_walk_next(&walk, &item);
    if (rc) {
        topic_walk_end(&walk);
        return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
    }
    const struct slice data = item.message.data, id = item.message.id;
    uint8_t *copy = mem_alloc(data.bytes + id.bytes + 1);
    if (data.bytes)
        memcpy(copy, data.data, data.bytes);
    if (id.bytes)
        memcpy(copy + data.bytes, id.data, id.bytes);
    topic_walk_end(&walk);
    *ret = (struct topic_message){.data = {copy, data.bytes}, .id = {copy + data.bytes, id.bytes}};
    *ret_copy = copy;
    return 0;
}

/* rc. NOT_FOUND: the topic for dead letters is not there. */
static int publish_letter(struct kv_batch *batch, const struct group *group, uint64_t sequence,
                          uint64_t deliveries, struct topic_message *message)
{
    struct pack origin;
    int rc = topic_load(&batch->topics, group_dead_name(group));
    if (rc)
        return rc;
    pack_init(&origin, 0);
    topic_origin_pack(&origin, &(struct topic_origin){.topic = group_topic_name(group),
                                                      .group = group_name(group),
                                                      .sequence = sequence,
                                                      .deliveries = deliveries});
    message->origin = (struct slice){origin.buf->data, origin.bytes};
    rc = topic_publish_letter(&batch->topics, &batch->state.revision, message, batch->reply);
    pack_deinit(&origin);
    return rc;
}

/* rc. Moves it to the dead letters. Without the topic for them it is delivered once more: nothing
 * is lost by a topic that somebody deleted. */
static int bring_to_dead(struct kv_batch *batch, struct step *step, uint64_t sequence,
                         uint64_t deliveries)
{
    struct group_record *record = &step->group->record;
    struct topic_message message;
    uint8_t *copy = NULL;
    int rc = copy_message(batch, step->group, sequence, &message, &copy);
    if (rc == CONCLAVE_NOT_FOUND) {
        record->lost++;
        return 0;
    }
    if (rc)
        return rc;
    uint64_t bytes = message.data.bytes;
    rc = publish_letter(batch, step->group, sequence, deliveries, &message);
    free(copy);
    if (rc == CONCLAVE_NOT_FOUND) {
        step->returned = true;
        return group_make_ready(batch, step->group, sequence, deliveries);
    }
    record->dead_letters += !rc;
    step->bytes_left -= bytes < step->bytes_left ? bytes : step->bytes_left;
    return rc;
}

/* --- What comes back ---------------------------------------------------------------------------
 */

/* rc. Nobody's any more: to be handed out again, or delivered too often. */
static int come_back(struct kv_batch *batch, struct step *step, uint64_t lease, uint64_t sequence,
                     struct group_held held)
{
    int rc = group_let_go(batch, step->group, lease, sequence, held);
    step->left--;
    if (rc)
        return rc;
    if (group_is_exhausted(&step->group->record, held.deliveries))
        return bring_to_dead(batch, step, sequence, held.deliveries);
    step->returned = true;
    return group_make_ready(batch, step->group, sequence, held.deliveries);
}

/* rc. The first key at or behind `from`, and its value's numbers. NOT_FOUND: not with this tag,
 * group, and so many numbers. */
static int first_of(struct kv_batch *batch, const struct topic_key *from, size_t numbers,
                    uint64_t ret_key[2], void *ret_value, size_t value_bytes)
{
    struct tables_cursor cursor;
    struct slice key = topic_key_slice(from), value = {0};
    int rc = tables_cursor_open(&batch->tx, TABLE_GROUPS, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, &value);
    if (!rc && !group_key_is(key, from->bytes[0], topic_number_at(from->bytes + 1), numbers))
        rc = CONCLAVE_NOT_FOUND;
    for (size_t i = 0; !rc && i < numbers; i++)
        ret_key[i] = topic_number_at(key.data + 9 + 8 * i);
    if (!rc)
        rc = topic_numbers_read(value, ret_value, value_bytes);
    tables_cursor_close(&cursor);
    return rc;
}

/* rc. What a member that ended holds; then it is no member any more. */
static int empty_member(struct kv_batch *batch, struct step *step, uint64_t lease)
{
    uint64_t id = step->group->record.id, at[2] = {0};
    struct topic_key from = group_key2(GROUP_TAG_HELD, id, lease);
    struct group_held held;
    int rc = 0;
    while (!rc && !is_over(step)) {
        rc = first_of(batch, &from, 2, at, &held, sizeof held);
        if (rc == CONCLAVE_NOT_FOUND || (!rc && at[0] != lease))
            break;
        if (!rc)
            rc = come_back(batch, step, lease, at[1], held);
    }
    if ((rc && rc != CONCLAVE_NOT_FOUND) || is_over(step))
        return rc;
    struct topic_key ended = group_key2(GROUP_TAG_ENDED, id, lease);
    struct topic_key member = group_key2(GROUP_TAG_MEMBER, id, lease);
    step->group->record.members--;
    rc = group_erase_key(batch, &ended);
    return rc ? rc : group_erase_key(batch, &member);
}

/* rc. */
static int empty_members(struct kv_batch *batch, struct step *step)
{
    uint64_t lease[2];
    struct topic_key from = group_key(GROUP_TAG_ENDED, step->group->record.id);
    int rc = 0;
    while (!rc && !is_over(step)) {
        rc = first_of(batch, &from, 1, lease, NULL, 0);
        if (!rc)
            rc = empty_member(batch, step, lease[0]);
    }
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. A member has one message less. */
static int member_lost_one(struct kv_batch *batch, const struct group *group, uint64_t lease)
{
    struct group_member member;
    int rc = group_member_find(batch, group->record.id, lease, &member);
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
    member.held--;
    return group_member_write(batch, group->record.id, lease, &member);
}

/* rc. What is due, in the order of time; *ret_next_ms is when the next one is, UINT64_MAX: none. */
static int take_due(struct kv_batch *batch, struct step *step, uint64_t *ret_next_ms)
{
    uint64_t at[2] = {0};
    struct topic_key from = group_key(GROUP_TAG_DUE, step->group->record.id);
    struct group_due due = {0};
    *ret_next_ms = UINT64_MAX;
    for (;;) {
        int rc = first_of(batch, &from, 2, at, &due, sizeof due);
        if (rc)
            return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
        if (at[0] > batch->clock_ms || is_over(step)) {
            *ret_next_ms = at[0];
            return 0;
        }
        rc = come_back(batch, step, due.lease, at[1], (struct group_held){due.deliveries, at[0]});
        if (!rc && due.lease)
            rc = member_lost_one(batch, step->group, due.lease);
        if (rc)
            return rc;
    }
}

int group_expire(struct kv_batch *batch, uint64_t id)
{
    struct group group;
    struct step step = {.group = &group, .left = GROUP_STEP, .bytes_left = GROUP_STEP_BYTES};
    uint64_t next_ms = UINT64_MAX;
    int rc = group_read(&batch->tx, id, &group);
    if (rc == CONCLAVE_NOT_FOUND ||
        (!rc && (!group.record.deadline_ms || group.record.deadline_ms > batch->clock_ms)))
        return CONCLAVE_CORRUPT;
    if (rc)
        return rc;
    group_note(batch, &group);
    struct kv_deadline deadline = {
        .ms = group.record.deadline_ms, .kind = KV_DEADLINE_GROUP, .number = id};
    group.record.deadline_ms = 0;
    rc = kv_deadline_clear(&batch->tx, &deadline);
    if (!rc)
        rc = empty_members(batch, &step);
    bool members_left = is_over(&step);
    if (!rc)
        rc = take_due(batch, &step, &next_ms);
    if (!rc && members_left)
        next_ms = batch->clock_ms;
    if (!rc && next_ms != UINT64_MAX)
        rc = group_due_at(batch, &group, next_ms > batch->clock_ms ? next_ms : batch->clock_ms);
    if (!rc && step.returned)
        group_touch(batch, &group);
    return rc ? rc : group_write(batch, &group);
}
