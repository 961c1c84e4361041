#include "tests/sim/store.h"

#include "base/fatal.h"
#include "machine/kv.h"
#include "machine/reply.h"
#include "machine/session_internal.h"
#include "machine/tables_memory.h"
#include "tests/sim/reference.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STORE_PATH_BYTES = 64, GARBAGE_BYTES = 65536 };

struct store {
    enum store_kind kind;
    struct kv *kv; /* NULL: not open */
    struct session_layer *sessions;
    struct session_limits limits;
    struct conclave_machine_env env;
    uint8_t boots;
    char dir[STORE_PATH_BYTES];        /* LMDB */
    struct tables *tables;             /* MEMORY: what lives on */
    struct conclave_reply_sink answer; /* to the last query */
};

struct store *store_create(enum store_kind kind, const struct session_limits *limits,
                           uint64_t cluster_id, raft_node_id node_id)
{
    struct store *store = mem_zalloc(sizeof *store);
    store->kind = kind;
    store->limits = *limits;
    store->boots = 1;
    store->env = (struct conclave_machine_env){
        .dir = store->dir, .boot_id = {1}, .cluster_id = cluster_id, .node_id = node_id};
    if (kind == STORE_MEMORY) {
        store->tables = tables_memory_create();
        return store;
    }
    (void)snprintf(store->dir, sizeof store->dir, "/dev/shm/conclave-sim-XXXXXX");
    if (!mkdtemp(store->dir)) {
        (void)snprintf(store->dir, sizeof store->dir, "/tmp/conclave-sim-XXXXXX");
        ASSERT(mkdtemp(store->dir) != NULL);
    }
    return store;
}

static void store_close(struct store *store)
{
    reply_sink_clear(&store->answer);
    session_layer_destroy(store->sessions);
    kv_destroy(store->kv);
    store->sessions = NULL;
    store->kv = NULL;
}

void store_remove(struct store *store)
{
    if (store->kind == STORE_MEMORY)
        return;
    static const char *const files[] = {"owner", "owner.new", "data.mdb", "lock.mdb"};
    int dir = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)unlinkat(dir, files[i], 0);
    (void)close(dir);
    (void)rmdir(store->dir);
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    store_close(store);
    store_remove(store);
    if (store->tables)
        tables_destroy(store->tables);
    free(store);
}

int store_open(struct store *store, uint64_t *ret_applied, struct conclave_error *error)
{
    store->kv = store->tables ? kv_create_in(store->tables) : kv_create();
    store->sessions = session_layer_create(kv_machine_ops(), store->kv);
    session_table_set_limits(session_layer_table(store->sessions), &store->limits);
    return session_layer_open(store->sessions, &store->env, ret_applied, error);
}

/* What a loss of power may leave: pages that were never written. Or it is all there by chance, and
 * still is not to be believed. */
static void spoil(const struct store *store)
{
    if (store->kind == STORE_MEMORY || store->boots % 2 == 0)
        return;
    static const uint8_t garbage[GARBAGE_BYTES] = {0xa5};
    char path[STORE_PATH_BYTES + 16];
    (void)snprintf(path, sizeof path, "%s/data.mdb", store->dir);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return; /* never opened */
    ASSERT(pwrite(file, garbage, sizeof garbage, 0) == (ssize_t)sizeof garbage);
    (void)close(file);
}

void store_crash(struct store *store, bool power, bool synced)
{
    store_close(store);
    if (!power)
        return;
    store->env.boot_id[0] = ++store->boots;
    store->env.boot_id[1] = 1; /* never all zero, which means unknown */
    if (!synced)
        spoil(store);
}

void store_fill(struct store *store)
{
    if (store->tables)
        tables_memory_fill(store->tables, true, 0);
}

bool store_refuse(struct store *store)
{
    if (store->tables)
        tables_memory_fill(store->tables, true, 1);
    return store->tables != NULL;
}

int store_sync(struct store *store)
{
    return kv_machine_ops()->sync(store->kv);
}

int store_apply(struct store *store, const struct session_input *inputs, size_t count,
                uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    return session_layer_apply(store->sessions, inputs, count, last_index, replies);
}

struct feed store_feed(struct store *store)
{
    return kv_watch_feed(store->kv);
}

struct feed store_topic_feed(struct store *store)
{
    return kv_topic_feed(store->kv);
}

struct feed store_group_feed(struct store *store)
{
    return kv_group_feed(store->kv);
}

const struct conclave_reply_sink *store_query(struct store *store, struct slice query)
{
    reply_sink_clear(&store->answer);
    kv_machine_ops()->query(store->kv, query.data, query.bytes, &store->answer);
    return &store->answer;
}

uint64_t store_due_ms(const struct store *store)
{
    uint64_t due_ms;
    ASSERT(session_layer_due(store->sessions, &due_ms) == CONCLAVE_OK);
    return due_ms;
}

/* --- The state as hashes; see store_keys.c too ------------------------------------------------ */

uint64_t store_sessions_hash(struct store *store)
{
    const struct session_table *table = session_layer_table(store->sessions);
    struct reference_fold fold = {1};
    fold_number(&fold, table->clock_ms);
    fold_number(&fold, table->commands);
    for (const struct session *at = table->oldest; at; at = at->newer) {
        fold_session(&fold, &(struct reference_session){.id = at->id,
                                                        .acknowledged = at->acknowledged,
                                                        .highest = at->highest,
                                                        .used_ms = at->used_ms,
                                                        .used_index = at->used_index,
                                                        .capacity = at->capacity});
        for (uint64_t sequence = at->acknowledged + 1; sequence <= at->highest; sequence++) {
            const struct session_slot *slot = &at->slots[sequence % at->capacity];
            if (slot->state != SLOT_FREE)
                fold_slot(&fold, slot->sequence, slot->state == SLOT_FORGOTTEN, (int)slot->code,
                          reference_body_hash(slot->body ? slot->body->data : NULL,
                                              slot->body ? slot->body->bytes : 0));
        }
    }
    return fold.hash;
}

bool store_alarm(const struct store *store)
{
    return session_layer_quota(store->sessions);
}

uint64_t store_audit(const struct store *store)
{
    struct audit_mark mark;
    return session_layer_mark(store->sessions, &mark) ? mark.hash : 0;
}

uint32_t store_marks(struct store *store, struct audit_mark *ret, uint32_t limit)
{
    uint32_t count = session_layer_marks(store->sessions, ret, limit - 1);
    bool known = session_layer_mark(store->sessions, &ret[count]);
    bool passed = count > 0 && ret[count - 1].index == ret[count].index;
    return count + (known && !passed ? 1 : 0);
}

static uint64_t count_keys(struct tables_cursor *cursor)
{
    uint64_t count = 0;
    struct slice key = {0};
    for (int rc = tables_cursor_move(cursor, TABLES_FROM, &key, NULL); rc == CONCLAVE_OK;
         rc = tables_cursor_move(cursor, TABLES_NEXT, &key, NULL))
        count++;
    return count;
}

bool store_alter(struct store *store, uint64_t number)
{
    struct tables_tx tx;
    struct tables_cursor cursor;
    struct slice key = {0}, value = {0};
    const struct tables_state state = store->tables->state;
    ASSERT(tables_begin(store->tables, &tx) == CONCLAVE_OK);
    ASSERT(tables_cursor_open(&tx, TABLE_KEYS, &cursor) == CONCLAVE_OK);
    uint64_t count = count_keys(&cursor);
    if (count > 0) {
        ASSERT(tables_cursor_move(&cursor, TABLES_FROM, &key, &value) == CONCLAVE_OK);
        for (uint64_t i = 0; i < number % count; i++)
            ASSERT(tables_cursor_move(&cursor, TABLES_NEXT, &key, &value) == CONCLAVE_OK);
        struct buf *name = buf_copy(key.data, key.bytes);
        struct buf *record = buf_copy(value.data, value.bytes);
        record->data[record->bytes - 1] ^= 1;
        tables_cursor_close(&cursor);
        void *room = NULL; /* behind the tables' back, who would sum it up */
        ASSERT(tx.tables->ops->put(&tx, TABLE_KEYS, (struct slice){name->data, name->bytes},
                                   record->bytes, &room) == CONCLAVE_OK);
        memcpy(room, record->data, record->bytes);
        buf_unref(name);
        buf_unref(record);
    }
    tables_cursor_close(&cursor);
    ASSERT(tables_commit(&tx, &state) == CONCLAVE_OK);
    return count > 0;
}

void store_wipe(struct store *store)
{
    ASSERT(!store->kv && store->tables);
    tables_destroy(store->tables);
    store->tables = tables_memory_create();
}

bool store_within_limits(const struct store *store)
{
    const struct session_table *table = session_layer_table(store->sessions);
    const struct session_limits *limits = &store->limits;
    uint64_t smallest = (uint64_t)limits->sessions * SESSION_SLOTS_MIN; /* what each has for sure */
    uint64_t between = limits->sweep_commands * (limits->body_bytes + SESSION_BODY_OVERHEAD_BYTES);
    return session_table_count(table) <= limits->sessions &&
           session_table_slots(table) <= limits->slots + smallest &&
           session_table_body_bytes(table) <= limits->bodies_bytes + between;
}

/* --- Snapshots -------------------------------------------------------------------------------- */

static int sink_add(void *arg, const void *data, size_t bytes)
{
    pack_raw(arg, data, bytes);
    return CONCLAVE_OK;
}

struct buf *store_snapshot(struct store *store)
{
    struct session_snapshot *snapshot;
    struct pack pack;
    pack_init(&pack, 0);
    ASSERT(session_layer_begin_snapshot(store->sessions, &snapshot) == CONCLAVE_OK);
    int code = session_snapshot_write(snapshot, sink_add, &pack);
    ASSERT(code == CONCLAVE_OK || code == CONCLAVE_CORRUPT);
    session_snapshot_end(snapshot);
    if (!code)
        return pack_take(&pack);
    pack_deinit(&pack);
    return NULL;
}

static int source_read(void *arg, void *data, size_t bytes, size_t *ret_bytes)
{
    struct slice *left = arg;
    *ret_bytes = bytes < left->bytes ? bytes : left->bytes;
    if (*ret_bytes == 0)
        return CONCLAVE_OK;
    memcpy(data, left->data, *ret_bytes);
    left->data += *ret_bytes;
    left->bytes -= *ret_bytes;
    return CONCLAVE_OK;
}

int store_restore(struct store *store, uint64_t index, struct slice snapshot)
{
    return session_layer_restore(store->sessions, index, source_read, &snapshot);
}
