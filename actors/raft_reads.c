/* Queries, from network to the state machine: confirmed by the core as reads, or executed ahead of
 * that. */
#include "actors/raft_actor.h"

#include "base/clock.h"
#include "base/fatal.h"
#include "base/list.h"

#include <stdlib.h>

/* How old at most the newest confirmed read gets while a leader answers. */
enum { FRESH_US = 2000000 };

static void add_confirmed_read(struct raft_actor *self, enum raft_event_type type,
                               struct query_list *queries)
{
    struct waiting_read *waiting = numbered_add(&self->reads, sizeof *waiting, ++self->last_read);
    waiting->since_us = clock_now_us();
    waiting->queries = *queries;
    *queries = (struct query_list){0};
    raft_actor_add(self, type)->read = waiting->read;
}

/* True if all of them ask for nothing but to be linearizable, as most do: their list stays one. */
static bool all_plain(const struct query_list *queries)
{
    for (uint32_t i = 0; i < queries->count; i++)
        if (queries->items[i].stale || queries->items[i].lease || queries->items[i].probe)
            return false;
    return true;
}

void raft_actor_read(struct actor *actor, struct query_list *queries)
{
    struct raft_actor *self = actor->state;
    if (all_plain(queries)) {
        add_confirmed_read(self, RAFT_EVENT_READ, queries);
        return;
    }
    uint64_t age_us = clock_now_us() - self->fresh_us;
    struct query_list known = {0}, leased = {0}, confirmed = {0};
    bool refresh = false;
    for (uint32_t i = 0; i < queries->count; i++) {
        const struct query *query = &queries->items[i];
        uint64_t max_age_us = (uint64_t)query->max_age_ms * 1000;
        bool good = query->stale && self->fresh_us && age_us <= max_age_us;
        query_add(good ? &known : query->lease ? &leased : &confirmed, *query);
        refresh = refresh || (good && age_us > max_age_us / 2);
    }
    queries->count = 0; /* the references moved */
    if (leased.count)
        add_confirmed_read(self, RAFT_EVENT_READ_LEASE, &leased);
    if (confirmed.count || (refresh && !numbered_count(&self->reads)))
        add_confirmed_read(self, RAFT_EVENT_READ, &confirmed);
    if (!known.count)
        return;
    struct envelope *query = envelope_create(ENVELOPE_QUERY);
    query->query.index = self->fresh_index;
    query->query.fresh_us = self->fresh_us;
    query->query.queries = known;
    actor_send(actor, ACTOR_MACHINE, &query);
}

void raft_actor_keep_fresh(struct raft_actor *self, uint64_t now_us)
{
    if (!self->serving_told || !raft_leader(self->raft) || numbered_count(&self->reads) ||
        now_us - self->fresh_us < FRESH_US)
        return;
    struct query_list none = {0};
    add_confirmed_read(self, RAFT_EVENT_READ, &none);
}

static void waiting_clear(struct waiting_read *waiting)
{
    query_list_clear(&waiting->queries);
    free(waiting->ahead);
    waiting->ahead = NULL;
}

void raft_actor_reads_clear(struct raft_actor *self)
{
    for (uint32_t i = 0; i < numbered_count(&self->reads); i++)
        waiting_clear(numbered_at(&self->reads, i));
    numbered_deinit(&self->reads);
}

/* Who is to be told if the read is refused: the state machine may be late. */
static void note_ahead(struct waiting_read *waiting, const struct query_list *ahead)
{
    waiting->ahead = mem_alloc(ahead->count * sizeof *waiting->ahead);
    waiting->ahead_count = ahead->count;
    for (uint32_t i = 0; i < ahead->count; i++)
        waiting->ahead[i] = ahead->items[i].origin;
}

/* Those that may be executed before they are confirmed; the others stay. */
static struct query_list take_ahead(struct query_list *queries)
{
    struct query_list ahead = {0}, left = {0};
    if (all_plain(queries)) {
        ahead = *queries;
        *queries = left;
        return ahead;
    }
    for (uint32_t i = 0; i < queries->count; i++) {
        const struct query *query = &queries->items[i];
        query_add(query->stale || query->probe ? &left : &ahead, *query);
    }
    free(queries->items); /* the references moved */
    *queries = left;
    return ahead;
}

void raft_actor_reads_begun(struct actor *actor)
{
    struct raft_actor *self = actor->state;
    for (uint32_t i = 0; i < self->output.reads_begun.count; i++) {
        const struct raft_read_begun *begun = &self->output.reads_begun.items[i];
        struct waiting_read *waiting = numbered_find(&self->reads, begun->read);
        if (!waiting)
            continue; /* it has been confirmed or refused */
        struct query_list ahead = take_ahead(&waiting->queries);
        if (!ahead.count)
            continue;
        note_ahead(waiting, &ahead);
        struct envelope *envelope = envelope_create(ENVELOPE_QUERY);
        envelope->query.index = begun->index;
        envelope->query.fresh_us = self->fresh_us; /* which needs no more than this index */
        envelope->query.ahead = begun->read;
        envelope->query.queries = ahead;
        actor_send(actor, ACTOR_MACHINE, &envelope);
    }
}

static void carry_confirmed(struct actor *actor, struct waiting_read *waiting,
                            const struct raft_read_result *result)
{
    struct raft_actor *self = actor->state;
    if (waiting->since_us > self->fresh_us) {
        self->fresh_us = waiting->since_us;
        self->fresh_index = result->index;
    }
    if (!waiting->queries.count && waiting->ahead)
        return; /* the next one tells the state machine how old it is, if it is but nobody's */
    struct envelope *envelope = envelope_create(ENVELOPE_QUERY);
    envelope->query.index = result->index;
    envelope->query.valid_until_us = result->valid_until_us;
    envelope->query.fresh_us = waiting->since_us;
    envelope->query.queries = waiting->queries;
    waiting->queries = (struct query_list){0};
    actor_send(actor, ACTOR_MACHINE, &envelope);
}

void raft_actor_reads_done(struct actor *actor, struct reply_list *replies)
{
    struct raft_actor *self = actor->state;
    struct read_decisions decisions = {0};
    for (uint32_t i = 0; i < self->output.reads.count; i++) {
        const struct raft_read_result *result = &self->output.reads.items[i];
        struct waiting_read *waiting = numbered_find(&self->reads, result->read);
        ASSERT(waiting); /* each read comes back once */
        if (waiting->ahead) {
            LIST_RESERVE(&decisions);
            decisions.items[decisions.count++] = (struct read_decision){
                .read = waiting->read, .count = waiting->ahead_count, .code = result->code};
        }
        if (result->code == CONCLAVE_OK)
            carry_confirmed(actor, waiting, result);
        else if (waiting->ahead)
            for (uint32_t k = 0; k < waiting->ahead_count; k++)
                reply_add(replies, waiting->ahead[k], result->code, NULL);
        for (uint32_t k = 0; k < waiting->queries.count; k++)
            reply_add(replies, waiting->queries.items[k].origin,
                      waiting->queries.items[k].stale ? CONCLAVE_STALE : result->code, NULL);
        waiting_clear(waiting);
        numbered_remove(&self->reads, waiting);
    }
    if (!decisions.count)
        return;
    struct envelope *envelope = envelope_create(ENVELOPE_READS_DECIDED);
    envelope->reads_decided = decisions;
    actor_send(actor, ACTOR_NETWORK, &envelope);
}
