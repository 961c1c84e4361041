/* To whom entries go at once, and who gets them a little later. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

#define DELAY_US UINT64_C(2000)
#define QUICK_US UINT64_C(300)

static struct test_node *node(void)
{
    return &c.nodes[1];
}

/* How many entries the appends to the peer have, taken off the wire. */
static uint64_t entries_to(raft_node_id peer)
{
    uint64_t entries = 0;
    for (struct raft_message *m; (m = cluster_take(&c, peer, RAFT_APPEND_REQUEST));) {
        entries += m->append_request.entries.entry_count;
        raft_message_destroy(m);
    }
    return entries;
}

/* Node 1 leads the others, all of which acknowledge its no-op (entry 2): each one later than the
 * one before. */
static uint64_t lead(uint32_t members)
{
    uint64_t led = cluster_lead_alone(&c);
    for (raft_node_id id = 2; id <= members; id++) {
        cluster_advance(&c, QUICK_US);
        cluster_receive(&c, append_accepted(id, 1, led, 2, 0));
    }
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cluster_drop_all(&c);
    return led;
}

static void start(uint32_t voters, uint64_t delay_us)
{
    cluster_init(&c, voters);
    node()->options.append_delay_us = delay_us;
    cluster_start(&c, 1);
}

static uint64_t leading(uint32_t voters, uint64_t delay_us)
{
    start(voters, delay_us);
    return lead(voters);
}

/* A batch of this many, and how many entries each peer gets in the same step, and in all. */
static void propose_is_sent(uint32_t count, const uint64_t *expected, uint32_t voters)
{
    cluster_propose(&c, 1, count, 10);
    for (raft_node_id id = 2; id <= voters; id++)
        cr_expect_eq(entries_to(id), expected[id], "to %u of %u voters", (unsigned)id, voters);
}

Test(prompt, entries_go_to_all_at_once_without_a_delay)
{
    leading(3, 0);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 1}, 3);
    cluster_deinit(&c);
}

Test(prompt, entries_go_at_once_to_as_many_as_make_a_majority)
{
    leading(2, DELAY_US);
    propose_is_sent(1, (const uint64_t[]){[2] = 1}, 2);
    cluster_deinit(&c);
    leading(3, DELAY_US);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 0}, 3);
    cluster_deinit(&c);
    leading(4, DELAY_US);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 1, [4] = 0}, 4);
    cluster_deinit(&c);
    leading(5, DELAY_US);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 1, [4] = 0, [5] = 0}, 5);
    cluster_deinit(&c);
}

Test(prompt, the_others_get_all_that_came_meanwhile_when_the_delay_is_over)
{
    leading(3, DELAY_US);
    cluster_propose(&c, 1, 1, 10);
    uint64_t due_us = c.now_us + DELAY_US;
    cr_assert_eq(node()->deadline_us, due_us);
    cluster_advance(&c, DELAY_US - 1);
    cluster_propose(&c, 1, 2, 10);
    cr_assert_eq(node()->deadline_us, due_us, "what comes later does not move the time");
    cr_assert_eq(entries_to(3), 0);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(entries_to(3), 3);
    cr_assert_gt(node()->deadline_us, due_us, "nothing is held any more");
    cluster_deinit(&c);
}

Test(prompt, what_was_held_is_not_late_again)
{
    uint64_t led = leading(3, DELAY_US);
    for (uint64_t index = 3; index < 6; index++) {
        cluster_propose(&c, 1, 1, 10);
        cr_assert_eq(entries_to(3), 0);
        cr_assert_leq(node()->deadline_us, c.now_us + DELAY_US);
        cluster_advance(&c, QUICK_US);
        cluster_receive(&c, append_accepted(2, 1, led, index, 0));
        cluster_advance(&c, DELAY_US - QUICK_US);
        cluster_timeout(&c, 1);
        cr_assert_eq(entries_to(3), 1);
        cluster_advance(&c, QUICK_US * 2);
        cluster_receive(&c, append_accepted(3, 1, led, index, 0));
    }
    cluster_deinit(&c);
}

/* The peer that was quickest says nothing any more. */
Test(prompt, who_is_late_is_replaced_in_the_same_step)
{
    uint64_t led = leading(3, DELAY_US);
    cluster_propose(&c, 1, 1, 10);
    cluster_advance(&c, DELAY_US);
    cluster_timeout(&c, 1);
    cluster_drop_all(&c);
    propose_is_sent(1, (const uint64_t[]){[2] = 0, [3] = 1}, 3);
    cluster_advance(&c, QUICK_US);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 4, 0));
    cr_assert_eq(raft_commit(node()->raft), 4);
    propose_is_sent(1, (const uint64_t[]){[2] = 0, [3] = 1}, 3);
    cluster_deinit(&c);
}

/* Both take turns in being a little quicker. */
Test(prompt, who_is_prompt_stays_so_unless_another_is_clearly_quicker)
{
    uint64_t led = leading(3, DELAY_US);
    for (uint64_t index = 3; index < 30; index++) {
        propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 0}, 3);
        cluster_advance(&c, QUICK_US * 2);
        cluster_receive(&c, append_accepted(2, 1, led, index, 0));
        cluster_advance(&c, DELAY_US - QUICK_US * 2);
        cluster_timeout(&c, 1);
        cr_assert_eq(entries_to(3), 1);
        cluster_advance(&c, QUICK_US * 2 - QUICK_US / 10);
        cluster_receive(&c, append_accepted(3, 1, led, index, 0));
        cluster_drop_all(&c);
    }
    cluster_deinit(&c);
}

Test(prompt, who_is_clearly_quicker_becomes_prompt)
{
    uint64_t led = leading(3, DELAY_US);
    uint64_t index = 3;
    for (;; index++) {
        cr_assert_lt(index, 40);
        cluster_propose(&c, 1, 1, 10);
        if (entries_to(3) > 0)
            break;
        cr_assert_eq(entries_to(2), 1);
        cluster_advance(&c, DELAY_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, index, 0));
        cluster_advance(&c, DELAY_US / 2);
        cluster_timeout(&c, 1);
        cluster_advance(&c, QUICK_US / 10);
        cluster_receive(&c, append_accepted(3, 1, led, index, 0));
        cluster_drop_all(&c);
    }
    cr_assert_eq(entries_to(2), 0);
    cluster_deinit(&c);
}

Test(prompt, many_entries_and_large_ones_are_not_held)
{
    leading(3, DELAY_US);
    propose_is_sent(511, (const uint64_t[]){[2] = 511, [3] = 0}, 3);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 512}, 3);
    cluster_deinit(&c);
    leading(3, DELAY_US);
    cluster_propose(&c, 1, 1, 256 << 10);
    cr_assert_eq(entries_to(2), 1);
    cr_assert_eq(entries_to(3), 1);
    cluster_deinit(&c);
}

/* Three voters; nothing is kept behind a snapshot that need not be. */
static uint64_t leading_without_trail(uint32_t inflight_messages)
{
    cluster_init(&c, 3);
    node()->options.append_delay_us = DELAY_US;
    node()->options.trailing_entries = 0;
    node()->options.inflight_messages_max = inflight_messages;
    cluster_start(&c, 1);
    return lead(3);
}

/* With its front gone, the log would not do for who was to wait. */
Test(prompt, what_is_held_stays_in_the_log_behind_a_snapshot)
{
    uint64_t led = leading_without_trail(8);
    cluster_propose(&c, 1, 4, 10);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 6, 0));
    cr_assert_eq(entries_to(3), 0);
    cluster_snapshot(&c, 1, 6, 0);
    cr_expect_eq(raft_base(node()->raft).index, 2, "it begins behind what node 3 got");
    cluster_advance(&c, DELAY_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(entries_to(3), 4);
    cluster_propose(&c, 1, 1, 10);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 7, 0));
    cluster_snapshot(&c, 1, 7, 0);
    cr_expect_eq(raft_base(node()->raft).index, 6, "what was sent is not held");
    cluster_deinit(&c);
}

/* Its window is full, so what was held does not go out when its time is over. */
Test(prompt, no_more_stays_in_the_log_for_who_waits_than_may_be_held)
{
    uint64_t led = leading_without_trail(1);
    cluster_propose(&c, 1, 512, 10); /* up to entry 514, for both at once */
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 514, 0));
    cluster_drop_all(&c);
    cluster_propose(&c, 1, 1, 10);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 515, 0));
    cluster_snapshot(&c, 1, 515, 0);
    cr_expect_eq(raft_base(node()->raft).index, 514, "node 3 lacks entry 515");
    cluster_propose(&c, 1, 511, 10);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 1026, 0));
    cluster_snapshot(&c, 1, 1026, 0);
    cr_expect_eq(raft_base(node()->raft).index, 1026);
    cluster_deinit(&c);
}

static void asks_for_a_read(raft_node_id peer, uint64_t led)
{
    struct raft_message *asks = raft_message_create(RAFT_READ_REQUEST, peer, 1, led);
    asks->read_index = (struct raft_read_index){.number = 1};
    cluster_receive(&c, asks);
}

/* It answers a read when it has what is committed. Others confirm the round. */
Test(prompt, what_was_held_goes_to_who_asks_for_a_read)
{
    uint64_t led = leading(5, DELAY_US);
    asks_for_a_read(5, led);
    for (raft_node_id id = 2; id <= 3; id++) /* who answered the last round is asked first */
        cluster_receive(&c, append_accepted(id, 1, led, 2, 1));
    cluster_drop_all(&c);
    cluster_propose(&c, 1, 1, 10);
    cr_assert_eq(entries_to(5), 0);
    asks_for_a_read(5, led);
    cr_assert_eq(entries_to(5), 1);
    cr_assert_eq(entries_to(4), 0);
    cluster_deinit(&c);
}

/* What it was sent first is timed, and entries that came later are kept from the other one for
 * longer than that may take. */
Test(prompt, somebody_is_woken_when_a_prompt_peer_is_late)
{
    uint64_t led = leading(3, DELAY_US);
    cluster_propose(&c, 1, 1, 10);
    const uint64_t late_us = c.now_us + DELAY_US;
    cluster_advance(&c, QUICK_US);
    asks_for_a_read(3, led);
    cr_assert_eq(entries_to(3), 1, "it waits no more");
    propose_is_sent(1, (const uint64_t[]){[2] = 2, [3] = 0}, 3);
    cr_assert_eq(node()->deadline_us, late_us);
    cluster_advance(&c, DELAY_US - QUICK_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(entries_to(3), 1, "the other one gets it in its place");
    cluster_deinit(&c);
}

/* A heartbeat was on its way when it was sent entries, which it never answers. */
Test(prompt, an_answer_to_what_was_sent_before_says_nothing_of_how_quick_a_peer_is)
{
    uint64_t led = leading(3, DELAY_US);
    cluster_propose(&c, 1, 1, 10);
    cluster_advance(&c, QUICK_US);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_advance(&c, DELAY_US - QUICK_US);
    cluster_timeout(&c, 1);
    cluster_drop_all(&c);
    propose_is_sent(1, (const uint64_t[]){[2] = 0, [3] = 1}, 3);
    cluster_deinit(&c);
}

/* Its log agreed before it got any entries. */
Test(prompt, who_was_not_measured_yet_is_not_taken_for_quick)
{
    start(3, DELAY_US);
    uint64_t led = cluster_lead_alone(&c);
    cluster_advance(&c, QUICK_US);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 1, 0));
    cluster_drop_all(&c);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 1}, 3);
    cluster_deinit(&c);
}

Test(prompt, nothing_is_held_of_who_is_to_take_over)
{
    leading(3, DELAY_US);
    cluster_propose(&c, 1, 1, 10);
    cr_assert_eq(entries_to(3), 0);
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = 3}};
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(entries_to(3), 1);
    cluster_deinit(&c);
}

/* It takes the lead when it has held what is committed for a while. */
Test(prompt, nothing_is_held_of_a_better_node)
{
    cluster_init(&c, 3);
    node()->options.append_delay_us = DELAY_US;
    node()->options.priority = 50;
    cluster_start(&c, 1);
    uint64_t led = lead(3);
    struct raft_message *answer = append_accepted(3, 1, led, 2, 0);
    answer->append_response.priority = 60;
    cluster_receive(&c, answer);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 1}, 3);
    cluster_deinit(&c);
}

Test(prompt, nothing_is_held_of_a_learner)
{
    cluster_init(&c, 3);
    c.configuration.members[2].flags = RAFT_MEMBER_LEARNER;
    node()->options.append_delay_us = DELAY_US;
    cluster_start(&c, 1);
    lead(3);
    propose_is_sent(1, (const uint64_t[]){[2] = 1, [3] = 1}, 3);
    cluster_deinit(&c);
}

/* From 1, 2, 3 to 1, 2, 4: who is quickest makes a majority of one set alone. */
Test(prompt, rule_30_a_majority_of_each_set_gets_them_in_the_joint_phase)
{
    cluster_init(&c, 4);
    c.configuration.members[3].flags = RAFT_MEMBER_LEARNER;
    node()->options.append_delay_us = DELAY_US;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    static const raft_node_id order[] = {3, 4, 2};
    for (int i = 0; i < 3; i++) {
        cluster_advance(&c, QUICK_US);
        cluster_receive(&c, append_accepted(order[i], 1, led, 2, 0));
    }
    cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n3", "n4");
    cr_assert(raft_configuration(node()->raft, NULL)->joint);
    cluster_drop_all(&c);
    propose_is_sent(1, (const uint64_t[]){[2] = 0, [3] = 1, [4] = 1}, 4);
    cluster_deinit(&c);
}

Test(prompt, a_new_leader_holds_nothing_of_who_is_not_measured_yet)
{
    start(3, DELAY_US);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 10);
    cluster_drop_all(&c);
    cluster_advance(&c, DELAY_US * 2);
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cr_assert_eq(entries_to(3), 1, "it was a probe until then");
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cluster_advance(&c, DELAY_US);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_drop_all(&c);
    propose_is_sent(1, (const uint64_t[]){[2] = 0, [3] = 1}, 3);
    cluster_deinit(&c);
}
