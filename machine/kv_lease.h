/* machine/kv_lease.h - leases: a time that keys live for, unless it is renewed.
 *
 * A lease has a number that is never used again, and holds keys, of any space. When it ends, by its
 * time or because somebody says so, all keys that it holds are deleted, as one revision. A key has
 * one lease at most: the one that its last put named. A put may also bring a lease of its own for
 * the key alone ("ttl"), which goes with the key and is in no list.
 *
 *     leases     number (8, big-endian) -> ttl_ms, deadline_ms, keys held, flags; 8 bytes each
 *     attached   number (8, big-endian), space (1), key -> nothing; in the place of a space
 *                GROUP_ATTACHED: the key is the id (8, big-endian) of a group (machine/group.h)
 *     deadlines  machine/kv_deadline.h
 *
 * Functions return what those of machine/kv_change.h do. State-machine thread. */
#ifndef MACHINE_KV_LEASE_H
#define MACHINE_KV_LEASE_H

#include "codec/kv_lease.h"
#include "machine/kv_change.h"

enum {
    KV_LEASE_OF_KEY = 1, /* flag: it came with a put, and goes with its key */
    KV_LEASE_BYTES = 96  /* what quotas count for a lease, with its deadline */
};

struct kv_lease {
    uint64_t id, ttl_ms, deadline_ms, keys, flags;
};

/* NOT_FOUND: there is no such lease. */
MUST_USE int kv_lease_find(struct tables_tx *tx, uint64_t id, struct kv_lease *ret);

/* A new one, from now on. */
MUST_USE int kv_lease_grant(struct kv_batch *batch, uint64_t ttl_ms, uint64_t flags,
                            struct kv_lease *ret);

/* Its time begins anew. */
MUST_USE int kv_lease_renew(struct kv_batch *batch, struct kv_lease *lease);

/* Deletes what it holds, as one revision, and the lease; `kind`: DELETE or EXPIRE. */
MUST_USE int kv_lease_end(struct kv_batch *batch, const struct kv_lease *lease,
                          enum kv_change_kind kind, uint64_t *ret_deleted);

/* For machine/kv_change.c: the lease holds the key from now on, or not any more. One that is not
 * there is CORRUPT. */
MUST_USE int kv_lease_attach(struct kv_batch *batch, uint64_t id, enum kv_space space,
                             struct slice key);
MUST_USE int kv_lease_detach(struct kv_batch *batch, uint64_t id, enum kv_space space,
                             struct slice key);

/* For machine/group.c: it has become a member of that work group, which is told of its end. */
MUST_USE int kv_lease_join(struct kv_batch *batch, uint64_t id, uint64_t group);

/* For machine/kv_expire.c: its time is over. *work goes down by 1 and its keys, to 0 at least. */
MUST_USE int kv_lease_expire(struct kv_batch *batch, uint64_t id, uint32_t *work);

/* --- Commands: they answer batch->reply --------------------------------------------------------
 */

MUST_USE int kv_lease_grant_apply(struct kv_batch *batch, uint64_t ttl_ms);
MUST_USE int kv_lease_renew_apply(struct kv_batch *batch, uint64_t id);
MUST_USE int kv_lease_revoke_apply(struct kv_batch *batch, uint64_t id);

#endif
