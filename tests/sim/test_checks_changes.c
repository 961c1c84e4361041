/* Changes of the members: each check of them is fed the violation that it is there for. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(checks_changes, .init = fixture_setup, .fini = fixture_teardown);

#define VOTERS (M(A) | M(B) | M(C))

/* Everybody follows A, which commits it. */
static void all_get(uint64_t index, struct raft_configuration *members)
{
    struct raft_runs entry = config_make(index, 2, members);
    for (uint32_t i = B; i < NODES; i++) {
        struct raft_runs copy = {0};
        raft_runs_append_all(&copy, &entry);
        leader_gets(i, copy, 0);
    }
    leader_gets(A, entry, index - 1);
    node_steps(A, RAFT_LEADER, index);
}

/* --- One after the other ------------------------------------------------------------------------
 */

Test(checks_changes, are_silent_while_a_learner_becomes_a_voter)
{
    good_cluster();
    all_get(4, members_make(VOTERS | M(LEARNER), VOTERS, 0, 0));
    all_get(5, members_make(VOTERS | M(LEARNER), 0, 0, 0));
    SILENT();
}

Test(checks_changes, find_a_change_while_another_is_pending)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(VOTERS, 0, 0, M(LEARNER))), 3);
    SILENT();
    leader_gets(A, config_make(5, 2, members_make(M(A) | M(B), VOTERS, 0, M(LEARNER))), 3);
    SCREAMS("one change at a time");
}

Test(checks_changes, find_the_end_of_a_joint_phase_that_is_not_committed)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(M(A) | M(B), VOTERS, M(LEARNER), 0)), 3);
    SILENT();
    leader_gets(A, config_make(5, 2, members_make(M(A) | M(B), 0, M(LEARNER), M(C))), 3);
    SCREAMS("one change at a time");
}

Test(checks_changes, find_a_change_before_the_own_term_commits)
{
    good_cluster();
    node_does(B, 3, ids[B], RAFT_LEADER, entries_make(4, 3, 1, 0), 3, true);
    SILENT();
    node_does(B, 3, ids[B], RAFT_LEADER, config_make(5, 3, members_make(VOTERS, 0, 0, M(LEARNER))),
              3, true);
    SCREAMS("no change before the own term commits");
}

/* --- What may change ----------------------------------------------------------------------------
 */

Test(checks_changes, find_voters_that_change_without_a_joint_phase)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(M(A) | M(B), 0, M(LEARNER), M(C))), 3);
    SCREAMS("voters change by way of a joint phase");
}

Test(checks_changes, find_a_joint_phase_that_ends_with_other_voters)
{
    good_cluster();
    all_get(4, members_make(M(A) | M(B), VOTERS, M(LEARNER), 0));
    SILENT();
    leader_gets(A, config_make(5, 2, members_make(M(A), 0, M(LEARNER), M(B) | M(C))), 4);
    SCREAMS("voters change by way of a joint phase");
}

Test(checks_changes, find_an_outgoing_set_that_forgets_a_voter)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(M(A) | M(B), M(A) | M(B), M(LEARNER), M(C))), 3);
    SCREAMS("voters change by way of a joint phase");
}

Test(checks_changes, find_a_member_that_comes_as_a_voter)
{
    good_cluster();
    check_add_node(&check, 105);
    struct raft_configuration *members = members_make(VOTERS, VOTERS, M(LEARNER), 0);
    struct raft_member *member = &members->members[members->member_count++];
    *member = (struct raft_member){
        .id = 105, .flags = RAFT_MEMBER_VOTER, .name = "n5", .peer = "sim://n5"};
    leader_gets(A, config_make(4, 2, members), 3);
    SCREAMS("members come as learners");
}

Test(checks_changes, find_an_id_that_returns)
{
    good_cluster();
    all_get(4, members_make(VOTERS, 0, 0, M(LEARNER)));
    SILENT();
    leader_gets(A, config_make(5, 2, members_make(VOTERS, 0, M(LEARNER), 0)), 4);
    SCREAMS("ids never return");
}

Test(checks_changes, find_a_removed_id_that_is_forgotten)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(VOTERS, 0, 0, 0)), 3);
    SCREAMS("removed ids are remembered");
}

Test(checks_changes, find_a_data_directory_that_is_forgotten)
{
    good_cluster();
    struct raft_configuration *members = members_make(VOTERS, 0, M(LEARNER), 0);
    members->members[1].incarnation = 77;
    all_get(4, members);
    SILENT();
    leader_gets(A, config_make(5, 2, members_make(VOTERS, 0, M(LEARNER), 0)), 4);
    SCREAMS("data directories are remembered");
}

/* --- Catching up --------------------------------------------------------------------------------
 */

Test(checks_changes, find_a_learner_that_is_promoted_with_nothing)
{
    for (uint32_t i = A; i <= C; i++)
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 2, 0), 1,
                  true);
    node_steps(A, RAFT_LEADER, 3);
    SILENT();
    leader_gets(A, config_make(4, 2, members_make(VOTERS | M(LEARNER), VOTERS, 0, 0)), 3);
    SCREAMS("learners catch up before they vote");
}

/* A has entry 4, which the learner lacks, and promotes the learner so much later. */
static void promote_after(uint64_t us)
{
    good_cluster();
    leader_gets(A, entries_make(4, 2, 1, 0), 3);
    struct check_view before = view_make(A, RAFT_LEADER, 3);
    before.now_us = check.options.election_timeout_us;
    check_step(&check, A, &before);
    struct raft_persist persist = persist_make(
        A, 2, ids[A], config_make(5, 2, members_make(VOTERS | M(LEARNER), VOTERS, 0, 0)));
    check_persist(&check, A, &persist, 0, true);
    raft_runs_clear(&persist.entries);
    struct check_view view = view_make(A, RAFT_LEADER, 3);
    view.now_us = before.now_us + us;
    check_step(&check, A, &view);
}

Test(checks_changes, find_a_learner_that_lacks_an_old_entry)
{
    promote_after(3 * check.options.election_timeout_us);
    SCREAMS("learners catch up before they vote");
}

Test(checks_changes, are_silent_about_a_learner_that_lacks_a_new_entry)
{
    promote_after(check.options.election_timeout_us);
    SILENT();
}

/* --- A leader that is removed -------------------------------------------------------------------
 */

/* A's removal is in its log, up to the end of the joint phase. */
static void remove_a(void)
{
    good_cluster();
    all_get(4, members_make(M(B) | M(C), VOTERS, M(LEARNER), 0));
    for (uint32_t i = A; i < NODES; i++)
        leader_gets(i, config_make(5, 2, members_make(M(B) | M(C), 0, M(LEARNER), M(A))), 4);
    SILENT();
}

Test(checks_changes, find_a_removed_leader_that_leads_on)
{
    remove_a();
    node_steps(A, RAFT_LEADER, 5);
    SCREAMS("a removed leader steps down");
}

Test(checks_changes, find_a_removed_leader_that_leaves_before_that_is_committed)
{
    remove_a();
    struct check_view view = view_make(A, RAFT_FOLLOWER, 4);
    view.retired = true;
    check_step(&check, A, &view);
    SCREAMS("a removed leader leads until that is committed");
}

Test(checks_changes, are_silent_about_a_removed_leader_that_leaves_then)
{
    remove_a();
    struct check_view view = view_make(A, RAFT_FOLLOWER, 5);
    view.retired = true;
    check_step(&check, A, &view);
    SILENT();
}

/* --- What the operator is told ------------------------------------------------------------------
 */

/* A request for the learner's removal that A took in its first life. */
static struct change removal(void)
{
    return (struct change){
        .type = RAFT_CHANGE_REMOVE, .subject = LEARNER, .node = A, .life = 1, .state = OP_TAKEN};
}

Test(checks_changes, are_silent_when_a_removal_is_done)
{
    good_cluster();
    all_get(4, members_make(VOTERS, 0, 0, M(LEARNER)));
    struct change change = removal();
    check_change(&check, &change, A, 1, CONCLAVE_OK, 4);
    SILENT();
}

Test(checks_changes, find_a_change_acknowledged_and_not_made)
{
    good_cluster();
    struct change change = removal();
    check_change(&check, &change, A, 1, CONCLAVE_OK, 3);
    SCREAMS("a change that is done shows");
}

Test(checks_changes, find_a_change_said_to_be_made_already)
{
    good_cluster();
    struct change change = removal();
    check_change(&check, &change, A, 1, CONCLAVE_OK, 0);
    SCREAMS("a change that is done shows");
}

Test(checks_changes, find_a_change_acknowledged_before_it_is_committed)
{
    good_cluster();
    leader_gets(A, config_make(4, 2, members_make(VOTERS, 0, 0, M(LEARNER))), 3);
    struct change change = removal();
    check_change(&check, &change, A, 1, CONCLAVE_OK, 4);
    SCREAMS("acknowledged is committed");
}

Test(checks_changes, find_nonsense_that_is_taken)
{
    good_cluster();
    struct change change = removal();
    change.nonsense = true;
    check_change(&check, &change, A, 1, CONCLAVE_OK, 0);
    SCREAMS("nonsense is refused");
}

Test(checks_changes, find_a_change_answered_twice)
{
    struct change change = removal();
    change.state = OP_REFUSED;
    check_change(&check, &change, A, 1, CONCLAVE_BUSY, 0);
    SCREAMS("an operation is answered once");
}

Test(checks_changes, find_a_change_answered_by_another_life)
{
    struct change change = removal();
    check_change(&check, &change, A, 2, CONCLAVE_BUSY, 0);
    SCREAMS("an answer comes from where it was asked");
}

Test(checks_changes, find_a_change_of_nobody)
{
    check_change(&check, NULL, A, 1, CONCLAVE_BUSY, 0);
    SCREAMS("an answer is somebody's");
}

Test(checks_changes, find_a_refusal_that_is_none)
{
    struct change change = removal();
    check_change(&check, &change, A, 1, CONCLAVE_TIMEOUT, 0);
    SCREAMS("refusals say why");
}
