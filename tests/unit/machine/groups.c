/* Work groups: who has which message, until when, and what becomes of it. */
#include "group_rig.h"

#include "codec/kv_lease.h"
#include "machine/group_record.h"

#include <criterion/criterion.h>

static struct rig *rig;
static uint64_t ann, ben; /* members */

static void setup(void)
{
    rig = group_rig_create();
    ann = group_rig_grant(rig, 3600000);
    ben = group_rig_grant(rig, 3600000);
}

static void teardown(void)
{
    group_rig_destroy(rig);
}

TestSuite(groups, .init = setup, .fini = teardown);

#define FETCH(lease, limit, expected) cr_assert_str_eq(group_rig_fetch(rig, lease, limit), expected)
#define SETTLE(how, lease, first, count, expected) \
    cr_assert_str_eq(group_rig_settle(rig, how, lease, first, count, 0), expected)

/* A group from the first message on, of which there are so many. */
static void begin(unsigned messages, const struct group_settings *settings)
{
    group_rig_publish(rig, messages);
    cr_assert_eq(group_rig_make(rig, settings, CONCLAVE_FROM_FIRST, 0), CONCLAVE_OK);
}

static uint64_t due(void)
{
    uint64_t ms;
    cr_assert_eq(kv_due(rig->kv, &ms), CONCLAVE_OK);
    return ms;
}

static void revoke(uint64_t lease)
{
    cr_assert_eq(rig_apply(rig, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = lease}),
                 CONCLAVE_OK);
}

Test(groups, hand_each_message_to_one_member)
{
    begin(5, NULL);
    FETCH(ann, 2, "1-2*1");
    FETCH(ben, 10, "3-5*1");
    FETCH(ann, 10, "");
    group_rig_publish(rig, 1);
    FETCH(ann, 10, "6*1");
    struct group_info info = group_rig_info(rig);
    cr_assert_eq(info.held, 6);
    cr_assert_eq(info.members, 2);
    cr_assert_eq(info.next, 7);
    cr_assert_eq(info.redelivered, 0);
}

Test(groups, take_an_ack_once_and_of_the_holder_alone)
{
    begin(5, NULL);
    FETCH(ann, 3, "1-3*1");
    SETTLE(GROUP_ACK, ben, 1, 3, "0 missing 1-3");
    SETTLE(GROUP_ACK, ann, 1, 2, "2");
    SETTLE(GROUP_ACK, ann, 1, 4, "1 missing 1-2 4");
    struct group_info info = group_rig_info(rig);
    cr_assert_eq(info.acked, 3);
    cr_assert_eq(info.held, 0);
    FETCH(ben, 10, "4-5*1");
}

/* As if the message had been handed out so many times. */
static void alter_deliveries(uint64_t lease, uint64_t sequence, uint64_t deliveries)
{
    struct tables *tables = group_rig_tables();
    struct topic_key key = group_key3(GROUP_TAG_HELD, group_rig_info(rig).id, lease, sequence);
    const struct tables_state state = tables->state;
    struct group_held held;
    struct slice stored;
    struct tables_tx tx;
    void *room;
    cr_assert_eq(tables_begin(tables, &tx), CONCLAVE_OK);
    cr_assert_eq(tables_get(&tx, TABLE_GROUPS, topic_key_slice(&key), &stored), CONCLAVE_OK);
    cr_assert_eq(topic_numbers_read(stored, &held, sizeof held), CONCLAVE_OK);
    held.deliveries = deliveries;
    cr_assert_eq(tables_put(&tx, TABLE_GROUPS, topic_key_slice(&key), sizeof held, &room),
                 CONCLAVE_OK);
    topic_numbers_write(room, &held, sizeof held);
    cr_assert_eq(tables_commit(&tx, &state), CONCLAVE_OK);
}

/* Two nodes, one after the other, of which the second stores something else. */
Test(groups, let_the_audit_see_what_is_let_go_of)
{
    uint64_t effects[2];
    for (uint64_t i = 0; i < 2; i++) {
        if (i > 0) {
            teardown();
            setup();
        }
        begin(1, &(struct group_settings){.ack_ms = 100000});
        FETCH(ann, 1, "1*1");
        alter_deliveries(ann, 1, 1 + i);
        SETTLE(GROUP_ACK, ann, 1, 1, "1");
        effects[i] = rig->sink.effect;
    }
    cr_assert_neq(effects[0], effects[1]);
}

Test(groups, give_nothing_to_another_before_the_ack_time_is_over)
{
    begin(3, &(struct group_settings){.ack_ms = 1000});
    rig->clock.lag_ms = 100;
    FETCH(ann, 2, "1-2*1");
    cr_assert_eq(due(), 1100);
    rig_pass(rig, 1099); /* of which 100 may have passed before the fetch */
    FETCH(ben, 10, "3*1");
    SETTLE(GROUP_ACK, ann, 1, 1, "1");
    rig_pass(rig, 1);
    FETCH(ben, 10, "2*2");
    SETTLE(GROUP_ACK, ann, 2, 1, "0 missing 2");
    SETTLE(GROUP_ACK, ben, 2, 2, "2");
    struct group_info info = group_rig_info(rig);
    cr_assert_eq(info.acked, 3);
    cr_assert_eq(info.redelivered, 1);
}

Test(groups, hand_out_what_came_back_first_and_in_order)
{
    begin(9, &(struct group_settings){.ack_ms = 1000});
    FETCH(ann, 4, "1-4*1");
    rig_pass(rig, 500);
    FETCH(ben, 1, "5*1");
    SETTLE(GROUP_NACK, ben, 5, 1, "1");
    rig_pass(rig, 500);
    FETCH(ben, 7, "1-5*2 6-7*1");
    cr_assert_eq(group_rig_info(rig).redelivered, 5);
}

Test(groups, give_a_message_back_at_once_or_after_a_delay)
{
    begin(3, &(struct group_settings){.ack_ms = 100000});
    FETCH(ann, 3, "1-3*1");
    SETTLE(GROUP_NACK, ann, 2, 1, "1");
    cr_assert_str_eq(group_rig_settle(rig, GROUP_NACK, ann, 3, 1, 700), "1");
    cr_assert_eq(group_rig_info(rig).delayed, 1);
    FETCH(ben, 10, "2*2");
    cr_assert_eq(due(), 700, "the earliest one");
    rig_pass(rig, 699);
    FETCH(ben, 10, "");
    rig_pass(rig, 1);
    FETCH(ben, 10, "3*2");
    SETTLE(GROUP_NACK, ann, 3, 1, "0 missing 3");
    SETTLE(GROUP_ACK, ann, 1, 1, "1");
}

Test(groups, let_a_member_go_on_that_says_it_is_at_work)
{
    begin(2, &(struct group_settings){.ack_ms = 1000});
    FETCH(ann, 2, "1-2*1");
    rig_pass(rig, 900);
    SETTLE(GROUP_EXTEND, ann, 1, 1, "1");
    rig_pass(rig, 999);
    FETCH(ben, 10, "2*2");
    SETTLE(GROUP_EXTEND, ben, 1, 1, "0 missing 1");
    rig_pass(rig, 1);
    FETCH(ben, 10, "1*2");
}

Test(groups, move_what_was_delivered_too_often_with_its_origin)
{
    begin(3, &(struct group_settings){.ack_ms = 1000, .deliveries_max = 2, .dead = text("dead")});
    FETCH(ann, 3, "1-3*1");
    SETTLE(GROUP_ACK, ann, 2, 1, "1");
    rig_pass(rig, 1000);
    FETCH(ben, 3, "1*2 3*2");
    cr_assert_str_eq(group_rig_dead(rig), "");
    uint64_t revision = kv_revision(rig->kv);
    SETTLE(GROUP_NACK, ben, 3, 1, "1");
    cr_assert_eq(due(), 0, "it is moved as soon as time passes");
    rig_pass(rig, 1);
    cr_assert_str_eq(group_rig_dead(rig), "t/g 3 after 2: 3");
    rig_pass(rig, 999);
    cr_assert_str_eq(group_rig_dead(rig), "t/g 3 after 2: 3, t/g 1 after 2: 1");
    cr_assert_eq(kv_revision(rig->kv), revision + 2, "a revision each");
    FETCH(ann, 3, "");
    struct group_info info = group_rig_info(rig);
    cr_assert_eq(info.dead_letters, 2);
    cr_assert_eq(info.acked, 1);
    cr_assert_eq(due(), 3600000 - 2000, "nothing but the leases is left to end");
}

Test(groups, lose_nothing_when_the_topic_of_dead_letters_is_gone)
{
    struct pack pack;
    begin(1, &(struct group_settings){.ack_ms = 1000, .deliveries_max = 1, .dead = text("dead")});
    pack_init(&pack, 0);
    topic_delete_pack(&pack, text("dead"));
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    FETCH(ann, 1, "1*1");
    rig_pass(rig, 1000);
    FETCH(ben, 1, "1*2");
    SETTLE(GROUP_ACK, ben, 1, 1, "1");
}

Test(groups, get_back_what_a_member_had_whose_lease_ended)
{
    begin(600, &(struct group_settings){.ack_ms = 1000000});
    uint64_t short_one = group_rig_grant(rig, 1000);
    FETCH(short_one, 599, "1-599*1");
    rig_pass(rig, 999);
    FETCH(ben, 10, "600*1");
    rig_pass(rig, 1);
    struct group_info info = group_rig_info(rig);
    cr_assert_eq(info.ready, 599, "all of it, in steps");
    cr_assert_eq(info.members, 1);
    FETCH(short_one, 1, "LEASE_EXPIRED");
    SETTLE(GROUP_ACK, short_one, 1, 1, "LEASE_EXPIRED");
    FETCH(ben, 600, "1-599*2");
}

Test(groups, have_no_member_by_a_lease_that_goes_with_a_key)
{
    struct kv_item item;
    begin(2, NULL);
    cr_assert_eq(rig_command(rig, &(struct kv_command){.opcode = KV_PUT,
                                                       .key = text("a"),
                                                       .value = text("v"),
                                                       .ttl_ms = 1000}),
                 CONCLAVE_OK);
    cr_assert_eq(rig_get(rig, "a", &item), CONCLAVE_OK);
    uint64_t own = item.lease;
    FETCH(own, 1, "LEASE_EXPIRED");
    SETTLE(GROUP_ACK, own, 1, 1, "LEASE_EXPIRED");
    rig_delete(rig, "a"); /* and its lease, which held nothing else */
    FETCH(ann, 10, "1-2*1");
    cr_assert_eq(group_rig_info(rig).members, 1);
}

Test(groups, get_it_back_when_a_member_leaves)
{
    begin(3, NULL);
    FETCH(ann, 2, "1-2*1");
    revoke(ann); /* at the very beginning of cluster time, which has to pass at all */
    cr_assert_eq(due(), 1);
    FETCH(ben, 1, "3*1");
    rig_pass(rig, 1);
    FETCH(ben, 10, "1-2*2");
    cr_assert_eq(group_rig_info(rig).members, 1);
}

Test(groups, count_what_the_topic_dropped_before_it_was_done)
{
    struct pack pack;
    pack_init(&pack, 0);
    topic_delete_pack(&pack, text("t"));
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    pack_init(&pack, 0);
    topic_create_pack(&pack, text("t"), &(struct topic_settings){.count_max = 5});
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    begin(5, &(struct group_settings){.ack_ms = 1000});
    FETCH(ann, 3, "1-3*1");
    SETTLE(GROUP_NACK, ann, 2, 1, "1");
    group_rig_publish(rig, 5);     /* 6 to 10 are kept */
    FETCH(ben, 2, "6-7*1 lost 3"); /* 2, which was to come again, 4 and 5 */
    SETTLE(GROUP_ACK, ann, 1, 1, "1");
    rig_pass(rig, 1000);
    FETCH(ben, 10, "6-7*2 8-10*1 lost 1"); /* 3 */
    cr_assert_eq(group_rig_info(rig).lost, 4);
}

Test(groups, bound_what_a_member_and_the_group_have_in_hand)
{
    begin(20, &(struct group_settings){.ack_ms = 1000, .held_max = 4, .pending_max = 6});
    FETCH(ann, 10, "1-4*1");
    FETCH(ann, 10, "");
    FETCH(ben, 10, "5-6*1");
    FETCH(ben, 10, "");
    uint64_t wake = group_rig_wake(rig);
    SETTLE(GROUP_ACK, ann, 2, 1, "1");
    FETCH(ben, 10, "7*1");
    cr_assert_gt(group_rig_wake(rig), wake, "who waited for room is woken");
    rig_pass(rig, 1000);
    FETCH(ben, 10, "1*2 3-5*2");
    FETCH(ann, 10, "6-7*2");
    SETTLE(GROUP_ACK, ben, 1, 7, "4 missing 2 6-7");
    FETCH(ben, 10, "8-11*1");
}

Test(groups, wake_who_waits_whenever_there_is_something)
{
    begin(1, &(struct group_settings){.ack_ms = 1000});
    FETCH(ann, 1, "1*1");
    FETCH(ben, 1, "");
    uint64_t wake = group_rig_wake(rig);
    FETCH(ben, 1, "");
    cr_assert_eq(group_rig_wake(rig), wake, "nothing happened");
    group_rig_publish(rig, 1);
    FETCH(ben, 1, "2*1");
    cr_assert_eq(group_rig_wake(rig), wake + 1);
    SETTLE(GROUP_NACK, ben, 2, 1, "1");
    rig_pass(rig, 1000);
    FETCH(ben, 2, "1-2*2");
    cr_assert_eq(group_rig_wake(rig), wake + 3);
}

Test(groups, begin_where_they_are_told)
{
    static const struct {
        enum conclave_from from;
        uint64_t position, first;
    } cases[] = {{CONCLAVE_FROM_FIRST, 0, 1},    {CONCLAVE_FROM_NEW, 0, 5},
                 {CONCLAVE_FROM_SEQUENCE, 3, 3}, {CONCLAVE_FROM_SEQUENCE, 9, 9},
                 {CONCLAVE_FROM_LAST, 2, 3},     {CONCLAVE_FROM_TIME, 100, 3},
                 {CONCLAVE_FROM_AGO, 100, 3}};
    group_rig_publish(rig, 2);
    rig_pass(rig, 100);
    group_rig_publish(rig, 2);
    rig_pass(rig, 100);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pack pack;
        cr_assert_eq(group_rig_make(rig, NULL, cases[i].from, cases[i].position), CONCLAVE_OK);
        cr_assert_eq(group_rig_info(rig).start, cases[i].first, "case %zu", i);
        cr_assert_eq(group_rig_info(rig).next, cases[i].first);
        pack_init(&pack, 0);
        group_command_pack(
            &pack,
            &(struct group_command){.opcode = GROUP_DELETE, .topic = text("t"), .group = text("g")},
            0);
        cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    }
}

Test(groups, are_done_with_what_is_handed_out_once)
{
    struct group_command command = {.opcode = GROUP_FETCH,
                                    .topic = text("t"),
                                    .group = text("g"),
                                    .lease = ann,
                                    .limit = 3,
                                    .once = true};
    struct pack pack;
    begin(4, &(struct group_settings){.held_max = 1});
    pack_init(&pack, 0);
    group_command_pack(&pack, &command, 0);
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    struct group_info info = group_rig_info(rig);
    cr_assert_eq(info.acked, 3);
    cr_assert_eq(info.members, 0);
    revoke(ann);
    rig_pass(rig, 1);
    FETCH(ben, 10, "4*1");
}

static uint64_t answered_number(void)
{
    struct cursor cursor;
    cursor_init(&cursor, rig->sink.body->data, rig->sink.body->bytes);
    cr_assert_eq(cursor_array(&cursor), 2);
    cr_assert_eq(cursor_uint(&cursor), kv_revision(rig->kv));
    return cursor_uint(&cursor);
}

Test(groups, are_there_once_with_the_settings_that_they_were_made_with)
{
    begin(0, NULL);
    uint64_t id = answered_number();
    cr_assert_eq(id, kv_revision(rig->kv));
    cr_assert_eq(group_rig_make(rig, NULL, CONCLAVE_FROM_NEW, 0), CONCLAVE_OK);
    cr_assert_eq(answered_number(), id);
    cr_assert_eq(group_rig_make(rig, &(struct group_settings){.ack_ms = 7}, CONCLAVE_FROM_NEW, 0),
                 CONCLAVE_EXISTS);
    cr_assert_eq(group_rig_make(rig,
                                &(struct group_settings){.deliveries_max = 1, .dead = text("no")},
                                CONCLAVE_FROM_NEW, 0),
                 CONCLAVE_NOT_FOUND);
    cr_assert_eq(answered_number(), 2, "the topic of dead letters");
    FETCH(12345, 1, "LEASE_EXPIRED");
}

Test(groups, count_against_the_quota)
{
    struct kv_command settings = {.opcode = KV_SETTINGS};
    settings.settings.given[KV_SETTING_QUOTA] = true;
    struct kv_usage used;
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_USAGE}), CONCLAVE_OK);
    cr_assert_eq(kv_usage_decode(rig->sink.body->data, rig->sink.body->bytes, &used), CONCLAVE_OK);
    settings.settings.values[KV_SETTING_QUOTA] =
        used.bytes + used.topic_bytes + 384; /* a group, no name */
    cr_assert_eq(rig_apply(rig, &settings), CONCLAVE_OK);
    cr_assert_eq(group_rig_make(rig, NULL, CONCLAVE_FROM_NEW, 0), CONCLAVE_QUOTA);
    revoke(ben);
    cr_assert_eq(group_rig_make(rig, NULL, CONCLAVE_FROM_NEW, 0), CONCLAVE_OK);
}

/* --- Deleting ----------------------------------------------------------------------------------
 */

static void delete_group(uint64_t expected)
{
    struct pack pack;
    pack_init(&pack, 0);
    group_command_pack(
        &pack,
        &(struct group_command){.opcode = GROUP_DELETE, .topic = text("t"), .group = text("g")}, 0);
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    cr_assert_eq(answered_number(), expected);
}

Test(groups, leave_nothing_behind_when_they_are_deleted)
{
    begin(900, NULL);
    group_rig_fetch(rig, ann, 800);
    group_rig_settle(rig, GROUP_NACK, ann, 1, 300, 0);
    group_rig_settle(rig, GROUP_NACK, ann, 301, 100, 500);
    cr_assert_eq(group_rig_keys(rig, TABLE_GROUPS), 2 + 300 + 2 * 500 + 1);
    delete_group(1);
    FETCH(ann, 1, "NOT_FOUND");
    cr_assert_eq(answered_number(), 1, "the topic is there");
    for (int i = 0; i < 8; i++)
        delete_group(0);
    cr_assert_eq(group_rig_keys(rig, TABLE_GROUPS), 0);
    cr_assert_eq(due(), 3600000, "its deadline went with it");
    revoke(ann); /* which was a member */
    cr_assert_eq(group_rig_keys(rig, TABLE_ATTACHED), 0);
    rig_pass(rig, 1);
}

Test(groups, do_not_count_as_keys_of_a_lease)
{
    begin(2, NULL);
    FETCH(ann, 2, "1-2*1");
    cr_assert_eq(rig_command(rig, &(struct kv_command){.opcode = KV_LEASE_REVOKE, .lease = ann}),
                 CONCLAVE_OK);
    cr_expect_eq(rig->outcome.value, 0, "no key went with it");
    rig_pass(rig, 1);
    FETCH(ben, 2, "1-2*2");
}

Test(groups, go_with_their_topic)
{
    struct pack pack;
    begin(10, NULL);
    group_rig_fetch(rig, ann, 5);
    pack_init(&pack, 0);
    topic_delete_pack(&pack, text("t"));
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    FETCH(ann, 1, "NOT_FOUND");
    cr_assert_eq(answered_number(), 0, "the topic");
    cr_assert_eq(group_rig_keys(rig, TABLE_GROUPS), 0, "by the command that found it gone");
    cr_assert_eq(due(), 0, "what the topic has left");
    rig_pass(rig, 1);
    cr_assert_eq(due(), 3599999);
    struct kv_usage usage;
    cr_assert_eq(rig_query(rig, &(struct kv_query){.opcode = KV_USAGE}), CONCLAVE_OK);
    cr_assert_eq(kv_usage_decode(rig->sink.body->data, rig->sink.body->bytes, &usage), CONCLAVE_OK);
    cr_assert_eq(usage.bytes, 2 * 96, "two leases");
    pack_init(&pack, 0);
    topic_create_pack(&pack, text("t"), &(struct topic_settings){0});
    cr_assert_eq(group_rig_bytes(rig, &pack, false), CONCLAVE_OK);
    FETCH(ann, 1, "NOT_FOUND");
    cr_assert_eq(answered_number(), 1, "another topic has no groups");
}
