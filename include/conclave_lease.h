/* conclave_lease.h - the lease functions of libconclave's client.
 *
 * A lease is a time that keys live for unless somebody renews it. It has a number, never used
 * again; a put names it (conclave_kv_put_with), and when it ends, by its time or because it is
 * revoked, the keys that it holds are deleted as one revision.
 *
 * Time is the cluster's clock: milliseconds that leaders measured and wrote into the log. It never
 * runs ahead of real time and stands while nobody leads, so no lease ends early, by whatever clock
 * that keeps time; at a change of leader it lasts longer. Who holds a lease counts its time from
 * before it asked, and renews in good time: a third of it is usual.
 *
 * Functions follow the conventions of conclave_kv.h: the same codes, the same thread, timeout_ms 0
 * is the client's default. */
#ifndef CONCLAVE_LEASE_H
#define CONCLAVE_LEASE_H

#include "conclave.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A new lease of that many milliseconds, from now on; *ret_lease is its number. Errors: INVALID (no
 * time), TOO_LARGE (more than ten years), QUOTA. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_grant(struct conclave_client *client,
                                                        uint64_t ttl_ms, uint32_t timeout_ms,
                                                        uint64_t *ret_lease);

/* Its time begins anew; *ret_ttl_ms, which may be NULL, is how much that is. Errors: INVALID (0),
 * LEASE_EXPIRED (there is none of that number, any more). */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_renew(struct conclave_client *client,
                                                        uint64_t lease, uint32_t timeout_ms,
                                                        uint64_t *ret_ttl_ms);

/* Ends it now; *ret_deleted, which may be NULL, is how many keys went with it. Errors as above. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_revoke(struct conclave_client *client,
                                                         uint64_t lease, uint32_t timeout_ms,
                                                         uint64_t *ret_deleted);

struct conclave_lease_info {
    uint64_t lease, ttl_ms;
    uint64_t left_ms; /* of cluster time, as of what is in the log */
    uint64_t keys;    /* that end with it */
};

/* Every lease that was granted, in the order of the numbers, until `item` returns other than 0.
 * Those that came with a key alone are not among them. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_lease_list(struct conclave_client *client, uint32_t timeout_ms,
                    int (*item)(void *arg, const struct conclave_lease_info *info), void *arg);

/* One lease, and every key that it holds: `key` (NULL: nobody) gets one at a time, until it returns
 * other than 0; keys of the cluster's own recipes (locks) are not among them. Errors: INVALID (0),
 * LEASE_EXPIRED. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_lease_info(struct conclave_client *client, uint64_t lease, uint32_t timeout_ms,
                    int (*key)(void *arg, const void *key, size_t key_bytes), void *arg,
                    struct conclave_lease_info *ret_info);

/* --- For conclave_client_submit ----------------------------------------------------------------
 *
 * As those of conclave_kv.h: a buffer of CONCLAVE_KV_OVERHEAD bytes (conclave_kv.h) suffices. All
 * are of the kind CONCLAVE_OP_PROPOSE. Any thread. */

CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_encode_grant(void *buffer, size_t capacity,
                                                               uint64_t ttl_ms, size_t *ret_bytes);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_encode_renew(void *buffer, size_t capacity,
                                                               uint64_t lease, size_t *ret_bytes);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_encode_revoke(void *buffer, size_t capacity,
                                                                uint64_t lease, size_t *ret_bytes);

/* Of grant and renew. What is NULL is not told. Returns op->code, or MALFORMED. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_decode(const struct conclave_op *op,
                                                         uint64_t *ret_lease, uint64_t *ret_ttl_ms);
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lease_decode_revoke(const struct conclave_op *op,
                                                                uint64_t *ret_deleted);

#ifdef __cplusplus
}
#endif
#endif
