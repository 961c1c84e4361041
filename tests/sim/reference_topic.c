/* Topics, in the rules written down once more: what is published, in which order, what was there
 * before, and what is kept. */
#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <string.h>

enum {
    BLOCK_BYTES = 24,         /* what a block costs in bytes that count */
    MESSAGE_BYTES = 5,        /* and each of its messages, beside data and id */
    ORIGIN_BYTES = 2,         /* and an origin, beside itself */
    JOINED_BYTES = 2014,      /* a block may have, if several publishes share it */
    JOINED_SHARE = 16,        /* and no more than such a part of the topic's limit */
    JOINED_STEP = 2047,       /* of revisions, from one of its messages to the next */
    BLOCKS_TRIMMED = 16,      /* that go with a publish, at most, and two for one that it brings */
    ASKED_BLOCKS = 256,       /* that go with a trim that was asked for, at most */
    BATCH_MAX = SIM_BATCH_MAX /* messages */
};

void fold_message(struct reference_fold *fold, const struct reference_message *message)
{
    fold_number(fold, message->sequence);
    fold_number(fold, message->revision);
    fold_number(fold, message->id);
    fold_number(fold, message->value);
    fold_number(fold, message->origin);
}

void fold_topic(struct reference_fold *fold, uint64_t id, uint64_t first, uint64_t end)
{
    fold_number(fold, id);
    fold_number(fold, first);
    fold_number(fold, end);
}

static bool is_too_old(const struct reference *reference, const struct reference_topic *topic,
                       const struct reference_block *block)
{
    uint64_t age_ms = topic->settings.age_ms;
    return age_ms && block->time_ms + age_ms <= reference->clock_ms;
}

uint64_t reference_topic_first(const struct reference *reference,
                               const struct reference_topic *topic)
{
    for (uint32_t i = topic->head; i < topic->blocks.count; i++) {
        const struct reference_block *block = &topic->blocks.items[i];
        if (!is_too_old(reference, topic, block))
            return block->first > topic->first ? block->first : topic->first;
    }
    return topic->end;
}

uint64_t reference_topic_bytes(const struct reference *reference,
                               const struct reference_topic *topic)
{
    uint64_t bytes = topic->bytes;
    for (uint32_t i = topic->head; i < topic->blocks.count; i++)
        if (is_too_old(reference, topic, &topic->blocks.items[i]))
            bytes -= topic->blocks.items[i].bytes;
    return bytes;
}

/* All that is older was compared when it was new. */
void reference_topics_fold(struct reference_fold *fold, const struct reference *reference)
{
    for (uint32_t name = 0; name < SIM_TOPICS; name++) {
        const struct reference_topic *topic = reference_topic_at(reference, name, UINT64_MAX);
        if (!topic)
            continue;
        uint64_t first = reference_topic_first(reference, topic), end = topic->end;
        fold_topic(fold, topic->id, first, end);
        for (uint64_t at = end > first + SIM_TOPIC_TAIL ? end - SIM_TOPIC_TAIL : first; at < end;
             at++)
            fold_message(fold, &topic->messages.items[at - 1]);
        reference_groups_fold(fold, reference, topic);
    }
}

/* --- Which one -------------------------------------------------------------------------------- */

const struct reference_topic *reference_topic_of(const struct reference *reference, uint64_t id)
{
    for (uint32_t i = 0; i < reference->topics.count; i++)
        if (reference->topics.items[i].id == id)
            return &reference->topics.items[i];
    return NULL;
}

const struct reference_topic *reference_topic_at(const struct reference *reference, uint32_t name,
                                                 uint64_t revision)
{
    for (uint32_t i = reference->topics.count; i-- > 0;) {
        const struct reference_topic *topic = &reference->topics.items[i];
        if (topic->name == name && topic->id <= revision &&
            (topic->deleted == 0 || topic->deleted > revision))
            return topic;
    }
    return NULL;
}

struct reference_topic *reference_topic_find(struct reference *reference, struct slice name)
{
    uint32_t number = topic_decode(name);
    for (uint32_t i = reference->topics.count; i-- > 0;) {
        struct reference_topic *topic = &reference->topics.items[i];
        if (topic->name == number && topic->deleted == 0)
            return topic;
    }
    return NULL;
}

/* --- Publishing ------------------------------------------------------------------------------- */

/* The sequence of the last message with that id, if it is within the window; 0: none. Ids of dead
 * letters are not compared. */
static uint64_t duplicate_of(const struct reference *reference, const struct reference_topic *topic,
                             uint64_t id)
{
    for (uint32_t i = topic->messages.count; id > 0 && i-- > 0;) {
        const struct reference_message *message = &topic->messages.items[i];
        if (message->id != id || message->origin)
            continue;
        bool within = reference->clock_ms < message->time_ms + topic->settings.dedup_ms &&
                      message->sequence + topic->settings.dedup_count >= topic->end;
        return within ? message->sequence : 0;
    }
    return 0;
}

/* What goes by retention, the oldest first. */
static void trim(struct reference *reference, struct reference_topic *topic, int blocks)
{
    const struct topic_settings *settings = &topic->settings;
    if (settings->count_max && topic->end - topic->first > settings->count_max)
        topic->first = topic->end - settings->count_max;
    for (int i = 0; i < blocks && topic->head < topic->blocks.count; i++) {
        const struct reference_block *block = &topic->blocks.items[topic->head];
        bool too_many = settings->bytes_max && topic->bytes > settings->bytes_max &&
                        topic->head + 1 < topic->blocks.count;
        if (block->end > topic->first && !too_many && !is_too_old(reference, topic, block))
            return;
        topic->bytes -= block->bytes;
        if (topic->first < block->end)
            topic->first = block->end;
        topic->head++;
        reference->counts.trimmed++;
    }
}

static uint64_t id_of(const struct topic_message *message)
{
    return message->id.bytes ? message->id.data[0] : 0;
}

/* A batch, sorted out. */
struct sorted {
    struct topic_message fresh[BATCH_MAX];
    struct topic_duplicate duplicates[BATCH_MAX];
    uint32_t fresh_count, duplicate_count;
};

/* The first of those with one id is published, unless there was one before. */
static void sort_out(const struct reference *reference, const struct reference_topic *topic,
                     struct topic_messages messages, struct sorted *sorted)
{
    ASSERT(messages.count <= BATCH_MAX);
    *sorted = (struct sorted){0};
    for (uint32_t place = 0; place < messages.count; place++) {
        struct topic_message message = topic_messages_next(&messages);
        uint64_t id = topic->settings.dedup_ms ? id_of(&message) : 0;
        uint64_t sequence = duplicate_of(reference, topic, id);
        for (uint32_t i = 0; id > 0 && i < sorted->fresh_count; i++)
            if (id_of(&sorted->fresh[i]) == id)
                sequence = topic->end + i;
        if (sequence)
            sorted->duplicates[sorted->duplicate_count++] =
                (struct topic_duplicate){place, sequence};
        else
            sorted->fresh[sorted->fresh_count++] = message;
    }
}

/* The newest block, if what came is to share it; NULL: it gets one of its own. */
static struct reference_block *shared(const struct reference_topic *topic,
                                      const struct reference_block *with, uint64_t revision)
{
    const struct topic_settings *settings = &topic->settings;
    uint64_t most = JOINED_BYTES;
    if (settings->bytes_max && settings->bytes_max / JOINED_SHARE < most)
        most = settings->bytes_max / JOINED_SHARE;
    if (topic->head == topic->blocks.count)
        return NULL;
    struct reference_block *newest = &topic->blocks.items[topic->blocks.count - 1];
    uint64_t last = topic->messages.items[with->first - 2].revision;
    bool fits = newest->bytes + with->bytes - BLOCK_BYTES <= most;
    return fits && newest->time_ms == with->time_ms && revision - last <= JOINED_STEP ? newest
                                                                                      : NULL;
}

/* What is to come behind the newest message: nothing yet. */
static struct reference_block block_begin(const struct reference *reference,
                                          const struct reference_topic *topic)
{
    return (struct reference_block){.first = topic->end,
                                    .bytes = BLOCK_BYTES,
                                    .time_ms =
                                        reference->clock_ms + reference->limits.clock_lag_ms};
}

/* The message is given by what it is: id, value, bytes, origin. */
static void message_add(const struct reference *reference, struct reference_topic *topic,
                        struct reference_block *block, struct reference_message message,
                        uint64_t revision)
{
    block->bytes += MESSAGE_BYTES + (message.id ? 1u : 0u) + message.bytes;
    message.sequence = topic->end++;
    message.revision = revision;
    message.time_ms = block->time_ms;
    message.term = reference->at.term;
    LIST_RESERVE(&topic->messages);
    topic->messages.items[topic->messages.count++] = message;
}

static void block_end(struct reference *reference, struct reference_topic *topic,
                      struct reference_block block, uint64_t revision)
{
    block.end = topic->end;
    struct reference_block *newest = shared(topic, &block, revision);
    if (newest) {
        topic->bytes += block.bytes - BLOCK_BYTES;
        newest->bytes += block.bytes - BLOCK_BYTES;
        newest->end = block.end;
    } else {
        topic->bytes += block.bytes;
        LIST_RESERVE(&topic->blocks);
        topic->blocks.items[topic->blocks.count++] = block;
    }
    trim(reference, topic, newest ? BLOCKS_TRIMMED : BLOCKS_TRIMMED + 2);
}

static void append(struct reference *reference, struct reference_topic *topic,
                   const struct sorted *sorted, uint64_t revision)
{
    struct reference_block block = block_begin(reference, topic);
    for (uint32_t i = 0; i < sorted->fresh_count; i++) {
        const struct topic_message *message = &sorted->fresh[i];
        message_add(reference, topic, &block,
                    (struct reference_message){.id = id_of(message),
                                               .value = reference_value_hash(message->data),
                                               .number = value_decode(message->data),
                                               .bytes = message->data.bytes},
                    revision);
    }
    block_end(reference, topic, block, revision);
}

void reference_letter(struct reference *reference, struct reference_topic *topic,
                      const struct reference_message *message, struct slice origin)
{
    struct reference_block block = block_begin(reference, topic);
    uint64_t revision = ++reference->revision;
    struct reference_message letter = {.id = message->id,
                                       .value = message->value,
                                       .number = message->number,
                                       .bytes = message->bytes,
                                       .origin = reference_origin_hash(origin),
                                       .origin_bytes = (uint32_t)origin.bytes};
    ASSERT(origin.bytes <= sizeof letter.origin_raw);
    memcpy(letter.origin_raw, origin.data, origin.bytes);
    block.bytes += ORIGIN_BYTES + origin.bytes;
    message_add(reference, topic, &block, letter, revision);
    block_end(reference, topic, block, revision);
}

/* Messages and what a block of their own costs, if they do not share one. What is there twice in
 * one batch is not looked at. */
uint64_t reference_publish_growth(const struct reference *reference,
                                  const struct reference_topic *topic,
                                  struct topic_messages messages)
{
    struct reference_block block = block_begin(reference, topic);
    for (uint32_t left = messages.count; left > 0; left--) {
        struct topic_message message = topic_messages_next(&messages);
        uint64_t id = topic->settings.dedup_ms ? id_of(&message) : 0;
        if (!duplicate_of(reference, topic, id))
            block.bytes += MESSAGE_BYTES + message.id.bytes + message.data.bytes;
    }
    uint64_t own = block.bytes - BLOCK_BYTES;
    return own == 0 || shared(topic, &block, reference->revision + 1) ? own : block.bytes;
}

uint64_t reference_publish(struct reference *reference, struct reference_topic *topic,
                           struct topic_messages messages, uint64_t revision, struct pack *pack)
{
    struct sorted sorted;
    sort_out(reference, topic, messages, &sorted);
    reference->counts.duplicates += sorted.duplicate_count;
    for (uint32_t i = 0; i < sorted.duplicate_count; i++) {
        uint64_t sequence = sorted.duplicates[i].sequence;
        reference->counts.duplicates_later +=
            sequence < topic->end && topic->messages.items[sequence - 1].term < reference->at.term;
    }
    struct topic_published answer = {.revision =
                                         sorted.fresh_count ? revision : reference->revision,
                                     .first = topic->end,
                                     .count = sorted.fresh_count,
                                     .duplicate_count = sorted.duplicate_count};
    if (sorted.fresh_count)
        append(reference, topic, &sorted, revision);
    topic_published_pack(pack, &answer, sorted.duplicates);
    return sorted.fresh_count;
}

/* --- Commands --------------------------------------------------------------------------------- */

static struct reference_reply publish(struct reference *reference, struct reference_topic *topic,
                                      const struct topic_command *command)
{
    struct sorted sorted;
    struct pack pack;
    sort_out(reference, topic, command->messages, &sorted);
    if (command->expected && command->expect != topic->end - 1 && sorted.fresh_count)
        return reference_outcome(CONCLAVE_COMPARE_FAILED, reference->revision, topic->end - 1);
    if (!reference_takes(reference, reference_publish_growth(reference, topic, command->messages)))
        return reference_outcome(CONCLAVE_QUOTA, reference->revision, 0);
    pack_init(&pack, 0);
    uint64_t revision = reference->revision + 1;
    if (reference_publish(reference, topic, command->messages, revision, &pack))
        reference->revision = revision;
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static struct reference_reply create(struct reference *reference,
                                     const struct topic_command *command)
{
    const struct reference_topic *topic = reference_topic_find(reference, command->name);
    if (topic) {
        const struct topic_settings *a = &topic->settings, *b = &command->settings;
        bool same = a->count_max == b->count_max && a->bytes_max == b->bytes_max &&
                    a->age_ms == b->age_ms && a->dedup_ms == b->dedup_ms &&
                    a->dedup_count == b->dedup_count;
        return reference_outcome(same ? CONCLAVE_OK : CONCLAVE_EXISTS, reference->revision,
                                 topic->id);
    }
    if (!reference_takes(reference, REFERENCE_TOPIC_BYTES))
        return reference_outcome(CONCLAVE_QUOTA, reference->revision, 0);
    LIST_RESERVE(&reference->topics);
    reference->topics.items[reference->topics.count++] =
        (struct reference_topic){.name = topic_decode(command->name),
                                 .id = ++reference->revision,
                                 .settings = command->settings,
                                 .first = 1,
                                 .end = 1};
    return reference_outcome(CONCLAVE_OK, reference->revision, reference->revision);
}

/* What is asked for goes; so does what retention would have had go with the next publish. */
static struct reference_reply trim_to(struct reference *reference, struct reference_topic *topic,
                                      uint64_t sequence)
{
    uint64_t wanted = sequence < topic->end ? sequence : topic->end;
    if (wanted > reference_topic_first(reference, topic)) {
        topic->first = wanted;
        trim(reference, topic, ASKED_BLOCKS);
        reference->revision++;
    }
    return reference_outcome(CONCLAVE_OK, reference->revision,
                             reference_topic_first(reference, topic));
}

struct reference_reply reference_topic_apply(struct reference *reference, struct slice bytes)
{
    struct topic_command command;
    ASSERT(topic_command_decode(bytes.data, bytes.bytes, &command) == CONCLAVE_OK);
    struct reference_topic *topic = reference_topic_find(reference, command.name);
    switch (command.opcode) {
    case TOPIC_CREATE:
        return create(reference, &command);
    case TOPIC_DELETE:
        if (topic) {
            topic->deleted = ++reference->revision;
            reference_groups_end(reference, topic->id);
        }
        return reference_outcome(CONCLAVE_OK, reference->revision, topic != NULL);
    default:
        if (!topic)
            return reference_outcome(CONCLAVE_NOT_FOUND, reference->revision, 0);
        return command.opcode == TOPIC_TRIM ? trim_to(reference, topic, command.sequence)
                                            : publish(reference, topic, &command);
    }
}
