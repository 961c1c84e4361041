/* One event in the order: whether it fits there, and what it does to the state. */
#include "tests/sim/history_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* --- One event in the order ------------------------------------------------------------------- */

/* Remembers why, if no order came further so far. False. */
static bool wrong(struct history_search *search, const struct history_state *state,
                  const struct history_event *event, const char *why)
{
    if (state->revision < search->deepest)
        return false;
    search->deepest = state->revision;
    snprintf(search->text, search->size,
             "operation %" PRIu64 " fits no order at revision %" PRIu64 ": %s", event->number,
             event->op->revision, why);
    return false;
}

bool history_item_equal(const struct op_item *a, const struct op_item *b)
{
    return a->value == b->value && a->create_revision == b->create_revision &&
           a->mod_revision == b->mod_revision && a->version == b->version && a->lease == b->lease;
}

/* What was read, where a lease of the key alone has a number that only reads tell. */
static bool item_fits(const struct op_item *seen, const struct op_item *key)
{
    struct op_item item = *key;
    if (item.lease == HISTORY_OWN_LEASE && seen->lease > 0)
        item.lease = seen->lease;
    return history_item_equal(seen, &item);
}

/* How many keys go with the lease. */
uint64_t history_lease_erase(struct history_state *state, uint64_t lease)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        if (state->keys[i].version == 0 || state->keys[i].lease != lease)
            continue;
        state->keys[i] = (struct op_item){0};
        count++;
    }
    return count;
}

/* Applies a write as the revision after the state's. False: it would change nothing there. */
bool history_write_apply(struct history_state *state, const struct history_event *event,
                         uint64_t value)
{
    const struct op *op = event->op;
    uint64_t revision = state->revision + 1;
    struct op_item *key = &state->keys[op->cell];
    uint64_t deleted = 0;
    uint64_t present = op->kind == OP_PUBLISH ? state->messages : key->mod_revision;
    if (op->kind != OP_DELETE_RANGE && op->conditional && op->condition != present)
        return false;
    switch (op->kind) {
    case OP_PUT:
        *key = (struct op_item){.value = value,
                                .create_revision = key->version ? key->create_revision : revision,
                                .mod_revision = revision,
                                .version = key->version + 1,
                                .lease = op->ttl_ms ? HISTORY_OWN_LEASE : op->lease};
        state->from_us[op->cell] = op->ttl_ms ? event->invoked_us : 0;
        state->ttl_ms[op->cell] = op->ttl_ms;
        deleted = 1;
        break;
    case OP_DELETE:
        deleted = key->version > 0;
        *key = (struct op_item){0};
        break;
    case OP_REVOKE:
        deleted = history_lease_erase(state, op->lease);
        break;
    case OP_CREATE:
        deleted = state->topic == 0;
        state->topic = revision;
        break;
    case OP_PUBLISH:
        deleted = state->topic > 0;
        state->messages++;
        break;
    default:
        for (uint32_t i = op->cell; i < op->cell_end; i++) {
            deleted += state->keys[i].version > 0;
            state->keys[i] = (struct op_item){0};
        }
        break;
    }
    state->revision = revision;
    return deleted > 0;
}

/* How many keys the delete takes away from the state. */
static uint64_t deletes(const struct history_state *state, const struct op *op)
{
    uint32_t end = op->kind == OP_DELETE ? op->cell + 1 : op->cell_end;
    uint64_t count = 0;
    for (uint32_t i = 0; op->kind == OP_REVOKE && i < SIM_KEYS; i++)
        count += state->keys[i].version > 0 && state->keys[i].lease == op->lease;
    for (uint32_t i = op->cell; op->kind != OP_REVOKE && i < end; i++)
        count += state->keys[i].version > 0;
    return count;
}

/* A lease that holds a key is there. */
static bool lease_is_gone(struct history_search *search, const struct history_state *state,
                          const struct history_event *event)
{
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        if (state->keys[i].version && state->keys[i].lease == event->op->lease)
            return wrong(search, state, event, "its lease was refused as over, and held a key");
    }
    return true;
}

/* What a message of the same id was, the answer says; that there was none before is not known. */
static bool observe_topic(struct history_search *search, const struct history_state *state,
                          const struct history_event *event)
{
    const struct op *op = event->op;
    if (op->kind == OP_CREATE)
        return op->value == state->topic || wrong(search, state, event, "it is another topic");
    if (op->code == CONCLAVE_NOT_FOUND)
        return state->topic == 0 || wrong(search, state, event, "there is a topic");
    if (op->code == CONCLAVE_OK)
        return state->messages > 0 || wrong(search, state, event, "nothing was published before");
    if (!op->conditional || op->condition == state->messages || op->value != state->messages)
        return wrong(search, state, event, "its sequence is next, or another one was told");
    return true;
}

/* An answer that changed nothing: is it that of the state? */
static bool observe(struct history_search *search, const struct history_state *state,
                    const struct history_event *event)
{
    const struct op *op = event->op;
    const struct op_item *key = &state->keys[op->cell];
    if (op->kind == OP_GET && !item_fits(&op->items[0], key))
        return wrong(search, state, event, "it saw another value or version");
    for (uint32_t i = 0; op->kind == OP_RANGE && i < SIM_KEYS; i++) {
        if (!item_fits(&op->items[i], &state->keys[i]))
            return wrong(search, state, event, "it saw another value or version");
    }
    if (op_is_read(op))
        return true;
    if (op->code == CONCLAVE_LEASE_EXPIRED)
        return lease_is_gone(search, state, event);
    if (op->kind == OP_CREATE || op->kind == OP_PUBLISH)
        return observe_topic(search, state, event);
    if (!op_is_write(op))
        return true;
    if (op->code == CONCLAVE_COMPARE_FAILED) {
        if (!op->conditional || op->condition == key->mod_revision ||
            (op->value != key->mod_revision && !op_is_transaction(op)))
            return wrong(search, state, event, "its condition held, or another revision was told");
        return true;
    }
    bool held = !op->conditional || op->condition == key->mod_revision;
    if (op->kind == OP_PUT || deletes(state, op) > 0 || (op->kind == OP_DELETE && !held))
        return wrong(search, state, event, "it changed nothing");
    return true;
}

/* Real time: nothing comes after what began when it was over. */
static bool in_time(struct history_search *search, const struct history_state *state,
                    const struct history_event *event)
{
    if (event->finished_us < state->least_us)
        return wrong(search, state, event, "it was over before a lease that ended before can be");
    return event->finished >= state->latest ||
           wrong(search, state, event, "it was over when one before it in the order began");
}

/* The answered change of the next revision. */
bool history_change(struct history_search *search, struct history_state *state,
                    const struct history_event *event)
{
    const struct op *op = event->op;
    if (!in_time(search, state, event))
        return false;
    uint64_t before = op->kind == OP_PUT       ? state->keys[op->cell].mod_revision
                      : op->kind == OP_PUBLISH ? state->messages + 1
                                               : deletes(state, op);
    if (before != op->value)
        return wrong(search, state, event, "it replaced something else");
    if (!history_write_apply(state, event, op->first))
        return wrong(search, state, event, "its condition did not hold, or it changed nothing");
    return true;
}

void history_take_time(struct history_state *state, uint64_t invoked)
{
    if (invoked > state->latest)
        state->latest = invoked;
}

/* Everything answered at the state's revision that changed nothing. */
bool history_observe_all(struct history_search *search, struct history_state *state)
{
    uint64_t latest = state->latest;
    while (state->next < search->answered.count) {
        const struct history_event *event = &search->answered.items[state->next];
        if (event->op->revision != state->revision)
            break;
        if (event->change)
            return wrong(search, state, event, "two changes have one revision");
        if (!in_time(search, state, event) || !observe(search, state, event))
            return false;
        if (event->invoked > latest)
            latest = event->invoked;
        state->next++;
    }
    history_take_time(state, latest);
    return true;
}
