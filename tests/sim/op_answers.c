/* Queries of operations, and answers taken apart. */
#include "codec/coord.h"
#include "codec/kv_lease.h"
#include "codec/kv_txn.h"
#include "codec/session.h"
#include "codec/topic.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference.h"

#include <string.h>

static void kv_query_of(struct pack *pack, const struct op *op)
{
    uint8_t key[2], end[2];
    struct kv_query query = {.opcode = KV_GET, .revision = op->revision_at, .limit = op->limit};
    if (op->kind == OP_GET) {
        query.key = key_encode(op->cell, key);
    } else {
        query.opcode = KV_RANGE;
        query.bounds.no_end = true;
    }
    if (op->kind == OP_RANGE && op->cell_end)
        query.bounds =
            (struct kv_bounds){key_encode(op->cell, key), key_encode(op->cell_end, end), false};
    kv_query_pack(pack, &query);
}

struct buf *query_encode(const struct op *op)
{
    struct pack pack;
    pack_init(&pack, 0);
    if (op->kind == OP_ASK)
        question_pack(&pack, op);
    else if (op->kind == OP_TOPIC_READ)
        topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_READ,
                                                      .name = topic_encode(op->cell),
                                                      .start = op->start,
                                                      .position = op->position,
                                                      .limit = op->limit,
                                                      .bytes = op->pad});
    else if (op->kind == OP_PLACE || op->kind == OP_QUEUE)
        coord_request_pack(&pack, &(struct coord_request){
                                      .opcode = op->kind == OP_PLACE ? COORD_PLACE : COORD_QUEUE,
                                      .name = queue_encode(op->cell),
                                      .limit = op->limit,
                                      .token = op->token});
    else
        kv_query_of(&pack, op);
    return pack_take(&pack);
}

static struct op_item item_of(const struct kv_item *item)
{
    return (struct op_item){.value = value_decode(item->value),
                            .create_revision = item->create_revision,
                            .mod_revision = item->mod_revision,
                            .version = item->version,
                            .lease = item->lease,
                            .bytes = item->value.bytes};
}

/* An answer that is the revision alone. */
static bool revision_decode(struct op *op, struct slice body)
{
    struct kv_outcome outcome;
    if (kv_outcome_decode(body.data, body.bytes, &outcome))
        return false;
    op->revision = outcome.revision;
    op->value = outcome.value;
    return true;
}

/* The revision that was asked for is not there yet, or not any more. */
static bool is_elsewhen(const struct op *op, int code)
{
    return op->revision_at > 0 && (code == CONCLAVE_STALE || code == CONCLAVE_COMPACTED);
}

static bool get_decode(struct op *op, int code, struct slice body)
{
    struct kv_item item;
    memset(op->items, 0, sizeof op->items);
    if (code == CONCLAVE_NOT_FOUND || is_elsewhen(op, code))
        return revision_decode(op, body);
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
    if (is_elsewhen(op, code))
        return revision_decode(op, body);
    if (code || kv_range_answer_begin(body.data, body.bytes, &answer))
        return false;
    op->revision = answer.revision;
    uint32_t next = op->cell, count = 0, end = op->cell_end ? op->cell_end : SIM_KEYS;
    int more;
    while ((more = kv_range_answer_next(&answer, &item)) == 1) {
        uint32_t cell = key_decode(item.key);
        if (cell >= end || cell < next) /* in order, each once */
            return false;
        op->items[cell] = item_of(&item);
        if (op->items[cell].value == 0)
            return false;
        next = cell + 1;
        count++;
    }
    bool whole = answer.next.bytes == 0;
    op->content = whole ? end : next;
    return more == 0 && count == answer.count && (whole || count == op->limit);
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

/* Whatever is in a batch, bit by bit. */
static bool batch_decode(struct op *op, int code, struct slice body)
{
    struct topic_published published;
    if (code == CONCLAVE_NOT_FOUND || code == CONCLAVE_COMPARE_FAILED)
        return revision_decode(op, body);
    if (code || topic_published_decode(body.data, body.bytes, &published) ||
        published.count + published.duplicate_count != op->limit)
        return false;
    op->revision = published.revision;
    op->value = published.first + published.count - 1;
    return true;
}

static bool topic_read_decode(struct op *op, int code, struct slice body)
{
    struct topic_read_answer answer;
    struct topic_item item;
    int more;
    op->content = reference_body_hash(body.data, body.bytes);
    if (code == CONCLAVE_NOT_FOUND)
        return revision_decode(op, body);
    if (code || topic_read_answer_begin(body.data, body.bytes, &answer))
        return false;
    op->revision = answer.revision;
    op->value = answer.end;
    op->from = op->end = answer.next - answer.count;
    while ((more = topic_read_answer_next(&answer, &item)) == 1)
        if (item.sequence != op->end++)
            return false;
    return more == 0;
}

static bool place_decode(struct op *op, int code, struct slice body)
{
    struct coord_place place;
    bool refused = code == CONCLAVE_LEASE_EXPIRED || code == CONCLAVE_NOT_FOUND ||
                   (code == CONCLAVE_COMPARE_FAILED && op->kind == OP_ENQUEUE);
    if (refused)
        return revision_decode(op, body);
    if (code || coord_place_decode(body.data, body.bytes, &place) || place.token == 0 ||
        place.awaited >= place.token)
        return false;
    op->revision = place.revision;
    op->value = place.token;
    op->awaited = place.awaited;
    return true;
}

static bool queue_decode_all(struct op *op, int code, struct slice body)
{
    struct coord_queue queue;
    struct coord_entry entry;
    int more;
    if (code || coord_queue_begin(body.data, body.bytes, &queue))
        return false;
    op->revision = queue.revision;
    op->content = reference_body_hash(body.data, body.bytes);
    op->value = queue.next;
    uint64_t before = op->token;
    while ((more = coord_queue_next(&queue, &entry)) == 1) {
        if (entry.token <= before)
            return false;
        before = entry.token;
    }
    return more == 0;
}

/* A leave or a proclamation. */
static bool moved_decode(struct op *op, int code, struct slice body)
{
    bool refused =
        op->kind == OP_PROCLAIM && (code == CONCLAVE_NOT_FOUND || code == CONCLAVE_COMPARE_FAILED);
    return (code == CONCLAVE_OK || refused) && revision_decode(op, body);
}

/* The steps are compared with the rules where they are applied. */
static bool txn_decode(struct op *op, int code, struct slice body)
{
    struct kv_txn_answer answer;
    struct kv_step_answer step;
    int more;
    if (code == CONCLAVE_LEASE_EXPIRED || code == CONCLAVE_NOT_FOUND)
        return revision_decode(op, body);
    if (code || kv_txn_answer_begin(body.data, body.bytes, &answer))
        return false;
    op->revision = answer.revision;
    op->value = answer.held;
    uint32_t count = 0;
    while ((more = kv_txn_answer_next(&answer, &step)) == 1)
        count++;
    return more == 0 && count == (op->value ? op->txn->then_count : op->txn->otherwise_count);
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

/* One more message that is handed out, or is not in hand. False: there are more than can be. */
static bool handed_add(struct op *op, uint64_t first, uint64_t count, uint64_t deliveries)
{
    for (uint64_t i = 0; i < count; i++) {
        if (op->handed_count == SIM_HANDED_MAX)
            return false;
        op->handed[op->handed_count++] = (struct op_handed){first + i, deliveries};
    }
    return count > 0;
}

static bool fetch_decode(struct op *op, int code, struct slice body)
{
    struct group_fetch_answer answer;
    struct conclave_group_run run;
    if (code == CONCLAVE_NOT_FOUND || code == CONCLAVE_LEASE_EXPIRED)
        return revision_decode(op, body);
    if (code || group_fetch_answer_begin(body.data, body.bytes, &answer))
        return false;
    int more;
    op->revision = answer.revision;
    op->value = answer.lost;
    op->granted_ms = answer.ack_ms;
    op->handed_count = 0;
    while ((more = group_fetch_answer_next(&answer, &run)) == 1)
        if (run.first == 0 || run.deliveries == 0 ||
            !handed_add(op, run.first, run.count, run.deliveries))
            return false;
    return more == 0 && op->handed_count <= op->limit;
}

/* An ack, nack or extend. */
static bool settle_decode(struct op *op, int code, struct slice body)
{
    struct group_settle_answer answer;
    uint64_t asked = 0;
    if (code == CONCLAVE_NOT_FOUND || code == CONCLAVE_LEASE_EXPIRED)
        return revision_decode(op, body);
    if (code || group_settle_answer_decode(body.data, body.bytes, &answer))
        return false;
    op->revision = answer.revision;
    op->value = answer.settled;
    op->handed_count = 0;
    for (uint32_t i = 0; i < answer.missing.count; i++) {
        struct group_ranges *missing = &answer.missing;
        struct conclave_group_range range = group_ranges_next(missing);
        if (!handed_add(op, range.first, range.count, 0))
            return false;
    }
    for (uint32_t i = 0; i < op->range_count; i++)
        asked += op->ranges[i].count;
    return op->value + op->handed_count == asked;
}

bool answer_decode(struct op *op, int code, struct slice body)
{
    op->code = code;
    op->reply = hash_mix(1, (uint64_t)code);
    for (size_t i = 0; i < body.bytes; i++)
        op->reply = hash_mix(op->reply, body.data[i]);
    struct session_opened opened;
    if (code == CONCLAVE_QUOTA)
        return op_grows(op) && revision_decode(op, body);
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
        return op->limit ? batch_decode(op, code, body) : publish_decode(op, code, body);
    case OP_CREATE:
        return (code == CONCLAVE_OK || code == CONCLAVE_EXISTS) && revision_decode(op, body);
    case OP_GROUP_CREATE:
        return (code == CONCLAVE_OK || code == CONCLAVE_EXISTS || code == CONCLAVE_NOT_FOUND) &&
               revision_decode(op, body);
    case OP_GROUP_DELETE:
        return code == CONCLAVE_OK && revision_decode(op, body);
    case OP_FETCH:
        return fetch_decode(op, code, body);
    case OP_ACK:
    case OP_NACK:
    case OP_EXTEND:
        return settle_decode(op, code, body);
    case OP_TRIM:
        return (code == CONCLAVE_OK || code == CONCLAVE_NOT_FOUND) && revision_decode(op, body);
    case OP_ASK:
        return question_decode(op, code, body);
    case OP_TOPIC_READ:
        return topic_read_decode(op, code, body);
    case OP_TXN:
        return txn_decode(op, code, body);
    case OP_ENQUEUE:
    case OP_PLACE:
        return place_decode(op, code, body);
    case OP_QUEUE:
        return queue_decode_all(op, code, body);
    case OP_LEAVE:
    case OP_PROCLAIM:
        return moved_decode(op, code, body);
    default:
        return op_is_transaction(op) ? transaction_decode(op, code, body)
                                     : outcome_decode(op, code, body);
    }
}
