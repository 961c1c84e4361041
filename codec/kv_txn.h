/* codec/kv_txn.h - transactions: compares, then one of two lists of steps.
 *
 *     transaction  [5, [compare, ...], [step, ...], [step, ...]]
 *     compare      [what, how, key or topic, operand]
 *     step         a put, delete, delete range (without condition), get, range, or a publish to a
 *                  topic (codec/topic.h, without an expected sequence), as by itself
 *     answer       [revision, held, [[code, answer?], ...]]
 *
 * All compares hold: the first list of steps is carried out, else the second, all of it at once and
 * as one revision; each answer is that of the step by itself. Within a list no key is put and
 * changed by another step as well.
 *
 * Decoding allocates nothing; slices point into the bytes read. Any thread; pure functions. */
#ifndef CODEC_KV_TXN_H
#define CODEC_KV_TXN_H

#include "codec/kv.h"
#include "codec/topic.h"

enum {
    KV_TXN_COMPARES_MAX = 128,
    KV_TXN_STEPS_MAX = 128, /* of each list */
    /* What its reads may answer together; a read that has no room left is answered TOO_LARGE. */
    KV_TXN_READ_BYTES_MAX = 768 << 10
};

enum kv_compare_what {
    KV_COMPARE_REVISION = 0, /* modify revision; 0: there is no such key */
    KV_COMPARE_CREATE = 1,   /* create revision; likewise, and so the next one */
    KV_COMPARE_VERSION = 2,
    KV_COMPARE_VALUE = 3,    /* in the order of memcmp; of a missing key only != holds */
    KV_COMPARE_LEASE = 4,    /* 0: it has none */
    KV_COMPARE_SEQUENCE = 5, /* of a topic's last message; 0: none was ever published */
    KV_COMPARE_TOPIC = 6,    /* a topic's id; 0: there is no such topic */
    KV_COMPARE_WHATS
};

/* Whether it names a topic, not a key. */
static inline bool kv_compare_is_of_topic(enum kv_compare_what what)
{
    return what == KV_COMPARE_SEQUENCE || what == KV_COMPARE_TOPIC;
}

enum kv_compare_how {
    KV_COMPARE_EQUAL = 0,
    KV_COMPARE_UNEQUAL = 1,
    KV_COMPARE_LESS = 2, /* what the key has is less than the operand */
    KV_COMPARE_GREATER = 3,
    KV_COMPARE_HOWS
};

struct kv_compare {
    enum kv_compare_what what;
    enum kv_compare_how how;
    struct slice key;   /* or the name of a topic */
    uint64_t number;    /* all but VALUE */
    struct slice value; /* VALUE */
};

void kv_compare_pack(struct pack *pack, const struct kv_compare *compare);

/* A step: a command, or a query. */
struct kv_step {
    bool reads, publishes;
    struct kv_command command;
    struct topic_command topic;
    struct kv_query query;
};

/* Goes through a list of a command that was decoded. */
struct kv_txn_reader {
    struct cursor cursor;
    uint32_t left;
};
void kv_txn_begin(struct kv_txn_reader *reader, const struct kv_txn_list *list);
/* 1 and *ret, 0 at the end; a code below 0, negated, if the next one is not of the form. */
MUST_USE int kv_txn_next_compare(struct kv_txn_reader *reader, struct kv_compare *ret);
MUST_USE int kv_txn_next_step(struct kv_txn_reader *reader, struct kv_step *ret);

/* --- The answer ------------------------------------------------------------------------------- */

struct kv_txn_answer {
    uint64_t revision; /* of the store, after it */
    bool held;         /* the compares: the first list was carried out */
    uint32_t count;    /* of steps that are left to read */
    struct cursor steps;
};

struct kv_step_answer {
    int code;
    struct slice body; /* empty: none */
};

/* `steps`: packed one after the other by kv_step_answer_pack. */
void kv_txn_answer_pack(struct pack *pack, const struct kv_txn_answer *answer, struct slice steps);
void kv_step_answer_pack(struct pack *pack, const struct kv_step_answer *answer);
MUST_USE int kv_txn_answer_begin(const void *data, size_t bytes, struct kv_txn_answer *ret);
/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int kv_txn_answer_next(struct kv_txn_answer *answer, struct kv_step_answer *ret);

#endif
