#include "machine/kv.h"

#include "base/fatal.h"
#include "machine/kv_command.h"
#include "machine/kv_query.h"
#include "machine/kv_snapshot.h"
#include "machine/kv_store.h"
#include "machine/reply.h"
#include "machine/session_table.h"

#include <stdlib.h>

struct kv {
    bool open;
    struct kv_store store;
    struct kv_sessions sessions;
};

struct kv *kv_create(void)
{
    return mem_zalloc(sizeof(struct kv));
}

static void kv_close(void *machine)
{
    struct kv *kv = machine;
    if (kv->open)
        kv_store_close(&kv->store);
    kv->open = false;
}

void kv_destroy(struct kv *kv)
{
    if (!kv)
        return;
    kv_close(kv);
    free(kv);
}

void kv_keep_sessions(struct kv *kv, struct kv_sessions sessions)
{
    kv->sessions = sessions;
}

uint64_t kv_revision(const struct kv *kv)
{
    return kv->open ? kv->store.state.revision : 0;
}

static int kv_open(void *machine, const struct conclave_machine_env *env,
                   uint64_t *ret_applied_index, struct conclave_error *error)
{
    struct kv *kv = machine;
    ASSERT(!kv->open);
    int code = kv_store_open(&kv->store, env, error);
    if (code)
        return code;
    if (kv->sessions.load) {
        code = kv_store_sessions(&kv->store, kv->sessions.load, kv->sessions.arg);
        if (code) {
            kv_store_close(&kv->store);
            return error_set(error, code,
                             "the client sessions stored in %s cannot be read; remove "
                             "that directory: it is made again from the log",
                             env->dir);
        }
    }
    kv->open = true;
    *ret_applied_index = kv->store.state.applied_index;
    return CONCLAVE_OK;
}

static int sessions_save(struct kv *kv, struct kv_batch *batch)
{
    if (!kv->sessions.save)
        return 0;
    const struct session_sink sink = {
        .arg = batch, .put = kv_batch_put_session, .remove = kv_batch_remove_session};
    return kv->sessions.save(kv->sessions.arg, &sink);
}

/* One attempt at a whole batch. Returns 0 or an LMDB code, with nothing changed. */
static int kv_apply_batch(struct kv *kv, const struct conclave_command *commands, size_t count,
                          uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct kv_batch batch;
    int rc = kv_batch_begin(&kv->store, &batch);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        rc = kv_command_apply(&batch, commands[i].data, commands[i].bytes,
                              replies ? replies[i] : NULL);
        if (rc) {
            kv_batch_abort(&batch);
            return rc;
        }
    }
    rc = sessions_save(kv, &batch); /* Rules 7 and 43: with the data, or not at all */
    if (rc) {
        kv_batch_abort(&batch);
        return rc;
    }
    batch.state.applied_index = last_index;
    return kv_batch_commit(&kv->store, &batch);
}

static int kv_apply(void *machine, const struct conclave_command *commands, size_t count,
                    uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    /* A command applied twice would count twice. */
    ASSERT(count == 0 || commands[0].index > kv->store.state.applied_index);
    ASSERT(count == 0 || commands[count - 1].index <= last_index);
    int rc = kv_apply_batch(kv, commands, count, last_index, replies);
    while (rc == MDB_MAP_FULL) {
        /* How large the file is differs from node to node and must not show in an answer: either
         * there is room after all and everything is done again, or this node stops. */
        int code = kv_store_grow(&kv->store);
        if (code)
            return code;
        rc = kv_apply_batch(kv, commands, count, last_index, replies);
    }
    return kv_store_code(rc);
}

static void kv_query(void *machine, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    kv_query_answer(&kv->store, data, bytes, reply);
}

static int kv_sync(void *machine)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    return kv_store_sync(&kv->store);
}

int kv_begin_snapshot(struct kv *kv, struct kv_snapshot **ret_snapshot)
{
    ASSERT(kv->open);
    return kv_snapshot_begin(&kv->store, ret_snapshot);
}

int kv_restore(struct kv *kv, uint64_t index, kv_snapshot_source source, void *arg)
{
    ASSERT(kv->open);
    int code = kv_snapshot_restore(&kv->store, index, source, arg);
    if (!code && kv->sessions.load)
        code = kv_store_sessions(&kv->store, kv->sessions.load, kv->sessions.arg);
    return code;
}

const struct conclave_machine_ops *kv_machine_ops(void)
{
    static const struct conclave_machine_ops ops = {
        .size = sizeof ops,
        .open = kv_open,
        .apply = kv_apply,
        .query = kv_query,
        .sync = kv_sync,
        .close = kv_close,
    };
    return &ops;
}
