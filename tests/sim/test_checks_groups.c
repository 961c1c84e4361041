/* Who is handed a message, or loses one, and should not, is found. */
#include "tests/sim/world.h"

#include <criterion/criterion.h>
#include <string.h>

static struct world *world;

enum { ACK_MS = 100, TTL_MS = 1000, GROUP = 5, MESSAGE = 7 };

/* Two members, with leases of a second. */
static void setup(void)
{
    world = world_create(3, false);
    world->now_us = 10000000;
    for (uint32_t i = 0; i < 2; i++)
        (void)hands_join(
            &world->hands,
            (struct hands_member){.lease = i + 1, .ttl_ms = TTL_MS, .sent_us = world->now_us});
}

static void teardown(void)
{
    world_destroy(world);
}

TestSuite(hands, .init = setup, .fini = teardown);

static void gets(uint32_t member, uint64_t deliveries, uint64_t index)
{
    hands_take(world, (struct hand){.group = GROUP,
                                    .sequence = MESSAGE,
                                    .deliveries = deliveries,
                                    .index = index,
                                    .member = member,
                                    .ack_ms = ACK_MS,
                                    .sent_us = world->now_us});
}

static void acks(uint64_t index)
{
    hands_acked(world, (struct hands_ack){GROUP, MESSAGE, index});
}

static struct hand *hand_of(uint32_t member)
{
    return hands_find(&world->hands, member, GROUP, MESSAGE);
}

/* The member has sent an ack of the message, and has not been answered. */
static uint64_t sends_ack(uint64_t lease)
{
    return ops_add(&world->ops, (struct op){.kind = OP_ACK,
                                            .state = OP_SENT,
                                            .lease = lease,
                                            .range_count = 1,
                                            .ranges = {{MESSAGE, 1}}});
}

static void is_good(void)
{
    cr_assert_not(world->check.failed, "%s: %s", world->check.invariant, world->check.text);
}

static void is_found(const char *invariant)
{
    cr_assert(world->check.failed);
    cr_assert_str_eq(world->check.invariant, invariant, "%s", world->check.text);
}

static const char one_at_a_time[] = "a message is handed to one member at a time",
                  comes_again[] = "what was acknowledged does not come again",
                  nobody_loses[] = "nobody loses a message in his ack time";

Test(hands, with_one_message_are_found)
{
    gets(0, 1, 20);
    gets(1, 2, 21);
    is_found(one_at_a_time);
}

Test(hands, with_one_message_are_found_though_the_first_is_told_late)
{
    gets(1, 2, 21);
    gets(0, 1, 20);
    is_found(one_at_a_time);
}

Test(hands, take_a_message_when_its_ack_time_is_over)
{
    gets(0, 1, 20);
    world->now_us += ACK_MS * UINT64_C(1300); /* on a fast clock too */
    gets(1, 2, 21);
    is_good();
}

Test(hands, take_a_message_a_moment_before_its_ack_time_is_over_and_are_found)
{
    uint64_t fastest = 1200000;
    world->nodes[0].clock_rate = fastest;
    gets(0, 1, 20);
    world->now_us += UINT64_C(1000000) * ACK_MS * 1000 / fastest - 10;
    gets(1, 2, 21);
    is_found(one_at_a_time);
}

Test(hands, take_a_message_that_was_given_back)
{
    gets(0, 1, 20);
    hand_of(0)->let_go_by = 4;
    gets(1, 2, 21);
    is_good();
}

Test(hands, take_a_message_whose_member_may_have_acknowledged_it_long_before)
{
    (void)sends_ack(1);
    gets(0, 1, 20);
    gets(1, 2, 21);
    is_good();
}

Test(hands, of_a_member_that_died_keep_a_message_until_its_time_is_over)
{
    gets(0, 1, 20);
    hand_of(0)->ack_ms = UINT64_C(1) << 30;
    world->now_us += TTL_MS * 1000 / 2;
    gets(1, 2, 21);
    is_found(one_at_a_time);
}

Test(hands, of_a_member_whose_lease_is_over_keep_nothing)
{
    gets(0, 1, 20);
    hand_of(0)->ack_ms = UINT64_C(1) << 30;
    world->now_us += TTL_MS * UINT64_C(1300);
    gets(1, 2, 21);
    is_good();
}

Test(hands, of_a_member_that_has_let_its_lease_go_keep_nothing)
{
    gets(0, 1, 20);
    world->hands.members.items[0].let_go = true;
    gets(1, 2, 21);
    is_good();
}

Test(hands, take_a_message_without_that_being_counted_and_are_found)
{
    gets(0, 1, 20);
    hand_of(0)->let_go_by = 4;
    gets(1, 1, 21);
    is_found("deliveries are counted");
}

Test(hands, take_a_message_that_was_acknowledged_and_are_found)
{
    gets(0, 1, 20);
    acks(21);
    is_good();
    gets(0, 2, 22);
    is_found(comes_again);
}

Test(hands, that_took_a_message_behind_its_ack_are_found_though_that_is_told_late)
{
    gets(0, 2, 22);
    acks(21);
    is_found(comes_again);
}

Test(hands, acknowledge_a_message_twice_and_are_found)
{
    acks(21);
    is_good();
    acks(22);
    is_found("a message is acknowledged once");
}

Test(hands, lose_a_message_in_its_ack_time_and_are_found)
{
    gets(0, 1, 20);
    hands_lost(world, hand_of(0), 0);
    is_found(nobody_loses);
}

Test(hands, lose_a_message_by_the_very_ack_that_gives_it_back_and_are_found)
{
    uint64_t ack = sends_ack(1);
    gets(0, 1, 20);
    hand_of(0)->let_go_by = ack;
    hands_lost(world, hand_of(0), ack);
    is_found(nobody_loses);
}

Test(hands, lose_a_message_when_its_ack_time_is_over_or_it_was_given_back_before)
{
    gets(0, 1, 20);
    hand_of(0)->let_go_by = sends_ack(1);
    hands_lost(world, hand_of(0), sends_ack(1));
    is_good();
    world->now_us += ACK_MS * UINT64_C(1300);
    hands_lost(world, hand_of(0), 0);
    is_good();
}

Test(hands, of_a_lease_that_is_ended_early_are_found)
{
    world->now_us += TTL_MS * UINT64_C(1300);
    hands_ended(world, 0);
    is_good();
    world->hands.members.items[0].sent_us = world->now_us;
    hands_ended(world, 0);
    is_found("nobody is displaced while his lease lasts");
}

Test(hands, are_of_groups_that_account_for_every_message)
{
    struct reference reference;
    reference_init(&reference, &(struct session_limits){0});
    cr_assert(reference_groups_balance(&reference));
    struct reference_group group = {
        .start = 3, .next = 7, .acked = 2, .lost = 1, .dead_letters = 1};
    reference.groups.items = &group;
    reference.groups.count = 1;
    cr_assert(reference_groups_balance(&reference));
    group.acked++;
    cr_assert_not(reference_groups_balance(&reference));
    reference.groups.items = NULL;
    reference.groups.count = 0;
    reference_deinit(&reference);
}
