#include "machine/kv.h"

#include "base/fatal.h"
#include "codec/coord.h"
#include "codec/kv_txn.h"
#include "machine/coord.h"
#include "machine/group.h"
#include "machine/group_feed.h"
#include "machine/kv_command.h"
#include "machine/kv_deadline.h"
#include "machine/kv_expire.h"
#include "machine/kv_query.h"
#include "machine/kv_quota.h"
#include "machine/kv_record.h"
#include "machine/kv_snapshot.h"
#include "machine/kv_watch.h"
#include "machine/reply.h"
#include "machine/session_table.h"
#include "machine/tables_lmdb.h"
#include "machine/topic_feed.h"
#include "machine/topic_read.h"

#include <stdlib.h>

struct kv {
    bool open;
    bool tables_are_own;
    struct tables *tables;
    struct kv_state state; /* committed */
    uint64_t clock_ms;     /* cluster time, as the last apply found it */
    struct kv_sessions sessions;
    struct kv_watch watch;
    struct topic_feed topic_feed;
    struct group_feed group_feed;
};

struct kv *kv_create_in(struct tables *tables)
{
    struct kv *kv = mem_zalloc(sizeof *kv);
    kv->tables = tables;
    kv_watch_init(&kv->watch, tables, &kv->state);
    topic_feed_init(&kv->topic_feed, tables, &kv->clock_ms);
    group_feed_init(&kv->group_feed, tables);
    return kv;
}

struct kv *kv_create(void)
{
    struct kv *kv = kv_create_in(tables_lmdb_create());
    kv->tables_are_own = true;
    return kv;
}

static void kv_close(void *machine)
{
    struct kv *kv = machine;
    if (kv->open)
        tables_close(kv->tables);
    kv->open = false;
}

void kv_destroy(struct kv *kv)
{
    if (!kv)
        return;
    kv_close(kv);
    if (kv->tables_are_own)
        tables_destroy(kv->tables);
    free(kv);
}

void kv_keep_sessions(struct kv *kv, struct kv_sessions sessions)
{
    kv->sessions = sessions;
}

struct feed kv_watch_feed(struct kv *kv)
{
    return kv_watch_as_feed(&kv->watch);
}

struct feed kv_topic_feed(struct kv *kv)
{
    return topic_feed_as_feed(&kv->topic_feed);
}

struct feed kv_group_feed(struct kv *kv)
{
    return group_feed_as_feed(&kv->group_feed);
}

uint64_t kv_revision(const struct kv *kv)
{
    return kv->open ? kv->state.revision : 0;
}

uint64_t kv_bytes(const struct kv *kv)
{
    const struct kv_state *state = &kv->state;
    return kv->open ? state->bytes + state->history_bytes + state->topic_bytes : 0;
}

int kv_reserve(struct kv *kv, bool lacking)
{
    return tables_reserve(kv->tables, lacking);
}

void kv_next_part(struct kv *kv, struct tables_part *ret)
{
    tables_next_part(kv->tables, ret);
}

bool kv_quota_is_used_up(const struct kv *kv)
{
    return kv->open && kv_quota_alarm(&kv->state);
}

int kv_due(struct kv *kv, uint64_t *ret_ms)
{
    struct tables_tx *tx = NULL;
    struct kv_deadline first;
    uint64_t now_ms = kv->sessions.clock ? kv->sessions.clock(kv->sessions.arg).now_ms : 0;
    *ret_ms = UINT64_MAX;
    int code = tables_read(kv->tables, &tx);
    if (!code)
        code = kv_deadline_first(tx, &first);
    if (code)
        return code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code;
    *ret_ms = first.ms > now_ms ? first.ms - now_ms : 0;
    return CONCLAVE_OK;
}

/* --- Client sessions ---------------------------------------------------------------------------
 */

/* Under its id, its parts but the first under id and number; 8 bytes big-endian each: a session
 * lies together, its first part in front. */
struct session_name {
    uint64_t id, part;
};

static struct slice session_key(struct session_name *name, uint64_t id, uint64_t part)
{
    *name = (struct session_name){htobe64(id), htobe64(part)};
    return (struct slice){(uint8_t *)name, part ? sizeof *name : sizeof name->id};
}

static int session_put(void *tx, uint64_t id, uint64_t part, const void *data, size_t bytes)
{
    struct session_name name;
    return tables_put_bytes(tx, TABLE_SESSIONS, session_key(&name, id, part),
                            (struct slice){data, bytes});
}

static int session_remove(void *tx, uint64_t id, uint64_t part)
{
    struct session_name name;
    int rc = tables_erase(tx, TABLE_SESSIONS, session_key(&name, id, part));
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

static int session_remove_all(void *tx, uint64_t id)
{
    struct session_name name;
    struct tables_cursor cursor;
    struct slice key = session_key(&name, id, 0);
    int rc = tables_cursor_open(tx, TABLE_SESSIONS, &cursor);
    if (rc)
        return rc;
    rc = tables_cursor_move(&cursor, TABLES_FROM, &key, NULL);
    while (!rc && key.bytes >= sizeof name.id && memcmp(key.data, &name.id, sizeof name.id) == 0) {
        rc = tables_cursor_erase(&cursor);
        if (!rc)
            rc = tables_cursor_move(&cursor, TABLES_NEXT, &key, NULL);
    }
    tables_cursor_close(&cursor);
    return rc == CONCLAVE_NOT_FOUND ? 0 : rc;
}

/* rc. */
static int sessions_save(struct kv *kv, struct tables_tx *tx)
{
    if (!kv->sessions.save)
        return 0;
    const struct session_sink sink = {
        .arg = tx, .put = session_put, .remove = session_remove, .remove_all = session_remove_all};
    return kv->sessions.save(kv->sessions.arg, &sink);
}

static int session_load(struct kv *kv, struct slice key, struct slice value)
{
    struct session_name name = {0};
    if (key.bytes != sizeof name && key.bytes != sizeof name.id)
        return CONCLAVE_CORRUPT;
    memcpy(&name, key.data, key.bytes);
    return kv->sessions.load(kv->sessions.arg, be64toh(name.id), be64toh(name.part), value.data,
                             value.bytes);
}

static int sessions_load(struct kv *kv)
{
    if (!kv->sessions.load)
        return CONCLAVE_OK;
    struct tables_tx *tx = NULL;
    struct tables_cursor cursor = {0};
    struct slice key = {0}, value;
    int code = tables_read(kv->tables, &tx);
    if (!code)
        code = tables_cursor_open(tx, TABLE_SESSIONS, &cursor);
    if (!code)
        code = tables_cursor_move(&cursor, TABLES_FROM, &key, &value);
    while (!code) {
        code = session_load(kv, key, value);
        if (!code)
            code = tables_cursor_move(&cursor, TABLES_NEXT, &key, &value);
    }
    tables_cursor_close(&cursor);
    return code == CONCLAVE_NOT_FOUND ? CONCLAVE_OK : code;
}

/* --- The machine -------------------------------------------------------------------------------
 */

static int load_state(struct kv *kv)
{
    const struct tables_state *state = &kv->tables->state;
    return kv_state_unpack((struct slice){state->note, state->note_bytes}, &kv->state);
}

static int kv_open(void *machine, const struct conclave_machine_env *env,
                   uint64_t *ret_applied_index, struct conclave_error *error)
{
    struct kv *kv = machine;
    ASSERT(!kv->open);
    int code = tables_open(kv->tables, env, error);
    if (code)
        return code;
    code = load_state(kv);
    if (!code)
        code = sessions_load(kv);
    if (code) {
        tables_close(kv->tables);
        return error_set(error, code,
                         "what is stored in %s cannot be read; remove that directory: it is made "
                         "again from the log",
                         env->dir);
    }
    kv->open = true;
    *ret_applied_index = kv->tables->state.applied_index;
    return CONCLAVE_OK;
}

static struct kv_clock clock_now(const struct kv *kv)
{
    return kv->sessions.clock ? kv->sessions.clock(kv->sessions.arg) : (struct kv_clock){0};
}

/* rc. All commands of a batch, and what they did to the sessions. */
static int kv_fill_batch(struct kv *kv, struct kv_batch *batch,
                         const struct conclave_command *commands, size_t count,
                         struct conclave_reply_sink *const *replies)
{
    struct kv_clock clock = clock_now(kv);
    batch->clock_ms = kv->clock_ms = clock.now_ms;
    batch->clock_lag_ms = clock.lag_ms;
    batch->expire_work = clock.expire_work;
    batch->topics.clock_ms = clock.now_ms;
    batch->topics.lag_ms = clock.lag_ms;
    batch->reply = clock.passed;
    if (clock.passed) {
        clock.passed->effect = 0; /* it may be tried again */
        int rc = kv_expire(batch);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < count; i++) {
        int rc = kv_command_apply(batch, &commands[i], replies ? replies[i] : NULL);
        if (rc)
            return rc;
    }
    int rc = topic_batch_flush(&batch->topics);
    if (!rc)
        rc = kv_history_flush(&batch->history);
    return rc ? rc
              : sessions_save(kv, &batch->tx); /* Rules 7 and 43: with the data, or not at all */
}

/* rc. One attempt at a whole batch; after a failure nothing has changed. */
static int kv_apply_batch(struct kv *kv, const struct conclave_command *commands, size_t count,
                          uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct kv_batch batch = {.state = kv->state};
    int rc = tables_begin(kv->tables, &batch.tx);
    if (rc)
        return rc;
    topic_batch_init(&batch.topics, &batch.tx);
    kv_history_init(&batch.history, &batch.tx);
    batch.topics.touched = &kv->topic_feed.touched;
    batch.topics.waiting = &kv->group_feed.touched;
    batch.topics.topics = &batch.state.topics;
    batch.topics.bytes = &batch.state.topic_bytes;
    rc = kv_fill_batch(kv, &batch, commands, count, replies);
    kv_batch_close(&batch);
    if (rc) {
        tables_abort(&batch.tx);
        return rc;
    }
    ASSERT(batch.state.revision >= kv->state.revision);
    struct tables_state state = kv_state_pack(last_index, &batch.state);
    rc = tables_commit(&batch.tx, &state);
    if (!rc)
        kv->state = batch.state;
    return rc;
}

static int kv_apply(void *machine, const struct conclave_command *commands, size_t count,
                    uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    /* A command applied twice would count twice. */
    ASSERT(count == 0 || commands[0].index > kv->tables->state.applied_index);
    ASSERT(count == 0 || commands[count - 1].index <= last_index);
    int rc = kv_apply_batch(kv, commands, count, last_index, replies);
    while (rc == TABLES_FULL) {
        /* How much room there is differs from node to node and must not show in an answer: either
         * there is some after all and everything is done again, or this node stops. */
        int code = tables_grow(kv->tables);
        if (code)
            return code;
        rc = kv_apply_batch(kv, commands, count, last_index, replies);
    }
    return rc;
}

static void kv_query(void *machine, const void *data, size_t bytes,
                     struct conclave_reply_sink *reply)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    uint64_t clock_ms = clock_now(kv).now_ms;
    uint64_t opcode = topic_opcode_peek(data, bytes);
    if (coord_is_query(opcode))
        coord_query_answer(kv->tables, kv->state.revision, data, bytes, reply);
    else if (group_is_query(opcode))
        group_query_answer(kv->tables, kv->state.revision, clock_ms, data, bytes, reply);
    else if (topic_is_query(opcode))
        topic_query_answer(kv->tables, kv->state.revision, clock_ms, data, bytes, reply);
    else
        kv_query_answer(kv->tables, &kv->state, clock_ms, data, bytes, reply);
}

static int kv_sync(void *machine)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    return tables_sync(kv->tables);
}

static uint64_t kv_machine_revision(void *machine)
{
    return kv_revision(machine);
}

/* --- Snapshots ---------------------------------------------------------------------------------
 */

static int snapshot_begin(void *machine, void **ret_snapshot)
{
    struct kv *kv = machine;
    struct kv_snapshot *snapshot = NULL;
    ASSERT(kv->open);
    int code = kv_snapshot_begin(kv->tables, &kv->state, &snapshot);
    if (!code)
        *ret_snapshot = snapshot;
    return code;
}

static int snapshot_write(void *machine, void *snapshot, struct conclave_snapshot_sink *sink)
{
    (void)machine; /* another thread uses it now */
    return kv_snapshot_write(snapshot, sink);
}

static void snapshot_end(void *machine, void *snapshot)
{
    (void)machine;
    kv_snapshot_end(snapshot);
}

static int restore_sessions(void *machine, struct tables_tx *tx)
{
    return sessions_save(machine, tx);
}

static int kv_restore(void *machine, uint64_t index, struct conclave_snapshot_source *source)
{
    struct kv *kv = machine;
    ASSERT(kv->open);
    int code = kv_snapshot_restore(kv->tables, index, source, restore_sessions, kv);
    topic_feed_reset(&kv->topic_feed);
    group_feed_reset(&kv->group_feed);
    return code ? code : load_state(kv);
}

/* It deletes and reads. */
static bool list_frees(const struct kv_txn_list *list)
{
    struct kv_txn_reader reader;
    struct kv_step step;
    kv_txn_begin(&reader, list);
    while (kv_txn_next_step(&reader, &step) == 1)
        if (step.publishes || (!step.reads && step.command.opcode == KV_PUT))
            return false;
    return true;
}

static bool kv_frees(const void *data, size_t bytes)
{
    struct kv_command command;
    struct topic_command topic;
    struct group_command group;
    uint64_t opcode = topic_opcode_peek(data, bytes);
    if (group_is_command(opcode))
        return group_command_decode(data, bytes, &group) == CONCLAVE_OK &&
               (opcode == GROUP_DELETE || opcode == GROUP_ACK);
    if (opcode == TOPIC_DELETE || opcode == TOPIC_TRIM)
        return topic_command_decode(data, bytes, &topic) == CONCLAVE_OK;
    if (kv_command_decode(data, bytes, &command))
        return false;
    switch (command.opcode) {
    case KV_DELETE:
    case KV_DELETE_RANGE:
    case KV_LEASE_REVOKE:
    case KV_LEASE_RENEW: /* takes nothing, and without it locks would be lost */
    case KV_SETTINGS:
        return true;
    case KV_TXN:
        return list_frees(&command.txn.then) && list_frees(&command.txn.otherwise);
    default:
        return false;
    }
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
        .revision = kv_machine_revision,
        .snapshot_begin = snapshot_begin,
        .snapshot_write = snapshot_write,
        .snapshot_end = snapshot_end,
        .frees = kv_frees,
        .restore = kv_restore,
    };
    return &ops;
}
