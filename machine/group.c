#include "machine/group.h"

#include "base/fatal.h"
#include "machine/group_internal.h"
#include "machine/kv_deadline.h"
#include "machine/kv_lease.h"
#include "machine/kv_quota.h"
#include "machine/topic_read.h"

/* --- Records ------------------------------------------------------------------------------------
 */

/* Cuts the names off what is behind the numbers. CORRUPT: they do not fill it. */
static int names_read(struct slice rest, struct group *group)
{
    const struct group_record *record = &group->record;
    const uint64_t bytes[] = {record->topic_bytes, record->name_bytes, record->dead_bytes};
    uint8_t *const names[] = {group->topic, group->name, group->dead};
    for (size_t i = 0; i < 3; i++) {
        if (bytes[i] > CONCLAVE_TOPIC_BYTES_MAX || bytes[i] > rest.bytes)
            return CONCLAVE_CORRUPT;
        memcpy(names[i], rest.data, bytes[i]);
        rest.data += bytes[i];
        rest.bytes -= bytes[i];
    }
    return rest.bytes ? CONCLAVE_CORRUPT : 0;
}

int group_read(struct tables_tx *tx, uint64_t id, struct group *ret)
{
    struct topic_key key = group_key(GROUP_TAG_GROUP, id);
    struct slice stored = {0};
    int rc = tables_get(tx, TABLE_GROUPS, topic_key_slice(&key), &stored);
    if (!rc)
        rc = topic_numbers_read(stored, &ret->record, sizeof ret->record);
    return rc ? rc
              : names_read((struct slice){stored.data + sizeof ret->record,
                                          stored.bytes - sizeof ret->record},
                           ret);
}

int group_find(struct tables_tx *tx, uint64_t topic, struct slice name, struct group *ret)
{
    struct topic_key key = group_name_key(topic, name);
    struct slice stored = {0};
    uint64_t id = 0;
    int rc = tables_get(tx, TABLE_GROUPS, topic_key_slice(&key), &stored);
    if (!rc)
        rc = topic_numbers_read(stored, &id, sizeof id);
    if (rc)
        return rc;
    rc = group_read(tx, id, ret);
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

int group_write(struct kv_batch *batch, const struct group *group)
{
    const struct group_record *record = &group->record;
    struct topic_key key = group_key(GROUP_TAG_GROUP, record->id);
    size_t bytes = sizeof *record + record->topic_bytes + record->name_bytes + record->dead_bytes;
    void *room = NULL;
    int rc = tables_put(&batch->tx, TABLE_GROUPS, topic_key_slice(&key), bytes, &room);
    if (rc)
        return rc;
    topic_numbers_write(room, record, sizeof *record);
    uint8_t *at = (uint8_t *)room + sizeof *record;
    memcpy(at, group->topic, record->topic_bytes);
    at += record->topic_bytes;
    memcpy(at, group->name, record->name_bytes);
    memcpy(at + record->name_bytes, group->dead, record->dead_bytes);
    return 0;
}

void group_note(struct kv_batch *batch, const struct group *group)
{
    topic_note_effect(batch->reply, &group->record, sizeof group->record);
}

int group_topic_first(struct kv_batch *batch, uint64_t *ret_sequence)
{
    struct topic_batch *topics = &batch->topics;
    int rc = topics->record.age_ms ? topic_tail_flush(topics) : 0; /* blocks are looked at */
    return rc ? rc : topic_first(&batch->tx, &topics->record, batch->clock_ms, ret_sequence);
}

int group_due_at(struct kv_batch *batch, struct group *group, uint64_t ms)
{
    struct group_record *record = &group->record;
    struct kv_deadline deadline = {
        .ms = record->deadline_ms, .kind = KV_DEADLINE_GROUP, .number = record->id};
    ms += ms == 0; /* at the beginning of time: 0 says that there is none */
    if (record->deadline_ms && record->deadline_ms <= ms)
        return 0;
    int rc = record->deadline_ms ? kv_deadline_clear(&batch->tx, &deadline) : 0;
    if (rc)
        return rc;
    deadline.ms = record->deadline_ms = ms;
    return kv_deadline_set(&batch->tx, &deadline);
}

void group_touch(struct kv_batch *batch, struct group *group)
{
    group->record.returned++;
    if (batch->topics.waiting)
        topic_touch(batch->topics.waiting, group_topic_name(group), 1, UINT64_MAX);
}

/* --- Single messages ---------------------------------------------------------------------------
 */

static int put_numbers(struct kv_batch *batch, const struct topic_key *key, const uint64_t *numbers,
                       size_t bytes)
{
    void *room = NULL;
    int rc = tables_put(&batch->tx, TABLE_GROUPS, topic_key_slice(key), bytes, &room);
    if (!rc)
        topic_numbers_write(room, numbers, bytes);
    return rc;
}

int group_erase_key(struct kv_batch *batch, const struct topic_key *key)
{
    int rc = tables_erase(&batch->tx, TABLE_GROUPS, topic_key_slice(key));
    return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
}

int group_hold(struct kv_batch *batch, struct group *group, uint64_t lease, uint64_t sequence,
               struct group_held held)
{
    struct group_record *record = &group->record;
    struct topic_key key = group_key3(GROUP_TAG_HELD, record->id, lease, sequence);
    struct topic_key due = group_key3(GROUP_TAG_DUE, record->id, held.deadline_ms, sequence);
    const uint64_t by_time[2] = {lease, held.deliveries};
    *(lease ? &record->held : &record->delayed) += 1;
    int rc = put_numbers(batch, &key, &held.deliveries, sizeof held);
    return rc ? rc : put_numbers(batch, &due, by_time, sizeof by_time);
}

int group_let_go(struct kv_batch *batch, struct group *group, uint64_t lease, uint64_t sequence,
                 struct group_held held)
{
    struct group_record *record = &group->record;
    struct topic_key key = group_key3(GROUP_TAG_HELD, record->id, lease, sequence);
    struct topic_key due = group_key3(GROUP_TAG_DUE, record->id, held.deadline_ms, sequence);
    *(lease ? &record->held : &record->delayed) -= 1;
    topic_note_effect(batch->reply, &held, sizeof held);
    int rc = group_erase_key(batch, &key);
    return rc ? rc : group_erase_key(batch, &due);
}

int group_make_ready(struct kv_batch *batch, struct group *group, uint64_t sequence,
                     uint64_t deliveries)
{
    struct topic_key key = group_key2(GROUP_TAG_READY, group->record.id, sequence);
    group->record.ready++;
    return put_numbers(batch, &key, &deliveries, sizeof deliveries);
}

int group_held_find(struct kv_batch *batch, const struct group *group, uint64_t lease,
                    uint64_t sequence, struct group_held *ret)
{
    struct topic_key key = group_key3(GROUP_TAG_HELD, group->record.id, lease, sequence);
    struct slice stored = {0};
    int rc = tables_get(&batch->tx, TABLE_GROUPS, topic_key_slice(&key), &stored);
    return rc ? rc : topic_numbers_read(stored, ret, sizeof *ret);
}

/* --- Members ------------------------------------------------------------------------------------
 */

int group_member_find(struct kv_batch *batch, uint64_t group, uint64_t lease,
                      struct group_member *ret)
{
    struct topic_key key = group_key2(GROUP_TAG_MEMBER, group, lease);
    struct slice stored = {0};
    int rc = tables_get(&batch->tx, TABLE_GROUPS, topic_key_slice(&key), &stored);
    return rc ? rc : topic_numbers_read(stored, ret, sizeof *ret);
}

int group_member_write(struct kv_batch *batch, uint64_t group, uint64_t lease,
                       const struct group_member *member)
{
    struct topic_key key = group_key2(GROUP_TAG_MEMBER, group, lease);
    return put_numbers(batch, &key, &member->held, sizeof *member);
}

int group_member_load(struct kv_batch *batch, const struct group *group, uint64_t lease,
                      bool *ret_lives, bool *ret_known, struct group_member *ret_member)
{
    struct kv_lease found;
    *ret_member = (struct group_member){0};
    *ret_known = false;
    int rc = kv_lease_find(&batch->tx, lease, &found);
    *ret_lives = !rc && !(found.flags & KV_LEASE_OF_KEY);
    if (rc || !*ret_lives)
        return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
    rc = group_member_find(batch, group->record.id, lease, ret_member);
    *ret_known = rc == 0;
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

int group_lease_ended(struct kv_batch *batch, uint64_t id, uint64_t lease)
{
    struct group group;
    struct topic_key key = group_key2(GROUP_TAG_ENDED, id, lease);
    int rc = group_read(&batch->tx, id, &group);
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? 0 : rc; /* it was deleted before */
    group_note(batch, &group);
    rc = tables_put_bytes(&batch->tx, TABLE_GROUPS, topic_key_slice(&key), (struct slice){0});
    if (!rc)
        rc = group_due_at(batch, &group, batch->clock_ms);
    return rc ? rc : group_write(batch, &group);
}

/* --- Commands ----------------------------------------------------------------------------------
 */

void group_answer(struct kv_batch *batch, int code, uint64_t number)
{
    topic_answer(batch->reply, code, batch->state.revision, number);
}

enum { MISSING_TOPIC = 0, MISSING_GROUP = 1, MISSING_DEAD = 2 };

int group_load(struct kv_batch *batch, const struct group_command *command, struct group *ret)
{
    uint64_t missing = MISSING_TOPIC;
    int rc = topic_load(&batch->topics, command->topic);
    if (!rc) {
        missing = MISSING_GROUP;
        rc = group_find(&batch->tx, batch->topics.record.id, command->group, ret);
    }
    if (rc == CONCLAVE_NOT_FOUND)
        group_answer(batch, rc, missing);
    return rc;
}

static bool same_settings(const struct group *group, const struct group_settings *settings)
{
    const struct group_record *record = &group->record;
    return record->ack_ms == settings->ack_ms && record->held_max == settings->held_max &&
           record->pending_max == settings->pending_max &&
           record->deliveries_max == settings->deliveries_max &&
           tables_compare(group_dead_name(group), settings->dead) == 0;
}

/* rc. */
static int make(struct kv_batch *batch, const struct group_command *command)
{
    const struct topic_record *topic = &batch->topics.record;
    const struct group_settings *settings = &command->settings;
    struct group group = {.record = {.id = batch->state.revision + 1,
                                     .topic = topic->id,
                                     .ack_ms = settings->ack_ms,
                                     .deliveries_max = settings->deliveries_max,
                                     .held_max = settings->held_max,
                                     .pending_max = settings->pending_max,
                                     .topic_bytes = command->topic.bytes,
                                     .name_bytes = command->group.bytes,
                                     .dead_bytes = settings->dead.bytes}};
    uint64_t first = 0;
    int rc = topic_tail_flush(&batch->topics); /* for who begins at a time */
    if (!rc)
        rc = topic_first(&batch->tx, topic, batch->clock_ms, &first);
    if (!rc)
        rc = topic_start(&batch->tx, topic, batch->clock_ms, command->start, command->position,
                         first, &group.record.start);
    if (rc)
        return rc;
    /* A sequence that did not come yet: nothing before it is handed out. */
    group.record.next = group.record.start;
    memcpy(group.topic, command->topic.data, command->topic.bytes);
    memcpy(group.name, command->group.data, command->group.bytes);
    if (settings->dead.bytes)
        memcpy(group.dead, settings->dead.data, settings->dead.bytes);
    struct topic_key key = group_name_key(topic->id, command->group);
    rc = put_numbers(batch, &key, &group.record.id, sizeof group.record.id);
    if (!rc)
        rc = group_write(batch, &group);
    if (rc)
        return rc;
    batch->state.revision++;
    batch->state.bytes += GROUP_BYTES + group.record.name_bytes;
    group_answer(batch, CONCLAVE_OK, group.record.id);
    return 0;
}

static int create(struct kv_batch *batch, const struct group_command *command)
{
    struct group group;
    struct slice dead = command->settings.dead;
    uint64_t missing = MISSING_TOPIC;
    int rc = topic_load(&batch->topics, dead.bytes ? dead : command->topic);
    if (rc == CONCLAVE_NOT_FOUND && dead.bytes)
        missing = MISSING_DEAD;
    if (!rc && dead.bytes)
        rc = topic_load(&batch->topics, command->topic);
    if (rc == CONCLAVE_NOT_FOUND) {
        group_answer(batch, rc, missing);
        return 0;
    }
    if (!rc)
        rc = group_find(&batch->tx, batch->topics.record.id, command->group, &group);
    if (!rc) {
        bool same = same_settings(&group, &command->settings);
        group_answer(batch, same ? CONCLAVE_OK : CONCLAVE_EXISTS, group.record.id);
        return 0;
    }
    if (rc != CONCLAVE_NOT_FOUND)
        return rc;
    if (!kv_quota_takes(&batch->state, GROUP_BYTES + command->group.bytes)) {
        group_answer(batch, CONCLAVE_QUOTA, 0);
        return 0;
    }
    return make(batch, command);
}

static int delete (struct kv_batch *batch, const struct group_command *command)
{
    struct group group;
    int rc = topic_load(&batch->topics, command->topic);
    if (!rc)
        rc = group_find(&batch->tx, batch->topics.record.id, command->group, &group);
    if (rc == CONCLAVE_NOT_FOUND) {
        group_answer(batch, CONCLAVE_OK, 0);
        return 0;
    }
    if (!rc)
        rc = group_drop(batch, &group);
    if (rc)
        return rc;
    batch->state.revision++;
    group_answer(batch, CONCLAVE_OK, 1);
    return 0;
}

int group_command_apply(struct kv_batch *batch, const void *data, size_t bytes)
{
    struct group_command command;
    struct group group;
    int code = group_command_decode(data, bytes, &command);
    if (code) {
        if (batch->reply)
            reply_sink_take(batch->reply, code, NULL);
        return 0;
    }
    int rc = group_bury(batch);
    if (rc)
        return rc;
    if (command.opcode == GROUP_CREATE)
        return create(batch, &command);
    if (command.opcode == GROUP_DELETE)
        return delete (batch, &command);
    rc = group_load(batch, &command, &group);
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
    return command.opcode == GROUP_FETCH ? group_fetch(batch, &command, &group)
                                         : group_settle(batch, &command, &group);
}
