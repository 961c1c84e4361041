/* actors/machine_queries.h - queries that wait in the state-machine actor, and their answers.
 *
 * A query waits for its index to be applied, and then, if its client or all clients together leave
 * too many answers unread (actors/reply_room.h), for room: it is small, its answer may be large, so
 * the answer is not made before. A client that reads gets its answers as fast as it takes them; of
 * one that does not, each query is answered BUSY after a while, and at once where too many wait.
 * The state machine's thread. */
#ifndef ACTORS_MACHINE_QUERIES_H
#define ACTORS_MACHINE_QUERIES_H

#include "actors/envelope.h"
#include "actors/node.h"
#include "actors/query_queue.h"

enum {
    QUERIES_STALLED_MAX = 16384, /* 100 bytes each, and a frame of 4 KiB at most: 66 MiB */
    QUERIES_STALLED_OF_CLIENT_MAX = 2048,
    QUERIES_STALLED_CLIENTS_MAX = 256,
    QUERIES_STALLED_US_MAX = 5000000,
    QUERIES_STALLED_RETRY_MS = 5 /* 8 MiB each time: 1.6 GB/s for one client */
};

/* Zeroed at first. */
struct machine_queries {
    struct { /* for an index that is not applied yet */
        struct envelope **items;
        uint32_t count, capacity;
    } waiting;
    struct { /* for room */
        struct query_queue *items;
        uint32_t count, capacity;
    } stalled;
    uint32_t stalled_count; /* queries in all of them */
    uint64_t fresh_us;      /* all that was committed then has been applied; 0: not known */
};

/* Takes the envelope over, a QUERY. */
void machine_queries_add(struct machine_queries *queries, struct envelope *envelope);

/* Answers what can be answered now: to `replies`, or back to raft what has to be read again. */
void machine_queries_answer(struct actor *actor, struct machine_queries *queries, uint64_t applied,
                            struct reply_list *replies);

/* The machine has no room for what they wait for: stale reads are answered from what there is if
 * that is new enough for them and can be read, all others are refused. */
void machine_queries_refuse(struct actor *actor, struct machine_queries *queries, bool readable,
                            struct reply_list *replies);

/* How long to wait for the inbox at most before that is done again; -1: for ever. */
long machine_queries_wait_ms(const struct machine_queries *queries);

void machine_queries_deinit(struct machine_queries *queries);

#endif
