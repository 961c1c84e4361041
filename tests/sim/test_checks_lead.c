/* Who holds to a leader, and who leads on: every check is fed the violation that it is there for,
 * and has to name it. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>

TestSuite(checks_lead, .init = fixture_setup, .fini = fixture_teardown);

enum { T_US = 1000, NOW_US = 100 * T_US };

static struct check_own own = {.incarnation = 9, .life = 5, .leader = 101};

/* One step: what is given to a node, what it is then, and what it puts out. */
static uint64_t now_us;
static struct raft_output output;
static struct raft_message *sent;
static struct raft_message message_out;

static void begins(uint32_t node, raft_node_id leader, const struct raft_event *events,
                   uint32_t count)
{
    check_events(&check, node, leader, now_us + 500, events, count);
}

/* The node is so after the step, and asks to be woken then. */
static void ends(uint32_t node, enum raft_role role, uint64_t deadline_us)
{
    struct check_view view = view_make(node, role, check.nodes[node].view.commit);
    view.now_us = now_us;
    check_step(&check, node, &view);
    SILENT();
    output.deadline_us = deadline_us;
    check_lead(&check, node, &own, &output);
    check_said(&check, node);
    output = (struct raft_output){0};
}

static void puts_out(struct raft_messages *to, uint32_t receiver, struct raft_message message)
{
    message_out = message;
    message_out.to = ids[receiver];
    sent = &message_out;
    *to = (struct raft_messages){.items = &sent, .count = 1};
}

static void hears(uint32_t node, raft_node_id leader, uint32_t from, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[node];
    struct raft_event event = {.type = RAFT_EVENT_RECEIVE, .receive = &message};
    begins(node, leader, &event, 1);
}

/* A leads term 2; everybody's log ends at 2:3; nobody has heard of anybody for long. */
static void good_step(void)
{
    check.options.election_timeout_us = T_US;
    own = (struct check_own){.incarnation = 9, .life = 5, .leader = ids[A]};
    output = (struct raft_output){0};
    now_us = NOW_US;
    good_cluster();
}

static const struct raft_message APPEND = {.type = RAFT_APPEND_REQUEST, .term = 2};

static struct raft_message ask(enum raft_message_type type, uint64_t term)
{
    return (struct raft_message){
        .type = type, .term = term, .vote_request.last = {.term = 2, .index = 3}};
}

static void answers(uint32_t from, bool granted)
{
    puts_out(&output.send_now, from,
             (struct raft_message){.type = RAFT_PREVOTE_RESPONSE,
                                   .vote_response = {.granted = granted}});
}

/* C asks B, which follows this leader (0: nobody), for its pre-vote, and gets it or not. */
static void c_asks_b(raft_node_id leader, bool granted)
{
    hears(B, leader, C, ask(RAFT_PREVOTE_REQUEST, 3));
    answers(C, granted);
    ends(B, RAFT_FOLLOWER, now_us + 500);
}

/* --- Votes ------------------------------------------------------------------------------------ */

Test(checks_lead, find_a_node_that_does_not_answer)
{
    good_step();
    c_asks_b(ids[A], true);
    SILENT();
    hears(B, ids[A], C, ask(RAFT_PREVOTE_REQUEST, 3));
    ends(B, RAFT_FOLLOWER, now_us + 500);
    SCREAMS("who is asked for a vote answers");
}

Test(checks_lead, find_a_vote_over_a_live_leader)
{
    good_step();
    hears(B, ids[A], A, APPEND);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    now_us += T_US - 1;
    c_asks_b(ids[A], false);
    SILENT();
    c_asks_b(ids[A], true);
    SCREAMS("a vote goes to whom it may, and to nobody else");
}

Test(checks_lead, find_a_term_taken_over_from_whom_a_vote_is_kept_back)
{
    good_step();
    hears(B, ids[A], A, APPEND);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    struct raft_persist persist = persist_make(B, 3, 0, NOTHING);
    hears(B, ids[A], C, ask(RAFT_VOTE_REQUEST, 3));
    answers(C, false);
    message_out.type = RAFT_VOTE_RESPONSE;
    check_persist(&check, B, &persist, 0, false);
    struct check_view view = view_make(B, RAFT_FOLLOWER, 3);
    view.now_us = now_us + 1;
    check_step(&check, B, &view);
    check_lead(&check, B, &own, &output);
    SCREAMS("who holds to a leader stays in its term");
}

Test(checks_lead, find_a_newer_term_that_is_not_taken_over)
{
    good_step();
    hears(B, ids[A], C, (struct raft_message){.type = RAFT_PREVOTE_RESPONSE, .term = 3});
    ends(B, RAFT_FOLLOWER, now_us + 500);
    SCREAMS("a newer term is taken over");
}

Test(checks_lead, find_an_election_put_off_by_the_loss_of_a_leader)
{
    good_step();
    begins(B, ids[A], &(struct raft_event){.type = RAFT_EVENT_PEER_DOWN, .peer_down = ids[A]}, 1);
    ends(B, RAFT_FOLLOWER, now_us + 501);
    SCREAMS("only a leader or a vote puts an election off");
}

Test(checks_lead, find_a_vote_kept_back_for_a_leader_that_is_gone)
{
    good_step();
    hears(B, ids[A], A, APPEND);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    now_us += T_US;
    c_asks_b(ids[A], false);
    SCREAMS("a vote goes to whom it may, and to nobody else");
}

Test(checks_lead, know_nothing_of_a_vote_after_a_connection_was_lost)
{
    good_step();
    hears(B, ids[A], A, APPEND);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    begins(B, ids[A], &(struct raft_event){.type = RAFT_EVENT_PEER_DOWN, .peer_down = ids[A]}, 1);
    ends(B, RAFT_FOLLOWER, now_us + 100);
    for (int granted = 0; granted < 2; granted++) {
        c_asks_b(ids[A], granted);
    }
    SILENT();
}

Test(checks_lead, find_a_promise_that_ends_with_a_connection)
{
    good_step();
    own.promise_us = T_US;
    hears(B, ids[A], A, APPEND);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    begins(B, ids[A], &(struct raft_event){.type = RAFT_EVENT_PEER_DOWN, .peer_down = ids[A]}, 1);
    ends(B, RAFT_FOLLOWER, now_us + 100);
    c_asks_b(ids[A], true);
    SCREAMS("a vote goes to whom it may, and to nobody else");
}

Test(checks_lead, find_a_campaign_against_the_own_promise)
{
    good_step();
    own.promise_us = T_US;
    hears(B, ids[A], A, APPEND);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    now_us += T_US - 1;
    begins(B, ids[A], NULL, 0);
    ends(B, RAFT_PRECANDIDATE, now_us + 500);
    SCREAMS("who has promised does not stand");
}

Test(checks_lead, find_a_campaign_in_a_term_that_is_not_on_the_disk)
{
    good_step();
    begins(B, ids[A], NULL, 0);
    check.nodes[B].durable.term = 1;
    ends(B, RAFT_PRECANDIDATE, now_us + 500);
    SCREAMS("who stands has its term on the disk");
}

Test(checks_lead, find_a_vote_right_after_a_start)
{
    good_step();
    begins(B, 0, &(struct raft_event){.type = RAFT_EVENT_START}, 1);
    ends(B, RAFT_FOLLOWER, now_us + 1500);
    now_us += T_US - 1;
    c_asks_b(0, true);
    SCREAMS("a vote goes to whom it may, and to nobody else");
}

/* --- Leading ---------------------------------------------------------------------------------- */

Test(checks_lead, find_a_leader_that_nobody_hears)
{
    good_step();
    check.nodes[A].contact.leads_since_us = now_us;
    now_us += T_US;
    hears(A, ids[A], LEARNER, (struct raft_message){.type = RAFT_APPEND_RESPONSE, .term = 2});
    ends(A, RAFT_LEADER, now_us + 100);
    SCREAMS("a leader that no majority answers leads no more");
}

Test(checks_lead, let_a_leader_go_on_that_a_majority_answers)
{
    good_step();
    check.nodes[A].contact.leads_since_us = now_us;
    now_us += T_US;
    hears(A, ids[A], B, (struct raft_message){.type = RAFT_APPEND_RESPONSE, .term = 2});
    ends(A, RAFT_LEADER, now_us + 100);
    SILENT();
    now_us += T_US - 1;
    begins(A, ids[A], NULL, 0);
    ends(A, RAFT_LEADER, now_us + 100);
    SILENT();
}

static void leads(void)
{
    good_step();
    check.nodes[A].contact.leads_since_us = now_us;
    begins(A, ids[A], NULL, 0);
}

Test(checks_lead, find_an_entry_of_who_hands_over)
{
    leads();
    struct raft_trace trace = {.type = RAFT_TRACE_TRANSFER, .a = ids[B]};
    output.trace.items = &trace;
    output.trace.count = 1;
    ends(A, RAFT_LEADER, now_us + 100);
    SILENT();
    begins(A, ids[A], NULL, 0);
    struct raft_persist persist = persist_make(A, 2, ids[A], entries_make(4, 2, 1, 0));
    check_persist(&check, A, &persist, 0, true);
    ends(A, RAFT_LEADER, now_us + 100);
    SCREAMS("who hands over appends nothing");
    raft_runs_clear(&persist.entries);
}

Test(checks_lead, find_a_refusal_for_a_hand_over_that_is_over)
{
    struct raft_refusal refusal = {.code = CONCLAVE_HANDOVER};
    struct raft_trace trace = {.type = RAFT_TRACE_TRANSFER, .a = ids[B]};
    leads();
    output.trace.items = &trace;
    output.trace.count = output.refused.count = 1;
    output.refused.items = &refusal;
    ends(A, RAFT_LEADER, now_us + 100);
    SILENT();
    trace.type = RAFT_TRACE_TRANSFER_ENDED;
    begins(A, ids[A], NULL, 0);
    output.trace.items = &trace;
    output.trace.count = 1;
    ends(A, RAFT_LEADER, now_us + 100);
    begins(A, ids[A], NULL, 0);
    output.refused.items = &refusal;
    output.refused.count = 1;
    ends(A, RAFT_LEADER, now_us + 100);
    SCREAMS("who hands over says so, and nobody else");
}

Test(checks_lead, find_a_leader_that_is_busy_with_nothing)
{
    struct raft_refusal refusal = {.code = CONCLAVE_BUSY, .why = "a change is under way"};
    leads();
    check.nodes[A].view.commit = check.nodes[A].view.last.index - 1;
    output.refused.items = &refusal;
    output.refused.count = 1;
    ends(A, RAFT_LEADER, now_us + 100);
    check.nodes[A].view.commit = check.nodes[A].view.last.index;
    begins(A, ids[A], NULL, 0);
    ends(A, RAFT_LEADER, now_us + 100);
    begins(A, ids[A], NULL, 0);
    output.refused.items = &refusal;
    output.refused.count = 1;
    ends(A, RAFT_LEADER, now_us + 100);
    SILENT();
    refusal.why = NULL;
    begins(A, ids[A], NULL, 0);
    output.refused.items = &refusal;
    output.refused.count = 1;
    ends(A, RAFT_LEADER, now_us + 100);
    SCREAMS("busy is who has something uncommitted");
}

/* --- Terms and timers ------------------------------------------------------------------------- */

/* The node goes over to this term. */
static void goes_to(uint32_t node, uint64_t term, raft_node_id vote)
{
    struct raft_persist persist = persist_make(node, term, vote, NOTHING);
    check_persist(&check, node, &persist, 0, false);
}

Test(checks_lead, find_a_term_that_nobody_is_in)
{
    good_step();
    hears(B, ids[A], C, (struct raft_message){.type = RAFT_VOTE_RESPONSE, .term = 3});
    goes_to(B, 3, 0);
    ends(B, RAFT_FOLLOWER, now_us + 500);
    SILENT();
    hears(B, 0, C, ask(RAFT_PREVOTE_REQUEST, 4));
    goes_to(B, 4, 0);
    answers(C, true);
    ends(B, RAFT_FOLLOWER, now_us + 500);
    SCREAMS("a term is one that somebody is in");
}

Test(checks_lead, find_a_pre_vote_that_puts_an_election_off)
{
    good_step();
    hears(B, ids[A], C, ask(RAFT_PREVOTE_REQUEST, 3));
    answers(C, true);
    ends(B, RAFT_FOLLOWER, now_us + 501);
    SCREAMS("only a leader or a vote puts an election off");
}

Test(checks_lead, find_an_old_append_that_puts_an_election_off)
{
    good_step();
    struct raft_message old = APPEND;
    old.term = 1;
    hears(B, ids[A], C, old);
    ends(B, RAFT_FOLLOWER, now_us + 501);
    SCREAMS("only a leader or a vote puts an election off");
}

Test(checks_lead, find_one_timeout_for_all_elections)
{
    good_step();
    for (uint64_t term = 3; term < 6; term++) {
        SILENT();
        begins(B, 0, NULL, 0);
        goes_to(B, term, ids[B]);
        ends(B, RAFT_CANDIDATE, now_us + 1500);
    }
    SCREAMS("election timeouts are drawn anew");
}

/* --- Calls to campaign ------------------------------------------------------------------------ */

static const struct raft_message CALL = {.type = RAFT_TIMEOUT_NOW, .term = 2};

static void campaigns_over_a_leader(uint32_t node)
{
    goes_to(node, 3, ids[node]);
    puts_out(
        &output.persist.send_after, C,
        (struct raft_message){.type = RAFT_VOTE_REQUEST, .term = 3, .vote_request.transfer = true});
    ends(node, RAFT_CANDIDATE, now_us + 1500);
}

Test(checks_lead, let_who_is_called_campaign)
{
    good_step();
    hears(B, ids[A], A, CALL);
    campaigns_over_a_leader(B);
    SILENT();
}

Test(checks_lead, find_a_campaign_over_a_leader_that_did_not_call)
{
    good_step();
    hears(B, ids[A], A, APPEND);
    campaigns_over_a_leader(B);
    SCREAMS("who campaigns over a leader was called");
}

Test(checks_lead, find_a_campaign_long_after_the_call)
{
    good_step();
    check.nodes[B].view.applied = 0; /* its configuration is to be applied first */
    hears(B, ids[A], A, CALL);
    ends(B, RAFT_FOLLOWER, now_us + 500);
    SILENT();
    now_us += T_US;
    begins(B, ids[A], NULL, 0);
    campaigns_over_a_leader(B);
    SCREAMS("who campaigns over a leader was called");
}

Test(checks_lead, find_a_campaign_without_a_vote)
{
    good_step();
    hears(LEARNER, ids[A], A, CALL);
    campaigns_over_a_leader(LEARNER);
    SCREAMS("who campaigns over a leader can lead");
}

static void is_called(uint64_t untold)
{
    good_step();
    check.nodes[B].machine_index = 3;
    check.nodes[B].view.applied = 3;
    check.nodes[B].view.durable = check.nodes[B].view.last;
    check.nodes[B].contact.told_seq = check.nodes[B].seq - untold;
    hears(B, ids[A], A, CALL);
    ends(B, RAFT_FOLLOWER, now_us + 500);
}

Test(checks_lead, find_a_call_that_is_not_followed)
{
    is_called(0);
    SCREAMS("who is called campaigns");
}

Test(checks_lead, find_a_call_that_is_forgotten)
{
    good_step();
    struct check_node *at = &check.nodes[B];
    at->machine_index = 3;
    at->view.applied = 0; /* its configuration is to be applied first */
    at->view.durable = at->view.last;
    at->contact.told_seq = at->seq;
    hears(B, ids[A], A, CALL);
    ends(B, RAFT_FOLLOWER, now_us + 500);
    SILENT();
    begins(B, ids[A], NULL, 0);
    struct check_view view = view_make(B, RAFT_FOLLOWER, 3);
    view.now_us = now_us;
    view.applied = 3;
    view.durable = view.last;
    check_step(&check, B, &view);
    check_lead(&check, B, &own, &output);
    SCREAMS("who is called campaigns");
}

Test(checks_lead, let_one_wait_that_has_not_heard_of_its_disk)
{
    is_called(1);
    SILENT();
}

Test(checks_lead, find_a_call_to_who_has_no_vote)
{
    leads();
    puts_out(&output.send_now, LEARNER, CALL);
    ends(A, RAFT_LEADER, now_us + 100);
    SCREAMS("a voter is called to lead");
}

Test(checks_lead, find_a_call_to_who_is_silent)
{
    leads();
    check.nodes[A].contact.answered_us[B] = now_us - (uint64_t)2 * T_US;
    puts_out(&output.send_now, B, CALL);
    ends(A, RAFT_LEADER, now_us + 100);
    SILENT();
    begins(A, ids[A], NULL, 0);
    check.nodes[A].contact.answered_us[B]--;
    puts_out(&output.send_now, B, CALL);
    ends(A, RAFT_LEADER, now_us + 100);
    SCREAMS("who answers is called to lead");
}
