/* State machines against the rules: whoever differs is found. The rules themselves, where a look at
 * one case says more than a run. */
#include "codec/session.h"
#include "machine/reply.h"
#include "tests/sim/reference_internal.h"
#include "tests/sim/test_fixture.h"
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <string.h>

static struct world *world_ran(void)
{
    struct world *ran = world_create(3, false);
    cr_assert(world_run(ran, 3000).ok);
    return ran;
}

static void world_screams(struct world *ran, const char *invariant)
{
    cr_assert(ran->check.failed);
    cr_assert_str_eq(ran->check.invariant, invariant, "%s: %s", ran->check.invariant,
                     ran->check.text);
    world_destroy(ran);
}

static struct reference_entry *told(struct world *ran)
{
    return &ran->reference.entries.items[machine_applied(ran->nodes[0].machine)];
}

Test(machine, is_found_with_other_keys)
{
    struct world *ran = world_ran();
    told(ran)->keys++;
    check_machine_state(ran, &ran->nodes[0]);
    world_screams(ran, "state is that of the rules");
}

Test(machine, is_found_with_other_sessions)
{
    struct world *ran = world_ran();
    told(ran)->sessions++;
    check_machine_state(ran, &ran->nodes[0]);
    world_screams(ran, "state is that of the rules");
}

Test(machine, is_found_with_another_answer)
{
    struct world *ran = world_ran();
    uint64_t index = machine_applied(ran->nodes[0].machine);
    ran->check.nodes[0].machine_index = index - 1;
    ran->check.answers[index] = 1; /* none */
    told(ran)->reply = 77;
    struct raft_entry entry = {.id = {.index = index}};
    check_machine_entry(ran, &ran->nodes[0], &entry, NULL);
    world_screams(ran, "answers are those of the rules");
}

/* An entry that lets so much time pass, as the next one of node 1's machine. */
static void time_passes(struct world *ran, uint64_t elapsed_ms)
{
    struct pack pack;
    pack_init(&pack, 0);
    session_request_pack(
        &pack, &(struct session_request){.opcode = SESSION_CLOCK, .elapsed_ms = elapsed_ms});
    const struct raft_entry entry = {
        .id = {.index = reference_applied(&ran->reference) + 1, .term = 99},
        .payload = {pack.buf->data, pack.bytes},
        .kind = RAFT_ENTRY_SESSION};
    struct conclave_reply_sink reply = {.code = CONCLAVE_OK};
    check_machine_entry(ran, &ran->nodes[0], &entry, &reply);
    pack_deinit(&pack);
}

/* A lease of ten milliseconds that ends when one passes, so long after it began. */
static struct world *lease_ends(uint64_t after_us)
{
    struct world *ran = world_ran();
    struct reference *reference = &ran->reference;
    cr_assert_gt(ran->now_us, after_us);
    reference->at.from_us = ran->now_us - after_us;
    reference_grant(reference, 10, false)->deadline_ms = reference->clock_ms + 1;
    time_passes(ran, 1);
    return ran;
}

Test(machine, is_found_when_it_ends_a_lease_early)
{
    world_screams(lease_ends(5000), "a lease is never early");
}

Test(machine, may_end_a_lease_when_its_time_is_over)
{
    struct world *ran = lease_ends(20000);
    cr_assert_eq(ran->reference.ends.count, 1);
    cr_assert_str_neq(ran->check.invariant, "a lease is never early");
    world_destroy(ran);
}

Test(machine, is_restored_from_a_snapshot_with_keys_and_sessions)
{
    struct world *ran = world_ran();
    struct machine *machine = ran->nodes[0].machine;
    uint64_t index = machine_applied(machine);
    uint64_t hash = machine_hash(machine);
    cr_assert_gt(index, 10);
    struct buf *snapshot = machine_snapshot(machine);
    cr_assert(machine_crash(machine, true));
    cr_assert(machine_start(machine, NULL));
    cr_assert_neq(machine_hash(machine), hash);
    cr_assert_eq(machine_restore(machine, index, (struct slice){snapshot->data, snapshot->bytes}),
                 CONCLAVE_OK);
    cr_assert_eq(machine_hash(machine), hash);
    buf_unref(snapshot);
    check_machine_state(ran, &ran->nodes[0]);
    cr_assert_not(ran->check.failed, "%s", ran->check.text);
    world_destroy(ran);
}

Test(machine, is_found_with_a_snapshot_that_is_not_its_own)
{
    struct world *ran = world_ran();
    struct machine *own = ran->nodes[0].machine;
    check_machine_snapshot(ran, &ran->nodes[0]);
    cr_assert_not(ran->check.failed, "%s", ran->check.text);
    struct store *empty = store_create(STORE_MEMORY, &ran->knobs.sessions, 1, 1);
    uint64_t applied;
    cr_assert_eq(store_open(empty, &applied, NULL), CONCLAVE_OK);
    cr_assert_neq(store_keys_hash(empty), store_keys_hash(machine_store(own)));
    cr_assert_neq(store_sessions_hash(empty), store_sessions_hash(machine_store(own)));
    cr_assert_neq(store_audit(empty), store_audit(machine_store(own)));
    store_destroy(empty);
    world_destroy(ran);
}

/* --- Operations ------------------------------------------------------------------------------- */

TestSuite(ops, .init = fixture_setup, .fini = fixture_teardown);

Test(ops, a_repeat_with_another_answer_is_found)
{
    uint64_t first = ops_add(&ops, (struct op){.kind = OP_PUT, .state = OP_OK, .reply = 7});
    uint64_t again = ops_add(&ops, (struct op){.kind = OP_PUT, .first = first, .reply = 7});
    check_repeat(&check, first);
    check_repeat(&check, again);
    SILENT();
    ops.items[again].reply = 8;
    check_repeat(&check, again);
    SCREAMS("a repeat gets the same answer");
}

Test(ops, every_command_carries_its_number)
{
    const struct op kinds[] = {
        {.kind = OP_PUT, .pad = 9},
        {.kind = OP_PUT, .conditional = true, .condition = 300},
        {.kind = OP_OPEN},
        {.kind = OP_KEEP_ALIVE, .session = 5},
        {.kind = OP_CLOSE, .session = 5},
        {.kind = OP_DELETE, .session = 5, .sequence = 3},
        {.kind = OP_DELETE_RANGE, .cell_end = 4, .session = 5, .sequence = 3},
        {.kind = OP_PUT, .lease = 300},
        {.kind = OP_PUT, .ttl_ms = 300, .conditional = true, .condition = 300},
        {.kind = OP_GRANT, .ttl_ms = 300},
        {.kind = OP_RENEW, .lease = 3, .session = 5, .sequence = 3},
        {.kind = OP_REVOKE, .lease = 3},
        {.kind = OP_CREATE},
        {.kind = OP_PUBLISH, .message_id = 7, .pad = 9},
        {.kind = OP_PUBLISH, .conditional = true, .session = 5, .sequence = 3},
        {.kind = OP_TOPIC_DELETE, .cell = 1},
        {.kind = OP_SETTINGS, .limit = 3},
        {.kind = OP_ENQUEUE, .lease = 300, .slots = 3},
        {.kind = OP_LEAVE, .cell = 1, .token = 300},
        {.kind = OP_PROCLAIM, .token = 300, .session = 5, .sequence = 3},
        {.kind = OP_GROUP_CREATE, .group = {.ack_ms = 70000, .deliveries_max = 300, .dead = 1}},
        {.kind = OP_GROUP_DELETE, .cell_end = 1},
        {.kind = OP_FETCH, .lease = 300, .limit = 12},
        {.kind = OP_FETCH, .lease = 300, .limit = 12, .once = true},
        {.kind = OP_FETCH, .lease = 300, .limit = 3, .session = 5, .sequence = 3},
        {.kind = OP_ACK, .lease = 3, .range_count = 2, .ranges = {{3, 1}, {300, 2}}},
        {.kind = OP_NACK, .lease = 3, .range_count = 1, .ranges = {{3, 1}}, .ttl_ms = 70000},
        {.kind = OP_EXTEND, .lease = 3, .session = 5, .sequence = 3}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct buf *buf = command_encode(&kinds[i], 0x1122334455 + i);
        uint64_t number;
        cr_assert(command_decode((struct slice){buf->data, buf->bytes}, &number));
        cr_assert_eq(number, 0x1122334455 + i);
        cr_assert_leq(buf->bytes, COMMAND_BYTES_MAX + kinds[i].pad);
        buf_unref(buf);
    }
    uint64_t number;
    const struct op_txn txn = {.compare_count = SIM_COMPARES_MAX,
                               .then_count = 2,
                               .then = {{.kind = OP_PUT, .pad = 9}, {.kind = OP_PUBLISH}}};
    const struct op large[] = {{.kind = OP_TXN, .txn = &txn},
                               {.kind = OP_PUBLISH, .limit = SIM_BATCH_MAX, .pad = 9}};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        struct buf *buf = command_encode(&large[i], 7 + i);
        cr_assert(command_decode((struct slice){buf->data, buf->bytes}, &number));
        cr_assert_eq(number, 7 + i);
        cr_assert_leq(buf->bytes, COMMAND_BYTES_MAX + COMMAND_PARTS_MAX * (COMMAND_PART_BYTES + 9));
        buf_unref(buf);
    }
    cr_assert_not(command_decode((struct slice){(const uint8_t *)"\x92\x05\x10", 3}, &number));
}
