/* What reads tell, against the rules: at the index at which the node answered, everything is known.
 */
#include "tests/sim/world.h"

#include <inttypes.h>

/* A read under judgement. */
struct judged {
    const struct reference *reference;
    const struct op *op;
    uint64_t revision; /* of the store at the read's index */
};

static bool item_is(const struct op_item *seen, const struct reference_key *key)
{
    return seen->value == key->number && seen->create_revision == key->create_revision &&
           seen->mod_revision == key->mod_revision && seen->version == key->version &&
           seen->lease == key->lease;
}

/* NULL, or what is wrong. Likewise all below. */
static const char *judge_keys(const struct judged *judged)
{
    const struct op *op = judged->op;
    struct reference_key keys[SIM_KEYS];
    uint64_t compacted = op->revision_at ? reference_compacted(judged->reference, op->index) : 0;
    if (op->code == CONCLAVE_STALE)
        return op->revision_at > judged->revision ? NULL : "a revision that there is was refused";
    if (op->code == CONCLAVE_COMPACTED)
        return op->revision_at < compacted && op->revision == compacted
                   ? NULL
                   : "a revision that is kept was refused";
    if (op->revision_at > judged->revision)
        return "a revision that there is not was read";
    if (op->revision_at && op->revision_at < compacted)
        return "a revision that is not kept any more was read";
    reference_keys_at(judged->reference, op->revision_at ? op->revision_at : judged->revision,
                      keys);
    if (op->kind == OP_GET)
        return item_is(&op->items[0], &keys[op->cell]) ? NULL : "the key was another one";
    uint32_t end = op->cell_end ? op->cell_end : SIM_KEYS, count = 0, left = 0;
    for (uint32_t i = op->cell; i < end; i++) {
        if (i >= op->content) {
            left += keys[i].version > 0;
            continue;
        }
        count += keys[i].version > 0;
        if (!item_is(&op->items[i], &keys[i]))
            return "a key was another one";
    }
    if (op->limit && count > op->limit)
        return "there are more keys than were asked for";
    return op->content < end && left == 0 ? "it is to go on, and there is nothing more" : NULL;
}

static const char *judge_place(const struct judged *judged)
{
    const struct op *op = judged->op;
    const struct reference_place *place = reference_place_of(judged->reference, op->token);
    bool there = place && place->queue == op->cell && place->entered <= op->index &&
                 (place->gone == 0 || place->gone > op->index);
    if (op->code == CONCLAVE_NOT_FOUND)
        return there ? "a place that is there was not found" : NULL;
    if (!there)
        return "a place that is gone was found";
    return op->value == op->token &&
                   op->awaited == reference_place_awaits(judged->reference, place, op->index)
               ? NULL
               : "the place waits for another one";
}

/* To the byte. */
static const char *judge_asked(const struct judged *judged)
{
    const struct reference_reply told = reference_answer(judged->reference, judged->op);
    if (judged->op->code != told.code)
        return "the answer had another code";
    return judged->op->content == told.body ? NULL : "the answer was another one";
}

void check_read_content(struct world *world, uint64_t number)
{
    const struct op *op = &world->ops.items[number];
    struct judged judged = {.reference = &world->reference,
                            .op = op,
                            .revision = reference_at(&world->reference, op->index)->revision};
    const char *wrong = NULL;
    bool compacted = op->code == CONCLAVE_COMPACTED; /* it tells up to where */
    if (!compacted && op->revision != judged.revision)
        wrong = "the store was at another revision";
    else if (op->kind == OP_PLACE)
        wrong = judge_place(&judged);
    else if (op->kind == OP_QUEUE || op->kind == OP_TOPIC_READ || op->kind == OP_ASK)
        wrong = judge_asked(&judged);
    else
        wrong = judge_keys(&judged);
    if (wrong)
        check_fail(&world->check, "reads are those of the rules",
                   "operation %" PRIu64 " at n%u, of %" PRIu64 " entries: %s", number, op->node + 1,
                   op->index, wrong);
}
