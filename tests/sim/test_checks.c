/* Logs, leaders, terms: every check is fed the violation that it is there for, and has to name it.
 */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(checks, .init = fixture_setup, .fini = fixture_teardown);

Test(checks, are_silent_in_a_good_cluster)
{
    good_cluster();
}

Test(checks, find_a_moment_without_end)
{
    for (int moment = 1; moment <= 2; moment++)
        for (int i = 0; i < SIM_MOMENT_EVENTS_MAX; i++)
            check_moment(&check, (uint64_t)moment);
    SILENT();
    check_moment(&check, 2);
    SCREAMS("time goes on");
}

/* --- Leaders ---------------------------------------------------------------------------------- */

Test(checks, find_two_leaders_in_one_term)
{
    node_does(A, 2, ids[A], RAFT_LEADER, NOTHING, 1, true);
    SILENT();
    node_does(B, 2, ids[B], RAFT_LEADER, NOTHING, 1, true);
    SCREAMS("one leader per term");
}

Test(checks, find_a_term_led_again_in_another_life)
{
    good_cluster();
    check.nodes[A].incarnation = 2;
    check.nodes[A].view.role = RAFT_FOLLOWER;
    node_steps(A, RAFT_LEADER, 3);
    SCREAMS("one leader per term");
}

Test(checks, find_a_life_with_the_number_of_one_before)
{
    check_life(&check, A, 0, 1);
    check_life(&check, A, 1, 3);
    SILENT();
    check_life(&check, A, 3, 3);
    SCREAMS("each life has a number of its own");
}

Test(checks, find_a_leader_whose_own_vote_is_not_durable)
{
    node_does(A, 2, ids[A], RAFT_LEADER, NOTHING, 1, false);
    SCREAMS("a leader's own vote is durable");
}

Test(checks, find_a_leading_learner)
{
    node_does(LEARNER, 2, ids[LEARNER], RAFT_LEADER, NOTHING, 1, true);
    SCREAMS("only voters lead");
}

Test(checks, find_a_leader_without_a_committed_entry)
{
    for (uint32_t i = A; i <= B; i++)
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 2, 0), 1,
                  true);
    node_steps(A, RAFT_LEADER, 3);
    SILENT();
    node_does(C, 3, ids[C], RAFT_LEADER, entries_make(2, 3, 1, 0), 1, true);
    SCREAMS("leader completeness");
}

Test(checks, find_an_entry_committed_behind_a_later_leaders_back)
{
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 1, 0), 1, true);
    node_does(B, 2, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    node_does(C, 3, ids[C], RAFT_LEADER, entries_make(2, 3, 1, 0), 1, true);
    SILENT();
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("leader completeness");
}

Test(checks, find_a_leader_that_replaces_its_entries)
{
    good_cluster();
    struct raft_persist persist = persist_make(A, 2, ids[A], entries_make(3, 2, 1, 0));
    check_persist(&check, A, &persist, 1, true);
    raft_runs_clear(&persist.entries);
    SCREAMS("leader append-only");
}

/* --- Logs ------------------------------------------------------------------------------------- */

Test(checks, find_different_entries_with_one_id)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 7), 1, true);
    SILENT();
    node_does(B, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 8), 1, true);
    SCREAMS("log matching");
}

Test(checks, find_equal_entries_after_different_ones)
{
    node_does(A, 4, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    node_does(A, 4, 0, RAFT_FOLLOWER, entries_make(3, 4, 1, 0), 1, true);
    node_does(B, 4, 0, RAFT_FOLLOWER, entries_make(2, 3, 1, 0), 1, true);
    SILENT();
    node_does(B, 4, 0, RAFT_FOLLOWER, entries_make(3, 4, 1, 0), 1, true);
    SCREAMS("log matching");
}

Test(checks, find_a_gap)
{
    struct raft_persist persist = persist_make(A, 2, 0, entries_make(3, 2, 1, 0));
    check_persist(&check, A, &persist, 0, false);
    raft_runs_clear(&persist.entries);
    SCREAMS("logs have no gaps");
}

Test(checks, find_a_truncation_without_conflict)
{
    node_does(A, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 2, 0), 1, true);
    struct raft_persist persist = persist_make(A, 2, 0, entries_make(2, 2, 1, 0));
    check_persist(&check, A, &persist, 1, false);
    raft_runs_clear(&persist.entries);
    SCREAMS("truncation only at a conflict");
}

Test(checks, find_a_committed_entry_replaced)
{
    good_cluster();
    struct raft_persist persist = persist_make(B, 3, 0, entries_make(3, 3, 1, 0));
    check_persist(&check, B, &persist, 1, false);
    raft_runs_clear(&persist.entries);
    SCREAMS("committed entries stay");
}

Test(checks, find_an_entry_that_is_not_handed_to_the_disk)
{
    struct check_view view = view_make(A, RAFT_FOLLOWER, 1);
    view.last.index++;
    check_step(&check, A, &view);
    SCREAMS("the log is handed to the disk");
}

Test(checks, find_a_lost_persist_number)
{
    struct raft_persist persist = persist_make(A, 2, 0, NOTHING);
    persist.seq++;
    check_persist(&check, A, &persist, 0, false);
    SCREAMS("persists are numbered");
}

/* --- Commitment ------------------------------------------------------------------------------- */

Test(checks, find_a_commit_without_a_durable_majority)
{
    node_does(A, 2, ids[A], RAFT_LEADER, entries_make(2, 2, 1, 0), 1, true);
    node_does(B, 2, ids[A], RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, false);
    node_does(LEARNER, 2, 0, RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1, true);
    SILENT();
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("committed is durable on a majority");
}

Test(checks, find_an_old_terms_entry_committed_by_count)
{
    for (uint32_t i = A; i <= C; i++)
        node_does(i, 3, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 1, 0), 1,
                  true);
    SILENT();
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("leaders commit by their own term");
}

Test(checks, find_different_entries_committed)
{
    good_cluster();
    check.nodes[C].memory.entries[2].chain++;
    check.nodes[C].view.commit = 2;
    node_steps(C, RAFT_FOLLOWER, 3);
    SCREAMS("committed entries are equal everywhere");
}

Test(checks, find_a_commit_that_goes_back)
{
    good_cluster();
    node_steps(B, RAFT_FOLLOWER, 2);
    SCREAMS("commit is monotonic");
}

Test(checks, find_a_commit_beyond_the_log)
{
    node_steps(B, RAFT_FOLLOWER, 2);
    SCREAMS("commit is inside the log");
}

Test(checks, find_a_command_committed_twice)
{
    uint64_t op = ops_add(&ops, (struct op){.kind = OP_PUT, .state = OP_TAKEN});
    for (uint32_t i = A; i <= C; i++) {
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 1, op), 1,
                  true);
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(3, 2, 1, op), 1,
                  true);
    }
    node_steps(A, RAFT_LEADER, 2);
    SILENT();
    node_steps(A, RAFT_LEADER, 3);
    SCREAMS("a command is committed once");
}

Test(checks, find_a_refused_command_committed)
{
    uint64_t op = ops_add(&ops, (struct op){.kind = OP_PUT, .state = OP_REFUSED});
    for (uint32_t i = A; i <= C; i++)
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 1, op), 1,
                  true);
    node_steps(A, RAFT_LEADER, 2);
    SCREAMS("refused is not applied");
}

/* --- Terms and votes -------------------------------------------------------------------------- */

Test(checks, find_a_term_that_goes_back)
{
    node_does(A, 3, 0, RAFT_FOLLOWER, NOTHING, 1, false);
    node_does(A, 2, 0, RAFT_FOLLOWER, NOTHING, 1, false);
    SCREAMS("term is monotonic");
}

Test(checks, find_a_changed_vote)
{
    node_does(A, 2, ids[B], RAFT_FOLLOWER, NOTHING, 1, false);
    node_does(A, 2, ids[C], RAFT_FOLLOWER, NOTHING, 1, false);
    SCREAMS("one vote per term");
}

Test(checks, find_two_votes_in_two_lives)
{
    struct raft_message vote = {.type = RAFT_VOTE_RESPONSE,
                                .term = 2,
                                .vote_response = {.granted = true, .campaign_term = 2}};
    check.nodes[A].durable = (struct raft_hard_state){.term = 2, .vote = ids[B]};
    message_send(A, B, vote);
    SILENT();
    check.nodes[A].durable = (struct raft_hard_state){.term = 2, .vote = ids[C]};
    message_send(A, C, vote);
    SCREAMS("one vote per term");
}

Test(checks, find_a_vote_sent_before_it_is_durable)
{
    node_does(A, 2, ids[B], RAFT_FOLLOWER, NOTHING, 1, false);
    message_send(A, B,
                 (struct raft_message){.type = RAFT_VOTE_RESPONSE,
                                       .term = 2,
                                       .vote_response = {.granted = true, .campaign_term = 2}});
    SCREAMS("a vote is durable before it leaves");
}

Test(checks, find_a_vote_request_before_the_own_vote_is_durable)
{
    node_does(A, 2, ids[A], RAFT_CANDIDATE, NOTHING, 1, false);
    message_send(A, B, (struct raft_message){.type = RAFT_VOTE_REQUEST, .term = 2});
    SCREAMS("a vote is durable before it leaves");
}

/* B asks A, whose log ends at 2:3, for its (pre-)vote in term 3. */
static void b_asks_a(enum raft_message_type type, struct raft_id last)
{
    const struct raft_message request = {
        .type = type, .from = ids[B], .to = ids[A], .term = 3, .vote_request = {.last = last}};
    check_vote_request(&check, A, &request);
    node_does(A, 3, ids[B], RAFT_FOLLOWER, NOTHING, 3, true);
    message_send(A, B,
                 (struct raft_message){.type = type == RAFT_VOTE_REQUEST ? RAFT_VOTE_RESPONSE
                                                                         : RAFT_PREVOTE_RESPONSE,
                                       .term = 3,
                                       .vote_response = {.granted = true, .campaign_term = 3}});
}

Test(checks, are_silent_when_a_vote_goes_to_an_equal_log)
{
    good_cluster();
    b_asks_a(RAFT_VOTE_REQUEST, (struct raft_id){.term = 2, .index = 3});
    SILENT();
}

Test(checks, find_a_vote_for_a_log_that_is_shorter)
{
    good_cluster();
    b_asks_a(RAFT_VOTE_REQUEST, (struct raft_id){.term = 2, .index = 2});
    SCREAMS("votes go to logs that are not behind");
}

Test(checks, find_a_prevote_for_a_log_of_an_older_term)
{
    good_cluster();
    b_asks_a(RAFT_PREVOTE_REQUEST, (struct raft_id){.term = 1, .index = 9});
    SCREAMS("votes go to logs that are not behind");
}

Test(checks, find_a_term_that_is_not_handed_to_the_disk)
{
    struct check_view view = view_make(A, RAFT_FOLLOWER, 1);
    view.hard_state.term = 5;
    check_step(&check, A, &view);
    SCREAMS("hard state is handed to the disk");
}

Test(checks, find_a_durable_term_forgotten)
{
    node_does(A, 4, ids[B], RAFT_FOLLOWER, NOTHING, 1, true);
    struct raft_runs log = log_of_new_node();
    check_start(&check, A, 2, (struct raft_hard_state){.term = 3}, (struct raft_id){0}, &log, 0);
    raft_runs_clear(&log);
    SCREAMS("durable hard state is kept");
}

Test(checks, find_an_entry_durable_before_its_term)
{
    struct raft_persist persist = persist_make(A, 2, 0, entries_make(2, 3, 1, 0));
    check_durable(&check, A, &persist);
    raft_runs_clear(&persist.entries);
    SCREAMS("a term is durable before its entries");
}
