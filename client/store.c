/* What the store uses, and its settings. */
#include "client/request.h"
#include "codec/kv_lease.h"
#include "conclave_kv.h"

int conclave_kv_usage(struct conclave_client *client, uint32_t timeout_ms,
                      struct conclave_kv_usage *ret_usage)
{
    struct conclave_op wanted = {.kind = CONCLAVE_OP_READ, .timeout_ms = timeout_ms}, op;
    struct kv_usage usage;
    struct pack pack;
    pack_init(&pack, 0);
    kv_query_pack(&pack, &(struct kv_query){.opcode = KV_USAGE});
    request_call(client, wanted, &pack, &op);
    int code = op.code ? op.code : kv_usage_decode(op.reply, op.reply_bytes, &usage);
    conclave_op_release(&op);
    if (code)
        return code;
    *ret_usage = (struct conclave_kv_usage){
        .revision = usage.revision,
        .compacted = usage.compacted,
        .clock_ms = usage.clock_ms,
        .settings = {.history_changes = usage.settings[KV_SETTING_CHANGES],
                     .history_bytes = usage.settings[KV_SETTING_BYTES],
                     .history_age_ms = usage.settings[KV_SETTING_AGE_MS],
                     .quota_bytes = usage.settings[KV_SETTING_QUOTA]},
        .keys = usage.keys,
        .bytes = usage.bytes,
        .history_changes = usage.history_changes,
        .history_bytes = usage.history_bytes,
        .leases = usage.leases,
        .topics = usage.topics,
        .topic_bytes = usage.topic_bytes,
        .refused_bytes = usage.refused,
    };
    return CONCLAVE_OK;
}

int conclave_kv_set(struct conclave_client *client, const struct conclave_kv_settings *settings,
                    uint32_t timeout_ms)
{
    const uint64_t values[KV_SETTING_COUNT] = {
        [KV_SETTING_CHANGES] = settings->history_changes,
        [KV_SETTING_BYTES] = settings->history_bytes,
        [KV_SETTING_AGE_MS] = settings->history_age_ms,
        [KV_SETTING_QUOTA] = settings->quota_bytes,
    };
    struct kv_command command = {.opcode = KV_SETTINGS};
    for (int i = 0; i < KV_SETTING_COUNT; i++) {
        command.settings.given[i] = values[i] != CONCLAVE_KV_KEEP;
        command.settings.values[i] = command.settings.given[i] ? values[i] : 0;
    }
    struct conclave_op wanted = {.kind = CONCLAVE_OP_PROPOSE, .timeout_ms = timeout_ms}, op;
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, &command);
    request_call(client, wanted, &pack, &op);
    int code = op.code;
    conclave_op_release(&op);
    return code;
}
