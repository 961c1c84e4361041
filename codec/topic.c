#include "codec/topic.h"

#include "base/fatal.h"
#include "codec/fields.h"

uint64_t topic_opcode_peek(const void *data, size_t bytes)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    return cursor_uint(fields_next(&fields));
}

bool topic_is_command(uint64_t opcode)
{
    return (opcode >= TOPIC_CREATE && opcode <= TOPIC_PUBLISH) || opcode == TOPIC_TRIM;
}

bool topic_is_query(uint64_t opcode)
{
    return opcode >= TOPIC_INFO && opcode <= TOPIC_READ;
}

static int name_check(struct slice name)
{
    if (name.bytes == 0)
        return CONCLAVE_INVALID;
    return name.bytes > CONCLAVE_TOPIC_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

/* --- Commands --------------------------------------------------------------------------------- */

static struct topic_settings fields_settings(struct fields *fields)
{
    struct topic_settings settings = {.count_max = fields_uint_or(fields, 0)};
    settings.bytes_max = fields_uint_or(fields, 0);
    settings.age_ms = fields_uint_or(fields, 0);
    settings.dedup_ms = fields_uint_or(fields, 0);
    settings.dedup_count = fields_uint_or(fields, 0);
    if (settings.dedup_count == 0)
        settings.dedup_count = TOPIC_DEDUP_COUNT_DEFAULT;
    if (settings.dedup_ms == 0)
        settings.dedup_count = 0;
    return settings;
}

/* The sum of times must not wrap. */
static int settings_check(const struct topic_settings *settings)
{
    bool fits = settings->dedup_count <= TOPIC_DEDUP_COUNT_MAX &&
                settings->dedup_ms <= UINT32_MAX && settings->age_ms <= INT64_MAX / 2 &&
                settings->count_max <= INT64_MAX && settings->bytes_max <= INT64_MAX;
    return fits ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

static struct topic_messages fields_messages(struct fields *fields, struct topic_command *command)
{
    struct topic_messages messages = {0};
    uint32_t ids = 0;
    messages.data = fields_elements(fields, &messages.count);
    command->expected = fields_given(fields);
    if (command->expected)
        command->expect = cursor_uint(fields_next(fields));
    messages.have_ids = fields_given(fields);
    if (messages.have_ids)
        messages.ids = fields_elements(fields, &ids);
    if (messages.have_ids && ids != messages.count)
        cursor_fail(&fields->cursor);
    return messages;
}

struct topic_message topic_messages_next(struct topic_messages *messages)
{
    struct topic_message message = {.data = cursor_bin(&messages->data)};
    if (messages->have_ids && !cursor_nil(&messages->ids))
        message.id = cursor_bin(&messages->ids);
    return message;
}

/* Reads all of them once, so that nothing can fail later. */
static int messages_check(struct topic_messages messages)
{
    if (messages.count == 0)
        return CONCLAVE_INVALID;
    bool fit = messages.count <= CONCLAVE_PUBLISH_MAX;
    for (uint32_t i = 0; i < messages.count; i++) {
        struct topic_message message = topic_messages_next(&messages);
        if (!cursor_ok(&messages.data) || (messages.have_ids && !cursor_ok(&messages.ids)))
            return CONCLAVE_MALFORMED;
        fit = fit && message.data.bytes <= CONCLAVE_VALUE_BYTES_MAX &&
              message.id.bytes <= CONCLAVE_MESSAGE_ID_BYTES_MAX;
    }
    return fit ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

int topic_command_decode(const void *data, size_t bytes, struct topic_command *ret)
{
    struct fields fields;
    struct topic_command command = {0};
    fields_begin(&fields, data, bytes);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    if (!topic_is_command(opcode))
        return CONCLAVE_MALFORMED;
    command.opcode = (enum topic_opcode)opcode;
    command.name = cursor_bin(fields_next(&fields));
    if (opcode == TOPIC_CREATE)
        command.settings = fields_settings(&fields);
    if (opcode == TOPIC_PUBLISH)
        command.messages = fields_messages(&fields, &command);
    if (opcode == TOPIC_TRIM)
        command.sequence = cursor_uint(fields_next(&fields));
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;

    int code = opcode == TOPIC_PUBLISH ? messages_check(command.messages) : CONCLAVE_OK;
    if (code != CONCLAVE_MALFORMED && name_check(command.name))
        code = name_check(command.name);
    if (!code)
        code = settings_check(&command.settings);
    if (!code)
        *ret = command;
    return code;
}

void topic_create_pack(struct pack *pack, struct slice name, const struct topic_settings *settings)
{
    pack_array(pack, 7);
    pack_uint(pack, TOPIC_CREATE);
    pack_bin(pack, name.data, name.bytes);
    pack_uint(pack, settings->count_max);
    pack_uint(pack, settings->bytes_max);
    pack_uint(pack, settings->age_ms);
    pack_uint(pack, settings->dedup_ms);
    pack_uint(pack, settings->dedup_count);
}

void topic_delete_pack(struct pack *pack, struct slice name)
{
    pack_array(pack, 2);
    pack_uint(pack, TOPIC_DELETE);
    pack_bin(pack, name.data, name.bytes);
}

void topic_trim_pack(struct pack *pack, struct slice name, uint64_t sequence)
{
    pack_array(pack, 3);
    pack_uint(pack, TOPIC_TRIM);
    pack_bin(pack, name.data, name.bytes);
    pack_uint(pack, sequence);
}

void topic_publish_begin(struct pack *pack, const struct topic_publish *publish)
{
    pack_array(pack, publish->have_ids ? 5 : publish->expect ? 4 : 3);
    pack_uint(pack, TOPIC_PUBLISH);
    pack_bin(pack, publish->name.data, publish->name.bytes);
    pack_array(pack, publish->count);
}

void topic_publish_data(struct pack *pack, struct slice data)
{
    pack_bin(pack, data.data, data.bytes);
}

void topic_publish_ids(struct pack *pack, const struct topic_publish *publish)
{
    if (publish->expect)
        pack_uint(pack, *publish->expect);
    else if (publish->have_ids)
        pack_nil(pack);
    if (publish->have_ids)
        pack_array(pack, publish->count);
}

void topic_publish_id(struct pack *pack, struct slice id)
{
    if (id.bytes)
        pack_bin(pack, id.data, id.bytes);
    else
        pack_nil(pack);
}

/* --- Queries ---------------------------------------------------------------------------------- */

int topic_query_decode(const void *data, size_t bytes, struct topic_query *ret)
{
    struct fields fields;
    struct topic_query query = {0};
    uint64_t start = CONCLAVE_FROM_SEQUENCE;
    fields_begin(&fields, data, bytes);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    if (!topic_is_query(opcode))
        return CONCLAVE_MALFORMED;
    query.opcode = (enum topic_opcode)opcode;
    if (opcode != TOPIC_LIST || fields_given(&fields))
        query.name = cursor_bin(fields_next(&fields));
    if (opcode == TOPIC_READ) {
        start = fields_uint_or(&fields, CONCLAVE_FROM_SEQUENCE);
        query.position = fields_uint_or(&fields, 0);
    }
    if (opcode != TOPIC_INFO)
        query.limit = fields_uint_or(&fields, 0);
    if (opcode == TOPIC_READ)
        query.bytes = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;

    int code = name_check(query.name);
    if (opcode == TOPIC_LIST && query.name.bytes <= CONCLAVE_TOPIC_BYTES_MAX + 1)
        code = CONCLAVE_OK; /* it may go on right behind the longest name */
    if (!code && start > CONCLAVE_FROM_NEW)
        code = CONCLAVE_INVALID;
    if (code)
        return code;
    query.start = (enum conclave_from)start;
    if (query.bytes == 0)
        query.bytes = TOPIC_READ_BYTES_DEFAULT;
    if (query.bytes > TOPIC_READ_BYTES_MAX)
        query.bytes = TOPIC_READ_BYTES_MAX;
    *ret = query;
    return CONCLAVE_OK;
}

void topic_query_pack(struct pack *pack, const struct topic_query *query)
{
    pack_array(pack, query->opcode == TOPIC_READ ? 6 : query->opcode == TOPIC_LIST ? 3 : 2);
    pack_uint(pack, query->opcode);
    pack_bin(pack, query->name.data, query->name.bytes);
    if (query->opcode == TOPIC_READ) {
        pack_uint(pack, query->start);
        pack_uint(pack, query->position);
    }
    if (query->opcode != TOPIC_INFO)
        pack_uint(pack, query->limit);
    if (query->opcode == TOPIC_READ)
        pack_uint(pack, query->bytes);
}

int topic_spec_decode(struct slice bytes, struct topic_spec *ret)
{
    struct fields fields;
    fields_begin(&fields, bytes.data, bytes.bytes);
    struct topic_spec spec = {.name = cursor_bin(fields_next(&fields))};
    spec.id = fields_uint_or(&fields, 0);
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    int code = name_check(spec.name);
    if (!code)
        *ret = spec;
    return code;
}

void topic_spec_pack(struct pack *pack, const struct topic_spec *spec)
{
    pack_array(pack, spec->id ? 2 : 1);
    pack_bin(pack, spec->name.data, spec->name.bytes);
    if (spec->id)
        pack_uint(pack, spec->id);
}
