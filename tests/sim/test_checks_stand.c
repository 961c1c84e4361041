/* Who stands for election: every check is fed the violation that it is there for, and has to name
 * it. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>

TestSuite(checks_stand, .init = fixture_setup, .fini = fixture_teardown);

enum { T_US = 1000, NOW_US = 100 * T_US };

static uint64_t now_us;
static struct raft_output output;
static struct raft_message message_out;
static struct raft_message *sent = &message_out;

/* A leads term 2; everybody's log ends at 2:3. */
static void good_step(void)
{
    check.options.election_timeout_us = T_US;
    output = (struct raft_output){0};
    now_us = NOW_US;
    good_cluster();
}

static void begins(uint32_t node, const struct raft_event *events, uint32_t count)
{
    check_events(&check, node, ids[A], now_us + 500, events, count);
}

static void hears(uint32_t node, uint32_t from, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[node];
    struct raft_event event = {.type = RAFT_EVENT_RECEIVE, .receive = &message};
    begins(node, &event, 1);
}

static void puts_out(struct raft_messages *to, struct raft_message message)
{
    message_out = message;
    *to = (struct raft_messages){.items = &sent, .count = 1};
}

/* The node is so after the step. */
static void ends(uint32_t node, enum raft_role role)
{
    struct check_node *at = &check.nodes[node];
    at->old = at->view;
    at->view.role = role;
    at->view.now_us = now_us;
    if (role == RAFT_CANDIDATE)
        at->view.hard_state.term++;
    check_stand(&check, node, &output);
    check_said(&check, node);
    output = (struct raft_output){0};
}

static const struct raft_message PREVOTE_ASKED = {.type = RAFT_PREVOTE_REQUEST, .term = 3};

static void b_asks_for_prevotes(void)
{
    begins(B, NULL, 0);
    puts_out(&output.send_now, PREVOTE_ASKED);
    ends(B, RAFT_PRECANDIDATE);
}

static const struct raft_message PREVOTE_GIVEN = {
    .type = RAFT_PREVOTE_RESPONSE, .term = 2, .vote_response.granted = true};

Test(checks_stand, find_a_campaign_by_the_prevotes_of_another_try)
{
    good_step();
    b_asks_for_prevotes();
    hears(B, LEARNER, PREVOTE_GIVEN);
    ends(B, RAFT_PRECANDIDATE);
    SILENT();
    struct check_node before = check.nodes[B];
    hears(B, C, PREVOTE_GIVEN);
    ends(B, RAFT_CANDIDATE);
    SILENT();
    check.nodes[B] = before;
    hears(B, C, PREVOTE_GIVEN);
    ends(B, RAFT_PRECANDIDATE);
    b_asks_for_prevotes();
    begins(B, NULL, 0);
    ends(B, RAFT_CANDIDATE);
    SCREAMS("who campaigns has the pre-votes of a majority");
}

Test(checks_stand, let_whoever_was_called_campaign_without_prevotes)
{
    good_step();
    begins(B, NULL, 0);
    puts_out(&output.persist.send_after,
             (struct raft_message){.type = RAFT_VOTE_REQUEST, .vote_request.transfer = true});
    ends(B, RAFT_CANDIDATE);
    SILENT();
}

/* `node` stands, and gives its pre-vote to another that does. */
static void gives_while_it_stands(uint32_t node, uint32_t other, enum raft_role role)
{
    now_us += T_US;
    begins(node, NULL, 0);
    ends(node, RAFT_PRECANDIDATE);
    hears(node, other, PREVOTE_ASKED);
    puts_out(&output.send_now, PREVOTE_GIVEN);
    ends(node, role);
}

Test(checks_stand, know_who_of_two_stands_back)
{
    good_step();
    gives_while_it_stands(B, C, RAFT_FOLLOWER);
    gives_while_it_stands(C, B, RAFT_PRECANDIDATE);
    SILENT();
}

Test(checks_stand, find_two_that_go_on)
{
    good_step();
    gives_while_it_stands(B, C, RAFT_PRECANDIDATE);
    SCREAMS("of two that stand the lower one stands back");
}

Test(checks_stand, find_two_that_stand_back)
{
    good_step();
    gives_while_it_stands(C, B, RAFT_FOLLOWER);
    SCREAMS("of two that stand the lower one stands back");
}

Test(checks_stand, find_who_stands_again_at_once)
{
    good_step();
    gives_while_it_stands(B, C, RAFT_FOLLOWER);
    now_us += T_US;
    begins(B, NULL, 0);
    ends(B, RAFT_PRECANDIDATE);
    SILENT();
    gives_while_it_stands(B, C, RAFT_FOLLOWER);
    SILENT();
    now_us += T_US - 1;
    begins(B, NULL, 0);
    ends(B, RAFT_PRECANDIDATE);
    SCREAMS("who led or stood back waits before it stands");
}

Test(checks_stand, find_a_leader_that_stands_as_soon_as_it_steps_down)
{
    good_step();
    begins(A, NULL, 0);
    ends(A, RAFT_FOLLOWER);
    begins(A, NULL, 0);
    ends(A, RAFT_PRECANDIDATE);
    SCREAMS("who led or stood back waits before it stands");
}

static void b_stands_after_a_write(uint64_t waited_us)
{
    check.nodes[B].contact.told_seq = 6;
    check.nodes[B].view.role = RAFT_FOLLOWER;
    begins(B, NULL, 0);
    output.persist.seq = 7;
    ends(B, RAFT_FOLLOWER);
    now_us += waited_us;
    begins(B, NULL, 0);
    ends(B, RAFT_PRECANDIDATE);
}

Test(checks_stand, find_who_stands_while_its_disk_hangs)
{
    good_step();
    b_stands_after_a_write(2 * T_US - 1);
    SILENT();
    b_stands_after_a_write(2UL * T_US);
    SCREAMS("whose disk hangs does not stand");
}

Test(checks_stand, find_a_hand_over_to_who_is_gone)
{
    struct raft_trace trace = {.type = RAFT_TRACE_TRANSFER, .a = ids[B]};
    const struct raft_event down[] = {{.type = RAFT_EVENT_PEER_DOWN, .peer_down = ids[C]},
                                      {.type = RAFT_EVENT_PEER_DOWN, .peer_down = ids[B]}};
    good_step();
    begins(A, NULL, 0);
    output.trace.items = &trace;
    output.trace.count = 1;
    ends(A, RAFT_LEADER);
    begins(A, down, 1);
    ends(A, RAFT_LEADER);
    SILENT();
    begins(A, down, 2);
    ends(A, RAFT_LEADER);
    SCREAMS("nobody waits for who is gone to take over");
}
