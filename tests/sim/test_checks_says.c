/* What messages say of who sends them: every check is fed the violation that it is there for, and
 * has to name it. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(checks_says, .init = fixture_setup, .fini = fixture_teardown);

static const struct check_own OWN = {
    .incarnation = 9, .life = 5, .promise_us = 100, .priority = 3, .leader = 101};

/* The step of `from` puts out this message for `to`. */
static void says(uint32_t from, uint32_t to, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[to];
    struct raft_message *items[] = {&message};
    struct raft_messages messages = {.items = items, .count = 1};
    check_says(&check, from, &OWN, &messages);
}

static void hears(uint32_t node, uint32_t from, struct raft_message message)
{
    message.from = ids[from];
    message.to = ids[node];
    check_heard(&check, node, &message);
}

/* Everybody's log ends at 2:3; what follows is said in a step that changes nothing. */
static void good_step(void)
{
    good_cluster();
    for (uint32_t i = 0; i < NODES; i++)
        node_steps(i, i == A ? RAFT_LEADER : RAFT_FOLLOWER, 3);
}

/* --- Votes ------------------------------------------------------------------------------------ */

static struct raft_message campaign(enum raft_message_type type, uint64_t term)
{
    return (struct raft_message){
        .type = type,
        .term = term,
        .vote_request = {.last = {.term = 2, .index = 3}, .incarnation = OWN.incarnation}};
}

static struct raft_message vote(uint64_t campaign_term, uint64_t incarnation)
{
    return (struct raft_message){
        .type = RAFT_VOTE_RESPONSE,
        .term = 2,
        .vote_response = {.campaign_term = campaign_term, .incarnation = incarnation}};
}

Test(checks_says, find_a_campaign_of_another_term)
{
    good_step();
    says(B, C, campaign(RAFT_PREVOTE_REQUEST, 3));
    says(B, C, campaign(RAFT_VOTE_REQUEST, 2));
    SILENT();
    says(B, C, campaign(RAFT_PREVOTE_REQUEST, 2));
    SCREAMS("a message says its term");
}

Test(checks_says, find_a_campaign_of_another_directory)
{
    good_step();
    struct raft_message request = campaign(RAFT_VOTE_REQUEST, 2);
    request.vote_request.incarnation++;
    says(B, C, request);
    SCREAMS("a campaign says whose it is");
}

Test(checks_says, find_a_learner_that_is_asked_for_its_vote)
{
    good_step();
    check.nodes[B].view.role = RAFT_PRECANDIDATE;
    says(B, C, campaign(RAFT_PREVOTE_REQUEST, 3));
    SILENT();
    says(B, LEARNER, campaign(RAFT_PREVOTE_REQUEST, 3));
    SCREAMS("voters are asked for votes");
}

Test(checks_says, find_a_campaign_with_another_log)
{
    good_step();
    struct raft_message request = campaign(RAFT_PREVOTE_REQUEST, 3);
    request.vote_request.last.index++;
    says(B, C, request);
    SCREAMS("a campaign says where the log ends");
}

Test(checks_says, find_a_vote_that_nobody_has_asked_for)
{
    good_step();
    hears(B, C, campaign(RAFT_VOTE_REQUEST, 4));
    says(B, C, vote(4, OWN.incarnation));
    SILENT();
    says(B, C, vote(4, OWN.incarnation + 1));
    SCREAMS("an answer is about what was asked");
}

Test(checks_says, find_a_prevote_for_the_own_term)
{
    good_step();
    struct raft_message response = vote(3, OWN.incarnation);
    response.type = RAFT_PREVOTE_RESPONSE;
    response.vote_response.granted = true;
    struct raft_message request = campaign(RAFT_PREVOTE_REQUEST, 3);
    hears(B, C, request);
    says(B, C, response);
    SILENT();
    request.term = response.vote_response.campaign_term = 2;
    hears(B, C, request);
    says(B, C, response);
    SCREAMS("votes are for the term at hand, pre-votes for a later one");
}

Test(checks_says, find_a_vote_for_another_term_than_the_own)
{
    good_step();
    struct raft_message response = vote(3, OWN.incarnation);
    response.vote_response.granted = true;
    hears(B, C, campaign(RAFT_VOTE_REQUEST, 3));
    says(B, C, response);
    SCREAMS("votes are for the term at hand, pre-votes for a later one");
}

Test(checks_says, find_a_vote_for_what_was_asked_in_an_earlier_step)
{
    good_step();
    hears(B, C, campaign(RAFT_VOTE_REQUEST, 4));
    check_said(&check, B);
    says(B, C, vote(4, OWN.incarnation));
    SCREAMS("an answer is about what was asked");
}

/* --- Appends ---------------------------------------------------------------------------------- */

static struct raft_message append(struct raft_id prev, uint64_t round)
{
    return (struct raft_message){
        .type = RAFT_APPEND_REQUEST, .term = 2, .append_request = {.prev = prev, .round = round}};
}

static struct raft_message answer(enum raft_append_result result)
{
    return (struct raft_message){.type = RAFT_APPEND_RESPONSE,
                                 .term = 2,
                                 .append_response = {.result = result,
                                                     .last_index = 3,
                                                     .priority = OWN.priority,
                                                     .life = OWN.life,
                                                     .promise_us = OWN.promise_us}};
}

/* B lacks 2:8, and may have everything up to 2:3 in common with the leader. */
static struct raft_message rejected(void)
{
    struct raft_message message = answer(RAFT_APPEND_REJECTED);
    message.append_response.rejected = 8;
    message.append_response.round = 6;
    message.append_response.conflict = (struct raft_id){.term = 2, .index = 3};
    return message;
}

Test(checks_says, find_an_answer_of_another_life_or_priority)
{
    good_step();
    hears(B, A, append((struct raft_id){2, 3}, 6));
    says(B, A, answer(RAFT_APPEND_ACCEPTED));
    SILENT();
    struct raft_message other = answer(RAFT_APPEND_ACCEPTED);
    other.append_response.priority = 0;
    says(B, A, other);
    SCREAMS("an answer says whose it is");
}

Test(checks_says, find_a_promise_to_an_old_leader)
{
    good_step();
    says(B, A, answer(RAFT_APPEND_STALE));
    SCREAMS("an answer says whose it is");
}

Test(checks_says, find_an_answer_with_another_end_of_the_log)
{
    good_step();
    hears(B, A, append((struct raft_id){2, 3}, 6));
    struct raft_message other = answer(RAFT_APPEND_ACCEPTED);
    other.append_response.last_index = 2;
    says(B, A, other);
    SCREAMS("an answer says where the log ends");
}

Test(checks_says, find_an_acknowledgement_of_what_was_not_taken)
{
    good_step();
    hears(B, A, append((struct raft_id){2, 8}, 6));
    says(B, A, answer(RAFT_APPEND_ACCEPTED));
    SCREAMS("an answer is about what was asked");
}

Test(checks_says, find_a_refusal_of_nothing)
{
    good_step();
    hears(B, A, append((struct raft_id){2, 8}, 6));
    says(B, A, rejected());
    SILENT();
    struct raft_message other = rejected();
    other.append_response.round = 5;
    says(B, A, other);
    SCREAMS("an answer is about what was asked");
}

Test(checks_says, find_a_hint_that_cannot_be_the_leaders)
{
    good_step();
    hears(B, A, append((struct raft_id){2, 8}, 6));
    struct raft_message other = rejected();
    other.append_response.conflict = (struct raft_id){.term = 1, .index = 3};
    says(B, A, other);
    SCREAMS("a hint is an entry that may be the leader's");
}

Test(checks_says, find_a_hint_that_skips_what_may_be_equal)
{
    good_step();
    hears(B, A, append((struct raft_id){2, 8}, 6));
    struct raft_message other = rejected();
    other.append_response.conflict = (struct raft_id){.term = 2, .index = 2};
    says(B, A, other);
    SCREAMS("a hint skips nothing that may be the leader's");
}

Test(checks_says, find_a_leader_that_keeps_its_commit_to_itself)
{
    good_step();
    check.nodes[A].peers[B].match = 3;
    struct raft_message request = append((struct raft_id){2, 3}, 1);
    request.append_request.commit = 3;
    says(A, B, request);
    SILENT();
    request.append_request.commit = 2;
    says(A, B, request);
    SCREAMS("a leader tells what it committed");
}

Test(checks_says, find_an_append_that_could_take_more)
{
    good_step();
    struct raft_message request = append((struct raft_id){1, 1}, 1);
    request.append_request.commit = 3;
    request.append_request.entries = entries_make(2, 2, 2, 0);
    says(A, B, request);
    raft_runs_clear(&request.append_request.entries);
    SILENT();
    request.append_request.entries = entries_make(2, 2, 1, 0);
    says(A, B, request);
    raft_runs_clear(&request.append_request.entries);
    SCREAMS("an append takes what it can");
}

Test(checks_says, find_a_heartbeat_right_behind_an_append)
{
    good_step();
    check.nodes[A].peers[B].match = 3;
    struct raft_message first = append((struct raft_id){2, 3}, 1);
    first.append_request.commit = 3;
    first.from = ids[A];
    first.to = ids[B];
    struct raft_message second = first;
    struct raft_message *items[] = {&first, &second};
    struct raft_messages messages = {.items = items, .count = 1};
    check_says(&check, A, &OWN, &messages);
    SILENT();
    messages.count = 2;
    check_says(&check, A, &OWN, &messages);
    SCREAMS("no append goes out for nothing");
}

Test(checks_says, find_a_call_to_a_node_that_lacks_entries)
{
    good_step();
    check.nodes[A].peers[B].match = 3;
    says(A, B, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .term = 2});
    SILENT();
    check.nodes[A].peers[B].match = 2;
    says(A, B, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .term = 2});
    SCREAMS("whoever is to lead holds everything");
}

Test(checks_says, find_a_call_to_a_directory_that_nobody_wrote_down)
{
    good_step();
    check.nodes[A].peers[B].match = 3;
    says(A, B,
         (struct raft_message){
             .type = RAFT_TIMEOUT_NOW, .term = 2, .timeout_now.incarnation = OWN.incarnation});
    SCREAMS("a call says whom it means");
}

Test(checks_says, find_a_read_that_asks_somebody_else)
{
    good_step();
    says(B, A, (struct raft_message){.type = RAFT_READ_REQUEST, .term = 2});
    SILENT();
    says(B, C, (struct raft_message){.type = RAFT_READ_REQUEST, .term = 2});
    SCREAMS("a leader is asked for reads");
}

/* --- What stays unsent -------------------------------------------------------------------------
 */

Test(checks_says, find_entries_that_are_not_sent_though_there_is_room)
{
    good_step();
    check.nodes[A].flows[B].pipelining = true;
    check.nodes[A].peers[B].next = 4;
    check_sent(&check, A);
    SILENT();
    check.nodes[A].peers[B].next = 3;
    check_sent(&check, A);
    SCREAMS("what there is room for is sent");
}

/* A leads; B and C are sent to, and C lacks the last entry for as long as it may. */
static void keep_from_c(void)
{
    good_step();
    check.options.append_delay_us = 10;
    for (uint32_t i = 0; i < check.node_count; i++) {
        check.nodes[A].flows[i].pipelining = i != A;
        check.nodes[A].peers[i].next = 4;
    }
    check.nodes[A].peers[C].next = 3;
    check_sent(&check, A);
    check_deadline(&check, A, check.nodes[A].view.now_us + 10);
    check.nodes[A].view.now_us += 9;
    check_sent(&check, A);
    SILENT();
}

Test(checks_says, find_entries_that_are_kept_for_too_long)
{
    keep_from_c();
    check.nodes[A].view.now_us++;
    check_sent(&check, A);
    SCREAMS("what there is room for is sent");
}

Test(checks_says, know_that_what_was_sent_is_kept_no_more)
{
    keep_from_c();
    check.nodes[A].peers[C].next = 4;
    check_sent(&check, A);
    check.nodes[A].view.now_us++;
    check.nodes[A].peers[C].next = 3;
    check_sent(&check, A);
    SILENT();
}

/* What C lacks is not in A's log any more. */
static void let_go_of_it(bool rejected)
{
    check.nodes[A].view.base.index = 3;
    check_peer_view(&check, A, C,
                    &(struct raft_peer_view){.match = 2, .next = 3, .needs_snapshot = true},
                    rejected, check.nodes[A].view.now_us);
}

Test(checks_says, find_that_the_log_lets_go_of_what_is_kept)
{
    keep_from_c();
    let_go_of_it(false);
    SCREAMS("what is kept stays in the log");
}

Test(checks_says, know_that_who_lost_entries_may_need_a_snapshot)
{
    keep_from_c();
    let_go_of_it(true);
    SILENT();
}

Test(checks_says, know_that_what_was_on_its_way_may_go)
{
    keep_from_c();
    check.nodes[A].flows[C].kept_until_us = 0;
    let_go_of_it(false);
    SILENT();
}

Test(checks_says, find_that_nobody_is_woken_for_what_is_kept)
{
    keep_from_c();
    check_deadline(&check, A, check.nodes[A].view.now_us + 2);
    SCREAMS("what is kept is sent in time");
}

Test(checks_says, find_entries_that_are_kept_from_those_who_make_a_majority)
{
    keep_from_c();
    check.nodes[A].flows[B].pipelining = false;
    check_sent(&check, A);
    SCREAMS("what there is room for is sent");
}
