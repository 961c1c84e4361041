#include "tests/sim/history.h"

#include "base/fatal.h"
#include "base/list.h"
#include "raft/raft.h"
#include "tests/sim/history_leases.h"
#include "tests/sim/map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 1000000 };

/* What a put wrote that no read ever saw: which one it was makes no difference. */
#define ANONYMOUS UINT64_MAX

/* An operation that was answered, at its revision; or one that may have been applied. */
struct event {
    const struct op *op; /* with the answer, if there is one */
    uint64_t number;     /* of its first attempt */
    uint64_t invoked, finished;
    uint64_t invoked_us, finished_us;
    bool change; /* it raised the revision to op->revision */

    /* Without an answer. Those of one class that nobody saw are taken in the order of their
     * invocation: the earliest fits wherever a later one does. */
    uint64_t seen_at; /* the revision at which reads saw it; 0: never */
    uint64_t class;   /* hash of what it asks for; or its number, if it was seen */
    uint32_t before;  /* the event of its class before it; UINT32_MAX: none */
    uint32_t class_number;
};

/* What answers say of a revision, whoever wrote it. */
struct known {
    int32_t quiet[SIM_KEYS];                  /* more than 0: the key did not change */
    int32_t kept[SIM_KEYS];                   /* more than 0: the key was not deleted */
    uint32_t put;                             /* the key that was put, and 1 more; 0: not known */
    struct op_item written;                   /* what was put; version 0: not known */
    uint64_t least[SIM_KEYS], most[SIM_KEYS]; /* of the key's version; most 0: not known */
};

struct state {
    struct op_item keys[SIM_KEYS]; /* version 0: there is no such key */
    uint64_t from_us[SIM_KEYS];    /* HISTORY_OWN_LEASE: its time began then */
    uint64_t ttl_ms[SIM_KEYS];
    uint64_t topic, messages; /* the revision that created it, 0: none did; how many it holds */
    uint64_t least_us;        /* something has ended that cannot have been over sooner */
    uint64_t revision;
    uint64_t latest; /* invocation of whatever is in the order so far */
    uint64_t used;   /* hash over the events without an answer that are in the order */
    uint32_t next;   /* answered event */
    uint64_t last;   /* number of the write before */
};

/* A revision that nobody was answered with, and which of the unanswered events is tried there:
 * those that were invoked after the write before come first, as that is how logs are written. */
struct choice {
    struct state before;
    uint32_t from, looked; /* in `unanswered`; how many from there on, around its end */
    uint32_t placed;       /* UINT32_MAX: none */
    uint64_t classes;      /* that were tried, of the first 64 */
};

struct search {
    RAFT_LIST(struct event, answered);   /* by revision, the change first */
    RAFT_LIST(struct event, unanswered); /* writes, by number */
    bool *used;                          /* of unanswered, and of keys that go by themselves */
    struct history_leases leases;
    uint64_t last_revision;
    struct known *known;
    struct map seen;   /* {revision, 0} -> the write that a read saw to be of that revision */
    struct map placed; /* {write, 0} -> that revision */
    struct map dead;   /* {state hash, 0}: no order goes on from there */
    RAFT_LIST(struct choice, choices);
    uint64_t steps;
    uint64_t deepest; /* revision; the reason below is from there */
    char *text;
    size_t size;
};

/* --- What the clients saw --------------------------------------------------------------------- */

static bool is_change(const struct op *op)
{
    if (op->kind == OP_PUT)
        return op->code == CONCLAVE_OK;
    return op_is_write(op) && op->kind != OP_CREATE && op->code == CONCLAVE_OK && op->value > 0;
}

/* Puts one logical operation, all attempts together, where it belongs. */
static void gather_one(struct search *search, const struct ops *ops, uint64_t first,
                       const uint64_t *again)
{
    const struct op *begin = &ops->items[first];
    struct event event = {
        .op = begin, .number = first, .invoked = begin->since, .invoked_us = begin->invoked_us};
    bool maybe = false;
    for (uint64_t at = first; at; at = again[at]) {
        const struct op *op = &ops->items[at];
        if (op->state == OP_OK && (event.finished == 0 || op->finished < event.finished)) {
            event.op = op;
            event.finished = op->finished;
            event.finished_us = op->finished_us;
        }
        bool denied = op->state == OP_DENIED && op->code != CONCLAVE_FORGOTTEN;
        maybe |= op->state != OP_REFUSED && op->state != OP_UNDELIVERED && !denied;
    }
    if (event.finished) {
        event.change = is_change(event.op);
        LIST_RESERVE(&search->answered);
        search->answered.items[search->answered.count++] = event;
    }
    /* An answer does not say which one of them created the topic. */
    if (op_is_write(begin) && (begin->kind == OP_CREATE || (!event.finished && maybe))) {
        event.op = begin;
        event.finished = event.finished_us = UINT64_MAX;
        LIST_RESERVE(&search->unanswered);
        search->unanswered.items[search->unanswered.count++] = event;
    }
}

static bool told_of(const struct op *op)
{
    return op_is_read(op) || op_is_write(op) || op_begins_lease(op);
}

static int compare_events(const void *a, const void *b)
{
    const struct event *left = a, *right = b;
    if (left->op->revision != right->op->revision)
        return left->op->revision < right->op->revision ? -1 : 1;
    if (left->change != right->change)
        return left->change ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

static void gather(struct search *search, const struct ops *ops)
{
    uint64_t *again = mem_zalloc((ops->count + 1) * sizeof *again); /* the next attempt */
    uint64_t *last = mem_zalloc((ops->count + 1) * sizeof *last);
    for (uint64_t i = 1; i <= ops->count; i++) {
        uint64_t first = ops->items[i].first;
        if (first != i)
            again[last[first]] = i;
        last[first] = i;
    }
    for (uint64_t i = 1; i <= ops->count; i++) {
        if (ops->items[i].first == i && told_of(&ops->items[i]))
            gather_one(search, ops, i, again);
    }
    free(again);
    free(last);
    if (search->answered.count == 0)
        return;
    qsort(search->answered.items, search->answered.count, sizeof *search->answered.items,
          compare_events);
    search->last_revision = search->answered.items[search->answered.count - 1].op->revision;
}

/* --- What the answers say of revisions ---------------------------------------------------------
 */

/* The puts of a key from the first one on are as many as the last one's version says. */
static void know_versions(struct search *search, uint32_t cell, const struct op_item *item)
{
    uint64_t mod = item->mod_revision;
    search->known[mod].written = *item;
    for (uint64_t r = item->create_revision; r < mod; r++) {
        uint64_t left = mod - r;
        search->known[r].least[cell] = item->version > left ? item->version - left : 1;
        search->known[r].most[cell] = item->version - 1;
    }
    search->known[item->create_revision].most[cell] = 1;
}

/* A key was of that modify and create revision (0: not told), up to and with `last`. */
static void know(struct search *search, uint32_t cell, uint64_t mod, uint64_t create, uint64_t last)
{
    if (mod == 0 || mod > last || create > mod || last > search->last_revision)
        return; /* no such key; or nonsense, which the search will not explain */
    search->known[mod].put = cell + 1;
    search->known[mod + 1].quiet[cell]++;
    search->known[last + 1].quiet[cell]--;
    if (create == 0)
        return;
    search->known[create].put = cell + 1;
    search->known[create + 1].kept[cell]++;
    search->known[last + 1].kept[cell]--;
}

static bool know_item(struct search *search, const struct op *op, uint32_t cell,
                      const struct op_item *item)
{
    if (item->value == 0)
        return true;
    know(search, cell, item->mod_revision, item->create_revision, op->revision);
    if (item->mod_revision <= search->last_revision && item->create_revision > 0 &&
        item->create_revision <= item->mod_revision &&
        search->known[item->mod_revision].written.version == 0)
        know_versions(search, cell, item);
    uint64_t write = map_put_once(&search->seen, item->mod_revision, 0, item->value);
    uint64_t revision = map_put_once(&search->placed, item->value, 0, item->mod_revision);
    if (write == item->value && revision == item->mod_revision)
        return true;
    snprintf(search->text, search->size,
             "operation %" PRIu64 " was seen at revision %" PRIu64 " and at %" PRIu64
             ", which was seen to be of %" PRIu64,
             item->value, revision, item->mod_revision, write);
    return false;
}

/* False: reads contradict one another. */
static bool gather_known(struct search *search)
{
    search->known = mem_zalloc((search->last_revision + 3) * sizeof *search->known);
    for (uint32_t i = 0; i < search->answered.count; i++) {
        const struct event *event = &search->answered.items[i];
        const struct op *op = event->op;
        if (op->kind == OP_GET && !know_item(search, op, op->cell, &op->items[0]))
            return false;
        for (uint32_t k = 0; op->kind == OP_RANGE && k < SIM_KEYS; k++) {
            if (!know_item(search, op, k, &op->items[k]))
                return false;
        }
        if (op->code == CONCLAVE_LEASE_EXPIRED || op->kind == OP_PUBLISH)
            continue;
        if (op->code == CONCLAVE_COMPARE_FAILED && op_is_transaction(op))
            continue; /* which revision the key is at it does not say */
        if (op->code == CONCLAVE_COMPARE_FAILED)
            know(search, op->cell, op->value, 0, op->revision);
        else if (op->kind == OP_PUT)
            know(search, op->cell, op->value, 0, op->revision - 1);
    }
    for (uint64_t r = 1; r <= search->last_revision; r++) {
        for (uint32_t k = 0; k < SIM_KEYS; k++) {
            search->known[r].quiet[k] += search->known[r - 1].quiet[k];
            search->known[r].kept[k] += search->known[r - 1].kept[k];
        }
    }
    return true;
}

static void gather_classes(struct search *search)
{
    for (uint32_t i = 0; i < search->unanswered.count; i++) {
        struct event *event = &search->unanswered.items[i];
        const struct op *op = event->op;
        uint64_t class = hash_mix(hash_mix(1, op->kind), ((uint64_t)op->cell << 32) | op->cell_end);
        class = hash_mix(hash_mix(class, op->lease), op->ttl_ms);
        event->class = hash_mix(hash_mix(class, op->conditional), op->condition);
        event->before = UINT32_MAX;
        event->class_number = i;
        if (map_get(&search->placed, event->number, 0, &event->seen_at))
            event->class = hash_mix(event->number, 1);
        else
            event->seen_at = 0;
        for (uint32_t k = i; k-- > 0 && event->before == UINT32_MAX;) {
            if (search->unanswered.items[k].class != event->class)
                continue;
            event->before = k;
            event->class_number = search->unanswered.items[k].class_number;
        }
    }
}

/* --- One event in the order ------------------------------------------------------------------- */

/* Remembers why, if no order came further so far. False. */
static bool wrong(struct search *search, const struct state *state, const struct event *event,
                  const char *why)
{
    if (state->revision < search->deepest)
        return false;
    search->deepest = state->revision;
    snprintf(search->text, search->size,
             "operation %" PRIu64 " fits no order at revision %" PRIu64 ": %s", event->number,
             event->op->revision, why);
    return false;
}

static bool item_equal(const struct op_item *a, const struct op_item *b)
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
    return item_equal(seen, &item);
}

/* How many keys go with the lease. */
static uint64_t lease_erase(struct state *state, uint64_t lease)
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
static bool write_apply(struct state *state, const struct event *event, uint64_t value)
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
        deleted = lease_erase(state, op->lease);
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
static uint64_t deletes(const struct state *state, const struct op *op)
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
static bool lease_is_gone(struct search *search, const struct state *state,
                          const struct event *event)
{
    for (uint32_t i = 0; i < SIM_KEYS; i++) {
        if (state->keys[i].version && state->keys[i].lease == event->op->lease)
            return wrong(search, state, event, "its lease was refused as over, and held a key");
    }
    return true;
}

/* What a message of the same id was, the answer says; that there was none before is not known. */
static bool observe_topic(struct search *search, const struct state *state,
                          const struct event *event)
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
static bool observe(struct search *search, const struct state *state, const struct event *event)
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

/* The answered change of the next revision. */
static bool change(struct search *search, struct state *state, const struct event *event)
{
    const struct op *op = event->op;
    uint64_t before = op->kind == OP_PUT       ? state->keys[op->cell].mod_revision
                      : op->kind == OP_PUBLISH ? state->messages + 1
                                               : deletes(state, op);
    if (before != op->value)
        return wrong(search, state, event, "it replaced something else");
    if (!write_apply(state, event, op->first))
        return wrong(search, state, event, "its condition did not hold, or it changed nothing");
    return true;
}

/* Real time: nothing comes after what began when it was over. */
static bool in_time(struct search *search, const struct state *state, const struct event *event)
{
    if (event->finished_us < state->least_us)
        return wrong(search, state, event, "it was over before a lease that ended before can be");
    return event->finished >= state->latest ||
           wrong(search, state, event, "it was over when one before it in the order began");
}

static void take_time(struct state *state, uint64_t invoked)
{
    if (invoked > state->latest)
        state->latest = invoked;
}

/* Everything answered at the state's revision that changed nothing. */
static bool observe_all(struct search *search, struct state *state)
{
    uint64_t latest = state->latest;
    while (state->next < search->answered.count) {
        const struct event *event = &search->answered.items[state->next];
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
    take_time(state, latest);
    return true;
}

/* --- Search ----------------------------------------------------------------------------------- */

static uint64_t state_hash(const struct state *state)
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
static bool allowed(const struct search *search, const struct state *from, const struct state *to,
                    const struct op *op)
{
    const struct known *known = &search->known[to->revision];
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
        if (item_equal(&from->keys[k], key))
            continue;
        if (known->quiet[k] > 0 || (known->kept[k] > 0 && key->version == 0))
            return false;
    }
    return true;
}

/* Puts the unanswered event into the order, as the next revision. */
static bool try_unanswered(struct search *search, struct state *state, uint32_t at)
{
    const struct event *event = &search->unanswered.items[at];
    if (event->seen_at && event->seen_at != state->revision + 1)
        return false;
    uint64_t write;
    if (map_get(&search->seen, state->revision + 1, 0, &write) && write != event->number)
        return false;
    struct state from = *state;
    if (!write_apply(state, event, event->seen_at ? event->number : ANONYMOUS) ||
        !allowed(search, &from, state, event->op))
        return false;
    take_time(state, event->invoked);
    state->used += event->class;
    state->last = event->number;
    return true;
}

/* The lease of a key ends, as the next revision. */
static bool try_end(struct search *search, struct state *state, uint32_t cell)
{
    static const struct op end = {.kind = OP_REVOKE};
    const struct state from = *state;
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
        lease_erase(state, lease);
    }
    if (ends_us > state->least_us)
        state->least_us = ends_us;
    return search->answered.items[state->next].finished_us >= ends_us &&
           allowed(search, &from, state, &end);
}

static bool try_candidate(struct search *search, struct state *state, uint32_t at)
{
    if (at >= search->unanswered.count)
        return try_end(search, state, at - search->unanswered.count);
    return try_unanswered(search, state, at);
}

/* The next event to be tried at the choice, or behind them the keys that may go by themselves;
 * UINT32_MAX: there is none. */
static uint32_t candidate(const struct search *search, struct choice *choice)
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
static bool backtrack(struct search *search, struct state *state)
{
    while (search->choices.count > 0) {
        struct choice *choice = &search->choices.items[search->choices.count - 1];
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
static bool choose(struct search *search, struct state *state)
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
        (struct choice){.before = *state, .from = from, .placed = UINT32_MAX};
    return backtrack(search, state);
}

/* One revision further, or elsewhere; false: there is no way. */
static bool step(struct search *search, struct state *state)
{
    const struct event *next = &search->answered.items[state->next];
    bool answered = next->change && next->op->revision == state->revision + 1;
    if (!answered)
        return choose(search, state);
    if (!in_time(search, state, next) || !change(search, state, next))
        return backtrack(search, state);
    take_time(state, next->invoked);
    state->last = next->number;
    state->next++;
    return true;
}

static enum history_verdict search_run(struct search *search)
{
    struct state state = {0};
    for (; search->steps < STEPS_MAX; search->steps++) {
        if (!observe_all(search, &state)) {
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
    struct search search = {.text = text, .size = size};
    if (ops->count == 0)
        return HISTORY_LINEARIZABLE;
    gather(&search, ops);
    search.used = mem_zalloc((search.unanswered.count + SIM_KEYS) * sizeof *search.used);
    enum history_verdict verdict = HISTORY_VIOLATED;
    history_leases_init(&search.leases, ops, fastest);
    uint64_t early = history_refused_early(&search.leases, ops);
    if (early) {
        snprintf(text, size, "operation %" PRIu64 " was refused sooner than its lease can be over",
                 early);
    } else if (gather_known(&search)) {
        gather_classes(&search);
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
