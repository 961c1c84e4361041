#include "tests/sim/ops.h"

#include "base/fatal.h"
#include "codec/kv_lease.h"
#include "codec/kv_txn.h"
#include "codec/session.h"
#include "codec/topic.h"
#include "tests/sim/map.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 2, NUMBER_BYTES = 9, NUMBER_MARK = 0xcf /* MessagePack: uint64 */ };

uint64_t ops_add(struct ops *ops, struct op op)
{
    if (ops->count + 1 >= ops->capacity) {
        ops->capacity = ops->capacity ? ops->capacity * 2 : 128;
        ops->items = mem_realloc(ops->items, ops->capacity * sizeof *ops->items);
    }
    if (ops->count == 0)
        ops->items[0] = (struct op){0};
    ops->items[++ops->count] = op;
    if (op.first == 0)
        ops->items[ops->count].first = ops->count;
    return ops->count;
}

void ops_deinit(struct ops *ops)
{
    free(ops->items);
    *ops = (struct ops){0};
}

/* --- Keys and values -------------------------------------------------------------------------- */

static struct slice key_encode(uint32_t cell, uint8_t key[KEY_BYTES])
{
    key[0] = 'k';
    key[1] = (uint8_t)('0' + cell);
    return (struct slice){key, KEY_BYTES};
}

uint32_t key_decode(struct slice key)
{
    if (key.bytes != KEY_BYTES || key.data[0] != 'k')
        return SIM_KEYS;
    uint32_t cell = (uint32_t)key.data[1] - '0';
    return cell < SIM_KEYS ? cell : SIM_KEYS;
}

struct slice topic_name(void)
{
    return (struct slice){(const uint8_t *)"t", 1};
}

uint64_t value_decode(struct slice value)
{
    uint64_t number = 0;
    if (value.bytes >= sizeof number)
        memcpy(&number, value.data, sizeof number);
    return number;
}

/* --- Commands --------------------------------------------------------------------------------- */

/* Puts the number behind the last field of the array that begins at `start`, where some optional
 * fields may be missing. */
static void number_append(struct pack *pack, size_t start, uint32_t missing, uint64_t number)
{
    for (uint32_t i = 0; i < missing; i++)
        pack_nil(pack);
    uint8_t bytes[NUMBER_BYTES] = {NUMBER_MARK};
    for (int i = 1; i < NUMBER_BYTES; i++)
        bytes[i] = (uint8_t)(number >> (8 * (NUMBER_BYTES - 1 - i)));
    pack_raw(pack, bytes, sizeof bytes);
    pack->buf->data[start] = (uint8_t)(pack->buf->data[start] + missing + 1); /* a short array */
}

bool command_decode(struct slice payload, uint64_t *ret_number)
{
    if (payload.bytes < NUMBER_BYTES || payload.data[payload.bytes - NUMBER_BYTES] != NUMBER_MARK)
        return false;
    *ret_number = 0;
    for (size_t i = payload.bytes - NUMBER_BYTES + 1; i < payload.bytes; i++)
        *ret_number = *ret_number << 8 | payload.data[i];
    return true;
}

/* A conditional put, as a transaction. */
static void transaction_pack(struct pack *pack, struct kv_command put)
{
    struct pack compares, steps;
    pack_init(&compares, 0);
    pack_init(&steps, 0);
    kv_compare_pack(&compares, &(struct kv_compare){.what = KV_COMPARE_REVISION,
                                                    .how = KV_COMPARE_EQUAL,
                                                    .key = put.key,
                                                    .number = put.condition.revision});
    put.condition = (struct kv_condition){0};
    kv_command_pack(&steps, &put);
    const struct kv_command command = {
        .opcode = KV_TXN,
        .txn = {.compares = {1, {compares.buf->data, compares.bytes}},
                .then = {1, {steps.buf->data, steps.bytes}}}};
    kv_command_pack(pack, &command);
    pack_deinit(&compares);
    pack_deinit(&steps);
}

static void kv_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    struct kv_command command = {.condition = {.given = op->conditional, .revision = op->condition},
                                 .lease = op->lease,
                                 .ttl_ms = op->ttl_ms};
    uint8_t key[KEY_BYTES], end[KEY_BYTES];
    uint8_t *value = mem_zalloc(sizeof first + op->pad);
    memcpy(value, &first, sizeof first);
    memset(value + sizeof first, (int)(first & 0xff), op->pad);
    switch (op->kind) {
    case OP_PUT:
        command.opcode = KV_PUT;
        command.key = key_encode(op->cell, key);
        command.value = (struct slice){value, sizeof first + op->pad};
        break;
    case OP_DELETE:
        command.opcode = KV_DELETE;
        command.key = key_encode(op->cell, key);
        break;
    case OP_GRANT:
        command.opcode = KV_LEASE_GRANT;
        break;
    case OP_RENEW:
        command.opcode = KV_LEASE_RENEW;
        break;
    case OP_REVOKE:
        command.opcode = KV_LEASE_REVOKE;
        break;
    default:
        ASSERT(op->kind == OP_DELETE_RANGE);
        command.opcode = KV_DELETE_RANGE;
        command.bounds.from = key_encode(op->cell, key);
        command.bounds.to = key_encode(op->cell_end, end);
        break;
    }
    if (op_is_transaction(op))
        transaction_pack(pack, command);
    else
        kv_command_pack(pack, &command);
    free(value);
}

/* Every field is there, so that the number comes behind the last one. */
static void topic_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    if (op->kind == OP_CREATE) {
        topic_create_pack(pack, topic_name(),
                          &(struct topic_settings){.dedup_ms = UINT32_MAX, /* far behind */
                                                   .dedup_count = SIM_TOPIC_WINDOW});
        return;
    }
    uint8_t *data = mem_zalloc(sizeof first + op->pad);
    const uint8_t id = (uint8_t)op->message_id;
    const struct topic_publish publish = {.name = topic_name(),
                                          .count = 1,
                                          .expect = op->conditional ? &op->condition : NULL,
                                          .have_ids = true};
    memcpy(data, &first, sizeof first);
    topic_publish_begin(pack, &publish);
    topic_publish_data(pack, (struct slice){data, sizeof first + op->pad});
    topic_publish_ids(pack, &publish);
    topic_publish_id(pack, (struct slice){&id, id > 0});
    free(data);
}

static bool op_is_topic(const struct op *op)
{
    return op->kind == OP_CREATE || op->kind == OP_PUBLISH;
}

static void command_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    if (op_is_topic(op))
        topic_pack(pack, op, first);
    else
        kv_pack(pack, op, first);
}

static void session_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    struct session_request request = {
        .session = op->session, .sequence = op->sequence, .acknowledged = op->acknowledged};
    struct pack command;
    pack_init(&command, 0);
    switch (op->kind) {
    case OP_OPEN:
        request.opcode = SESSION_OPEN;
        break;
    case OP_KEEP_ALIVE:
        request.opcode = SESSION_KEEP_ALIVE;
        break;
    case OP_CLOSE:
        request.opcode = SESSION_CLOSE;
        break;
    default:
        request.opcode = SESSION_COMMAND;
        command_pack(&command, op, first);
        request.command = (struct slice){command.buf->data, command.bytes};
        break;
    }
    session_request_pack(pack, &request);
    pack_deinit(&command);
}

struct buf *command_encode(const struct op *op, uint64_t number)
{
    struct pack pack;
    uint64_t first = op->first ? op->first : number;
    pack_init(&pack, COMMAND_BYTES_MAX + op->pad);
    bool plain = !op_in_session(op);
    if (plain)
        command_pack(&pack, op, first);
    else
        session_pack(&pack, op, first);
    uint32_t missing = 0; /* optional fields: put has four, delete two */
    if (plain && op->kind == OP_PUT && !op_is_transaction(op))
        missing = op->ttl_ms ? 1 : op->lease ? 2 : 4u - op->conditional;
    if (plain && op->kind == OP_DELETE)
        missing = 2u - op->conditional;
    number_append(&pack, 0, missing, number);
    return pack_take(&pack);
}

/* --- Queries and answers ---------------------------------------------------------------------- */

struct buf *query_encode(const struct op *op)
{
    uint8_t key[KEY_BYTES];
    struct kv_query query = {.opcode = KV_GET};
    if (op->kind == OP_GET)
        query.key = key_encode(op->cell, key);
    else
        query = (struct kv_query){.opcode = KV_RANGE, .bounds = {.no_end = true}};
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, &query);
    return pack_take(&pack);
}

static struct op_item item_of(const struct kv_item *item)
{
    return (struct op_item){.value = value_decode(item->value),
                            .create_revision = item->create_revision,
                            .mod_revision = item->mod_revision,
                            .version = item->version,
                            .lease = item->lease};
}

static bool get_decode(struct op *op, int code, struct slice body)
{
    struct kv_item item;
    struct kv_outcome outcome;
    memset(op->items, 0, sizeof op->items);
    if (code == CONCLAVE_NOT_FOUND) {
        if (kv_outcome_decode(body.data, body.bytes, &outcome))
            return false;
        op->revision = outcome.revision;
        return true;
    }
    if (code || kv_get_answer_decode(body.data, body.bytes, &op->revision, &item) ||
        key_decode(item.key) != op->cell)
        return false;
    op->items[0] = item_of(&item);
    return op->items[0].value != 0;
}

static bool range_decode(struct op *op, int code, struct slice body)
{
    struct kv_range_answer answer;
    struct kv_item item;
    memset(op->items, 0, sizeof op->items);
    if (code || kv_range_answer_begin(body.data, body.bytes, &answer))
        return false;
    op->revision = answer.revision;
    uint32_t next = 0, count = 0;
    int more;
    while ((more = kv_range_answer_next(&answer, &item)) == 1) {
        uint32_t cell = key_decode(item.key);
        if (cell == SIM_KEYS || cell < next) /* in order, each once */
            return false;
        op->items[cell] = item_of(&item);
        if (op->items[cell].value == 0)
            return false;
        next = cell + 1;
        count++;
    }
    return more == 0 && count == answer.count && answer.next.bytes == 0;
}

static bool outcome_decode(struct op *op, int code, struct slice body)
{
    struct kv_outcome outcome;
    bool expired = code == CONCLAVE_LEASE_EXPIRED && op->lease > 0;
    if ((code != CONCLAVE_OK && code != CONCLAVE_COMPARE_FAILED && !expired) ||
        kv_outcome_decode(body.data, body.bytes, &outcome))
        return false;
    op->revision = outcome.revision;
    op->value = outcome.value;
    return true;
}

/* Of a grant or a renewal. */
static bool lease_decode(struct op *op, int code, struct slice body)
{
    struct kv_lease_answer answer;
    if (code == CONCLAVE_LEASE_EXPIRED)
        return outcome_decode(op, code, body);
    if (code || kv_lease_answer_decode(body.data, body.bytes, &answer) || answer.lease == 0 ||
        answer.ttl_ms == 0)
        return false;
    if (op->kind == OP_GRANT ? answer.ttl_ms != op->ttl_ms : answer.lease != op->lease)
        return false;
    op->revision = answer.revision;
    op->value = answer.lease;
    op->granted_ms = answer.ttl_ms;
    return true;
}

static bool publish_decode(struct op *op, int code, struct slice body)
{
    struct topic_published published;
    if (code == CONCLAVE_NOT_FOUND || code == CONCLAVE_COMPARE_FAILED) {
        struct kv_outcome outcome;
        if (kv_outcome_decode(body.data, body.bytes, &outcome))
            return false;
        op->revision = outcome.revision;
        op->value = outcome.value;
        return true;
    }
    if (code || topic_published_decode(body.data, body.bytes, &published) ||
        published.count + published.duplicate_count != 1)
        return false;
    op->revision = published.revision;
    op->value = published.count ? published.first : 0;
    if (published.duplicate_count == 0)
        return true;
    struct topic_duplicate duplicate = topic_duplicate_next(&published);
    return op->message_id > 0 && duplicate.place == 0 && duplicate.sequence > 0 &&
           duplicate.sequence < published.first;
}

/* As the put by itself would be answered, as far as it says. */
static bool transaction_decode(struct op *op, int code, struct slice body)
{
    struct kv_txn_answer answer;
    struct kv_step_answer step;
    if (code != CONCLAVE_OK || kv_txn_answer_begin(body.data, body.bytes, &answer))
        return false;
    op->revision = answer.revision;
    if (!answer.held) {
        op->code = CONCLAVE_COMPARE_FAILED;
        return kv_txn_answer_next(&answer, &step) == 0;
    }
    struct kv_outcome outcome;
    if (kv_txn_answer_next(&answer, &step) != 1 || step.code != CONCLAVE_OK ||
        kv_outcome_decode(step.body.data, step.body.bytes, &outcome) ||
        outcome.revision != answer.revision)
        return false;
    op->value = outcome.value;
    return kv_txn_answer_next(&answer, &step) == 0;
}

bool answer_decode(struct op *op, int code, struct slice body)
{
    op->code = code;
    op->reply = hash_mix(1, (uint64_t)code);
    for (size_t i = 0; i < body.bytes; i++)
        op->reply = hash_mix(op->reply, body.data[i]);
    struct session_opened opened;
    switch (op->kind) {
    case OP_GET:
        return get_decode(op, code, body);
    case OP_RANGE:
        return range_decode(op, code, body);
    case OP_OPEN:
        if (code || session_opened_decode(body.data, body.bytes, &opened))
            return false;
        op->value = opened.session;
        return true;
    case OP_KEEP_ALIVE:
    case OP_CLOSE:
        return code == CONCLAVE_OK && body.bytes == 0;
    case OP_GRANT:
    case OP_RENEW:
        return lease_decode(op, code, body);
    case OP_PUBLISH:
        return publish_decode(op, code, body);
    default:
        return op_is_transaction(op) ? transaction_decode(op, code, body)
                                     : outcome_decode(op, code, body);
    }
}
