/* Work groups, in the rules written down once more: who has which message, until when, and what
 * becomes of it. What a step of the real ones is bounded by is more than groups here ever have. */
#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <string.h>

enum { MISSING_TOPIC = 0, MISSING_GROUP = 1, MISSING_DEAD = 2 };

/* --- Which one -------------------------------------------------------------------------------- */

const struct reference_group *reference_group_at(const struct reference *reference, uint32_t topic,
                                                 uint32_t name, uint64_t index)
{
    for (uint32_t i = reference->groups.count; i-- > 0;) {
        const struct reference_group *group = &reference->groups.items[i];
        if (group->topic_name == topic && group->name == name && group->created <= index &&
            (group->deleted == 0 || group->deleted > index))
            return group;
    }
    return NULL;
}

const struct reference_group *reference_group_of(const struct reference *reference, uint64_t id)
{
    for (uint32_t i = reference->groups.count; i-- > 0;)
        if (reference->groups.items[i].id == id)
            return &reference->groups.items[i];
    return NULL;
}

uint64_t reference_group_wake(const struct reference *reference,
                              const struct reference_group *group)
{
    return reference_topic_of(reference, group->topic)->end + group->returned;
}

/* That is there; NULL: there is none. */
static struct reference_group *group_of(struct reference *reference, uint64_t topic, uint32_t name)
{
    for (uint32_t i = reference->groups.count; i-- > 0;) {
        struct reference_group *group = &reference->groups.items[i];
        if (group->topic == topic && group->name == name && !group->deleted)
            return group;
    }
    return NULL;
}

static void group_end(const struct reference *reference, struct reference_group *group)
{
    group->deleted = reference->at.index;
    group->due_ms = 0;
}

void reference_groups_end(struct reference *reference, uint64_t topic)
{
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        struct reference_group *group = &reference->groups.items[i];
        if (group->topic == topic && !group->deleted) {
            group_end(reference, group);
            group->unburied = true;
        }
    }
}

/* --- What it holds ---------------------------------------------------------------------------- */

uint64_t reference_group_held(const struct reference_group *group, uint64_t lease)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < group->handed.count; i++)
        count += group->handed.items[i].lease == lease;
    return count;
}

struct group_info reference_group_info(const struct reference *reference,
                                       const struct reference_group *group)
{
    const struct reference_topic *topic = reference_topic_of(reference, group->topic);
    struct group_info info = {.name = group_encode(group->name),
                              .id = group->id,
                              .start = group->start,
                              .next = group->next,
                              .end = topic->end,
                              .acked = group->acked,
                              .dead_letters = group->dead_letters,
                              .lost = group->lost,
                              .redelivered = group->redelivered,
                              .members = group->members.count,
                              .ack_ms = group->ack_ms,
                              .held_max = group->held_max,
                              .pending_max = group->pending_max,
                              .deliveries_max = group->deliveries_max};
    if (group->dead < SIM_TOPICS)
        info.dead = topic_encode(group->dead);
    for (uint32_t i = 0; i < group->handed.count; i++) {
        const struct reference_handed *handed = &group->handed.items[i];
        info.held += handed->lease > 0;
        info.delayed += handed->lease == 0 && !handed->ready;
        info.ready += handed->ready;
    }
    return info;
}

void fold_group(struct reference_fold *fold, const struct group_info *info)
{
    const uint64_t numbers[] = {reference_value_hash(info->name),
                                reference_value_hash(info->dead),
                                info->id,
                                info->start,
                                info->next,
                                info->end,
                                info->held,
                                info->delayed,
                                info->ready,
                                info->acked,
                                info->dead_letters,
                                info->lost,
                                info->redelivered,
                                info->members,
                                info->ack_ms,
                                info->held_max,
                                info->pending_max,
                                info->deliveries_max};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        fold_number(fold, numbers[i]);
}

uint64_t fold_pending(const struct conclave_group_pending *pending)
{
    return hash_mix(hash_mix(hash_mix(pending->lease, pending->sequence), pending->deliveries),
                    pending->left_ms);
}

static void group_fold(struct reference_fold *fold, const struct reference *reference,
                       const struct reference_group *group)
{
    const struct group_info info = reference_group_info(reference, group);
    uint64_t sum = 0, now_ms = reference->clock_ms;
    for (uint32_t i = 0; i < group->handed.count; i++) {
        const struct reference_handed *handed = &group->handed.items[i];
        uint64_t left_ms = handed->deadline_ms > now_ms ? handed->deadline_ms - now_ms : 0;
        if (!handed->ready)
            sum += fold_pending(&(struct conclave_group_pending){.lease = handed->lease,
                                                                 .sequence = handed->sequence,
                                                                 .deliveries = handed->deliveries,
                                                                 .left_ms = left_ms});
    }
    fold_group(fold, &info);
    fold_number(fold, sum);
}

void reference_groups_fold(struct reference_fold *fold, const struct reference *reference,
                           const struct reference_topic *topic)
{
    for (uint32_t name = 0; name < SIM_GROUPS; name++) {
        const struct reference_group *group =
            reference_group_at(reference, topic->name, name, UINT64_MAX);
        if (group)
            group_fold(fold, reference, group);
    }
}

bool reference_groups_balance(const struct reference *reference)
{
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        const struct reference_group *group = &reference->groups.items[i];
        uint64_t done = group->acked + group->dead_letters + group->lost;
        if (group->next - group->start != done + group->handed.count)
            return false;
    }
    return true;
}

/* --- Single messages -------------------------------------------------------------------------- */

/* When what begins now ends, at the earliest: so much time may have passed, and not be written. */
uint64_t reference_group_end_of(const struct reference *reference, uint64_t ms)
{
    return reference->clock_ms + reference->limits.clock_lag_ms + ms;
}

/* 0 says that there is no time; at the beginning of time it is the one behind. */
void reference_group_due_at(struct reference_group *group, uint64_t ms)
{
    ms += ms == 0;
    if (!group->due_ms || ms < group->due_ms)
        group->due_ms = ms;
}

void reference_handed_remove(struct reference_group *group, uint32_t at)
{
    struct reference_handed *items = group->handed.items;
    group->handed.count--;
    memmove(items + at, items + at + 1, (group->handed.count - at) * sizeof *items);
}

bool reference_is_exhausted(const struct reference_group *group, uint64_t deliveries)
{
    return group->deliveries_max && deliveries >= group->deliveries_max;
}

/* Nobody's any more: ready, or a dead letter, or gone from the topic. True: it is still there. */
static bool come_back(struct reference *reference, struct reference_group *group, uint32_t at,
                      bool *returned)
{
    struct reference_handed *handed = &group->handed.items[at];
    const struct reference_topic *topic = reference_topic_of(reference, group->topic);
    handed->lease = handed->deadline_ms = 0;
    handed->ready = true;
    struct reference_topic *dead = NULL;
    if (reference_is_exhausted(group, handed->deliveries)) {
        if (handed->sequence < reference_topic_first(reference, topic)) {
            group->lost++;
            reference->counts.dropped++;
            reference_handed_remove(group, at);
            return false;
        }
        dead = reference_topic_find(reference, topic_encode(group->dead));
        reference->counts.letters_homeless += !dead;
    }
    if (!dead) {
        *returned = true;
        return true;
    }
    struct pack origin;
    pack_init(&origin, 0);
    topic_origin_pack(&origin, &(struct topic_origin){.topic = topic_encode(group->topic_name),
                                                      .group = group_encode(group->name),
                                                      .sequence = handed->sequence,
                                                      .deliveries = handed->deliveries});
    reference_letter(reference, dead, &topic->messages.items[handed->sequence - 1],
                     (struct slice){origin.buf->data, origin.bytes});
    pack_deinit(&origin);
    group->dead_letters++;
    reference->counts.letters++;
    reference_handed_remove(group, at);
    return false;
}

/* --- Cluster time ----------------------------------------------------------------------------- */

void reference_members_end(struct reference *reference, uint64_t lease)
{
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        struct reference_group *group = &reference->groups.items[i];
        for (uint32_t k = 0; k < group->members.count && !group->deleted; k++) {
            if (group->members.items[k].lease != lease)
                continue;
            group->members.items[k].ended = true;
            reference_group_due_at(group, reference->clock_ms);
            reference->counts.members_ended += reference_group_held(group, lease) > 0;
        }
    }
}

struct reference_group *reference_group_due(struct reference *reference)
{
    struct reference_group *first = NULL;
    for (uint32_t i = 0; i < reference->groups.count; i++) {
        struct reference_group *group = &reference->groups.items[i];
        if (group->due_ms && group->due_ms <= reference->clock_ms &&
            (!first || group->due_ms < first->due_ms))
            first = group;
    }
    return first;
}

/* Those whose lease has ended, by rising lease, and what they have. */
static void empty_members(struct reference *reference, struct reference_group *group,
                          bool *returned)
{
    for (;;) {
        uint32_t which = group->members.count;
        for (uint32_t i = 0; i < group->members.count; i++) {
            const struct reference_member *member = &group->members.items[i];
            if (member->ended && (which == group->members.count ||
                                  member->lease < group->members.items[which].lease))
                which = i;
        }
        if (which == group->members.count)
            return;
        uint64_t lease = group->members.items[which].lease;
        for (uint32_t i = 0; i < group->handed.count;) {
            bool stays =
                group->handed.items[i].lease != lease || come_back(reference, group, i, returned);
            i += stays;
        }
        group->members.items[which] = group->members.items[--group->members.count];
    }
}

/* The first by time, then by sequence; handed.count: none. */
static uint32_t first_due(const struct reference_group *group)
{
    uint32_t first = group->handed.count;
    for (uint32_t i = 0; i < group->handed.count; i++) {
        const struct reference_handed *handed = &group->handed.items[i];
        if (!handed->ready && (first == group->handed.count ||
                               handed->deadline_ms < group->handed.items[first].deadline_ms))
            first = i;
    }
    return first;
}

void reference_group_expire(struct reference *reference, struct reference_group *group)
{
    bool returned = false;
    group->due_ms = 0;
    empty_members(reference, group, &returned);
    uint32_t at;
    while ((at = first_due(group)) < group->handed.count) {
        uint64_t deadline_ms = group->handed.items[at].deadline_ms;
        if (deadline_ms > reference->clock_ms) {
            reference_group_due_at(group, deadline_ms);
            break;
        }
        (void)come_back(reference, group, at, &returned);
    }
    group->returned += returned;
}

/* --- Groups ----------------------------------------------------------------------------------- */

/* The first message of this time or later that the topic keeps. */
static uint64_t start_of(const struct reference *reference, const struct reference_topic *topic,
                         const struct group_command *command)
{
    uint64_t first = reference_topic_first(reference, topic), at = first;
    switch (command->start) {
    case CONCLAVE_FROM_SEQUENCE:
        return command->position > first ? command->position : first;
    case CONCLAVE_FROM_LAST:
        return topic->end - first > command->position ? topic->end - command->position : first;
    case CONCLAVE_FROM_TIME:
        while (at < topic->end && topic->messages.items[at - 1].time_ms < command->position)
            at++;
        return at;
    case CONCLAVE_FROM_NEW:
        return topic->end;
    default:
        ASSERT(command->start == CONCLAVE_FROM_FIRST);
        return first;
    }
}

static bool is_same(const struct reference_group *group, const struct group_settings *settings)
{
    uint32_t dead = settings->dead.bytes ? topic_decode(settings->dead) : SIM_TOPICS;
    return group->ack_ms == settings->ack_ms && group->held_max == settings->held_max &&
           group->pending_max == settings->pending_max &&
           group->deliveries_max == settings->deliveries_max && group->dead == dead;
}

static struct reference_reply create(struct reference *reference,
                                     const struct group_command *command)
{
    const struct group_settings *settings = &command->settings;
    uint32_t dead = settings->dead.bytes ? topic_decode(settings->dead) : SIM_TOPICS;
    if (settings->dead.bytes && !reference_topic_find(reference, settings->dead))
        return reference_outcome(CONCLAVE_NOT_FOUND, reference->revision, MISSING_DEAD);
    const struct reference_topic *topic = reference_topic_find(reference, command->topic);
    if (!topic)
        return reference_outcome(CONCLAVE_NOT_FOUND, reference->revision, MISSING_TOPIC);
    const struct reference_group *group =
        group_of(reference, topic->id, group_decode(command->group));
    if (group)
        return reference_outcome(is_same(group, settings) ? CONCLAVE_OK : CONCLAVE_EXISTS,
                                 reference->revision, group->id);
    if (!reference_takes(reference, REFERENCE_GROUP_BYTES))
        return reference_outcome(CONCLAVE_QUOTA, reference->revision, 0);
    uint64_t start = start_of(reference, topic, command);
    LIST_RESERVE(&reference->groups);
    reference->groups.items[reference->groups.count++] =
        (struct reference_group){.name = group_decode(command->group),
                                 .topic_name = topic->name,
                                 .dead = dead,
                                 .id = ++reference->revision,
                                 .topic = topic->id,
                                 .created = reference->at.index,
                                 .ack_ms = settings->ack_ms,
                                 .deliveries_max = settings->deliveries_max,
                                 .held_max = settings->held_max,
                                 .pending_max = settings->pending_max,
                                 .start = start,
                                 .next = start};
    return reference_outcome(CONCLAVE_OK, reference->revision, reference->revision);
}

static struct reference_reply group_delete(struct reference *reference,
                                           const struct group_command *command)
{
    const struct reference_topic *topic = reference_topic_find(reference, command->topic);
    struct reference_group *group =
        topic ? group_of(reference, topic->id, group_decode(command->group)) : NULL;
    if (group) {
        group_end(reference, group);
        reference->revision++;
    }
    return reference_outcome(CONCLAVE_OK, reference->revision, group != NULL);
}

struct reference_reply reference_group_apply(struct reference *reference, struct slice bytes)
{
    struct group_command command;
    ASSERT(group_command_decode(bytes.data, bytes.bytes, &command) == CONCLAVE_OK);
    for (uint32_t i = 0; i < reference->groups.count; i++)
        reference->groups.items[i].unburied = false;
    if (command.opcode == GROUP_CREATE)
        return create(reference, &command);
    if (command.opcode == GROUP_DELETE)
        return group_delete(reference, &command);
    const struct reference_topic *topic = reference_topic_find(reference, command.topic);
    struct reference_group *group =
        topic ? group_of(reference, topic->id, group_decode(command.group)) : NULL;
    if (!group)
        return reference_outcome(CONCLAVE_NOT_FOUND, reference->revision,
                                 topic ? MISSING_GROUP : MISSING_TOPIC);
    if (!reference_lease_fits(reference, command.lease))
        return reference_outcome(CONCLAVE_LEASE_EXPIRED, reference->revision, command.lease);
    return command.opcode == GROUP_FETCH ? reference_fetch(reference, group, &command)
                                         : reference_settle(reference, group, &command);
}
