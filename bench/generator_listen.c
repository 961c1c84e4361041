/* The way from a generator's operations to its listeners. */
#include "bench/generator_inside.h"

#include <stdio.h>
#include <stdlib.h>

/* An operation on its way to the listeners. */
struct way {
    uint64_t number, due_ns;
    uint32_t told; /* of the listeners */
    bool busy, acked;
};

/* True if the next operation would run too far ahead of them. */
bool generator_too_far_ahead(const struct generator *generator)
{
    uint64_t number = schedule_number(&generator->schedule);
    return generator->listen && number != UINT64_MAX &&
           generator->ways[number % generator->way_count].busy;
}

/* Returns what its value carries. */
struct stamp generator_set_out(struct generator *generator, uint64_t number, uint64_t due_ns)
{
    uint32_t place = (uint32_t)(number % generator->way_count);
    generator->ways[place] = (struct way){.number = number, .due_ns = due_ns, .busy = true};
    generator->ways_busy++;
    return (struct stamp){.number = number, .due_ns = due_ns, .place = place};
}

/* What is acknowledged and known to all listeners is over. */
static void arrive(struct generator *generator, struct way *way)
{
    if (!way->acked || way->told < generator->listen->count)
        return;
    way->busy = false;
    generator->ways_busy--;
}

void generator_acked(struct generator *generator, uint32_t place)
{
    struct way *way = &generator->ways[place];
    way->acked = true;
    arrive(generator, way);
}

/* For struct listeners_plan. */
static void heard(void *arg, uint32_t listener, const struct stamp *stamp)
{
    struct generator *generator = arg;
    uint64_t now_ns = measure_now_ns();
    if (stamp->place >= generator->way_count)
        return;
    struct way *way = &generator->ways[stamp->place];
    if (!way->busy || way->number != stamp->number || way->due_ns != stamp->due_ns)
        return; /* an earlier run's */
    if (way->due_ns >= generator->measure_ns)
        generator_count(generator, listener, now_ns - way->due_ns);
    generator->last_ns = now_ns;
    way->told++;
    arrive(generator, way);
}

/* Takes in what listeners were told. True: there was something. */
bool generator_listen(struct generator *generator)
{
    struct conclave_error error;
    if (!generator->listeners)
        return false;
    uint64_t now_ns = measure_now_ns(), done_before = generator->done;
    uint32_t free_before = generator->free_count;
    bool all = now_ns - generator->drained_ns >= GENERATOR_LISTEN_NS;
    if (all)
        generator->drained_ns = now_ns;
    int code = listeners_drain(generator->listeners, all, &error);
    if (code != CONCLAVE_OK && generator->code == CONCLAVE_OK) {
        generator_failed(generator, code);
        snprintf(generator->message, sizeof generator->message, "%s", error.message);
    }
    return code != CONCLAVE_OK || generator->done > done_before ||
           generator->free_count > free_before || listeners_more(generator->listeners);
}

/* What listeners were not told in time will not come. */
void generator_look_for_untold(struct generator *generator, uint64_t now_ns)
{
    uint64_t limit_ns = generator->options->timeout_ms * UINT64_C(1000000);
    for (uint32_t i = 0; i < generator->way_count && generator->ways_busy > 0; i++) {
        const struct way *way = &generator->ways[i];
        if (!way->busy || !way->acked || now_ns < way->due_ns + limit_ns)
            continue;
        generator_failed(generator, CONCLAVE_TIMEOUT);
        snprintf(generator->message, sizeof generator->message,
                 "what was acknowledged came to %u of %u listeners", way->told,
                 generator->listen->count);
        return;
    }
}

bool generator_listen_begin(struct generator *generator)
{
    struct listeners_plan plan = *generator->listen;
    struct conclave_error error;
    generator->way_count = generator->slot_count * GENERATOR_AHEAD;
    generator->ways = calloc(generator->way_count, sizeof *generator->ways);
    if (!generator->ways) {
        generator_failed(generator, CONCLAVE_NO_MEMORY);
        return false;
    }
    plan.heard = heard;
    plan.arg = generator;
    int code = listeners_create(&plan, &generator->listeners, &error);
    if (code == CONCLAVE_OK)
        return true;
    generator_failed(generator, code);
    snprintf(generator->message, sizeof generator->message, "%s", error.message);
    return false;
}
