#include "codec/kv_txn.h"

#include "codec/fields.h"
#include "codec/kv_internal.h"

#include <string.h>

/* --- Lists ------------------------------------------------------------------------------------ */

struct kv_txn_list kv_txn_list_decode(struct cursor *cursor)
{
    struct slice all = cursor_raw(cursor);
    struct cursor inside;
    cursor_init(&inside, all.data, all.bytes);
    struct kv_txn_list list = {.count = cursor_array(&inside)};
    if (!cursor_ok(cursor) || !cursor_ok(&inside)) {
        cursor_fail(cursor);
        return (struct kv_txn_list){0};
    }
    list.items = (struct slice){inside.at, (size_t)(inside.end - inside.at)};
    return list;
}

void kv_txn_list_pack(struct pack *pack, const struct kv_txn_list *list)
{
    pack_array(pack, list->count);
    pack_raw(pack, list->items.data, list->items.bytes);
}

void kv_txn_begin(struct kv_txn_reader *reader, const struct kv_txn_list *list)
{
    cursor_init(&reader->cursor, list->items.data, list->items.bytes);
    reader->left = list->count;
}

/* --- Compares --------------------------------------------------------------------------------- */

void kv_compare_pack(struct pack *pack, const struct kv_compare *compare)
{
    pack_array(pack, 4);
    pack_uint(pack, compare->what);
    pack_uint(pack, compare->how);
    pack_bin(pack, compare->key.data, compare->key.bytes);
    if (compare->what == KV_COMPARE_VALUE)
        pack_bin(pack, compare->value.data, compare->value.bytes);
    else
        pack_uint(pack, compare->number);
}

int kv_txn_next_compare(struct kv_txn_reader *reader, struct kv_compare *ret)
{
    if (reader->left == 0)
        return cursor_done(&reader->cursor) ? 0 : -CONCLAVE_MALFORMED;
    struct fields fields = {reader->cursor, 0};
    fields.left = cursor_array(&fields.cursor);
    uint64_t what = cursor_uint(fields_next(&fields));
    uint64_t how = cursor_uint(fields_next(&fields));
    struct kv_compare compare = {.key = cursor_bin(fields_next(&fields))};
    if (what == KV_COMPARE_VALUE)
        compare.value = cursor_bin(fields_next(&fields));
    else
        compare.number = cursor_uint(fields_next(&fields));
    fields_end(&fields);
    reader->cursor = fields.cursor;
    reader->left--;
    if (!cursor_ok(&reader->cursor))
        return -CONCLAVE_MALFORMED;
    if (what >= KV_COMPARE_WHATS || how >= KV_COMPARE_HOWS || compare.key.bytes == 0)
        return -CONCLAVE_INVALID;
    compare.what = (enum kv_compare_what)what;
    if (compare.key.bytes >
        (kv_compare_is_of_topic(compare.what) ? CONCLAVE_TOPIC_BYTES_MAX : CONCLAVE_KEY_BYTES_MAX))
        return -CONCLAVE_TOO_LARGE;
    compare.how = (enum kv_compare_how)how;
    *ret = compare;
    return 1;
}

/* --- Steps ------------------------------------------------------------------------------------ */

/* Looks at the opcode alone: a transaction inside of another is not even begun to be read. */
static uint64_t opcode_of(struct slice step)
{
    struct fields fields;
    fields_begin(&fields, step.data, step.bytes);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    return cursor_ok(&fields.cursor) ? opcode : 0;
}

int kv_txn_next_step(struct kv_txn_reader *reader, struct kv_step *ret)
{
    if (reader->left == 0)
        return cursor_done(&reader->cursor) ? 0 : -CONCLAVE_MALFORMED;
    struct slice raw = cursor_raw(&reader->cursor);
    reader->left--;
    if (!cursor_ok(&reader->cursor))
        return -CONCLAVE_MALFORMED;
    struct kv_step step = {0};
    int code;
    switch (opcode_of(raw)) {
    case KV_PUT:
    case KV_DELETE:
    case KV_DELETE_RANGE:
        code = kv_command_decode(raw.data, raw.bytes, &step.command);
        if (!code && step.command.condition.given)
            code = CONCLAVE_INVALID; /* that is what compares are for */
        break;
    case TOPIC_PUBLISH:
        step.publishes = true;
        code = topic_command_decode(raw.data, raw.bytes, &step.topic);
        if (!code && step.topic.expected)
            code = CONCLAVE_INVALID; /* it could fail when other steps are done */
        break;
    case KV_GET:
    case KV_RANGE:
        step.reads = true;
        code = kv_query_decode(raw.data, raw.bytes, &step.query);
        if (!code && step.query.revision)
            code = CONCLAVE_INVALID; /* what is kept of the past is nothing to build on */
        break;
    case 0:
        code = CONCLAVE_MALFORMED;
        break;
    default:
        code = CONCLAVE_INVALID;
    }
    if (code)
        return -code;
    *ret = step;
    return 1;
}

/* --- Checks ----------------------------------------------------------------------------------- */

/* Which keys a step changes. */
struct reach {
    bool put, range;
    struct slice key; /* or the first of a range */
    struct slice to;
    bool no_end;
};

static bool equal(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

static bool below(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order < 0 || (order == 0 && a.bytes < b.bytes);
}

/* Whether `other` changes the key that `put` puts. */
static bool meets(const struct reach *put, const struct reach *other)
{
    if (!other->range)
        return equal(put->key, other->key);
    return !below(put->key, other->key) && (other->no_end || below(put->key, other->to));
}

/* A key changes once at most within a revision: who watches gets one event. */
static int check_reaches(const struct reach *reaches, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; reaches[i].put && k < count; k++)
            if (k != i && meets(&reaches[i], &reaches[k]))
                return CONCLAVE_INVALID;
    return CONCLAVE_OK;
}

static int check_steps(const struct kv_txn_list *list)
{
    struct reach reaches[KV_TXN_STEPS_MAX];
    struct kv_txn_reader reader;
    struct kv_step step = {0};
    uint32_t count = 0;
    int more;
    if (list->count > KV_TXN_STEPS_MAX)
        return CONCLAVE_TOO_LARGE;
    kv_txn_begin(&reader, list);
    while ((more = kv_txn_next_step(&reader, &step)) == 1) {
        const struct kv_command *command = &step.command;
        if (step.reads || step.publishes)
            continue;
        struct reach *reach = &reaches[count++];
        *reach = (struct reach){.put = command->opcode == KV_PUT, .key = command->key};
        if (command->opcode == KV_DELETE_RANGE)
            *reach = (struct reach){.range = true,
                                    .key = command->bounds.from,
                                    .to = command->bounds.to,
                                    .no_end = command->bounds.no_end};
    }
    return more < 0 ? -more : check_reaches(reaches, count);
}

int kv_txn_check(const struct kv_txn *txn)
{
    struct kv_txn_reader reader;
    struct kv_compare compare;
    int more;
    if (txn->compares.count > KV_TXN_COMPARES_MAX)
        return CONCLAVE_TOO_LARGE;
    kv_txn_begin(&reader, &txn->compares);
    do
        more = kv_txn_next_compare(&reader, &compare);
    while (more == 1);
    if (more < 0)
        return -more;
    int code = check_steps(&txn->then);
    return code ? code : check_steps(&txn->otherwise);
}

/* --- The answer ------------------------------------------------------------------------------- */

void kv_step_answer_pack(struct pack *pack, const struct kv_step_answer *answer)
{
    pack_array(pack, 1u + (answer->body.bytes > 0));
    pack_uint(pack, (uint64_t)answer->code);
    if (answer->body.bytes)
        pack_raw(pack, answer->body.data, answer->body.bytes);
}

void kv_txn_answer_pack(struct pack *pack, const struct kv_txn_answer *answer, struct slice steps)
{
    pack_array(pack, 3);
    pack_uint(pack, answer->revision);
    pack_uint(pack, answer->held);
    pack_array(pack, answer->count);
    pack_raw(pack, steps.data, steps.bytes);
}

int kv_txn_answer_begin(const void *data, size_t bytes, struct kv_txn_answer *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_txn_answer answer = {.revision = cursor_uint(fields_next(&fields))};
    answer.held = cursor_uint(fields_next(&fields)) != 0;
    struct slice steps = cursor_raw(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    cursor_init(&answer.steps, steps.data, steps.bytes);
    answer.count = cursor_array(&answer.steps);
    if (!cursor_ok(&answer.steps))
        return CONCLAVE_MALFORMED;
    *ret = answer;
    return CONCLAVE_OK;
}

int kv_txn_answer_next(struct kv_txn_answer *answer, struct kv_step_answer *ret)
{
    if (answer->count == 0)
        return cursor_ok(&answer->steps) ? 0 : -1;
    struct fields fields = {answer->steps, 0};
    fields.left = cursor_array(&fields.cursor);
    uint64_t code = cursor_uint(fields_next(&fields));
    struct kv_step_answer step = {0};
    if (fields_given(&fields))
        step.body = cursor_raw(fields_next(&fields));
    fields_end(&fields);
    answer->steps = fields.cursor;
    if (!cursor_ok(&answer->steps) || code > INT16_MAX)
        return -1;
    step.code = (int)code;
    answer->count--;
    *ret = step;
    return 1;
}
