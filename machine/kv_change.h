/* machine/kv_change.h - the one way in which a key changes.
 *
 * A command, an expired lease or whatever else changes keys is one revision: kv_change_begin, any
 * number of puts and erases, kv_change_end. Each of them goes to the key's table, to the history,
 * from which those who watch are told (machine/kv_history.h), to what quotas count, and to the
 * audit. A key changes at most once within a revision.
 *
 * Functions return 0 or the code of a failure of this node's tables, TABLES_FULL too: the batch is
 * then to be aborted. One thread: the state-machine actor's. */
#ifndef MACHINE_KV_CHANGE_H
#define MACHINE_KV_CHANGE_H

#include "machine/kv_history.h"
#include "machine/reply.h"
#include "machine/topic.h"

/* Where keys live; of equal form, and never seen by one another. */
enum kv_space {
    KV_SPACE_USER = 0,  /* users' keys */
    KV_SPACE_COORD = 1, /* sequential keys of locks, elections and presence */
    KV_SPACES
};

static inline enum table kv_space_table(enum kv_space space)
{
    return space == KV_SPACE_USER ? TABLE_KEYS : TABLE_COORD;
}

/* One apply. */
struct kv_batch {
    struct tables_tx tx;
    struct tables_cursor keys[KV_SPACES]; /* opened when they are needed */
    struct kv_history history;
    struct kv_state state; /* after what was applied so far */
    uint64_t clock_ms;     /* cluster time */
    uint64_t clock_lag_ms; /* and how much of it may not be written yet */
    uint32_t expire_work;  /* what one passing of time may end; 0: KV_EXPIRE_WORK */
    bool expiring;         /* a lease ends: the records of what it holds go all at once */
    struct topic_batch topics;
    bool groups_buried; /* of deleted groups nothing is left: it has been looked at */

    /* The command at hand. */
    uint64_t index;                    /* its entry's */
    struct conclave_reply_sink *reply; /* NULL: nobody asks */
    uint32_t changes;                  /* of keys within the revision that it makes */
    bool published;                    /* and whether it brings messages of topics */
};

void kv_batch_close(struct kv_batch *batch);

/* A key as it is. The bytes are borrowed from its table. */
struct kv_found {
    struct slice stored;     /* record and value; empty: there is no such key */
    struct kv_record record; /* all zero then */
};

/* What is changed from here on is one revision: the next one. */
void kv_change_begin(struct kv_batch *batch);

/* Whether there is anything in it by now. */
static inline bool kv_change_any(const struct kv_batch *batch)
{
    return batch->changes > 0 || batch->published;
}

/* The revision that it is going to be. */
static inline uint64_t kv_change_revision(const struct kv_batch *batch)
{
    return batch->state.revision + 1;
}

/* Finds the key, to be changed or not. The space's cursor stands on it, if there is one. */
MUST_USE int kv_change_find(struct kv_batch *batch, enum kv_space space, struct slice key,
                            struct kv_found *ret);

/* By how many bytes more than now a key would count if that much were put: 0 where it shrinks. */
uint64_t kv_change_growth(size_t key_bytes, size_t value_bytes, const struct kv_found *old);

/* Puts a value; `old` is what kv_change_find just found there. `lease`: one that there is, which
 * the key ends with from now on; 0: none. */
MUST_USE int kv_change_put(struct kv_batch *batch, enum kv_space space, struct slice key,
                           struct slice value, uint64_t lease, const struct kv_found *old);

/* Erases the key that the space's cursor stands on; `old` is what is there. `kind`: DELETE or
 * EXPIRE. The cursor can be moved to the key that followed. */
MUST_USE int kv_change_erase(struct kv_batch *batch, enum kv_space space, enum kv_change_kind kind,
                             struct slice key, const struct kv_found *old);

/* Erases every key from `from` to `to` (to.data NULL: to the end); *ret_count is how many. */
MUST_USE int kv_change_erase_range(struct kv_batch *batch, enum kv_space space, struct slice from,
                                   struct slice to, bool no_end, uint64_t *ret_count);

/* The revision is made, if anything changed; history that is too old goes. */
MUST_USE int kv_change_end(struct kv_batch *batch);

#endif
