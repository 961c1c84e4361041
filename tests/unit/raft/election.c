/* Rules 1-3, 19-23, 27, 42: elections. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

static enum raft_role role(raft_node_id id)
{
    return raft_role(c.nodes[id].raft);
}

static uint64_t term(raft_node_id id)
{
    return raft_hard_state(c.nodes[id].raft).term;
}

/* The answer that node 1 sent to `to`; true if it granted. */
static bool granted(raft_node_id to, enum raft_message_type type)
{
    struct raft_message *message = cluster_take(&c, to, type);
    cr_assert_not_null(message, "no answer");
    bool result = message->vote_response.granted;
    raft_message_destroy(message);
    return result;
}

/* Gives node 1 a request and completes what it persists. */
static bool ask(enum raft_message_type type, raft_node_id from, uint64_t at_term,
                struct raft_id last)
{
    cluster_receive(&c, vote_request(type, from, 1, at_term, last));
    cluster_persist_all(&c, 1);
    return granted(from, type == RAFT_PREVOTE_REQUEST ? RAFT_PREVOTE_RESPONSE : RAFT_VOTE_RESPONSE);
}

TestSuite(election);

Test(election, three_nodes_elect_one_leader_and_keep_it)
{
    cluster_setup(&c, 3, 3);
    cluster_run(&c, 4 * T_US);
    raft_node_id leader = raft_leader(c.nodes[1].raft);
    cr_assert_neq(leader, 0);
    cr_assert_eq(role(leader), RAFT_LEADER);
    uint64_t elected = term(leader);
    cluster_run(&c, 20 * T_US);
    for (raft_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(raft_leader(c.nodes[id].raft), leader);
        cr_assert_eq(term(id), elected, "nobody disturbed a healthy leader");
        cr_assert_eq(raft_commit(c.nodes[id].raft), 2, "the no-op is committed everywhere");
    }
    cluster_deinit(&c);
}

Test(election, rule_3_no_next_campaign_before_the_term_of_the_last_one_is_durable)
{
    cluster_init(&c, 3);
    c.nodes[1].options.disk_stall_us = 20 * T_US;
    cluster_start(&c, 1);
    cluster_advance(&c, 2 * T_US + 2);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_advance(&c, 2 * T_US + 2);
    cluster_drop_all(&c);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_PREVOTE_REQUEST), 0);
    cluster_persist_all(&c, 1);
    cluster_advance(&c, 2 * T_US + 2);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_PREVOTE_REQUEST), 1);
    cluster_deinit(&c);
}

Test(election, a_single_voter_leads_at_once_without_asking)
{
    cluster_setup(&c, 1, 1);
    cluster_settle(&c);
    cr_assert_eq(role(1), RAFT_LEADER);
    cr_assert(raft_is_serving(c.nodes[1].raft));
    cr_assert_eq(c.nodes[1].deadline_us, UINT64_MAX, "nobody to remind, nobody to miss");
    cluster_deinit(&c);
}

Test(election, rule_3_a_single_voter_leads_only_after_its_term_is_durable)
{
    cluster_setup(&c, 1, 1);
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_persist(&c, 1);
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

Test(election, rule_1_a_vote_leaves_when_it_is_durable)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 2, 1, 5, id_of(1, 1)));
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_RESPONSE), 0);
    cr_assert_eq(c.nodes[1].persist_count, 1);
    cr_assert(c.nodes[1].persists[0].hard_state_changed);
    cr_assert_eq(c.nodes[1].persists[0].hard_state.term, 5);
    cr_assert_eq(c.nodes[1].persists[0].hard_state.vote, 2);
    cluster_persist(&c, 1);
    cr_assert(granted(2, RAFT_VOTE_RESPONSE));
    cluster_deinit(&c);
}

Test(election, rule_1_even_a_repeated_answer_waits_for_the_disk)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 2, 1, 5, id_of(1, 1)));
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 2, 1, 5, id_of(1, 1)));
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_RESPONSE), 0);
    cluster_persist_all(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_RESPONSE), 2);
    cluster_deinit(&c);
}

Test(election, rule_1_a_vote_in_a_term_already_durable_is_made_durable_too)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 5}, NULL, 0);
    cluster_start(&c, 1);
    cluster_advance(&c, T_US);
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 2, 1, 5, id_of(1, 1)));
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_RESPONSE), 0);
    cr_assert_eq(c.nodes[1].persist_count, 1);
    cr_assert(c.nodes[1].persists[0].hard_state_changed);
    cr_assert_eq(c.nodes[1].persists[0].hard_state.vote, 2);
    cluster_persist(&c, 1);
    cr_assert(granted(2, RAFT_VOTE_RESPONSE));
    cluster_deinit(&c);
}

Test(election, rule_1_a_vote_survives_a_crash)
{
    cluster_setup(&c, 3, 1);
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(1, 1)));
    cluster_crash(&c, 1);
    cluster_start_node(&c, 1);
    cluster_advance(&c, T_US);
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 3, 5, id_of(9, 9)), "one vote a term");
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(1, 1)), "and the same one again");
    cluster_deinit(&c);
}

Test(election, rule_3_requests_leave_when_term_and_own_vote_are_durable)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_REQUEST), 0);
    cr_assert_eq(c.nodes[1].persists[0].hard_state.vote, 1);
    cluster_persist(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_REQUEST), 1);
    cr_assert_eq(cluster_count(&c, 3, RAFT_VOTE_REQUEST), 1);
    cluster_deinit(&c);
}

Test(election, rule_3_the_own_vote_counts_when_it_is_durable)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, 2, 2, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_persist(&c, 1);
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

Test(election, rule_2_a_new_term_and_its_first_entries_are_one_persist)
{
    cluster_setup(&c, 3, 1);
    const uint64_t terms[] = {4};
    cluster_receive(&c, append_request(2, 1, 4, id_of(1, 1), 0, terms, 1));
    cr_assert_eq(c.nodes[1].persist_count, 1);
    cr_assert(c.nodes[1].persists[0].hard_state_changed);
    cr_assert_eq(c.nodes[1].persists[0].hard_state.term, 4);
    cr_assert_eq(c.nodes[1].persists[0].entries.entry_count, 1);
    cluster_deinit(&c);
}

Test(election, a_vote_goes_to_a_longer_log_and_to_a_later_term)
{
    cluster_init(&c, 3);
    const uint64_t terms[] = {2, 2};
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 2}, terms, 2);
    cluster_start(&c, 1);
    cluster_advance(&c, T_US);
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 2, 3, id_of(2, 2)), "shorter");
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 2, 4, id_of(1, 9)), "longer, of an older term");
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(2, 3)), "equal");
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 6, id_of(2, 4)), "longer");
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 7, id_of(3, 2)), "shorter, of a later term");
    cluster_deinit(&c);
}

Test(election, a_prevote_asks_for_the_same_log)
{
    cluster_init(&c, 3);
    const uint64_t terms[] = {2, 2};
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 2}, terms, 2);
    cluster_start(&c, 1);
    cluster_advance(&c, T_US);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 3, id_of(2, 2)));
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 2, 3, id_of(2, 3)));
    cluster_deinit(&c);
}

Test(election, rule_19_a_prevote_changes_nothing)
{
    cluster_setup(&c, 3, 1);
    uint64_t deadline = c.nodes[1].deadline_us;
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 2, 9, id_of(1, 1)));
    cr_assert_eq(term(1), 1);
    cr_assert_eq(raft_hard_state(c.nodes[1].raft).vote, 0);
    cr_assert_eq(c.nodes[1].persist_count, 0);
    cr_assert_eq(c.nodes[1].deadline_us, deadline);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 3, 9, id_of(1, 1)), "and binds to nobody");
    cluster_deinit(&c);
}

Test(election, rule_19_a_prevote_for_the_own_term_is_refused)
{
    cluster_setup(&c, 3, 1);
    uint64_t own = term(1);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, own, id_of(own, 9)));
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 2, own + 1, id_of(own, 9)));
    cluster_deinit(&c);
}

Test(election, rule_19_who_asks_for_prevotes_changes_nothing_either)
{
    cluster_setup(&c, 3, 1);
    for (int i = 0; i < 5; i++) {
        cluster_advance(&c, 2 * T_US);
        cluster_timeout(&c, 1);
    }
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cr_assert_eq(term(1), 1, "a node that is cut off keeps its term");
    cr_assert_eq(c.nodes[1].persist_count, 0);
    cluster_deinit(&c);
}

Test(election, rule_19_a_vote_is_no_prevote_nor_the_other_way_round)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cluster_persist_all(&c, 1);
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 3, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_deinit(&c);
}

Test(election, prevotes_of_an_earlier_attempt_do_not_count)
{
    cluster_setup(&c, 5, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cluster_advance(&c, T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 3, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_PRECANDIDATE, "node 2 may have heard of a leader since");
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_deinit(&c);
}

Test(election, votes_of_another_campaign_do_not_count)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 1, true));
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cluster_persist_all(&c, 1);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, 1, 1, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, 2, 2, false));
    cr_assert_eq(role(1), RAFT_CANDIDATE, "a refusal is no vote");
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 3, 1, 2, 2, true));
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

/* The disk under this id was lost since: what a late message gives was given to its log. */
Test(election, votes_for_another_data_directory_do_not_count)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    struct raft_message *late = vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true);
    late->vote_response.incarnation = 99;
    cluster_receive(&c, late);
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cluster_persist_all(&c, 1);
    late = vote_response(RAFT_VOTE_RESPONSE, 2, 1, 2, 2, true);
    late->vote_response.incarnation = 99;
    cluster_receive(&c, late);
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_receive(&c, vote_response(RAFT_VOTE_RESPONSE, 2, 1, 2, 2, true));
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

Test(election, a_vote_says_whom_it_was_given_to)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    struct raft_message *request = vote_request(RAFT_VOTE_REQUEST, 2, 1, 2, (struct raft_id){1, 1});
    request->vote_request.incarnation = 77;
    cluster_receive(&c, request);
    cluster_persist_all(&c, 1);
    struct raft_message *answer = cluster_take(&c, 2, RAFT_VOTE_RESPONSE);
    cr_assert(answer->vote_response.granted);
    cr_assert_eq(answer->vote_response.incarnation, 77);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

Test(election, one_voter_counts_once_however_often_it_answers)
{
    cluster_setup(&c, 5, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cluster_deinit(&c);
}

Test(election, rule_20_a_lower_term_append_is_answered_with_the_higher_term)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 7}, NULL, 0);
    cluster_start(&c, 1);
    cluster_receive(&c, append_request(2, 1, 3, id_of(1, 1), 0, NULL, 0));
    struct raft_message *answer = cluster_take(&c, 2, RAFT_APPEND_RESPONSE);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->term, 7);
    cr_assert_eq(answer->append_response.result, RAFT_APPEND_STALE);
    cr_assert_eq(raft_leader(c.nodes[1].raft), 0);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

Test(election, rule_20_a_lower_term_prevote_is_answered_with_the_higher_term)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 7}, NULL, 0);
    cluster_start(&c, 1);
    cluster_receive(&c, vote_request(RAFT_PREVOTE_REQUEST, 2, 1, 3, id_of(1, 1)));
    struct raft_message *answer = cluster_take(&c, 2, RAFT_PREVOTE_RESPONSE);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->term, 7);
    cr_assert_not(answer->vote_response.granted);
    raft_message_destroy(answer);
    cluster_deinit(&c);
}

Test(election, rule_20_a_node_with_a_higher_term_comes_back_and_the_group_goes_on)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 3, (struct raft_hard_state){.term = 9}, NULL, 0);
    cluster_start(&c, 2);
    cluster_run(&c, 4 * T_US);
    cluster_start_node(&c, 3);
    cluster_run(&c, 10 * T_US);
    raft_node_id leader = raft_leader(c.nodes[3].raft);
    cr_assert_neq(leader, 0);
    for (raft_node_id id = 1; id <= 3; id++) {
        cr_assert_eq(raft_leader(c.nodes[id].raft), leader);
        cr_assert_geq(term(id), 10);
    }
    cluster_deinit(&c);
}

/* etcd 8501: the node with the newer log is terms behind the other one, which needs its vote. */
Test(election, rule_20_of_two_the_one_with_the_newer_log_learns_the_newer_term_and_leads)
{
    const uint64_t newer[] = {2, 2};
    cluster_init(&c, 3);
    cluster_set_disk(&c, 2, (struct raft_hard_state){.term = 2}, newer, 2);
    cluster_set_disk(&c, 3, (struct raft_hard_state){.term = 9}, newer, 1);
    cluster_start_node(&c, 2);
    cluster_start_node(&c, 3);
    cluster_run(&c, 10 * T_US);
    cr_assert_eq(raft_leader(c.nodes[2].raft), 2);
    cr_assert_eq(raft_leader(c.nodes[3].raft), 2);
    cluster_deinit(&c);
}

Test(election, rule_20_a_refused_prevote_teaches_the_higher_term)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 6, 2, false));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(term(1), 6);
    cluster_deinit(&c);
}

Test(election, rule_21_a_follower_of_a_live_leader_refuses_votes_and_prevotes)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 1), 1, NULL, 0));
    cluster_advance(&c, T_US - 1);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 3, 9, id_of(1, 1)));
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 3, 9, id_of(1, 1)));
    cr_assert_eq(term(1), 1, "and does not even take over the term");
    cluster_advance(&c, 1);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 3, 9, id_of(1, 1)));
    cr_assert(ask(RAFT_VOTE_REQUEST, 3, 9, id_of(1, 1)));
    cluster_deinit(&c);
}

Test(election, rule_21_a_leader_with_its_quorum_refuses_votes_and_prevotes)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 3, led + 5, id_of(9, 9)));
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 3, led + 5, id_of(9, 9)));
    cr_assert_eq(role(1), RAFT_LEADER);
    cr_assert_eq(term(1), led);
    cluster_deinit(&c);
}

Test(election, rule_21_a_leader_that_is_replaced_holds_to_the_new_one_from_its_first_append)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(1, 1), 1, NULL, 0));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cluster_advance(&c, T_US - 1);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 3, led + 9, id_of(9, 9)));
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 3, led + 9, id_of(9, 9)));
    cr_assert_eq(term(1), led + 1);
    cluster_advance(&c, 1);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 3, led + 9, id_of(9, 9)));
    cluster_deinit(&c);
}

Test(election, a_leader_that_asks_for_votes_is_not_held_against_itself)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 1, id_of(1, 1), 1, NULL, 0));
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)), "node 2 has stepped down");
    cluster_deinit(&c);
}

Test(election, rule_22_granting_a_prevote_resets_no_timer)
{
    cluster_setup(&c, 3, 1);
    uint64_t deadline = c.nodes[1].deadline_us;
    cluster_advance(&c, T_US / 2);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)));
    cr_assert_eq(c.nodes[1].deadline_us, deadline);
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 2, id_of(1, 1)));
    cr_assert_gt(c.nodes[1].deadline_us, deadline, "a vote does");
    cluster_deinit(&c);
}

Test(election, refusing_a_vote_resets_no_timer)
{
    cluster_setup(&c, 3, 1);
    uint64_t deadline = c.nodes[1].deadline_us;
    cluster_advance(&c, T_US / 2);
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(0, 0)));
    cr_assert_eq(term(1), 5);
    cr_assert_eq(c.nodes[1].deadline_us, deadline);
    cluster_deinit(&c);
}

Test(election, rule_23_a_learner_that_is_asked_votes_and_never_campaigns)
{
    cluster_init(&c, 3);
    c.configuration.members[0].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    cr_assert_eq(c.nodes[1].deadline_us, UINT64_MAX);
    cluster_advance(&c, 10 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(c.wire.count, 0);
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(1, 1)));
    cluster_deinit(&c);
}

Test(election, rule_27_timeouts_are_random_and_drawn_for_each_election)
{
    cluster_setup(&c, 3, 1);
    uint64_t low = UINT64_MAX, high = 0;
    for (uint64_t t = 2; t < 200; t++) {
        cluster_receive(&c, append_request(2, 1, t, id_of(1, 1), 0, NULL, 0));
        uint64_t silence = c.nodes[1].deadline_us - c.now_us;
        cr_assert(silence >= T_US && silence <= 2 * T_US);
        /* A campaign in between: the next timeout is another one. */
        cluster_persist_all(&c, 1);
        cluster_advance(&c, 2 * T_US);
        cluster_timeout(&c, 1);
        cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, t, t + 1, true));
        cr_assert_eq(role(1), RAFT_CANDIDATE);
        silence = c.nodes[1].deadline_us - c.now_us;
        cr_assert(silence >= T_US && silence <= 2 * T_US);
        low = silence < low ? silence : low;
        high = silence > high ? silence : high;
        cluster_persist_all(&c, 1);
        cluster_drop_all(&c);
    }
    cr_assert_lt(low, T_US + T_US / 10, "the whole of [T, 2T] is used");
    cr_assert_gt(high, 2 * T_US - T_US / 10);
    cluster_deinit(&c);
}

Test(election, rule_42_a_voter_that_restarts_waits_before_it_votes)
{
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 4}, NULL, 0);
    cluster_start(&c, 1);
    cluster_advance(&c, T_US - 1);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 5, id_of(1, 1)));
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(1, 1)));
    cluster_advance(&c, 1);
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 5, id_of(1, 1)));
    cluster_deinit(&c);
}

/* It has voted for nobody in this term, and has answered the leader of it. */
Test(election, rule_42_a_voter_that_followed_without_a_vote_waits_too)
{
    const uint64_t terms[] = {2};
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 2}, terms, 1);
    cluster_start(&c, 1);
    cr_assert_not(ask(RAFT_VOTE_REQUEST, 2, 3, id_of(2, 2)));
    cluster_advance(&c, T_US);
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 3, id_of(2, 2)));
    cluster_deinit(&c);
}

Test(election, rule_42_a_node_that_has_answered_nobody_need_not_wait)
{
    cluster_setup(&c, 3, 1);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)));
    cluster_deinit(&c);
}

Test(election, rule_30_a_leader_without_one_of_both_quorums_steps_down)
{
    for (raft_node_id heard = 2; heard <= 3; heard++) { /* of the outgoing set, of the incoming */
        cluster_init(&c, 3);
        c.configuration.joint = true;
        c.configuration.members[0].flags = RAFT_MEMBER_VOTER | RAFT_MEMBER_VOTER_OLD;
        c.configuration.members[1].flags = RAFT_MEMBER_VOTER_OLD;
        c.configuration.members[2].flags = RAFT_MEMBER_VOTER;
        cluster_start(&c, 1);
        uint64_t led = cluster_lead_alone(&c);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_LEADER);
            cluster_advance(&c, T_US / 3);
            cluster_receive(&c, append_accepted(heard, 1, led, 1, 0));
        }
        cluster_advance(&c, T_US / 3);
        cluster_timeout(&c, 1);
        cr_assert_eq(raft_role(c.nodes[1].raft), RAFT_FOLLOWER);
        cluster_deinit(&c);
    }
}

Test(election, a_leader_without_its_quorum_steps_down)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_advance(&c, T_US / 2);
    cluster_receive(&c, append_accepted(2, 1, led, 1, 0));
    cluster_advance(&c, T_US - 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_LEADER, "node 2 was heard of within T");
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_leader(c.nodes[1].raft), 0);
    cr_assert_eq(term(1), led);
    cluster_deinit(&c);
}

Test(election, a_learner_does_not_keep_a_leader_in_office)
{
    cluster_init(&c, 4);
    c.configuration.members[3].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_accepted(4, 1, led, 1, 0));
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cluster_deinit(&c);
}

Test(election, a_leader_goes_when_it_hears_of_a_higher_term)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    struct raft_message *stale = append_accepted(2, 1, led + 3, 0, 0);
    stale->append_response.result = RAFT_APPEND_STALE;
    cluster_receive(&c, stale);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(term(1), led + 3);
    cluster_deinit(&c);
}

Test(election, a_candidate_follows_the_leader_of_its_own_term)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 2, 1, 1, 2, true));
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    cluster_receive(&c, append_request(3, 1, 2, id_of(1, 1), 1, NULL, 0));
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(raft_leader(c.nodes[1].raft), 3);
    cr_assert_eq(raft_hard_state(c.nodes[1].raft).vote, 1, "its vote of the term stays given");
    cluster_deinit(&c);
}

Test(election, a_disk_slower_than_elections_is_not_asked_for_ever_newer_terms)
{
    cluster_setup(&c, 1, 1);
    cr_assert_eq(role(1), RAFT_CANDIDATE);
    for (int i = 0; i < 5; i++) {
        cluster_advance(&c, 2 * T_US);
        cluster_timeout(&c, 1);
    }
    cr_assert_eq(term(1), 2);
    cluster_settle(&c);
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

Test(election, the_same_seed_gives_the_same_election)
{
    uint64_t deadlines[2][3];
    for (int run = 0; run < 2; run++) {
        cluster_setup(&c, 3, 3);
        cluster_run(&c, 5 * T_US);
        for (raft_node_id id = 1; id <= 3; id++)
            deadlines[run][id - 1] = c.nodes[id].deadline_us ^ (term(id) << 32);
        cluster_deinit(&c);
    }
    for (int i = 0; i < 3; i++)
        cr_assert_eq(deadlines[0][i], deadlines[1][i]);
}

static void peer_down(raft_node_id id, raft_node_id peer)
{
    struct raft_event event = {.type = RAFT_EVENT_PEER_DOWN, .peer_down = peer};
    cluster_step(&c, id, &event, 1);
}

Test(election, a_follower_that_loses_its_leader_asks_long_before_its_timeout)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    peer_down(1, 3); /* not the leader: nothing changes */
    cr_assert_geq(c.nodes[1].deadline_us, c.now_us + T_US);
    peer_down(1, 2);
    cr_assert_leq(c.nodes[1].deadline_us, c.now_us + T_US / 8);
    cluster_advance(&c, T_US / 8);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cluster_deinit(&c);
}

Test(election, a_follower_that_loses_its_leader_helps_to_elect_another)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 3, 3, id_of(1, 1)), "Rule 21");
    peer_down(1, 2);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 3, 3, id_of(1, 1)));
    cluster_deinit(&c);
}

/* Node 2 asks for a pre-vote with a log that lacks an entry. */
static void is_asked_by_a_worse_log(void)
{
    const uint64_t terms[] = {1};
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 1}, terms, 1);
}

Test(election, who_has_a_better_log_than_who_asks_asks_soon_itself)
{
    is_asked_by_a_worse_log();
    cluster_start(&c, 1);
    cluster_advance(&c, T_US); /* what it might have promised before is over */
    cluster_receive(&c, append_request(3, 1, 1, id_of(1, 2), 1, NULL, 0));
    uint64_t deadline_us = c.nodes[1].deadline_us;
    cluster_advance(&c, T_US / 2);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)));
    cr_assert_eq(c.nodes[1].deadline_us, deadline_us, "Rule 21: it holds to its leader");
    cluster_advance(&c, T_US / 2);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 1, id_of(1, 1)), "of a term that is over");
    cr_assert_eq(c.nodes[1].deadline_us, deadline_us);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)));
    cr_assert_leq(c.nodes[1].deadline_us, c.now_us + T_US / 8);
    cluster_advance(&c, T_US / 8);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cr_assert_eq(term(1), 1);
    cluster_deinit(&c);
}

/* Node 3 has all that node 1 has, and may be elected by now. */
Test(election, who_helped_another_does_not_ask_soon_itself)
{
    is_asked_by_a_worse_log();
    cluster_start(&c, 1);
    cluster_advance(&c, T_US);
    cr_assert(ask(RAFT_PREVOTE_REQUEST, 3, 2, id_of(1, 2)));
    uint64_t deadline_us = c.nodes[1].deadline_us;
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)));
    cr_assert_eq(c.nodes[1].deadline_us, deadline_us);
    cluster_deinit(&c);
}

Test(election, who_has_a_better_log_and_a_low_priority_lets_others_with_that_log_try_first)
{
    is_asked_by_a_worse_log();
    c.nodes[1].options.priority = 50;
    cluster_start(&c, 1);
    cluster_advance(&c, T_US);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 2, 2, id_of(1, 1)));
    cr_assert_geq(c.nodes[1].deadline_us, c.now_us + T_US / 2);
    cr_assert_leq(c.nodes[1].deadline_us, c.now_us + T_US / 2 + T_US / 8);
    cluster_deinit(&c);
}

Test(election, a_leader_that_was_only_disconnected_is_followed_again)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    peer_down(1, 2);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cr_assert_geq(c.nodes[1].deadline_us, c.now_us + T_US);
    cr_assert_not(ask(RAFT_PREVOTE_REQUEST, 3, 3, id_of(1, 1)), "Rule 21 holds again");
    cr_assert_eq(term(1), 2);
    cluster_deinit(&c);
}

Test(election, of_two_that_ask_for_prevotes_at_once_the_lower_id_stands_back)
{
    cluster_setup(&c, 3, 2);
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cluster_timeout(&c, 2);
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cr_assert_eq(role(2), RAFT_PRECANDIDATE);
    cluster_settle(&c);
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cr_assert_eq(role(2), RAFT_LEADER, "and the other one wins in the first round");
    cr_assert_eq(term(2), 2);
    cluster_deinit(&c);
}

Test(election, nobody_stands_back_for_a_worse_log)
{
    const uint64_t terms[] = {1};
    cluster_init(&c, 3);
    cluster_set_disk(&c, 1, (struct raft_hard_state){.term = 1}, terms, 1);
    cluster_start(&c, 2);
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cluster_timeout(&c, 2);
    cluster_settle(&c);
    cr_assert_eq(role(1), RAFT_LEADER);
    cluster_deinit(&c);
}

Test(election, who_gives_its_vote_asks_for_none_itself)
{
    cluster_setup(&c, 3, 1);
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(role(1), RAFT_PRECANDIDATE);
    cr_assert(ask(RAFT_VOTE_REQUEST, 2, 1, id_of(1, 1)), "it had none to give away in this term");
    cr_assert_eq(role(1), RAFT_FOLLOWER);
    cluster_deinit(&c);
}
