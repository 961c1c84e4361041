/* What queries tell, at any index that there was: nodes that are behind answer too. Answers are
 * packed as a whole, to be compared to the byte. */
#include "base/fatal.h"
#include "base/list.h"
#include "codec/kv_lease.h"
#include "tests/sim/map.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MISSING_TOPIC = 0, MISSING_GROUP = 1 };

/* --- Keeping it ------------------------------------------------------------------------------- */

static void note_group(const struct reference *reference, uint32_t topic, uint32_t name,
                       struct past_group *past)
{
    const struct reference_group *group = reference_group_at(reference, topic, name, UINT64_MAX);
    *past = (struct past_group){.there = group != NULL};
    if (!group)
        return;
    past->info = reference_group_info(reference, group);
    past->count = group->handed.count;
    past->handed = mem_alloc((past->count + 1) * sizeof *past->handed);
    if (past->count > 0)
        memcpy(past->handed, group->handed.items, past->count * sizeof *past->handed);
}

static void note_topic(const struct reference *reference, uint32_t name, struct past_topic *past)
{
    const struct reference_topic *topic = reference_topic_at(reference, name, UINT64_MAX);
    *past = (struct past_topic){.there = topic != NULL};
    if (!topic)
        return;
    past->info = (struct topic_info){.name = topic_encode(name),
                                     .id = topic->id,
                                     .first = reference_topic_first(reference, topic),
                                     .end = topic->end,
                                     .bytes = reference_topic_bytes(reference, topic),
                                     .settings = topic->settings};
    for (uint32_t i = 0; i < SIM_GROUPS; i++)
        note_group(reference, name, i, &past->groups[i]);
}

void reference_past_note(struct reference *reference)
{
    struct reference_past past = {.clock_ms = reference->clock_ms,
                                  .usage = reference_usage(reference),
                                  .lease_count = reference->leases.count};
    for (uint32_t i = 0; i < SIM_TOPICS; i++)
        note_topic(reference, i, &past.topics[i]);
    past.leases = mem_alloc((past.lease_count + 1) * sizeof *past.leases);
    for (uint32_t i = 0; i < past.lease_count; i++) {
        past.leases[i] = (struct past_lease){
            .lease = reference->leases.items[i],
            .keys = reference_lease_held(reference, reference->leases.items[i].id)};
    }
    LIST_RESERVE(&reference->past);
    reference->past.items[reference->past.count++] = past;
}

void reference_past_deinit(struct reference *reference)
{
    for (uint32_t i = 0; i < reference->past.count; i++) {
        struct reference_past *past = &reference->past.items[i];
        for (uint32_t k = 0; k < SIM_TOPICS * SIM_GROUPS; k++)
            free(past->topics[k / SIM_GROUPS].groups[k % SIM_GROUPS].handed);
        free(past->leases);
    }
    free(reference->past.items);
}

/* --- Leases ----------------------------------------------------------------------------------- */

static struct kv_lease_info lease_info(const struct reference_past *past,
                                       const struct past_lease *at)
{
    uint64_t deadline_ms = at->lease.deadline_ms;
    return (struct kv_lease_info){
        .lease = at->lease.id,
        .ttl_ms = at->lease.ttl_ms,
        .left_ms = deadline_ms > past->clock_ms ? deadline_ms - past->clock_ms : 0,
        .keys = at->keys};
}

/* Those that go with one key are in no list, and yet a page may end behind one. */
static struct reference_reply leases(const struct reference_past *past, const struct op *op,
                                     uint64_t revision)
{
    struct pack items, pack;
    struct kv_leases_answer answer = {.revision = revision};
    uint64_t last = 0;
    pack_init(&items, 0);
    for (uint32_t i = 0; i < past->lease_count && !answer.next; i++) {
        const struct past_lease *at = &past->leases[i];
        if (at->lease.id <= op->lease)
            continue;
        if (op->limit && answer.count == op->limit) {
            answer.next = last;
            break;
        }
        last = at->lease.id;
        if (at->lease.of_key)
            continue;
        struct kv_lease_info info = lease_info(past, at);
        kv_lease_info_pack(&items, &info);
        answer.count++;
    }
    pack_init(&pack, 0);
    kv_leases_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* A page of what ends with a lease. */
struct keys_page {
    const struct op *op;
    struct kv_lease_keys_answer answer;
    struct pack items;
    uint8_t next[KV_LEASE_PLACE_BYTES_MAX];
};

/* In order: keys, then places in queues. */
static void keys_add(struct keys_page *page, uint64_t space, struct slice key)
{
    struct kv_lease_keys_answer *answer = &page->answer;
    if (answer->next.bytes)
        return;
    if (page->op->limit && answer->count == page->op->limit) {
        page->next[0] = (uint8_t)space;
        memcpy(page->next + 1, key.data, key.bytes);
        answer->next = (struct slice){page->next, key.bytes + 1};
        return;
    }
    kv_lease_key_pack(&page->items, space, key);
    answer->count++;
}

static bool is_there(const struct reference_place *place, uint64_t index)
{
    return place->entered <= index && (!place->gone || place->gone > index);
}

static void keys_add_all(const struct reference *reference, struct keys_page *page, uint64_t lease)
{
    const struct op *op = page->op;
    struct reference_key keys[SIM_KEYS];
    uint8_t room[REFERENCE_PLACE_KEY_BYTES];
    reference_keys_at(reference, page->answer.revision, keys);
    for (uint32_t i = (uint32_t)op->position; op->space == 0 && i < SIM_KEYS; i++)
        if (keys[i].version && keys[i].lease == lease)
            keys_add(page, 0, key_encode(i, room));
    for (uint32_t queue = 0; queue < SIM_QUEUES; queue++)
        for (uint32_t i = 0; i < reference->places.count; i++) {
            const struct reference_place *place = &reference->places.items[i];
            bool before = op->space && (queue < op->position ||
                                        (queue == op->position && place->token < op->token));
            if (place->queue != queue || place->lease != lease || before ||
                !is_there(place, op->index))
                continue;
            keys_add(page, 1, (struct slice){room, reference_place_key(queue, place->token, room)});
        }
}

static struct reference_reply lease_keys(const struct reference *reference,
                                         const struct reference_past *past, const struct op *op,
                                         uint64_t revision)
{
    const struct past_lease *at = NULL;
    for (uint32_t i = 0; i < past->lease_count; i++)
        if (past->leases[i].lease.id == op->lease)
            at = &past->leases[i];
    if (!at)
        return reference_revision_alone(CONCLAVE_LEASE_EXPIRED, revision);
    struct keys_page page = {.op = op,
                             .answer = {.revision = revision, .info = lease_info(past, at)}};
    struct pack pack;
    pack_init(&page.items, 0);
    keys_add_all(reference, &page, op->lease);
    pack_init(&pack, 0);
    kv_lease_keys_answer_pack(&pack, &page.answer,
                              (struct slice){page.items.buf->data, page.items.bytes});
    pack_deinit(&page.items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* --- Topics and groups ------------------------------------------------------------------------ */

static struct reference_reply topics(const struct reference_past *past, const struct op *op,
                                     uint64_t revision)
{
    struct pack items, pack;
    struct list_answer answer = {.revision = revision, .clock_ms = past->clock_ms};
    pack_init(&items, 0);
    for (uint32_t i = op->cell; i < SIM_TOPICS && !answer.next.bytes; i++) {
        if (!past->topics[i].there)
            continue;
        if (op->limit && answer.count == op->limit) {
            answer.next = topic_encode(i);
            break;
        }
        topic_info_pack(&items, &past->topics[i].info);
        answer.count++;
    }
    pack_init(&pack, 0);
    list_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static struct reference_reply topic(const struct reference_past *past, const struct op *op,
                                    uint64_t revision)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_info_answer_pack(&pack, revision, past->clock_ms, &past->topics[op->cell].info);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static struct reference_reply groups(const struct reference_past *past, const struct op *op,
                                     uint64_t revision)
{
    struct pack items, pack;
    struct list_answer answer = {.revision = revision, .clock_ms = past->clock_ms};
    pack_init(&items, 0);
    for (uint32_t i = op->cell_end; i < SIM_GROUPS; i++) {
        const struct past_group *group = &past->topics[op->cell].groups[i];
        if (!group->there)
            continue;
        if (op->limit && answer.count == op->limit) {
            answer.next = group_encode(i);
            break;
        }
        group_info_pack(&items, &group->info);
        answer.count++;
    }
    pack_init(&pack, 0);
    list_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static struct reference_reply group(const struct reference_past *past, const struct op *op,
                                    uint64_t revision)
{
    struct pack pack;
    pack_init(&pack, 0);
    group_info_answer_pack(&pack, revision, past->clock_ms,
                           &past->topics[op->cell].groups[op->cell_end].info);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

static bool is_before(const struct reference_handed *a, uint64_t lease, uint64_t sequence)
{
    return a->lease < lease || (a->lease == lease && a->sequence < sequence);
}

/* The first by member and sequence that is not before these, and not ready; NULL: there is none. */
static const struct reference_handed *next_pending(const struct past_group *group, uint64_t lease,
                                                   uint64_t sequence)
{
    const struct reference_handed *next = NULL;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct reference_handed *at = &group->handed[i];
        if (!at->ready && !is_before(at, lease, sequence) &&
            (!next || is_before(at, next->lease, next->sequence)))
            next = at;
    }
    return next;
}

static struct reference_reply pending(const struct reference_past *past, const struct op *op,
                                      uint64_t revision)
{
    const struct past_group *group = &past->topics[op->cell].groups[op->cell_end];
    struct group_pending_answer answer = {.revision = revision, .clock_ms = past->clock_ms};
    struct pack items, pack;
    const struct reference_handed *at = next_pending(group, op->lease, op->position);
    pack_init(&items, 0);
    for (; at && answer.count < op->limit; answer.count++) {
        uint64_t left_ms = at->deadline_ms > past->clock_ms ? at->deadline_ms - past->clock_ms : 0;
        group_pending_pack(&items, &(struct conclave_group_pending){.lease = at->lease,
                                                                    .sequence = at->sequence,
                                                                    .deliveries = at->deliveries,
                                                                    .left_ms = left_ms});
        at = next_pending(group, at->lease, at->sequence + 1);
    }
    if (at) {
        answer.more = true;
        answer.lease = at->lease;
        answer.sequence = at->sequence;
    }
    pack_init(&pack, 0);
    group_pending_answer_pack(&pack, &answer, (struct slice){items.buf->data, items.bytes});
    pack_deinit(&items);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* --- Usage ------------------------------------------------------------------------------------ */

static struct reference_reply usage(const struct reference_past *past)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_usage_pack(&pack, &past->usage);
    return reference_reply_take(CONCLAVE_OK, &pack);
}

/* --- Any -------------------------------------------------------------------------------------- */

uint64_t reference_compacted(const struct reference *reference, uint64_t index)
{
    return reference->remembers ? reference->past.items[index].usage.compacted : 0;
}

struct reference_reply reference_answer(const struct reference *reference, const struct op *op)
{
    ASSERT(op->index < reference->past.count);
    const struct reference_past *past = &reference->past.items[op->index];
    uint64_t revision = reference_at(reference, op->index)->revision;
    bool asks = op->kind == OP_ASK;
    bool of_topic = op->kind == OP_TOPIC_READ ||
                    (asks && op->question >= ASK_TOPIC && op->question <= ASK_PENDING);
    bool of_group = asks && (op->question == ASK_GROUP || op->question == ASK_PENDING);
    if (op->kind == OP_QUEUE)
        return reference_queue_answer(reference, op);
    if (of_topic && !past->topics[op->cell].there)
        return reference_outcome(CONCLAVE_NOT_FOUND, revision, MISSING_TOPIC);
    if (of_group && !past->topics[op->cell].groups[op->cell_end].there)
        return reference_outcome(CONCLAVE_NOT_FOUND, revision, MISSING_GROUP);
    if (op->kind == OP_TOPIC_READ)
        return reference_topic_answer(reference, past, op);
    switch (op->question) {
    case ASK_RANGE:
    case ASK_GET:
        return reference_keys_answer(reference, op);
    case ASK_TOPICS:
        return topics(past, op, revision);
    case ASK_TOPIC:
        return topic(past, op, revision);
    case ASK_GROUPS:
        return groups(past, op, revision);
    case ASK_GROUP:
        return group(past, op, revision);
    case ASK_PENDING:
        return pending(past, op, revision);
    case ASK_MESSAGES:
        return reference_messages_answer(reference, past, op);
    case ASK_LEASES:
        return leases(past, op, revision);
    case ASK_LEASE_KEYS:
        return lease_keys(reference, past, op, revision);
    default:
        ASSERT(op->question == ASK_USAGE);
        return usage(past);
    }
}
