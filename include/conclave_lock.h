/* conclave_lock.h - locks and elections: queues of libconclave's client.
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
 * Nobody asks again and again: who waits watches the one entry that has to go first, who holds
 * watches its own, and who looks on watches the first. The watches share the connection of their
 * client (conclave_watch.h).
 *
 * An election is a lock with one slot whose holder leads; its value says who it is, and can be
 * replaced while it leads. In a queue with slots 0 everybody holds: conclave_presence.h.
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
 * ttl_ms), TOO_LARGE, QUOTA; UNREACHABLE, NO_LEADER, BUSY and such: the cluster could not be asked
 * in the client's own time. What it left behind then ends with its lease. The client outlives the
 * lock; its thread uses it. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_lock_acquire(struct conclave_client *client, const void *name, size_t name_bytes,
                      const struct conclave_lock_options *options, uint32_t wait_ms,
                      struct conclave_lock **ret_lock);

/* The same without waiting: begins, and conclave_lock_poll goes on, says TIMEOUT as long as it does
 * not hold, and the errors above if it will not. Errors: INVALID, TOO_LARGE. *ret_lock is to be
 * released in every other case. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_lock_begin(struct conclave_client *client,
                                                       const void *name, size_t name_bytes,
                                                       const struct conclave_lock_options *options,
                                                       struct conclave_lock **ret_lock);

/* The fencing token: higher than that of every earlier holder, of any lock. */
CONCLAVE_API uint64_t conclave_lock_token(const struct conclave_lock *lock);

/* Renews the lease if it is time to, and takes in what came; waits for nothing. To be called when
 * conclave_client_fd is readable, when conclave_lock_poll_ms is over, or more often. CONCLAVE_OK:
 * it holds, by this process's clock. LEASE_EXPIRED: it is lost, for good, and what it guards must
 * not be touched any more: its entry was seen to go, or its time is over. */
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

/* --- Looking on --------------------------------------------------------------------------------
 */

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

/* Who holds first in a queue, which in an election is who leads, as it changes. It watches that one
 * entry, at any node, and goes on at another one. */
struct conclave_observer;

/* Errors: INVALID, TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_observer_create(struct conclave_client *client, const void *name, size_t name_bytes,
                         struct conclave_observer **ret_observer);
CONCLAVE_API void conclave_observer_destroy(struct conclave_observer *observer);

/* The next change; waits for it up to timeout_ms. The first one is how it is; then each new value
 * of who leads, and who leads next: with a token that rises. token 0: nobody does. What changed
 * several times before it was asked for is told as it is in the end. `lease` is 0; the value is
 * valid until the next call. Errors: TIMEOUT: no change, or no node can be asked; for good:
 * INVALID, MALFORMED.
 */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_observer_next(struct conclave_observer *observer,
                                                          uint32_t timeout_ms,
                                                          struct conclave_queue_entry *ret_entry);

/* --- For conclave_client_submit ----------------------------------------------------------------
 *
 * As those of conclave_kv.h: a buffer of the name's and the value's bytes and CONCLAVE_KV_OVERHEAD
 * suffices. The lease is of conclave_lease.h, and is renewed by whoever granted it. Any thread. */

/* CONCLAVE_OP_PROPOSE. A lease that is in the queue already is answered with the place that it has.
 */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_queue_encode_enqueue(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                              uint64_t lease, const void *value, size_t value_bytes, uint32_t slots,
                              size_t *ret_bytes);

/* CONCLAVE_OP_PROPOSE. Gives the entry up; one that is not there is CONCLAVE_OK too. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_queue_encode_leave(void *buffer, size_t capacity,
                                                               const void *name, size_t name_bytes,
                                                               uint64_t token, size_t *ret_bytes);

/* CONCLAVE_OP_PROPOSE. Replaces the value of an entry that holds; NOT_FOUND: it is gone. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_queue_encode_proclaim(void *buffer, size_t capacity, const void *name, size_t name_bytes,
                               uint64_t token, const void *value, size_t value_bytes,
                               size_t *ret_bytes);

/* CONCLAVE_OP_READ. Where the entry is; NOT_FOUND: it is gone. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_queue_encode_place(void *buffer, size_t capacity,
                                                               const void *name, size_t name_bytes,
                                                               uint64_t token, size_t *ret_bytes);

struct conclave_queue_place {
    uint64_t revision; /* of the store, when it was so */
    uint64_t token;
    uint64_t awaited; /* the entry that has to go first; 0: it holds */
};

/* Of enqueue and place. Returns op->code, or MALFORMED. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_queue_decode_place(const struct conclave_op *op, struct conclave_queue_place *ret_place);

#ifdef __cplusplus
}
#endif
#endif
