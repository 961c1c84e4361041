/* Rule 25 and the part of Rule 21 about TimeoutNow: handing leadership over, asked for or because
 * the leader's disk hangs. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

static struct test_node *node(raft_node_id id)
{
    return &c.nodes[id];
}

static enum raft_role role(raft_node_id id)
{
    return raft_role(node(id)->raft);
}

static void transfer(raft_node_id leader, raft_node_id target)
{
    struct raft_event event = {.type = RAFT_EVENT_TRANSFER};
    event.transfer.origin = (struct raft_origin){.client = 9, .request = 1};
    event.transfer.target = target;
    cluster_step(&c, leader, &event, 1);
}

/* The answer to the only transfer. */
static int result(raft_node_id leader)
{
    cr_assert_eq(node(leader)->transfers.count, 1, "%u answers", node(leader)->transfers.count);
    cr_assert_eq(node(leader)->transfers.items[0].origin.client, 9);
    return node(leader)->transfers.items[0].code;
}

static bool traced(raft_node_id id, enum raft_trace_type type)
{
    for (uint32_t i = 0; i < node(id)->trace.count; i++) {
        if (node(id)->trace.items[i].type == type)
            return true;
    }
    return false;
}

/* Three nodes, all alive, node 1 leads and everything is settled. */
static uint64_t three(void)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    cluster_settle(&c);
    return raft_hard_state(node(1)->raft).term;
}

/* Node 1 leads; the others are played. Node 2 holds the no-op (entry 2) and was just heard of. */
static uint64_t alone(void)
{
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_drop_all(&c);
    return led;
}

/* --- Asked for ----------------------------------------------------------------------------------
 */

Test(transfer, makes_the_target_leader_at_once)
{
    uint64_t term = three();
    uint64_t before = c.now_us;
    transfer(1, 3);
    cluster_settle(&c);
    cr_assert_eq(c.now_us, before, "no timeout was waited for");
    cr_assert_eq(role(3), RAFT_LEADER);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_hard_state(node(3)->raft).term, term + 1);
    cr_assert_eq(result(1), CONCLAVE_OK);
    cluster_deinit(&c);
}

Test(transfer, picks_the_voter_with_the_longest_log)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_receive(&c, append_accepted(3, 1, led, 1, 0));
    transfer(1, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    cluster_deinit(&c);
}

Test(transfer, picks_no_learner_however_long_its_log)
{
    cluster_init(&c, 3);
    c.configuration.members[2].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 8);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    transfer(1, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, to_the_leader_itself_is_done)
{
    uint64_t term = three();
    transfer(1, 1);
    cr_assert_eq(result(1), CONCLAVE_OK);
    cr_assert_eq(raft_hard_state(node(1)->raft).term, term);
    cluster_deinit(&c);
}

Test(transfer, whose_target_takes_over_and_is_not_heard_of_again_ends_in_time)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    transfer(1, 2);
    struct raft_message *vote =
        vote_request(RAFT_VOTE_REQUEST, 2, 1, led + 1, raft_last(node(1)->raft));
    vote->vote_request.transfer = true;
    cluster_receive(&c, vote);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(node(1)->transfers.count, 0, "it may lead any moment");
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT);
    cluster_deinit(&c);
}

Test(transfer, is_refused_with_the_reason)
{
    cluster_setup(&c, 3, 1);
    alone();
    transfer(1, 99);
    cr_assert_eq(result(1), CONCLAVE_INVALID);
    node(1)->transfers.count = 0;
    transfer(1, 3);
    cr_assert_eq(result(1), CONCLAVE_UNREACHABLE, "node 3 was never heard of");
    node(1)->transfers.count = 0;
    transfer(1, 2);
    cr_assert_eq(node(1)->transfers.count, 0);
    transfer(1, 0);
    cr_assert_eq(result(1), CONCLAVE_BUSY, "one is under way");
    cluster_deinit(&c);

    cluster_setup(&c, 1, 1);
    cluster_settle(&c);
    cr_assert_eq(role(1), RAFT_LEADER);
    transfer(1, 0);
    cr_assert_eq(result(1), CONCLAVE_INVALID, "nobody else votes");
    cluster_deinit(&c);

    three();
    transfer(2, 3);
    cr_assert_eq(result(2), CONCLAVE_NOT_LEADER);
    node(2)->transfers.count = 0;
    transfer(2, 2);
    cr_assert_eq(result(2), CONCLAVE_NOT_LEADER, "it does not lead because it is asked to");
    cluster_deinit(&c);
}

/* --- Rule 25 ------------------------------------------------------------------------------------
 */

Test(transfer, rule_25_blocks_proposals)
{
    cluster_setup(&c, 3, 1);
    alone();
    transfer(1, 2);
    cluster_propose(&c, 1, 2, 10);
    cr_assert_eq(node(1)->refused.count, 2);
    cr_assert_eq(node(1)->refused.items[0].code, CONCLAVE_HANDOVER);
    cr_assert_eq(raft_last(node(1)->raft).index, 2, "nothing was taken");
    cluster_deinit(&c);
}

Test(transfer, rule_25_waits_until_the_target_holds_the_whole_log)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 3, 10);
    transfer(1, 2);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 0);
    cluster_receive(&c, append_accepted(2, 1, led, 4, 0));
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 0, "one entry is missing");
    cluster_receive(&c, append_accepted(2, 1, led, 5, 0));
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    cluster_deinit(&c);
}

Test(transfer, to_a_target_that_has_lost_an_entry_waits_for_it_again)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 10);
    transfer(1, 2);
    struct raft_message *whole = append_accepted(2, 1, led, 3, 0);
    whole->append_response.life = 1;
    cluster_receive(&c, whole);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    struct raft_message *less = append_accepted(2, 1, led, 2, 0);
    less->append_response.life = 2; /* it was restarted, and what it lost is on its way */
    cluster_receive(&c, less);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1, "it could not win now");
    cr_assert_gt(node(1)->deadline_us, c.now_us, "nothing is due that is not done");
    cluster_deinit(&c);
}

Test(transfer, rule_25_is_given_up_after_an_election_timeout)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    transfer(1, 2);
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT);
    node(1)->refused.count = 0;
    cluster_propose(&c, 1, 1, 10);
    cr_assert_eq(node(1)->refused.count, 0, "it takes proposals again");
    cluster_deinit(&c);
}

Test(transfer, rule_25_ends_with_the_role)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    transfer(1, 2);
    /* Another node is elected, without anybody having asked for it. */
    cluster_receive(&c, append_request(3, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT, "not the node that was meant");
    cluster_deinit(&c);
}

Test(transfer, is_given_up_when_the_target_is_gone)
{
    cluster_setup(&c, 3, 1);
    alone();
    transfer(1, 2);
    struct raft_event event = {.type = RAFT_EVENT_PEER_DOWN, .peer_down = 2};
    cluster_step(&c, 1, &event, 1);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT);
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

Test(transfer, repeats_the_call_with_each_heartbeat)
{
    cluster_setup(&c, 3, 1);
    alone();
    transfer(1, 2);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    cr_assert_leq(node(1)->deadline_us, c.now_us + HEARTBEAT_US);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 2);
    cluster_deinit(&c);
}

/* --- Rule 21: the target's and the voters' side -------------------------------------------------
 */

Test(transfer, rule_21_campaigns_without_a_prevote)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, 2));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cr_assert_eq(cluster_count(&c, 3, RAFT_VOTE_REQUEST), 0, "Rule 3: not before it is durable");
    cluster_persist_all(&c, 1);
    struct raft_message *request = cluster_take(&c, 3, RAFT_VOTE_REQUEST);
    cr_assert(request && request->term == 3 && request->vote_request.transfer);
    raft_message_destroy(request);
    cr_assert_eq(cluster_count(&c, 3, RAFT_PREVOTE_REQUEST), 0);
    cluster_deinit(&c);
}

Test(transfer, a_call_of_an_older_term_is_ignored)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 5, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 3, 1, 4));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_hard_state(node(1)->raft).term, 5);
    cluster_deinit(&c);
}

Test(transfer, a_call_to_another_data_directory_is_ignored)
{
    for (uint64_t meant = 0; meant < 100; meant += 33) {
        cluster_init(&c, 3);
        c.nodes[1].options.incarnation = 66;
        cluster_start(&c, 1);
        cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
        cluster_persist_all(&c, 1);
        struct raft_message *call = raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, 2);
        call->timeout_now.incarnation = meant;
        cluster_receive(&c, call);
        bool obeyed = meant == 66 || meant == 0; /* 0: nobody knows yet */
        cr_assert_eq(role(1), obeyed ? RAFT_CANDIDATE : RAFT_FOLLOWER, "%d", (int)meant);
        cluster_deinit(&c);
    }
}

Test(transfer, names_the_data_directory_that_is_to_campaign)
{
    cluster_init(&c, 3);
    c.configuration.members[1].incarnation = 22;
    cluster_start(&c, 1);
    alone();
    transfer(1, 2);
    struct raft_message *call = cluster_take(&c, 2, RAFT_TIMEOUT_NOW);
    cr_assert(call);
    cr_assert_eq(call->timeout_now.incarnation, 22);
    raft_message_destroy(call);
    cluster_deinit(&c);
}

Test(transfer, a_learner_that_is_told_to_campaign_does_not)
{
    cluster_init(&c, 3);
    c.configuration.members[0].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, 2));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_hard_state(node(1)->raft).term, 2);
    cluster_deinit(&c);
}

Test(transfer, rule_21_votes_against_a_live_leader_only_when_the_leader_asked)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    struct raft_message *request = vote_request(RAFT_VOTE_REQUEST, 3, 1, 3, id_of(1, 1));
    cluster_receive(&c, request);
    cr_assert_eq(raft_hard_state(node(1)->raft).term, 2, "it holds to its leader");
    request = vote_request(RAFT_PREVOTE_REQUEST, 3, 1, 3, id_of(1, 1));
    request->vote_request.transfer = true;
    cluster_receive(&c, request);
    struct raft_message *answer = cluster_take(&c, 3, RAFT_PREVOTE_RESPONSE);
    cr_assert(answer && !answer->vote_response.granted, "who was asked needs no pre-vote");
    raft_message_destroy(answer);
    request = vote_request(RAFT_VOTE_REQUEST, 3, 1, 3, id_of(1, 1));
    request->vote_request.transfer = true;
    cluster_receive(&c, request);
    cr_assert_eq(raft_hard_state(node(1)->raft).vote, 3);
    cluster_deinit(&c);
}

/* --- The watchdog -------------------------------------------------------------------------------
 */

Test(transfer, a_leader_whose_disk_hangs_hands_over)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 10); /* its persist stays out */
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_advance(&c, 2 * T_US - 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cr_assert_leq(node(1)->deadline_us, c.now_us + 1);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    cluster_deinit(&c);
}

Test(transfer, a_disk_that_hangs_again_hands_over_again)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    for (uint64_t match = 3; match <= 4; match++) {
        cluster_propose(&c, 1, 1, 10);
        for (int i = 0; i < 4; i++) {
            cluster_receive(&c, append_accepted(2, 1, led, match, 0));
            cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
            cluster_advance(&c, T_US / 2);
        }
        cluster_timeout(&c, 1);
        cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
        cluster_persist_all(&c, 1); /* it goes on, and node 2 did not take over */
        cluster_advance(&c, T_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, match, 0));
        cluster_advance(&c, T_US / 2);
        cluster_timeout(&c, 1);
        cr_assert_eq(role(1), RAFT_LEADER);
    }
    cluster_deinit(&c);
}

Test(transfer, a_disk_that_hangs_is_noticed_though_more_is_handed_to_it)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    for (uint64_t i = 0; i < 4; i++) {
        cluster_propose(&c, 1, 1, 10);
        cluster_receive(&c, append_accepted(2, 1, led, 3 + i, 0));
        cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
        cluster_advance(&c, T_US / 2);
    }
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, whoever_asked_is_answered_while_the_disk_makes_it_hand_over)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 10); /* its persist stays out */
    uint64_t begin = c.now_us;
    cluster_advance(&c, T_US / 2);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_advance(&c, T_US);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    transfer(1, 2);
    /* Paused: when it wakes up the transfer has run out and the disk hangs for too long. */
    cluster_advance(&c, T_US + T_US / 4);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2, "another one");
    cr_assert_eq(node(1)->transfers.count, 0);
    cluster_advance(&c, begin + 3 * T_US + T_US / 2 - c.now_us);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT);
    cr_assert_gt(node(1)->deadline_us, c.now_us, "it does not spin");
    cluster_deinit(&c);
}

Test(transfer, a_leader_whose_disk_hangs_steps_down_if_nobody_takes_over)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 10);
    cluster_advance(&c, 2 * T_US);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0)); /* alive, and never catches up */
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert(traced(1, RAFT_TRACE_DISK_STALLED));
    /* Nor does it campaign before its disk is well again. */
    cluster_drop_all(&c);
    for (int i = 0; i < 10; i++) {
        cluster_advance(&c, T_US);
        cluster_timeout(&c, 1);
    }
    cr_assert_eq(cluster_count(&c, 2, RAFT_PREVOTE_REQUEST), 0);
    cluster_persist_all(&c, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_PREVOTE_REQUEST), 1);
    cluster_deinit(&c);
}

Test(transfer, asked_for_is_answered_in_time_while_another_is_under_way_for_the_disk)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 10);
    cluster_advance(&c, 3 * T_US / 2);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    transfer(1, 2); /* given up after T, answered after 2 T at the latest */
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_advance(&c, T_US / 4); /* late: the disk's own begins, and will end later than that */
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert(traced(1, RAFT_TRACE_TRANSFER_ENDED));
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cr_assert_eq(node(1)->transfers.count, 0);
    cluster_advance(&c, 3 * T_US / 4 + 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT);
    cr_assert_gt(node(1)->deadline_us, c.now_us);
    cluster_deinit(&c);
}

Test(transfer, a_node_whose_disk_hangs_does_not_take_over)
{
    cluster_setup(&c, 3, 1);
    const uint64_t terms[] = {2};
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, terms, 1));
    cluster_advance(&c, 2 * T_US);
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, 2));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cluster_deinit(&c);
}

Test(transfer, a_follower_whose_disk_hangs_knows_its_leader_still)
{
    cluster_setup(&c, 3, 1);
    const uint64_t terms[] = {2};
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, terms, 1));
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_leader(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, a_disk_hangs_when_it_takes_longer_than_it_may)
{
    cluster_init(&c, 3);
    c.nodes[1].options.disk_stall_us = 5 * T_US;
    cluster_start(&c, 1);
    uint64_t led = alone();
    cluster_propose(&c, 1, 1, 10);
    for (int i = 1; i <= 10; i++) {
        cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "after %d halves", i);
        cluster_advance(&c, T_US / 2);
        cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    }
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, a_lone_voter_keeps_its_office_on_any_disk)
{
    cluster_setup(&c, 1, 1);
    cluster_settle(&c);
    cluster_propose(&c, 1, 1, 10);
    cluster_advance(&c, 10 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

/* Nobody could do better: a learner does not vote. */
Test(transfer, a_lone_voter_with_a_learner_keeps_its_office_too)
{
    cluster_init(&c, 1);
    struct raft_member *learner = &c.configuration.members[c.configuration.member_count++];
    *learner = c.configuration.members[0];
    learner->id = 2;
    learner->flags = RAFT_MEMBER_LEARNER;
    learner->name[1] = '2';
    learner->peer[0] = 'T';
    cluster_start(&c, 1);
    cluster_persist_all(&c, 1);
    cr_assert_eq(role(1), RAFT_LEADER);
    uint64_t led = raft_hard_state(node(1)->raft).term;
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    transfer(1, 0);
    cr_assert_eq(result(1), CONCLAVE_INVALID);
    cluster_propose(&c, 1, 1, 10);
    cluster_advance(&c, 10 * T_US);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_eq(role(1), RAFT_LEADER);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cluster_deinit(&c);
}

/* --- Priorities ---------------------------------------------------------------------------------
 */

/* Node 2, of this priority, has everything up to `match`. */
static void acknowledge(uint64_t led, uint64_t match, uint32_t priority)
{
    struct raft_message *message = append_accepted(2, 1, led, match, 0);
    message->append_response.priority = priority;
    cluster_receive(&c, message);
}

/* Node 1, of priority 50, leads; node 2 of 100 keeps up for so many halves of T. */
static void keep_up(uint64_t led, int halves, uint32_t priority)
{
    for (int i = 0; i < halves; i++) {
        cluster_advance(&c, T_US / 2);
        acknowledge(led, 2, priority);
    }
}

static uint64_t lesser(void)
{
    cluster_init(&c, 3);
    c.nodes[1].options.priority = 50;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_persist_all(&c, 1);
    acknowledge(led, 2, 100);
    return led;
}

Test(transfer, goes_to_a_higher_priority_that_has_kept_up)
{
    uint64_t led = lesser();
    keep_up(led, 19, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "not at once");
    keep_up(led, 1, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, for_priority_that_failed_waits_as_long_again)
{
    uint64_t led = lesser();
    keep_up(led, 20, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    keep_up(led, 3, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "given up");
    keep_up(led, 10, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cluster_deinit(&c);
}

/* Of two that are better, in either order, and by however little. */
static void better_two(uint32_t second, uint32_t third, raft_node_id best)
{
    uint64_t led = lesser();
    for (int i = 0; i < 21; i++) {
        cluster_advance(&c, T_US / 2);
        struct raft_message *message = append_accepted(3, 1, led, 2, 0);
        message->append_response.priority = third;
        cluster_receive(&c, message);
        acknowledge(led, 2, second);
    }
    cr_assert_eq(raft_transfer_target(node(1)->raft), best);
    cluster_deinit(&c);
}

Test(transfer, goes_to_the_highest_priority)
{
    better_two(60, 61, 3);
    better_two(61, 60, 2);
    better_two(51, 50, 2);
    better_two(50, 51, 3);
}

Test(transfer, does_not_go_to_an_equal_or_lower_priority)
{
    uint64_t led = lesser();
    keep_up(led, 60, 50);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cluster_deinit(&c);
}

Test(transfer, does_not_go_to_a_higher_priority_that_lacks_what_is_committed)
{
    uint64_t led = lesser();
    cluster_propose(&c, 1, 1, 8);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cr_assert_eq(raft_commit(node(1)->raft), 3);
    keep_up(led, 21, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cluster_deinit(&c);
}

/* Half of T goes by, and both of the others are heard, with these priorities; 0: nothing of it. */
static void half(uint64_t led, uint32_t second, uint32_t third)
{
    cluster_advance(&c, T_US / 2);
    if (third > 0) {
        struct raft_message *message = append_accepted(3, 1, led, 2, 0);
        message->append_response.priority = third;
        cluster_receive(&c, message);
    }
    if (second > 0)
        acknowledge(led, 2, second);
}

Test(transfer, for_priority_waits_for_the_highest_though_a_lower_one_has_kept_up)
{
    uint64_t led = lesser();
    keep_up(led, 15, 60);
    for (int i = 0; i < 20; i++)
        half(led, 60, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "it has just come");
    half(led, 60, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 3);
    cluster_deinit(&c);
}

Test(transfer, for_priority_goes_to_the_lower_one_when_the_highest_is_gone)
{
    uint64_t led = lesser();
    keep_up(led, 15, 60);
    for (int i = 0; i < 8; i++)
        half(led, 60, 100);
    half(led, 60, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "it was heard half a T ago");
    half(led, 60, 0);
    half(led, 60, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, for_priority_two_that_are_better_by_turns_get_nothing)
{
    uint64_t led = lesser();
    for (int i = 0; i < 60; i++) {
        bool second = i / 6 % 2 == 0, both = i % 6 == 0;
        half(led, second || both ? 60 : 1, second && !both ? 1 : 100);
        cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "after %d", i);
    }
    cluster_deinit(&c);
}

Test(transfer, for_priority_waits_anew_after_a_break)
{
    uint64_t led = lesser();
    keep_up(led, 19, 100);
    keep_up(led, 1, 0);
    keep_up(led, 19, 100);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cluster_deinit(&c);
}

static void disk_full(bool full)
{
    struct raft_event event = {.type = RAFT_EVENT_DISK_FULL, .disk_full = full};
    cluster_step(&c, 1, &event, 1);
}

Test(transfer, a_full_disk_hands_over_at_once)
{
    uint64_t led = lesser();
    acknowledge(led, 2, 50); /* as high as this leader's own: no reason otherwise */
    disk_full(true);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_deinit(&c);
}

Test(transfer, a_full_disk_does_not_hand_over_to_another_full_one)
{
    uint64_t led = lesser();
    acknowledge(led, 2, 0);
    disk_full(true);
    keep_up(led, 60, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0);
    cluster_deinit(&c);
}

Test(transfer, a_disk_that_has_room_again_leads_as_before)
{
    uint64_t led = lesser();
    acknowledge(led, 2, 0);
    disk_full(true);
    disk_full(false);
    keep_up(led, 60, 50);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 0, "its own priority counts again");
    cluster_deinit(&c);
}

Test(transfer, a_follower_with_a_full_disk_says_that_it_had_better_not_lead)
{
    cluster_init(&c, 3);
    cluster_start(&c, 1);
    disk_full(true);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    struct raft_message *message = cluster_take(&c, 2, RAFT_APPEND_RESPONSE);
    cr_assert(message);
    cr_assert_eq(message->append_response.priority, 0);
    raft_message_destroy(message);
    cluster_deinit(&c);
}

Test(transfer, a_lower_priority_waits_longer_before_it_campaigns)
{
    cluster_init(&c, 3);
    c.nodes[1].options.priority = 0;
    cluster_start(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cr_assert_geq(node(1)->deadline_us, c.now_us + 2 * T_US);
    cr_assert_leq(node(1)->deadline_us, c.now_us + 3 * T_US);
    cluster_deinit(&c);
}

Test(transfer, picks_nobody_who_is_silent_however_long_its_log)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_advance(&c, T_US);
    cluster_receive(&c, append_accepted(3, 1, led, 1, 0));
    cr_assert_eq(role(1), RAFT_LEADER);
    transfer(1, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 3);
    cluster_deinit(&c);
}

Test(transfer, to_a_learner_is_refused_however_long_its_log)
{
    cluster_init(&c, 3);
    c.configuration.members[2].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = alone();
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    transfer(1, 3);
    cr_assert_eq(result(1), CONCLAVE_INVALID);
    cluster_deinit(&c);
}

Test(transfer, to_anybody_is_done_whoever_leads_after_it)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    transfer(1, 0);
    cr_assert_eq(raft_transfer_target(node(1)->raft), 2);
    cluster_receive(&c, append_request(3, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cr_assert_eq(result(1), CONCLAVE_OK);
    cluster_deinit(&c);
}

/* It is asked to hand over and loses its office to a term of which it has heard no leader. */
Test(transfer, is_answered_in_time_though_nobody_is_heard_of)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone(), begun = c.now_us;
    transfer(1, 2);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 3, 1, led + 1, led + 1, false));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(node(1)->transfers.count, 0);
    for (uint64_t steps = 0; node(1)->transfers.count == 0; steps++) {
        cr_assert_lt(steps, 100);
        cr_assert_leq(node(1)->deadline_us, begun + 2 * T_US, "it has to be woken for that");
        if (node(1)->deadline_us > c.now_us)
            cluster_advance(&c, node(1)->deadline_us - c.now_us);
        cluster_drop_all(&c);
        cluster_timeout(&c, 1);
    }
    cr_assert_eq(result(1), CONCLAVE_TIMEOUT);
    cluster_deinit(&c);
}

Test(transfer, is_looked_at_when_its_time_is_over_and_when_the_call_is_due_again)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = alone();
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    transfer(1, 2);
    cr_assert_eq(cluster_count(&c, 2, RAFT_TIMEOUT_NOW), 1);
    cr_assert_leq(node(1)->deadline_us, c.now_us + HEARTBEAT_US);
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cr_assert_leq(node(1)->deadline_us, c.now_us + 1, "it is given up then");
    cluster_deinit(&c);
}
