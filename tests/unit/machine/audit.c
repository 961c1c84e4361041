/* The audit's chain: equal where nodes applied the same with the same results, and only there. */
#include "rig.h"

#include "machine/audit_chain.h"
#include "machine/session_layer.h"

#include <criterion/criterion.h>
#include <lmdb.h>
#include <stdlib.h>

/* A node of the machine: rig and layer. */
struct replica {
    struct rig *rig;
    struct session_layer *layer;
    uint64_t marks, last_mark;
};

static void layer_open(struct replica *replica)
{
    struct conclave_error error;
    uint64_t applied;
    replica->layer = session_layer_create(replica->rig->ops, replica->rig->kv);
    int code = session_layer_open(replica->layer, &replica->rig->env, &applied, &error);
    cr_assert_eq(code, CONCLAVE_OK, "%s", error.message);
    replica->rig->index = applied;
}

static void replica_close(struct replica *replica)
{
    rig_close(replica->rig);
    session_layer_destroy(replica->layer);
}

static struct replica replica_create(void)
{
    struct replica replica = {.rig = rig_create()};
    rig_close(replica.rig);
    layer_open(&replica);
    return replica;
}

static void replica_destroy(struct replica *replica)
{
    session_layer_destroy(replica->layer);
    rig_destroy(replica->rig);
}

static struct audit_mark mark_of(const struct replica *replica)
{
    struct audit_mark mark;
    cr_assert(session_layer_mark(replica->layer, &mark), "the chain is known");
    cr_assert_eq(mark.index, replica->rig->index);
    return mark;
}

/* Applies entries to the replica in one call; the marks that were passed are counted. */
static void apply(struct replica *replica, struct session_input *inputs, size_t count)
{
    struct conclave_reply_sink *sinks = calloc(count, sizeof *sinks);
    struct conclave_reply_sink **replies = calloc(count, sizeof *replies);
    for (size_t i = 0; i < count; i++)
        replies[i] = &sinks[i];
    for (size_t i = 0; i < count; i++)
        inputs[i].command.index = ++replica->rig->index;
    cr_assert_eq(session_layer_apply(replica->layer, inputs, count, replica->rig->index, replies),
                 CONCLAVE_OK);
    for (size_t i = 0; i < count; i++)
        reply_sink_clear(&sinks[i]);
    free(sinks);
    free(replies);
    struct audit_mark marks[AUDIT_MARKS_MAX];
    uint32_t passed = session_layer_marks(replica->layer, marks, AUDIT_MARKS_MAX);
    replica->marks += passed;
    if (passed > 0)
        replica->last_mark = marks[passed - 1].index;
}

static void apply_command(struct replica *replica, const struct kv_command *command, uint64_t term)
{
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(&pack, command);
    struct session_input input = {
        .command = {.term = term, .data = pack.buf->data, .bytes = pack.bytes}};
    apply(replica, &input, 1);
    pack_deinit(&pack);
}

static void put(struct replica *replica, const char *key, const char *value)
{
    apply_command(
        replica, &(struct kv_command){.opcode = KV_PUT, .key = text(key), .value = text(value)}, 1);
}

static void delete_all(struct replica *replica)
{
    apply_command(replica,
                  &(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = {.no_end = true}}, 1);
}

/* Changes what is stored under a key behind the back of the machine, which is closed: one byte, at
 * this offset of the record. */
static void alter(struct replica *replica, const char *key, size_t offset)
{
    replica_close(replica);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi keys;
    MDB_val name = {strlen(key), (void *)(uintptr_t)key}, found;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 2), 0);
    cr_assert_eq(mdb_env_open(env, replica->rig->dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "keys", 0, &keys), 0);
    cr_assert_eq(mdb_get(txn, keys, &name, &found), 0);
    uint8_t record[64];
    cr_assert(found.mv_size <= sizeof record && offset < found.mv_size);
    memcpy(record, found.mv_data, found.mv_size);
    record[offset] ^= 1;
    MDB_val changed = {found.mv_size, record};
    cr_assert_eq(mdb_put(txn, keys, &name, &changed, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    layer_open(replica);
}

enum { VALUE_OFFSET = 32, MOD_REVISION_OFFSET = 8 };

static void expect_equal(const struct replica *a, const struct replica *b)
{
    cr_assert_eq(mark_of(a).hash, mark_of(b).hash, "the chains differ");
}

static void expect_different(const struct replica *a, const struct replica *b)
{
    cr_assert_neq(mark_of(a).hash, mark_of(b).hash, "the chains are equal");
}

Test(audit_chain, is_the_same_however_the_log_is_cut_into_batches)
{
    struct replica a = replica_create(), b = replica_create();
    struct pack pack;
    pack_init(&pack, 0);
    kv_command_pack(
        &pack, &(struct kv_command){.opcode = KV_PUT, .key = text("key"), .value = text("value")});
    enum { COUNT = 3000 };
    static struct session_input inputs[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        inputs[i] = (struct session_input){.command = {.term = 1 + i / 1000,
                                                       .data = pack.buf->data,
                                                       .bytes = i % 1000 ? pack.bytes : 0},
                                           .audit_only = i % 1000 == 0};
    apply(&a, inputs, COUNT);
    for (size_t i = 0, step = 1; i < COUNT; i += step, step = step % 7 + 1)
        apply(&b, inputs + i, i + step > COUNT ? COUNT - i : step);
    expect_equal(&a, &b);
    cr_assert_eq(a.marks, COUNT / AUDIT_INTERVAL);
    cr_assert_eq(b.marks, COUNT / AUDIT_INTERVAL);
    cr_assert_eq(a.last_mark, COUNT / AUDIT_INTERVAL * AUDIT_INTERVAL);
    pack_deinit(&pack);
    replica_destroy(&a);
    replica_destroy(&b);
}

Test(audit_chain, tells_another_payload_and_another_term)
{
    struct replica a = replica_create(), b = replica_create(), c = replica_create();
    const struct kv_command command = {.opcode = KV_PUT, .key = text("k"), .value = text("v")};
    apply_command(&a, &command, 1);
    apply_command(&b, &command, 2);
    put(&c, "k", "w");
    expect_different(&a, &b);
    expect_different(&a, &c);
    replica_destroy(&a);
    replica_destroy(&b);
    replica_destroy(&c);
}

Test(audit_chain, outlives_the_process_with_what_was_applied)
{
    struct replica a = replica_create(), b = replica_create();
    for (int i = 0; i < 10; i++) {
        put(&a, "k", "v");
        put(&b, "k", "v");
        replica_close(&a);
        layer_open(&a);
    }
    expect_equal(&a, &b);
    replica_destroy(&a);
    replica_destroy(&b);
}

Test(audit_chain, tells_a_stored_revision_that_was_altered_when_a_reply_shows_it)
{
    struct replica a = replica_create(), b = replica_create();
    put(&a, "k", "v");
    put(&b, "k", "v");
    alter(&b, "k", MOD_REVISION_OFFSET);
    expect_equal(&a, &b); /* nothing has looked at it yet */
    const struct kv_command conditional = {.opcode = KV_PUT,
                                           .key = text("k"),
                                           .value = text("w"),
                                           .condition = {.given = true, .revision = 77}};
    apply_command(&a, &conditional, 1); /* it does not hold anywhere: the reply alone differs */
    apply_command(&b, &conditional, 1);
    expect_different(&a, &b);
    replica_destroy(&a);
    replica_destroy(&b);
}

Test(audit_chain, tells_a_stored_value_that_was_altered_when_it_is_overwritten)
{
    struct replica a = replica_create(), b = replica_create();
    put(&a, "k", "value");
    put(&b, "k", "value");
    alter(&b, "k", VALUE_OFFSET);
    put(&a, "other", "x");
    put(&b, "other", "x");
    expect_equal(&a, &b); /* documented: state that no command touches is not seen */
    put(&a, "k", "new");
    put(&b, "k", "new");
    expect_different(&a, &b);
    replica_destroy(&a);
    replica_destroy(&b);
}

Test(audit_chain, tells_a_stored_value_that_was_altered_when_a_range_is_deleted)
{
    struct replica a = replica_create(), b = replica_create();
    const char *const keys[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        put(&a, keys[i], "value");
        put(&b, keys[i], "value");
    }
    alter(&b, "b", VALUE_OFFSET);
    delete_all(&a);
    delete_all(&b);
    expect_different(&a, &b);
    replica_destroy(&a);
    replica_destroy(&b);
}

/* --- A machine that is not deterministic -------------------------------------------------------
 */

struct flipping {
    uint64_t applied;
    bool flips;
};

static int flipping_open(void *machine, const struct conclave_machine_env *env,
                         uint64_t *ret_applied, struct conclave_error *error)
{
    (void)env;
    (void)error;
    *ret_applied = ((struct flipping *)machine)->applied;
    return CONCLAVE_OK;
}

static int flipping_apply(void *machine, const struct conclave_command *commands, size_t count,
                          uint64_t last_index, struct conclave_reply_sink *const *replies)
{
    struct flipping *self = machine;
    for (size_t i = 0; i < count; i++) {
        uint64_t answer = commands[i].index * 3 + (self->flips && commands[i].index == 700);
        conclave_reply_set(replies[i], CONCLAVE_OK, &answer, sizeof answer);
    }
    self->applied = last_index;
    return CONCLAVE_OK;
}

static void flipping_query(void *machine, const void *data, size_t bytes,
                           struct conclave_reply_sink *reply)
{
    (void)machine;
    (void)data;
    (void)bytes;
    (void)reply;
}

static const struct conclave_machine_ops flipping_ops = {.size = sizeof flipping_ops,
                                                         .open = flipping_open,
                                                         .apply = flipping_apply,
                                                         .query = flipping_query};

static struct session_layer *flipping_layer(struct flipping *machine)
{
    const struct conclave_machine_env env = {.dir = "/"};
    uint64_t applied;
    struct session_layer *layer = session_layer_create(&flipping_ops, machine);
    cr_assert_eq(session_layer_open(layer, &env, &applied, NULL), CONCLAVE_OK);
    return layer;
}

/* Applies `count` commands from `first` on, each by itself; marks[] takes the last mark passed. */
static void feed(struct session_layer *layer, uint64_t first, uint64_t count,
                 struct audit_mark *ret)
{
    for (uint64_t index = first; index < first + count; index++) {
        const struct session_input input = {
            .command = {.index = index, .term = 1, .data = "x", .bytes = 1}};
        struct conclave_reply_sink sink = {0}, *reply = &sink;
        cr_assert_eq(session_layer_apply(layer, &input, 1, index, &reply), CONCLAVE_OK);
        reply_sink_clear(&sink);
        (void)session_layer_marks(layer, ret, 1);
    }
}

Test(audit_chain, tells_a_machine_of_an_embedder_that_answers_differently_once)
{
    struct flipping machines[3] = {{0}, {0}, {.flips = true}};
    struct audit_mark marks[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        struct session_layer *layer = flipping_layer(&machines[i]);
        feed(layer, 1, AUDIT_INTERVAL + 5, &marks[i]);
        cr_assert_eq(marks[i].index, AUDIT_INTERVAL);
        session_layer_destroy(layer);
    }
    cr_assert_eq(marks[0].hash, marks[1].hash);
    cr_assert_neq(marks[0].hash, marks[2].hash);
}

Test(audit_chain, is_not_known_where_answers_are_lost)
{
    struct flipping machine = {0};
    struct audit_mark mark = {0};
    struct session_layer *layer = flipping_layer(&machine);
    feed(layer, 1, 10, &mark);
    cr_assert(session_layer_mark(layer, &mark));
    session_layer_destroy(layer);
    /* The machine remembers what it applied; the log is read again, the answers are not made. */
    layer = flipping_layer(&machine);
    feed(layer, 1, AUDIT_INTERVAL, &mark);
    cr_assert_not(session_layer_mark(layer, &mark));
    cr_assert_eq(mark.index % AUDIT_INTERVAL, 0, "the index goes on");
    session_layer_destroy(layer);
}
