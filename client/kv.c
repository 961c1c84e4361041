#include "codec/kv.h"
#include "client/request.h"
#include "conclave_kv.h"

#include <string.h>

static struct kv_bounds bounds_of(const void *from, size_t from_bytes, const void *to,
                                  size_t to_bytes)
{
    return (struct kv_bounds){request_slice(from, from_bytes), request_slice(to, to_bytes), !to};
}

static struct kv_condition condition_of(uint64_t if_revision)
{
    bool given = if_revision != CONCLAVE_KV_ANY;
    return (struct kv_condition){given, given ? if_revision : 0};
}

/* The machine's own rules, before anything is copied or sent. */
static int command_check(const struct kv_command *command)
{
    if (command->opcode == KV_DELETE_RANGE)
        return kv_bounds_check(&command->bounds);
    if (command->key.bytes > CONCLAVE_KEY_BYTES_MAX ||
        command->value.bytes > CONCLAVE_VALUE_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    return command->key.bytes == 0 ? CONCLAVE_INVALID : CONCLAVE_OK;
}

/* Fields that an opcode does not have are empty. */
static int query_check(const struct kv_query *query)
{
    if (query->key.bytes > CONCLAVE_KEY_BYTES_MAX || kv_bounds_check(&query->bounds))
        return CONCLAVE_TOO_LARGE;
    return query->opcode == KV_GET && query->key.bytes == 0 ? CONCLAVE_INVALID : CONCLAVE_OK;
}

/* --- Encoding --------------------------------------------------------------------------------- */

static int command_encode(void *buffer, size_t capacity, const struct kv_command *command,
                          size_t *ret_bytes)
{
    struct pack pack;
    struct buf buf;
    int code = command_check(command);
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity, kv_command_content(command));
    if (code)
        return code;
    kv_command_pack(&pack, command);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

static int query_encode(void *buffer, size_t capacity, const struct kv_query *query,
                        size_t *ret_bytes)
{
    struct pack pack;
    struct buf buf;
    int code = query_check(query);
    size_t content = query->key.bytes + query->bounds.from.bytes + query->bounds.to.bytes;
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity, content);
    if (code)
        return code;
    kv_query_pack(&pack, query);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_kv_encode_put(void *buffer, size_t capacity, const void *key, size_t key_bytes,
                           const void *value, size_t value_bytes, uint64_t if_revision,
                           size_t *ret_bytes)
{
    struct kv_command command = {.opcode = KV_PUT,
                                 .key = request_slice(key, key_bytes),
                                 .value = request_slice(value, value_bytes),
                                 .condition = condition_of(if_revision)};
    return command_encode(buffer, capacity, &command, ret_bytes);
}

int conclave_kv_encode_delete(void *buffer, size_t capacity, const void *key, size_t key_bytes,
                              uint64_t if_revision, size_t *ret_bytes)
{
    struct kv_command command = {.opcode = KV_DELETE,
                                 .key = request_slice(key, key_bytes),
                                 .condition = condition_of(if_revision)};
    return command_encode(buffer, capacity, &command, ret_bytes);
}

int conclave_kv_encode_delete_range(void *buffer, size_t capacity, const void *from,
                                    size_t from_bytes, const void *to, size_t to_bytes,
                                    size_t *ret_bytes)
{
    struct kv_command command = {.opcode = KV_DELETE_RANGE,
                                 .bounds = bounds_of(from, from_bytes, to, to_bytes)};
    return command_encode(buffer, capacity, &command, ret_bytes);
}

int conclave_kv_encode_get(void *buffer, size_t capacity, const void *key, size_t key_bytes,
                           size_t *ret_bytes)
{
    struct kv_query query = {.opcode = KV_GET, .key = request_slice(key, key_bytes)};
    return query_encode(buffer, capacity, &query, ret_bytes);
}

int conclave_kv_encode_range(void *buffer, size_t capacity, const void *from, size_t from_bytes,
                             const void *to, size_t to_bytes, uint64_t limit, uint32_t page_bytes,
                             bool keys_only, size_t *ret_bytes)
{
    struct kv_query query = {.opcode = KV_RANGE,
                             .bounds = bounds_of(from, from_bytes, to, to_bytes),
                             .limit = limit,
                             .bytes = page_bytes,
                             .what = keys_only ? KV_RANGE_KEYS : KV_RANGE_ITEMS};
    return query_encode(buffer, capacity, &query, ret_bytes);
}

size_t conclave_kv_prefix_end(const void *prefix, size_t prefix_bytes, void *end)
{
    return kv_prefix_end(request_slice(prefix, prefix_bytes), end);
}

/* --- Decoding --------------------------------------------------------------------------------- */

static struct conclave_kv_item item_of(const struct kv_item *item)
{
    return (struct conclave_kv_item){
        .key = item->key.data,
        .key_bytes = item->key.bytes,
        .value = item->value_left_out ? NULL : item->value.data,
        .value_bytes = item->value.bytes,
        .create_revision = item->create_revision,
        .mod_revision = item->mod_revision,
        .version = item->version,
        .lease = item->lease,
    };
}

/* Of a command; COMPARE_FAILED has a modify revision whatever the command was. */
static int outcome_decode(const struct conclave_op *op, bool put,
                          struct conclave_kv_result *ret_result)
{
    if (op->code != CONCLAVE_OK && op->code != CONCLAVE_COMPARE_FAILED)
        return op->code;
    struct kv_outcome outcome;
    int code = kv_outcome_decode(op->reply, op->reply_bytes, &outcome);
    if (code)
        return code;
    bool deleted = op->code == CONCLAVE_OK && !put;
    *ret_result = (struct conclave_kv_result){
        .revision = outcome.revision,
        .mod_revision = deleted ? 0 : outcome.value,
        .deleted = deleted ? outcome.value : 0,
    };
    return op->code;
}

int conclave_kv_decode_put(const struct conclave_op *op, struct conclave_kv_result *ret_result)
{
    return outcome_decode(op, true, ret_result);
}

int conclave_kv_decode_delete(const struct conclave_op *op, struct conclave_kv_result *ret_result)
{
    return outcome_decode(op, false, ret_result);
}

int conclave_kv_decode_get(const struct conclave_op *op, struct conclave_kv_item *ret_item,
                           uint64_t *ret_revision)
{
    uint64_t revision;
    int code = op->code;
    if (op->code == CONCLAVE_OK) {
        struct kv_item item;
        code = kv_get_answer_decode(op->reply, op->reply_bytes, &revision, &item);
        if (code)
            return code;
        *ret_item = item_of(&item);
    } else if (op->code == CONCLAVE_NOT_FOUND) {
        struct kv_outcome outcome;
        int bad = kv_outcome_decode(op->reply, op->reply_bytes, &outcome);
        if (bad)
            return bad;
        revision = outcome.revision;
    } else {
        return code;
    }
    if (ret_revision)
        *ret_revision = revision;
    return code;
}

int conclave_kv_decode_range(const struct conclave_op *op,
                             int (*item)(void *arg, const struct conclave_kv_item *item), void *arg,
                             struct conclave_kv_page *ret_page)
{
    if (op->code != CONCLAVE_OK)
        return op->code;
    struct kv_range_answer answer;
    int code = kv_range_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    struct conclave_kv_page page = {
        .revision = answer.revision,
        .count = answer.count,
        .next = answer.next.bytes ? answer.next.data : NULL,
        .next_bytes = answer.next.bytes,
    };
    struct kv_item read;
    int more = 1;
    while (item && (more = kv_range_answer_next(&answer, &read)) == 1) {
        struct conclave_kv_item handed = item_of(&read);
        if (item(arg, &handed))
            break;
    }
    if (more < 0)
        return CONCLAVE_MALFORMED;
    *ret_page = page;
    return CONCLAVE_OK;
}

/* --- Synchronous ------------------------------------------------------------------------------ */

static int command_call(struct conclave_client *client, const struct kv_command *command,
                        uint32_t timeout_ms, struct conclave_kv_result *ret_result)
{
    int code = command_check(command);
    if (code)
        return code;
    struct pack pack;
    struct conclave_op op;
    pack_init(&pack, command->key.bytes + command->value.bytes + CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, command);
    struct conclave_op wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    request_call(client, wanted, &pack, &op);

    struct conclave_kv_result result;
    code = outcome_decode(&op, command->opcode == KV_PUT, &result);
    conclave_op_release(&op);
    if (ret_result && (code == CONCLAVE_OK || code == CONCLAVE_COMPARE_FAILED))
        *ret_result = result;
    return code;
}

int conclave_kv_put(struct conclave_client *client, const void *key, size_t key_bytes,
                    const void *value, size_t value_bytes, uint64_t if_revision,
                    uint32_t timeout_ms, struct conclave_kv_result *ret_result)
{
    struct kv_command command = {.opcode = KV_PUT,
                                 .key = request_slice(key, key_bytes),
                                 .value = request_slice(value, value_bytes),
                                 .condition = condition_of(if_revision)};
    return command_call(client, &command, timeout_ms, ret_result);
}

void conclave_kv_put_options_init(struct conclave_kv_put_options *options)
{
    *options =
        (struct conclave_kv_put_options){.size = sizeof *options, .if_revision = CONCLAVE_KV_ANY};
}

int conclave_kv_put_with(struct conclave_client *client, const void *key, size_t key_bytes,
                         const void *value, size_t value_bytes,
                         const struct conclave_kv_put_options *options, uint32_t timeout_ms,
                         struct conclave_kv_result *ret_result)
{
    struct conclave_kv_put_options known;
    conclave_kv_put_options_init(&known);
    memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
    struct kv_command command = {.opcode = KV_PUT,
                                 .key = request_slice(key, key_bytes),
                                 .value = request_slice(value, value_bytes),
                                 .condition = condition_of(known.if_revision),
                                 .lease = known.lease,
                                 .ttl_ms = known.ttl_ms};
    return command_call(client, &command, timeout_ms, ret_result);
}

int conclave_kv_delete(struct conclave_client *client, const void *key, size_t key_bytes,
                       uint64_t if_revision, uint32_t timeout_ms,
                       struct conclave_kv_result *ret_result)
{
    struct kv_command command = {.opcode = KV_DELETE,
                                 .key = request_slice(key, key_bytes),
                                 .condition = condition_of(if_revision)};
    return command_call(client, &command, timeout_ms, ret_result);
}

int conclave_kv_delete_prefix(struct conclave_client *client, const void *prefix,
                              size_t prefix_bytes, uint32_t timeout_ms,
                              struct conclave_kv_result *ret_result)
{
    struct slice from = request_slice(prefix, prefix_bytes);
    if (from.bytes > CONCLAVE_KEY_BYTES_MAX)
        return CONCLAVE_TOO_LARGE;
    uint8_t end[CONCLAVE_KEY_BYTES_MAX];
    size_t end_bytes = kv_prefix_end(from, end);
    struct kv_command command = {.opcode = KV_DELETE_RANGE,
                                 .bounds = {from, {end, end_bytes}, end_bytes == 0}};
    return command_call(client, &command, timeout_ms, ret_result);
}

int conclave_kv_delete_range(struct conclave_client *client, const void *from, size_t from_bytes,
                             const void *to, size_t to_bytes, uint32_t timeout_ms,
                             struct conclave_kv_result *ret_result)
{
    struct kv_command command = {.opcode = KV_DELETE_RANGE,
                                 .bounds = bounds_of(from, from_bytes, to, to_bytes)};
    return command_call(client, &command, timeout_ms, ret_result);
}

/* Asks and waits; the caller decodes op and releases it. */
static int get(struct conclave_client *client, const void *key, size_t key_bytes, uint64_t revision,
               struct conclave_op op, struct conclave_kv_found *ret_found)
{
    struct kv_query query = {
        .opcode = KV_GET, .key = request_slice(key, key_bytes), .revision = revision};
    struct conclave_kv_found found = {0};
    int code = query_check(&query);
    if (code)
        return code;
    struct pack pack;
    pack_init(&pack, key_bytes + CONCLAVE_KV_OVERHEAD);
    kv_query_pack(&pack, &query);
    request_call(client, op, &pack, &found.op);
    code = conclave_kv_decode_get(&found.op, &found.item, &found.revision);
    if (code) {
        conclave_op_release(&found.op);
        if (code == CONCLAVE_NOT_FOUND)
            *ret_found = (struct conclave_kv_found){.revision = found.revision,
                                                    .op.age_ms = found.op.age_ms};
        return code;
    }
    *ret_found = found;
    return CONCLAVE_OK;
}

int conclave_kv_get(struct conclave_client *client, const void *key, size_t key_bytes,
                    uint32_t timeout_ms, struct conclave_kv_found *ret_found)
{
    struct conclave_op op = {.kind = CONCLAVE_OP_READ, .timeout_ms = timeout_ms};
    return get(client, key, key_bytes, 0, op, ret_found);
}

int conclave_kv_get_lease(struct conclave_client *client, const void *key, size_t key_bytes,
                          uint32_t timeout_ms, struct conclave_kv_found *ret_found)
{
    struct conclave_op op = {.kind = CONCLAVE_OP_READ_LEASE, .timeout_ms = timeout_ms};
    return get(client, key, key_bytes, 0, op, ret_found);
}

int conclave_kv_get_stale(struct conclave_client *client, const void *key, size_t key_bytes,
                          uint32_t max_age_ms, uint32_t timeout_ms,
                          struct conclave_kv_found *ret_found)
{
    struct conclave_op op = {
        .kind = CONCLAVE_OP_READ_STALE, .timeout_ms = timeout_ms, .max_age_ms = max_age_ms};
    return get(client, key, key_bytes, 0, op, ret_found);
}

int conclave_kv_get_at(struct conclave_client *client, const void *key, size_t key_bytes,
                       uint64_t revision, uint32_t timeout_ms, struct conclave_kv_found *ret_found)
{
    struct conclave_op op = {.kind = CONCLAVE_OP_READ, .timeout_ms = timeout_ms};
    return get(client, key, key_bytes, revision, op, ret_found);
}

/* What the answer to a delete says was there. */
static int take_decode(struct conclave_kv_found *found)
{
    struct kv_outcome outcome;
    int code = found->op.code;
    if (code)
        return code;
    code = kv_outcome_decode(found->op.reply, found->op.reply_bytes, &outcome);
    if (code)
        return code;
    found->revision = outcome.revision;
    found->item = item_of(&outcome.item);
    return outcome.has_item ? CONCLAVE_OK : CONCLAVE_NOT_FOUND;
}

int conclave_kv_take(struct conclave_client *client, const void *key, size_t key_bytes,
                     uint64_t if_revision, uint32_t timeout_ms, struct conclave_kv_found *ret_found)
{
    struct kv_command command = {.opcode = KV_DELETE,
                                 .key = request_slice(key, key_bytes),
                                 .condition = condition_of(if_revision),
                                 .previous = true};
    struct conclave_kv_found found = {0};
    int code = command_check(&command);
    if (code)
        return code;
    struct pack pack;
    pack_init(&pack, key_bytes + CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, &command);
    struct conclave_op wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    request_call(client, wanted, &pack, &found.op);
    code = take_decode(&found);
    if (code) {
        conclave_op_release(&found.op);
        return code;
    }
    *ret_found = found;
    return CONCLAVE_OK;
}

void conclave_kv_found_release(struct conclave_kv_found *found)
{
    conclave_op_release(&found->op);
    found->item = (struct conclave_kv_item){0};
}
