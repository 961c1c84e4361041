/* Rules 41 and 42: leader leases. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

/* What a promise of T is worth with clocks off by 20 %: T * 80 / 120. */
#define LEASE_US (T_US * 2 / 3)

static struct test_node *node(void)
{
    return &c.nodes[1];
}

static void setup(uint32_t voters, uint32_t alive)
{
    cluster_init(&c, voters);
    for (uint32_t i = 1; i <= voters; i++)
        c.nodes[i].options.leases = true;
    cluster_start(&c, alive);
}

/* The round of the last append to node 2, taken off the wire. */
static uint64_t round_sent(void)
{
    uint64_t round = 0;
    for (struct raft_message *m; (m = cluster_take(&c, 2, RAFT_APPEND_REQUEST));) {
        round = m->append_request.round;
        raft_message_destroy(m);
    }
    return round;
}

static struct raft_message *promise(raft_node_id from, uint64_t term, uint64_t round,
                                    uint64_t promise_us)
{
    struct raft_message *message = append_accepted(from, 1, term, 2, round);
    message->append_response.promise_us = promise_us;
    return message;
}

/* Node 1 leads and has committed its no-op (entry 2), with promises that count for nothing. */
static uint64_t serving(void)
{
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert(raft_is_serving(node()->raft));
    cluster_drop_all(&c);
    return led;
}

/* A heartbeat goes out; its round. */
static uint64_t heartbeat(void)
{
    cluster_drop_all(&c);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    return round_sent();
}

static void lease_read(raft_node_id id, uint64_t read)
{
    struct raft_event event = {.type = RAFT_EVENT_READ_LEASE, .read = read};
    cluster_step(&c, id, &event, 1);
}

static uint64_t lease(void)
{
    return raft_lease_until(node()->raft);
}

Test(lease, answers_a_read_at_once)
{
    setup(3, 1);
    uint64_t led = serving();
    uint64_t round = heartbeat();
    uint64_t sent_us = c.now_us;
    cluster_receive(&c, promise(2, led, round, T_US));
    cluster_drop_all(&c);
    lease_read(1, 7);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 7);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_OK);
    cr_assert_eq(node()->reads.items[0].index, 2);
    cr_assert_eq(node()->reads.items[0].valid_until_us, sent_us + LEASE_US);
    cr_assert_eq(c.wire.count, 0, "nobody is asked");
    cluster_deinit(&c);
}

Test(lease, is_not_taken_by_a_read_that_did_not_ask_for_it)
{
    setup(3, 1);
    uint64_t led = serving();
    cluster_receive(&c, promise(2, led, heartbeat(), T_US));
    cluster_read(&c, 1, 7);
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, promise(2, led, round_sent(), T_US));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].valid_until_us, 0);
    cluster_deinit(&c);
}

Test(lease, without_one_a_read_takes_a_round)
{
    setup(3, 1);
    uint64_t led = serving();
    cr_assert_eq(lease(), 0);
    lease_read(1, 7);
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, promise(2, led, round_sent(), 0));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].valid_until_us, 0);
    cluster_deinit(&c);
}

Test(lease, rule_41_counts_from_when_the_round_was_sent_not_answered)
{
    setup(3, 1);
    uint64_t led = serving();
    uint64_t round = heartbeat();
    uint64_t sent_us = c.now_us;
    cluster_advance(&c, LEASE_US / 2);
    cluster_receive(&c, promise(2, led, round, T_US));
    cr_assert_eq(lease(), sent_us + LEASE_US);
    cluster_advance(&c, LEASE_US - LEASE_US / 2);
    cluster_timeout(&c, 1);
    cr_assert_eq(lease(), 0, "it has ended");
    cluster_deinit(&c);
}

Test(lease, rule_41_allows_for_clocks_that_are_off)
{
    setup(3, 1);
    cluster_deinit(&c);
    cluster_init(&c, 3);
    c.nodes[1].options.leases = true;
    c.nodes[1].options.clock_drift_percent = 50;
    cluster_start(&c, 1);
    uint64_t led = serving();
    cluster_receive(&c, promise(2, led, heartbeat(), T_US));
    cr_assert_eq(lease(), c.now_us + T_US / 3, "theirs half as fast again, its own half as fast");
    cluster_deinit(&c);
}

Test(lease, an_answer_to_an_old_round_gives_what_is_left_of_it)
{
    setup(3, 1);
    uint64_t led = serving();
    uint64_t first = heartbeat();
    uint64_t sent_us = c.now_us;
    uint64_t second = heartbeat();
    cr_assert_gt(second, first);
    cluster_receive(&c, promise(2, led, first, T_US));
    cr_assert_eq(lease(), sent_us + LEASE_US);
    cluster_receive(&c, promise(2, led, second, T_US));
    cr_assert_eq(lease(), sent_us + HEARTBEAT_US + LEASE_US);
    cluster_receive(&c, promise(2, led, first, T_US));
    cr_assert_eq(lease(), sent_us + HEARTBEAT_US + LEASE_US, "nor is it shortened by a late one");
    cluster_deinit(&c);
}

Test(lease, a_round_that_is_long_forgotten_gives_none)
{
    setup(3, 1);
    uint64_t led = serving();
    uint64_t first = heartbeat();
    for (int i = 0; i < 20; i++) {
        heartbeat();
        cluster_receive(&c, promise(3, led, 0, 0)); /* or it would step down */
    }
    cluster_receive(&c, promise(2, led, first, T_US));
    cr_assert_eq(lease(), 0);
    cluster_deinit(&c);
}

/* So many rounds in the time of a lease that not all of them are remembered. */
Test(lease, a_round_that_is_forgotten_stands_for_no_later_one)
{
    enum { ROUNDS = 24, OFTEN_US = 2000 };
    cluster_init(&c, 3);
    c.nodes[1].options.leases = true;
    c.nodes[1].options.heartbeat_us = OFTEN_US;
    cluster_start(&c, 1);
    uint64_t led = serving();
    uint64_t first = 0;
    for (int i = 0; i < ROUNDS; i++) {
        cluster_drop_all(&c);
        cluster_advance(&c, OFTEN_US);
        cluster_timeout(&c, 1);
        uint64_t round = round_sent();
        first = first == 0 ? round : first;
        cr_assert_eq(round, first + (uint64_t)i);
    }
    cluster_receive(&c, promise(2, led, first, T_US));
    cr_assert_eq(lease(), 0, "it is not known when that was sent");
    cluster_receive(&c, promise(2, led, first + ROUNDS - 1, T_US));
    cr_assert_eq(lease(), c.now_us + LEASE_US);
    cluster_deinit(&c);
}

Test(lease, needs_a_majority_that_promises)
{
    setup(5, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    uint64_t round = heartbeat();
    cluster_receive(&c, promise(2, led, round, T_US));
    cluster_receive(&c, promise(3, led, round, 0));
    cluster_receive(&c, promise(4, led, round, 0));
    cr_assert_eq(lease(), 0, "nodes without leases promise nothing");
    cluster_receive(&c, promise(5, led, round, T_US / 2));
    cr_assert_eq(lease(), c.now_us + LEASE_US / 2, "as long as the shortest of a majority");
    cluster_deinit(&c);
}

Test(lease, promises_of_more_than_the_own_timeout_are_worth_that)
{
    setup(3, 1);
    uint64_t led = serving();
    cluster_receive(&c, promise(2, led, heartbeat(), UINT64_MAX));
    cr_assert_eq(lease(), c.now_us + LEASE_US);
    cluster_deinit(&c);
}

Test(lease, rule_30_needs_both_majorities_in_the_joint_phase)
{
    for (raft_node_id first = 3; first <= 4; first++) { /* from 1, 2, 3 to 1, 2, 4 */
        cluster_init(&c, 4);
        c.nodes[1].options.leases = true;
        c.configuration.members[3].flags = RAFT_MEMBER_LEARNER;
        cluster_start(&c, 1);
        uint64_t led = serving();
        cluster_receive(&c, append_accepted(4, 1, led, 2, 0)); /* it has caught up */
        cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n3", "n4");
        uint64_t round = heartbeat();
        cluster_receive(&c, promise(first, led, round, T_US));
        cr_assert_eq(lease(), 0, "one majority is not enough");
        cluster_receive(&c, promise(7 - first, led, round, T_US));
        cr_assert_eq(lease(), c.now_us + LEASE_US);
        cr_assert(raft_configuration(node()->raft, NULL)->joint);
        cluster_deinit(&c);
    }
}

Test(lease, rule_40_waits_for_a_commit_of_the_own_term)
{
    setup(3, 1);
    uint64_t led = cluster_lead_alone(&c);
    uint64_t round = heartbeat();
    struct raft_message *answer = promise(2, led, round, T_US);
    answer->append_response.match = 1;
    cluster_receive(&c, answer);
    cr_assert_eq(lease(), 0);
    cluster_receive(&c, promise(2, led, round, T_US));
    cr_assert_gt(lease(), c.now_us);
    cluster_deinit(&c);
}

Test(lease, a_new_leader_begins_without_one)
{
    setup(3, 1);
    uint64_t led = serving();
    cluster_receive(&c, promise(2, led, heartbeat(), T_US));
    cr_assert_gt(lease(), 0);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cr_assert_eq(lease(), 0);
    cluster_persist_all(&c, 1);
    cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led + 2, 3, 0));
    cr_assert_eq(lease(), 0);
    cluster_deinit(&c);
}

/* Another leader was there between, whom the voters had helped though they had promised not to: it
 * had been called by this one. */
Test(lease, promises_to_an_earlier_office_are_worth_nothing_in_the_next)
{
    setup(3, 1);
    uint64_t led = serving();
    uint64_t round = heartbeat();
    cluster_receive(&c, promise(2, led, round, T_US));
    cr_assert_gt(lease(), 0);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cluster_persist_all(&c, 1);
    struct raft_message *call = raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, led + 1);
    cluster_receive(&c, call);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 3, 1, led + 2, led + 2, true));
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_role(node()->raft), RAFT_LEADER);
    uint64_t next = round_sent();
    cr_assert_gt(next, round, "nor are its rounds any of this one");
    cluster_receive(&c, append_accepted(3, 1, led + 2, 3, next));
    cr_assert(raft_is_serving(node()->raft));
    cr_assert_eq(lease(), 0);
    cluster_receive(&c, promise(3, led + 2, next, T_US));
    cr_assert_eq(lease(), c.now_us + LEASE_US);
    cluster_deinit(&c);
}

Test(lease, rule_41_is_void_while_the_leader_hands_over)
{
    setup(3, 1);
    uint64_t led = serving();
    cluster_receive(&c, promise(2, led, heartbeat(), T_US));
    cluster_propose(&c, 1, 1, 1); /* so that the target lacks an entry */
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = 2}};
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(raft_transfer_target(node()->raft), 2);
    cr_assert_eq(lease(), 0);
    lease_read(1, 7);
    cr_assert_eq(node()->reads.count, 0);
    cluster_deinit(&c);
}

Test(lease, rule_41_is_void_for_the_rest_of_the_term_once_somebody_was_told_to_campaign)
{
    setup(3, 1);
    uint64_t led = serving();
    cluster_receive(&c, promise(2, led, heartbeat(), T_US));
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = 2}};
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    for (int i = 0; i < 12; i++) {
        cluster_receive(&c, promise(2, led, heartbeat(), T_US));
        cr_assert_eq(lease(), 0, "the message may still arrive");
    }
    cr_assert_eq(raft_transfer_target(node()->raft), 0, "it was given up long ago");
    cluster_deinit(&c);
}

Test(lease, comes_back_with_the_next_term_of_a_leader_that_had_given_it_up)
{
    setup(3, 3);
    cluster_elect(&c, 1);
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER, .transfer = {.target = 2}};
    cluster_step(&c, 1, &event, 1);
    cluster_settle(&c);
    cr_assert_eq(raft_role(c.nodes[2].raft), RAFT_LEADER);
    cluster_run(&c, 2 * T_US);
    event.transfer.target = 1;
    cluster_step(&c, 2, &event, 1);
    cluster_run(&c, 2 * HEARTBEAT_US);
    cr_assert_eq(raft_role(node()->raft), RAFT_LEADER);
    cr_assert_gt(lease(), c.now_us);
    cluster_deinit(&c);
}

/* --- The voters' side ------------------------------------------------------------------------- */

/* Node 1 follows node 2 in term 2 and has just answered. */
static void follow(void)
{
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
}

/* Whether node 1 votes for node 3. */
static bool votes(void)
{
    cluster_drop_all(&c);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 3, 1, 9, id_of(9, 9)));
    cluster_persist_all(&c, 1);
    struct raft_message *answer = cluster_take(&c, 3, RAFT_VOTE_RESPONSE);
    cr_assert_not_null(answer);
    bool granted = answer->vote_response.granted;
    raft_message_destroy(answer);
    return granted;
}

static uint64_t promised(void)
{
    struct raft_message *answer = cluster_take(&c, 2, RAFT_APPEND_RESPONSE);
    cr_assert_not_null(answer);
    uint64_t promise_us = answer->append_response.promise_us;
    raft_message_destroy(answer);
    return promise_us;
}

static void connection_lost(raft_node_id peer)
{
    struct raft_event event = {.type = RAFT_EVENT_PEER_DOWN, .peer_down = peer};
    cluster_step(&c, 1, &event, 1);
}

Test(lease, voters_promise_an_election_timeout)
{
    setup(3, 1);
    follow();
    cr_assert_eq(promised(), T_US);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 7), 1, NULL, 0));
    cr_assert_eq(promised(), T_US, "whether or not the logs agree");
    cluster_deinit(&c);
}

Test(lease, voters_without_the_option_promise_nothing)
{
    cluster_setup(&c, 3, 1);
    follow();
    cr_assert_eq(promised(), 0);
    cluster_deinit(&c);
}

Test(lease, an_answer_to_an_old_leader_promises_nothing)
{
    setup(3, 1);
    follow();
    cluster_drop_all(&c);
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 1), 1, NULL, 0));
    cr_assert_eq(promised(), 0);
    cluster_deinit(&c);
}

Test(lease, rule_41_a_lost_connection_ends_no_promise)
{
    setup(3, 1);
    follow();
    uint64_t promised_us = c.now_us + T_US;
    connection_lost(2);
    cr_assert_geq(node()->deadline_us, promised_us, "nor does it vote for itself");
    cr_assert_leq(node()->deadline_us, promised_us + T_US / 8, "but soon afterwards");
    cr_assert_not(votes());
    cluster_advance(&c, T_US - 1);
    cr_assert_not(votes());
    cluster_advance(&c, 1);
    cr_assert(votes());
    cluster_deinit(&c);
}

Test(lease, without_promises_a_lost_connection_lets_go_of_the_leader)
{
    cluster_setup(&c, 3, 1);
    follow();
    connection_lost(2);
    cr_assert(votes());
    cluster_deinit(&c);
}

Test(lease, rule_42_what_was_promised_before_a_restart_is_kept_whatever_happens_to_the_connection)
{
    setup(3, 1);
    follow();
    cluster_crash(&c, 1);
    node()->options.leases = false;
    cluster_start_node(&c, 1);
    uint64_t started_us = c.now_us;
    follow();
    connection_lost(2);
    cr_assert_geq(node()->deadline_us, started_us + T_US);
    cr_assert_not(votes());
    cluster_advance(&c, T_US);
    cr_assert(votes());
    cluster_deinit(&c);
}

Test(lease, the_leaders_own_wish_ends_a_promise)
{
    setup(3, 1);
    follow();
    cluster_drop_all(&c);
    struct raft_message *request = vote_request(RAFT_VOTE_REQUEST, 3, 1, 3, id_of(1, 1));
    request->vote_request.transfer = true;
    cluster_receive(&c, request);
    cluster_persist_all(&c, 1);
    struct raft_message *answer = cluster_take(&c, 3, RAFT_VOTE_RESPONSE);
    cr_assert(answer->vote_response.granted);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

/* --- Whole clusters --------------------------------------------------------------------------- */

Test(lease, goes_on_from_heartbeat_to_heartbeat)
{
    setup(3, 3);
    cluster_elect(&c, 1);
    cluster_run(&c, 2 * HEARTBEAT_US);
    for (uint64_t i = 0; i < 100; i++) {
        lease_read(1, i);
        cr_assert_eq(node()->reads.count, i + 1);
        cr_assert_gt(node()->reads.items[i].valid_until_us, c.now_us);
        cluster_run(&c, T_US / 7);
    }
    cluster_deinit(&c);
}

Test(lease, of_a_single_voter_needs_nobody)
{
    setup(1, 1);
    cluster_settle(&c);
    lease_read(1, 5);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].valid_until_us, c.now_us + LEASE_US);
    cr_assert_gt(node()->deadline_us, c.now_us + 2 * HEARTBEAT_US, "nor is it woken to renew it");
    cluster_deinit(&c);
}

Test(lease, a_follower_asks_its_leader_as_ever)
{
    setup(3, 3);
    cluster_elect(&c, 1);
    cluster_run(&c, 2 * HEARTBEAT_US);
    lease_read(2, 5);
    cluster_settle(&c);
    cr_assert_eq(c.nodes[2].reads.count, 1);
    cr_assert_eq(c.nodes[2].reads.items[0].code, CONCLAVE_OK);
    cr_assert_eq(c.nodes[2].reads.items[0].valid_until_us, 0);
    cluster_deinit(&c);
}
