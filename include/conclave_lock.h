/* conclave_lock.h - locks, elections and presence: queues of libconclave's client.
 *
 * Whoever wants a lock gets an entry in the queue of its name, behind all others, that lives as
 * long as a lease; the first `slots` entries hold. The queue is fair: who comes first holds first,
 * and who holds goes on until he releases, or his lease ends because he was not heard of for
 * ttl_ms.
 *
 * A lock alone is not safe: a holder that was stopped (by a debugger, a full machine, a closed lid)
 * may go on after his lease ended and somebody else holds. Two things help. The holder's own clock:
 * conclave_lock_left_ms counts from when the last renewal that was answered was *sent*, so it is
 * never later than the end of the lease. And the fencing token, which rises with every holder: hand
 * it to whatever is guarded with each request, and let that refuse a token lower than one it saw.
 *
 * An election is a lock with one slot whose holder leads; its value says who it is, and can be
 * replaced while it leads. Presence is a queue with slots 0: everybody holds.
 *
 * Functions follow the conventions of conclave_kv.h. Names are 1 to CONCLAVE_QUEUE_NAME_BYTES_MAX
 * bytes without a zero byte; locks, elections and presence share them. */
#ifndef CONCLAVE_LOCK_H
#define CONCLAVE_LOCK_H

#include "conclave.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONCLAVE_QUEUE_NAME_BYTES_MAX = 471,
    CONCLAVE_QUEUE_VALUE_BYTES_MAX = 4096,
    CONCLAVE_LOCK_SLOTS_MAX = 1000
};

/* Waits without end. */
#define CONCLAVE_LOCK_FOREVER UINT32_MAX

struct conclave_lock_options {
    size_t size;    /* set by conclave_lock_options_init */
    uint32_t slots; /* 1; how many may hold at a time, 0: everybody. Those who queue under a name at
                       the same time have to agree */
    uint32_t ttl_ms;   /* 10000; not heard of for so long a holder has lost it. At least 500 */
    const void *value; /* NULL: none; to be seen by conclave_queue_list */
    size_t value_bytes;
};

CONCLAVE_API void conclave_lock_options_init(struct conclave_lock_options *options);

struct conclave_lock;

/* Queues and waits up to wait_ms (0: takes it only if it is free) until it holds. Meanwhile, as by
 * conclave_lock_poll afterwards, its lease is renewed. CONCLAVE_OK: *ret_lock is to be released.
 * Errors: TIMEOUT (others hold; it does not queue any more), COMPARE_FAILED (those who queue have
 * another number of slots), LEASE_EXPIRED (its lease ended while it waited), INVALID (name,
 * ttl_ms), TOO_LARGE, QUOTA, or of the client; what it left behind then ends with its lease. The
 * client outlives the lock and is used inside these functions alone. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_lock_acquire(struct conclave_client *client, const void *name, size_t name_bytes,
                      const struct conclave_lock_options *options, uint32_t wait_ms,
                      struct conclave_lock **ret_lock);

/* The fencing token: higher than that of every earlier holder, of any lock. */
CONCLAVE_API uint64_t conclave_lock_token(const struct conclave_lock *lock);

/* Renews the lease if it is time to. To be called when conclave_lock_poll_ms is over, or more
 * often; it waits for an answer a sixth of ttl_ms at most. CONCLAVE_OK: it holds, by this process's
 * clock. LEASE_EXPIRED: it is lost, for good, and what it guards must not be touched any more. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lock_poll(struct conclave_lock *lock);
CONCLAVE_API uint32_t conclave_lock_poll_ms(const struct conclave_lock *lock);

/* For how long it surely holds, by this process's clock, if nothing more is heard; 0: it is lost.
 */
CONCLAVE_API uint32_t conclave_lock_left_ms(const struct conclave_lock *lock);

/* Replaces the value. Errors: LEASE_EXPIRED (it is lost), TOO_LARGE, of the client. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lock_proclaim(struct conclave_lock *lock,
                                                          const void *value, size_t value_bytes,
                                                          uint32_t timeout_ms);

/* Gives it up, so that the next one holds at once, and frees it in any case. NULL is allowed.
 * Returns why the cluster could not be told: then it ends with its lease. */
CONCLAVE_API int conclave_lock_release(struct conclave_lock *lock, uint32_t timeout_ms);

/* Who is in a queue. */
struct conclave_queue_entry {
    uint64_t token;
    uint64_t lease;
    const void *value; /* valid during the call that hands it out */
    size_t value_bytes;
    uint64_t revision; /* of its last change */
    bool holds;
};

/* Everybody in the queue, in order, linearizably in pages of 100. `entry` must not use the client;
 * a value other than 0 ends the list early. An empty queue is CONCLAVE_OK. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_queue_list(struct conclave_client *client, const void *name, size_t name_bytes,
                    uint32_t timeout_ms,
                    int (*entry)(void *arg, const struct conclave_queue_entry *entry), void *arg);

#ifdef __cplusplus
}
#endif
#endif
