/* conclave_group.h - work groups on topics: libconclave's client.
 *
 * A group shares the messages of a topic among its members: each message from where the group began
 * is handed to one member at a time, until one acknowledges it. A member that is silent for the
 * group's ack time, says that it could not do it, or whose lease ends, loses what it holds to the
 * others: a message is delivered at least once, and perhaps again. One that was delivered as often
 * as the group allows is moved to another topic, the dead letters.
 *
 * A member is a lease (conclave_lease.h): it lives as long as that is renewed. There is nothing to
 * join: who fetches is a member. conclave_group_member does all of it, the functions below it a
 * part each.
 *
 * Times are the cluster's clock, which never runs ahead of real time: a message is never given to
 * another member before the ack time has passed since this one fetched it. What was fetched is
 * held, counted from before it was asked for, for so long; who takes longer extends it.
 *
 * Functions follow the conventions of conclave_topic.h. Names of groups are 1 to
 * CONCLAVE_GROUP_BYTES_MAX bytes, any bytes; each topic has its own. */
#ifndef CONCLAVE_GROUP_H
#define CONCLAVE_GROUP_H

#include "conclave_topic.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONCLAVE_GROUP_BYTES_MAX = 255,
    CONCLAVE_GROUP_FETCH_MAX = 1024,  /* messages that one fetch hands out */
    CONCLAVE_GROUP_SETTLE_MAX = 4096, /* messages that one ack, nack or extend names */
    CONCLAVE_GROUP_HELD_MAX = 65536,  /* by one member */
    CONCLAVE_GROUP_PENDING_MAX = 1 << 20,
    CONCLAVE_GROUP_DELIVERIES_MAX = 1000
};

/* --- Groups ----------------------------------------------------------------------------------- */

struct conclave_group_settings {
    size_t size;             /* set by conclave_group_settings_init */
    uint64_t ack_ms;         /* 30000; not acknowledged for so long: it goes to another member */
    uint64_t held_max;       /* 1024; messages that one member may hold */
    uint64_t pending_max;    /* 65536; messages that were handed out and are not done: no new one is
                                handed out beyond that */
    uint64_t deliveries_max; /* 0: no limit. After so many a message is moved to `dead` */
    const void *dead;        /* a topic, which there must be; with deliveries_max, and only then */
    size_t dead_bytes;
};

CONCLAVE_API void conclave_group_settings_init(struct conclave_group_settings *settings);

/* Creates a group that begins at a place of the topic, as conclave_topic_read; `settings` NULL: the
 * defaults. One that is there with the same settings is CONCLAVE_OK too, and stays where it is.
 * *ret_id, which may be NULL, is the revision that created it. Errors: NOT_FOUND (no such topic, or
 * none for dead letters), EXISTS (with other settings), INVALID, TOO_LARGE, QUOTA. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_create(struct conclave_client *client, const void *topic, size_t topic_bytes,
                      const void *group, size_t group_bytes,
                      const struct conclave_group_settings *settings, enum conclave_from from,
                      uint64_t position, uint32_t timeout_ms, uint64_t *ret_id);

/* A missing one is CONCLAVE_OK with *ret_deleted false, which may be NULL. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_delete(struct conclave_client *client,
                                                         const void *topic, size_t topic_bytes,
                                                         const void *group, size_t group_bytes,
                                                         uint32_t timeout_ms, bool *ret_deleted);

struct conclave_group_info {
    uint8_t name[CONCLAVE_GROUP_BYTES_MAX], dead[CONCLAVE_TOPIC_BYTES_MAX];
    size_t name_bytes, dead_bytes;
    uint64_t id;      /* the revision that created it */
    uint64_t start;   /* the sequence that it began with */
    uint64_t next;    /* messages from here on were not handed out yet */
    uint64_t end;     /* the sequence that the topic's next message gets */
    uint64_t held;    /* by members */
    uint64_t delayed; /* given back, for later */
    uint64_t ready;   /* given back or timed out: go to the next who fetches */
    uint64_t acked;
    uint64_t dead_letters; /* moved */
    uint64_t lost;         /* dropped by the topic before anybody was done with them */
    uint64_t redelivered;  /* deliveries beyond the first ones */
    uint64_t members;
    uint64_t clock_ms;
    uint64_t ack_ms, held_max, pending_max, deliveries_max;
};
/* next - start = acked + dead_letters + lost + held + delayed + ready. */

/* Errors: NOT_FOUND, INVALID, TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_info(struct conclave_client *client,
                                                       const void *topic, size_t topic_bytes,
                                                       const void *group, size_t group_bytes,
                                                       uint32_t timeout_ms,
                                                       struct conclave_group_info *ret_info);

/* All groups of a topic, as conclave_topic_list. Errors: NOT_FOUND (no such topic). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_list(struct conclave_client *client, const void *topic, size_t topic_bytes,
                    uint32_t timeout_ms,
                    int (*group)(void *arg, const struct conclave_group_info *info), void *arg);

/* A message that was handed out and is not done. */
struct conclave_group_pending {
    uint64_t sequence, deliveries;
    uint64_t lease;   /* the member that holds it; 0: none, it was given back for later */
    uint64_t left_ms; /* of cluster time, as of what is in the log, until that ends */
};

/* What is held or delayed, in the order of members and sequences, until `pending` returns other
 * than 0; what is ready is not among them. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_list_pending(struct conclave_client *client, const void *topic, size_t topic_bytes,
                            const void *group, size_t group_bytes, uint32_t timeout_ms,
                            int (*pending)(void *arg, const struct conclave_group_pending *pending),
                            void *arg);

/* --- Members -----------------------------------------------------------------------------------
 */

struct conclave_group_member;

struct conclave_group_member_options {
    size_t size; /* set by conclave_group_member_options_init */
    const void *topic, *group;
    size_t topic_bytes, group_bytes;
    uint32_t ttl_ms;   /* 10000, at least 500; not heard of for so long it has lost what it held */
    uint32_t prefetch; /* 16; messages fetched at once, at most CONCLAVE_GROUP_FETCH_MAX */
    bool once; /* false; messages are done when they are handed out: none is delivered twice, and
                  what a member does not finish is nobody's */
};

CONCLAVE_API void conclave_group_member_options_init(struct conclave_group_member_options *options);

/* Takes a lease. The client outlives the member and is used inside these functions alone. Errors:
 * INVALID, TOO_LARGE, NOT_FOUND (no such topic or group), QUOTA, of the client; *error says more.
 */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_join(struct conclave_client *client,
                    const struct conclave_group_member_options *options,
                    struct conclave_group_member **ret_member, struct conclave_error *error);

/* A message that this member holds. */
struct conclave_group_message {
    struct conclave_topic_message message; /* valid until the next call with this member */
    uint64_t deliveries;                   /* this one included */
    /* Since the last call that said so: messages that the topic had dropped before they were done,
     * and acks that came when this member did not hold the message any more. */
    uint64_t lost, late;
};

/* The next message; waits up to timeout_ms (0: what is there). Polls. Errors: TIMEOUT (there is
 * none; lost and late are set then too); for good: LEASE_EXPIRED, NOT_FOUND (the group is
 * deleted); of the client. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_next(struct conclave_group_member *member,
                                                       uint32_t timeout_ms,
                                                       struct conclave_group_message *ret_message);

/* Keeps the lease and what was handed out: to be called when conclave_group_poll_ms is over, or
 * more often. Errors: LEASE_EXPIRED: everything that it held is lost, and the member with it. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_poll(struct conclave_group_member *member);
CONCLAVE_API uint32_t conclave_group_poll_ms(const struct conclave_group_member *member);

/* Done. Told to the cluster together with others: at the latest before more is fetched, with
 * conclave_group_poll, and when it leaves; until then a crash of the process means that it comes
 * again. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_ack(struct conclave_group_member *member,
                                                      uint64_t sequence);

/* Tells now what was acknowledged. NOT_FOUND: some of it this member did not hold any more, and
 * others may have got it. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_flush(struct conclave_group_member *member,
                                                        uint32_t timeout_ms);

/* Not done: to be handed out again, delay_ms from now. NOT_FOUND: as above. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_nack(struct conclave_group_member *member,
                                                       uint64_t sequence, uint64_t delay_ms,
                                                       uint32_t timeout_ms);

/* Its lease: the member's number in the group. */
CONCLAVE_API uint64_t conclave_group_member_lease(const struct conclave_group_member *member);

/* Gives everything back that it holds, and frees it in any case. NULL is allowed. Returns why the
 * cluster could not be told: then it comes back when the lease has ended. */
CONCLAVE_API int conclave_group_leave(struct conclave_group_member *member, uint32_t timeout_ms);

/* --- The parts ---------------------------------------------------------------------------------
 *
 * For members of another kind, and for conclave_client_submit. Encoders write a command
 * (CONCLAVE_OP_PROPOSE) or query (CONCLAVE_OP_READ) to the buffer; both names,
 * CONCLAVE_KV_OVERHEAD, and CONCLAVE_GROUP_RANGE_BYTES for each range always suffice. Any thread.
 */

enum { CONCLAVE_GROUP_RANGE_BYTES = 19 };

/* Messages from `first` on. */
struct conclave_group_range {
    uint64_t first, count;
};

/* What a fetch handed out, in order: so many from `first` on, delivered so often by now. */
struct conclave_group_run {
    uint64_t first, count, deliveries;
};

struct conclave_group_fetched {
    struct conclave_group_run runs[CONCLAVE_GROUP_FETCH_MAX];
    uint32_t run_count;
    uint64_t count; /* of messages */
    uint64_t lost;  /* the topic had dropped so many before they were done */
    uint64_t wake;  /* nothing new for this group happened before that: what a subscription of kind
                       3 (docs/protocol.md) begins with, to wait */
    uint64_t ack_ms;
};

/* Up to `limit` messages for the member. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_encode_fetch(void *buffer, size_t capacity, const void *topic, size_t topic_bytes,
                            const void *group, size_t group_bytes, uint64_t lease, uint32_t limit,
                            bool once, size_t *ret_bytes);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_decode_fetch(const struct conclave_op *op,
                                                               struct conclave_group_fetched *ret);
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_fetch(struct conclave_client *client, const void *topic, size_t topic_bytes,
                     const void *group, size_t group_bytes, uint64_t lease, uint32_t limit,
                     bool once, uint32_t timeout_ms, struct conclave_group_fetched *ret);

enum conclave_group_settle {
    CONCLAVE_GROUP_ACK = 1,
    CONCLAVE_GROUP_NACK = 2,  /* to be handed out again, delay_ms from now */
    CONCLAVE_GROUP_EXTEND = 3 /* in progress: the ack time begins anew */
};

/* Of those of the ranges that the member holds; *ret_settled, which may be NULL, is how many. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_encode_settle(void *buffer, size_t capacity, const void *topic, size_t topic_bytes,
                             const void *group, size_t group_bytes, uint64_t lease,
                             enum conclave_group_settle how,
                             const struct conclave_group_range *ranges, uint32_t range_count,
                             uint64_t delay_ms, size_t *ret_bytes);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_decode_settle(const struct conclave_op *op,
                                                                uint64_t *ret_settled);
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_settle(struct conclave_client *client, const void *topic, size_t topic_bytes,
                      const void *group, size_t group_bytes, uint64_t lease,
                      enum conclave_group_settle how, const struct conclave_group_range *ranges,
                      uint32_t range_count, uint64_t delay_ms, uint32_t timeout_ms,
                      uint64_t *ret_settled);

/* The messages with these sequences, as conclave_topic_read; *ret_covered of them, from the first
 * one on, are answered: those among them that were not handed out are not kept any more. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_group_encode_messages(void *buffer, size_t capacity, const void *topic, size_t topic_bytes,
                               const struct conclave_group_range *ranges, uint32_t range_count,
                               uint32_t page_bytes, size_t *ret_bytes);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_group_decode_messages(
    const struct conclave_op *op,
    int (*message)(void *arg, const struct conclave_topic_message *message), void *arg,
    uint64_t *ret_covered);

#ifdef __cplusplus
}
#endif
#endif
