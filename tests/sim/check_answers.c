/* What reads tell, against the rules: at the index at which the node answered, everything is known.
 */
#include "tests/sim/map.h"
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

static const char *judge_queue(const struct judged *judged)
{
    const struct reference *reference = judged->reference;
    const struct op *op = judged->op;
    uint64_t hash = 1;
    bool first = true;
    for (uint32_t i = 0; i < reference->places.count; i++) {
        const struct reference_place *place = &reference->places.items[i];
        if (place->queue != op->cell || place->entered > op->index ||
            (place->gone && place->gone <= op->index))
            continue;
        if (first)
            hash = hash_mix(1, place->slots);
        first = false;
        hash = hash_mix(hash_mix(hash, place->token), place->lease);
    }
    return op->content == (first ? hash_mix(1, 0) : hash) ? NULL : "the queue was another one";
}

/* Whether it may have begun there: where it was to begin, or what lies before is not kept. */
static bool begins_well(const struct judged *judged, const struct reference_topic *topic,
                        uint64_t end)
{
    const struct op *op = judged->op;
    const struct reference_message *messages = topic->messages.items;
    bool first_kept = op->from <= reference_topic_first(judged->reference, topic);
    switch (op->start) {
    case CONCLAVE_FROM_SEQUENCE:
        return op->from == op->position || (op->from > op->position && first_kept);
    case CONCLAVE_FROM_FIRST:
        return first_kept;
    case CONCLAVE_FROM_LAST:
        return op->from + op->position == end || (op->from + op->position > end && first_kept);
    case CONCLAVE_FROM_TIME:
        return (op->from == end || messages[op->from - 1].time_ms >= op->position) &&
               (first_kept || messages[op->from - 2].time_ms < op->position);
    default:
        return op->from == end;
    }
}

static const char *judge_topic(const struct judged *judged)
{
    const struct op *op = judged->op;
    const struct reference_topic *topic =
        reference_topic_at(judged->reference, op->cell, judged->revision);
    if (op->code == CONCLAVE_NOT_FOUND)
        return topic ? "a topic that is there was not found" : NULL;
    if (!topic)
        return "a topic that is gone was read";
    uint64_t end = topic->end, hash = 1;
    while (end > 1 && topic->messages.items[end - 2].revision > judged->revision)
        end--;
    if (op->value != end)
        return "the topic ends elsewhere";
    if (op->from == 0 || (op->end > end && op->end > op->from))
        return "there are not so many messages";
    for (uint64_t at = op->from; at < op->end; at++) {
        const struct reference_message *message = &topic->messages.items[at - 1];
        hash = op_message_hash(hash, at, message->revision, message->id, message->value,
                               message->origin);
    }
    if (hash != op->content)
        return "the messages were other ones";
    if (op->end < end && op->end - op->from != op->limit)
        return "messages were left out";
    return begins_well(judged, topic, end) ? NULL : "it begins elsewhere";
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
    else if (op->kind == OP_QUEUE)
        wrong = judge_queue(&judged);
    else if (op->kind == OP_TOPIC_READ)
        wrong = judge_topic(&judged);
    else if (op->kind == OP_ASK)
        wrong = judge_asked(&judged);
    else
        wrong = judge_keys(&judged);
    if (wrong)
        check_fail(&world->check, "reads are those of the rules",
                   "operation %" PRIu64 " at n%u, of %" PRIu64 " entries: %s", number, op->node + 1,
                   op->index, wrong);
}
