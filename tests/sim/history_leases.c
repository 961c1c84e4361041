#include "tests/sim/history_leases.h"

#include "base/list.h"

#include <stdlib.h>

uint64_t history_ends_us(const struct history_leases *leases, uint64_t from_us, uint64_t ttl_ms)
{
    uint64_t us = (uint64_t)((double)ttl_ms * 1e3 * (1e6 / (double)leases->fastest));
    return from_us + (us > 2 ? us - 2 : 0); /* clocks tell whole microseconds */
}

static bool tells_lease(const struct op *op)
{
    if (op->kind == OP_GRANT || op->kind == OP_RENEW)
        return op->code == CONCLAVE_OK;
    return op->kind == OP_PUT && op->lease && op->code == CONCLAVE_OK;
}

/* What a repeat is answered may be old: the time counts from the first sending. */
static void take_answer(struct history_leases *leases, const struct ops *ops, const struct op *op)
{
    bool begins = op->kind != OP_PUT;
    struct lease_answer answer = {.lease = op->kind == OP_GRANT ? op->value : op->lease,
                                  .revision = op->revision,
                                  .begins = begins,
                                  .finished = op->finished};
    if (begins)
        answer.ends_us = history_ends_us(leases, ops->items[op->first].invoked_us, op->granted_ms);
    LIST_RESERVE(&leases->answers);
    leases->answers.items[leases->answers.count++] = answer;
}

void history_leases_init(struct history_leases *leases, const struct ops *ops, uint64_t fastest)
{
    *leases = (struct history_leases){.fastest = fastest};
    for (uint64_t i = 1; i <= ops->count; i++) {
        const struct op *op = &ops->items[i];
        if (op->state == OP_OK && tells_lease(op))
            take_answer(leases, ops, op);
        if (op->kind != OP_REVOKE)
            continue;
        LIST_RESERVE(&leases->revokes);
        leases->revokes.items[leases->revokes.count++] =
            (struct lease_answer){.lease = op->lease, .finished = op->invoked};
    }
}

void history_leases_deinit(struct history_leases *leases)
{
    free(leases->answers.items);
    free(leases->revokes.items);
    *leases = (struct history_leases){0};
}

bool history_lease_may_end(const struct history_leases *leases, uint64_t lease, uint64_t revision,
                           uint64_t *ret_us)
{
    bool known = false;
    *ret_us = 0;
    for (uint32_t i = 0; i < leases->answers.count; i++) {
        const struct lease_answer *answer = &leases->answers.items[i];
        if (answer->lease != lease)
            continue;
        if (answer->revision >= revision)
            return false; /* it was still there */
        known = true;
        if (answer->begins && answer->ends_us > *ret_us)
            *ret_us = answer->ends_us;
    }
    return known;
}

/* Revoked by then, perhaps. */
static bool revoked(const struct history_leases *leases, const struct op *op)
{
    for (uint32_t i = 0; i < leases->revokes.count; i++) {
        if (leases->revokes.items[i].lease == op->lease &&
            leases->revokes.items[i].finished < op->finished)
            return true;
    }
    return false;
}

uint64_t history_refused_early(const struct history_leases *leases, const struct ops *ops)
{
    for (uint64_t i = 1; i <= ops->count; i++) {
        const struct op *op = &ops->items[i];
        if (op->state != OP_OK || op->code != CONCLAVE_LEASE_EXPIRED || revoked(leases, op))
            continue;
        const struct op *first = &ops->items[op->first];
        for (uint32_t k = 0; k < leases->answers.count; k++) {
            const struct lease_answer *answer = &leases->answers.items[k];
            if (answer->lease == op->lease && answer->begins && answer->finished < first->invoked &&
                op->finished_us < answer->ends_us)
                return i;
        }
    }
    return 0;
}
