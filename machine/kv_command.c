#include "machine/kv_command.h"

#include "base/fatal.h"
#include "codec/kv.h"
#include "machine/audit_chain.h"
#include "machine/kv_record.h"
#include "machine/reply.h"

static void answer(struct conclave_reply_sink *reply, int code, uint64_t revision, uint64_t value)
{
    if (!reply)
        return;
    struct pack pack;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){revision, value});
    reply_sink_take(reply, code, pack_take(&pack));
}

/* For the audit: what was stored where this command changes something, value and all. A store that
 * was damaged in silence shows when the damage is overwritten. */
static void note_effect(struct conclave_reply_sink *reply, struct slice stored)
{
    if (reply)
        reply->effect = reply->effect * 31 + audit_effect(stored.data, stored.bytes);
}

/* rc. The key's record; all zero if the key does not exist. Leaves the cursor on it. */
static int record_find(struct kv_batch *batch, struct slice key, struct slice *ret_stored,
                       struct kv_record *ret)
{
    int rc = tables_cursor_move(&batch->keys, TABLES_AT, &key, ret_stored);
    if (rc == CONCLAVE_NOT_FOUND) {
        *ret_stored = (struct slice){0};
        *ret = (struct kv_record){0};
        return 0;
    }
    return rc ? rc : kv_record_read(*ret_stored, ret);
}

static bool condition_holds(const struct kv_condition *condition, const struct kv_record *record)
{
    return !condition->given || condition->revision == record->mod_revision;
}

static int put_apply(struct kv_batch *batch, const struct kv_command *command,
                     struct conclave_reply_sink *reply)
{
    struct kv_record old;
    struct slice found;
    int rc = record_find(batch, command->key, &found, &old);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &old)) {
        answer(reply, CONCLAVE_COMPARE_FAILED, batch->revision, old.mod_revision);
        return 0;
    }
    note_effect(reply, found);
    uint64_t revision = batch->revision + 1;
    struct kv_record new = {old.version ? old.create_revision : revision, revision,
                            old.version + 1};
    void *room = NULL;
    rc = tables_cursor_put(&batch->keys, command->key,
                           KV_RECORD_HEADER_BYTES + command->value.bytes, &room);
    if (rc)
        return rc;
    kv_record_write(room, &new);
    if (command->value.bytes)
        memcpy((uint8_t *)room + KV_RECORD_HEADER_BYTES, command->value.data, command->value.bytes);
    batch->revision = revision;
    answer(reply, CONCLAVE_OK, revision, old.mod_revision);
    return 0;
}

static int delete_apply(struct kv_batch *batch, const struct kv_command *command,
                        struct conclave_reply_sink *reply)
{
    struct kv_record old;
    struct slice found;
    int rc = record_find(batch, command->key, &found, &old);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &old)) {
        answer(reply, CONCLAVE_COMPARE_FAILED, batch->revision, old.mod_revision);
        return 0;
    }
    if (old.version) {
        note_effect(reply, found);
        rc = tables_cursor_erase(&batch->keys);
        if (rc)
            return rc;
        batch->revision++;
    }
    answer(reply, CONCLAVE_OK, batch->revision, old.version > 0);
    return 0;
}

static int delete_range_apply(struct kv_batch *batch, const struct kv_bounds *bounds,
                              struct conclave_reply_sink *reply)
{
    struct slice key = bounds->from, found;
    uint64_t deleted = 0;
    int rc = tables_cursor_move(&batch->keys, TABLES_FROM, &key, &found);
    while (rc == 0) {
        if (!bounds->no_end && tables_compare(key, bounds->to) >= 0)
            break;
        note_effect(reply, found);
        rc = tables_cursor_erase(&batch->keys);
        if (rc)
            return rc;
        deleted++;
        rc = tables_cursor_move(&batch->keys, TABLES_NEXT, &key, &found);
    }
    if (rc && rc != CONCLAVE_NOT_FOUND)
        return rc;
    batch->revision += deleted > 0;
    answer(reply, CONCLAVE_OK, batch->revision, deleted);
    return 0;
}

int kv_command_apply(struct kv_batch *batch, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply)
{
    struct kv_command command;
    int code = kv_command_decode(data, bytes, &command);
    if (code) {
        if (reply)
            reply_sink_take(reply, code, NULL);
        return 0;
    }
    if (reply)
        reply->effect = 0; /* it may be tried again */
    switch (command.opcode) {
    case KV_PUT:
        return put_apply(batch, &command, reply);
    case KV_DELETE:
        return delete_apply(batch, &command, reply);
    case KV_DELETE_RANGE:
        return delete_range_apply(batch, &command.bounds, reply);
    case KV_ADVANCE: /* what was lost may have given some out: none is given twice */
        batch->revision += command.revisions;
        answer(reply, CONCLAVE_OK, batch->revision, 0);
        return 0;
    case KV_GET:
    case KV_RANGE:
        break;
    }
    ASSERT(false); /* the decoder answers commands only */
    return CONCLAVE_INTERNAL;
}
