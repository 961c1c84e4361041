/* machine/topic.h - topics: what their commands do to the tables inside the apply of a batch.
 *
 * Everything depends on the commands and on the cluster clock that is written in the log, so that
 * every node has the same blocks under the same keys. A publish is one append of what came, copied
 * once, from the log's entry to the page. What goes by retention or with a deleted topic is erased
 * by later commands, a bounded part each. State-machine thread.
 *
 * Functions that say "rc" return 0 or the code of a failure of this node's tables, TABLES_FULL too:
 * the batch is then to be aborted. */
#ifndef MACHINE_TOPIC_H
#define MACHINE_TOPIC_H

#include "machine/topic_record.h"

/* Which topics got messages, and which ones: for those who subscribe (machine/topic_feed.h), and
 * for members of groups that wait (machine/group_feed.h). */
enum { TOPIC_TOUCHED_MAX = 256 };
struct topic_touched {
    bool too_many; /* of them: any topic may have changed */
    uint32_t count;
    struct {
        uint64_t from, end;
        uint8_t name_bytes, name[CONCLAVE_TOPIC_BYTES_MAX];
    } items[TOPIC_TOUCHED_MAX];
};

/* The newest block of the topic at hand while messages are joined to it. */
struct topic_tail {
    bool loaded; /* `bytes` holds it */
    bool stored; /* some of it is in the table */
    bool changed;
    uint8_t bytes[TOPIC_JOIN_BYTES];
};

/* One apply. The record of the topic that was used last is kept here, and stored when another one
 * is used or the batch ends: thousands of publishes in one batch store it once. So it is with its
 * newest block, as long as that is small. */
struct topic_batch {
    struct tables_tx *tx;
    uint64_t clock_ms;
    uint64_t lag_ms; /* so much of cluster time may not be written yet; always the same */
    struct tables_cursor newest, oldest; /* over the blocks; opened when they are needed */
    bool loaded, changed;
    bool none_dead; /* no deleted topic is left to be erased: it has been looked at */
    size_t name_bytes;
    uint8_t name[CONCLAVE_TOPIC_BYTES_MAX];
    struct topic_record record;
    struct topic_tail tail;                  /* of the record's topic */
    struct topic_touched *touched, *waiting; /* NULL: nobody wants to know */

    /* For quotas (machine/kv_quota.h). */
    uint64_t *topics, *bytes; /* how many there are, and what they take; NULL: nobody counts */
    uint64_t room;            /* what the command at hand may add */
    uint64_t refused;         /* what it would have added; 0: it was not refused for that */
};

/* When something happens now: the latest that it can be, so that nothing is ever too old early. */
static inline uint64_t topic_stamp_ms(const struct topic_batch *batch)
{
    return batch->clock_ms + batch->lag_ms;
}

void topic_batch_init(struct topic_batch *batch, struct tables_tx *tx);

/* rc. Stores what is kept. Before the batch is committed. */
MUST_USE int topic_batch_flush(struct topic_batch *batch);

/* In any case, before the transaction ends. */
void topic_batch_deinit(struct topic_batch *batch);

/* rc. Applies a command whose opcode topic_is_command knows, and sets its answer (`reply` NULL:
 * nobody asks). *revision is the store's, raised by one if anything changes. */
MUST_USE int topic_command_apply(struct topic_batch *batch, uint64_t *revision, const void *data,
                                 size_t bytes, struct conclave_reply_sink *reply);

#endif
