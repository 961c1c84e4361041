#include "client/request.h"
#include "codec/kv_lease.h"
#include "conclave_lease.h"

#include <string.h>

static void command_call(struct conclave_client *client, const struct kv_command *command,
                         uint32_t timeout_ms, struct conclave_op *op)
{
    struct pack pack;
    struct conclave_op wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms};
    pack_init(&pack, CONCLAVE_KV_OVERHEAD);
    kv_command_pack(&pack, command);
    request_call(client, wanted, &pack, op);
}

/* Grant and renew. */
static int lease_call(struct conclave_client *client, const struct kv_command *command,
                      uint32_t timeout_ms, uint64_t *ret_lease, uint64_t *ret_ttl_ms)
{
    struct conclave_op op;
    command_call(client, command, timeout_ms, &op);
    int code = conclave_lease_decode(&op, ret_lease, ret_ttl_ms);
    conclave_op_release(&op);
    return code;
}

int conclave_lease_grant(struct conclave_client *client, uint64_t ttl_ms, uint32_t timeout_ms,
                         uint64_t *ret_lease)
{
    const struct kv_command command = {.opcode = KV_LEASE_GRANT, .ttl_ms = ttl_ms};
    return ttl_ms ? lease_call(client, &command, timeout_ms, ret_lease, NULL) : CONCLAVE_INVALID;
}

int conclave_lease_renew(struct conclave_client *client, uint64_t lease, uint32_t timeout_ms,
                         uint64_t *ret_ttl_ms)
{
    const struct kv_command command = {.opcode = KV_LEASE_RENEW, .lease = lease};
    return lease ? lease_call(client, &command, timeout_ms, NULL, ret_ttl_ms) : CONCLAVE_INVALID;
}

int conclave_lease_revoke(struct conclave_client *client, uint64_t lease, uint32_t timeout_ms,
                          uint64_t *ret_deleted)
{
    struct conclave_op op;
    if (lease == 0)
        return CONCLAVE_INVALID;
    const struct kv_command command = {.opcode = KV_LEASE_REVOKE, .lease = lease};
    command_call(client, &command, timeout_ms, &op);
    int code = conclave_lease_decode_revoke(&op, ret_deleted);
    conclave_op_release(&op);
    return code;
}

/* --- For conclave_client_submit --------------------------------------------------------------- */

static int encode(void *buffer, size_t capacity, const struct kv_command *command,
                  size_t *ret_bytes)
{
    struct pack pack;
    struct buf buf;
    int code = request_begin_fixed(&pack, &buf, buffer, capacity, 0);
    if (code)
        return code;
    kv_command_pack(&pack, command);
    *ret_bytes = pack.bytes;
    return CONCLAVE_OK;
}

int conclave_lease_encode_grant(void *buffer, size_t capacity, uint64_t ttl_ms, size_t *ret_bytes)
{
    const struct kv_command command = {.opcode = KV_LEASE_GRANT, .ttl_ms = ttl_ms};
    return ttl_ms ? encode(buffer, capacity, &command, ret_bytes) : CONCLAVE_INVALID;
}

int conclave_lease_encode_renew(void *buffer, size_t capacity, uint64_t lease, size_t *ret_bytes)
{
    const struct kv_command command = {.opcode = KV_LEASE_RENEW, .lease = lease};
    return lease ? encode(buffer, capacity, &command, ret_bytes) : CONCLAVE_INVALID;
}

int conclave_lease_encode_revoke(void *buffer, size_t capacity, uint64_t lease, size_t *ret_bytes)
{
    const struct kv_command command = {.opcode = KV_LEASE_REVOKE, .lease = lease};
    return lease ? encode(buffer, capacity, &command, ret_bytes) : CONCLAVE_INVALID;
}

int conclave_lease_decode(const struct conclave_op *op, uint64_t *ret_lease, uint64_t *ret_ttl_ms)
{
    struct kv_lease_answer answer;
    int code = op->code;
    if (!code)
        code = kv_lease_answer_decode(op->reply, op->reply_bytes, &answer);
    if (!code && ret_lease)
        *ret_lease = answer.lease;
    if (!code && ret_ttl_ms)
        *ret_ttl_ms = answer.ttl_ms;
    return code;
}

int conclave_lease_decode_revoke(const struct conclave_op *op, uint64_t *ret_deleted)
{
    struct kv_outcome outcome;
    int code = op->code;
    if (!code)
        code = kv_outcome_decode(op->reply, op->reply_bytes, &outcome);
    if (!code && ret_deleted)
        *ret_deleted = outcome.value;
    return code;
}

/* --- Lists ------------------------------------------------------------------------------------ */

static int query_call(struct conclave_client *client, const struct kv_query *query,
                      uint32_t timeout_ms, struct conclave_op *op)
{
    struct pack pack;
    struct conclave_op wanted = {.kind = CONCLAVE_OP_READ, .timeout_ms = timeout_ms};
    pack_init(&pack, query->key.bytes + CONCLAVE_KV_OVERHEAD);
    kv_query_pack(&pack, query);
    request_call(client, wanted, &pack, op);
    return op->code;
}

static struct conclave_lease_info info_of(const struct kv_lease_info *info)
{
    return (struct conclave_lease_info){
        .lease = info->lease, .ttl_ms = info->ttl_ms, .left_ms = info->left_ms, .keys = info->keys};
}

/* One page; *after is where the next one begins, 0: nowhere. */
static int list_page(const struct conclave_op *op,
                     int (*item)(void *arg, const struct conclave_lease_info *info), void *arg,
                     uint64_t *after)
{
    struct kv_leases_answer answer;
    struct kv_lease_info info;
    int more, code = kv_leases_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    /* An answer that does not lead on would be asked for again without end. */
    if (answer.next && answer.next <= *after)
        return CONCLAVE_MALFORMED;
    *after = answer.next;
    while ((more = kv_leases_answer_next(&answer, &info)) == 1) {
        struct conclave_lease_info handed = info_of(&info);
        if (item(arg, &handed)) {
            *after = 0;
            return CONCLAVE_OK;
        }
    }
    return more < 0 ? CONCLAVE_MALFORMED : CONCLAVE_OK;
}

int conclave_lease_list(struct conclave_client *client, uint32_t timeout_ms,
                        int (*item)(void *arg, const struct conclave_lease_info *info), void *arg)
{
    uint64_t after = 0;
    int code;
    do {
        struct conclave_op op;
        const struct kv_query query = {.opcode = KV_LEASES, .lease = after};
        code = query_call(client, &query, timeout_ms, &op);
        if (!code)
            code = list_page(&op, item, arg, &after);
        conclave_op_release(&op);
    } while (!code && after);
    return code;
}

struct keys {
    int (*key)(void *arg, const void *key, size_t key_bytes);
    void *arg;
    uint8_t place[KV_LEASE_PLACE_BYTES_MAX];
    size_t place_bytes; /* 0: nothing is left */
    struct conclave_lease_info info;
};

static int keys_page(const struct conclave_op *op, struct keys *keys)
{
    struct kv_lease_keys_answer answer;
    struct slice key;
    uint64_t space;
    int more, code = kv_lease_keys_answer_begin(op->reply, op->reply_bytes, &answer);
    if (code)
        return code;
    if (answer.next.bytes > sizeof keys->place)
        return CONCLAVE_MALFORMED;
    keys->info = info_of(&answer.info);
    keys->place_bytes = answer.next.bytes;
    if (answer.next.bytes)
        memcpy(keys->place, answer.next.data, answer.next.bytes);
    while ((more = kv_lease_keys_answer_next(&answer, &space, &key)) == 1) {
        if (space != 0 || !keys->key || !keys->key(keys->arg, key.data, key.bytes))
            continue;
        keys->place_bytes = 0;
        return CONCLAVE_OK;
    }
    return more < 0 ? CONCLAVE_MALFORMED : CONCLAVE_OK;
}

int conclave_lease_info(struct conclave_client *client, uint64_t lease, uint32_t timeout_ms,
                        int (*key)(void *arg, const void *key, size_t key_bytes), void *arg,
                        struct conclave_lease_info *ret_info)
{
    struct keys keys = {.key = key, .arg = arg};
    int code;
    if (lease == 0)
        return CONCLAVE_INVALID;
    do {
        struct conclave_op op;
        const struct kv_query query = {.opcode = KV_LEASE_KEYS,
                                       .lease = lease,
                                       .key = {keys.place, keys.place_bytes},
                                       .limit = key ? 0 : 1};
        code = query_call(client, &query, timeout_ms, &op);
        if (!code)
            code = keys_page(&op, &keys);
        conclave_op_release(&op);
    } while (!code && key && keys.place_bytes);
    if (!code && ret_info)
        *ret_info = keys.info;
    return code;
}
