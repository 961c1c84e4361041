/* Rule 40 on followers: the leader is asked for the index. */
#include "cluster.h"
#include "raft/internal.h"

#include <criterion/criterion.h>

static struct cluster c;

static struct test_node *node(void)
{
    return &c.nodes[1];
}

/* Node 1 follows node 2, which the test plays, in term 2; the log ends with entry 2. */
static void follow(void)
{
    const uint64_t terms[] = {2};
    cluster_setup(&c, 3, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 2, terms, 1));
    cluster_persist_all(&c, 1);
    cr_assert_eq(raft_commit(node()->raft), 2);
    cluster_drop_all(&c);
}

/* The number of the request to `leader`, taken off the wire. */
static uint64_t asked(raft_node_id leader)
{
    struct raft_message *message = cluster_take(&c, leader, RAFT_READ_REQUEST);
    cr_assert(message, "nobody is asked");
    uint64_t number = message->read_index.number;
    raft_message_destroy(message);
    return number;
}

static void answer(raft_node_id leader, uint64_t number, uint64_t index)
{
    struct raft_message *message = raft_message_create(RAFT_READ_RESPONSE, leader, 1, 2);
    message->read_index = (struct raft_read_index){.number = number, .index = index};
    cluster_receive(&c, message);
}

Test(follower_read, gets_its_index_from_the_leader)
{
    follow();
    cluster_read(&c, 1, 7);
    cr_assert_eq(node()->reads.count, 0);
    answer(2, asked(2), 2);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 7);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_OK);
    cr_assert_eq(node()->reads.items[0].index, 2);
    cluster_deinit(&c);
}

Test(follower_read, waits_until_the_index_is_committed_here)
{
    follow();
    cluster_read(&c, 1, 7);
    answer(2, asked(2), 3);
    cr_assert_eq(node()->reads.count, 0);
    const uint64_t terms[] = {2};
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 3, terms, 1));
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].index, 3);
    cluster_deinit(&c);
}

/* Or it would wait for what never comes, though the right answer does. */
Test(follower_read, takes_no_index_that_no_log_has)
{
    follow();
    cluster_read(&c, 1, 7);
    uint64_t number = asked(2);
    answer(2, number, UINT64_MAX);
    answer(2, number, 1);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_OK);
    cluster_deinit(&c);
}

Test(follower_read, of_one_step_share_a_request)
{
    follow();
    struct raft_event events[3] = {{.type = RAFT_EVENT_READ, .read = 1},
                                   {.type = RAFT_EVENT_READ, .read = 2},
                                   {.type = RAFT_EVENT_READ, .read = 3}};
    cluster_step(&c, 1, events, 3);
    cr_assert_eq(cluster_count(&c, 2, RAFT_READ_REQUEST), 1);
    answer(2, asked(2), 2);
    cr_assert_eq(node()->reads.count, 3);
    cluster_deinit(&c);
}

Test(follower_read, rule_40_an_answer_to_an_earlier_request_confirms_no_later_read)
{
    follow();
    cluster_read(&c, 1, 1);
    uint64_t first = asked(2);
    cluster_read(&c, 1, 2);
    uint64_t second = asked(2);
    cr_assert_gt(second, first);
    answer(2, first, 2);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 1);
    answer(2, second, 2);
    cr_assert_eq(node()->reads.count, 2);
    cluster_deinit(&c);
}

/* Which of them came first nobody knows: the request that is answered left before both. */
Test(follower_read, rule_40_an_answer_that_comes_in_one_step_with_a_read_does_not_confirm_it)
{
    follow();
    cluster_read(&c, 1, 1);
    struct raft_message *late = raft_message_create(RAFT_READ_RESPONSE, 2, 1, 2);
    late->read_index = (struct raft_read_index){.number = asked(2), .index = 2};
    struct raft_event events[] = {{.type = RAFT_EVENT_READ, .read = 2},
                                  {.type = RAFT_EVENT_RECEIVE, .receive = late}};
    cluster_step(&c, 1, events, 2);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 1);
    answer(2, asked(2), 2);
    cr_assert_eq(node()->reads.count, 2);
    cluster_deinit(&c);
}

Test(follower_read, rule_40_an_answer_to_a_life_before_confirms_nothing)
{
    follow();
    cluster_read(&c, 1, 1);
    uint64_t before = asked(2);
    cluster_crash(&c, 1);
    cluster_advance(&c, 1);
    cluster_start_node(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 2, NULL, 0));
    cluster_read(&c, 1, 2);
    answer(2, before, 2);
    cr_assert_eq(node()->reads.count, 0);
    cluster_deinit(&c);
}

Test(follower_read, asks_again_when_no_answer_comes)
{
    follow();
    cluster_read(&c, 1, 1);
    uint64_t number = asked(2);
    cr_assert_leq(node()->deadline_us, c.now_us + HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(cluster_count(&c, 2, RAFT_READ_REQUEST), 0);
    cluster_advance(&c, HEARTBEAT_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(asked(2), number);
    cluster_deinit(&c);
}

Test(follower_read, asks_a_new_leader_at_once)
{
    follow();
    cluster_read(&c, 1, 1);
    uint64_t number = asked(2);
    cluster_receive(&c, append_request(3, 1, 3, id_of(2, 2), 2, NULL, 0));
    cr_assert_eq(asked(3), number);
    cluster_deinit(&c);
}

Test(follower_read, is_refused_after_an_election_timeout)
{
    follow();
    cluster_read(&c, 1, 1);
    cluster_advance(&c, T_US - 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 2, NULL, 0));
    cr_assert_eq(node()->reads.count, 0);
    cluster_advance(&c, 1);
    cluster_timeout(&c, 1);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_NOT_LEADER);
    cluster_deinit(&c);
}

Test(follower_read, is_refused_without_a_leader)
{
    cluster_setup(&c, 3, 1);
    cluster_read(&c, 1, 1);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_NO_LEADER);
    cluster_deinit(&c);

    follow();
    cluster_read(&c, 1, 1);
    cluster_advance(&c, 2 * T_US);
    cluster_timeout(&c, 1);
    cr_assert_eq(raft_role(node()->raft), RAFT_PRECANDIDATE);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_NO_LEADER);
    cluster_deinit(&c);
}

/* Else the next one would be taken for it, and answered with what was there long before. */
Test(follower_read, rule_40_one_that_was_confirmed_and_refused_confirms_no_later_one)
{
    follow();
    cluster_read(&c, 1, 1);
    answer(2, asked(2), 3); /* which is not committed here yet */
    cluster_receive(&c, raft_message_create(RAFT_TIMEOUT_NOW, 2, 1, 2));
    cr_assert_eq(raft_role(node()->raft), RAFT_CANDIDATE);
    cr_assert_eq(node()->reads.count, 1);
    cluster_receive(&c, append_request(3, 1, 4, id_of(2, 2), 2, NULL, 0));
    cluster_read(&c, 1, 2);
    cr_assert_eq(node()->reads.count, 1);
    answer(3, asked(3), 2);
    cr_assert_eq(node()->reads.count, 2);
    cluster_deinit(&c);
}

Test(follower_read, is_refused_when_too_many_wait)
{
    cluster_init(&c, 3);
    c.nodes[1].options.reads_max = 2;
    cluster_start(&c, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
    for (uint64_t read = 1; read <= 3; read++)
        cluster_read(&c, 1, read);
    cr_assert_eq(node()->reads.count, 1);
    cr_assert_eq(node()->reads.items[0].read, 3);
    cr_assert_eq(node()->reads.items[0].code, CONCLAVE_BUSY);
    cluster_deinit(&c);
}

/* --- The leader's side --------------------------------------------------------------------------
 */

static void ask_leader(raft_node_id from, uint64_t number)
{
    struct raft_message *message = raft_message_create(RAFT_READ_REQUEST, from, 1, 2);
    message->read_index.number = number;
    cluster_receive(&c, message);
}

Test(follower_read, rule_40_the_leader_confirms_that_it_still_leads)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_drop_all(&c);
    ask_leader(3, 44);
    cr_assert_eq(cluster_count(&c, 3, RAFT_READ_RESPONSE), 0);
    struct raft_message *round = cluster_take(&c, 2, RAFT_APPEND_REQUEST);
    cr_assert(round, "a round begins");
    cluster_receive(&c, append_accepted(2, 1, led, 2, round->append_request.round));
    raft_message_destroy(round);
    struct raft_message *response = cluster_take(&c, 3, RAFT_READ_RESPONSE);
    cr_assert(response);
    cr_assert_eq(response->read_index.number, 44);
    cr_assert_eq(response->read_index.index, 2);
    cr_assert_eq(node()->reads.count, 0, "it is nobody's here");
    raft_message_destroy(response);
    cluster_deinit(&c);
}

/* They are as many as those of its own clients may be; who gets no answer asks again. */
Test(follower_read, the_leader_takes_no_more_requests_than_it_may_have_reads)
{
    cluster_init(&c, 3);
    c.nodes[1].options.reads_max = 2;
    cluster_start(&c, 1);
    uint64_t led = cluster_lead_alone(&c);
    for (uint64_t number = 1; number <= 3; number++)
        ask_leader(2, number);
    cluster_receive(&c, append_accepted(2, 1, led, 2, 0));
    cluster_receive(&c, append_accepted(2, 1, led, 2, c.nodes[1].raft->round));
    cr_assert_eq(cluster_count(&c, 2, RAFT_READ_RESPONSE), 2);
    cluster_deinit(&c);
}

Test(follower_read, rule_40_the_leader_waits_for_a_commit_of_its_term)
{
    cluster_setup(&c, 3, 1);
    uint64_t led = cluster_lead_alone(&c);
    ask_leader(3, 44);
    cluster_receive(&c, append_accepted(2, 1, led, 1, 0));
    cr_assert_eq(cluster_count(&c, 3, RAFT_READ_RESPONSE), 0);
    cluster_deinit(&c);
}

Test(follower_read, reaches_every_node_of_a_cluster)
{
    cluster_setup(&c, 3, 3);
    cluster_elect(&c, 2);
    cluster_settle(&c);
    cluster_propose(&c, 2, 1, 10);
    cluster_settle(&c);
    for (raft_node_id id = 1; id <= 3; id++) {
        cluster_read(&c, id, 50 + id);
        cluster_settle(&c);
        cr_assert_eq(c.nodes[id].reads.count, 1);
        cr_assert_eq(c.nodes[id].reads.items[0].code, CONCLAVE_OK);
        cr_assert_eq(c.nodes[id].reads.items[0].index, 3);
        cr_assert_eq(c.nodes[id].applied_index, 3);
    }
    cluster_deinit(&c);
}

Test(follower_read, rule_40_numbers_of_another_data_directory_are_other_ones)
{
    uint64_t numbers[2];
    for (uint64_t i = 0; i < 2; i++) {
        cluster_init(&c, 3);
        c.nodes[1].options.incarnation = 100 + i;
        cluster_start(&c, 1);
        cluster_receive(&c, append_request(2, 1, 2, id_of(1, 1), 1, NULL, 0));
        cluster_read(&c, 1, 5);
        numbers[i] = asked(2);
        cluster_deinit(&c);
    }
    cr_assert_neq(numbers[0], numbers[1], "both are of the first life");
}

Test(follower_read, that_is_confirmed_stays_so_when_an_older_one_is_done)
{
    follow();
    cluster_read(&c, 1, 1);
    uint64_t first = asked(2);
    cluster_read(&c, 1, 2);
    uint64_t second = asked(2);
    answer(2, first, 3);
    answer(2, second, 4);
    cr_assert_eq(node()->reads.count, 0);
    const uint64_t terms[] = {2, 2};
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 2), 3, terms, 2));
    cr_assert_eq(node()->reads.count, 1);
    cluster_receive(&c, append_request(2, 1, 2, id_of(2, 4), 4, NULL, 0));
    cr_assert_eq(node()->reads.count, 2, "nobody is asked for it again");
    cr_assert_eq(node()->reads.items[1].index, 4);
    cluster_deinit(&c);
}
