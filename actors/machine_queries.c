#include "actors/machine_queries.h"

#include "actors/reply_room.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"
#include "machine/reply.h"

#include <stdlib.h>

/* One pass over what can be answered. */
struct pass {
    struct actor *actor;
    struct reply_list *replies;
    struct envelope *again; /* to raft; NULL: nothing yet */
};

/* Network tells it when its read is confirmed, as an answer. */
static void add_refusal(struct pass *pass, const struct stalled_query *stalled, int code,
                        const char *text)
{
    reply_add(pass->replies, stalled->query.origin, code, NULL);
    struct reply *reply = &pass->replies->items[pass->replies->count - 1];
    reply->read = stalled->ahead;
    reply->text = text;
}

void machine_queries_add(struct machine_queries *queries, struct envelope *envelope)
{
    LIST_RESERVE(&queries->waiting);
    queries->waiting.items[queries->waiting.count++] = envelope;
}

/* Counted for its client from now on, until it has been sent. */
static void add_answer(struct pass *pass, const struct stalled_query *stalled,
                       const struct conclave_reply_sink *sink)
{
    if (sink->body)
        buf_charge(sink->body, stalled->query.meter);
    reply_add_answer(pass->replies, stalled->query.origin, sink->code, sink->body);
    pass->replies->items[pass->replies->count - 1].read = stalled->ahead;
}

/* A stale read is looked at again after it was made: what its answer says of its age must hold when
 * it leaves. */
static void answer_stale(struct pass *pass, const struct stalled_query *stalled,
                         struct conclave_reply_sink *sink)
{
    uint64_t age_us = clock_now_us() - stalled->fresh_us;
    if (age_us > (uint64_t)stalled->query.max_age_ms * 1000) {
        reply_sink_clear(sink);
        add_refusal(pass, stalled, CONCLAVE_STALE, NULL);
        return;
    }
    add_answer(pass, stalled, sink);
    struct reply *reply = &pass->replies->items[pass->replies->count - 1];
    reply->aged = true;
    reply->age_ms = (age_us + 999) / 1000;
}

/* Rule 41: looked at after the query was made, which may have taken long, or come late. False: the
 * lease is over by the time of the answer. */
static bool lease_holds(uint64_t valid_until_us)
{
    return valid_until_us == 0 || clock_now_us() < valid_until_us;
}

/* Asks the machine. What the lease does not cover any more goes back to raft, to be read again by a
 * round. Takes the query over. */
static void answer_query(struct pass *pass, struct stalled_query *stalled)
{
    struct query *query = &stalled->query;
    const struct conclave_options *options = &pass->actor->node->options;
    struct conclave_reply_sink sink = {0};
    options->machine->query(options->machine_arg, query->body.data, query->body.bytes, &sink);
    if (query->stale) {
        answer_stale(pass, stalled, &sink);
    } else if (lease_holds(stalled->valid_until_us)) {
        add_answer(pass, stalled, &sink);
    } else {
        reply_sink_clear(&sink);
        pass->again = pass->again ? pass->again : envelope_create(ENVELOPE_READ);
        query->lease = false;
        query_add(&pass->again->read, *query);
        *query = (struct query){0};
    }
    query_clear(query);
}

/* --- Waiting for room ------------------------------------------------------------------------- */

static void refuse(struct pass *pass, struct stalled_query *stalled)
{
    add_refusal(pass, stalled, CONCLAVE_BUSY, "the answers to earlier reads are not being read");
    query_clear(&stalled->query);
}

/* NULL: too many clients wait. */
static struct query_queue *queue_of(struct machine_queries *queries, struct meter *meter)
{
    for (uint32_t i = 0; i < queries->stalled.count; i++)
        if (queries->stalled.items[i].meter == meter)
            return &queries->stalled.items[i];
    if (queries->stalled.count == QUERIES_STALLED_CLIENTS_MAX)
        return NULL;
    LIST_RESERVE(&queries->stalled);
    struct query_queue *queue = &queries->stalled.items[queries->stalled.count++];
    *queue = (struct query_queue){.meter = meter};
    return queue;
}

/* Takes the query over. */
static void stall(struct pass *pass, struct machine_queries *queries, struct stalled_query *stalled)
{
    struct query_queue *queue = queries->stalled_count < QUERIES_STALLED_MAX
                                    ? queue_of(queries, stalled->query.meter)
                                    : NULL;
    if (!queue || query_queue_length(queue) == QUERIES_STALLED_OF_CLIENT_MAX) {
        refuse(pass, stalled);
        return;
    }
    query_queue_add(queue, stalled);
    queries->stalled_count++;
}

/* True if all of them are answered. */
static bool answer_queue(struct pass *pass, struct machine_queries *queries,
                         struct query_queue *queue, uint64_t now_us)
{
    for (struct stalled_query *stalled; (stalled = query_queue_first(queue));) {
        if (reply_room_for_query(stalled->query.meter))
            answer_query(pass, stalled);
        else if (now_us - stalled->since_us >= QUERIES_STALLED_US_MAX)
            refuse(pass, stalled);
        else
            return false;
        query_queue_next(queue);
        queries->stalled_count--;
    }
    return true;
}

static void answer_stalled(struct pass *pass, struct machine_queries *queries, uint64_t now_us)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < queries->stalled.count; i++) {
        struct query_queue *queue = &queries->stalled.items[i];
        if (answer_queue(pass, queries, queue, now_us))
            query_queue_clear(queue);
        else
            queries->stalled.items[left++] = *queue;
    }
    queries->stalled.count = left;
}

/* --- All of it -------------------------------------------------------------------------------- */

static void answer_envelope(struct pass *pass, struct machine_queries *queries,
                            struct envelope *envelope, uint64_t now_us)
{
    if (!envelope->query.valid_until_us && envelope->query.fresh_us > queries->fresh_us)
        queries->fresh_us = envelope->query.fresh_us;
    for (uint32_t i = 0; i < envelope->query.queries.count; i++) {
        if (envelope->query.queries.items[i].probe)
            continue; /* it has neither bytes nor a client */
        struct stalled_query ready = {.query = envelope->query.queries.items[i],
                                      .ahead = envelope->query.ahead,
                                      .valid_until_us = envelope->query.valid_until_us,
                                      .fresh_us = envelope->query.fresh_us,
                                      .since_us = now_us};
        if (reply_room_for_query(ready.query.meter))
            answer_query(pass, &ready);
        else
            stall(pass, queries, &ready);
    }
    envelope->query.queries.count = 0; /* the references moved */
    envelope_destroy(envelope);
}

void machine_queries_answer(struct actor *actor, struct machine_queries *queries, uint64_t applied,
                            struct reply_list *replies)
{
    if (!queries->waiting.count && !queries->stalled.count)
        return;
    struct pass pass = {.actor = actor, .replies = replies};
    uint64_t now_us = clock_now_us();
    answer_stalled(&pass, queries, now_us);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queries->waiting.count; i++) {
        struct envelope *waiting = queries->waiting.items[i];
        if (waiting->query.index > applied)
            queries->waiting.items[kept++] = waiting;
        else
            answer_envelope(&pass, queries, waiting, now_us);
    }
    queries->waiting.count = kept;
    if (pass.again)
        actor_send(actor, ACTOR_RAFT, &pass.again);
}

/* A stale read may be answered from what is applied, if that is known to be new enough. */
static void answer_without(struct pass *pass, const struct machine_queries *queries,
                           struct stalled_query *waiting, bool readable)
{
    struct query *query = &waiting->query;
    if (readable && query->stale && queries->fresh_us && reply_room_for_query(query->meter)) {
        waiting->fresh_us = queries->fresh_us;
        answer_query(pass, waiting);
        return;
    }
    add_refusal(pass, waiting, CONCLAVE_NO_SPACE,
                "the disk of this node's state machine is full, and it lacks what was written "
                "last");
    query_clear(query);
}

void machine_queries_refuse(struct actor *actor, struct machine_queries *queries, bool readable,
                            struct reply_list *replies)
{
    struct pass pass = {.actor = actor, .replies = replies};
    for (uint32_t i = 0; i < queries->waiting.count; i++) {
        struct envelope *waiting = queries->waiting.items[i];
        for (uint32_t k = 0; k < waiting->query.queries.count; k++) {
            struct stalled_query query = {.query = waiting->query.queries.items[k],
                                          .ahead = waiting->query.ahead};
            if (!query.query.probe) /* else it has neither bytes nor a client */
                answer_without(&pass, queries, &query, readable);
        }
        waiting->query.queries.count = 0; /* the references moved */
        envelope_destroy(waiting);
    }
    queries->waiting.count = 0;
    ASSERT(!pass.again); /* that is for leases */
}

long machine_queries_wait_ms(const struct machine_queries *queries)
{
    return queries->stalled.count ? QUERIES_STALLED_RETRY_MS : -1;
}

void machine_queries_deinit(struct machine_queries *queries)
{
    for (uint32_t i = 0; i < queries->waiting.count; i++)
        envelope_destroy(queries->waiting.items[i]);
    free(queries->waiting.items);
    for (uint32_t i = 0; i < queries->stalled.count; i++)
        query_queue_clear(&queries->stalled.items[i]);
    free(queries->stalled.items);
}
