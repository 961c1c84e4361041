/* codec/kv.h - the wire form of key-value commands, queries and answers.
 *
 * Each is one MessagePack array, opcode first in commands and queries, positional, fields only ever
 * appended; trailing fields that are optional may be left out, and `nil` stands for "not given".
 *
 *     command  put           [1, key, value, condition?, lease?, ttl_ms?, previous?]
 *              delete        [2, key, condition?, previous?]
 *              delete range  [3, from, to]
 *              advance       [4, revisions]
 *              transaction   [5, [compare, ...], [step, ...], [step, ...]]     codec/kv_txn.h
 *              lease grant   [6, ttl_ms]                                       codec/kv_lease.h
 *              lease renew   [7, lease]
 *              lease revoke  [8, lease]
 *              settings      [9, changes?, bytes?, age_ms?, quota?]
 *     query    get           [64, key, revision?, space?]
 *              range         [65, from, to, limit?, bytes?, what?, revision?, space?]
 *              leases        [66, after?, limit?]
 *              usage         [67]
 *              lease's keys  [68, lease, place?, limit?]
 *     answer   put           [revision, previous, item?]
 *              delete        [revision, deleted, item?]
 *              delete range  [revision, deleted]
 *              advance       [revision, 0]
 *              COMPARE_FAILED[revision, present, item?]
 *              NOT_FOUND     [revision]
 *              get           [revision, item]
 *              range         [revision, [item, ...], count, next]
 *     item                   [key, value, create_revision, mod_revision, version, lease?]
 *
 * Commands and queries share one row of opcodes (queries from 64 on), so that one handed in as the
 * other is refused and never misread. docs/protocol.md is the full description. Decoding allocates
 * nothing; the slices point into the bytes read. Any thread; pure functions. */
#ifndef CODEC_KV_H
#define CODEC_KV_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/pack.h"

enum kv_opcode {
    KV_PUT = 1,
    KV_DELETE = 2,
    KV_DELETE_RANGE = 3,
    KV_ADVANCE = 4,
    KV_TXN = 5,
    KV_LEASE_GRANT = 6,
    KV_LEASE_RENEW = 7,
    KV_LEASE_REVOKE = 8,
    KV_SETTINGS = 9,
    KV_GET = 64,
    KV_RANGE = 65,
    KV_LEASES = 66,
    KV_USAGE = 67,
    KV_LEASE_KEYS = 68
};

enum {
    /* A range continues right after its last key: that key and one zero byte. */
    KV_BOUND_BYTES_MAX = CONCLAVE_KEY_BYTES_MAX + 1,

    KV_RANGE_BYTES_DEFAULT = 256 << 10,
    /* What a range answer holds beside its items: array 1, revision 9, items header 5, count 9,
     * next 3 + 481. */
    KV_RANGE_FRAME_BYTES = 1 + 9 + 5 + 9 + 3 + KV_BOUND_BYTES_MAX,
    KV_RANGE_BYTES_MAX = CONCLAVE_COMMAND_BYTES_MAX - KV_RANGE_FRAME_BYTES,
    /* What an item holds beside its value: array 1, key 3 + 480, value header 5, four numbers. */
    KV_ITEM_FRAME_BYTES = 1 + 3 + CONCLAVE_KEY_BYTES_MAX + 5 + 4 * 9,

    KV_SPACE_MAX = 1, /* spaces of keys: machine/kv_change.h */

    /* A place in the list of a lease's keys: a space and a key, and one zero byte behind it. */
    KV_LEASE_PLACE_BYTES_MAX = 1 + CONCLAVE_KEY_BYTES_MAX + 1
};
_Static_assert(KV_ITEM_FRAME_BYTES + CONCLAVE_VALUE_BYTES_MAX <= KV_RANGE_BYTES_MAX,
               "the largest item fits into a range answer");

/* --- Commands --------------------------------------------------------------------------------- */

/* On what state of the key a command depends. */
struct kv_condition {
    bool given;        /* false: on none */
    uint64_t revision; /* the key's modify revision must be this; 0: the key must not exist */
};

/* Keys from `from` (included) up to `to` (not included), in the order of memcmp. */
struct kv_bounds {
    struct slice from; /* empty: from the first key */
    struct slice to;   /* not looked at if there is no end */
    bool no_end;       /* up to the last key */
};

/* Elements of an array, packed one after the other. */
struct kv_txn_list {
    uint32_t count;
    struct slice items;
};

struct kv_txn {
    struct kv_txn_list compares, then, otherwise;
};

enum kv_setting {
    KV_SETTING_CHANGES, /* that the history keeps; at most KV_HISTORY_CHANGES_MAX */
    KV_SETTING_BYTES,   /* that they may take */
    KV_SETTING_AGE_MS,  /* older ones go; 0: no matter how old */
    KV_SETTING_QUOTA,   /* bytes that keys may take; 0: any number */
    KV_SETTING_COUNT
};

enum { KV_HISTORY_CHANGES_MAX = 1 << 20 }; /* a read of the past may walk over all of them */

struct kv_settings {
    bool given[KV_SETTING_COUNT]; /* false: stays as it is */
    uint64_t values[KV_SETTING_COUNT];
};

struct kv_command {
    enum kv_opcode opcode;
    struct slice key;              /* PUT, DELETE */
    struct slice value;            /* PUT */
    struct kv_condition condition; /* PUT, DELETE */
    uint64_t lease;                /* PUT: that the key ends with, 0: none; RENEW, REVOKE */
    uint64_t ttl_ms;               /* PUT: the key ends after that time, 0: not; GRANT */
    bool previous;                 /* PUT, DELETE: the answer has the item that was there before */
    union {                        /* only what belongs to the opcode is set */
        struct kv_bounds bounds;   /* DELETE_RANGE */
        uint64_t revisions;        /* ADVANCE: so many are left out */
        struct kv_txn txn;         /* TXN */
        struct kv_settings settings; /* SETTINGS */
    };
};

/* OK, or TOO_LARGE. */
MUST_USE int kv_bounds_check(const struct kv_bounds *bounds);

/* The bytes of a command's key, value and bounds. */
static inline size_t kv_command_content(const struct kv_command *command)
{
    if (command->opcode == KV_DELETE_RANGE)
        return command->bounds.from.bytes + command->bounds.to.bytes;
    return command->key.bytes + command->value.bytes;
}

/* Decodes and checks one command; what it answers depends on the bytes alone, so that every node
 * answers the same. Errors: MALFORMED (not of this form, unknown opcode), INVALID (empty key, no
 * lease where there must be one, a time of 0, what a transaction may not hold), TOO_LARGE (key,
 * bound, value, time, or number). */
MUST_USE int kv_command_decode(const void *data, size_t bytes, struct kv_command *ret);

/* False: what the command does has nothing to do with time, so that cluster time need not be
 * written before it. Looks at two bytes. */
bool kv_command_is_timed(const void *data, size_t bytes);

/* Appends the command. Limits are the decoder's business. */
void kv_command_pack(struct pack *pack, const struct kv_command *command);

/* --- Queries ---------------------------------------------------------------------------------- */

enum kv_range_what {
    KV_RANGE_ITEMS = 0,
    KV_RANGE_KEYS = 1, /* items whose value is nil */
    KV_RANGE_COUNT = 2 /* no items, their number alone */
};

struct kv_query {
    enum kv_opcode opcode;
    struct slice key;        /* GET; LEASE_KEYS: the place to go on from, empty: the first */
    uint64_t revision;       /* GET, RANGE: as of then; 0: now */
    uint64_t space;          /* GET, RANGE: up to KV_SPACE_MAX */
    uint64_t lease;          /* LEASE_KEYS; LEASES: those behind this one */
    struct kv_bounds bounds; /* RANGE, and all below */
    uint64_t limit;          /* items at most, also of leases and their keys; 0: no limit */
    uint64_t bytes;          /* of items, encoded, at most, unless the first alone is larger; 0:
                                KV_RANGE_BYTES_DEFAULT; over KV_RANGE_BYTES_MAX counts as that */
    enum kv_range_what what;
};

/* Errors: MALFORMED, INVALID (empty key, unknown `what`), TOO_LARGE. */
MUST_USE int kv_query_decode(const void *data, size_t bytes, struct kv_query *ret);
void kv_query_pack(struct pack *pack, const struct kv_query *query);

/* --- Answers ---------------------------------------------------------------------------------- */

struct kv_item {
    struct slice key;
    struct slice value;
    bool value_left_out; /* KV_RANGE_KEYS */
    uint64_t create_revision, mod_revision, version;
    uint64_t lease; /* that it ends with; 0: none */
};

/* The answer to a command. `revision` is the store's after the command; `value` is the key's modify
 * revision before it (put, 0: it did not exist), the number of keys deleted (delete), or the key's
 * modify revision now (COMPARE_FAILED). NOT_FOUND of a get has the revision alone. */
struct kv_outcome {
    uint64_t revision;
    uint64_t value;
    bool has_item;       /* it was asked for, and there was one */
    struct kv_item item; /* as it was before the command, or (COMPARE_FAILED) is now */
};

void kv_outcome_pack(struct pack *pack, const struct kv_outcome *outcome);
/* `value` is 0 where the answer has none. Errors: MALFORMED. */
MUST_USE int kv_outcome_decode(const void *data, size_t bytes, struct kv_outcome *ret);

void kv_not_found_pack(struct pack *pack, uint64_t revision);

/* Of `kv_item_pack`, to the byte. */
size_t kv_item_bytes(const struct kv_item *item);
void kv_item_pack(struct pack *pack, const struct kv_item *item);
/* Of no form: the cursor fails. */
struct kv_item kv_item_read(struct cursor *cursor);

/* The answer to a get. Errors: MALFORMED. */
void kv_get_answer_pack(struct pack *pack, uint64_t revision, const struct kv_item *item);
MUST_USE int kv_get_answer_decode(const void *data, size_t bytes, uint64_t *ret_revision,
                                  struct kv_item *ret_item);

/* The answer to a range. Packed by kv_range_answer_pack from the items already packed one after the
 * other; read with begin, then next item_count times. */
struct kv_range_answer {
    uint64_t revision;
    uint64_t count;    /* of the keys that this answer covers */
    struct slice next; /* `from` of the query that continues; empty: nothing is left */
    uint32_t item_count;
    struct cursor items;
};

void kv_range_answer_pack(struct pack *pack, const struct kv_range_answer *answer,
                          struct slice items);
/* Errors: MALFORMED. */
MUST_USE int kv_range_answer_begin(const void *data, size_t bytes, struct kv_range_answer *ret);
/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int kv_range_answer_next(struct kv_range_answer *answer, struct kv_item *ret);

/* --- Prefixes --------------------------------------------------------------------------------- */

/* The first key after all keys that begin with the prefix: its last byte below 0xff raised by one
 * and cut off behind. Writes it to end[prefix.bytes at most] and answers its size; 0: there is
 * none, the range has no end (an empty prefix, or nothing but 0xff). */
size_t kv_prefix_end(struct slice prefix, uint8_t *end);

#endif
