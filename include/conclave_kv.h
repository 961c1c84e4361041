/* conclave_kv.h - the key-value functions of libconclave's client.
 *
 * They speak to the built-in key-value machine of a cluster over a struct conclave_client
 * (conclave.h), and follow its conventions. Keys are 1 to CONCLAVE_KEY_BYTES_MAX bytes, values up
 * to CONCLAVE_VALUE_BYTES_MAX, any bytes in both.
 *
 * Every command that changes something raises the store's revision by one; each key carries the
 * revision that created it, the one that modified it last, and its version (1 after its creation,
 * one more with each put). Revision 0 is before the first change.
 *
 * The synchronous functions wait up to timeout_ms (0: the client's default) and return
 * CONCLAVE_OK or a code of the client (UNREACHABLE, NO_LEADER, BUSY, TIMEOUT: surely not applied;
 * UNKNOWN: a command may or may not have been applied), or of the machine, named below. An answer
 * that cannot be read is MALFORMED. The thread is the client's.
 */
#ifndef CONCLAVE_KV_H
#define CONCLAVE_KV_H

#include "conclave.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- Writing ---------------------------------------------------------------------------------- */

/* What `if_revision` can say beside a modify revision that the key must have. */
#define CONCLAVE_KV_ANY UINT64_MAX     /* no condition */
#define CONCLAVE_KV_ABSENT UINT64_C(0) /* the key must not exist */

/* What a command did. */
struct conclave_kv_result {
    uint64_t revision;     /* of the store, after the command */
    uint64_t mod_revision; /* put: of the key before it, 0: it did not exist. With COMPARE_FAILED:
                              of the key now, 0: it does not exist */
    uint64_t deleted;      /* delete: how many keys; 0 is no error */
};

/* Puts a value. `ret_result` may be NULL. Errors: INVALID (empty key), TOO_LARGE, QUOTA (the store
 * is as large as it may be), COMPARE_FAILED (nothing changed; *ret_result is set, the only failure
 * with which it is). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_put(struct conclave_client *client, const void *key,
                                                   size_t key_bytes, const void *value,
                                                   size_t value_bytes, uint64_t if_revision,
                                                   uint32_t timeout_ms,
                                                   struct conclave_kv_result *ret_result);

/* What a put can say beside key and value. */
struct conclave_kv_put_options {
    size_t size;          /* set by conclave_kv_put_options_init */
    uint64_t if_revision; /* CONCLAVE_KV_ANY */
    uint64_t lease;       /* the key ends with this lease (conclave_lease.h); 0: with none */
    uint64_t ttl_ms;      /* or it ends by itself after that time, unless it is put again; 0: not */
};

/* Sets every field to its default. Any thread. */
CONCLAVE_API void conclave_kv_put_options_init(struct conclave_kv_put_options *options);

/* As conclave_kv_put. Errors beside its: LEASE_EXPIRED, QUOTA. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_kv_put_with(struct conclave_client *client, const void *key, size_t key_bytes,
                     const void *value, size_t value_bytes,
                     const struct conclave_kv_put_options *options, uint32_t timeout_ms,
                     struct conclave_kv_result *ret_result);

/* Deletes a key. A missing key is CONCLAVE_OK with `deleted` 0. Errors as conclave_kv_put. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_delete(struct conclave_client *client,
                                                      const void *key, size_t key_bytes,
                                                      uint64_t if_revision, uint32_t timeout_ms,
                                                      struct conclave_kv_result *ret_result);

/* Deletes every key that begins with the prefix, in one step; an empty prefix is every key.
 * Errors: TOO_LARGE (prefix). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_kv_delete_prefix(struct conclave_client *client, const void *prefix, size_t prefix_bytes,
                          uint32_t timeout_ms, struct conclave_kv_result *ret_result);

/* Deletes the keys from `from` (included; NULL: the first) to `to` (not included; NULL: no end) in
 * one step. Errors: TOO_LARGE (a bound). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_delete_range(struct conclave_client *client,
                                                            const void *from, size_t from_bytes,
                                                            const void *to, size_t to_bytes,
                                                            uint32_t timeout_ms,
                                                            struct conclave_kv_result *ret_result);

/* --- Reading ---------------------------------------------------------------------------------- */

/* One key and what belongs to it. The bytes belong to whoever handed the item out. */
struct conclave_kv_item {
    const void *key;
    size_t key_bytes;
    const void *value; /* NULL where keys alone were asked for */
    size_t value_bytes;
    uint64_t create_revision;
    uint64_t mod_revision;
    uint64_t version;
    uint64_t lease; /* that it ends with; 0: none */
};

/* The answer to conclave_kv_get. */
struct conclave_kv_found {
    struct conclave_kv_item item; /* valid until released */
    uint64_t revision;            /* of the store when it was read */
    struct conclave_op op;        /* holds the bytes */
};

/* Reads a key, linearizably. CONCLAVE_OK: *ret_found is to be released. Errors: NOT_FOUND (with
 * ret_found->revision set and nothing to release), INVALID (empty key), TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_get(struct conclave_client *client, const void *key,
                                                   size_t key_bytes, uint32_t timeout_ms,
                                                   struct conclave_kv_found *ret_found);

/* Reads a key, linearizably, as long as clocks are not off by more than the leases allow for (20
 * %): a leader that has a lease answers by itself. Without leases (conclave_options.leases) it is
 * conclave_kv_get. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_get_lease(struct conclave_client *client,
                                                         const void *key, size_t key_bytes,
                                                         uint32_t timeout_ms,
                                                         struct conclave_kv_found *ret_found);

/* Reads a key as it was at most max_age_ms ago: any node answers that was up to date since then,
 * also while there is no leader; ret_found->op.age_ms says how old the answer may be. As
 * conclave_kv_get else, and STALE: no node that was asked is sure enough. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_get_stale(struct conclave_client *client,
                                                         const void *key, size_t key_bytes,
                                                         uint32_t max_age_ms, uint32_t timeout_ms,
                                                         struct conclave_kv_found *ret_found);

/* Reads a key as it was at a revision. As conclave_kv_get else; and COMPACTED: older than what is
 * kept. STALE: the store has not come so far. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_get_at(struct conclave_client *client,
                                                      const void *key, size_t key_bytes,
                                                      uint64_t revision, uint32_t timeout_ms,
                                                      struct conclave_kv_found *ret_found);

/* Deletes a key and tells what it was, in one step: CONCLAVE_OK, and *ret_found is to be released.
 * NOT_FOUND: there was none, nothing changed. Else as conclave_kv_delete; COMPARE_FAILED releases
 * nothing. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_take(struct conclave_client *client, const void *key,
                                                    size_t key_bytes, uint64_t if_revision,
                                                    uint32_t timeout_ms,
                                                    struct conclave_kv_found *ret_found);

/* Frees what a successful conclave_kv_get handed out. Harmless a second time. */
CONCLAVE_API void conclave_kv_found_release(struct conclave_kv_found *found);

/* What conclave_kv_list lists: keys that begin with `prefix` and lie in [from, to). */
struct conclave_kv_list_options {
    size_t size;        /* set by conclave_kv_list_options_init */
    const void *prefix; /* NULL: any */
    size_t prefix_bytes;
    const void *from; /* NULL: from the first key */
    size_t from_bytes;
    const void *to; /* NULL: up to the last key */
    size_t to_bytes;
    uint64_t limit;      /* items at most; 0: no limit */
    bool keys_only;      /* items without values */
    uint32_t page_bytes; /* of items in one answer; 0: 256 KiB */
    uint32_t timeout_ms; /* of each page; 0: the client's default */
    uint64_t revision;   /* as of then (COMPACTED, STALE as conclave_kv_get_at); 0: now */
};

/* Sets every field to its default: all keys, with values. Any thread. */
CONCLAVE_API void conclave_kv_list_options_init(struct conclave_kv_list_options *options);

struct conclave_kv_listed {
    uint64_t count; /* of items handed out, or counted */
    uint64_t
        first_revision; /* of the store when the first page was read; each page is linearizable */
    uint64_t
        last_revision; /* and the last: if they are equal, the list is one state of the store */
};

/* Lists keys in the order of their bytes, page by page. `item` gets one at a time, valid during the
 * call; it must not use the client; a value other than 0 ends the list early (with CONCLAVE_OK).
 * item NULL: counts only. `ret_listed` may be NULL; it is set on failure too: what was handed out.
 * Errors: TOO_LARGE (a bound); a page that fails ends the list. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_kv_list(struct conclave_client *client, const struct conclave_kv_list_options *options,
                 int (*item)(void *arg, const struct conclave_kv_item *item), void *arg,
                 struct conclave_kv_listed *ret_listed);

/* --- The store ---------------------------------------------------------------------------------
 */

/* What the store keeps of the past, and how large it may be. */
struct conclave_kv_settings {
    uint64_t history_changes; /* at most 1,048,576 */
    uint64_t history_bytes;
    uint64_t history_age_ms; /* of cluster time; 0: any */
    uint64_t quota_bytes;    /* that keys, leases and topics may take; 0: any number */
};

/* As a field of the settings that are to be set: leave it as it is. */
#define CONCLAVE_KV_KEEP UINT64_MAX

struct conclave_kv_usage {
    uint64_t revision;
    uint64_t compacted; /* the oldest revision that can be read */
    uint64_t clock_ms;  /* cluster time */
    struct conclave_kv_settings settings;
    /* What the quota counts: a key's bytes, its value's and 32; a lease: 96; */
    uint64_t keys, bytes;
    uint64_t history_changes, history_bytes, leases;
    /* and a topic: its name's, 128, and its messages as they are stored. */
    uint64_t topics, topic_bytes;
    uint64_t refused_bytes; /* what was refused last, and still would be; 0: there is no alarm */
};

CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_usage(struct conclave_client *client,
                                                     uint32_t timeout_ms,
                                                     struct conclave_kv_usage *ret_usage);

/* Errors: TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_set(struct conclave_client *client,
                                                   const struct conclave_kv_settings *settings,
                                                   uint32_t timeout_ms);

/* --- For conclave_client_submit ---------------------------------------------------------------
 *
 * Encoders write a command or query into the caller's buffer, to be given to a struct conclave_op
 * of the kind named; *ret_bytes is what they wrote. A buffer of the keys' and the value's bytes
 * plus CONCLAVE_KV_OVERHEAD always suffices; a smaller one is TOO_LARGE, as are keys and values
 * over their limit. An empty key is INVALID. Any thread. */

enum { CONCLAVE_KV_OVERHEAD = 64 };

/* CONCLAVE_OP_PROPOSE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_encode_put(void *buffer, size_t capacity,
                                                          const void *key, size_t key_bytes,
                                                          const void *value, size_t value_bytes,
                                                          uint64_t if_revision, size_t *ret_bytes);

/* CONCLAVE_OP_PROPOSE. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_encode_delete(void *buffer, size_t capacity,
                                                             const void *key, size_t key_bytes,
                                                             uint64_t if_revision,
                                                             size_t *ret_bytes);

/* CONCLAVE_OP_PROPOSE. NULL bounds as conclave_kv_delete_range. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_kv_encode_delete_range(void *buffer, size_t capacity, const void *from, size_t from_bytes,
                                const void *to, size_t to_bytes, size_t *ret_bytes);

/* CONCLAVE_OP_READ. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_encode_get(void *buffer, size_t capacity,
                                                          const void *key, size_t key_bytes,
                                                          size_t *ret_bytes);

/* CONCLAVE_OP_READ. One page from `from` to `to` (NULL as above): at most `limit` items (0: as many
 * as fit) and page_bytes (0: 256 KiB). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_encode_range(void *buffer, size_t capacity,
                                                            const void *from, size_t from_bytes,
                                                            const void *to, size_t to_bytes,
                                                            uint64_t limit, uint32_t page_bytes,
                                                            bool keys_only, size_t *ret_bytes);

/* Decoders read the answer of a done operation and return op->code, or MALFORMED for an answer that
 * is not of the form. What they hand out points into the operation's reply. Any thread. */

/* Of put, delete, delete range. *ret_result is set with CONCLAVE_OK and COMPARE_FAILED. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_decode_put(const struct conclave_op *op,
                                                          struct conclave_kv_result *ret_result);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_decode_delete(const struct conclave_op *op,
                                                             struct conclave_kv_result *ret_result);

/* Of get. *ret_revision, which may be NULL, is set with CONCLAVE_OK and NOT_FOUND. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_kv_decode_get(const struct conclave_op *op,
                                                          struct conclave_kv_item *ret_item,
                                                          uint64_t *ret_revision);

/* Of range: one item after the other goes to `item` (NULL: to nobody) until it returns other than
 * 0. */
struct conclave_kv_page {
    uint64_t revision;
    uint64_t count;   /* of items in the page */
    const void *next; /* `from` of the next page; NULL: nothing is left */
    size_t next_bytes;
};

CONCLAVE_API CONCLAVE_MUST_USE int
conclave_kv_decode_range(const struct conclave_op *op,
                         int (*item)(void *arg, const struct conclave_kv_item *item), void *arg,
                         struct conclave_kv_page *ret_page);

/* The first key after all that begin with `prefix`, into end[] (prefix_bytes at most), to be used
 * as `to`. Returns its size; 0: there is none, use NULL as `to`. Any thread. */
CONCLAVE_API size_t conclave_kv_prefix_end(const void *prefix, size_t prefix_bytes, void *end);

#ifdef __cplusplus
}
#endif
#endif
