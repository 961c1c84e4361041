#include "machine/kv_command.h"

#include "base/fatal.h"
#include "codec/kv.h"
#include "machine/kv_record.h"
#include "machine/reply.h"

/* LMDB takes keys as pointers to what it does not change. */
static MDB_val val_of(struct slice slice)
{
    return (MDB_val){slice.bytes, (void *)(uintptr_t)slice.data};
}

static void answer(struct conclave_reply_sink *reply, int code, uint64_t revision, uint64_t value)
{
    if (!reply)
        return;
    struct pack pack;
    pack_init(&pack, 0);
    kv_outcome_pack(&pack, &(struct kv_outcome){revision, value});
    reply_sink_take(reply, code, pack_take(&pack));
}

/* rc. The key's record; all zero if the key does not exist. Leaves the cursor on it. */
static int record_find(struct kv_batch *batch, struct slice key, struct kv_record *ret)
{
    MDB_val name = val_of(key);
    MDB_val stored;
    int rc = mdb_cursor_get(batch->keys, &name, &stored, MDB_SET);
    if (rc == MDB_NOTFOUND) {
        *ret = (struct kv_record){0};
        return 0;
    }
    return rc ? rc : kv_record_read(&stored, ret);
}

static bool condition_holds(const struct kv_condition *condition, const struct kv_record *record)
{
    return !condition->given || condition->revision == record->mod_revision;
}

static int put_apply(struct kv_batch *batch, const struct kv_command *command,
                     struct conclave_reply_sink *reply)
{
    struct kv_record old;
    int rc = record_find(batch, command->key, &old);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &old)) {
        answer(reply, CONCLAVE_COMPARE_FAILED, batch->state.revision, old.mod_revision);
        return 0;
    }
    uint64_t revision = batch->state.revision + 1;
    struct kv_record new = {old.version ? old.create_revision : revision, revision,
                            old.version + 1};
    MDB_val name = val_of(command->key);
    MDB_val stored = {KV_RECORD_HEADER_BYTES + command->value.bytes, NULL};
    rc = mdb_cursor_put(batch->keys, &name, &stored, MDB_RESERVE);
    if (rc)
        return rc;
    kv_record_write(stored.mv_data, &new);
    if (command->value.bytes)
        memcpy((uint8_t *)stored.mv_data + KV_RECORD_HEADER_BYTES, command->value.data,
               command->value.bytes);
    batch->state.revision = revision;
    answer(reply, CONCLAVE_OK, revision, old.mod_revision);
    return 0;
}

static int delete_apply(struct kv_batch *batch, const struct kv_command *command,
                        struct conclave_reply_sink *reply)
{
    struct kv_record old;
    int rc = record_find(batch, command->key, &old);
    if (rc)
        return rc;
    if (!condition_holds(&command->condition, &old)) {
        answer(reply, CONCLAVE_COMPARE_FAILED, batch->state.revision, old.mod_revision);
        return 0;
    }
    if (old.version) {
        rc = mdb_cursor_del(batch->keys, 0);
        if (rc)
            return rc;
        batch->state.revision++;
    }
    answer(reply, CONCLAVE_OK, batch->state.revision, old.version > 0);
    return 0;
}

static int delete_range_apply(struct kv_batch *batch, const struct kv_bounds *bounds,
                              struct conclave_reply_sink *reply)
{
    MDB_val name = val_of(bounds->from);
    MDB_val end = val_of(bounds->to);
    uint64_t deleted = 0;
    int rc =
        mdb_cursor_get(batch->keys, &name, NULL, bounds->from.bytes ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0) {
        if (!bounds->no_end && mdb_cmp(batch->txn, mdb_cursor_dbi(batch->keys), &name, &end) >= 0)
            break;
        rc = mdb_cursor_del(batch->keys, 0);
        if (rc)
            return rc;
        deleted++;
        /* After a delete the cursor stands before the key that followed. */
        rc = mdb_cursor_get(batch->keys, &name, NULL, MDB_NEXT);
    }
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    batch->state.revision += deleted > 0;
    answer(reply, CONCLAVE_OK, batch->state.revision, deleted);
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
    switch (command.opcode) {
    case KV_PUT:
        return put_apply(batch, &command, reply);
    case KV_DELETE:
        return delete_apply(batch, &command, reply);
    case KV_DELETE_RANGE:
        return delete_range_apply(batch, &command.bounds, reply);
    case KV_GET:
    case KV_RANGE:
        break;
    }
    ASSERT(false); /* the decoder answers commands only */
    return MDB_CORRUPTED;
}
