#include "codec/kv.h"

#include "base/fatal.h"
#include "codec/fields.h"
#include "codec/kv_internal.h"

#include <stddef.h>
#include <string.h>

/* --- Parts ------------------------------------------------------------------------------------ */

static struct kv_condition fields_condition(struct fields *fields)
{
    struct kv_condition condition = {.given = fields_given(fields)};
    if (condition.given)
        condition.revision = cursor_uint(fields_next(fields));
    return condition;
}

static struct kv_bounds fields_bounds(struct fields *fields)
{
    struct kv_bounds bounds = {0};
    /* Both must be there: a forgotten end must not become "everything". */
    if (fields->left < 2)
        cursor_fail(&fields->cursor);
    if (fields_given(fields))
        bounds.from = cursor_bin(fields_next(fields));
    bounds.no_end = !fields_given(fields);
    if (!bounds.no_end)
        bounds.to = cursor_bin(fields_next(fields));
    return bounds;
}

static int key_check(struct slice key)
{
    if (key.bytes == 0)
        return CONCLAVE_INVALID;
    return key.bytes > CONCLAVE_KEY_BYTES_MAX ? CONCLAVE_TOO_LARGE : CONCLAVE_OK;
}

int kv_bounds_check(const struct kv_bounds *bounds)
{
    bool fits = bounds->from.bytes <= KV_BOUND_BYTES_MAX && bounds->to.bytes <= KV_BOUND_BYTES_MAX;
    return fits ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

/* A revision has 64 bits, and no client may use them up at once. */
static int advance_check(uint64_t revisions)
{
    return revisions <= CONCLAVE_RECOVER_REVISIONS_MAX ? CONCLAVE_OK : CONCLAVE_TOO_LARGE;
}

static void bounds_pack(struct pack *pack, const struct kv_bounds *bounds)
{
    pack_bin(pack, bounds->from.data, bounds->from.bytes);
    if (bounds->no_end)
        pack_nil(pack);
    else
        pack_bin(pack, bounds->to.data, bounds->to.bytes);
}

/* --- Commands --------------------------------------------------------------------------------- */

static void put_decode(struct fields *fields, struct kv_command *command)
{
    command->key = cursor_bin(fields_next(fields));
    command->value = cursor_bin(fields_next(fields));
    command->condition = fields_condition(fields);
    command->lease = fields_uint_or(fields, 0);
    command->ttl_ms = fields_uint_or(fields, 0);
    command->previous = fields_uint_or(fields, 0) != 0;
}

static int put_check(const struct kv_command *command)
{
    int code = key_check(command->key);
    if (!code && command->value.bytes > CONCLAVE_VALUE_BYTES_MAX)
        code = CONCLAVE_TOO_LARGE;
    if (!code && command->lease && command->ttl_ms)
        code = CONCLAVE_INVALID;
    if (!code && command->ttl_ms)
        code = kv_ttl_check(command->ttl_ms);
    return code;
}

/* Whether it can be carried out, by its bytes alone. */
static int command_check(const struct kv_command *command)
{
    switch (command->opcode) {
    case KV_PUT:
        return put_check(command);
    case KV_DELETE:
        return key_check(command->key);
    case KV_DELETE_RANGE:
        return kv_bounds_check(&command->bounds);
    case KV_ADVANCE:
        return advance_check(command->revisions);
    case KV_TXN:
        return kv_txn_check(&command->txn);
    case KV_LEASE_GRANT:
        return kv_ttl_check(command->ttl_ms);
    case KV_LEASE_RENEW:
    case KV_LEASE_REVOKE:
        return command->lease ? CONCLAVE_OK : CONCLAVE_INVALID;
    case KV_SETTINGS:
        return kv_settings_check(&command->settings);
    default:
        break;
    }
    return CONCLAVE_MALFORMED;
}

/* What most commands have of the struct, which is all that every node sets and copies of them. */
enum { COMMON_BYTES = offsetof(struct kv_command, bounds) };
_Static_assert(COMMON_BYTES + sizeof(struct kv_txn) == sizeof(struct kv_command),
               "what an opcode has of its own is the end");

int kv_command_decode(const void *data, size_t bytes, struct kv_command *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_command command;
    size_t used = COMMON_BYTES;
    memset(&command, 0, COMMON_BYTES);
    uint64_t opcode = cursor_uint(fields_next(&fields));
    switch (opcode) {
    case KV_PUT:
        put_decode(&fields, &command);
        break;
    case KV_DELETE:
        command.key = cursor_bin(fields_next(&fields));
        command.condition = fields_condition(&fields);
        command.previous = fields_uint_or(&fields, 0) != 0;
        break;
    case KV_DELETE_RANGE:
        command.bounds = fields_bounds(&fields);
        used += sizeof command.bounds;
        break;
    case KV_ADVANCE:
        command.revisions = cursor_uint(fields_next(&fields));
        used += sizeof command.revisions;
        break;
    case KV_TXN:
        command.txn.compares = kv_txn_list_decode(fields_next(&fields));
        command.txn.then = kv_txn_list_decode(fields_next(&fields));
        command.txn.otherwise = kv_txn_list_decode(fields_next(&fields));
        used += sizeof command.txn;
        break;
    case KV_LEASE_GRANT:
        command.ttl_ms = cursor_uint(fields_next(&fields));
        break;
    case KV_LEASE_RENEW:
    case KV_LEASE_REVOKE:
        command.lease = cursor_uint(fields_next(&fields));
        break;
    case KV_SETTINGS:
        kv_settings_decode(&fields, &command.settings);
        used += sizeof command.settings;
        break;
    default:
        return CONCLAVE_MALFORMED;
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    command.opcode = (enum kv_opcode)opcode;
    int code = command_check(&command);
    if (!code)
        memcpy(ret, &command, used);
    return code;
}

bool kv_command_is_timed(const void *data, size_t bytes)
{
    /* A short array, and an opcode below 128: what encoders write. Anything else may be timed. */
    const uint8_t *at = data;
    if (bytes < 2 || (at[0] & 0xf0) != 0x90)
        return true;
    uint8_t fields = at[0] & 0x0f;
    return at[1] >= KV_TXN || (at[1] == KV_PUT && fields > 4) || at[1] == 0;
}

static void put_pack(struct pack *pack, const struct kv_command *command)
{
    const bool given[] = {command->condition.given, command->lease > 0, command->ttl_ms > 0,
                          command->previous};
    const uint64_t fields[] = {command->condition.revision, command->lease, command->ttl_ms, 1};
    uint32_t optional = sizeof given / sizeof *given;
    while (optional > 0 && !given[optional - 1])
        optional--;
    pack_array(pack, 3 + optional);
    pack_uint(pack, command->opcode);
    pack_bin(pack, command->key.data, command->key.bytes);
    pack_bin(pack, command->value.data, command->value.bytes);
    for (uint32_t i = 0; i < optional; i++) {
        if (given[i])
            pack_uint(pack, fields[i]);
        else
            pack_nil(pack);
    }
}

static void delete_pack(struct pack *pack, const struct kv_command *command)
{
    pack_array(pack, command->previous ? 4 : 2u + command->condition.given);
    pack_uint(pack, command->opcode);
    pack_bin(pack, command->key.data, command->key.bytes);
    if (command->condition.given)
        pack_uint(pack, command->condition.revision);
    else if (command->previous)
        pack_nil(pack);
    if (command->previous)
        pack_uint(pack, 1);
}

/* A command with one number. */
static void number_pack(struct pack *pack, const struct kv_command *command, uint64_t number)
{
    pack_array(pack, 2);
    pack_uint(pack, command->opcode);
    pack_uint(pack, number);
}

void kv_command_pack(struct pack *pack, const struct kv_command *command)
{
    switch (command->opcode) {
    case KV_PUT:
        put_pack(pack, command);
        return;
    case KV_DELETE:
        delete_pack(pack, command);
        return;
    case KV_DELETE_RANGE:
        pack_array(pack, 3);
        pack_uint(pack, command->opcode);
        bounds_pack(pack, &command->bounds);
        return;
    case KV_ADVANCE:
        number_pack(pack, command, command->revisions);
        return;
    case KV_TXN:
        pack_array(pack, 4);
        pack_uint(pack, command->opcode);
        kv_txn_list_pack(pack, &command->txn.compares);
        kv_txn_list_pack(pack, &command->txn.then);
        kv_txn_list_pack(pack, &command->txn.otherwise);
        return;
    case KV_LEASE_GRANT:
        number_pack(pack, command, command->ttl_ms);
        return;
    case KV_LEASE_RENEW:
    case KV_LEASE_REVOKE:
        number_pack(pack, command, command->lease);
        return;
    case KV_SETTINGS:
        kv_settings_pack(pack, &command->settings);
        return;
    default:
        break;
    }
    ASSERT(!"a command");
}

/* --- Queries ---------------------------------------------------------------------------------- */

static int query_check(const struct kv_query *query)
{
    switch (query->opcode) {
    case KV_GET:
        return key_check(query->key);
    case KV_RANGE:
        return kv_bounds_check(&query->bounds);
    case KV_LEASE_KEYS:
        return query->lease == 0                             ? CONCLAVE_INVALID
               : query->key.bytes > KV_LEASE_PLACE_BYTES_MAX ? CONCLAVE_TOO_LARGE
                                                             : CONCLAVE_OK;
    default:
        return CONCLAVE_OK;
    }
}

int kv_query_decode(const void *data, size_t bytes, struct kv_query *ret)
{
    struct fields fields;
    fields_begin(&fields, data, bytes);
    struct kv_query query = {0};
    uint64_t what = KV_RANGE_ITEMS;
    uint64_t opcode = cursor_uint(fields_next(&fields));
    switch (opcode) {
    case KV_GET:
        query.key = cursor_bin(fields_next(&fields));
        query.revision = fields_uint_or(&fields, 0);
        query.space = fields_uint_or(&fields, 0);
        break;
    case KV_LEASES:
        query.lease = fields_uint_or(&fields, 0);
        query.limit = fields_uint_or(&fields, 0);
        break;
    case KV_LEASE_KEYS:
        query.lease = cursor_uint(fields_next(&fields));
        if (fields_given(&fields))
            query.key = cursor_bin(fields_next(&fields));
        query.limit = fields_uint_or(&fields, 0);
        break;
    case KV_USAGE:
        break;
    case KV_RANGE:
        query.bounds = fields_bounds(&fields);
        query.limit = fields_uint_or(&fields, 0);
        query.bytes = fields_uint_or(&fields, 0);
        what = fields_uint_or(&fields, KV_RANGE_ITEMS);
        query.revision = fields_uint_or(&fields, 0);
        query.space = fields_uint_or(&fields, 0);
        break;
    default:
        return CONCLAVE_MALFORMED;
    }
    if (!fields_end(&fields))
        return CONCLAVE_MALFORMED;
    query.opcode = (enum kv_opcode)opcode;

    int code = query_check(&query);
    if (!code && (what > KV_RANGE_COUNT || query.space > KV_SPACE_MAX))
        code = CONCLAVE_INVALID;
    if (code)
        return code;
    query.what = (enum kv_range_what)what;
    if (query.bytes == 0)
        query.bytes = KV_RANGE_BYTES_DEFAULT;
    if (query.bytes > KV_RANGE_BYTES_MAX)
        query.bytes = KV_RANGE_BYTES_MAX;
    *ret = query;
    return CONCLAVE_OK;
}

static void get_pack(struct pack *pack, const struct kv_query *query)
{
    pack_array(pack, query->space ? 4 : 2u + (query->revision > 0));
    pack_uint(pack, query->opcode);
    pack_bin(pack, query->key.data, query->key.bytes);
    if (query->revision || query->space)
        pack_uint(pack, query->revision);
    if (query->space)
        pack_uint(pack, query->space);
}

static void range_pack(struct pack *pack, const struct kv_query *query)
{
    pack_array(pack, query->space ? 8 : 6u + (query->revision > 0));
    pack_uint(pack, query->opcode);
    bounds_pack(pack, &query->bounds);
    pack_uint(pack, query->limit);
    pack_uint(pack, query->bytes);
    pack_uint(pack, query->what);
    if (query->revision || query->space)
        pack_uint(pack, query->revision);
    if (query->space)
        pack_uint(pack, query->space);
}

void kv_query_pack(struct pack *pack, const struct kv_query *query)
{
    switch (query->opcode) {
    case KV_GET:
        get_pack(pack, query);
        return;
    case KV_RANGE:
        range_pack(pack, query);
        return;
    case KV_USAGE:
        pack_array(pack, 1);
        pack_uint(pack, query->opcode);
        return;
    case KV_LEASES:
        pack_array(pack, 3);
        pack_uint(pack, query->opcode);
        pack_uint(pack, query->lease);
        pack_uint(pack, query->limit);
        return;
    case KV_LEASE_KEYS:
        pack_array(pack, 4);
        pack_uint(pack, query->opcode);
        pack_uint(pack, query->lease);
        pack_bin(pack, query->key.data, query->key.bytes);
        pack_uint(pack, query->limit);
        return;
    default:
        break;
    }
    ASSERT(!"a query");
}
