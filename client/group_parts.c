/* Work groups: what members do, one request each (conclave_group.h). */
#include "client/group.h"
#include "client/topic_message.h"

/* --- Fetch --------------------------------------------------------------------------------------
 */

static struct group_command fetch_command(const void *topic, size_t topic_bytes, const void *group,
                                          size_t group_bytes, uint64_t lease, uint32_t limit,
                                          bool once)
{
    return (struct group_command){.opcode = GROUP_FETCH,
                                  .topic = request_slice(topic, topic_bytes),
                                  .group = request_slice(group, group_bytes),
                                  .lease = lease,
                                  .limit = limit,
                                  .once = once};
}

int conclave_group_encode_fetch(void *buffer, size_t capacity, const void *topic,
                                size_t topic_bytes, const void *group, size_t group_bytes,
                                uint64_t lease, uint32_t limit, bool once, size_t *ret_bytes)
{
    struct group_command command =
        fetch_command(topic, topic_bytes, group, group_bytes, lease, limit, once);
    struct pack pack;
    struct buf buf;
    int code = group_names_check(command.topic, command.group);
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity,
                                   command.topic.bytes + command.group.bytes);
    if (code)
        return code;
    group_command_pack(&pack, &command, 0);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_group_decode_fetch(const struct conclave_op *op, struct conclave_group_fetched *ret)
{
    struct group_fetch_answer answer;
    struct conclave_group_run run;
    int code = op->code, more = 0;
    if (!code)
        code = group_fetch_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    ret->run_count = 0;
    ret->count = 0;
    ret->lost = answer.lost;
    ret->wake = answer.wake;
    ret->ack_ms = answer.ack_ms;
    while ((more = group_fetch_answer_next(&answer, &run)) == 1) {
        if (ret->run_count == CONCLAVE_GROUP_FETCH_MAX || run.count == 0 ||
            run.count > CONCLAVE_GROUP_FETCH_MAX - ret->count)
            return CONCLAVE_MALFORMED;
        ret->runs[ret->run_count++] = run;
        ret->count += run.count;
    }
    return more < 0 ? CONCLAVE_MALFORMED : CONCLAVE_OK;
}

int conclave_group_fetch(struct conclave_client *client, const void *topic, size_t topic_bytes,
                         const void *group, size_t group_bytes, uint64_t lease, uint32_t limit,
                         bool once, uint32_t timeout_ms, struct conclave_group_fetched *ret)
{
    struct group_command command =
        fetch_command(topic, topic_bytes, group, group_bytes, lease, limit, once);
    struct pack pack;
    struct conclave_op op;
    int code = group_names_check(command.topic, command.group);
    if (code)
        return code;
    pack_init(&pack, command.topic.bytes + command.group.bytes + CONCLAVE_KV_OVERHEAD);
    group_command_pack(&pack, &command, 0);
    (void)group_call(client, CONCLAVE_OP_PROPOSE, &pack, timeout_ms, &op);
    code = conclave_group_decode_fetch(&op, ret);
    conclave_op_release(&op);
    return code;
}

/* --- Settle -------------------------------------------------------------------------------------
 */

static struct group_command settle_command(struct slice topic, struct slice group, uint64_t lease,
                                           enum conclave_group_settle how, uint64_t delay_ms)
{
    return (struct group_command){.opcode = how == CONCLAVE_GROUP_ACK    ? GROUP_ACK
                                            : how == CONCLAVE_GROUP_NACK ? GROUP_NACK
                                                                         : GROUP_EXTEND,
                                  .topic = topic,
                                  .group = group,
                                  .lease = lease,
                                  .delay_ms = delay_ms};
}

/* The machine's own rules, before anything is sent. */
static int ranges_check(const struct conclave_group_range *ranges, uint32_t count)
{
    uint64_t left = CONCLAVE_GROUP_SETTLE_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (ranges[i].first == 0 || ranges[i].count == 0)
            return CONCLAVE_INVALID;
        if (ranges[i].count > left)
            return CONCLAVE_TOO_LARGE;
        left -= ranges[i].count;
    }
    return CONCLAVE_OK;
}

static void settle_pack(struct pack *pack, const struct group_command *command,
                        const struct conclave_group_range *ranges, uint32_t count)
{
    group_command_pack(pack, command, count);
    for (uint32_t i = 0; i < count; i++)
        group_range_pack(pack, &ranges[i]);
    group_command_end(pack, command);
}

static size_t settle_bytes(const struct group_command *command, uint32_t count)
{
    return command->topic.bytes + command->group.bytes + (size_t)count * CONCLAVE_GROUP_RANGE_BYTES;
}

int conclave_group_encode_settle(void *buffer, size_t capacity, const void *topic,
                                 size_t topic_bytes, const void *group, size_t group_bytes,
                                 uint64_t lease, enum conclave_group_settle how,
                                 const struct conclave_group_range *ranges, uint32_t range_count,
                                 uint64_t delay_ms, size_t *ret_bytes)
{
    struct group_command command = settle_command(
        request_slice(topic, topic_bytes), request_slice(group, group_bytes), lease, how, delay_ms);
    struct pack pack;
    struct buf buf;
    int code = group_names_check(command.topic, command.group);
    if (!code)
        code = ranges_check(ranges, range_count);
    if (!code)
        code =
            request_begin_fixed(&pack, &buf, buffer, capacity, settle_bytes(&command, range_count));
    if (code)
        return code;
    settle_pack(&pack, &command, ranges, range_count);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_group_decode_settle(const struct conclave_op *op, uint64_t *ret_settled)
{
    struct group_settle_answer answer;
    int code = op->code;
    if (!code)
        code = group_settle_answer_decode(op->reply, op->reply_bytes, &answer);
    if (!code && ret_settled)
        *ret_settled = answer.settled;
    return code;
}

int conclave_group_settle(struct conclave_client *client, const void *topic, size_t topic_bytes,
                          const void *group, size_t group_bytes, uint64_t lease,
                          enum conclave_group_settle how, const struct conclave_group_range *ranges,
                          uint32_t range_count, uint64_t delay_ms, uint32_t timeout_ms,
                          uint64_t *ret_settled)
{
    struct group_command command = settle_command(
        request_slice(topic, topic_bytes), request_slice(group, group_bytes), lease, how, delay_ms);
    struct pack pack;
    struct conclave_op op;
    int code = group_names_check(command.topic, command.group);
    if (!code)
        code = ranges_check(ranges, range_count);
    if (code)
        return code;
    pack_init(&pack, settle_bytes(&command, range_count) + CONCLAVE_KV_OVERHEAD);
    settle_pack(&pack, &command, ranges, range_count);
    (void)group_call(client, CONCLAVE_OP_PROPOSE, &pack, timeout_ms, &op);
    code = conclave_group_decode_settle(&op, ret_settled);
    conclave_op_release(&op);
    return code;
}

/* --- Messages -----------------------------------------------------------------------------------
 */

int conclave_group_encode_messages(void *buffer, size_t capacity, const void *topic,
                                   size_t topic_bytes, const struct conclave_group_range *ranges,
                                   uint32_t range_count, uint32_t page_bytes, size_t *ret_bytes)
{
    struct group_query query = {
        .opcode = GROUP_MESSAGES, .topic = request_slice(topic, topic_bytes), .bytes = page_bytes};
    struct pack pack;
    struct buf buf;
    int code = group_name_check(query.topic);
    if (!code)
        code = ranges_check(ranges, range_count);
    if (!code)
        code = request_begin_fixed(&pack, &buf, buffer, capacity,
                                   query.topic.bytes +
                                       (size_t)range_count * CONCLAVE_GROUP_RANGE_BYTES);
    if (code)
        return code;
    group_query_pack(&pack, &query, range_count);
    for (uint32_t i = 0; i < range_count; i++)
        group_range_pack(&pack, &ranges[i]);
    group_query_end(&pack, &query);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_group_decode_messages(const struct conclave_op *op,
                                   int (*message)(void *arg,
                                                  const struct conclave_topic_message *message),
                                   void *arg, uint64_t *ret_covered)
{
    struct group_messages_answer answer;
    struct topic_item item;
    struct conclave_topic_message handed;
    int code = op->code, more = 0;
    if (!code)
        code = group_messages_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    while ((more = group_messages_answer_next(&answer, &item)) == 1) {
        if (topic_message_of(&item, &handed))
            return CONCLAVE_MALFORMED;
        if (message(arg, &handed))
            break;
    }
    if (more < 0)
        return CONCLAVE_MALFORMED;
    *ret_covered = answer.covered;
    return CONCLAVE_OK;
}
