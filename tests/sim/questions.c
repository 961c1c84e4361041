/* Queries about what there is (OP_ASK), and their answers: of most of them a hash of all bytes. */
#include "base/fatal.h"
#include "codec/kv_lease.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference.h"

static void kv_question_pack(struct pack *pack, const struct op *op)
{
    static const enum kv_opcode opcodes[] = {[ASK_RANGE] = KV_RANGE,
                                             [ASK_USAGE] = KV_USAGE,
                                             [ASK_LEASES] = KV_LEASES,
                                             [ASK_LEASE_KEYS] = KV_LEASE_KEYS};
    uint8_t place[3] = {0}; /* a space and a key in it */
    uint8_t from[2], to[2];
    struct kv_query query = {
        .opcode = opcodes[op->question], .lease = op->lease, .limit = op->limit};
    if (op->question == ASK_RANGE) {
        query.bounds =
            (struct kv_bounds){key_encode(op->cell, from), key_encode(op->cell_end, to), false};
        query.what = (enum kv_range_what)op->position;
        query.bytes = op->pad;
    }
    if (op->question == ASK_LEASE_KEYS && op->position > 0) {
        key_encode((uint32_t)op->position, place + 1);
        query.key = (struct slice){place, sizeof place};
    }
    kv_query_pack(pack, &query);
}

static void group_question_pack(struct pack *pack, const struct op *op)
{
    static const enum group_opcode opcodes[] = {[ASK_MESSAGES] = GROUP_MESSAGES,
                                                [ASK_GROUPS] = GROUP_LIST,
                                                [ASK_GROUP] = GROUP_INFO,
                                                [ASK_PENDING] = GROUP_PENDING};
    const struct group_query query = {.opcode = opcodes[op->question],
                                      .topic = topic_encode(op->cell),
                                      .group = group_encode(op->cell_end),
                                      .lease = op->lease,
                                      .sequence = op->position,
                                      .limit = op->limit,
                                      .bytes = TOPIC_READ_BYTES_DEFAULT};
    group_query_pack(pack, &query, op->range_count);
    for (uint32_t i = 0; i < op->range_count; i++)
        group_range_pack(pack, &op->ranges[i]);
    group_query_end(pack, &query);
}

void question_pack(struct pack *pack, const struct op *op)
{
    if (op->question <= ASK_LEASE_KEYS)
        kv_question_pack(pack, op);
    else if (op->question >= ASK_MESSAGES)
        group_question_pack(pack, op);
    else
        topic_query_pack(pack, &(struct topic_query){
                                   .opcode = op->question == ASK_TOPICS ? TOPIC_LIST : TOPIC_INFO,
                                   .name = topic_encode(op->cell),
                                   .limit = op->limit});
}

uint64_t op_messages_hash(uint64_t items, uint64_t revision, uint64_t clock_ms, uint64_t covered)
{
    return hash_mix(hash_mix(hash_mix(items, revision), clock_ms), covered);
}

static bool messages_decode(struct op *op, struct slice body)
{
    struct group_messages_answer answer;
    struct topic_item item;
    uint64_t hash = 1;
    int more;
    if (group_messages_answer_begin(body.data, body.bytes, &answer) != CONCLAVE_OK)
        return false;
    while ((more = group_messages_answer_next(&answer, &item)) == 1)
        hash = op_message_hash(
            hash, item.sequence, item.revision, item.message.id.bytes ? item.message.id.data[0] : 0,
            reference_value_hash(item.message.data), reference_origin_hash(item.message.origin));
    op->revision = answer.revision;
    op->content = op_messages_hash(hash, answer.revision, answer.clock_ms, answer.covered);
    return more == 0;
}

/* All answers begin with the revision. */
bool question_decode(struct op *op, int code, struct slice body)
{
    if (code == CONCLAVE_OK && op->question == ASK_MESSAGES)
        return messages_decode(op, body);
    if (code != CONCLAVE_OK && code != CONCLAVE_NOT_FOUND && code != CONCLAVE_LEASE_EXPIRED)
        return false;
    struct cursor cursor;
    cursor_init(&cursor, body.data, body.bytes);
    (void)cursor_array(&cursor);
    op->revision = cursor_uint(&cursor);
    op->content = reference_body_hash(body.data, body.bytes);
    return cursor_ok(&cursor);
}
