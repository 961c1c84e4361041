/* actors/query_queue.h - queries of one client that wait for room for their answers
 * (actors/machine_queries.h), in the order in which they came. The state machine's thread. */
#ifndef ACTORS_QUERY_QUEUE_H
#define ACTORS_QUERY_QUEUE_H

#include "actors/envelope.h"

/* A query that may be answered as soon as there is room. */
struct stalled_query {
    struct query query;
    uint64_t ahead, valid_until_us, fresh_us; /* as in the envelope that it came in */
    uint64_t since_us;
};

/* Zeroed, but for `meter`, it is empty. */
struct query_queue {
    struct meter *meter; /* whose; borrowed from the queries */
    struct stalled_query *items;
    uint32_t head, count, capacity;
};

uint32_t query_queue_length(const struct query_queue *queue);

/* Takes the query over. */
void query_queue_add(struct query_queue *queue, const struct stalled_query *stalled);

/* The oldest one, still in the queue; NULL: none. */
struct stalled_query *query_queue_first(struct query_queue *queue);

/* Takes the oldest one out. Its references are the caller's to drop, before or after. */
void query_queue_next(struct query_queue *queue);

/* Drops all that is left. */
void query_queue_clear(struct query_queue *queue);

#endif
