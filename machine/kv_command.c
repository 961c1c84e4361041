#include "machine/kv_command.h"

#include "base/fatal.h"
#include "codec/coord.h"
#include "codec/group.h"
#include "codec/kv.h"
#include "machine/coord.h"
#include "machine/group.h"
#include "machine/kv_lease.h"
#include "machine/kv_quota.h"
#include "machine/kv_reply.h"
#include "machine/kv_txn.h"
#include "machine/kv_write.h"

static bool condition_holds(const struct kv_condition *condition, const struct kv_record *record)
{
    return !condition->given || condition->revision == record->mod_revision;
}

static int refuse_condition(struct kv_batch *batch, const struct kv_command *command,
                            const struct kv_found *found)
{
    struct kv_outcome outcome = {.revision = batch->state.revision,
                                 .value = found->record.mod_revision};
    int rc = kv_write_item(command, found, &outcome);
    if (!rc)
        kv_reply_outcome(batch, CONCLAVE_COMPARE_FAILED, &outcome);
    return rc;
}

/* The answer is packed first: what was found is gone afterwards. */
static int write_found(struct kv_batch *batch, const struct kv_command *command,
                       const struct kv_found *found)
{
    struct kv_outcome outcome;
    kv_change_begin(batch);
    int rc = kv_write_outcome(batch, command, found, &outcome);
    if (rc)
        return rc;
    kv_reply_outcome(batch, CONCLAVE_OK, &outcome);
    rc = kv_write_apply(batch, command, found);
    if (!rc)
        rc = kv_change_end(batch);
    ASSERT(rc || batch->state.revision == outcome.revision);
    return rc;
}

/* A put or a delete. */
static int write_apply(struct kv_batch *batch, const struct kv_command *command)
{
    struct kv_found found;
    int rc = kv_change_find(batch, KV_SPACE_USER, command->key, &found);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &found.record))
        return refuse_condition(batch, command, &found);
    int code = CONCLAVE_OK;
    rc = kv_write_check(batch, command, &found, &code);
    if (rc)
        return rc;
    if (code) {
        kv_reply_revision(batch, code);
        return 0;
    }
    return write_found(batch, command, &found);
}

static int delete_range_apply(struct kv_batch *batch, const struct kv_bounds *bounds)
{
    uint64_t deleted = 0;
    kv_change_begin(batch);
    int rc = kv_change_erase_range(batch, KV_SPACE_USER, bounds->from, bounds->to, bounds->no_end,
                                   &deleted);
    if (!rc)
        rc = kv_change_end(batch);
    if (!rc)
        kv_reply_outcome(batch, CONCLAVE_OK,
                         &(struct kv_outcome){.revision = batch->state.revision, .value = deleted});
    return rc;
}

static int settings_apply(struct kv_batch *batch, const struct kv_settings *settings)
{
    struct kv_state *state = &batch->state;
    uint64_t *const fields[KV_SETTING_COUNT] = {[KV_SETTING_CHANGES] = &state->changes_max,
                                                [KV_SETTING_BYTES] = &state->bytes_max,
                                                [KV_SETTING_AGE_MS] = &state->age_ms_max,
                                                [KV_SETTING_QUOTA] = &state->quota};
    for (int i = 0; i < KV_SETTING_COUNT; i++)
        if (settings->given[i])
            *fields[i] = settings->values[i];
    int rc = kv_history_compact(&batch->history, state, KV_HISTORY_TICK);
    if (!rc)
        rc = kv_history_age(&batch->history, state, batch->clock_ms, KV_HISTORY_TICK);
    if (!rc)
        kv_reply_outcome(batch, CONCLAVE_OK, &(struct kv_outcome){.revision = state->revision});
    return rc;
}

/* A command about a topic, which knows of the quota what room it leaves, and nothing of the groups
 * of one that is deleted. */
static int topic_apply(struct kv_batch *batch, const struct conclave_command *entry,
                       struct conclave_reply_sink *reply)
{
    struct topic_command command;
    int rc = 0;
    if (topic_opcode_peek(entry->data, entry->bytes) == TOPIC_DELETE &&
        topic_command_decode(entry->data, entry->bytes, &command) == CONCLAVE_OK)
        rc = group_topic_deleted(batch, command.name);
    if (rc)
        return rc;
    batch->topics.room = kv_quota_room(&batch->state);
    batch->topics.refused = 0;
    rc = topic_command_apply(&batch->topics, &batch->state.revision, entry->data, entry->bytes,
                             reply);
    if (batch->topics.refused)
        batch->state.refused = batch->topics.refused;
    return rc;
}

int kv_command_apply(struct kv_batch *batch, const struct conclave_command *entry,
                     struct conclave_reply_sink *reply)
{
    struct kv_command command;
    kv_quota_settle(&batch->state);
    uint64_t opcode = topic_opcode_peek(entry->data, entry->bytes);
    if (topic_is_command(opcode))
        return topic_apply(batch, entry, reply);
    if (coord_is_command(opcode) || group_is_command(opcode)) {
        batch->index = entry->index;
        batch->reply = reply;
        if (reply)
            reply->effect = 0; /* it may be tried again */
        return coord_is_command(opcode) ? coord_command_apply(batch, entry->data, entry->bytes)
                                        : group_command_apply(batch, entry->data, entry->bytes);
    }
    int code = kv_command_decode(entry->data, entry->bytes, &command);
    if (code) {
        if (reply)
            reply_sink_take(reply, code, NULL);
        return 0;
    }
    batch->index = entry->index;
    batch->reply = reply;
    if (reply)
        reply->effect = 0; /* it may be tried again */
    switch (command.opcode) {
    case KV_PUT:
    case KV_DELETE:
        return write_apply(batch, &command);
    case KV_DELETE_RANGE:
        return delete_range_apply(batch, &command.bounds);
    case KV_ADVANCE: /* what was lost may have given some out: none is given twice */
        batch->state.revision += command.revisions;
        kv_reply_outcome(batch, CONCLAVE_OK,
                         &(struct kv_outcome){.revision = batch->state.revision});
        return 0;
    case KV_TXN:
        return kv_txn_apply(batch, &command.txn);
    case KV_LEASE_GRANT:
        return kv_lease_grant_apply(batch, command.ttl_ms);
    case KV_LEASE_RENEW:
        return kv_lease_renew_apply(batch, command.lease);
    case KV_LEASE_REVOKE:
        return kv_lease_revoke_apply(batch, command.lease);
    case KV_SETTINGS:
        return settings_apply(batch, &command.settings);
    default:
        break;
    }
    ASSERT(!"the decoder answers commands only");
    return CONCLAVE_INTERNAL;
}
