/* Transactions: which list is carried out, that it is all of it or nothing, and what it answers. */
#include "rig.h"

#include "base/fatal.h"

#include "codec/kv_txn.h"
#include "codec/topic.h"
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

/* --- Topics ------------------------------------------------------------------------------------
 */

static void create_topic(struct rig *rig, const char *name)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_create_pack(&pack, text(name), &(struct topic_settings){.dedup_ms = 1000});
    cr_assert_eq(rig_command_bytes(rig, pack.buf->data, pack.bytes), CONCLAVE_OK);
    pack_deinit(&pack);
}

/* A message with the id "i". */
static void step_publish(struct draft *draft, const char *name, const char *data, bool with_id)
{
    struct topic_publish publish = {.name = text(name), .count = 1, .have_ids = with_id};
    draft->txn.then.count++;
    topic_publish_begin(&draft->then, &publish);
    topic_publish_data(&draft->then, text(data));
    topic_publish_ids(&draft->then, &publish);
    if (with_id)
        topic_publish_id(&draft->then, text("i"));
}

static struct topic_published published_next(struct kv_txn_answer *answer)
{
    struct kv_step_answer step_answer;
    struct topic_published published;
    cr_assert_eq(kv_txn_answer_next(answer, &step_answer), 1);
    cr_assert_eq(step_answer.code, CONCLAVE_OK);
    cr_assert_eq(topic_published_decode(step_answer.body.data, step_answer.body.bytes, &published),
                 0);
    return published;
}

static uint64_t topic_end(struct rig *rig, const char *name)
{
    struct topic_info info;
    uint64_t revision, clock_ms;
    struct pack pack;
    pack_init(&pack, 0);
    topic_query_pack(&pack, &(struct topic_query){.opcode = TOPIC_INFO, .name = text(name)});
    reply_sink_clear(&rig->sink);
    rig->ops->query(rig->kv, pack.buf->data, pack.bytes, &rig->sink);
    pack_deinit(&pack);
    cr_assert_eq(topic_info_answer_decode(rig->sink.body->data, rig->sink.body->bytes, &revision,
                                          &clock_ms, &info),
                 CONCLAVE_OK);
    return info.end;
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

Test(transactions, share_the_quota_between_all_of_their_steps)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    create_topic(rig, "t");
    struct kv_command quota = {.opcode = KV_SETTINGS};
    quota.settings.given[KV_SETTING_QUOTA] = true;
    const uint64_t needed = (1 + 32 + 1) + 2 * (24 + 5 + 1), own = 128 + 1;
    for (uint64_t room = needed - 1; room <= needed; room++) {
        quota.settings.values[KV_SETTING_QUOTA] = own + room;
        cr_assert_eq(rig_command(rig, &quota), CONCLAVE_OK);
        struct draft *draft = draft_create();
        step_put(draft, true, "a", "1");
        step_publish(draft, "t", "m", false);
        step_publish(draft, "t", "m", false);
        cr_assert_eq(run(rig, draft, &answer), room < needed ? CONCLAVE_QUOTA : CONCLAVE_OK);
        cr_assert_eq(topic_end(rig, "t"), room < needed ? 1 : 3);
        cr_assert_eq(kv_quota_is_used_up(rig->kv), room < needed);
    }
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

Test(transactions, compare_topics_by_their_last_sequence_and_their_id)
{
    static const struct {
        enum kv_compare_what what;
        enum kv_compare_how how;
        const char *topic;
        uint64_t number;
        bool holds;
    } cases[] = {
        {KV_COMPARE_SEQUENCE, KV_COMPARE_EQUAL, "t", 2, true},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_EQUAL, "t", 1, false},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_EQUAL, "t", 3, false},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_GREATER, "t", 1, true},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_LESS, "t", 2, false},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_UNEQUAL, "t", 2, false},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_EQUAL, "empty", 0, true},
        {KV_COMPARE_SEQUENCE, KV_COMPARE_EQUAL, "missing", 0, true},
        {KV_COMPARE_TOPIC, KV_COMPARE_EQUAL, "t", 1, true},
        {KV_COMPARE_TOPIC, KV_COMPARE_EQUAL, "t", 2, false},
        {KV_COMPARE_TOPIC, KV_COMPARE_EQUAL, "empty", 2, true},
        {KV_COMPARE_TOPIC, KV_COMPARE_GREATER, "empty", 0, true},
        {KV_COMPARE_TOPIC, KV_COMPARE_GREATER, "missing", 0, false},
        {KV_COMPARE_TOPIC, KV_COMPARE_EQUAL, "missing", 0, true},
        {KV_COMPARE_TOPIC, KV_COMPARE_EQUAL, "k", 0, true}, /* a key of that name is no topic */
    };
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    create_topic(rig, "t");
    create_topic(rig, "empty");
    rig_put(rig, "k", "v");
    for (int i = 0; i < 2; i++) {
        struct draft *draft = draft_create();
        step_publish(draft, "t", "m", false);
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct draft *draft = draft_create();
        compare(draft, cases[i].what, cases[i].how, cases[i].topic, cases[i].number);
        step_get(draft, "k");
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
        cr_assert_eq(answer.held, cases[i].holds, "case %zu", i);
        cr_assert_eq(answer.count, cases[i].holds);
    }
    rig_destroy(rig);
}

Test(transactions, publish_only_behind_the_sequence_that_they_compare)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    create_topic(rig, "t");
    for (int i = 0; i < 4; i++) { /* each is tried twice, as by two who saw the same */
        struct draft *draft = draft_create();
        compare(draft, KV_COMPARE_SEQUENCE, KV_COMPARE_EQUAL, "t", (uint64_t)i / 2);
        step_publish(draft, "t", "m", false);
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
        cr_assert_eq(answer.held, i % 2 == 0);
    }
    cr_assert_eq(topic_end(rig, "t"), 3);
    rig_destroy(rig);
}

Test(transactions, let_the_audit_see_what_they_publish)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    uint64_t effects[2];
    create_topic(rig, "t");
    for (int i = 0; i < 2; i++) { /* the same to different topics: the second one has a message */
        struct draft *draft = draft_create();
        step_publish(draft, "t", "m", false);
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
        effects[i] = rig->sink.effect;
    }
    cr_assert_neq(effects[0], effects[1]);
    rig_destroy(rig);
}

Test(transactions, change_keys_and_publish_as_one_revision)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    struct kv_step_answer put_answer;
    create_topic(rig, "t");
    create_topic(rig, "u");
    struct draft *draft = draft_create();
    step_publish(draft, "t", "one", false);
    step_put(draft, true, "k", "v");
    step_publish(draft, "u", "two", false);
    step_publish(draft, "t", "three", true);
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
    cr_assert_eq(answer.revision, 3);
    struct topic_published published = published_next(&answer);
    cr_assert(published.revision == 3 && published.first == 1);
    cr_assert_eq(kv_txn_answer_next(&answer, &put_answer), 1);
    published = published_next(&answer);
    cr_assert(published.revision == 3 && published.first == 1);
    published = published_next(&answer);
    cr_assert(published.revision == 3 && published.first == 2 && published.count == 1);
    cr_assert_eq(kv_revision(rig->kv), 3);
    rig_expect(rig, "3 k=v(3,3,1)");
    rig_destroy(rig);
}

Test(transactions, that_only_publish_are_a_revision_unless_all_was_there)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    create_topic(rig, "t");
    for (int i = 0; i < 2; i++) {
        struct draft *draft = draft_create();
        step_publish(draft, "t", "m", true);
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
        cr_assert_eq(answer.revision, 2);
        struct topic_published published = published_next(&answer);
        cr_assert_eq(published.duplicate_count, (uint32_t)i);
    }
    cr_assert_eq(topic_end(rig, "t"), 2);
    rig_put(rig, "k", "v");
    cr_assert_eq(kv_revision(rig->kv), 3);
    rig_destroy(rig);
}

Test(transactions, that_publish_to_a_topic_that_is_not_there_change_nothing)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    create_topic(rig, "t");
    struct draft *draft = draft_create();
    step_publish(draft, "t", "m", false);
    step_put(draft, true, "k", "v");
    step_publish(draft, "none", "m", false);
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_NOT_FOUND);
    cr_assert_eq(kv_revision(rig->kv), 1);
    cr_assert_eq(topic_end(rig, "t"), 1);
    rig_expect(rig, "1");
    rig_destroy(rig);
}

Test(transactions, publish_without_a_condition_of_their_own)
{
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    uint64_t none = 0;
    create_topic(rig, "t");
    struct draft *draft = draft_create();
    struct topic_publish publish = {.name = text("t"), .count = 1, .expect = &none};
    draft->txn.then.count++;
    topic_publish_begin(&draft->then, &publish);
    topic_publish_data(&draft->then, text("m"));
    topic_publish_ids(&draft->then, &publish);
    cr_assert_eq(run(rig, draft, &answer), CONCLAVE_INVALID);
    rig_destroy(rig);
}

/* More duplicates than an answer has room for: they are left out, and nothing else. */
Test(transactions, answer_no_more_than_a_reply_holds)
{
    enum { MESSAGES = 10000, STEPS = 12 };
    struct rig *rig = rig_create();
    struct kv_txn_answer answer;
    create_topic(rig, "t");
    for (int round = 0; round < 2; round++) {
        struct draft *draft = draft_create();
        for (int i = 0; i < STEPS; i++) {
            struct topic_publish publish = {.name = text("t"), .count = MESSAGES, .have_ids = true};
            draft->txn.then.count++;
            topic_publish_begin(&draft->then, &publish);
            for (int k = 0; k < MESSAGES; k++)
                topic_publish_data(&draft->then, (struct slice){0});
            topic_publish_ids(&draft->then, &publish);
            for (int k = 0; k < MESSAGES; k++)
                topic_publish_id(&draft->then, text(round ? "j" : "i"));
        }
        cr_assert_eq(run(rig, draft, &answer), CONCLAVE_OK);
        for (int i = 0; i < STEPS; i++) {
            struct topic_published published = published_next(&answer);
            cr_assert_eq(published.count, i == 0);
        }
    }
    cr_assert_eq(topic_end(rig, "t"), 3);
    rig_destroy(rig);
}
