/* client/table.h - the outstanding operations of one client and their timers.
 *
 * An entry holds one submitted operation. Entries are found by the id that travels in the frames
 * without a search: the low bits of an id are the entry's index, the high bits count attempts.
 * Every attempt gets a new id, so that a late answer to an earlier attempt (or a duplicate) is
 * recognised as a stray: without that a stray "not applied" could pass for the verdict on an
 * attempt that was.
 *
 * Timers are a wheel of TABLE_WHEEL_TICKS buckets of TABLE_TICK_NS each: arming, disarming and
 * firing cost the same whatever the number of operations. A timer fires up to one tick late, never
 * early; one beyond the wheel's horizon is passed over until its round comes.
 *
 * Indexes stay valid until table_remove; pointers to entries until the next table_add (it may
 * grow the table). Owned by the client's thread. */
#ifndef CLIENT_TABLE_H
#define CLIENT_TABLE_H

#include "conclave.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_NONE UINT32_MAX
#define TABLE_TICK_NS UINT64_C(4000000)

enum {
    TABLE_INDEX_BITS =
        17, /* 65536 operations, and as many ids again for the client's own questions */
    TABLE_ATTEMPT_BITS = 53 - TABLE_INDEX_BITS,      /* ids stay below 2^53 */
    TABLE_ENTRIES_MAX = CONCLAVE_CLIENT_OPS_MAX + 1, /* one is the client's own */
    TABLE_CONTROL_FIRST = TABLE_ENTRIES_MAX,         /* indexes from here on are no entries */
    TABLE_CONTROL_LAST = (1 << TABLE_INDEX_BITS) - 1,
    TABLE_WHEEL_TICKS = 1024,
    TABLE_BUCKETS = TABLE_WHEEL_TICKS + 1 /* the last one collects what is due */
};

enum table_state {
    TABLE_FREE,
    TABLE_QUEUED,  /* waits to be sent */
    TABLE_HELD,    /* a proposal that waits for its number in a session */
    TABLE_SENT,    /* `connection` may have taken it; no answer yet */
    TABLE_WAITING, /* refused; waits for its back-off */
};

struct table_entry {
    struct conclave_op *op;
    uint64_t id;      /* of the current attempt */
    uint64_t sent_ns; /* of the current attempt */
    uint64_t deadline_ns;
    uint64_t session, sequence;      /* a proposal's number; 0: none (yet) */
    uint64_t wake_ns;                /* when its timer fires */
    uint32_t wheel_next, wheel_prev; /* list of its bucket */
    uint32_t queue_next;             /* send queue, held, or free list */
    uint16_t bucket;
    uint8_t state; /* enum table_state */
    uint8_t connection;
    uint8_t refusal;   /* the code of the last refusal; 0: never refused */
    bool uncertain;    /* numbered, and an earlier attempt may have been taken */
    uint8_t redirects; /* resent at once after a refusal, so many times */
};

struct table {
    struct table_entry *entries;
    uint32_t capacity, count, free_head;
    uint64_t attempts;
    uint64_t tick; /* the next tick to look at: all before it have fired */
    uint32_t heads[TABLE_BUCKETS];
    uint64_t occupied[TABLE_WHEEL_TICKS / 64]; /* a bit per bucket that is not empty */
};

void table_init(struct table *table, uint64_t now_ns);
void table_deinit(struct table *table);

/* Takes an entry for the operation, state TABLE_QUEUED, its timer at the deadline. Returns its
 * index, or TABLE_NONE when TABLE_ENTRIES_MAX are taken. */
uint32_t table_add(struct table *table, struct conclave_op *op, uint64_t deadline_ns);

/* Frees the entry and its timer. */
void table_remove(struct table *table, uint32_t index);

struct table_entry *table_at(struct table *table, uint32_t index);

/* A fresh id whose low bits are `index`, an entry or a number from TABLE_CONTROL_FIRST. */
uint64_t table_new_id(struct table *table, uint32_t index);

/* The low bits of an id. */
uint32_t table_id_index(uint64_t id);

/* The entry whose current attempt has this id and was sent, else TABLE_NONE. */
uint32_t table_find_sent(const struct table *table, uint64_t id);

/* Arms the entry's timer anew. */
void table_wake_at(struct table *table, uint32_t index, uint64_t wake_ns);

/* The next entry whose timer has fired, disarmed; TABLE_NONE when there is no more. */
uint32_t table_take_due(struct table *table, uint64_t now_ns);

/* When table_take_due is worth calling again; UINT64_MAX with no timer armed. */
uint64_t table_next_due_ns(const struct table *table);

#endif
