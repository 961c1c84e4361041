#include "machine/kv_command.h"

#include "base/fatal.h"
#include "codec/kv.h"

static void answer(struct conclave_reply_sink *reply, int code, uint64_t revision, uint64_t value)
{
    if (!reply)
        return;
    struct pack pack;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){revision, value});
    reply_sink_take(reply, code, pack_take(&pack));
}

static bool condition_holds(const struct kv_condition *condition, const struct kv_record *record)
{
    return !condition->given || condition->revision == record->mod_revision;
}

static int put_apply(struct kv_batch *batch, const struct kv_command *command)
{
    struct kv_found old;
    int rc = kv_change_find(batch, KV_SPACE_USER, command->key, &old);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &old.record)) {
        answer(batch->reply, CONCLAVE_COMPARE_FAILED, batch->state.revision,
               old.record.mod_revision);
        return 0;
    }
    kv_change_begin(batch);
    rc = kv_change_put(batch, KV_SPACE_USER, command->key, command->value, 0, &old);
    if (!rc)
        rc = kv_change_end(batch);
    if (!rc)
        answer(batch->reply, CONCLAVE_OK, batch->state.revision, old.record.mod_revision);
    return rc;
}

static int delete_apply(struct kv_batch *batch, const struct kv_command *command)
{
    struct kv_found old;
    int rc = kv_change_find(batch, KV_SPACE_USER, command->key, &old);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &old.record)) {
        answer(batch->reply, CONCLAVE_COMPARE_FAILED, batch->state.revision,
               old.record.mod_revision);
        return 0;
    }
    bool existed = old.record.version > 0;
    kv_change_begin(batch);
    if (existed)
        rc = kv_change_erase(batch, KV_SPACE_USER, KV_CHANGE_DELETE, command->key, &old);
    if (!rc)
        rc = kv_change_end(batch);
    if (!rc)
        answer(batch->reply, CONCLAVE_OK, batch->state.revision, existed);
    return rc;
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
        answer(batch->reply, CONCLAVE_OK, batch->state.revision, deleted);
    return rc;
}

int kv_command_apply(struct kv_batch *batch, const struct conclave_command *entry,
                     struct conclave_reply_sink *reply)
{
    struct kv_command command;
    if (topic_is_command(topic_opcode_peek(entry->data, entry->bytes))) {
        batch->topics.clock_ms = batch->clock_ms;
        return topic_command_apply(&batch->topics, &batch->state.revision, entry->data,
                                   entry->bytes, reply);
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
        return put_apply(batch, &command);
    case KV_DELETE:
        return delete_apply(batch, &command);
    case KV_DELETE_RANGE:
        return delete_range_apply(batch, &command.bounds);
    case KV_ADVANCE: /* what was lost may have given some out: none is given twice */
        batch->state.revision += command.revisions;
        answer(reply, CONCLAVE_OK, batch->state.revision, 0);
        return 0;
    case KV_GET:
    case KV_RANGE:
        break;
    }
    ASSERT(false); /* the decoder answers commands only */
    return CONCLAVE_INTERNAL;
}
