#include "tests/sim/ops.h"

#include "base/fatal.h"
#include "base/list.h"
#include "codec/coord.h"
#include "codec/session.h"

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

struct op_txn *ops_txn(struct ops *ops)
{
    LIST_RESERVE(&ops->txns);
    struct op_txn *txn = mem_zalloc(sizeof *txn);
    ops->txns.items[ops->txns.count++] = txn;
    return txn;
}

struct op op_again(const struct op *op)
{
    struct op again = *op;
    size_t kept = offsetof(struct op, taken_us);
    memset((uint8_t *)&again + kept, 0, sizeof again - kept);
    return again;
}

void ops_deinit(struct ops *ops)
{
    for (uint32_t i = 0; i < ops->txns.count; i++)
        free(ops->txns.items[i]);
    free(ops->txns.items);
    free(ops->items);
    *ops = (struct ops){0};
}

/* --- Keys and values -------------------------------------------------------------------------- */

/* In order; one is the beginning of another, and the next one is where a page behind it goes on. */
static const struct {
    size_t count;
    uint8_t bytes[KEY_BYTES];
} keys[SIM_KEYS + 1] = {{1, "k"}, {2, {'k', 0}}, {2, {'k', 0xff}}, {1, "l"}, {1, "m"}};

struct slice key_encode(uint32_t cell, uint8_t key[KEY_BYTES])
{
    ASSERT(cell <= SIM_KEYS);
    memcpy(key, keys[cell].bytes, keys[cell].count);
    return (struct slice){key, keys[cell].count};
}

uint32_t key_decode(struct slice key)
{
    uint32_t cell = 0;
    while (cell < SIM_KEYS &&
           (key.bytes != keys[cell].count || memcmp(key.data, keys[cell].bytes, key.bytes) != 0))
        cell++;
    return cell;
}

/* Names of one letter. */
static uint32_t letter_decode(struct slice name, const char *letters, uint32_t count)
{
    const char *found = name.bytes == 1 ? strchr(letters, name.data[0]) : NULL;
    return found ? (uint32_t)(found - letters) : count;
}

static const char topic_letters[SIM_TOPICS + 1] = "tu", queue_letters[SIM_QUEUES + 1] = "elp",
                                             group_letters[SIM_GROUPS + 1] = "gh";

struct slice topic_encode(uint32_t topic)
{
    return (struct slice){(const uint8_t *)topic_letters + topic, 1};
}

uint32_t topic_decode(struct slice name)
{
    return letter_decode(name, topic_letters, SIM_TOPICS);
}

struct slice queue_encode(uint32_t queue)
{
    return (struct slice){(const uint8_t *)queue_letters + queue, 1};
}

uint32_t queue_decode(struct slice name)
{
    return letter_decode(name, queue_letters, SIM_QUEUES);
}

struct slice group_encode(uint32_t group)
{
    return (struct slice){(const uint8_t *)group_letters + group, 1};
}

uint32_t group_decode(struct slice name)
{
    return letter_decode(name, group_letters, SIM_GROUPS);
}

struct slice value_encode(uint64_t number, uint64_t bytes, uint8_t *room)
{
    ASSERT(bytes >= sizeof number && bytes <= SIM_VALUE_BYTES_MAX);
    memcpy(room, &number, sizeof number);
    memset(room + sizeof number, (int)(number & 0xff), bytes - sizeof number);
    return (struct slice){room, bytes};
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
    uint8_t key[KEY_BYTES], end[KEY_BYTES], value[SIM_VALUE_BYTES_MAX];
    command.previous = op->previous;
    switch (op->kind) {
    case OP_PUT:
        command.opcode = KV_PUT;
        command.key = key_encode(op->cell, key);
        command.value = value_encode(first, sizeof first + op->pad, value);
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
    case OP_SETTINGS:
        command.opcode = KV_SETTINGS;
        command.settings.given[KV_SETTING_CHANGES] = op->limit > 0;
        command.settings.given[KV_SETTING_BYTES] = op->position > 0;
        command.settings.given[KV_SETTING_AGE_MS] = op->ttl_ms > 0;
        command.settings.given[KV_SETTING_QUOTA] = op->quota > 0;
        command.settings.values[KV_SETTING_QUOTA] = op->quota == SIM_QUOTA_NONE ? 0 : op->quota;
        command.settings.values[KV_SETTING_CHANGES] = op->limit;
        command.settings.values[KV_SETTING_BYTES] = op->position;
        command.settings.values[KV_SETTING_AGE_MS] = op->ttl_ms;
        break;
    case OP_ADVANCE:
        command.opcode = KV_ADVANCE;
        command.revisions = op->limit;
        break;
    default:
        ASSERT(op->kind == OP_DELETE_RANGE);
        command.opcode = KV_DELETE_RANGE;
        command.bounds = (struct kv_bounds){key_encode(op->cell, key),
                                            key_encode(op->cell_end, end), op->no_end};
        break;
    }
    if (op_is_transaction(op))
        transaction_pack(pack, command);
    else
        kv_command_pack(pack, &command);
}

/* --- Topics and queues ------------------------------------------------------------------------ */

/* Every field is there, so that the number comes behind the last one. Ids are few, and those of a
 * batch follow one another. */
static void publish_pack(struct pack *pack, uint32_t topic, uint32_t count, const uint64_t *expect,
                         uint64_t id, uint32_t pad, uint64_t first)
{
    enum { IDS = 9 };
    uint8_t value[SIM_VALUE_BYTES_MAX];
    const struct topic_publish publish = {
        .name = topic_encode(topic), .count = count, .expect = expect, .have_ids = true};
    topic_publish_begin(pack, &publish);
    for (uint32_t i = 0; i < count; i++)
        topic_publish_data(pack, value_encode(part_number(first, i), sizeof first + pad, value));
    topic_publish_ids(pack, &publish);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t one = id > 0 ? (uint8_t)((id + i) % (IDS + 1)) : 0;
        topic_publish_id(pack, (struct slice){&one, one > 0});
    }
}

static void topic_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    if (op->kind == OP_CREATE)
        topic_create_pack(pack, topic_encode(op->cell), &op->settings);
    else if (op->kind == OP_TOPIC_DELETE)
        topic_delete_pack(pack, topic_encode(op->cell));
    else if (op->kind == OP_TRIM)
        topic_trim_pack(pack, topic_encode(op->cell), op->position);
    else
        publish_pack(pack, op->cell, op->limit ? op->limit : 1,
                     op->conditional ? &op->condition : NULL, op->message_id, op->pad, first);
}

static void queue_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    uint8_t value[SIM_VALUE_BYTES_MAX];
    uint64_t bytes = sizeof first + op->pad;
    coord_request_pack(pack,
                       &(struct coord_request){.opcode = op->kind == OP_ENQUEUE ? COORD_ENQUEUE
                                                         : op->kind == OP_LEAVE ? COORD_LEAVE
                                                                                : COORD_PROCLAIM,
                                               .name = queue_encode(op->cell),
                                               .value = value_encode(first, bytes, value),
                                               .lease = op->lease,
                                               .slots = op->slots,
                                               .token = op->token});
}

/* --- Work groups ------------------------------------------------------------------------------ */

static void group_pack(struct pack *pack, const struct op *op)
{
    static const enum group_opcode opcodes[] = {GROUP_CREATE, GROUP_DELETE, GROUP_FETCH,
                                                GROUP_ACK,    GROUP_NACK,   GROUP_EXTEND};
    struct group_command command = {.opcode = opcodes[op->kind - OP_GROUP_CREATE],
                                    .topic = topic_encode(op->cell),
                                    .group = group_encode(op->cell_end),
                                    .settings = {.ack_ms = op->group.ack_ms,
                                                 .deliveries_max = op->group.deliveries_max,
                                                 .held_max = op->group.held_max,
                                                 .pending_max = op->group.pending_max},
                                    .start = op->start,
                                    .position = op->position,
                                    .lease = op->lease,
                                    .limit = op->limit,
                                    .once = op->once,
                                    .delay_ms = op->ttl_ms};
    if (op->group.deliveries_max)
        command.settings.dead = topic_encode(op->group.dead);
    group_command_pack(pack, &command, op->range_count);
    for (uint32_t i = 0; i < op->range_count; i++)
        group_range_pack(pack, &op->ranges[i]);
    group_command_end(pack, &command);
}

/* --- Transactions ----------------------------------------------------------------------------- */

static void compare_pack(struct pack *pack, const struct op_compare *compare)
{
    uint8_t key[KEY_BYTES], value[SIM_VALUE_BYTES_MAX];
    struct kv_compare packed = {.what = compare->what,
                                .how = compare->how,
                                .key = kv_compare_is_of_topic(compare->what)
                                           ? topic_encode(compare->cell)
                                           : key_encode(compare->cell, key),
                                .number = compare->number};
    if (compare->what == KV_COMPARE_VALUE)
        packed.value = value_encode(compare->number, sizeof compare->number + compare->pad, value);
    kv_compare_pack(pack, &packed);
}

static void step_pack(struct pack *pack, const struct op_step *step, uint64_t number)
{
    uint8_t key[KEY_BYTES], end[KEY_BYTES], value[SIM_VALUE_BYTES_MAX];
    if (step->kind == OP_PUBLISH) {
        publish_pack(pack, step->cell, 1, NULL, step->cell_end, step->pad, number);
        return;
    }
    struct slice from = key_encode(step->cell, key), to = key_encode(step->cell_end, end);
    struct kv_command command = {
        .lease = step->lease, .ttl_ms = step->ttl_ms, .previous = step->previous};
    switch (step->kind) {
    case OP_GET:
        kv_query_pack(pack, &(struct kv_query){.opcode = KV_GET, .key = from});
        return;
    case OP_RANGE:
        kv_query_pack(pack, &(struct kv_query){.opcode = KV_RANGE,
                                               .bounds = {from, to, step->no_end},
                                               .limit = step->limit,
                                               .what = step->what});
        return;
    case OP_PUT:
        command.opcode = KV_PUT;
        command.key = from;
        command.value = value_encode(number, sizeof number + step->pad, value);
        break;
    case OP_DELETE:
        command.opcode = KV_DELETE;
        command.key = from;
        break;
    default:
        ASSERT(step->kind == OP_DELETE_RANGE);
        command.opcode = KV_DELETE_RANGE;
        command.bounds = (struct kv_bounds){from, to, step->no_end};
        break;
    }
    kv_command_pack(pack, &command);
}

static void txn_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    const struct op_txn *txn = op->txn;
    const struct op_step *lists[] = {txn->then, txn->otherwise};
    const uint32_t counts[] = {txn->then_count, txn->otherwise_count};
    struct pack compares, steps[2];
    struct kv_command command = {.opcode = KV_TXN};
    pack_init(&compares, 0);
    for (uint32_t i = 0; i < txn->compare_count; i++)
        compare_pack(&compares, &txn->compares[i]);
    for (int k = 0; k < 2; k++) {
        pack_init(&steps[k], 0);
        for (uint32_t i = 0; i < counts[k]; i++)
            step_pack(&steps[k], &lists[k][i], part_number(first, i + 1));
    }
    command.txn.compares =
        (struct kv_txn_list){txn->compare_count, {compares.buf->data, compares.bytes}};
    command.txn.then = (struct kv_txn_list){counts[0], {steps[0].buf->data, steps[0].bytes}};
    command.txn.otherwise = (struct kv_txn_list){counts[1], {steps[1].buf->data, steps[1].bytes}};
    kv_command_pack(pack, &command);
    pack_deinit(&compares);
    pack_deinit(&steps[0]);
    pack_deinit(&steps[1]);
}

/* --- The payload ------------------------------------------------------------------------------ */

static void command_pack(struct pack *pack, const struct op *op, uint64_t first)
{
    if (op->kind >= OP_CREATE && op->kind <= OP_TOPIC_DELETE)
        topic_pack(pack, op, first);
    else if (op->kind >= OP_GROUP_CREATE)
        group_pack(pack, op);
    else if (op->kind >= OP_ENQUEUE)
        queue_pack(pack, op, first);
    else if (op->kind == OP_TXN)
        txn_pack(pack, op, first);
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
    uint32_t missing = 0; /* optional fields: put has four, delete two, fetch one */
    if (plain && op->kind == OP_PUT && !op_is_transaction(op))
        missing = op->ttl_ms ? 1 : op->lease ? 2 : 4u - op->conditional;
    if (plain && op->kind == OP_DELETE)
        missing = 2u - op->conditional;
    if (plain && op->kind == OP_FETCH)
        missing = 1u - op->once;
    if (op->previous && (op->kind == OP_PUT || op->kind == OP_DELETE))
        missing = 0; /* it is the last of them */
    number_append(&pack, 0, missing, number);
    return pack_take(&pack);
}
