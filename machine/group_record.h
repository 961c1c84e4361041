/* machine/group_record.h - what the table of work groups keeps. Numbers in keys are 8 bytes
 * big-endian, in values little-endian. Any thread.
 *
 *     'n' topic, name                 group: its id
 *     'g' group                       struct group_record, then the names of topic, group, and
 *                                     the topic for dead letters
 *     'p' group lease sequence        struct group_held: that member has it; lease 0: nobody, it
 *                                     was given back for later
 *     'd' group deadline sequence     struct group_due: the same, by when it ends
 *     'r' group sequence              deliveries: to be handed out again
 *     'm' group lease                 struct group_member
 *     'e' group lease                 empty: the member's lease ended, what it has goes
 *     'x' group                       empty: deleted, and its rest is still to be erased
 *     't' topic                       empty: deleted, and its groups are still to be
 *
 * `topic` is the id of a topic, `group` of a group: the revision that created it. A sequence from
 * the group's next on was never handed out; one before is under 'p' and 'd', or under 'r', or done:
 * acknowledged, a dead letter, or lost, which are counted. */
#ifndef MACHINE_GROUP_RECORD_H
#define MACHINE_GROUP_RECORD_H

#include "codec/group.h"
#include "machine/topic_record.h"

enum {
    GROUP_TAG_NAME = 'n',
    GROUP_TAG_GROUP = 'g',
    GROUP_TAG_HELD = 'p',
    GROUP_TAG_DUE = 'd',
    GROUP_TAG_READY = 'r',
    GROUP_TAG_MEMBER = 'm',
    GROUP_TAG_ENDED = 'e',
    GROUP_TAG_DEAD = 'x',
    GROUP_TAG_TOPIC = 't',

    GROUP_ATTACHED = 16, /* in the place of a space: a lease has a member in this group */
    GROUP_BYTES = 384    /* what quotas count for a group, beside its names */
};

/* All of these are rows of uint64_t. */
struct group_record {
    uint64_t id, topic;
    uint64_t ack_ms, deliveries_max, held_max, pending_max;
    uint64_t start, next;
    uint64_t held, delayed, ready, acked, dead_letters, lost, redelivered, members;
    uint64_t returned;    /* how often something that had been handed out could be fetched again */
    uint64_t deadline_ms; /* the group's, in the table of deadlines; 0: none */
    uint64_t topic_bytes, name_bytes, dead_bytes;
};

/* With the names, which are behind the numbers in the table. */
struct group {
    struct group_record record;
    uint8_t topic[CONCLAVE_TOPIC_BYTES_MAX], name[CONCLAVE_GROUP_BYTES_MAX];
    uint8_t dead[CONCLAVE_TOPIC_BYTES_MAX];
};

struct group_held {
    uint64_t deliveries, deadline_ms;
};

struct group_due {
    uint64_t lease, deliveries;
};

struct group_member {
    uint64_t held;
};

static inline struct slice group_topic_name(const struct group *group)
{
    return (struct slice){group->topic, group->record.topic_bytes};
}
static inline struct slice group_name(const struct group *group)
{
    return (struct slice){group->name, group->record.name_bytes};
}
static inline struct slice group_dead_name(const struct group *group)
{
    return (struct slice){group->dead, group->record.dead_bytes};
}

/* What was handed out and is not done. */
static inline uint64_t group_pending(const struct group_record *record)
{
    return record->held + record->delayed + record->ready;
}

/* Rises whenever there may be something new to fetch: the topic has no more than `end`. */
static inline uint64_t group_wake(const struct group_record *record, uint64_t topic_end)
{
    return topic_end + record->returned;
}

/* The tag and up to three numbers. */
static inline struct topic_key group_key(uint8_t tag, uint64_t group)
{
    struct topic_key key = topic_key_tagged(tag);
    topic_key_add_number(&key, group);
    return key;
}
static inline struct topic_key group_key2(uint8_t tag, uint64_t group, uint64_t second)
{
    struct topic_key key = group_key(tag, group);
    topic_key_add_number(&key, second);
    return key;
}
static inline struct topic_key group_key3(uint8_t tag, uint64_t group, uint64_t second,
                                          uint64_t third)
{
    struct topic_key key = group_key2(tag, group, second);
    topic_key_add_number(&key, third);
    return key;
}

/* Whether the key is of this tag and group and has so many numbers behind that; they are the key's
 * from 9 on, 8 bytes each. */
static inline bool group_key_is(struct slice key, uint8_t tag, uint64_t group, size_t numbers)
{
    return key.bytes == 9 + 8 * numbers && key.data[0] == tag &&
           topic_number_at(key.data + 1) == group;
}

#endif
