#include "machine/kv_write.h"

#include "base/fatal.h"
#include "machine/kv_lease.h"
#include "machine/kv_quota.h"
#include "machine/kv_reply.h"

int kv_write_growth(struct kv_batch *batch, const struct kv_command *command,
                    const struct kv_found *found, uint64_t *ret)
{
    struct kv_lease lease = {0};
    *ret = 0;
    if (command->opcode != KV_PUT || !batch->state.quota)
        return 0;
    int rc = found->record.lease ? kv_lease_find(&batch->tx, found->record.lease, &lease) : 0;
    if (rc)
        return rc == CONCLAVE_NOT_FOUND ? CONCLAVE_CORRUPT : rc;
    uint64_t before = found->stored.bytes ? command->key.bytes + found->stored.bytes : 0;
    uint64_t after = command->key.bytes + KV_RECORD_HEADER_BYTES + command->value.bytes;
    before += lease.flags & KV_LEASE_OF_KEY ? KV_LEASE_BYTES : 0;
    after += command->ttl_ms ? KV_LEASE_BYTES : 0;
    *ret = after > before ? after - before : 0;
    return 0;
}

int kv_write_check(struct kv_batch *batch, const struct kv_command *command,
                   const struct kv_found *found, int *ret_code)
{
    uint64_t growth;
    int rc = kv_write_growth(batch, command, found, &growth);
    if (rc || command->opcode != KV_PUT)
        return rc;
    if (!kv_quota_takes(&batch->state, growth)) {
        *ret_code = CONCLAVE_QUOTA;
        return 0;
    }
    if (!command->lease)
        return 0;
    struct kv_lease lease;
    rc = kv_lease_find(&batch->tx, command->lease, &lease);
    /* One that came with another key goes with that key. */
    if (rc == CONCLAVE_NOT_FOUND || (!rc && lease.flags & KV_LEASE_OF_KEY)) {
        *ret_code = CONCLAVE_LEASE_EXPIRED;
        return 0;
    }
    return rc;
}

int kv_write_item(const struct kv_command *command, const struct kv_found *found,
                  struct kv_outcome *outcome)
{
    outcome->has_item = command->previous && found->record.version > 0;
    return outcome->has_item ? kv_item_of(command->key, found->stored, &outcome->item) : 0;
}

int kv_write_outcome(const struct kv_batch *batch, const struct kv_command *command,
                     const struct kv_found *found, struct kv_outcome *ret)
{
    bool put = command->opcode == KV_PUT, existed = found->record.version > 0;
    bool changes = put || existed || kv_change_any(batch);
    *ret = (struct kv_outcome){
        .revision = changes ? kv_change_revision(batch) : batch->state.revision,
        .value = put ? found->record.mod_revision : existed,
    };
    return kv_write_item(command, found, ret);
}

static int put(struct kv_batch *batch, const struct kv_command *command,
               const struct kv_found *found)
{
    uint64_t lease = command->lease;
    if (command->ttl_ms) {
        struct kv_lease own;
        int rc = kv_lease_grant(batch, command->ttl_ms, KV_LEASE_OF_KEY, &own);
        if (rc)
            return rc;
        lease = own.id;
    }
    return kv_change_put(batch, KV_SPACE_USER, command->key, command->value, lease, found);
}

int kv_write_apply(struct kv_batch *batch, const struct kv_command *command,
                   const struct kv_found *found)
{
    if (command->opcode == KV_PUT)
        return put(batch, command, found);
    ASSERT(command->opcode == KV_DELETE);
    if (found->record.version == 0)
        return 0;
    return kv_change_erase(batch, KV_SPACE_USER, KV_CHANGE_DELETE, command->key, found);
}
