#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/history_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS_MAX = 1000000 };

/* What a put wrote that no read ever saw: which one it was makes no difference. */
#define ANONYMOUS UINT64_MAX

/* --- Search ----------------------------------------------------------------------------------- */

static uint64_t state_hash(const struct history_state *state)
{
    uint64_t hash = hash_mix(state->revision, state->used);
    hash = hash_mix(hash_mix(hash, state->topic), state->messages);
    hash = hash_mix(hash_mix(hash, state->latest), state->least_us);
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        hash = hash_mix(hash, state->keys[i].value);
        hash = hash_mix(hash, state->keys[i].create_revision);
        hash = hash_mix(hash, state->keys[i].mod_revision);
        hash = hash_mix(hash, state->keys[i].version);
        hash = hash_mix(hash, state->keys[i].lease);
        hash = hash_mix(hash, state->from_us[i]);
    }
    return hash;
}

/* Whether the answers of others allow the step to be that of this write. */
static bool allowed(const struct history_search *search, const struct history_state *from,
                    const struct history_state *to, const struct op *op)
{
    const struct history_known *known = &search->known[to->revision];
    if (known->put && (op->kind != OP_PUT || op->cell + 1 != known->put))
        return false;
    for (uint32_t k = 0; k < SIM_KEYS; k++) {
        const struct op_item *key = &to->keys[k];
        if (known->most[k] && (key->version > known->most[k] || key->version < known->least[k]))
            return false;
        if (known->put == k + 1 && known->written.version &&
            (key->version != known->written.version ||
             key->create_revision != known->written.create_revision))
            return false;
        if (history_item_equal(&from->keys[k], key))
            continue;
        if (known->quiet[k] > 0 || (known->kept[k] > 0 && key->version == 0))
            return false;
    }
    return true;
}

/* Puts the unanswered event into the order, as the next revision. */
static bool try_unanswered(struct history_search *search, struct history_state *state, uint32_t at)
{
    const struct history_event *event = &search->unanswered.items[at];
    if (event->seen_at && event->seen_at != state->revision + 1)
        return false;
    uint64_t write;
    if (map_get(&search->seen, state->revision + 1, 0, &write) && write != event->number)
        return false;
    struct history_state from = *state;
    if (!history_write_apply(state, event, event->seen_at ? event->number : ANONYMOUS) ||
        !allowed(search, &from, state, event->op))
        return false;
    history_take_time(state, event->invoked);
    state->used += event->class;
    state->last = event->number;
    return true;
}

/* The lease of a key ends, as the next revision. */
static bool try_end(struct history_search *search, struct history_state *state, uint32_t cell)
{
    static const struct op end = {.kind = OP_REVOKE};
    const struct history_state from = *state;
    uint64_t lease = state->keys[cell].lease, ends_us, write;
    for (uint32_t i = 0; i < cell; i++) {
        if (lease != HISTORY_OWN_LEASE && state->keys[i].version && state->keys[i].lease == lease)
            return false; /* tried with that key */
    }
    if (state->keys[cell].version == 0 || lease == 0 ||
        map_get(&search->seen, state->revision + 1, 0, &write))
        return false;
    state->revision++;
    if (lease == HISTORY_OWN_LEASE) {
        ends_us = history_ends_us(&search->leases, state->from_us[cell], state->ttl_ms[cell]);
        state->keys[cell] = (struct op_item){0};
    } else {
        if (!history_lease_may_end(&search->leases, lease, state->revision, &ends_us))
            return false;
        history_lease_erase(state, lease);
    }
    if (ends_us > state->least_us)
        state->least_us = ends_us;
    return search->answered.items[state->next].finished_us >= ends_us &&
           allowed(search, &from, state, &end);
}

static bool try_candidate(struct history_search *search, struct history_state *state, uint32_t at)
{
    if (at >= search->unanswered.count)
        return try_end(search, state, at - search->unanswered.count);
    return try_unanswered(search, state, at);
}

/* The next event to be tried at the choice, or behind them the keys that may go by themselves;
 * UINT32_MAX: there is none. */
static uint32_t candidate(const struct history_search *search, struct history_choice *choice)
{
    uint32_t count = search->unanswered.count;
    while (choice->looked < count) {
        uint32_t at = (choice->from + choice->looked++) % count;
        uint32_t class_number = search->unanswered.items[at].class_number;
        uint64_t bit = class_number < 64 ? UINT64_C(1) << class_number : 0;
        if (search->used[at] || (choice->classes & bit))
            continue;
        choice->classes |= bit;
        for (uint32_t k = at; (k = search->unanswered.items[k].before) != UINT32_MAX;) {
            if (!search->used[k])
                at = k;
        }
        return at;
    }
    return choice->looked < count + SIM_KEYS ? choice->looked++ : UINT32_MAX;
}

/* The next way on from the last choice; false: there is none from any. */
static bool backtrack(struct history_search *search, struct history_state *state)
{
    while (search->choices.count > 0) {
        struct history_choice *choice = &search->choices.items[search->choices.count - 1];
        if (choice->placed != UINT32_MAX)
            search->used[choice->placed] = false;
        choice->placed = UINT32_MAX;
        for (uint32_t at; (at = candidate(search, choice)) != UINT32_MAX;) {
            *state = choice->before;
            if (!try_candidate(search, state, at))
                continue;
            search->used[at] = true;
            choice->placed = at;
            return true;
        }
        map_put_once(&search->dead, state_hash(&choice->before), 0, 1);
        search->choices.count--;
    }
    return false;
}

/* A revision that nobody was answered with. */
static bool choose(struct history_search *search, struct history_state *state)
{
    uint64_t known;
    if (state->revision >= search->deepest) {
        search->deepest = state->revision;
        snprintf(search->text, search->size,
                 "revision %" PRIu64
                 " was told, and no operation could have been the change %" PRIu64,
                 search->last_revision, state->revision + 1);
    }
    if (map_get(&search->dead, state_hash(state), 0, &known))
        return backtrack(search, state);
    LIST_RESERVE(&search->choices);
    uint32_t from = 0;
    while (from < search->unanswered.count && search->unanswered.items[from].number <= state->last)
        from++;
    search->choices.items[search->choices.count++] =
        (struct history_choice){.before = *state, .from = from, .placed = UINT32_MAX};
    return backtrack(search, state);
}

/* One revision further, or elsewhere; false: there is no way. */
static bool step(struct history_search *search, struct history_state *state)
{
    const struct history_event *next = &search->answered.items[state->next];
    bool answered = next->change && next->op->revision == state->revision + 1;
    if (!answered)
        return choose(search, state);
    if (!history_change(search, state, next))
        return backtrack(search, state);
    history_take_time(state, next->invoked);
    state->last = next->number;
    state->next++;
    return true;
}

static enum history_verdict search_run(struct history_search *search)
{
    struct history_state state = {0};
    for (; search->steps < STEPS_MAX; search->steps++) {
        if (!history_observe_all(search, &state)) {
            if (!backtrack(search, &state))
                return HISTORY_VIOLATED;
            continue;
        }
        if (state.next == search->answered.count)
            return HISTORY_LINEARIZABLE;
        if (!step(search, &state))
            return HISTORY_VIOLATED;
    }
    return HISTORY_UNDECIDED;
}

enum history_verdict history_check(const struct ops *ops, uint64_t fastest, char *text, size_t size)
{
    struct history_search search = {.text = text, .size = size};
    if (ops->count == 0)
        return HISTORY_LINEARIZABLE;
    history_gather(&search, ops);
    search.used = mem_zalloc((search.unanswered.count + SIM_KEYS) * sizeof *search.used);
    enum history_verdict verdict = HISTORY_VIOLATED;
    history_leases_init(&search.leases, ops, fastest);
    uint64_t early = history_refused_early(&search.leases, ops);
    if (early) {
        snprintf(text, size, "operation %" PRIu64 " was refused sooner than its lease can be over",
                 early);
    } else if (history_gather_known(&search)) {
        history_gather_classes(&search);
        verdict = search_run(&search);
    }
    history_leases_deinit(&search.leases);
    free(search.answered.items);
    free(search.unanswered.items);
    free(search.used);
    free(search.choices.items);
    free(search.known);
    map_deinit(&search.seen);
    map_deinit(&search.placed);
    map_deinit(&search.dead);
    return verdict;
}
