/* Rules 2, 4, 5: nothing is claimed before the disk has it. */
#include "cluster.h"

#include <criterion/criterion.h>

static struct cluster c;

#define TERMS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8

static struct raft *raft(void)
{
    return c.nodes[1].raft;
}

/* Takes the next answer to node `to` and returns its match; UINT64_MAX if there is none. */
static uint64_t next_match(raft_node_id to)
{
    struct raft_message *message = cluster_take(&c, to, RAFT_APPEND_RESPONSE);
    if (!message)
        return UINT64_MAX;
    cr_assert_eq(message->append_response.result, RAFT_APPEND_ACCEPTED);
    uint64_t match = message->append_response.match;
    raft_message_destroy(message);
    return match;
}

/* Node 1 follows node 2 in term 2, which is durable. */
static void follower(void)
{
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
}

Test(durable, rule_4_new_entries_are_acknowledged_after_the_disk_has_them)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2)));
    cr_assert_eq(next_match(2), UINT64_MAX);
    cr_assert_eq(raft_durable(raft()).index, 1);
    cluster_persist(&c, 1);
    cr_assert_eq(next_match(2), 3);
    cr_assert_eq(raft_durable(raft()).index, 3);
    cluster_deinit(&c);
}

Test(durable, rule_4_a_heartbeat_is_answered_at_once_and_claims_only_what_is_durable)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2)));
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 3), 1, NULL, 0));
    cr_assert_eq(next_match(2), 1);
    cluster_persist(&c, 1);
    cr_assert_eq(next_match(2), 3);
    cr_assert_eq(next_match(2), UINT64_MAX, "once");
    cluster_deinit(&c);
}

Test(durable, rule_4_a_repeated_append_claims_only_what_is_durable)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2)));
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2)));
    cr_assert_eq(next_match(2), 1);
    cr_assert_eq(c.nodes[1].persist_count, 1);
    cluster_deinit(&c);
}

Test(durable, appends_of_one_step_are_one_persist_and_one_answer)
{
    follower();
    struct raft_event events[2] = {{.type = RAFT_EVENT_RECEIVE}, {.type = RAFT_EVENT_RECEIVE}};
    events[0].receive = append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2));
    events[1].receive = append_request(2, 1, 2, id_of(2, 3), 1, TERMS(2));
    cluster_step(&c, 1, events, 2);
    cr_assert_eq(c.nodes[1].persist_count, 1);
    cr_assert_eq(c.nodes[1].persists[0].entries.entry_count, 3);
    cluster_persist(&c, 1);
    cr_assert_eq(next_match(2), 4);
    cr_assert_eq(next_match(2), UINT64_MAX);
    cluster_deinit(&c);
}

Test(durable, a_confirmation_round_does_not_wait_for_the_disk)
{
    follower();
    struct raft_message *message = append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2));
    message->append_request.round = 4;
    cluster_receive(&c, message);
    struct raft_message *answer = cluster_take(&c, 2, RAFT_APPEND_RESPONSE);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->append_response.round, 4);
    cr_assert_eq(answer->append_response.match, 1);
    raft_message_destroy(answer);
    cluster_persist(&c, 1);
    cr_assert_eq(next_match(2), 2);
    message = append_request(2, 1, 2, id_of(2, 2), 1, TERMS(2));
    message->append_request.round = 4;
    cluster_receive(&c, message);
    cr_assert_eq(c.wire.count, 0, "it was answered once");
    cluster_deinit(&c);
}

Test(durable, rule_2_nothing_is_answered_in_a_term_that_is_not_durable)
{
    follower();
    cluster_receive(&c, append_request(3, 1, 3, id_of(1, 1), 1, NULL, 0));
    cluster_receive(&c, append_request(3, 1, 3, id_of(1, 1), 1, NULL, 0));
    cluster_receive(&c, append_request(3, 1, 3, id_of(3, 9), 1, NULL, 0));
    cluster_receive(&c, vote_request(RAFT_VOTE_REQUEST, 2, 1, 2, id_of(9, 9)));
    cr_assert_eq(c.wire.count, 0);
    cluster_persist_all(&c, 1);
    cr_assert_eq(cluster_count(&c, 3, RAFT_APPEND_RESPONSE), 3);
    cr_assert_eq(cluster_count(&c, 2, RAFT_VOTE_RESPONSE), 1);
    cluster_deinit(&c);
}

Test(durable, a_new_leader_learns_of_entries_of_the_old_one_when_they_are_durable)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2)));
    cluster_receive(&c, append_request(3, 1, 3, id_of(2, 3), 1, NULL, 0));
    cluster_persist(&c, 1);
    cr_assert_eq(next_match(3), UINT64_MAX, "term 3 is not durable yet");
    cluster_persist(&c, 1);
    cr_assert_eq(next_match(3), 3);
    cluster_deinit(&c);
}

Test(durable, rule_5_a_completion_for_replaced_entries_is_no_acknowledgement)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2, 2)));
    cluster_receive(&c, append_request(3, 1, 3, id_of(2, 2), 1, TERMS(3)));
    cluster_persist(&c, 1);
    cr_assert_eq(raft_durable(raft()).index, 2);
    cr_assert_eq(raft_durable(raft()).term, 2);
    cluster_persist(&c, 1);
    cr_assert_eq(raft_durable(raft()).index, 3);
    cr_assert_eq(raft_durable(raft()).term, 3);
    cluster_deinit(&c);
}

Test(durable, what_was_verified_with_one_leader_says_nothing_to_the_next)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2, 2)));
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_match(2), 4);
    /* Another leader, met by a vote first: it is known to agree at entry 1 only. */
    cluster_receive(&c, append_request(3, 1, 3, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_match(3), 1);
    cluster_deinit(&c);
}

Test(durable, what_was_verified_is_forgotten_by_an_own_candidacy_too)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2, 2)));
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cluster_receive(&c, vote_response(RAFT_PREVOTE_RESPONSE, 3, 1, 2, 3, true));
    cr_assert_eq(raft_role(raft()), RAFT_CANDIDATE);
    cluster_persist_all(&c, 1);
    cluster_drop_all(&c);
    cluster_receive(&c, append_request(3, 1, 3, id_of(1, 1), 1, NULL, 0));
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_match(3), 1);
    cluster_deinit(&c);
}

/* The round that the next answer to a node names. */
static uint64_t next_round(raft_node_id to)
{
    struct raft_message *answer = cluster_take(&c, to, RAFT_APPEND_RESPONSE);
    cr_assert_not_null(answer, "nothing is said to %llu", (unsigned long long)to);
    uint64_t round = answer->append_response.round;
    raft_message_destroy(answer);
    return round;
}

static void receive_round(struct raft_message *request, uint64_t round)
{
    request->append_request.round = round;
    cluster_receive(&c, request);
}

/* Of one leader the highest counts, in whatever order its appends come. */
Test(durable, the_highest_round_is_answered)
{
    follower();
    receive_round(append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0), 9);
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_round(2), 9);
    receive_round(append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0), 4);
    cr_assert_eq(next_round(2), 9);
    cluster_deinit(&c);
}

/* They are numbers of the leader that sent them: another leader's say nothing of its own, neither
 * that it was followed since nor that it was answered already. */
Test(durable, rounds_of_the_last_terms_leader_are_forgotten)
{
    follower();
    receive_round(append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0), 9);
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_round(2), 9);
    receive_round(append_request(3, 1, 3, id_of(1, 1), 1, NULL, 0), 4);
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_round(3), 4);
    receive_round(append_request(3, 1, 3, id_of(1, 1), 1, TERMS(3)), 5);
    cr_assert_eq(next_round(3), 5, "a new round does not wait for the disk");
    cluster_deinit(&c);
}

Test(durable, a_node_applies_only_what_its_own_disk_has)
{
    follower();
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 3, TERMS(2, 2)));
    cr_assert_eq(raft_commit(raft()), 3);
    cr_assert_eq(c.nodes[1].applied_index, 1);
    cluster_persist(&c, 1);
    cr_assert_eq(c.nodes[1].applied_index, 3);
    cluster_deinit(&c);
}

Test(durable, a_leader_counts_itself_when_its_own_disk_has_the_entry)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft()), 2, "node 2 has entry 3, this node not yet");
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_commit(raft()), 3);
    cluster_deinit(&c);
}

Test(durable, the_others_can_commit_before_the_leaders_own_disk)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_propose(&c, 1, 1, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 0, "probing: one at a time");
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cr_assert_eq(raft_commit(raft()), 3);
    cr_assert_eq(c.nodes[1].applied_index, 2, "but it applies only its own durable entries");
    cluster_deinit(&c);
}

Test(durable, what_the_old_leader_was_to_be_told_the_new_one_is_not)
{
    follower();
    struct raft_event events[2] = {{.type = RAFT_EVENT_RECEIVE}, {.type = RAFT_EVENT_RECEIVE}};
    events[0].receive = append_request(2, 1, 2, id_of(1, 1), 1, TERMS(2, 2));
    events[1].receive = append_request(3, 1, 3, id_of(3, 9), 1, NULL, 0);
    cluster_step(&c, 1, events, 2);
    cluster_persist_all(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_RESPONSE), 0);
    cr_assert_eq(cluster_count(&c, 3, RAFT_APPEND_RESPONSE), 1, "the rejection alone");
    cluster_deinit(&c);
}

Test(durable, what_was_cut_is_not_acknowledged)
{
    follower();
    /* No sane leader replaces what it sent in the same term; it must not gain a false answer. */
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, TERMS(1, 1, 1)));
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 2), 1, TERMS(2)));
    cluster_persist_all(&c, 1);
    cr_assert_eq(next_match(2), 4);
    cr_assert_eq(next_match(2), 3);
    cluster_deinit(&c);
}
