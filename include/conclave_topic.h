/* conclave_topic.h - the topic functions of libconclave's client.
 *
 * A topic is a durable, totally ordered list of messages. Each message has a sequence, 1 for the
 * first one of its topic and one more for each next, without gaps; and the revision of the command
 * that published it (conclave_kv.h): revisions order the messages of all topics, and the changes of
 * keys, among one another. A publish that is answered is on the disks of a majority.
 *
 * A topic keeps what its settings say and drops the oldest messages behind that. Times are the
 * cluster's clock: milliseconds that leaders measured, which never run ahead of real time and stand
 * while nobody leads; nothing is dropped early by a clock that jumped.
 *
 * Functions follow the conventions of conclave_kv.h: the same codes, the same thread, timeout_ms 0
 * is the client's default. Names of topics are 1 to CONCLAVE_TOPIC_BYTES_MAX bytes, any bytes. */
#ifndef CONCLAVE_TOPIC_H
#define CONCLAVE_TOPIC_H

#include "conclave.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONCLAVE_TOPIC_BYTES_MAX = 255,
    CONCLAVE_MESSAGE_ID_BYTES_MAX = 128,
    CONCLAVE_PUBLISH_MAX = 16384 /* messages in one publish; in all 1 MiB, as every command */
};

/* --- Topics ----------------------------------------------------------------------------------- */

/* What a topic keeps. The newest message is kept by all limits but that of age. */
struct conclave_topic_settings {
    uint64_t count_max; /* messages; 0: no limit */
    uint64_t bytes_max; /* of messages as they are stored; 0: no limit */
    uint64_t age_ms;    /* 0: no limit */
    /* A message whose id was published before, less than so long ago and among the last so many
     * messages, is not published again. dedup_ms 0: ids are not compared. dedup_count 0: 65,536,
     * which may be up to 1,048,576. */
    uint64_t dedup_ms, dedup_count;
};

/* Creates a topic; one that is there with the same settings is CONCLAVE_OK too. *ret_id, which may
 * be NULL, is the revision that created it. Errors: INVALID (empty name), TOO_LARGE, EXISTS (with
 * other settings). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_create(struct conclave_client *client, const void *name, size_t name_bytes,
                      const struct conclave_topic_settings *settings, uint32_t timeout_ms,
                      uint64_t *ret_id);

/* Deletes a topic with all messages. A missing one is CONCLAVE_OK with *ret_deleted false, which
 * may be NULL. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_topic_delete(struct conclave_client *client,
                                                         const void *name, size_t name_bytes,
                                                         uint32_t timeout_ms, bool *ret_deleted);

/* Drops the messages before `sequence`, at most all; who reads them afterwards is told that they
 * are gone. *ret_first, which may be NULL, is the first one that is kept now, or the sequence that
 * the next one gets. Errors: NOT_FOUND, INVALID, TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_topic_trim(struct conclave_client *client,
                                                       const void *name, size_t name_bytes,
                                                       uint64_t sequence, uint32_t timeout_ms,
                                                       uint64_t *ret_first);

struct conclave_topic_info {
    uint8_t name[CONCLAVE_TOPIC_BYTES_MAX];
    size_t name_bytes;
    uint64_t id;    /* the revision that created it */
    uint64_t first; /* the oldest message that it has; equal to `end`: it has none */
    uint64_t end;   /* the sequence that the next message gets */
    uint64_t bytes; /* as stored */
    uint64_t clock_ms;
    struct conclave_topic_settings settings;
};

/* Errors: NOT_FOUND, INVALID, TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_topic_info(struct conclave_client *client,
                                                       const void *name, size_t name_bytes,
                                                       uint32_t timeout_ms,
                                                       struct conclave_topic_info *ret_info);

/* For conclave_client_submit, CONCLAVE_OP_READ. The bytes of the name and CONCLAVE_KV_OVERHEAD
 * suffice. Any thread. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_topic_encode_info(void *buffer, size_t capacity,
                                                              const void *name, size_t name_bytes,
                                                              size_t *ret_bytes);
/* Returns op->code, or MALFORMED. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_topic_decode_info(const struct conclave_op *op,
                                                              struct conclave_topic_info *ret_info);

/* All topics in the order of their names, one after the other to `topic`, which must not use the
 * client; a value other than 0 ends the list early (with CONCLAVE_OK). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_list(struct conclave_client *client, uint32_t timeout_ms,
                    int (*topic)(void *arg, const struct conclave_topic_info *info), void *arg);

/* --- Publishing ------------------------------------------------------------------------------- */

struct conclave_message {
    const void *data; /* up to CONCLAVE_VALUE_BYTES_MAX bytes */
    size_t bytes;
    const void *id; /* NULL: none */
    size_t id_bytes;
};

#define CONCLAVE_EXPECT_ANY UINT64_MAX

struct conclave_published {
    uint64_t revision;   /* of the store, after it */
    uint64_t first;      /* sequence of the first message that is new */
    uint64_t count;      /* of new messages: they have the sequences from there on */
    uint64_t duplicates; /* of messages that had been published before */
    uint64_t last;       /* with COMPARE_FAILED: the sequence of the topic's last message */
};

/* Publishes one message or several, all or none of them, in one command. `expect`: only if that is
 * the sequence of the topic's last message (0: there was none yet), unless all of them are
 * duplicates. `ret_published` and `ret_sequences` may be NULL; the latter gets the sequence of each
 * message, of a duplicate the one it was published with. Errors: NOT_FOUND (no such topic), INVALID
 * (no message, empty name), TOO_LARGE, COMPARE_FAILED (nothing was published; *ret_published is
 * set, the only failure with which it is). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_publish(struct conclave_client *client, const void *name, size_t name_bytes,
                       const struct conclave_message *messages, uint32_t count, uint64_t expect,
                       uint32_t timeout_ms, struct conclave_published *ret_published,
                       uint64_t *ret_sequences);

/* For conclave_client_submit, CONCLAVE_OP_PROPOSE, as conclave_kv_encode_put. The bytes of the
 * name, of all data and ids, CONCLAVE_KV_OVERHEAD, and CONCLAVE_PUBLISH_OVERHEAD for each message
 * always suffice. Any thread. */
enum { CONCLAVE_PUBLISH_OVERHEAD = 7 };
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_encode_publish(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                              const struct conclave_message *messages, uint32_t count,
                              uint64_t expect, size_t *ret_bytes);

/* The answer of a done operation: op->code, or MALFORMED. `count` is that of the messages. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_decode_publish(const struct conclave_op *op, uint32_t count,
                              struct conclave_published *ret_published, uint64_t *ret_sequences);

/* --- Reading ---------------------------------------------------------------------------------- */

/* Where to begin, and what the position beside it means. */
enum conclave_from {
    CONCLAVE_FROM_SEQUENCE = 0, /* at this sequence; one that is dropped: at the first one kept */
    CONCLAVE_FROM_FIRST = 1,    /* no position */
    CONCLAVE_FROM_LAST = 2,     /* the newest so many messages; 0 counts as 1 */
    CONCLAVE_FROM_TIME = 3,     /* the first one of this time of the cluster's clock, or later */
    CONCLAVE_FROM_AGO = 4,      /* the first one that is at most so many milliseconds old */
    CONCLAVE_FROM_NEW = 5       /* behind the newest; no position */
};

/* Where a dead letter comes from (conclave_group.h). */
struct conclave_topic_origin {
    const void *topic, *group; /* topic NULL: it is no dead letter */
    size_t topic_bytes, group_bytes;
    uint64_t sequence;   /* in that topic */
    uint64_t deliveries; /* there, in vain */
};

/* A message as it is read. The bytes are valid during the call that hands it out. */
struct conclave_topic_message {
    uint64_t sequence, revision, time_ms;
    const void *data;
    size_t bytes;
    const void *id; /* NULL: none */
    size_t id_bytes;
    struct conclave_topic_origin origin;
};

struct conclave_topic_page {
    uint64_t revision;   /* of the store when it was read */
    uint64_t clock_ms;   /* of the cluster, likewise */
    uint64_t first, end; /* of the topic, as in conclave_topic_info */
    uint64_t next;       /* the sequence to go on with; equal to `end`: this was all there is */
    uint64_t count;      /* messages handed out */
};

/* Reads messages in their order, linearizably: at most `limit` (0: no limit) and about page_bytes
 * (0: 256 KiB) of them. `message` gets one after the other and must not use the client; a value
 * other than 0 ends the page there. Errors: NOT_FOUND (no such topic), INVALID, TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_read(struct conclave_client *client, const void *name, size_t name_bytes,
                    enum conclave_from from, uint64_t position, uint64_t limit, uint32_t page_bytes,
                    uint32_t timeout_ms,
                    int (*message)(void *arg, const struct conclave_topic_message *message),
                    void *arg, struct conclave_topic_page *ret_page);

/* CONCLAVE_OP_READ; name_bytes + CONCLAVE_KV_OVERHEAD bytes suffice. Any thread. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_encode_read(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                           enum conclave_from from, uint64_t position, uint64_t limit,
                           uint32_t page_bytes, size_t *ret_bytes);
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_topic_decode_read(const struct conclave_op *op,
                           int (*message)(void *arg, const struct conclave_topic_message *message),
                           void *arg, struct conclave_topic_page *ret_page);

/* --- Subscribing ------------------------------------------------------------------------------
 *
 * A subscription runs from a sequence through what there is into what comes, without a seam, served
 * by any node; it goes on at another one by itself, each message once and none left out. It shares
 * the connection of its client's watches and subscriptions, or has one of its own, and works only
 * inside calls; one thread at a time. What is not taken is not sent: a slow reader costs nobody
 * anything. */

struct conclave_subscription;

struct conclave_subscription_options {
    size_t size;                    /* set by conclave_subscription_options_init */
    struct conclave_client *client; /* as of a watch, and the next three */
    const char *endpoints;
    void *zmq_context;
    void *user;
    const void *topic;
    size_t topic_bytes;
    uint64_t id;       /* of the topic, so that one made anew is not taken for it; 0: whichever */
    uint64_t sequence; /* the first message wanted; 0: from now on */
    uint32_t window_bytes; /* what may be on its way; 0: 1 MiB, of a client's 64 KiB */
};

CONCLAVE_API void conclave_subscription_options_init(struct conclave_subscription_options *options);

/* Waits for nothing. Errors: INVALID, TOO_LARGE, NO_MEMORY, described in *error. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_subscription_create(const struct conclave_subscription_options *options,
                             struct conclave_subscription **ret_subscription,
                             struct conclave_error *error);
CONCLAVE_API void conclave_subscription_destroy(struct conclave_subscription *subscription);

enum conclave_subscription_kind {
    CONCLAVE_SUBSCRIPTION_MESSAGE = 1,
    CONCLAVE_SUBSCRIPTION_DROPPED = 2 /* by retention, before they were told: dropped_first to
                                         dropped_last */
};

struct conclave_subscription_event {
    enum conclave_subscription_kind kind;
    struct conclave_topic_message message; /* valid until the next call */
    uint64_t dropped_first, dropped_last;
};

/* The next event; waits up to timeout_ms. Errors: TIMEOUT: there was none, also if no node can be
 * reached (conclave_subscription_describe tells); for good: NOT_FOUND (the topic is not there, or
 * was made anew), INVALID, TOO_LARGE, MALFORMED (a node says what cannot be read). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_subscription_next(struct conclave_subscription *subscription, uint32_t timeout_ms,
                           struct conclave_subscription_event *ret_event);

/* Edge-triggered, as conclave_client_fd. */
CONCLAVE_API int conclave_subscription_fd(const struct conclave_subscription *subscription);

/* Which node serves it, or why none does; valid until the next call. */
CONCLAVE_API const char *conclave_subscription_describe(struct conclave_subscription *subscription);

#ifdef __cplusplus
}
#endif
#endif
