#include "codec/group.h"

#include "base/fatal.h"
#include "codec/fields.h"

#include <string.h>

bool group_is_command(uint64_t opcode)
{
    return opcode >= GROUP_CREATE && opcode <= GROUP_EXTEND;
}

bool group_is_query(uint64_t opcode)
{
    return opcode >= GROUP_INFO && opcode <= GROUP_MESSAGES;
}

static bool is_settle(enum group_opcode opcode)
{
    return opcode == GROUP_ACK || opcode == GROUP_NACK || opcode == GROUP_EXTEND;
}

static int name_check(struct slice name)
{
    if (name.bytes == 0)
        return CONCLAVE_INVALID;
    return name.bytes > CONCLAVE_GROUP_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}
_Static_assert((int)CONCLAVE_GROUP_BYTES_MAX == (int)CONCLAVE_TOPIC_BYTES_MAX,
               "one check for both");

/* --- Ranges ------------------------------------------------------------------------------------
 */

static struct conclave_group_range range_read(struct cursor *cursor)
{
    struct fields fields = fields_inner(cursor);
    struct conclave_group_range range = {.first = cursor_uint(fields_next(&fields))};
    range.count = cursor_uint(fields_next(&fields));
    fields_inner_end(&fields, cursor);
    return range;
}

struct conclave_group_range group_ranges_next(struct group_ranges *ranges)
{
    return range_read(&ranges->at);
}

void group_range_pack(struct pack *pack, const struct conclave_group_range *range)
{
    pack_array(pack, 2);
    pack_uint(pack, range->first);
    pack_uint(pack, range->count);
}

/* Reads all of them once, so that nothing can fail later; bounds what they name together. */
static int ranges_check(struct group_ranges *ranges, uint64_t max)
{
    struct cursor at = ranges->at;
    bool valid = true;
    ranges->total = 0;
    for (uint32_t i = 0; i < ranges->count; i++) {
        struct conclave_group_range range = range_read(&at);
        if (!cursor_ok(&at))
            return CONCLAVE_MALFORMED;
        valid = valid && range.first > 0 && range.count > 0 && range.first <= INT64_MAX;
        if (range.count > max - ranges->total)
            return CONCLAVE_TOO_LARGE;
        ranges->total += range.count;
    }
    return valid ? CONCLAVE_OK : CONCLAVE_INVALID;
}

/* --- Commands --------------------------------------------------------------------------------- */

static void fields_create(struct fields *fields, struct group_command *command, uint64_t *ret_start)
{
    struct group_settings *settings = &command->settings;
    settings->ack_ms = fields_uint_or(fields, 0);
    settings->deliveries_max = fields_uint_or(fields, 0);
    if (fields_given(fields))
        settings->dead = cursor_bin(fields_next(fields));
    settings->held_max = fields_uint_or(fields, 0);
    settings->pending_max = fields_uint_or(fields, 0);
    *ret_start = fields_uint_or(fields, CONCLAVE_FROM_NEW);
    command->position = fields_uint_or(fields, 0);
    if (settings->ack_ms == 0)
        settings->ack_ms = GROUP_ACK_MS_DEFAULT;
    if (settings->held_max == 0)
        settings->held_max = GROUP_HELD_DEFAULT;
    if (settings->pending_max == 0)
        settings->pending_max = GROUP_PENDING_DEFAULT;
}

/* Dead letters that come back to where they came from would go round for ever. */
static int create_check(const struct group_command *command, uint64_t start)
{
    const struct group_settings *settings = &command->settings;
    bool to_itself = settings->dead.bytes == command->topic.bytes &&
                     memcmp(settings->dead.data, command->topic.data, command->topic.bytes) == 0;
    if (start > CONCLAVE_FROM_NEW || to_itself ||
        (settings->dead.bytes == 0) != (settings->deliveries_max == 0))
        return CONCLAVE_INVALID;
    bool fits = settings->dead.bytes <= CONCLAVE_TOPIC_BYTES_MAX &&
                settings->ack_ms <= GROUP_MS_MAX && settings->held_max <= CONCLAVE_GROUP_HELD_MAX &&
                settings->pending_max <= CONCLAVE_GROUP_PENDING_MAX &&
                settings->deliveries_max <= CONCLAVE_GROUP_DELIVERIES_MAX;
    return fits ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

static void fields_rest(struct fields *fields, struct group_command *command, uint64_t *ret_start)
{
    switch (command->opcode) {
    case GROUP_CREATE:
        fields_create(fields, command, ret_start);
        return;
    case GROUP_FETCH:
        command->lease = cursor_uint(fields_next(fields));
        command->limit = fields_uint_or(fields, 1);
        command->once = fields_uint_or(fields, 0) != 0;
        return;
    case GROUP_ACK:
    case GROUP_NACK:
    case GROUP_EXTEND:
        command->lease = cursor_uint(fields_next(fields));
        command->ranges.at = fields_elements(fields, &command->ranges.count);
        if (command->opcode == GROUP_NACK)
            command->delay_ms = fields_uint_or(fields, 0);
        return;
    default:
        return;
    }
}

/* What is well formed and may still be wrong. */
static int command_check(struct group_command *command, uint64_t start)
{
    bool member = command->opcode == GROUP_FETCH || is_settle(command->opcode);
    int code = name_check(command->topic);
    if (!code)
        code = name_check(command->group);
    if (!code && member && command->lease == 0)
        code = CONCLAVE_INVALID;
    if (!code && command->opcode == GROUP_CREATE)
        code = create_check(command, start);
    if (!code && command->opcode == GROUP_FETCH &&
        (command->limit == 0 || command->limit > CONCLAVE_GROUP_FETCH_MAX))
        command->limit = CONCLAVE_GROUP_FETCH_MAX;
    if (!code && command->delay_ms > GROUP_MS_MAX)
        code = CONCLAVE_TOO_LARGE;
    return code;
}

int group_command_decode(const void *data, size_t bytes, struct group_command *ret)
{
    struct fields fields;
    struct group_command command = {0};
    uint64_t start = CONCLAVE_FROM_NEW;
    fields_begin(&fields, data, bytes);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    if (!group_is_command(opcode))
        return CONCLAVE_MALFORMED;
    command.opcode = (enum group_opcode)opcode;
    command.topic = cursor_bin(fields_next(&fields));
    command.group = cursor_bin(fields_next(&fields));
    fields_rest(&fields, &command, &start);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    int code = is_settle(command.opcode) ? ranges_check(&command.ranges, CONCLAVE_GROUP_SETTLE_MAX)
                                         : CONCLAVE_OK;
    if (!code)
        code = command_check(&command, start);
    if (code)
        return code;
    command.start = (enum conclave_from)start;
    *ret = command;
    return CONCLAVE_OK;
}

static void create_pack(struct pack *pack, const struct group_command *command)
{
    const struct group_settings *settings = &command->settings;
    pack_uint(pack, settings->ack_ms);
    pack_uint(pack, settings->deliveries_max);
    if (settings->dead.bytes)
        pack_bin(pack, settings->dead.data, settings->dead.bytes);
    else
        pack_nil(pack);
    pack_uint(pack, settings->held_max);
    pack_uint(pack, settings->pending_max);
    pack_uint(pack, command->start);
    pack_uint(pack, command->position);
}

void group_command_pack(struct pack *pack, const struct group_command *command,
                        uint32_t range_count)
{
    static const uint8_t fields[] = {
        [GROUP_CREATE - GROUP_CREATE] = 10, [GROUP_DELETE - GROUP_CREATE] = 3,
        [GROUP_FETCH - GROUP_CREATE] = 5,   [GROUP_ACK - GROUP_CREATE] = 5,
        [GROUP_NACK - GROUP_CREATE] = 6,    [GROUP_EXTEND - GROUP_CREATE] = 5};
    bool once = command->opcode == GROUP_FETCH && command->once;
    ASSERT(group_is_command(command->opcode));
    pack_array(pack, fields[command->opcode - GROUP_CREATE] + once);
    pack_uint(pack, command->opcode);
    pack_bin(pack, command->topic.data, command->topic.bytes);
    pack_bin(pack, command->group.data, command->group.bytes);
    if (command->opcode == GROUP_CREATE)
        create_pack(pack, command);
    if (command->opcode == GROUP_FETCH || is_settle(command->opcode))
        pack_uint(pack, command->lease);
    if (command->opcode == GROUP_FETCH)
        pack_uint(pack, command->limit);
    if (once)
        pack_uint(pack, 1);
    if (is_settle(command->opcode))
        pack_array(pack, range_count);
}

void group_command_end(struct pack *pack, const struct group_command *command)
{
    if (command->opcode == GROUP_NACK)
        pack_uint(pack, command->delay_ms);
}

/* --- Queries ---------------------------------------------------------------------------------- */

static int query_check(struct group_query *query)
{
    int code = name_check(query->topic);
    bool lists = query->opcode == GROUP_LIST, one = query->opcode == GROUP_INFO;
    if (!code && (one || query->opcode == GROUP_PENDING))
        code = name_check(query->group);
    if (!code && lists && query->group.bytes > CONCLAVE_GROUP_BYTES_MAX)
        code = CONCLAVE_TOO_LARGE;
    if (code)
        return code;
    uint64_t most = lists ? GROUP_LIST_LIMIT_MAX : GROUP_PENDING_LIMIT_MAX;
    if (query->limit == 0 || query->limit > most)
        query->limit = most;
    if (query->bytes == 0)
        query->bytes = TOPIC_READ_BYTES_DEFAULT;
    if (query->bytes > TOPIC_READ_BYTES_MAX)
        query->bytes = TOPIC_READ_BYTES_MAX;
    return CONCLAVE_OK;
}

int group_query_decode(const void *data, size_t bytes, struct group_query *ret)
{
    struct fields fields;
    struct group_query query = {0};
    fields_begin(&fields, data, bytes);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    if (!group_is_query(opcode))
        return CONCLAVE_MALFORMED;
    query.opcode = (enum group_opcode)opcode;
    query.topic = cursor_bin(fields_next(&fields));
    if (opcode == GROUP_INFO || opcode == GROUP_PENDING ||
        (opcode == GROUP_LIST && fields_given(&fields)))
        query.group = cursor_bin(fields_next(&fields));
    if (opcode == GROUP_PENDING) {
        query.lease = fields_uint_or(&fields, 0);
        query.sequence = fields_uint_or(&fields, 0);
    }
    if (opcode == GROUP_PENDING || opcode == GROUP_LIST)
        query.limit = fields_uint_or(&fields, 0);
    if (opcode == GROUP_MESSAGES) {
        query.ranges.at = fields_elements(&fields, &query.ranges.count);
        query.bytes = fields_uint_or(&fields, 0);
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    int code =
        opcode == GROUP_MESSAGES ? ranges_check(&query.ranges, GROUP_MESSAGES_MAX) : CONCLAVE_OK;
    if (!code)
        code = query_check(&query);
    if (!code)
        *ret = query;
    return code;
}

void group_query_pack(struct pack *pack, const struct group_query *query, uint32_t range_count)
{
    static const uint8_t fields[] = {[GROUP_INFO - GROUP_INFO] = 3,
                                     [GROUP_LIST - GROUP_INFO] = 4,
                                     [GROUP_PENDING - GROUP_INFO] = 6,
                                     [GROUP_MESSAGES - GROUP_INFO] = 4};
    ASSERT(group_is_query(query->opcode));
    pack_array(pack, fields[query->opcode - GROUP_INFO]);
    pack_uint(pack, query->opcode);
    pack_bin(pack, query->topic.data, query->topic.bytes);
    if (query->opcode != GROUP_MESSAGES)
        pack_bin(pack, query->group.data, query->group.bytes);
    if (query->opcode == GROUP_PENDING) {
        pack_uint(pack, query->lease);
        pack_uint(pack, query->sequence);
    }
    if (query->opcode == GROUP_PENDING || query->opcode == GROUP_LIST)
        pack_uint(pack, query->limit);
    if (query->opcode == GROUP_MESSAGES)
        pack_array(pack, range_count);
}

void group_query_end(struct pack *pack, const struct group_query *query)
{
    if (query->opcode == GROUP_MESSAGES)
        pack_uint(pack, query->bytes);
}

int group_spec_decode(struct slice bytes, struct group_spec *ret)
{
    struct fields fields;
    fields_begin(&fields, bytes.data, bytes.bytes);
    struct group_spec spec = {.topic = cursor_bin(fields_next(&fields))};
    spec.id = cursor_uint(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    int code = name_check(spec.topic);
    if (!code && spec.id == 0)
        code = CONCLAVE_INVALID;
    if (!code)
        *ret = spec;
    return code;
}

void group_spec_pack(struct pack *pack, const struct group_spec *spec)
{
    pack_array(pack, 2);
    pack_bin(pack, spec->topic.data, spec->topic.bytes);
    pack_uint(pack, spec->id);
}
