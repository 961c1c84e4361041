/* Who counts: each check of the members is fed the violation that it is there for. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(checks_members, .init = fixture_setup, .fini = fixture_teardown);

#define VOTERS (M(A) | M(B) | M(C))

static void vote_for(uint32_t candidate, uint64_t term, uint32_t voters)
{
    for (uint32_t i = 0; i < NODES; i++) {
        if (voters >> i & 1)
            map_put_once(&check.votes, i, term, ids[candidate]);
    }
}

/* The node leads a term by these votes, with a log that ends with these entries. */
static void lead_by(uint32_t node, uint64_t term, uint32_t votes, struct raft_runs entries)
{
    vote_for(node, term, votes);
    struct raft_persist persist = persist_make(node, term, ids[node], entries);
    check_persist(&check, node, &persist, 0, false);
    check_durable(&check, node, &persist);
    node_steps(node, RAFT_LEADER, check.nodes[node].view.commit);
    raft_runs_clear(&persist.entries);
}

/* The node follows in a term and has these entries on disk. */
static void hold(uint32_t node, uint64_t term, struct raft_runs entries)
{
    node_does(node, term, 0, RAFT_FOLLOWER, entries, 1, true);
}

/* --- Elections -------------------------------------------------------------------------------- */

Test(checks_members, are_silent_when_a_majority_elects)
{
    lead_by(A, 2, M(A) | M(C), entries_make(2, 2, 1, 0));
    SILENT();
}

Test(checks_members, find_a_leader_of_a_minority)
{
    lead_by(A, 2, M(A), entries_make(2, 2, 1, 0));
    SCREAMS("a leader has the votes of a majority");
}

Test(checks_members, find_a_leader_by_the_vote_of_a_learner)
{
    lead_by(A, 2, M(A) | M(LEARNER), entries_make(2, 2, 1, 0));
    SCREAMS("a leader has the votes of a majority");
}

Test(checks_members, find_a_leader_of_one_majority_in_the_joint_phase)
{
    /* From A, B, C to A and the former learner. */
    for (uint32_t i = A; i <= B; i++)
        hold(i, 2, config_make(2, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)));
    lead_by(A, 3, M(A) | M(LEARNER), entries_make(3, 3, 1, 0));
    SCREAMS("a leader has the votes of a majority");
}

Test(checks_members, are_silent_when_both_majorities_elect)
{
    hold(A, 2, config_make(2, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)));
    lead_by(A, 3, M(A) | M(B) | M(LEARNER), entries_make(3, 3, 1, 0));
    SILENT();
}

Test(checks_members, find_a_leader_that_was_removed)
{
    good_cluster();
    for (uint32_t i = A; i <= C; i++)
        leader_gets(i, config_make(4, 2, members_make(M(A) | M(B), VOTERS, M(LEARNER), 0)), 3);
    node_steps(A, RAFT_LEADER, 4);
    for (uint32_t i = A; i <= C; i++)
        leader_gets(i, config_make(5, 2, members_make(M(A) | M(B), 0, M(LEARNER), M(C))), 4);
    node_steps(A, RAFT_LEADER, 5);
    node_steps(C, RAFT_FOLLOWER, 5);
    SILENT();
    lead_by(C, 3, M(A) | M(B), entries_make(6, 3, 1, 0));
    SCREAMS("only voters lead");
}

Test(checks_members, are_silent_while_a_removal_may_come_back)
{
    hold(C, 2, config_make(2, 2, members_make(M(A) | M(B), 0, M(LEARNER), M(C))));
    lead_by(C, 3, M(A) | M(B), entries_make(3, 3, 1, 0));
    SILENT();
}

/* --- Commitment ------------------------------------------------------------------------------- */

Test(checks_members, find_an_entry_committed_with_a_learner)
{
    lead_by(A, 2, VOTERS, entries_make(2, 2, 1, 0));
    hold(LEARNER, 2, entries_make(2, 2, 1, 0));
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("committed is durable on a majority");
}

Test(checks_members, find_an_entry_committed_by_the_incoming_majority_alone)
{
    hold(A, 2, config_make(2, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)));
    hold(LEARNER, 2, config_make(2, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)));
    lead_by(A, 3, VOTERS | M(LEARNER), entries_make(3, 3, 1, 0));
    hold(LEARNER, 3, entries_make(3, 3, 1, 0));
    node_steps(A, RAFT_LEADER, 3);
    SCREAMS("committed is durable on a majority");
}

Test(checks_members, find_an_entry_committed_by_the_outgoing_majority_alone)
{
    for (uint32_t i = A; i <= C; i++)
        hold(i, 2, config_make(2, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)));
    lead_by(A, 3, VOTERS | M(LEARNER), entries_make(3, 3, 1, 0));
    for (uint32_t i = B; i <= C; i++)
        hold(i, 3, entries_make(3, 3, 1, 0));
    node_steps(A, RAFT_LEADER, 3);
    SCREAMS("committed is durable on a majority");
}

Test(checks_members, are_silent_when_both_majorities_hold_an_entry)
{
    for (uint32_t i = A; i < NODES; i++)
        hold(i, 2, config_make(2, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)));
    lead_by(A, 3, VOTERS | M(LEARNER), entries_make(3, 3, 1, 0));
    hold(B, 3, entries_make(3, 3, 1, 0));
    hold(LEARNER, 3, entries_make(3, 3, 1, 0));
    node_steps(A, RAFT_LEADER, 3);
    SILENT();
}

/* --- What is in effect ------------------------------------------------------------------------ */

Test(checks_members, find_a_configuration_that_is_not_in_effect_yet)
{
    hold(B, 2, config_make(2, 2, members_make(VOTERS, 0, 0, M(LEARNER))));
    SILENT();
    struct check_view view = view_make(B, RAFT_FOLLOWER, 1);
    view.config_index = 1;
    check_step(&check, B, &view);
    SCREAMS("the newest configuration is in effect");
}

Test(checks_members, find_a_configuration_in_effect_that_was_truncated)
{
    hold(B, 2, config_make(2, 2, members_make(VOTERS, 0, 0, M(LEARNER))));
    struct raft_persist persist = persist_make(B, 3, 0, entries_make(2, 3, 1, 0));
    check_persist(&check, B, &persist, 1, false);
    raft_runs_clear(&persist.entries);
    struct check_view view = view_make(B, RAFT_FOLLOWER, 1);
    cr_assert_eq(view.config_index, 1);
    view.config_index = 2;
    check_step(&check, B, &view);
    SCREAMS("the newest configuration is in effect");
}

Test(checks_members, find_other_members_than_the_log_says)
{
    struct raft_configuration *members = members_make(VOTERS, 0, M(LEARNER), 0);
    check_configuration(&check, B, members);
    SILENT();
    members->members[1].flags = RAFT_MEMBER_LEARNER;
    check_configuration(&check, B, members);
    SCREAMS("the newest configuration is in effect");
    free(members);
}

Test(checks_members, find_who_is_followed_and_does_not_lead)
{
    good_cluster();
    check_followed(&check, A, ids[A]);
    check_followed(&check, B, ids[A]);
    check_followed(&check, C, 0);
    SILENT();
    check_followed(&check, B, ids[C]);
    SCREAMS("who is followed leads that term");
}

Test(checks_members, find_a_follower_of_itself)
{
    good_cluster();
    check_followed(&check, B, ids[B]);
    SCREAMS("who is followed leads that term");
}

Test(checks_members, find_a_leader_of_another_term)
{
    good_cluster();
    check.nodes[B].view.hard_state.term = 3;
    check_followed(&check, B, ids[A]);
    SCREAMS("who is followed leads that term");
}

Test(checks_members, find_who_campaigns_and_names_a_leader)
{
    good_cluster();
    check.nodes[B].view.role = RAFT_PRECANDIDATE;
    check_followed(&check, B, 0);
    SILENT();
    check_followed(&check, B, ids[A]);
    SCREAMS("who does not follow names no other leader");
}

Test(checks_members, find_a_leader_that_names_nobody)
{
    good_cluster();
    check_followed(&check, A, 0);
    SCREAMS("who does not follow names no other leader");
}

Test(checks_members, find_who_is_told_too_early_that_it_was_removed)
{
    hold(C, 2, config_make(2, 2, members_make(M(A) | M(B), 0, M(LEARNER), M(C))));
    SILENT();
    check.nodes[C].view.commit = 2;
    check_removed(&check, C, 2);
    SILENT();
    check.nodes[C].view.commit = 1;
    check_removed(&check, C, 2);
    SCREAMS("who is told to be removed is");
}

Test(checks_members, find_who_is_told_that_it_was_removed_and_was_not)
{
    good_cluster();
    check_removed(&check, C, 3);
    SCREAMS("who is told to be removed is");
}

Test(checks_members, find_a_log_that_has_lost_count)
{
    good_cluster();
    struct raft_runs entries = entries_make(1, 2, 3, 0);
    entries.payload_bytes = check_log_bytes(&check.nodes[A].memory, 3);
    check_entries(&check, A, &entries);
    SILENT();
    entries.payload_bytes++;
    check_entries(&check, A, &entries);
    SCREAMS("a log knows its size");
    raft_runs_clear(&entries);
}

Test(checks_members, find_a_member_that_nobody_asked_for)
{
    struct raft_configuration *members = members_make(VOTERS, 0, M(LEARNER), 0);
    members->members[3].id = 999;
    hold(B, 2, config_make(2, 2, members));
    SCREAMS("members come by request");
}

Test(checks_members, find_a_configuration_that_cannot_be_read)
{
    struct raft_runs runs = config_make(2, 2, members_make(VOTERS, 0, 0, M(LEARNER)));
    struct raft_batch *batch = raft_batch_create(1);
    struct raft_entry entry = *raft_runs_find(&runs, 2);
    entry.payload.bytes--;
    buf_ref(entry.buf);
    raft_batch_add(batch, entry);
    struct raft_runs cut = {0};
    raft_runs_append(&cut, batch, 0, 1);
    raft_batch_unref(batch);
    raft_runs_clear(&runs);
    hold(B, 2, cut);
    SCREAMS("configurations can be read");
}

/* --- Reads --------------------------------------------------------------------------------------
 */

/* A read comes to A, and after it the appends of this round leave. */
static uint64_t read_at_a(uint64_t round)
{
    uint64_t op = ops_add(&ops, (struct op){.kind = OP_GET, .state = OP_TAKEN, .node = A});
    check_read_arrives(&check, op, A);
    message_send(
        A, B,
        (struct raft_message){.type = RAFT_APPEND_REQUEST,
                              .term = 2,
                              .append_request = {.prev = {.term = 2, .index = 3}, .round = round}});
    return op;
}

static void answer_round(uint32_t node, uint64_t round)
{
    message_send(
        node, A,
        (struct raft_message){
            .type = RAFT_APPEND_RESPONSE,
            .term = 2,
            .append_response = {.result = RAFT_APPEND_ACCEPTED, .match = 3, .round = round}});
}

Test(checks_members, are_silent_when_a_majority_confirms_a_read)
{
    good_cluster();
    uint64_t op = read_at_a(1);
    answer_round(C, 1);
    check_read_confirmed(&check, op, A);
    SILENT();
}

Test(checks_members, find_a_read_that_nobody_confirms)
{
    good_cluster();
    check_read_confirmed(&check, read_at_a(1), A);
    SCREAMS("reads are confirmed by a majority");
}

Test(checks_members, find_a_read_confirmed_by_a_learner)
{
    good_cluster();
    uint64_t op = read_at_a(1);
    answer_round(LEARNER, 1);
    check_read_confirmed(&check, op, A);
    SCREAMS("reads are confirmed by a majority");
}

Test(checks_members, find_a_read_confirmed_by_answers_to_an_older_round)
{
    good_cluster();
    (void)read_at_a(1);
    uint64_t op = read_at_a(2);
    answer_round(B, 1);
    check_read_confirmed(&check, op, A);
    SCREAMS("reads are confirmed by a majority");
}

/* C asks A for an index, and after that A's appends of this round leave. */
static void request_at_a(uint64_t number, uint64_t round)
{
    struct raft_message request = {
        .type = RAFT_READ_REQUEST, .from = ids[C], .to = ids[A], .read_index = {.number = number}};
    check_read_request(&check, A, &request);
    (void)read_at_a(round);
}

static void response_of_a(uint64_t number)
{
    message_send(A, C,
                 (struct raft_message){.type = RAFT_READ_RESPONSE,
                                       .term = 2,
                                       .read_index = {.number = number, .index = 3}});
}

Test(checks_members, are_silent_when_a_majority_confirms_a_followers_read)
{
    good_cluster();
    request_at_a(8, 1);
    answer_round(C, 1);
    response_of_a(8);
    SILENT();
}

Test(checks_members, find_a_followers_read_that_nobody_confirms)
{
    good_cluster();
    request_at_a(7, 1);
    answer_round(B, 1);
    request_at_a(8, 2);
    response_of_a(8);
    SCREAMS("reads are confirmed by a majority");
}

Test(checks_members, find_an_index_that_nobody_asked_for)
{
    good_cluster();
    request_at_a(7, 1);
    answer_round(B, 1);
    response_of_a(8);
    SCREAMS("an answer is somebody's");
}

Test(checks_members, find_a_read_confirmed_by_one_majority_in_the_joint_phase)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(M(A) | M(LEARNER), VOTERS, 0, 0)), 3);
    node_steps(A, RAFT_LEADER, 3);
    uint64_t op = read_at_a(1);
    answer_round(B, 1);
    check_read_confirmed(&check, op, A);
    SCREAMS("reads are confirmed by a majority");
}

Test(checks_members, find_a_learner_that_asks_for_votes)
{
    good_cluster();
    node_does(LEARNER, 3, ids[LEARNER], RAFT_CANDIDATE, NOTHING, 3, true);
    message_send(LEARNER, A, (struct raft_message){.type = RAFT_VOTE_REQUEST, .term = 3});
    SCREAMS("only voters campaign");
}

Test(checks_members, let_requests_leave_whose_candidacy_ended_in_its_own_step)
{
    good_cluster();
    struct raft_persist persist = persist_make(B, 3, ids[B], NOTHING);
    raft_messages_add(&persist.send_after,
                      raft_message_create(RAFT_VOTE_REQUEST, ids[B], ids[A], 3));
    check_persist(&check, B, &persist, 0, false);
    node_steps(B, RAFT_FOLLOWER, 3);
    check_durable(&check, B, &persist);
    raft_messages_clear(&persist.send_after);
    node_does(B, 3, ids[B], RAFT_FOLLOWER,
              config_make(4, 3, members_make(M(A) | M(C), 0, M(LEARNER), M(B))), 3, true);
    check.nodes[B].view.commit = 4; /* as by a snapshot */
    message_send(B, A, (struct raft_message){.type = RAFT_VOTE_REQUEST, .term = 3});
    SILENT();
}

Test(checks_members, rule_24_find_a_campaign_with_members_that_are_not_applied)
{
    hold(B, 2, config_make(2, 2, members_make(M(A) | M(B), 0, M(LEARNER), M(C))));
    check_campaign(&check, B);
    SILENT();
    check.nodes[B].view.commit = 2;
    check.nodes[B].view.applied = 2;
    check_campaign(&check, B);
    SILENT();
    check.nodes[B].view.applied = 1;
    check_campaign(&check, B);
    SCREAMS("no campaign with a configuration not applied");
}

/* It was to become a voter by an entry that the winner of the term has replaced meanwhile. */
Test(checks_members, are_silent_when_a_request_comes_late_from_the_disk)
{
    good_cluster();
    struct raft_configuration *promoted = members_make(VOTERS | M(LEARNER), VOTERS, 0, 0);
    node_does(LEARNER, 2, 0, RAFT_FOLLOWER, config_make(4, 2, promoted), 3, true);
    node_does(LEARNER, 3, ids[LEARNER], RAFT_CANDIDATE, NOTHING, 3, true);
    node_does(LEARNER, 3, ids[LEARNER], RAFT_FOLLOWER, entries_make(4, 3, 1, 0), 3, false);
    message_send(LEARNER, A, (struct raft_message){.type = RAFT_VOTE_REQUEST, .term = 3});
    SILENT();
}
