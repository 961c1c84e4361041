/* codec/kv_lease.h - answers about leases, settings and usage. Commands and queries stand in
 * codec/kv.h.
 *
 *     answer   lease grant, renew  [revision, lease, ttl_ms]
 *              lease revoke        [revision, deleted]
 *              LEASE_EXPIRED       [revision]
 *              settings            [revision, 0]
 *              leases              [revision, [info, ...], next?]
 *              lease's keys        [revision, info, [[space, key], ...], next?]
 *              usage               [revision, compacted, clock_ms,
 *                                   [changes, bytes, age_ms, quota],
 *                                   [keys, bytes, history changes, history bytes, leases,
 *                                    topics, topic bytes, refused]]
 *     info                         [lease, ttl_ms, left_ms, keys]
 *
 * Decoding allocates nothing; slices point into the bytes read. Any thread; pure functions. */
#ifndef CODEC_KV_LEASE_H
#define CODEC_KV_LEASE_H

#include "codec/kv.h"

enum {
    KV_LEASES_DEFAULT = 1000, /* of one list, leases or keys, if no limit is given; and at most: */
    KV_LEASES_MAX = 10000
};
#define KV_TTL_MS_MAX (UINT64_C(10) * 366 * 24 * 3600 * 1000)

struct kv_lease_info {
    uint64_t lease, ttl_ms;
    uint64_t left_ms; /* of cluster time */
    uint64_t keys;    /* that end with it */
};

/* The answer to grant and renew. */
struct kv_lease_answer {
    uint64_t revision, lease, ttl_ms;
};
void kv_lease_answer_pack(struct pack *pack, const struct kv_lease_answer *answer);
MUST_USE int kv_lease_answer_decode(const void *data, size_t bytes, struct kv_lease_answer *ret);

/* The answers to LEASES and LEASE_KEYS: packed from their items, already packed one after the
 * other; read with begin, then next. */
struct kv_leases_answer {
    uint64_t revision;
    uint64_t next; /* `after` of the query that goes on; 0: nothing is left */
    uint32_t count;
    struct cursor items;
};
void kv_lease_info_pack(struct pack *pack, const struct kv_lease_info *info);
void kv_leases_answer_pack(struct pack *pack, const struct kv_leases_answer *answer,
                           struct slice items);
MUST_USE int kv_leases_answer_begin(const void *data, size_t bytes, struct kv_leases_answer *ret);
/* 1 and *ret, 0 at the end, -1 if the rest is malformed. */
MUST_USE int kv_leases_answer_next(struct kv_leases_answer *answer, struct kv_lease_info *ret);

struct kv_lease_keys_answer {
    uint64_t revision;
    struct kv_lease_info info;
    struct slice next; /* `place` of the query that goes on; empty: nothing is left */
    uint32_t count;
    struct cursor items;
};
void kv_lease_key_pack(struct pack *pack, uint64_t space, struct slice key);
void kv_lease_keys_answer_pack(struct pack *pack, const struct kv_lease_keys_answer *answer,
                               struct slice items);
MUST_USE int kv_lease_keys_answer_begin(const void *data, size_t bytes,
                                        struct kv_lease_keys_answer *ret);
MUST_USE int kv_lease_keys_answer_next(struct kv_lease_keys_answer *answer, uint64_t *ret_space,
                                       struct slice *ret_key);

struct kv_usage {
    uint64_t revision;
    uint64_t compacted; /* the oldest revision that can be read */
    uint64_t clock_ms;
    uint64_t settings[KV_SETTING_COUNT];
    uint64_t keys, bytes, history_changes, history_bytes, leases;
    uint64_t topics, topic_bytes;
    uint64_t refused; /* bytes that the quota had, and has, no room for; 0: no alarm */
};
void kv_usage_pack(struct pack *pack, const struct kv_usage *usage);
MUST_USE int kv_usage_decode(const void *data, size_t bytes, struct kv_usage *ret);

#endif
