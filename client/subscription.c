/* Subscriptions to topics (conclave_topic.h), over client/stream.h. */
#include "base/fatal.h"
#include "client/stream.h"
#include "client/topic_message.h"
#include "codec/topic.h"

#include <stdlib.h>

struct conclave_subscription {
    struct client_stream *stream;
    uint64_t next; /* the sequence that comes next; 0: not known yet */
};

void conclave_subscription_options_init(struct conclave_subscription_options *options)
{
    *options = (struct conclave_subscription_options){.size = sizeof *options};
}

int conclave_subscription_create(const struct conclave_subscription_options *options,
                                 struct conclave_subscription **ret_subscription,
                                 struct conclave_error *error)
{
    if (!options || options->size != sizeof *options || (!options->endpoints && !options->client) ||
        options->topic_bytes == 0)
        return error_set(error, CONCLAVE_INVALID,
                         "subscription options: use conclave_subscription_options_init, set "
                         "client or endpoints, and topic");
    if (options->topic_bytes > CONCLAVE_TOPIC_BYTES_MAX)
        return error_set(error, CONCLAVE_TOO_LARGE, "a topic's name has at most %d bytes",
                         CONCLAVE_TOPIC_BYTES_MAX);
    struct pack spec;
    struct client_stream *stream = NULL;
    pack_init(&spec, 0);
    topic_spec_pack(&spec, &(struct topic_spec){.name = {options->topic, options->topic_bytes},
                                                .id = options->id});
    int code =
        client_stream_create(&(struct client_stream_options){.client = options->client,
                                                             .user = options->user,
                                                             .endpoints = options->endpoints,
                                                             .context = options->zmq_context,
                                                             .kind = STREAM_TOPIC,
                                                             .position = options->sequence,
                                                             .spec = {spec.buf->data, spec.bytes},
                                                             .window_bytes = options->window_bytes},
                             &stream, error);
    pack_deinit(&spec);
    if (code)
        return code;
    struct conclave_subscription *subscription = mem_zalloc(sizeof *subscription);
    subscription->stream = stream;
    subscription->next = options->sequence;
    *ret_subscription = subscription;
    return CONCLAVE_OK;
}

void conclave_subscription_destroy(struct conclave_subscription *subscription)
{
    if (!subscription)
        return;
    client_stream_destroy(subscription->stream);
    free(subscription);
}

static int take_message(struct conclave_subscription *subscription, struct slice value,
                        struct conclave_subscription_event *ret)
{
    struct topic_item item;
    struct conclave_topic_message message;
    struct cursor cursor;
    cursor_init(&cursor, value.data, value.bytes);
    /* Each message follows the one before: else nobody could tell what was lost. */
    if (topic_item_read(&cursor, &item) || topic_message_of(&item, &message) ||
        (subscription->next && item.sequence != subscription->next))
        return CONCLAVE_MALFORMED;
    subscription->next = item.sequence + 1;
    *ret = (struct conclave_subscription_event){.kind = CONCLAVE_SUBSCRIPTION_MESSAGE,
                                                .message = message};
    return CONCLAVE_OK;
}

int conclave_subscription_next(struct conclave_subscription *subscription, uint32_t timeout_ms,
                               struct conclave_subscription_event *ret_event)
{
    struct client_stream_piece piece;
    for (;;) {
        int code = client_stream_next(subscription->stream, timeout_ms, &piece);
        if (code)
            return code;
        if (piece.what == CLIENT_STREAM_EVENT)
            return take_message(subscription, piece.value, ret_event);
        uint64_t oldest = piece.frame.oldest;
        if (piece.what == CLIENT_STREAM_RESYNC && oldest > subscription->next) {
            *ret_event = (struct conclave_subscription_event){.kind = CONCLAVE_SUBSCRIPTION_DROPPED,
                                                              .dropped_first = subscription->next,
                                                              .dropped_last = oldest - 1};
            subscription->next = oldest;
            return CONCLAVE_OK;
        }
    }
}

int conclave_subscription_fd(const struct conclave_subscription *subscription)
{
    return client_stream_fd(subscription->stream);
}

const char *conclave_subscription_describe(struct conclave_subscription *subscription)
{
    return client_stream_describe(subscription->stream);
}
