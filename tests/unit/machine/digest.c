/* What memory or disk alters behind the machine's back gets into no snapshot, and none that says
 * something else than it holds is taken for what was. */
#include "group_rig.h"

#include "base/fatal.h"
#include "codec/coord.h"
#include "codec/kv_lease.h"
#include "machine/kv_state.h"
#include "machine/snapshot_stream.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { SUM_AT = 4 }; /* of a block of the history */

static struct rig *rig;

/* Some of everything, and some of it changed, erased and taken off the history again. */
static void setup(void)
{
    rig = group_rig_create();
    struct pack pack;
    uint64_t lease = group_rig_grant(rig, 60000), other = group_rig_grant(rig, 90000);
    for (int i = 0; i < 40; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%d", i % 13);
        cr_assert_eq(rig_put(rig, key, i % 2 ? "a longer value" : "short"), CONCLAVE_OK);
    }
    const struct kv_command attach = {
        .opcode = KV_PUT, .key = text("attached"), .value = text("v"), .lease = lease};
    cr_assert_eq(rig_command(rig, &attach), CONCLAVE_OK);
    cr_assert_eq(rig_delete(rig, "k3"), CONCLAVE_OK);
    cr_assert_eq(rig_delete_range(rig, "k4", "k7"), CONCLAVE_OK);
    cr_assert_eq(rig_command(rig, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = other}),
                 CONCLAVE_OK);
    pack_init(&pack, 0);
    coord_request_pack(&pack, &(struct coord_request){.opcode = COORD_ENQUEUE,
                                                      .name = text("lock"),
                                                      .slots = 1,
                                                      .lease = lease,
                                                      .value = text("me")});
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    group_rig_publish(rig, 5);
    cr_assert_eq(group_rig_make(rig, NULL, CONCLAVE_FROM_FIRST, 0), CONCLAVE_OK);
    cr_assert_str_eq(group_rig_fetch(rig, lease, 3), "1-3*1");
    cr_assert_str_eq(group_rig_settle(rig, GROUP_ACK, lease, 1, 2, 0), "2");
    group_rig_publish(rig, 2);
}

static void teardown(void)
{
    group_rig_destroy(rig);
}

TestSuite(digest, .init = setup, .fini = teardown);

/* --- Snapshots -------------------------------------------------------------------------------- */

static int add(void *arg, const void *data, size_t bytes)
{
    pack_raw(arg, data, bytes);
    return CONCLAVE_OK;
}

static int take_from(struct rig *from, struct pack *pack)
{
    void *snapshot = NULL;
    struct conclave_snapshot_sink sink = {.add = add, .arg = pack};
    pack_init(pack, 0);
    cr_assert_eq(from->ops->snapshot_begin(from->kv, &snapshot), CONCLAVE_OK);
    int code = from->ops->snapshot_write(from->kv, snapshot, &sink);
    from->ops->snapshot_end(from->kv, snapshot);
    return code;
}

static int take(void)
{
    struct pack pack;
    int code = take_from(rig, &pack);
    pack_deinit(&pack);
    return code;
}

static int source_read(void *arg, void *data, size_t bytes, size_t *ret_bytes)
{
    struct slice *left = arg;
    *ret_bytes = bytes < left->bytes ? bytes : left->bytes;
    if (*ret_bytes)
        memcpy(data, left->data, *ret_bytes);
    left->data += *ret_bytes;
    left->bytes -= *ret_bytes;
    return CONCLAVE_OK;
}

static int become(struct rig *to, struct slice bytes)
{
    struct conclave_snapshot_source source = {.read = source_read, .arg = &bytes};
    return to->ops->restore(to->kv, 1000, &source);
}

/* --- Altering --------------------------------------------------------------------------------- */

/* A record, copied. */
struct record {
    struct buf *key, *value;
};

static struct record record_at(enum table table, unsigned number)
{
    struct tables_tx *tx = NULL;
    struct tables_cursor cursor;
    struct slice key = {0}, value = {0};
    cr_assert_eq(tables_read(group_rig_tables(), &tx), 0);
    cr_assert_eq(tables_cursor_open(tx, table, &cursor), 0);
    cr_assert_eq(tables_cursor_move(&cursor, TABLES_FROM, &key, &value), 0);
    while (number-- > 0)
        cr_assert_eq(tables_cursor_move(&cursor, TABLES_NEXT, &key, &value), 0);
    struct record record = {buf_copy(key.data, key.bytes), buf_copy(value.data, value.bytes)};
    tables_cursor_close(&cursor);
    return record;
}

static void release(struct record *record)
{
    buf_unref(record->key);
    buf_unref(record->value);
}

/* Behind the tables' back, as memory that changes by itself: what they count stays as it is. */
static void alter(enum table table, const struct buf *key, const struct buf *value)
{
    struct tables *tables = group_rig_tables();
    const struct tables_state state = tables->state;
    const struct slice name = {key->data, key->bytes};
    struct tables_tx tx;
    void *room = NULL;
    cr_assert_eq(tables_begin(tables, &tx), 0);
    if (value) {
        cr_assert_eq(tables->ops->put(&tx, table, name, value->bytes, &room), 0);
        memcpy(room, value->data, value->bytes);
    } else {
        cr_assert_eq(tables->ops->erase(&tx, table, name), 0);
    }
    cr_assert_eq(tables_commit(&tx, &state), 0);
}

static bool is_in_snapshots(int table)
{
    return table != TABLE_SESSIONS;
}

Test(digest, one_bit_of_any_value_that_is_altered_is_seen)
{
    cr_assert_eq(take(), CONCLAVE_OK);
    for (int table = 0; table < TABLES; table++) {
        unsigned count = is_in_snapshots(table) ? group_rig_keys(rig, (enum table)table) : 0;
        cr_assert(count > 0 || !is_in_snapshots(table), "table %d is empty", table);
        for (unsigned i = 0; i < count; i++) {
            struct record record = record_at((enum table)table, i);
            for (size_t byte = 0; byte < record.value->bytes; byte++) {
                record.value->data[byte] ^= 4;
                alter((enum table)table, record.key, record.value);
                cr_assert_eq(take(), CONCLAVE_CORRUPT, "table %d, record %u, byte %zu", table, i,
                             byte);
                record.value->data[byte] ^= 4;
            }
            alter((enum table)table, record.key, record.value);
            release(&record);
        }
    }
    cr_assert_eq(take(), CONCLAVE_OK, "all is as it was");
}

Test(digest, a_record_that_is_gone_or_under_another_key_is_seen)
{
    for (int table = 0; table < TABLES; table++) {
        unsigned count = is_in_snapshots(table) ? group_rig_keys(rig, (enum table)table) : 0;
        for (unsigned i = 0; i < count; i++) {
            struct record record = record_at((enum table)table, i);
            alter((enum table)table, record.key, NULL);
            cr_assert_eq(take(), CONCLAVE_CORRUPT, "table %d, record %u is gone", table, i);
            uint8_t *last = &record.key->data[record.key->bytes - 1];
            *last ^= 0x80;
            alter((enum table)table, record.key, record.value);
            cr_assert_eq(take(), CONCLAVE_CORRUPT, "table %d, record %u elsewhere", table, i);
            alter((enum table)table, record.key, NULL);
            *last ^= 0x80;
            alter((enum table)table, record.key, record.value);
            release(&record);
        }
    }
    cr_assert_eq(take(), CONCLAVE_OK);
}

Test(digest, what_was_altered_stays_seen_when_it_is_overwritten_and_erased)
{
    struct record record = record_at(TABLE_KEYS, 1); /* "k0", behind "attached" */
    cr_assert_eq(memcmp(record.key->data, "k0", 2), 0);
    record.value->data[record.value->bytes - 1] ^= 1;
    alter(TABLE_KEYS, record.key, record.value);
    cr_assert_eq(rig_put(rig, "k0", "anew"), CONCLAVE_OK);
    cr_assert_eq(take(), CONCLAVE_CORRUPT);
    cr_assert_eq(rig_delete(rig, "k0"), CONCLAVE_OK);
    cr_assert_eq(take(), CONCLAVE_CORRUPT);
    release(&record);
}

/* --- Becoming one ----------------------------------------------------------------------------- */

static struct rig *empty_rig(struct tables **ret_tables)
{
    struct rig *to = mem_zalloc(sizeof *to);
    *ret_tables = tables_memory_create();
    to->kv = kv_create_in(*ret_tables);
    to->ops = kv_machine_ops();
    to->env = (struct conclave_machine_env){.dir = "", .cluster_id = 7, .node_id = 2};
    cr_assert_eq(rig_open(to), 0);
    return to;
}

static void drop_rig(struct rig *to, struct tables *tables)
{
    kv_destroy(to->kv);
    tables_destroy(tables);
    reply_sink_clear(&to->sink);
    free(to);
}

Test(digest, a_snapshot_of_something_else_than_it_says_is_refused)
{
    enum { START_BYTES = 16 + sizeof(struct kv_state) };
    struct pack pack;
    struct tables *tables;
    cr_assert_eq(take_from(rig, &pack), CONCLAVE_OK);
    struct rig *to = empty_rig(&tables);
    for (size_t at = START_BYTES; at < pack.bytes; at++) {
        pack.buf->data[at] ^= 1;
        cr_assert_eq(become(to, (struct slice){pack.buf->data, pack.bytes}), CONCLAVE_CORRUPT,
                     "byte %zu of %zu", at, pack.bytes);
        pack.buf->data[at] ^= 1;
    }
    cr_assert_eq(become(to, (struct slice){pack.buf->data, pack.bytes}), CONCLAVE_OK);
    drop_rig(to, tables);
    pack_deinit(&pack);
}

Test(digest, goes_on_behind_a_snapshot)
{
    struct pack pack, again;
    struct tables *tables;
    cr_assert_eq(take_from(rig, &pack), CONCLAVE_OK);
    struct rig *to = empty_rig(&tables);
    cr_assert_eq(become(to, (struct slice){pack.buf->data, pack.bytes}), CONCLAVE_OK);
    cr_assert_eq(take_from(to, &again), CONCLAVE_OK);
    cr_assert_eq(again.bytes, pack.bytes);
    cr_assert_eq(memcmp(again.buf->data, pack.buf->data, pack.bytes), 0);
    pack_deinit(&again);
    to->index = 1000;
    cr_assert_eq(rig_put(to, "k0", "anew"), CONCLAVE_OK);
    cr_assert_eq(rig_delete(to, "k1"), CONCLAVE_OK);
    cr_assert_eq(take_from(to, &again), CONCLAVE_OK);
    pack_deinit(&again);
    drop_rig(to, tables);
    pack_deinit(&pack);
}

/* As an older program wrote it: no digest at the end, and no sums in the history. */
Test(digest, an_older_snapshot_is_taken_as_it_is)
{
    enum { END_BYTES = 8 };
    struct pack pack, again;
    struct tables *tables;
    for (unsigned i = 0, count = group_rig_keys(rig, TABLE_HISTORY); i < count; i++) {
        struct record block = record_at(TABLE_HISTORY, i);
        memset(block.value->data + SUM_AT, 0, sizeof(uint32_t));
        alter(TABLE_HISTORY, block.key, block.value);
        release(&block);
    }
    cr_assert_eq(take_from(rig, &pack), CONCLAVE_OK);
    memset(pack.buf->data + pack.bytes - END_BYTES, 0, END_BYTES);
    struct rig *to = empty_rig(&tables);
    cr_assert_eq(become(to, (struct slice){pack.buf->data, pack.bytes}), CONCLAVE_OK);
    to->index = 1000;
    cr_assert_eq(rig_put(to, "k0", "the last block goes on"), CONCLAVE_OK);
    cr_assert_eq(take_from(to, &again), CONCLAVE_OK);
    pack_deinit(&again);
    drop_rig(to, tables);
    pack_deinit(&pack);
}
