/* codec/topic.h - the wire form of commands, queries and answers about topics.
 *
 *     command  create   [24, name, count?, bytes?, age_ms?, dedup_ms?, dedup_count?]
 *              delete   [25, name]
 *              publish  [26, name, [data, ...], expect?, [id, ...]?]
 *              trim     [48, name, sequence]
 *     query    info     [80, name]
 *              list     [81, from?, limit?]
 *              read     [82, name, start?, position?, limit?, bytes?]
 *     answer   create   [revision, id]
 *              delete   [revision, deleted]
 *              trim     [revision, first]
 *              publish  [revision, first, count, [[place, sequence], ...]?]
 *              NOT_FOUND, COMPARE_FAILED, EXISTS
 *                       [revision, number]
 *              info     [revision, clock_ms, info]
 *              list     [revision, clock_ms, [info, ...], next]
 *              read     [revision, clock_ms, first, end, next, [message, ...]]
 *     spec     subscription [name, id?]       codec/stream.h, kind 2; its events are messages
 *     info               [name, id, first, end, bytes, count, bytes, age_ms, dedup_ms, dedup_count]
 *     message            [sequence, revision, time_ms, data, id, origin?]
 *     origin             [topic, group, sequence, deliveries]
 *
 * The rules are those of codec/kv.h, whose row of opcodes this is. Decoding allocates nothing; the
 * slices point into the bytes read. Any thread; pure functions. */
#ifndef CODEC_TOPIC_H
#define CODEC_TOPIC_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"
#include "codec/list_answer.h"
#include "conclave_topic.h"

enum topic_opcode {
    TOPIC_CREATE = 24,
    TOPIC_DELETE = 25,
    TOPIC_PUBLISH = 26,
    TOPIC_TRIM = 48,
    TOPIC_INFO = 80,
    TOPIC_LIST = 81,
    TOPIC_READ = 82
};

enum {
    TOPIC_DEDUP_COUNT_DEFAULT = 65536,
    TOPIC_DEDUP_COUNT_MAX = 1 << 20,

    TOPIC_READ_BYTES_DEFAULT = 256 << 10,
    /* What an answer holds beside its messages: array 1, five numbers of 9, array 5. */
    TOPIC_READ_FRAME_BYTES = 1 + 5 * 9 + 5,
    TOPIC_READ_BYTES_MAX = CONCLAVE_COMMAND_BYTES_MAX - TOPIC_READ_FRAME_BYTES,
    /* Of a dead letter's origin: array 1, two names, two numbers of 9. */
    TOPIC_ORIGIN_BYTES_MAX = 1 + 2 * (2 + CONCLAVE_TOPIC_BYTES_MAX) + 2 * 9,
    /* What a message holds beside its data: array 1, three numbers of 9, two headers, the id, an
       origin. */
    TOPIC_MESSAGE_FRAME_BYTES =
        1 + 3 * 9 + 5 + 2 + CONCLAVE_MESSAGE_ID_BYTES_MAX + TOPIC_ORIGIN_BYTES_MAX,

    TOPIC_LIST_LIMIT_MAX = 1000,
    /* Of one info: array 1, name 2, nine numbers of 9. */
    TOPIC_INFO_BYTES_MAX = 1 + 2 + CONCLAVE_TOPIC_BYTES_MAX + 9 * 9
};
_Static_assert(TOPIC_MESSAGE_FRAME_BYTES + CONCLAVE_VALUE_BYTES_MAX <= TOPIC_READ_BYTES_MAX,
               "the largest message fits into an answer");

/* Whether it is one of the commands, of the queries; 0: no opcode can be read. */
uint64_t topic_opcode_peek(const void *data, size_t bytes);
bool topic_is_command(uint64_t opcode);
bool topic_is_query(uint64_t opcode);

/* --- Commands --------------------------------------------------------------------------------- */

/* What a topic keeps; 0 in the first three: without that limit. */
struct topic_settings {
    uint64_t count_max, bytes_max, age_ms;
    uint64_t dedup_ms; /* 0: ids are kept with their messages and not compared */
    uint64_t dedup_count;
};

/* Messages that are published together. Read one after the other by topic_messages_next. */
struct topic_messages {
    uint32_t count;
    bool have_ids;
    struct cursor data, ids;
};

struct topic_command {
    enum topic_opcode opcode;
    struct slice name;
    struct topic_settings settings; /* CREATE */
    struct topic_messages messages; /* PUBLISH, and below */
    bool expected;
    uint64_t expect;   /* the sequence of the topic's last message; 0: there was none yet */
    uint64_t sequence; /* TRIM: of the first message that is kept */
};

struct topic_message {
    struct slice data;
    struct slice id;     /* empty: none */
    struct slice origin; /* one MessagePack value; empty: none */
};

/* Where a dead letter comes from (codec/group.h). */
struct topic_origin {
    struct slice topic, group;
    uint64_t sequence;   /* in that topic */
    uint64_t deliveries; /* there, in vain */
};
void topic_origin_pack(struct pack *pack, const struct topic_origin *origin);
/* Errors: MALFORMED. */
MUST_USE int topic_origin_decode(struct slice bytes, struct topic_origin *ret);

/* Errors: MALFORMED, INVALID (empty name; no message), TOO_LARGE (name, a message, an id, their
 * number, a window). Everything in it has been checked: messages are read without failure. */
MUST_USE int topic_command_decode(const void *data, size_t bytes, struct topic_command *ret);

/* The next of those that are left, `count` times. */
struct topic_message topic_messages_next(struct topic_messages *messages);

/* Fields that an opcode does not have are not looked at. Limits are the decoder's business. */
void topic_create_pack(struct pack *pack, struct slice name, const struct topic_settings *settings);
void topic_delete_pack(struct pack *pack, struct slice name);
void topic_trim_pack(struct pack *pack, struct slice name, uint64_t sequence);

/* A publish is packed piece by piece: begin, the data of each message, ids, and where there are
 * some the id of each message (empty: it has none). */
struct topic_publish {
    struct slice name;
    uint32_t count;
    const uint64_t *expect; /* NULL: whatever is there */
    bool have_ids;
};
void topic_publish_begin(struct pack *pack, const struct topic_publish *publish);
void topic_publish_data(struct pack *pack, struct slice data);
void topic_publish_ids(struct pack *pack, const struct topic_publish *publish);
void topic_publish_id(struct pack *pack, struct slice id);

/* --- Queries ---------------------------------------------------------------------------------- */

struct topic_query {
    enum topic_opcode opcode;
    struct slice name;        /* INFO, READ; LIST: the first one */
    enum conclave_from start; /* READ, and below */
    uint64_t position;        /* by what `start` says */
    uint64_t limit;           /* messages, or topics, at most; 0: no limit */
    uint64_t bytes;           /* of messages, encoded, unless the first alone is larger */
};

/* Errors: MALFORMED, INVALID (empty name, unknown start), TOO_LARGE (name). */
MUST_USE int topic_query_decode(const void *data, size_t bytes, struct topic_query *ret);
void topic_query_pack(struct pack *pack, const struct topic_query *query);

/* Of a subscription. */
struct topic_spec {
    struct slice name;
    uint64_t id; /* the topic's; 0: whichever has the name */
};

/* Errors: MALFORMED, INVALID (empty name), TOO_LARGE (name). */
MUST_USE int topic_spec_decode(struct slice bytes, struct topic_spec *ret);
void topic_spec_pack(struct pack *pack, const struct topic_spec *spec);

/* --- Answers ---------------------------------------------------------------------------------- */

/* A message of a batch that had been published before under its id. */
struct topic_duplicate {
    uint32_t place; /* in the batch, from 0 */
    uint64_t sequence;
};

struct topic_published {
    uint64_t revision;
    uint64_t first; /* sequence of the first one that is new */
    uint64_t count; /* of new ones, which have the sequences from there on */
    uint32_t duplicate_count;
    struct cursor duplicates; /* when decoded: topic_duplicate_next, as often */
};

void topic_published_pack(struct pack *pack, const struct topic_published *published,
                          const struct topic_duplicate *duplicates);
/* Errors: MALFORMED; the duplicates have been checked. */
MUST_USE int topic_published_decode(const void *data, size_t bytes, struct topic_published *ret);
struct topic_duplicate topic_duplicate_next(struct topic_published *published);

struct topic_info {
    struct slice name;
    uint64_t id; /* the revision that created it */
    uint64_t first, end;
    uint64_t bytes;
    struct topic_settings settings;
};

void topic_info_pack(struct pack *pack, const struct topic_info *info);
void topic_info_answer_pack(struct pack *pack, uint64_t revision, uint64_t clock_ms,
                            const struct topic_info *info);
/* Errors: MALFORMED. */
MUST_USE int topic_info_answer_decode(const void *data, size_t bytes, uint64_t *ret_revision,
                                      uint64_t *ret_clock_ms, struct topic_info *ret);

/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int topic_list_answer_next(struct list_answer *answer, struct topic_info *ret);

/* A message as it is read. */
struct topic_item {
    uint64_t sequence, revision, time_ms;
    struct topic_message message;
};

/* Of topic_item_pack, to the byte. */
size_t topic_item_bytes(const struct topic_item *item);
void topic_item_pack(struct pack *pack, const struct topic_item *item);

struct topic_read_answer {
    uint64_t revision, clock_ms;
    uint64_t first, end; /* of the topic: the first message that it has, the one that comes next */
    uint64_t next;       /* where to go on */
    uint32_t count;
    struct cursor items;
};
void topic_read_answer_pack(struct pack *pack, const struct topic_read_answer *answer,
                            struct slice items);
/* Errors: MALFORMED. */
MUST_USE int topic_read_answer_begin(const void *data, size_t bytes, struct topic_read_answer *ret);
/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int topic_read_answer_next(struct topic_read_answer *answer, struct topic_item *ret);

/* One message, from wherever it is. Errors: MALFORMED. */
MUST_USE int topic_item_read(struct cursor *cursor, struct topic_item *ret);

#endif
