/* The topic, in the rules written down once more: what is published, in which order, and what was
 * there before. */
#include "tests/sim/reference.h"

#include "base/fatal.h"
#include "base/list.h"
#include "codec/topic.h"
#include "tests/sim/ops.h"

#include <string.h>

void fold_message(struct reference_fold *fold, const struct reference_message *message)
{
    fold_number(fold, message->sequence);
    fold_number(fold, message->revision);
    fold_number(fold, message->id);
    fold_number(fold, message->value);
}

/* All that is older was compared when it was new. */
void reference_topic_fold(struct reference_fold *fold, const struct reference *reference)
{
    uint32_t count = reference->messages.count;
    fold_number(fold, reference->topic);
    fold_number(fold, count);
    for (uint32_t i = count > SIM_TOPIC_TAIL ? count - SIM_TOPIC_TAIL : 0; i < count; i++)
        fold_message(fold, &reference->messages.items[i]);
}

/* The sequence of the last message with that id, if it is not too far back; 0: none. */
static uint64_t duplicate_of(const struct reference *reference, uint64_t id)
{
    uint64_t end = reference->messages.count + 1;
    for (uint32_t i = reference->messages.count; id > 0 && i-- > 0;) {
        const struct reference_message *message = &reference->messages.items[i];
        if (message->id == id)
            return message->sequence + SIM_TOPIC_WINDOW >= end ? message->sequence : 0;
    }
    return 0;
}

static struct reference_reply published(const struct reference *reference, uint64_t duplicate)
{
    struct reference_reply reply = {.code = CONCLAVE_OK};
    struct topic_published answer = {.revision = reference->revision,
                                     .first = reference->messages.count + (duplicate > 0),
                                     .count = duplicate == 0,
                                     .duplicate_count = duplicate > 0};
    struct pack pack;
    pack_init(&pack, 0);
    topic_published_pack(&pack, &answer, &(struct topic_duplicate){.sequence = duplicate});
    ASSERT(pack.bytes <= sizeof reply.body);
    memcpy(reply.body, pack.buf->data, pack.bytes);
    reply.bytes = (uint32_t)pack.bytes;
    pack_deinit(&pack);
    return reply;
}

static struct reference_reply publish(struct reference *reference, struct topic_command *command)
{
    struct topic_message message = topic_messages_next(&command->messages);
    uint64_t id = message.id.bytes ? message.id.data[0] : 0;
    uint64_t last = reference->messages.count, duplicate = duplicate_of(reference, id);
    ASSERT(command->messages.count == 1);
    if (command->expected && command->expect != last && duplicate == 0)
        return reference_outcome(CONCLAVE_COMPARE_FAILED, reference->revision, last);
    if (duplicate == 0) {
        LIST_RESERVE(&reference->messages);
        reference->messages.items[reference->messages.count++] =
            (struct reference_message){.sequence = last + 1,
                                       .revision = ++reference->revision,
                                       .id = id,
                                       .value = reference_value_hash(message.data)};
    }
    return published(reference, duplicate);
}

struct reference_reply reference_topic_apply(struct reference *reference, struct slice bytes)
{
    struct topic_command command;
    ASSERT(topic_command_decode(bytes.data, bytes.bytes, &command) == CONCLAVE_OK);
    if (command.opcode == TOPIC_CREATE) {
        if (reference->topic == 0)
            reference->topic = ++reference->revision;
        return reference_outcome(CONCLAVE_OK, reference->revision, reference->topic);
    }
    if (reference->topic == 0)
        return reference_outcome(CONCLAVE_NOT_FOUND, reference->revision, 0);
    return publish(reference, &command);
}
