/* machine/topic_read.h - reading messages of a topic, from whatever transaction: of a query, of a
 * view, of whoever serves subscriptions. Functions return what those of machine/tables.h do, and
 * CORRUPT. The thread is the transaction's. */
#ifndef MACHINE_TOPIC_READ_H
#define MACHINE_TOPIC_READ_H

#include "machine/topic_record.h"

/* NOT_FOUND: there is no such topic. */
MUST_USE int topic_record_find(struct tables_tx *tx, struct slice name, struct topic_record *ret);

/* A place in a topic: the next message. */
struct topic_walk {
    struct tables_cursor cursor;
    uint64_t topic, sequence, end;
    struct slice block;      /* the one at hand; empty: none */
    struct topic_block head; /* its */
    uint64_t block_sequence; /* of its entry at `at` */
    uint64_t block_revision; /* of the entry before that */
    size_t at;
};

/* Goes to this sequence, or to the first one kept if that is behind it. */
MUST_USE int topic_walk_begin(struct topic_walk *walk, struct tables_tx *tx,
                              const struct topic_record *record, uint64_t sequence);

/* The next message; its bytes are borrowed from the table. NOT_FOUND behind the newest. */
MUST_USE int topic_walk_next(struct topic_walk *walk, struct topic_item *ret);

void topic_walk_end(struct topic_walk *walk);

/* The first message of this time or later; the topic's end if there is none. */
MUST_USE int topic_time_find(struct tables_tx *tx, const struct topic_record *record,
                             uint64_t time_ms, uint64_t *ret_sequence);

/* The oldest message that is not too old for the topic now, whatever is still stored. */
MUST_USE int topic_first(struct tables_tx *tx, const struct topic_record *record, uint64_t clock_ms,
                         uint64_t *ret_sequence);

/* Where to begin by what conclave_topic.h says; `first` is that of topic_first. Behind the newest
 * one where a sequence that did not come yet is asked for. */
MUST_USE int topic_start(struct tables_tx *tx, const struct topic_record *record, uint64_t clock_ms,
                         enum conclave_from from, uint64_t position, uint64_t first,
                         uint64_t *ret_sequence);

/* Sets the answer to a query whose opcode topic_is_query knows, whatever happens. */
void topic_query_answer(struct tables *tables, uint64_t revision, uint64_t clock_ms,
                        const void *data, size_t bytes, struct conclave_reply_sink *reply);

#endif
