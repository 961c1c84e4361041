#include "machine/kv_txn.h"

#include "base/fatal.h"
#include "machine/kv_query.h"
#include "machine/kv_quota.h"
#include "machine/kv_reply.h"
#include "machine/kv_write.h"
#include "machine/topic_internal.h"

/* --- Compares --------------------------------------------------------------------------------- */

static bool order_holds(enum kv_compare_how how, int order)
{
    switch (how) {
    case KV_COMPARE_EQUAL:
        return order == 0;
    case KV_COMPARE_UNEQUAL:
        return order != 0;
    case KV_COMPARE_LESS:
        return order < 0;
    case KV_COMPARE_GREATER:
        return order > 0;
    case KV_COMPARE_HOWS:
        break;
    }
    ASSERT(!"the decoder knows them all");
    return false;
}

static bool number_holds(const struct kv_compare *compare, uint64_t number)
{
    return order_holds(compare->how, (number > compare->number) - (number < compare->number));
}

static bool key_holds(const struct kv_compare *compare, const struct kv_found *found)
{
    const struct kv_record *record = &found->record; /* all zero: there is no such key */
    uint64_t number = 0;
    switch (compare->what) {
    case KV_COMPARE_REVISION:
        number = record->mod_revision;
        break;
    case KV_COMPARE_CREATE:
        number = record->create_revision;
        break;
    case KV_COMPARE_VERSION:
        number = record->version;
        break;
    case KV_COMPARE_LEASE:
        number = record->lease;
        break;
    case KV_COMPARE_VALUE:
        if (record->version == 0)
            return compare->how == KV_COMPARE_UNEQUAL;
        return order_holds(compare->how,
                           tables_compare(kv_record_value(found->stored), compare->value));
    case KV_COMPARE_SEQUENCE:
    case KV_COMPARE_TOPIC:
    case KV_COMPARE_WHATS:
        ASSERT(!"a compare of a key");
    }
    return number_holds(compare, number);
}

/* rc. */
static int compare_key(struct kv_batch *batch, const struct kv_compare *compare, bool *ret_holds)
{
    struct kv_found found;
    int rc = kv_change_find(batch, KV_SPACE_USER, compare->key, &found);
    if (!rc)
        *ret_holds = key_holds(compare, &found);
    return rc;
}

/* rc. Of a topic that is not there all numbers are 0. */
static int compare_topic(struct kv_batch *batch, const struct kv_compare *compare, bool *ret_holds)
{
    const struct topic_record *record = &batch->topics.record;
    int rc = topic_load(&batch->topics, compare->key);
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    uint64_t number = 0;
    if (!rc)
        number = compare->what == KV_COMPARE_TOPIC ? record->id : record->end - 1;
    *ret_holds = number_holds(compare, number);
    return 0;
}

/* rc. */
static int compare_all(struct kv_batch *batch, const struct kv_txn_list *list, bool *ret_held)
{
    struct kv_txn_reader reader;
    struct kv_compare compare;
    int rc = 0;
    *ret_held = true;
    kv_txn_begin(&reader, list);
    while (!rc && *ret_held && kv_txn_next_compare(&reader, &compare) == 1)
        rc = kv_compare_is_of_topic(compare.what) ? compare_topic(batch, &compare, ret_held)
                                                  : compare_key(batch, &compare, ret_held);
    return rc;
}

/* --- Steps ------------------------------------------------------------------------------------ */

/* rc. Whether a publish may be carried out. */
static int check_publish(struct kv_batch *batch, const struct topic_command *command, int *ret_code)
{
    uint64_t growth = 0;
    int rc = topic_load(&batch->topics, command->name);
    if (rc == CONCLAVE_NOT_FOUND) {
        *ret_code = CONCLAVE_NOT_FOUND;
        return 0;
    }
    if (!rc && kv_quota_room(&batch->state) < TOPIC_GROWTH_MAX)
        rc = topic_publish_growth(&batch->topics, command, kv_change_revision(batch), &growth);
    if (!rc && !kv_quota_takes(&batch->state, growth))
        *ret_code = CONCLAVE_QUOTA;
    if (*ret_code == CONCLAVE_OK)
        batch->state.topic_bytes += growth;
    return rc;
}

/* rc. */
static int check_step(struct kv_batch *batch, const struct kv_step *step, int *ret_code)
{
    struct kv_found found;
    if (step->publishes)
        return check_publish(batch, &step->topic, ret_code);
    if (step->reads || step->command.opcode != KV_PUT)
        return 0;
    uint64_t growth = 0;
    int rc = kv_change_find(batch, KV_SPACE_USER, step->command.key, &found);
    if (!rc)
        rc = kv_write_check(batch, &step->command, &found, ret_code);
    if (!rc)
        rc = kv_write_growth(batch, &step->command, &found, &growth);
    if (!rc && *ret_code == CONCLAVE_OK)
        batch->state.bytes += growth;
    return rc;
}

/* rc. Whether every step may be carried out; the quota for all of them together. */
static int check_steps(struct kv_batch *batch, const struct kv_txn_list *list, int *ret_code)
{
    struct kv_txn_reader reader;
    struct kv_step step;
    uint64_t bytes = batch->state.bytes, topic_bytes = batch->state.topic_bytes;
    int rc = 0;
    kv_txn_begin(&reader, list);
    while (!rc && *ret_code == CONCLAVE_OK && kv_txn_next_step(&reader, &step) == 1)
        rc = check_step(batch, &step, ret_code);
    if (batch->state.refused && *ret_code == CONCLAVE_QUOTA) /* what those before it need, too */
        batch->state.refused += batch->state.bytes - bytes + batch->state.topic_bytes - topic_bytes;
    batch->state.bytes = bytes;
    batch->state.topic_bytes = topic_bytes;
    return rc;
}

/* What a transaction answers, while it is carried out. */
struct answers {
    struct pack steps;
    uint32_t count;
    size_t left; /* for what reads answer */
};

/* rc. */
static int step_read(struct kv_batch *batch, struct kv_query *query, struct answers *answers)
{
    struct kv_view view = {.tx = &batch->tx,
                           .state = &batch->state,
                           .revision = kv_change_any(batch) ? kv_change_revision(batch)
                                                            : batch->state.revision,
                           .clock_ms = batch->clock_ms};
    struct kv_step_answer answer = {0};
    struct pack pack;
    if (query->bytes > answers->left)
        query->bytes = answers->left;
    pack_init(&pack, 0);
    int rc = kv_query_run(&view, query, &pack, &answer.code);
    if (pack.bytes <= answers->left) {
        answer.body = (struct slice){pack.buf->data, pack.bytes};
        answers->left -= pack.bytes;
    } else {
        answer.code = CONCLAVE_TOO_LARGE;
    }
    kv_step_answer_pack(&answers->steps, &answer);
    pack_deinit(&pack);
    return rc;
}

/* What it did: the item of before, if it was asked for, as long as there is room. */
static void outcome_add(struct answers *answers, struct kv_outcome *outcome)
{
    size_t bytes = outcome->has_item ? kv_item_bytes(&outcome->item) : 0;
    outcome->has_item &= bytes <= answers->left;
    answers->left -= outcome->has_item ? bytes : 0;
    pack_array(&answers->steps, 2);
    pack_uint(&answers->steps, CONCLAVE_OK);
    kv_outcome_pack(&answers->steps, outcome);
}

/* rc. */
static int step_write(struct kv_batch *batch, const struct kv_command *command,
                      struct answers *answers)
{
    struct kv_found found;
    struct kv_outcome outcome = {0};
    int rc;
    if (command->opcode == KV_DELETE_RANGE) {
        rc = kv_change_erase_range(batch, KV_SPACE_USER, command->bounds.from, command->bounds.to,
                                   command->bounds.no_end, &outcome.value);
        outcome.revision = kv_change_any(batch) ? kv_change_revision(batch) : batch->state.revision;
        outcome_add(answers, &outcome);
        return rc;
    }
    rc = kv_change_find(batch, KV_SPACE_USER, command->key, &found);
    if (!rc)
        rc = kv_write_outcome(batch, command, &found, &outcome);
    if (rc)
        return rc;
    outcome_add(answers, &outcome);
    return kv_write_apply(batch, command, &found);
}

/* What was published: which of it were duplicates as long as there is room. */
static void published_add(struct answers *answers, const struct buf *body)
{
    struct kv_step_answer answer = {.body = {body->data, body->bytes}};
    struct topic_published published;
    struct pack pack;
    if (body->bytes <= answers->left) {
        answers->left -= body->bytes;
        kv_step_answer_pack(&answers->steps, &answer);
        return;
    }
    int code = topic_published_decode(body->data, body->bytes, &published);
    ASSERT(!code); /* it was packed a moment ago */
    published.duplicate_count = 0;
    pack_init(&pack, 0);
    topic_published_pack(&pack, &published, NULL);
    answer.body = (struct slice){pack.buf->data, pack.bytes};
    kv_step_answer_pack(&answers->steps, &answer);
    pack_deinit(&pack);
}

/* rc. */
static int step_publish(struct kv_batch *batch, struct topic_command *command,
                        struct answers *answers)
{
    struct conclave_reply_sink sink = {0};
    uint64_t revision = batch->state.revision; /* topics count on by themselves */
    int rc = topic_load(&batch->topics, command->name);
    batch->topics.room = UINT64_MAX; /* for all steps together there is enough */
    if (!rc)
        rc = topic_publish(&batch->topics, &revision, command, &sink);
    if (!rc) {
        batch->published |= revision != batch->state.revision;
        published_add(answers, sink.body);
        if (batch->reply)
            batch->reply->effect = batch->reply->effect * 31 + sink.effect;
    }
    reply_sink_clear(&sink);
    return rc;
}

/* rc. */
static int run_steps(struct kv_batch *batch, const struct kv_txn_list *list,
                     struct answers *answers)
{
    struct kv_txn_reader reader;
    struct kv_step step;
    int rc = 0;
    kv_txn_begin(&reader, list);
    kv_change_begin(batch);
    while (!rc && kv_txn_next_step(&reader, &step) == 1) {
        answers->count++;
        if (step.publishes)
            rc = step_publish(batch, &step.topic, answers);
        else if (step.reads)
            rc = step_read(batch, &step.query, answers);
        else
            rc = step_write(batch, &step.command, answers);
    }
    return rc ? rc : kv_change_end(batch);
}

static void reply(struct kv_batch *batch, bool held, const struct answers *answers)
{
    struct pack pack;
    if (!batch->reply)
        return;
    pack_init(&pack, 0);
    kv_txn_answer_pack(&pack,
                       &(struct kv_txn_answer){.revision = batch->state.revision,
                                               .held = held,
                                               .count = answers->count},
                       (struct slice){answers->steps.buf->data, answers->steps.bytes});
    reply_sink_take(batch->reply, CONCLAVE_OK, pack_take(&pack));
}

int kv_txn_apply(struct kv_batch *batch, const struct kv_txn *txn)
{
    bool held;
    int code = CONCLAVE_OK;
    int rc = compare_all(batch, &txn->compares, &held);
    if (rc)
        return rc;
    const struct kv_txn_list *list = held ? &txn->then : &txn->otherwise;
    rc = check_steps(batch, list, &code);
    if (rc)
        return rc;
    if (code) {
        kv_reply_revision(batch, code);
        return 0;
    }
    struct answers answers = {.left = KV_TXN_READ_BYTES_MAX};
    pack_init(&answers.steps, 0);
    rc = run_steps(batch, list, &answers);
    if (!rc)
        reply(batch, held, &answers);
    pack_deinit(&answers.steps);
    return rc;
}
