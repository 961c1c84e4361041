/* Transactions: which list is carried out, that it is all of it or nothing, and what it answers. */
#include "rig.h"

#include "base/fatal.h"

#include "codec/kv_txn.h"
#include "machine/tables.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A transaction that is being written. */
struct draft {
    struct pack compares, then, otherwise;
    struct kv_txn txn;
};

static struct draft *draft_create(void)
{
    struct draft *draft = mem_zalloc(sizeof *draft);
    pack_init(&draft->compares, 0);
    pack_init(&draft->then, 0);
    pack_init(&draft->otherwise, 0);
    return draft;
}

static void compare(struct draft *draft, enum kv_compare_what what, enum kv_compare_how how,
                    const char *key, uint64_t number)
{
    draft->txn.compares.count++;
    kv_compare_pack(
        &draft->compares,
        &(struct kv_compare){
            .what = what, .how = how, .key = text(key), .number = number, .value = text("v")});
}

static void step_put(struct draft *draft, bool then, const char *key, const char *value)
{
    (then ? &draft->txn.then : &draft->txn.otherwise)->count++;
    kv_command_pack(then ? &draft->then : &draft->otherwise,
                    &(struct kv_command){.opcode = KV_PUT, .key = text(key), .value = text(value)});
}

static void step(struct draft *draft, const struct kv_command *command)
{
    draft->txn.then.count++;
    kv_command_pack(&draft->then, command);
}

static void step_get(struct draft *draft, const char *key)
{
    draft->txn.then.count++;
    kv_query_pack(&draft->then, &(struct kv_query){.opcode = KV_GET, .key = text(key)});
}

static struct slice bytes_of(const struct pack *pack)
{
    return (struct slice){pack->buf->data, pack->bytes};
}

/* Applies and frees it; the code. */
static int run(struct rig *rig, struct draft *draft, struct kv_txn_answer *ret)
{
    struct kv_command command = {.opcode = KV_TXN, .txn = draft->txn};
    command.txn.compares.items = bytes_of(&draft->compares);
    command.txn.then.items = bytes_of(&draft->then);
    command.txn.otherwise.items = bytes_of(&draft->otherwise);
    int code = rig_apply(rig, &command);
    pack_deinit(&draft->compares);
    pack_deinit(&draft->then);
    pack_deinit(&draft->otherwise);
    free(draft);
    if (code == CONCLAVE_OK)
        cr_assert_eq(kv_txn_answer_begin(rig->sink.body->data, rig->sink.body->bytes, ret), 0);
    return code;
}

Test(transactions, carry_out_one_list_or_the_other)
{
    static const struct {
        enum kv_compare_what what;
        enum kv_compare_how how;
        const char *key;
        uint64_t number;
        bool holds;
    } cases[] = {
        {KV_COMPARE_REVISION, KV_COMPARE_EQUAL, "a", 2, true},
        {KV_COMPARE_REVISION, KV_COMPARE_EQUAL, "a", 1, false},
        {KV_COMPARE_REVISION, KV_COMPARE_GREATER, "a", 1, true},
        {KV_COMPARE_REVISION, KV_COMPARE_GREATER, "a", 2, false},
        {KV_COMPARE_REVISION, KV_COMPARE_LESS, "a", 3, true},
        {KV_COMPARE_REVISION, KV_COMPARE_LESS, "a", 2, false},
        {KV_COMPARE_REVISION, KV_COMPARE_UNEQUAL, "a", 2, false},
        {KV_COMPARE_REVISION, KV_COMPARE_EQUAL, "missing", 0, true},
        {KV_COMPARE_CREATE, KV_COMPARE_EQUAL, "a", 1, true},
        {KV_COMPARE_VERSION, KV_COMPARE_EQUAL, "a", 2, true},
        {KV_COMPARE_VERSION, KV_COMPARE_GREATER, "missing", 0, false},
        {KV_COMPARE_LEASE, KV_COMPARE_EQUAL, "a", 0, true},
        {KV_COMPARE_VALUE, KV_COMPARE_EQUAL, "a", 0, true},
        {KV_COMPARE_VALUE, KV_COMPARE_UNEQUAL, "a", 0, false},
        {KV_COMPARE_VALUE, KV_COMPARE_LESS, "a", 0, false},
        {KV_COMPARE_VALUE, KV_COMPARE_EQUAL, "missing", 0, false},
        {KV_COMPARE_VALUE, KV_COMPARE_UNEQUAL, "missing", 0, true},
        {KV_COMPARE_VALUE, KV_COMPARE_LESS, "missing", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig *rig = rig_create();
        struct kv_txn_answer answer;
        rig_put(rig, "a", "u");
        rig_put(rig, "a", "v");
        struct draft *draft = draft_create();
        compare(draft, cases[i].what, cases[i].how, cases[i].key, cases[i].number);
        step_put(draft, true, "x", "then");
        step_put(draft, false, "x", "else");
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
        cr_assert_eq(answer.held, cases[i].holds, "case %zu", i);
        cr_assert_eq(answer.revision, 3);
        struct kv_item item;
        cr_assert_eq(rig_get(rig, "x", &item), CONCLAVE_OK);
        cr_assert(tables_compare(item.value, text(cases[i].holds ? "then" : "else")) == 0);
        rig_destroy(rig);
    }
}

Test(transactions, hold_only_if_every_compare_does)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    struct draft *draft = draft_create();
    rig_put(rig, "a", "v");
    compare(draft, KV_COMPARE_VERSION, KV_COMPARE_EQUAL, "a", 1);
    compare(draft, KV_COMPARE_VERSION, KV_COMPARE_EQUAL, "b", 1);
    compare(draft, KV_COMPARE_VERSION, KV_COMPARE_EQUAL, "a", 1);
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
    cr_assert_not(answer.held);
    cr_assert_eq(answer.count, 0);
    cr_assert_eq(answer.revision, 1, "nothing changed");
    rig_destroy(rig);
}

Test(transactions, change_everything_as_one_revision_and_see_their_own_changes)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    struct kv_step_answer told;
    struct kv_outcome outcome;
    struct kv_item item;
    uint64_t revision;
    rig_put(rig, "gone1", "v");
    rig_put(rig, "gone2", "v");
    rig_put(rig, "one", "v");
    struct draft *draft = draft_create();
    step_get(draft, "new");
    step_put(draft, true, "new", "n");
    step_get(draft, "new");
    step(draft, &(struct kv_command){.opcode = KV_DELETE, .key = text("one"), .previous = true});
    step(draft, &(struct kv_command){.opcode = KV_DELETE_RANGE,
                                     .bounds = {text("gone"), text("gonf"), false}});
    step(draft, &(struct kv_command){.opcode = KV_DELETE, .key = text("one")});
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
    cr_assert(answer.held && answer.revision == 4 && answer.count == 6);

    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(told.code, CONCLAVE_NOT_FOUND);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(kv_outcome_decode(told.body.data, told.body.bytes, &outcome), 0);
    cr_assert(told.code == 0 && outcome.revision == 4 && outcome.value == 0);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(kv_get_answer_decode(told.body.data, told.body.bytes, &revision, &item), 0);
    cr_assert(revision == 4 && item.mod_revision == 4);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(kv_outcome_decode(told.body.data, told.body.bytes, &outcome), 0);
    cr_assert(outcome.value == 1 && outcome.has_item && outcome.item.mod_revision == 3);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(kv_outcome_decode(told.body.data, told.body.bytes, &outcome), 0);
    cr_assert_eq(outcome.value, 2);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(kv_outcome_decode(told.body.data, told.body.bytes, &outcome), 0);
    cr_assert_eq(outcome.value, 0);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 0);
    rig_expect(rig, "4 new=n(4,4,1)");
    rig_destroy(rig);
}

Test(transactions, are_refused_as_a_whole_for_one_put_that_would_be)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    struct draft *draft = draft_create();
    step_put(draft, true, "a", "1");
    step(draft, &(struct kv_command){.opcode = KV_PUT, .key = text("b"), .lease = 99});
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_LEASE_EXPIRED);
    rig_expect(rig, "0");

    struct kv_command quota = {.opcode = KV_SETTINGS};
    quota.settings.given[KV_SETTING_QUOTA] = true;
    quota.settings.values[KV_SETTING_QUOTA] = 1 + 32 + 1; /* one of them */
    cr_assert_eq(rig_command(rig, &quota), CONCLAVE_OK);
    draft = draft_create();
    step_put(draft, true, "a", "1");
    step_put(draft, true, "b", "1");
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_QUOTA);
    rig_expect(rig, "0");
    rig_destroy(rig);
}

Test(transactions, change_no_key_twice)
{
    static const struct kv_command others[] = {
        {.opcode = KV_PUT, .key = {(const uint8_t *)"b", 1}},
        {.opcode = KV_DELETE, .key = {(const uint8_t *)"b", 1}},
        {.opcode = KV_DELETE_RANGE, .bounds = {.no_end = true}},
        {.opcode = KV_DELETE_RANGE,
         .bounds = {{(const uint8_t *)"b", 1}, {(const uint8_t *)"c", 1}, false}},
    };
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct draft *draft = draft_create();
        step(draft, &others[i]);
        step_put(draft, true, "b", "1");
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_INVALID, "case %zu", i);
    }
    struct draft *draft = draft_create(); /* the bound itself is not in the range */
    step(draft,
         &(struct kv_command){.opcode = KV_DELETE_RANGE, .bounds = {text("a"), text("b"), false}});
    step_put(draft, true, "b", "1");
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
    rig_destroy(rig);
}

Test(transactions, take_no_other_commands_and_no_conditions)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    const struct kv_command refused[] = {
        {.opcode = KV_ADVANCE, .revisions = 1},
        {.opcode = KV_LEASE_GRANT, .ttl_ms = 1},
        {.opcode = KV_TXN},
        {.opcode = KV_PUT, .key = text("a"), .condition = {true, 0}},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct draft *draft = draft_create();
        step(draft, &refused[i]);
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_INVALID, "case %zu", i);
    }
    struct draft *draft = draft_create();
    for (int i = 0; i <= KV_TXN_STEPS_MAX; i++)
        step_get(draft, "a");
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_TOO_LARGE);
    rig_destroy(rig);
}

Test(transactions, answer_too_large_where_a_read_has_no_room)
{
    enum { VALUE_BYTES = 500000 };
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    struct kv_step_answer told;
    char *value = malloc(VALUE_BYTES + 1);
    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    rig_put(rig, "a", value);
    struct draft *draft = draft_create();
    step_get(draft, "a");
    step_get(draft, "a");
    step_put(draft, true, "b", "1");
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(told.code, CONCLAVE_OK);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert(told.code == CONCLAVE_TOO_LARGE && told.body.bytes == 0);
    cr_assert_eq(kv_txn_answer_next(&answer, &told), 1);
    cr_assert_eq(told.code, CONCLAVE_OK);
    free(value);
    rig_destroy(rig);
}
