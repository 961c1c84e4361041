/* What the state-machine actor does with entries that its machine holds already: from a former life
 * that nobody could look into when raft began, or by a snapshot that overtook them. */
#include "actors/machine_apply.h"

#include "codec/kv.h"
#include "machine/kv.h"
#include "machine/tables_memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct node *node;
static struct actor actor;
static struct tables *tables;
static struct kv *kv;
static struct session_layer *sessions;
static struct machine_apply apply;
static struct machine_snapshot snapshot;
static struct reply_list replies;

static uint64_t open_machine(void)
{
    static const struct conclave_machine_env env = {
        .dir = "none", .boot_id = {1}, .cluster_id = 1, .node_id = 2};
    struct conclave_error error = {0};
    uint64_t applied = 0;
    kv = kv_create_in(tables);
    sessions = session_layer_create(kv_machine_ops(), kv);
    cr_assert_eq(session_layer_open(sessions, &env, &applied, &error), CONCLAVE_OK);
    return applied;
}

static void close_machine(void)
{
    session_layer_destroy(sessions);
    kv_destroy(kv);
}

static void setup(void)
{
    node = calloc(1, sizeof *node);
    actor = (struct actor){.node = node};
    tables = tables_memory_create();
    snapshot = (struct machine_snapshot){0};
    cr_assert_eq(open_machine(), 0);
    machine_apply_init(&apply, sessions, 0);
}

static void teardown(void)
{
    reply_list_clear(&replies);
    machine_apply_deinit(&apply);
    close_machine();
    tables_destroy(tables);
    free(node);
}

TestSuite(machine_apply, .init = setup, .fini = teardown, .timeout = 600);

/* One key is put again and again, each time for a client that has the entry's index for a number.
 */
static void commit(uint64_t first, uint64_t last)
{
    struct raft_batch *batch = raft_batch_create((uint32_t)(last - first + 1));
    for (uint64_t i = first; i <= last; i++) {
        struct pack pack;
        pack_init(&pack, 0);
        kv_command_pack(&pack, &(struct kv_command){.opcode = KV_PUT,
                                                    .key = {(const uint8_t *)"key", 3},
                                                    .value = {(const uint8_t *)"value", 5}});
        struct buf *buf = pack_take(&pack);
        raft_batch_add(batch, (struct raft_entry){.id = {.term = 1, .index = i},
                                                  .origin = {.client = 1, .request = i},
                                                  .kind = RAFT_ENTRY_COMMAND,
                                                  .buf = buf,
                                                  .payload = {buf->data, buf->bytes}});
    }
    struct envelope *envelope = envelope_create(ENVELOPE_APPLY);
    raft_runs_append(&envelope->apply.entries, batch, 0, batch->count);
    raft_batch_unref(batch);
    machine_apply_add(&apply, envelope);
    envelope_destroy(envelope);
}

static void run(void)
{
    struct conclave_error error = {0};
    while (machine_apply_ready(&apply))
        cr_assert_eq(machine_apply_step(&actor, &apply, &snapshot, &replies, &error), CONCLAVE_OK,
                     "%s", error.message);
}

static void assert_answered(uint64_t request, int code)
{
    for (uint32_t i = 0; i < replies.count; i++)
        if (replies.items[i].origin.request == request) {
            cr_assert_eq(replies.items[i].code, code, "%d", replies.items[i].code);
            return;
        }
    cr_assert_fail("nobody answers %llu", (unsigned long long)request);
}

Test(machine_apply, what_a_store_holds_of_a_former_life_is_passed_over_when_it_comes_again)
{
    commit(1, 5);
    run();
    cr_assert_eq(kv_revision(kv), 5);
    machine_apply_deinit(&apply);
    close_machine();
    uint64_t held = open_machine();
    cr_assert_eq(held, 5);
    machine_apply_init(&apply, sessions, 2); /* raft knows of two */
    apply.held = held;
    cr_assert(machine_apply_is_ahead(&apply));

    commit(3, 4);
    run();
    cr_assert_eq(apply.applied, 4, "raft is told of what it sent");
    cr_assert_eq(snapshot.applied.index, 4, "and what a snapshot is to know of it is noted");
    cr_assert(machine_apply_is_ahead(&apply));
    commit(5, 7); /* the end of it, and what is new */
    run();
    cr_assert_eq(apply.applied, 7);
    cr_assert_eq(kv_revision(kv), 7, "each once");
    cr_assert_not(machine_apply_is_ahead(&apply));
}

Test(machine_apply, what_a_snapshot_has_overtaken_is_passed_over_and_its_clients_are_told)
{
    commit(1, 4);
    run();
    reply_list_clear(&replies);
    snapshot.applied = (struct raft_id){.term = 1, .index = 4};
    commit(2, 3); /* they waited when it came */
    run();
    cr_assert_eq(apply.applied, 4);
    cr_assert_eq(snapshot.applied.index, 4, "the snapshot says what holds");
    cr_assert_eq(kv_revision(kv), 4);
    assert_answered(2, CONCLAVE_UNKNOWN);
    assert_answered(3, CONCLAVE_UNKNOWN);
    commit(5, 5);
    run();
    cr_assert_eq(kv_revision(kv), 5);
    assert_answered(5, CONCLAVE_OK);
}

/* A store that has grown since the last snapshot, or before there was any: how much log there may
 * be by now goes by what it holds now. */
Test(machine_apply, next_snapshot_is_due_by_what_the_machine_holds_now)
{
    commit(1, 20);
    run();
    uint64_t holds = session_layer_bytes(sessions);
    cr_assert_eq(holds, kv_bytes(kv));
    cr_assert_gt(holds, 1000, "%lu", holds);
    cr_assert_lt(holds, 4000, "%lu", holds);
    node->options.snapshot_bytes = 1000;
    node->options.snapshot_entries = 1000;
    snapshot.configuration = buf_copy("members", 7);
    snapshot.applied.term = 1;
    snapshot.bytes = 3999; /* four times the least, since it holds that much */
    machine_snapshot_take(&actor, &snapshot, sessions);
    cr_assert_null(snapshot.taken);
    cr_assert_eq(snapshot.bytes, 3999);
    cr_assert_eq(snapshot.state_bytes, holds);
    machine_snapshot_deinit(&snapshot);
}
