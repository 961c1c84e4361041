/* client/topic_message.h - a message as it was read, handed to whoever uses the library. Any
 * thread. */
#ifndef CLIENT_TOPIC_MESSAGE_H
#define CLIENT_TOPIC_MESSAGE_H

#include "codec/topic.h"

/* The bytes stay those of the item. MALFORMED: its origin cannot be read. */
CONCLAVE_MUST_USE static inline int topic_message_of(const struct topic_item *item,
                                                     struct conclave_topic_message *ret)
{
    const struct topic_message *read = &item->message;
    struct topic_origin origin = {0};
    if (read->origin.bytes && topic_origin_decode(read->origin, &origin))
        return CONCLAVE_MALFORMED;
    *ret = (struct conclave_topic_message){
        .sequence = item->sequence,
        .revision = item->revision,
        .time_ms = item->time_ms,
        .data = read->data.data,
        .bytes = read->data.bytes,
        .id = read->id.bytes ? read->id.data : NULL,
        .id_bytes = read->id.bytes,
        .origin = {.topic = origin.topic.data,
                   .group = origin.group.data,
                   .topic_bytes = origin.topic.bytes,
                   .group_bytes = origin.group.bytes,
                   .sequence = origin.sequence,
                   .deliveries = origin.deliveries},
    };
    return CONCLAVE_OK;
}

#endif
