/* Transactions, in the rules written down once more: all or nothing, as one revision. */
#include "base/fatal.h"
#include "codec/kv_txn.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <string.h>

/* --- Compares --------------------------------------------------------------------------------- */

static bool order_holds(enum kv_compare_how how, bool less, bool greater)
{
    return how == KV_COMPARE_EQUAL     ? !less && !greater
           : how == KV_COMPARE_UNEQUAL ? less || greater
           : how == KV_COMPARE_LESS    ? less
                                       : greater;
}

static bool value_holds(const struct reference_key *key, const struct kv_compare *compare)
{
    uint8_t room[SIM_VALUE_BYTES_MAX];
    if (key->version == 0)
        return compare->how == KV_COMPARE_UNEQUAL;
    struct slice value = value_encode(key->number, key->bytes, room);
    size_t shared = value.bytes < compare->value.bytes ? value.bytes : compare->value.bytes;
    int order = memcmp(value.data, compare->value.data, shared);
    if (order == 0 && value.bytes != compare->value.bytes)
        order = value.bytes < compare->value.bytes ? -1 : 1;
    return order_holds(compare->how, order<0, order> 0);
}

/* Of a topic that is not there all is 0. */
static bool topic_holds(struct reference *reference, const struct kv_compare *compare)
{
    const struct reference_topic *topic = reference_topic_find(reference, compare->key);
    uint64_t number = !topic                                 ? 0
                      : compare->what == KV_COMPARE_SEQUENCE ? topic->end - 1
                                                             : topic->id;
    return order_holds(compare->how, number<compare->number, number> compare->number);
}

static bool compare_holds(struct reference *reference, const struct kv_compare *compare)
{
    if (kv_compare_is_of_topic(compare->what))
        return topic_holds(reference, compare);
    const struct reference_key *key = &reference->keys[key_decode(compare->key)];
    const uint64_t numbers[KV_COMPARE_WHATS] = {[KV_COMPARE_REVISION] = key->mod_revision,
                                                [KV_COMPARE_CREATE] = key->create_revision,
                                                [KV_COMPARE_VERSION] = key->version,
                                                [KV_COMPARE_LEASE] = key->lease};
    if (compare->what == KV_COMPARE_VALUE)
        return value_holds(key, compare);
    uint64_t number = numbers[compare->what];
    return order_holds(compare->how, number<compare->number, number> compare->number);
}

/* --- Steps ------------------------------------------------------------------------------------ */

/* A transaction under way. */
struct doing {
    struct reference *reference;
    uint64_t before, after; /* revisions: the one that it makes, if it makes one */
    uint64_t keys, messages;
    struct pack answers;
    uint32_t count;
};

static uint64_t seen(const struct doing *doing)
{
    return doing->keys + doing->messages ? doing->after : doing->before;
}

/* A code if a step cannot be done: then none is. *growth: what steps before it take; what is
 * deleted by others makes no room. */
static int forbids(struct reference *reference, const struct kv_step *step, uint64_t *growth)
{
    if (step->reads || (!step->publishes && step->command.opcode != KV_PUT))
        return CONCLAVE_OK;
    const struct reference_topic *topic =
        step->publishes ? reference_topic_find(reference, step->topic.name) : NULL;
    if (step->publishes && !topic)
        return CONCLAVE_NOT_FOUND;
    uint64_t more = step->publishes
                        ? reference_publish_growth(reference, topic, step->topic.messages)
                        : reference_put_growth(reference, &step->command);
    *growth += more;
    if (more > 0 && !reference_takes(reference, *growth))
        return CONCLAVE_QUOTA;
    return !step->publishes && !reference_lease_fits(reference, step->command.lease)
               ? CONCLAVE_LEASE_EXPIRED
               : CONCLAVE_OK;
}

static void step_answer(struct doing *doing, int code, struct pack *pack)
{
    kv_step_answer_pack(&doing->answers,
                        &(struct kv_step_answer){code, {pack->buf->data, pack->bytes}});
    pack_deinit(pack);
}

static void step_read(struct doing *doing, const struct kv_query *query)
{
    struct pack pack;
    pack_init(&pack, 0);
    int code = reference_keys_read(doing->reference, query, UINT64_MAX, seen(doing), &pack);
    step_answer(doing, code, &pack);
}

static void step_write(struct doing *doing, const struct kv_command *command)
{
    struct reference *reference = doing->reference;
    uint8_t name[2], value[SIM_VALUE_BYTES_MAX];
    bool range = command->opcode == KV_DELETE_RANGE, put = command->opcode == KV_PUT;
    uint32_t from = key_decode(range ? command->bounds.from : command->key);
    uint32_t to = range ? reference_bounds_end(&command->bounds) : from + 1;
    uint64_t deleted = 0;
    struct kv_outcome outcome = {.value = put ? reference->keys[from].mod_revision : 0};
    struct pack pack;
    if (!range && command->previous && reference->keys[from].version) {
        outcome.has_item = true;
        outcome.item = reference_item(reference, from, name, value);
    }
    for (uint32_t i = from; !put && i < to; i++) {
        deleted += reference->keys[i].version > 0;
        reference_erase(reference, i, doing->after);
    }
    doing->keys += put ? 1 : deleted;
    outcome.value = put ? outcome.value : deleted;
    outcome.revision = seen(doing);
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &outcome);
    step_answer(doing, CONCLAVE_OK, &pack);
    if (put)
        reference_put(reference, command, doing->after);
}

static void step_publish(struct doing *doing, const struct topic_command *command)
{
    struct pack pack;
    pack_init(&pack, 0);
    doing->messages +=
        reference_publish(doing->reference, reference_topic_find(doing->reference, command->name),
                          command->messages, doing->after, &pack);
    step_answer(doing, CONCLAVE_OK, &pack);
}

static void count(struct reference *reference, const struct doing *doing, bool held)
{
    reference->counts.then += held;
    reference->counts.otherwise += !held;
    reference->counts.published_with_keys += doing->keys > 0 && doing->messages > 0;
}

struct reference_reply reference_txn_apply(struct reference *reference, const struct kv_txn *txn)
{
    struct kv_txn_reader reader;
    struct kv_compare compare;
    struct kv_step step;
    bool held = true;
    kv_txn_begin(&reader, &txn->compares);
    while (kv_txn_next_compare(&reader, &compare) == 1)
        held &= compare_holds(reference, &compare);
    const struct kv_txn_list *list = held ? &txn->then : &txn->otherwise;
    uint64_t growth = 0;
    kv_txn_begin(&reader, list);
    while (kv_txn_next_step(&reader, &step) == 1) {
        int code = forbids(reference, &step, &growth);
        reference->counts.refused += code != CONCLAVE_OK;
        if (code)
            return reference_revision_alone(code, reference->revision);
    }
    struct doing doing = {
        .reference = reference, .before = reference->revision, .after = reference->revision + 1};
    pack_init(&doing.answers, 0);
    kv_txn_begin(&reader, list);
    for (; kv_txn_next_step(&reader, &step) == 1; doing.count++) {
        if (step.publishes)
            step_publish(&doing, &step.topic);
        else if (step.reads)
            step_read(&doing, &step.query);
        else
            step_write(&doing, &step.command);
    }
    reference->revision = seen(&doing);
    if (doing.keys)
        reference_history_changed(reference);
    count(reference, &doing, held);
    struct pack pack;
    pack_init(&pack, 0);
    kv_txn_answer_pack(&pack,
                       &(struct kv_txn_answer){
                           .revision = reference->revision, .held = held, .count = doing.count},
                       (struct slice){doing.answers.buf->data, doing.answers.bytes});
    pack_deinit(&doing.answers);
    return reference_reply_take(CONCLAVE_OK, &pack);
}
