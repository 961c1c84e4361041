/* What the clients saw, and what answers say of revisions, whoever wrote them. */
#include "base/fatal.h"
#include "base/list.h"
#include "tests/sim/history_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- What the clients saw --------------------------------------------------------------------- */

static bool is_change(const struct op *op)
{
    if (op->kind == OP_PUT)
        return op->code == CONCLAVE_OK;
    return op_is_write(op) && op->kind != OP_CREATE && op->code == CONCLAVE_OK && op->value > 0;
}

/* Puts one logical operation, all attempts together, where it belongs. */
static void gather_one(struct history_search *search, const struct ops *ops, uint64_t first,
                       const uint64_t *again)
{
    const struct op *begin = &ops->items[first];
    struct history_event event = {
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
    const struct history_event *left = a, *right = b;
    if (left->op->revision != right->op->revision)
        return left->op->revision < right->op->revision ? -1 : 1;
    if (left->change != right->change)
        return left->change ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

void history_gather(struct history_search *search, const struct ops *ops)
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
static void know_versions(struct history_search *search, uint32_t cell, const struct op_item *item)
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
static void know(struct history_search *search, uint32_t cell, uint64_t mod, uint64_t create,
                 uint64_t last)
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

static bool know_item(struct history_search *search, const struct op *op, uint32_t cell,
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
bool history_gather_known(struct history_search *search)
{
    search->known = mem_zalloc((search->last_revision + 3) * sizeof *search->known);
    for (uint32_t i = 0; i < search->answered.count; i++) {
        const struct history_event *event = &search->answered.items[i];
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

void history_gather_classes(struct history_search *search)
{
    for (uint32_t i = 0; i < search->unanswered.count; i++) {
        struct history_event *event = &search->unanswered.items[i];
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
