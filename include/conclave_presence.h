/* conclave_presence.h - presence in groups: who is there, with libconclave's client.
 *
 * A member of a group has a name and a value, and is there until it leaves or is not heard of for
 * its ttl_ms. Who comes and goes is told, in order and by any node. Names need not be different: a
 * program that died and came back may be there twice until the time of the first one is over; the
 * tokens, which rise with each that joins, tell them apart.
 *
 * A group is a queue of conclave_lock.h with slots 0, so that its name must not be that of a lock
 * or an election, and a member is a lock that everybody holds: conclave_lock_poll renews it and
 * says CONCLAVE_OK once it is in, conclave_lock_left_ms for how long it surely is,
 * conclave_lock_release leaves. */
#ifndef CONCLAVE_PRESENCE_H
#define CONCLAVE_PRESENCE_H

#include "conclave_lock.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CONCLAVE_MEMBER_NAME_BYTES_MAX = 471, CONCLAVE_PRESENCE_VALUE_BYTES_MAX = 3624 };

struct conclave_presence_options {
    size_t size;      /* set by conclave_presence_options_init */
    const void *name; /* 1 to CONCLAVE_MEMBER_NAME_BYTES_MAX bytes without a zero byte */
    size_t name_bytes;
    const void *value; /* NULL: none */
    size_t value_bytes;
    uint32_t ttl_ms; /* 10000; at least 500 */
};

CONCLAVE_API void conclave_presence_options_init(struct conclave_presence_options *options);

/* Begins to join; conclave_lock_poll goes on, as after conclave_lock_begin. Errors: INVALID,
 * TOO_LARGE. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_presence_join(struct conclave_client *client, const void *group, size_t group_bytes,
                       const struct conclave_presence_options *options,
                       struct conclave_lock **ret_member);

/* Replaces name and value of a member. As conclave_lock_proclaim. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_presence_set(struct conclave_lock *member,
                                                         const void *name, size_t name_bytes,
                                                         const void *value, size_t value_bytes,
                                                         uint32_t timeout_ms);

struct conclave_presence_member {
    uint64_t token;    /* rises with each that joins */
    uint64_t revision; /* of its last change */
    const void *name;
    size_t name_bytes;
    const void *value;
    size_t value_bytes;
};

/* Everybody, in the order in which they joined. As conclave_queue_list. */
CONCLAVE_API CONCLAVE_MUST_USE int conclave_presence_list(
    struct conclave_client *client, const void *group, size_t group_bytes, uint32_t timeout_ms,
    int (*member)(void *arg, const struct conclave_presence_member *member), void *arg);

/* --- Watching ----------------------------------------------------------------------------------
 */

struct conclave_presence_watch;

enum conclave_presence_kind {
    CONCLAVE_PRESENCE_JOIN = 1,
    CONCLAVE_PRESENCE_LEAVE = 2,
    CONCLAVE_PRESENCE_CHANGE = 3, /* another name or value */
    CONCLAVE_PRESENCE_SYNCED = 4  /* those that were told are all there were; once */
};

struct conclave_presence_event {
    enum conclave_presence_kind kind;
    uint64_t revision;
    struct conclave_presence_member member; /* valid until the next call */
    bool expired;                           /* LEAVE: it was not heard of */
};

/* Tells everybody that is there as JOIN, then SYNCED, and then what happens: each once and in
 * order. After a pause in which more happened than the nodes keep, what differs is told. Errors:
 * INVALID, TOO_LARGE, BUSY (as conclave_watch_create). */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_presence_watch_create(struct conclave_client *client, const void *group,
                               size_t group_bytes, struct conclave_presence_watch **ret_watch);
CONCLAVE_API void conclave_presence_watch_destroy(struct conclave_presence_watch *watch);

/* The next event. Waits and errors as of conclave_watch_next. */
CONCLAVE_API CONCLAVE_MUST_USE int
conclave_presence_watch_next(struct conclave_presence_watch *watch, uint32_t timeout_ms,
                             struct conclave_presence_event *ret_event);

/* As conclave_watch_describe. */
CONCLAVE_API const char *conclave_presence_watch_describe(struct conclave_presence_watch *watch);

#ifdef __cplusplus
}
#endif
#endif
