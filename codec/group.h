/* codec/group.h - the wire form of commands, queries and answers about work groups on topics.
 *
 *     command  create   [27, topic, group, ack_ms?, deliveries_max?, dead?, held_max?,
 *                        pending_max?, start?, position?]
 *              delete   [28, topic, group]
 *              fetch    [29, topic, group, lease, limit?, once?]
 *              ack      [30, topic, group, lease, [[first, count], ...]]
 *              nack     [31, topic, group, lease, [[first, count], ...], delay_ms?]
 *              extend   [32, topic, group, lease, [[first, count], ...]]
 *     query    info     [88, topic, group]
 *              list     [89, topic, from?, limit?]
 *              pending  [90, topic, group, lease?, sequence?, limit?]
 *              messages [91, topic, [[first, count], ...], bytes?]
 *     answer   create   [revision, id]
 *              delete   [revision, deleted]
 *              NOT_FOUND, EXISTS, LEASE_EXPIRED, QUOTA
 *                       [revision, number]
 *              fetch    [revision, wake, lost, ack_ms, [[first, count, deliveries], ...]]
 *              ack, nack, extend
 *                       [revision, settled, [[first, count], ...]]
 *              info     [revision, clock_ms, info]
 *              list     [revision, clock_ms, [info, ...], next]
 *              pending  [revision, clock_ms, [[lease, sequence, deliveries, left_ms], ...], next]
 *              messages [revision, clock_ms, covered, [message, ...]]
 *     spec     subscription [topic, id]     codec/stream.h, kind 3; its events are numbers
 *     info     [name, id, start, next, end, held, delayed, ready, acked, dead_letters, lost,
 *               redelivered, members, ack_ms, held_max, pending_max, deliveries_max, dead]
 *
 * The rules are those of codec/kv.h, whose row of opcodes this is; messages are those of
 * codec/topic.h. Decoding allocates nothing; the slices point into the bytes read. Any thread; pure
 * functions. */
#ifndef CODEC_GROUP_H
#define CODEC_GROUP_H

#include "codec/topic.h"
#include "conclave_group.h"

enum group_opcode {
    GROUP_CREATE = 27,
    GROUP_DELETE = 28,
    GROUP_FETCH = 29,
    GROUP_ACK = 30,
    GROUP_NACK = 31,
    GROUP_EXTEND = 32,
    GROUP_INFO = 88,
    GROUP_LIST = 89,
    GROUP_PENDING = 90,
    GROUP_MESSAGES = 91
};

enum {
    GROUP_ACK_MS_DEFAULT = 30000,
    GROUP_HELD_DEFAULT = 1024,
    GROUP_PENDING_DEFAULT = 65536,
    GROUP_LIST_LIMIT_MAX = 1000,
    GROUP_PENDING_LIMIT_MAX = 4096,
    GROUP_MESSAGES_MAX = 4096 /* that one query asks for */
};
#define GROUP_MS_MAX (UINT64_C(366) * 24 * 3600 * 1000) /* of an ack time or delay: a year */

bool group_is_command(uint64_t opcode);
bool group_is_query(uint64_t opcode);

/* --- Ranges of sequences -----------------------------------------------------------------------
 */

/* Read one after the other by group_ranges_next. */
struct group_ranges {
    uint32_t count; /* of ranges */
    uint64_t total; /* of sequences in them */
    struct cursor at;
};

/* The next of those that are left, `count` times; they have been checked. */
struct conclave_group_range group_ranges_next(struct group_ranges *ranges);

/* --- Commands --------------------------------------------------------------------------------- */

struct group_settings {
    uint64_t ack_ms, deliveries_max, held_max, pending_max;
    struct slice dead; /* empty: none */
};

struct group_command {
    enum group_opcode opcode;
    struct slice topic, group;
    struct group_settings settings; /* CREATE, and below: where it begins */
    enum conclave_from start;
    uint64_t position;
    uint64_t lease;             /* the others but DELETE */
    uint64_t limit;             /* FETCH: 1 to CONCLAVE_GROUP_FETCH_MAX */
    bool once;                  /* FETCH: done when handed out */
    struct group_ranges ranges; /* ACK, NACK, EXTEND */
    uint64_t delay_ms;          /* NACK */
};

/* Errors: MALFORMED, INVALID (an empty name, no lease, an unknown start, dead letters without a
 * limit of deliveries or the other way round, or to the topic itself; an empty range), TOO_LARGE.
 * Everything in it has been checked; what is left out is the default. */
MUST_USE int group_command_decode(const void *data, size_t bytes, struct group_command *ret);

/* Fields that an opcode does not have are not looked at, and of a SETTLE the ranges are packed by
 * the caller: `range_count` of them follow, then group_command_end. */
void group_command_pack(struct pack *pack, const struct group_command *command,
                        uint32_t range_count);
void group_range_pack(struct pack *pack, const struct conclave_group_range *range);
void group_command_end(struct pack *pack, const struct group_command *command);

/* --- Queries ---------------------------------------------------------------------------------- */

struct group_query {
    enum group_opcode opcode;
    struct slice topic;
    struct slice group;         /* INFO, PENDING; LIST: the first one */
    uint64_t lease, sequence;   /* PENDING: from there on */
    uint64_t limit;             /* LIST, PENDING: at least 1 */
    struct group_ranges ranges; /* MESSAGES */
    uint64_t bytes;             /* MESSAGES: as of a read of a topic */
};

/* Errors: MALFORMED, INVALID (an empty name or range), TOO_LARGE. */
MUST_USE int group_query_decode(const void *data, size_t bytes, struct group_query *ret);

/* As group_command_pack; nothing follows the ranges but the bytes. */
void group_query_pack(struct pack *pack, const struct group_query *query, uint32_t range_count);
void group_query_end(struct pack *pack, const struct group_query *query);

/* Of a subscription. */
struct group_spec {
    struct slice topic;
    uint64_t id; /* the group's */
};

/* Errors: MALFORMED, INVALID (empty name, no id), TOO_LARGE (name). */
MUST_USE int group_spec_decode(struct slice bytes, struct group_spec *ret);
void group_spec_pack(struct pack *pack, const struct group_spec *spec);

/* --- Answers ---------------------------------------------------------------------------------- */

/* Packed from runs that are packed one after the other; read with begin, then next. */
struct group_fetch_answer {
    uint64_t revision, wake, lost, ack_ms;
    uint32_t count;
    struct cursor runs;
};
void group_run_pack(struct pack *pack, const struct conclave_group_run *run);
void group_fetch_answer_pack(struct pack *pack, const struct group_fetch_answer *answer,
                             struct slice runs);
/* Errors: MALFORMED. */
MUST_USE int group_fetch_answer_begin(const void *data, size_t bytes,
                                      struct group_fetch_answer *ret);
/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int group_fetch_answer_next(struct group_fetch_answer *answer,
                                     struct conclave_group_run *ret);

struct group_settle_answer {
    uint64_t revision, settled;
    struct group_ranges missing; /* those that the member did not hold */
};
void group_settle_answer_pack(struct pack *pack, const struct group_settle_answer *answer,
                              struct slice missing);
/* Errors: MALFORMED; the ranges have been checked. */
MUST_USE int group_settle_answer_decode(const void *data, size_t bytes,
                                        struct group_settle_answer *ret);

struct group_info {
    struct slice name, dead;
    uint64_t id, start, next, end;
    uint64_t held, delayed, ready, acked, dead_letters, lost, redelivered, members;
    uint64_t ack_ms, held_max, pending_max, deliveries_max;
};
void group_info_pack(struct pack *pack, const struct group_info *info);
void group_info_answer_pack(struct pack *pack, uint64_t revision, uint64_t clock_ms,
                            const struct group_info *info);
/* Errors: MALFORMED. */
MUST_USE int group_info_answer_decode(const void *data, size_t bytes, uint64_t *ret_revision,
                                      uint64_t *ret_clock_ms, struct group_info *ret);

/* Lists of infos (codec/list_answer.h), of pending messages, or of messages; packed from items that
 * are packed one after the other, read with begin, then next: 1 and *ret, 0 at the end, -1 if the
 * rest is malformed. */
MUST_USE int group_list_answer_next(struct list_answer *answer, struct group_info *ret);

struct group_pending_answer {
    uint64_t revision, clock_ms;
    bool more; /* go on from here: */
    uint64_t lease, sequence;
    uint32_t count;
    struct cursor items;
};
void group_pending_pack(struct pack *pack, const struct conclave_group_pending *pending);
void group_pending_answer_pack(struct pack *pack, const struct group_pending_answer *answer,
                               struct slice items);
MUST_USE int group_pending_answer_begin(const void *data, size_t bytes,
                                        struct group_pending_answer *ret);
MUST_USE int group_pending_answer_next(struct group_pending_answer *answer,
                                       struct conclave_group_pending *ret);

struct group_messages_answer {
    uint64_t revision, clock_ms;
    uint64_t covered; /* of the sequences asked for, from the first one on */
    uint32_t count;
    struct cursor items; /* topic_item_read */
};
void group_messages_answer_pack(struct pack *pack, const struct group_messages_answer *answer,
                                struct slice items);
MUST_USE int group_messages_answer_begin(const void *data, size_t bytes,
                                         struct group_messages_answer *ret);
MUST_USE int group_messages_answer_next(struct group_messages_answer *answer,
                                        struct topic_item *ret);

#endif
