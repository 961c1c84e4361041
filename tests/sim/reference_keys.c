/* Keys, in the rules written down once more; and which command is whose. */
#include "base/fatal.h"
#include "tests/sim/ops.h"
#include "tests/sim/reference_internal.h"

#include <string.h>

void reference_keys_at(const struct reference *reference, uint64_t revision,
                       struct reference_key ret[SIM_KEYS])
{
    memcpy(ret, reference->keys, sizeof reference->keys);
    for (uint32_t i = reference->changes.count; i-- > 0;) {
        const struct reference_change *change = &reference->changes.items[i];
        if (change->revision <= revision)
            return;
        if (change->cell < SIM_KEYS)
            ret[change->cell] = change->before;
    }
}

struct kv_item reference_item(const struct reference *reference, uint32_t cell, uint8_t *key,
                              uint8_t *value)
{
    const struct reference_key *found = &reference->keys[cell];
    return (struct kv_item){.key = key_encode(cell, key),
                            .value = value_encode(found->number, found->bytes, value),
                            .create_revision = found->create_revision,
                            .mod_revision = found->mod_revision,
                            .version = found->version,
                            .lease = found->lease};
}

bool reference_lease_fits(struct reference *reference, uint64_t id)
{
    const struct reference_lease *lease = reference_lease(reference, id);
    return id == 0 || (lease && !lease->of_key);
}

/* --- Changes ---------------------------------------------------------------------------------- */

static uint32_t key_bytes(uint32_t cell)
{
    uint8_t room[2];
    return (uint32_t)key_encode(cell, room).bytes;
}

void reference_put(struct reference *reference, const struct kv_command *command, uint64_t revision)
{
    uint32_t cell = key_decode(command->key);
    struct reference_key *key = &reference->keys[cell];
    uint64_t lease = command->lease;
    const struct reference_key before = *key;
    if (command->ttl_ms)
        lease = reference_grant(reference, command->ttl_ms, true)->id;
    reference_key_lease(reference, key, lease);
    *key = (struct reference_key){.value = reference_value_hash(command->value),
                                  .number = value_decode(command->value),
                                  .bytes = command->value.bytes,
                                  .create_revision = key->version ? key->create_revision : revision,
                                  .mod_revision = revision,
                                  .version = key->version + 1,
                                  .lease = lease};
    reference_change_add(reference,
                         (struct reference_change){.revision = revision,
                                                   .cell = cell,
                                                   .key_bytes = (uint32_t)command->key.bytes,
                                                   .value = key->value,
                                                   .value_bytes = command->value.bytes,
                                                   .before = before,
                                                   .after = *key});
}

/* A lease of its own comes and goes with the key. */
uint64_t reference_put_growth(struct reference *reference, const struct kv_command *command)
{
    const struct reference_key *key = &reference->keys[key_decode(command->key)];
    const struct reference_lease *lease = reference_lease(reference, key->lease);
    uint64_t before = reference_key_bytes(reference, key_decode(command->key));
    uint64_t after = command->key.bytes + REFERENCE_RECORD_BYTES + command->value.bytes;
    if (key->version && lease && lease->of_key)
        before += REFERENCE_LEASE_BYTES;
    if (command->ttl_ms)
        after += REFERENCE_LEASE_BYTES;
    return after > before ? after - before : 0;
}

void reference_erase(struct reference *reference, uint32_t cell, uint64_t revision)
{
    struct reference_key *key = &reference->keys[cell];
    if (key->version == 0)
        return;
    reference_change_add(reference, (struct reference_change){.revision = revision,
                                                              .cell = cell,
                                                              .key_bytes = key_bytes(cell),
                                                              .before = *key});
    reference_key_lease(reference, key, 0);
    *key = (struct reference_key){0};
}

/* --- Commands --------------------------------------------------------------------------------- */

/* The key as it was, if it was there and that was asked for; else nothing. */
static void add_previous(const struct reference *reference, const struct kv_command *command,
                         struct kv_outcome *outcome, uint8_t *key, uint8_t *value)
{
    uint32_t cell = key_decode(command->key);
    if (!command->previous || reference->keys[cell].version == 0)
        return;
    outcome->has_item = true;
    outcome->item = reference_item(reference, cell, key, value);
}

static struct reference_reply outcome_reply(int code, const struct kv_outcome *outcome)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, outcome);
    return reference_reply_take(code, &pack);
}

/* A put or a delete. */
static struct reference_reply write_apply(struct reference *reference,
                                          const struct kv_command *command)
{
    uint8_t name[2], value[SIM_VALUE_BYTES_MAX];
    uint32_t cell = key_decode(command->key);
    const struct reference_key *key = &reference->keys[cell];
    bool put = command->opcode == KV_PUT, changes = put || key->version > 0;
    struct kv_outcome outcome = {.revision = reference->revision, .value = key->mod_revision};
    add_previous(reference, command, &outcome, name, value);
    if (command->condition.given && command->condition.revision != key->mod_revision)
        return outcome_reply(CONCLAVE_COMPARE_FAILED, &outcome);
    if (put && !reference_takes(reference, reference_put_growth(reference, command)))
        return reference_revision_alone(CONCLAVE_QUOTA, reference->revision);
    if (!reference_lease_fits(reference, command->lease))
        return reference_revision_alone(CONCLAVE_LEASE_EXPIRED, reference->revision);
    outcome.revision += changes;
    if (!put)
        outcome.value = changes;
    struct reference_reply reply = outcome_reply(CONCLAVE_OK, &outcome);
    reference->revision = outcome.revision;
    if (put)
        reference_put(reference, command, reference->revision);
    else
        reference_erase(reference, cell, reference->revision);
    if (changes)
        reference_history_changed(reference);
    return reply;
}

uint32_t reference_bounds_end(const struct kv_bounds *bounds)
{
    return bounds->no_end ? SIM_KEYS : key_decode(bounds->to);
}

static struct reference_reply delete_range(struct reference *reference,
                                           const struct kv_command *command)
{
    uint64_t deleted = 0;
    uint32_t end = reference_bounds_end(&command->bounds);
    for (uint32_t i = key_decode(command->bounds.from); i < end; i++) {
        deleted += reference->keys[i].version > 0;
        reference_erase(reference, i, reference->revision + 1);
    }
    reference->revision += deleted > 0; /* one change, however many keys */
    if (deleted)
        reference_history_changed(reference);
    return reference_outcome(CONCLAVE_OK, reference->revision, deleted);
}

struct reference_reply reference_command_apply(struct reference *reference, struct slice bytes)
{
    uint64_t opcode = topic_opcode_peek(bytes.data, bytes.bytes);
    reference_settle_quota(reference);
    if (topic_is_command(opcode))
        return reference_topic_apply(reference, bytes);
    if (group_is_command(opcode))
        return reference_group_apply(reference, bytes);
    if (coord_is_command(opcode))
        return reference_queue_apply(reference, bytes);
    struct kv_command command;
    ASSERT(kv_command_decode(bytes.data, bytes.bytes, &command) == CONCLAVE_OK);
    switch (command.opcode) {
    case KV_DELETE_RANGE:
        return delete_range(reference, &command);
    case KV_TXN:
        return reference_txn_apply(reference, &command.txn);
    case KV_SETTINGS:
        return reference_settings_apply(reference, &command.settings);
    case KV_ADVANCE:
        reference->revision += command.revisions;
        return reference_outcome(CONCLAVE_OK, reference->revision, 0);
    case KV_LEASE_GRANT:
    case KV_LEASE_RENEW:
    case KV_LEASE_REVOKE:
        return reference_lease_apply(reference, &command);
    default:
        return write_apply(reference, &command);
    }
}
