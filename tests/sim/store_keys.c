/* The state of a store's machine as a hash, by what its queries tell. */
#include "tests/sim/store.h"

#include "codec/group.h"
#include "codec/kv_lease.h"
#include "codec/list_answer.h"
#include "codec/topic.h"
#include "machine/reply.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference.h"

#include <endian.h>
#include <string.h>

static bool leases_fold(struct store *store, struct reference_fold *fold)
{
    const struct kv_query all = {.opcode = KV_LEASES, .limit = KV_LEASES_MAX};
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, &all);
    const struct conclave_reply_sink *told =
        store_query(store, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    struct kv_leases_answer answer;
    if (told->code != CONCLAVE_OK ||
        kv_leases_answer_begin(told->body->data, told->body->bytes, &answer) != CONCLAVE_OK)
        return false;
    struct kv_lease_info info;
    while (kv_leases_answer_next(&answer, &info) == 1)
        fold_lease(fold, info.lease, info.ttl_ms, info.left_ms, info.keys);
    return answer.next == 0;
}

static const struct conclave_reply_sink *group_query(struct store *store,
                                                     const struct group_query *query)
{
    struct pack pack;
    pack_init(&pack, 0);
    group_query_pack(&pack, query, 0);
    group_query_end(&pack, query);
    const struct conclave_reply_sink *told =
        store_query(store, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    return told;
}

/* What members have in hand, or is kept for later. */
static bool pending_fold(struct store *store, struct reference_fold *fold, uint32_t topic,
                         const struct group_info *info)
{
    struct group_pending_answer answer;
    struct conclave_group_pending pending;
    uint64_t sum = 0, lease = 0, sequence = 0;
    const struct conclave_reply_sink *told = group_query(
        store, &(struct group_query){
                   .opcode = GROUP_PENDING, .topic = topic_encode(topic), .group = info->name});
    if (told->code != CONCLAVE_OK ||
        group_pending_answer_begin(told->body->data, told->body->bytes, &answer) != CONCLAVE_OK)
        return false;
    uint64_t count = 0;
    for (; group_pending_answer_next(&answer, &pending) == 1; count++) {
        if (pending.lease < lease || (pending.lease == lease && pending.sequence <= sequence))
            return false;
        lease = pending.lease;
        sequence = pending.sequence;
        sum += fold_pending(&pending);
    }
    fold_number(fold, sum);
    return count == info->held + info->delayed && !answer.more;
}

static bool groups_fold(struct store *store, struct reference_fold *fold, uint32_t topic)
{
    struct list_answer answer;
    struct group_info infos[SIM_GROUPS];
    uint32_t count = 0;
    const struct conclave_reply_sink *told = group_query(
        store, &(struct group_query){.opcode = GROUP_LIST, .topic = topic_encode(topic)});
    if (told->code != CONCLAVE_OK ||
        list_answer_begin(told->body->data, told->body->bytes, &answer) != CONCLAVE_OK ||
        answer.count > SIM_GROUPS)
        return false;
    while (group_list_answer_next(&answer, &infos[count]) == 1) {
        struct group_info *info = &infos[count++]; /* its names do not outlive the answer */
        info->name = group_encode(group_decode(info->name));
        if (info->dead.bytes)
            info->dead = topic_encode(topic_decode(info->dead));
    }
    bool good = true;
    for (uint32_t i = 0; good && i < count; i++) {
        fold_group(fold, &infos[i]);
        good = pending_fold(store, fold, topic, &infos[i]);
    }
    return good;
}

static const struct conclave_reply_sink *topic_query(struct store *store, enum topic_opcode opcode,
                                                     uint32_t topic, uint64_t position)
{
    const struct topic_query query = {.opcode = opcode,
                                      .name = topic_encode(topic),
                                      .start = CONCLAVE_FROM_SEQUENCE,
                                      .position = position};
    struct pack pack;
    pack_init(&pack, 0);
    topic_query_pack(&pack, &query);
    const struct conclave_reply_sink *told =
        store_query(store, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    return told;
}

/* What it keeps, and its newest messages. */
static bool topic_fold(struct store *store, struct reference_fold *fold, uint32_t topic)
{
    uint64_t revision, clock_ms;
    struct topic_info info;
    struct topic_read_answer answer;
    const struct conclave_reply_sink *told = topic_query(store, TOPIC_INFO, topic, 0);
    if (told->code == CONCLAVE_NOT_FOUND)
        return true;
    if (told->code != CONCLAVE_OK ||
        topic_info_answer_decode(told->body->data, told->body->bytes, &revision, &clock_ms, &info))
        return false;
    uint64_t first = info.first, end = info.end;
    fold_topic(fold, info.id, first, end);
    told = topic_query(store, TOPIC_READ, topic,
                       end > first + SIM_TOPIC_TAIL ? end - SIM_TOPIC_TAIL : first);
    if (told->code != CONCLAVE_OK ||
        topic_read_answer_begin(told->body->data, told->body->bytes, &answer))
        return false;
    struct topic_item item;
    while (topic_read_answer_next(&answer, &item) == 1)
        fold_message(fold, &(struct reference_message){
                               .sequence = item.sequence,
                               .revision = item.revision,
                               .id = item.message.id.bytes ? item.message.id.data[0] : 0,
                               .value = reference_value_hash(item.message.data),
                               .origin = reference_origin_hash(item.message.origin)});
    return answer.first == first && answer.end == end && groups_fold(store, fold, topic);
}

static bool topics_fold(struct store *store, struct reference_fold *fold)
{
    bool good = true;
    for (uint32_t i = 0; good && i < SIM_TOPICS; i++)
        good = topic_fold(store, fold, i);
    return good;
}

/* The keys of a space. False: they cannot be read. */
static bool keys_range(struct store *store, uint64_t space, struct kv_range_answer *ret)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(
        &pack, &(struct kv_query){.opcode = KV_RANGE, .bounds = {.no_end = true}, .space = space});
    const struct conclave_reply_sink *told =
        store_query(store, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    return told->code == CONCLAVE_OK &&
           kv_range_answer_begin(told->body->data, told->body->bytes, ret) == CONCLAVE_OK;
}

/* A key of a queue: its name, a zero byte, the token. */
static bool queues_fold(struct store *store, struct reference_fold *fold)
{
    struct kv_range_answer answer;
    struct kv_item item;
    if (!keys_range(store, 1, &answer))
        return false;
    while (kv_range_answer_next(&answer, &item) == 1) {
        uint64_t token;
        if (item.key.bytes != 2 + sizeof token)
            return false;
        memcpy(&token, item.key.data + 2, sizeof token);
        token = be64toh(token);
        if (item.create_revision != token)
            return false;
        fold_place(
            fold, &(struct reference_place){.queue = queue_decode((struct slice){item.key.data, 1}),
                                            .token = token,
                                            .lease = item.lease,
                                            .mod_revision = item.mod_revision,
                                            .version = item.version,
                                            .value = reference_value_hash(item.value)});
    }
    return true;
}

static bool usage_fold(struct store *store, struct reference_fold *fold)
{
    struct pack pack;
    struct kv_usage usage;
    pack_init(&pack, 0);
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_USAGE});
    const struct conclave_reply_sink *told =
        store_query(store, (struct slice){pack.buf->data, pack.bytes});
    pack_deinit(&pack);
    if (told->code != CONCLAVE_OK ||
        kv_usage_decode(told->body->data, told->body->bytes, &usage) != CONCLAVE_OK)
        return false;
    fold_usage(fold, &usage);
    return store_alarm(store) == (usage.refused > 0);
}

uint64_t store_keys_hash(struct store *store)
{
    struct kv_range_answer answer;
    if (!keys_range(store, 0, &answer))
        return 0;
    struct reference_fold fold = {1};
    struct kv_item item;
    fold_number(&fold, answer.revision);
    while (kv_range_answer_next(&answer, &item) == 1)
        fold_key(&fold, key_decode(item.key),
                 &(struct reference_key){.value = reference_value_hash(item.value),
                                         .create_revision = item.create_revision,
                                         .mod_revision = item.mod_revision,
                                         .version = item.version,
                                         .lease = item.lease});
    bool good = leases_fold(store, &fold) && queues_fold(store, &fold) &&
                topics_fold(store, &fold) && usage_fold(store, &fold);
    return good ? fold.hash : 0;
}
