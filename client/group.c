/* Work groups: making and showing them (conclave_group.h). */
#include "client/group.h"
#include "client/name_list.h"

#include <string.h>

/* --- Asking ------------------------------------------------------------------------------------
 */

static int query_call(struct conclave_client *client, const struct group_query *query,
                      uint32_t timeout_ms, struct conclave_op *op)
{
    struct pack pack;
    pack_init(&pack, query->topic.bytes + query->group.bytes + CONCLAVE_KV_OVERHEAD);
    group_query_pack(&pack, query, 0);
    return group_call(client, CONCLAVE_OP_READ, &pack, timeout_ms, op);
}

/* The second number of an answer. */
static int number_decode(const struct conclave_op *op, uint64_t *ret_number)
{
    struct cursor cursor;
    cursor_init(&cursor, op->reply, op->reply_bytes);
    uint32_t fields = cursor_array(&cursor);
    (void)cursor_uint(&cursor);
    uint64_t number = cursor_uint(&cursor);
    for (uint32_t i = 2; i < fields && cursor_ok(&cursor); i++)
        cursor_skip(&cursor);
    if (!cursor_done(&cursor))
        return CONCLAVE_MALFORMED;
    *ret_number = number;
    return CONCLAVE_OK;
}

static int number_call(struct conclave_client *client, const struct group_command *command,
                       uint32_t timeout_ms, uint64_t *ret_number)
{
    struct pack pack;
    struct conclave_op op;
    pack_init(&pack, command->topic.bytes + command->group.bytes + CONCLAVE_KV_OVERHEAD);
    group_command_pack(&pack, command, 0);
    int code = group_call(client, CONCLAVE_OP_PROPOSE, &pack, timeout_ms, &op);
    if (!code)
        code = number_decode(&op, ret_number);
    conclave_op_release(&op);
    return code;
}

/* --- Groups -------------------------------------------------------------------------------------
 */

void conclave_group_settings_init(struct conclave_group_settings *settings)
{
    *settings = (struct conclave_group_settings){.size = sizeof *settings,
                                                 .ack_ms = GROUP_ACK_MS_DEFAULT,
                                                 .held_max = GROUP_HELD_DEFAULT,
                                                 .pending_max = GROUP_PENDING_DEFAULT};
}

int conclave_group_create(struct conclave_client *client, const void *topic, size_t topic_bytes,
                          const void *group, size_t group_bytes,
                          const struct conclave_group_settings *settings, enum conclave_from from,
                          uint64_t position, uint32_t timeout_ms, uint64_t *ret_id)
{
    struct conclave_group_settings known;
    conclave_group_settings_init(&known);
    if (settings)
        memcpy(&known, settings, settings->size < sizeof known ? settings->size : sizeof known);
    struct group_command command = {
        .opcode = GROUP_CREATE,
        .topic = request_slice(topic, topic_bytes),
        .group = request_slice(group, group_bytes),
        .settings = {.ack_ms = known.ack_ms,
                     .deliveries_max = known.deliveries_max,
                     .held_max = known.held_max,
                     .pending_max = known.pending_max,
                     .dead = request_slice(known.dead, known.dead_bytes)},
        .start = from,
        .position = position};
    uint64_t id;
    int code = group_names_check(command.topic, command.group);
    if (!code)
        code = number_call(client, &command, timeout_ms, &id);
    if (!code && ret_id)
        *ret_id = id;
    return code;
}

int conclave_group_delete(struct conclave_client *client, const void *topic, size_t topic_bytes,
                          const void *group, size_t group_bytes, uint32_t timeout_ms,
                          bool *ret_deleted)
{
    struct group_command command = {.opcode = GROUP_DELETE,
                                    .topic = request_slice(topic, topic_bytes),
                                    .group = request_slice(group, group_bytes)};
    uint64_t deleted;
    int code = group_names_check(command.topic, command.group);
    if (!code)
        code = number_call(client, &command, timeout_ms, &deleted);
    if (!code && ret_deleted)
        *ret_deleted = deleted > 0;
    return code;
}

/* MALFORMED: a name of more bytes than any. */
static int info_of(const struct group_info *info, uint64_t clock_ms,
                   struct conclave_group_info *ret)
{
    if (info->name.bytes > sizeof ret->name || info->dead.bytes > sizeof ret->dead)
        return CONCLAVE_MALFORMED;
    *ret = (struct conclave_group_info){.name_bytes = info->name.bytes,
                                        .dead_bytes = info->dead.bytes,
                                        .id = info->id,
                                        .start = info->start,
                                        .next = info->next,
                                        .end = info->end,
                                        .held = info->held,
                                        .delayed = info->delayed,
                                        .ready = info->ready,
                                        .acked = info->acked,
                                        .dead_letters = info->dead_letters,
                                        .lost = info->lost,
                                        .redelivered = info->redelivered,
                                        .members = info->members,
                                        .clock_ms = clock_ms,
                                        .ack_ms = info->ack_ms,
                                        .held_max = info->held_max,
                                        .pending_max = info->pending_max,
                                        .deliveries_max = info->deliveries_max};
    if (info->name.bytes)
        memcpy(ret->name, info->name.data, info->name.bytes);
    if (info->dead.bytes)
        memcpy(ret->dead, info->dead.data, info->dead.bytes);
    return CONCLAVE_OK;
}

int conclave_group_info(struct conclave_client *client, const void *topic, size_t topic_bytes,
                        const void *group, size_t group_bytes, uint32_t timeout_ms,
                        struct conclave_group_info *ret_info)
{
    struct group_query query = {.opcode = GROUP_INFO,
                                .topic = request_slice(topic, topic_bytes),
                                .group = request_slice(group, group_bytes)};
    struct conclave_op op;
    struct group_info info;
    uint64_t revision, clock_ms;
    int code = group_names_check(query.topic, query.group);
    if (code)
        return code;
    code = query_call(client, &query, timeout_ms, &op);
    if (!code)
        code = group_info_answer_decode(op.reply, op.reply_bytes, &revision, &clock_ms, &info);
    if (!code)
        code = info_of(&info, clock_ms, ret_info);
    conclave_op_release(&op);
    return code;
}

/* --- Lists --------------------------------------------------------------------------------------
 */

/* A list on its way through all groups. */
struct list {
    int (*group)(void *arg, const struct conclave_group_info *info);
    void *arg;
    struct name_list names;
};

static int list_page(struct list *list, const struct conclave_op *op)
{
    struct list_answer answer;
    struct group_info info;
    struct conclave_group_info handed;
    int got = 0;
    int code = list_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    while (!list->names.stopped && (got = group_list_answer_next(&answer, &info)) == 1) {
        code = info_of(&info, answer.clock_ms, &handed);
        if (code)
            return code;
        list->names.stopped = list->group(list->arg, &handed) != 0;
    }
    return name_list_go_on(&list->names, got, answer.next);
}

int conclave_group_list(struct conclave_client *client, const void *topic, size_t topic_bytes,
                        uint32_t timeout_ms,
                        int (*group)(void *arg, const struct conclave_group_info *info), void *arg)
{
    struct list list = {.group = group, .arg = arg, .names = {.more = true}};
    int code = group_name_check(request_slice(topic, topic_bytes));
    while (!code && list.names.more) {
        struct group_query query = {.opcode = GROUP_LIST,
                                    .topic = {topic, topic_bytes},
                                    .group = {list.names.from, list.names.from_bytes}};
        struct conclave_op op;
        code = query_call(client, &query, timeout_ms, &op);
        if (!code)
            code = list_page(&list, &op);
        conclave_op_release(&op);
    }
    return code;
}

struct pending_list {
    int (*pending)(void *arg, const struct conclave_group_pending *pending);
    void *arg;
    bool stopped, more;
    uint64_t lease, sequence;
};

static int pending_page(struct pending_list *list, const struct conclave_op *op)
{
    struct group_pending_answer answer;
    struct conclave_group_pending pending;
    int more = 0;
    int code = group_pending_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    while (!list->stopped && (more = group_pending_answer_next(&answer, &pending)) == 1)
        list->stopped = list->pending(list->arg, &pending) != 0;
    list->more = !list->stopped && answer.more;
    bool leads_on = answer.lease > list->lease ||
                    (answer.lease == list->lease && answer.sequence > list->sequence);
    if (more < 0 || (list->more && !leads_on))
        return CONCLAVE_MALFORMED;
    list->lease = answer.lease;
    list->sequence = answer.sequence;
    return CONCLAVE_OK;
}

int conclave_group_list_pending(
    struct conclave_client *client, const void *topic, size_t topic_bytes, const void *group,
    size_t group_bytes, uint32_t timeout_ms,
    int (*pending)(void *arg, const struct conclave_group_pending *pending), void *arg)
{
    struct pending_list list = {.pending = pending, .arg = arg, .more = true};
    struct group_query query = {.opcode = GROUP_PENDING,
                                .topic = request_slice(topic, topic_bytes),
                                .group = request_slice(group, group_bytes)};
    int code = group_names_check(query.topic, query.group);
    while (!code && list.more) {
        struct conclave_op op;
        query.lease = list.lease;
        query.sequence = list.sequence;
        code = query_call(client, &query, timeout_ms, &op);
        if (!code)
            code = pending_page(&list, &op);
        conclave_op_release(&op);
    }
    return code;
}
