/* conclave_txn.h - the transactions of libconclave's client.
 *
 * A transaction compares keys and topics, and carries out one of two lists of steps, which change
 * keys and publish to topics (conclave_topic.h): all at once, as one revision of the store, or
 * nothing at all. It is written step by step, committed once or more often, and freed. A step that
 * cannot be taken (INVALID, TOO_LARGE) is told by the commit.
 *
 *     struct conclave_txn *txn = conclave_txn_create();
 *     conclave_txn_compare(txn, CONCLAVE_TXN_VERSION, CONCLAVE_TXN_EQUAL, "a", 1, 0);
 *     conclave_txn_put(txn, CONCLAVE_TXN_THEN, "a", 1, "value", 5, 0, 0);
 *     conclave_txn_get(txn, CONCLAVE_TXN_ELSE, "a", 1);
 *     code = conclave_txn_commit(client, txn, 0, &result);
 *     ... result.held, conclave_txn_step_... for each of result.count steps ...
 *     conclave_txn_result_release(&result);
 *     conclave_txn_destroy(txn);
 *
 * Within a list no key is put and changed by another step as well. Functions follow the conventions
 * of conclave_kv.h; a transaction belongs to one thread. */
#ifndef CONCLAVE_TXN_H
#define CONCLAVE_TXN_H

#include "conclave_kv.h"
#include "conclave_topic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The most compares, and steps in each list. */
enum { CONCLAVE_TXN_STEPS_MAX = 128 };

struct conclave_txn;

CONCLAVE_API struct conclave_txn *conclave_txn_create(void);
CONCLAVE_API void conclave_txn_destroy(struct conclave_txn *txn); /* NULL is allowed */

/* --- Compares: all of them have to hold --------------------------------------------------------
 */

enum conclave_txn_what {
    CONCLAVE_TXN_MOD_REVISION = 0, /* of a missing key all numbers are 0 */
    CONCLAVE_TXN_CREATE_REVISION = 1,
    CONCLAVE_TXN_VERSION = 2, /* above 0: the key exists */
    CONCLAVE_TXN_LEASE = 4,
    /* Of a topic, whose name stands in the place of the key; of a missing one they are 0. */
    CONCLAVE_TXN_SEQUENCE = 5, /* of its last message; 0: none was ever published */
    CONCLAVE_TXN_TOPIC = 6     /* its id, which no other topic ever has; above 0: it exists */
};

enum conclave_txn_how {
    CONCLAVE_TXN_EQUAL = 0,
    CONCLAVE_TXN_UNEQUAL = 1,
    CONCLAVE_TXN_LESS = 2, /* what the key has is less than the number */
    CONCLAVE_TXN_GREATER = 3
};

CONCLAVE_API void conclave_txn_compare(struct conclave_txn *txn, enum conclave_txn_what what,
                                       enum conclave_txn_how how, const void *key, size_t key_bytes,
                                       uint64_t number);

/* The key's value, in the order of its bytes; of a missing key only UNEQUAL holds. */
CONCLAVE_API void conclave_txn_compare_value(struct conclave_txn *txn, enum conclave_txn_how how,
                                             const void *key, size_t key_bytes, const void *value,
                                             size_t value_bytes);

/* --- Steps -------------------------------------------------------------------------------------
 */

enum conclave_txn_list { CONCLAVE_TXN_THEN, CONCLAVE_TXN_ELSE };

/* `lease`, `ttl_ms`: as in struct conclave_kv_put_options. */
CONCLAVE_API void conclave_txn_put(struct conclave_txn *txn, enum conclave_txn_list list,
                                   const void *key, size_t key_bytes, const void *value,
                                   size_t value_bytes, uint64_t lease, uint64_t ttl_ms);
CONCLAVE_API void conclave_txn_delete(struct conclave_txn *txn, enum conclave_txn_list list,
                                      const void *key, size_t key_bytes);
/* NULL bounds as conclave_kv_delete_range. */
CONCLAVE_API void conclave_txn_delete_range(struct conclave_txn *txn, enum conclave_txn_list list,
                                            const void *from, size_t from_bytes, const void *to,
                                            size_t to_bytes);
CONCLAVE_API void conclave_txn_get(struct conclave_txn *txn, enum conclave_txn_list list,
                                   const void *key, size_t key_bytes);
/* At most `limit` items, 0: as many as there is room for. */
CONCLAVE_API void conclave_txn_range(struct conclave_txn *txn, enum conclave_txn_list list,
                                     const void *from, size_t from_bytes, const void *to,
                                     size_t to_bytes, uint64_t limit);

/* Publishes a message to a topic. */
CONCLAVE_API void conclave_txn_publish(struct conclave_txn *txn, enum conclave_txn_list list,
                                       const void *topic, size_t topic_bytes,
                                       const struct conclave_message *message);

/* --- Committing --------------------------------------------------------------------------------
 */

enum conclave_txn_kind {
    CONCLAVE_TXN_KIND_PUT = 1,
    CONCLAVE_TXN_KIND_DELETE = 2, /* also of a range */
    CONCLAVE_TXN_KIND_GET = 3,
    CONCLAVE_TXN_KIND_RANGE = 4,
    CONCLAVE_TXN_KIND_PUBLISH = 5
};

/* What one step did. */
struct conclave_txn_step {
    enum conclave_txn_kind kind;
    int code; /* OK; get: NOT_FOUND; get, range: TOO_LARGE, there was no room left to answer it */
    struct conclave_kv_result result; /* put, delete */
    struct conclave_kv_item item;     /* get, if OK; valid until the result is released */
    uint64_t sequence;                /* publish: of the message; */
    bool duplicate;                   /* its id was published before, with that sequence */
    struct conclave_op answer;        /* range: for conclave_kv_decode_range; holds nothing */
};

struct conclave_txn_result {
    uint64_t revision; /* of the store, after it */
    bool held;         /* the compares: the steps are those of THEN */
    uint32_t count;
    struct conclave_txn_step *steps;
    struct conclave_op op; /* holds the bytes */
};

/* Commits it. CONCLAVE_OK: *ret_result is to be released, whichever list was carried out. Errors:
 * INVALID, TOO_LARGE, LEASE_EXPIRED, QUOTA, NOT_FOUND (no such topic); nothing changed. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_txn_commit(struct conclave_client *client,
                                                       const struct conclave_txn *txn,
                                                       uint32_t timeout_ms,
                                                       struct conclave_txn_result *ret_result);

CONCLAVE_API void conclave_txn_result_release(struct conclave_txn_result *result);

/* --- For conclave_client_submit ----------------------------------------------------------------
 */

/* Of the buffer that suffices for conclave_txn_encode. */
CONCLAVE_API size_t conclave_txn_bytes(const struct conclave_txn *txn);

/* CONCLAVE_OP_PROPOSE. Errors: TOO_LARGE (the buffer), and of what was added to it. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_txn_encode(const struct conclave_txn *txn, void *buffer,
                                                       size_t capacity, size_t *ret_bytes);

/* What the done operation says. The result is to be released, and its bytes are those of `op`,
 * which stays the caller's and is released later. Returns op->code, or MALFORMED. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_txn_decode(const struct conclave_txn *txn,
                                                       const struct conclave_op *op,
                                                       struct conclave_txn_result *ret_result);

#ifdef __cplusplus
}
#endif
#endif
