/* machine/session_internal.h - struct session_table, shared by the files that implement
 * machine/session_table.h. State-machine thread. */
#ifndef MACHINE_SESSION_INTERNAL_H
#define MACHINE_SESSION_INTERNAL_H

#include "machine/session_table.h"

enum { SESSION_BUCKETS = SESSIONS_MAX };

struct session_table {
    struct session_limits limits;
    struct session *buckets[SESSION_BUCKETS]; /* by id; lists through in_bucket */
    struct session *oldest, *newest;          /* in the order of used_index */
    uint32_t count;
    uint64_t slots; /* of all rings */
    uint64_t body_bytes;
    uint64_t clock_ms; /* cluster time */
    uint64_t commands; /* let through so far */

    struct audit_chain audit;

    bool changed; /* clock_ms, commands or audit, since saved */
    struct session *dirty;
    struct { /* ids that ended since saved */
        uint64_t *items;
        uint32_t count, capacity;
    } removed;
};

/* The place of a number in the ring, which has one. Capacities are powers of two: a division takes
 * as long as a dozen other instructions, and each command comes by here five times. */
static inline struct session_slot *session_slot_of(const struct session *session, uint64_t sequence)
{
    return &session->slots[sequence & (session->capacity - 1)];
}

/* Puts a session that is not in the table into it, as the one used last. */
void session_table_insert(struct session_table *table, struct session *session);

/* An empty ring of this capacity for a session that has none. */
void session_ring_create(struct session_table *table, struct session *session, uint32_t capacity);

void session_mark_dirty(struct session_table *table, struct session *session);

/* The slots of these numbers changed, and with them the session. */
void session_mark_changed(struct session_table *table, struct session *session, uint64_t from,
                          uint64_t to);

#endif
