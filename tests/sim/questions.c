/* Queries about what there is (OP_ASK), and their answers: of most of them a hash of all bytes. */
#include "codec/kv_lease.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference.h"

/* A queue, or a place in it. */
static struct slice place_pack(uint8_t room[16], uint32_t queue, uint64_t token)
{
    size_t bytes = reference_place_key(queue, token, room);
    return (struct slice){room, token ? bytes : 1};
}

struct kv_query question_query(const struct op *op, struct question_room *room)
{
    static const enum kv_opcode opcodes[] = {[ASK_RANGE] = KV_RANGE,
                                             [ASK_GET] = KV_GET,
                                             [ASK_USAGE] = KV_USAGE,
                                             [ASK_LEASES] = KV_LEASES,
                                             [ASK_LEASE_KEYS] = KV_LEASE_KEYS};
    struct kv_query query = {.opcode = opcodes[op->question],
                             .lease = op->lease,
                             .limit = op->limit,
                             .space = op->space,
                             .revision = op->revision_at};
    if (op->question == ASK_GET) {
        query.key = op->space ? place_pack(room->from, op->cell, op->token)
                              : key_encode(op->cell, room->from);
        return query;
    }
    if (op->question == ASK_RANGE) {
        query.bounds.no_end = op->no_end;
        query.bounds.from = op->space ? place_pack(room->from, op->cell, op->token)
                                      : key_encode(op->cell, room->from);
        query.bounds.to =
            op->space ? place_pack(room->to, op->cell_end, 0) : key_encode(op->cell_end, room->to);
        query.what = (enum kv_range_what)op->position;
        query.bytes = op->pad;
    }
    if (op->question == ASK_LEASE_KEYS && (op->position > 0 || op->space > 0)) {
        room->from[0] = (uint8_t)op->space;
        size_t bytes = op->space
                           ? reference_place_key((uint32_t)op->position, op->token, room->from + 1)
                           : key_encode((uint32_t)op->position, room->from + 1).bytes;
        query.key = (struct slice){room->from, 1 + bytes};
    }
    return query;
}

static void kv_question_pack(struct pack *pack, const struct op *op)
{
    struct question_room room;
    const struct kv_query query = question_query(op, &room);
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
                                      .bytes = op->pad ? op->pad : TOPIC_READ_BYTES_DEFAULT};
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

/* All answers begin with the revision. */
bool question_decode(struct op *op, int code, struct slice body)
{
    bool refused = code == CONCLAVE_NOT_FOUND || code == CONCLAVE_LEASE_EXPIRED ||
                   (op->revision_at && (code == CONCLAVE_STALE || code == CONCLAVE_COMPACTED));
    if (code != CONCLAVE_OK && !refused)
        return false;
    struct cursor cursor;
    cursor_init(&cursor, body.data, body.bytes);
    (void)cursor_array(&cursor);
    op->revision = cursor_uint(&cursor);
    op->content = reference_body_hash(body.data, body.bytes);
    return cursor_ok(&cursor);
}
