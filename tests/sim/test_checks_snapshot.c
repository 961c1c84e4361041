/* Snapshots: each check of them is fed the violation that it is there for. */
#include "tests/sim/test_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct buf *members; /* of a new node: encoded */

static void setup(void)
{
    fixture_setup();
    check.options.trailing_entries = 1;
    check.options.trailing_bytes = UINT64_MAX;
    check.options.pinned_bytes_max = UINT64_MAX;
    struct raft_configuration *configuration = members_make(M(A) | M(B) | M(C), 0, M(LEARNER), 0);
    members = raft_configuration_encode(configuration);
    free(configuration);
}

static void teardown(void)
{
    buf_unref(members);
    fixture_teardown();
}

TestSuite(checks_snapshot, .init = setup, .fini = teardown);

static struct raft_snapshot snapshot_at(uint64_t term, uint64_t index)
{
    return (struct raft_snapshot){
        .last = {.term = term, .index = index}, .configuration_index = 1, .configuration = members};
}

/* The node's disk has it, and its core knows. */
static void have(uint32_t node, uint64_t index)
{
    struct raft_snapshot snapshot = snapshot_at(2, index);
    check_snapshot_durable(&check, node, &snapshot, false);
    check_snapshot_told(&check, node, index);
}

/* The node steps, and its log begins behind `base`. */
static void cut(uint32_t node, uint64_t base)
{
    struct check_view view = view_make(node, node == A ? RAFT_LEADER : RAFT_FOLLOWER, 3);
    view.base = (struct raft_id){.term = base > 1 ? 2 : 1, .index = base};
    check_step(&check, node, &view);
}

/* The node's log begins anew behind `index`, in memory. */
static void begin_anew(uint32_t node, uint64_t index)
{
    struct raft_persist persist = persist_make(node, 2, 0, NOTHING);
    persist.anew = persist.last = (struct raft_id){.term = 2, .index = index};
    check_persist(&check, node, &persist, 0, false);
}

/* A leads term 2 with three entries that it and B hold and have committed; C has only the first. */
static void cluster_with_a_straggler(void)
{
    for (uint32_t i = A; i <= B; i++)
        node_does(i, 2, ids[A], i == A ? RAFT_LEADER : RAFT_FOLLOWER, entries_make(2, 2, 2, 0), 1,
                  true);
    for (uint32_t i = A; i <= B; i++)
        node_steps(i, i == A ? RAFT_LEADER : RAFT_FOLLOWER, 3);
    SILENT();
}

static struct check_view following(uint32_t node, uint64_t base, uint64_t commit)
{
    struct check_view view = view_make(node, RAFT_FOLLOWER, commit);
    view.base = (struct raft_id){.term = 2, .index = base};
    return view;
}

Test(checks_snapshot, are_silent_when_one_is_installed)
{
    cluster_with_a_straggler();
    have(A, 2);
    cut(A, 1);
    struct raft_snapshot snapshot = snapshot_at(2, 3);
    check_snapshot_durable(&check, C, &snapshot, false);
    begin_anew(C, 3);
    struct check_view view = following(C, 3, 3);
    view.durable = (struct raft_id){.term = 2, .index = 3};
    check_step(&check, C, &view);
    check_install(&check, C, (struct raft_id){.term = 2, .index = 3});
    check_restored(&check, C, 0, 3);
    view.applied = 3;
    check_step(&check, C, &view);
    SILENT();
    cr_assert(check_holds(&check, C, 3, check_log_at(&check.oracle, 3)));
}

/* --- What it says ----------------------------------------------------------------------------- */

Test(checks_snapshot, find_one_of_what_is_not_committed)
{
    cluster_with_a_straggler();
    struct raft_snapshot snapshot = snapshot_at(2, 4);
    check_snapshot_durable(&check, A, &snapshot, false);
    SCREAMS("a snapshot holds only what is committed");
}

Test(checks_snapshot, find_one_of_another_term)
{
    cluster_with_a_straggler();
    struct raft_snapshot snapshot = snapshot_at(1, 3);
    check_snapshot_durable(&check, A, &snapshot, false);
    SCREAMS("a snapshot holds only what is committed");
}

Test(checks_snapshot, find_one_with_the_configuration_of_another_index)
{
    cluster_with_a_straggler();
    struct raft_snapshot snapshot = snapshot_at(2, 3);
    snapshot.configuration_index = 2;
    check_snapshot_durable(&check, A, &snapshot, false);
    SCREAMS("a snapshot has the configuration of its index");
}

Test(checks_snapshot, find_one_with_another_configuration)
{
    cluster_with_a_straggler();
    struct raft_configuration *other = members_make(M(A) | M(B), 0, 0, 0);
    struct buf *payload = raft_configuration_encode(other);
    struct raft_snapshot snapshot = snapshot_at(2, 3);
    snapshot.configuration = payload;
    check_snapshot_durable(&check, A, &snapshot, false);
    free(other);
    buf_unref(payload);
    SCREAMS("a snapshot has the configuration of its index");
}

Test(checks_snapshot, find_one_ahead_of_the_state_machine)
{
    cluster_with_a_straggler();
    struct raft_snapshot snapshot = snapshot_at(2, 3);
    check_snapshot_durable(&check, A, &snapshot, true);
    SCREAMS("a snapshot is of the own state machine");
}

Test(checks_snapshot, find_one_that_no_sync_has_written)
{
    cluster_with_a_straggler();
    have(A, 2);
    check_snapshot_synced(&check, A, (struct raft_id){.term = 2, .index = 2}, true);
    cr_assert_not(check.failed);
    check_snapshot_synced(&check, A, (struct raft_id){.term = 2, .index = 2}, false);
    SCREAMS("a snapshot that counts is on the disk");
}

Test(checks_snapshot, find_one_that_came_damaged)
{
    cluster_with_a_straggler();
    check_snapshot_whole(&check, A, (struct raft_id){.term = 2, .index = 2}, true);
    SILENT();
    check_snapshot_whole(&check, A, (struct raft_id){.term = 2, .index = 2}, false);
    SCREAMS("a snapshot that was received is whole");
}

Test(checks_snapshot, are_silent_when_two_are_kept_and_the_log_up_to_the_older)
{
    const struct raft_id one[2] = {{.term = 1, .index = 4}};
    const struct raft_id two[2] = {{.term = 2, .index = 7}, {.term = 1, .index = 4}};
    check_snapshots_pruned(&check, A, one, one, 4, 0);
    check_snapshots_pruned(&check, A, two, two, 4, 0);
    check_snapshots_pruned(&check, A, two, two, 3, 3);
    SILENT();
}

Test(checks_snapshot, find_one_that_is_of_no_use_left)
{
    const struct raft_id two[2] = {{.term = 2, .index = 7}, {.term = 1, .index = 4}};
    check_snapshots_pruned(&check, A, two, two, 2, 3);
    SCREAMS("the log reaches back to the older snapshot");
}

Test(checks_snapshot, find_the_older_one_gone)
{
    const struct raft_id two[2] = {{.term = 2, .index = 7}, {.term = 1, .index = 4}};
    const struct raft_id newest[2] = {two[0]};
    check_snapshots_pruned(&check, A, two, newest, 7, 0);
    SCREAMS("two snapshots are kept");
}

Test(checks_snapshot, find_the_newer_one_gone)
{
    const struct raft_id two[2] = {{.term = 2, .index = 7}, {.term = 1, .index = 4}};
    const struct raft_id oldest[2] = {two[1]};
    check_snapshots_pruned(&check, A, two, oldest, 4, 0);
    SCREAMS("two snapshots are kept");
}

Test(checks_snapshot, find_a_log_cut_up_to_the_newer_one)
{
    const struct raft_id two[2] = {{.term = 2, .index = 7}, {.term = 1, .index = 4}};
    check_snapshots_pruned(&check, A, two, two, 7, 0);
    SCREAMS("the log reaches back to the older snapshot");
}

/* --- Starting --------------------------------------------------------------------------------- */

Test(checks_snapshot, find_a_gap_between_snapshot_and_log)
{
    cluster_with_a_straggler();
    struct raft_runs log = entries_make(3, 2, 1, 0);
    check_start(&check, A, 2, check.nodes[A].durable, (struct raft_id){.term = 2, .index = 2}, &log,
                0);
    raft_runs_clear(&log);
    SCREAMS("no gap between snapshot and log");
}

Test(checks_snapshot, find_a_log_that_begins_behind_another_entry)
{
    cluster_with_a_straggler();
    have(A, 2);
    struct raft_runs log = entries_make(3, 2, 1, 0);
    check_start(&check, A, 2, check.nodes[A].durable, (struct raft_id){.term = 1, .index = 2}, &log,
                0);
    raft_runs_clear(&log);
    SCREAMS("a log begins anew behind committed entries");
}

/* C had an entry of its own at 2, in memory or on disk, and its log ends with that or goes on from
 * there. */
static void start_superseded(struct check_log *had, uint64_t term, uint32_t more, uint64_t snapshot)
{
    cluster_with_a_straggler();
    struct raft_runs own = entries_make(2, 1, 1, 0);
    struct raft_runs log = more > 0 ? entries_make(3, 1, more, 0) : NOTHING;
    check_log_put(&check, had, raft_runs_find(&own, 2));
    have(C, snapshot);
    check_restored(&check, C, 0, snapshot);
    check_start(&check, C, 2, check.nodes[C].durable, (struct raft_id){.term = term, .index = 2},
                &log, snapshot);
    raft_runs_clear(&own);
    raft_runs_clear(&log);
}

Test(checks_snapshot, are_silent_when_a_log_ends_before_one)
{
    start_superseded(&check.nodes[C].memory, 1, 0, 3);
    SILENT();
    begin_anew(C, 3);
    SILENT();
}

/* What was to replace it was on its way to the disk when the node died. */
Test(checks_snapshot, are_silent_when_a_log_has_what_was_replaced_in_memory_alone)
{
    start_superseded(&check.nodes[C].disk, 1, 0, 3);
    SILENT();
    begin_anew(C, 3);
    SILENT();
}

Test(checks_snapshot, are_silent_when_a_log_has_another_entry_than_one)
{
    start_superseded(&check.nodes[C].memory, 1, 1, 2);
    SILENT();
    begin_anew(C, 2); /* it is not one that agrees with the snapshot */
    SILENT();
}

Test(checks_snapshot, find_a_log_that_begins_behind_what_it_never_had)
{
    start_superseded(&check.nodes[C].memory, 3, 0, 3);
    SCREAMS("a log begins anew behind committed entries");
}

Test(checks_snapshot, find_a_durable_one_that_is_gone)
{
    cluster_with_a_straggler();
    have(A, 3);
    struct raft_snapshot older = snapshot_at(2, 2);
    check_start_snapshot(&check, A, &older);
    SCREAMS("durable snapshots are kept");
}

Test(checks_snapshot, are_silent_when_a_rotten_one_was_set_aside)
{
    cluster_with_a_straggler();
    have(A, 3);
    struct raft_snapshot older = snapshot_at(2, 2);
    check_snapshot_rotten(&check, A, older.last);
    check_start_snapshot(&check, A, &older);
    SILENT();
    struct raft_snapshot none = {0};
    check_start_snapshot(&check, A, &none);
    SCREAMS("durable snapshots are kept");
}

/* --- Installing ------------------------------------------------------------------------------- */

Test(checks_snapshot, find_a_log_begun_anew_before_the_snapshot_is_durable)
{
    cluster_with_a_straggler();
    begin_anew(C, 3);
    SCREAMS("a log begins anew behind a durable snapshot");
}

Test(checks_snapshot, find_a_log_thrown_away_that_agrees)
{
    cluster_with_a_straggler();
    have(B, 3);
    begin_anew(B, 3);
    SCREAMS("a log that agrees with a snapshot is kept");
}

Test(checks_snapshot, find_an_install_of_what_is_not_durable)
{
    cluster_with_a_straggler();
    check_install(&check, C, (struct raft_id){.term = 2, .index = 3});
    SCREAMS("what is installed is durable and new");
}

Test(checks_snapshot, rule_36_find_an_apply_that_overtakes_the_install)
{
    cluster_with_a_straggler();
    have(B, 2);
    check_install(&check, B, (struct raft_id){.term = 2, .index = 2});
    struct raft_runs apply = entries_make(3, 2, 1, 0);
    check_apply(&check, B, &apply);
    raft_runs_clear(&apply);
    SCREAMS("nothing is applied while a snapshot is installed");
}

Test(checks_snapshot, rule_24_find_a_campaign_with_one_half_installed)
{
    cluster_with_a_straggler();
    check.options.trailing_entries = 2;
    have(B, 2);
    check_install(&check, B, (struct raft_id){.term = 2, .index = 2});
    node_steps(B, RAFT_PRECANDIDATE, 3);
    SCREAMS("no campaign with a snapshot half installed");
}

Test(checks_snapshot, find_a_state_machine_that_goes_back)
{
    cluster_with_a_straggler();
    check_restored(&check, C, 3, 2);
    SCREAMS("applied in order");
}

/* --- The front of the log --------------------------------------------------------------------- */

Test(checks_snapshot, rule_35_find_a_log_cut_before_the_snapshot_is_durable)
{
    cluster_with_a_straggler();
    cut(B, 2);
    SCREAMS("the log is cut behind a durable snapshot");
}

Test(checks_snapshot, find_a_log_cut_above_commit)
{
    cluster_with_a_straggler();
    have(B, 3);
    struct check_view view = following(B, 3, 2);
    check.nodes[B].view.commit = 2;
    check_step(&check, B, &view);
    SCREAMS("the log is cut at the front only, and below commit");
}

Test(checks_snapshot, find_a_log_that_gets_its_front_back)
{
    cluster_with_a_straggler();
    have(B, 3);
    cut(B, 2);
    SILENT();
    cut(B, 1);
    SCREAMS("the log is cut at the front only, and below commit");
}

Test(checks_snapshot, rule_39_find_a_log_that_keeps_nothing)
{
    cluster_with_a_straggler();
    have(B, 3);
    cut(B, 3);
    SCREAMS("entries behind a snapshot are kept");
}

Test(checks_snapshot, are_silent_when_a_log_begins_behind_what_could_not_be_read)
{
    cluster_with_a_straggler();
    have(B, 3);
    check.nodes[B].snapshot_told = 3;
    check_unreadable(&check, B, 3);
    check_unreadable(&check, B, 4); /* that is in no snapshot yet */
    cut(B, 3);
    SILENT();
}

Test(checks_snapshot, find_a_log_that_is_never_cut)
{
    cluster_with_a_straggler();
    have(B, 3);
    cut(B, 1);
    SCREAMS("the log is cut behind a snapshot");
}

/* --- Peers ------------------------------------------------------------------------------------ */

static void see(uint64_t match, bool needs, uint64_t now_us)
{
    struct raft_peer_view view = {
        .match = match, .next = match + 1, .contact_us = now_us, .needs_snapshot = needs};
    check_peer_view(&check, A, C, &view, false, now_us);
}

Test(checks_snapshot, rule_37_find_a_peer_that_is_given_one_for_ever)
{
    cluster_with_a_straggler();
    have(A, 3);
    cut(A, 2);
    have(C, 2); /* its disk holds it */
    see(2, true, 10);
    SCREAMS("who reaches the log needs no snapshot");
}

Test(checks_snapshot, rule_36_find_a_log_cut_from_under_a_transfer)
{
    cluster_with_a_straggler();
    check.options.trailing_entries = 0;
    have(A, 2);
    cut(A, 2);
    see(1, true, 10);
    SILENT();
    have(A, 3);
    cut(A, 3);
    see(1, true, 20);
    SCREAMS("what follows a snapshot on its way stays");
}

Test(checks_snapshot, rule_36_find_a_log_cut_from_under_a_peer_that_has_one)
{
    cluster_with_a_straggler();
    check.options.trailing_entries = 0;
    have(A, 2);
    cut(A, 2);
    see(1, true, 10);
    have(A, 3);
    cut(A, 2);
    cut(A, 2);
    have(C, 2);
    see(2, false, 15); /* it has that one, and not yet what the newest holds */
    SILENT();
    cut(A, 3);
    see(2, true, 20);
    SCREAMS("what follows a snapshot on its way stays");
}

Test(checks_snapshot, are_silent_when_a_silent_peer_pins_nothing)
{
    cluster_with_a_straggler();
    check.options.trailing_entries = 0;
    have(A, 2);
    cut(A, 2);
    see(1, true, 10);
    have(A, 3);
    cut(A, 3);
    struct raft_peer_view view = {.match = 1, .next = 2, .contact_us = 10, .needs_snapshot = true};
    check_peer_view(&check, A, C, &view, false, 11 * check.options.election_timeout_us);
    SILENT();
}
