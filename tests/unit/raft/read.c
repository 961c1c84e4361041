/* Rule 40: linearizable reads. */
#include "cluster.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static struct cluster c;

static struct test_node *node(void)
{
    return &c.nodes[1];
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

/* Node 1 leads three and has committed its no-op (entry 2). */
static uint64_t serving(void)
{
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert(raft_is_serving(node()->raft));
    cluster_drop_all(&c);
    return led;
}

Test(read, is_confirmed_by_a_round_that_a_majority_answered)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 77);
    cr_assert_eq(node()->reads.count, 0);
    uint64_t round = round_sent();
    cr_assert_gt(round, 0);
    cluster_receive(&c, append_accepted(2, 1, led, 2, round));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 77);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_OK);
    cr_assert_eq(node()->reads.items[0].index, 2);
    cluster_deinit(&c);
}

Test(read, rule_40_waits_for_a_commit_of_the_leaders_own_term)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_read(&c, 1, 77);
    cr_assert_eq(round_sent(), 0, "no round is begun: the commit index may be too low");
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    uint64_t round = round_sent();
    cr_assert_gt(round, 0);
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, append_accepted(3, 1, led, 2, round));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].index, 2);
    cluster_deinit(&c);
}

Test(read, rule_40_an_answer_to_an_earlier_round_confirms_nothing)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 1);
    uint64_t first = round_sent();
    cluster_read(&c, 1, 2);
    uint64_t second = round_sent();
    cr_assert_gt(second, first);
    cluster_receive(&c, append_accepted(2, 1, led, 2, first));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, first));
    cr_assert_eq(node()->reads.count, 1, "not even when it is repeated");
    cluster_receive(&c, append_accepted(2, 1, led, 2, second));
    cr_assert_eq(node()->reads.count, 2);
    cluster_deinit(&c);
}

Test(read, rule_40_the_index_is_taken_before_the_round)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 1);
    uint64_t round = round_sent();
    cluster_propose(&c, 1, 1, 1);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(3, 1, led, 3, 0));
    cr_assert_eq(raft_commit(node()->raft), 3);
    cluster_receive(&c, append_accepted(2, 1, led, 2, round));
    cr_assert_eq(node()->reads.items[0].index, 2,
                 "what came after the read need not be waited for");
    cluster_deinit(&c);
}

Test(read, rule_40_may_be_executed_ahead_at_the_index_that_its_answer_needs)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_read(&c, 1, 77);
    cr_assert_eq(node()->reads_begun.count, 0, "what is committed is not known yet");
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert_eq(node()->reads_begun.count, 1);
    cr_assert_eq(node()->reads_begun.items[0].read, 77);
    cr_assert_eq(node()->reads_begun.items[0].index, 2);
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, append_accepted(2, 1, led, 2, round_sent()));
    cr_assert_eq(node()->reads.items[0].index, 2);
    cr_assert_eq(node()->reads_begun.count, 1, "once");
    struct raft_message *request = raft_message_create(RAFT_READ_REQUEST, 2, 1, led);
    request->read_index.number = 5;
    cluster_receive(&c, request);
    cr_assert_gt(round_sent(), 0);
    cr_assert_eq(node()->reads_begun.count, 1, "a follower's is executed by the follower");
    cluster_deinit(&c);
}

Test(read, the_reads_of_one_step_share_a_round)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    struct raft_event events[3];
    for (uint64_t i = 0; i < 3; i++)
        events[i] = (struct raft_event){.type = RAFT_EVENT_READ, .read = i};
    cluster_step(&c, 1, events, 3);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cluster_receive(&c, append_accepted(2, 1, led, 2, round_sent()));
    cr_assert_eq(node()->reads.count, 3);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(node()->reads.items[i].read, i);
    cluster_deinit(&c);
}

Test(read, a_round_rides_on_an_append_with_entries)
{
    cluster_setup(&c, 3, 1);
    serving();
    struct raft_event events[2] = {{.type = RAFT_EVENT_READ, .read = 1},
                                   {.type = RAFT_EVENT_PROPOSE}};
    events[1].propose = command_batch(1, 1);
    cluster_step(&c, 1, events, 2);
    cr_assert_eq(cluster_count(&c, 2, RAFT_APPEND_REQUEST), 1);
    cr_assert_gt(round_sent(), 0);
    cluster_deinit(&c);
}

Test(read, a_rejected_append_still_confirms_the_round)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 1);
    struct raft_message *rejected = append_rejected(3, 1, led, 1, id_of(0, 0));
    rejected->append_response.round = round_sent();
    cluster_receive(&c, rejected);
    cr_assert_eq(node()->reads.count, 1, "node 3 follows, whatever its log lacks");
    cluster_deinit(&c);
}

Test(read, an_answer_of_an_earlier_term_confirms_nothing)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 1);
    uint64_t round = round_sent();
    cluster_receive(&c, append_accepted(2, 1, led - 1, 2, round));
    struct raft_message *stale = append_accepted(2, 1, led, 0, round);
    stale->append_response.result = RAFT_APPEND_STALE;
    cluster_receive(&c, stale);
    cr_assert_eq(node()->reads.count, 0);
    cluster_deinit(&c);
}

/* Answers may overtake each other. */
Test(read, what_a_peer_has_confirmed_it_has_whatever_comes_late)
{
    cluster_setup(&c, 5, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(3, 1, led, 2, 0));
    cluster_drop_all(&c);
    cluster_read(&c, 1, 77);
    uint64_t round = round_sent();
    cluster_receive(&c, append_accepted(2, 1, led, 2, round));
    cluster_receive(&c, append_accepted(2, 1, led, 2, round - 1));
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, append_accepted(3, 1, led, 2, round));
    cr_assert_eq(node()->reads.count, 1);
    cluster_deinit(&c);
}

Test(read, a_round_from_the_future_confirms_nothing)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_receive(&c, append_accepted(2, 1, led, 2, UINT64_MAX));
    cluster_read(&c, 1, 1);
    cr_assert_eq(node()->reads.count, 0);
    cluster_deinit(&c);
}

Test(read, of_a_single_voter_is_confirmed_at_once)
{
    cluster_setup(&c, 1, 1);
    cluster_settle(&c);
    cluster_read(&c, 1, 5);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].index, 2);
    cluster_deinit(&c);
}

Test(read, waiting_ones_come_back_when_the_leader_steps_down)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 1);
    cluster_read(&c, 1, 2);
    cluster_receive(&c, append_request(2, 1, led + 1, id_of(led, 2), 2, NULL, 0));
    cr_assert_eq(node()->reads.count, 2);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_NOT_LEADER, "node 2 leads now");
    cluster_persist_all(&c, 1);
    cluster_advance(&c, 3 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_role(node()->raft), RAFT_PRECANDIDATE);
    cr_assert_eq(node()->reads.count, 2, "each of them once");
    cluster_deinit(&c);
}

Test(read, waiting_ones_come_back_when_the_quorum_is_lost)
{
    cluster_setup(&c, 3, 1);
    serving();
    cluster_read(&c, 1, 1);
    cluster_advance(&c, T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_NO_LEADER);
    cluster_deinit(&c);
}

Test(read, a_leader_that_was_asleep_answers_nothing_old)
{
    /* The answer to the round lay in its queue while it slept and another led; the one after it
     * tells so. Taken together they must not confirm a read that came in between. */
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    cluster_read(&c, 1, 1);
    uint64_t before = round_sent();
    cluster_advance(&c, 20 * T_US);
    struct raft_event events[2] = {{.type = RAFT_EVENT_RECEIVE}, {.type = RAFT_EVENT_READ}};
    events[0].receive = append_accepted(2, 1, led, 2, before);
    events[1].read = 2;
    cluster_step(&c, 1, events, 2);
    cr_assert_eq(node()->reads.count, 1, "only the read that the round was for");
    cr_assert_eq(node()->reads.items[0].read, 1);
    cluster_deinit(&c);
}

Test(read, is_refused_where_nobody_leads)
{
    cluster_setup(&c, 3, 1);
    cluster_read(&c, 1, 9);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_NO_LEADER);
    cluster_deinit(&c);
}

Test(read, too_many_waiting_are_busy)
{
    cluster_init(&c, 3);
    c.nodes[1].options.reads_max = 2;
    cluster_start(&c, 1);
    serving();
    for (uint64_t i = 0; i < 3; i++)
        cluster_read(&c, 1, i);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 2);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_BUSY);
    cluster_deinit(&c);
}

Test(read, many_rounds_in_flight_are_confirmed_in_order)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 1);
    for (uint64_t i = 0; i < 500; i++) {
        cluster_read(&c, 1, i);
        if (i % 7 == 0)
            cluster_settle(&c);
    }
    cluster_settle(&c);
    cr_assert_eq(node()->reads.count, 500);
    for (uint64_t i = 0; i < 500; i++) {
        cr_assert_eq(node()->reads.items[i].read, i);
        cr_assert_eq(node()->reads.items[i].code, CONCLAVE_OK);
    }
    cluster_deinit(&c);
}

/* Node 1 leads three, and node 4 is a learner that holds all of the log. */
static uint64_t serving_with_learner(void)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = serving();
    struct raft_change *add = calloc(1, sizeof *add);
    *add = (struct raft_change){.type = RAFT_CHANGE_ADD,
                                .member = {.id = 4, .name = "n4", .peer = "tcp://h:4"}};
    cluster_step(&c, 1, &(struct raft_event){.type = RAFT_EVENT_CHANGE, .change = add}, 1);
    cluster_persist_all(&c, 1);
    cluster_receive(&c, append_accepted(2, 1, led, 3, 0));
    cluster_receive(&c, append_accepted(4, 1, led, 3, 0));
    cr_assert_eq(raft_commit(node()->raft), 3);
    cluster_drop_all(&c);
    return led;
}

Test(read, a_learner_confirms_nothing)
{
    uint64_t led = serving_with_learner();
    cluster_read(&c, 1, 77);
    uint64_t round = round_sent();
    cluster_receive(&c, append_accepted(4, 1, led, 3, round));
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, append_accepted(3, 1, led, 3, round));
    cr_assert_eq(node()->reads.count, 1);
    cluster_deinit(&c);
}

/* With the leader it would be a majority of all members. */
Test(read, a_learner_confirms_nothing_where_it_would_make_a_majority)
{
    cluster_init(&c, 3);
    c.configuration.members[2].flags = RAFT_MEMBER_LEARNER;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cr_assert(raft_is_serving(node()->raft));
    cluster_drop_all(&c);
    cluster_read(&c, 1, 77);
    uint64_t round = round_sent();
    cluster_receive(&c, append_accepted(3, 1, led, 2, round));
    cr_assert_eq(node()->reads.count, 0);
    cluster_receive(&c, append_accepted(2, 1, led, 2, round));
    cr_assert_eq(node()->reads.count, 1);
    cluster_deinit(&c);
}

Test(read, rule_30_in_the_joint_phase_both_majorities_confirm)
{
    for (raft_node_id first = 3; first <= 4; first++) { /* from 1, 2, 3 to 1, 2, 4 */
        uint64_t led = serving_with_learner();
        cluster_change(&c, 1, RAFT_CHANGE_REPLACE, "n3", "n4");
        cr_assert(raft_configuration(node()->raft, NULL)->joint);
        cluster_read(&c, 1, 77);
        uint64_t round = round_sent();
        cluster_receive(&c, append_accepted(first, 1, led, 3, round));
        cr_assert_eq(node()->reads.count, 0, "one majority is not enough");
        cluster_receive(&c, append_accepted(first == 3 ? 4 : 3, 1, led, 3, round));
        cr_assert_eq(node()->reads.count, 1);
        cluster_deinit(&c);
    }
}
